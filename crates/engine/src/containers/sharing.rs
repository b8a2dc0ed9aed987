//! Namespaces that a container shares with the host or with another container.
//!
//! A record names the other container by its id. Its process is looked up when this one's is made, by the monitor, and
//! again whenever the restart policy makes another: the other container may have been restarted meanwhile. Joining is
//! by a descriptor that was opened while the process that is meant was there ([`runtime::Peer`]).

use super::record::ContainerId;
use super::request::{CgroupNamespace, CreateContainer, IpcMode, NamespaceMode, NetworkMode, UtsMode};
use super::rows::Record;
use super::{Containers, conflict, has_version_2_alone, invalid, running};
use crate::{EngineError, Locations};
use oci_spec::runtime::LinuxNamespaceType;
use runtime::{Joined, Peer, Plan, StartError, StartFailure, TreeSource};
use serde::{Deserialize, Serialize};

/// Parameters that belong to the IPC namespace, besides `fs.mqueue.*` (Docker's list).
const IPC_PARAMETERS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A namespace of another container that is to be joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Join {
    /// Whose.
    pub(super) container: ContainerId,
    /// Which.
    pub(super) kind: LinuxNamespaceType,
}

/// Says whether the modes can be had together.
pub(super) fn check(request: &CreateContainer, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let has_hostname = request
        .hostname
        .as_deref()
        .is_some_and(|hostname| !hostname.is_empty());
    if request.uts == UtsMode::Host && has_hostname {
        return Err(invalid("conflicting options: hostname and the UTS mode"));
    }
    if request.uts == UtsMode::Host
        && request
            .domain_name
            .as_deref()
            .is_some_and(|name| !name.is_empty())
    {
        return Err(invalid("conflicting options: domainname and the UTS mode"));
    }
    if request.privileged
        && request.cgroup_namespace == Some(CgroupNamespace::Private)
        && !has_version_2_alone()
    {
        return Err(invalid(
            "privileged mode is incompatible with private cgroup namespaces on cgroup v1 host.  You must run the container in the host cgroup namespace when running privileged mode.",
        ));
    }
    if let NetworkMode::Container(_) = request.network {
        let refuse = |what: &str| {
            Err(invalid(format!(
                "conflicting options: {what} and the network mode"
            )))
        };
        if !request.dns.is_empty() {
            return refuse("dns");
        }
        if !request.extra_hosts.is_empty() {
            return refuse("custom host-to-IP mapping");
        }
        if request.mac_address.is_some() {
            return refuse("mac-address");
        }
        if !request.expose.is_empty() {
            return Err(invalid(
                "conflicting options: port exposing and the container type network mode",
            ));
        }
    }
    if request.init && request.pid != NamespaceMode::Own {
        warnings.push(
            "--init was ignored: there is an init already in the PID namespace that the container shares"
                .into(),
        );
    }
    sysctls(request)
}

fn sysctls(request: &CreateContainer) -> Result<(), EngineError> {
    for name in request.sysctls.keys() {
        let dotted = name.replace('/', ".");
        let of_ipc = IPC_PARAMETERS.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.");
        if dotted.starts_with("net.") {
            if request.network == NetworkMode::Host {
                return Err(invalid(format!(
                    "sysctl \"{name}\" not allowed in host network namespace"
                )));
            }
        } else if of_ipc {
            if request.ipc == IpcMode::Host {
                return Err(invalid(format!(
                    "sysctl \"{name}\" not allowed in host ipc namespace"
                )));
            }
        } else if dotted == "kernel.domainname" {
            if request.uts == UtsMode::Host {
                return Err(invalid(format!(
                    "sysctl \"{name}\" not allowed in host uts namespace"
                )));
            }
        } else {
            return Err(invalid(format!(
                "sysctl \"{name}\" is not in a separate kernel namespace"
            )));
        }
    }
    Ok(())
}

/// Says whether a container has a cgroup namespace of its own: Docker's default is that where version 2 rules alone,
/// the host's otherwise.
pub(super) fn has_own_cgroup_namespace(request: &CreateContainer) -> bool {
    match request.cgroup_namespace {
        Some(CgroupNamespace::Private) => true,
        Some(CgroupNamespace::Host) => false,
        None => has_version_2_alone(),
    }
}

