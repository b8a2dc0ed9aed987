//! `--network`, in its short and its long form, and the addresses and options that networks take.

use super::{Invalid, csv, invalid};
pub(crate) use engine::containers::notation::network::{link, mac_address, mode};
use engine::containers::request::{NetworkAttachment, NetworkMode};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::IntErrorKind;

/// One `--network`: which, and how the container is to be on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetworkFlag {
    /// Which.
    pub mode: NetworkMode,
    /// What else was said; the network is named as the mode names it.
    pub attachment: NetworkAttachment,
}

impl NetworkFlag {
    /// Says whether it is a network that somebody made, and not one of those that are always there.
    pub(crate) fn is_user_defined(&self) -> bool {
        matches!(self.mode, NetworkMode::Named(_))
    }
}

/// Reads a network, short (`host`) or long (`name=lan,alias=db`).
pub(crate) fn parse(text: &str) -> Result<NetworkFlag, Invalid> {
    let mut attachment = if text.contains('=') {
        long(text)?
    } else {
        NetworkAttachment {
            network: text.to_owned(),
            ..NetworkAttachment::default()
        }
    };
    let mode = mode(&attachment.network)?;
    if mode == NetworkMode::Bridge {
        "bridge".clone_into(&mut attachment.network);
    }
    Ok(NetworkFlag { mode, attachment })
}

fn long(text: &str) -> Result<NetworkAttachment, Invalid> {
    let mut attachment = NetworkAttachment::default();
    for field in csv::fields(text)? {
        let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return invalid(format!("invalid field {field}"));
        };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut attachment.network),
            "alias" => attachment.aliases.push(value.to_owned()),
            "ip" => attachment.address = Some(ipv4(value)?),
            "ip6" => attachment.address6 = Some(ipv6(value)?),
            "mac-address" => attachment.mac = Some(mac_address(value)?),
            "link-local-ip" => attachment.link_local.push(link_local(value)?),
            "driver-opt" => {
                let pair = driver_option(value);
                let wrong = |_invalid| Invalid("invalid key value pair format in driver options".into());
                let (name, value) = pair.map_err(wrong)?;
                attachment.driver_options.insert(name, value);
            }
            "gw-priority" => attachment.gateway_priority = priority(value)?,
            key => return invalid(format!("invalid field key {key}")),
        }
    }
    if attachment.network.is_empty() {
        return invalid("network name/id is not specified");
    }
    Ok(attachment)
}

/// Reads an IPv4 address of `--network`.
fn ipv4(text: &str) -> Result<Ipv4Addr, Invalid> {
    let wrong = |_error: std::net::AddrParseError| Invalid(format!("invalid IPv4 address: {text}"));
    text.parse().map_err(wrong)
}

/// Reads an IPv6 address of `--network`.
fn ipv6(text: &str) -> Result<Ipv6Addr, Invalid> {
    let wrong = |_error: std::net::AddrParseError| Invalid(format!("invalid IPv6 address: {text}"));
    text.parse().map_err(wrong)
}

/// Reads `gw-priority=`.
fn priority(text: &str) -> Result<i64, Invalid> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Invalid(format!("invalid gw-priority ({text}): {why}"))
    })
}

/// Reads `driver-opt=`, `--driver-opt`.
pub(crate) fn driver_option(text: &str) -> Result<(String, String), Invalid> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => invalid("invalid key/value pair format in driver options"),
    }
}

/// Reads `--ip`.
pub(crate) fn address(text: &str) -> Result<Ipv4Addr, Invalid> {
    match any_address(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => invalid(format!("invalid IPv4 address: {text}")),
    }
}

/// Reads `--ip6`.
pub(crate) fn address6(text: &str) -> Result<Ipv6Addr, Invalid> {
    match any_address(text)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => invalid(format!("invalid IPv6 address: {text}")),
    }
}

fn any_address(text: &str) -> Result<IpAddr, Invalid> {
    let wrong = |_error: std::net::AddrParseError| Invalid(format!("failed to parse IP: {text:?}"));
    text.trim().parse().map_err(wrong)
}

/// Reads `--link-local-ip`.
pub(crate) fn link_local(text: &str) -> Result<IpAddr, Invalid> {
    super::extra_host::dns_server(text)
}

