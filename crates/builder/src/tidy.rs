//! What a command leaves behind that would differ the next time although nothing of interest does: caches that hold
//! times and inode numbers, logs, today's date in /etc/shadow, a machine's random name. docs/reproducibility.md has the list and
//! the reasons.
//!
//! It works on the upper directory alone, when nobody has it mounted any more: what is removed here shows again what
//! the layers below have in its place. Whiteouts stay.

use crate::error::StepError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use store::Times;
use sys::SysError;
use sys::path::Tree;

/// Logs of package managers, and caches that these make anew when they miss them.
const FILES: [&str; 15] = [
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/log/alternatives.log",
    "var/log/apk.log",
    "var/log/apt/eipp.log.xz",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/bootstrap.log",
    "var/log/dnf.librepo.log",
    "var/log/dnf.log",
    "var/log/dnf.rpm.log",
    "var/log/dpkg.log",
    "var/log/hawkey.log",
];
const DIRECTORIES: [&str; 1] = ["var/cache/man"];
/// The same below each home directory: what was downloaded, with the times of the downloads.
const AT_HOME: [&str; 4] = [".cache/pip", ".npm/_cacache", ".npm/_logs", ".wget-hsts"];
/// An empty one means that the machine has no name yet and gets one when it boots; see machine-id(5).
const MACHINE_ID: &str = "etc/machine-id";
/// See shadow(5): the third field is the day on which the password was last changed.
const SHADOWS: [&str; 2] = ["etc/shadow", "etc/shadow-"];
const LARGEST_SHADOW: u64 = 16 << 20;
const DAY: i64 = 86_400;
/// How deep directories may be nested; each level holds a descriptor.
const DEEPEST: usize = 400;

/// When a command ran, in seconds since 1970, and what is written instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) began: i64,
    pub(crate) ended: i64,
    pub(crate) instead: i64,
}

