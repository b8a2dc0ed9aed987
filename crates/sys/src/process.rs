//! Processes: clone3, pidfds, namespaces, and what must be set before exec.
//!
//! Two ways to make one. [`fork`] runs code of ours in the child and therefore wants a process of a single thread;
//! [`spawn`] executes a program at once and may be called from anywhere.

use crate::{SysError, signal};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::AssertUnwindSafe;

/// One instruction of a seccomp filter.
pub use libc::sock_filter as FilterInstruction;
/// Kinds of namespaces, as bits.
pub use rustix::thread::ThreadNameSpaceType as Namespaces;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 + the signal's number.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// A child of ours that has not been reaped. Dropping it neither kills nor reaps.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

impl Child {
    /// Returns the pid, in our pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the pidfd, readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal by number.
    pub fn kill(&self, signal: i32) -> Result<(), SysError> {
        send_signal(self.pidfd(), signal)
    }

    /// Waits for the end and reaps.
    pub fn wait(&self) -> Result<Exit, SysError> {
        loop {
            if let Some(exit) = self.reap(WaitIdOptions::EXITED)? {
                return Ok(exit);
            }
        }
    }

    /// Reaps the process if it has ended.
    pub fn try_wait(&self) -> Result<Option<Exit>, SysError> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn reap(&self, options: WaitIdOptions) -> Result<Option<Exit>, SysError> {
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd()), options))
                .map_err(SysError::of("wait for process"))?;
        Ok(status.and_then(|status| {
            let signal = status.terminating_signal();
            let code = status.exit_status().or(signal.map(|number| 128 + number))?;
            Some(Exit { code, signal })
        }))
    }

    /// Kills the process and reaps it.
    pub fn destroy(&self) -> Result<Exit, SysError> {
        match self.kill(libc::SIGKILL) {
            // It has ended by itself, and waits to be reaped.
            Err(error) if error.errno != Errno::SRCH => Err(error),
            _ => self.wait(),
        }
    }
}

/// The errno of the last failed call through `libc`.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Sends a signal by number to the process of a pidfd.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), SysError> {
    // SAFETY: no pointer is passed but a null siginfo, which means one as kill(2) makes it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(SysError::of("send signal")(last_errno()))
    }
}

/// Opens a pidfd.
pub fn open(pid: i32) -> Result<OwnedFd, SysError> {
    let valid = Pid::from_raw(pid).ok_or_else(|| SysError::of("open process")(Errno::SRCH))?;
    rustix::process::pidfd_open(valid, PidfdFlags::empty())
        .map_err(SysError::on("open process", pid.to_string()))
}

/// Returns when a process started, in clock ticks since boot: with the pid it names the process for good
/// (field 22 of `/proc/PID/stat`, `proc_pid_stat(5)`).
pub fn start_time(pid: i32) -> Result<u64, SysError> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| SysError::io("read", &path, &error))?;
    parse_start_time(&stat).ok_or_else(|| SysError::on("parse", &path)(Errno::INVAL))
}

/// The second field is the program's name in parentheses and may hold anything, parentheses and blanks too.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Clones this process. The child runs `child` and exits with what it returns; it has copies of all descriptors and
/// memory, lives in new `namespaces`, and starts in `cgroup` (version 2) if one is given.
///
/// A process of several threads is refused with `EDEADLK`, for a copy of it may find locks held by threads that it
/// does not have.
pub fn fork(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> Result<Child, SysError> {
    if !is_single_threaded() {
        return Err(SysError::of("clone a process with threads")(Errno::DEADLK));
    }
    // SAFETY: there is one thread only, so the child finds no lock held and no memory half written.
    if let Some(child) = unsafe { clone(namespaces, cgroup) }? {
        Ok(child)
    } else {
        let code = std::panic::catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
        exit_now(code)
    }
}

/// unshare(2) documents `CLONE_THREAD` as having no effect other than failing in a process with threads.
fn is_single_threaded() -> bool {
    // SAFETY: no pointers, no effect.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Ends this process at once: no destructor runs, and nothing that the parent has registered for its own exit.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process without running what the parent has registered to run at its own exit.
    unsafe { libc::_exit(code) }
}

/// Calls clone3(2); `None` in the child.
///
/// # Safety
///
/// In a process with threads the child may only do what is safe in a signal handler.
unsafe fn clone(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<Child>, SysError> {
    /// From linux/sched.h: `CLONE_INTO_CGROUP` does not fit the C int that libc gives its likes.
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let mut flags = u64::from(namespaces.bits()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    if cgroup.is_some() {
        flags |= INTO_CGROUP;
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |cgroup| u64::from(cgroup.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: without CLONE_VM and a stack this is fork(2): parent and child go on with memory of their own. `pidfd`
    // is alive and the kernel writes an int there.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match answer {
        0 => Ok(None),
        pid if pid > 0 => {
            // SAFETY: the kernel has just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child {
                pid: i32::try_from(pid).unwrap_or(i32::MAX),
                pidfd,
            }))
        }
        _ => Err(SysError::of("clone process")(last_errno())),
    }
}

/// C strings and the null-terminated array of pointers to them that exec wants, made before the clone.
struct StringArray<'a> {
    pointers: Vec<*const libc::c_char>,
    _strings: &'a [CString],
}

