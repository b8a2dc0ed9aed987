//! Files from the client: the receiving end of fsutil's protocol.
//!
//! The sender walks its tree in order and tells each file's name, kind, size and time; we ask for the contents of those
//! that we have not, by their numbers, and end with `FIN`. What is in our directory and was not told of is removed: the
//! directory is the client's afterwards. Names come from outside, so every path is walked inside the directory by
//! descriptor.

use super::SolveError;
use super::sessions::Session;
use super::wire::filesync::{Packet, PacketType, Stat};
use rustix::fs::{FileType, Mode, Timespec, Timestamps};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use sys::path::Tree;
use tokio::sync::mpsc;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

/// The call that this makes.
pub(super) const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Which of the client's directories, and what of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted<'a> {
    /// The client's name for the directory: `context`, `dockerfile`.
    pub(super) name: &'a str,
    /// Patterns of what is left out, as ignore files have them.
    pub(super) exclude: Vec<String>,
    /// If there are any, only these paths, and what links on them lead to.
    pub(super) follow: Vec<String>,
}

/// What came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes of contents.
    pub(super) bytes: u64,
}

/// Brings a directory into the state of the client's. Blocks the thread on the disk while it works.
pub(super) async fn receive(
    session: &Session,
    wanted: &Wanted<'_>,
    into: &Path,
) -> Result<Received, SolveError> {
    if !session.supports(METHOD) {
        return Err(SolveError::Invalid(
            "the client's session has no files to give".to_owned(),
        ));
    }
    let (send, mut receive) = mpsc::unbounded_channel();
    let outgoing = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    let mut request = Request::new(outgoing);
    describe(wanted, request.metadata_mut());
    let mut incoming = session.files().diff_copy(request).await?.into_inner();
    let mut copy = Copy::new(into)?;
    while let Some(packet) = incoming.message().await? {
        match packet.r#type() {
            PacketType::PacketStat => match packet.stat {
                Some(stat) => {
                    if let Some(id) = copy.stat(&stat)? {
                        tell(&send, PacketType::PacketReq, id);
                    }
                }
                None => copy.all_named()?,
            },
            PacketType::PacketData => copy.data(packet.id, &packet.data)?,
            PacketType::PacketErr => {
                let why = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(SolveError::Invalid(format!("error from sender: {why}")));
            }
            PacketType::PacketFin => break,
            PacketType::PacketReq => {}
        }
        if copy.is_complete() {
            tell(&send, PacketType::PacketFin, 0);
        }
    }
    if !copy.finished {
        return Err(SolveError::Invalid(format!(
            "the client broke off while it sent the directory '{}'",
            wanted.name
        )));
    }
    copy.settle()
}

fn tell(send: &mpsc::UnboundedSender<Packet>, kind: PacketType, id: u32) {
    let packet = Packet {
        r#type: kind.into(),
        id,
        ..Packet::default()
    };
    // A stream that is closed shows on its other half.
    send.send(packet).unwrap_or_default();
}

/// Writes what is wanted into the call's headers. Values that are not ASCII are escaped as a whole list.
fn describe(wanted: &Wanted<'_>, metadata: &mut MetadataMap) {
    let name = [wanted.name.to_owned()];
    let lists: [(&'static str, &'static str, &[String]); 3] = [
        ("dir-name", "dir-name-encoded", &name),
        ("exclude-patterns", "exclude-patterns-encoded", &wanted.exclude),
        ("followpaths", "followpaths-encoded", &wanted.follow),
    ];
    for (key, encoded, values) in lists {
        let escape = !values.iter().all(|value| value.is_ascii());
        for value in values {
            let text: String = if escape {
                url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
            } else {
                value.clone()
            };
            // Control characters can be in no header, and hardly in a file's name.
            if let Ok(value) = MetadataValue::try_from(text) {
                metadata.append(key, value);
            }
        }
        if escape {
            metadata.insert(encoded, MetadataValue::from_static("1"));
        }
    }
}

