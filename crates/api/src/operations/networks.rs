//! Networks.

use super::pruned::{self, Gone};
use crate::server::{ApiVersion, Exchange, Failure, Method, Reply, Route};
use crate::wire::NetworkInspect;
use engine::EngineError;
use engine::containers::request::NetworkAttachment;
use engine::networks::filter::Filter;
use engine::networks::record::Network;
use engine::networks::request::{CreateNetwork, Pool, mac_address};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/networks",
        operation: list,
    },
    Route {
        method: Method::Post,
        pattern: "/networks/create",
        operation: create,
    },
    Route {
        method: Method::Post,
        pattern: "/networks/prune",
        operation: prune,
    },
    Route {
        method: Method::Post,
        pattern: "/networks/{id}/connect",
        operation: connect,
    },
    Route {
        method: Method::Post,
        pattern: "/networks/{id}/disconnect",
        operation: disconnect,
    },
    Route {
        method: Method::Get,
        pattern: "/networks/{id}",
        operation: inspect,
    },
    // With a slash at the end, as old clients ask.
    Route {
        method: Method::Get,
        pattern: "/networks/",
        operation: list,
    },
    Route {
        method: Method::Delete,
        pattern: "/networks/{id}",
        operation: remove,
    },
];

fn list(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let filter = Filter::new(exchange.query().filters()?)?;
    let version = exchange.version();
    let mut networks = exchange.engine()?.networks().list()?;
    networks.retain(|network| filter.accepts(network));
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    let documents: Result<Vec<Value>, Failure> = networks
        .iter()
        .map(|network| {
            let mut document = as_of(network, version)?;
            if let Value::Object(fields) = &mut document {
                fields.remove("Status");
                // Who is on a network only its inspection tells.
                if version < ApiVersion::new(52) {
                    fields.insert("Containers".into(), json!({}));
                } else {
                    fields.remove("Containers");
                }
            }
            Ok(document)
        })
        .collect();
    Reply::json(&documents?)
}

fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let id = exchange.parameter("id");
    let network = exchange.engine()?.networks().inspect(id)?;
    // There is no other scope.
    if exchange
        .query()
        .get("scope")
        .is_some_and(|scope| scope != "local")
    {
        return Err(EngineError::NoNetwork(id.to_owned()).into());
    }
    Reply::json(&as_of(&network, exchange.version())?)
}

/// Gives a network the shape that it had in a version.
fn as_of(network: &Network, version: ApiVersion) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(NetworkInspect::new(network))
        .map_err(|error| Failure::internal(error.to_string()))?;
    if let Value::Object(fields) = &mut document {
        if version < ApiVersion::new(48) {
            fields.remove("EnableIPv4");
        }
        if version >= ApiVersion::new(52) {
            fields.insert("Status".into(), crate::wire::network_status(network));
        }
    }
    Ok(document)
}

