//! A context from standard input that can be interrupted.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Error, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often an interruption is noticed while nothing comes.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Standard input, read as long as nobody has pressed Ctrl-C.
#[derive(Debug)]
pub(crate) struct StandardInput<'a> {
    cancelled: &'a AtomicBool,
}

impl<'a> StandardInput<'a> {
    pub(crate) fn new(cancelled: &'a AtomicBool) -> Self {
        Self { cancelled }
    }
}

impl Read for StandardInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            if self.cancelled.load(Ordering::SeqCst) {
                return Err(Error::other("interrupted"));
            }
            let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut descriptors, Some(&GLANCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => match rustix::io::read(stdin, &mut *buffer) {
                    Err(rustix::io::Errno::INTR) => {}
                    result => return result.map_err(Error::from),
                },
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
