//! The store's directories.

use crate::LayerId;
use crate::{Limits, StoreError, recovery};
use oci::Overlay;
use state::Database;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use sys::SysError;
use sys::lock::Lock;

/// The store below one root directory. Threads share it.
#[derive(Debug)]
pub struct Store {
    pub(crate) root: PathBuf,
    pub(crate) database: Arc<Database>,
    pub(crate) limits: Limits,
}

const DIRECTORIES: [&str; 7] = [
    "blobs",
    "blobs/sha256",
    "layers",
    "snapshots",
    "leases",
    "locks",
    "tmp",
];
/// What the runtime mounts things on; without it, each container's upper directory would get these as remains.
const SKELETON_DIRECTORIES: [&str; 4] = ["dev", "etc", "proc", "sys"];
const SKELETON_FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

impl Store {
    /// Opens the store below `root`, making its directories (0700) where they are missing, and finishes or undoes
    /// what a dead process left.
    pub fn open(root: &Path, database: Arc<Database>) -> Result<Self, StoreError> {
        let store = Self {
            root: root.to_owned(),
            database,
            limits: Limits::default(),
        };
        store.make_directories()?;
        recovery::recover(&store)?;
        Ok(store)
    }

    /// Returns the store with other limits on what layers may unpack to.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the union of `layers` (bottom first). With `skeleton`, a directory that has every path that the
    /// runtime mounts something on (`/proc`, `/etc/resolv.conf`, …) lies at the very bottom, so that mounting
    /// leaves no trace in `upper`.
    pub fn overlay(&self, layers: &[LayerId], upper: Option<(&Path, &Path)>, skeleton: bool) -> Overlay {
        let mut lower: Vec<PathBuf> = Vec::with_capacity(layers.len() + 1);
        for id in layers.iter().rev() {
            let path = self.layer_path(id);
            // Overlayfs refuses one directory twice (ELOOP), but images have such layers: all that are empty are the
            // same. The upper of two says all that the lower one says, so that one may go.
            if !lower.contains(&path) {
                lower.push(path);
            }
        }
        if skeleton || lower.is_empty() {
            lower.push(self.skeleton());
        }
        Overlay {
            lower,
            upper: upper.map(|(upper, _)| upper.to_owned()),
            work: upper.map(|(_, work)| work.to_owned()),
            temporary: false,
        }
    }

    /// Returns the directory of an unpacked layer.
    pub fn layer_path(&self, id: &LayerId) -> PathBuf {
        self.root.join("layers").join(&id.0)
    }

    /// Returns where the directories of `RUN --mount=type=cache` are; the store itself does nothing with them.
    pub fn cache_mounts(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn blob_path(&self, digest: &oci::Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn skeleton(&self) -> PathBuf {
        self.root.join("skeleton")
    }

    fn make_directories(&self) -> Result<(), SysError> {
        let skeleton = self.skeleton();
        // It is made last, so that where it is the others are too.
        if rustix::fs::access(&skeleton, rustix::fs::Access::EXISTS).is_ok() {
            return Ok(());
        }
        for name in DIRECTORIES {
            sys::fs::create_directories(&self.root.join(name), 0o700)?;
        }
        // Held like a lease, so that nobody takes what is being made for a dead process's.
        let name = random_name()?;
        let lease = self.root.join("leases").join(&name);
        let lock = Lock::exclusive(&lease)?;
        let aside = self.root.join("tmp").join(&name);
        make_directory(&aside, 0o755)?;
        for name in SKELETON_DIRECTORIES {
            make_directory(&aside.join(name), 0o755)?;
        }
        for name in SKELETON_FILES {
            sys::fs::write_atomically(&aside.join(name), b"", 0o644)?;
        }
        match sys::fs::rename_to_new(&aside, &skeleton) {
            // Another process was faster.
            Err(error) if error.errno == rustix::io::Errno::EXIST => sys::fs::remove_all(&aside)?,
            result => result?,
        }
        sys::fs::remove_all(&lease)?;
        drop(lock);
        Ok(())
    }
}

/// Makes a directory with exactly this mode.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), SysError> {
    let mode = rustix::fs::Mode::from_raw_mode(mode);
    rustix::fs::mkdir(path, mode).map_err(SysError::on("make the directory", path))?;
    rustix::fs::chmod(path, mode).map_err(SysError::on("set the mode of", path))
}

/// Returns 13 random letters and digits, 65 bits: a name that nobody else has.
pub(crate) fn random_name() -> Result<String, SysError> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0_u8; 13];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(SysError::of("draw random bytes"))?;
    if length != bytes.len() {
        return Err(SysError::of("draw random bytes")(rustix::io::Errno::IO));
    }
    Ok(bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte & 31)]))
        .collect())
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A file or directory that is removed when this is dropped, unless it has been renamed away.
#[derive(Debug)]
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now goes with the lease's directory, or when the next process opens the store.
        sys::fs::remove_all(&self.0).unwrap_or_default();
    }
}
