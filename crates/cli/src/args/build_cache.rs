//! `--cache-from` and `--cache-to` of `build`.

use super::{Invalid, csv, invalid};
use engine::builds::LayoutOptions;
use oci::Compression;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the cache goes.
#[derive(Debug, Clone)]
pub(crate) struct CacheTarget {
    /// The directory.
    pub directory: PathBuf,
    /// Whether the steps of all stages go there.
    pub all: bool,
    /// How layers are compressed.
    pub options: LayoutOptions,
}

/// Reads all of `--cache-from`: directories, and what is ignored.
pub(crate) fn sources(given: &[String]) -> Result<(Vec<PathBuf>, Vec<String>), Invalid> {
    let (mut directories, mut ignored) = (Vec::new(), Vec::new());
    for text in given {
        let Some((kind, mut fields)) = fields(text)? else {
            ignored.push(format!("--cache-from {text}"));
            continue;
        };
        match kind.as_str() {
            "local" => match fields.remove("src") {
                Some(source) => directories.push(source.into()),
                None => return invalid("src is required for local cache: write type=local,src=DIRECTORY"),
            },
            "registry" | "gha" | "s3" | "azblob" | "inline" => {
                ignored.push(format!("--cache-from type={kind}"));
            }
            other => return invalid(format!("unknown cache type {other:?}: there is local")),
        }
    }
    Ok((directories, ignored))
}

/// Reads all of `--cache-to`.
pub(crate) fn targets(given: &[String]) -> Result<Vec<CacheTarget>, Invalid> {
    given.iter().map(|text| target(text)).collect()
}

fn target(text: &str) -> Result<CacheTarget, Invalid> {
    let Some((kind, mut fields)) = fields(text)? else {
        return invalid(format!(
            "a cache cannot go to {text}: there is type=local,dest=DIRECTORY"
        ));
    };
    if kind != "local" {
        return invalid(format!(
            "a cache cannot go to type={kind} yet: write type=local,dest=DIRECTORY and keep the directory"
        ));
    }
    let Some(directory) = fields.remove("dest").filter(|dest| !dest.is_empty()) else {
        return invalid("dest is required for local cache: write type=local,dest=DIRECTORY");
    };
    let all = match fields.remove("mode").as_deref() {
        None | Some("min") => false,
        Some("max") => true,
        Some(other) => return invalid(format!("mode={other}: write min or max")),
    };
    let compression = match fields.remove("compression").as_deref() {
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
    let force = matches!(fields.remove("force-compression").as_deref(), Some("true" | "1"));
    for ignored in ["oci-mediatypes", "image-manifest", "tag", "ignore-error"] {
        // There is one form of such a directory.
        drop(fields.remove(ignored));
    }
    if let Some(unknown) = fields.keys().next() {
        return invalid(format!("unknown key {unknown:?} in --cache-to {text:?}"));
    }
    Ok(CacheTarget {
        directory: directory.into(),
        all,
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
    })
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
    fn only_directories_are_there_yet() {
        let given: Vec<String> = ["type=local,src=a", "type=registry,ref=x/y", "x/y:cache"]
            .map(str::to_owned)
            .into();
        let (directories, ignored) = sources(&given).unwrap();
        assert_eq!(directories, [PathBuf::from("a")]);
        assert_eq!(ignored.len(), 2);
        let target = targets(&["type=local,dest=b,mode=max,compression=gzip".to_owned()]).unwrap();
        assert!(target[0].all && target[0].options.compression == Compression::Gzip);
        for (bad, expected) in [
            ("type=registry,ref=x", "type=registry yet"),
            ("type=gha", "type=gha yet"),
            ("inline", "there is type=local"),
            ("type=local", "dest is required"),
            ("type=local,dest=a,mode=all", "write min or max"),
            ("type=local,dest=a,x=y", "unknown key \"x\""),
        ] {
            let error = targets(&[bad.to_owned()]).unwrap_err().0;
            assert!(error.contains(expected), "{bad}: {error}");
        }
        assert!(sources(&["type=local".to_owned()]).is_err());
    }
}
