//! An SSH agent that a `RUN` may use: a socket of ours, behind which the user's agent lists its keys and signs, and
//! does nothing else (it takes and drops no keys for a build; see draft-miller-ssh-agent, section 6.1).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use sys::SysError;

const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
/// Agents refuse longer messages themselves.
const LONGEST: u32 = 256 << 10;
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A socket that leads to an agent as long as this lives.
#[derive(Debug)]
pub(crate) struct Agent {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where the socket is.
    pub(crate) socket: PathBuf,
}

impl Agent {
    /// Opens a socket called `agent` in a directory of ours, for the user and with the permissions given.
    pub(crate) fn open(
        directory: &Path,
        agent: &Path,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Self, SysError> {
        let failed = |error: std::io::Error| SysError::io("offer the SSH agent", agent, &error);
        // Whether it is there is said now, not by a puzzling failure of ssh later.
        drop(UnixStream::connect(agent).map_err(failed)?);
        let socket = directory.join("agent");
        // The address of a socket holds 107 bytes; our directory may be deeper.
        let held = sys::path::Tree::open(directory)?;
        let address = sys::mount::descriptor_path(std::os::fd::AsFd::as_fd(&held)).join("agent");
        let listener = UnixListener::bind(&address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        held.set_owner(Path::new("agent"), (uid, gid))?;
        held.set_mode(Path::new("agent"), rustix::fs::Mode::from_raw_mode(mode & 0o777))?;
        let over = Arc::new(AtomicBool::new(false));
        let (stop, agent) = (Arc::clone(&over), agent.to_owned());
        let thread = std::thread::spawn(move || serve(&listener, &agent, &stop));
        Ok(Self {
            over,
            thread: Some(thread),
            socket,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked serves nobody any more, either.
            drop(thread.join());
        }
    }
}

fn serve(listener: &UnixListener, agent: &Path, over: &AtomicBool) {
    std::thread::scope(|scope| {
        while !over.load(Ordering::Relaxed) {
            if !is_readable(listener) {
                continue;
            }
            let Ok((client, _)) = listener.accept() else {
                continue;
            };
            // A client whose connection breaks sees that itself.
            scope.spawn(move || drop(relay(client, agent, over)));
        }
    });
}

fn is_readable(socket: &impl std::os::fd::AsFd) -> bool {
    let mut descriptors = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut descriptors, Some(&GLANCE)).is_ok_and(|ready| ready > 0)
}

fn relay(mut client: UnixStream, agent: &Path, over: &AtomicBool) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    let mut upstream = UnixStream::connect(agent)?;
    while !over.load(Ordering::Relaxed) {
        if !is_readable(&client) {
            continue;
        }
        let Some(request) = message(&mut client)? else {
            break;
        };
        if !matches!(request.get(4), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) {
            client.write_all(&FAILURE)?;
            continue;
        }
        upstream.write_all(&request)?;
        let Some(answer) = message(&mut upstream)? else {
            break;
        };
        client.write_all(&answer)?;
    }
    Ok(())
}

/// Reads one message, its length in front.
fn message(stream: &mut UnixStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let size = u32::from_be_bytes(length);
    if size > LONGEST {
        return Ok(None);
    }
    let mut whole = length.to_vec();
    let read = Read::take(&mut *stream, size.into()).read_to_end(&mut whole)?;
    Ok((u64::try_from(read) == Ok(u64::from(size))).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_and_signed_with_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        let answering = std::thread::spawn(move || {
            let mut seen = Vec::new();
            // The first connection is the look whether it is there.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                while let Some(request) = message(&mut stream).unwrap() {
                    seen.push(request[4]);
                    stream.write_all(&[0, 0, 0, 2, 12, request[4]]).unwrap();
                }
            }
            seen
        });
        let ours = directory.path().join("ours");
        std::fs::create_dir(&ours).unwrap();
        let agent = Agent::open(&ours, &real, 0o600, (0, 0)).unwrap();
        let mut client = UnixStream::connect(&agent.socket).unwrap();
        for (request, expected) in [
            (11, vec![0, 0, 0, 2, 12, 11]),
            (17, FAILURE.to_vec()),
            (13, vec![0, 0, 0, 2, 12, 13]),
        ] {
            client.write_all(&[0, 0, 0, 1, request]).unwrap();
            assert_eq!(message(&mut client).unwrap().unwrap(), expected);
        }
        drop(client);
        drop(agent);
        assert_eq!(answering.join().unwrap(), [11, 13]);
    }
}
