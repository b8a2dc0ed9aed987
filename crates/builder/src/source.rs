//! What `COPY` and `ADD` copy from: finding sources in a context, a stage or an image, and listing what is in them.
//!
//! All walks go by descriptor below the source's top; links in it lead nowhere else.

use crate::error::{Failure, StepError};
use dockerfile::{Glob, IgnoreRules, ParentMatches, nearest};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{Tree, entries_of};

/// A tree that files are copied from.
pub(crate) struct Origin<'a> {
    pub(crate) tree: &'a Tree,
    /// What it is called in messages: `the build context`, `stage build`.
    pub(crate) name: String,
    /// The context's ignore rules and the name of the file that they stand in.
    pub(crate) ignore: Option<(&'a IgnoreRules, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Link,
    /// A FIFO or device.
    Special(FileType),
}

/// One file below a source, or the source itself.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Relative to the source; empty for the source itself.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Of a device.
    pub(crate) number: u64,
    /// What a link holds.
    pub(crate) target: Vec<u8>,
    pub(crate) digest: Option<[u8; 32]>,
    /// It was changed so lately that its times would not tell another change.
    pub(crate) unsettled: bool,
}

/// A source that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name that it gets in a directory.
    pub(crate) name: OsString,
    /// Where it lies in the tree, links followed.
    pub(crate) at: PathBuf,
    /// Itself, and if it is a directory what is below it; parents before their children, sorted.
    pub(crate) items: Vec<Item>,
    /// What is below it, too, but excluded, or of no use to anybody else; each before what is below it.
    pub(crate) hidden: Vec<Vec<u8>>,
    /// With `--parents`, its path from the place that is kept: the directories on the way, and itself last.
    pub(crate) kept: Vec<(Vec<u8>, u32)>,
}

impl Found {
    pub(crate) fn is_directory(&self) -> bool {
        self.items
            .first()
            .is_some_and(|item| item.kind == Kind::Directory)
    }
}

