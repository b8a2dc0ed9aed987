//! `--security-opt`.

use crate::sandbox;
use testkit::Sandbox;
use testkit::sandbox::Outcome;

fn run(engine: &Sandbox, flags: &[&str], script: &str) -> Outcome {
    engine.run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

mod both {
    use super::run;
    use crate::both;

    #[test]
    fn a_seccomp_profile_of_ones_own() {
        let engine = both();
        let profile = engine.write(
            "profile.json",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
        );
        let option = format!("seccomp={}", profile.display());
        let outcome = run(
            &engine,
            &["--security-opt", &option],
            "mkdir /x && echo made; echo still",
        );
        assert_eq!(outcome.stdout, "still\n");
        let mode = |flags: &[&str]| run(&engine, flags, "grep Seccomp: /proc/self/status | cut -f2").ok();
        assert_eq!(mode(&["--security-opt", "seccomp=unconfined"]), "0\n");
        assert_eq!(mode(&[]), "2\n");
    }

    #[test]
    fn no_new_privileges() {
        let engine = both();
        let flag = |options: &str| {
            run(
                &engine,
                &["--security-opt", options],
                "grep NoNewPrivs /proc/self/status | cut -f2",
            )
            .ok()
        };
        assert_eq!(flag("no-new-privileges"), "1\n");
        assert_eq!(flag("no-new-privileges:true"), "1\n");
        assert_eq!(flag("no-new-privileges=false"), "0\n");
    }

    #[test]
    fn system_paths() {
        let engine = both();
        let script = "grep -c ' /proc/' /proc/mounts; true";
        assert_ne!(run(&engine, &[], script).ok(), "0\n");
        assert_eq!(
            run(&engine, &["--security-opt", "systempaths=unconfined"], script).ok(),
            "0\n"
        );
    }

    #[test]
    fn wrong_options() {
        let engine = both();
        for (option, message) in [
            ("nosuch", "\"nosuch\""),
            ("seccomp=/nosuch", "opening seccomp profile (/nosuch) failed"),
            ("no-new-privileges=x", "no-new-privileges=x"),
        ] {
            let error = run(&engine, &["--security-opt", option], "true").fails(125);
            assert!(error.contains(message), "{option}: {error}");
        }
    }
}

#[test]
fn what_no_module_of_the_host_enforces_is_said() {
    let engine = sandbox();
    let outcome = run(&engine, &["--security-opt", "label=type:x_t"], "echo fine");
    assert!(outcome.stderr.contains("SELinux"), "{outcome:?}");
    assert_eq!(outcome.ok(), "fine\n");
    if !std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|answer| answer.starts_with(b"Y"))
    {
        let outcome = run(&engine, &["--security-opt", "apparmor=my-profile"], "echo fine");
        assert!(outcome.stderr.contains("AppArmor is not enabled"), "{outcome:?}");
        assert_eq!(outcome.ok(), "fine\n");
    }
    let outcome = run(
        &engine,
        &[
            "--security-opt",
            "label=disable",
            "--security-opt",
            "apparmor=unconfined",
        ],
        "echo fine",
    );
    assert_eq!((outcome.stderr.as_str(), outcome.stdout.as_str()), ("", "fine\n"));
}

#[test]
fn cgroups_can_be_written_where_that_is_asked_for() {
    let engine = sandbox();
    let script = "for d in /sys/fs/cgroup/pids /sys/fs/cgroup; do mkdir $d/mine 2>/dev/null && echo made && break; done; true";
    assert_eq!(run(&engine, &[], script).ok(), "");
    assert_eq!(
        run(&engine, &["--security-opt", "writable-cgroups=true"], script).ok(),
        "made\n"
    );
}

#[test]
fn options_are_shown() {
    let engine = sandbox();
    engine
        .run([
            "create",
            "--name",
            "shown",
            "--security-opt",
            "no-new-privileges",
            "--security-opt",
            "systempaths=unconfined",
            "--security-opt",
            "label=disable",
            "busybox",
        ])
        .ok();
    let shown = engine
        .run(["inspect", "-f", "{{json .HostConfig.SecurityOpt}}", "shown"])
        .ok();
    for option in ["no-new-privileges", "systempaths=unconfined", "label=disable"] {
        assert!(shown.contains(option), "{shown}");
    }
}
