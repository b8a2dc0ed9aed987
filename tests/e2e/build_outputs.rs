//! What `build` gives besides an image in the store, and what it tells of itself.

use crate::sandbox;
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Outcome, Sandbox};

fn build(coracle: &Sandbox, arguments: &[&str]) -> Outcome {
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    coracle.run([&["build", "--progress", "plain"], arguments, &[context]].concat())
}

fn context(coracle: &Sandbox, dockerfile: &str) {
    coracle.write("context/Dockerfile", dockerfile);
    coracle.write("context/data.csv", "1,2\n");
    coracle.write("context/sub/deep.txt", "deep\n");
}

fn unpacked(tar: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let status = Command::new("tar")
        .arg("-xf")
        .arg(tar)
        .arg("-C")
        .arg(into)
        .status()
        .unwrap();
    assert!(status.success());
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, digest: &Value) -> PathBuf {
    let digest = digest.as_str().unwrap();
    layout
        .join("blobs/sha256")
        .join(digest.strip_prefix("sha256:").unwrap())
}

#[test]
fn files_go_into_a_directory_and_a_tar() {
    let coracle = sandbox();
    context(
        &coracle,
        "FROM busybox AS made\nRUN mkdir /out && echo result > /out/r && ln -s r /out/link && chmod 640 /out/r\n\
         FROM scratch\nCOPY --from=made /out/ /\nCOPY --chown=5:6 data.csv /d/data.csv\n",
    );
    let out = coracle.path().join("out");
    let out_text = out.to_str().unwrap();
    coracle.write("out/kept", "kept");
    coracle.write("out/r", "old and longer than the new one");
    build(&coracle, &["-t", "unused", "-o", out_text]).ok();
    assert_eq!(std::fs::read_to_string(out.join("r")).unwrap(), "result\n");
    assert_eq!(std::fs::read_link(out.join("link")).unwrap(), Path::new("r"));
    assert_eq!(std::fs::read_to_string(out.join("kept")).unwrap(), "kept");
    let made = std::fs::metadata(out.join("r")).unwrap();
    assert_eq!(made.permissions().mode() & 0o7777, 0o640);
    let copied = std::fs::metadata(out.join("d/data.csv")).unwrap();
    assert_eq!((copied.uid(), copied.gid(), copied.mtime()), (0, 0, 315_532_800));
    // It went there and not into the store.
    assert!(
        !coracle
            .run(["images", "-a", "-q", "unused"])
            .ok()
            .contains("sha256")
    );
    assert_eq!(coracle.run(["images", "-q", "-f", "dangling=true"]).ok(), "");

    let tar = coracle.path().join("files.tar");
    build(&coracle, &["-o", &format!("type=tar,dest={}", tar.display())]).ok();
    let first = std::fs::read(&tar).unwrap();
    let piped = coracle
        .command([
            "build",
            "-q",
            "-o",
            "-",
            coracle.path().join("context").to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(piped.status.success());
    assert_eq!(piped.stdout, first, "the same files give the same tar");
    let again = coracle.path().join("again");
    unpacked(&tar, &again);
    assert_eq!(std::fs::read_to_string(again.join("r")).unwrap(), "result\n");
}

#[test]
fn a_link_in_the_destination_does_not_lead_out_of_it() {
    let coracle = sandbox();
    context(&coracle, "FROM scratch\nCOPY data.csv /etc/data.csv\n");
    let out = coracle.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let outside = coracle.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("etc")).unwrap();
    build(&coracle, &["-o", out.to_str().unwrap()]).fails(1);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn archives_have_the_form_that_was_asked_for() {
    let coracle = sandbox();
    context(&coracle, "FROM busybox\nCOPY data.csv /\nCMD cat /data.csv\n");
    for (number, (form, media_type)) in [
        ("compression=gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (
            "compression=zstd,compression-level=7",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (
            "compression=uncompressed",
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            "oci-mediatypes=false,force-compression=true",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let tar = coracle.path().join(format!("{number}.tar"));
        let output = format!("type=oci,dest={},{form},annotation.who=me", tar.display());
        let annotated = !form.contains("mediatypes=false");
        let output = if annotated {
            output
        } else {
            output.replace(",annotation.who=me", "")
        };
        build(&coracle, &["-t", "named:1", "-o", &output]).ok();
        let first = std::fs::read(&tar).unwrap();
        build(&coracle, &["-t", "named:1", "--no-cache", "-o", &output]).ok();
        assert_eq!(
            std::fs::read(&tar).unwrap(),
            first,
            "{form}: the same bytes every time"
        );
        let layout = coracle.path().join(format!("layout-{number}"));
        unpacked(&tar, &layout);
        let index = json(&layout.join("index.json"));
        let entry = &index["manifests"][0];
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "docker.io/library/named:1"
        );
        let manifest = json(&blob(&layout, &entry["digest"]));
        if annotated {
            assert_eq!(manifest["annotations"]["who"], "me");
        }
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], media_type, "{form}");
            let path = blob(&layout, &layer["digest"]);
            assert_eq!(
                std::fs::metadata(&path).unwrap().len(),
                layer["size"].as_u64().unwrap()
            );
            let sum = Command::new("sha256sum").arg(&path).output().unwrap();
            let sum = String::from_utf8(sum.stdout).unwrap();
            assert!(
                layer["digest"]
                    .as_str()
                    .unwrap()
                    .ends_with(sum.split(' ').next().unwrap())
            );
        }
        // What was written can be read again, by us and by others.
        coracle.run(["load", "-i", tar.to_str().unwrap()]).ok();
        assert_eq!(coracle.run(["run", "--rm", "named:1"]).ok(), "1,2\n");
        coracle.run(["rmi", "named:1"]).ok();
        let read = Command::new("skopeo")
            .args(["inspect", "--raw", &format!("oci-archive:{}", tar.display())])
            .output()
            .unwrap();
        assert!(read.status.success(), "{read:?}");
    }
}

