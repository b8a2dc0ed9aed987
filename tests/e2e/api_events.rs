//! Events over the Engine API.

use crate::sandbox;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::api::{ApiServer, send};

/// Follows events; returns behind the head.
fn follow(api: &ApiServer, path: &str, headers: &[(&str, &str)]) -> BufReader<UnixStream> {
    let mut stream = api.connect();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    send(&mut stream, "GET", path, headers, b"");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

/// The next event of a chunked stream.
fn next(reader: &mut BufReader<UnixStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        let text = line.trim_start_matches('\u{1e}');
        if text.starts_with('{') {
            return serde_json::from_str(text).unwrap();
        }
    }
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    // Before anything has happened the head is there.
    let mut new = follow(&api, "/events", &[]);
    let mut old = follow(
        &api,
        "/v1.51/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D",
        &[],
    );
    let mut sequence = follow(&api, "/events", &[("accept", "application/json-seq")]);
    api.post("/volumes/create", &json!({"Name": "vol"})).is(201);
    sandbox.run(["create", "--name", "web", "busybox"]).ok();
    let volume = next(&mut new);
    assert_eq!(
        (&volume["Type"], &volume["Action"], &volume["Actor"]["ID"]),
        (&json!("volume"), &json!("create"), &json!("vol"))
    );
    let container = next(&mut new);
    assert_eq!(
        (&container["Action"], &container["Actor"]["Attributes"]["name"]),
        (&json!("create"), &json!("web"))
    );
    assert!(container.get("status").is_none() && container.get("id").is_none());
    assert_eq!(
        container["time"].as_i64(),
        container["timeNano"].as_i64().map(|nano| nano / 1_000_000_000)
    );
    let old = next(&mut old);
    assert_eq!(
        (&old["status"], &old["from"], &old["id"]),
        (&json!("create"), &json!("busybox"), &old["Actor"]["ID"])
    );
    assert_eq!(next(&mut sequence), volume);
}

#[test]
fn a_time_that_is_over_is_replayed() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    for name in ["one", "two", "three"] {
        api.post("/volumes/create", &json!({"Name": name})).is(201);
    }
    let filter = "filters=%7B%22type%22%3A%5B%22volume%22%5D%7D";
    let all = api.get(&format!("/events?since=0&until=0s&{filter}"));
    assert_eq!(all.header("content-type"), Some("application/json"));
    let all = all.lines();
    let of = |events: &[Value]| -> Vec<String> {
        events
            .iter()
            .map(|event| event["Actor"]["ID"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of(&all), ["one", "two", "three"]);
    // To the nanosecond: clients send back what they have seen.
    let nano = all[1]["timeNano"].as_i64().unwrap();
    let moment = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let some = api.get(&format!("/events?since={moment}&until={moment}&{filter}"));
    assert_eq!(of(&some.lines()), ["two"]);
    let lines = api.request(
        "GET",
        &format!("/events?since=0&until=0s&{filter}"),
        &[("accept", "*/*")],
        b"",
    );
    assert_eq!(lines.header("content-type"), Some("application/jsonl"));
    let sooner = api.get("/events?since=20&until=10").is(400);
    assert!(
        sooner["message"].as_str().unwrap().contains("cannot be after"),
        "{sooner}"
    );
    api.get("/events?since=yesterday").is(400);
    api.get("/events?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
        .is(400);
}

#[test]
fn a_follower_whose_client_is_gone_ends() {
    let sandbox = sandbox();
    let mut api = sandbox.serve();
    let pid = api.process().id();
    let descriptors = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    drop(follow(&api, "/events", &[]));
    let settled = |most: usize| {
        let start = Instant::now();
        while descriptors() > most {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{} descriptors are open",
                descriptors()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = descriptors();
    let followers: Vec<_> = (0..12).map(|_| follow(&api, "/events", &[])).collect();
    assert!(descriptors() >= before + 12);
    drop(followers);
    // A few engines are kept open for the next.
    settled(before + 9 * 8);
    let many: Vec<_> = (0..24).map(|_| follow(&api, "/events", &[])).collect();
    drop(many);
    settled(before + 9 * 8);
    api.get("/_ping").is(200);
}
