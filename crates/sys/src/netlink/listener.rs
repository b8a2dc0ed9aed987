//! Listening to what the kernel tells all that care: a multicast group.

use super::socket::{Content, from_kernel, split};
use super::{Family, NetlinkError, Reply, Socket};
use crate::SysError;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, bind, recvfrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The kernel joins messages up to a page.
const BUFFER: usize = 64 * 1024;

/// A member of one multicast group, in the network namespace that the thread was in when it was opened.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// One datagram's messages.
    Messages(Vec<Reply>),
    /// More was said than the socket holds: some of it is lost.
    Lost,
    /// Nothing more for now.
    Silence,
}

impl Listener {
    /// Joins a group (1 to 32). Datagrams that begin with a message of one of the types in `ignored` are dropped before
    /// they get here and wake nobody: a filter in the kernel sees to that (`SO_ATTACH_FILTER`, socket(7)).
    pub fn open(family: Family, group: u32, ignored: &[u16]) -> Result<Self, NetlinkError> {
        let socket = Socket::open(family)?;
        // Before anything can come.
        ignore(socket.as_fd(), ignored).map_err(SysError::of("set netlink socket filter"))?;
        let mask = group
            .checked_sub(1)
            .and_then(|place| 1_u32.checked_shl(place))
            .ok_or(SysError::of("join netlink group")(Errno::INVAL))?;
        bind(&socket, &SocketAddrNetlink::new(0, mask)).map_err(SysError::of("join netlink group"))?;
        Ok(Self {
            socket,
            buffer: Vec::new(),
        })
    }

    /// Takes the next datagram, if there is one. Does not wait.
    pub fn hear(&mut self) -> Result<Heard, NetlinkError> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            let received =
                rustix::io::retry_on_intr(|| recvfrom(&self.socket, spare_capacity(&mut self.buffer), flags));
            let (_, length, sender) = match received {
                Ok(received) => received,
                Err(Errno::AGAIN) => return Ok(Heard::Silence),
                Err(Errno::NOBUFS) => return Ok(Heard::Lost),
                Err(errno) => return Err(SysError::of("receive netlink message")(errno).into()),
            };
            if !from_kernel(sender) {
                continue;
            }
            let Some(bytes) = self.buffer.get(..length) else {
                return Ok(Heard::Lost);
            };
            let messages = split(bytes)?;
            return Ok(Heard::Messages(
                messages
                    .into_iter()
                    .filter_map(|message| match message.content {
                        Content::Reply(reply) => Some(reply),
                        Content::Acknowledged(_) | Content::Done => None,
                    })
                    .collect(),
            ));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a message's type is in `struct nlmsghdr`.
const TYPE: u32 = 4;

/// Has the kernel drop what begins with one of these types.
fn ignore(fd: BorrowedFd<'_>, types: &[u16]) -> Result<(), Errno> {
    let program = drop_types(types)?;
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).ok().ok_or(Errno::TOOBIG)?,
        // The kernel only reads it; the type is not const for historical reasons.
        filter: program.as_ptr().cast_mut(),
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>())
        .ok()
        .ok_or(Errno::INVAL)?;
    // SAFETY: `filter` is a live `sock_fprog` of the given size, whose pointer and length describe `program`, which
    // lives until the end of this function; the kernel copies both during the call and writes to neither.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Returns the filter as a program of classic BPF: what it returns is how many bytes are kept.
fn drop_types(types: &[u16]) -> Result<Vec<libc::sock_filter>, Errno> {
    // `BPF_LD | BPF_H | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K` of `linux/bpf_common.h`.
    const LOAD_HALF: u16 = 0x28;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut program = vec![step(LOAD_HALF, 0, TYPE)];
    for (place, kind) in types.iter().enumerate() {
        // Over the other comparisons and the first return.
        let jump = u8::try_from(types.len() - place).ok().ok_or(Errno::TOOBIG)?;
        // The program loads in network order whatever the machine's is.
        let kind = u16::from_be_bytes(kind.to_ne_bytes());
        program.push(step(JUMP_IF_EQUAL, jump, kind.into()));
    }
    program.push(step(RETURN, 0, u32::MAX));
    program.push(step(RETURN, 0, 0));
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would (networking/filter.rst).
    fn keeps(program: &[libc::sock_filter], packet: &[u8]) -> bool {
        let (mut accumulator, mut place) = (0, 0);
        loop {
            let step = program[place];
            place += 1;
            match step.code {
                0x28 => {
                    let at = usize::try_from(step.k).unwrap();
                    accumulator = u32::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
                }
                0x15 => place += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
                0x06 => return step.k != 0,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn only_the_named_types_are_dropped() {
        let message = |kind: u16| [&[0; 4], &kind.to_ne_bytes()[..], &[0; 10]].concat();
        let program = drop_types(&[0x0a0c, 0x0a0e, 0x0a0f]).unwrap();
        for (kind, kept) in [
            (0x0a0c, false),
            (0x0a0e, false),
            (0x0a0f, false),
            (0x0a0d, true),
            (0x0c0a, true),
            (0, true),
        ] {
            assert_eq!(keeps(&program, &message(kind)), kept, "{kind:#x}");
        }
        assert!(keeps(&drop_types(&[]).unwrap(), &message(0x0a0c)));
    }
}
