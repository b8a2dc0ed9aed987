//! The directories of `RUN --mount=type=cache`: they outlive builds, and are part of no image.
//!
//! ```text
//! <root>/cache/<hex>/data    what steps see; they may have made anything of it
//! <root>/cache/<hex>/id      the name that Dockerfiles call it by
//! <root>/cache/<hex>/next    what is about to take the place of data
//! <root>/cache/<hex>.lock    held while a step uses it; its time is when it was last used
//! ```
//!
//! The directory's name is a hash of the id, so that no id is a path (CVE-2024-1753, CVE-2024-11218).

use crate::cache::KeyHasher;
use dockerfile::Sharing;
use rustix::fs::{FileType, Mode, Timestamps};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::SysError;
use sys::lock::Lock;
use sys::path::Tree;

/// How often a cache that others hold is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// No id is longer.
const LONGEST_ID: u64 = 64 << 10;
/// More private copies of one cache than this are never wanted at once.
const MOST_COPIES: u32 = 1024;

/// All cache mounts of a root.
#[derive(Debug, Clone)]
pub struct CacheMounts {
    directory: PathBuf,
}

/// A cache mount, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Hex digits that tell it from all others.
    pub key: String,
    /// What Dockerfiles call it.
    pub id: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Nanoseconds since 1970.
    pub last_used: i64,
    /// Bytes on disk.
    pub size: u64,
    /// Whether a step uses it just now.
    pub in_use: bool,
}

/// A cache mount that nobody else uses as long as this lives.
#[derive(Debug)]
pub struct HeldMount {
    data: PathBuf,
    _lock: Lock,
}

impl HeldMount {
    /// Returns its directory. Steps have made what is in it.
    pub fn data(&self) -> &Path {
        &self.data
    }
}

/// A cache that a step may use as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its directory.
    pub(crate) data: PathBuf,
    /// Whether nobody has used it before.
    pub(crate) is_new: bool,
    _lock: Lock,
}

