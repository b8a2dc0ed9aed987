//! Caches that a build leaves elsewhere: in registries, and in the image itself.

use super::SolveError;
use super::attributes::registry;
use super::progress::Progress;
use super::wire::control::{CacheOptions, CacheOptionsEntry};
use engine::Engine;
use engine::builder::{CachePlace, StepReport};
use engine::builds::{CacheExport, LayoutOptions};
use oci::{Compression, Digest, Platform};
use std::collections::BTreeMap;

/// What a build leaves for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caches {
    /// Whether the image says how its layers are found.
    pub inline: bool,
    /// Where steps go, and whether it is no matter if they do not get there.
    pub exports: Vec<(CacheExport, bool)>,
}

impl Caches {
    /// Understands what a client asks for.
    pub(super) fn of(options: CacheOptions) -> Result<Self, SolveError> {
        let mut caches = Self::default();
        let mut exports = options.exports;
        if !options.export_ref_deprecated.is_empty() {
            let mut attrs = options.export_attrs_deprecated;
            attrs.insert("ref".to_owned(), options.export_ref_deprecated);
            exports.push(CacheOptionsEntry {
                r#type: "registry".to_owned(),
                attrs,
            });
        }
        for CacheOptionsEntry { r#type, attrs } in exports {
            let on = |name: &str| attrs.get(name).is_some_and(|value| value == "true");
            match r#type.as_str() {
                "inline" => caches.inline = true,
                "registry" => {
                    let name = attrs.get("ref").map_or("", String::as_str);
                    let Some(place) = registry(name)? else {
                        return Err(SolveError::Invalid(
                            "ref is required for registry cache".to_owned(),
                        ));
                    };
                    let export = CacheExport {
                        place,
                        all: attrs.get("mode").is_some_and(|mode| mode == "max"),
                        mounts: on("mounts"),
                        as_they_are: !attrs.contains_key("compression"),
                        options: LayoutOptions {
                            compression: match attrs.get("compression").map(String::as_str) {
                                None | Some("zstd") => Compression::Zstd,
                                Some("gzip") => Compression::Gzip,
                                Some("uncompressed") => Compression::None,
                                Some(other) => {
                                    return Err(SolveError::Unsupported(format!("compression={other}")));
                                }
                            },
                            level: None,
                            force: on("force-compression"),
                            oci_types: true,
                            for_docker: false,
                            references: Vec::new(),
                            annotations: BTreeMap::new(),
                            entry_annotations: BTreeMap::new(),
                            index_annotations: BTreeMap::new(),
                        },
                    };
                    caches.exports.push((export, on("ignore-error")));
                }
                other => {
                    return Err(SolveError::Unsupported(format!(
                        "cache export of type {other} through this API (there are inline and registry)"
                    )));
                }
            }
        }
        Ok(caches)
    }

    /// Returns where steps go.
    pub(super) fn places(&self) -> impl Iterator<Item = &CachePlace> {
        self.exports.iter().map(|(export, _)| &export.place)
    }

    /// Writes the steps of a build that began at `since`.
    pub(super) fn write(
        &self,
        engine: &Engine,
        reports: &[StepReport],
        images: &[(Platform, Digest)],
        since: i64,
        progress: &Progress,
    ) -> Result<(), SolveError> {
        let Some((_, image)) = images.first() else {
            return Ok(());
        };
        for (export, ignore_error) in &self.exports {
            let mut export = export.clone();
            // Of several platforms the first one's image says which layers are wanted, unless all are.
            export.all |= images.len() > 1;
            let work = progress.begin(format!("exporting cache to {}", export.place));
            let written = engine.builds().export_cache(reports, image, since, &export);
            let written = work.finish(written.map_err(SolveError::from));
            match written {
                Err(_) if *ignore_error => {}
                written => drop(written?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn caches(kind: &str, attributes: &[(&str, &str)]) -> Result<Caches, SolveError> {
        let attrs: HashMap<_, _> = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Caches::of(CacheOptions {
            exports: vec![CacheOptionsEntry {
                r#type: kind.to_owned(),
                attrs,
            }],
            ..CacheOptions::default()
        })
    }

    #[test]
    fn caches_are_understood() {
        assert!(caches("inline", &[]).unwrap().inline);
        let caches_ = caches(
            "registry",
            &[("ref", "a:1"), ("mode", "max"), ("ignore-error", "true")],
        )
        .unwrap();
        let (export, ignore_error) = &caches_.exports[0];
        assert!(export.all && export.as_they_are && *ignore_error);
        assert!(caches("registry", &[]).is_err());
        assert!(caches("local", &[("dest", "x")]).is_err());
    }
}
