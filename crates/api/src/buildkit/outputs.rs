//! What a build becomes: an image in the store, pushed perhaps, an archive or files for the client.

use super::progress::Progress;
use super::sessions::Session;
use super::solve::{Built, Solved, Workshop};
use super::{SolveError, send};
use engine::Engine;
use engine::builds::LayoutOptions;
use engine::images::PushEvent;
use oci::{Compression, Digest, Reference};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where the result of a build goes.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// Nowhere but into the cache.
    Cache,
    /// Into the store, under names, and from there to registries if so wished.
    Store {
        /// The names.
        names: Vec<Reference>,
        /// Whether it is pushed under all of them.
        push: bool,
    },
    /// To the client as an archive of the image.
    Archive(Box<LayoutOptions>),
    /// To the client as a tar of its files.
    FilesTar,
    /// To the client as files.
    Files,
}

impl Output {
    /// Understands an exporter and its attributes.
    pub(crate) fn parse(kind: &str, attributes: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        let flag = |name: &str| {
            attributes
                .get(name)
                .is_some_and(|value| !matches!(value.as_str(), "false" | "0" | "f" | "False" | "FALSE"))
        };
        let names = match attributes.get("name").map(String::as_str) {
            // The result's own name for it.
            None | Some("" | "*") => Vec::new(),
            Some(names) => references(names)?,
        };
        Ok(match kind {
            "" | "cacheonly" => Self::Cache,
            "moby" | "image" => Self::Store {
                names,
                push: flag("push") || flag("push-by-digest"),
            },
            "tar" => Self::FilesTar,
            "local" => Self::Files,
            "docker" | "oci" if attributes.contains_key("tar") && !flag("tar") => {
                return Err(SolveError::Unsupported(format!(
                    "type={kind},tar=false: an OCI layout that is not a tar"
                )));
            }
            "docker" | "oci" => Self::Archive(Box::new(layout(kind, names, attributes)?)),
            other => {
                return Err(SolveError::Invalid(format!(
                    "exporter \"{other}\" could not be found"
                )));
            }
        })
    }

    /// Says whether the image is to stay in the store.
    pub(super) fn keeps_image(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    /// Returns the names that the image is to get in the store.
    pub(crate) fn names(&self) -> &[Reference] {
        match self {
            Self::Store { names, .. } => names,
            _ => &[],
        }
    }
}

/// Reads names with commas between them.
pub(crate) fn references(names: &str) -> Result<Vec<Reference>, SolveError> {
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| {
            name.parse().map_err(|error: oci::ReferenceError| {
                SolveError::Invalid(format!("invalid reference format: {name}: {error}"))
            })
        })
        .collect()
}

fn layout(
    kind: &str,
    references: Vec<Reference>,
    attributes: &BTreeMap<String, String>,
) -> Result<LayoutOptions, SolveError> {
    let compression = match attributes.get("compression").map(String::as_str) {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("uncompressed") => Compression::None,
        Some(other) => return Err(SolveError::Unsupported(format!("compression={other}"))),
    };
    let level = match attributes.get("compression-level") {
        None => None,
        Some(level) => Some(
            level
                .parse()
                .ok()
                .ok_or_else(|| SolveError::Invalid(format!("compression-level={level}: write a number")))?,
        ),
    };
    let on = |name: &str, default: bool| attributes.get(name).map_or(default, |value| value != "false");
    let annotations = |place: &[&str]| {
        let mut found = BTreeMap::new();
        for (key, value) in attributes {
            let Some((before, name)) = key.split_once('.') else {
                continue;
            };
            if place.contains(&before) {
                found.insert(name.to_owned(), value.clone());
            }
        }
        found
    };
    Ok(LayoutOptions {
        compression,
        level,
        force: on("force-compression", false),
        oci_types: on("oci-mediatypes", kind == "oci"),
        for_docker: kind == "docker",
        references,
        annotations: annotations(&["annotation", "annotation-manifest"]),
        entry_annotations: annotations(&["annotation-manifest-descriptor", "annotation-index-descriptor"]),
        index_annotations: annotations(&["annotation-index"]),
    })
}

/// A result on its way.
pub(super) struct Delivery<'d> {
    pub(super) engine: &'d Engine,
    pub(super) workshop: &'d Workshop,
    pub(super) session: Option<&'d Arc<Session>>,
    pub(super) outputs: &'d [Output],
    pub(super) built: &'d Built,
    pub(super) progress: &'d Progress,
    pub(super) cancelled: &'d AtomicBool,
}

