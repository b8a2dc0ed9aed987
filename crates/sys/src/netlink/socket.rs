//! A netlink socket: requests out, answers in.

use super::{ACK, Batch, DUMP, DUMP_INTERRUPTED, HEADER, MULTI, NetlinkError, align, attributes};
use crate::SysError;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, recvfrom, sendto,
    socket_with,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Message types below `NLMSG_MIN_TYPE` (netlink(7)).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// `NLM_F_CAPPED` and `NLM_F_ACK_TLVS` of an error message.
const CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const ERROR_TEXT: u16 = 1;

/// The kernel fills at most this much per answer (netlink(7): 32 KiB for dumps).
const BUFFER: usize = 64 * 1024;
/// A message above this may not fit the usual send buffer.
const PLAIN_SEND: usize = 64 * 1024;
/// The kernel answers at once; this only keeps a bug from hanging the caller for good.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a list is asked for again when it changed meanwhile.
const DUMP_ATTEMPTS: usize = 10;

/// What a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes (rtnetlink(7)).
    Route,
    /// `nf_tables` and connection tracking.
    Netfilter,
}

/// A netlink socket. It belongs to the network namespace that the thread was in when it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    next: u32,
    buffer: Vec<u8>,
}

/// What the kernel said to one message.
#[derive(Debug, Default)]
pub struct Answer {
    /// What was asked for.
    pub replies: Vec<Reply>,
    /// Why it was not done.
    pub refusal: Option<Refusal>,
}

/// One message from the kernel, without its `struct nlmsghdr`.
#[derive(Debug)]
pub struct Reply {
    /// The message's type.
    pub kind: u16,
    /// The family's fixed header and the attributes.
    pub payload: Vec<u8>,
}

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's own explanation, where it gives one.
    pub text: Option<String>,
}

