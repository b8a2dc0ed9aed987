//! The files of a log: written in batches, rotated at a size, compressed aside.

use super::Piece;
use crate::containers::logs::options::FilePlan;
use crate::containers::logs::{Encoder, Format, Identity, Source, compressed, numbered, unfinished};
use flate2::{Compression, GzBuilder};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is encoded is written at the latest when there is so much of it.
const BATCH: usize = 256 << 10;
/// A buffer that a quiet log may keep.
const SMALL: usize = 8 << 10;
/// After a failure nothing is tried for so long: a full disk does not get free by being asked.
const PATIENCE: Duration = Duration::from_millis(100);

/// A log in files.
#[derive(Debug)]
pub(super) struct FileLog {
    plan: FilePlan,
    encoder: Encoder,
    file: File,
    size: u64,
    encoded: Vec<u8>,
    /// Lines in `encoded`.
    lines: u64,
    /// The last time that a line bore.
    time: i64,
    loss: Option<Loss>,
    compressing: Option<Compressing>,
}

/// What could not be written.
#[derive(Debug)]
struct Loss {
    lines: u64,
    why: io::Error,
    /// When it is tried again.
    again: Instant,
}

/// A file that is being compressed.
#[derive(Debug)]
struct Compressing {
    /// The number that the file has now; 0 if it is gone.
    number: Arc<Mutex<u32>>,
    thread: JoinHandle<()>,
}

impl FileLog {
    pub(super) fn open(plan: &FilePlan) -> io::Result<Self> {
        let mut file = open_log(&plan.path)?;
        let size = mend(&mut file, plan.format)?;
        // Of a monitor that was killed while it compressed.
        std::fs::remove_file(unfinished(&plan.path)).unwrap_or_default();
        Ok(Self {
            encoder: Encoder::new(plan.format, plan.attributes.clone()),
            plan: plan.clone(),
            file,
            size,
            encoded: Vec::new(),
            lines: 0,
            time: 0,
            loss: None,
            compressing: None,
        })
    }

    pub(super) fn put(&mut self, piece: Piece<'_>) {
        self.encoder.encode(
            &mut self.encoded,
            piece.line,
            piece.complete,
            piece.source,
            piece.time,
        );
        self.lines += 1;
        self.time = piece.time;
        if self.encoded.len() >= BATCH || self.is_full() {
            self.flush();
        }
    }

    /// Says whether what has been added fills the file to its limit.
    fn is_full(&self) -> bool {
        self.plan.max_size > 0 && self.size + self.encoded.len() as u64 >= self.plan.max_size
    }

    /// Writes what has been added.
    pub(super) fn flush(&mut self) {
        if self.encoded.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.loss.as_ref().is_some_and(|loss| now < loss.again) {
            self.drop_lines(None);
            return;
        }
        if self.plan.max_size > 0 && self.size >= self.plan.max_size {
            self.rotate();
        }
        let notice = self.notice();
        let mut result = Ok(());
        if !notice.is_empty() {
            result = self.file.write_all(&notice);
        }
        match result.and_then(|()| self.file.write_all(&self.encoded)) {
            Ok(()) => {
                self.size += (notice.len() + self.encoded.len()) as u64;
                self.lines = 0;
                self.encoded.clear();
                self.loss = None;
            }
            Err(why) => {
                // A notice that is written is the last for as long as it can be, so it counts only with all that follows.
                if notice.is_empty() {
                    self.keep_what_is_whole();
                }
                self.cut_off();
                self.drop_lines(Some(why));
            }
        }
    }

    /// Encodes what there is to say about lines that were lost.
    fn notice(&mut self) -> Vec<u8> {
        let mut notice = Vec::new();
        if let Some(loss) = &self.loss {
            let text = format!(
                "[{} lines of output were lost: the log could not be written: {}]",
                loss.lines, loss.why
            );
            self.encoder
                .encode(&mut notice, text.as_bytes(), true, Source::Stderr, self.time);
        }
        notice
    }

    /// Counts those of the lines as written that a failed write has written to their ends.
    fn keep_what_is_whole(&mut self) {
        let end = self.file.metadata().map_or(self.size, |metadata| metadata.len());
        let written = usize::try_from(end.saturating_sub(self.size)).unwrap_or_default();
        let (length, lines) = whole(self.plan.format, &self.encoded[..written.min(self.encoded.len())]);
        self.size += length as u64;
        self.lines = self.lines.saturating_sub(lines);
    }

