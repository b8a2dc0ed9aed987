//! Files in and out of containers over the API.

use crate::sandbox;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use testkit::Sandbox;
use testkit::api::{Answer, ApiServer};

fn container(api: &ApiServer, command: &[&str]) {
    let body = json!({"Image": "busybox", "Cmd": command});
    api.post("/containers/create?name=it", &body).is(201);
}

/// Packs a directory as the host's tar(1) does.
fn packed(directory: &std::path::Path, compression: &str) -> Vec<u8> {
    let output = Command::new("tar")
        .args([
            "-c",
            "--numeric-owner",
            "--owner=7",
            "--group=8",
            compression,
            "-f",
            "-",
            "-C",
        ])
        .arg(directory)
        .arg(".")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn put(api: &ApiServer, query: &str, tar: &[u8]) -> Answer {
    let headers = [("content-type", "application/x-tar")];
    api.request("PUT", &format!("/containers/it/archive?{query}"), &headers, tar)
}

fn stat(answer: &Answer) -> Value {
    let text = answer
        .header("x-docker-container-path-stat")
        .expect("it says what it is");
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

/// The members of a tar, as tar(1) lists them.
fn members(tar: &[u8]) -> Vec<String> {
    let mut child = Command::new("tar")
        .args(["-t", "-v", "--numeric-owner", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let tar = tar.to_vec();
    let writer = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &tar)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            line.split_whitespace()
                .filter(|word| !word.contains([':', '-']))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn files(coracle: &Sandbox) -> std::path::PathBuf {
    coracle.write("in/file", "one\n");
    coracle.write("in/below/other", "two\n");
    coracle.path().join("in")
}

#[test]
fn what_goes_in_comes_out() {
    let coracle = sandbox();
    let api = coracle.serve();
    let directory = files(&coracle);
    container(&api, &["sleep", "1000"]);
    for (number, compression) in ["--no-auto-compress", "-z", "-j", "-J", "--zstd"]
        .iter()
        .enumerate()
    {
        let tar = packed(&directory, compression);
        coracle.run(["start", "it"]).ok();
        coracle
            .run(["exec", "it", "mkdir", &format!("/tmp/{number}")])
            .ok();
        // In turn into one that runs, and one that does not.
        if number % 2 == 0 {
            coracle.run(["kill", "it"]).ok();
        }
        put(&api, &format!("path=/tmp/{number}&copyUIDGID=1"), &tar).is(200);
        let out = api.get(&format!("/containers/it/archive?path=/tmp/{number}/below/other"));
        out.is(200);
        assert_eq!(out.header("content-type"), Some("application/x-tar"));
        assert!(members(&out.body)[0].contains("7/8"), "{:?}", members(&out.body));
        let found = stat(&out);
        assert_eq!((&found["name"], &found["size"]), (&json!("other"), &json!(4)));
    }
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn paths_are_described() {
    let coracle = sandbox();
    let api = coracle.serve();
    container(
        &api,
        &[
            "sh",
            "-c",
            "ln -s /etc/passwd /tmp/link; mkdir /tmp/d; chmod 1777 /tmp/d",
        ],
    );
    coracle.run(["start", "it"]).ok();
    coracle.run(["wait", "it"]).ok();
    let head = |path: &str| api.request("HEAD", &format!("/containers/it/archive?path={path}"), &[], b"");
    let link = stat(&head("/tmp/link"));
    assert_eq!(link["linkTarget"], "/etc/passwd");
    assert_eq!(link["mode"].as_u64().unwrap() >> 27, 1);
    let directory = stat(&head("/tmp/d"));
    assert_eq!(
        (&directory["name"], &directory["mode"]),
        (&json!("d"), &json!(0x8010_01ff_u32))
    );
    let mtime = directory["mtime"].as_str().unwrap();
    assert!(mtime.starts_with("20") && mtime.ends_with('Z'), "{mtime}");
    assert_eq!(head("/nothing").status, 404);
    assert_eq!(head("").status, 400);
    let get = |path: &str| api.get(&format!("/containers/it/archive?path={path}"));
    assert_eq!(
        get("/nothing").is(404)["message"],
        "Could not find the file /nothing in container it"
    );
    assert_eq!(
        api.get("/containers/no/archive?path=/x").is(404)["message"],
        "No such container: no"
    );
    assert_eq!(members(&get("/tmp/d").body).len(), 1);
    let put_into_file = put(&api, "path=/etc/passwd", b"");
    assert_eq!(put_into_file.status, 400, "{}", put_into_file.text());
    assert_eq!(put(&api, "path=/nothing", b"").status, 404);
}

#[test]
fn directories_are_replaced_unless_that_is_refused() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle.write("in/thing", "a file\n");
    let tar = packed(&coracle.path().join("in"), "--no-auto-compress");
    container(&api, &["sh", "-c", "mkdir -p /tmp/thing/below"]);
    coracle.run(["start", "it"]).ok();
    coracle.run(["wait", "it"]).ok();
    let refused = put(&api, "path=/tmp&noOverwriteDirNonDir=true", &tar);
    assert!(refused.status >= 400, "{}", refused.status);
    let kind = || {
        stat(&api.get("/containers/it/archive?path=/tmp/thing"))["mode"]
            .as_u64()
            .unwrap()
            >> 31
    };
    assert_eq!(kind(), 1);
    put(&api, "path=/tmp", &tar).is(200);
    assert_eq!(kind(), 0);
}

#[test]
fn a_file_system_is_exported() {
    let coracle = sandbox();
    let api = coracle.serve();
    container(&api, &["sh", "-c", "echo x > /exported"]);
    coracle.run(["start", "it"]).ok();
    coracle.run(["wait", "it"]).ok();
    let tar = api.get("/containers/it/export");
    tar.is(200);
    let found = members(&tar.body);
    assert!(
        found.iter().any(|member| member.ends_with(" exported")),
        "{found:?}"
    );
    assert_eq!(
        api.get("/containers/no/export").is(404)["message"],
        "No such container: no"
    );
}