/// A network to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateDocument {
    name: Option<String>,
    driver: Option<String>,
    scope: Option<String>,
    internal: Option<bool>,
    attachable: Option<bool>,
    ingress: Option<bool>,
    config_only: Option<bool>,
    config_from: Option<ConfigFrom>,
    #[serde(rename = "EnableIPv4")]
    ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConfigFrom {
    network: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Ipam {
    driver: Option<String>,
    config: Option<Vec<IpamConfig>>,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamConfig {
    subnet: Option<String>,
    #[serde(rename = "IPRange")]
    range: Option<String>,
    gateway: Option<String>,
    // Docker's documents have the one and its Go types the other.
    #[serde(alias = "AuxAddress")]
    auxiliary_addresses: Option<BTreeMap<String, String>>,
}

impl IpamConfig {
    fn pool(self) -> Result<Pool, Failure> {
        let mut auxiliary = BTreeMap::new();
        for (name, address) in self.auxiliary_addresses.unwrap_or_default() {
            if let Some(address) = read("auxiliary address", Some(&address))? {
                auxiliary.insert(name, address);
            }
        }
        Ok(Pool {
            subnet: read("subnet", self.subnet.as_deref())?,
            range: read("ip-range", self.range.as_deref())?,
            gateway: read("gateway", self.gateway.as_deref())?,
            auxiliary,
        })
    }
}

/// Reads an address or a range; nothing where nothing is said.
fn read<T>(what: &str, text: Option<&str>) -> Result<Option<T>, Failure>
where
    T: FromStr,
    T::Err: Display,
{
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let parsed = text.map(|text| {
        text.parse().map_err(|error| {
            Failure::bad_request(format!("invalid network config: invalid {what} {text}: {error}"))
        })
    });
    parsed.transpose()
}

fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let document: CreateDocument = exchange.document()?;
    refuse_clusters(&document)?;
    let given = |text: Option<String>, default: &str| {
        text.filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    let ipam = document.ipam.unwrap_or_default();
    let pools: Result<Vec<Pool>, Failure> = ipam
        .config
        .unwrap_or_default()
        .into_iter()
        .map(IpamConfig::pool)
        .collect();
    let mut pools = pools?;
    // docker-compose 1 sends an empty one for "any".
    pools.retain(|pool| *pool != Pool::default());
    let request = CreateNetwork {
        name: document.name.unwrap_or_default(),
        driver: given(document.driver, "bridge"),
        internal: document.internal.unwrap_or_default(),
        attachable: document.attachable.unwrap_or_default(),
        ipv4: document.ipv4.unwrap_or(true),
        ipv6: document.ipv6.unwrap_or_default(),
        pools,
        ipam_driver: given(ipam.driver, "default"),
        ipam_options: ipam.options.unwrap_or_default(),
        options: document.options.unwrap_or_default(),
        labels: document.labels.unwrap_or_default(),
        ignores_unknown: true,
    };
    let unknown = request.unknown_options();
    let warning = if unknown.is_empty() {
        String::new()
    } else {
        format!("these options have no effect here: {}", unknown.join(", "))
    };
    let network = exchange.engine()?.networks().create(&request)?;
    Reply::json_with(
        StatusCode::CREATED,
        &json!({"Id": network.id, "Warning": warning}),
    )
}

/// Refuses what only a cluster has, and what is not there.
fn refuse_clusters(document: &CreateDocument) -> Result<(), Failure> {
    let from = document
        .config_from
        .as_ref()
        .and_then(|from| from.network.as_deref());
    if document.config_only == Some(true) || from.is_some_and(|from| !from.is_empty()) {
        return Err(Failure::not_implemented(
            "a network that only holds the settings of others",
        ));
    }
    let scope = document.scope.as_deref().unwrap_or_default();
    if document.ingress == Some(true) || matches!(scope, "swarm" | "global") {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ));
    }
    Ok(())
}

/// How a container is to be on a network.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct EndpointDocument {
    #[serde(rename = "IPAMConfig")]
    ipam: Option<EndpointIpam>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    mac_address: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    gw_priority: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointIpam {
    #[serde(rename = "IPv4Address")]
    ipv4: Option<String>,
    #[serde(rename = "IPv6Address")]
    ipv6: Option<String>,
    #[serde(rename = "LinkLocalIPs")]
    link_local: Option<Vec<String>>,
}

