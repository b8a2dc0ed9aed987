//! `system df`, `system prune`.

use crate::sandbox;

#[test]
fn what_is_stored_is_counted_and_given_back() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--name",
            "used",
            "-v",
            "vol:/v",
            "busybox",
            "sh",
            "-c",
            "head -c 3000000 /dev/urandom > /big",
        ])
        .ok();
    let table = coracle.run(["system", "df"]).ok();
    let words: Vec<_> = table
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(words, ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    assert!(
        table.contains("Images") && table.contains("Build Cache"),
        "{table}"
    );
    let pruned = coracle.run(["system", "prune", "-af", "--volumes"]).ok();
    assert!(pruned.contains("Total reclaimed space:"), "{pruned}");
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
    assert_eq!(coracle.run(["images", "-q"]).ok(), "");
    // A named volume is data, and stays unless it is asked for.
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "vol\n");
    coracle.run(["volume", "prune", "-af"]).ok();
    let left: u64 = walk(&coracle.path().join("root/layers")) + walk(&coracle.path().join("root/blobs"));
    assert!(left < 100_000, "{left} bytes of layers and blobs are left");
}

fn walk(directory: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => walk(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn prune_asks_and_names_what_went() {
    let coracle = sandbox();
    coracle.run(["create", "--name", "old", "busybox"]).ok();
    let asked = coracle.run_with_input(["container", "prune"], b"n\n");
    assert_eq!((asked.code, asked.stderr.as_str()), (0, ""));
    assert_eq!(
        asked.stdout,
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
    );
    let asked = coracle.run_with_input(
        ["system", "prune", "-a", "--volumes", "--filter", "label=x=y"],
        b"\n",
    );
    assert_eq!(
        asked.stdout,
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
         - all anonymous volumes not used by at least one container\n  - all images without at least one container associated to them\n  \
         - all build cache\n\n  Items to be pruned will be filtered with:\n  - label=x=y\n\nAre you sure you want to continue? [y/N] "
    );
    let conflict = coracle
        .run(["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .fails(1);
    assert_eq!(
        conflict,
        "ERROR: The \"until\" filter is not supported with \"--volumes\"\n"
    );
    assert!(
        !coracle
            .run(["container", "prune", "-f", "--filter", "until=1h"])
            .ok()
            .contains("Deleted")
    );
    let id = coracle.run(["ps", "-aq", "--no-trunc"]).ok();
    let pruned = coracle.run_with_input(["container", "prune"], b"y\n").ok();
    assert!(
        pruned.contains(&format!("Deleted Containers:\n{id}\nTotal reclaimed space: ")),
        "{pruned}"
    );
    assert!(coracle.run(["network", "prune", "-f"]).ok().is_empty());
}

#[test]
fn df_tells_all_four_tables() {
    let coracle = sandbox();
    coracle.run(["tag", "busybox", "two:2"]).ok();
    coracle
        .run([
            "run",
            "--name",
            "used",
            "-v",
            "vol:/v",
            "busybox",
            "sh",
            "-c",
            "echo 123 > /v/a; echo 1 > /b",
        ])
        .ok();
    let text = coracle.run(["system", "df", "-v"]).ok();
    for expected in [
        "Images space usage:\n\nREPOSITORY   TAG ",
        "SHARED SIZE   UNIQUE SIZE   CONTAINERS\n",
        "\n\nContainers space usage:\n\nCONTAINER ID   IMAGE ",
        "\n\nLocal Volumes space usage:\n\nVOLUME NAME   LINKS     SIZE\nvol           1 ",
        "\n\nBuild cache usage: 0B\n\nCACHE ID ",
    ] {
        assert!(text.contains(expected), "{expected:?}: {text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&coracle.run(["system", "df", "-v", "--format", "json"]).ok()).unwrap();
    assert_eq!(json["Images"].as_array().unwrap().len(), 2);
    assert_eq!(json["Volumes"][0]["Links"], "1");
    let short = coracle
        .run(["system", "df", "--format", "{{.Type}}: {{.TotalCount}}"])
        .ok();
    assert_eq!(
        short,
        "Images: 1\nContainers: 1\nLocal Volumes: 1\nBuild Cache: 0\n"
    );
    coracle.run(["rm", "used"]).ok();
    coracle.run(["volume", "rm", "vol"]).ok();
}