    /// Cuts what a failed write left off, so that the next line is readable.
    fn cut_off(&mut self) {
        let end = self.file.metadata().map_or(self.size, |metadata| metadata.len());
        if end > self.size {
            // If that fails too, the reader finds a damaged line.
            self.file.set_len(self.size).unwrap_or_default();
        } else {
            // Somebody has emptied it.
            self.size = end;
        }
    }

    /// Counts what has been added as lost.
    fn drop_lines(&mut self, why: Option<io::Error>) {
        let lines = std::mem::take(&mut self.lines);
        self.encoded = Vec::new();
        let again = Instant::now() + PATIENCE;
        match (&mut self.loss, why) {
            (Some(loss), why) => {
                loss.lines += lines;
                if let Some(why) = why {
                    (loss.why, loss.again) = (why, again);
                }
            }
            (none, Some(why)) => *none = Some(Loss { lines, why, again }),
            (None, None) => {}
        }
    }

    /// Writes all that there is. Afterwards nothing is being compressed.
    pub(super) fn finish(&mut self) {
        if let Some(loss) = &mut self.loss {
            loss.again = Instant::now();
        }
        self.flush();
        let notice = self.notice();
        if !notice.is_empty() {
            if self.file.write_all(&notice).is_ok() {
                self.size += notice.len() as u64;
                self.loss = None;
            } else {
                self.cut_off();
            }
        }
        self.cool();
        if let Some(compressing) = self.compressing.take() {
            // A panic in there leaves a file that is not compressed.
            compressing.thread.join().unwrap_or_default();
        }
    }

    pub(super) fn is_warm(&self) -> bool {
        self.encoded.capacity() > SMALL
    }

    pub(super) fn cool(&mut self) {
        if self.encoded.is_empty() {
            self.encoded = Vec::new();
        }
    }

    /// Moves the log to `log.1`, that to `log.2`, and so on; the oldest goes. Where that fails, the log grows on.
    fn rotate(&mut self) {
        let path = self.plan.path.clone();
        if self
            .compressing
            .as_ref()
            .is_some_and(|it| it.thread.is_finished())
            && let Some(done) = self.compressing.take()
        {
            done.thread.join().unwrap_or_default();
        }
        // While files change their numbers, none of them is replaced by its compressed form.
        let number = self.compressing.as_ref().map(|it| Arc::clone(&it.number));
        let mut number = number
            .as_deref()
            .map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
        let oldest = self.plan.max_files - 1;
        remove(&path, oldest);
        for number in (1..oldest).rev() {
            // One that is not there is nothing to move.
            for name in [numbered, compressed] {
                std::fs::rename(name(&path, number), name(&path, number + 1)).unwrap_or_default();
            }
        }
        if let Some(number) = number.as_deref_mut()
            && *number > 0
        {
            *number = if *number < oldest { *number + 1 } else { 0 };
        }
        drop(number);
        let moved = if oldest == 0 {
            // Readers keep what they have open; another file takes its name.
            std::fs::remove_file(&path)
        } else {
            std::fs::rename(&path, numbered(&path, 1))
        };
        // Somebody else may have taken it away.
        if moved.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            return;
        }
        match open_log(&path) {
            Ok(file) => {
                self.file = file;
                self.size = 0;
                if oldest > 0 && self.plan.compress {
                    self.compress();
                }
            }
            // There is no room for another file: what was moved is written on under its own name.
            Err(_no_room) if oldest > 0 => {
                std::fs::rename(numbered(&path, 1), &path).unwrap_or_default();
            }
            Err(_no_room) => {}
        }
    }

    /// Begins to compress `log.1`. If another file is still being compressed, this one stays as it is: the log does not
    /// wait, and the limit on its size holds anyway.
    fn compress(&mut self) {
        if self.compressing.is_some() {
            return;
        }
        // Opened here: its name may be another file's by the time that the thread runs.
        let Ok(file) = File::open(numbered(&self.plan.path, 1)) else {
            return;
        };
        let number = Arc::new(Mutex::new(1));
        let (path, now) = (self.plan.path.clone(), Arc::clone(&number));
        let thread = std::thread::Builder::new()
            .name("coracle-gzip".into())
            .stack_size(256 << 10)
            .spawn(move || {
                // A file that cannot be compressed is kept as it is.
                compress_file(file, &path, &now).unwrap_or_default();
                std::fs::remove_file(unfinished(&path)).unwrap_or_default();
            });
        // Without a thread it stays as it is, too.
        self.compressing = thread.ok().map(|thread| Compressing { number, thread });
    }
}

