//! Which image of an index serves a platform.

use oci::{Descriptor, ImageIndex, Platform};

/// Annotation of attestations, which sit among the images of an index and are none.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// Returns the entry that serves the platform best; the first one where several serve it equally well.
pub(crate) fn choose<'a>(index: &'a ImageIndex, wanted: &Platform) -> Option<&'a Descriptor> {
    candidates(index)
        .filter_map(|(descriptor, platform)| Some((wanted.rank(&platform?)?, descriptor)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, descriptor)| descriptor)
        .or_else(|| {
            // Some tools name no platform where there is but one image.
            let mut all = candidates(index);
            match (all.next(), all.next()) {
                (Some((descriptor, None)), None) => Some(descriptor),
                _ => None,
            }
        })
}

/// Lists the platforms of an index, for people.
pub(crate) fn available(index: &ImageIndex) -> String {
    let mut names: Vec<String> = Vec::new();
    for (_, platform) in candidates(index) {
        let name = platform.map_or_else(
            || "one without a platform".to_owned(),
            |platform| platform.to_string(),
        );
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return "none".to_owned();
    }
    crate::error::printable(&names.join(", "))
}

fn candidates(index: &ImageIndex) -> impl Iterator<Item = (&Descriptor, Option<Platform>)> {
    index.manifests().iter().filter_map(|descriptor| {
        let attestation = descriptor
            .annotations()
            .as_ref()
            .is_some_and(|annotations| annotations.contains_key(ATTESTATION));
        let manifest = matches!(
            descriptor.media_type().to_string().as_str(),
            "application/vnd.oci.image.manifest.v1+json"
                | "application/vnd.docker.distribution.manifest.v2+json"
                | "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json"
        );
        if attestation || !manifest {
            return None;
        }
        let platform = descriptor.platform().as_ref().map(|platform| {
            Platform::new(
                &platform.os().to_string(),
                &platform.architecture().to_string(),
                platform.variant().as_deref().unwrap_or_default(),
            )
        });
        Some((descriptor, platform))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[&str]) -> ImageIndex {
        let manifests: Vec<String> = entries
            .iter()
            .enumerate()
            .map(|(number, entry)| {
                let mut parts = entry.split('/');
                let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap_or_default());
                let variant = parts.next().unwrap_or_default();
                let platform = if *entry == "-" {
                    String::new()
                } else {
                    format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
                };
                let attestation = if os == "unknown" {
                    r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#
                } else {
                    ""
                };
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{number:064}","size":1{platform}{attestation}}}"#
                )
            })
            .collect();
        serde_json::from_str(&format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            manifests.join(",")
        ))
        .unwrap()
    }

    #[test]
    fn the_nearest_platform_is_chosen() {
        for (wanted, entries, expected) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some(1)),
            (
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
                Some(2),
            ),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                Some(1),
            ),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/amd64", &["windows/amd64", "linux/arm64"], None),
            ("linux/amd64", &["unknown/unknown", "linux/amd64"], Some(1)),
            ("linux/amd64", &["-"], Some(0)),
            ("linux/amd64", &["unknown/unknown", "-"], Some(1)),
            ("linux/amd64", &["-", "-"], None),
            ("linux/amd64", &["-", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
            ("linux/amd64", &[], None),
        ] {
            let index = index(entries);
            let chosen = choose(&index, &wanted.parse().unwrap()).map(|chosen| {
                index
                    .manifests()
                    .iter()
                    .position(|entry| entry.digest() == chosen.digest())
                    .unwrap()
            });
            assert_eq!(chosen, expected, "{wanted} {entries:?}");
        }
    }

    #[test]
    fn what_there_is_is_listed() {
        let index = index(&["linux/amd64", "unknown/unknown", "linux/arm/v6", "linux/amd64"]);
        assert_eq!(available(&index), "linux/amd64, linux/arm/v6");
    }
}
