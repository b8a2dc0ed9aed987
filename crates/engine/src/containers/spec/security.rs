//! What the host's security module is told of a container.

use std::path::Path;

/// Mounted where SELinux is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Says whether SELinux confines anybody on this host.
pub(crate) fn has_selinux() -> bool {
    Path::new(SELINUX).exists()
}