/// Returns how many bytes from the beginning are whole records, and how many records that is.
fn whole(format: Format, bytes: &[u8]) -> (usize, u64) {
    match format {
        Format::JsonFile => (
            memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1),
            memchr::memchr_iter(b'\n', bytes).count() as u64,
        ),
        Format::Local => {
            let (mut end, mut records) = (0, 0);
            while let Some(head) = bytes[end..].first_chunk::<4>() {
                let next = end + u32::from_le_bytes(*head) as usize + 8;
                if next > bytes.len() {
                    break;
                }
                (end, records) = (next, records + 1);
            }
            (end, records)
        }
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o640)
        .open(path)
}

fn remove(path: &Path, number: u32) {
    if number > 0 {
        for name in [numbered, compressed] {
            // Mostly there is one of the two.
            std::fs::remove_file(name(path, number)).unwrap_or_default();
        }
    }
}

/// Compresses a rotated file and puts the result into its place, under the number that it has by then.
fn compress_file(mut file: File, path: &Path, number: &Mutex<u32>) -> io::Result<()> {
    // It competes with what containers do.
    rustix::process::nice(10).unwrap_or_default();
    let metadata = file.metadata()?;
    let temporary = unfinished(path);
    let made = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o640)
        .open(&temporary)?;
    let mut encoder = GzBuilder::new()
        .extra(Identity::of(&metadata).header_field())
        .write(made, Compression::fast());
    io::copy(&mut file, &mut encoder)?;
    encoder.finish()?;
    // As old as what is in it.
    let modified = Timespec {
        tv_sec: metadata.mtime(),
        tv_nsec: metadata.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: modified,
        last_modification: modified,
    };
    utimensat(CWD, &temporary, &times, AtFlags::empty())?;
    let number = number.lock().unwrap_or_else(PoisonError::into_inner);
    if *number > 0 {
        // A reader that finds the one no more finds the other.
        std::fs::rename(&temporary, compressed(path, *number))?;
        std::fs::remove_file(numbered(path, *number))?;
    }
    Ok(())
}

/// Makes the end of a file that a killed monitor or host may have left the end of a record; returns its size.
fn mend(file: &mut File, format: Format) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(0);
    }
    match format {
        Format::JsonFile => {
            let mut last = [0];
            file.read_exact_at(&mut last, size - 1)?;
            if last != *b"\n" {
                // A torn line costs itself only.
                file.write_all(b"\n")?;
                return Ok(size + 1);
            }
            Ok(size)
        }
        Format::Local => {
            let whole = whole_records(file, size)?;
            if whole < size {
                file.set_len(whole)?;
            }
            Ok(whole)
        }
    }
}

