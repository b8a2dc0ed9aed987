//! Netlink messages: attributes, requests, answers (netlink(7)); route and netfilter sockets in any network namespace.
//!
//! A [`Batch`] is built in memory, sent with one call and answered by one [`Answer`] per message. What the messages
//! mean is the caller's business.

mod batch;
mod listener;
mod namespace;
mod parse;
mod socket;

pub use batch::{Attributes, Batch};
pub use listener::{Heard, Listener};
pub use namespace::inside;
pub use parse::{Attribute, AttributeIter, attributes};
pub use socket::{Answer, Family, Refusal, Reply, Socket};

use crate::SysError;

/// `NLM_F_REQUEST`: set on every message by [`Batch::message`].
pub const REQUEST: u16 = 0x1;
/// `NLM_F_MULTI`: one part of several.
pub(crate) const MULTI: u16 = 0x2;
/// `NLM_F_ACK`: answer with an error number, 0 for success.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR`: what is listed changed while it was listed.
pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_REPLACE`, for requests that make something.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail if it is there.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`: make it if it is not there.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add at the end of a list.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: list all.
pub const DUMP: u16 = 0x300;

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Why an exchange of messages failed as a whole. What the kernel says to a single message is a [`Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call on the socket failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A message or attribute does not fit its length field; it was not sent (compare CVE-2021-43784, where such a
    /// length wrapped and the data became attributes of their own).
    #[error("netlink message too long")]
    TooLong,
    /// What the kernel sent cannot be read.
    #[error("malformed netlink answer")]
    Malformed,
    /// The listed objects changed under every attempt to list them.
    #[error("kernel objects kept changing while they were listed")]
    Interrupted,
}

/// Rounds up to the alignment of messages and attributes, 4 bytes.
pub(crate) const fn align(length: usize) -> usize {
    (length + 3) & !3
}