impl CacheMounts {
    /// Those below a directory, which need not be there yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Takes a cache, waiting where others must be waited for; `None` if `stopped` says so meanwhile.
    pub(crate) fn take(
        &self,
        id: &str,
        sharing: Sharing,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Held>, SysError> {
        sys::fs::create_directories(&self.directory, 0o700)?;
        let mut copy = 0;
        loop {
            let name = hash(id, copy);
            let path = self.directory.join(format!("{name}.lock"));
            let lock = match sharing {
                Sharing::Shared => Lock::try_shared(&path)?,
                Sharing::Locked | Sharing::Private => Lock::try_exclusive(&path)?,
            };
            if let Some(lock) = lock {
                return self.prepare(&name, lock).map(Some);
            }
            if sharing == Sharing::Private && copy < MOST_COPIES {
                copy += 1;
                continue;
            }
            if stopped() {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn prepare(&self, name: &str, lock: Lock) -> Result<Held, SysError> {
        let directory = self.directory.join(name);
        let data = directory.join("data");
        sys::fs::create_directories(&directory, 0o700)?;
        // The id is written last: without it nothing has been filled in yet.
        let is_new = rustix::fs::access(directory.join("id"), rustix::fs::Access::EXISTS).is_err();
        if is_new {
            match rustix::fs::mkdir(&data, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(SysError::on("make the directory", &data)(errno)),
            }
        }
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        rustix::fs::futimens(
            lock.file(),
            &Timestamps {
                last_access: now,
                last_modification: now,
            },
        )
        .map_err(SysError::on("mark as used", &directory))?;
        Ok(Held {
            data,
            is_new,
            _lock: lock,
        })
    }

    /// Lists all, the last used first.
    pub fn list(&self) -> Result<Vec<CacheMount>, SysError> {
        let mut found = Vec::new();
        for key in self.keys()? {
            let directory = self.directory.join(&key);
            let lock = self.directory.join(format!("{key}.lock"));
            let time = |path: &Path| {
                rustix::fs::stat(path).map_or(0, |stat| {
                    stat.st_mtime.saturating_mul(1_000_000_000) + stat.st_mtime_nsec.cast_signed()
                })
            };
            let id = sys::fs::read(&directory.join("id"), LONGEST_ID).unwrap_or_default();
            found.push(CacheMount {
                id: String::from_utf8_lossy(&id).into_owned(),
                created: time(&directory.join("id")),
                last_used: time(&lock),
                size: Tree::open(&directory.join("data"))
                    .and_then(|tree| tree.disk_usage())
                    .unwrap_or_default(),
                in_use: Lock::try_exclusive(&lock)?.is_none(),
                key,
            });
        }
        found.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.key.cmp(&b.key)));
        Ok(found)
    }

    fn keys(&self) -> Result<Vec<String>, SysError> {
        let tree = match Tree::open(&self.directory) {
            Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(Vec::new()),
            tree => tree?,
        };
        Ok(tree
            .entries(Path::new("."))?
            .into_iter()
            .filter(|entry| entry.kind == FileType::Directory)
            .map(|entry| entry.name.to_string_lossy().into_owned())
            .collect())
    }

    /// Holds one so that nobody changes or removes it meanwhile; `None` if a step uses it just now, or there is none.
    pub fn hold(&self, key: &str) -> Result<Option<HeldMount>, SysError> {
        let data = self.directory.join(key).join("data");
        if key.contains('/') || rustix::fs::access(&data, rustix::fs::Access::EXISTS).is_err() {
            return Ok(None);
        }
        let lock = Lock::try_exclusive(&self.directory.join(format!("{key}.lock")))?;
        Ok(lock.map(|lock| HeldMount { data, _lock: lock }))
    }

    /// Gives a cache mount other files than it has, or makes it: `fill` puts them into an empty directory. Says no if a step
    /// uses it just now. Whatever happens, it has either all of the old files or all of the new ones.
    pub fn replace<E: From<SysError>>(
        &self,
        id: &str,
        fill: impl FnOnce(&Tree) -> Result<(), E>,
    ) -> Result<bool, E> {
        sys::fs::create_directories(&self.directory, 0o700)?;
        let name = hash(id, 0);
        let Some(lock) = Lock::try_exclusive(&self.directory.join(format!("{name}.lock")))? else {
            return Ok(false);
        };
        let held = self.prepare(&name, lock)?;
        let next = held.data.with_file_name("next");
        sys::fs::remove_all(&next)?;
        rustix::fs::mkdir(&next, Mode::from_raw_mode(0o755))
            .map_err(SysError::on("make the directory", &next))?;
        let filled = Tree::open(&next).map_err(E::from).and_then(|tree| fill(&tree));
        if let Err(error) = filled {
            sys::fs::remove_all(&next)?;
            if held.is_new {
                drop(held);
                self.remove(&name)?;
            }
            return Err(error);
        }
        // Without its id it counts as new, should this be interrupted.
        sys::fs::remove_all(&held.data.with_file_name("id"))?;
        sys::fs::remove_all(&held.data)?;
        rustix::fs::rename(&next, &held.data).map_err(SysError::on("rename to", &held.data))?;
        held.finish(id)?;
        Ok(true)
    }

    /// Removes one unless a step uses it; says whether it is gone.
    pub fn remove(&self, key: &str) -> Result<bool, SysError> {
        if key.contains('/') {
            return Ok(false);
        }
        let path = self.directory.join(format!("{key}.lock"));
        let Some(lock) = Lock::try_exclusive(&path)? else {
            return Ok(false);
        };
        // Steps leave directories that nobody may write to; root removes them all the same.
        sys::fs::remove_all(&self.directory.join(key))?;
        // A taker that waits on the lock notices that its file is gone.
        sys::fs::remove_all(&path)?;
        drop(lock);
        Ok(true)
    }
}

impl Held {
    /// Empties it.
    pub(crate) fn clear(&self) -> Result<(), SysError> {
        sys::fs::remove_all(&self.data)?;
        rustix::fs::mkdir(&self.data, Mode::from_raw_mode(0o755))
            .map_err(SysError::on("make the directory", &self.data))
    }

    /// Notes that a new cache is filled and is its id's from now on.
    pub(crate) fn finish(&self, id: &str) -> Result<(), SysError> {
        let file = self.data.with_file_name("id");
        sys::fs::write_atomically(&file, id.as_bytes(), 0o600)
    }
}

fn hash(id: &str, copy: u32) -> String {
    let mut hasher = KeyHasher::new("cache mount");
    hasher.part(id).number(copy.into());
    hasher.finish().hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_shared_locked_or_private() {
        let directory = tempfile::tempdir().unwrap();
        let caches = CacheMounts::new(directory.path().join("cache"));
        assert!(caches.list().unwrap().is_empty());
        let take = |sharing| caches.take("../../x", sharing, &|| true).unwrap();
        let first = take(Sharing::Shared).unwrap();
        assert!(first.is_new && first.data.starts_with(directory.path().join("cache")));
        first.finish("../../x").unwrap();
        std::fs::write(first.data.join("file"), "1").unwrap();
        let second = take(Sharing::Shared).unwrap();
        assert_eq!(first.data, second.data);
        assert!(!second.is_new);
        assert!(take(Sharing::Locked).is_none());
        let private = take(Sharing::Private).unwrap();
        assert_ne!(private.data, first.data);
        drop(private);
        let key = caches.list().unwrap().remove(0);
        assert!(key.in_use || key.id.is_empty());
        drop((first, second));
        assert!(take(Sharing::Locked).is_some());
        let all = caches.list().unwrap();
        let mine = all.iter().find(|cache| cache.id == "../../x").unwrap();
        assert!(mine.size > 0 && !mine.in_use);
        assert!(caches.remove(&mine.key).unwrap());
        assert!(take(Sharing::Shared).unwrap().is_new);
    }

    #[test]
    fn a_cache_is_replaced_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let caches = CacheMounts::new(directory.path().join("cache"));
        let put = |name: &str, fails: bool| {
            caches.replace("a/b", |tree| {
                drop(tree.create_file(Path::new(name), Mode::from_raw_mode(0o644))?);
                if fails {
                    return Err(SysError::of("do it")(rustix::io::Errno::IO));
                }
                Ok(())
            })
        };
        assert!(put("half", true).is_err());
        assert!(caches.list().unwrap().is_empty());
        assert!(put("one", false).unwrap());
        assert!(put("half", true).is_err());
        let all = caches.list().unwrap();
        assert_eq!(all.len(), 1);
        let held = caches.hold(&all[0].key).unwrap().unwrap();
        assert!(held.data().join("one").exists() && !held.data().join("half").exists());
        assert!(!put("two", false).unwrap(), "it is in use");
        drop(held);
        assert!(put("two", false).unwrap());
        let held = caches.hold(&all[0].key).unwrap().unwrap();
        assert!(held.data().join("two").exists() && !held.data().join("one").exists());
        assert!(!held.data().with_file_name("next").exists());
        assert!(caches.hold("../x").unwrap().is_none());
    }
}
