//! Which namespaces a container makes, joins, or shares with the host.

use crate::error::failed;
use crate::{Joined, StartError};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};
use rustix::fs::{Mode, OFlags};
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::SysError;
use sys::process::Namespaces;

/// The namespaces of a container.
#[derive(Debug)]
pub(crate) struct NamespacePlan {
    /// Made with the first process.
    pub(crate) new: Namespaces,
    /// Joined by the first process, in this order.
    pub(crate) joined: Vec<(OwnedFd, Namespaces)>,
    /// A pid namespace to join: that must be done before the clone.
    pub(crate) pid: Option<OwnedFd>,
    /// The id mappings of a new user namespace.
    pub(crate) mappings: Option<Mappings>,
}

/// The content of `uid_map` and `gid_map` (`user_namespaces(7)`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mappings {
    uids: String,
    gids: String,
}

impl NamespacePlan {
    /// Reads the specification and opens the namespaces that it names.
    pub(crate) fn parse(linux: &Linux, joined: &[Joined]) -> Result<Self, StartError> {
        let mut plan = Self {
            new: Namespaces::empty(),
            joined: Vec::new(),
            pid: None,
            mappings: None,
        };
        let mut seen = Namespaces::empty();
        for namespace in linux.namespaces().iter().flatten() {
            let kind = bits(namespace.typ());
            see(&mut seen, namespace.typ())?;
            let Some(path) = namespace
                .path()
                .as_deref()
                .filter(|path| !path.as_os_str().is_empty())
            else {
                plan.new |= kind;
                continue;
            };
            let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(SysError::on("open namespace", path))?;
            plan.join(namespace.typ(), opened)?;
        }
        for join in joined {
            see(&mut seen, join.kind)?;
            let opened = join
                .process
                .namespace(join.kind)
                .map_err(|error| error.during(format!("cannot join the namespace '{}'", join.kind)))?;
            plan.join(join.kind, opened)?;
        }
        if !plan.new.contains(Namespaces::MOUNT) {
            return Err(StartError::setup(
                "a container needs a mount namespace of its own",
            ));
        }
        let uids = linux.uid_mappings().as_deref().unwrap_or_default();
        let gids = linux.gid_mappings().as_deref().unwrap_or_default();
        if plan.new.contains(Namespaces::USER) {
            if uids.is_empty() || gids.is_empty() {
                return Err(StartError::setup("a new user namespace needs id mappings"));
            }
            plan.mappings = Some(Mappings {
                uids: lines(uids),
                gids: lines(gids),
            });
        } else if !uids.is_empty() || !gids.is_empty() {
            return Err(StartError::setup("id mappings need a new user namespace"));
        }
        if linux
            .time_offsets()
            .as_ref()
            .is_some_and(|offsets| !offsets.is_empty())
        {
            return Err(StartError::setup("time offsets are not supported"));
        }
        Ok(plan)
    }

    fn join(&mut self, kind: LinuxNamespaceType, opened: OwnedFd) -> Result<(), StartError> {
        match kind {
            LinuxNamespaceType::Pid => self.pid = Some(opened),
            // The rights to join the others may come from it.
            LinuxNamespaceType::User => self.joined.insert(0, (opened, bits(kind))),
            LinuxNamespaceType::Mount => {
                return Err(StartError::setup(
                    "a mount namespace cannot be joined: the container's tree is made in its own",
                ));
            }
            _ => self.joined.push((opened, bits(kind))),
        }
        Ok(())
    }

    /// Returns the kinds of namespaces that are not the host's.
    pub(crate) fn own(&self) -> Namespaces {
        let joined = self.joined.iter().fold(self.new, |all, (_, kind)| all | *kind);
        if self.pid.is_some() {
            joined | Namespaces::PROCESS_ID
        } else {
            joined
        }
    }
}

