//! The Engine API: exec, by raw HTTP.

use crate::sandbox;
use serde_json::{Value, json};
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::Sandbox;
use testkit::api::{ApiServer, demultiplex};

fn running(coracle: &Sandbox) {
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
}

fn create(api: &ApiServer, request: &Value) -> String {
    let made = api.post("/v1.44/containers/it/exec", request).is(201);
    made["Id"].as_str().unwrap().to_owned()
}

fn start(api: &ApiServer, id: &str, terminal: bool) -> BufReader<UnixStream> {
    let body = json!({"Detach": false, "Tty": terminal});
    api.hijack(&format!("/v1.44/exec/{id}/start"), &body).1
}

fn rest(mut stream: BufReader<UnixStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn inspect(api: &ApiServer, id: &str) -> Value {
    api.get(&format!("/v1.44/exec/{id}/json")).is(200)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn its_life_is_told_from_beginning_to_end() {
    let coracle = sandbox();
    let api = coracle.serve();
    running(&coracle);
    let id = create(
        &api,
        &json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Env": ["A=b"], "WorkingDir": "/tmp",
            "User": "1000", "Cmd": ["sh", "-c", "echo $A $PWD $(id -u); cat; echo err >&2; exit 7"],
        }),
    );
    let made = inspect(&api, &id);
    assert_eq!(made["Running"], false);
    assert_eq!(made["ExitCode"], Value::Null);
    assert_eq!(made["ProcessConfig"]["entrypoint"], "sh");
    assert_eq!(made["ProcessConfig"]["user"], "1000");
    assert_eq!(made["OpenStdin"], true);
    let of_container = || coracle.run(["inspect", "-f", "{{.ExecIDs}}", "it"]).ok();
    assert_eq!(of_container(), format!("[{id}]\n"));
    let mut stream = start(&api, &id, false);
    until("it runs", || inspect(&api, &id)["Running"] == true);
    assert!(inspect(&api, &id)["Pid"].as_i64().unwrap() > 0);
    stream.get_mut().write_all(b"typed\n").unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let seen = demultiplex(&rest(stream));
    assert_eq!(
        seen,
        [(1, "b /tmp 1000\ntyped\n".to_owned()), (2, "err\n".to_owned())]
    );
    // Known as soon as the stream has ended.
    let ended = inspect(&api, &id);
    assert_eq!(
        (&ended["Running"], &ended["ExitCode"]),
        (&json!(false), &json!(7))
    );
    assert_eq!(of_container(), "<nil>\n");
    let again = api.post(&format!("/exec/{id}/start"), &json!({})).is(409);
    assert_eq!(
        again["message"],
        format!("Error: Exec command {id} has already run")
    );
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
    for action in ["exec_create: sh", "exec_start: sh", "exec_die"] {
        assert_eq!(
            events.lines().filter(|line| line.starts_with(action)).count(),
            1,
            "{action}: {events}"
        );
    }
    // With the container it goes.
    coracle.run(["rm", "-f", "it"]).ok();
    let gone = api.get(&format!("/exec/{id}/json")).is(404);
    assert_eq!(gone["message"], format!("No such exec instance: {id}"));
}

