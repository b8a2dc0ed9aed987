//! Root filesystems that try to get out or to be believed. All need root.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "the whole file is tests"
)]

/// The part of the test kit that is wanted here; all of it would bring a registry and its TLS along.
#[allow(dead_code, unreachable_pub, reason = "the kit has more than one user")]
#[path = "../../testkit/src/attack.rs"]
mod attack;
mod fixture;

use attack::{Canaries, Swapper};
use fixture::Container;
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A directory of the host's that nobody may touch, and what holds it.
struct Victim(
    Canaries,
    #[expect(dead_code, reason = "it is removed when dropped")] TempDir,
);

impl Victim {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self(Canaries::plant(directory.path().join("canaries")), directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    fn check(&self) {
        self.0.assert_untouched("a container");
    }
}

#[test]
fn privileged_proc_sys_and_dev_must_be_directories() {
    for name in ["proc", "sys", "dev"] {
        let victim = Victim::new();
        for target in [victim.path(), Path::new("tmp")] {
            let container = Container::shell("true");
            symlink(target, container.root().join(name)).unwrap();
            let outcome = container.run();
            assert!(
                outcome
                    .error()
                    .contains("must be a directory, and is a symbolic link"),
                "{outcome:?}"
            );
        }
        victim.check();
        let container = Container::shell("true");
        std::fs::write(container.root().join(name), "").unwrap();
        assert!(
            container
                .run()
                .error()
                .contains("must be a directory, and is something else")
        );
    }
}

#[test]
fn privileged_proc_and_sys_are_not_covered() {
    let host = Victim::new();
    for (destination, why) in [
        ("/proc", "may hold nothing but procfs"),
        ("/sys", "may hold nothing but sysfs"),
        ("/proc/self", "inside procfs"),
        ("/proc/sys/kernel", "inside procfs"),
        ("/x/../proc/1/attr", "inside procfs"),
        ("/link/attr", "inside procfs"),
        ("/system/kernel", "leads into sysfs"),
    ] {
        let container = Container::shell("true").mount(destination, "bind", host.path(), &["rbind"]);
        symlink("/proc/1", container.root().join("link")).unwrap();
        symlink("/sys", container.root().join("system")).unwrap();
        let outcome = container.run();
        assert!(outcome.error().contains(why), "{destination} {outcome:?}");
    }
    let container = Container::shell("true").mount("/proc", "tmpfs", Path::new("tmpfs"), &[]);
    assert!(container.run().error().contains("may hold nothing but procfs"));
    host.check();
}

#[test]
fn privileged_mount_targets_stay_inside() {
    let (victim, source) = (Victim::new(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("canary"), "alive").unwrap();
    for (link, destination) in [
        (victim.path().to_owned(), "/escape/made"),
        (
            Path::new("/../../..").join(victim.path().strip_prefix("/").unwrap()),
            "/escape/made",
        ),
        (victim.path().join("dangling"), "/escape"),
    ] {
        let container = Container::shell("cat /escape/canary /escape/made/canary 2>/dev/null").mount(
            destination,
            "bind",
            source.path(),
            &["rbind"],
        );
        symlink(&link, container.root().join("escape")).unwrap();
        let outcome = container.run();
        // The link leads to a place of that name inside.
        assert_eq!(outcome.stdout, "alive", "{outcome:?}");
        victim.check();
    }
    let file = source.path().join("canary");
    let container = Container::shell("cat /etc/conf").mount("/etc/conf", "bind", &file, &["bind"]);
    symlink(victim.path().join("new"), container.root().join("etc/conf")).unwrap();
    assert_eq!(container.run().stdout, "alive");
    victim.check();
}

#[test]
fn privileged_working_directory_is_not_made_outside() {
    let victim = Victim::new();
    let container = Container::shell("pwd").set("/process/cwd", serde_json::json!("/escape/made"));
    symlink(victim.path(), container.root().join("escape")).unwrap();
    let outcome = container.run();
    assert_eq!(
        outcome.stdout.trim_end(),
        victim.path().join("made").to_str().unwrap(),
        "inside"
    );
    victim.check();
}

#[test]
fn privileged_user_files_are_not_followed_out() {
    let container = Container::shell("id -u").user("alice");
    std::fs::remove_file(container.root().join("etc/passwd")).unwrap();
    let outside = container.directory.path().join("passwd");
    std::fs::write(&outside, "alice:x:0:0::/:/bin/sh\n").unwrap();
    symlink(&outside, container.root().join("etc/passwd")).unwrap();
    assert_eq!(
        container.run().error(),
        "unable to find user alice: no matching entries in passwd file"
    );
}

/// CVE-2021-30465: another container swaps a directory on the way for a link while mounts are made.
#[test]
fn privileged_swapped_targets_never_lead_out() {
    let (victim, source) = (Victim::new(), tempfile::tempdir().unwrap());
    let container = Container::shell("cat /proc/self/mountinfo")
        .mount("/shared/a/empty", "bind", source.path(), &["rbind"])
        .mount("/shared/a/made/c", "bind", source.path(), &["rbind"]);
    let shared = container.root().join("shared");
    std::fs::create_dir_all(shared.join("a/empty")).unwrap();
    symlink(victim.path(), shared.join("link")).unwrap();
    let swapper = Swapper::start(shared.join("a"), shared.join("link"));
    for _ in 0..2 * attack::rounds() {
        // It may fail, for the tree is moving. If it does not, both mounts are inside.
        let outcome = container.run();
        victim.check();
        let name = source.path().to_str().unwrap();
        let count = outcome.stdout.matches(&format!("{name} /")).count();
        assert!(outcome.stdout.is_empty() || count == 2, "{outcome:?}");
    }
    drop(swapper);
}

/// CVE-2025-52565: a `/dev` that others have too, where the place of the console is swapped for a link.
#[test]
fn privileged_swapped_console_is_made_nowhere_else() {
    let (victim, shared) = (Victim::new(), tempfile::tempdir().unwrap());
    for name in ["pts", "mqueue", "shm"] {
        std::fs::create_dir(shared.path().join(name)).unwrap();
    }
    std::fs::write(shared.path().join("console"), "").unwrap();
    symlink(victim.path().join("made"), shared.path().join("link")).unwrap();
    let bind = json!({"destination": "/dev", "type": "bind", "source": shared.path(), "options": ["rbind"]});
    // The terminal itself is one, whatever is there under its name by now.
    let mut container = Container::shell("stat -L -c %t /proc/self/fd/0");
    container.plan["spec"]["mounts"][1] = bind;
    let swapper = Swapper::start(shared.path().join("console"), shared.path().join("link"));
    let mut started = 0;
    for _ in 0..2 * attack::rounds() {
        let outcome = container.run_with("terminal");
        victim.check();
        if outcome.answer["error"].is_null() {
            assert_eq!(outcome.stdout.trim_end(), "88", "{outcome:?}");
            started += 1;
        }
    }
    drop(swapper);
    assert!(started > 0, "no start was lucky");
}

/// CVE-2021-43784: more than some field has room for is an error, and nothing else.
#[test]
fn privileged_more_than_there_is_room_for_is_an_error() {
    let mapping = |number: u32| json!({"containerID": number, "hostID": number + 100_000, "size": 1});
    let mappings: Vec<_> = (0..70_000).map(mapping).collect();
    let mut container = Container::shell("true")
        .set("/linux/uidMappings", json!(mappings))
        .set("/linux/gidMappings", json!(mappings));
    let namespaces = container.plan["spec"]["linux"]["namespaces"]
        .as_array_mut()
        .unwrap();
    namespaces.push(json!({"type": "user"}));
    assert!(container.run().error().contains("map ids"));
    let arguments: Vec<String> = (0..70_000).map(|number| format!("{number:0100}")).collect();
    let container = Container::new(&["/bin/true"]).set("/process/args", json!(arguments));
    let outcome = container.run();
    assert!(
        !outcome.error().is_empty() && outcome.answer["exit"].is_null(),
        "{outcome:?}"
    );
    let huge = "x".repeat(200_000);
    let container = Container::new(&["/bin/true", &huge]);
    assert!(container.run().error().contains("argument list too long"));
}
