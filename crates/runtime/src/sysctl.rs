//! Kernel parameters of a container: only those that belong to a namespace of its own, or it would set the host's.

use crate::StartError;
use crate::error::failed;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount::MountAttrFlags;
use sys::process::Namespaces;

/// Parameters that belong to the IPC namespace, besides `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A parameter and its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    name: String,
    value: String,
}

/// Parameters to set at once, and those of network interfaces, which are there only when the network is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sysctls {
    pub(crate) early: Vec<Sysctl>,
    pub(crate) late: Vec<Sysctl>,
}

impl Sysctls {
    /// Checks parameters against the namespaces that the container does not share.
    pub(crate) fn parse(sysctls: &HashMap<String, String>, own: Namespaces) -> Result<Self, StartError> {
        let mut parsed = Self::default();
        let mut sorted: Vec<_> = sysctls.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            // Written either way; a dot in an interface's name is a slash in the first.
            let name = name.replace('/', ".");
            let namespace = if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
                Namespaces::INTER_PROCESS_COMMUNICATION
            } else if name.starts_with("net.") {
                Namespaces::NETWORK
            } else if name == "kernel.domainname" {
                Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME
            } else {
                return Err(StartError::setup(format!(
                    "the sysctl '{name}' is not of any namespace of the container"
                )));
            };
            if !own.contains(namespace) {
                return Err(StartError::setup(format!(
                    "the sysctl '{name}' would be set for the host: the container has no namespace of its own for it"
                )));
            }
            let of_interface = interface(&name).is_some_and(|name| !matches!(name, "all" | "default" | "lo"));
            let list = if of_interface {
                &mut parsed.late
            } else {
                &mut parsed.early
            };
            list.push(Sysctl {
                name,
                value: value.clone(),
            });
        }
        Ok(parsed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.early.is_empty() && self.late.is_empty()
    }
}

/// The interface in `net.ipv4.conf.eth0.rp_filter`, `net.ipv6.neigh.eth0.…`.
fn interface(name: &str) -> Option<&str> {
    let mut parts = name.split('.').skip(2);
    matches!(parts.next(), Some("conf" | "neigh")).then(|| parts.next())?
}

/// A procfs that is mounted nowhere: the one that the container sees may have something on top of it, and what is
/// written there might go elsewhere (CVE-2025-52881).
#[derive(Debug)]
pub(crate) struct PrivateProc(OwnedFd);

impl PrivateProc {
    /// Mounts it for the caller's pid namespace.
    pub(crate) fn new() -> Result<Self, StartError> {
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(sys::mount::filesystem("proc", Some("proc"), &[], flags)?))
    }

    /// Opens the directory of the calling process.
    pub(crate) fn of_this_process(&self) -> Result<OwnedFd, StartError> {
        let path = PathBuf::from(rustix::process::getpid().as_raw_nonzero().to_string());
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        sys::path::open_resolving(self.0.as_fd(), &path, flags, Mode::empty(), resolve)
            .map_err(failed("open this process's directory of procfs"))
    }

    /// Sets parameters.
    pub(crate) fn set(&self, sysctls: &[Sysctl]) -> Result<(), StartError> {
        for sysctl in sysctls {
            let what = || format!("set the sysctl '{}' to '{}'", sysctl.name, sysctl.value);
            let mut path = PathBuf::from("sys");
            path.push(sysctl.name.replace('.', "/"));
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let file =
                sys::path::open_resolving(self.0.as_fd(), &path, OFlags::WRONLY, Mode::empty(), resolve)
                    .map_err(failed(what()))?;
            rustix::io::write(&file, sysctl.value.as_bytes()).map_err(failed(what()))?;
        }
        Ok(())
    }
}

/// Sets how willingly the kernel kills a process for lack of memory. Returns a warning where it may not be set so.
pub(crate) fn set_oom_score(pid: i32, score: i32) -> Result<Option<String>, StartError> {
    let path = format!("/proc/{pid}/oom_score_adj");
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(Path::new(&path), flags, Mode::empty())?;
        rustix::io::write(&file, score.to_string().as_bytes())
    };
    match write() {
        Ok(_) => Ok(None),
        // Lowering it takes CAP_SYS_RESOURCE.
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(Some(format!(
            "the OOM score adjustment cannot be set to {score}: permission denied"
        ))),
        Err(errno) => Err(failed(format!("set the OOM score adjustment to {score}"))(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, own: Namespaces) -> Result<Sysctls, String> {
        let sysctls = HashMap::from([(name.to_owned(), "1".to_owned())]);
        Sysctls::parse(&sysctls, own).map_err(|error| error.message)
    }

    #[test]
    fn only_parameters_of_own_namespaces() {
        let all = Namespaces::all();
        for name in [
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "kernel.domainname",
            "net.ipv4.conf.all.rp_filter",
        ] {
            assert_eq!(parse(name, all).unwrap().early.len(), 1, "{name}");
            assert!(
                parse(name, Namespaces::PROCESS_ID)
                    .unwrap_err()
                    .contains("for the host"),
                "{name}"
            );
        }
        assert_eq!(parse("net.ipv4.conf.eth0.rp_filter", all).unwrap().late.len(), 1);
        for name in [
            "kernel.core_pattern",
            "kernel.hostname",
            "vm.swappiness",
            "",
            "kernel.shmmax.x",
            "fs.mqueue",
        ] {
            assert!(
                parse(name, all).unwrap_err().contains("not of any namespace"),
                "{name}"
            );
        }
    }
}
