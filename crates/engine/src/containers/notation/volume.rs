//! `-v [source:]target[:options]`.

use super::{Invalid, invalid};
use crate::containers::request::{Below, MountRequest, MountSource};
use std::collections::BTreeMap;

/// Reads a volume or a bind: an absolute source is a path of the host, anything else a volume's name.
pub fn parse(text: &str) -> Result<MountRequest, Invalid> {
    if text.is_empty() {
        return invalid("invalid empty volume spec");
    }
    let wrong = || Invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        // `-v /data:ro` is Docker's puzzle: it means the source /data and the target ro, which is not absolute.
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(wrong()),
    };
    if matches!(source, Some("")) || target.is_empty() {
        return Err(wrong());
    }
    if !target.starts_with('/') {
        return invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{}\": invalid mount path: '{target}' mount path must be absolute",
            if source.is_some_and(is_path) {
                "bind"
            } else {
                "volume"
            }
        ));
    }
    if target.split('/').all(|part| part.is_empty() || part == ".") {
        return invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"volume\": invalid specification: destination can't be '/'"
        ));
    }
    let bind = source.is_some_and(is_path);
    let (mut read_only, mut no_copy, mut propagation) = (false, false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // z and Z are read out of the text by the engine; the others speak to virtual machines.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "default" => {}
            "nocopy" if !bind => no_copy = true,
            "copy" if !bind => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if bind => {
                propagation = Some(option.to_owned());
            }
            _ => return invalid(format!("invalid mode: {options}")),
        }
    }
    let source = match source {
        Some(path) if bind => MountSource::Bind {
            path: path.into(),
            create: true,
            propagation,
            recursive: true,
            below: Below::ReadOnly,
        },
        name => {
            if let Some(name) = name {
                check_name(name)?;
            }
            MountSource::Volume {
                name: name.map(str::to_owned),
                no_copy,
                subpath: None,
                labels: BTreeMap::new(),
                driver: None,
                options: BTreeMap::new(),
            }
        }
    };
    Ok(MountRequest {
        target: target.to_owned(),
        read_only,
        source,
        long: false,
        mode: options.to_owned(),
    })
}

fn is_path(source: &str) -> bool {
    source.starts_with('/')
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let mut bytes = name.bytes();
    let known = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if known {
        return Ok(());
    }
    invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let anonymous = parse("/data").unwrap();
        assert_eq!(
            anonymous.source,
            MountSource::Volume {
                name: None,
                no_copy: false,
                subpath: None,
                labels: BTreeMap::new(),
                driver: None,
                options: BTreeMap::new(),
            }
        );
        let named = parse("pg:/var/lib/postgresql/data:nocopy,ro").unwrap();
        assert!(named.read_only);
        assert_eq!(
            named.source,
            MountSource::Volume {
                name: Some("pg".into()),
                no_copy: true,
                subpath: None,
                labels: BTreeMap::new(),
                driver: None,
                options: BTreeMap::new(),
            }
        );
        let bind = parse("/srv:/data:rshared").unwrap();
        assert_eq!(
            bind.source,
            MountSource::Bind {
                path: "/srv".into(),
                create: true,
                propagation: Some("rshared".into()),
                recursive: true,
                below: Below::ReadOnly,
            }
        );
    }

    #[test]
    fn wrong_ones_in_dockers_words() {
        for (text, message) in [
            ("", "invalid empty volume spec"),
            ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
            (":/x", "invalid volume specification: ':/x'"),
            ("/a:/b:foo", "invalid mode: foo"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message);
        }
        assert!(
            parse("/a:b")
                .unwrap_err()
                .0
                .contains("mount path must be absolute")
        );
        assert!(
            parse("a b:/x")
                .unwrap_err()
                .0
                .contains("includes invalid characters for a local volume name")
        );
        assert!(parse("a:/").unwrap_err().0.contains("destination can't be '/'"));
    }
}