/// Tidies what a command has left in `upper`. `times` is how the layer's times will be set afterwards.
pub(crate) fn tidy(upper: &Path, span: Span, times: Times) -> Result<(), StepError> {
    let tree = Tree::open(upper)?;
    for path in FILES {
        remove(&tree, Path::new(path), FileType::RegularFile)?;
    }
    for path in DIRECTORIES {
        remove(&tree, Path::new(path), FileType::Directory)?;
    }
    for home in homes(&tree)? {
        for path in AT_HOME {
            let path = home.join(path);
            remove(&tree, &path, FileType::RegularFile)?;
            remove(&tree, &path, FileType::Directory)?;
        }
    }
    if kind(&tree, Path::new(MACHINE_ID))? == Some(FileType::RegularFile) {
        replace(&tree, Path::new(MACHINE_ID), b"")?;
    }
    for path in SHADOWS {
        let path = Path::new(path);
        if kind(&tree, path)? != Some(FileType::RegularFile) {
            continue;
        }
        let before = tree.read(path, LARGEST_SHADOW)?;
        let after = undated(&before, span);
        if after != before {
            replace(&tree, path, &after)?;
        }
    }
    let root = tree.open_at(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    byte_code(&root, None, upper, times, 0)
}

/// Returns what is at a path, not following a link at its end.
fn kind(tree: &Tree, path: &Path) -> Result<Option<FileType>, SysError> {
    match tree.stat(path, false) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(tree: &Tree, path: &Path, expected: FileType) -> Result<(), SysError> {
    if kind(tree, path)? == Some(expected) {
        tree.remove_all(path)?;
    }
    Ok(())
}

fn homes(tree: &Tree) -> Result<Vec<PathBuf>, SysError> {
    let mut homes = vec![PathBuf::from("root")];
    let all = Path::new("home");
    if kind(tree, all)? == Some(FileType::Directory) {
        homes.extend(tree.entries(all)?.into_iter().map(|entry| all.join(entry.name)));
    }
    Ok(homes)
}

/// Writes a file anew in its place, so that owner, mode and links stay.
fn replace(tree: &Tree, path: &Path, content: &[u8]) -> Result<(), SysError> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = File::from(tree.open_at(path, flags, Mode::empty())?);
    file.write_all(content)
        .map_err(|error| SysError::io("write", path, &error))
}

/// Puts the fixed day in the place of the day on which the command ran.
fn undated(shadow: &[u8], span: Span) -> Vec<u8> {
    let days = span.began.div_euclid(DAY)..=span.ended.div_euclid(DAY);
    let instead = span.instead.div_euclid(DAY).to_string();
    let mut made = Vec::with_capacity(shadow.len());
    for line in shadow.split_inclusive(|byte| *byte == b'\n') {
        for (number, field) in line.split_inclusive(|byte| *byte == b':').enumerate() {
            let day = field
                .strip_suffix(b":")
                .and_then(|field| std::str::from_utf8(field).ok())
                .and_then(|field| field.parse::<i64>().ok());
            match day {
                Some(day) if number == 2 && days.contains(&day) => {
                    made.extend_from_slice(instead.as_bytes());
                    made.push(b':');
                }
                _ => made.extend_from_slice(field),
            }
        }
    }
    made
}

/// Python's compiled modules hold the time of their source and are thrown away if it is another; so it is changed
/// along with the source's. Without this every start of a program would compile all that it imports.
fn byte_code(
    directory: &OwnedFd,
    above: Option<BorrowedFd<'_>>,
    path: &Path,
    times: Times,
    depth: usize,
) -> Result<(), StepError> {
    if depth > DEEPEST {
        // The store says so in its own words when it sets the times.
        return Ok(());
    }
    let is_cache = path.file_name() == Some(OsStr::new("__pycache__"));
    for entry in sys::path::entries_of(directory).map_err(SysError::on("list", path))? {
        let on = path.join(&entry.name);
        if entry.kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below =
                openat(directory, &entry.name, flags, Mode::empty()).map_err(SysError::on("open", &on))?;
            byte_code(&below, Some(directory.as_fd()), &on, times, depth + 1)?;
        } else if entry.kind == FileType::RegularFile
            && let Some(source) = source_of(&entry.name, is_cache)
        {
            let beside = if is_cache { above } else { Some(directory.as_fd()) };
            if let Some(beside) = beside {
                follow_source(directory.as_fd(), &entry.name, beside, &source, &on, times)?;
            }
        }
    }
    Ok(())
}

/// Returns the name of the source that a compiled module is of: `a.py` for `a.cpython-312.opt-1.pyc`, or for `a.pyc` that
/// lies beside it.
fn source_of(name: &OsStr, in_cache: bool) -> Option<OsString> {
    let mut stem = name.as_bytes().strip_suffix(b".pyc")?;
    if in_cache {
        let (front, last) = split_last(stem)?;
        stem = if last.starts_with(b"opt-") {
            split_last(front)?.0
        } else {
            front
        };
    }
    Some(OsStr::from_bytes(&[stem, b".py"].concat()).to_owned())
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = text.iter().rposition(|byte| *byte == b'.')?;
    Some((&text[..dot], &text[dot + 1..]))
}

/// The flags' word of a module that is valid while its source's time and size are these (PEP 552).
const BY_TIME: [u8; 4] = [0; 4];

