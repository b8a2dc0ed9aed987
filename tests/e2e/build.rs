//! `build`.

mod bad;
mod checks;
mod copying;
mod documents;
mod instructions;
mod mounts;
mod sources;

use crate::sandbox;
use testkit::{Outcome, Sandbox};

const DOCKERFILE: &str = "FROM busybox\nRUN echo built > /built\nWORKDIR /app\nCOPY pipeline.sh pipeline.sh\nENTRYPOINT [\"sh\", \"pipeline.sh\"]\n";

fn build(coracle: &Sandbox, arguments: &[&str]) -> Outcome {
    let context = coracle.path().join("context");
    coracle.run(
        [
            &["build", "--progress", "plain"],
            arguments,
            &[context.to_str().unwrap()],
        ]
        .concat(),
    )
}

/// Builds a Dockerfile as `t`, and returns the outcome with what it logged.
fn built(coracle: &Sandbox, dockerfile: &str, arguments: &[&str]) -> Outcome {
    coracle.write("context/Dockerfile", dockerfile);
    let outcome = build(coracle, &[&["-t", "t"], arguments].concat());
    assert_eq!(outcome.code, 0, "{dockerfile}\n{}", outcome.stderr);
    outcome
}

/// Runs a shell command in `t`.
fn inside(coracle: &Sandbox, command: &str) -> String {
    coracle
        .run(["run", "--rm", "--entrypoint", "sh", "t", "-c", command])
        .ok()
}

fn pipeline(coracle: &Sandbox) {
    coracle.write("context/Dockerfile", DOCKERFILE);
    coracle.write("context/pipeline.sh", "echo day $1; pwd; cat /built\n");
}

#[test]
fn the_result_runs() {
    let coracle = sandbox();
    pipeline(&coracle);
    build(&coracle, &["-t", "test:pipeline"]).ok();
    let output = coracle.run(["run", "--rm", "test:pipeline", "2022-02-05"]).ok();
    assert_eq!(output, "day 2022-02-05\n/app\nbuilt\n");
    let images = coracle
        .run(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
        .ok();
    assert!(images.contains("test:pipeline\n"), "{images}");
}

#[test]
fn only_what_changed_is_built_again() {
    let coracle = sandbox();
    pipeline(&coracle);
    let first = build(&coracle, &["-t", "test:a"]);
    assert!(!first.stderr.contains("CACHED"), "{}", first.stderr);
    first.ok();
    let id = |tag: &str| coracle.run(["images", "-q", "--no-trunc", tag]).ok();
    let second = build(&coracle, &["-t", "test:b"]);
    assert_eq!(second.stderr.matches("CACHED").count(), 3, "{}", second.stderr);
    second.ok();
    assert_eq!(id("test:a"), id("test:b"));
    coracle.write("context/pipeline.sh", "echo changed\n");
    let third = build(&coracle, &["-t", "test:c"]);
    assert_eq!(third.stderr.matches("CACHED").count(), 2, "{}", third.stderr);
    third.ok();
    assert_eq!(coracle.run(["run", "--rm", "test:c"]).ok(), "changed\n");
    let fresh = build(&coracle, &["--no-cache", "-t", "test:d"]);
    assert!(!fresh.stderr.contains("CACHED"), "{}", fresh.stderr);
    fresh.ok();
}

#[test]
fn copy_only_images_are_the_same_bytes_every_time() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nCOPY . /app/\nENV A=1\n");
    coracle.write("context/a", "a");
    coracle.write("context/sub/b", "b");
    build(&coracle, &["-t", "one"]).ok();
    let id = coracle.run(["images", "-q", "--no-trunc", "one"]).ok();
    coracle.run(["builder", "prune", "-af"]).ok();
    coracle.run(["rmi", "one"]).ok();
    // Another clock on the files, another order in the directory.
    std::fs::remove_dir_all(coracle.path().join("context")).unwrap();
    coracle.write("context/sub/b", "b");
    coracle.write("context/a", "a");
    coracle.write("context/Dockerfile", "FROM busybox\nCOPY . /app/\nENV A=1\n");
    build(&coracle, &["-t", "one"]).ok();
    assert_eq!(coracle.run(["images", "-q", "--no-trunc", "one"]).ok(), id);
}

#[test]
fn a_failing_step_shows_its_log_and_its_line() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN echo fine\nRUN echo trouble && exit 3\n",
    );
    let failed = build(&coracle, &["-t", "bad"]).fails(1);
    assert!(failed.contains("trouble"), "{failed}");
    assert!(failed.contains("Dockerfile:3"), "{failed}");
    assert!(failed.contains(">>> RUN echo trouble && exit 3"), "{failed}");
    assert!(
        failed.contains("did not complete successfully: exit code: 3"),
        "{failed}"
    );
    assert!(!coracle.run(["images"]).ok().contains("bad"));
    // The step before it is not lost.
    let again = build(&coracle, &["-t", "bad"]).fails(1);
    assert_eq!(again.matches("CACHED").count(), 1, "{again}");
}

