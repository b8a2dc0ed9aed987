//! Networks.

use super::containers::create::network::attachment;
use super::object::Object;
use super::pruned::{self, Gone};
use super::swarm;
use crate::server::{ApiVersion, Exchange, Failure, Method, Reply, Route};
use crate::wire::NetworkInspect;
use engine::EngineError;
use engine::networks::filter::Filter;
use engine::networks::record::Network;
use engine::networks::request::{CreateNetwork, Pool};
use hyper::StatusCode;
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

/// Reads one of the `IPAM.Config` of a network.
fn pool(mut config: Object) -> Result<Pool, Failure> {
    let mut auxiliary = BTreeMap::new();
    // Docker's documents have the one and its Go types the other.
    let addresses: BTreeMap<String, String> = if config.has("AuxiliaryAddresses") {
        config.take("AuxiliaryAddresses")?
    } else {
        config.take("AuxAddress")?
    };
    for (name, address) in addresses {
        if let Some(address) = read("auxiliary address", Some(address))? {
            auxiliary.insert(name, address);
        }
    }
    Ok(Pool {
        subnet: read("subnet", config.text("Subnet")?)?,
        range: read("ip-range", config.text("IPRange")?)?,
        gateway: read("gateway", config.text("Gateway")?)?,
        auxiliary,
    })
}

/// Reads an address or a range; nothing where nothing is said.
fn read<T>(what: &str, text: Option<String>) -> Result<Option<T>, Failure>
where
    T: FromStr,
    T::Err: Display,
{
    let text = text.filter(|text| !text.trim().is_empty());
    let parsed = text.map(|text| {
        text.trim().parse().map_err(|error| {
            Failure::bad_request(format!("invalid network config: invalid {what} {text}: {error}"))
        })
    });
    parsed.transpose()
}

fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut document = Object::new(exchange.document()?)?;
    refuse_clusters(&mut document)?;
    let mut ipam = document.object("IPAM")?;
    let pools: Result<Vec<Pool>, Failure> = ipam.objects("Config")?.into_iter().map(pool).collect();
    let mut pools = pools?;
    // docker-compose 1 sends an empty one for "any".
    pools.retain(|pool| *pool != Pool::default());
    let request = CreateNetwork {
        name: document.take("Name")?,
        driver: document.text("Driver")?.unwrap_or_else(|| "bridge".into()),
        internal: document.take("Internal")?,
        attachable: document.take("Attachable")?,
        ipv4: !document.has("EnableIPv4") || document.take("EnableIPv4")?,
        ipv6: document.take("EnableIPv6")?,
        pools,
        ipam_driver: ipam.text("Driver")?.unwrap_or_else(|| "default".into()),
        ipam_options: ipam.take("Options")?,
        options: document.take("Options")?,
        labels: document.take("Labels")?,
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
fn refuse_clusters(document: &mut Object) -> Result<(), Failure> {
    let from = document.object("ConfigFrom")?.text("Network")?;
    if document.take("ConfigOnly")? || from.is_some() {
        return Err(Failure::not_implemented(
            "a network that only holds the settings of others",
        ));
    }
    let scope = document.text("Scope")?;
    if document.take("Ingress")? || matches!(scope.as_deref(), Some("swarm" | "global")) {
        return Err(Failure::new(StatusCode::FORBIDDEN, swarm::NO_MANAGER));
    }
    Ok(())
}

fn connect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut document = Object::new(exchange.document()?)?;
    let mut endpoint = document.object("EndpointConfig")?;
    let attachment = attachment(exchange.parameter("id"), &mut endpoint)?;
    let engine = exchange.engine()?;
    let container = engine.containers().find(&document.take::<String>("Container")?)?;
    engine.networks().connect(&container, &attachment)?;
    Ok(Reply::empty(StatusCode::OK))
}

fn disconnect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut document = Object::new(exchange.document()?)?;
    let force: bool = document.take("Force")?;
    let name: String = document.take("Container")?;
    let engine = exchange.engine()?;
    let container = match engine.containers().find(&name) {
        Ok(container) => container,
        // What is gone is on no network any more.
        Err(EngineError::NotFound { .. }) if force => {
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
    fn pools_are_read_as_clients_write_them() {
        let config = |document| pool(Object::new(document).unwrap());
        let read = config(json!({
            "Subnet": "10.1.0.0/16", "IPRange": "10.1.2.0/24", "Gateway": "10.1.0.1", "AuxiliaryAddresses": {"a": "10.1.0.2"},
        }));
        assert_eq!(read.unwrap().auxiliary["a"].to_string(), "10.1.0.2");
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
