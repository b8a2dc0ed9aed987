//! Seccomp: Docker's default profile with its conditions, profiles from files, and their compilation into small BPF
//! programs (comparison trees over ranges; a 700-instruction list costs 1 ms to load, a tree a fifth of that).

use oci_spec::runtime::{Capability, LinuxSeccomp};

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// It is not JSON of the right shape.
    #[error("the seccomp profile cannot be read")]
    Json(#[from] serde_json::Error),
    /// It asks for something that cannot be compiled.
    #[error("the seccomp profile {0}")]
    Unsupported(String),
}

/// Returns Docker's default profile, its conditions (capabilities, architecture, kernel) resolved for a process with
/// `capabilities` in its bounding set.
pub fn default_profile(capabilities: &[Capability]) -> LinuxSeccomp {
    todo!("{capabilities:?}")
}

/// Reads a profile in Docker's format (with `includes`/`excludes`/`archMap`) or the OCI's, and resolves its conditions.
pub fn parse_profile(json: &str, capabilities: &[Capability]) -> Result<LinuxSeccomp, SeccompError> {
    todo!("{json} {capabilities:?}")
}

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Compiles a profile for the architectures that it names. Foreign architectures get the default action; unknown
/// syscall names are skipped, as libseccomp does.
pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    todo!("{profile:?}")
}
