//! The real docker client on our socket prints what `coracle` prints. `scripts/test-api` runs every test of what Docker
//! does too in this way; here is what a first hour with it is like.

use crate::sandbox;
use std::process::{Command, Output};
use testkit::Sandbox;
use testkit::api::ApiServer;

fn docker(sandbox: &Sandbox, api: &ApiServer, arguments: &[&str]) -> Output {
    // Debian's client: others may come first in the path.
    let client = std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into());
    Command::new(client)
        .args(arguments)
        .env("DOCKER_HOST", api.host())
        .env("DOCKER_CONFIG", sandbox.path().join("docker-config"))
        .env("DOCKER_BUILDKIT", "0")
        .env_remove("DOCKER_CONTEXT")
        .current_dir(sandbox.path())
        .output()
        .expect("the docker client runs: scripts/needs installs it")
}

/// What differs from run to run: numbers of containers, times, names made up.
fn tamed(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).into_owned();
    let hexadecimal = |word: &str| {
        matches!(word.len(), 12 | 64)
            && word
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    };
    text.split_inclusive([' ', '\n'])
        .map(|word| {
            let bare = word.trim_end();
            if hexadecimal(bare) {
                word.replace(bare, "ID")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

/// Types a line with both, and compares exit code and output.
#[track_caller]
fn both_print(sandbox: &Sandbox, api: &ApiServer, arguments: &[&str]) -> String {
    let ours = sandbox.command(arguments).output().unwrap();
    let theirs = docker(sandbox, api, arguments);
    assert_eq!(
        ours.status.code(),
        theirs.status.code(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&theirs.stderr)
    );
    assert_eq!(tamed(&ours.stdout), tamed(&theirs.stdout), "{arguments:?}");
    String::from_utf8_lossy(&theirs.stdout).into_owned()
}

#[test]
fn a_first_hour() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    sandbox.write(
        "build/Dockerfile",
        "FROM busybox\nWORKDIR /app\nCOPY it.sh .\nENTRYPOINT [\"sh\", \"it.sh\"]\n",
    );
    sandbox.write("build/it.sh", "echo \"job finished successfully for day = $1\"\n");
    for line in [
        "run --rm busybox echo hello",
        "run --rm busybox sh -c exit\\ 7",
        "run -d --name NAME busybox sleep 1000",
        "exec NAME echo inside",
        "exec -e A=1 NAME env",
        "exec NAME sh -c exit\\ 3",
        "inspect -f {{.State.Running}},{{.Config.Image}},{{.HostConfig.NetworkMode}} NAME",
        "stop -t 0 NAME",
        "logs NAME",
        "rm NAME",
        "volume create data-NAME",
        "run --rm -v data-NAME:/data busybox sh -c echo\\ kept>/data/it",
        "run --rm -v data-NAME:/data busybox cat /data/it",
        "volume rm data-NAME",
        "network create net-NAME",
        "run --rm --network net-NAME busybox hostname -i",
        "network rm net-NAME",
        "images --format {{.Repository}}:{{.Tag}}",
        "tag busybox other:NAME",
        "rmi other:NAME",
    ] {
        // Each has things of its own name, so that neither finds the other's.
        let words = |name: &str| -> Vec<String> {
            let line = line.replace("\\ ", "\0").replace("NAME", name);
            line.split(' ').map(|word| word.replace('\0', " ")).collect()
        };
        let ours = sandbox.command(words("ours")).output().unwrap();
        let words = words("theirs");
        let theirs = docker(
            &sandbox,
            &api,
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        let error = String::from_utf8_lossy(&theirs.stderr).into_owned();
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}: {error}");
        if !line.contains("hostname") {
            let ours = tamed(&ours.stdout).replace("ours", "theirs");
            assert_eq!(ours, tamed(&theirs.stdout), "{line}: {error}");
        }
    }
    let built = docker(&sandbox, &api, &["build", "-q", "-t", "test:job", "build"]);
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let said = both_print(&sandbox, &api, &["run", "--rm", "test:job", "2022-02-05"]);
    assert_eq!(said, "job finished successfully for day = 2022-02-05\n");
    both_print(&sandbox, &api, &["ps", "-aq"]);
    assert!(docker(&sandbox, &api, &["version"]).status.success());
    assert!(docker(&sandbox, &api, &["info"]).status.success());
}
