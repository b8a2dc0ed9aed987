//! `NetworkMode`, and `NetworkingConfig`'s endpoints: on which networks a container is to be, and how.

use super::refused;
use crate::operations::object::Object;
use crate::server::{ApiVersion, Failure};
use engine::containers::notation::network;
use engine::containers::request::{CreateContainer, NetworkAttachment, NetworkMode};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

pub(super) fn read(
    body: &mut Object,
    host: &mut Object,
    version: ApiVersion,
    request: &mut CreateContainer,
) -> Result<(), Failure> {
    for text in host.take::<Vec<String>>("Links")? {
        request.links.push(network::link(&text).map_err(refused)?);
    }
    let mut endpoints = BTreeMap::new();
    let mut config = body.object("NetworkingConfig")?;
    for (name, mut settings) in config.map("EndpointsConfig")? {
        let name = if name == "default" {
            "bridge".to_owned()
        } else {
            name
        };
        endpoints.insert(name.clone(), attachment(&name, &mut settings)?);
    }
    if endpoints.len() > 1 && version < ApiVersion::new(44) {
        let names: Vec<String> = endpoints.into_keys().collect();
        return Err(Failure::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    let text: String = host.take("NetworkMode")?;
    let disabled: bool = body.take("NetworkDisabled")?;
    request.network = if disabled {
        NetworkMode::None
    } else {
        network::mode(&text).map_err(refused)?
    };
    // Of those that say nothing of a first network, an endpoint does.
    if matches!(text.as_str(), "" | "default")
        && !disabled
        && !endpoints.contains_key("bridge")
        && let Some(name) = endpoints.keys().next()
    {
        request.network = network::mode(name).map_err(refused)?;
    }
    let mac = body.text("MacAddress")?;
    let mac = mac
        .map(|text| network::mac_address(&text).map_err(refused))
        .transpose()?;
    request.attachments = attachments(&request.network, endpoints, mac)?;
    if let Some(first) = request.attachments.first_mut()
        && first.links == request.links
    {
        // Clients say it twice.
        first.links.clear();
    }
    request.mac_address = mac.or_else(|| request.attachments.first()?.mac);
    if let [only] = request.attachments.as_slice() {
        let plain = NetworkAttachment {
            network: only.network.clone(),
            mac: request.mac_address,
            ..NetworkAttachment::default()
        };
        if *only == plain {
            request.attachments.clear();
        }
    }
    Ok(())
}

fn is_own(network: &str) -> bool {
    !matches!(network, "bridge" | "host" | "none")
}

/// Puts the endpoints in order, the one of the first network in front.
fn attachments(
    mode: &NetworkMode,
    mut endpoints: BTreeMap<String, NetworkAttachment>,
    mac: Option<[u8; 6]>,
) -> Result<Vec<NetworkAttachment>, Failure> {
    let first = match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Named(name) => name,
        NetworkMode::Container(_) => {
            if !endpoints.is_empty() {
                return Err(Failure::bad_request(
                    "container sharing network namespace with another container or host cannot be connected to any other network",
                ));
            }
            return Ok(Vec::new());
        }
    };
    let mut own = endpoints.remove(first).unwrap_or_else(|| NetworkAttachment {
        network: first.to_owned(),
        ..NetworkAttachment::default()
    });
    own.mac = own.mac.or(mac);
    if !endpoints.is_empty() {
        match mode {
            NetworkMode::Host => {
                return Err(Failure::bad_request(
                    "container sharing network namespace with another container or host cannot be connected to any other network",
                ));
            }
            NetworkMode::None => {
                return Err(Failure::bad_request(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                ));
            }
            _ => {}
        }
    }
    let all: Vec<NetworkAttachment> = std::iter::once(own).chain(endpoints.into_values()).collect();
    if all
        .iter()
        .any(|one| !is_own(&one.network) && !one.aliases.is_empty())
    {
        return Err(Failure::bad_request(
            "invalid endpoint settings: network-scoped aliases are only supported for user-defined networks",
        ));
    }
    Ok(all)
}

/// Reads an `EndpointSettings`, here and for `POST /networks/{id}/connect`.
pub(in crate::operations) fn attachment(
    name: &str,
    settings: &mut Object,
) -> Result<NetworkAttachment, Failure> {
    let mut addresses = settings.object("IPAMConfig")?;
    let mut attachment = NetworkAttachment {
        network: name.to_owned(),
        aliases: settings.take("Aliases")?,
        address: address(&mut addresses, "IPv4Address", "IPv4")?,
        address6: address(&mut addresses, "IPv6Address", "IPv6")?,
        link_local: Vec::new(),
        mac: None,
        driver_options: settings.take("DriverOpts")?,
        gateway_priority: settings.take("GwPriority")?,
        links: settings.take("Links")?,
    };
    for text in addresses.take::<Vec<String>>("LinkLocalIPs")? {
        let address: IpAddr = text.parse().map_err(|_no_address| {
            Failure::bad_request(format!(
                "invalid endpoint settings: invalid link-local IP address: {text}"
            ))
        })?;
        attachment.link_local.push(address);
    }
    if let Some(text) = settings.text("MacAddress")? {
        attachment.mac = Some(network::mac_address(&text).map_err(refused)?);
    }
    Ok(attachment)
}

fn address<T: FromStr>(addresses: &mut Object, name: &str, kind: &str) -> Result<Option<T>, Failure> {
    let Some(text) = addresses.text(name)? else {
        return Ok(None);
    };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Failure::bad_request(format!(
            "invalid endpoint settings: invalid {kind} address: {text}"
        ))),
    }
}
