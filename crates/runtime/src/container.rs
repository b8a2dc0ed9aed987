//! The first process of a container: made by [`create`], waiting until [`Created::start`].
//!
//! The parent resolves and opens; the child mounts and gives up rights. While the child mounts, the caller equips the
//! network namespace: `create` returns as soon as there is one, and what fails in the child later comes out of
//! [`Created::ready`] or [`Created::start`].

use crate::cgroups::{Cgroup, Usage};
use crate::channel::{Channel, Message};
use crate::command::{Command, Stdio, Streamed, hide};
use crate::error::failed;
use crate::namespaces::{ChildrenElsewhere, Mappings, NamespacePlan};
use crate::parent::Parent;
use crate::process::Process;
use crate::sysctl::{PrivateProc, Sysctls, set_oom_score};
use crate::{Link, Plan, StartError, Streams, init, rootfs};
use oci_spec::runtime::{Hooks, Linux};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::thread::{Gid, Uid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use sys::SysError;
use sys::failpoint;
use sys::process::{Child, Namespaces};

/// How long the killed processes of a failed start may take to leave their cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

/// A container whose first process waits, everything but its network in place.
#[derive(Debug)]
pub struct Created {
    child: Option<Child>,
    cgroup: Option<OwnCgroup>,
    channel: Channel,
    network: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
    ready: bool,
}

/// A cgroup that is removed when dropped, unless it has been handed over.
#[derive(Debug)]
struct OwnCgroup {
    cgroup: Cgroup,
    kept: bool,
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if !self.kept {
            // The error of the start is what users should hear of; an empty directory is what may be left, and the
            // next container of that name replaces it.
            if let Err(_left) = self.cgroup.remove(PATIENCE) {}
        }
    }
}

/// Everything that the first process does until it waits.
#[derive(Debug)]
struct Setup {
    namespaces: NamespacePlan,
    rootfs: rootfs::Prepared,
    links: Vec<Link>,
    hostname: Option<String>,
    domainname: Option<String>,
    sysctls: Sysctls,
    command: Command,
    stdio: Stdio,
    init: bool,
}

impl Setup {
    fn prepare(plan: &Plan, linux: &Linux, streams: Streams) -> Result<Self, StartError> {
        let spec = &plan.spec;
        if linux.mount_label().is_some() || linux.intel_rdt().is_some() || linux.personality().is_some() {
            return Err(StartError::setup(
                "mount labels, Intel RDT and personalities are not supported",
            ));
        }
        if spec
            .hooks()
            .as_ref()
            .is_some_and(|hooks| *hooks != Hooks::default())
        {
            return Err(StartError::setup("hooks are not supported"));
        }
        let namespaces = NamespacePlan::parse(linux, &plan.joined)?;
        let own = namespaces.own();
        let name = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let (hostname, domainname) = (name(spec.hostname()), name(spec.domainname()));
        if (hostname.is_some() || domainname.is_some())
            && !namespaces.new.contains(Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME)
        {
            return Err(StartError::setup(
                "a host name needs a UTS namespace of the container's own",
            ));
        }
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| StartError::setup("the specification has no process"))?;
        let sysctls = linux.sysctl().clone().unwrap_or_default();
        let mut command = Command::prepare(
            process,
            plan.user.clone(),
            plan.groups.clone(),
            linux.seccomp().as_ref(),
        )?;
        command.parent = Some(Parent::this()?);
        Ok(Self {
            sysctls: Sysctls::parse(&sysctls, own)?,
            rootfs: rootfs::prepare(plan, linux)?,
            links: plan.links.clone(),
            namespaces,
            hostname,
            domainname,
            command,
            stdio: Stdio::prepare(streams)?,
            init: plan.init,
        })
    }
}

