//! Build caches that go from machine to machine: in registries, in images, and cache mounts in archives.

use crate::sandbox;
use std::process::Command;
use testkit::{Outcome, Sandbox};

const STAGES: &str = "FROM busybox AS made\nRUN head -c 8 /dev/urandom > /once\nRUN true\nFROM busybox\n\
     COPY --from=made /once /own\nRUN sha256sum /own > /sum\n";

fn build(coracle: &Sandbox, arguments: &[&str]) -> Outcome {
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    coracle.run([&["build", "--progress", "plain"], arguments, &[context]].concat())
}

fn id(coracle: &Sandbox, tag: &str) -> String {
    coracle.run(["images", "-q", "--no-trunc", tag]).ok()
}

/// Forgets all images but the base, and all of the build cache.
fn forget(coracle: &Sandbox, images: &[&str]) {
    for image in images {
        coracle.run(["rmi", "-f", image]).ok();
    }
    coracle.run(["builder", "prune", "-af"]).ok();
}

#[test]
fn a_cache_comes_back_from_a_registry() {
    let here = sandbox();
    here.write("context/Dockerfile", STAGES);
    let registry = crate::registry::Registry::start(here.path());
    let all = format!("{}/team/app:all", registry.address);
    let own = format!("{}/team/app:own", registry.address);
    let to_all = format!("type=registry,ref={all},mode=max");
    let to_own = format!("type=registry,ref={own},compression=gzip,image-manifest=true,oci-mediatypes=true");
    let first = build(&here, &["-t", "c", "--cache-to", &to_all, "--cache-to", &to_own]);
    assert!(first.stderr.contains(&format!("to {all}")), "{}", first.stderr);
    first.ok();
    let made = id(&here, "c");
    let manifest = registry.manifest("team/app:all");
    assert!(
        manifest.contains("application/vnd.coracle.build-cache.v1+json")
            && manifest.contains("layer.v1.tar+zstd"),
        "{manifest}"
    );
    let manifest = registry.manifest("team/app:own");
    assert!(
        manifest.contains("layer.v1.tar+gzip") && !manifest.contains("zstd"),
        "{manifest}"
    );
    // All steps, in the form that names the type and in the short one.
    for from in [format!("type=registry,ref={all}"), all.clone()] {
        forget(&here, &["c"]);
        let again = build(&here, &["-t", "c", "--cache-from", &from]);
        assert_eq!(again.stderr.matches("CACHED").count(), 4, "{}", again.stderr);
        assert!(
            again.stderr.contains("importing cache manifest"),
            "{}",
            again.stderr
        );
        again.ok();
        assert_eq!(id(&here, "c"), made);
        assert_eq!(
            here.run(["run", "--rm", "c", "sha256sum", "-c", "/sum"]).ok(),
            "/own: OK\n"
        );
    }
    // Only the steps whose layers the image has: the stage that it copies from is made anew, and gives another file.
    forget(&here, &["c"]);
    let again = build(&here, &["-t", "c", "--cache-from", &own]);
    assert!(again.stderr.matches("CACHED").count() < 2, "{}", again.stderr);
    again.ok();
    assert_ne!(id(&here, "c"), made);
    // --no-cache asks nobody.
    let anew = build(&here, &["-t", "c", "--no-cache", "--cache-from", &all]);
    assert!(
        !anew.stderr.contains("importing") && !anew.stderr.contains("CACHED"),
        "{}",
        anew.stderr
    );
    anew.ok();
}

#[test]
fn only_the_layers_that_are_wanted_are_fetched() {
    let here = sandbox();
    here.write(
        "context/Dockerfile",
        "FROM busybox AS large\nRUN head -c 3000000 /dev/urandom > /large\nFROM busybox AS small\nRUN echo 1 > /small\n\
         FROM small\nCOPY --from=large /large /\n",
    );
    let registry = crate::registry::Registry::start(here.path());
    let cache = format!("{}/cache", registry.address);
    let to = format!("type=registry,ref={cache},mode=max");
    build(&here, &["-t", "c", "--cache-to", &to]).ok();
    forget(&here, &["c"]);
    let again = build(&here, &["-t", "s", "--target", "small", "--cache-from", &cache]);
    assert_eq!(again.stderr.matches("CACHED").count(), 1, "{}", again.stderr);
    again.ok();
    let used = here.run(["system", "df", "--format", "{{.Type}} {{.Size}}"]).ok();
    let cached = used.lines().find(|line| line.starts_with("Build Cache")).unwrap();
    assert!(!cached.contains("MB"), "{used}");
}

