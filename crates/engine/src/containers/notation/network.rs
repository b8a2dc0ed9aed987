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
    crate::networks::request::mac_address(text)
        .ok_or_else(|| Invalid(format!("{text} is not a valid mac address")))
}
