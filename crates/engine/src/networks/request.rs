//! What can be asked about networks: the command line's flags and the API's bodies both become these.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network to be made. `Default` is what `docker network create NAME` means, but for the name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct CreateNetwork {
    /// Its name.
    pub name: String,
    /// `-d`: `bridge`, `macvlan` or `ipvlan`; what others there are elsewhere is an error.
    pub driver: String,
    /// `--internal`: nothing passes to the outside.
    pub internal: bool,
    /// `--attachable`, which has a meaning in a cluster only: recorded.
    pub attachable: bool,
    /// `--ipv4`; a network without IPv4 is an error.
    pub ipv4: bool,
    /// `--ipv6`.
    pub ipv6: bool,
    /// `--subnet`, `--ip-range`, `--gateway`, `--aux-address`, put together as Docker does: at most one of each family.
    pub pools: Vec<Pool>,
    /// `--ipam-driver`: `default`.
    pub ipam_driver: String,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// `-o`: `com.docker.network.bridge.name` and the like, `parent`, `macvlan_mode`, …
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Options with a name of Docker's that mean nothing here are kept and have no effect, as with Docker, instead of
    /// being an error: see [`CreateNetwork::unknown_options`].
    pub ignores_unknown: bool,
}

impl Default for CreateNetwork {
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: "bridge".into(),
            internal: false,
            attachable: false,
            ipv4: true,
            ipv6: false,
            pools: Vec::new(),
            ipam_driver: "default".into(),
            ipam_options: BTreeMap::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            ignores_unknown: false,
        }
    }
}

/// Addresses of one family: asked for, or in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Pool {
    /// The subnet; asked for without one, a free one is found.
    pub subnet: Option<IpNet>,
    /// What part of it is given away unasked.
    pub range: Option<IpNet>,
    /// The gateway; the first address of the subnet (or range) if nothing is said.
    pub gateway: Option<IpAddr>,
    /// Addresses that are not given away, by the names of who has them.
    pub auxiliary: BTreeMap<String, IpAddr>,
}
