//! What clients can do to the server, on operations made for it and with little patience.

use super::*;
use crate::server::Method;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

/// A server in this process. It ends when this is dropped.
struct House {
    directory: tempfile::TempDir,
    stop: Option<UnixStream>,
    serving: Option<std::thread::JoinHandle<Result<(), ServerError>>>,
}

fn whole(text: &str) -> Reply {
    Reply::Whole(Head::ok("text/plain"), text.as_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every operation")]
fn fine(_: &mut Exchange) -> Result<Reply, Failure> {
    Ok(whole("fine"))
}

fn panics(_: &mut Exchange) -> Result<Reply, Failure> {
    panic!("a mistake of ours")
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every operation")]
fn panics_halfway(_: &mut Exchange) -> Result<Reply, Failure> {
    Ok(Reply::Stream(
        Head::ok("text/plain"),
        Box::new(|outlet| {
            outlet.write_all(b"half")?;
            panic!("a mistake of ours")
        }),
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every operation")]
fn waits(_: &mut Exchange) -> Result<Reply, Failure> {
    Ok(Reply::Stream(
        Head::ok("text/plain"),
        Box::new(|outlet| {
            outlet.begin()?;
            let mut gone = [rustix::event::PollFd::from_borrowed_fd(
                outlet.descriptor(),
                rustix::event::PollFlags::empty(),
            )];
            rustix::event::poll(&mut gone, None).map_err(io::Error::from)?;
            Ok(())
        }),
    ))
}

fn document(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let document: serde_json::Value = exchange.document()?;
    Ok(whole(&document.to_string()))
}

fn body(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut all = Vec::new();
    exchange.take_body().read_to_end(&mut all)?;
    Ok(whole(&all.len().to_string()))
}

const fn route(method: Method, pattern: &'static str, operation: route::Operation) -> Route {
    Route {
        method,
        pattern,
        operation,
    }
}

const TABLES: &[&[Route]] = &[&[
    route(Method::Get, "/fine", fine),
    route(Method::Get, "/panics", panics),
    route(Method::Get, "/halfway", panics_halfway),
    route(Method::Get, "/waits", waits),
    route(Method::Post, "/document", document),
    route(Method::Post, "/body", body),
]];

fn house(limits: Limits) -> House {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    let locations = Locations {
        root: directory.path().join("root"),
        run_root: directory.path().join("run"),
        config: None,
    };
    let server = Server {
        tables: TABLES,
        ..Server::new(locations).with_limits(limits)
    };
    let (stop, stopping) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || server.run(vec![Listener::Unix(listener)], stopping));
    House {
        directory,
        stop: Some(stop),
        serving: Some(serving),
    }
}

impl House {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes and reads to the end; says whether the end was clean.
    fn say(&self, bytes: &[u8]) -> (String, bool) {
        let mut stream = self.connect();
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        let clean = stream.read_to_end(&mut answer).is_ok();
        (String::from_utf8_lossy(&answer).into_owned(), clean)
    }

    fn get(&self, path: &str) -> String {
        self.say(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .0
    }

    fn waiting(&self) -> UnixStream {
        let mut stream = self.connect();
        stream
            .write_all(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.take();
        let ended = self.serving.take().unwrap().join();
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    }
}

#[track_caller]
fn status(answer: &str, expected: u16) {
    let begin = format!("HTTP/1.1 {expected} ");
    assert!(answer.starts_with(&begin), "{expected}: {answer}");
}

/// What becomes true soon.
#[track_caller]
fn soon(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_panic_harms_nobody_else() {
    let house = house(Limits::default());
    let other = house.waiting();
    let answer = house.get("/panics");
    status(&answer, 500);
    assert!(answer.contains("mistake of the server's"), "{answer}");
    let halfway = house.get("/halfway");
    // What was written may not have left yet when the connection breaks.
    assert!(
        halfway.is_empty() || halfway.starts_with("HTTP/1.1 200 "),
        "{halfway}"
    );
    assert!(!halfway.ends_with("0\r\n\r\n"), "it looks whole: {halfway}");
    status(&house.get("/fine"), 200);
    drop(other);
}

#[test]
fn one_operation_too_many_is_told_so() {
    let house = house(Limits {
        operations: 3,
        ..Limits::default()
    });
    let mut waiting: Vec<UnixStream> = (0..3).map(|_| house.waiting()).collect();
    let answer = house.get("/fine");
    status(&answer, 503);
    assert!(answer.contains("there are 3 operations under way"), "{answer}");
    waiting.pop();
    soon(|| house.get("/fine").starts_with("HTTP/1.1 200"));
}

#[test]
fn one_connection_too_many_is_told_so() {
    let house = house(Limits {
        connections: 2,
        ..Limits::default()
    });
    let mut idle = vec![house.connect(), house.connect()];
    let mut answer = String::new();
    soon(|| {
        answer = house.get("/fine");
        answer.starts_with("HTTP/1.1 503")
    });
    assert!(answer.contains("there are 2 connections"), "{answer}");
    idle.pop();
    soon(|| house.get("/fine").starts_with("HTTP/1.1 200"));
}

#[test]
fn who_dawdles_is_cut_off() {
    let house = house(Limits {
        head: Duration::from_millis(300),
        document: Duration::from_millis(300),
        body: Duration::from_millis(600),
        ..Limits::default()
    });
    let (head, _) = house.say(b"GET /fine HTTP/1.1\r\nhost: x\r\nx-slow");
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let (document, _) = house.say(b"POST /document HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{\"a\"");
    status(&document, 408);
    assert!(document.contains("has sent nothing"), "{document}");
    let (body, _) = house.say(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc");
    status(&body, 500);
    assert!(body.contains("has sent nothing"), "{body}");
}

#[test]
fn bytes_that_are_no_request_get_an_error() {
    let house = house(Limits::default());
    let long = format!(
        "GET /{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "a".repeat(LONGEST_HEAD + 1)
    );
    let many = format!("GET /fine HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let deep = format!(
        "POST /document HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{deep}",
        deep.len()
    );
    let large = "POST /document HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9000000\r\n\r\n"
        .to_owned()
        + &" ".repeat(9_000_000);
    for (bytes, expected) in [
        ("\0\u{1}\u{2}\r\n\r\n", 400),
        ("GET /fine HTTP/9.9\r\n\r\n", 400),
        ("GET /fine HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (
            "GET /fine HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            "GET /fine HTTP/1.1\r\nhost: x\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n",
            403,
        ),
        (
            "POST /document HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{x}",
            400,
        ),
        (&deep, 400),
        (&large, 413),
        (&many, 431),
    ] {
        status(&house.say(bytes.as_bytes()).0, expected);
    }
    let (answer, _) = house.say(long.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    status(&house.get("/fine"), 200);
}

/// Requests that are nearly right, thousands of them: the server answers each or closes, and lives.
#[test]
fn mutated_requests_do_no_harm() {
    let house = house(Limits {
        head: Duration::from_millis(200),
        document: Duration::from_millis(200),
        body: Duration::from_millis(200),
        ..Limits::default()
    });
    let seeds: [&[u8]; 4] = [
        b"GET /v1.44/fine?filters=%7B%22label%22%3A%5B%22a%22%5D%7D HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"POST /document HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 13\r\n\r\n{\"a\":[1,\"b\"]}",
        b"POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HEAD /fine HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, close\r\nupgrade: tcp\r\n\r\n",
    ];
    // xorshift: the same requests each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    };
    for round in 0..3000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..=random(4) {
            let place = random(bytes.len());
            if bytes.is_empty() {
                break;
            }
            match random(5) {
                0 => bytes[place] = u8::try_from(random(256)).unwrap(),
                1 => drop(bytes.remove(place)),
                2 => bytes.insert(place, b"\r\n\0%/?{\":-9"[random(11)]),
                3 => bytes.truncate(place.max(1)),
                _ => bytes.extend_from_within(place..),
            }
        }
        let mut stream = house.connect();
        drop(stream.write_all(&bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        // It may be reset: it had more to say than was wanted.
        drop(stream.read_to_end(&mut answer));
        // What the mutated request still fits may fail for want of bytes; nothing else is our fault.
        let ours = answer.starts_with(b"HTTP/1.1 5")
            && !answer
                .windows(4)
                .any(|w| w == b"body" || w == b"sent" || w == b"read");
        assert!(
            !ours,
            "{}\n{}",
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&answer)
        );
    }
    status(&house.get("/fine"), 200);
}

#[test]
fn a_thousand_who_wait_keep_nobody_waiting() {
    sys::descriptors::raise_limit().unwrap();
    let house = house(Limits::default());
    let waiting: Vec<UnixStream> = (0..1000).map(|_| house.waiting()).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        status(&house.get("/fine"), 200);
        slowest = slowest.max(start.elapsed());
    }
    // 100 ms is the promise; a busy machine is given more.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    drop(waiting);
    soon(|| descriptors() + 2900 < before);
}
