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
    let mut starting = begin_exec(plan, streams)?;
    let told = loop {
        match starting.advance() {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match told {
        Ok(()) => Ok((starting.process, starting.terminal)),
        Err(error) => {
            // It is on its way out, or not worth keeping; either way it is reaped.
            match starting.process.destroy() {
                Ok(()) => Err(error),
                Err(left) => Err(error.during(format!("{left} (pid {})", starting.process.pid()))),
            }
        }
    }
}

/// A further process between its birth and its command: for who must not wait for it.
#[derive(Debug)]
pub struct Starting {
    process: Process,
    channel: Channel,
    terminal: Option<OwnedFd>,
    executing: bool,
}

impl Starting {
    /// The descriptor that is readable when [`Starting::advance`] has something to do.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes one piece of news, and waits for it if there is none; `true` once the command has been executed.
    pub fn advance(&mut self) -> Result<bool, StartError> {
        let news = self.channel.receive();
        match news.map_err(failed("hear from the new process"))? {
            None if self.executing => return Ok(true),
            None => {
                return Err(StartError::setup("the new process ended while it was prepared"));
            }
            Some(Message::Failed(error)) => return Err(error),
            Some(Message::Warning(text)) => self.process.warn(text),
            Some(Message::Terminal(master)) => self.terminal = Some(master),
            Some(Message::Executing) => self.executing = true,
            Some(Message::Ready | Message::Mapped | Message::Start) => {}
        }
        Ok(false)
    }

    /// Returns the process, whether or not it has got to its command; if not, its end tells nothing but that.
    pub fn into_process(self) -> Process {
        self.process
    }
}

/// Begins what [`exec`] does. The new process is to be waited for, whatever becomes of it.
pub fn begin_exec(plan: &ExecPlan, streams: Streams) -> Result<Starting, StartError> {
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
            let kept = keep_orphans(plan.keeps_orphans);
            let Err(error) = kept.and_then(|()| {
                set_up(
                    command,
                    &parent,
                    stdio,
                    container.as_fd(),
                    namespaces,
                    cgroup.as_ref(),
                    &theirs,
                )
            });
            report(error, &theirs)
        },
    )?;
    drop(elsewhere);
    drop(theirs);
    Ok(Starting {
        process: Process::new(child, Vec::new()),
        channel,
        terminal: None,
        executing: false,
    })
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

/// Makes the calling process the one that orphans among its descendants go to, if so wanted.
fn keep_orphans(wanted: bool) -> Result<(), StartError> {
    if wanted {
        // The flag outlives exec (PR_SET_CHILD_SUBREAPER(2const)); any number but 0 sets it.
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .map_err(failed("ask to keep orphans"))?;
    }
    Ok(())
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
