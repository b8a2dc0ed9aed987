//! A log's files: `log`, `log.1`, `log.2` … from the newest to the oldest, the rotated ones compressed or not.

use super::record::{Decoder, Format, LONGEST, Record};
use flate2::read::MultiGzDecoder;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What is read at a time.
const CHUNK: usize = 256 << 10;
/// What is read at a time when lines are counted from the end.
const BACKWARDS: u64 = 64 << 10;
/// How often the files are looked at again when they were rotated between two looks.
const LOOKS: u32 = 20;
/// The name of our field in a gzip header (RFC 1952, section 2.3.1.1): which file it was before it was compressed.
const FIELD: [u8; 4] = [b'C', b'o', 8, 0];

/// Returns the path of a rotated file.
pub(in crate::containers) fn numbered(path: &Path, number: u32) -> PathBuf {
    suffixed(path, &format!(".{number}"))
}

/// Returns the path of a rotated and compressed file.
pub(in crate::containers) fn compressed(path: &Path, number: u32) -> PathBuf {
    suffixed(path, &format!(".{number}.gz"))
}

/// Returns the path of what is being compressed.
pub(in crate::containers) fn unfinished(path: &Path) -> PathBuf {
    suffixed(path, ".gz.tmp")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// Which file it is, whatever it is called. An inode alone does not tell: the next file may get that of one that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::containers) struct Identity {
    inode: u64,
    /// When it was made, nanoseconds since 1970; 0 where the filesystem does not know.
    born: u64,
}

impl Identity {
    pub(in crate::containers) fn of(metadata: &Metadata) -> Self {
        let born = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            born: born.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0)),
        }
    }

    /// Returns the extra field of a gzip header that says which file was compressed, so that a reader who had it open
    /// does not read it again.
    pub(in crate::containers) fn header_field(self) -> Vec<u8> {
        [&FIELD[..], &self.inode.to_le_bytes(), &self.born.to_le_bytes()].concat()
    }

    /// Reads such a field; one of another kind says nothing.
    fn from_header(field: &[u8]) -> Option<Self> {
        let (inode, rest) = field.strip_prefix(&FIELD)?.split_first_chunk::<8>()?;
        Some(Self {
            inode: u64::from_le_bytes(*inode),
            born: u64::from_le_bytes(*rest.first_chunk::<8>()?),
        })
    }
}

/// Where bytes come from.
#[derive(Debug)]
enum Bytes {
    Plain(File),
    Gzip(Box<MultiGzDecoder<File>>),
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// One file of a log, open for reading.
#[derive(Debug)]
pub(super) struct LogFile {
    bytes: Bytes,
    /// Which file it is, also after it has been compressed.
    pub(super) identity: Identity,
    decoder: Decoder,
    format: Format,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the file the buffer ends.
    position: u64,
    /// Records that are passed over first.
    skipped: u64,
    /// Within a record that is damaged.
    damaged: bool,
}

impl LogFile {
    fn open(path: &Path, format: Format, gzip: bool) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut identity = Identity::of(&file.metadata()?);
        let bytes = if gzip {
            let decoder = MultiGzDecoder::new(file);
            let field = decoder.header().and_then(|header| header.extra());
            if let Some(original) = field.and_then(Identity::from_header) {
                identity = original;
            }
            Bytes::Gzip(Box::new(decoder))
        } else {
            Bytes::Plain(file)
        };
        Ok(Some(Self {
            bytes,
            identity,
            decoder: Decoder::new(format),
            format,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            position: 0,
            skipped: 0,
            damaged: false,
        }))
    }

