//! `ExposedPorts`, `PortBindings`, `PublishAllPorts`.

use crate::operations::object::Object;
use crate::server::Failure;
use engine::containers::request::{CreateContainer, PublishRequest};
use engine::network::Protocol;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Binding {
    #[serde(rename = "HostIp", alias = "HostIP", alias = "hostIp")]
    address: Option<String>,
    #[serde(rename = "HostPort", alias = "hostPort")]
    port: Option<String>,
}

pub(super) fn read(
    body: &mut Object,
    host: &mut Object,
    request: &mut CreateContainer,
) -> Result<(), Failure> {
    for text in body.keys("ExposedPorts")? {
        let (ports, protocol) = of_container(&text)?;
        let protocol = name(protocol);
        request
            .expose
            .extend(ports.map(|port| format!("{port}/{protocol}")));
    }
    let bindings: BTreeMap<String, Option<Vec<Binding>>> = host.take("PortBindings")?;
    for (text, bindings) in bindings {
        let (mut ports, protocol) = of_container(&text)?;
        let (Some(port), None) = (ports.next(), ports.next()) else {
            return Err(Failure::bad_request(format!(
                "invalid port specification: \"{text}\""
            )));
        };
        // No binding at all is one without wishes, as Docker has it.
        let mut bindings = bindings.unwrap_or_default();
        if bindings.is_empty() {
            bindings.push(Binding::default());
        }
        for binding in bindings {
            request.publish.push(PublishRequest {
                host: address(&binding.address.unwrap_or_default())?,
                host_ports: of_host(&binding.port.unwrap_or_default())?,
                port,
                protocol,
            });
        }
    }
    request.publish_all = host.take("PublishAllPorts")?;
    Ok(())
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Reads `80/tcp`, `80`, `80-90/udp`.
fn of_container(text: &str) -> Result<(RangeInclusive<u16>, Protocol), Failure> {
    let wrong = || Failure::bad_request(format!("invalid port specification: \"{text}\""));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(wrong()),
    };
    let ports = range(ports)
        .filter(|ports| *ports.start() != 0)
        .ok_or_else(wrong)?;
    Ok((ports, protocol))
}

/// Reads a port of the host, or a range of which any will do; nothing is a free one.
fn of_host(text: &str) -> Result<RangeInclusive<u16>, Failure> {
    if text.is_empty() {
        return Ok(0..=0);
    }
    range(text).ok_or_else(|| Failure::bad_request(format!("invalid port specification: \"{text}\"")))
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok())?
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

/// Reads an address of the host.
fn address(text: &str) -> Result<Option<IpAddr>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    match plain.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Failure::bad_request(format!("invalid IP address: {text}"))),
    }
}
