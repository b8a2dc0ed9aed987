//! A container's output on its way to where it is kept: cut into lines, and handed to files and to the journal.
//!
//! What comes in one round goes out in one write. Nothing here ends a container: a disk that is full and a journal that
//! does not answer cost lines, which are counted and told of once there is room again.

mod buffer;
mod file;
mod journal;

use crate::containers::logs::Source;
use crate::containers::logs::options::LogPlan;
use buffer::Buffer;
use file::FileLog;
use journal::Journal;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Docker cuts lines longer than this.
const LONGEST_LINE: usize = 16 << 10;

/// A container's log, open for writing.
#[derive(Debug)]
pub(super) enum Log {
    /// Whoever writes waits until it is written.
    Direct(Box<Writer>),
    /// `mode=non-blocking`.
    Buffered(Buffer),
}

impl Log {
    /// Opens the log, which goes on where it ended.
    pub(super) fn open(plan: &LogPlan) -> std::io::Result<Self> {
        let writer = Box::new(Writer::open(plan)?);
        Ok(match plan.buffer {
            None => Self::Direct(writer),
            Some(limit) => Self::Buffered(Buffer::new(writer, limit)),
        })
    }

    /// Adds output. Nothing need be written before [`Log::flush`].
    pub(super) fn add(&mut self, source: Source, bytes: &[u8], now: i64) {
        match self {
            Self::Direct(writer) => writer.add(source, bytes, now),
            Self::Buffered(buffer) => buffer.add(source, bytes, now),
        }
    }

    /// Writes what has been added.
    pub(super) fn flush(&mut self) {
        match self {
            Self::Direct(writer) => writer.flush(),
            Self::Buffered(buffer) => buffer.wake(),
        }
    }

    /// Writes all, also what never got its newline. Afterwards there is no thread but the caller's.
    pub(super) fn finish(&mut self, now: i64) {
        match self {
            Self::Direct(writer) => writer.finish(now),
            Self::Buffered(buffer) => buffer.finish(now),
        }
    }

    /// Returns what must become writable before more output should be added, if something must.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Direct(writer) => writer.waits_for(),
            Self::Buffered(_) => None,
        }
    }

    /// Returns how much output should be added at once: entries of a journal that waits need many times as much memory.
    pub(super) fn portion(&self) -> usize {
        match self {
            Self::Direct(writer) if writer.journal.is_some() => 0,
            Self::Direct(_) | Self::Buffered(_) => usize::MAX,
        }
    }

    /// Says whether there is memory that a log which is seldom written to should not keep.
    pub(super) fn is_warm(&self) -> bool {
        match self {
            Self::Direct(writer) => writer.is_warm(),
            Self::Buffered(_) => false,
        }
    }

    /// Gives that memory back.
    pub(super) fn cool(&mut self) {
        if let Self::Direct(writer) = self {
            writer.cool();
        }
    }
}

/// The rest of a line whose beginning has been written.
#[derive(Debug)]
struct Rest {
    /// When the line began, which all its pieces bear.
    time: i64,
    /// Which piece comes next, from 2.
    ordinal: u32,
    /// What tells the pieces of this line from those of others.
    number: u64,
}

/// One stream.
#[derive(Debug, Default)]
struct Stream {
    /// The beginning of a line whose end has not come yet.
    held: Vec<u8>,
    rest: Option<Rest>,
}

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy)]
struct Piece<'p> {
    source: Source,
    /// Without its newline.
    line: &'p [u8],
    /// There was a newline.
    complete: bool,
    time: i64,
    /// For a piece of a longer line: which of its line's it is, and which line.
    part: Option<(u32, u64)>,
}

/// Cuts output into lines and writes them.
#[derive(Debug)]
pub(super) struct Writer {
    streams: [Stream; 2],
    /// Lines that had to be cut, counted.
    cut: u64,
    file: Option<FileLog>,
    journal: Option<Journal>,
}

impl Writer {
    fn open(plan: &LogPlan) -> std::io::Result<Self> {
        Ok(Self {
            streams: <[Stream; 2]>::default(),
            cut: 0,
            file: plan.file.as_ref().map(FileLog::open).transpose()?,
            journal: plan.journal.as_ref().map(Journal::open).transpose()?,
        })
    }

    fn add(&mut self, source: Source, mut bytes: &[u8], now: i64) {
        while !bytes.is_empty() {
            let held = &mut self.streams[source as usize].held;
            let room = LONGEST_LINE - held.len();
            let window = &bytes[..bytes.len().min(room)];
            let end = memchr::memchr(b'\n', window);
            if held.is_empty()
                && let Some(end) = end
            {
                let line = &window[..end];
                self.put(source, line, true, now);
                bytes = &bytes[end + 1..];
                continue;
            }
            let piece = &window[..end.unwrap_or(window.len())];
            held.extend_from_slice(piece);
            bytes = &bytes[piece.len() + usize::from(end.is_some())..];
            if end.is_some() {
                let line = std::mem::take(held);
                self.put(source, &line, true, now);
            } else if held.len() == LONGEST_LINE {
                let mut line = std::mem::take(held);
                // A character is not torn, so that it is not replaced twice.
                let next = line.split_off(whole_characters(&line));
                self.put(source, &line, false, now);
                self.streams[source as usize].held = next;
            }
        }
    }