impl Socket {
    /// Opens a socket in the thread's network namespace.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(NETFILTER),
        };
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(SysError::of("open netlink socket"))?;
        // Errors without the request's copy, with the kernel's explanation; filters in dumps (kernels 4.12 and 4.20).
        for option in [
            libc::NETLINK_CAP_ACK,
            libc::NETLINK_EXT_ACK,
            libc::NETLINK_GET_STRICT_CHK,
        ] {
            switch_on(fd.as_fd(), option).map_err(SysError::of("set netlink socket option"))?;
        }
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))
            .map_err(SysError::of("set netlink socket timeout"))?;
        Ok(Self {
            fd,
            next: 1,
            buffer: Vec::new(),
        })
    }

    /// Sends all messages at once and returns as many answers, in the same order. Waits until the last message with
    /// [`ACK`](super::ACK) is acknowledged; a message without it is only heard of if it fails. Not for dumps.
    pub fn exchange(&mut self, mut batch: Batch) -> Result<Vec<Answer>, NetlinkError> {
        let mut answers: Vec<Answer> = std::iter::repeat_with(Answer::default)
            .take(batch.len())
            .collect();
        let first = self.send(&mut batch)?;
        let Some(last) = (0..batch.len())
            .rev()
            .find(|&place| batch.flags(place) & ACK != 0)
        else {
            return Ok(answers);
        };
        let mut done = false;
        while !done {
            for message in self.receive()? {
                // Anything else is a late answer to an exchange that was given up.
                let Some(place) = place_of(message.number, first, answers.len()) else {
                    continue;
                };
                match message.content {
                    Content::Reply(reply) => answers[place].replies.push(reply),
                    Content::Acknowledged(refusal) => {
                        // A transaction that is refused as a whole answers to its beginning, and to nothing else.
                        done |= place == last || (place == 0 && batch.is_transaction() && refusal.is_some());
                        answers[place].refusal = refusal;
                    }
                    Content::Done => {}
                }
            }
        }
        Ok(answers)
    }

    /// Sends a transaction, finished by [`Batch::commit`], and returns the first refusal in it if there is one; then
    /// nothing of it was done.
    pub fn transact(&mut self, batch: Batch) -> Result<Result<(), Refusal>, NetlinkError> {
        let refused = self
            .exchange(batch)?
            .into_iter()
            .find_map(|answer| answer.refusal);
        Ok(refused.map_or(Ok(()), Err))
    }

    /// Lists objects: sends a message of this type with `NLM_F_DUMP` and returns everything that comes, or why the
    /// kernel refused.
    pub fn dump(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl Fn(&mut super::Attributes<'_>),
    ) -> Result<Result<Vec<Reply>, Refusal>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut batch = Batch::new();
            batch.message(kind, DUMP, header, &fill);
            let first = self.send(&mut batch)?;
            let mut replies = Vec::new();
            let mut whole = true;
            'listing: loop {
                for message in self.receive()? {
                    if message.number != first {
                        continue;
                    }
                    whole &= message.flags & DUMP_INTERRUPTED == 0;
                    match message.content {
                        Content::Reply(reply) => {
                            replies.push(reply);
                            if message.flags & MULTI == 0 {
                                break 'listing;
                            }
                        }
                        Content::Acknowledged(Some(refusal)) => return Ok(Err(refusal)),
                        Content::Acknowledged(None) | Content::Done => break 'listing,
                    }
                }
            }
            if whole {
                return Ok(Ok(replies));
            }
        }
        Err(NetlinkError::Interrupted)
    }

    fn send(&mut self, batch: &mut Batch) -> Result<u32, NetlinkError> {
        let first = self.next;
        let count = u32::try_from(batch.len()).ok().ok_or(NetlinkError::TooLong)?;
        self.next = first.wrapping_add(count);
        let bytes = batch.numbered(first)?;
        if bytes.len() > PLAIN_SEND {
            set_socket_send_buffer_size_force(&self.fd, bytes.len().saturating_mul(2))
                .map_err(SysError::of("enlarge netlink socket buffer"))?;
        }
        let kernel = SocketAddrNetlink::new(0, 0);
        let sent = rustix::io::retry_on_intr(|| sendto(&self.fd, bytes, SendFlags::empty(), &kernel))
            .map_err(SysError::of("send netlink message"))?;
        if sent == bytes.len() {
            Ok(first)
        } else {
            Err(NetlinkError::TooLong)
        }
    }

    /// Receives one datagram of the kernel's.
    fn receive(&mut self) -> Result<Vec<Message>, NetlinkError> {
        loop {
            // Only what the kernel fills is ever touched: most answers are small.
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            let (_, length, sender) = rustix::io::retry_on_intr(|| {
                recvfrom(&self.fd, spare_capacity(&mut self.buffer), RecvFlags::TRUNC)
            })
            .map_err(SysError::of("receive netlink message"))?;
            if !from_kernel(sender) {
                continue;
            }
            return split(self.buffer.get(..length).ok_or(NetlinkError::Malformed)?);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Another process may send to this socket as well; only port 0 is the kernel.
pub(super) fn from_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender
        .and_then(|address| SocketAddrNetlink::try_from(address).ok())
        .is_some_and(|address| address.pid() == 0)
}

fn place_of(number: u32, first: u32, count: usize) -> Option<usize> {
    let place = usize::try_from(number.wrapping_sub(first)).ok()?;
    (place < count).then_some(place)
}

/// One message of a datagram.
#[derive(Debug)]
pub(super) struct Message {
    number: u32,
    flags: u16,
    pub(super) content: Content,
}

/// What is in it.
#[derive(Debug)]
pub(super) enum Content {
    Reply(Reply),
    Acknowledged(Option<Refusal>),
    Done,
}

pub(super) fn split(mut bytes: &[u8]) -> Result<Vec<Message>, NetlinkError> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let header = bytes.get(..HEADER).ok_or(NetlinkError::Malformed)?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        let number = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let length = usize::try_from(length).ok().ok_or(NetlinkError::Malformed)?;
        let payload = bytes.get(HEADER..length).ok_or(NetlinkError::Malformed)?;
        let content = match kind {
            NLMSG_ERROR => Content::Acknowledged(refusal(flags, payload)?),
            // A dump can fail at its end: the number is there, and negative.
            NLMSG_DONE => match error_number(payload) {
                Some(errno) => Content::Acknowledged(Some(Refusal { errno, text: None })),
                None => Content::Done,
            },
            NLMSG_OVERRUN => return Err(NetlinkError::Malformed),
            _ => Content::Reply(Reply {
                kind,
                payload: payload.to_vec(),
            }),
        };
        messages.push(Message {
            number,
            flags,
            content,
        });
        bytes = bytes.get(align(length)..).unwrap_or_default();
    }
    Ok(messages)
}

fn error_number(payload: &[u8]) -> Option<Errno> {
    let number = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (number < 0).then(|| Errno::from_raw_os_error(number.wrapping_neg()))
}