/// Makes namespaces, cgroup and root filesystem and prepares the first process up to, not including, exec.
///
/// The calling process must be single-threaded, and should be a sealed copy of this program
/// ([`sys::exe::open_sealed`]). The container dies with it. Mounting goes on in the new process when this returns:
/// see [`Created::ready`].
pub fn create(plan: &Plan, streams: Streams) -> Result<Created, StartError> {
    let default = Linux::default();
    let linux = plan.spec.linux().as_ref().unwrap_or(&default);
    let mut warnings = Vec::new();
    let cgroup = match linux.cgroups_path() {
        Some(path) => {
            let (cgroup, complaints) = Cgroup::create(path, linux.resources().as_ref())?;
            warnings = complaints;
            Some(OwnCgroup { cgroup, kept: false })
        }
        None => None,
    };
    failpoint::reach("runtime.cgroup")?;
    let mut setup = Setup::prepare(plan, linux, streams)?;
    failpoint::reach("runtime.prepared")?;
    let (channel, theirs) = Channel::pair()?;
    let new = setup.namespaces.new;
    let mappings = setup.namespaces.mappings.take();
    let has_mappings = mappings.is_some();
    let elsewhere = setup
        .namespaces
        .pid
        .as_ref()
        .map(ChildrenElsewhere::enter)
        .transpose()?;
    let members = cgroup.as_ref().map(|own| &own.cgroup);
    let child = sys::process::fork(
        // The top of a cgroup namespace is the cgroup that its maker is in, so that comes after joining.
        new - Namespaces::CONTROL_GROUP,
        members.and_then(Cgroup::clone_into),
        || first_process(setup, has_mappings, members, &theirs),
    )?;
    drop(elsewhere);
    drop(theirs);
    failpoint::pass("runtime.cloned");
    // From here on dropping it cleans up.
    let mut created = Created {
        child: Some(child),
        cgroup,
        channel,
        network: None,
        terminal: None,
        warnings,
        ready: false,
    };
    match created.equip(plan, mappings, new) {
        Ok(()) => Ok(created),
        // That the child has failed already may be all there is to it, and its own words are better.
        Err(error) => Err(created.last_words().unwrap_or(error)),
    }
}

impl Created {
    /// Does for the child what takes the host's rights or view.
    fn equip(&mut self, plan: &Plan, mappings: Option<Mappings>, new: Namespaces) -> Result<(), StartError> {
        let pid = self.pid();
        if let Some(mappings) = mappings {
            mappings.write(pid)?;
            self.channel
                .send(&Message::Mapped)
                .map_err(failed("tell the new process"))?;
        }
        // Written from here, where /proc is the host's own and the child's owner does not matter.
        let process = plan.spec.process().as_ref();
        if let Some(score) = process.and_then(oci_spec::runtime::Process::oom_score_adj) {
            self.warnings.extend(set_oom_score(pid, score)?);
        }
        if new.contains(Namespaces::NETWORK) {
            let path = format!("/proc/{pid}/ns/net");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(&path, flags, Mode::empty())
                .map_err(SysError::on("open namespace", &path))?;
            self.network = Some(opened);
        }
        Ok(())
    }

    /// Ends the child and returns what it had to say, if it had failed before.
    fn last_words(&mut self) -> Option<StartError> {
        if let Some(child) = &self.child
            && let Err(_gone) = child.kill(Signal::KILL.as_raw())
        {}
        loop {
            match self.receive() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Returns the pid of the container's first process, in the caller's pid namespace.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, Child::pid)
    }

