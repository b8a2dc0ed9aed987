//! Another host next to this one, on a cable of its own: a network namespace that only a descriptor keeps alive, so that
//! nothing is left behind even when a test is killed. And what the tests of networks say often.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testkit::Sandbox;
use testkit::sandbox::Outcome;

/// This host's address on the cable.
pub(crate) const HOST: &str = "10.209.77.1";
/// The other one's.
pub(crate) const THERE: &str = "10.209.77.2";

/// How long a packet that is dropped is waited for. Too short could only hide a failure, never make one.
const SILENCE: Duration = Duration::from_millis(700);
/// How long something that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The other host.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    namespace: OwnedFd,
}

impl Elsewhere {
    /// Makes it, with a default route to this host.
    pub(crate) fn new() -> Self {
        let process = std::process::id();
        let script = "ip link set lo up && ip link add across type veth peer name corelse netns $0 &&
             ip addr add $1/24 dev across && ip link set across up && ip route add default via $2 && echo ready && exec cat";
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script, &process.to_string(), THERE, HOST])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        let namespace = std::fs::File::open(path).unwrap().into();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        host(&format!(
            "ip addr add {HOST}/24 dev corelse && ip link set corelse up"
        ));
        Self { namespace }
    }

    /// Runs `work` there.
    pub(crate) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        sys::netlink::inside(self.namespace.as_fd(), work).unwrap()
    }

    /// Runs a shell command there and returns what it prints.
    pub(crate) fn sh(&self, command: &str) -> String {
        let output = self
            .inside(|| Command::new("sh").args(["-c", command]).output())
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Connects from there and returns what is said; `None` if nobody answers.
    pub(crate) fn fetch(&self, address: &str) -> Option<String> {
        self.inside(|| fetch(address))
    }

    /// Says whether anybody accepts a connection from there.
    pub(crate) fn connects(&self, address: &str) -> bool {
        self.inside(|| connects(address))
    }

    /// Starts a name server there.
    pub(crate) fn name_server(&self) -> NameServer {
        self.inside(|| NameServer::at(THERE.parse().unwrap()))
    }
}

impl Drop for Elsewhere {
    /// The cable would go with the namespace, but at the kernel's leisure.
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["link", "del", "corelse"]).status();
        assert!(deleted.unwrap().success() || std::thread::panicking());
    }
}

/// A name server that counts its questions: every name that ends in `.test` is 192.0.2.7; one with `big` in it is told
/// over TCP alone.
#[derive(Debug)]
pub(crate) struct NameServer {
    asked: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    fn at(address: Ipv4Addr) -> Self {
        let datagrams = UdpSocket::bind((address, 53)).unwrap();
        let listener = TcpListener::bind((address, 53)).unwrap();
        datagrams
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicBool::new(false));
        let over_udp = {
            let (asked, done) = (Arc::clone(&asked), Arc::clone(&done));
            move || {
                let mut question = [0; 2048];
                while !done.load(Ordering::Relaxed) {
                    if let Ok((length, client)) = datagrams.recv_from(&mut question) {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let is_big = question[..length].windows(3).any(|part| part == b"big");
                        if let Some(answer) = answer(&question[..length], is_big) {
                            datagrams.send_to(&answer, client).unwrap();
                        }
                    }
                }
            }
        };
        let over_tcp = {
            let (asked, done) = (Arc::clone(&asked), Arc::clone(&done));
            move || {
                while !done.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            asked.fetch_add(1, Ordering::Relaxed);
                            // A client that goes away is none of ours.
                            converse(stream).unwrap_or_default();
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(20)),
                    }
                }
            }
        };
        let threads = vec![std::thread::spawn(over_udp), std::thread::spawn(over_tcp)];
        Self { asked, done, threads }
    }

    /// Returns how many questions have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let Some(answer) = answer(&question, false) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).unwrap();
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
    }
}

/// Answers a question of one name, RFC 1035 section 4.1. `truncated` answers that there is more than fits.
fn answer(question: &[u8], truncated: bool) -> Option<Vec<u8>> {
    let name = question.get(12..)?;
    let mut end = 0;
    while *name.get(end)? != 0 {
        end += 1 + usize::from(name[end]);
    }
    let kind = u16::from_be_bytes([*name.get(end + 1)?, *name.get(end + 2)?]);
    let is_ours = name[..end].to_ascii_lowercase().ends_with(b"\x04test");
    let has_address = is_ours && kind == 1 && !truncated;
    let mut answer = question[..2].to_vec();
    answer.extend(match (is_ours, truncated) {
        (false, _) => [0x81, 0x83],
        (true, true) => [0x83, 0x80],
        (true, false) => [0x81, 0x80],
    });
    answer.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(&name[..end + 5]);
    if has_address {
        // The name of the question, an address of the Internet, kept for no time.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 7]);
    }
    Some(answer)
}

