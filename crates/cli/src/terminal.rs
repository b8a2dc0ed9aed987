//! The terminal that the user sits at: raw mode, its size, and the keys that leave a container running.

use crate::args::{Invalid, invalid};
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

/// Keys that detach, and how many of them have been typed so far.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What became of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// What the container gets.
    pub bytes: Vec<u8>,
    /// Whether the keys are complete.
    pub detach: bool,
}

impl DetachKeys {
    /// Nothing detaches.
    pub(crate) fn none() -> Self {
        Self {
            keys: Vec::new(),
            typed: 0,
        }
    }

    /// Reads `ctrl-p,ctrl-q` or the like; empty is that very default.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let mut keys = Vec::new();
        for key in text.split(',') {
            keys.push(match key.as_bytes() {
                [one] => *one,
                _ => match key.strip_prefix("ctrl-").map(str::as_bytes) {
                    Some([letter @ b'a'..=b'z']) => letter - b'a' + 1,
                    Some(b"@") => 0,
                    Some([b'[']) => 27,
                    Some([b'\\']) => 28,
                    Some([b']']) => 29,
                    Some([b'^']) => 30,
                    Some([b'_']) => 31,
                    _ => return invalid(format!("invalid detach keys ({text}) provided")),
                },
            });
        }
        Ok(Self { keys, typed: 0 })
    }

    /// Looks at what was typed. The first keys of the sequence are held back until it is clear that they were meant
    /// for the container.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> Typed {
        let mut passed = Vec::with_capacity(bytes.len());
        if self.keys.is_empty() {
            passed.extend_from_slice(bytes);
            return Typed {
                bytes: passed,
                detach: false,
            };
        }
        for &byte in bytes {
            if byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return Typed {
                        bytes: passed,
                        detach: true,
                    };
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = 0;
            if byte == self.keys[0] {
                self.typed = 1;
            } else {
                passed.push(byte);
            }
        }
        Typed {
            bytes: passed,
            detach: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_detach_and_nothing_else_is_lost() {
        for (input, passed, detach) in [
            (&b"abc"[..], &b"abc"[..], false),
            (b"a\x10\x11b", b"a", true),
            (b"\x10x", b"\x10x", false),
            (b"\x10\x10\x11", b"\x10", true),
        ] {
            let mut keys = DetachKeys::parse("").unwrap();
            let expected = Typed {
                bytes: passed.to_vec(),
                detach,
            };
            assert_eq!(keys.filter(input), expected, "{input:?}");
        }
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();
        assert!(!keys.filter(b"\x10").detach);
        assert!(keys.filter(b"\x11").detach);
    }

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(
            DetachKeys::parse("ctrl-@,a,ctrl-_,ctrl-[").unwrap().keys,
            [0, b'a', 31, 27]
        );
        assert_eq!(
            DetachKeys::parse("foo").unwrap_err().0,
            "invalid detach keys (foo) provided"
        );
    }
}