/// Notes that a kind of namespace is spoken of, for the first time.
fn see(seen: &mut Namespaces, kind: LinuxNamespaceType) -> Result<(), StartError> {
    if seen.contains(bits(kind)) {
        return Err(StartError::setup(format!(
            "the namespace '{kind}' is there twice"
        )));
    }
    *seen |= bits(kind);
    Ok(())
}

impl Mappings {
    /// Writes the mappings for a process that has just made its user namespace.
    pub(crate) fn write(&self, pid: i32) -> Result<(), StartError> {
        for (name, content) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            let path = format!("/proc/{pid}/{name}");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::open(Path::new(&path), flags, Mode::empty())
                .map_err(failed(format!("open '{path}'")))?;
            rustix::io::write(&file, content.as_bytes()).map_err(failed(format!("map ids in '{path}'")))?;
        }
        Ok(())
    }
}

fn lines(mappings: &[LinuxIdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut lines, mapping| {
        // Writing to a String cannot fail.
        if writeln!(
            lines,
            "{} {} {}",
            mapping.container_id(),
            mapping.host_id(),
            mapping.size()
        )
        .is_err()
        {
            lines.clear();
        }
        lines
    })
}

fn bits(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CONTROL_GROUP,
        LinuxNamespaceType::Uts => Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME,
        LinuxNamespaceType::Ipc => Namespaces::INTER_PROCESS_COMMUNICATION,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PROCESS_ID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

/// This process's choice of a pid namespace for its children, changed for one clone and put back when dropped.
#[derive(Debug)]
pub(crate) struct ChildrenElsewhere {
    own: OwnedFd,
}

impl ChildrenElsewhere {
    /// Lets children be born in the pid namespace that `namespace`, a pidfd or a descriptor of it, names.
    pub(crate) fn enter(namespace: impl AsFd) -> Result<Self, StartError> {
        let path = "/proc/self/ns/pid";
        let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed(format!("open '{path}'")))?;
        sys::process::enter_namespace(namespace.as_fd(), Namespaces::PROCESS_ID)
            .map_err(failed("join the pid namespace"))?;
        Ok(Self { own })
    }
}

impl Drop for ChildrenElsewhere {
    fn drop(&mut self) {
        // Going back to one's own namespace is always allowed; and if it were not, this process's next child would
        // be born in the container's and be told so by its own setup.
        if let Err(_refused) = sys::process::enter_namespace(self.own.as_fd(), Namespaces::PROCESS_ID) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<NamespacePlan, String> {
        let linux: Linux = serde_json::from_str(json).unwrap();
        NamespacePlan::parse(&linux, &[]).map_err(|error| error.message)
    }

    #[test]
    fn plans() {
        let plan = parse(
            r#"{"namespaces":[{"type":"mount"},{"type":"pid","path":"/proc/self/ns/pid"},
                {"type":"network","path":"/proc/self/ns/net"},{"type":"user"}],
                "uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],
                "gidMappings":[{"containerID":0,"hostID":100000,"size":65536}]}"#,
        )
        .unwrap();
        assert_eq!(plan.new, Namespaces::MOUNT | Namespaces::USER);
        assert!(plan.pid.is_some());
        assert_eq!(
            plan.own(),
            plan.new | Namespaces::PROCESS_ID | Namespaces::NETWORK
        );
        assert_eq!(plan.mappings.unwrap().uids, "0 100000 65536\n");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (json, why) in [
            (r#"{"namespaces":[]}"#, "mount namespace of its own"),
            (r#"{"namespaces":[{"type":"mount"},{"type":"mount"}]}"#, "twice"),
            (
                r#"{"namespaces":[{"type":"mount","path":"/proc/self/ns/mnt"}]}"#,
                "cannot be joined",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"user"}]}"#,
                "needs id mappings",
            ),
            (
                r#"{"namespaces":[{"type":"mount"},{"type":"uts","path":"/nonexistent"}]}"#,
                "/nonexistent",
            ),
        ] {
            assert!(parse(json).unwrap_err().contains(why), "{json}");
        }
    }
}
