//! systemd's journal, by its own protocol: one datagram an entry to its socket (systemd.io/JOURNAL_NATIVE_PROTOCOL), or a
//! sealed file for an entry that no datagram holds.
//!
//! Nothing here waits: what the journal does not take now is kept, and while something is kept no more output is read,
//! so that a slow journal slows its container as a slow disk would.

use super::Piece;
use crate::containers::logs::options::JournalPlan;
use crate::containers::logs::{Clock, Source};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// The priorities of syslog(3) for standard output and standard error.
const INFORMATION: &str = "6";
const ERROR: &str = "3";
/// A journal that does not answer at all is given up when the container has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
    /// The fields that all entries have, as they are sent.
    fields: Vec<u8>,
    /// Begins with what tells the lines of this run that were cut from all others.
    run: String,
    clock: Clock,
    sent: u64,
    waiting: VecDeque<Vec<u8>>,
    /// Entries that could not be sent.
    lost: u64,
}

impl Journal {
    pub(super) fn open(plan: &JournalPlan) -> io::Result<Self> {
        let mut fields = Vec::new();
        for (name, value) in &plan.fields {
            field(&mut fields, name, value.as_bytes());
        }
        let run = plan.fields.iter().find(|(name, _)| name == "CONTAINER_LOG_EPOCH");
        Ok(Self {
            socket: connect(&plan.socket)?,
            path: plan.socket.clone(),
            fields,
            run: run.map(|(_, epoch)| epoch.clone()).unwrap_or_default(),
            clock: Clock::default(),
            sent: 0,
            waiting: VecDeque::new(),
            lost: 0,
        })
    }

    pub(super) fn put(&mut self, piece: Piece<'_>) {
        if self.lost > 0 && self.waiting.is_empty() {
            let notice = format!(
                "[{} lines of output were lost: the journal did not take them]",
                self.lost
            );
            let lost = std::mem::take(&mut self.lost);
            let told = self.entry(Piece {
                source: Source::Stderr,
                line: notice.as_bytes(),
                complete: true,
                time: piece.time,
                part: None,
            });
            if !self.hand_over(told) {
                self.lost = lost;
            }
        }
        let entry = self.entry(piece);
        if !self.waiting.is_empty() {
            self.waiting.push_back(entry);
        } else if !self.hand_over(entry) {
            self.lost += 1;
        }
    }

    fn entry(&mut self, piece: Piece<'_>) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.fields.len() + piece.line.len() + 256);
        field(&mut entry, "MESSAGE", piece.line);
        let priority = match piece.source {
            Source::Stdout => INFORMATION,
            Source::Stderr => ERROR,
        };
        field(&mut entry, "PRIORITY", priority.as_bytes());
        entry.extend_from_slice(&self.fields);
        self.sent += 1;
        field(
            &mut entry,
            "CONTAINER_LOG_ORDINAL",
            self.sent.to_string().as_bytes(),
        );
        entry.extend_from_slice(b"SYSLOG_TIMESTAMP=");
        self.clock.write(&mut entry, piece.time);
        entry.push(b'\n');
        if let Some((ordinal, line)) = piece.part {
            field(
                &mut entry,
                "CONTAINER_PARTIAL_ID",
                format!("{}{line:x}", self.run).as_bytes(),
            );
            field(
                &mut entry,
                "CONTAINER_PARTIAL_ORDINAL",
                ordinal.to_string().as_bytes(),
            );
            let last = if piece.complete { "true" } else { "false" };
            field(&mut entry, "CONTAINER_PARTIAL_LAST", last.as_bytes());
            if !piece.complete {
                field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        entry
    }

    /// Sends an entry, or keeps it until the journal takes it; `false` if there is nobody to take it.
    fn hand_over(&mut self, entry: Vec<u8>) -> bool {
        match self.send(&entry) {
            Ok(()) => true,
            Err(Errno::AGAIN) => {
                self.waiting.push_back(entry);
                true
            }
            Err(_) => false,
        }
    }

    fn send(&mut self, entry: &[u8]) -> rustix::io::Result<()> {
        match self.send_once(entry) {
            // It was started anew, and its socket with it.
            Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN | Errno::PIPE) => {
                self.socket = connect(&self.path).map_err(|_nobody| Errno::CONNREFUSED)?;
                self.send_once(entry)
            }
            sent => sent,
        }
    }

    fn send_once(&self, entry: &[u8]) -> rustix::io::Result<()> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::io::retry_on_intr(|| send(&self.socket, entry, flags)) {
            Ok(_) => Ok(()),
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.send_as_file(entry),
            Err(errno) => Err(errno),
        }
    }

