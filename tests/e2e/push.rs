//! `push`, to Debian's `docker-registry` on loopback, and to testkit's where something goes wrong.

use crate::registry::Registry;
use crate::{empty, sandbox};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use testkit::registry::{FakeRegistry, Fault};

/// The digest in `1: digest: sha256:… size: 528`.
fn digest(pushed: &str) -> String {
    let line = pushed
        .lines()
        .rev()
        .find(|line| line.contains(": digest: sha256:"))
        .unwrap_or_else(|| panic!("no digest in {pushed}"));
    line.split_whitespace().nth(2).unwrap().to_owned()
}

mod both {
    use super::*;

    #[test]
    fn what_is_pushed_is_pulled_and_runs() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let name = format!("{}/team/tools:1", registry.address);
        coracle.run(["tag", "busybox", &name]).ok();
        let pushed = coracle.run(["push", &name]).ok();
        let first = format!("The push refers to repository [{}/team/tools]", registry.address);
        assert_eq!(pushed.lines().next(), Some(first.as_str()), "{pushed}");
        assert!(pushed.contains(": Preparing\n"), "{pushed}");
        assert!(pushed.contains(": Pushed\n"), "{pushed}");
        let last = pushed.lines().last().unwrap();
        assert!(
            last.starts_with("1: digest: sha256:") && last.contains(" size: "),
            "{pushed}"
        );
        let by_digest = format!("{}/team/tools@{}", registry.address, digest(&pushed));
        let format = "{{index .RepoDigests 0}}";
        assert_eq!(
            coracle.run(["image", "inspect", "-f", format, &name]).ok().trim(),
            by_digest
        );
        let again = coracle.run(["push", &name]).ok();
        assert!(again.contains(": Layer already exists\n"), "{again}");
        assert_eq!(digest(&again), digest(&pushed));
        coracle.run(["rmi", "-f", &name, "busybox"]).ok();
        coracle.run(["pull", "-q", &by_digest]).ok();
        assert_eq!(
            coracle.run(["run", "--rm", &by_digest, "echo", "works"]).ok(),
            "works\n"
        );
    }

    #[test]
    fn all_tags_go_at_once_and_quiet_says_the_name() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let name = format!("{}/tools", registry.address);
        for tag in ["1", "2", "latest"] {
            coracle.run(["tag", "busybox", &format!("{name}:{tag}")]).ok();
        }
        let pushed = coracle.run(["push", "-a", &name]).ok();
        for tag in ["1", "2", "latest"] {
            assert!(pushed.contains(&format!("\n{tag}: digest: sha256:")), "{pushed}");
        }
        let quiet = coracle.run(["push", "-q", &format!("{name}:2")]).ok();
        assert_eq!(quiet, format!("{name}:2\n"));
        let mixed = coracle.run(["push", "-a", &format!("{name}:2")]).fails(1);
        assert!(mixed.contains("tag can't be used with --all-tags/-a"), "{mixed}");
    }

    #[test]
    fn a_layer_of_another_repository_is_mounted() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let (one, other) = (
            format!("{}/one:1", registry.address),
            format!("{}/other:1", registry.address),
        );
        coracle.run(["tag", "busybox", &one]).ok();
        coracle.run(["tag", "busybox", &other]).ok();
        let first = coracle.run(["push", &one]).ok();
        let second = coracle.run(["push", &other]).ok();
        assert!(second.contains(": Mounted from one\n"), "{second}");
        assert_eq!(digest(&first), digest(&second));
    }

    #[test]
    fn what_cannot_be_pushed_is_said() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let absent = coracle
            .run(["push", &format!("{}/absent", registry.address)])
            .fails(1);
        assert!(
            absent
                .to_lowercase()
                .contains("image does not exist locally with the tag"),
            "{absent}"
        );
        coracle
            .run(["tag", "busybox", &format!("{}/tools:1", registry.address)])
            .ok();
        let other = coracle
            .run(["push", &format!("{}/tools:2", registry.address)])
            .fails(1);
        assert!(other.contains("tag does not exist: "), "{other}");
        coracle.run(["tag", "busybox", "127.0.0.1:1/tools"]).ok();
        let refused = coracle.run(["push", "127.0.0.1:1/tools"]).fails(1);
        assert!(refused.to_lowercase().contains("refused"), "{refused}");
    }
}

#[test]
fn pull_then_push_keeps_the_manifest_byte_for_byte() {
    let coracle = empty();
    let (from, to) = (Registry::start(coracle.path()), Registry::start(coracle.path()));
    // skopeo pushes Docker's schema 2, with its own spelling of the JSON.
    from.push(&testkit::images::busybox(coracle.path()), "tools:1");
    let (one, other) = (
        format!("{}/tools:1", from.address),
        format!("{}/copied:1", to.address),
    );
    coracle.run(["pull", "-q", &one]).ok();
    coracle.run(["tag", &one, &other]).ok();
    coracle.run(["push", "-q", &other]).ok();
    assert_eq!(from.manifest("tools:1"), to.manifest("copied:1"));
}

