//! `update`: other limits, and another restart policy, for a container that may run.

use super::record::{Activity, ContainerId};
use super::request::{Limits, RestartPolicy};
use super::rows::{self, Record};
use super::{Containers, conflict, invalid, not_found, spec, validate};
use crate::{EngineError, events};
use oci_spec::runtime::{LinuxPids, LinuxResources};
use runtime::cgroups::{Before, Cgroup};
use state::Database;

/// What is to be changed of a container. `Default` changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdateContainer {
    /// Limits; what is `None`, or 0 as Docker has it, stays as it is. Of processes 0 is, like -1, no limit.
    pub limits: Limits,
    /// Restart policy.
    pub restart: Option<RestartPolicy>,
}

/// A living cgroup whose limits were changed, and what they were.
struct Changed {
    cgroup: Cgroup,
    before: Before,
    warnings: Vec<String>,
}

impl Containers<'_> {
    /// Changes limits of a container: in its record, and where it runs in its cgroup, both or neither. Returns warnings.
    pub fn update(&self, id: &ContainerId, request: &UpdateContainer) -> Result<Vec<String>, EngineError> {
        let record = self.record(id)?;
        let cannot = |error| cannot_update(id, error);
        if record.removing {
            return Err(cannot(conflict(
                "container is marked for removal and cannot be \"update\"",
            )));
        }
        if record.settings.request.remove_when_done
            && request.restart.is_some_and(|policy| policy != RestartPolicy::No)
        {
            return Err(cannot(conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            )));
        }
        let limits = merged(&record.settings.request.limits, &request.limits).map_err(cannot)?;
        validate::limits(&limits)?;
        let changed = self
            .change_cgroup(&record, &request.limits, &limits)
            .map_err(cannot)?;
        let recorded = self.engine.database.write(|transaction| {
            let mut record = rows::by_id(transaction, id)?.ok_or_else(|| not_found(id.as_str()))?;
            record.settings.request.limits = merged(&record.settings.request.limits, &request.limits)?;
            rows::set_settings(transaction, id, &record.settings)?;
            let settings = &record.settings;
            Ok::<_, EngineError>(events::container(
                transaction,
                "update",
                id,
                &record.name,
                settings,
                &[],
            )?)
        });
        let recorded = recorded.and_then(|()| match request.restart {
            Some(policy) => self.set_restart_policy(id, policy),
            None => Ok(()),
        });
        match (recorded, changed) {
            (Ok(()), changed) => Ok(changed.map(|changed| changed.warnings).unwrap_or_default()),
            (Err(error), Some(changed)) => {
                // Why it was not recorded is what counts; the next start has the recorded limits in any case.
                changed.cgroup.restore(&changed.before).unwrap_or_default();
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Writes limits to the cgroup of a container that runs. A limit that the kernel refuses leaves all as they were.
    fn change_cgroup(
        self,
        record: &Record,
        asked: &Limits,
        limits: &Limits,
    ) -> Result<Option<Changed>, EngineError> {
        if *asked == Limits::default()
            || !matches!(self.activity(record)?.0, Activity::Running | Activity::Paused)
        {
            return Ok(None);
        }
        let resources = self.living(asked, limits)?;
        let path = self
            .engine
            .locations()
            .cgroup(&record.id, record.settings.request.cgroup_parent.as_deref());
        let cgroup = Cgroup::open(&path)?;
        let before = cgroup.before(&resources)?;
        match cgroup.update(&resources) {
            Ok(warnings) => Ok(Some(Changed {
                cgroup,
                before,
                warnings,
            })),
            Err(error) => {
                // The first refusal is the one to report.
                cgroup.restore(&before).unwrap_or_default();
                Err(error.into())
            }
        }
    }

    /// The limits in force as the kernel takes them. In a new cgroup no limit needs no writing; in a living one it does.
    fn living(self, asked: &Limits, limits: &Limits) -> Result<LinuxResources, EngineError> {
        let mut resources = spec::limits(limits, self.engine.config().pids_limit)?;
        if asked.pids.is_some_and(|pids| pids <= 0) {
            let mut pids = LinuxPids::default();
            pids.set_limit(-1);
            resources.set_pids(Some(pids));
        }
        Ok(resources)
    }
}

/// Docker's words before the reason, for what the container's present limits do not allow.
fn cannot_update(id: &ContainerId, error: EngineError) -> EngineError {
    match error {
        EngineError::Conflict { message, hint } => EngineError::Conflict {
            message: format!("Cannot update container {id}: {message}"),
            hint,
        },
        EngineError::Sys(error) => EngineError::Invalid {
            message: format!(
                "Cannot update container {id}: {error}: {}",
                std::io::Error::from(error.errno)
            ),
            hint: (error.errno == rustix::io::Errno::BUSY)
                .then(|| "it uses more memory than that: stop it first, or allow more".to_owned()),
        },
        error => error,
    }
}

/// Puts what was asked for over the limits that are there, by Docker's rules.
fn merged(there: &Limits, asked: &Limits) -> Result<Limits, EngineError> {
    let set = |value: Option<i64>| value.filter(|&value| value != 0);
    let count = |value: Option<u64>| value.filter(|&value| value != 0);
    let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let refuse = |what: &str, other: &str| {
        Err(conflict(format!(
            "Conflicting options: {what} cannot be updated as {other} has already been set"
        )))
    };
    if set(asked.nano_cpus).is_some() && count(there.cpu_period).is_some() {
        return refuse("Nano CPUs", "CPU Period");
    }
    if set(asked.nano_cpus).is_some() && set(there.cpu_quota).is_some() {
        return refuse("Nano CPUs", "CPU Quota");
    }
    if count(asked.cpu_period).is_some() && set(there.nano_cpus).is_some() {
        return refuse("CPU Period", "NanoCPUs");
    }
    if set(asked.cpu_quota).is_some() && set(there.nano_cpus).is_some() {
        return refuse("CPU Quota", "NanoCPUs");
    }
    let mut limits = there.clone();
    let former_swap = swap_in_force(there);
    if let Some(memory) = set(asked.memory) {
        // A container without any limit gets one of both; one that has a limit keeps that of both together.
        if let Some(swap) = former_swap
            && set(asked.memory_swap).is_none()
        {
            if swap != -1 && memory > swap {
                return Err(conflict(
                    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
                ));
            }
            limits.memory_swap = former_swap;
        }
        limits.memory = Some(memory);
    }
    if let Some(swap) = set(asked.memory_swap) {
        if swap != -1 && set(limits.memory).is_none() {
            return Err(invalid(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ));
        }
        limits.memory_swap = Some(swap);
    }
    limits.memory_reservation = set(asked.memory_reservation).or(limits.memory_reservation);
    limits.nano_cpus = set(asked.nano_cpus).or(limits.nano_cpus);
    limits.cpu_shares = count(asked.cpu_shares).or(limits.cpu_shares);
    limits.cpu_period = count(asked.cpu_period).or(limits.cpu_period);
    limits.cpu_quota = set(asked.cpu_quota).or(limits.cpu_quota);
    limits.cpuset_cpus = text(&asked.cpuset_cpus).or(limits.cpuset_cpus);
    limits.cpuset_mems = text(&asked.cpuset_mems).or(limits.cpuset_mems);
    limits.pids = asked.pids.or(limits.pids);
    limits.blkio_weight = asked
        .blkio_weight
        .filter(|&weight| weight != 0)
        .or(limits.blkio_weight);
    limits.cpu_realtime_period = count(asked.cpu_realtime_period).or(limits.cpu_realtime_period);
    limits.cpu_realtime_runtime = set(asked.cpu_realtime_runtime).or(limits.cpu_realtime_runtime);
    Ok(limits)
}

/// The limit of memory and swap together: what was asked for, or twice the memory.
fn swap_in_force(limits: &Limits) -> Option<i64> {
    let memory = limits.memory.filter(|&memory| memory > 0);
    limits
        .memory_swap
        .filter(|&swap| swap != 0)
        .or_else(|| memory.map(|memory| memory.saturating_mul(2)))
}

/// Replaces the limits of a plan by those that the container's record has now: a monitor that begins a container again
/// has the plan of when it was started.
pub(super) fn renew(
    plan: &mut runtime::Plan,
    database: &Database,
    id: &ContainerId,
) -> Result<(), EngineError> {
    let record = database.read(|connection| Ok::<_, EngineError>(rows::by_id(connection, id)?))?;
    let (Some(record), Some(linux)) = (record, plan.spec.linux_mut().as_mut()) else {
        return Ok(());
    };
    let former = linux.resources().clone().unwrap_or_default();
    let default = former.pids().as_ref().map_or(0, LinuxPids::limit);
    let mut renewed = spec::limits(&record.settings.request.limits, default)?;
    renewed.set_devices(former.devices().clone());
    linux.set_resources(Some(renewed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_stays() {
        let there = Limits {
            memory: Some(100),
            nano_cpus: Some(5),
            pids: Some(10),
            cpuset_cpus: Some("0".into()),
            ..Limits::default()
        };
        let asked = Limits {
            cpu_shares: Some(7),
            memory: Some(0),
            cpuset_cpus: Some(String::new()),
            pids: Some(-1),
            ..Limits::default()
        };
        let limits = merged(&there, &asked).unwrap();
        assert_eq!(
            (limits.memory, limits.nano_cpus, limits.cpu_shares),
            (Some(100), Some(5), Some(7))
        );
        assert_eq!(
            (limits.pids, limits.cpuset_cpus.as_deref()),
            (Some(-1), Some("0"))
        );
    }

    #[test]
    fn memory_stays_below_memory_and_swap() {
        let limits = |memory, swap| Limits {
            memory,
            memory_swap: swap,
            ..Limits::default()
        };
        for (there, asked, expected) in [
            // Twice 100 was the limit of both, and still is.
            ((Some(100), None), (Some(150), None), Ok((Some(150), Some(200)))),
            (
                (Some(100), None),
                (Some(300), None),
                Err("Memory limit should be smaller"),
            ),
            (
                (Some(100), None),
                (Some(300), Some(400)),
                Ok((Some(300), Some(400))),
            ),
            (
                (Some(100), Some(-1)),
                (Some(300), None),
                Ok((Some(300), Some(-1))),
            ),
            ((None, None), (Some(300), None), Ok((Some(300), None))),
            (
                (None, None),
                (None, Some(300)),
                Err("You should always set the Memory limit"),
            ),
            ((Some(100), None), (None, Some(-1)), Ok((Some(100), Some(-1)))),
        ] {
            let found = merged(&limits(there.0, there.1), &limits(asked.0, asked.1));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!((found.memory, found.memory_swap), expected),
                (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn two_ways_to_limit_processors_exclude_each_other() {
        let nanos = Limits {
            nano_cpus: Some(1_000_000_000),
            ..Limits::default()
        };
        let period = Limits {
            cpu_period: Some(50_000),
            ..Limits::default()
        };
        for (there, asked, message) in [
            (
                &period,
                &nanos,
                "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
            ),
            (
                &nanos,
                &period,
                "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
            ),
        ] {
            assert_eq!(merged(there, asked).unwrap_err().to_string(), message);
        }
    }
}
