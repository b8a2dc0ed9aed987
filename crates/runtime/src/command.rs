//! A process of a container from its entry into the namespaces to exec: what both the first process and every
//! further one go through.

use crate::channel::{Channel, Message};
use crate::error::{failed, reason, with_causes};
use crate::lsm::Labels;
use crate::parent::Parent;
use crate::sysctl::PrivateProc;
use crate::user::{Identity, Numbers};
use crate::{StartError, Streams, capabilities, lookup, seccomp, user};
use oci_spec::runtime::{Capabilities, LinuxSeccomp, LinuxSeccompFilterFlag, PosixRlimitType, Process};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::Tree;
use sys::process::FilterInstruction;
use sys::pty;

/// A process to become, everything checked and compiled.
#[derive(Debug)]
pub(crate) struct Command {
    arguments: Vec<String>,
    environment: Vec<String>,
    directory: PathBuf,
    user: Option<String>,
    groups: Vec<String>,
    numbers: Numbers,
    bounding: u64,
    permitted: u64,
    effective: u64,
    no_new_privileges: bool,
    filter: Option<Filter>,
    limits: Vec<Limit>,
    umask: u32,
    labels: Labels,
    /// With whom it dies, if with anybody.
    pub(crate) parent: Option<Parent>,
}

#[derive(Debug)]
struct Filter {
    program: Vec<FilterInstruction>,
    flags: u32,
}

#[derive(Debug)]
struct Limit {
    name: PosixRlimitType,
    resource: u32,
    soft: u64,
    hard: u64,
}

/// What becomes 0, 1 and 2.
#[derive(Debug)]
pub(crate) enum Stdio {
    /// Open files.
    Files([OwnedFd; 3]),
    /// A terminal of this size, to be opened in the container.
    Terminal(pty::Size),
}

impl Stdio {
    /// Opens what is missing.
    pub(crate) fn prepare(streams: Streams) -> Result<Self, StartError> {
        // Above 2, so that none is overwritten before its turn has come.
        let raise = |descriptor: BorrowedFd<'_>| {
            rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(failed("duplicate a standard stream"))
        };
        match streams {
            Streams::Terminal { rows, columns } => Ok(Self::Terminal(pty::Size { rows, columns })),
            Streams::Files {
                stdin,
                stdout,
                stderr,
            } => {
                let flags = OFlags::RDWR | OFlags::CLOEXEC;
                let null = rustix::fs::open("/dev/null", flags, Mode::empty())
                    .map_err(SysError::on("open", "/dev/null"))?;
                let file = |stream: Option<OwnedFd>| raise(stream.as_ref().unwrap_or(&null).as_fd());
                Ok(Self::Files([file(stdin)?, file(stdout)?, file(stderr)?]))
            }
        }
    }
}

impl Command {
    /// Checks and compiles. Done before the clone, so that errors cost nothing.
    pub(crate) fn prepare(
        process: &Process,
        user: Option<String>,
        groups: Vec<String>,
        profile: Option<&LinuxSeccomp>,
    ) -> Result<Self, StartError> {
        let arguments = process.args().clone().unwrap_or_default();
        if arguments.is_empty() {
            return Err(StartError::setup("no command specified"));
        }
        if process.scheduler().is_some()
            || process.io_priority().is_some()
            || process.exec_cpu_affinity().is_some()
        {
            return Err(StartError::setup(
                "scheduling policies, I/O priorities and affinities are not supported",
            ));
        }
        if !process.cwd().is_absolute() {
            return Err(StartError::setup(format!(
                "the working directory '{}' is not absolute",
                process.cwd().display()
            )));
        }
        let held = process.capabilities().as_ref();
        let mask = |set: Option<&Option<Capabilities>>| {
            set.into_iter().flatten().flatten().fold(0, |mask, capability| {
                mask | 1_u64 << capabilities::number(*capability)
            })
        };
        let bounding = mask(held.map(oci_spec::runtime::LinuxCapabilities::bounding));
        let permitted = mask(held.map(oci_spec::runtime::LinuxCapabilities::permitted));
        let identity = process.user();
        Ok(Self {
            arguments,
            environment: process.env().clone().unwrap_or_default(),
            directory: process.cwd().clone(),
            user,
            groups,
            numbers: Numbers {
                uid: identity.uid(),
                gid: identity.gid(),
                groups: identity.additional_gids().clone().unwrap_or_default(),
            },
            bounding,
            permitted,
            effective: permitted & mask(held.map(oci_spec::runtime::LinuxCapabilities::effective)),
            no_new_privileges: process.no_new_privileges() == Some(true),
            filter: profile.map(Filter::compile).transpose()?,
            limits: process
                .rlimits()
                .iter()
                .flatten()
                .map(|limit| Limit {
                    name: limit.typ(),
                    resource: resource(limit.typ()),
                    soft: limit.soft(),
                    hard: limit.hard(),
                })
                .collect(),
            umask: identity.umask().unwrap_or(0o022),
            labels: Labels::new(
                process.apparmor_profile().as_deref(),
                process.selinux_label().as_deref(),
            ),
            parent: None,
        })
    }

