//! `-o` of `build`: where the result goes.

use super::{Invalid, boolean, csv, invalid};
use engine::builds::LayoutOptions;
use oci::{Compression, Reference};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the result of a build goes.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// Nowhere: only its steps are kept.
    CacheOnly,
    /// Its files into a directory.
    Files(PathBuf),
    /// Its files as a tar, to standard output without a path.
    FilesTar(Option<PathBuf>),
    /// The image as an archive, to standard output without a path.
    Archive(Option<PathBuf>, Box<LayoutOptions>),
    /// The image as a directory of an OCI layout.
    Layout(PathBuf, Box<LayoutOptions>),
    /// Into the store, under further names, and from there to registries if so wished.
    Store {
        /// The further names.
        names: Vec<Reference>,
        /// Whether it is pushed under all of its names.
        push: bool,
    },
}

impl Output {
    /// Says whether the image is to stay in the store.
    pub(crate) fn keeps_image(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    /// Returns the names that the image is to get in the store.
    pub(crate) fn names(&self) -> &[Reference] {
        match self {
            Self::Store { names, .. } => names,
            _ => &[],
        }
    }

    /// Says whether it is written to standard output.
    pub(crate) fn is_standard_output(&self) -> bool {
        matches!(self, Self::FilesTar(None) | Self::Archive(None, _))
    }
}

/// Reads all of `-o`, `--push` and `--annotation`.
pub(crate) fn parse(outputs: &[String], push: bool, annotations: &[String]) -> Result<Vec<Output>, Invalid> {
    let shared = annotations_of(annotations)?;
    let mut parsed = outputs
        .iter()
        .map(|output| one(output, &shared))
        .collect::<Result<Vec<_>, _>>()?;
    if push {
        parsed.push(Output::Store {
            names: Vec::new(),
            push: true,
        });
    }
    if parsed.iter().filter(|output| output.is_standard_output()).count() > 1 {
        return invalid("only one output can go to standard output: give the others a dest");
    }
    Ok(parsed)
}

/// What `--annotation` and `annotation…` keys say, by what they annotate.
#[derive(Debug, Clone, Default)]
struct Annotations {
    manifest: BTreeMap<String, String>,
    entry: BTreeMap<String, String>,
    index: BTreeMap<String, String>,
}

impl Annotations {
    fn add(&mut self, places: &str, name: &str, value: &str) -> Result<(), Invalid> {
        for place in places.split(',') {
            // `manifest[linux/amd64]` is for one platform of several.
            let into = match place.split('[').next().unwrap_or(place) {
                "manifest" => &mut self.manifest,
                "index" => &mut self.index,
                "manifest-descriptor" | "index-descriptor" => &mut self.entry,
                other => {
                    return invalid(format!(
                        "unknown annotation type {other:?}: there are manifest, manifest-descriptor, index and index-descriptor"
                    ));
                }
            };
            into.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }
}

fn annotations_of(given: &[String]) -> Result<Annotations, Invalid> {
    let mut annotations = Annotations::default();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return invalid(format!("invalid annotation {text:?}, expected key=value"));
        };
        // A name has a colon only in front of it: `index:org.example.name`.
        match name.split_once(':') {
            Some((places, name)) => annotations.add(places, name, value)?,
            None => annotations.add("manifest", name, value)?,
        }
    }
    Ok(annotations)
}

