//! The log in Docker's json-file format: one document a line, `{"log":…,"stream":…,"time":…}`.
//!
//! What comes in one round goes out in one write. A disk that is full costs lines, which are counted and told of once
//! there is room again, never the container.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Docker cuts lines longer than this.
const LONGEST_LINE: usize = 16 << 10;
/// What is encoded is written at the latest when there is so much of it.
const BATCH: usize = 256 << 10;

/// A container's log, open for writing.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// The beginning of a line whose end has not come yet, by stream.
    unfinished: [Vec<u8>; 2],
    encoded: Vec<u8>,
    clock: Clock,
    /// Bytes that could not be written.
    lost: u64,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Stdout = 0,
    Stderr = 1,
}

impl Log {
    /// Opens the log at `path`, which goes on where it ended. `max_size` 0 is no limit.
    pub(super) fn open(path: &Path, max_size: u64, max_files: u32) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            max_size,
            max_files: max_files.max(1),
            unfinished: [Vec::new(), Vec::new()],
            encoded: Vec::new(),
            clock: Clock::default(),
            lost: 0,
        })
    }

    /// Adds output. Nothing is written before [`Log::flush`], unless it is a lot.
    pub(super) fn add(&mut self, source: Source, mut bytes: &[u8], now: i64) {
        self.clock.set(now);
        while !bytes.is_empty() {
            let unfinished = &mut self.unfinished[source as usize];
            let room = LONGEST_LINE - unfinished.len();
            let window = &bytes[..bytes.len().min(room)];
            let (piece, complete) = match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => (&window[..=end], true),
                None => (window, window.len() == room),
            };
            bytes = &bytes[piece.len()..];
            if !complete {
                unfinished.extend_from_slice(piece);
            } else if unfinished.is_empty() {
                encode(&mut self.encoded, piece, source, &self.clock);
            } else {
                unfinished.extend_from_slice(piece);
                encode(&mut self.encoded, unfinished, source, &self.clock);
                *unfinished = Vec::new();
            }
            if self.encoded.len() >= BATCH || self.is_full() {
                self.flush();
            }
        }
    }

    /// Says whether what has been added fills the file to its limit.
    fn is_full(&self) -> bool {
        self.max_size > 0 && self.size + self.encoded.len() as u64 >= self.max_size
    }

    /// Writes what has been added.
    pub(super) fn flush(&mut self) {
        if self.encoded.is_empty() {
            return;
        }
        if self.max_size > 0 && self.size >= self.max_size {
            self.rotate();
        }
        if self.lost > 0 {
            let notice = format!(
                "[{} bytes of output were lost: the log could not be written]\n",
                self.lost
            );
            let mut told = Vec::new();
            encode(&mut told, notice.as_bytes(), Source::Stderr, &self.clock);
            if self.file.write_all(&told).is_ok() {
                self.size += told.len() as u64;
                self.lost = 0;
            }
        }
        let length = self.encoded.len() as u64;
        if self.file.write_all(&self.encoded).is_ok() {
            self.size += length;
        } else {
            self.lost += length;
            self.mend();
        }
        self.encoded = Vec::new();
    }

    /// Writes what never got its newline.
    pub(super) fn finish(&mut self, now: i64) {
        self.clock.set(now);
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(&mut self.unfinished[source as usize]);
            if !rest.is_empty() {
                encode(&mut self.encoded, &rest, source, &self.clock);
            }
        }
        self.flush();
    }

    /// Cuts a half-written line off, so that the next one is readable.
    fn mend(&mut self) {
        if self.file.set_len(self.size).is_err() {
            // Then at least it ends here.
            self.file.write_all(b"\n").unwrap_or_default();
        }
    }

    /// Moves the log to `log.1`, that to `log.2`, and so on; the oldest goes. Where that fails, the log grows on.
    fn rotate(&mut self) {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.max_files == 1 {
            if self.file.set_len(0).is_ok() {
                self.size = 0;
            }
            return;
        }
        for number in (1..self.max_files - 1).rev() {
            // One that is not there is nothing to move.
            std::fs::rename(numbered(number), numbered(number + 1)).unwrap_or_default();
        }
        if std::fs::rename(&self.path, numbered(1)).is_err() {
            return;
        }
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(&self.path);
        if let Ok(file) = opened {
            self.file = file;
            self.size = 0;
        }
    }
}

