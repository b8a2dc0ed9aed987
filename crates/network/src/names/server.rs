//! The sockets of a name server, and what goes on between them.

use super::message::{self, Verdict, Way};
use super::relay::{Asked, Call, Outcome, watch};
use super::{Table, redirect};
use crate::NetworkError;
use hickory_proto::op::ResponseCode;
use rustix::event::epoll::{self, CreateFlags, EventFlags};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use sys::SysError;
use sys::netlink::{Family, Socket, inside};

/// Where containers find the name server, as with Docker.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The longest message over UDP that anybody sends on purpose (RFC 6891, 6.2.5).
const LONGEST_UDP: usize = 4096;
/// Queries that are passed on at the same time. More get no help; clients ask again.
const MOST_ASKED: usize = 256;
/// TCP connections at the same time.
const MOST_CALLS: usize = 32;
/// Messages that are taken from one socket before the others have their turn.
const BATCH: usize = 64;

/// A name server that is asked for what we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// It is asked from the host's namespace, because it listens on the host's loopback.
    pub from_host: bool,
}

/// A name server in a container's network namespace. Owns its sockets and a descriptor of the namespace; with the
/// namespace the rules go that lead to it.
///
/// Its descriptor ([`AsFd`]) is readable whenever there is something to [serve](NameServer::serve).
#[derive(Debug)]
pub struct NameServer {
    pub(super) netns: OwnedFd,
    /// An epoll(7) descriptor with all sockets in it.
    readiness: OwnedFd,
    udp: UdpSocket,
    tcp: TcpListener,
    /// What of `tcp` is waited for: nothing while there are as many conversations as there may be.
    callers: EventFlags,
    upstream: Vec<Upstream>,
    asked: Vec<Asked>,
    calls: Vec<Call>,
    turn: usize,
}

impl NameServer {
    /// Opens a name server in the namespace `netns`, whose `lo` is up. Without `upstream` names that it does not know
    /// do not exist.
    pub fn open(netns: BorrowedFd<'_>, upstream: Vec<Upstream>) -> Result<Self, NetworkError> {
        let failed = |error: std::io::Error| SysError::io("listen for names on", ADDRESS.to_string(), &error);
        let (udp, tcp, mut rules) = inside(netns, || -> Result<_, NetworkError> {
            let udp = UdpSocket::bind((ADDRESS, 0)).map_err(failed)?;
            let tcp = TcpListener::bind((ADDRESS, 0)).map_err(failed)?;
            Ok((udp, tcp, Socket::open(Family::Netfilter)?))
        })??;
        udp.set_nonblocking(true).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let port =
            |address: std::io::Result<SocketAddr>| address.map(|address| address.port()).map_err(failed);
        redirect::redirect(&mut rules, port(udp.local_addr())?, port(tcp.local_addr())?)?;
        let not_watched = |errno| SysError::of("wait for names on")(errno);
        let readiness = epoll::create(CreateFlags::CLOEXEC).map_err(not_watched)?;
        let (mut queries, mut callers) = (EventFlags::empty(), EventFlags::empty());
        for (socket, watched) in [(udp.as_fd(), &mut queries), (tcp.as_fd(), &mut callers)] {
            watch(readiness.as_fd(), socket, watched, EventFlags::IN).map_err(not_watched)?;
        }
        Ok(Self {
            readiness,
            callers,
            netns: netns
                .try_clone_to_owned()
                .map_err(|error| SysError::io("keep", "a network namespace", &error))?,
            udp,
            tcp,
            upstream,
            asked: Vec::new(),
            calls: Vec::new(),
            turn: 0,
        })
    }

    /// Says whom to ask from now on: the container's networks have changed.
    pub fn set_upstream(&mut self, upstream: Vec<Upstream>) {
        self.upstream = upstream;
    }

    /// Returns when [`NameServer::serve`] must be called even if nothing is ready.
    pub fn deadline(&self) -> Option<Instant> {
        let asked = self.asked.iter().map(|asked| asked.deadline);
        asked.chain(self.calls.iter().map(|call| call.deadline)).min()
    }