    /// Becomes the program; returns only the reason why it could not.
    ///
    /// Called in the container's namespaces, with its root as `/`, full rights, and not dumpable.
    pub(crate) fn run(mut self, streams: Streamed, channel: &Channel) -> StartError {
        match self.try_run(streams, channel) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_run(
        &mut self,
        streams: Streamed,
        channel: &Channel,
    ) -> Result<std::convert::Infallible, StartError> {
        sys::process::set_umask(self.umask);
        // A session of its own, for job control and so that nobody's terminal sends it signals.
        match rustix::process::setsid() {
            Ok(_) | Err(Errno::PERM) => {}
            Err(errno) => return Err(failed("make a session")(errno)),
        }
        // Without room for a keyring it shares one, as it does on kernels without keyrings.
        if let Err(errno) = sys::process::join_session_keyring()
            && !matches!(errno, Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT)
        {
            return Err(failed("join a session keyring")(errno));
        }

        let root = Tree::open(Path::new("/"))?;
        let identity = user::look_up(&root, self.user.as_deref(), &self.groups, &self.numbers)?;
        streams.install(&identity)?;
        let entered = self.enter_directory(&root, &identity)?;
        drop(root);

        self.set_limits(channel)?;
        if !self.labels.is_empty() {
            // Told now, with full rights; it is in force from exec on.
            self.labels
                .announce(PrivateProc::new()?.of_this_process()?.as_fd())?;
        }
        self.drop_rights(&identity)?;

        if !entered {
            rustix::process::chdir(&self.directory).map_err(failed(format!(
                "enter the working directory '{}'",
                self.directory.display()
            )))?;
        }
        check_inside(&self.directory)?;

        let path = self.variable("PATH").map(str::to_owned);
        let command = self.arguments.first().cloned().unwrap_or_default();
        let program = lookup::find(&command, path.as_deref())?;
        let arguments = strings(&self.arguments, "argument")?;
        if self.variable("HOME").is_none_or(str::is_empty) {
            self.environment.retain(|variable| !variable.starts_with("HOME="));
            self.environment.push(format!("HOME={}", identity.home));
        }
        let environment = strings(&self.environment, "environment variable")?;

        // After the change of ids, which forgets it.
        match &self.parent {
            Some(parent) => parent.die_with()?,
            None => rustix::process::set_parent_process_death_signal(None)
                .map_err(failed("outlive the parent"))?,
        }
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(failed("set no_new_privs"))?;
        }
        // Nothing of the host's is carried along: an open directory would be a way out (CVE-2024-21626).
        sys::process::close_on_exec_from(3).map_err(failed("mark descriptors"))?;
        sys::signal::restore_defaults();
        channel.send(&Message::Executing).map_err(failed("report"))?;

        // From here the filter applies to ourselves: two more system calls, capset(2) and execve(2), and what an
        // error takes.
        if let Some(filter) = &self.filter {
            sys::process::load_seccomp(&filter.program, filter.flags)
                .map_err(failed("load the seccomp filter"))?;
        }
        self.set_capabilities(&identity, 0)?;
        Err(lookup::refused(
            &command,
            sys::process::exec(&program, &arguments, &environment),
        ))
    }

