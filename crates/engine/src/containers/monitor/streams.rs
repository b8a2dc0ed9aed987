//! The other ends of a process's standard streams.

use runtime::Streams;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a monitor keeps of a process's streams.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Written to; none if the process has no input.
    pub(super) stdin: Option<OwnedFd>,
    /// Read from: standard output (or the terminal), standard error.
    pub(super) outputs: [Option<OwnedFd>; 2],
    /// The terminal's master, to tell it its size.
    pub(super) terminal: Option<OwnedFd>,
}

/// Which streams a process gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) terminal: bool,
    pub(super) open_stdin: bool,
    pub(super) size: Option<(u16, u16)>,
}

/// Makes the streams. With a terminal, its master follows by [`Ends::set_terminal`].
pub(super) fn make(shape: Shape) -> io::Result<(Streams, Ends)> {
    if shape.terminal {
        let (rows, columns) = shape.size.unwrap_or((0, 0));
        return Ok((Streams::Terminal { rows, columns }, Ends::default()));
    }
    let mut ends = Ends::default();
    let mut stdin = None;
    if shape.open_stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        never_wait(&write)?;
        stdin = Some(read);
        ends.stdin = Some(write);
    }
    let (out_read, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (error_read, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    never_wait(&out_read)?;
    never_wait(&error_read)?;
    ends.outputs = [Some(out_read), Some(error_read)];
    let streams = Streams::Files {
        stdin,
        stdout: Some(stdout),
        stderr: Some(stderr),
    };
    Ok((streams, ends))
}

impl Ends {
    /// Says whether nobody can write to them any more.
    pub(super) fn are_silent(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Takes the master of the process's terminal.
    pub(super) fn set_terminal(&mut self, master: OwnedFd, open_stdin: bool) -> io::Result<()> {
        never_wait(&master)?;
        self.outputs = [Some(master.try_clone()?), None];
        if open_stdin {
            self.stdin = Some(master.try_clone()?);
        }
        self.terminal = Some(master);
        Ok(())
    }
}

pub(super) fn never_wait(descriptor: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&descriptor)?;
    Ok(fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?)
}
