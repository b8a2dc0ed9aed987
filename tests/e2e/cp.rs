//! `cp`.

use crate::sandbox;
use std::fs;

#[test]
fn files_and_directories_go_both_ways() {
    let coracle = sandbox();
    coracle.run(["create", "--name", "it", "busybox"]).ok();
    let file = coracle.write("in/file", "from the host\n");
    let directory = file.parent().unwrap().to_str().unwrap().to_owned();
    coracle
        .run(["cp", file.to_str().unwrap(), "it:/tmp/renamed"])
        .ok();
    coracle.run(["cp", &directory, "it:/tmp"]).ok();
    let out = coracle.path().join("out");
    coracle.run(["cp", "it:/tmp/renamed", out.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), "from the host\n");
    let tree = coracle.path().join("tree");
    coracle.run(["cp", "it:/tmp/.", tree.to_str().unwrap()]).ok();
    assert_eq!(
        fs::read_to_string(tree.join("in/file")).unwrap(),
        "from the host\n"
    );
    let missing = coracle.run(["cp", "it:/nosuch", "-"]).fails(1);
    assert!(missing.contains("/nosuch"), "{missing}");
}

#[test]
fn a_running_container_is_reached_too_and_links_lead_nowhere_else() {
    let coracle = sandbox();
    let canary = coracle.write("canary", "untouched\n");
    let script = format!(
        "ln -s {} /tmp/link; ln -s / /tmp/root; echo ready; sleep 100",
        canary.display()
    );
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", &script])
        .ok();
    while !coracle.run(["logs", "it"]).ok().contains("ready") {}
    let evil = coracle.write("evil", "evil\n");
    // The link's target does not exist inside the container, so a file cannot be written through it to the host.
    coracle.run(["cp", evil.to_str().unwrap(), "it:/tmp/link"]);
    coracle
        .run(["cp", evil.to_str().unwrap(), "it:/tmp/root/inside"])
        .ok();
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched\n");
    assert_eq!(coracle.run(["exec", "it", "cat", "/inside"]).ok(), "evil\n");
    assert!(!std::path::Path::new("/inside").exists());
    coracle.run(["rm", "-f", "it"]).ok();
}