impl Item {
    fn new(path: Vec<u8>, stat: &Stat) -> Option<Self> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            special @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
                Kind::Special(special)
            }
            // A socket is nothing without the process behind it.
            _ => return None,
        };
        Some(Self {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size.unsigned_abs(),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
            device: stat.st_dev,
            inode: stat.st_ino,
            number: stat.st_rdev,
            target: Vec::new(),
            digest: None,
            unsettled: false,
        })
    }

    /// Says whether a later look finds the file unchanged.
    pub(crate) fn is_still(&self, stat: &Stat) -> bool {
        Self::new(Vec::new(), stat).is_some_and(|now| {
            (now.size, now.mtime, now.ctime, now.inode) == (self.size, self.mtime, self.ctime, self.inode)
        })
    }

    /// Returns the item's path, if its source lies at `base`.
    pub(crate) fn below(&self, base: &Path) -> PathBuf {
        if self.path.is_empty() {
            base.to_owned()
        } else {
            base.join(OsStr::from_bytes(&self.path))
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Cleans a source path: relative, no `.`, no `..`. What would lead out of the tree stays at its top.
pub(crate) fn clean(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    components.join("/")
}

/// Finds what a source means: itself, or all that match if it is a pattern. No match of a pattern is no error.
pub(crate) fn find(
    origin: &Origin<'_>,
    written: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Found>, Failure> {
    if written.contains('\0') {
        return Err(StepError::BadPath(written.replace('\0', "\\0")).into());
    }
    let path = clean(written);
    if !Glob::is_pattern(&path) {
        let Some(found) = list(origin, path.as_bytes(), cancelled)? else {
            return Err(missing(origin, written, &path).into());
        };
        return Ok(vec![found]);
    }
    let mut result = Vec::new();
    for path in matches(origin, &path)? {
        result.extend(list(origin, &path, cancelled)?);
    }
    Ok(result)
}

/// Finds one source that is no pattern.
pub(crate) fn find_one(
    origin: &Origin<'_>,
    path: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Found, Failure> {
    list(origin, path.as_bytes(), cancelled)?.ok_or_else(|| missing(origin, path, path).into())
}

/// Fails with what may help if a path is not there.
pub(crate) fn check(origin: &Origin<'_>, written: &str) -> Result<(), Failure> {
    let path = clean(written);
    match origin.tree.stat(Path::new(&path), true) {
        Ok(_) => Ok(()),
        Err(_) => Err(missing(origin, written, &path).into()),
    }
}

/// Finds what a source of `COPY --parents` means: with each match the directories on its way, from the pivot `/./` on
/// if there is one. `**` stands for any number of directories.
pub(crate) fn find_with_parents(
    origin: &Origin<'_>,
    written: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Found>, Failure> {
    let path = clean(written);
    let dropped = match written.trim_start_matches('/').split_once("/./") {
        Some((above, _)) => clean(above).split('/').filter(|name| !name.is_empty()).count(),
        None => 0,
    };
    let paths = if Glob::is_pattern(&path) {
        matches_anywhere(origin, &path)?
    } else {
        vec![path.clone().into_bytes()]
    };
    let is_pattern = Glob::is_pattern(&path);
    let mut result: Vec<Found> = Vec::new();
    for path in paths {
        let Some(mut found) = list(origin, &path, cancelled)? else {
            if is_pattern {
                continue;
            }
            return Err(missing(origin, written, &String::from_utf8_lossy(&path)).into());
        };
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        for end in dropped + 1..=names.len() {
            let whole = names[..end].join(&b'/');
            let stat = origin.tree.stat(Path::new(OsStr::from_bytes(&whole)), true)?;
            found
                .kept
                .push((names[dropped..end].join(&b'/'), stat.st_mode & 0o7777));
        }
        if path.is_empty() {
            found.kept.clear();
        }
        result.push(found);
    }
    Ok(result)
}

/// Returns the paths that match a pattern in which a component `**` stands for any number of directories.
fn matches_anywhere(origin: &Origin<'_>, pattern: &str) -> Result<Vec<Vec<u8>>, StepError> {
    let Some((before, after)) = pattern.split_once("**") else {
        return matches(origin, pattern);
    };
    let glob = Glob::with_double_star(pattern)?;
    let roots = match before.trim_end_matches('/') {
        "" => vec![Vec::new()],
        before => matches(origin, before)?,
    };
    // `dir/**` means all that is in it, which copying its entries does.
    let everything = after.is_empty() || after == "/";
    let mut found = Vec::new();
    let mut left = roots;
    while let Some(directory) = left.pop() {
        let Ok(entries) = origin.tree.entries(Path::new(OsStr::from_bytes(&directory))) else {
            continue;
        };
        for entry in entries {
            let path = joined(&directory, entry.name.as_bytes());
            let matched = glob.matches(&String::from_utf8_lossy(&path));
            if matched {
                found.push(path.clone());
            }
            // A link may lead in circles, and is no directory of this tree.
            let is_directory = origin
                .tree
                .stat(Path::new(OsStr::from_bytes(&path)), false)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            if is_directory && !(matched && everything) {
                left.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the paths that match a pattern, component by component, sorted.
fn matches(origin: &Origin<'_>, pattern: &str) -> Result<Vec<Vec<u8>>, StepError> {
    let mut found: Vec<Vec<u8>> = vec![Vec::new()];
    for component in pattern.split('/') {
        let mut next = Vec::new();
        let glob = Glob::new(component)?;
        for directory in &found {
            let entries = match origin.tree.entries(Path::new(OsStr::from_bytes(directory))) {
                Ok(entries) => entries,
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                if glob.matches(&entry.name.to_string_lossy()) {
                    next.push(joined(directory, entry.name.as_bytes()));
                }
            }
        }
        found = next;
    }
    Ok(found)
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

/// Lists a source; `None` if it is not there or excluded.
fn list(origin: &Origin<'_>, path: &[u8], cancelled: &dyn Fn() -> bool) -> Result<Option<Found>, Failure> {
    let absent = |error: &SysError| matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP);
    let written = Path::new(OsStr::from_bytes(path));
    let at = match origin.tree.resolve(written) {
        Ok(at) => at,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let top = match origin.tree.locate(&at, false) {
        Ok(top) => top,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&top).map_err(SysError::on("look at", &at))?;
    let Some(item) = Item::new(Vec::new(), &stat) else {
        return Ok(None);
    };
    let real = at.as_os_str().as_bytes();
    let real = real.strip_prefix(b"/").unwrap_or(real);
    let is_directory = item.kind == Kind::Directory;
    let mut parent = ParentMatches::default();
    let mut excluded = false;
    if let Some((rules, _)) = &origin.ignore {
        // Both the link and what it leads to must be in the context.
        for path in [path, real] {
            let text = String::from_utf8_lossy(path);
            excluded |= !text.is_empty() && rules.verdict(&text).excluded;
        }
        let text = String::from_utf8_lossy(real);
        if excluded && !(is_directory && rules.may_include_below(&text)) {
            return Ok(None);
        }
        parent = descend(rules, &text);
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut found = Found {
        name: OsStr::from_bytes(name).to_owned(),
        at: at.clone(),
        items: vec![item],
        hidden: Vec::new(),
        kept: Vec::new(),
    };
    if is_directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = origin.tree.open_at(&at, flags, Mode::empty())?;
        let mut walk = Walk {
            rules: origin
                .ignore
                .as_ref()
                .map(|(rules, _)| *rules)
                .filter(|rules| !rules.is_empty()),
            prefix: String::from_utf8_lossy(real).into_owned(),
            at: &at,
            items: &mut found.items,
            hidden: &mut found.hidden,
            cancelled,
        };
        walk.directory(&directory, &[], &parent)?;
        found.hidden.sort();
        if excluded && found.items.len() == 1 {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Judges each directory on the way to `path`, and it itself.
fn descend(rules: &IgnoreRules, path: &str) -> ParentMatches {
    let mut matches = ParentMatches::default();
    if path.is_empty() {
        return matches;
    }
    for (at, _) in path.match_indices('/') {
        matches = rules.judge_directory(&path[..at], &matches).1;
    }
    rules.judge_directory(path, &matches).1
}

struct Walk<'a> {
    rules: Option<&'a IgnoreRules>,
    /// The source's path in the context, for the rules.
    prefix: String,
    at: &'a Path,
    items: &'a mut Vec<Item>,
    hidden: &'a mut Vec<Vec<u8>>,
    cancelled: &'a dyn Fn() -> bool,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        relative: &[u8],
        parent: &ParentMatches,
    ) -> Result<(), Failure> {
        if (self.cancelled)() {
            return Err(Failure::Cancelled);
        }
        let here = || self.at.join(OsStr::from_bytes(relative));
        let mut entries = entries_of(directory).map_err(|errno| SysError::on("list", here())(errno))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = joined(relative, entry.name.as_bytes());
            let mut excluded = false;
            let mut text = String::new();
            if let Some(rules) = self.rules {
                text = self.context_path(&path);
                excluded = rules.judge(&text, parent).excluded;
                if excluded && !(entry.kind != FileType::RegularFile && rules.may_include_below(&text)) {
                    self.hidden.push(path);
                    continue;
                }
            }
            let stat = match statat(directory, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // It was removed while we looked.
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    return Err(
                        SysError::on("look at", self.at.join(OsStr::from_bytes(&path)))(errno).into(),
                    );
                }
            };
            let Some(mut item) = Item::new(path.clone(), &stat) else {
                self.hidden.push(path);
                continue;
            };
            match item.kind {
                Kind::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let below = openat(directory, &entry.name, flags, Mode::empty())
                        .map_err(SysError::on("open", item.below(self.at)))?;
                    let matches = self.rules.map_or_else(ParentMatches::default, |rules| {
                        rules.judge_directory(&text, parent).1
                    });
                    let path = item.path.clone();
                    let before = self.items.len();
                    self.items.push(item);
                    self.directory(&below, &path, &matches)?;
                    if excluded && self.items.len() == before + 1 {
                        self.items.pop();
                        self.hidden.push(path);
                    }
                }
                _ if excluded => self.hidden.push(path),
                Kind::Link => {
                    item.target = read_link(directory.as_fd(), &entry.name)
                        .map_err(SysError::on("read the link", item.below(self.at)))?;
                    self.items.push(item);
                }
                Kind::File | Kind::Special(_) => self.items.push(item),
            }
        }
        Ok(())
    }

    fn context_path(&self, relative: &[u8]) -> String {
        let relative = String::from_utf8_lossy(relative);
        if self.prefix.is_empty() {
            return relative.into_owned();
        }
        format!("{}/{relative}", self.prefix)
    }
}

fn read_link(directory: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Vec<u8>> {
    readlinkat(directory, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

/// Says why a source is missing as helpfully as can be: the rule that excludes it, or the nearest name.
fn missing(origin: &Origin<'_>, written: &str, path: &str) -> StepError {
    if let Some((rules, file)) = &origin.ignore
        && let (true, Some(rule)) = (rules.verdict(path).excluded, rules.verdict(path).rule)
        && origin.tree.stat(Path::new(path), true).is_ok()
    {
        return StepError::SourceExcluded {
            path: path.to_owned(),
            rule: rule.text.clone(),
            file: file.clone(),
            line: rule.line,
        };
    }
    let hint = if written.split('/').any(|component| component == "..")
        && !path.starts_with("..")
        && origin.ignore.is_some()
    {
        Some(
            "files outside the build context cannot be copied: give a larger context, or copy them into it"
                .to_owned(),
        )
    } else {
        nearest_path(origin, path).map(|path| format!("did you mean \"{path}\"?"))
    };
    StepError::SourceMissing {
        path: path.to_owned(),
        origin: origin.name.clone(),
        hint,
    }
}

/// Returns `path` with its first wrong component mended, if a name there is close to it.
fn nearest_path(origin: &Origin<'_>, path: &str) -> Option<String> {
    let mut directory = String::new();
    for component in path.split('/') {
        let Ok(entries) = origin.tree.entries(Path::new(&directory)) else {
            return None;
        };
        let names: Vec<String> = entries
            .into_iter()
            .map(|entry| entry.name.to_string_lossy().into_owned())
            .collect();
        let join =
            |name: &str| String::from_utf8_lossy(&joined(directory.as_bytes(), name.as_bytes())).into_owned();
        if names.iter().any(|name| name == component) {
            directory = join(component);
            continue;
        }
        let close = nearest(component, names.iter().map(String::as_str)).map(join);
        return close.filter(|path| {
            origin
                .ignore
                .as_ref()
                .is_none_or(|(rules, _)| !rules.verdict(path).excluded)
        });
    }
    None
}
