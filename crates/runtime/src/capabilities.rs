//! Capabilities: names, sets, and Docker's default fourteen.

use oci_spec::runtime::{Capability, LinuxCapabilities};

/// Docker's default set.
pub const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// An unknown capability name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown capability '{0}'")]
pub struct UnknownCapability(pub String);

/// Applies `--cap-add` and `--cap-drop` (names with or without `CAP_`, `ALL`) to the default set as Docker does, or
/// gives every capability that the kernel knows and we hold where `privileged`. Inheritable and ambient stay empty
/// (CVE-2022-24769).
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<LinuxCapabilities, UnknownCapability> {
    todo!("{add:?} {drop:?} {privileged}")
}