    /// Returns the container's network namespace; `None` if it is the host's or another container's.
    pub fn network_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.network.as_ref().map(AsFd::as_fd)
    }

    /// Takes the master of the terminal, if one was asked for. It is there when the process is [ready](Self::ready).
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Returns what had to be done differently than asked so far; [`Process::warnings`] has all of it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Waits until the process has everything but its network, and only has to be told to go on. [`Created::start`]
    /// does this by itself; who needs the terminal before calls it.
    pub fn ready(&mut self) -> Result<(), StartError> {
        while !self.ready {
            match self.receive()? {
                Some(Message::Ready) => self.ready = true,
                Some(Message::Executing | Message::Mapped | Message::Start) => {
                    return Err(StartError::setup(
                        "the container's first process said something unexpected",
                    ));
                }
                Some(_) => {}
                None => return Err(self.died()),
            }
        }
        Ok(())
    }

    /// Lets the process execute its command and waits until it has. Dropping instead kills it and leaves nothing.
    pub fn start(mut self) -> Result<Process, StartError> {
        self.ready()?;
        failpoint::reach("runtime.ready")?;
        if let Err(errno) = self.channel.send(&Message::Start) {
            return Err(self
                .last_words()
                .unwrap_or_else(|| failed("tell the new process")(errno)));
        }
        failpoint::pass("runtime.told-to-start");
        let mut executing = false;
        while let Some(message) = self.receive()? {
            executing |= matches!(message, Message::Executing);
        }
        if !executing {
            return Err(self.died());
        }
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.kept = true;
        }
        let warnings = std::mem::take(&mut self.warnings);
        match self.child.take() {
            Some(child) => Ok(Process::new(child, warnings)),
            None => Err(StartError::setup("the container has no process")),
        }
    }

    /// Takes what the child reports; its failure becomes ours.
    fn receive(&mut self) -> Result<Option<Message>, StartError> {
        let message = self
            .channel
            .receive()
            .map_err(failed("hear from the new process"))?;
        match message {
            Some(Message::Failed(error)) => return Err(error),
            Some(Message::Terminal(master)) => {
                self.terminal = Some(master);
                return Ok(Some(Message::Warning(String::new())));
            }
            Some(Message::Warning(ref text)) => self.warnings.push(text.clone()),
            _ => {}
        }
        Ok(message)
    }

    /// Says that the child ended without a word: killed, for lack of memory perhaps.
    fn died(&mut self) -> StartError {
        let end = self.child.take().map(|child| child.destroy());
        let how = match end {
            Some(Ok(exit)) => match exit.signal {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("exit code {}", exit.code),
            },
            Some(Err(error)) => error.to_string(),
            None => "gone".to_owned(),
        };
        StartError::setup(format!(
            "the container's first process ended while it was prepared: {how}"
        ))
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            // If it cannot be killed it is gone.
            if let Err(_gone) = child.destroy() {}
        }
    }
}

/// What the child does. An error goes to the parent, and nowhere else.
fn first_process(setup: Setup, has_mappings: bool, cgroup: Option<&Cgroup>, channel: &Channel) -> i32 {
    let Err(error) = set_up(setup, has_mappings, cgroup, channel);
    report(error, channel)
}

/// Tells the parent why there will be no exec; returns the exit code.
pub(crate) fn report(error: StartError, channel: &Channel) -> i32 {
    match channel.send(&Message::Failed(error)) {
        Ok(()) => 1,
        Err(_nobody_listens) => 2,
    }
}

/// The steps of the first process, from clone to exec.
fn set_up(
    mut setup: Setup,
    has_mappings: bool,
    cgroup: Option<&Cgroup>,
    channel: &Channel,
) -> Result<std::convert::Infallible, StartError> {
    hide()?;
    if let Some(parent) = &setup.command.parent {
        parent.die_with()?;
    }

    // Limits count from here on, for what is mounted and written below too. The files were opened with the host's
    // rights and are good in any user namespace.
    join_cgroup(cgroup)?;
    let cgroups = setup.rootfs.look_at_cgroups()?;
    setup.rootfs.visit_peers()?;
    if has_mappings {
        become_root(channel, setup.command.parent.as_ref())?;
    }
    for (namespace, kind) in &setup.namespaces.joined {
        sys::process::enter_namespace(namespace.as_fd(), *kind)
            .map_err(failed(format!("join a namespace ({kind:?})")))?;
    }
    let cgroup_namespace = setup.namespaces.new & Namespaces::CONTROL_GROUP;
    if !cgroup_namespace.is_empty() {
        sys::process::leave_namespaces(cgroup_namespace).map_err(failed("make a cgroup namespace"))?;
    }

    if let Some(name) = &setup.hostname {
        rustix::system::sethostname(name.as_bytes())
            .map_err(failed(format!("set the host name '{name}'")))?;
    }
    if let Some(name) = &setup.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .map_err(failed(format!("set the domain name '{name}'")))?;
    }

    let proc = if setup.sysctls.is_empty() {
        None
    } else {
        Some(PrivateProc::new()?)
    };
    let assembly = setup.rootfs.assemble(cgroups.as_ref(), &setup.links)?;
    let streams = Streamed::open(setup.stdio, channel, || assembly.open_terminal())?;
    if let Some(proc) = &proc {
        proc.set(&setup.sysctls.early)?;
    }
    assembly.enter()?;

    channel.send(&Message::Ready).map_err(failed("report"))?;
    wait_for(channel, |message| matches!(message, Message::Start))?;

    if let Some(proc) = &proc {
        proc.set(&setup.sysctls.late)?;
    }
    drop(proc);
    if setup.init {
        return run_under_init(setup.command, streams, channel);
    }
    Err(setup.command.run(streams, channel))
}