#[test]
fn a_cache_that_is_not_there_or_damaged_makes_the_build_slower_not_wrong() {
    let here = sandbox();
    here.write(
        "context/Dockerfile",
        "FROM busybox\nRUN echo 1 > /one\nRUN echo 2 > /two\n",
    );
    let registry = crate::registry::Registry::start(here.path());
    let cache = format!("{}/cache:1", registry.address);
    let outcome = build(&here, &["-t", "c", "--cache-from", &cache]);
    assert!(outcome.stderr.contains("is not used"), "{}", outcome.stderr);
    outcome.ok();
    let image = format!("{}/image:1", registry.address);
    build(&here, &["-t", &image, "--push"]).ok();
    let outcome = build(
        &here,
        &["-t", "c", "--no-cache-filter", "x", "--cache-from", &image],
    );
    assert!(
        outcome.stderr.contains("has no build cache in it"),
        "{}",
        outcome.stderr
    );
    outcome.ok();
    // A blob that is something else: said once, and the rest is built.
    build(
        &here,
        &["-t", "c", "--cache-to", &format!("type=registry,ref={cache}")],
    )
    .ok();
    let made = id(&here, "c");
    let manifest: serde_json::Value = serde_json::from_str(&registry.manifest("cache:1")).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let hex = layer.strip_prefix("sha256:").unwrap();
    let found = Command::new("find")
        .arg(here.path())
        .args(["-path", &format!("*{hex}/data")])
        .output()
        .unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    let mut content = std::fs::read(path.trim()).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(path.trim(), content).unwrap();
    forget(&here, &["c", &image]);
    let outcome = build(&here, &["-t", "c", "--cache-from", &cache]);
    assert_eq!(
        outcome.stderr.matches("is not used any further").count(),
        1,
        "{}",
        outcome.stderr
    );
    outcome.ok();
    assert_eq!(id(&here, "c"), made);
    // Where it cannot go.
    let nowhere = "type=registry,ref=127.0.0.1:1/x";
    let failed = build(&here, &["-t", "c", "--cache-to", nowhere]).fails(1);
    assert!(
        failed.contains("exporting the cache to 127.0.0.1:1/x:latest"),
        "{failed}"
    );
    let lenient = build(
        &here,
        &["-t", "c", "--cache-to", &format!("{nowhere},ignore-error=true")],
    );
    assert!(lenient.stderr.contains("was not exported"), "{}", lenient.stderr);
    lenient.ok();
    for (kind, word) in [
        ("gha", "actions/cache"),
        ("s3,bucket=x", "object stores"),
        ("azblob", "object stores"),
    ] {
        let refused = build(&here, &["--cache-to", &format!("type={kind}")]).fails(1);
        assert!(refused.contains(word), "{refused}");
        let refused = build(&here, &["--cache-from", &format!("type={kind}")]).fails(1);
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn an_image_carries_its_own_cache() {
    let here = sandbox();
    here.write(
        "context/Dockerfile",
        "FROM busybox\nWORKDIR /work\nRUN head -c 8 /dev/urandom > /once\nCOPY Dockerfile /\nCMD true\n",
    );
    let registry = crate::registry::Registry::start(here.path());
    let image = format!("{}/app:1", registry.address);
    build(&here, &["-t", &image, "--cache-to", "type=inline", "--push"]).ok();
    let made = id(&here, &image);
    forget(&here, &[&image]);
    let again = build(
        &here,
        &["-t", &image, "--cache-to", "type=inline", "--cache-from", &image],
    );
    assert_eq!(again.stderr.matches("CACHED").count(), 3, "{}", again.stderr);
    again.ok();
    // What is in it does not depend on whether its steps were cached.
    assert_eq!(id(&here, &image), made);
    // What stands on it does not take it over.
    here.write("context/Dockerfile", &format!("FROM {image}\nRUN true > /more\n"));
    build(&here, &["-t", "child"]).ok();
    here.run([
        "save",
        "-o",
        here.path().join("child.tar").to_str().unwrap(),
        "child",
    ])
    .ok();
    let tar = std::fs::read(here.path().join("child.tar")).unwrap();
    let marker = b"coracle.build.steps.v1";
    assert!(!tar.windows(marker.len()).any(|window| window == marker));
    // From an image that was fetched before, when its registry is gone.
    here.write(
        "context/Dockerfile",
        "FROM busybox\nWORKDIR /work\nRUN head -c 8 /dev/urandom > /once\nCOPY Dockerfile /other\n",
    );
    here.run(["rmi", "child"]).ok();
    here.run(["builder", "prune", "-af"]).ok();
    drop(registry);
    let offline = build(&here, &["-t", "c", "--cache-from", &image]);
    assert_eq!(offline.stderr.matches("CACHED").count(), 2, "{}", offline.stderr);
    offline.ok();
}

const WITH_MOUNT: &str = "FROM busybox\nARG N\nRUN --mount=type=cache,id=pip/one,target=/c echo $N >> /c/log; cp /c/log /log; \
     ln -sf /etc/passwd /c/out; mkfifo /c/fifo 2>/dev/null; chown 7:8 /c/log\n";

fn log(coracle: &Sandbox, number: &str, more: &[&str]) -> String {
    let argument = format!("N={number}");
    build(coracle, &[&["-t", "m", "--build-arg", &argument], more].concat()).ok();
    coracle.run(["run", "--rm", "m", "cat", "/log"]).ok()
}

#[test]
fn cache_mounts_go_into_archives_and_come_back() {
    let here = sandbox();
    here.write("context/Dockerfile", WITH_MOUNT);
    assert_eq!(log(&here, "1", &[]), "1\n");
    assert_eq!(here.run(["builder", "cache", "ls", "-q"]).ok(), "pip/one\n");
    let file = here.path().join("pip.tar.zst");
    let file = file.to_str().unwrap();
    here.run(["builder", "cache", "export", "pip/one", file]).ok();
    here.run(["builder", "prune", "-af"]).ok();
    assert_eq!(log(&here, "2", &[]), "2\n");
    here.run(["builder", "cache", "import", "pip/one", file]).ok();
    assert_eq!(log(&here, "3", &[]), "1\n3\n");
    // By its key, through pipes, as a plain tar, under another name, and with owners and all that is no file.
    let key = here.run(["builder", "cache", "ls", "--format", "{{.Key}}"]).ok();
    let plain = here.path().join("plain.tar");
    let script = format!("\"$0\" \"$@\" | zstd -dc > {}", plain.display());
    let export = here.command(["builder", "cache", "export", key.trim(), "-"]);
    let mut piped = Command::new("sh");
    piped
        .arg("-c")
        .arg(script)
        .arg(export.get_program())
        .args(export.get_args());
    piped.envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(piped.status().unwrap().success());
    let listed = Command::new("tar")
        .args(["-tvf", plain.to_str().unwrap()])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("7/8") && listed.contains("out -> /etc/passwd") && listed.contains("prw"),
        "{listed}"
    );
    here.run(["builder", "cache", "import", "other", plain.to_str().unwrap()])
        .ok();
    let names = here.run(["builder", "cache", "ls", "-q"]).ok();
    assert_eq!(names.lines().count(), 2, "{names}");
    // What is no archive changes nothing.
    here.write("garbage", "garbage");
    let garbage = here.path().join("garbage");
    here.run(["builder", "cache", "import", "pip/one", garbage.to_str().unwrap()])
        .fails(1);
    assert_eq!(log(&here, "4", &[]), "1\n3\n4\n");
    let unknown = here.run(["builder", "cache", "export", "nobody", "-"]).fails(1);
    assert!(unknown.contains("nobody"), "{unknown}");
    here.run(["builder", "cache", "export"]).fails(1);
}

#[test]
fn a_hostile_archive_does_not_leave_its_mount() {
    let here = sandbox();
    let canary = here.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("file"), "untouched").unwrap();
    let canary_text = canary.to_str().unwrap();
    let make = |script: &str| {
        let tar = here.path().join("hostile.tar");
        let status = Command::new("python3")
            .args(["-c", &format!("import tarfile, io\nt = tarfile.open({:?}, 'w')\n\
                def add(name, kind=tarfile.REGTYPE, link='', data=b'evil', **more):\n\
                \x20   i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; i.size = len(data) if kind == tarfile.REGTYPE else 0\n\
                \x20   for k, v in more.items(): setattr(i, k, v)\n\
                \x20   t.addfile(i, io.BytesIO(data))\nC = {canary_text:?}\n{script}\nt.close()\n", tar.to_str().unwrap())])
            .status()
            .unwrap();
        assert!(status.success());
        tar
    };
    for script in [
        "add('../escaped')",
        "add('a/../../escaped')",
        "add(C + '/file')",
        "add('l', tarfile.SYMTYPE, C); add('l/file')",
        "add('l', tarfile.SYMTYPE, '../../../../..' + C); add('l/new')",
        "add('h', tarfile.LNKTYPE, C + '/file'); add('h')",
        "add('l', tarfile.SYMTYPE, C + '/file'); add('h', tarfile.LNKTYPE, 'l'); add('h')",
        "add('d', tarfile.CHRTYPE, devmajor=1, devminor=3)",
        "add('d', tarfile.BLKTYPE, devmajor=8, devminor=0)",
        "add('l', tarfile.SYMTYPE, C); add('l', tarfile.DIRTYPE, mode=0o777); add('l/file')",
        "add('.', tarfile.SYMTYPE, C); add('file')",
    ] {
        let tar = make(script);
        // Refused or kept inside, as the archive may be.
        let outcome = here.run(["builder", "cache", "import", "hostile", tar.to_str().unwrap()]);
        if script.contains("CHRTYPE") || script.contains("BLKTYPE") {
            assert!(
                outcome.fails(1).contains("device nodes have no place in it"),
                "{script}"
            );
        }
        let found: Vec<_> = std::fs::read_dir(&canary)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(found, ["file"], "{script}");
        assert_eq!(
            std::fs::read_to_string(canary.join("file")).unwrap(),
            "untouched",
            "{script}"
        );
        let escaped = Command::new("find")
            .arg(here.path())
            .args(["-name", "escaped", "-not", "-path", "*/data/*"])
            .output()
            .unwrap();
        assert!(
            escaped.stdout.is_empty(),
            "{script}: {}",
            String::from_utf8_lossy(&escaped.stdout)
        );
    }
}

