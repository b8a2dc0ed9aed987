//! Builds through the Engine API: the classic builder's by plain HTTP, BuildKit's by Docker's own client.

use crate::sandbox;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::Sandbox;
use testkit::api::{Answer, ApiServer};
use testkit::sandbox::Outcome;

/// Packs a directory of the sandbox.
fn tar(coracle: &Sandbox, directory: &str, compression: &str) -> Vec<u8> {
    let packed = Command::new("tar")
        .arg("-C")
        .arg(coracle.path().join(directory))
        .args([&format!("-c{compression}"), "."])
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    packed.stdout
}

fn post(api: &ApiServer, query: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", "application/x-tar")];
    api.request("POST", &format!("/build?{query}"), &headers, body)
}

/// Joins what a classic build's lines say.
fn said(lines: &[Value]) -> String {
    lines.iter().filter_map(|line| line["stream"].as_str()).collect()
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", value.bytes().map(byte).collect::<String>()))
        .collect();
    pairs.join("&")
}

#[test]
fn a_classic_build_says_its_steps_and_its_image() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nARG WHO\nCOPY file /file\nRUN echo hello $WHO; cat /file\n",
    );
    coracle.write("context/file", "content\n");
    let api = coracle.serve();
    let query = encoded(&[
        ("t", "classic:1"),
        ("t", "classic:2"),
        ("buildargs", r#"{"WHO":"you","UNSET":null}"#),
        ("labels", r#"{"a":"b"}"#),
    ]);
    for compression in ["", "z", "J"] {
        let answer = post(&api, &query, &tar(&coracle, "context", compression));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lines = answer.lines();
        let text = said(&lines);
        assert!(text.contains("Step 1/3 : FROM "), "{text}");
        assert!(text.contains("Step 3/3 : RUN echo hello $WHO"), "{text}");
        if compression.is_empty() {
            assert!(text.contains("hello you\ncontent\n"), "{text}");
        } else {
            assert!(text.contains(" ---> Using cache\n"), "{text}");
        }
        let id = lines.iter().find_map(|line| line["aux"]["ID"].as_str()).unwrap();
        let short = &id["sha256:".len()..][..12];
        assert!(
            text.ends_with(&format!(
                "Successfully built {short}\nSuccessfully tagged classic:1\nSuccessfully tagged classic:2\n"
            )),
            "{text}"
        );
        let label = coracle.run(["inspect", "--format", "{{.Config.Labels.a}} {{.Id}}", "classic:2"]);
        assert_eq!(label.ok(), format!("b {id}\n"));
    }
    let quiet = post(&api, "q=1&t=classic:1", &tar(&coracle, "context", ""));
    let lines = quiet.lines();
    assert_eq!(lines.len(), 1, "{}", quiet.text());
    assert!(lines[0]["stream"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn what_goes_wrong_is_said_where_clients_look() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nRUN echo no; exit 7\n");
    coracle.write("empty/file", "");
    let api = coracle.serve();
    let failed = post(&api, "t=never", &tar(&coracle, "context", ""));
    assert_eq!(failed.status, 200);
    let last = failed.lines().pop().unwrap();
    assert_eq!(last["errorDetail"]["code"], 7, "{last}");
    let message = last["error"].as_str().unwrap();
    assert_eq!(
        message,
        "The command '/bin/sh -c echo no; exit 7' returned a non-zero code: 7"
    );
    assert_eq!(last["errorDetail"]["message"], message);
    let missing = post(&api, "", &tar(&coracle, "empty", "")).is(400);
    assert_eq!(
        missing["message"],
        "Cannot locate specified Dockerfile: Dockerfile"
    );
    for (query, part) in [
        ("version=3", "invalid version"),
        ("buildargs=%5B", "error reading build args"),
        ("t=A%20b", "invalid reference format"),
        ("squash=1", "experimental"),
        ("remote=client-session&version=2", "no session"),
        (
            "remote=client-session&version=2&session=nosuch",
            "no active session",
        ),
    ] {
        let answer = post(&api, query, b"");
        assert!(matches!(answer.status, 400..=499), "{query}: {}", answer.text());
        assert!(answer.text().contains(part), "{query}: {}", answer.text());
    }
    assert!(!coracle.run(["images"]).ok().contains("never"));
    api.post("/build/cancel?id=nosuch", &Value::Null).is(200);
    api.post("/build/cancel", &Value::Null).is(400);
}

#[test]
fn a_build_ends_with_its_client() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN echo started; sleep 6173\n",
    );
    let api = coracle.serve();
    let tar = tar(&coracle, "context", "");
    let mut stream = api.connect();
    testkit::api::send(&mut stream, "POST", "/build?t=never", &[], &tar);
    let mut reader = std::io::BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("started\\n") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap(), 0);
    }
    drop(reader);
    let sleeps = || {
        let out = Command::new("pgrep")
            .args(["-f", "^/bin/sh -c echo started; sleep 6173"])
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let begin = std::time::Instant::now();
    while !sleeps().is_empty() {
        assert!(
            begin.elapsed() < std::time::Duration::from_secs(20),
            "it still sleeps"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_build_cache_is_pruned() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nRUN touch /x\n");
    let api = coracle.serve();
    assert_eq!(post(&api, "t=one", &tar(&coracle, "context", "")).status, 200);
    let kept = api.post("/build/prune", &Value::Null).is(200);
    assert_eq!(kept["CachesDeleted"].as_array().unwrap().len(), 0, "{kept}");
    let gone = api.post("/build/prune?all=1", &Value::Null).is(200);
    assert_eq!(gone["CachesDeleted"].as_array().unwrap().len(), 1, "{gone}");
    assert!(gone["SpaceReclaimed"].is_u64());
    let none = api
        .post(
            "/build/prune?all=1&filters=%7B%22id%22%3A%5B%22nosuch%22%5D%7D",
            &Value::Null,
        )
        .is(200);
    assert!(
        none["CachesDeleted"].as_array().is_none_or(Vec::is_empty),
        "{none}"
    );
}

/// Docker's client, which builds by BuildKit without any plugin where it is old enough.
fn docker(coracle: &Sandbox, api: &ApiServer, arguments: &[&str], variables: &[(&str, &Path)]) -> Outcome {
    let output = Command::new("/usr/bin/docker")
        .args(arguments)
        .current_dir(coracle.path())
        .env("DOCKER_HOST", api.host())
        .env("DOCKER_CONFIG", coracle.path().join("docker-config"))
        .env("DOCKER_BUILDKIT", "1")
        .env("BUILDKIT_PROGRESS", "plain")
        .envs(variables.iter().copied())
        .output()
        .expect("the package docker.io is installed");
    testkit::sandbox::outcome(&output)
}

#[test]
fn dockers_client_builds_from_its_session() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\n\
         COPY . /context\n\
         RUN --mount=type=secret,id=password cp /run/secrets/password /seen && ls /context > /list\n\
         RUN --mount=type=cache,target=/cache echo x >> /cache/count && cp /cache/count /count\n",
    );
    coracle.write("context/.dockerignore", "*.log\nDockerfile\n");
    coracle.write("context/kept", "1\n");
    coracle.write("context/left.log", "2\n");
    coracle.write("context/deep/er", "3\n");
    coracle.write("password", "s3cret");
    let api = coracle.serve();
    let build = |more: &[&str]| {
        let mut arguments = vec![
            "build",
            "-t",
            "by-session",
            "--secret",
            "id=password,src=password",
        ];
        arguments.extend_from_slice(more);
        arguments.push("context");
        docker(&coracle, &api, &arguments, &[])
    };
    let first = build(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(
        first.stderr.contains("[internal] load build context"),
        "{first:?}"
    );
    assert!(!first.stderr.contains("s3cret"), "{first:?}");
    let cat = |path: &str| coracle.run(["run", "--rm", "by-session", "cat", path]).ok();
    assert_eq!(cat("/list"), "deep\nkept\n");
    assert_eq!((cat("/seen").as_str(), cat("/count").as_str()), ("s3cret", "x\n"));
    let again = build(&[]);
    assert_eq!(again.stderr.matches("CACHED").count(), 3, "{again:?}");
    // Nothing is sent that is here already.
    assert!(again.stderr.contains("transferring context: done"), "{again:?}");
    coracle.write("context/kept", "changed\n");
    let changed = build(&["-q"]);
    assert!(changed.stdout.starts_with("sha256:"), "{changed:?}");
    assert_eq!(cat("/context/kept"), "changed\n");
    let failed = docker(
        &coracle,
        &api,
        &["build", "--build-arg", "x=1", "-f", "nosuch", "context"],
        &[],
    );
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed.stderr.contains("nosuch: no such file or directory"),
        "{failed:?}"
    );
}