#[test]
fn instances_outlive_the_server() {
    let coracle = sandbox();
    running(&coracle);
    let api = coracle.serve();
    let id = create(
        &api,
        &json!({"AttachStdout": true, "Cmd": ["sh", "-c", "sleep 1; exit 3"]}),
    );
    drop(api);
    let mut api = coracle.serve();
    api.post(&format!("/exec/{id}/start"), &json!({"Detach": true}))
        .is(200);
    assert_eq!(inspect(&api, &id)["Running"], true);
    api.process().kill().unwrap();
    drop(api);
    let api = coracle.serve();
    until("it has ended", || inspect(&api, &id)["Running"] == false);
    assert_eq!(inspect(&api, &id)["ExitCode"], 3);
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn a_terminal_is_resized_by_another_request() {
    let coracle = sandbox();
    let api = coracle.serve();
    running(&coracle);
    let script = "stty size; trap 'stty size; exit 4' WINCH; echo ready; while true; do sleep 0.05; done";
    let id = create(
        &api,
        &json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": true, "ConsoleSize": [20, 70],
            "Cmd": ["sh", "-c", script],
        }),
    );
    let mut stream = start(&api, &id, true);
    let mut seen = Vec::new();
    until("it is ready", || {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
        seen.ends_with(b"ready\r\n")
    });
    assert_eq!(String::from_utf8_lossy(&seen), "20 70\r\nready\r\n");
    api.post(&format!("/exec/{id}/resize?h=33&w=99"), &Value::Null)
        .is(200);
    assert_eq!(String::from_utf8_lossy(&rest(stream)), "33 99\r\n");
    assert_eq!(inspect(&api, &id)["ExitCode"], 4);
    api.post(&format!("/exec/{id}/resize?h=33&w=99"), &Value::Null)
        .is(409);
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn what_cannot_be_executed_is_said_with_dockers_codes() {
    let coracle = sandbox();
    let api = coracle.serve();
    running(&coracle);
    let id = create(
        &api,
        &json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["nonsense"]}),
    );
    let seen = demultiplex(&rest(start(&api, &id, false)));
    let [(1, text)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert!(
        text.starts_with("OCI runtime exec failed") && text.contains("executable file not found"),
        "{text}"
    );
    assert_eq!(inspect(&api, &id)["ExitCode"], 127);
    let id = create(&api, &json!({"Cmd": ["nonsense"]}));
    let detached = api
        .post(&format!("/exec/{id}/start"), &json!({"Detach": true}))
        .is(400);
    assert!(
        detached["message"]
            .as_str()
            .unwrap()
            .contains("executable file not found"),
        "{detached}"
    );
    assert_eq!(inspect(&api, &id)["ExitCode"], 127);

    let none = api.post("/containers/it/exec", &json!({"Cmd": []})).is(400);
    assert_eq!(none["message"], "No exec command specified");
    let keys = json!({"Cmd": ["true"], "DetachKeys": "nonsense"});
    api.post("/containers/it/exec", &keys).is(400);
    let nobody = api
        .post("/containers/nobody/exec", &json!({"Cmd": ["true"]}))
        .is(404);
    assert_eq!(nobody["message"], "No such container: nobody");
    for id in ["x", "../it", &"0".repeat(64)] {
        api.get(&format!("/exec/{}/json", id.replace('/', "%2F"))).is(404);
        api.post(&format!("/exec/{}/start", id.replace('/', "%2F")), &json!({}))
            .is(404);
    }
    let id = create(&api, &json!({"Cmd": ["true"], "User": null, "Env": null}));
    coracle.run(["pause", "it"]).ok();
    let paused = api.post(&format!("/exec/{id}/start"), &json!({})).is(409);
    assert!(
        paused["message"]
            .as_str()
            .unwrap()
            .contains("is paused, unpause the container before exec")
    );
    coracle.run(["unpause", "it"]).ok();
    coracle.run(["kill", "it"]).ok();
    coracle.run(["wait", "it"]).ok();
    let stopped = api.post(&format!("/exec/{id}/start"), &json!({})).is(409);
    assert!(
        stopped["message"].as_str().unwrap().ends_with("is not running"),
        "{stopped}"
    );
    let stopped = api.post("/containers/it/exec", &json!({"Cmd": ["true"]})).is(409);
    assert!(
        stopped["message"].as_str().unwrap().ends_with("is not running"),
        "{stopped}"
    );
    coracle.run(["rm", "it"]).ok();
}

#[test]
fn a_client_that_vanishes_leaves_the_process_running() {
    let coracle = sandbox();
    let api = coracle.serve();
    running(&coracle);
    let id = create(
        &api,
        &json!({"AttachStdout": true, "Cmd": ["sh", "-c", "echo begun; until [ -e /go ]; do sleep 0.05; done; exit 9"]}),
    );
    let mut stream = start(&api, &id, false);
    let mut first = [0; 14];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    coracle.run(["exec", "it", "touch", "/go"]).ok();
    until("it has ended", || inspect(&api, &id)["ExitCode"] == 9);
    coracle.run(["rm", "-f", "it"]).ok();
}
