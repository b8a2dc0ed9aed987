//! What the waiting process and its maker tell each other, one message a packet, until exec closes the child's end.

use crate::{StartError, StartFailure};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longer texts are cut; they hold one path and some words.
const LONGEST: usize = 16 * 1024;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// To the child: its user namespace has its mappings.
    Mapped,
    /// To the child: go on to exec.
    Start,
    /// From the child: something was done differently than asked.
    Warning(String),
    /// From the child: the master of its terminal.
    Terminal(OwnedFd),
    /// From the child: everything is prepared.
    Ready,
    /// From the child: the next thing it does is exec. Whoever ends without it did not get that far.
    Executing,
    /// From the child: it failed, and exits.
    Failed(StartError),
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Makes both ends; neither survives exec.
    pub(crate) fn pair() -> Result<(Self, Self), StartError> {
        rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map(|(ours, theirs)| (Self(ours), Self(theirs)))
        .map_err(crate::error::failed("make a socket pair"))
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &Message) -> Result<(), Errno> {
        let (tag, text, descriptor): (&[u8], &str, Option<BorrowedFd<'_>>) = match message {
            Message::Mapped => (b"M", "", None),
            Message::Start => (b"S", "", None),
            Message::Warning(text) => (b"W", text, None),
            Message::Terminal(master) => (b"T", "", Some(master.as_fd())),
            Message::Ready => (b"R", "", None),
            Message::Executing => (b"X", "", None),
            Message::Failed(error) => {
                let tag: &[u8] = match error.failure {
                    StartFailure::Setup => b"E0",
                    StartFailure::CommandNotFound => b"E1",
                    StartFailure::CommandNotExecutable => b"E2",
                };
                (tag, &error.message, None)
            }
        };
        let text = &text.as_bytes()[..text.len().min(LONGEST)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::NOBUFS);
        }
        let parts = [IoSlice::new(tag), IoSlice::new(text)];
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)
        })?;
        Ok(())
    }

    /// Waits for a message; `None` when the other end is closed.
    pub(crate) fn receive(&self) -> Result<Option<Message>, Errno> {
        let mut packet = vec![0; LONGEST + 2];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut packet)];
            rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            // The other side ended with something of ours unread.
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::MSGSIZE);
        }
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let text = |from: usize| {
            String::from_utf8_lossy(packet.get(from..received.bytes).unwrap_or_default()).into_owned()
        };
        let failed = |failure| {
            Message::Failed(StartError {
                failure,
                message: text(2),
            })
        };
        Ok(Some(match (&packet[..received.bytes.min(2)], descriptor) {
            ([], _) => return Ok(None),
            ([b'M', ..], _) => Message::Mapped,
            ([b'S', ..], _) => Message::Start,
            ([b'W', ..], _) => Message::Warning(text(1)),
            ([b'T', ..], Some(master)) => Message::Terminal(master),
            ([b'R', ..], _) => Message::Ready,
            ([b'X', ..], _) => Message::Executing,
            ([b'E', b'0'], _) => failed(StartFailure::Setup),
            ([b'E', b'1'], _) => failed(StartFailure::CommandNotFound),
            ([b'E', b'2'], _) => failed(StartFailure::CommandNotExecutable),
            _ => return Err(Errno::BADMSG),
        }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let error = StartError {
            failure: StartFailure::CommandNotFound,
            message: "exec: \"x\"".to_owned(),
        };
        for message in [
            Message::Warning(String::new()),
            Message::Warning("ä".repeat(LONGEST)),
            Message::Terminal(writer),
            Message::Ready,
            Message::Failed(error),
        ] {
            theirs.send(&message).unwrap();
        }
        drop(theirs);
        assert!(matches!(ours.receive(), Ok(Some(Message::Warning(text))) if text.is_empty()));
        assert!(matches!(ours.receive(), Ok(Some(Message::Warning(text))) if text.starts_with("ää")));
        let Ok(Some(Message::Terminal(writer))) = ours.receive() else {
            panic!("no descriptor");
        };
        rustix::io::write(&writer, b"through").unwrap();
        let mut bytes = [0; 7];
        rustix::io::read(&reader, &mut bytes).unwrap();
        assert_eq!(&bytes, b"through");
        assert!(matches!(ours.receive(), Ok(Some(Message::Ready))));
        assert!(matches!(ours.receive(), Ok(Some(Message::Failed(error)))
            if error.failure == StartFailure::CommandNotFound && error.message == "exec: \"x\""));
        assert!(matches!(ours.receive(), Ok(None)));
    }
}
