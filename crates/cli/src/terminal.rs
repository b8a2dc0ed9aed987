//! The terminal that the user sits at: raw mode, and its size.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::IsTerminal;

/// The terminal in raw mode; its modes come back when this is dropped, however that happens.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Puts the terminal at standard input into raw mode: every key goes to the container, none to our own driver.
    pub(crate) fn enter() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut modes = before.clone();
        modes.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &modes)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before) {
            crate::output::warning(&format!("cannot restore the terminal: {error}; 'reset' does"));
        }
    }
}

/// The terminal while a password is typed: keys are not shown. That ends when this is dropped, and with Ctrl-C too.
#[derive(Debug)]
pub(crate) struct NoEcho {
    before: Termios,
    restore: Option<std::thread::JoinHandle<()>>,
    handle: signal_hook::iterator::Handle,
}

impl NoEcho {
    /// Stops the terminal at standard input from showing what is typed.
    pub(crate) fn begin() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        // A shell does not turn the echo on again for us when a signal ends us here.
        let mut signals = signal_hook::iterator::Signals::new([
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ])?;
        let handle = signals.handle();
        let modes = before.clone();
        let restore = std::thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    if tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).is_err() {
                        // The terminal has gone; so do we.
                    }
                    signal_hook::low_level::emulate_default_handler(signal).unwrap_or_default();
                }
            })?;
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        silent.local_modes.insert(rustix::termios::LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self {
            before,
            restore: Some(restore),
            handle,
        })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(restore) = self.restore.take() {
            // It does nothing that could panic.
            restore.join().unwrap_or_default();
        }
        if let Err(error) = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before) {
            crate::output::warning(&format!("cannot restore the terminal: {error}; 'reset' does"));
        }
    }
}

/// Says whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Returns rows and columns of the terminal at standard output, or else at standard input.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout())
        .or_else(|_| tcgetwinsize(std::io::stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
