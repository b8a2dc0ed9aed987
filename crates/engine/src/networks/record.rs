//! What is known of a network.

use super::request::Pool;
use crate::containers::record::{ContainerId, EndpointRecord};
use std::collections::BTreeMap;

/// A network, as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `null`, `macvlan`, `ipvlan`.
    pub driver: String,
    /// Nanoseconds since 1970; 0 for those that are always there and have not come into being yet.
    pub created: i64,
    /// Whether nothing passes to the outside.
    pub internal: bool,
    /// As it was asked for.
    pub attachable: bool,
    /// Whether it has IPv6 addresses.
    pub ipv6: bool,
    /// Its addresses, IPv4 first.
    pub pools: Vec<Pool>,
    /// As they were asked for.
    pub ipam_options: BTreeMap<String, String>,
    /// As they were asked for.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who is on it now.
    pub members: Vec<Member>,
}

impl Network {
    /// Says whether it is one of those that are always there: `bridge`, `host`, `none`.
    pub fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }
}

/// A running container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The container.
    pub container: ContainerId,
    /// Its name.
    pub name: String,
    /// Its place; `None` on `host` and `none`.
    pub endpoint: Option<EndpointRecord>,
}
