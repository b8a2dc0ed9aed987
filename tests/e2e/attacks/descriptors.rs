//! Descriptors of the host's that a container could inherit, and working directories that lead through them.

use super::{image, with_attacker};
use crate::sandbox;
use testkit::Canaries;

/// What a process may have open when it starts: its three streams, which are pipes, nothing, or the terminal.
#[track_caller]
fn assert_streams_only(listing: &str) {
    assert!(!listing.trim().is_empty());
    for line in listing.lines() {
        let (number, link) = line.trim_end().split_once(' ').unwrap();
        let plain = ["pipe:[", "/dev/null", "/dev/pts/", "/dev/console"];
        assert!(
            number.parse::<u32>().unwrap() <= 2 && plain.iter().any(|start| link.starts_with(start)),
            "{listing}"
        );
    }
}

/// CVE-2024-21626, CVE-2016-9962: nothing of ours is open in any process of a container.
#[test]
fn no_descriptor_of_the_hosts_is_inherited() {
    let coracle = sandbox();
    let bind = with_attacker();
    let look = ["busybox", "/attacker", "fds"];
    for flags in [
        &["--rm"][..],
        &["--rm", "-i"],
        &["--rm", "--init"],
        &["--rm", "-t"],
    ] {
        let listing = coracle.run([&["run", &bind], flags, &look].concat()).ok();
        assert_streams_only(&listing);
    }
    let detached = ["run", "-d", "--name", "it", &bind, "busybox", "sleep", "100"];
    coracle.run(detached).ok();
    for flags in [&[][..], &["-i"], &["-t"], &["--privileged"], &["-u", "app"]] {
        let words = [&["exec"], flags, &["it", "/attacker", "fds"]].concat();
        assert_streams_only(&coracle.run(words).ok());
    }
    let context = coracle.write(
        "context/Dockerfile",
        "FROM busybox\nCOPY attacker /\nRUN /attacker fds > /fds\n",
    );
    let context = context.parent().unwrap();
    std::fs::copy(super::attacker(), context.join("attacker")).unwrap();
    coracle
        .run(["build", "-q", "-t", "built", context.to_str().unwrap()])
        .ok();
    let listing = coracle.run(["run", "--rm", "built", "cat", "/fds"]).ok();
    // Its own output is the file.
    let listing: String = listing
        .lines()
        .filter(|line| !line.ends_with(" /fds"))
        .fold(String::new(), |all, line| all + line + "\n");
    assert_streams_only(&listing);
}

/// A monitor outlives the command that started it, and must not keep what that was given: here a lock.
#[test]
fn a_monitor_keeps_nothing_of_its_callers() {
    let coracle = sandbox();
    let lock = coracle.path().join("lock");
    let run = coracle.command(["run", "-d", "--name", "it", "busybox", "sleep", "1000"]);
    let script = format!("exec 9>{}; flock 9; exec \"$0\" \"$@\"", lock.display());
    let mut holder = std::process::Command::new("sh");
    holder
        .args(["-c", &script])
        .arg(coracle.program())
        .args(run.get_args());
    holder.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    testkit::sandbox::outcome(&holder.output().unwrap()).ok();
    let freed = std::process::Command::new("flock")
        .args(["-w", "20"])
        .arg(&lock)
        .arg("true")
        .status();
    assert!(freed.unwrap().success(), "the caller's lock is still held");
    coracle.run(["exec", "it", "true"]).ok();
}

/// CVE-2024-21626: a working directory behind a descriptor that leads out of the container.
#[test]
fn a_working_directory_is_never_outside() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let up = "../".repeat(12);
    let secret = canaries.path().join("secret");
    // From a directory of the host's, enough `..` lead to the host's root.
    let look = format!(
        "cat {}{} 2>/dev/null; true",
        up.trim_end_matches('/'),
        secret.display()
    );
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    for number in 3..=40 {
        for directory in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/.."),
        ] {
            let run = coracle.run(["run", "--rm", "-w", &directory, "busybox", "sh", "-c", &look]);
            assert_eq!(run.stdout, "", "run -w {directory}");
            let exec = coracle.run(["exec", "-w", &directory, "it", "sh", "-c", &look]);
            assert_eq!(exec.stdout, "", "exec -w {directory}");
            canaries.assert_untouched(&directory);
        }
    }
    for number in [3, 5, 7, 8, 9, 12] {
        let name = format!("leak{number}");
        let directory = format!("/proc/self/fd/{number}");
        let link = directory.clone();
        image(&coracle, &name, &[&format!("WORKDIR {directory}")], |_| {});
        let of_image = coracle.run(["run", "--rm", &name, "sh", "-c", &look]);
        assert_eq!(of_image.stdout, "", "WORKDIR {directory}");
        image(&coracle, &format!("link{number}"), &["WORKDIR /there"], |root| {
            std::os::unix::fs::symlink(link, root.join("there")).unwrap();
        });
        let by_link = coracle.run(["run", "--rm", &format!("link{number}"), "sh", "-c", &look]);
        assert_eq!(by_link.stdout, "", "a link to {directory}");
    }
    canaries.assert_untouched("a working directory");
}
