//! A network, as `docker network inspect` shows it.

use super::mac;
use engine::networks::record::{Member, Network};
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /networks/{name}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInspect {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
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
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    #[serde(skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    auxiliary_addresses: BTreeMap<String, String>,
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

impl NetworkInspect {
    /// Makes it of a network.
    pub fn new(network: &Network) -> Self {
        let pools: Vec<Pool> = network.pools.iter().map(Pool::new).collect();
        let members = network.members.iter();
        Self {
            name: network.name.clone(),
            id: network.id.clone(),
            // One that comes and goes with its containers may not have come yet.
            created: super::time(Some(network.created).filter(|created| *created != 0)),
            scope: "local",
            driver: network.driver.clone(),
            enable_ipv4: true,
            enable_ipv6: network.ipv6,
            ipam: Ipam {
                driver: "default",
                options: if network.is_predefined() {
                    None
                } else {
                    Some(network.ipam_options.clone())
                },
                config: super::none_if_empty(pools),
            },
            internal: network.internal,
            attachable: network.attachable,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            containers: members
                .map(|member| (member.container.to_string(), Endpoint::new(member)))
                .collect(),
            options: network.options.clone(),
            labels: network.labels.clone(),
        }
    }
}

/// How many addresses of a network's subnets are taken and how many are left, as since version 1.52.
pub(crate) fn network_status(network: &Network) -> serde_json::Value {
    let subnets = network.pools.iter().filter_map(|pool| Some((pool, pool.subnet?)));
    let statuses: serde_json::Map<String, serde_json::Value> = subnets
        .map(|(pool, subnet)| {
            let size =
                |net: &ipnet::IpNet| 1_u128 << (u32::from(net.max_prefix_len() - net.prefix_len())).min(127);
            let range = pool.range.unwrap_or(subnet);
            let mut taken: std::collections::BTreeSet<std::net::IpAddr> = pool
                .gateway
                .into_iter()
                .chain(pool.auxiliary.values().copied())
                .collect();
            taken.insert(subnet.network());
            if subnet.addr().is_ipv4() {
                taken.insert(subnet.broadcast());
            }
            for record in network
                .members
                .iter()
                .filter_map(|member| member.endpoint.as_ref())
            {
                let endpoint = &record.endpoint;
                let addresses: [Option<std::net::IpAddr>; 2] =
                    [Some(endpoint.address.into()), endpoint.address6.map(Into::into)];
                taken.extend(
                    addresses
                        .into_iter()
                        .flatten()
                        .filter(|address| subnet.contains(address)),
                );
            }
            let in_range = taken.iter().filter(|address| range.contains(*address)).count() as u128;
            let left = size(&range).saturating_sub(in_range);
            let status = serde_json::json!({
                "IPsInUse": taken.len(),
                "DynamicIPsAvailable": u64::try_from(left).unwrap_or(u64::MAX),
            });
            (subnet.to_string(), status)
        })
        .collect();
    serde_json::json!({"IPAM": {"Subnets": statuses}})
}

impl Pool {
    fn new(pool: &engine::networks::request::Pool) -> Self {
        let auxiliary = pool.auxiliary.iter();
        Self {
            subnet: pool.subnet.map(|subnet| subnet.to_string()),
            range: pool.range.map(|range| range.to_string()),
            gateway: pool.gateway.map(|gateway| gateway.to_string()),
            auxiliary_addresses: auxiliary
                .map(|(name, address)| (name.clone(), address.to_string()))
                .collect(),
        }
    }
}

impl Endpoint {
    fn new(member: &Member) -> Self {
        let name = member.name.clone();
        let Some(record) = &member.endpoint else {
            return Self {
                name,
                id: String::new(),
                mac_address: String::new(),
                ipv4_address: String::new(),
                ipv6_address: String::new(),
            };
        };
        let endpoint = &record.endpoint;
        let ipv6_address = endpoint
            .address6
            .zip(record.ipv6)
            .map(|(address, (_, prefix))| format!("{address}/{prefix}"));
        Self {
            name,
            id: record.id.clone(),
            mac_address: mac(endpoint.mac),
            ipv4_address: format!("{}/{}", endpoint.address, record.prefix),
            ipv6_address: ipv6_address.unwrap_or_default(),
        }
    }
}