/// Reads `struct nlmsgerr`: the number, the request's header, the request unless capped, attributes.
fn refusal(flags: u16, payload: &[u8]) -> Result<Option<Refusal>, NetlinkError> {
    if payload.len() < 4 + HEADER {
        return Err(NetlinkError::Malformed);
    }
    let Some(errno) = error_number(payload) else {
        return Ok(None);
    };
    let request = if flags & CAPPED == 0 {
        let length = u32::from_ne_bytes([payload[4], payload[5], payload[6], payload[7]]);
        align(usize::try_from(length).ok().ok_or(NetlinkError::Malformed)?)
    } else {
        HEADER
    };
    let text = (flags & ACK_ATTRIBUTES != 0)
        .then(|| payload.get(4 + request..))
        .flatten()
        .and_then(|rest| attributes(rest).first(ERROR_TEXT))
        .and_then(|attribute| attribute.text().map(str::to_owned));
    Ok(Some(Refusal { errno, text }))
}

/// Sets an option of level `SOL_NETLINK` to 1.
fn switch_on(fd: BorrowedFd<'_>, option: libc::c_int) -> Result<(), Errno> {
    let one: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())
        .ok()
        .ok_or(Errno::INVAL)?;
    // SAFETY: the pointer is to a live `c_int` and the length is its size; the kernel only reads it, during the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const one).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTM_GETLINK: u16 = 18;
    const RTM_DELLINK: u16 = 17;

    fn message(kind: u16, flags: u16, number: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&number.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    #[test]
    fn lies_about_lengths_are_malformed() {
        let good = message(99, 0, 1, &[1, 2, 3]);
        assert_eq!(split(&good).unwrap().len(), 1);
        for length in [0u32, 15, 64, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(split(&bad).is_err(), "{length}");
        }
        assert!(split(&good[..12]).is_err());
        assert!(split(&message(NLMSG_ERROR, 0, 1, &[0; 8])).is_err());
    }

    #[test]
    fn an_error_carries_its_text_capped_or_not() {
        let text = [9, 0, 1, 0, b'n', b'o', b'p', b'e', 0, 0, 0, 0];
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&message(1, 0, 1, &[]));
        let mut capped = payload.clone();
        capped.extend_from_slice(&text);
        let mut whole = (-17i32).to_ne_bytes().to_vec();
        whole.extend_from_slice(&message(1, 0, 1, &[7; 6]));
        whole.extend_from_slice(&text);
        for (flags, payload) in [(CAPPED | ACK_ATTRIBUTES, capped), (ACK_ATTRIBUTES, whole)] {
            let refusal = refusal(flags, &payload).unwrap().unwrap();
            assert_eq!(refusal.errno, Errno::EXIST);
            assert_eq!(refusal.text.as_deref(), Some("nope"));
        }
    }

    #[test]
    fn the_kernel_lists_the_loopback_link() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let links = socket.dump(RTM_GETLINK, &[0; 16], |_| {}).unwrap().unwrap();
        let names: Vec<_> = links
            .iter()
            .filter_map(|link| attributes(&link.payload[16..]).first(3)?.text())
            .collect();
        assert!(names.contains(&"lo"), "{names:?}");
    }

    #[test]
    fn each_message_of_a_batch_gets_its_own_answer() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = Batch::new();
        for (kind, name) in [
            (RTM_GETLINK, "lo"),
            (RTM_DELLINK, "no-such-link"),
            (RTM_GETLINK, "lo"),
        ] {
            batch.message(kind, ACK, &[0; 16], |list| {
                list.text(3, name);
            });
        }
        let answers = socket.exchange(batch).unwrap();
        assert_eq!(answers.len(), 3);
        assert_eq!((answers[0].replies.len(), &answers[0].refusal), (1, &None));
        assert_eq!(answers[1].refusal.as_ref().unwrap().errno, Errno::NODEV);
        assert_eq!((answers[2].replies.len(), &answers[2].refusal), (1, &None));
    }

    #[test]
    fn answers_are_counted_from_the_first_message() {
        assert_eq!(place_of(7, 7, 1), Some(0));
        assert_eq!(place_of(8, 7, 1), None);
        assert_eq!(place_of(6, 7, 3), None);
        assert_eq!(place_of(1, u32::MAX, 3), Some(2));
    }
}
