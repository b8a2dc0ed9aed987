//! The tar format, read strictly and written so that the same tree gives the same bytes.
//!
//! Where tar programs disagree about what an archive says, this reader refuses it: what was checked must be what is
//! unpacked (CVE-2025-62518, CVE-2026-33055).

mod header;
mod pax;
mod read;
mod write;

pub(crate) use read::{Entry, Kind, Reader};
pub(crate) use write::{Member, MemberKind, Writer};

/// A tar's unit.
pub(crate) const BLOCK: usize = 512;
/// The longest path or link target that is read or written, as on Linux (`PATH_MAX`).
pub(crate) const LONGEST_PATH: usize = 4096;
/// The most bytes of extended headers for one member.
pub(crate) const LARGEST_EXTENSION: u64 = 1 << 20;
/// The most pieces that a sparse file may have.
pub(crate) const MOST_EXTENTS: usize = 1 << 18;

/// Why bytes are no tar that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It ends in the middle of a member.
    #[error("the archive ends in the middle of {0}")]
    Truncated(&'static str),
    /// A member's header cannot be read.
    #[error("the archive has a bad header at byte {at}: {why}")]
    Header {
        /// Where the header begins.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Reading failed.
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    /// Writing failed.
    #[error("cannot write the archive")]
    Write(#[source] std::io::Error),
    /// A member changed while it was being written.
    #[error("'{0}' changed while it was read")]
    Changed(String),
}