#[test]
fn cache_mounts_travel_with_the_cache() {
    let here = sandbox();
    here.write("context/Dockerfile", WITH_MOUNT);
    let registry = crate::registry::Registry::start(here.path());
    let cache = format!("{}/cache:1", registry.address);
    let to = format!("type=registry,ref={cache},mounts=true");
    assert_eq!(log(&here, "1", &["--cache-to", &to]), "1\n");
    here.run(["rmi", "-f", "m"]).ok();
    here.run(["builder", "prune", "-af"]).ok();
    // Another step: it is built, and its mount begins with what was there.
    assert_eq!(log(&here, "2", &["--cache-from", &cache]), "1\n2\n");
    // One that is here stays as it is.
    assert_eq!(log(&here, "3", &["--cache-from", &cache]), "1\n2\n3\n");
    let directory = here.path().join("kept");
    let to = format!("type=local,dest={},mounts=true", directory.display());
    assert_eq!(log(&here, "4", &["--cache-to", &to]), "1\n2\n3\n4\n");
    here.run(["builder", "prune", "-af"]).ok();
    let from = format!("type=local,src={}", directory.display());
    assert_eq!(log(&here, "5", &["--cache-from", &from]), "1\n2\n3\n4\n5\n");
}

#[test]
fn the_cache_is_pruned_down_to_a_size_the_least_recently_used_first() {
    let here = sandbox();
    let random = |name: &str, kilobytes: u32| {
        format!("FROM busybox\nRUN head -c {kilobytes}000 /dev/urandom > /{name}\n")
    };
    let build_one = |name: &str, kilobytes| {
        here.write("context/Dockerfile", &random(name, kilobytes));
        build(&here, &["-o", "type=cacheonly", "-q"]).ok();
    };
    // What an image has does not count.
    here.write("context/Dockerfile", &random("kept", 4000));
    build(&here, &["-t", "kept"]).ok();
    for name in ["a", "b", "c"] {
        build_one(name, 1000);
    }
    here.write("context/Dockerfile", WITH_MOUNT);
    let cached = |name: &str| {
        here.write(
            "context/Dockerfile",
            &random(name, if name == "kept" { 4000 } else { 1000 }),
        );
        let outcome = build(&here, &["-o", "type=cacheonly"]);
        let is = outcome.stderr.contains("CACHED");
        outcome.ok();
        is
    };
    let prune = |flags: &[&str]| {
        here.run([&["builder", "prune", "-af", "--verbose"], flags].concat())
            .ok()
    };
    let nothing = prune(&["--max-used-space", "10mb"]);
    assert!(nothing.contains("Total:\t0B"), "{nothing}");
    let one = prune(&["--keep-storage", "2.5mb"]);
    assert_eq!(one.matches("sha256:").count(), 1, "{one}");
    assert!(cached("kept") && cached("b") && cached("c"));
    // In this order they were used last.
    let one = prune(&["--max-used-space", "1.5mb"]);
    assert_eq!(one.matches("sha256:").count(), 1, "{one}");
    assert!(cached("c") && !cached("b"));
    let plenty = prune(&["--min-free-space", "1kb"]);
    assert!(plenty.contains("Total:\t0B"), "{plenty}");
    let all = prune(&["--min-free-space", "1000tb", "--filter", "type=regular"]);
    assert_eq!(all.matches("sha256:").count(), 2, "{all}");
    assert!(cached("kept"));
    here.run(["builder", "prune", "-f", "--max-used-space", "much"])
        .fails(125);
}