#[test]
fn annotations_that_nothing_keeps_are_warned_of() {
    let coracle = sandbox();
    context(&coracle, "FROM scratch\nCOPY data.csv /\n");
    let annotated = ["--annotation", "a=b"];
    let into_store = build(&coracle, &[&annotated[..], &["-t", "x"]].concat());
    assert_eq!(into_store.code, 0, "{}", into_store.stderr);
    assert!(
        into_store.stderr.contains("--annotation has no effect here"),
        "{}",
        into_store.stderr
    );
    let layout = format!("type=oci,dest={}", coracle.path().join("x.tar").display());
    let into_file = build(&coracle, &[&annotated[..], &["-o", &layout]].concat());
    assert!(!into_file.stderr.contains("no effect"), "{}", into_file.stderr);
}

#[test]
fn dockers_archive_and_a_layout_directory() {
    let coracle = sandbox();
    context(&coracle, "FROM busybox\nCOPY data.csv /\nCMD cat /data.csv\n");
    let tar = coracle.path().join("docker.tar");
    let layout = coracle.path().join("layout");
    let outputs = [
        format!("type=docker,dest={}", tar.display()),
        format!("type=oci,tar=false,dest={}", layout.display()),
    ];
    build(&coracle, &["-t", "both:1", "-o", &outputs[0], "-o", &outputs[1]]).ok();
    let read = Command::new("skopeo")
        .args([
            "inspect",
            "--config",
            &format!("docker-archive:{}", tar.display()),
        ])
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    assert_eq!(json(&layout.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let read = Command::new("skopeo")
        .args(["inspect", "--raw", &format!("oci:{}", layout.display())])
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    // Without a destination it is kept here.
    build(&coracle, &["-t", "kept:1", "-o", "type=docker"]).ok();
    build(&coracle, &["-o", "type=image,name=kept:2"]).ok();
    for name in ["kept:1", "kept:2"] {
        assert_eq!(coracle.run(["run", "--rm", name]).ok(), "1,2\n");
    }
    let refused = build(&coracle, &["-o", "type=registry"]).fails(1);
    assert!(
        refused.contains("tag is needed when pushing to registry"),
        "{refused}"
    );
    let is_directory = build(&coracle, &["-o", &format!("type=tar,dest={}", layout.display())]).fails(1);
    assert!(is_directory.contains("is a directory"), "{is_directory}");
}

#[test]
fn several_platforms_become_one_index() {
    let coracle = sandbox();
    context(
        &coracle,
        "FROM scratch\nARG TARGETARCH\nCOPY data.csv /${TARGETARCH}.csv\n",
    );
    let layout = coracle.path().join("layout");
    let oci = format!("type=oci,tar=false,dest={}", layout.display());
    let out = coracle.path().join("out");
    let platforms = "linux/amd64,linux/arm64,linux/arm/v7";
    build(
        &coracle,
        &[
            "--platform",
            platforms,
            "-t",
            "many:1",
            "-o",
            &oci,
            "-o",
            out.to_str().unwrap(),
        ],
    )
    .ok();
    let index = json(&layout.join("index.json"));
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    let inner = json(&blob(&layout, &entries[0]["digest"]));
    let architectures: Vec<&str> = inner["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(architectures, ["amd64", "arm64", "arm"]);
    for (platform, file) in [
        ("linux_amd64", "amd64"),
        ("linux_arm64", "arm64"),
        ("linux_arm_v7", "arm"),
    ] {
        assert!(
            out.join(platform).join(format!("{file}.csv")).exists(),
            "{platform}"
        );
    }
    let kept = build(&coracle, &["--platform", platforms, "-t", "many:1"]);
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    let arm = [
        "image",
        "inspect",
        "-f",
        "{{.Architecture}}",
        "--platform",
        "linux/arm/v7",
        "many:1",
    ];
    assert_eq!(coracle.run(arm).ok(), "arm\n");
    // One foreign platform is an image like any other, but its programs need an interpreter.
    build(&coracle, &["--platform", "linux/s390x", "-t", "foreign"]).ok();
    let platform = coracle
        .run(["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "foreign"])
        .ok();
    assert_eq!(platform, "linux/s390x\n");
    coracle.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY data.csv /\nRUN [\"/data.csv\"]\n",
    );
    let run = build(&coracle, &["--platform", "linux/loong64", "-t", "foreign"]).fails(1);
    assert!(
        run.contains("no interpreter for linux/loong64") && run.contains("Dockerfile:3"),
        "{run}"
    );
}

#[test]
fn what_run_makes_is_the_same_each_time() {
    let coracle = sandbox();
    context(
        &coracle,
        "FROM busybox\nRUN date > /dev/null; mkdir -p /var/log/apt /root/.cache/pip; date > /var/log/dpkg.log; \
         date > /root/.cache/pip/when; echo fixed > /made; touch -d '2001-02-03 04:05:06' /old\n",
    );
    let id = |tag: &str| coracle.run(["images", "-q", "--no-trunc", tag]).ok();
    build(&coracle, &["-t", "a", "--no-cache"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let path = coracle.path().join("context");
    let mut other = Command::new("sh");
    let plain = coracle.command(["build", "--no-cache", "-t", "b", path.to_str().unwrap()]);
    other
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    let output = other.env("TZ", "Asia/Tokyo").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(id("a"), id("b"));
    let found = |tag: &str| {
        let script = "stat -c '%n %Y' /made /old; ls -A /var/log /root/.cache";
        coracle.run(["run", "--rm", tag, "sh", "-c", script]).ok()
    };
    let tidy = found("a");
    assert!(
        tidy.contains("/made 315532800\n") && tidy.contains("/old 981173106\n"),
        "{tidy}"
    );
    assert!(!tidy.contains("dpkg.log") && !tidy.contains("pip"), "{tidy}");
    build(&coracle, &["-t", "raw", "--reproducible=false"]).ok();
    let raw = found("raw");
    assert!(raw.contains("dpkg.log") && raw.contains("pip"), "{raw}");
    assert!(!raw.contains("/made 315532800"), "{raw}");
}

#[test]
fn an_image_is_as_old_as_its_sources() {
    let coracle = sandbox();
    context(&coracle, "FROM scratch\nCOPY data.csv /\n");
    let created = || {
        build(&coracle, &["-t", "dated"]).ok();
        coracle
            .run(["image", "inspect", "-f", "{{.Created}}", "dated"])
            .ok()
    };
    assert_eq!(created(), "1980-01-01T00:00:00Z\n");
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "x"]] {
        let status = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .current_dir(coracle.path().join("context"))
            .env("GIT_COMMITTER_DATE", "@1600000000 +0000")
            .status()
            .unwrap();
        assert!(status.success());
    }
    assert_eq!(created(), "2020-09-13T12:26:40Z\n");
    build(
        &coracle,
        &["-t", "dated", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"],
    )
    .ok();
    let explicit = coracle
        .run(["image", "inspect", "-f", "{{.Created}}", "dated"])
        .ok();
    assert_eq!(explicit, "2023-11-14T22:13:20Z\n");
}

#[test]
fn verify_names_the_step_and_the_files() {
    let coracle = sandbox();
    context(
        &coracle,
        "FROM busybox\nRUN echo same > /same\nRUN head -c 16 /dev/urandom > /random; nproc > /processors\nCOPY data.csv /\n",
    );
    let found = build(&coracle, &["-t", "v", "--verify"]).fails(1);
    let output = coracle.run([
        "build",
        "-q",
        "--verify",
        coracle.path().join("context").to_str().unwrap(),
    ]);
    assert!(
        output.stdout.contains("/random: content"),
        "{} {found}",
        output.stdout
    );
    assert!(!output.stdout.contains("/same"), "{}", output.stdout);
    context(
        &coracle,
        "FROM busybox\nRUN echo same > /same; umask > /umask\nCOPY . /all\nRUN --mount=target=/src cat /src/data.csv > /copied\n",
    );
    let dangling = || coracle.run(["images", "-q", "-f", "dangling=true"]).ok();
    let before = dangling();
    let same = coracle.run([
        "build",
        "-q",
        "--verify",
        "-t",
        "same",
        coracle.path().join("context").to_str().unwrap(),
    ]);
    assert!(
        same.stdout.contains("both builds gave sha256:"),
        "{}",
        same.stdout
    );
    same.ok();
    // A file's time in the sources is not the same in the second.
    context(
        &coracle,
        "FROM busybox\nRUN --mount=target=/src stat -c %Y /src/data.csv > /when; stat -c %a,%u /src/data.csv > /what\n",
    );
    let path = coracle.path().join("context");
    let times = coracle.run(["build", "-q", "--verify", "-t", "when", path.to_str().unwrap()]);
    assert!(
        times.stdout.contains("/when: content") && !times.stdout.contains("/what:"),
        "{}",
        times.stdout
    );
    times.fails(1);
    // The second build has left no image behind.
    assert_eq!(dangling(), before);
}

#[test]
fn explain_says_what_changed() {
    let coracle = sandbox();
    context(
        &coracle,
        "FROM busybox\nARG WHO=me\nRUN echo $WHO > /who\nCOPY . /all/\nRUN true\n",
    );
    let explained = |arguments: &[&str]| {
        let outcome = build(&coracle, &[&["--explain", "-t", "e"], arguments].concat());
        let text = outcome.stderr.clone();
        outcome.ok();
        let (_, table) = text
            .split_once("STEP")
            .unwrap_or_else(|| panic!("no table: {text}"));
        table.to_owned()
    };
    let first = explained(&[]);
    assert_eq!(first.matches(" built ").count(), 3, "{first}");
    assert!(first.contains("nothing like it is in the cache"), "{first}");
    let second = explained(&[]);
    assert_eq!(second.matches(" cached ").count(), 3, "{second}");
    coracle.write("context/sub/deep.txt", "changed\n");
    let third = explained(&[]);
    assert!(third.contains("changed: sub/deep.txt (changed)"), "{third}");
    assert!(third.contains("changed: what it stands on"), "{third}");
    assert_eq!(third.matches(" cached ").count(), 1, "{third}");
    let fourth = explained(&["--build-arg", "WHO=you"]);
    assert!(fourth.contains("changed: the variable WHO"), "{fourth}");
}

#[test]
fn a_lock_file_pins_what_names_mean() {
    let coracle = sandbox();
    context(&coracle, "FROM busybox\nCOPY data.csv /\n");
    let path = coracle.path().join("context");
    let path = path.to_str().unwrap();
    let missing = build(&coracle, &["--locked"]).fails(1);
    assert!(
        missing.contains("Dockerfile.lock") && missing.contains("lock update"),
        "{missing}"
    );
    coracle.run(["lock", "update", path]).ok();
    let lock = std::fs::read_to_string(coracle.path().join("context/Dockerfile.lock")).unwrap();
    assert!(lock.contains("docker.io/library/busybox:latest linux/"), "{lock}");
    build(&coracle, &["--locked", "-t", "locked"]).ok();
    // The name means another image now.
    coracle.write("context/Dockerfile", "FROM busybox\nRUN true\n");
    build(&coracle, &["-t", "busybox"]).ok();
    context(&coracle, "FROM busybox\nCOPY data.csv /\n");
    let stale = build(&coracle, &["--locked", "-t", "locked"]).fails(1);
    assert!(stale.contains("Dockerfile.lock wants sha256:"), "{stale}");
    context(&coracle, "FROM scratch\nCOPY --from=other:1 / /\n");
    let unknown = build(&coracle, &["--locked", "-t", "locked"]).fails(1);
    assert!(
        unknown.contains("other:1") && unknown.contains("'lock update' renews it"),
        "{unknown}"
    );
    coracle.write("context/Dockerfile.lock", "{\"version\": 9}");
    let newer = build(&coracle, &["--locked"]).fails(1);
    assert!(newer.contains("version 9"), "{newer}");
}

#[test]
fn a_cache_comes_back_from_files() {
    let here = sandbox();
    context(
        &here,
        "FROM busybox AS made\nRUN head -c 8 /dev/urandom > /once\nRUN true\nFROM busybox\nCOPY --from=made /once /\nRUN sha256sum /once > /sum\n",
    );
    let cache = here.path().join("cache");
    let to = format!("type=local,dest={},mode=max", cache.display());
    let small = here.path().join("small");
    let to_small = format!("type=local,dest={},compression=gzip", small.display());
    build(&here, &["-t", "c", "--cache-to", &to, "--cache-to", &to_small]).ok();
    let id = here.run(["images", "-q", "--no-trunc", "c"]).ok();
    let kept = std::fs::read_dir(cache.join("blobs/sha256")).unwrap().count();
    assert!(std::fs::read_dir(small.join("blobs/sha256")).unwrap().count() < kept);
    here.run(["rmi", "c"]).ok();
    here.run(["builder", "prune", "-af"]).ok();
    let from = format!("type=local,src={}", cache.display());
    let again = build(&here, &["-t", "c", "--cache-from", &from, "--cache-to", &to]);
    assert_eq!(again.stderr.matches("CACHED").count(), 4, "{}", again.stderr);
    again.ok();
    assert_eq!(here.run(["images", "-q", "--no-trunc", "c"]).ok(), id);
    // What is damaged or missing is said and not used.
    here.run(["builder", "prune", "-af"]).ok();
    for entry in std::fs::read_dir(cache.join("blobs/sha256")).unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    for source in [&from, &"type=local,src=/nonexistent".to_owned()] {
        let outcome = build(&here, &["-t", "d", "--cache-from", source]);
        assert!(outcome.stderr.contains("is not used"), "{}", outcome.stderr);
        outcome.ok();
    }
    let refused = build(&here, &["--cache-to", "type=gha"]).fails(1);
    assert!(refused.contains("type=local,dest=DIRECTORY"), "{refused}");
}

#[test]
fn a_build_is_pushed_under_its_names() {
    let coracle = sandbox();
    let registry = crate::registry::Registry::start(coracle.path());
    context(&coracle, "FROM busybox\nCOPY data.csv /\nCMD cat /data.csv\n");
    let name = |tag: &str| format!("{}/built:{tag}", registry.address);
    build(&coracle, &["-t", &name("1"), "--push"]).ok();
    build(
        &coracle,
        &["-o", &format!("type=image,name={},push=true", name("2"))],
    )
    .ok();
    for tag in ["1", "2"] {
        coracle.run(["rmi", &name(tag)]).ok();
        assert_eq!(coracle.run(["run", "--rm", &name(tag)]).ok(), "1,2\n");
    }
}
