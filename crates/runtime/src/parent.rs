//! To die with one's parent, also if that was faster.

use crate::StartError;
use crate::error::failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::os::fd::{AsFd, OwnedFd};

/// The process that is about to clone a container's first process, as its child will see it.
#[derive(Debug)]
pub(crate) struct Parent {
    process: OwnedFd,
}

impl Parent {
    /// The calling process, before it clones.
    pub(crate) fn this() -> Result<Self, StartError> {
        Ok(Self {
            process: sys::process::open(rustix::process::getpid().as_raw_nonzero().get())?,
        })
    }

    /// Called in the child: from now on SIGKILL comes when the parent ends. A change of ids makes the kernel forget it
    /// (prctl(2), `PR_SET_PDEATHSIG`).
    ///
    /// A parent that had ended before will not end again, and in a pid namespace of its own the child cannot tell by
    /// getppid(2). It would wait for a word from nobody, and with its copies of the parent's descriptors keep the
    /// container locked and the client waiting.
    pub(crate) fn die_with(&self) -> Result<(), StartError> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(failed("ask to die with the parent"))?;
        let mut process = [PollFd::from_borrowed_fd(self.process.as_fd(), PollFlags::IN)];
        let at_once = Timespec::default();
        match poll(&mut process, Some(&at_once)).map_err(failed("look at the parent"))? {
            0 => Ok(()),
            _ => Err(StartError::setup("the container's monitor has ended")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_has_ended_is_noticed() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let parent = Parent {
            process: sys::process::open(ended.id().cast_signed()).unwrap(),
        };
        ended.wait().unwrap();
        assert!(parent.die_with().is_err());
        rustix::process::set_parent_process_death_signal(None).unwrap();
    }
}