#[test]
fn results_go_back_to_the_client() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY file /a/file\nCOPY file /b\n",
    );
    coracle.write("context/file", "content\n");
    let api = coracle.serve();
    let build = |output: &str| docker(&coracle, &api, &["build", "-o", output, "context"], &[]);
    let files = build("type=local,dest=out");
    assert_eq!(files.code, 0, "{files:?}");
    let read = |path: &str| std::fs::read_to_string(coracle.path().join(path)).unwrap();
    assert_eq!(
        (read("out/a/file").as_str(), read("out/b").as_str()),
        ("content\n", "content\n")
    );
    let packed = build("type=tar,dest=out.tar");
    assert_eq!(packed.code, 0, "{packed:?}");
    let listed = Command::new("tar")
        .arg("-tf")
        .arg(coracle.path().join("out.tar"))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed
            .lines()
            .any(|line| line.trim_start_matches("./") == "a/file"),
        "{listed}"
    );
    assert!(!coracle.run(["images", "-a"]).ok().contains("none"));
}

#[test]
fn the_clients_agent_signs_for_a_build() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo $SSH_AUTH_SOCK > /socket\n",
    );
    let agent = Agent::start(&coracle.path().join("agent"));
    let api = coracle.serve();
    let build = |more: &[&str]| {
        let mut arguments = vec!["build", "-t", "signed", "--no-cache"];
        arguments.extend_from_slice(more);
        arguments.push("context");
        docker(&coracle, &api, &arguments, &[("SSH_AUTH_SOCK", &agent.path)])
    };
    let built = build(&["--ssh", "default"]);
    assert_eq!(built.code, 0, "{built:?}");
    let socket = coracle.run(["run", "--rm", "signed", "cat", "/socket"]).ok();
    assert_eq!(socket, "/run/buildkit/ssh_agent.0\n");
    // The builder has looked whether the agent answers: all the way to the client's.
    assert!(agent.calls.load(Ordering::SeqCst) > 0);
    let without = build(&[]);
    assert_eq!(without.code, 1, "{without:?}");
}

/// An agent that counts who calls.
struct Agent {
    path: PathBuf,
    calls: Arc<AtomicUsize>,
}

impl Agent {
    fn start(path: &Path) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        std::thread::spawn(move || {
            while listener.accept().is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            path: path.to_owned(),
            calls,
        }
    }
}
