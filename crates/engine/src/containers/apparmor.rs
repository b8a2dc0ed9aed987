//! AppArmor: which profile confines a container, and the one of ours that does where none is asked for.
//!
//! The kernel takes profiles in a form of their own, which AppArmor's own program makes; a host without that program
//! has no use of AppArmor, as with Docker. What is loaded stays until the host is rebooted.

use super::request::CreateContainer;
use crate::EngineError;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Says `Y` where AppArmor is on (apparmor(7)).
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// A line for each profile that is loaded: `name (mode)`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// Where AppArmor's program is on every distribution that has it.
const PARSERS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];
/// Of containers for which none is asked.
const DEFAULT: &str = "coracle-default";

/// What it forbids is what namespaces and capabilities do not: to mount, and to write where the kernel is told what to
/// do. That is what Docker's own profile forbids, and files that Docker masks besides. It includes no file of the
/// host's, so it is the same everywhere.
const PROFILE: &str = "\
profile coracle-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  # Who started it may end it, and so may its own.
  signal (receive) peer=unconfined,
  signal (send,receive) peer=coracle-default,
  ptrace (trace,read,tracedby,readby) peer=coracle-default,

  deny mount,

  # In /proc only the processes' own directories are for writing, and some of /proc/sys/kernel.
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /proc/mem rwklx,
  deny /proc/kmem rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
";

/// Says whether AppArmor confines anybody on this host.
pub(super) fn is_on() -> bool {
    std::fs::read(ENABLED).is_ok_and(|answer| answer.starts_with(b"Y"))
}

/// Returns the profile of a container's processes.
pub(super) fn profile(request: &CreateContainer) -> Option<String> {
    if !is_on() {
        return None;
    }
    match request.security.apparmor.as_deref() {
        Some("" | "unconfined") => None,
        Some(profile) => Some(profile.to_owned()),
        None if request.privileged => None,
        None => is_loaded(DEFAULT)?.then(|| DEFAULT.to_owned()),
    }
}

/// Returns what `inspect` shows of it.
pub fn shown(request: &CreateContainer) -> String {
    match (&request.security.apparmor, profile(request)) {
        (Some(asked), _) => asked.clone(),
        (None, Some(profile)) => profile,
        (None, None) if request.privileged && is_on() => "unconfined".into(),
        (None, None) => String::new(),
    }
}

/// Makes sure that the profile of a container which is about to start is there: ours is loaded if it is not yet.
pub(super) fn prepare(request: &CreateContainer) -> Result<(), EngineError> {
    if request.privileged && request.security.apparmor.is_none() || !is_on() {
        return Ok(());
    }
    match request.security.apparmor.as_deref() {
        Some("" | "unconfined") => Ok(()),
        Some(profile) if is_loaded(profile) == Some(false) => Err(EngineError::Invalid {
            message: format!("the AppArmor profile '{profile}' is not loaded"),
            hint: Some(format!(
                "load it with 'apparmor_parser -r FILE'; {LOADED} lists those that are"
            )),
        }),
        None if is_loaded(DEFAULT) == Some(false) => load(),
        Some(_) | None => Ok(()),
    }
}

/// Says whether the kernel has a profile; `None` if it does not tell us, as in a container.
fn is_loaded(profile: &str) -> Option<bool> {
    let loaded = std::fs::read_to_string(LOADED).ok()?;
    Some(lists(&loaded, profile))
}

fn lists(loaded: &str, profile: &str) -> bool {
    let name = |line: &str| line.rsplit_once(" (").map(|(name, _mode)| name.to_owned());
    // A stacked or namespaced name is for the kernel to judge.
    profile.contains("//&")
        || profile.starts_with(':')
        || loaded.lines().any(|line| name(line).as_deref() == Some(profile))
}

fn load() -> Result<(), EngineError> {
    let Some(parser) = PARSERS.iter().find(|parser| Path::new(parser).exists()) else {
        return Ok(());
    };
    let failed = |why: String| EngineError::Invalid {
        message: format!("AppArmor is on, and the profile {DEFAULT} could not be loaded: {why}"),
        hint: Some("to run without one, say --security-opt apparmor=unconfined".into()),
    };
    let run = || {
        // No cache: what is given by a pipe has no name in it.
        let mut child = Command::new(parser)
            .args(["--skip-cache", "--replace"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(PROFILE.as_bytes()) {
                // It has ended, and says why.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| failed(format!("cannot run {parser}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_their_whole_names() {
        let loaded = "coracle-default (enforce)\n/usr/bin/man (complain)\nwith a blank (enforce)\n";
        for (profile, expected) in [
            ("coracle-default", true),
            ("coracle", false),
            ("/usr/bin/man", true),
            ("with a blank", true),
            ("with", false),
            ("a//&b", true),
        ] {
            assert_eq!(lists(loaded, profile), expected, "{profile}");
        }
    }

    #[test]
    fn the_profile_bears_the_name_that_is_asked_for() {
        assert!(PROFILE.starts_with(&format!("profile {DEFAULT} ")));
        assert!(PROFILE.contains(&format!("peer={DEFAULT},")));
    }
}
