//! `--cache-from` and `--cache-to` of `build`.

use super::{Invalid, boolean, csv, invalid};
use engine::builder::CachePlace;
use engine::builds::{CacheExport, LayoutOptions};
use oci::{Compression, Reference};
use std::collections::BTreeMap;

/// What `--cache-to` asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct CacheTargets {
    /// Where steps go.
    pub exports: Vec<CacheTarget>,
    /// Whether the image itself is to have them.
    pub inline: bool,
    /// What is said about flags that change nothing.
    pub warnings: Vec<String>,
}

/// Where the cache goes.
#[derive(Debug, Clone)]
pub(crate) struct CacheTarget {
    /// Where and how.
    pub export: CacheExport,
    /// Whether the build succeeds even if this fails.
    pub ignore_error: bool,
}

/// Reads all of `--cache-from`.
pub(crate) fn sources(given: &[String]) -> Result<Vec<CachePlace>, Invalid> {
    given.iter().map(|text| source(text)).collect()
}

fn source(text: &str) -> Result<CachePlace, Invalid> {
    let Some((kind, mut fields)) = fields(text)? else {
        return Ok(CachePlace::Registry(reference(text)?));
    };
    let place = match kind.as_str() {
        "local" => match fields.remove("src").filter(|source| !source.is_empty()) {
            Some(source) => {
                // The directory holds one cache, whatever it is called.
                drop((fields.remove("tag"), fields.remove("digest")));
                CachePlace::Directory(source.into())
            }
            None => return invalid("src is required for local cache: write type=local,src=DIRECTORY"),
        },
        "registry" | "inline" => match fields.remove("ref") {
            Some(name) => CachePlace::Registry(reference(&name)?),
            None => {
                return invalid(format!(
                    "ref is required for {kind} cache: write type=registry,ref=NAME"
                ));
            }
        },
        kind => return Err(elsewhere(kind)),
    };
    if let Some(unknown) = fields.keys().next() {
        return invalid(format!("unknown key {unknown:?} in --cache-from {text:?}"));
    }
    Ok(place)
}

/// Reads all of `--cache-to`.
pub(crate) fn targets(given: &[String]) -> Result<CacheTargets, Invalid> {
    let mut targets = CacheTargets::default();
    for text in given {
        target(text, &mut targets)?;
    }
    Ok(targets)
}

fn target(text: &str, targets: &mut CacheTargets) -> Result<(), Invalid> {
    let (kind, mut fields) = match fields(text)? {
        Some(known) => known,
        None if text == "inline" => ("inline".to_owned(), Fields::new()),
        None => {
            let fields = Fields::from([("ref".to_owned(), text.to_owned())]);
            ("registry".to_owned(), fields)
        }
    };
    let place = match kind.as_str() {
        "local" => match fields.remove("dest").filter(|dest| !dest.is_empty()) {
            Some(directory) => Some(CachePlace::Directory(directory.into())),
            None => return invalid("dest is required for local cache: write type=local,dest=DIRECTORY"),
        },
        "registry" => match fields.remove("ref") {
            Some(name) => Some(CachePlace::Registry(tagged(&name)?)),
            None => return invalid("ref is required for registry cache: write type=registry,ref=NAME"),
        },
        "inline" => None,
        kind => return Err(elsewhere(kind)),
    };
    let all = match fields.remove("mode").as_deref() {
        None | Some("min") => false,
        Some("max") if place.is_none() => {
            return invalid(
                "mode=max: an image has its own layers only; write type=registry,ref=NAME,mode=max",
            );
        }
        Some("max") => true,
        Some(other) => return invalid(format!("mode={other}: write min or max")),
    };
    let chosen = fields.remove("compression");
    let compression = match chosen.as_deref() {
        None | Some("zstd") => Compression::Zstd,
        Some("gzip") => Compression::Gzip,
        Some("uncompressed") => Compression::None,
        Some(other) => {
            return invalid(format!(
                "unsupported compression type {other:?}: use gzip, zstd or uncompressed"
            ));
        }
    };
    let level = match fields
        .remove("compression-level")
        .map(|level| level.parse::<i32>())
    {
        None => None,
        Some(Ok(level)) => Some(level),
        Some(Err(_)) => return invalid("compression-level: write a number"),
    };
    let force = flag(&mut fields, "force-compression", false)?;
    let ignore_error = flag(&mut fields, "ignore-error", false)?;
    let mounts = flag(&mut fields, "mounts", false)?;
    for (name, what) in [
        ("image-manifest", "an image manifest"),
        ("oci-mediatypes", "a document of OCI's types"),
    ] {
        if !flag(&mut fields, name, true)? {
            let warning = format!("--cache-to {name}=false has no effect: a cache is always {what}");
            targets.warnings.push(warning);
        }
    }
    // The directory holds one cache, whatever it is called.
    drop(fields.remove("tag").filter(|_| kind == "local"));
    if let Some(unknown) = fields.keys().next() {
        return invalid(format!("unknown key {unknown:?} in --cache-to {text:?}"));
    }
    let Some(place) = place else {
        if mounts {
            return invalid(
                "mounts=true: an image has no cache mounts; write type=registry,ref=NAME,mounts=true",
            );
        }
        targets.inline = true;
        return Ok(());
    };
    targets.exports.push(CacheTarget {
        ignore_error,
        export: CacheExport {
            place,
            all,
            mounts,
            // What is compressed for a push already need not be compressed again.
            as_they_are: chosen.is_none() && level.is_none() && !force,
            options: LayoutOptions {
                compression,
                level,
                force,
                oci_types: true,
                for_docker: false,
                references: Vec::new(),
                annotations: BTreeMap::new(),
                entry_annotations: BTreeMap::new(),
                index_annotations: BTreeMap::new(),
            },
        },
    });
    Ok(())
}

