//! `image prune --keep --until --max-size`, and the policy in the configuration file.

use crate::sandbox;
use testkit::Sandbox;

/// Builds `FROM busybox` and a file of a megabyte that no other image has.
fn build(sandbox: &Sandbox, tag: &str) {
    let directory = format!("context-{}", tag.replace([':', '/'], "-"));
    let content = format!("{tag} ").repeat((1 << 20) / (tag.len() + 1));
    sandbox.write(&format!("{directory}/file"), &content);
    sandbox.write(
        &format!("{directory}/Dockerfile"),
        "FROM busybox\nCOPY file /file\n",
    );
    sandbox.run(["build", "-q", "-t", tag, &directory]).ok();
    // What is younger must be told from what is older.
    std::thread::sleep(std::time::Duration::from_millis(5));
}

fn tags(sandbox: &Sandbox) -> Vec<String> {
    let list = sandbox
        .run(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
        .ok();
    let mut tags: Vec<String> = list.lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

#[test]
fn the_newest_of_each_repository_stay() {
    let sandbox = sandbox();
    for tag in ["a:1", "a:2", "a:3", "b:1"] {
        build(&sandbox, tag);
    }
    sandbox.run(["create", "--name", "user", "a:1"]).ok();
    let output = sandbox.run(["image", "prune", "-f", "--keep", "1"]).ok();
    assert!(output.contains("untagged: a:2"), "{output}");
    // A container stands on a:1, the others are the newest of theirs.
    assert_eq!(tags(&sandbox), ["a:1", "a:3", "b:1", "busybox:latest"]);
    let again = sandbox.run(["image", "prune", "-f", "--keep", "1"]).ok();
    assert_eq!(again, "Total reclaimed space: 0B\n");
}

#[test]
fn the_longest_unused_go_until_there_is_room() {
    let sandbox = sandbox();
    for tag in ["old:1", "used:1", "new:1"] {
        build(&sandbox, tag);
    }
    // A run counts as use, also when the container is gone.
    sandbox.run(["run", "--rm", "used:1", "true"]).ok();
    sandbox.run(["builder", "prune", "-af"]).ok();
    let used = tree_size(&sandbox);
    let room = (used - (1 << 19)).to_string();
    let output = sandbox.run(["image", "prune", "-f", "--max-size", &room]).ok();
    assert!(output.contains("untagged: old:1"), "{output}");
    assert_eq!(tags(&sandbox), ["busybox:latest", "new:1", "used:1"]);
    // The base goes last: what stands on it has been used since.
    sandbox.run(["image", "prune", "-f", "--max-size", "0"]).ok();
    assert_eq!(tags(&sandbox), Vec::<String>::new());
}

/// Bytes of what the store says it holds.
fn tree_size(sandbox: &Sandbox) -> u64 {
    let script = format!(
        "find {0}/root/layers {0}/root/blobs -type f -printf '%s\\n' | awk '{{s+=$1}} END {{print s}}'",
        sandbox.path().display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

#[test]
fn what_was_used_lately_stays() {
    let sandbox = sandbox();
    build(&sandbox, "a:1");
    sandbox.run(["image", "prune", "-f", "--until", "1h"]).ok();
    assert_eq!(tags(&sandbox), ["a:1", "busybox:latest"]);
    sandbox.run(["image", "prune", "-f", "--until", "0s"]).ok();
    assert_eq!(tags(&sandbox), Vec::<String>::new());
}

#[test]
fn a_policy_prunes_by_itself() {
    let sandbox = sandbox();
    for tag in ["a:1", "a:2"] {
        build(&sandbox, tag);
    }
    let config = sandbox.write("config.toml", "[image_policy]\nkeep = 1\n");
    let config = config.to_str().unwrap();
    // What is fresh stays, policy or not: somebody may be about to use it.
    sandbox.write("next/Dockerfile", "FROM busybox\nLABEL a=b\n");
    let next = ["--config-file", config, "build", "-q", "-t", "a:3", "next"];
    sandbox.run(next).ok();
    assert_eq!(tags(&sandbox), ["a:1", "a:2", "a:3", "busybox:latest"]);
    let database = sandbox.path().join("root/state.db");
    let yesterday = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); day = 86400 * 10**9; \
                     d.execute('UPDATE images SET created = created - ?', [day]); \
                     d.execute('UPDATE tags SET updated = updated - ?', [day]); d.commit()";
    let status = std::process::Command::new("python3")
        .args(["-c", yesterday])
        .arg(&database)
        .status();
    assert!(status.unwrap().success());
    sandbox.write("next/Dockerfile", "FROM busybox\nLABEL a=c\n");
    let output = sandbox.run(["--config-file", config, "info"]).ok();
    assert!(output.contains("Image policy: keep=1"), "{output}");
    sandbox
        .run(["--config-file", config, "build", "-q", "-t", "a:4", "next"])
        .ok();
    assert_eq!(tags(&sandbox), ["a:4", "busybox:latest"]);
}

#[test]
fn options_that_contradict_are_refused() {
    let sandbox = crate::empty();
    let error = sandbox
        .run(["image", "prune", "-f", "-a", "--keep", "2"])
        .fails(1);
    assert!(error.contains("conflicting options: --keep"), "{error}");
    let error = sandbox
        .run(["image", "prune", "-f", "--max-size", "much"])
        .fails(125);
    assert!(error.contains("invalid size: 'much'"), "{error}");
}
