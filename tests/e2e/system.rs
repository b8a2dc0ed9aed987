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
