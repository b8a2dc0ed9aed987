//! System calls that have been ways into the kernel.

use super::with_attacker;
use crate::sandbox;
use std::collections::BTreeMap;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

fn calls(coracle: &testkit::Sandbox, words: &[&str]) -> BTreeMap<String, i32> {
    let output = coracle.run([words, &["/attacker", "calls"]].concat()).ok();
    let line = |line: &str| {
        let (name, errno) = line.split_once(' ').unwrap();
        (name.to_owned(), errno.parse().unwrap())
    };
    output.lines().map(line).collect()
}

/// CVE-2022-0492 (cgroup v1 by a new user namespace), CVE-2020-14386, CVE-2026-31431 (`AF_ALG`), CVE-2022-0185
/// (`fsopen`), and what Docker refuses besides. A kernel that lacks `AF_ALG` says `EAFNOSUPPORT`; `EPERM` is the filter.
#[test]
fn what_has_been_a_way_into_the_kernel_is_refused() {
    let coracle = sandbox();
    let bind = with_attacker();
    let detached = ["run", "-d", "--name", "it", &bind, "busybox", "sleep", "100"];
    coracle.run(detached).ok();
    for words in [
        &["run", "--rm", &bind, "busybox"][..],
        &["run", "--rm", "-u", "app", &bind, "busybox"],
        &["run", "--rm", "--init", &bind, "busybox"],
        &[
            "run",
            "--rm",
            "--security-opt",
            "no-new-privileges",
            &bind,
            "busybox",
        ],
        &["exec", "it"],
    ] {
        let answers = calls(&coracle, words);
        for (name, errno) in &answers {
            let expected = match name.as_str() {
                "socket-unix" => 0,
                "clone3" => ENOSYS,
                _ => EPERM,
            };
            assert_eq!(*errno, expected, "{name} by {words:?}");
        }
        assert!(answers.len() > 20, "{answers:?}");
    }
    // The same calls get elsewhere without the filter, so it is the filter that refuses them.
    let open = [
        "run",
        "--rm",
        "--security-opt",
        "seccomp=unconfined",
        &bind,
        "busybox",
    ];
    let unfiltered = calls(&coracle, &open);
    for name in [
        "socket-alg",
        "socket-vsock",
        "clone3",
        "userfaultfd",
        "personality",
        "setns",
    ] {
        let filtered = if name == "clone3" { ENOSYS } else { EPERM };
        assert_ne!(unfiltered[name], filtered, "{name}");
    }
}

/// The filter is there for every process and cannot be taken off.
#[test]
fn every_process_has_the_filter() {
    let coracle = sandbox();
    let look = ["grep", "-E", "^Seccomp", "/proc/self/status"];
    let filtered = "Seccomp:\t2\nSeccomp_filters:\t1\n";
    let outer = coracle.run(["run", "--rm", "busybox", "true"]);
    outer.ok();
    let run = |words: &[&str]| coracle.run([words, &look].concat()).ok();
    // Where these tests themselves run filtered, there is one more.
    let count = |text: &str| {
        let ours = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = ours
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp_filters:\t"));
        let own: u32 = own.map_or(0, |number| number.parse().unwrap());
        assert_eq!(
            text,
            filtered.replace("filters:\t1", &format!("filters:\t{}", own + 1))
        );
    };
    count(&run(&["run", "--rm", "busybox"]));
    count(&run(&["run", "--rm", "--init", "busybox"]));
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    count(&run(&["exec", "it"]));
    count(&run(&["exec", "-u", "app", "it"]));
}
