//! AppArmor, which Debian's kernel has on.

use crate::{eventually, host, sandbox, start};
use std::io::Write;
use std::process::{Command, Stdio};

/// Loads or removes a profile.
fn parser(action: &str, profile: &str) {
    let mut child = Command::new("apparmor_parser")
        .args(["--skip-cache", action])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(profile.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{action} {profile}");
}

#[test]
fn smoke_containers_are_confined_by_a_profile_of_ours() {
    let sandbox = sandbox();
    let info = sandbox.run(["info", "--format", "{{.SecurityOptions}}"]).ok();
    assert!(info.contains("name=apparmor"), "{info}");
    let confinement = ["cat", "/proc/self/attr/current"];
    let run = |options: &[&str]| {
        let arguments = ["run", "--rm"].iter().chain(options).chain(&["busybox"]);
        sandbox.run(arguments.chain(&confinement)).ok()
    };
    assert_eq!(run(&[]), "coracle-default (enforce)\n");
    assert_eq!(run(&["--init"]), "coracle-default (enforce)\n");
    assert_eq!(run(&["--security-opt", "apparmor=unconfined"]), "unconfined\n");
    assert_eq!(run(&["--security-opt", "apparmor:unconfined"]), "unconfined\n");
    assert_eq!(run(&["--privileged"]), "unconfined\n");
    assert_eq!(
        run(&["--privileged", "--security-opt", "apparmor=coracle-default"]),
        "coracle-default (enforce)\n"
    );

    // What the profile forbids, with all that would otherwise be needed for it.
    let mount = [
        "--cap-add",
        "SYS_ADMIN",
        "busybox",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/tmp",
    ];
    sandbox
        .run(
            ["run", "--rm", "--security-opt", "apparmor=unconfined"]
                .iter()
                .chain(&mount),
        )
        .ok();
    let refused = sandbox.run(["run", "--rm"].iter().chain(&mount));
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("ermission denied"), "{}", refused.stderr);
}

#[test]
fn what_comes_later_is_confined_and_signals_arrive() {
    let sandbox = sandbox();
    let id = start(
        &sandbox,
        &[
            "--health-cmd",
            "cat /proc/self/attr/current",
            "--health-interval",
            "1s",
        ],
    );
    let show = ["exec", &id, "cat", "/proc/self/attr/current"];
    assert_eq!(sandbox.run(show).ok(), "coracle-default (enforce)\n");
    let privileged = ["exec", "--privileged", &id, "cat", "/proc/self/attr/current"];
    assert_eq!(sandbox.run(privileged).ok(), "unconfined\n");
    let shown = sandbox.run(["inspect", "-f", "{{.AppArmorProfile}}", &id]).ok();
    assert_eq!(shown, "coracle-default\n");
    eventually("the check has run, and is confined", || {
        let format = "{{range .State.Health.Log}}{{.Output}}{{end}}";
        sandbox
            .run(["inspect", "-f", format, &id])
            .ok()
            .contains("coracle-default (enforce)")
    });
    // Its own processes may signal each other, and we may.
    sandbox
        .run([
            "exec",
            &id,
            "sh",
            "-c",
            "sleep 100 & kill $!; wait $!; test $? = 143",
        ])
        .ok();
    sandbox.run(["kill", "-s", "KILL", &id]).ok();
    assert_eq!(crate::wait(&sandbox, &id), "137");
}

#[test]
fn a_profile_is_taken_by_its_name() {
    let sandbox = sandbox();
    let profile = "profile tests-no-shadow flags=(attach_disconnected) {\n network,\n capability,\n file,\n \
                   deny /etc/secret r,\n signal,\n}\n";
    let run = |script: &str| {
        let option = "apparmor=tests-no-shadow";
        sandbox.run([
            "run",
            "--rm",
            "--security-opt",
            option,
            "busybox",
            "sh",
            "-c",
            script,
        ])
    };
    let refused = run("true").fails(125);
    assert!(
        refused.contains("the AppArmor profile 'tests-no-shadow' is not loaded")
            && refused.contains("apparmor_parser"),
        "{refused}"
    );
    assert_eq!(sandbox.run(["ps", "-aq"]).ok(), "", "nothing is left of it");
    parser("--replace", profile);
    let outcome = run("cat /proc/self/attr/current; echo word >/etc/secret; cat /etc/secret");
    parser("--remove", profile);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.stdout, "tests-no-shadow (enforce)\n");
    assert!(outcome.stderr.contains("Permission denied"), "{}", outcome.stderr);
}

#[test]
fn the_profile_is_loaded_when_it_is_missing() {
    let sandbox = sandbox();
    let loaded = || std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    sandbox.run(["run", "--rm", "busybox", "true"]).ok();
    assert!(loaded().contains("coracle-default (enforce)"));
    parser("--remove", "profile coracle-default {}\n");
    assert!(!loaded().contains("coracle-default"));
    let show = ["run", "--rm", "busybox", "cat", "/proc/self/attr/current"];
    assert_eq!(sandbox.run(show).ok(), "coracle-default (enforce)\n");
    assert_eq!(host("cat", &["/proc/self/attr/current"]), "unconfined");
}
