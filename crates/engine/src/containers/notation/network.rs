//! Networks by name, links and hardware addresses.

use super::{Invalid, invalid};
use crate::containers::request::NetworkMode;

/// Reads which network a container is on first: `host`, `container:db`, or a name.
pub fn mode(name: &str) -> Result<NetworkMode, Invalid> {
    Ok(match name {
        "" | "bridge" | "default" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        "container" => return invalid("invalid container format container:<name|id>"),
        _ => match name.strip_prefix("container:") {
            Some("") => return invalid("invalid container format container:<name|id>"),
            Some(container) => NetworkMode::Container(container.to_owned()),
            None => NetworkMode::Named(name.to_owned()),
        },
    })
}

/// Checks `--link`: a container, and perhaps the name that it is to have.
pub fn link(text: &str) -> Result<String, Invalid> {
    match text.split(':').count() {
        _ if text.is_empty() => invalid("empty string specified for links"),
        1 | 2 => Ok(text.to_owned()),
        _ => invalid(format!("bad format for links: {text}")),
    }
}

/// Reads a `--mac-address`.
pub fn mac_address(text: &str) -> Result<[u8; 6], Invalid> {
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