fn follow_source(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    beside: BorrowedFd<'_>,
    source: &OsStr,
    on: &Path,
    times: Times,
) -> Result<(), StepError> {
    let stat = match statat(beside, source, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        // The source lies in a layer below, where its time does not change.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(SysError::on("look at the source of", on)(errno).into()),
    };
    let Some(time) = times.instead_of(stat.st_mtime) else {
        return Ok(());
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(directory, name, flags, Mode::empty()).map_err(SysError::on("open", on))?;
    let found = fstat(&opened).map_err(SysError::on("look at", on))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_size < 16 {
        return Ok(());
    }
    let file = File::from(opened);
    let mut header = [0; 16];
    file.read_exact_at(&mut header, 0)
        .map_err(|error| SysError::io("read", on, &error))?;
    // Python, too, keeps the lower 32 bits.
    if header[4..8] == BY_TIME && header[8..12] == low(stat.st_mtime) {
        file.write_all_at(&low(time), 8)
            .map_err(|error| SysError::io("write", on, &error))?;
    }
    Ok(())
}

fn low(time: i64) -> [u8; 4] {
    let bytes = time.to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        began: 20_000 * DAY,
        ended: 20_000 * DAY + 100,
        instead: 3_652 * DAY,
    };
    const TIMES: Times = Times::MadeSince {
        began: SPAN.began,
        instead: SPAN.instead,
        limit: None,
    };

    fn write(root: &Path, path: &str, content: &[u8]) -> PathBuf {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn caches_and_logs_go_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for path in FILES
            .iter()
            .chain(&["root/.cache/pip/http/a", "home/me/.npm/_logs/x"])
        {
            write(root, path, b"x");
        }
        let kept = [
            "var/log/own.log",
            "var/lib/apt/lists/Packages",
            "root/.cache/other",
        ];
        for path in kept {
            write(root, path, b"x");
        }
        write(root, MACHINE_ID, b"0123\n");
        std::fs::remove_file(root.join("var/log/dpkg.log")).unwrap();
        std::os::unix::fs::symlink("own.log", root.join("var/log/dpkg.log")).unwrap();
        std::fs::create_dir_all(root.join("home/other")).unwrap();
        std::os::unix::fs::symlink("/", root.join("home/other/.cache")).unwrap();
        tidy(root, SPAN, TIMES).unwrap();
        for path in FILES.iter().filter(|path| **path != "var/log/dpkg.log") {
            assert!(!root.join(path).exists(), "{path}");
        }
        for path in ["root/.cache/pip", "home/me/.npm/_logs"] {
            assert!(!root.join(path).exists(), "{path}");
        }
        for path in kept.iter().chain(&["var/log/dpkg.log"]) {
            assert!(root.join(path).exists(), "{path}");
        }
        assert_eq!(std::fs::read(root.join(MACHINE_ID)).unwrap(), b"");
    }

    #[test]
    fn only_the_day_of_the_command_is_taken_from_shadow() {
        let before = b"root:*:19000:0:99999:7:::\nnew:!:20000:20000:99999:7:::\nodd\nlast:x:20000";
        let after = b"root:*:19000:0:99999:7:::\nnew:!:3652:20000:99999:7:::\nodd\nlast:x:20000";
        assert_eq!(undated(before, SPAN), after);
    }

    #[test]
    fn byte_code_follows_its_source() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let now = SPAN.began + 5;
        let pyc = |flags: u8, time: i64| {
            [
                &[1, 2, 3, 4, flags, 0, 0, 0][..],
                &low(time),
                &[9, 0, 0, 0],
                b"code",
            ]
            .concat()
        };
        let set = |path: &Path, time: i64| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time.unsigned_abs());
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        set(&write(root, "a/new.py", b"x"), now);
        set(&write(root, "a/old.py", b"x"), 1_000);
        for (path, before, after) in [
            (
                "a/__pycache__/new.cpython-312.pyc",
                pyc(0, now),
                pyc(0, SPAN.instead),
            ),
            (
                "a/__pycache__/new.cpython-312.opt-2.pyc",
                pyc(0, now),
                pyc(0, SPAN.instead),
            ),
            ("a/new.pyc", pyc(0, now), pyc(0, SPAN.instead)),
            // Of another state of the source: it stays as stale as it was.
            (
                "a/__pycache__/new.cpython-311.pyc",
                pyc(0, now - 1),
                pyc(0, now - 1),
            ),
            // By a hash of the source.
            ("a/__pycache__/new.pypy39.pyc", pyc(1, now), pyc(1, now)),
            ("a/__pycache__/old.cpython-312.pyc", pyc(0, 1_000), pyc(0, 1_000)),
            ("a/__pycache__/below.cpython-312.pyc", pyc(0, now), pyc(0, now)),
            ("a/__pycache__/short.pyc", b"x".to_vec(), b"x".to_vec()),
        ] {
            write(root, path, &before);
            tidy(root, SPAN, TIMES).unwrap();
            assert_eq!(std::fs::read(root.join(path)).unwrap(), after, "{path}");
        }
    }
}
