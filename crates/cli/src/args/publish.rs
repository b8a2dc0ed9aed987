//! `-p [ip:][host port|range:]port|range[/protocol]`, and `--expose`.

use super::{Invalid, csv, invalid};
use engine::containers::request::PublishRequest;
use engine::network::Protocol;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Reads a published port, one request for each port of a range.
pub(crate) fn parse(text: &str) -> Result<Vec<PublishRequest>, Invalid> {
    if text.contains('=') {
        return long(text);
    }
    let (address, protocol) = protocol(text)?;
    let (host, host_ports, ports) = split(address);
    if ports.is_empty() {
        return invalid("no port specified: ".to_owned() + text + "<empty>");
    }
    let host = match host {
        "" => None,
        text => {
            let plain = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'))
                .unwrap_or(text);
            match plain.parse::<IpAddr>() {
                Ok(host) => Some(host),
                Err(_) => return invalid(format!("invalid IP address: {text}")),
            }
        }
    };
    let container = range(ports).ok_or_else(|| Invalid(format!("invalid containerPort: {ports}")))?;
    if *container.start() == 0 {
        return invalid(format!("invalid containerPort: {ports}"));
    }
    let published = match host_ports {
        "" => None,
        text => Some(range(text).ok_or_else(|| Invalid(format!("invalid hostPort: {text}")))?),
    };
    let one = |port, host_ports| PublishRequest {
        host,
        host_ports,
        port,
        protocol,
    };
    match published {
        None => Ok(container.map(|port| one(port, 0..=0)).collect()),
        Some(host_ports) if container.len() == 1 => Ok(vec![one(*container.start(), host_ports)]),
        Some(host_ports) if host_ports.len() == container.len() => Ok(host_ports
            .zip(container)
            .map(|(host, port)| one(port, host..=host))
            .collect()),
        Some(_) => invalid(format!(
            "invalid ranges specified for container and host Ports: {ports} and {host_ports}"
        )),
    }
}

/// `target=80,published=8080,protocol=udp,mode=host`, the long form that services take.
fn long(text: &str) -> Result<Vec<PublishRequest>, Invalid> {
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in csv::fields(text)? {
        match field.split_once('=') {
            Some(("target", value)) => value.clone_into(&mut target),
            Some(("published", value)) => value.clone_into(&mut published),
            Some(("protocol", value)) => value.clone_into(&mut protocol),
            Some(("mode", "host" | "ingress")) => {}
            _ => return invalid(format!("invalid field format: {field}")),
        }
    }
    parse(&if published.is_empty() {
        format!("{target}/{protocol}")
    } else {
        format!("{published}:{target}/{protocol}")
    })
}

/// Reads `--expose port|range[/protocol]` as `port/protocol`, one for each port.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, Invalid> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = |why: String| Invalid(format!("invalid range format for --expose: {text}, error: {why}"));
    if ports.is_empty() {
        return Err(wrong("empty string specified for ports".into()));
    }
    if !matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong(format!("invalid proto: {protocol}")));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = super::integer::unsigned(first).map_err(|Invalid(why)| wrong(why))?;
    let last: u16 = super::integer::unsigned(last).map_err(|Invalid(why)| wrong(why))?;
    if last < first {
        return Err(wrong(format!("invalid range specified for port: {ports}")));
    }
    let protocol = protocol.to_ascii_lowercase();
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn protocol(text: &str) -> Result<(&str, Protocol), Invalid> {
    let Some((address, protocol)) = text.split_once('/') else {
        return Ok((text, Protocol::Tcp));
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return invalid(format!("invalid proto: {protocol}")),
    };
    Ok((address, protocol))
}

/// Takes `ip:host:container` apart from the right; an IPv6 address has colons of its own.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, ports)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    let Some((host, host_ports)) = rest.rsplit_once(':') else {
        return ("", rest, ports);
    };
    (host, host_ports, ports)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> Result<String, String> {
        let shown = |request: &PublishRequest| {
            format!(
                "{}{}-{}:{}/{:?}",
                request.host.map_or(String::new(), |host| format!("{host} ")),
                request.host_ports.start(),
                request.host_ports.end(),
                request.port,
                request.protocol
            )
        };
        parse(text)
            .map(|requests| requests.iter().map(shown).collect::<Vec<_>>().join(", "))
            .map_err(|Invalid(message)| message)
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("80", "0-0:80/Tcp"),
            ("8080:80", "8080-8080:80/Tcp"),
            ("8080:80/udp", "8080-8080:80/Udp"),
            ("8080:80/SCTP", "8080-8080:80/Sctp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080-8080:80/Tcp"),
            ("127.0.0.1::80", "127.0.0.1 0-0:80/Tcp"),
            ("[::1]:8080:80", "::1 8080-8080:80/Tcp"),
            ("::1:8080:80", "::1 8080-8080:80/Tcp"),
            (":80", "0-0:80/Tcp"),
            ("8000-8001:80-81", "8000-8000:80/Tcp, 8001-8001:81/Tcp"),
            ("8000-8009:80", "8000-8009:80/Tcp"),
            ("80-81", "0-0:80/Tcp, 0-0:81/Tcp"),
            ("published=8080,target=80,protocol=udp", "8080-8080:80/Udp"),
        ] {
            assert_eq!(show(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_ones_in_dockers_words() {
        for (text, expected) in [
            ("99999:80", "invalid hostPort: 99999"),
            ("80:99999", "invalid containerPort: 99999"),
            (
                "80-82:80-81",
                "invalid ranges specified for container and host Ports: 80-81 and 80-82",
            ),
            ("abc", "invalid containerPort: abc"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("80:80/foo", "invalid proto: foo"),
            ("", "no port specified: <empty>"),
            ("5-3:80", "invalid hostPort: 5-3"),
            ("a:80", "invalid hostPort: a"),
        ] {
            assert_eq!(show(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn exposed_ports() {
        assert_eq!(expose("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
        for (text, message) in [
            ("foo", "strconv.ParseUint: parsing \"foo\": invalid syntax"),
            ("90-80", "invalid range specified for port: 90-80"),
        ] {
            assert_eq!(
                expose(text).unwrap_err().0,
                format!("invalid range format for --expose: {text}, error: {message}")
            );
        }
    }
}
