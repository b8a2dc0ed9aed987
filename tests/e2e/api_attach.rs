//! The Engine API: attach, by raw HTTP.

use crate::sandbox;
use serde_json::Value;
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::api::{ApiServer, demultiplex, read, send};
use testkit::{Residue, Sandbox};

const ALL: &str = "stream=1&stdin=1&stdout=1&stderr=1";

fn attach(api: &ApiServer, name: &str, query: &str) -> BufReader<UnixStream> {
    let (answer, stream) = api.hijack(&format!("/v1.44/containers/{name}/attach?{query}"), &Value::Null);
    assert_eq!(answer.header("upgrade"), Some("tcp"));
    stream
}

fn rest(mut stream: BufReader<UnixStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn create(coracle: &Sandbox, arguments: &[&str]) {
    coracle
        .run(["create", "--name", "it"].iter().chain(arguments))
        .ok();
}

fn parts(pairs: &[(u8, &str)]) -> Vec<(u8, String)> {
    pairs
        .iter()
        .map(|(stream, text)| (*stream, (*text).to_owned()))
        .collect()
}

/// Waits until a condition holds, for many seconds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_attaches_before_the_start_sees_the_first_byte_and_every_start() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&coracle, &["busybox", "sh", "-c", "echo out; echo err >&2"]);
    for _ in 0..3 {
        // As many as come, and one that left before.
        let streams = [attach(&api, "it", ALL), attach(&api, "it", "stream=1&stderr=1")];
        drop(attach(&api, "it", ALL));
        coracle.run(["start", "it"]).ok();
        let [all, errors] = streams.map(rest);
        assert_eq!(demultiplex(&all), parts(&[(1, "out\n"), (2, "err\n")]));
        assert_eq!(demultiplex(&errors), parts(&[(2, "err\n")]));
        coracle.run(["wait", "it"]).ok();
    }
    let run = coracle.path().join("run");
    until("nothing is left in the run directory", || {
        !std::fs::read_dir(&run)
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("attaching"))
    });
}

#[test]
fn the_content_type_is_told_by_version_and_terminal() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle.run(["create", "--name", "plain", "busybox"]).ok();
    coracle
        .run(["create", "-t", "--name", "terminal", "busybox"])
        .ok();
    for (version, name, expected) in [
        ("1.41", "plain", "application/vnd.docker.raw-stream"),
        ("1.42", "plain", "application/vnd.docker.multiplexed-stream"),
        ("1.42", "terminal", "application/vnd.docker.raw-stream"),
    ] {
        let (answer, _) = api.hijack(
            &format!("/v{version}/containers/{name}/attach?stream=1"),
            &Value::Null,
        );
        assert_eq!(answer.header("content-type"), Some(expected), "{version} {name}");
    }
    coracle.run(["rm", "plain", "terminal"]).ok();
}