/// Moves this process into the cgroups of version 1; it was born in that of version 2.
pub(crate) fn join_cgroup(cgroup: Option<&Cgroup>) -> Result<(), StartError> {
    for tasks in cgroup.into_iter().flat_map(Cgroup::tasks_files) {
        rustix::io::write(tasks, b"0").map_err(failed("join the cgroup"))?;
    }
    Ok(())
}

/// Becomes root of the new user namespace, once the parent has said who that is.
fn become_root(channel: &Channel, parent: Option<&Parent>) -> Result<(), StartError> {
    wait_for(channel, |message| matches!(message, Message::Mapped))?;
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("become the container's root group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("become the container's root"))?;
    rustix::thread::set_thread_groups(&[]).map_err(failed("leave the host's groups"))?;
    // Both are forgotten with a change of ids.
    hide()?;
    parent.map_or(Ok(()), Parent::die_with)
}

fn wait_for(channel: &Channel, expected: impl Fn(&Message) -> bool) -> Result<(), StartError> {
    match channel.receive().map_err(failed("hear from the parent"))? {
        Some(message) if expected(&message) => Ok(()),
        _ => Err(StartError::setup("nobody waits for the container any more")),
    }
}

/// Splits: this process becomes init, its child the command.
fn run_under_init(
    mut command: Command,
    streams: Streamed,
    channel: &Channel,
) -> Result<std::convert::Infallible, StartError> {
    // The command dies with init, as all do.
    command.parent = None;
    let blocked = init::become_init()?;
    let child = sys::process::fork(Namespaces::empty(), None, || {
        report(command.run(streams, channel), channel)
    })?;
    init::serve(blocked, child.pid())
}

/// Kills all processes of a cgroup and removes it, waiting at most `patience` for them to go.
pub fn remove_cgroup(path: &std::path::Path, patience: Duration) -> Result<(), SysError> {
    let cgroup = match Cgroup::open(&PathBuf::from(path)) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(()),
        cgroup => cgroup?,
    };
    clear_away(&cgroup, patience)
}

/// Returns what the processes of a cgroup have used, and removes it as [`remove_cgroup`] does. For when its first
/// process has ended: what cannot be read, or cannot be removed now, is no reason for that end not to be one.
pub fn close_cgroup(path: &std::path::Path, patience: Duration) -> Option<Usage> {
    let cgroup = Cgroup::open(&PathBuf::from(path)).ok()?;
    let usage = cgroup.usage().ok();
    clear_away(&cgroup, patience).unwrap_or_default();
    usage
}

/// Usually the processes went with their pid namespace and there is nobody left to kill.
fn clear_away(cgroup: &Cgroup, patience: Duration) -> Result<(), SysError> {
    match cgroup.remove(Duration::ZERO) {
        Err(error) if error.errno == rustix::io::Errno::BUSY => {
            cgroup.kill()?;
            cgroup.remove(patience)
        }
        result => result,
    }
}