/// Reads one of the comma-separated addresses of `--gateway`.
pub(crate) fn gateway(text: &str) -> Result<IpAddr, Invalid> {
    let wrong = |_error: std::net::AddrParseError| {
        Invalid(format!("invalid string being converted to IP address: {text}"))
    };
    text.trim().parse().map_err(wrong)
}

/// Reads one of the comma-separated ranges of `--ip-range`.
pub(crate) fn range(text: &str) -> Result<IpNet, Invalid> {
    let wrong =
        |_error: ipnet::AddrParseError| Invalid(format!("invalid string being converted to CIDR: {text}"));
    text.trim().parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, expected, name) in [
            ("bridge", NetworkMode::Bridge, "bridge"),
            ("default", NetworkMode::Bridge, "bridge"),
            ("none", NetworkMode::None, "none"),
            ("host", NetworkMode::Host, "host"),
            (
                "container:db",
                NetworkMode::Container("db".into()),
                "container:db",
            ),
            ("name=host", NetworkMode::Host, "host"),
            ("backend", NetworkMode::Named("backend".into()), "backend"),
            ("NAME=Backend", NetworkMode::Named("Backend".into()), "Backend"),
        ] {
            let network = parse(text).unwrap();
            assert_eq!(
                (&network.mode, network.attachment.network.as_str()),
                (&expected, name),
                "{text}"
            );
        }
    }

    #[test]
    fn the_long_form_says_it_all() {
        let text = "name=lan,alias=db,alias=store,ip=10.0.0.9,ip6=fd00::9,mac-address=92:d0:c6:0a:29:33,\
                    link-local-ip=169.254.1.9,driver-opt=a=b=c,gw-priority=-3";
        let expected = NetworkAttachment {
            network: "lan".into(),
            aliases: vec!["db".into(), "store".into()],
            address: Some(Ipv4Addr::new(10, 0, 0, 9)),
            address6: Some("fd00::9".parse().unwrap()),
            link_local: vec!["169.254.1.9".parse().unwrap()],
            mac: Some([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]),
            driver_options: [("a".to_owned(), "b=c".to_owned())].into(),
            gateway_priority: -3,
            links: Vec::new(),
        };
        assert_eq!(parse(text).unwrap().attachment, expected);
    }

    #[test]
    fn wrong_ones_in_dockers_words() {
        for (text, message) in [
            ("container:", "invalid container format container:<name|id>"),
            ("foo=bar", "invalid field key foo"),
            ("name=x,alias", "invalid field alias"),
            ("name=x,=y", "invalid field =y"),
            ("alias=x", "network name/id is not specified"),
            (
                "name=x,gw-priority=high",
                "invalid gw-priority (high): invalid syntax",
            ),
            (
                "name=x,gw-priority=99999999999999999999",
                "invalid gw-priority (99999999999999999999): value out of range",
            ),
            (
                "name=x,driver-opt=a",
                "invalid key value pair format in driver options",
            ),
            ("name=x,ip=fd00::1", "invalid IPv4 address: fd00::1"),
            ("name=x,ip6=1.2.3.4", "invalid IPv6 address: 1.2.3.4"),
            ("name=x,mac-address=y", "y is not a valid mac address"),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message, "{text}");
        }
    }

    #[test]
    fn addresses_and_links() {
        assert_eq!(address("10.0.0.1").unwrap(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(address("x").unwrap_err().0, "failed to parse IP: \"x\"");
        assert_eq!(address("::1").unwrap_err().0, "invalid IPv4 address: ::1");
        assert_eq!(address6("::1").unwrap(), Ipv6Addr::LOCALHOST);
        assert_eq!(
            address6("1.2.3.4").unwrap_err().0,
            "invalid IPv6 address: 1.2.3.4"
        );
        assert_eq!(
            gateway("x").unwrap_err().0,
            "invalid string being converted to IP address: x"
        );
        assert_eq!(
            range("x").unwrap_err().0,
            "invalid string being converted to CIDR: x"
        );
        assert_eq!(link("db:store").unwrap(), "db:store");
        assert_eq!(link("a:b:c").unwrap_err().0, "bad format for links: a:b:c");
        assert_eq!(link("").unwrap_err().0, "empty string specified for links");
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
