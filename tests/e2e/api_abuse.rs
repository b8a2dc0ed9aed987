//! Clients that misbehave: the server goes on, and nothing stays behind. The limits themselves are tried in
//! `crates/api/src/server/serve/tests.rs`, with little patience.

use crate::sandbox;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn nothing_is_left_of_clients_that_go() {
    let sandbox = sandbox();
    let mut api = sandbox.serve();
    let pid = api.process().id();
    api.get("/_ping").is(200);
    let before = descriptors(pid);
    let garbage: &[&[u8]] = &[
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /_ping HTTP/1.1\r\nhost: x\r\n",
        b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"Image\":",
        b"POST /images/load HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nnot a tar archive",
        b"POST /session HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ];
    for round in 0..100 {
        let mut stream = api.connect();
        drop(stream.write_all(garbage[round % garbage.len()]));
        if round % 2 == 0 {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }
    api.get("/_ping").is(200);
    let start = std::time::Instant::now();
    // The pool keeps some engines open, with some descriptors each, and tokio its threads for two seconds.
    while descriptors(pid) > before + 80 || threads(pid) > 16 {
        assert!(
            start.elapsed().as_secs() < 30,
            "{} descriptors, {} threads",
            descriptors(pid),
            threads(pid)
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    sandbox.run(["ps", "-aq"]).ok();
}

#[test]
fn web_pages_are_refused_whatever_they_ask() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    for path in ["/_ping", "/v1.44/containers/json", "/nothing"] {
        let headers = [("origin", "http://evil.example")];
        let refused = api.request("GET", path, &headers, b"").is(403);
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(message.contains("web pages have no say"), "{message}");
    }
}

#[test]
fn a_killed_server_harms_no_container() {
    let sandbox = sandbox();
    let mut api = sandbox.serve();
    let id = sandbox.run(["run", "-d", "busybox", "sleep", "1000"]).ok();
    let mut following: UnixStream = api.connect();
    following
        .write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    api.process().kill().unwrap();
    api.process().wait().unwrap();
    let mut rest = Vec::new();
    drop(following.read_to_end(&mut rest));
    let running = sandbox.run(["ps", "-q", "--no-trunc"]).ok();
    assert_eq!(running.trim(), id.trim());
    let api = sandbox.serve();
    api.get("/_ping").is(200);
    sandbox.run(["rm", "-f", id.trim()]).ok();
}
