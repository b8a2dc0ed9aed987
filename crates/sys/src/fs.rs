//! Files at trusted host paths: the store's, the state's, the user's. Errors name the path.

use crate::SysError;
use std::path::Path;

/// Writes `content` to `path` so that a reader sees the old content or the new, never half: a temporary file in the
/// same directory, mode `mode`, fsynced, renamed over `path`, and the directory fsynced.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), SysError> {
    todo!("{path:?} {content:?} {mode}")
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SysError> {
    todo!("{path:?} {limit}")
}

/// Returns this boot's id from `/proc/sys/kernel/random/boot_id`, 36 characters.
pub fn boot_id() -> Result<String, SysError> {
    todo!()
}