fn encode(into: &mut Vec<u8>, line: &[u8], source: Source, clock: &Clock) {
    into.reserve(line.len() + 80);
    into.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(into, chunk.valid());
        if !chunk.invalid().is_empty() {
            into.extend_from_slice("\\ufffd".as_bytes());
        }
    }
    into.extend_from_slice(match source {
        Source::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        Source::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    clock.write(into);
    into.extend_from_slice(b"\"}\n");
}

/// Escapes as Go's encoder does, which Docker's readers know: also what HTML and JavaScript trip over.
fn escape(into: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        let (escaped, length): (Option<&[u8]>, usize) = match byte {
            b'"' => (Some(b"\\\""), 1),
            b'\\' => (Some(b"\\\\"), 1),
            b'\n' => (Some(b"\\n"), 1),
            b'\r' => (Some(b"\\r"), 1),
            b'\t' => (Some(b"\\t"), 1),
            0..0x20 | b'<' | b'>' | b'&' => (None, 1),
            0xe2 if bytes[position..].starts_with("\u{2028}".as_bytes()) => (Some(b"\\u2028"), 3),
            0xe2 if bytes[position..].starts_with("\u{2029}".as_bytes()) => (Some(b"\\u2029"), 3),
            _ => {
                position += 1;
                continue;
            }
        };
        into.extend_from_slice(&bytes[plain..position]);
        match escaped {
            Some(escaped) => into.extend_from_slice(escaped),
            None => into.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
        position += length;
        plain = position;
    }
    into.extend_from_slice(&bytes[plain..]);
}

/// The time as RFC 3339 with nanoseconds, without their trailing zeros; all but the fraction is kept from line to line.
#[derive(Debug, Default)]
struct Clock {
    second: i64,
    nanosecond: u32,
    text: String,
}

impl Clock {
    fn set(&mut self, now: i64) {
        let second = now.div_euclid(1_000_000_000);
        self.nanosecond = u32::try_from(now.rem_euclid(1_000_000_000)).unwrap_or_default();
        if self.text.is_empty() || second != self.second {
            self.second = second;
            let (day, time) = (second.div_euclid(86400), second.rem_euclid(86400));
            let (year, month, day) = civil(day);
            self.text = format!(
                "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
                time / 3600,
                time / 60 % 60,
                time % 60
            );
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.text.as_bytes());
        if self.nanosecond > 0 {
            let fraction = format!(".{:09}", self.nanosecond);
            into.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
        }
        into.push(b'Z');
    }
}

/// Returns year, month and day of a day counted from 1970-01-01. Counting years from March puts the leap day last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(work: impl FnOnce(&mut Log)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(&path, 0, 1).unwrap();
        work(&mut log);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        let now = 1_700_000_000_120_000_000;
        let text = written(|log| {
            log.add(Source::Stdout, b"one\ntw", now);
            log.add(Source::Stderr, b"<&>\"\\\x1b\n", now);
            log.add(Source::Stdout, b"o\n", now);
            log.add(Source::Stdout, b"\xff end", 1_700_000_000_000_000_000);
            log.finish(1_700_000_000_000_000_000);
        });
        let expected = concat!(
            r#"{"log":"one\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}"#,
            "\n",
            r#"{"log":"\u003c\u0026\u003e\"\\\u001b\n","stream":"stderr","time":"2023-11-14T22:13:20.12Z"}"#,
            "\n",
            r#"{"log":"two\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}"#,
            "\n",
            r#"{"log":"\ufffd end","stream":"stdout","time":"2023-11-14T22:13:20Z"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn overlong_lines_are_cut_where_docker_cuts_them() {
        let long = vec![b'x'; LONGEST_LINE * 2 + 5];
        let text = written(|log| {
            log.add(Source::Stdout, &long, 1);
            log.add(Source::Stdout, b"\n", 1);
            log.finish(1);
        });
        let lengths: Vec<usize> = text
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["log"].as_str().unwrap().len()
            })
            .collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 6]);
    }

    #[test]
    fn a_full_log_is_moved_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(&path, 150, 3).unwrap();
        for number in 0..10 {
            log.add(
                Source::Stdout,
                format!("line {number} {}\n", "x".repeat(60)).as_bytes(),
                1,
            );
            log.flush();
        }
        let mut files: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["log", "log.1", "log.2"]);
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(read("log").contains("line 9"));
        assert!(read("log.1").contains("line 7") && !read("log.1").contains("line 8"));
        assert!(read("log.2").contains("line 5"));
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_723, (2024, 1, 1)),
            (24_855, (2038, 1, 19)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(civil(days), date);
        }
    }
}