    /// The journal takes a file instead, if nobody can change it any more.
    fn send_as_file(&self, entry: &[u8]) -> rustix::io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("coracle-journal", flags)?);
        file.write_all(entry)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // The space is for one.
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&[])], &mut control, flags)?;
        Ok(())
    }

    /// Sends what was kept, as far as the journal takes it.
    pub(super) fn flush(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            match self.send(&entry) {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    self.waiting.push_front(entry);
                    return;
                }
                Err(_) => self.lost += 1,
            }
        }
        self.waiting = VecDeque::new();
    }

    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty()).then(|| self.socket.as_fd())
    }

    /// Waits until everything was sent, at most for `patience`.
    pub(super) fn wait(&mut self, patience: Duration) {
        let deadline = std::time::Instant::now() + patience;
        self.flush();
        while !self.waiting.is_empty() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            });
            let mut set = [PollFd::new(&self.socket, PollFlags::OUT)];
            match poll(&mut set, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => self.flush(),
                Err(_) => return,
            }
        }
    }

    pub(super) fn finish(&mut self) {
        self.wait(FAREWELL);
        self.waiting = VecDeque::new();
    }
}

fn connect(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// Appends a field. A value with a newline is sent with its length.
fn field(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        into.push(b'\n');
        into.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        into.push(b'=');
    }
    into.extend_from_slice(value);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};
    use std::os::fd::OwnedFd;

    fn plan(directory: &std::path::Path) -> JournalPlan {
        JournalPlan {
            socket: directory.join("socket"),
            fields: [("CONTAINER_LOG_EPOCH", "e"), ("MULTI", "a\nb")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        }
    }

    fn piece(line: &[u8]) -> Piece<'_> {
        Piece {
            source: Source::Stdout,
            line,
            complete: true,
            time: 0,
            part: None,
        }
    }

    #[test]
    fn entries_are_in_the_native_protocol() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path());
        let server = UnixDatagram::bind(&plan.socket).unwrap();
        let mut journal = Journal::open(&plan).unwrap();
        journal.put(piece(b"hello"));
        journal.put(Piece {
            source: Source::Stderr,
            complete: false,
            part: Some((2, 10)),
            ..piece(b"long")
        });
        let mut buffer = [0; 4096];
        let mut next = || {
            let count = server.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        };
        let common = "CONTAINER_LOG_EPOCH=e\nMULTI\n\u{3}\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(
            next(),
            format!(
                "MESSAGE=hello\nPRIORITY=6\n{common}CONTAINER_LOG_ORDINAL=1\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00Z\n"
            )
        );
        assert_eq!(
            next(),
            format!(
                "MESSAGE=long\nPRIORITY=3\n{common}CONTAINER_LOG_ORDINAL=2\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00Z\n\
                     CONTAINER_PARTIAL_ID=ea\nCONTAINER_PARTIAL_ORDINAL=2\nCONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n"
            )
        );
    }

    #[test]
    fn what_no_datagram_holds_goes_as_a_sealed_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut plan = plan(directory.path());
        plan.fields.push(("LARGE".into(), "x".repeat(1 << 20)));
        let server = UnixDatagram::bind(&plan.socket).unwrap();
        let mut journal = Journal::open(&plan).unwrap();
        journal.put(piece(b"hello"));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut nothing = [0; 16];
        let received = rustix::net::recvmsg(
            &server,
            &mut [io::IoSliceMut::new(&mut nothing)],
            &mut control,
            rustix::net::RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        assert_eq!(received.bytes, 0);
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                rustix::net::RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            })
            .flatten()
            .collect();
        let mut file = File::from(descriptors.into_iter().next().unwrap());
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("MESSAGE=hello\n") && text.len() > 1 << 20);
        assert!(file.write_all(b"forged").is_err(), "it is sealed");
    }

    #[test]
    fn a_journal_that_does_not_read_is_waited_for_and_one_that_went_is_told_what_it_missed() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path());
        let server = UnixDatagram::bind(&plan.socket).unwrap();
        let mut journal = Journal::open(&plan).unwrap();
        let mut put = 0;
        while journal.waits_for().is_none() {
            journal.put(piece(b"flood"));
            put += 1;
            assert!(put < 100_000, "the socket never fills");
        }
        let mut buffer = [0; 4096];
        let mut seen = 0;
        while seen < put {
            server.recv(&mut buffer).unwrap();
            seen += 1;
            journal.flush();
        }
        assert!(journal.waits_for().is_none());
        // It goes, and comes back.
        drop(server);
        std::fs::remove_file(&plan.socket).unwrap();
        journal.put(piece(b"lost"));
        let server = UnixDatagram::bind(&plan.socket).unwrap();
        journal.put(piece(b"seen"));
        let mut texts = Vec::new();
        for _ in 0..2 {
            let count = server.recv(&mut buffer).unwrap();
            texts.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
        assert!(
            texts[0].contains("MESSAGE=[1 lines of output were lost"),
            "{texts:?}"
        );
        assert!(texts[1].contains("MESSAGE=seen"), "{texts:?}");
    }
}