    /// Calls `each` with the records up to the end of what is there; `false` if it wants no more.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(Record<'_>) -> bool) -> io::Result<bool> {
        while let Some(length) = self.next_length()? {
            let bytes = &self.buffer[self.start..self.start + length];
            self.start += length;
            if self.skipped > 0 {
                self.skipped -= 1;
                continue;
            }
            // A damaged record costs itself only.
            if let Some(record) = self.decoder.decode(bytes)
                && !each(record)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds the next record and returns its length.
    fn next_length(&mut self) -> io::Result<Option<usize>> {
        loop {
            match self.decoder.length(&self.buffer[self.start..self.end]) {
                Ok(Some(length)) if self.damaged => {
                    self.damaged = false;
                    self.start += length;
                    continue;
                }
                Ok(Some(length)) => return Ok(Some(length)),
                Ok(None) => {}
                Err(_) if self.format == Format::JsonFile => {
                    // It costs what is up to the next newline.
                    self.damaged = true;
                    self.start = self.end;
                }
                // Where the next record begins cannot be known: the rest of the file is lost.
                Err(_) => {
                    self.start = self.end;
                    self.seek_to_end()?;
                    return Ok(None);
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn seek_to_end(&mut self) -> io::Result<()> {
        if let Bytes::Plain(file) = &mut self.bytes {
            self.position = file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.resize(self.end + CHUNK, 0);
        }
        loop {
            let count = match self.bytes.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A file that ends before its last checksum was being written when the host went down.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                count => count?,
            };
            self.end += count;
            self.position += count as u64;
            if count == 0
                && let Bytes::Plain(file) = &mut self.bytes
                && file.metadata()?.len() < self.position
            {
                // Somebody has emptied it: what comes now begins at its beginning.
                file.seek(SeekFrom::Start(0))?;
                (self.start, self.end, self.position) = (0, 0, 0);
                continue;
            }
            return Ok(count > 0);
        }
    }

    /// Passes over all but the last `wanted` records, as far as there are so many; returns how many are left.
    pub(super) fn skip_to_tail(&mut self, wanted: u64) -> io::Result<u64> {
        if let Bytes::Plain(file) = &mut self.bytes {
            let size = file.metadata()?.len();
            // Also of a file of which nothing is wanted the last whole record must be known: what follows it is new.
            let found = match self.format {
                Format::JsonFile => Some(lines_from_end(file, size, wanted.max(1))?),
                Format::Local => records_from_end(file, size, wanted.max(1))?,
            };
            if let Some((found, offset)) = found {
                self.position = file.seek(SeekFrom::Start(offset))?;
                let left = found.min(wanted);
                self.skipped = found - left;
                return Ok(left);
            }
        }
        self.skip_by_counting(wanted)
    }

    /// What is compressed, or has no end that can be read, is read twice.
    fn skip_by_counting(&mut self, wanted: u64) -> io::Result<u64> {
        let mut all = 0;
        while let Some(length) = self.next_length()? {
            self.start += length;
            all += 1;
        }
        match &mut self.bytes {
            Bytes::Plain(file) => {
                file.seek(SeekFrom::Start(0))?;
            }
            Bytes::Gzip(decoder) => {
                let mut file = decoder.get_ref().try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                **decoder = MultiGzDecoder::new(file);
            }
        }
        (self.start, self.end, self.position, self.damaged) = (0, 0, 0, false);
        let left = wanted.min(all);
        self.skipped = all - left;
        Ok(left)
    }
}

/// Counts lines from the end, at most `wanted`, without reading what lies before them. Returns how many there are and
/// where the first of them begins. What has no newline yet is no line.
fn lines_from_end(file: &File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut buffer = Vec::new();
    let mut found = 0;
    let mut seen_end = false;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(BACKWARDS);
        buffer.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.read_exact_at(&mut buffer, start)?;
        for index in memchr::memrchr_iter(b'\n', &buffer) {
            if !seen_end {
                // It ends the last line, and begins none.
                seen_end = true;
                continue;
            }
            found += 1;
            if found == wanted {
                return Ok((found, start + index as u64 + 1));
            }
        }
        end = start;
    }
    Ok((found + u64::from(seen_end), 0))
}

/// Walks records of our own format from the end. `None` if the end is not that of a record.
fn records_from_end(file: &File, size: u64, wanted: u64) -> io::Result<Option<(u64, u64)>> {
    let mut buffer = Vec::new();
    // Where the buffer lies in the file.
    let mut from = size;
    let mut found = 0;
    let mut end = size;
    while found < wanted && end > 0 {
        let mut word_at = |place: u64| -> io::Result<Option<u64>> {
            if place < from || place + 4 > from + buffer.len() as u64 {
                from = (place + 4).saturating_sub(BACKWARDS);
                buffer.resize(
                    usize::try_from((size - from).min(BACKWARDS)).unwrap_or_default(),
                    0,
                );
                file.read_exact_at(&mut buffer, from)?;
            }
            let index = usize::try_from(place - from).unwrap_or(usize::MAX);
            let word = buffer.get(index..).and_then(|rest| rest.first_chunk::<4>());
            Ok(word.map(|word| u64::from(u32::from_le_bytes(*word))))
        };
        let Some(place) = end.checked_sub(4) else {
            return Ok(None);
        };
        let Some(length) = word_at(place)?.filter(|&length| length <= LONGEST as u64) else {
            return Ok(None);
        };
        let Some(start) = end.checked_sub(length + 8) else {
            return Ok(None);
        };
        if word_at(start)? != Some(length) {
            return Ok(None);
        }
        found += 1;
        end = start;
    }
    Ok(Some((found, end)))
}

/// Opens the log's files, the oldest first. None of them need be there.
pub(super) fn open_all(path: &Path, format: Format) -> io::Result<Vec<LogFile>> {
    let mut looks = 0;
    loop {
        let files = open_once(path, format)?;
        looks += 1;
        // Rotated between two of our looks: their order may be wrong, or one be missing.
        let newest = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            metadata => Some(Identity::of(&metadata?)),
        };
        if newest.is_none() || files.last().map(|file| file.identity) == newest || looks >= LOOKS {
            return Ok(files);
        }
    }
}

fn open_once(path: &Path, format: Format) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    files.extend(LogFile::open(path, format, false)?);
    let mut missing = 0;
    for number in 1.. {
        let file = match LogFile::open(&numbered(path, number), format, false)? {
            Some(file) => Some(file),
            None => LogFile::open(&compressed(path, number), format, true)?,
        };
        match file {
            Some(file) => {
                missing = 0;
                if !files.iter().any(|other| other.identity == file.identity) {
                    files.push(file);
                }
            }
            // One may just be on its way to the next number.
            None if missing == 0 => missing = 1,
            None => break,
        }
    }
    files.reverse();
    Ok(files)
}

/// Returns the files that came after `current`.
pub(super) fn open_newer(path: &Path, format: Format, current: &LogFile) -> io::Result<Vec<LogFile>> {
    match std::fs::metadata(path) {
        Ok(metadata) if Identity::of(&metadata) == current.identity => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let files = open_all(path, format)?;
    // One that has been rotated away altogether was older than all.
    let place = files.iter().position(|file| file.identity == current.identity);
    Ok(files
        .into_iter()
        .skip(place.map_or(0, |place| place + 1))
        .collect())
}

/// Moves to the first of the last `tail` records, and drops the files before it.
pub(super) fn skip_to_tail(files: &mut Vec<LogFile>, tail: u64) -> io::Result<()> {
    let mut wanted = tail;
    for index in (0..files.len()).rev() {
        wanted -= files[index].skip_to_tail(wanted)?;
        if wanted == 0 {
            files.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::record::{Encoder, Source};
    use super::*;
    use std::io::Write;

    /// Writes lines into files, the oldest first, all but the newest compressed if `gzip` says so.
    fn write(path: &Path, format: Format, contents: &[&[&str]], gzip: bool) {
        for (number, lines) in (0..).zip(contents.iter().rev()) {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(format, String::new());
            for line in *lines {
                encoder.encode(&mut bytes, line.as_bytes(), true, Source::Stdout, 1);
            }
            if number > 0 && gzip {
                let file = File::create(compressed(path, number)).unwrap();
                let mut encoder = flate2::GzBuilder::new()
                    .extra(
                        Identity {
                            inode: u64::from(number),
                            born: 0,
                        }
                        .header_field(),
                    )
                    .write(file, flate2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap();
            } else {
                let path = if number == 0 {
                    path.to_owned()
                } else {
                    numbered(path, number)
                };
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    fn read(files: Vec<LogFile>) -> Vec<String> {
        let mut lines = Vec::new();
        for mut file in files {
            lines.extend(rest(&mut file));
        }
        lines
    }

    fn rest(file: &mut LogFile) -> Vec<String> {
        let mut lines = Vec::new();
        let wants_more = file
            .read(&mut |record| {
                let line = String::from_utf8(record.bytes.into_owned()).unwrap();
                lines.push(line.trim_end().to_owned());
                true
            })
            .unwrap();
        assert!(wants_more);
        lines
    }

    fn tail_of(format: Format, contents: &[&[&str]], gzip: bool, tail: u64) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, format, contents, gzip);
        let mut files = open_all(&path, format).unwrap();
        skip_to_tail(&mut files, tail).unwrap();
        read(files)
    }

    #[test]
    fn the_tail_reaches_back_over_files() {
        let contents = [&["a", "b"][..], &["c", "d"], &["e"]];
        for format in [Format::JsonFile, Format::Local] {
            for gzip in [false, true] {
                for (tail, expected) in [
                    (0, &[][..]),
                    (1, &["e"]),
                    (2, &["d", "e"]),
                    (3, &["c", "d", "e"]),
                    (4, &["b", "c", "d", "e"]),
                    (5, &["a", "b", "c", "d", "e"]),
                    (9, &["a", "b", "c", "d", "e"]),
                ] {
                    assert_eq!(
                        tail_of(format, &contents, gzip, tail),
                        expected,
                        "{format:?} {gzip} {tail}"
                    );
                }
                assert!(tail_of(format, &[&[]], gzip, 3).is_empty());
            }
        }
    }

    #[test]
    fn the_tail_of_a_large_file_is_found_without_its_beginning() {
        let line = "x".repeat(1000);
        let mut lines = vec![line.as_str(); 500];
        lines.push("last");
        for format in [Format::JsonFile, Format::Local] {
            assert_eq!(
                tail_of(format, &[&lines], false, 2),
                [line.as_str(), "last"],
                "{format:?}"
            );
            assert_eq!(tail_of(format, &[&lines], false, 400).len(), 400, "{format:?}");
        }
    }

    #[test]
    fn what_is_being_written_is_not_counted() {
        for format in [Format::JsonFile, Format::Local] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            write(&path, format, &[&["a", "b", "c"]], false);
            let mut all = std::fs::read(&path).unwrap();
            all.truncate(all.len() - 3);
            std::fs::write(&path, &all).unwrap();
            let mut files = open_all(&path, format).unwrap();
            skip_to_tail(&mut files, 1).unwrap();
            assert_eq!(read(files), ["b"], "{format:?}");
        }
    }

    #[test]
    fn a_file_that_has_been_compressed_meanwhile_is_not_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, Format::JsonFile, &[&["a", "b"]], false);
        let current = open_all(&path, Format::JsonFile).unwrap().pop().unwrap();
        // Rotated twice and compressed, while it is still open.
        let bytes = std::fs::read(&path).unwrap();
        let mut encoder = flate2::GzBuilder::new()
            .extra(current.identity.header_field())
            .write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        std::fs::write(compressed(&path, 2), encoder.finish().unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let newer = directory.path().join("newer");
        write(&newer, Format::JsonFile, &[&["c"], &["d"]], false);
        std::fs::rename(numbered(&newer, 1), numbered(&path, 1)).unwrap();
        std::fs::rename(&newer, &path).unwrap();
        let newer = open_newer(&path, Format::JsonFile, &current).unwrap();
        assert_eq!(read(newer), ["c", "d"]);
    }

    #[test]
    fn a_file_that_has_the_inode_of_one_that_is_gone_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, Format::JsonFile, &[&["a"]], false);
        let before = open_all(&path, Format::JsonFile).unwrap().pop().unwrap();
        let mut encoder = flate2::GzBuilder::new()
            .extra(before.identity.header_field())
            .write(
                File::create(compressed(&path, 1)).unwrap(),
                flate2::Compression::fast(),
            );
        encoder.write_all(&std::fs::read(&path).unwrap()).unwrap();
        encoder.finish().unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        drop(before);
        // Some filesystems give an inode away again at once; others need a while.
        for _ in 0..2000 {
            std::fs::remove_file(&path).unwrap();
            write(&path, Format::JsonFile, &[&["b"]], false);
            if std::fs::metadata(&path).unwrap().ino() == inode {
                break;
            }
        }
        assert_eq!(read(open_all(&path, Format::JsonFile).unwrap()), ["a", "b"]);
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, Format::JsonFile, &[&["a", "b", "c"]], false);
        let mut file = open_all(&path, Format::JsonFile).unwrap().pop().unwrap();
        assert_eq!(rest(&mut file).len(), 3);
        let other = directory.path().join("other");
        write(&other, Format::JsonFile, &[&["d"]], false);
        std::fs::write(&path, std::fs::read(&other).unwrap()).unwrap();
        assert_eq!(rest(&mut file), ["d"]);
    }

    #[test]
    fn a_damaged_record_costs_no_more_than_it_must() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, Format::JsonFile, &[&["a"]], false);
        let good = std::fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes.extend_from_slice(b"{\"log\":\"torn\n");
        bytes.extend(std::iter::repeat_n(b'x', LONGEST + CHUNK * 3));
        bytes.push(b'\n');
        bytes.extend_from_slice(&good);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(open_all(&path, Format::JsonFile).unwrap()), ["a", "a"]);
    }
}
