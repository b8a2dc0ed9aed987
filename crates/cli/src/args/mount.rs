//! `--mount type=bind,source=…,target=…,…`.

use super::{Invalid, csv, invalid, size};
use engine::containers::request::{Below, MountRequest, MountSource};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: String,
    read_only: bool,
    bind: bool,
    propagation: Option<String>,
    create: bool,
    recursive: Option<bool>,
    below: Below,
    volume: bool,
    no_copy: bool,
    subpath: Option<String>,
    labels: BTreeMap<String, String>,
    driver: Option<String>,
    options: BTreeMap<String, String>,
    image: bool,
    image_subpath: Option<String>,
    tmpfs: bool,
    size: Option<u64>,
    mode: Option<u32>,
}

/// Reads a mount.
pub(crate) fn parse(text: &str) -> Result<MountRequest, Invalid> {
    let mut fields = Fields::default();
    for field in csv::fields(text)? {
        read(&mut fields, &field)?;
    }
    finish(fields)
}

fn read(fields: &mut Fields, field: &str) -> Result<(), Invalid> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
        None => (field.to_ascii_lowercase(), None),
    };
    let wrong = |value: &str| Invalid(format!("invalid value for {key}: {value}"));
    let flag = || match value {
        None => Ok(true),
        Some(value) => super::boolean::parse(value).map_err(|_error: Invalid| wrong(value)),
    };
    match key.as_str() {
        "readonly" | "ro" => {
            fields.read_only = flag()?;
            return Ok(());
        }
        "volume-nocopy" => {
            (fields.volume, fields.no_copy) = (true, flag()?);
            return Ok(());
        }
        "bind-nonrecursive" => {
            (fields.bind, fields.recursive) = (true, Some(!flag()?));
            return Ok(());
        }
        "bind-create-src" => {
            (fields.bind, fields.create) = (true, flag()?);
            return Ok(());
        }
        _ => {}
    }
    let Some(value) = value else {
        return invalid(format!("invalid field '{field}' must be a key=value pair"));
    };
    match key.as_str() {
        "type" => fields.kind = Some(value.to_ascii_lowercase()),
        "source" | "src" => fields.source = Some(value.to_owned()),
        "target" | "dst" | "destination" => value.clone_into(&mut fields.target),
        "consistency" => {}
        "bind-propagation" => {
            let value = value.to_ascii_lowercase();
            if !matches!(
                value.as_str(),
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave"
            ) {
                return invalid(format!("invalid propagation mode: {value}"));
            }
            (fields.bind, fields.propagation) = (true, Some(value));
        }
        "bind-recursive" => {
            fields.bind = true;
            (fields.recursive, fields.below) = match value {
                "enabled" => (Some(true), Below::ReadOnly),
                "disabled" => (Some(false), Below::ReadOnly),
                "writable" => (Some(true), Below::AsItIs),
                "readonly" => (Some(true), Below::ReadOnlyByName),
                _ => {
                    return invalid(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            };
        }
        "volume-subpath" => (fields.volume, fields.subpath) = (true, Some(value.to_owned())),
        "volume-driver" => (fields.volume, fields.driver) = (true, Some(value.to_owned())),
        "volume-label" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            fields.labels.insert(name.to_owned(), value.to_owned());
            fields.volume = true;
        }
        "volume-opt" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            fields.options.insert(name.to_owned(), value.to_owned());
            fields.volume = true;
        }
        "image-subpath" => (fields.image, fields.image_subpath) = (true, Some(value.to_owned())),
        "tmpfs-size" => {
            let bytes = size::bytes(value).map_err(|_error: Invalid| wrong(value))?;
            (fields.tmpfs, fields.size) = (true, u64::try_from(bytes).ok());
        }
        "tmpfs-mode" => {
            let mode =
                u32::from_str_radix(value, 8).map_err(|_error: std::num::ParseIntError| wrong(value))?;
            (fields.tmpfs, fields.mode) = (true, Some(mode));
        }
        _ => return invalid(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn finish(fields: Fields) -> Result<MountRequest, Invalid> {
    let kind = fields.kind.as_deref().unwrap_or("volume");
    if kind.is_empty() {
        return invalid("type is required");
    }
    if fields.target.is_empty() {
        return invalid("target is required");
    }
    for (set, prefix, own) in [
        (fields.volume, "volume", "volume"),
        (fields.bind, "bind", "bind"),
        (fields.tmpfs, "tmpfs", "tmpfs"),
        (fields.image, "image", "image"),
    ] {
        if set && kind != own {
            return invalid(format!(
                "cannot mix '{prefix}-*' options with mount type '{kind}'"
            ));
        }
    }
    let without = |option: &str, needed: &str| {
        invalid(format!(
            "option 'bind-recursive={option}' requires '{needed}' to be specified in conjunction"
        ))
    };
    match fields.below {
        Below::AsItIs if !fields.read_only => return without("writable", "readonly"),
        Below::ReadOnlyByName if !fields.read_only => return without("readonly", "readonly"),
        Below::ReadOnlyByName if fields.propagation.as_deref() != Some("rprivate") => {
            return without("readonly", "bind-propagation=rprivate");
        }
        _ => {}
    }
    if !fields.target.starts_with('/') {
        return invalid(format!(
            "invalid mount target '{}': mount path must be absolute",
            fields.target
        ));
    }
    let source = match kind {
        "bind" => {
            let path = match fields.source.as_deref() {
                None | Some("") => {
                    return invalid("invalid mount config for type \"bind\": field Source must not be empty");
                }
                Some(path) => absolute(path)?,
            };
            MountSource::Bind {
                path,
                create: fields.create,
                propagation: fields.propagation,
                recursive: fields.recursive.unwrap_or(true),
                below: fields.below,
            }
        }
        "volume" => MountSource::Volume {
            name: fields.source.filter(|name| !name.is_empty()),
            no_copy: fields.no_copy,
            subpath: fields.subpath.filter(|path| !path.is_empty()),
            labels: fields.labels,
            driver: fields.driver.filter(|driver| !driver.is_empty()),
            options: fields.options,
        },
        "image" => MountSource::Image {
            reference: fields.source.filter(|name| !name.is_empty()).ok_or_else(|| {
                Invalid("invalid mount config for type \"image\": field Source must not be empty".into())
            })?,
            subpath: fields.image_subpath.filter(|path| !path.is_empty()),
        },
        "tmpfs" => {
            if fields.source.is_some() {
                return invalid(
                    "invalid mount config for type \"tmpfs\": field Source must not be specified",
                );
            }
            MountSource::Tmpfs {
                size: fields.size,
                mode: fields.mode,
                options: Vec::new(),
            }
        }
        "npipe" => return invalid("mount type 'npipe' is for Windows containers"),
        "cluster" => return invalid("mount type 'cluster' is for a swarm, which is not there"),
        _ => return invalid(format!("invalid mount config: mount type unknown: {kind:?}")),
    };
    Ok(MountRequest {
        target: fields.target,
        read_only: fields.read_only,
        source,
        long: true,
        mode: String::new(),
    })
}

/// Makes a path of the host absolute, against the current directory.
pub(crate) fn absolute(path: &str) -> Result<PathBuf, Invalid> {
    let path = Path::new(path);
    std::path::absolute(path).map_err(|error| {
        Invalid(format!(
            "cannot make '{}' absolute: {}",
            path.display(),
            super::environment::reason(&error)
        ))
    })
}

/// Reads the number of a `--shm-size` or the like as the engine wants it.
pub(crate) fn unsigned_bytes(text: &str) -> Result<u64, Invalid> {
    let bytes = size::bytes(text)?;
    u64::try_from(bytes)
        .map_err(|_error: std::num::TryFromIntError| Invalid(format!("invalid size: '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type() {
        let bind = parse("type=bind,\"src=/a,b\",dst=/x,readonly,bind-propagation=rslave").unwrap();
        assert!(bind.read_only);
        assert_eq!(
            bind.source,
            MountSource::Bind {
                path: "/a,b".into(),
                create: false,
                propagation: Some("rslave".into()),
                recursive: true,
                below: Below::ReadOnly,
            }
        );
        let volume = parse("source=pg,target=/data,volume-nocopy=true,ro=false").unwrap();
        assert!(!volume.read_only);
        assert_eq!(
            volume.source,
            MountSource::Volume {
                name: Some("pg".into()),
                no_copy: true,
                subpath: None,
                labels: BTreeMap::new(),
                driver: None,
                options: BTreeMap::new(),
            }
        );
        let volume =
            parse("type=volume,src=pg,dst=/data,volume-subpath=a/b,volume-driver=local,volume-label=k=v,volume-opt=type=none,\"volume-opt=o=bind,ro\"")
                .unwrap();
        assert_eq!(
            volume.source,
            MountSource::Volume {
                name: Some("pg".into()),
                no_copy: false,
                subpath: Some("a/b".into()),
                labels: [("k".into(), "v".into())].into(),
                driver: Some("local".into()),
                options: [("type".into(), "none".into()), ("o".into(), "bind,ro".into())].into(),
            }
        );
        let image = parse("type=image,src=busybox,dst=/tools,image-subpath=bin").unwrap();
        assert_eq!(
            image.source,
            MountSource::Image {
                reference: "busybox".into(),
                subpath: Some("bin".into()),
            }
        );
        let tmpfs = parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        assert_eq!(
            tmpfs.source,
            MountSource::Tmpfs {
                size: Some(1 << 20),
                mode: Some(0o700),
                options: Vec::new()
            }
        );
    }

    #[test]
    fn wrong_ones_in_dockers_words() {
        for (text, message) in [
            ("source=x", "target is required"),
            ("", "EOF"),
            ("type=", "type is required"),
            (
                "type=bind,src=a,target=/x,foo=bar",
                "unexpected key 'foo' in 'foo=bar'",
            ),
            (
                "type=bind,src=/a,target=/x,foo",
                "invalid field 'foo' must be a key=value pair",
            ),
            (
                "type=volume,src=a,target=/x,readonly=foo",
                "invalid value for readonly: foo",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-size=foo",
                "invalid value for tmpfs-size: foo",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-mode=9",
                "invalid value for tmpfs-mode: 9",
            ),
            (
                "type=tmpfs,target=/x,bind-propagation=private",
                "cannot mix 'bind-*' options with mount type 'tmpfs'",
            ),
            (
                "type=bind,src=/x,target=/x,bind-recursive=foo",
                "invalid value for bind-recursive: foo (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
            ),
            (
                "type=bind,src=/x,target=/x,bind-recursive=writable",
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
            ),
            (
                "type=bind,src=/x,target=/x,readonly,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
            (
                "type=image,target=/x",
                "invalid mount config for type \"image\": field Source must not be empty",
            ),
            (
                "type=bind,src=/x,target=/x,volume-nocopy=foo",
                "invalid value for volume-nocopy: foo",
            ),
            (
                "type=foo,target=/x",
                "invalid mount config: mount type unknown: \"foo\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message, "{text}");
        }
    }
}