    fn put(&mut self, source: Source, line: &[u8], complete: bool, now: i64) {
        let rest = &mut self.streams[source as usize].rest;
        let (time, part) = match rest {
            None if complete => (now, None),
            None => {
                self.cut += 1;
                *rest = Some(Rest {
                    time: now,
                    ordinal: 2,
                    number: self.cut,
                });
                (now, Some((1, self.cut)))
            }
            Some(of) => {
                let known = (of.time, Some((of.ordinal, of.number)));
                of.ordinal += 1;
                if complete {
                    *rest = None;
                }
                known
            }
        };
        let piece = Piece {
            source,
            line,
            complete,
            time,
            part,
        };
        if let Some(file) = &mut self.file {
            file.put(piece);
        }
        if let Some(journal) = &mut self.journal {
            journal.put(piece);
        }
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            file.flush();
        }
        if let Some(journal) = &mut self.journal {
            journal.flush();
        }
    }

    fn finish(&mut self, now: i64) {
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(&mut self.streams[source as usize].held);
            if !rest.is_empty() {
                self.put(source, &rest, false, now);
            }
            // What comes after a restart begins a line.
            self.streams[source as usize] = Stream::default();
        }
        if let Some(file) = &mut self.file {
            file.finish();
        }
        if let Some(journal) = &mut self.journal {
            journal.finish();
        }
    }

    /// Writes that so much output was dropped before it came here; the lines that it tore end.
    fn lose(&mut self, bytes: u64, now: i64) {
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(&mut self.streams[source as usize].held);
            if !rest.is_empty() || self.streams[source as usize].rest.is_some() {
                self.put(source, &rest, true, now);
            }
        }
        let notice = format!("[{bytes} bytes of output were lost: the log was slower than the container]");
        self.put(Source::Stderr, notice.as_bytes(), true, now);
    }

    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.journal.as_ref().and_then(Journal::waits_for)
    }

    /// Waits until more output should be added, at most for `patience`.
    fn wait(&mut self, patience: Duration) {
        if let Some(journal) = &mut self.journal {
            journal.wait(patience);
        }
    }

    fn is_warm(&self) -> bool {
        self.file.as_ref().is_some_and(FileLog::is_warm)
    }

    fn cool(&mut self) {
        if let Some(file) = &mut self.file {
            file.cool();
        }
    }
}

/// Returns how many of the bytes are not the beginning of a character that goes on behind them.
fn whole_characters(bytes: &[u8]) -> usize {
    let torn = bytes
        .utf8_chunks()
        .last()
        .map(|chunk| chunk.invalid())
        .filter(|invalid| {
            // The decoder reports the longest beginning of a character; whether that is all is seen by its first byte.
            let wanted = match invalid.first() {
                Some(0xc2..=0xdf) => 2,
                Some(0xe0..=0xef) => 3,
                Some(0xf0..=0xf4) => 4,
                _ => 0,
            };
            bytes.ends_with(invalid) && invalid.len() < wanted
        })
        .map_or(0, <[u8]>::len);
    // A piece without a whole character would never end.
    if torn < bytes.len() {
        bytes.len() - torn
    } else {
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::logs::Format;
    use crate::containers::logs::options::FilePlan;
    use std::path::Path;

    pub(super) fn plan(path: &Path) -> LogPlan {
        LogPlan {
            file: Some(FilePlan {
                path: path.to_owned(),
                format: Format::JsonFile,
                max_size: 0,
                max_files: 1,
                compress: false,
                attributes: String::new(),
            }),
            ..LogPlan::default()
        }
    }

    /// Returns what stands in `log` and `time` of each line.
    pub(super) fn read(path: &Path) -> Vec<(String, String)> {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |name: &str| value[name].as_str().unwrap().to_owned();
                (text("log"), text("time"))
            })
            .collect()
    }

    fn written(work: impl FnOnce(&mut Log)) -> Vec<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        work(&mut Log::open(&plan(&path)).unwrap());
        read(&path)
    }

    #[test]
    fn streams_are_cut_into_lines_apart() {
        let lines = written(|log| {
            log.add(Source::Stdout, b"one\ntw", 0);
            log.add(Source::Stderr, b"problem\n", 0);
            log.add(Source::Stdout, b"o\n\n", 0);
            log.add(Source::Stdout, b"end", 0);
            log.finish(0);
        });
        let lines: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines, ["one\n", "problem\n", "two\n", "\n", "end"]);
    }

    #[test]
    fn overlong_lines_are_cut_where_docker_cuts_them_and_bear_one_time() {
        let lengths = |length: usize| {
            let long = vec![b'x'; length];
            let lines = written(|log| {
                for (time, bytes) in (0..).zip(long.chunks(1000)) {
                    log.add(Source::Stdout, bytes, time * 1_000_000_000);
                }
                log.add(Source::Stdout, b"\nnext\n", 99_000_000_000);
                log.finish(0);
            });
            let (next, pieces) = lines.split_last().unwrap();
            assert_eq!(next, &("next\n".to_owned(), "1970-01-01T00:01:39Z".to_owned()));
            assert!(pieces.iter().all(|(_, time)| *time == pieces[0].1), "{length}");
            pieces.iter().map(|(line, _)| line.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(LONGEST_LINE - 1), [LONGEST_LINE]);
        assert_eq!(lengths(LONGEST_LINE), [LONGEST_LINE, 1]);
        assert_eq!(lengths(LONGEST_LINE * 2 + 5), [LONGEST_LINE, LONGEST_LINE, 6]);
    }

    #[test]
    fn a_character_is_not_torn() {
        let long = "x".repeat(LONGEST_LINE - 1) + "€uro";
        let lines = written(|log| {
            log.add(Source::Stdout, long.as_bytes(), 0);
            log.finish(0);
        });
        assert_eq!(lines[0].0.len(), LONGEST_LINE - 1);
        assert_eq!(lines[1].0, "€uro");
        for (bytes, whole) in [
            (&b"abc"[..], 3),
            (b"ab\xe2\x82", 2),
            (b"ab\xe2", 2),
            (b"ab\xff", 3),
            (b"\xe2\x82", 2),
            ("€".as_bytes(), 3),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
