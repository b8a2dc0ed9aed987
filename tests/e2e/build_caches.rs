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
