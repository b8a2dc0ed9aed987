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

/// Reads a `--mac-address`.
pub(crate) fn mac_address(text: &str) -> Result<[u8; 6], Invalid> {
    let wrong = || Invalid(format!("{text} is not a valid mac address"));
    let trimmed = text.trim();
    let separator = if trimmed.contains('-') { '-' } else { ':' };
    let mut address = [0; 6];
    let mut parts = trimmed.split(separator);
    for byte in &mut address {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_error: std::num::ParseIntError| wrong())?;
    }
    // The lowest bit of the first byte is that of groups, which no interface can have.
    if parts.next().is_some() || address[0] & 1 != 0 {
        return Err(wrong());
    }
    Ok(address)
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

    #[test]
    fn mac_addresses() {
        let address = [0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33];
        for text in ["92:d0:c6:0a:29:33", "92-D0-C6-0a-29-33", " 92:d0:c6:0a:29:33 "] {
            assert_eq!(mac_address(text), Ok(address), "{text}");
        }
        for text in [
            "",
            "x",
            "92:d0:c6:0a:29",
            "92:d0:c6:0a:29:33:44",
            "93:d0:c6:0a:29:33",
            "+2:d0:c6:0a:29:33",
        ] {
            assert_eq!(
                mac_address(text).unwrap_err().0,
                format!("{text} is not a valid mac address")
            );
        }
    }
}