#[test]
fn mistakes_in_the_dockerfile_name_the_line() {
    let coracle = sandbox();
    let fails = |text: &str| {
        coracle.write("context/Dockerfile", text);
        build(&coracle, &[]).fails(1)
    };
    let unknown = fails("FROM busybox\nRNU true\n");
    assert!(
        unknown.contains("unknown instruction: RNU") && unknown.contains("RUN"),
        "{unknown}"
    );
    assert!(
        unknown.contains("line 2") || unknown.contains("Dockerfile:2"),
        "{unknown}"
    );
    let missing = fails("FROM busybox\nCOPY nosuch.py /\n");
    assert!(
        missing.contains("nosuch.py") && missing.contains("Dockerfile:2"),
        "{missing}"
    );
    coracle.write("context/.dockerignore", "*.log\n");
    coracle.write("context/big.log", "x");
    let ignored = fails("FROM busybox\nCOPY big.log /\n");
    assert!(ignored.contains("*.log"), "{ignored}");
    let empty = fails("");
    assert!(
        empty.contains("empty") || empty.contains("no instructions"),
        "{empty}"
    );
    let open = fails("FROM busybox\nRUN <<EOF\ntrue\n");
    assert!(
        open.contains("Dockerfile:2") && open.contains("unterminated heredoc"),
        "{open}"
    );
}

#[test]
fn stages_targets_arguments_and_the_rest() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "ARG BASE=busybox\nFROM ${BASE} AS first\nARG WHO=nobody\nRUN echo $WHO > /who\n\
         FROM first AS second\nENV GREETING=hello\nLABEL team=data\nUSER app\nEXPOSE 80/tcp\nVOLUME /data\n\
         STOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s CMD true\nCMD echo $GREETING $(cat /who)\n\
         FROM busybox\nCOPY --from=first --chown=app:staff --chmod=640 /who /copied\n",
    );
    build(&coracle, &["-t", "last", "--build-arg", "WHO=me"]).ok();
    let stat = coracle
        .run(["run", "--rm", "last", "stat", "-c", "%u:%g %a", "/copied"])
        .ok();
    assert_eq!(stat, "1000:50 640\n");
    assert_eq!(
        coracle.run(["run", "--rm", "last", "cat", "/copied"]).ok(),
        "me\n"
    );
    build(
        &coracle,
        &["-t", "second", "--target", "second", "--label", "more=1"],
    )
    .ok();
    assert_eq!(coracle.run(["run", "--rm", "second"]).ok(), "hello nobody\n");
    let format = "{{.Config.User}} {{.Config.StopSignal}} {{json .Config.ExposedPorts}} {{.Config.Labels.team}} {{.Config.Labels.more}}";
    let config = coracle.run(["image", "inspect", "-f", format, "second"]).ok();
    assert_eq!(config, "app SIGINT {\"80/tcp\":{}} data 1\n");
}

#[test]
fn add_unpacks_archives() {
    let coracle = sandbox();
    coracle.write("context/tree/file", "inside\n");
    let status = std::process::Command::new("tar")
        .args([
            "-C",
            coracle.path().join("context/tree").to_str().unwrap(),
            "-czf",
        ])
        .arg(coracle.path().join("context/tree.tar.gz"))
        .arg("file")
        .status()
        .unwrap();
    assert!(status.success());
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nADD tree.tar.gz /unpacked/\nCOPY tree.tar.gz /kept\n",
    );
    build(&coracle, &["-t", "added"]).ok();
    let output = coracle
        .run([
            "run",
            "--rm",
            "added",
            "sh",
            "-c",
            "cat /unpacked/file; head -c 2 /kept | md5sum",
        ])
        .ok();
    assert!(output.starts_with("inside\n"), "{output}");
}

#[test]
fn nothing_of_the_surroundings_is_in_the_image() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf > /dev/null; env > /env\n",
    );
    let mut command = coracle.command([
        "build",
        "-t",
        "clean",
        coracle.path().join("context").to_str().unwrap(),
    ]);
    let outcome = testkit::sandbox::outcome(
        &command
            .env("HTTP_PROXY", "http://proxy.invalid:1")
            .output()
            .unwrap(),
    );
    outcome.ok();
    // The layers, not a container's export, which has what is mounted over (as Docker's has).
    let tar = coracle.path().join("clean.tar");
    coracle.run(["save", "-o", tar.to_str().unwrap(), "clean"]).ok();
    let listing: String = layers_of(&tar, &coracle.path().join("unpacked")).join("\n");
    assert!(listing.contains("env"), "{listing}");
    for stranger in ["coracle", "host-ca", "resolv.conf"] {
        let found: Vec<_> = listing.lines().filter(|line| line.contains(stranger)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    let environment = coracle.run(["run", "--rm", "clean", "cat", "/env"]).ok();
    assert!(!environment.contains("proxy.invalid"), "{environment}");
    let config = coracle.run(["image", "inspect", "clean"]).ok();
    assert!(
        !config.contains("CERT") && !config.contains("proxy.invalid"),
        "{config}"
    );
}

#[test]
fn the_hosts_authorities_are_trusted_in_builds_as_in_runs_and_can_be_kept_out() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN env > /env; mount >> /env\n",
    );
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    let trusted = |environment: &str| environment.contains("SSL_CERT_FILE=");
    coracle.run(["build", "-t", "auto", context]).ok();
    coracle
        .run(["--host-ca=off", "build", "--no-cache", "-t", "off", context])
        .ok();
    let in_build = |tag: &str| {
        coracle
            .run(["--host-ca=off", "run", "--rm", tag, "cat", "/env"])
            .ok()
    };
    let in_run = coracle.run(["run", "--rm", "busybox", "env"]).ok();
    assert_eq!(trusted(&in_build("auto")), trusted(&in_run));
    let kept_out = in_build("off");
    assert!(!trusted(&kept_out) && !kept_out.contains("host-ca"), "{kept_out}");
}