/// Says why a cache cannot be where BuildKit's can.
fn elsewhere(kind: &str) -> Invalid {
    Invalid(match kind {
        "gha" => "type=gha: the cache of GitHub's actions takes BuildKit's own format through an interface that GitHub does not document; write type=local,dest=DIRECTORY and keep the directory with actions/cache, or write type=registry,ref=ghcr.io/NAME".to_owned(),
        "s3" | "azblob" => format!("type={kind}: object stores are not spoken to; write type=registry,ref=NAME, or type=local,dest=DIRECTORY and copy the directory"),
        other => format!("unknown cache type {other:?}: there are inline, local and registry"),
    })
}

fn reference(name: &str) -> Result<Reference, Invalid> {
    let parsed: Reference = name
        .parse()
        .map_err(|error| Invalid(format!("{name:?} is no name in a registry: {error}")))?;
    Ok(parsed)
}

fn tagged(name: &str) -> Result<Reference, Invalid> {
    let reference = reference(name)?;
    if reference.digest().is_some() {
        return invalid(format!(
            "ref={name}: a cache is written under a tag; its digest comes of what is in it"
        ));
    }
    Ok(reference)
}

fn flag(fields: &mut Fields, name: &str, default: bool) -> Result<bool, Invalid> {
    match fields.remove(name) {
        None => Ok(default),
        Some(value) => boolean::parse(&value)
            .map_err(|error| Invalid(format!("{name}={value}: write true or false ({error})"))),
    }
}

type Fields = BTreeMap<String, String>;

/// Takes the type and the rest apart; nothing for the name of an image alone.
fn fields(text: &str) -> Result<Option<(String, Fields)>, Invalid> {
    if !text.contains('=') {
        return Ok(None);
    }
    let mut fields = Fields::new();
    for field in csv::fields(text)? {
        let Some((name, value)) = field.split_once('=') else {
            return invalid(format!("invalid value {field}, expected key=value in {text:?}"));
        };
        fields.insert(name.trim().to_lowercase(), value.to_owned());
    }
    match fields.remove("type") {
        Some(kind) => Ok(Some((kind, fields))),
        None => invalid(format!("type is required in {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_in_directories_registries_and_images() {
        let given: Vec<String> = ["type=local,src=a", "type=registry,ref=x/y", "x/y:cache"]
            .map(str::to_owned)
            .into();
        let places: Vec<String> = sources(&given).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(places, ["a", "x/y:latest", "x/y:cache"]);
        let given = [
            "type=local,dest=b,mode=max,compression=gzip",
            "type=registry,ref=x/y,ignore-error=true,mounts=true,image-manifest=true",
            "type=inline",
        ];
        let all = targets(&given.map(str::to_owned)).unwrap();
        let [first, second] = &all.exports[..] else {
            panic!("{all:?}");
        };
        assert!(first.export.all && first.export.options.compression == Compression::Gzip);
        assert!(!first.export.as_they_are && second.export.as_they_are);
        assert!(second.ignore_error && second.export.mounts && !second.export.all);
        assert!(all.inline && all.warnings.is_empty());
        let old = targets(&["type=registry,ref=x,oci-mediatypes=false".to_owned()]).unwrap();
        assert!(old.warnings[0].contains("oci-mediatypes=false has no effect"));
        assert!(matches!(
            &targets(&["x/y:cache".to_owned()]).unwrap().exports[0]
                .export
                .place,
            CachePlace::Registry(_)
        ));
        for (bad, expected) in [
            ("type=registry", "ref is required"),
            ("type=registry,ref=A B", "no name in a registry"),
            ("type=gha", "actions/cache"),
            ("type=s3,bucket=x", "object stores"),
            ("type=nfs", "unknown cache type \"nfs\""),
            ("type=local", "dest is required"),
            ("type=local,dest=a,mode=all", "write min or max"),
            ("type=local,dest=a,x=y", "unknown key \"x\""),
            ("type=inline,mode=max", "own layers only"),
            ("type=inline,mounts=true", "no cache mounts"),
            ("type=local,dest=a,ignore-error=maybe", "write true or false"),
        ] {
            let error = targets(&[bad.to_owned()]).unwrap_err().0;
            assert!(error.contains(expected), "{bad}: {error}");
        }
        for bad in ["type=local", "type=azblob", "type=local,src=a,x=y", "A B"] {
            assert!(sources(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