impl<'a> StringArray<'a> {
    fn new(strings: &'a [CString]) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self {
            pointers,
            _strings: strings,
        }
    }
}

/// Replaces this process by a program; returns only the reason why it could not.
pub fn exec(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let arguments = StringArray::new(arguments);
    let environment = StringArray::new(environment);
    // SAFETY: all strings and both null-terminated arrays outlive the call, which does not return if it succeeds.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_errno()
}

/// Starts a program by descriptor, from a process that may have threads.
///
/// The child has 0, 1 and 2 of ours, each descriptor of `descriptors` under its number, and no other; default signal
/// dispositions and no signal blocked; its own session if `new_session`. An error of exec comes back from here.
pub fn spawn(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
    descriptors: &[(BorrowedFd<'_>, RawFd)],
    new_session: bool,
) -> Result<Child, SysError> {
    // Copies above every number that is asked for, so that none is overwritten before it has been copied in turn.
    let above = descriptors
        .iter()
        .map(|(_, number)| *number)
        .max()
        .unwrap_or(2)
        .max(2)
        + 1;
    let raise = |descriptor: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(descriptor, above).map_err(SysError::of("duplicate descriptor"))
    };
    let mut raised = Vec::with_capacity(descriptors.len());
    for (descriptor, number) in descriptors {
        raised.push((raise(*descriptor)?, *number));
    }
    let program = raise(program)?;
    let (failure, low_report) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(SysError::of("make pipe"))?;
    let report = raise(low_report.as_fd())?;
    drop(low_report);
    let arguments = StringArray::new(arguments);
    let environment = StringArray::new(environment);

    // A handler of the parent's must not run in the child.
    let blocked = signal::Blocked::all()?;
    // SAFETY: the child's branch makes system calls only: no allocation, no lock, no destructor.
    let Some(child) = (unsafe { clone(Namespaces::empty(), None) })? else {
        let errno = (|| {
            close_on_exec_from(3)?;
            for (descriptor, number) in &raised {
                // SAFETY: both are numbers; what was open under `number` belongs to nobody in this process.
                if unsafe { libc::dup2(descriptor.as_raw_fd(), *number) } < 0 {
                    return Err(last_errno());
                }
            }
            if new_session {
                rustix::process::setsid()?;
            }
            signal::restore_defaults();
            // SAFETY: the arrays and their strings were made before the clone and this is our copy of them.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    program.as_raw_fd(),
                    c"".as_ptr(),
                    arguments.pointers.as_ptr(),
                    environment.pointers.as_ptr(),
                    libc::AT_EMPTY_PATH,
                )
            };
            Err(last_errno())
        })();
        let errno = errno.map_or_else(Errno::raw_os_error, |()| 0);
        // If this fails there is nobody to tell; the exit code says the same.
        if rustix::io::write(&report, &errno.to_ne_bytes()).is_err() {
            exit_now(126);
        }
        exit_now(127)
    };
    drop(blocked);
    drop(report);
    let mut errno = [0_u8; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&failure, &mut errno)) {
        Ok(0) => Ok(child),
        Ok(_) => {
            child.wait()?;
            Err(SysError::of("execute program")(Errno::from_raw_os_error(
                i32::from_ne_bytes(errno),
            )))
        }
        Err(errno) => {
            child.destroy()?;
            Err(SysError::of("read from new process")(errno))
        }
    }
}

/// Marks every descriptor from `first` on as to be closed by exec. Whoever leaks one into a container hands it a
/// door to the host (CVE-2024-21626).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: numbers only; nothing is closed before exec.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Closes every descriptor but these. What owned the others must not be used or dropped any more: this is for a copy
/// of a process that goes on with something else, and ends with [`exit_now`].
pub fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut kept: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut from = 0;
    for number in kept.into_iter().chain([u32::MAX]) {
        if number > from {
            // SAFETY: the caller has no further use for them. The call fails only for a range that is empty.
            unsafe { libc::syscall(libc::SYS_close_range, from, number - 1, 0) };
        }
        from = number.saturating_add(1);
    }
}

