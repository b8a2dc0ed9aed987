//! The Engine API: logs, by raw HTTP.

use crate::sandbox;
use std::io::{BufReader, Read};
use std::time::{Duration, Instant};
use testkit::api::{demultiplex, read, send};

fn pair(stream: u8, text: &str) -> (u8, String) {
    (stream, text.to_owned())
}

#[test]
fn streams_tail_and_times_are_chosen() {
    let coracle = sandbox();
    let api = coracle.serve();
    let script = "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three";
    let options = [
        "run",
        "--name",
        "it",
        "--log-opt",
        "labels=a",
        "-l",
        "a=b c",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    coracle.run(options).ok();
    let get = |query: &str| {
        let answer = api.get(&format!("/v1.44/containers/it/logs?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/vnd.docker.multiplexed-stream")
        );
        demultiplex(&answer.body)
    };
    let all = [pair(1, "one\n"), pair(2, "two\n"), pair(1, "three\n")];
    assert_eq!(get("stdout=1&stderr=1"), all);
    assert_eq!(get("stdout=1&stderr=1&tail=all&follow=1"), all);
    assert_eq!(get("stdout=1"), [pair(1, "one\nthree\n")]);
    assert_eq!(get("stderr=true&stdout=false"), [pair(2, "two\n")]);
    assert_eq!(get("stdout=1&stderr=1&tail=2"), all[1..]);
    assert_eq!(get("stdout=1&tail=1&details=1"), [pair(1, "a=b+c three\n")]);
    let timed = get("stdout=1&timestamps=1");
    let [(1, text)] = &timed[..] else {
        panic!("{timed:?}")
    };
    let times: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(
        times.iter().all(|time| time.len() == 30 && time.ends_with('Z')),
        "{text}"
    );
    // From the moment of the last on, as clients write it.
    let moment: jiff::Timestamp = times[1].parse().unwrap();
    let since = format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond());
    assert_eq!(get(&format!("stdout=1&stderr=1&since={since}")), all[2..]);
    let before = format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond() - 1);
    if moment.subsec_nanosecond() > 0 {
        assert_eq!(get(&format!("stdout=1&stderr=1&until={before}")), all[..2]);
    }
    assert_eq!(get("stdout=1&stderr=1&since=99999999999"), []);

    let none = api.get("/containers/it/logs").is(400);
    assert_eq!(
        none["message"],
        "Bad parameters: you must choose at least one stream"
    );
    api.get("/containers/it/logs?stdout=1&since=yesterday").is(400);
    api.get("/containers/nobody/logs?stdout=1").is(404);
    coracle
        .run(["create", "--name", "mute", "--log-driver", "none", "busybox"])
        .ok();
    let unreadable = api.get("/containers/mute/logs?stdout=1").is(501);
    assert_eq!(
        unreadable["message"],
        "configured logging driver does not support reading"
    );
}

#[test]
fn a_terminals_log_is_raw() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle
        .run(["run", "-t", "--name", "it", "busybox", "echo", "hello"])
        .ok();
    let answer = api.get("/v1.44/containers/it/logs?stdout=1");
    assert_eq!(answer.text(), "hello\r\n");
    assert_eq!(
        answer.header("content-type"),
        Some("application/vnd.docker.raw-stream")
    );
}

#[test]
fn a_follower_hears_at_once_and_ends_with_its_container_or_its_client() {
    let coracle = sandbox();
    let mut api = coracle.serve();
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let follow = || {
        let mut stream = api.connect();
        let path = "/v1.44/containers/it/logs?stdout=1&follow=1";
        send(&mut stream, "GET", path, &[("connection", "close")], b"");
        let mut reader = BufReader::new(stream);
        let head = read(&mut reader, false);
        assert_eq!(head.status, 200);
        // A chunk's length, and the first line.
        let mut first = [0; 20];
        reader.read_exact(&mut first[..19]).unwrap();
        assert!(String::from_utf8_lossy(&first).contains("first\n"), "{first:?}");
        reader
    };
    let abandoned: Vec<_> = (0..20).map(|_| follow()).collect();
    let mut stays = follow();
    drop(abandoned);
    let pid = api.process().id();
    let start = Instant::now();
    // Its own threads and that of the one who stays.
    while std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count() > 10 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "followers without a client go on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    coracle.run(["exec", "it", "touch", "/go"]).ok();
    let mut rest = String::new();
    stays.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("last\n") && rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