impl EndpointDocument {
    /// Makes it a place on the network of that name.
    pub(super) fn attachment(self, network: &str) -> Result<NetworkAttachment, Failure> {
        let ipam = self.ipam.unwrap_or_default();
        let mac = self.mac_address.filter(|text| !text.is_empty());
        let mac = mac.map(|text| {
            mac_address(&text).ok_or_else(|| Failure::bad_request(format!("invalid MAC address: {text}")))
        });
        let mut link_local = Vec::new();
        for address in ipam.link_local.unwrap_or_default() {
            link_local.extend(read::<std::net::IpAddr>("link-local address", Some(&address))?);
        }
        Ok(NetworkAttachment {
            network: network.to_owned(),
            aliases: self.aliases.unwrap_or_default(),
            address: read("IPv4 address", ipam.ipv4.as_deref())?,
            address6: read("IPv6 address", ipam.ipv6.as_deref())?,
            link_local,
            mac: mac.transpose()?,
            driver_options: self.driver_opts.unwrap_or_default(),
            gateway_priority: self.gw_priority.unwrap_or_default(),
            links: self.links.unwrap_or_default(),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConnectDocument {
    container: Option<String>,
    endpoint_config: Option<EndpointDocument>,
}

fn connect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let document: ConnectDocument = exchange.document()?;
    let attachment = document
        .endpoint_config
        .unwrap_or_default()
        .attachment(exchange.parameter("id"))?;
    let engine = exchange.engine()?;
    let container = engine
        .containers()
        .find(document.container.as_deref().unwrap_or_default())?;
    engine.networks().connect(&container, &attachment)?;
    Ok(Reply::empty(StatusCode::OK))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DisconnectDocument {
    container: Option<String>,
    force: Option<bool>,
}

fn disconnect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let document: DisconnectDocument = exchange.document()?;
    let engine = exchange.engine()?;
    let name = document.container.unwrap_or_default();
    let container = match engine.containers().find(&name) {
        Ok(container) => container,
        // What is gone is on no network any more.
        Err(EngineError::NotFound { .. }) if document.force == Some(true) => {
            return Ok(Reply::empty(StatusCode::OK));
        }
        Err(error) => return Err(error.into()),
    };
    engine
        .networks()
        .disconnect(&container, exchange.parameter("id"))?;
    Ok(Reply::empty(StatusCode::OK))
}

fn remove(exchange: &mut Exchange) -> Result<Reply, Failure> {
    exchange.engine()?.networks().remove(exchange.parameter("id"))?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn prune(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let filters = exchange.query().filters()?;
    let names = exchange.engine()?.networks().prune(&filters)?;
    let gone = names
        .iter()
        .map(|name| Gone::new(name.as_str(), "deleted"))
        .collect();
    let deleted = (!names.is_empty()).then_some(&names);
    pruned::reply(exchange, gone, &json!({"NetworksDeleted": deleted}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_as_clients_write_it() {
        let document = json!({
            "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "", "LinkLocalIPs": ["169.254.1.2"]},
            "Links": null, "Aliases": ["db"], "MacAddress": "02:42:0a:00:00:09", "DriverOpts": null,
            "GwPriority": 3, "NetworkID": "ignored", "Gateway": "",
        });
        let endpoint: EndpointDocument = serde_json::from_value(document).unwrap();
        let attachment = endpoint.attachment("lan").unwrap();
        assert_eq!(attachment.address, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(attachment.address6, None);
        assert_eq!(attachment.mac, Some([2, 0x42, 10, 0, 0, 9]));
        assert_eq!(
            (attachment.aliases.as_slice(), attachment.gateway_priority),
            (&["db".to_owned()][..], 3)
        );
        for bad in [
            json!({"IPAMConfig": {"IPv4Address": "x"}}),
            json!({"MacAddress": "x"}),
            json!({"IPAMConfig": {"LinkLocalIPs": ["y"]}}),
        ] {
            let endpoint: EndpointDocument = serde_json::from_value(bad).unwrap();
            assert!(endpoint.attachment("lan").is_err());
        }
    }

    #[test]
    fn pools_are_read_as_clients_write_them() {
        let config = |document| serde_json::from_value::<IpamConfig>(document).unwrap().pool();
        let pool = config(json!({
            "Subnet": "10.1.0.0/16", "IPRange": "10.1.2.0/24", "Gateway": "10.1.0.1", "AuxiliaryAddresses": {"a": "10.1.0.2"},
        }));
        let pool = pool.unwrap();
        assert_eq!(pool.auxiliary["a"].to_string(), "10.1.0.2");
        assert_eq!(
            config(json!({"Subnet": "", "Gateway": null})).unwrap(),
            Pool::default()
        );
        assert_eq!(
            config(json!({"Subnet": "foo"})).unwrap_err().status,
            StatusCode::BAD_REQUEST
        );
    }
}