/// Enters namespaces of another process by its pidfd (setns(2)).
pub fn enter_namespaces(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<(), Errno> {
    rustix::thread::move_into_thread_name_spaces(pidfd, namespaces)
}

/// Enters one namespace by a descriptor of it; the kernel checks that it is of `kind`.
pub fn enter_namespace(namespace: BorrowedFd<'_>, kind: Namespaces) -> Result<(), Errno> {
    // SAFETY: numbers only; descriptors and memory stay as they are.
    let answer = unsafe { libc::setns(namespace.as_raw_fd(), kind.bits().cast_signed()) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Leaves namespaces for new ones (unshare(2)).
pub fn leave_namespaces(namespaces: Namespaces) -> Result<(), Errno> {
    // SAFETY: namespace bits only: descriptors and memory stay shared as they are.
    let answer = unsafe { libc::unshare(namespaces.bits().cast_signed()) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Joins a new session keyring, so that keys of whoever started the engine are out of reach.
pub fn join_session_keyring() -> Result<(), Errno> {
    /// From linux/keyctl.h.
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if answer >= 0 { Ok(()) } else { Err(last_errno()) }
}

/// Loads a seccomp filter for this thread and its children (seccomp(2)). Needs `CAP_SYS_ADMIN` or `no_new_privs`.
pub fn load_seccomp(program: &[FilterInstruction], flags: u32) -> Result<(), Errno> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_overflow| Errno::TOOBIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points to `len` instructions, which the kernel copies and does not write.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Lowers the bounding set to `keep`, a mask of capability numbers.
pub fn limit_bounding_set(keep: u64) -> Result<(), Errno> {
    for number in 0..64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        // SAFETY: prctl with numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            match last_errno() {
                // One past the last that this kernel knows.
                Errno::INVAL => break,
                errno => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Sets the resource limit of a number (getrlimit(2)) for this process.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the structure outlives the call; no old value is asked for.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Sets the execution domain (personality(2)).
pub fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    if unsafe { libc::personality(libc::c_ulong::from(domain)) } < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// Sets the mask of permission bits that new files do not get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn start_times() {
        let fields = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2";
        for name in ["sh", "a b", ") R 1 (", "((("] {
            assert_eq!(
                parse_start_time(&format!("7 ({name}) {fields}")),
                Some(4711),
                "{name}"
            );
        }
        assert_eq!(parse_start_time("7 (sh) S 1"), None);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap() > 0);
    }

    #[test]
    fn a_process_with_threads_is_not_cloned() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        let error = fork(Namespaces::empty(), None, || 0).unwrap_err();
        assert_eq!(error.errno, Errno::DEADLK);
        drop(hold);
        assert!(thread.join().unwrap().is_err());
    }

    fn strings(strings: &[&str]) -> Vec<CString> {
        strings
            .iter()
            .map(|string| CString::new(*string).unwrap())
            .collect()
    }

    fn shell() -> OwnedFd {
        rustix::fs::open(
            "/bin/sh",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap()
    }

    #[test]
    fn spawned_program_has_what_it_was_given_and_nothing_else() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (other, _leaked) = rustix::pipe::pipe().unwrap();
        let script = "echo $A $1 >&5; ls /proc/self/fd | tr '\\n' ' ' >&5; \
             awk '/SigIgn|SigBlk/ {print $2}' /proc/self/status >&5; exit 7";
        let child = spawn(
            shell().as_fd(),
            &strings(&["sh", "-c", script, "sh", "argument"]),
            &strings(&["A=environment", "PATH=/bin:/usr/bin"]),
            &[(writer.as_fd(), 5), (other.as_fd(), 4)],
            true,
        )
        .unwrap();
        drop(writer);
        assert_eq!(
            child.wait().unwrap(),
            Exit {
                code: 7,
                signal: None
            }
        );
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        // 3 is the directory that ls itself reads.
        assert_eq!(
            text,
            "environment argument\n0 1 2 3 4 5 0000000000000000\n0000000000000000\n"
        );
    }

    #[test]
    fn numbers_may_change_places() {
        let (first_reader, first) = rustix::pipe::pipe().unwrap();
        let (second_reader, second) = rustix::pipe::pipe().unwrap();
        let (a, b) = (first.as_raw_fd(), second.as_raw_fd());
        let script = format!("echo first >&{b}; echo second >&{a}");
        let child = spawn(
            shell().as_fd(),
            &strings(&["sh", "-c", &script]),
            &[],
            &[(first.as_fd(), b), (second.as_fd(), a)],
            false,
        )
        .unwrap();
        drop((first, second));
        assert_eq!(child.wait().unwrap().code, 0);
        assert_eq!(
            std::io::read_to_string(std::fs::File::from(first_reader)).unwrap(),
            "first\n"
        );
        assert_eq!(
            std::io::read_to_string(std::fs::File::from(second_reader)).unwrap(),
            "second\n"
        );
    }

    #[test]
    fn what_cannot_be_executed_is_an_error() {
        let flags = rustix::fs::OFlags::PATH;
        let text = rustix::fs::open("/etc/passwd", flags, Mode::empty()).unwrap();
        let error = spawn(text.as_fd(), &strings(&["x"]), &[], &[], false).unwrap_err();
        assert_eq!(error.errno, Errno::ACCESS);
    }

    #[test]
    fn a_killed_process_says_by_what() {
        let child = spawn(
            shell().as_fd(),
            &strings(&["sh", "-c", "exec sleep 60"]),
            &strings(&["PATH=/bin"]),
            &[],
            false,
        )
        .unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(
            child.destroy().unwrap(),
            Exit {
                code: 137,
                signal: Some(9)
            }
        );
    }
}
