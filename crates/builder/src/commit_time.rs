//! When the sources were last committed to git, read from the repository itself.
//!
//! The program `git` is not asked: it may not be there, it costs more than a whole cached build, and it does what the
//! repository's configuration tells it to. Whatever is not as expected gives no time, and the fixed one serves.

use flate2::read::ZlibDecoder;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// No commit is larger.
const LARGEST: u64 = 1 << 20;
/// No file that names something (`HEAD`, a reference) is larger; `packed-refs` may be.
const LARGEST_NAME: u64 = 4096;
const LARGEST_LIST: u64 = 64 << 20;
/// How many references may lead to one another, and how many deltas may stand on one another.
const LONGEST_CHAIN: usize = 4096;

/// Returns the time of the commit that is checked out in the repository that `directory` lies in, in seconds since 1970.
pub(crate) fn of(directory: &Path) -> Option<i64> {
    let repository = Repository::around(directory)?;
    let commit = repository.head()?;
    let (kind, content) = repository.object(&commit, 0)?;
    (kind == COMMIT).then_some(())?;
    committed(&content)
}

/// Reads the committer's time out of a commit.
fn committed(content: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(content);
    let line = text
        .lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("committer "))?;
    let (_, times) = line.rsplit_once("> ")?;
    times.split(' ').next()?.parse().ok()
}

struct Repository {
    /// Where `HEAD` is: the work tree's own.
    own: PathBuf,
    /// Where objects and references are: all work trees'.
    common: PathBuf,
}

const COMMIT: u8 = 1;
const DELTA_BY_OFFSET: u8 = 6;
const DELTA_BY_NAME: u8 = 7;

impl Repository {
    fn around(directory: &Path) -> Option<Self> {
        let owner = std::fs::metadata(directory).ok()?.uid();
        let dot = directory
            .ancestors()
            .map(|above| above.join(".git"))
            .find(|path| std::fs::symlink_metadata(path).is_ok())?;
        let found = std::fs::metadata(&dot).ok()?;
        // Somebody else's repository further up (/tmp/.git) has no say, as with git itself.
        if found.uid() != owner && found.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        let own = if found.is_dir() {
            dot
        } else {
            let text = small(&dot, LARGEST_NAME)?;
            let path = text.strip_prefix("gitdir:")?.trim();
            dot.parent()?.join(path)
        };
        let common = match small(&own.join("commondir"), LARGEST_NAME) {
            Some(path) => own.join(path.trim()),
            None => own.clone(),
        };
        Some(Self { own, common })
    }

    /// Returns the checked out commit's name.
    fn head(&self) -> Option<Vec<u8>> {
        let mut text = small(&self.own.join("HEAD"), LARGEST_NAME)?;
        for _ in 0..8 {
            let Some(name) = text.trim().strip_prefix("ref:").map(str::trim) else {
                return hash(text.trim());
            };
            let plain = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
            plain.then_some(())?;
            let file = [&self.own, &self.common]
                .iter()
                .find_map(|directory| small(&directory.join(name), LARGEST_NAME));
            text = match file {
                Some(text) => text,
                None => self.packed(name)?,
            };
        }
        None
    }

    fn packed(&self, name: &str) -> Option<String> {
        let all = small(&self.common.join("packed-refs"), LARGEST_LIST)?;
        all.lines()
            .filter(|line| !line.starts_with(['#', '^']))
            .filter_map(|line| line.split_once(' '))
            .find(|(_, found)| *found == name)
            .map(|(commit, _)| commit.to_owned())
    }

    /// Returns an object's type and content.
    fn object(&self, name: &[u8], depth: usize) -> Option<(u8, Vec<u8>)> {
        let objects = self.common.join("objects");
        let mut places = vec![objects.clone()];
        // A clone of a clone may keep its objects in the other one.
        let others = small(&objects.join("info/alternates"), LARGEST_LIST).unwrap_or_default();
        places.extend(others.lines().map(|line| objects.join(line)));
        let shown = hex(name);
        for place in places {
            if let Some(found) = loose(&place.join(&shown[..2]).join(&shown[2..])) {
                return Some(found);
            }
            let Ok(packs) = std::fs::read_dir(place.join("pack")) else {
                continue;
            };
            for entry in packs.flatten() {
                let index = entry.path();
                if index.extension().is_some_and(|extension| extension == "idx")
                    && let Some(offset) = offset(&index, name)
                {
                    let pack = File::open(index.with_extension("pack")).ok()?;
                    return self.unpack(&pack, offset, name.len(), depth);
                }
            }
        }
        None
    }

