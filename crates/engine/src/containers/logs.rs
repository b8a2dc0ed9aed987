//! `logs`: reading what the monitor wrote.
use super::record::ContainerId;
use super::request::LogRequest;
use super::session::{Mode, Session};
use super::{Containers, wait};
use crate::EngineError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::SysError;

/// What is read at a time when lines are counted from the end.
const CHUNK: u64 = 64 << 10;
/// A line of ours is far shorter, even with every byte escaped; a longer one is damage.
const LONGEST: u64 = 1 << 20;

/// A piece of a log, one line or part of an overlong one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Whether it came from standard error.
    pub stderr: bool,
    /// The bytes, newline included where there was one.
    pub bytes: Vec<u8>,
}

/// A line of the file.
#[derive(serde::Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    log: Cow<'l, str>,
    #[serde(borrow)]
    stream: Cow<'l, str>,
    #[serde(borrow)]
    time: Cow<'l, str>,
}

impl Containers<'_> {
    /// Calls `each` with the entries in order, until it returns `false` or the log ends: with `follow`, when the
    /// container has stopped.
    pub fn logs(
        &self,
        id: &ContainerId,
        request: &LogRequest,
        each: &mut dyn FnMut(LogEntry) -> bool,
    ) -> Result<(), EngineError> {
        let record = self.record(id)?;
        if record.settings.log_driver == "none" {
            return Err(EngineError::NotSupported(
                "reading logs: the configured logging driver does not support reading; that".into(),
            ));
        }
        let locations = self.engine.locations();
        let directory = locations.container_directory(id);
        let path = directory.join("log");
        let failed = |error: io::Error| EngineError::from(SysError::io("read the log", &path, &error));
        // Before anything is read: what is written afterwards is then told of.
        let mut watch = None;
        if request.follow {
            watch = Some(Watch {
                inotify: watch_directory(&directory)?,
                session: wait::connect(locations, id, Mode::Wait)?,
            });
        }
        let mut files = open_files(&path).map_err(failed)?;
        if let Some(tail) = request.tail {
            skip_to_tail(&mut files, tail).map_err(failed)?;
        }
        let mut reader = Reader {
            request,
            partial: Vec::new(),
        };
        let mut files = VecDeque::from(files);
        let Some(mut current) = files.pop_front() else {
            return Ok(());
        };
        loop {
            if !reader.read(&mut current, each).map_err(failed)? {
                return Ok(());
            }
            if let Some(next) = files.pop_front() {
                current = next;
                continue;
            }
            let Some(watching) = &mut watch else {
                return Ok(());
            };
            // Rotated: what came after what we have is in the files after it.
            let newer = newer_files(&path, &current).map_err(failed)?;
            if !newer.is_empty() {
                // The monitor wrote to it until it moved it.
                if !reader.read(&mut current, each).map_err(failed)? {
                    return Ok(());
                }
                files = newer.into();
                continue;
            }
            if watching.wait().map_err(failed)? {
                watch = None;
            }
        }
    }
}

/// What tells that there is more to read, or that there will be no more.
struct Watch {
    inotify: OwnedFd,
    session: Option<Session>,
}

impl Watch {
    /// Waits for a change; `true` if the container has stopped.
    fn wait(&mut self) -> io::Result<bool> {
        let Some(session) = &mut self.session else {
            return Ok(true);
        };
        let mut set = [
            PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(session.as_fd(), PollFlags::IN),
        ];
        match poll(&mut set, None) {
            Err(rustix::io::Errno::INTR) => return Ok(false),
            result => result?,
        };
        let (changed, told) = (!set[0].revents().is_empty(), !set[1].revents().is_empty());
        if changed {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
            while events.next().is_ok() {}
        }
        if told {
            return match session.next() {
                Ok(Some(super::session::SessionEvent::Exited(_)) | None) => Ok(true),
                Ok(Some(_)) => Ok(false),
                Err(error) if super::session::is_gone(&error) => Ok(true),
                Err(error) => Err(error),
            };
        }
        Ok(false)
    }
}

fn watch_directory(directory: &Path) -> Result<OwnedFd, EngineError> {
    let failed = |errno| SysError::on("watch", directory)(errno);
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let inotify = inotify::init(flags).map_err(failed)?;
    let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&inotify, directory, wanted).map_err(failed)?;
    Ok(inotify)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

