//! The Engine API: wait, by raw HTTP.

use crate::sandbox;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::api::{ApiServer, read, send};

/// Begins to wait; returns behind the response's head.
fn begin(api: &ApiServer, name: &str, condition: &str) -> BufReader<UnixStream> {
    let mut stream = api.connect();
    let path = format!("/v1.44/containers/{name}/wait?condition={condition}");
    send(&mut stream, "POST", &path, &[("connection", "close")], b"");
    let mut reader = BufReader::new(stream);
    let head = read(&mut reader, false);
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("application/json"));
    reader
}

/// The document in the one chunk of the body.
fn end(mut reader: BufReader<UnixStream>) -> Value {
    let mut length = String::new();
    reader.read_line(&mut length).unwrap();
    let mut document = String::new();
    reader.read_line(&mut document).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    serde_json::from_str(&document)
        .unwrap_or_else(|error| panic!("{error}: {length:?} {document:?} {rest:?}"))
}

#[test]
fn the_head_comes_at_once_and_no_exit_is_missed() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle
        .run(["create", "--name", "it", "busybox", "sh", "-c", "exit 5"])
        .ok();
    // It does not run.
    assert_eq!(end(begin(&api, "it", "not-running")), json!({"StatusCode": 0}));
    for _ in 0..5 {
        let (first, second) = (begin(&api, "it", "next-exit"), begin(&api, "it", "next-exit"));
        coracle.run(["start", "it"]).ok();
        assert_eq!(end(first), json!({"StatusCode": 5}));
        assert_eq!(end(second), json!({"StatusCode": 5}));
        assert_eq!(end(begin(&api, "it", "not-running")), json!({"StatusCode": 5}));
    }
    let bad = api
        .post("/containers/it/wait?condition=tuesday", &Value::Null)
        .is(400);
    assert_eq!(bad["message"], "invalid condition: \"tuesday\"");
    api.post("/containers/nobody/wait", &Value::Null).is(404);
}

#[test]
fn a_run_is_waited_for_from_its_midst_and_removal_to_its_end() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    let waiting = ["not-running", "next-exit", "removed"].map(|condition| begin(&api, "it", condition));
    coracle.run(["kill", "it"]).ok();
    let [first, second, removed] = waiting;
    assert_eq!(end(first), json!({"StatusCode": 137}));
    assert_eq!(end(second), json!({"StatusCode": 137}));
    removed.get_ref().set_nonblocking(true).unwrap();
    let mut removed = removed;
    assert!(removed.fill_buf().is_err(), "it has not been removed yet");
    removed.get_ref().set_nonblocking(false).unwrap();
    coracle.run(["rm", "it"]).ok();
    assert_eq!(end(removed), json!({"StatusCode": 137}));

    coracle
        .run([
            "create", "--rm", "--name", "brief", "busybox", "sh", "-c", "exit 3",
        ])
        .ok();
    let (removed, next) = (begin(&api, "brief", "removed"), begin(&api, "brief", "next-exit"));
    coracle.run(["start", "brief"]).ok();
    assert_eq!(end(removed), json!({"StatusCode": 3}));
    assert_eq!(end(next), json!({"StatusCode": 3}));
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");

    coracle.run(["create", "--name", "idle", "busybox"]).ok();
    let waiting = ["next-exit", "removed"].map(|condition| begin(&api, "idle", condition));
    coracle.run(["rm", "idle"]).ok();
    for waiting in waiting {
        assert_eq!(end(waiting), json!({"StatusCode": 0}));
    }
}

#[test]
fn a_start_that_fails_and_a_restart_by_policy_are_ends_too() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle
        .run(["create", "--name", "bad", "busybox", "/no/such/program"])
        .ok();
    let waiting = begin(&api, "bad", "next-exit");
    coracle.run(["start", "bad"]).fails(127);
    let ended = end(waiting);
    assert_eq!(ended["StatusCode"], 127);
    assert!(
        ended["Error"]["Message"]
            .as_str()
            .is_some_and(|text| text.contains("/no/such/program")),
        "{ended}"
    );

    let script = "until [ -e /go ]; do sleep 0.02; done; rm /go; exit 4";
    coracle
        .run([
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            "again",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    for condition in ["next-exit", "not-running"] {
        let waiting = begin(&api, "again", condition);
        coracle.run(["exec", "again", "touch", "/go"]).ok();
        assert_eq!(end(waiting), json!({"StatusCode": 4}), "{condition}");
        let start = Instant::now();
        while coracle
            .run(["inspect", "-f", "{{.State.Restarting}}", "again"])
            .ok()
            == "true\n"
        {
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }
    coracle.run(["rm", "-f", "again"]).ok();
}

#[test]
fn a_monitor_that_is_killed_ends_the_wait() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    let waiting = ["not-running", "next-exit"].map(|condition| begin(&api, "it", condition));
    let pid = coracle.run(["inspect", "-f", "{{.State.Pid}}", "it"]).ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    let parent = rustix::process::Pid::from_raw(parent.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
    for waiting in waiting {
        assert_eq!(end(waiting)["StatusCode"], 137);
    }
    coracle.run(["rm", "it"]).ok();
}

#[test]
fn waiting_ends_with_its_client() {
    let coracle = sandbox();
    let mut api = coracle.serve();
    coracle.run(["create", "--name", "it", "busybox"]).ok();
    coracle
        .run(["run", "-d", "--name", "runs", "busybox", "sleep", "1000"])
        .ok();
    let mut waiting = Vec::new();
    for condition in ["not-running", "next-exit", "removed"] {
        waiting.extend((0..50).map(|_| begin(&api, "runs", condition)));
    }
    waiting.extend((0..50).map(|_| begin(&api, "it", "next-exit")));
    drop(waiting);
    let pid = api.process().id();
    let start = Instant::now();
    while std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count() > 10 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "they wait on without a client"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = std::fs::read_dir(coracle.path().join("run")).unwrap();
    let left: Vec<_> = run
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("attaching"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    coracle.run(["rm", "-f", "runs"]).ok();
}
