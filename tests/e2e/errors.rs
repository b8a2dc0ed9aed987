//! What bad input gets: one message that says what, on what, why; Docker's exit code; and nothing left behind, which
//! the end of every test checks.

use crate::sandbox;

#[test]
fn each_mistake_is_named() {
    let coracle = sandbox();
    let file = coracle.write("a-file", "");
    let below_file = format!("{}/below:/x", file.display());
    let missing_source = format!("type=bind,src={}/nosuch,dst=/x", coracle.path().display());
    for (arguments, code, expected) in [
        (&["run", "Ubuntu", "true"][..], 125, "must be lowercase"),
        (&["run", "a:b:c", "true"], 125, "invalid reference format"),
        (
            &["run", "--pull", "never", "nosuch", "true"],
            125,
            "No such image: nosuch:latest",
        ),
        (&["run", "localhost:1/nosuch", "true"], 125, "localhost:1"),
        (&["run", "-v", &below_file, "busybox", "true"], 125, "a-file"),
        (
            &["run", "--mount", &missing_source, "busybox", "true"],
            125,
            "bind source path does not exist",
        ),
        (&["run", "-v", "/:/:/:/", "busybox", "true"], 125, "invalid"),
        (
            &["run", "-v", "relative:relative", "busybox", "true"],
            125,
            "relative",
        ),
        (&["run", "-p", "99999:80", "busybox", "true"], 125, "99999"),
        (&["run", "-p", "80/xyz", "busybox", "true"], 125, "xyz"),
        (&["run", "-m", "1x", "busybox", "true"], 125, "1x"),
        (&["run", "-m", "1m", "busybox", "true"], 125, "6MB"),
        (
            &["run", "--cpus", "-1", "busybox", "true"],
            125,
            "Range of CPUs is from 0.01",
        ),
        (
            &["run", "--rm", "-u", "nobodyatall", "busybox", "true"],
            125,
            "nobodyatall",
        ),
        (&["run", "-w", "relative", "busybox", "true"], 125, "relative"),
        (&["run", "--cap-add", "FLY", "busybox", "true"], 125, "FLY"),
        (
            &["run", "--network", "nosuch", "busybox", "true"],
            125,
            "network nosuch not found",
        ),
        (
            &["run", "--restart", "sometimes", "busybox", "true"],
            125,
            "sometimes",
        ),
        (
            &["run", "--rm", "--restart", "always", "busybox", "true"],
            125,
            "--restart",
        ),
        (
            &["run", "--env-file", "/nosuch", "busybox", "true"],
            125,
            "/nosuch",
        ),
        (
            &["run", "--security-opt", "seccomp=/nosuch", "busybox", "true"],
            125,
            "/nosuch",
        ),
        (
            &["run", "--platform", "linux/none/x/y", "busybox", "true"],
            125,
            "linux/none/x/y",
        ),
        (
            &["run", "--nosuch", "busybox", "true"],
            125,
            "unknown flag: --nosuch",
        ),
        (&["run"], 1, "requires at least 1 argument"),
        (&["start", "nosuch"], 1, "No such container: nosuch"),
        (&["inspect", "nosuch"], 1, "No such object: nosuch"),
        (&["logs", "nosuch"], 1, "No such container: nosuch"),
        (&["volume", "rm", "nosuch"], 1, "nosuch"),
        (&["tag", "nosuch", "x:y"], 1, "No such image: nosuch:latest"),
        (&["tag", "busybox", "x:y:z"], 1, "x:y:z"),
        (&["build", "/nosuch/context"], 1, "/nosuch/context"),
        (&["load", "-i", "/nosuch.tar"], 1, "/nosuch.tar"),
        (&["frobnicate"], 1, "frobnicate"),
        (&["swarm", "init"], 1, "swarm"),
        (&["ps", "--filter", "colour=red"], 1, "colour"),
        (&["images", "--format", "{{.Nosuch}}"], 1, "Nosuch"),
    ] {
        let outcome = coracle.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains(expected),
            "{arguments:?}: {}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("panicked"),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
    assert_eq!(
        coracle.run(["ps", "-aq"]).ok(),
        "",
        "a refused run left a container"
    );
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let coracle = crate::empty();
    let small = coracle.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let image = coracle.path().join("disk");
    let shell = |script: String| {
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &script])
                .status()
                .unwrap()
                .success(),
            "{script}"
        );
    };
    shell(format!(
        "truncate -s 12M {0} && mkfs.ext4 -q {0} && mount -o loop {0} {1}",
        image.display(),
        small.display()
    ));
    let root = small.join("root");
    let run = |arguments: &[&str]| {
        let mut command = coracle.command(arguments);
        testkit::sandbox::outcome(&command.env("CORACLE_ROOT", &root).output().unwrap())
    };
    run(&["images"]).ok();
    let archives = coracle.path().join("archives");
    std::fs::create_dir(&archives).unwrap();
    let archive = testkit::images::busybox(&archives);
    shell(format!("head -c 9M /dev/zero > {}/filler", small.display()));
    let full = run(&["load", "-i", archive.to_str().unwrap()]).fails(1);
    assert!(
        full.contains("No space left") || full.contains("no space left"),
        "{full}"
    );
    run(&["system", "prune", "-af"]).ok();
    std::fs::remove_file(small.join("filler")).unwrap();
    run(&["load", "-i", archive.to_str().unwrap()]).ok();
    assert_eq!(run(&["run", "--rm", "busybox", "echo", "fine"]).ok(), "fine\n");
    run(&["system", "prune", "-af", "--volumes"]).ok();
    shell(format!("umount {}", small.display()));
}
