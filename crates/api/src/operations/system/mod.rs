//! The engine as a whole: ping, version, info, events, what is stored, and who may do what at registries.

mod df;
mod events;

use super::credentials;
use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, Method, Reply, Route};
use crate::wire::{SystemInfo, SystemVersion};
use serde_json::{Map, Value, json};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/_ping",
        operation: ping,
    },
    Route {
        method: Method::Head,
        pattern: "/_ping",
        operation: ping,
    },
    Route {
        method: Method::Get,
        pattern: "/version",
        operation: version,
    },
    Route {
        method: Method::Get,
        pattern: "/info",
        operation: info,
    },
    Route {
        method: Method::Post,
        pattern: "/auth",
        operation: auth,
    },
    Route {
        method: Method::Get,
        pattern: "/events",
        operation: events::events,
    },
    Route {
        method: Method::Get,
        pattern: "/system/df",
        operation: df::disk_usage,
    },
];

#[expect(clippy::unnecessary_wraps, reason = "the shape of every operation")]
fn ping(_: &mut Exchange) -> Result<Reply, Failure> {
    let head = Head {
        headers: vec![
            ("builder-version", "2".to_owned()),
            ("swarm", "inactive".to_owned()),
            ("cache-control", "no-cache, no-store, must-revalidate".to_owned()),
            ("pragma", "no-cache".to_owned()),
        ],
        ..Head::ok("text/plain; charset=utf-8")
    };
    Ok(Reply::Whole(head, b"OK".to_vec()))
}

fn version(_: &mut Exchange) -> Result<Reply, Failure> {
    Reply::json(&SystemVersion::new())
}

fn info(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let engine = exchange.engine()?;
    let info = SystemInfo::new(&engine.info()?, &engine, env!("CARGO_PKG_VERSION"));
    let document = serde_json::to_value(&info).map_err(|error| Failure::internal(error.to_string()))?;
    Reply::json(&info_as_of(document, exchange.version()))
}

/// Gives the engine's description the shape that it had in a version.
fn info_as_of(mut document: Value, version: ApiVersion) -> Value {
    let before = |minor| version < ApiVersion::new(minor);
    let Value::Object(fields) = &mut document else {
        return document;
    };
    if before(42) {
        for name in ["KernelMemory", "KernelMemoryTCP"] {
            fields.insert(name.into(), false.into());
        }
        fields.insert("ClusterStore".into(), "".into());
        fields.insert("ClusterAdvertise".into(), "".into());
        fields.insert("SystemStatus".into(), Value::Null);
    }
    if before(49) {
        fields.remove("FirewallBackend");
        for name in ["ContainerdCommit", "InitCommit", "RuncCommit"] {
            let id = fields[name]["ID"].clone();
            fields[name]["Expected"] = id;
        }
        if let Some(Value::Object(registries)) = fields.get_mut("RegistryConfig") {
            registries.insert("AllowNondistributableArtifactsCIDRs".into(), Value::Null);
            registries.insert("AllowNondistributableArtifactsHostnames".into(), Value::Null);
        }
    }
    if before(50) {
        for name in ["BridgeNfIptables", "BridgeNfIp6tables"] {
            fields.insert(name.into(), false.into());
        }
    }
    document
}

/// Checks a name and a password with a registry. Nothing is kept here: that is the client's affair.
fn auth(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let document: Map<String, Value> = exchange.document()?;
    let server = document
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("serveraddress"))
        .and_then(|(_, value)| value.as_str())
        .unwrap_or_default();
    let registry = engine::login::registry_of(server);
    let token = exchange
        .engine()?
        .authenticate(registry, &credentials::auth(&document))?;
    Reply::json(&json!({"Status": "Login Succeeded", "IdentityToken": token.unwrap_or_default()}))
}