    /// Reads an object out of a pack, with those that it is a delta of.
    fn unpack(&self, pack: &File, offset: u64, hash_length: usize, depth: usize) -> Option<(u8, Vec<u8>)> {
        let mut at = offset;
        let mut deltas = Vec::new();
        let (kind, mut content) = loop {
            if deltas.len() + depth > LONGEST_CHAIN {
                return None;
            }
            let mut reader = At {
                file: pack,
                offset: at,
            };
            let first = reader.byte()?;
            let kind = first >> 4 & 7;
            let mut more = first & 0x80 != 0;
            while more {
                more = reader.byte()? & 0x80 != 0;
            }
            match kind {
                DELTA_BY_OFFSET => {
                    let mut byte = reader.byte()?;
                    let mut back = u64::from(byte & 0x7f);
                    while byte & 0x80 != 0 {
                        byte = reader.byte()?;
                        back = (back.checked_add(1)?.checked_mul(128)?) | u64::from(byte & 0x7f);
                    }
                    deltas.push(inflate(reader)?);
                    at = at.checked_sub(back).filter(|before| *before < at)?;
                }
                DELTA_BY_NAME => {
                    let mut base = vec![0; hash_length];
                    reader.read_exact(&mut base).ok()?;
                    deltas.push(inflate(reader)?);
                    break self.object(&base, depth + deltas.len())?;
                }
                kind => break (kind, inflate(reader)?),
            }
        };
        for delta in deltas.iter().rev() {
            content = apply(&content, delta)?;
        }
        Some((kind, content))
    }
}

/// Reads a short text file, and nothing that is no file.
fn small(path: &Path, limit: u64) -> Option<String> {
    std::fs::metadata(path).ok()?.is_file().then_some(())?;
    let bytes = sys::fs::read(path, limit).ok()?;
    String::from_utf8(bytes).ok()
}

fn loose(path: &Path) -> Option<(u8, Vec<u8>)> {
    let packed = sys::fs::read(path, LARGEST).ok()?;
    let whole = inflate(&packed[..])?;
    let end = whole.iter().position(|byte| *byte == 0)?;
    let kind = if whole.starts_with(b"commit ") { COMMIT } else { 0 };
    Some((kind, whole[end + 1..].to_vec()))
}

fn inflate(packed: impl Read) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let length = ZlibDecoder::new(packed)
        .take(LARGEST + 1)
        .read_to_end(&mut content)
        .ok()?;
    (length as u64 <= LARGEST).then_some(content)
}

/// Finds an object in a pack's index (version 2).
fn offset(index: &Path, name: &[u8]) -> Option<u64> {
    let file = File::open(index).ok()?;
    let number = |at: u64| -> Option<u32> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    (number(0)? == 0xff74_4f63 && number(4)? == 2).then_some(())?;
    let fan = |byte: u64| number(8 + 4 * byte).map(u64::from);
    let first = u64::from(*name.first()?);
    let (mut low, mut high) = (if first == 0 { 0 } else { fan(first - 1)? }, fan(first)?);
    let count = fan(255)?;
    let length = name.len() as u64;
    let names = 8 + 4 * 256;
    while low < high {
        let middle = low.midpoint(high);
        let mut found = vec![0; name.len()];
        file.read_exact_at(&mut found, names + middle * length).ok()?;
        match found.as_slice().cmp(name) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let offsets = names + count * (length + 4);
                let offset = number(offsets + 4 * middle)?;
                if offset & 0x8000_0000 == 0 {
                    return Some(u64::from(offset));
                }
                let large = offsets + 4 * count + 8 * u64::from(offset & 0x7fff_ffff);
                return Some(u64::from(number(large)?) << 32 | u64::from(number(large + 4)?));
            }
        }
    }
    None
}

