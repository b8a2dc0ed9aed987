//! Starting a monitor: this very program again, sealed, by its hidden argument.
//!
//! The monitor's standard input is its end of a socket pair: its first client. The descriptors that it inherits come
//! over that socket with the first messages, so that none is ever without close-on-exec.

use super::monitor::ARGUMENT;
use crate::EngineError;
use runtime::cgroups::systemd::Scope;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufWriter, IoSlice, IoSliceMut, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use sys::{SysError, failpoint};

/// Descriptors that one message carries; the kernel allows 253 (SCM_MAX_FD).
const PER_MESSAGE: usize = 64;
const MORE: u8 = 1;
const LAST: u8 = 0;

/// Monitors that this process started and that were alive when last looked at. A command ends before its monitor,
/// which then belongs to init; a server has to reap them, which it does whenever it starts another or looks for leavings.
static CHILDREN: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A monitor that has no plan yet. If it is dropped without one, the monitor ends.
#[derive(Debug)]
pub(super) struct Launched {
    stream: UnixStream,
    /// What it executes. Closing the last descriptor of a detached mount waits for all processors, some milliseconds,
    /// so the monitor gets it, which closes it by ending.
    program: OwnedFd,
}

impl Launched {
    /// Hands it its plan and `descriptors`. Returns its first client's end.
    pub(super) fn hand_over(
        self,
        plan: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<UnixStream, EngineError> {
        let failed = |error: std::io::Error| SysError::io("start the monitor", ARGUMENT, &error);
        let plan = write_plan(plan).map_err(failed)?;
        let mut all = vec![plan.as_fd(), self.program.as_fd()];
        all.extend_from_slice(descriptors);
        send_descriptors(&self.stream, &all).map_err(SysError::on("start the monitor", ARGUMENT))?;
        Ok(self.stream)
    }
}

/// Starts a monitor in `role`. It loads while its plan is made, and asks systemd for `scope` meanwhile.
pub(super) fn launch(role: &str, scope: Option<&Scope>) -> Result<Launched, EngineError> {
    let failed = |error: std::io::Error| SysError::io("start the monitor", ARGUMENT, &error);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let program = sys::exe::open_sealed()?;
    failpoint::reach("launch.sealed")?;
    let mut command = Command::new(sys::mount::descriptor_path(program.as_fd()));
    command.arg0("coracle").arg(ARGUMENT).arg(role);
    if let Some(scope) = scope {
        command.arg(scope.unit()).arg(scope.slice());
    }
    let child = command
        .env_clear()
        .envs(failpoint::environment())
        .envs(sys::descriptors::environment())
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    remember(child);
    failpoint::reach("launch.spawned")?;
    Ok(Launched {
        stream: ours,
        program,
    })
}

fn remember(child: Child) {
    reap();
    CHILDREN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(child);
}

/// Reaps monitors of ours that have ended.
pub(super) fn reap() {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    // One that cannot be waited for is no child of ours any more.
    children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

/// Writes a plan into a memfd.
pub(super) fn write_plan(plan: &impl Serialize) -> std::io::Result<File> {
    let file = File::from(memfd_create("coracle-plan", MemfdFlags::CLOEXEC)?);
    let mut writer = BufWriter::with_capacity(32 << 10, file);
    serde_json::to_writer(&mut writer, plan)?;
    writer.flush()?;
    let mut file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// Reads a plan from its memfd, from the start.
pub(super) fn read_plan<T: DeserializeOwned>(mut file: &File) -> std::io::Result<T> {
    use std::io::Read;
    file.rewind()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn send_descriptors(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let batches = descriptors.len().div_ceil(PER_MESSAGE);
    for (number, batch) in (1..).zip(descriptors.chunks(PER_MESSAGE)) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // The space is for as many as a batch has.
        control.push(SendAncillaryMessage::ScmRights(batch));
        let mark = [if number == batches { LAST } else { MORE }];
        rustix::io::retry_on_intr(|| {
            sendmsg(socket, &[IoSlice::new(&mark)], &mut control, SendFlags::NOSIGNAL)
        })?;
    }
    Ok(())
}

/// Receives what [`launch`] has sent, in order: the plan, our program, the caller's.
pub(super) fn receive_descriptors(socket: &UnixStream) -> rustix::io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut mark = [LAST];
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut mark)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 || mark[0] == LAST {
            return Ok(descriptors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_descriptors_arrives_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let files: Vec<File> = (0..150)
            .map(|number| {
                let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
                write!(file, "{number}").unwrap();
                file
            })
            .collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send_descriptors(&ours, &borrowed).unwrap();
        let received = receive_descriptors(&theirs).unwrap();
        assert_eq!(received.len(), files.len());
        for (number, descriptor) in received.into_iter().enumerate() {
            let found: usize = read_plan(&File::from(descriptor)).unwrap();
            assert_eq!(found, number);
        }
    }
}