/// Lists what is in the layers of a saved image.
fn layers_of(saved: &std::path::Path, unpacked: &std::path::Path) -> Vec<String> {
    std::fs::create_dir(unpacked).unwrap();
    let tar = |arguments: &[&str]| {
        std::process::Command::new("tar")
            .args(arguments)
            .output()
            .unwrap()
    };
    let status = tar(&["-xf", saved.to_str().unwrap(), "-C", unpacked.to_str().unwrap()]).status;
    assert!(status.success());
    let manifest = std::fs::read_to_string(unpacked.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| {
            let path = unpacked.join(layer.as_str().unwrap());
            let listing = tar(&["-tf", path.to_str().unwrap()]);
            assert!(listing.status.success());
            String::from_utf8(listing.stdout).unwrap()
        })
        .collect()
}

#[test]
fn quiet_prints_the_id_alone_and_iidfile_has_it() {
    let coracle = sandbox();
    pipeline(&coracle);
    let file = coracle.path().join("iid");
    let outcome = build(&coracle, &["-q", "--iidfile", file.to_str().unwrap()]);
    let id = outcome.ok();
    assert!(id.starts_with("sha256:") && id.trim().len() == 71, "{id}");
    assert_eq!(std::fs::read_to_string(file).unwrap().trim(), id.trim());
}

#[test]
fn interrupting_a_build_leaves_nothing() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN echo started && sleep 1000\n",
    );
    let context = coracle.path().join("context");
    let mut child = coracle.start([
        "build",
        "--progress",
        "plain",
        "-t",
        "never",
        context.to_str().unwrap(),
    ]);
    let mut seen = Vec::new();
    let stderr = child.stderr.as_mut().unwrap();
    while !String::from_utf8_lossy(&seen).contains(" started") {
        let mut buffer = [0; 1024];
        let count = std::io::Read::read(stderr, &mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..count]);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let outcome = testkit::sandbox::outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    assert!(!coracle.run(["images"]).ok().contains("never"));
}

#[test]
fn steps_that_change_nothing_stack_up() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN true\nRUN : nothing either\nRUN echo x > /x\nRUN cat /x\n",
    );
    build(&coracle, &["-t", "stacked"]).ok();
    assert_eq!(coracle.run(["run", "--rm", "stacked", "cat", "/x"]).ok(), "x\n");
}

#[test]
fn each_step_is_announced_once_and_ends_once() {
    let coracle = sandbox();
    pipeline(&coracle);
    coracle.write("context/.dockerignore", "*.log\n");
    build(&coracle, &["-t", "first"]).ok();
    let log = build(&coracle, &["-t", "test:pandas", "-t", "quay.invalid/x"]).stderr;
    let id = coracle.run(["images", "-q", "--no-trunc", "first"]).ok();
    let log = log
        .lines()
        .filter(|line| !line.ends_with("DONE 0.0s"))
        .collect::<Vec<_>>()
        .join("\n");
    let expected = format!(
        "#1 [internal] load build definition from Dockerfile\n#1 reading Dockerfile: {}B done\n\n\
         #2 [internal] load metadata for docker.io/library/busybox:latest\n\n\
         #3 [internal] load .dockerignore\n#3 reading .dockerignore: 6B done\n\n\
         #4 [1/4] FROM docker.io/library/busybox:latest\n\n\
         #5 [2/4] RUN echo built > /built\n#5 CACHED\n\n\
         #6 [3/4] WORKDIR /app\n#6 CACHED\n\n\
         #7 [4/4] COPY pipeline.sh pipeline.sh\n#7 CACHED\n\n\
         #8 exporting to image\n#8 writing image {} done\n#8 naming to docker.io/library/test:pandas done\n\
         #8 naming to quay.invalid/x:latest done",
        DOCKERFILE.len(),
        id.trim(),
    );
    assert_eq!(log, expected);
}