#[test]
fn the_end_of_input_reaches_the_process_and_output_follows() {
    let coracle = sandbox();
    let api = coracle.serve();
    // `-i -a stdin` is what makes input end with its client.
    create(
        &coracle,
        &[
            "-i",
            "-a",
            "stdin",
            "-a",
            "stdout",
            "busybox",
            "sh",
            "-c",
            "cat; echo end",
        ],
    );
    let mut stream = attach(&api, "it", ALL);
    // What is typed before the start is not lost, either.
    stream.get_mut().write_all(b"early\n").unwrap();
    coracle.run(["start", "it"]).ok();
    let many = vec![b'x'; 300_000];
    let mut writer = stream.get_ref().try_clone().unwrap();
    let typing = std::thread::spawn(move || {
        writer.write_all(&many).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let bytes = rest(stream);
    typing.join().unwrap();
    let seen = demultiplex(&bytes);
    let [(1, text)] = &seen[..] else {
        panic!("{} parts", seen.len());
    };
    assert_eq!(text.len(), "early\n".len() + 300_000 + "end\n".len());
    assert!(text.starts_with("early\nxxx") && text.ends_with("xend\n"));
}

#[test]
fn a_client_that_vanishes_or_detaches_leaves_the_container_running() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(
        &coracle,
        &[
            "-it",
            "busybox",
            "sh",
            "-c",
            "while read line; do echo got $line; done",
        ],
    );
    let mut first = attach(&api, "it", ALL);
    coracle.run(["start", "it"]).ok();
    api.post("/containers/it/resize?h=40&w=120", &Value::Null).is(200);
    first.get_mut().write_all(b"one\n").unwrap();
    let mut seen = Vec::new();
    until("the terminal answers", || {
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
        seen.ends_with(b"got one\r\n")
    });
    drop(first);
    let mut second = attach(&api, "it", &format!("{ALL}&detachKeys=ctrl-x,y"));
    second.get_mut().write_all(b"\x18y").unwrap();
    rest(second);
    let mut third = attach(&api, "it", ALL);
    third.get_mut().write_all(b"three\n").unwrap();
    let mut seen = Vec::new();
    until("the terminal answers again", || {
        let mut byte = [0];
        third.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
        seen.ends_with(b"got three\r\n")
    });
    let events = coracle
        .run([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--format",
            "{{.Action}}",
        ])
        .ok();
    for (action, count) in [("attach", 3), ("detach", 1), ("resize", 1)] {
        assert_eq!(
            events.lines().filter(|line| *line == action).count(),
            count,
            "{action}: {events}"
        );
    }
    coracle.run(["rm", "-f", "it"]).ok();
    assert_eq!(rest(third), b"");
}

#[test]
fn the_log_comes_before_the_stream_without_a_gap_or_a_repetition() {
    let coracle = sandbox();
    let api = coracle.serve();
    let script =
        "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); [ $((i % 300)) = 0 ] && sleep 0.1; done; true";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    until("it writes", || {
        coracle.run(["logs", "it"]).ok().lines().count() > 300
    });
    let seen = demultiplex(&rest(attach(&api, "it", "logs=1&stream=1&stdout=1")));
    let expected = (0..3000).fold(String::new(), |text, number| text + &format!("{number}\n"));
    assert_eq!(seen, [(1, expected.clone())]);
    // Of one that has ended there is only the log.
    let seen = demultiplex(&rest(attach(&api, "it", "logs=1&stdout=1")));
    assert_eq!(seen, [(1, expected)]);
}

#[test]
fn a_plain_request_is_answered_with_output_alone() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&coracle, &["busybox", "echo", "hello"]);
    let mut stream = api.connect();
    send(
        &mut stream,
        "POST",
        "/v1.44/containers/it/attach?stream=1&stdout=1",
        &[("connection", "close")],
        b"",
    );
    let mut reader = BufReader::new(stream);
    let head = read(&mut reader, false);
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-type"),
        Some("application/vnd.docker.multiplexed-stream")
    );
    coracle.run(["start", "it"]).ok();
    let body = String::from_utf8_lossy(&rest(reader)).into_owned();
    assert!(body.contains("hello\n"), "{body:?}");
}

#[test]
fn what_cannot_be_attached_to_is_said_before_the_connection_is_taken_over() {
    let coracle = sandbox();
    let api = coracle.serve();
    let upgrade = [("upgrade", "tcp"), ("connection", "Upgrade")];
    let post = |path: &str| api.request("POST", path, &upgrade, b"");
    let missing = post("/containers/nobody/attach?stream=1").is(404);
    assert_eq!(missing["message"], "No such container: nobody");
    create(&coracle, &["busybox", "sleep", "1000"]);
    let keys = post("/containers/it/attach?stream=1&detachKeys=nonsense").is(400);
    assert_eq!(keys["message"], "Invalid detach keys (nonsense) provided");
    let resize = api.post("/containers/it/resize?h=1&w=1", &Value::Null).is(409);
    assert!(
        resize["message"].as_str().unwrap().ends_with("is not running"),
        "{resize}"
    );
    coracle.run(["start", "it"]).ok();
    api.post("/containers/it/resize?h=1&w=x", &Value::Null).is(400);
    coracle.run(["pause", "it"]).ok();
    let paused = post("/containers/it/attach?stream=1").is(409);
    assert!(
        paused["message"]
            .as_str()
            .unwrap()
            .contains("unpause the container before attach"),
        "{paused}"
    );
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn a_removed_container_and_a_failed_start_end_the_wait() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&coracle, &["busybox", "/no/such/program"]);
    let waiting = attach(&api, "it", ALL);
    coracle.run(["start", "it"]).fails(127);
    assert_eq!(rest(waiting), b"");
    let waiting = attach(&api, "it", ALL);
    coracle.run(["rm", "it"]).ok();
    assert_eq!(rest(waiting), b"");
}

