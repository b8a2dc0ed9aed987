//! Black-box tests that need a stock host: systemd, and cgroups of version 2. `make test-vm` runs them in a virtual
//! machine; elsewhere they fail.
#![cfg(test)]

mod cgroupfs;
mod confined;
mod limits;
mod quotas;
mod reboot;
mod scopes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::Sandbox;

/// How long a thing may take that has to happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A root with the image `busybox`, on a host with systemd.
fn sandbox() -> Sandbox {
    assert!(
        Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup").is_dir(),
        "these tests need a host with systemd: make test-vm"
    );
    Sandbox::new(env!("CARGO_BIN_EXE_coracle"))
}

/// Likewise, where there are only cgroups of version 2.
fn unified() -> Sandbox {
    assert!(
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        "these tests need cgroups of version 2 alone: make test-vm"
    );
    sandbox()
}

/// Runs a program of the host and returns what it printed.
fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits for something that has to happen.
#[track_caller]
fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a container that stays, and returns its id.
fn start(sandbox: &Sandbox, options: &[&str]) -> String {
    let arguments = ["run", "-d"].iter().chain(options);
    let command = ["busybox", "sleep", "1000"];
    let id = sandbox.run(arguments.chain(&command)).ok();
    id.trim().to_owned()
}

/// The pid of a container's first process.
fn pid(sandbox: &Sandbox, id: &str) -> String {
    let pid = sandbox.run(["inspect", "-f", "{{.State.Pid}}", id]).ok();
    pid.trim().to_owned()
}

/// The version 2 cgroup of a process, as the host sees it.
fn cgroup(pid: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process is there");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    PathBuf::from(path.expect("it is in the hierarchy of version 2"))
}

/// A container's exit code.
fn wait(sandbox: &Sandbox, id: &str) -> String {
    sandbox.run(["wait", id]).ok().trim().to_owned()
}
