//! `top`: a container's processes, in the columns that ps(1) would show.
//!
//! No program is run for it, neither the image's `ps` nor the host's: what a container holds must not be executed with
//! our rights (CVE-2022-1227), and a host need not have one. The processes are those of the container's cgroup, not of
//! its pid namespace: `exec` and nested namespaces are in it as well, and with `--pid host` nobody else is.

mod arguments;
mod columns;
mod process;

use super::record::{Activity, ContainerId};
use super::{Containers, conflict};
use crate::EngineError;
use columns::Host;
use process::Process;

/// A container's processes as ps(1) shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The columns' headers.
    pub titles: Vec<String>,
    /// One row a process, by pid, each with as many cells as there are titles.
    pub processes: Vec<Vec<String>>,
}

impl Containers<'_> {
    /// Lists the processes of a running container. `arguments` are those of ps(1) as people write them: `-ef` (the
    /// default), `aux`, `-eo pid,comm`; which processes are shown does not depend on them.
    pub fn top(&self, id: &ContainerId, arguments: &[String]) -> Result<Top, EngineError> {
        let columns = arguments::parse(arguments)?;
        let record = self.record(id)?;
        match self.activity(&record)?.0 {
            Activity::Running | Activity::Paused => {}
            Activity::Restarting => {
                return Err(conflict(format!(
                    "container {id} is restarting, wait until the container is running"
                )));
            }
            _ => return Err(conflict(format!("container {id} is not running"))),
        }
        let path = self
            .engine
            .locations()
            .cgroup(id, record.settings.request.cgroup_parent.as_deref());
        let cgroup = runtime::cgroups::Cgroup::open(&path)?;
        let mut processes: Vec<Process> = Vec::new();
        for pid in cgroup.processes()? {
            processes.extend(process::read(pid)?);
        }
        // A number that was given to a stranger meanwhile is not in the cgroup any more.
        let still = cgroup.processes()?;
        processes.retain(|process| still.contains(&process.pid));
        let host = Host::look()?;
        let top = Top {
            titles: columns.iter().map(|column| column.title.clone()).collect(),
            processes: processes
                .iter()
                .map(|process| columns.iter().map(|column| column.cell(process, &host)).collect())
                .collect(),
        };
        self.note(&record, "top", &[])?;
        Ok(top)
    }
}