/// Go's bits for a file's kind and mode.
mod go {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const PIPE: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHARACTER: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

/// What a file is, by Go's mode.
pub(super) fn kind(mode: u32) -> FileType {
    match mode {
        mode if mode & go::DIRECTORY != 0 => FileType::Directory,
        mode if mode & go::SYMLINK != 0 => FileType::Symlink,
        mode if mode & go::PIPE != 0 => FileType::Fifo,
        mode if mode & go::SOCKET != 0 => FileType::Socket,
        mode if mode & go::DEVICE != 0 && mode & go::CHARACTER != 0 => FileType::CharacterDevice,
        mode if mode & go::DEVICE != 0 => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn permissions(mode: u32) -> Mode {
    let mut bits = mode & 0o777;
    for (go, unix) in [(go::SETUID, 0o4000), (go::SETGID, 0o2000), (go::STICKY, 0o1000)] {
        if mode & go != 0 {
            bits |= unix;
        }
    }
    Mode::from_raw_mode(bits)
}

/// Puts a file's kind and mode into Go's bits.
pub(super) fn to_go(kind: FileType, mode: u32) -> u32 {
    let mut bits = mode & 0o777;
    for (go, unix) in [(go::SETUID, 0o4000), (go::SETGID, 0o2000), (go::STICKY, 0o1000)] {
        if mode & unix != 0 {
            bits |= go;
        }
    }
    bits | match kind {
        FileType::Directory => go::DIRECTORY,
        FileType::Symlink => go::SYMLINK,
        FileType::Fifo => go::PIPE,
        FileType::Socket => go::SOCKET,
        FileType::CharacterDevice => go::DEVICE | go::CHARACTER,
        FileType::BlockDevice => go::DEVICE,
        _ => 0,
    }
}

fn times(modified: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.div_euclid(1_000_000_000),
        tv_nsec: modified.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// A file whose contents are on their way.
struct Coming {
    path: PathBuf,
    stat: Stat,
    file: Option<std::fs::File>,
}

/// The directory while it is brought into the client's state.
struct Copy {
    tree: Tree,
    /// The number of the next file.
    next: u32,
    named: BTreeSet<PathBuf>,
    coming: HashMap<u32, Coming>,
    hard_links: Vec<(PathBuf, PathBuf)>,
    directories: Vec<(PathBuf, Stat)>,
    all_named: bool,
    finished: bool,
    bytes: u64,
}

impl Copy {
    fn new(into: &Path) -> Result<Self, SolveError> {
        Ok(Self {
            tree: Tree::open(into)?,
            next: 0,
            named: BTreeSet::new(),
            coming: HashMap::new(),
            hard_links: Vec::new(),
            directories: Vec::new(),
            all_named: false,
            finished: false,
            bytes: 0,
        })
    }

    /// Takes note of a file, and makes what needs no contents. Returns its number if its contents are wanted.
    fn stat(&mut self, stat: &Stat) -> Result<Option<u32>, SolveError> {
        let id = self.next;
        self.next += 1;
        let path = clean(&stat.path)?;
        self.named.insert(path.clone());
        let kind = kind(stat.mode);
        if kind == FileType::RegularFile && !stat.linkname.is_empty() {
            self.hard_links.push((clean(&stat.linkname)?, path));
            return Ok(None);
        }
        if kind == FileType::Directory {
            self.directories.push((path.clone(), stat.clone()));
        }
        if self.is_there(&path, kind, stat)? {
            return Ok(None);
        }
        match kind {
            FileType::Directory => {
                // Whoever runs this can write into it whatever its mode is.
                drop(self.tree.create_dir(&path, Mode::from_raw_mode(0o700))?);
            }
            FileType::Symlink => {
                self.tree.symlink(OsStr::new(&stat.linkname), &path)?;
                self.tree.set_times(&path, &times(stat.mod_time))?;
            }
            FileType::RegularFile => {
                let coming = Coming {
                    path,
                    stat: stat.clone(),
                    file: None,
                };
                self.coming.insert(id, coming);
                return Ok(Some(id));
            }
            FileType::Fifo | FileType::Socket => {
                self.tree.make_node(&path, kind, permissions(stat.mode), 0)?;
            }
            _ => {
                let number = |part: i64| u32::try_from(part).unwrap_or_default();
                let device = rustix::fs::makedev(number(stat.devmajor), number(stat.devminor));
                self.tree.make_node(&path, kind, permissions(stat.mode), device)?;
            }
        }
        Ok(None)
    }

    /// Says whether a file is there already; what is there and is something else is removed.
    fn is_there(&self, path: &Path, kind: FileType, stat: &Stat) -> Result<bool, SolveError> {
        let found = match self.tree.stat(path, false) {
            Ok(found) => found,
            Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let found_kind = FileType::from_raw_mode(found.st_mode);
        let modified = found.st_mtime.saturating_mul(1_000_000_000) + found.st_mtime_nsec.cast_signed();
        let same_mode = found.st_mode & 0o7777 == permissions(stat.mode).bits();
        let same = found_kind == kind
            && match kind {
                FileType::Directory => true,
                FileType::Symlink => self.tree.read_link(path)? == OsStr::new(&stat.linkname),
                FileType::RegularFile => {
                    same_mode
                        && modified == stat.mod_time
                        && found.st_size == stat.size
                        && found.st_nlink == 1
                }
                _ => false,
            };
        if !same {
            self.tree.remove_all(path)?;
        }
        Ok(same)
    }

    /// All files are named: the others go.
    fn all_named(&mut self) -> Result<(), SolveError> {
        self.all_named = true;
        self.remove_unnamed(Path::new(""))
    }

    fn remove_unnamed(&self, directory: &Path) -> Result<(), SolveError> {
        let open = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        for entry in self.tree.entries(open)? {
            let path = directory.join(&entry.name);
            if !self.named.contains(&path) {
                self.tree.remove_all(&path)?;
            } else if entry.kind == FileType::Directory {
                self.remove_unnamed(&path)?;
            }
        }
        Ok(())
    }

    /// Takes a piece of a file; an empty one is its end.
    fn data(&mut self, id: u32, bytes: &[u8]) -> Result<(), SolveError> {
        let Some(coming) = self.coming.get_mut(&id) else {
            return Err(SolveError::Invalid(format!("invalid file request {id}")));
        };
        let failed =
            |path: &Path, error: &std::io::Error| SolveError::from(sys::SysError::io("write", path, error));
        if coming.file.is_none() {
            let made = self.tree.create_file(&coming.path, Mode::from_raw_mode(0o600))?;
            coming.file = Some(made.into());
        }
        if let Some(file) = coming.file.as_mut().filter(|_| !bytes.is_empty()) {
            file.write_all(bytes)
                .map_err(|error| failed(&coming.path, &error))?;
            self.bytes += bytes.len() as u64;
            return Ok(());
        }
        if let Some(Coming {
            path,
            stat,
            file: Some(file),
        }) = self.coming.remove(&id)
        {
            for (name, value) in &stat.xattrs {
                if name == "security.capability" || name.starts_with("user.") {
                    // A filesystem that cannot hold it does not hold up the build, as with Docker.
                    self.tree
                        .set_xattr(&path, OsStr::new(name), value)
                        .unwrap_or_default();
                }
            }
            rustix::fs::fchmod(&file, permissions(stat.mode))
                .map_err(sys::SysError::on("set the mode of", &path))?;
            // Last, for a file with this time is taken to be whole.
            rustix::fs::futimens(&file, &times(stat.mod_time))
                .map_err(sys::SysError::on("set the times of", &path))?;
        }
        Ok(())
    }

    /// Says, once, that everything is here.
    fn is_complete(&mut self) -> bool {
        let complete = self.all_named && self.coming.is_empty() && !self.finished;
        self.finished |= complete;
        complete
    }

    /// Makes what needs all files to be there.
    fn settle(self) -> Result<Received, SolveError> {
        for (existing, path) in &self.hard_links {
            let found = self.tree.stat(existing, false)?;
            if let Ok(there) = self.tree.stat(path, false) {
                if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
                    continue;
                }
                self.tree.remove_all(path)?;
            }
            self.tree.hard_link(existing, path)?;
        }
        for (path, stat) in self.directories.iter().rev() {
            self.tree.set_mode(path, permissions(stat.mode))?;
            self.tree.set_times(path, &times(stat.mod_time))?;
        }
        Ok(Received { bytes: self.bytes })
    }
}

/// Returns a path that leads nowhere but down.
fn clean(path: &str) -> Result<PathBuf, SolveError> {
    let parsed = Path::new(path);
    let is_down = parsed
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || path.contains('\0') || !is_down {
        return Err(SolveError::Invalid(format!("the client names the file '{path}'")));
    }
    Ok(parsed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn file(path: &str, text: &str, modified: i64) -> Stat {
        Stat {
            path: path.to_owned(),
            mode: 0o640,
            size: i64::try_from(text.len()).unwrap(),
            mod_time: modified,
            ..Stat::default()
        }
    }

    fn directory(path: &str) -> Stat {
        Stat {
            path: path.to_owned(),
            mode: go::DIRECTORY | 0o711,
            mod_time: 7,
            ..Stat::default()
        }
    }

    fn link(path: &str, mode: u32, to: &str) -> Stat {
        Stat {
            path: path.to_owned(),
            mode,
            linkname: to.to_owned(),
            ..Stat::default()
        }
    }

    /// Sends files with their texts; returns the names of those that were asked for.
    fn send(into: &Path, files: &[(Stat, &str)]) -> Vec<String> {
        let mut copy = Copy::new(into).unwrap();
        let mut asked = Vec::new();
        for (stat, text) in files {
            if let Some(id) = copy.stat(stat).unwrap() {
                copy.data(id, text.as_bytes()).unwrap();
                if !text.is_empty() {
                    copy.data(id, b"").unwrap();
                }
                asked.push(stat.path.clone());
            }
        }
        copy.all_named().unwrap();
        assert!(copy.is_complete() && !copy.is_complete());
        copy.settle().unwrap();
        asked
    }

    #[test]
    fn only_what_has_changed_is_asked_for() {
        let into = tempfile::tempdir().unwrap();
        let into = into.path();
        let first = [
            (file("a", "one", 5_000_000_001), "one"),
            (link("b", 0o640, "a"), ""),
            (directory("d"), ""),
            (file("d/empty", "", 3), ""),
            (link("l", go::SYMLINK | 0o777, "../../etc/passwd"), ""),
        ];
        assert_eq!(send(into, &first), ["a", "d/empty"]);
        let a = std::fs::metadata(into.join("a")).unwrap();
        assert_eq!((a.mtime(), a.mtime_nsec(), a.nlink()), (5, 1, 2));
        assert_eq!(a.permissions().mode() & 0o7777, 0o640);
        let d = std::fs::metadata(into.join("d")).unwrap();
        assert_eq!((d.mode() & 0o7777, d.mtime_nsec()), (0o711, 7));
        assert_eq!(
            std::fs::read_link(into.join("l")).unwrap(),
            Path::new("../../etc/passwd")
        );
        // A link is no file any more, a directory has become a file, and one file is gone.
        let second = [
            (file("a", "one", 5_000_000_001), "one"),
            (file("d", "now", 9), "now"),
            (file("l", "12", 9), "12"),
        ];
        assert_eq!(send(into, &second), ["a", "d", "l"]);
        assert_eq!(send(into, &second), [] as [String; 0]);
        let mut names: Vec<_> = std::fs::read_dir(into)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "d", "l"]);
    }

    #[test]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        let into = outside.path().join("in");
        std::fs::create_dir(&into).unwrap();
        for path in ["../x", "/x", "a/../../x", "", ".", "a\0b"] {
            let mut copy = Copy::new(&into).unwrap();
            assert!(copy.stat(&file(path, "x", 1)).is_err(), "{path:?}");
        }
        let mut copy = Copy::new(&into).unwrap();
        let out = outside.path().display().to_string();
        copy.stat(&link("l", go::SYMLINK | 0o777, &out)).unwrap();
        let id = copy.stat(&file("l/x", "x", 1)).unwrap();
        if let Some(id) = id {
            drop(copy.data(id, b"x"));
        }
        assert!(!outside.path().join("x").exists());
    }

    #[test]
    fn modes_are_gos() {
        for (kind_, unix) in [
            (FileType::RegularFile, 0o4755),
            (FileType::Directory, 0o1777),
            (FileType::Symlink, 0o777),
            (FileType::CharacterDevice, 0o600),
            (FileType::BlockDevice, 0o2660),
            (FileType::Fifo, 0o644),
        ] {
            let bits = to_go(kind_, unix);
            assert_eq!(kind(bits), kind_);
            assert_eq!(permissions(bits), Mode::from_raw_mode(unix));
        }
    }
}
