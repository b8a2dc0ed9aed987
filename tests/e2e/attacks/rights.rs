//! Capabilities where there should be none.

use crate::sandbox;
use testkit::Sandbox;

const LOOK: &str = "grep -E '^Cap(Inh|Amb)' /proc/self/status";
const NONE: &str = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";

/// CVE-2022-24769, CVE-2022-29162, CVE-2022-27649, CVE-2022-27650: what is inheritable comes back to life when a user
/// without rights executes a file with inheritable file capabilities.
#[test]
fn nothing_is_inheritable_or_ambient() {
    let coracle = sandbox();
    for flags in [
        &[][..],
        &["--cap-add", "NET_ADMIN"],
        &["--cap-add", "ALL"],
        &["--privileged"],
        &["-u", "app"],
        &["-u", "app", "--cap-add", "NET_ADMIN"],
        &["--security-opt", "seccomp=unconfined"],
        &["--security-opt", "no-new-privileges"],
        &["--init"],
    ] {
        let words = [&["run", "--rm"], flags, &["busybox", "sh", "-c", LOOK]].concat();
        assert_eq!(coracle.run(words).ok(), NONE, "run {flags:?}");
    }
    let detached = [
        "run",
        "-d",
        "--name",
        "it",
        "--cap-add",
        "NET_ADMIN",
        "busybox",
        "sleep",
        "100",
    ];
    coracle.run(detached).ok();
    for flags in [
        &[][..],
        &["--privileged"],
        &["-u", "app"],
        &["--privileged", "-u", "app"],
    ] {
        let words = [&["exec"], flags, &["it", "sh", "-c", LOOK]].concat();
        assert_eq!(coracle.run(words).ok(), NONE, "exec {flags:?}");
    }
    assert_eq!(in_a_build(&coracle, LOOK), NONE, "build");
}

fn in_a_build(coracle: &Sandbox, script: &str) -> String {
    let text = format!("FROM busybox\nRUN {script} > /seen\n");
    let context = coracle.write("context/Dockerfile", &text);
    let context = context.parent().unwrap();
    coracle
        .run(["build", "-q", "-t", "built", context.to_str().unwrap()])
        .ok();
    coracle.run(["run", "--rm", "built", "cat", "/seen"]).ok()
}

/// The bounding set is the container's for every process in it; only what is privileged has more.
#[test]
fn the_bounding_set_holds_for_every_process() {
    let coracle = sandbox();
    let look = "grep -E '^Cap(Bnd|Eff)' /proc/self/status | cut -f2";
    let both = "00000000a80425fb\n00000000a80425fb\n";
    let run = |flags: &[&str]| {
        let words = [&["run", "--rm"], flags, &["busybox", "sh", "-c", look]].concat();
        coracle.run(words).ok()
    };
    assert_eq!(run(&[]), both);
    assert_eq!(run(&["-u", "app"]), "0000000000000000\n00000000a80425fb\n");
    assert_eq!(run(&["--init"]), both);
    let detached = ["run", "-d", "--name", "it", "busybox", "sleep", "100"];
    coracle.run(detached).ok();
    assert_eq!(coracle.run(["exec", "it", "sh", "-c", look]).ok(), both);
    assert_eq!(
        coracle.run(["exec", "-u", "app", "it", "sh", "-c", look]).ok(),
        "0000000000000000\n00000000a80425fb\n"
    );
    assert_eq!(in_a_build(&coracle, look), both);
}

/// With `no-new-privileges` a setuid program gives nothing, for the first process and for those that come later.
#[test]
fn no_new_privileges_means_none() {
    let coracle = sandbox();
    super::image(&coracle, "setuid", &[], |root| {
        std::fs::copy(root.join("bin/busybox"), root.join("bin/raise")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        std::fs::set_permissions(root.join("bin/raise"), mode).unwrap();
        std::fs::remove_file(root.join("bin/id")).unwrap();
        std::os::unix::fs::symlink("raise", root.join("bin/id")).unwrap();
    });
    let who = ["setuid", "grep", "-h", "NoNewPrivs", "/proc/self/status"];
    let limited = ["run", "--rm", "--security-opt", "no-new-privileges", "-u", "1000"];
    assert_eq!(
        coracle.run([&limited[..], &who].concat()).ok(),
        "NoNewPrivs:\t1\n"
    );
    let detached = [
        "run",
        "-d",
        "--name",
        "it",
        "--security-opt",
        "no-new-privileges",
        "setuid",
        "sleep",
        "100",
    ];
    coracle.run(detached).ok();
    let exec = ["exec", "-u", "1000", "it"];
    assert_eq!(
        coracle.run([&exec[..], &who[1..]].concat()).ok(),
        "NoNewPrivs:\t1\n"
    );
}