/// Opens the log's files, the oldest first. None of them need be there.
fn open_files(path: &Path) -> io::Result<Vec<BufReader<File>>> {
    let mut files = Vec::new();
    let open = |path: &Path| match File::open(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(64 << 10, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    files.extend(open(path)?);
    for number in 1.. {
        match open(&numbered(path, number))? {
            Some(file) => files.push(file),
            None => break,
        }
    }
    files.reverse();
    // A rotation between two of our looks makes us open one file twice.
    let mut seen = std::collections::HashSet::new();
    let mut unique = Vec::new();
    for file in files {
        if seen.insert(file.get_ref().metadata()?.ino()) {
            unique.push(file);
        }
    }
    Ok(unique)
}

/// Returns the files that came after `current`.
fn newer_files(path: &Path, current: &BufReader<File>) -> io::Result<Vec<BufReader<File>>> {
    let inode = current.get_ref().metadata()?.ino();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.ino() == inode => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let files = open_files(path)?;
    let mut place = None;
    for (index, file) in files.iter().enumerate() {
        if file.get_ref().metadata()?.ino() == inode {
            place = Some(index);
        }
    }
    // One that has been rotated away altogether was older than all.
    Ok(files
        .into_iter()
        .skip(place.map_or(0, |place| place + 1))
        .collect())
}

/// Moves to the first of the last `tail` lines, and drops the files before it.
fn skip_to_tail(files: &mut Vec<BufReader<File>>, tail: u64) -> io::Result<()> {
    let mut wanted = tail;
    for index in (0..files.len()).rev() {
        let file = files[index].get_mut();
        let size = file.metadata()?.len();
        let (found, offset) = from_end(file, size, wanted)?;
        if found == wanted {
            files[index].seek(SeekFrom::Start(offset))?;
            files.drain(..index);
            return Ok(());
        }
        files[index].seek(SeekFrom::Start(0))?;
        wanted -= found;
    }
    Ok(())
}

/// Counts lines from the end, at most `wanted`, without reading what lies before them. Returns how many there are and
/// where the first of them begins.
fn from_end(file: &mut File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
    if wanted == 0 {
        return Ok((0, size));
    }
    let mut buffer = Vec::new();
    let mut found = 0;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        buffer.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer)?;
        for (index, _) in buffer
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let after = start + index as u64 + 1;
            if after == size {
                // The newline that ends the last line begins none.
                continue;
            }
            found += 1;
            if found == wanted {
                return Ok((found, after));
            }
        }
        end = start;
    }
    let lines = if size > 0 { found + 1 } else { 0 };
    Ok((lines.min(wanted), 0))
}

struct Reader<'r> {
    request: &'r LogRequest,
    /// A line that was not yet written to its end.
    partial: Vec<u8>,
}

impl Reader<'_> {
    /// Reads to the end of the file; `false` if nobody wants more.
    fn read(
        &mut self,
        file: &mut BufReader<File>,
        each: &mut dyn FnMut(LogEntry) -> bool,
    ) -> io::Result<bool> {
        loop {
            let left = LONGEST - self.partial.len() as u64;
            let count = file.by_ref().take(left).read_until(b'\n', &mut self.partial)?;
            if count == 0 && left > 0 {
                return Ok(true);
            }
            if self.partial.last() != Some(&b'\n') && self.partial.len() as u64 != LONGEST {
                return Ok(true);
            }
            let line = std::mem::take(&mut self.partial);
            // A damaged line costs itself only.
            let Ok(line) = serde_json::from_slice::<Line<'_>>(&line) else {
                continue;
            };
            if !self.deliver(&line, each) {
                return Ok(false);
            }
        }
    }

    fn deliver(&self, line: &Line<'_>, each: &mut dyn FnMut(LogEntry) -> bool) -> bool {
        let request = self.request;
        // A time that cannot be read is the oldest there is.
        let time = line.time.parse::<jiff::Timestamp>().unwrap_or_default();
        let time = i64::try_from(time.as_nanosecond()).unwrap_or_default();
        if request.until.is_some_and(|until| time > until) {
            return false;
        }
        let stderr = line.stream == "stderr";
        let wanted = if stderr { request.stderr } else { request.stdout };
        if !wanted || request.since.is_some_and(|since| time < since) {
            return true;
        }
        each(LogEntry {
            time,
            stderr,
            bytes: line.log.as_bytes().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tail_of(contents: &[&str], tail: u64) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for (index, content) in contents.iter().rev().enumerate() {
            let path = match u32::try_from(index).unwrap() {
                0 => path.clone(),
                number => numbered(&path, number),
            };
            File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
        }
        let mut files = open_files(&path).unwrap();
        skip_to_tail(&mut files, tail).unwrap();
        files
            .into_iter()
            .flat_map(|file| file.lines().map(Result::unwrap))
            .collect()
    }

    #[test]
    fn the_tail_reaches_back_over_files() {
        let contents = ["a\nb\n", "c\nd\n", "e\n"];
        for (tail, expected) in [
            (0, vec![]),
            (1, vec!["e"]),
            (2, vec!["d", "e"]),
            (3, vec!["c", "d", "e"]),
            (4, vec!["b", "c", "d", "e"]),
            (5, vec!["a", "b", "c", "d", "e"]),
            (9, vec!["a", "b", "c", "d", "e"]),
        ] {
            assert_eq!(tail_of(&contents, tail), expected, "{tail}");
        }
        assert!(tail_of(&[""], 3).is_empty());
    }

    #[test]
    fn the_tail_of_a_large_file_is_found_without_its_beginning() {
        let line = "x".repeat(1000);
        let content = format!("{line}\n").repeat(500) + "last\n";
        assert_eq!(tail_of(&[&content], 2), [line.as_str(), "last"]);
    }
}