/// Connects from this host and returns what is said; `None` if nobody answers.
pub(crate) fn fetch(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, SILENCE).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text).filter(|text| !text.is_empty())
}

/// Says whether anybody accepts a connection.
pub(crate) fn connects(address: &str) -> bool {
    TcpStream::connect_timeout(&address.parse().unwrap(), SILENCE).is_ok()
}

/// Sends a datagram from this host and returns the answer.
pub(crate) fn fetch_udp(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.set_read_timeout(Some(SILENCE)).ok()?;
    socket.connect(address).ok()?;
    socket.send(b"hello\n").ok()?;
    let mut text = [0; 100];
    let length = socket.recv(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Tries until something comes.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs a shell command on this host and returns what it prints.
pub(crate) fn host(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command of the engine that is written in one line; no word of it has a space.
#[track_caller]
pub(crate) fn say(coracle: &Sandbox, line: &str) -> Outcome {
    coracle.run(line.split_whitespace())
}

/// Runs one that must succeed, and returns what it prints without the end of the line.
#[track_caller]
pub(crate) fn told(coracle: &Sandbox, line: &str) -> String {
    say(coracle, line).ok().trim_end().to_owned()
}

/// Runs a shell command in a container, and returns what it prints if it succeeds.
pub(crate) fn inside(coracle: &Sandbox, container: &str, script: &str) -> Option<String> {
    let done = coracle.run(["exec", container, "sh", "-c", script]);
    (done.code == 0).then(|| done.stdout.trim_end().to_owned())
}

/// Starts a container that does nothing. `flags` come before the image.
#[track_caller]
pub(crate) fn sleeper(coracle: &Sandbox, name: &str, flags: &str) {
    say(
        coracle,
        &format!("run -d --name {name} {flags} busybox sleep 1000"),
    )
    .ok();
}

/// Starts a container that says its name to everyone who connects to its port 8080.
#[track_caller]
pub(crate) fn server(coracle: &Sandbox, name: &str, flags: &str) {
    let line = format!("run -d --name {name} {flags} busybox nc -ll -p 8080 -e echo {name}");
    say(coracle, &line).ok();
    eventually(&format!("the port of {name}"), || {
        // Port 8080 is 1F90; 0A is a socket that listens.
        inside(
            coracle,
            name,
            "grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6",
        )
    });
}

/// Answers every datagram that comes to a port inside of a container, as long as it lives.
#[derive(Debug)]
pub(crate) struct Echo {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Begins.
    pub(crate) fn new(coracle: &Sandbox, container: &str, port: u16) -> Self {
        let pid = told(coracle, &format!("inspect -f {{{{.State.Pid}}}} {container}"));
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let socket = sys::netlink::inside(namespace.as_fd(), || {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
        });
        let socket = socket.unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let thread = {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut text = [0; 100];
                while !done.load(Ordering::Relaxed) {
                    if let Ok((length, client)) = socket.recv_from(&mut text) {
                        socket.send_to(&text[..length], client).unwrap();
                    }
                }
            })
        };
        Self {
            done,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A container's address on a network.
#[track_caller]
pub(crate) fn address(coracle: &Sandbox, container: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    let address = coracle.run(["inspect", "-f", &format, container]).ok();
    address.trim().to_owned()
}

/// The addresses that a name has inside of a container.
pub(crate) fn addresses_of(coracle: &Sandbox, container: &str, name: &str) -> Vec<String> {
    let done = coracle.run(["exec", container, "nslookup", "-type=a", name]);
    let mut lines = done.stdout.lines().skip_while(|line| !line.starts_with("Name:"));
    let mut found = Vec::new();
    for line in lines.by_ref() {
        if let Some(address) = line.strip_prefix("Address: ") {
            found.push(address.trim().to_owned());
        }
    }
    found
}

/// Says whether one container reaches another's port 8080 at an address or name.
pub(crate) fn reaches(coracle: &Sandbox, container: &str, address: &str) -> bool {
    // What is typed is nothing: the other side speaks first.
    let script = format!("nc -w 2 {address} 8080 </dev/null | grep -q .");
    inside(coracle, container, &script).is_some()
}