#[test]
fn a_killed_server_leaves_nothing_that_lasts_and_disturbs_no_container() {
    let coracle = sandbox();
    create(&coracle, &["busybox", "sh", "-c", "echo begun; sleep 1000"]);
    let residue = Residue::of(&coracle.path().join("root"), &coracle.path().join("run"));
    // What was loaded is still being synced.
    let mut before = residue.now();
    while before.iter().any(|fact| fact.contains("coracle-sync")) {
        std::thread::sleep(Duration::from_millis(10));
        before = residue.now();
    }
    let mut api = coracle.serve();
    let streams: Vec<_> = (0..5).map(|_| attach(&api, "it", ALL)).collect();
    api.process().kill().unwrap();
    api.process().wait().unwrap();
    drop(streams);
    // Any command heals.
    coracle.run(["ps"]).ok();
    residue.assert_is(&before, Duration::from_secs(10), "after the server was killed");
    coracle.run(["start", "it"]).ok();
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn two_hundred_streams_and_one_that_does_not_read() {
    let coracle = sandbox();
    let mut api = coracle.serve();
    let script = "read line; yes 0123456789012345678901234567890123456789 | head -c 4000000; echo; echo end";
    coracle
        .run(["run", "-di", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let slow: Vec<_> = (0..20).map(|_| attach(&api, "it", "stream=1&stdout=1")).collect();
    let streams: Vec<_> = (0..180)
        .map(|_| attach(&api, "it", "stream=1&stdout=1"))
        .collect();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            std::thread::spawn(move || {
                let mut last = vec![0; 1 << 16];
                let mut total = 0;
                loop {
                    match stream.read(&mut last).unwrap() {
                        0 => return total,
                        count => total += count,
                    }
                }
            })
        })
        .collect();
    let mut keyboard = attach(&api, "it", ALL);
    keyboard.get_mut().write_all(b"go\n").unwrap();
    drop(keyboard);
    assert_eq!(coracle.run(["wait", "it"]).ok(), "0\n");
    let pid = api.process().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap()
        .trim();
    let kilobytes: usize = resident.trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kilobytes < 200_000, "{kilobytes} kB");
    drop(slow);
    for reader in readers {
        // One that the host gave too little time may have been dropped as too slow; all have ended.
        reader.join().unwrap();
    }
    until("all threads have ended", || {
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count() < 20
    });
    assert_eq!(api.get("/_ping").status, 200);
}

#[test]
fn a_websocket_carries_the_streams() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(
        &coracle,
        &[
            "-i",
            "busybox",
            "sh",
            "-c",
            "read line; echo got $line; read line",
        ],
    );
    let mut stream = api.connect();
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    send(
        &mut stream,
        "GET",
        &format!("/v1.44/containers/it/attach/ws?{ALL}"),
        &headers,
        b"",
    );
    let mut reader = BufReader::new(stream);
    let head = read(&mut reader, false);
    assert_eq!(head.status, 101);
    // The example of RFC 6455.
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    coracle.run(["start", "it"]).ok();
    // A binary message from a client is masked; a mask of zeroes is one.
    reader.get_mut().write_all(b"\x82\x83\0\0\0\0hi\n").unwrap();
    let mut frame = [0; 9];
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x82\x07got hi\n");
    coracle.run(["kill", "it"]).ok();
    let mut frame = [0; 2];
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x88\0", "it is closed properly");
}
