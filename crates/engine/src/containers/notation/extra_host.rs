//! `--add-host name:address`.

use super::{Invalid, invalid};
use std::net::IpAddr;

/// Reads a name and its address; `host-gateway` stands for the host's address on the container's network.
pub fn parse(text: &str) -> Result<(String, String), Invalid> {
    let separator = text.find(['=', ':']);
    let Some((name, address)) = separator.map(|at| (&text[..at], &text[at + 1..])) else {
        return invalid(format!("bad format for add-host: {text:?}"));
    };
    if name.is_empty() {
        return invalid(format!("bad format for add-host: {text:?}"));
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), address.to_owned()));
    }
    let plain = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    match plain.parse::<IpAddr>() {
        Ok(_) => Ok((name.to_owned(), plain.to_owned())),
        Err(_) => invalid(format!("invalid IP address in add-host: {address:?}")),
    }
}

/// Reads `--dns`.
pub fn dns_server(text: &str) -> Result<IpAddr, Invalid> {
    text.trim().parse().map_err(|_error: std::net::AddrParseError| {
        Invalid(format!("IP address is not correctly formatted: {text}"))
    })
}

/// Reads `--dns-search`: a domain, or `.` for none.
pub fn dns_search(text: &str) -> Result<String, Invalid> {
    let domain = text.trim();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if domain == "." || (domain.len() < 255 && domain.trim_end_matches('.').split('.').all(label)) {
        return Ok(domain.to_owned());
    }
    invalid(format!("{text} is not a valid domain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, name, address) in [
            ("db:10.0.0.1", "db", "10.0.0.1"),
            ("db=10.0.0.1", "db", "10.0.0.1"),
            ("db:::1", "db", "::1"),
            ("db=[::1]", "db", "::1"),
            ("h:host-gateway", "h", "host-gateway"),
        ] {
            assert_eq!(parse(text).unwrap(), (name.into(), address.into()), "{text}");
        }
        for (text, message) in [
            ("foo", "bad format for add-host: \"foo\""),
            (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
            ("a:", "invalid IP address in add-host: \"\""),
            ("foo=1.2.3.4:5", "invalid IP address in add-host: \"1.2.3.4:5\""),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message);
        }
        assert_eq!(
            dns_server("foo").unwrap_err().0,
            "IP address is not correctly formatted: foo"
        );
        assert_eq!(dns_search("").unwrap_err().0, " is not a valid domain");
        assert_eq!(dns_search("example.com").unwrap(), "example.com");
    }
}
