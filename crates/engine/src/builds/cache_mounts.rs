//! Cache mounts as archives: what `--cache-to …,mounts=true` and `builder cache` carry from machine to machine.
//!
//! An archive is a tar, compressed with zstd, of what is in a mount. What is in one, steps have put there: so nothing is
//! followed when it is read, and an archive is unpacked by the reader that trusts no archive.

use crate::EngineError;
use builder::cache_mounts::HeldMount;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use store::StoreError;
use sys::path::Tree;

/// More than this is in no cache mount that is worth carrying, but in an archive that is to fill the disk.
const MOST: u64 = 256 << 30;

/// Writes the files of a cache mount.
pub(super) fn pack(mount: &HeldMount, into: &mut dyn Write) -> Result<(), StoreError> {
    let failed = |error| StoreError::Tar(store::TarError::Write(error));
    let directory = Tree::open(mount.data())?;
    let mut encoder = zstd::stream::write::Encoder::new(into, 3).map_err(failed)?;
    store::write_alone(directory.as_fd(), &mut encoder)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}

/// Unpacks such an archive into an empty directory.
pub(super) fn unpack(into: &Tree, archive: &mut dyn Read) -> Result<(), EngineError> {
    let directory = into
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| sys::SysError::io("use", "a directory of the cache", &error))?;
    store::unpack_strange(directory, archive, MOST)?;
    Ok(())
}
