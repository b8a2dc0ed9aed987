//! `cp`: files in and out, by descriptors inside the container's root only (CVE-2018-15664, CVE-2019-14271).
use super::{Containers, record::ContainerId};
use crate::EngineError;
use std::io::{Read, Write};

/// What a path inside a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Where it points, if it is a link, absolute inside the container.
    pub link_target: String,
}

impl Containers<'_> {
    /// Says what `path` is.
    pub fn stat_path(&self, id: &ContainerId, path: &str) -> Result<PathStat, EngineError> {
        todo!("{id} {path}")
    }

    /// Writes `path` as a tar whose top entry is the path's last component (Docker's `GET …/archive`).
    pub fn copy_out(
        &self,
        id: &ContainerId,
        path: &str,
        into: &mut dyn Write,
    ) -> Result<PathStat, EngineError> {
        todo!("{id} {path} {}", into.flush().is_ok())
    }

    /// Unpacks a tar into the directory `path` (Docker's `PUT …/archive`). With `keep_owner` numeric owners are kept,
    /// otherwise all is owned by root. Replacing a directory by a file, or the reverse, is refused.
    pub fn copy_in(
        &self,
        id: &ContainerId,
        path: &str,
        tar: &mut dyn Read,
        keep_owner: bool,
    ) -> Result<(), EngineError> {
        todo!("{id} {path} {keep_owner} {}", tar.read(&mut []).is_ok())
    }

    /// Writes the whole root filesystem as a tar, without what is mounted in it (`export`).
    pub fn export(&self, id: &ContainerId, into: &mut dyn Write) -> Result<(), EngineError> {
        todo!("{id} {}", into.flush().is_ok())
    }
}