#[test]
fn the_configuration_caps_the_cache() {
    let here = sandbox();
    here.write("config.toml", "build_cache_limit = \"1.5MB\"\n");
    let config = here.path().join("config.toml");
    let context = here.path().join("context");
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        here.write("context/Dockerfile", &format!("FROM busybox AS x\nRUN head -c 1000000 /dev/urandom > /{name}\nFROM busybox\nRUN --mount=from=x,target=/x true\n"));
        here.run([
            "--config-file",
            config.to_str().unwrap(),
            "build",
            "-q",
            context.to_str().unwrap(),
        ])
        .ok();
        let listed = here.run(["builder", "du", "--format", "{{.Size}}"]).ok();
        keys.push(listed.lines().filter(|line| *line == "1MB").count());
    }
    assert_eq!(
        keys,
        [1, 1, 1],
        "each build leaves its own large step, and none of those before"
    );
}

#[test]
fn a_layer_that_is_hashed_while_the_next_command_runs_is_the_same_layer() {
    let here = sandbox();
    here.write(
        "context/Dockerfile",
        "FROM busybox\nRUN mkdir -p /d /gone && chmod 700 / && head -c 20000000 /dev/zero > /d/zero && echo 1 > /gone/file\n\
         ENV A=1\nRUN rm -r /gone; echo $A > /d/a; chmod 755 /; rm /d/zero; mkdir /d/zero\nUSER 5\nRUN id -u > /tmp/id || mkdir /no\n\
         USER 0\nRUN --mount=type=cache,target=/c/d mkdir /c; echo 2 > /c/2; ls /d > /list\nWORKDIR /end/of\nRUN pwd > /pwd\nCMD cat /pwd\n"
            .replace("|| mkdir /no", "|| true")
            .as_str(),
    );
    build(&here, &["-t", "ahead"]).ok();
    let ahead = id(&here, "ahead");
    // All is found again by the keys that it was given when it was known what was below.
    let cached = build(&here, &["-t", "again"]);
    assert_eq!(cached.stderr.matches("CACHED").count(), 6, "{}", cached.stderr);
    cached.ok();
    forget(&here, &["ahead", "again"]);
    // With a cache to ask, each step waits for the one below.
    build(
        &here,
        &["-t", "behind", "--cache-from", "type=local,src=/nonexistent"],
    )
    .ok();
    assert_eq!(id(&here, "behind"), ahead);
    let history = |tag: &str| {
        here.run([
            "history",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}} {{.Size}}",
            tag,
        ])
        .ok()
    };
    assert!(history("behind").contains("20MB"), "{}", history("behind"));
    assert_eq!(
        here.run([
            "run",
            "--rm",
            "behind",
            "sh",
            "-c",
            "cat /pwd /list /d/a; ls -d /gone"
        ])
        .stdout,
        "/end/of\na\nzero\n1\n"
    );
    // The step before the one that fails is kept.
    here.write(
        "context/Dockerfile",
        "FROM busybox\nRUN head -c 9000000 /dev/urandom > /kept\nRUN sleep 1; exit 9\n",
    );
    build(&here, &[]).fails(1);
    here.write(
        "context/Dockerfile",
        "FROM busybox\nRUN head -c 9000000 /dev/urandom > /kept\nRUN true\n",
    );
    let kept = build(&here, &[]);
    assert_eq!(kept.stderr.matches("CACHED").count(), 1, "{}", kept.stderr);
    kept.ok();
    // What cannot be a layer is said with its own line, though the next command has run meanwhile.
    here.write(
        "context/Dockerfile",
        "FROM busybox\nRUN touch /.wh.x\nRUN echo next\n",
    );
    let refused = build(&here, &[]).fails(1);
    assert!(
        refused.contains("Dockerfile:2") && refused.contains("begins with '.wh.'"),
        "{refused}"
    );
}