impl Containers<'_> {
    /// Puts the ids of containers whose namespaces are to be joined in the place of their names.
    pub(super) fn resolve_peers(self, request: &mut CreateContainer) -> Result<(), EngineError> {
        if let NetworkMode::Container(other) = &request.network {
            request.network = NetworkMode::Container(self.find(other)?.as_str().to_owned());
        }
        if let NamespaceMode::Container(other) = &request.pid {
            request.pid = NamespaceMode::Container(self.find(other)?.as_str().to_owned());
        }
        if let IpcMode::Container(other) = &request.ipc {
            request.ipc = IpcMode::Container(self.find(other)?.as_str().to_owned());
        }
        Ok(())
    }

    /// Returns what a container joins, and makes sure that it can: to be told now is better than by its monitor.
    pub(super) fn joins(self, record: &Record) -> Result<Vec<Join>, EngineError> {
        let request = &record.settings.request;
        let mut joins = Vec::new();
        let mut join = |other: &String, kind, refusal: fn(&ContainerId) -> String| {
            let container = ContainerId(other.clone());
            if peer(self.engine.locations(), &container).is_none() {
                return Err(conflict(refusal(&container)));
            }
            joins.push(Join { container, kind });
            Ok(())
        };
        if let NetworkMode::Container(other) = &request.network {
            join(other, LinuxNamespaceType::Network, |id| {
                format!("cannot join network of a non running container: {id}")
            })?;
        }
        if let NamespaceMode::Container(other) = &request.pid {
            join(other, LinuxNamespaceType::Pid, |id| {
                format!("failed to join PID namespace: container {id} is not running")
            })?;
        }
        if let IpcMode::Container(other) = &request.ipc {
            join(other, LinuxNamespaceType::Ipc, |id| {
                format!("failed to join IPC namespace: container {id} is not running")
            })?;
            let donor = self.record(&ContainerId(other.clone()))?;
            if matches!(donor.settings.request.ipc, IpcMode::Private | IpcMode::None) {
                return Err(invalid(format!(
                    "failed to join IPC namespace: container {other}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
        }
        Ok(joins)
    }
}

/// Returns the first process of a container that runs.
fn peer(locations: &Locations, container: &ContainerId) -> Option<Peer> {
    let running = running::read(locations, container)?;
    let there =
        running.pid > 0 && sys::process::start_time(running.pid).is_ok_and(|time| time == running.start_time);
    there.then_some(Peer {
        pid: running.pid,
        start_time: running.start_time,
    })
}

/// Completes a plan with the processes whose namespaces are joined, as they are now.
pub(super) fn complete(plan: &mut Plan, joins: &[Join], locations: &Locations) -> Result<(), StartError> {
    for join in joins {
        let process = peer(locations, &join.container).ok_or_else(|| StartError {
            failure: StartFailure::Setup,
            message: format!(
                "cannot join the {} namespace of a non running container: {}",
                join.kind, join.container
            ),
        })?;
        plan.joined.push(Joined {
            kind: join.kind,
            process,
        });
        if join.kind == LinuxNamespaceType::Ipc {
            for tree in &mut plan.trees {
                if let TreeSource::SharedMemory(donor) = tree {
                    *donor = process;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut CreateContainer)) -> String {
        let mut request = CreateContainer::default();
        change(&mut request);
        check(&request, &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn what_excludes_each_other_is_refused_in_dockers_words() {
        assert_eq!(
            refusal(|r| {
                r.uts = UtsMode::Host;
                r.hostname = Some("x".into());
            }),
            "conflicting options: hostname and the UTS mode"
        );
        let shared = |r: &mut CreateContainer| r.network = NetworkMode::Container("x".into());
        assert_eq!(
            refusal(|r| {
                shared(r);
                r.dns = vec!["1.1.1.1".parse().unwrap()];
            }),
            "conflicting options: dns and the network mode"
        );
        assert_eq!(
            refusal(|r| {
                shared(r);
                r.extra_hosts = vec![("a".into(), "1.1.1.1".into())];
            }),
            "conflicting options: custom host-to-IP mapping and the network mode"
        );
        assert_eq!(
            refusal(|r| {
                shared(r);
                r.expose = vec!["80/tcp".into()];
            }),
            "conflicting options: port exposing and the container type network mode"
        );
    }

    #[test]
    fn parameters_of_the_host_are_refused() {
        for (name, network, ipc, message) in [
            (
                "net.ipv4.ip_forward",
                NetworkMode::Host,
                IpcMode::Private,
                Some("sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
            ),
            (
                "kernel.shmmax",
                NetworkMode::Bridge,
                IpcMode::Host,
                Some("sysctl \"kernel.shmmax\" not allowed in host ipc namespace"),
            ),
            (
                "kernel.panic",
                NetworkMode::Bridge,
                IpcMode::Private,
                Some("sysctl \"kernel.panic\" is not in a separate kernel namespace"),
            ),
            ("net.ipv4.ip_forward", NetworkMode::Bridge, IpcMode::Host, None),
            ("fs.mqueue.msg_max", NetworkMode::Host, IpcMode::Private, None),
        ] {
            let request = CreateContainer {
                network,
                ipc,
                sysctls: [(name.to_owned(), "1".to_owned())].into(),
                ..CreateContainer::default()
            };
            let result = check(&request, &mut Vec::new()).map_err(|error| error.to_string());
            assert_eq!(result.err().as_deref(), message, "{name}");
        }
    }

    #[test]
    fn an_init_is_for_a_pid_namespace_of_ones_own() {
        let request = CreateContainer {
            init: true,
            pid: NamespaceMode::Host,
            ..CreateContainer::default()
        };
        let mut warnings = Vec::new();
        check(&request, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 1);
    }
}