/// Returns where the last whole record of our own format ends.
fn whole_records(file: &mut File, size: u64) -> io::Result<u64> {
    let word = |at: u64| -> io::Result<u64> {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, at)?;
        Ok(u64::from(u32::from_le_bytes(word)))
    };
    if size >= 8 {
        let length = word(size - 4)?;
        if let Some(start) = size.checked_sub(length + 8)
            && word(start)? == length
        {
            return Ok(size);
        }
    }
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::with_capacity(64 << 10, file);
    let mut end = 0;
    loop {
        let mut word = [0; 4];
        if reader.read_exact(&mut word).is_err() {
            return Ok(end);
        }
        let length = i64::from(u32::from_le_bytes(word));
        if reader.seek_relative(length).is_err() {
            return Ok(end);
        }
        let mut again = [0; 4];
        if reader.read_exact(&mut again).is_err() || again != word {
            return Ok(end);
        }
        end += u64::try_from(length).unwrap_or_default() + 8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan as plan_of;
    use super::*;

    fn piece(line: &[u8]) -> Piece<'_> {
        Piece {
            source: Source::Stdout,
            line,
            complete: true,
            time: 1,
            part: None,
        }
    }

    fn plan(path: &Path, max_size: u64, max_files: u32, compress: bool) -> FilePlan {
        FilePlan {
            max_size,
            max_files,
            compress,
            ..plan_of(path).file.unwrap()
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(path: &Path) -> String {
        let mut text = String::new();
        let file = File::open(path).unwrap();
        if path.extension().is_some_and(|it| it == "gz") {
            flate2::read::GzDecoder::new(file)
                .read_to_string(&mut text)
                .unwrap();
        } else {
            let mut file = file;
            file.read_to_string(&mut text).unwrap();
        }
        text
    }

    #[test]
    fn a_full_log_is_moved_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = FileLog::open(&plan(&path, 150, 3, false)).unwrap();
        for number in 0..10 {
            log.put(piece(format!("line {number} {}", "x".repeat(60)).as_bytes()));
            log.flush();
        }
        assert_eq!(names(directory.path()), ["log", "log.1", "log.2"]);
        let read = |name: &str| text(&directory.path().join(name));
        assert!(read("log").contains("line 9"));
        assert!(read("log.1").contains("line 7") && !read("log.1").contains("line 8"));
        assert!(read("log.2").contains("line 5"));
    }

    #[test]
    fn a_single_file_begins_anew_and_leaves_readers_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = FileLog::open(&plan(&path, 60, 1, false)).unwrap();
        log.put(piece(b"old"));
        log.flush();
        let mut reader = File::open(&path).unwrap();
        log.put(piece(b"new"));
        log.flush();
        assert_eq!(names(directory.path()), ["log"]);
        assert!(text(&path).contains("new") && !text(&path).contains("old"));
        let mut kept = String::new();
        reader.read_to_string(&mut kept).unwrap();
        assert!(kept.contains("old"));
    }

    #[test]
    fn rotated_files_are_compressed_and_keep_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = FileLog::open(&plan(&path, 100, 4, true)).unwrap();
        for number in 0..12 {
            log.put(piece(format!("line {number} {}", "x".repeat(60)).as_bytes()));
            log.flush();
            // Sometimes it has been compressed by the next time, sometimes not.
            if number % 3 == 0 {
                log.finish();
            }
        }
        log.finish();
        let names = names(directory.path());
        assert_eq!(names.len(), 4, "{names:?}");
        let mut all = Vec::new();
        for number in (0..4).rev() {
            let name = match number {
                0 => path.clone(),
                number if compressed(&path, number).exists() => compressed(&path, number),
                number => numbered(&path, number),
            };
            let text = text(&name);
            all.extend(text.lines().map(|line| line[13..15].trim().to_owned()));
        }
        assert_eq!(all, ["8", "9", "10", "11"]);
        assert!(names.concat().contains(".gz"), "{names:?}");
    }

    #[test]
    fn what_could_not_be_written_is_counted_and_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = FileLog::open(&plan(&path, 0, 1, false)).unwrap();
        log.put(piece(b"before"));
        log.flush();
        // As with a full disk: the descriptor takes nothing.
        let file = std::mem::replace(
            &mut log.file,
            OpenOptions::new().write(true).open("/dev/full").unwrap(),
        );
        for _ in 0..3 {
            log.put(piece(b"lost"));
            log.put(piece(b"lost"));
            log.flush();
        }
        log.file = file;
        std::thread::sleep(PATIENCE);
        log.put(piece(b"after"));
        log.flush();
        log.finish();
        let lines: Vec<_> = super::super::tests::read(&path)
            .into_iter()
            .map(|(line, _)| line)
            .collect();
        assert_eq!(
            lines,
            [
                "before\n",
                "[6 lines of output were lost: the log could not be written: No space left on device (os error 28)]\n",
                "after\n"
            ]
        );
    }

    #[test]
    fn of_a_write_that_failed_the_whole_records_are_kept() {
        for format in [Format::JsonFile, Format::Local] {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(format, String::new());
            for line in [&b"one"[..], b"two", b"three"] {
                encoder.encode(&mut bytes, line, true, Source::Stdout, 1);
            }
            let two = bytes.len() * 2 / 3 - 1;
            let (length, records) = whole(format, &bytes[..two + 4]);
            assert_eq!(records, 2, "{format:?}");
            assert!(length <= two + 4 && length > two - 4, "{format:?} {length} {two}");
            assert_eq!(whole(format, &bytes), (bytes.len(), 3));
            assert_eq!(whole(format, &bytes[..3]), (0, 0));
        }
    }

    #[test]
    fn a_torn_end_is_mended_when_the_log_is_opened_again() {
        for (format, kept) in [(Format::JsonFile, false), (Format::Local, true)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let plan = FilePlan {
                format,
                ..plan(&path, 0, 1, false)
            };
            let mut log = FileLog::open(&plan).unwrap();
            for line in [&b"one"[..], b"two"] {
                log.put(piece(line));
            }
            log.flush();
            let whole = log.size;
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(whole - 2).unwrap();
            let mut log = FileLog::open(&plan).unwrap();
            if kept {
                assert_eq!(log.size, whole / 2, "the torn record is cut off");
            } else {
                assert_eq!(log.size, whole - 1, "the torn line has an end");
            }
            log.put(piece(b"three"));
            log.flush();
            assert_eq!(path.metadata().unwrap().len(), log.size);
        }
    }
}
