//! Signals by name and number, and as readable descriptors (signalfd(2)).

use crate::SysError;
use crate::process::last_errno;
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The highest signal number.
pub const LAST: i32 = 64;
/// The first and last real-time signals that programs may use; the C library keeps two below for itself.
const REAL_TIME: (i32, i32) = (34, 64);

/// Names without `SIG`, by number.
const NAMES: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// Further names of the same numbers.
const ALIASES: [(&str, i32); 3] = [
    ("CLD", libc::SIGCHLD),
    ("IOT", libc::SIGABRT),
    ("POLL", libc::SIGIO),
];

/// Returns the number of a signal given as `9`, `KILL`, `SIGKILL` or `SIGRTMIN+3`, in either case.
pub fn parse(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=LAST).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(REAL_TIME.0, offset, '+');
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(REAL_TIME.1, offset, '-');
    }
    NAMES
        .iter()
        .chain(&ALIASES)
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

fn real_time(from: i32, offset: &str, sign: char) -> Option<i32> {
    if offset.is_empty() {
        return Some(from);
    }
    let digits = offset.strip_prefix(sign)?;
    let distance: i32 = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    let number = if sign == '+' {
        from.checked_add(distance)?
    } else {
        from.checked_sub(distance)?
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

/// Returns a signal's name with `SIG`; `None` for a number that is no signal's, or one of the C library's.
pub fn name(number: i32) -> Option<String> {
    if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == number) {
        return Some(format!("SIG{name}"));
    }
    match number - REAL_TIME.0 {
        0 => Some("SIGRTMIN".to_owned()),
        distance if (1..=REAL_TIME.1 - REAL_TIME.0).contains(&distance) => {
            Some(format!("SIGRTMIN+{distance}"))
        }
        _ => None,
    }
}

/// A set of signals.
#[derive(Clone, Copy)]
struct Set(libc::sigset_t);

impl Set {
    fn full() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset(3) initialises the whole set and cannot fail with a valid pointer.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: initialised by the line above.
        Self(unsafe { set.assume_init() })
    }

    fn of(signals: &[i32]) -> Result<Self, SysError> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) initialises the whole set and cannot fail with a valid pointer.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the line above.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: the set is initialised and ours.
            if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
                return Err(SysError::on("block signal", signal.to_string())(last_errno()));
            }
        }
        Ok(Self(set))
    }

    /// Changes this thread's mask and returns the one before.
    fn apply(&self, how: i32) -> Result<Self, SysError> {
        let mut old = MaybeUninit::uninit();
        // SAFETY: both sets are valid, the second is written whole where the call succeeds.
        let code = unsafe { libc::pthread_sigmask(how, &raw const self.0, old.as_mut_ptr()) };
        if code != 0 {
            return Err(SysError::of("set signal mask")(Errno::from_raw_os_error(code)));
        }
        // SAFETY: the call has succeeded.
        Ok(Self(unsafe { old.assume_init() }))
    }
}

/// Signals that this thread holds back until this is dropped, when the mask becomes what it was.
pub struct Blocked {
    before: Set,
}

impl Blocked {
    /// Blocks every signal that can be.
    pub fn all() -> Result<Self, SysError> {
        Ok(Self {
            before: Set::full().apply(libc::SIG_SETMASK)?,
        })
    }

    /// Blocks these signals besides those that are blocked already.
    pub fn these(signals: &[i32]) -> Result<Self, SysError> {
        Ok(Self {
            before: Set::of(signals)?.apply(libc::SIG_BLOCK)?,
        })
    }
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Blocked").finish_non_exhaustive()
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // The mask was the kernel's own, so it takes it back; there is nothing else to do if it did not.
        drop(self.before.apply(libc::SIG_SETMASK));
    }
}

/// Gives every signal its default action and unblocks all, as a program expects to be started: a Rust program
/// ignores `SIGPIPE`, and exec keeps what is ignored. Makes system calls only.
pub fn restore_defaults() {
    // The kernel's own structure, not the C library's, which withholds the two signals that it keeps for itself:
    // handler, flags, restorer and mask, all zero for the default.
    let default_action = [0_u64; 4];
    for number in 1..=LAST {
        // SAFETY: the structure is as long as the kernel reads; the default action is no handler. SIGKILL and
        // SIGSTOP are refused, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default_action.as_ptr(),
                std::ptr::null::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    // SAFETY: an all-zero sigset_t is the empty set on Linux.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid; the old mask is not asked for. It fails only for a wrong first argument.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut()) };
}

/// Signals as a readable descriptor; they are blocked as long as this lives.
#[derive(Debug)]
pub struct SignalFd {
    descriptor: OwnedFd,
    _blocked: Blocked,
}

impl SignalFd {
    /// Blocks `signals` for this thread and makes them readable instead.
    pub fn new(signals: &[i32]) -> Result<Self, SysError> {
        Self::with(Set::of(signals)?, Blocked::these(signals)?)
    }

    /// The same for every signal that can be blocked.
    pub fn all() -> Result<Self, SysError> {
        Self::with(Set::full(), Blocked::all()?)
    }

    fn with(set: Set, blocked: Blocked) -> Result<Self, SysError> {
        // SAFETY: -1 asks for a new descriptor; the set is valid and copied.
        let descriptor = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(SysError::of("open signalfd")(last_errno()));
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self {
            descriptor,
            _blocked: blocked,
        })
    }

    /// Waits for the next signal and returns its number.
    pub fn read(&self) -> Result<i32, SysError> {
        // ssi_signo is the first field, an u32 (signalfd(2)).
        let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut record))
            .map_err(SysError::of("read signalfd"))?;
        match record.first_chunk::<4>() {
            Some(number) if length == record.len() => Ok(i32::from_ne_bytes(*number)),
            _ => Err(SysError::of("read signalfd")(Errno::IO)),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigterm", Some(15)),
            ("Hup", Some(1)),
            ("CLD", Some(17)),
            ("POLL", Some(29)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX", Some(64)),
            ("RTMAX-14", Some(50)),
            ("64", Some(64)),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("+9", None),
            ("", None),
            ("SIG", None),
            ("SIG9", None),
            ("RTMIN+31", None),
            ("RTMIN-1", None),
            ("RTMIN++1", None),
            ("RTMAX-31", None),
            ("99999999999", None),
        ] {
            assert_eq!(parse(text), number, "{text:?}");
        }
        for number in (1..=31).chain(34..=64) {
            assert_eq!(parse(&name(number).unwrap()), Some(number));
        }
        assert_eq!(name(33), None);
        assert_eq!(name(65), None);
        assert_eq!(name(40).unwrap(), "SIGRTMIN+6");
    }

    #[test]
    fn a_blocked_signal_is_read() {
        let signals = SignalFd::new(&[libc::SIGUSR1]).unwrap();
        // SAFETY: a signal to this very thread, which blocks it.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(signals.read().unwrap(), libc::SIGUSR1);
    }
}
