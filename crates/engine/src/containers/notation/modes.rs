//! Which namespaces a container shares: `--pid`, `--ipc`, `--uts`, `--userns`, `--cgroupns`.

use super::{Invalid, invalid};
use crate::containers::request::{CgroupNamespace, IpcMode, NamespaceMode, UserNamespaceMode, UtsMode};

/// Reads `--pid`.
pub fn pid(text: &str) -> Result<NamespaceMode, Invalid> {
    match text {
        "" | "private" => Ok(NamespaceMode::Own),
        "host" => Ok(NamespaceMode::Host),
        _ => match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(NamespaceMode::Container(name.to_owned())),
            _ => invalid("--pid: invalid PID mode"),
        },
    }
}

/// Reads `--ipc`.
pub fn ipc(text: &str) -> Result<IpcMode, Invalid> {
    match text {
        "" | "private" => Ok(IpcMode::Private),
        "none" => Ok(IpcMode::None),
        "shareable" => Ok(IpcMode::Shareable),
        "host" => Ok(IpcMode::Host),
        _ => match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(IpcMode::Container(name.to_owned())),
            _ => invalid(format!("invalid IPC mode: {text}")),
        },
    }
}

/// Reads `--uts`.
pub fn uts(text: &str) -> Result<UtsMode, Invalid> {
    match text {
        "" | "private" => Ok(UtsMode::Own),
        "host" => Ok(UtsMode::Host),
        _ => invalid("--uts: invalid UTS mode"),
    }
}

/// Reads `--userns`.
pub fn user(text: &str) -> Result<UserNamespaceMode, Invalid> {
    match text {
        "" | "private" => Ok(UserNamespaceMode::Configured),
        "host" => Ok(UserNamespaceMode::Host),
        _ => invalid("--userns: invalid USER mode"),
    }
}

/// Reads `--cgroupns`.
pub fn cgroup(text: &str) -> Result<Option<CgroupNamespace>, Invalid> {
    match text {
        "" => Ok(None),
        "private" => Ok(Some(CgroupNamespace::Private)),
        "host" => Ok(Some(CgroupNamespace::Host)),
        _ => invalid("--cgroupns: invalid CGROUP mode"),
    }
}