    /// Returns the value of a variable; the last one counts.
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .iter()
            .rev()
            .find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }

    /// Goes to the working directory, which is made if it is missing. Returns false where that takes the rights of the
    /// user, as it does on some network filesystems.
    fn enter_directory(&self, root: &Tree, identity: &Identity) -> Result<bool, StartError> {
        let owner = (identity.uid, identity.gid);
        let what = || format!("enter the working directory '{}'", self.directory.display());
        let directory = match root.create_dir_all(&self.directory, Mode::from_raw_mode(0o755), owner) {
            Ok(directory) => directory,
            Err(error) if error.errno == Errno::ACCESS => return Ok(false),
            Err(error) => return Err(StartError::from(error).during(format!("cannot {}", what()))),
        };
        match rustix::process::fchdir(&directory) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS) => Ok(false),
            Err(errno) => Err(failed(what())(errno)),
        }
    }

    fn set_limits(&self, channel: &Channel) -> Result<(), StartError> {
        for limit in &self.limits {
            match sys::process::set_limit(limit.resource, limit.soft, limit.hard) {
                Ok(()) => {}
                // An engine in a container itself may not have the right to raise limits; its containers run all the
                // same, with what there is.
                Err(Errno::PERM) => {
                    let warning = format!(
                        "the limit {} cannot be set to {}:{}: {}",
                        limit.name,
                        limit.soft,
                        limit.hard,
                        reason(Errno::PERM)
                    );
                    channel
                        .send(&Message::Warning(warning))
                        .map_err(failed("report"))?;
                }
                Err(errno) => return Err(failed(format!("set the limit {}", limit.name))(errno)),
            }
        }
        Ok(())
    }

    /// Gives up everything that is not the process's, but for what loading the filter takes.
    fn drop_rights(&self, identity: &Identity) -> Result<(), StartError> {
        sys::process::limit_bounding_set(self.bounding).map_err(failed("limit the bounding set"))?;
        rustix::thread::set_keep_capabilities(true).map_err(failed("keep capabilities"))?;
        let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        rustix::thread::set_thread_groups(&groups).map_err(failed("set groups"))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)
            .map_err(failed(format!("become group {}", identity.gid)))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
            .map_err(failed(format!("become user {}", identity.uid)))?;
        rustix::thread::set_keep_capabilities(false).map_err(failed("keep no capabilities"))?;
        // A change of ids makes a process what fs.suid_dumpable says, which may be dumpable (proc_sys_fs(5)).
        hide()?;
        // Without no_new_privs the kernel wants this right of whoever loads a filter.
        let loading = if self.filter.is_some() && !self.no_new_privileges {
            CapabilitySet::SYS_ADMIN.bits()
        } else {
            0
        };
        self.set_capabilities(identity, loading)
    }

    /// Sets permitted and effective as planned, and `further` ones. Inheritable and ambient are empty, or else a
    /// program of another user would get some of them (CVE-2022-24769, CVE-2022-29162). A user other than root gets
    /// none, which exec would take away anyhow, so that finding and opening the program goes by that user's rights.
    fn set_capabilities(&self, identity: &Identity, further: u64) -> Result<(), StartError> {
        let (permitted, effective) = if identity.uid == 0 {
            (self.permitted, self.effective)
        } else {
            (0, 0)
        };
        let sets = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(effective | further),
            permitted: CapabilitySet::from_bits_retain(permitted | further),
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, sets).map_err(failed("set capabilities"))?;
        if further != 0 || self.filter.is_none() || self.no_new_privileges {
            match rustix::thread::clear_ambient_capability_set() {
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(failed("clear ambient capabilities")(errno)),
            }
        }
        Ok(())
    }
}

/// Standard streams that are open in the child.
#[derive(Debug)]
pub(crate) enum Streamed {
    /// Files.
    Files([OwnedFd; 3]),
    /// The slave of a terminal.
    Terminal(OwnedFd),
}

