//! What the host's security module is told of a container.

use super::super::request::CreateContainer;
use std::path::Path;

/// Says `Y` where AppArmor is on (apparmor(7)).
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// Mounted where SELinux is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Says whether AppArmor confines anybody on this host.
pub(crate) fn has_apparmor() -> bool {
    std::fs::read(APPARMOR).is_ok_and(|answer| answer.starts_with(b"Y"))
}

/// Says whether SELinux confines anybody on this host.
pub(crate) fn has_selinux() -> bool {
    Path::new(SELINUX).exists()
}

/// Returns the AppArmor profile of a container's processes.
pub(super) fn apparmor_profile(request: &CreateContainer) -> Option<String> {
    let profile = request.security.apparmor.clone().filter(|_| has_apparmor())?;
    (!profile.is_empty() && profile != "unconfined").then_some(profile)
}
