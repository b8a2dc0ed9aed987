//! Data flows downwards: each crate may depend on those below it, and on no other. ARCHITECTURE.md draws it.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

/// What each crate may stand on. An edge that is missing here is a decision, and belongs into ARCHITECTURE.md first.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("api", &["engine", "oci", "sys"]),
    ("bake", &[]),
    ("builder", &["dockerfile", "oci", "state", "store", "sys"]),
    ("cli", &["api", "bake", "engine", "oci", "sys"]),
    ("dockerfile", &[]),
    (
        "engine",
        &[
            "builder",
            "dockerfile",
            "network",
            "oci",
            "registry",
            "runtime",
            "state",
            "store",
            "sys",
        ],
    ),
    ("network", &["oci", "sys"]),
    ("oci", &[]),
    ("registry", &["oci", "sys"]),
    ("runtime", &["oci", "sys"]),
    ("state", &["sys"]),
    ("store", &["oci", "state", "sys"]),
    ("sys", &[]),
    ("testkit", &["oci", "sys"]),
];

#[test]
fn nothing_points_up_or_sideways() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let allowed: BTreeMap<_, BTreeSet<&str>> = ALLOWED
        .iter()
        .map(|(name, below)| (*name, below.iter().copied().collect()))
        .collect();
    for package in &metadata.packages {
        let below = allowed
            .get(package.name.as_str())
            .unwrap_or_else(|| panic!("{} is new: draw it", package.name));
        for dependency in &package.dependencies {
            let ours = allowed.contains_key(dependency.name.as_str()) && dependency.path.is_some();
            let normal = dependency.kind == cargo_metadata::DependencyKind::Normal;
            if ours && normal {
                let name = dependency.name.as_str();
                assert!(below.contains(name), "{} must not depend on {name}", package.name);
                assert_ne!(name, "testkit", "testkit is for development only");
            }
        }
    }
    assert_eq!(
        metadata.packages.len(),
        ALLOWED.len(),
        "a crate went: take it out of the list and of the drawing"
    );
}