    /// Does what there is to do, and waits for nothing. `table` is asked for at every query.
    pub fn serve(&mut self, table: &mut dyn FnMut() -> Arc<Table>) {
        self.hear(table);
        self.pass_answers_back();
        self.accept();
        self.converse(table);
    }

    /// Reads queries over UDP.
    fn hear(&mut self, table: &mut dyn FnMut() -> Arc<Table>) {
        let mut buffer = [0; LONGEST_UDP];
        for _ in 0..BATCH {
            // Whatever else goes wrong with one message does not concern the next.
            let (length, client) = match self.udp.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            self.turn = self.turn.wrapping_add(1);
            let query = &buffer[..length];
            match message::judge(query, &table(), Way::Udp, self.turn) {
                Verdict::Answer(answer) => self.answer(&answer, client),
                Verdict::Forward => self.pass_on(query, client, 0),
                Verdict::Ignore => {}
            }
        }
    }

    /// A client that has gone has no use for its answer.
    fn answer(&self, answer: &[u8], client: SocketAddr) {
        self.udp.send_to(answer, client).unwrap_or_default();
    }

    /// Asks the first of the servers from number `first` on that can be asked.
    fn pass_on(&mut self, query: &[u8], client: SocketAddr, first: usize) {
        if self.asked.len() < MOST_ASKED {
            for (number, upstream) in self.upstream.iter().enumerate().skip(first) {
                let Ok(asked) = Asked::ask(self.netns.as_fd(), *upstream, number, query, client) else {
                    continue;
                };
                let mut watched = EventFlags::empty();
                let socket = asked.socket.as_fd();
                if watch(self.readiness.as_fd(), socket, &mut watched, EventFlags::IN).is_ok() {
                    self.asked.push(asked);
                    return;
                }
            }
        }
        if let Some(failure) = message::failure(query, self.ignorance()) {
            self.answer(&failure, client);
        }
    }

    /// What an unknown name gets. Where there is nobody to ask, it is none: a program that were told to try again
    /// later would.
    fn ignorance(&self) -> ResponseCode {
        if self.upstream.is_empty() {
            ResponseCode::NXDomain
        } else {
            ResponseCode::ServFail
        }
    }

    fn pass_answers_back(&mut self) {
        let now = Instant::now();
        let mut buffer = [0; LONGEST_UDP];
        for asked in std::mem::take(&mut self.asked) {
            match asked.look(&mut buffer, now) {
                Outcome::Waiting => self.asked.push(asked),
                Outcome::Answered(length) => self.answer(&buffer[..length], asked.client),
                Outcome::Failed => self.pass_on(&asked.query, asked.client, asked.number + 1),
            }
        }
    }

    fn accept(&mut self) {
        // A client that has hung up again is none.
        while self.calls.len() < MOST_CALLS {
            let Ok((stream, _)) = self.tcp.accept() else {
                return;
            };
            self.calls.extend(Call::take(stream));
        }
    }

    fn converse(&mut self, table: &mut dyn FnMut() -> Arc<Table>) {
        let now = Instant::now();
        for mut call in std::mem::take(&mut self.calls) {
            self.turn = self.turn.wrapping_add(1);
            let turn = self.turn;
            let ignorance = self.ignorance();
            let mut judge = |query: &[u8]| message::judge(query, &table(), Way::Tcp, turn);
            let give_up = |query: &[u8]| message::failure(query, ignorance);
            if call.go_on(now, self.netns.as_fd(), &self.upstream, &mut judge, &give_up)
                && call.watch(self.readiness.as_fd())
            {
                self.calls.push(call);
            }
        }
        // Who calls while all lines are taken waits; looking at him would not get him a line.
        let wanted = if self.calls.len() < MOST_CALLS {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        // Should this fail, it is tried again when the next conversation ends.
        watch(
            self.readiness.as_fd(),
            self.tcp.as_fd(),
            &mut self.callers,
            wanted,
        )
        .unwrap_or_default();
    }
}

impl AsFd for NameServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness.as_fd()
    }
}
