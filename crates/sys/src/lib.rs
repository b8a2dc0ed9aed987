//! The kernel, by file descriptor.
//!
//! In: typed calls. Out: descriptors and values that own what they name. Stands on `rustix`, and on `libc` where
//! rustix has no wrapper; the only crate with `unsafe`. Does not know what a container, an image or a network is.
#![expect(
    unsafe_code,
    reason = "this crate is where the kernel is called; each block states its invariant"
)]

pub mod activation;
pub mod bpf;
pub mod descriptors;
mod error;
pub mod exe;
pub mod failpoint;
pub mod fs;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod path;
pub mod process;
pub mod pty;
pub mod quota;
pub mod signal;
mod usage;

pub use error::SysError;