#[test]
fn layers_in_zstd_come_run_and_go_as_they_are() {
    let coracle = empty();
    let (from, to) = (Registry::start(coracle.path()), Registry::start(coracle.path()));
    let archive = testkit::images::busybox(coracle.path());
    let copied = std::process::Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--format",
            "oci",
        ])
        .args(["--dest-compress-format", "zstd"])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("docker://{}/tools:1", from.address))
        .output()
        .unwrap();
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let manifest = from.manifest("tools:1");
    assert!(manifest.contains("layer.v1.tar+zstd"), "{manifest}");
    let (one, other) = (
        format!("{}/tools:1", from.address),
        format!("{}/copied:1", to.address),
    );
    coracle.run(["pull", "-q", &one]).ok();
    assert_eq!(
        coracle.run(["run", "--rm", &one, "echo", "works"]).ok(),
        "works\n"
    );
    coracle.run(["tag", &one, &other]).ok();
    coracle.run(["push", "-q", &other]).ok();
    assert_eq!(to.manifest("copied:1"), manifest);
    // What is built upon them keeps them, and compresses only its own.
    coracle.write("Dockerfile", &format!("FROM {one}\nCOPY Dockerfile /\n"));
    let built = format!("{}/built:1", to.address);
    coracle.run(["build", "-q", "-t", &built, "."]).ok();
    coracle.run(["push", "-q", &built]).ok();
    let manifest = to.manifest("built:1");
    assert!(
        manifest.contains("layer.v1.tar+zstd") && manifest.contains("layer.v1.tar+gzip"),
        "{manifest}"
    );
}

#[test]
fn a_built_image_is_compressed_once_and_the_same_everywhere() {
    let coracle = sandbox();
    let registry = Registry::start(coracle.path());
    coracle.write("context/data", &"some text\n".repeat(400_000));
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nCOPY data /data\nRUN cat /data /data > /twice\n",
    );
    let name = format!("{}/built:1", registry.address);
    coracle.run(["build", "-q", "-t", &name, "context"]).ok();
    let pushed = coracle.run(["push", &name]).ok();
    assert_eq!(pushed.matches(": Pushed\n").count(), 3, "{pushed}");
    let manifest = registry.manifest("built:1");
    assert_eq!(manifest.matches("layer.v1.tar+gzip").count(), 3, "{manifest}");
    // Another store compresses to the same bytes, so nothing is sent.
    let archive = coracle.path().join("built.tar");
    coracle.run(["save", "-o", archive.to_str().unwrap(), &name]).ok();
    coracle.run(["rmi", &name]).ok();
    coracle.run(["builder", "prune", "-af"]).ok();
    coracle.run(["load", "-q", "-i", archive.to_str().unwrap()]).ok();
    let again = coracle.run(["push", &name]).ok();
    assert_eq!(digest(&again), digest(&pushed));
    // And the content is the image's.
    coracle.run(["rmi", &name]).ok();
    coracle.run(["pull", "-q", &name]).ok();
    assert_eq!(
        coracle
            .run([
                "run",
                "--rm",
                &name,
                "sh",
                "-c",
                "cat /data /data | cmp - /twice && wc -l < /twice"
            ])
            .ok(),
        "800000\n"
    );
}

#[test]
fn several_names_a_platform_and_an_event() {
    let coracle = sandbox();
    let registry = Registry::start(coracle.path());
    let names: Vec<String> = ["a:1", "b:1"]
        .iter()
        .map(|name| format!("{}/{name}", registry.address))
        .collect();
    for name in &names {
        coracle.run(["tag", "busybox", name]).ok();
    }
    coracle.run(["push", "-q", &names[0], &names[1]]).ok();
    assert_eq!(registry.manifest("a:1"), registry.manifest("b:1"));
    let wrong = coracle
        .run(["push", "--platform", "linux/riscv64", &names[0]])
        .fails(1);
    assert!(
        wrong.contains("does not provide the specified platform (linux/riscv64)"),
        "{wrong}"
    );
    let events = coracle
        .run([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=push",
            "--format",
            "{{.Actor.ID}} {{.Actor.Attributes.name}}",
        ])
        .ok();
    let (a, b) = (&names[0], &names[1]);
    let bare = |name: &str| name.strip_suffix(":1").unwrap().to_owned();
    assert_eq!(events, format!("{a} {}\n{b} {}\n", bare(a), bare(b)));
    let digest = coracle
        .run(["image", "inspect", "-f", "{{index .RepoDigests 0}}", a])
        .ok();
    let pinned = coracle.run(["push", digest.trim()]).fails(1);
    assert!(pinned.contains("cannot push a digest reference"), "{pinned}");
}

#[test]
fn interrupting_a_push_ends_it_at_once_and_leaves_nothing() {
    let coracle = sandbox();
    // Takes the connection and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/never/answers", listener.local_addr().unwrap());
    coracle.run(["tag", "busybox", &name]).ok();
    let child = coracle.start(["push", &name]);
    let connection = listener.accept().unwrap();
    let start = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let outcome = testkit::sandbox::outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(connection);
    coracle.run(["images", "-aq"]).ok();
    let left = std::fs::read_dir(coracle.path().join("root/tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "temporary files are left");
}

#[test]
fn a_failing_push_leaves_nothing_and_can_be_done_again() {
    let coracle = sandbox();
    let registry = FakeRegistry::start();
    let name = format!("{}/tools:1", registry.host());
    coracle.run(["tag", "busybox", &name]).ok();
    for (part, fault, says) in [
        (
            "/blobs/uploads/",
            Fault::error(403, "DENIED", "no"),
            "push access denied for",
        ),
        (
            "/manifests/",
            Fault::error(400, "MANIFEST_INVALID", "not like this"),
            "not like this (HTTP status 400)",
        ),
        (
            "/uploads/",
            Fault::Status(429, vec![("retry-after".into(), "3600".into())], String::new()),
            "asks to wait 3600 s",
        ),
    ] {
        registry.always(part, fault);
        let told = coracle.run(["push", &name]).fails(1);
        assert!(told.contains(says), "{told}");
        registry.reset();
        registry.remove("/blobs/");
        let left = std::fs::read_dir(coracle.path().join("root/tmp")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{part}: temporary files are left");
    }
    registry.script("/uploads/1", [Fault::CutAfter(1000), Fault::CutAfter(100_000)]);
    coracle.run(["push", "-q", &name]).ok();
    assert!(registry.object("/v2/tools/manifests/1").is_some());
}
