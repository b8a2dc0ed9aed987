//! `--network`.

use super::{Invalid, csv, invalid};
use engine::containers::request::NetworkMode;

/// Reads a network, short (`host`) or long (`name=bridge`).
pub(crate) fn parse(text: &str) -> Result<NetworkMode, Invalid> {
    let name = if text.contains('=') {
        long(text)?
    } else {
        text.to_owned()
    };
    Ok(match name.as_str() {
        "" | "bridge" | "default" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match name.strip_prefix("container:") {
            Some("") => return invalid("invalid container format container:<name|id>"),
            Some(container) => NetworkMode::Container(container.to_owned()),
            None if name == "container" => {
                return invalid("invalid container format container:<name|id>");
            }
            None => NetworkMode::Named(name),
        },
    })
}

fn long(text: &str) -> Result<String, Invalid> {
    let mut name = String::new();
    for field in csv::fields(text)? {
        let Some((key, value)) = field.split_once('=') else {
            return invalid(format!("invalid field {field}"));
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.trim().clone_into(&mut name),
            key @ ("alias" | "ip" | "ip6" | "mac-address" | "link-local-ip" | "driver-opt"
            | "gw-priority") => {
                return invalid(format!(
                    "'{key}' is not there yet: networks of your own come later"
                ));
            }
            key => return invalid(format!("invalid field key {key}")),
        }
    }
    if name.is_empty() {
        return invalid("network name is not specified");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, expected) in [
            ("bridge", NetworkMode::Bridge),
            ("default", NetworkMode::Bridge),
            ("none", NetworkMode::None),
            ("host", NetworkMode::Host),
            ("container:db", NetworkMode::Container("db".into())),
            ("name=host", NetworkMode::Host),
            ("backend", NetworkMode::Named("backend".into())),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for (text, message) in [
            ("container:", "invalid container format container:<name|id>"),
            ("foo=bar", "invalid field key foo"),
            ("name=x,alias", "invalid field alias"),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message);
        }
    }
}
