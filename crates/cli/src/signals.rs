//! Signals that reach us while we stand between the user and a container, as bytes on a descriptor to poll.

use signal_hook::consts::signal::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals that are passed on to a container's process.
const FORWARDED: &[i32] = &[
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
];

/// The signals that wait for us. From [`Signals::catch`] on none of them ends this program by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The terminal has another size.
    Resized,
    /// To be passed on.
    Signal(i32),
}

impl Signals {
    /// Begins to catch.
    pub(crate) fn catch() -> std::io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let all = FORWARDED.iter().chain([&SIGWINCH]);
        Ok(Self {
            delivery: SignalDelivery::with_pipe(read, write, SignalOnly, all)?,
        })
    }

    /// Takes what has come.
    pub(crate) fn take(&mut self) -> Vec<Caught> {
        let caught = self.delivery.pending();
        caught
            .map(|number| {
                if number == SIGWINCH {
                    Caught::Resized
                } else {
                    Caught::Signal(number)
                }
            })
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Says whether a signal is meant to end what we do.
pub(crate) fn terminates(number: i32) -> bool {
    matches!(number, SIGHUP | SIGINT | SIGQUIT | SIGTERM)
}

/// Returns a flag that the first Ctrl-C or SIGTERM sets; a second one ends this program at once.
pub(crate) fn cancellation() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered in this order, the second signal finds the flag set and takes its default way.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}
