//! A further process in a running container.

use crate::cgroups::Cgroup;
use crate::channel::{Channel, Message};
use crate::command::{Command, Stdio, Streamed, hide};
use crate::container::{join_cgroup, report};
use crate::error::failed;
use crate::namespaces::ChildrenElsewhere;
use crate::parent::Parent;
use crate::process::Process;
use crate::{ExecPlan, Peer, StartError, Streams, rootfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::path::Tree;
use sys::process::Namespaces;

/// Starts a further process in a running container. The same demands on the caller as for
/// [`create`](crate::create). With a terminal its master is the second value.
pub fn exec(plan: &ExecPlan, streams: Streams) -> Result<(Process, Option<OwnedFd>), StartError> {
    let container = Peer {
        pid: plan.container_pid,
        start_time: plan.container_start_time,
    }
    .open()?;
    let cgroup = plan.cgroup.as_deref().map(Cgroup::open).transpose()?;
    let command = Command::prepare(
        &plan.process,
        plan.user.clone(),
        Vec::new(),
        plan.seccomp.as_ref(),
    )?;
    let stdio = Stdio::prepare(streams)?;
    let namespaces = namespaces(plan)?;
    let (channel, theirs) = Channel::pair()?;
    let parent = Parent::this()?;
    // Its children are born where the container's are; so one clone is enough.
    let elsewhere = ChildrenElsewhere::enter(&container)?;
    let child = sys::process::fork(
        Namespaces::empty(),
        cgroup.as_ref().and_then(Cgroup::clone_into),
        || {
            let Err(error) = set_up(
                command,
                &parent,
                stdio,
                container.as_fd(),
                namespaces,
                cgroup.as_ref(),
                &theirs,
            );
            report(error, &theirs)
        },
    )?;
    drop(elsewhere);
    drop(theirs);
    match listen(&channel) {
        Ok((warnings, terminal)) => Ok((Process::new(child, warnings), terminal)),
        Err(error) => {
            // It is on its way out, or not worth keeping; either way it is reaped.
            match child.destroy() {
                Ok(_) => Err(error),
                Err(left) => Err(error.during(format!("{left} (pid {})", child.pid()))),
            }
        }
    }
}

/// Which namespaces to enter: the user namespace only where it is another, for one's own cannot be entered; time only
/// where the kernel has it and it is another.
fn namespaces(plan: &ExecPlan) -> Result<Namespaces, StartError> {
    let mut namespaces = Namespaces::MOUNT
        | Namespaces::CONTROL_GROUP
        | Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME
        | Namespaces::INTER_PROCESS_COMMUNICATION
        | Namespaces::PROCESS_ID
        | Namespaces::NETWORK;
    if plan.user_namespace {
        namespaces |= Namespaces::USER;
    }
    let inode = |pid: &str| match rustix::fs::stat(Path::new(&format!("/proc/{pid}/ns/time"))) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed("look at the time namespace")(errno)),
    };
    if inode("self")? != inode(&plan.container_pid.to_string())? {
        namespaces |= Namespaces::TIME;
    }
    Ok(namespaces)
}

/// The steps of the new process, from clone to exec.
fn set_up(
    command: Command,
    parent: &Parent,
    stdio: Stdio,
    container: BorrowedFd<'_>,
    namespaces: Namespaces,
    cgroup: Option<&Cgroup>,
    channel: &Channel,
) -> Result<std::convert::Infallible, StartError> {
    // Before the container's processes can see this one's files.
    hide()?;
    parent.die_with()?;
    join_cgroup(cgroup)?;
    sys::process::enter_namespaces(container, namespaces).map_err(failed("enter the container"))?;
    rustix::process::chdir("/").map_err(failed("enter the container's root"))?;
    let streams = Streamed::open(stdio, channel, || {
        rootfs::open_terminal(&Tree::open(Path::new("/"))?)
    })?;
    Err(command.run(streams, channel))
}

/// Listens until exec.
fn listen(channel: &Channel) -> Result<(Vec<String>, Option<OwnedFd>), StartError> {
    let (mut warnings, mut terminal, mut executing) = (Vec::new(), None, false);
    while let Some(message) = channel.receive().map_err(failed("hear from the new process"))? {
        match message {
            Message::Failed(error) => return Err(error),
            Message::Warning(text) => warnings.push(text),
            Message::Terminal(master) => terminal = Some(master),
            Message::Executing => executing = true,
            Message::Ready | Message::Mapped | Message::Start => {}
        }
    }
    if executing {
        Ok((warnings, terminal))
    } else {
        Err(StartError::setup("the new process ended while it was prepared"))
    }
}
