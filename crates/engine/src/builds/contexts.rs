//! Build contexts that clients send: each is kept, so that the next build is sent only what has changed.
//!
//! ```text
//! <root>/contexts/<hex>/      the files, as the client has them
//! <root>/contexts/<hex>.lock  held while a build reads or writes them; its time is when they were last used
//! ```
//!
//! The directory's name is a hash of what the client calls its context, so that no such word is a path.

use super::Builds;
use crate::EngineError;
use rustix::fs::{FileType, Timestamps};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::lock::Lock;
use sys::path::Tree;

/// So many builds at once have a copy of one context each.
const COPIES: u32 = 64;

/// A client's context, for one build alone as long as this lives.
#[derive(Debug)]
pub struct KeptContext {
    path: PathBuf,
    passing: bool,
    lock: PathBuf,
    _held: Lock,
}

impl KeptContext {
    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KeptContext {
    fn drop(&mut self) {
        if self.passing {
            // What cannot be removed now goes with the next prune.
            sys::fs::remove_all(&self.path).unwrap_or_default();
            sys::fs::remove_all(&self.lock).unwrap_or_default();
        }
    }
}

/// A context that is kept, for lists.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) last_used: i64,
    pub(super) size: u64,
    pub(super) in_use: bool,
}

/// All kept contexts of a root.
#[derive(Debug)]
pub(super) struct Contexts {
    directory: PathBuf,
}

impl Builds<'_> {
    /// Takes the directory of a client's context by the client's name for it; one without a name goes when it is let
    /// go. What is in it is what the last build with that name has left.
    pub fn kept_context(&self, name: Option<&str>) -> Result<KeptContext, EngineError> {
        Ok(self.contexts().take(name)?)
    }

    pub(super) fn contexts(self) -> Contexts {
        Contexts {
            directory: self.engine.locations().root.join("contexts"),
        }
    }
}

impl Contexts {
    fn take(&self, name: Option<&str>) -> Result<KeptContext, SysError> {
        sys::fs::create_directories(&self.directory, 0o700)?;
        let passing = name.is_none();
        let own = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        for copy in 0..COPIES {
            let key = hash(name.unwrap_or(&own), copy);
            let path = self.directory.join(&key);
            let lock = self.directory.join(format!("{key}.lock"));
            let Some(held) = Lock::try_exclusive(&lock)? else {
                continue;
            };
            let now = rustix::fs::Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            };
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            rustix::fs::futimens(held.file(), &times).map_err(SysError::on("mark as used", &lock))?;
            if passing {
                sys::fs::remove_all(&path)?;
            }
            sys::fs::create_directories(&path, 0o755)?;
            return Ok(KeptContext {
                path,
                passing,
                lock,
                _held: held,
            });
        }
        Err(SysError::on("find a free copy of a context in", &self.directory)(
            rustix::io::Errno::BUSY,
        ))
    }

    pub(super) fn list(&self) -> Result<Vec<Listed>, SysError> {
        let tree = match Tree::open(&self.directory) {
            Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(Vec::new()),
            tree => tree?,
        };
        let mut found = Vec::new();
        for entry in tree.entries(Path::new("."))? {
            if entry.kind != FileType::Directory {
                continue;
            }
            let key = entry.name.to_string_lossy().into_owned();
            let lock = self.directory.join(format!("{key}.lock"));
            let last_used = rustix::fs::stat(&lock).map_or(0, |stat| {
                stat.st_mtime.saturating_mul(1_000_000_000) + stat.st_mtime_nsec.cast_signed()
            });
            found.push(Listed {
                last_used,
                size: Tree::open(&self.directory.join(&key))
                    .and_then(|tree| tree.disk_usage())
                    .unwrap_or_default(),
                in_use: Lock::is_held(&lock)?,
                key,
            });
        }
        Ok(found)
    }

    /// Removes one unless a build uses it; says whether it is gone.
    pub(super) fn remove(&self, key: &str) -> Result<bool, SysError> {
        let lock = self.directory.join(format!("{key}.lock"));
        let Some(held) = Lock::try_exclusive(&lock)? else {
            return Ok(false);
        };
        sys::fs::remove_all(&self.directory.join(key))?;
        sys::fs::remove_all(&lock)?;
        drop(held);
        Ok(true)
    }
}

fn hash(name: &str, copy: u32) -> String {
    super::digest_of(format!("{copy} {name}").as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_kept_for_its_name_and_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let contexts = Contexts {
            directory: directory.path().join("contexts"),
        };
        assert!(contexts.list().unwrap().is_empty());
        let first = contexts.take(Some("../x")).unwrap();
        std::fs::write(first.path().join("file"), "1").unwrap();
        let second = contexts.take(Some("../x")).unwrap();
        assert_ne!(first.path(), second.path());
        let passing = contexts.take(None).unwrap();
        assert!(contexts.list().unwrap().iter().all(|context| context.in_use));
        let gone = passing.path().to_owned();
        drop((second, passing));
        assert!(!gone.exists());
        let path = first.path().to_owned();
        let key = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!contexts.remove(&key).unwrap());
        drop(first);
        let again = contexts.take(Some("../x")).unwrap();
        assert_eq!(std::fs::read(again.path().join("file")).unwrap(), b"1");
        drop(again);
        assert!(contexts.remove(&key).unwrap() && !path.exists());
    }
}