fn one(text: &str, shared: &Annotations) -> Result<Output, Invalid> {
    if text == "-" {
        return Ok(Output::FilesTar(None));
    }
    if !text.contains('=') {
        return match text {
            "" => invalid("an output needs a type or a directory, for example -o type=local,dest=out"),
            directory => Ok(Output::Files(directory.into())),
        };
    }
    let mut fields = BTreeMap::new();
    for field in csv::fields(text)? {
        let Some((name, value)) = field.split_once('=') else {
            return invalid(format!(
                "invalid value {field}, expected key=value in --output {text:?}"
            ));
        };
        fields.insert(name.trim().to_lowercase(), value.to_owned());
    }
    let Some(kind) = fields.remove("type") else {
        return invalid(format!("type is required for output {text:?}"));
    };
    let dest = fields
        .remove("dest")
        .or_else(|| fields.remove("destination"))
        .filter(|dest| dest != "-" && !dest.is_empty())
        .map(PathBuf::from);
    let mut flag = |name: &str, default: bool| match fields.remove(name) {
        None => Ok(default),
        Some(value) => boolean::parse(&value)
            .map_err(|error| Invalid(format!("{name}={value}: write true or false ({error})"))),
    };
    let as_tar = flag("tar", true)?;
    // Nothing here tells the time of the build, so there is nothing to rewrite.
    let _: bool = flag("rewrite-timestamp", true)?;
    let push = flag("push", false)? || flag("push-by-digest", false)?;
    let _: (bool, bool) = (flag("unpack", true)?, flag("store", true)?);
    let force = flag("force-compression", false)?;
    let oci_types = flag("oci-mediatypes", kind == "oci")?;
    let _: (bool, bool) = (flag("load", true)?, flag("platform-split", true)?);
    // What has no name gets none.
    drop(fields.remove("dangling-name-prefix"));
    let names = fields
        .remove("name")
        .map_or_else(|| Ok(Vec::new()), |names| references(&names))?;
    let mut annotations = shared.clone();
    let annotation_keys: Vec<String> = fields
        .keys()
        .filter(|key| key.starts_with("annotation"))
        .cloned()
        .collect();
    for key in annotation_keys {
        let value = fields.remove(&key).unwrap_or_default();
        let Some((place, name)) = key.split_once('.') else {
            return invalid(format!("{key}: write annotation.NAME=VALUE"));
        };
        let place = place
            .strip_prefix("annotation")
            .unwrap_or_default()
            .trim_start_matches('-');
        annotations.add(if place.is_empty() { "manifest" } else { place }, name, &value)?;
    }
    let compression = compression(&mut fields)?;
    let level = match fields.remove("compression-level") {
        None => None,
        Some(level) => match level.parse::<i32>() {
            Ok(number) => Some(number),
            Err(_) => return invalid(format!("compression-level={level}: write a number")),
        },
    };
    if let Some(unknown) = fields.keys().next() {
        return invalid(format!("unknown key {unknown:?} in --output {text:?}"));
    }
    let has_annotations = !(annotations.manifest.is_empty() && annotations.index.is_empty());
    let options = || {
        Box::new(LayoutOptions {
            compression,
            level,
            force,
            // Docker's documents have no annotations.
            oci_types: oci_types || has_annotations,
            for_docker: kind == "docker",
            references: names.clone(),
            annotations: annotations.manifest.clone(),
            entry_annotations: annotations.entry.clone(),
            index_annotations: annotations.index.clone(),
        })
    };
    match (kind.as_str(), dest) {
        ("image" | "registry", _) if compression != Compression::Gzip || level.is_some() => {
            invalid("what is pushed is compressed by gzip: leave compression out, or write type=oci")
        }
        ("local", Some(dest)) => Ok(Output::Files(dest)),
        ("local", None) => invalid("dest is required for local exporter: write type=local,dest=DIRECTORY"),
        ("tar", dest) => Ok(Output::FilesTar(dest)),
        // Without a destination it goes where `docker load` would bring it.
        ("docker", None) if !text.contains("dest") => Ok(Output::Store { names, push }),
        ("oci" | "docker", Some(dest)) if !as_tar => Ok(Output::Layout(dest, options())),
        ("oci" | "docker", None) if !as_tar => invalid(format!(
            "dest is required where tar=false: write type={kind},tar=false,dest=DIRECTORY"
        )),
        ("oci" | "docker", dest) => Ok(Output::Archive(dest, options())),
        ("image", _) => Ok(Output::Store { names, push }),
        ("registry", _) => Ok(Output::Store { names, push: true }),
        ("cacheonly", _) => Ok(Output::CacheOnly),
        (other, _) => invalid(format!(
            "there is no output of type {other:?}: use local, tar, docker, oci, image or registry"
        )),
    }
}

fn compression(fields: &mut BTreeMap<String, String>) -> Result<Compression, Invalid> {
    match fields.remove("compression").as_deref() {
        None | Some("gzip") => Ok(Compression::Gzip),
        Some("zstd") => Ok(Compression::Zstd),
        Some("uncompressed") => Ok(Compression::None),
        Some("estargz") => invalid("compression=estargz is not there: use gzip, zstd or uncompressed"),
        Some(other) => invalid(format!(
            "unsupported compression type {other:?}: use gzip, zstd or uncompressed"
        )),
    }
}

fn references(names: &str) -> Result<Vec<Reference>, Invalid> {
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| {
            name.parse()
                .map_err(|error: oci::ReferenceError| Invalid(format!("invalid name {name:?}: {error}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn outputs(texts: &[&str]) -> Result<Vec<Output>, Invalid> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        parse(&texts, false, &[])
    }

    #[test]
    fn short_and_long_forms_mean_the_same() {
        for text in ["out", "type=local,dest=out", "dest=out,type=local"] {
            assert!(
                matches!(&outputs(&[text]).unwrap()[..], [Output::Files(path)] if path == Path::new("out"))
            );
        }
        for text in ["-", "type=tar", "type=tar,dest=-"] {
            assert!(matches!(outputs(&[text]).unwrap()[..], [Output::FilesTar(None)]));
        }
        for text in ["type=docker", "type=image", "type=image,name=a:1"] {
            assert!(outputs(&[text]).unwrap()[0].keeps_image(), "{text}");
        }
        let several = outputs(&["type=oci,dest=a.tar,compression=zstd,compression-level=9", "b"]).unwrap();
        let [Output::Archive(Some(_), options), Output::Files(_)] = &several[..] else {
            unreachable!("{several:?}");
        };
        assert_eq!((options.compression, options.level), (Compression::Zstd, Some(9)));
        assert!(options.oci_types && !options.for_docker);
        let named =
            outputs(&["type=docker,dest=a.tar,\"name=a:1,b\",annotation.k=v,annotation-index.i=w"]).unwrap();
        let [Output::Archive(_, options)] = &named[..] else {
            unreachable!("{named:?}");
        };
        assert_eq!(options.references.len(), 2);
        assert_eq!(options.annotations["k"], "v");
        assert_eq!(options.index_annotations["i"], "w");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, expected) in [
            ("", "needs a type or a directory"),
            ("dest=x", "type is required"),
            ("type=local", "dest is required"),
            ("type=nosuch,dest=x", "there is no output of type \"nosuch\""),
            ("type=oci,tar=false", "tar=false"),
            (
                "type=oci,compression=lzma",
                "unsupported compression type \"lzma\"",
            ),
            ("type=oci,compression-level=high", "write a number"),
            ("type=oci,tar=maybe", "write true or false"),
            ("type=oci,nosuch=1", "unknown key \"nosuch\""),
            ("type=registry,compression=zstd", "compressed by gzip"),
            ("type=oci,alone", "expected key=value"),
        ] {
            let error = outputs(&[text]).unwrap_err().0;
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(outputs(&["-", "type=oci"]).is_err());
        let annotation = ["nosuch:a=b".to_owned()];
        assert!(parse(&[], false, &annotation).is_err());
    }
}