impl Streamed {
    /// Opens the terminal with `open` if there is to be one, and hands its master to whoever asked for it.
    pub(crate) fn open(
        stdio: Stdio,
        channel: &Channel,
        open: impl FnOnce() -> Result<pty::Pair, StartError>,
    ) -> Result<Self, StartError> {
        match stdio {
            Stdio::Files(files) => Ok(Self::Files(files)),
            Stdio::Terminal(size) => {
                let pair = open()?;
                if size.rows != 0 || size.columns != 0 {
                    pty::set_size(pair.master.as_fd(), size)?;
                }
                channel
                    .send(&Message::Terminal(pair.master))
                    .map_err(failed("hand over the terminal"))?;
                Ok(Self::Terminal(pair.slave))
            }
        }
    }

    fn install(self, identity: &Identity) -> Result<(), StartError> {
        let install = |stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd| {
            rustix::stdio::dup2_stdin(stdin)?;
            rustix::stdio::dup2_stdout(stdout)?;
            rustix::stdio::dup2_stderr(stderr)
        };
        match self {
            Self::Files([stdin, stdout, stderr]) => {
                for stream in [&stdin, &stdout, &stderr] {
                    give(stream.as_fd(), identity.uid)?;
                }
                install(&stdin, &stdout, &stderr)
            }
            Self::Terminal(slave) => {
                pty::take_control(slave.as_fd())?;
                give(slave.as_fd(), identity.uid)?;
                install(&slave, &slave, &slave)
            }
        }
        .map_err(failed("set up the standard streams"))
    }
}

/// Makes a pipe or terminal the user's own, so that `/dev/stdout` can be opened. Not other files: they are somebody's.
fn give(stream: BorrowedFd<'_>, uid: u32) -> Result<(), StartError> {
    let stat = rustix::fs::fstat(stream).map_err(failed("look at a standard stream"))?;
    let ours = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::CharacterDevice => rustix::termios::isatty(stream),
        _ => false,
    };
    if !ours || stat.st_uid == uid {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // The id has no meaning in the user namespace, or it is a terminal of another namespace's.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        Err(errno) => Err(failed("hand over a standard stream")(errno)),
    }
}

/// Makes sure that the working directory is below `/`: the kernel says `(unreachable)` of one that is not, and
/// `getcwd` of one that came from a leaked descriptor leads out of the container (CVE-2024-21626).
fn check_inside(directory: &Path) -> Result<(), StartError> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(StartError::setup(format!(
            "the working directory '{}' is outside of the container's root filesystem",
            directory.display()
        ))),
        Err(errno) => Err(failed("find the working directory")(errno)),
    }
}

fn strings(texts: &[String], kind: &str) -> Result<Vec<CString>, StartError> {
    texts
        .iter()
        .map(|text| {
            CString::new(text.as_str())
                .map_err(|_zero| StartError::setup(format!("the {kind} {text:?} has a zero byte in it")))
        })
        .collect()
}

/// Keeps other processes of the container from looking into this one, which still has descriptors and memory of the
/// host's, until exec (CVE-2016-9962).
pub(crate) fn hide() -> Result<(), StartError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("become undumpable"))
}

impl Filter {
    fn compile(profile: &LinuxSeccomp) -> Result<Self, StartError> {
        if profile.listener_path().is_some() {
            return Err(StartError::setup("seccomp listeners are not supported"));
        }
        let program = seccomp::compile(profile)
            .map_err(|error| StartError::setup(with_causes(&error)))?
            .into_iter()
            .map(|instruction| FilterInstruction {
                code: instruction.code,
                jt: instruction.jt,
                jf: instruction.jf,
                k: instruction.k,
            })
            .collect();
        // From linux/seccomp.h. Synchronising threads is for processes that have some.
        let bit = |flag: &LinuxSeccompFilterFlag| match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPECULATION_ALLOWED,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
        };
        let flags = match profile.flags() {
            Some(flags) => flags.iter().map(bit).fold(0, |all, bit| all | bit),
            None => SPECULATION_ALLOWED,
        };
        Ok(Self { program, flags })
    }
}

/// A filter does not slow the process down with a mitigation that newer kernels do not tie to filters any more.
const SPECULATION_ALLOWED: u32 = 1 << 2;

/// From asm-generic/resource.h.
fn resource(name: PosixRlimitType) -> u32 {
    match name {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}
