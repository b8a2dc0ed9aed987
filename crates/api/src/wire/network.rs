//! A network, as `docker network inspect` shows it.

use engine::containers::record::Container;
use engine::networks::stable_id;
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /networks/{name}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInspect {
    name: &'static str,
    id: String,
    created: String,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Endpoint>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// Another network whose settings it has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    options: Option<BTreeMap<String, String>>,
    config: Vec<Pool>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    subnet: String,
    gateway: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    name: String,
    #[serde(rename = "EndpointID")]
    id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

/// The networks that are always there, with their drivers.
const DEFAULTS: &[(&str, &str)] = &[("bridge", "bridge"), ("host", "host"), ("none", "null")];

impl NetworkInspect {
    /// Makes the default networks; `running` are the containers that may be on them, `subnet` the configured one.
    pub fn defaults(running: &[Container], subnet: Option<&str>) -> Vec<Self> {
        DEFAULTS
            .iter()
            .map(|(name, driver)| Self::new(name, driver, running, subnet))
            .collect()
    }

    fn new(name: &'static str, driver: &'static str, running: &[Container], subnet: Option<&str>) -> Self {
        let mut containers = BTreeMap::new();
        let mut pools: Vec<Pool> = Vec::new();
        let mut id = None;
        for container in running.iter().filter(|container| container.pid.is_some()) {
            let Some(record) = container
                .status
                .endpoints
                .iter()
                .find(|record| record.network == name)
            else {
                continue;
            };
            let mask = u32::MAX
                .checked_shl(u32::from(32 - record.prefix.min(32)))
                .unwrap_or(0);
            let gateway = record.gateway.unwrap_or(record.endpoint.address);
            let base = std::net::Ipv4Addr::from(u32::from(gateway) & mask);
            let pool = Pool {
                subnet: format!("{base}/{}", record.prefix),
                gateway: gateway.to_string(),
            };
            if !pools.contains(&pool) {
                pools.push(pool);
            }
            id = Some(record.network_id.clone());
            containers.insert(
                container.id.to_string(),
                Endpoint {
                    name: container.name.clone(),
                    id: record.endpoint.host_link.clone(),
                    mac_address: record.endpoint.mac.map(|byte| format!("{byte:02x}")).join(":"),
                    ipv4_address: format!("{}/{}", record.endpoint.address, record.prefix),
                    ipv6_address: String::new(),
                },
            );
        }
        if let (true, "bridge", Some(subnet)) = (pools.is_empty(), name, subnet) {
            pools.push(Pool {
                subnet: subnet.to_owned(),
                gateway: String::new(),
            });
        }
        Self {
            name,
            id: id.unwrap_or_else(|| stable_id(name)),
            // They come and go with their containers.
            created: super::time(None),
            scope: "local",
            driver,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: Ipam {
                driver: "default",
                options: None,
                config: pools,
            },
            internal: false,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            containers,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its driver.
    pub fn driver(&self) -> &'static str {
        self.driver
    }
}