/// Brings a result to where it is to go.
pub(super) fn deliver(delivery: &Delivery<'_>) -> Result<Solved, SolveError> {
    let mut solved = Solved {
        image: delivery.built.images.first().map(|(_, image)| *image),
        ..Solved::default()
    };
    for (number, output) in delivery.outputs.iter().enumerate() {
        match output {
            Output::Cache => {}
            Output::Store { names, push } => {
                delivery.store(names, *push, &mut solved)?;
            }
            Output::Archive(options) => {
                let work = delivery.progress.begin(if options.for_docker {
                    "exporting to docker image format"
                } else {
                    "exporting to oci image format"
                });
                let result = delivery.archive(number, options);
                work.finish(result)?;
                delivery.image(&mut solved);
            }
            Output::FilesTar => {
                let work = delivery.progress.begin("exporting to client tarball");
                let result = delivery.files_tar(number);
                work.finish(result)?;
            }
            Output::Files => {
                let work = delivery.progress.begin("exporting to client directory");
                let result = delivery.files(number);
                work.finish(result)?;
            }
        }
    }
    Ok(solved)
}

impl Delivery<'_> {
    fn digests(&self) -> Vec<Digest> {
        self.built.images.iter().map(|(_, image)| *image).collect()
    }

    fn image(&self, solved: &mut Solved) {
        if let Some((_, image)) = self.built.images.first() {
            for key in ["containerimage.digest", "containerimage.config.digest"] {
                solved.response.insert(key.to_owned(), image.to_string());
            }
        }
    }

    fn store(&self, names: &[Reference], push: bool, solved: &mut Solved) -> Result<(), SolveError> {
        self.image(solved);
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            solved.response.insert("image.name".to_owned(), names.join(","));
        }
        if !push {
            return Ok(());
        }
        if names.is_empty() {
            return Err(SolveError::Invalid(
                "tag is needed when pushing to registry".to_owned(),
            ));
        }
        for name in names {
            let work = self.progress.begin(format!("pushing {name}"));
            let pushed = self.engine.images().push(name, None, &|event| {
                if let PushEvent::Status { message } = event {
                    work.note(&message);
                }
            });
            work.finish(pushed.map_err(SolveError::from))?;
        }
        Ok(())
    }

    fn session(&self) -> Result<&Arc<Session>, SolveError> {
        self.session.ok_or_else(|| {
            SolveError::Invalid("the result is for the client, and it has opened no session".to_owned())
        })
    }

    fn archive(&self, number: usize, options: &LayoutOptions) -> Result<(), SolveError> {
        let digests = self.digests();
        let mut described = BTreeMap::new();
        if let Some(image) = digests.first() {
            described.insert("containerimage.digest", image.to_string());
        }
        let names: Vec<String> = options.references.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            described.insert("image.name", names.join(","));
        }
        send::stream(self, self.session()?, number, &described, |into| {
            Ok(self.engine.builds().write_layout(&digests, options, into)?)
        })
    }

    fn files_tar(&self, number: usize) -> Result<(), SolveError> {
        let [(_, image)] = self.built.images[..] else {
            return Err(SolveError::Unsupported(
                "the files of several platforms in one tar (use type=local)".to_owned(),
            ));
        };
        send::stream(self, self.session()?, number, &BTreeMap::new(), |into| {
            Ok(self.engine.builds().write_files_tar(&image, into)?)
        })
    }

    fn files(&self, number: usize) -> Result<(), SolveError> {
        let session = self.session()?;
        let kept = self.engine.builds().kept_context(None)?;
        for (platform, image) in &self.built.images {
            let directory = if self.built.images.len() == 1 {
                kept.path().to_owned()
            } else {
                kept.path().join(platform.to_string().replace('/', "_"))
            };
            self.engine.builds().write_files(image, &directory)?;
        }
        let sending = send::directory(session, number, kept.path());
        self.workshop.wait(self.cancelled, sending)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, attributes: &[(&str, &str)]) -> Result<Output, SolveError> {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Output::parse(kind, &attributes)
    }

    #[test]
    fn exporters_are_understood() {
        let stored = parse("moby", &[("name", "a:1,b"), ("push", "true")]).unwrap();
        assert!(matches!(&stored, Output::Store { names, push: true } if names.len() == 2));
        assert!(matches!(
            parse("image", &[("push", "false")]),
            Ok(Output::Store { push: false, .. })
        ));
        assert!(matches!(parse("", &[]), Ok(Output::Cache)));
        assert!(matches!(parse("local", &[]), Ok(Output::Files)));
        assert!(matches!(parse("tar", &[]), Ok(Output::FilesTar)));
        let Ok(Output::Archive(options)) = parse(
            "oci",
            &[
                ("compression", "zstd"),
                ("annotation.a", "b"),
                ("annotation-index.c", "d"),
            ],
        ) else {
            unreachable!("it is an archive");
        };
        assert!(options.oci_types && options.compression == Compression::Zstd);
        assert_eq!(
            (
                options.annotations["a"].as_str(),
                options.index_annotations["c"].as_str()
            ),
            ("b", "d")
        );
        assert!(parse("docker", &[("tar", "false")]).is_err());
        assert!(parse("nosuch", &[]).is_err());
        assert!(parse("moby", &[("name", "A B")]).is_err());
    }
}
