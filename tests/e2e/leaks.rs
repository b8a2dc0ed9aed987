//! Nothing is left behind, whoever is killed.

use crate::sandbox;
use std::time::Duration;

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_killed_client_leaves_its_container_alone() {
    let coracle = sandbox();
    let mut child = coracle.start(["run", "--name", "it", "busybox", "sh", "-c", "echo up; sleep 100"]);
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Running}}", "it"]).ok(),
        "true\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn a_killed_monitor_is_noticed_and_cleaned_up_after() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-p",
            "127.0.0.1:0:80",
            "busybox",
            "sleep",
            "100",
        ])
        .ok();
    let pid: i32 = coracle
        .run(["inspect", "-f", "{{.State.Pid}}", "it"])
        .ok()
        .trim()
        .parse()
        .unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: i32 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kill(parent);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
        "exited\n"
    );
    // Whoever adopts it may take a while to reap it.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(
        stat.is_empty() || stat.contains(") Z "),
        "the container outlived its monitor: {stat}"
    );
    // It can be used again at once.
    coracle.run(["start", "it"]).ok();
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn clients_killed_at_any_moment_leave_a_state_that_heals() {
    let coracle = sandbox();
    for round in 0..40 {
        let mut child = coracle.start(["run", "--rm", "busybox", "true"]);
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !coracle.run(["ps", "-q"]).ok().is_empty() {
        assert!(std::time::Instant::now() < deadline, "a container never ended");
    }
    assert_eq!(
        coracle.run(["run", "--rm", "busybox", "echo", "fine"]).ok(),
        "fine\n"
    );
}

#[test]
fn many_at_once() {
    let coracle = sandbox();
    let children: Vec<_> = (0..40)
        .map(|number| coracle.start(["run", "--rm", "busybox", "echo", &number.to_string()]))
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let outcome = testkit::sandbox::outcome(&child.wait_with_output().unwrap());
        assert_eq!(outcome.ok(), format!("{number}\n"));
    }
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
}