/// Applies a delta: copies of pieces of the base, and new bytes.
fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = delta.iter().copied();
    let mut size = || {
        let (mut value, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    (size()? == base.len() as u64).then_some(())?;
    let length = size().filter(|length| *length <= LARGEST)?;
    let mut made = Vec::new();
    while let Some(code) = bytes.next() {
        if code & 0x80 == 0 {
            // 0 is reserved.
            (code != 0).then_some(())?;
            for _ in 0..code {
                made.push(bytes.next()?);
            }
        } else {
            let mut number = |from: u32, count: u32| -> Option<usize> {
                let mut value = 0_usize;
                for bit in 0..count {
                    if code >> (from + bit) & 1 == 1 {
                        value |= usize::from(bytes.next()?) << (8 * bit);
                    }
                }
                Some(value)
            };
            let start = number(0, 4)?;
            let length = match number(4, 3)? {
                0 => 0x10000,
                length => length,
            };
            made.extend_from_slice(base.get(start..start.checked_add(length)?)?);
        }
        if made.len() as u64 > length {
            return None;
        }
    }
    (made.len() as u64 == length).then_some(made)
}

fn hash(text: &str) -> Option<Vec<u8>> {
    (matches!(text.len(), 40 | 64) && text.is_ascii()).then_some(())?;
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok())
        .collect()
}

fn hex(name: &[u8]) -> String {
    name.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// A file read from a place on.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl At<'_> {
    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(directory: &Path, time: i64, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=A > B", "-c", "user.email=a@b", "-c", "gc.auto=0"])
            .args(arguments)
            .current_dir(directory)
            .env("GIT_COMMITTER_DATE", format!("@{time} +0200"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    #[test]
    fn the_commit_that_is_checked_out_has_the_time() {
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().join("work");
        let below = work.join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(of(&below), None);
        git(&work, 0, &["init", "-q"]);
        assert_eq!(of(&below), None, "nothing is committed yet");
        for number in 0..30 {
            let time = 1_600_000_000 + number;
            // Long texts that differ little become deltas of one another in a pack.
            let text = format!("{}{number}", "the same words again and again ".repeat(40));
            git(&work, time, &["commit", "-q", "--allow-empty", "-m", &text]);
            assert_eq!(of(&below), Some(time));
        }
        git(&work, 0, &["repack", "-adfq", "--depth=50", "--window=50"]);
        git(&work, 0, &["pack-refs", "--all"]);
        assert_eq!(of(&below), Some(1_600_000_029));
        git(&work, 0, &["checkout", "-q", "HEAD~7"]);
        assert_eq!(of(&work), Some(1_600_000_022));
        git(&work, 0, &["worktree", "add", "-q", "../other", "HEAD~3"]);
        assert_eq!(of(&directory.path().join("other")), Some(1_600_000_019));
        git(directory.path(), 0, &["clone", "-q", "--shared", "work", "clone"]);
        assert_eq!(of(&directory.path().join("clone")), Some(1_600_000_022));
        let shallow = ["clone", "-q", "--depth=1", "--no-local", "work", "shallow"];
        git(directory.path(), 0, &shallow);
        assert_eq!(of(&directory.path().join("shallow")), Some(1_600_000_022));
    }

    #[test]
    fn what_is_broken_gives_no_time() {
        let directory = tempfile::tempdir().unwrap();
        let dot = directory.path().join(".git");
        for head in [
            "",
            "ref: ../../etc/passwd",
            "ref: refs/heads/a",
            &"0".repeat(40),
            "x",
        ] {
            std::fs::create_dir_all(dot.join("refs/heads")).unwrap();
            std::fs::write(dot.join("refs/heads/a"), "ref: refs/heads/a").unwrap();
            std::fs::write(dot.join("HEAD"), head).unwrap();
            assert_eq!(of(directory.path()), None, "{head}");
        }
        assert_eq!(
            apply(b"base", &[4, 8, 0x91, 0, 4, 4, b'm', b'o', b'r', b'e']).unwrap(),
            b"basemore"
        );
        for delta in [
            &[][..],
            &[5, 4],
            &[4, 8, 0x91, 0, 5],
            &[4, 1, 0],
            &[4, 0, 1, b'x'],
            &[4, 9, 0x91, 3, 4],
        ] {
            assert_eq!(apply(b"base", delta), None, "{delta:?}");
        }
        assert_eq!(committed(b"tree x\n\ncommitter a <b> 1 +0000\n"), None);
    }
}
