//! Networks: the default bridge, and what a container's endpoint on it is.
//!
//! The default bridge comes into being with the first container that needs it. Which address and which host port
//! belongs to whom is decided in one transaction of the state database; the host port is also bound, by a socket that
//! lives as long as the container's monitor, so that programs outside Coracle see it taken.

pub mod record;
pub mod request;

use crate::containers::places;
use crate::containers::record::{ContainerId, EndpointRecord};
use crate::containers::request::{NetworkAttachment, PublishRequest};
use crate::{Engine, EngineError};
use network::{Bridge, Endpoint, NetworkError, Protocol, PublishedPort};
use record::Network;
use request::CreateNetwork;
use rusqlite::{Connection, OptionalExtension};
use state::StateError;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

/// What users call the default bridge, as with Docker.
const DEFAULT: &str = "bridge";

/// The networks of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'e> {
    pub(crate) engine: &'e Engine,
}

/// A network as the database has it.
#[derive(Debug, Clone)]
pub(crate) struct BridgeNetwork {
    pub(crate) id: String,
    pub(crate) bridge: Bridge,
}

/// A place on a network, with the sockets that keep its host ports.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) record: EndpointRecord,
    pub(crate) sockets: Vec<OwnedFd>,
}

impl Networks<'_> {
    /// Returns the default bridge's record, making it on first use. The bridge itself is made by
    /// [`Bridge::ensure`].
    pub(crate) fn default_bridge(self) -> Result<BridgeNetwork, EngineError> {
        let database = &self.engine.database;
        if let Some(network) = database.read(find_default)? {
            return Ok(network);
        }
        let bridge = self.plan_default_bridge()?;
        let id = places::hex(&places::random::<32>()?);
        database.write(|transaction| {
            // Another process may have been faster.
            if let Some(network) = find_default(transaction)? {
                return Ok(network);
            }
            let settings = serde_json::to_string(&bridge)
                .map_err(|error| query_error(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))?;
            transaction
                .execute(
                    "INSERT INTO networks (id, name, settings, created) VALUES (?1, ?2, ?3, ?4)",
                    (&id, DEFAULT, settings, crate::events::now()),
                )
                .map_err(query_error)?;
            Ok(BridgeNetwork { id, bridge })
        })
    }

    /// Makes a network. The name must be free.
    pub fn create(&self, request: &CreateNetwork) -> Result<Network, EngineError> {
        Err(EngineError::NotSupported(format!("network {}", request.name)))
    }

    /// Returns all networks: the predefined ones too, in no particular order.
    pub fn list(&self) -> Result<Vec<Network>, EngineError> {
        Err(EngineError::NotSupported("listing networks".into()))
    }

    /// Returns one, by name, id or id prefix.
    pub fn inspect(&self, name: &str) -> Result<Network, EngineError> {
        Err(EngineError::NotFound {
            kind: "network",
            name: name.to_owned(),
        })
    }

    /// Removes one that nobody is on, by name, id or id prefix.
    pub fn remove(&self, name: &str) -> Result<(), EngineError> {
        Err(EngineError::NotFound {
            kind: "network",
            name: name.to_owned(),
        })
    }

    /// Puts a container on one more network, at once if it runs.
    pub fn connect(
        &self,
        container: &ContainerId,
        attachment: &NetworkAttachment,
    ) -> Result<(), EngineError> {
        Err(EngineError::NotFound {
            kind: "network",
            name: format!("{} (for {container})", attachment.network),
        })
    }

    /// Takes a container off a network, at once if it runs.
    pub fn disconnect(&self, container: &ContainerId, network: &str) -> Result<(), EngineError> {
        Err(EngineError::NotFound {
            kind: "network",
            name: format!("{network} (for {container})"),
        })
    }

    fn plan_default_bridge(self) -> Result<Bridge, EngineError> {
        let locations = self.engine.locations();
        let (name, table) = if locations.root.as_os_str() == "/var/lib/coracle" {
            ("coracle0".to_owned(), "coracle".to_owned())
        } else {
            let mark = locations.mark();
            (format!("cor{mark}"), format!("coracle-{mark}"))
        };
        let subnet = match self.engine.config().subnet {
            Some(subnet) => subnet.trunc(),
            None => network::free_subnet(&[])?,
        };
        let gateway = subnet.hosts().next().ok_or_else(|| EngineError::Invalid {
            message: format!("the subnet {subnet} has no room for a gateway"),
            hint: Some("set subnet in the configuration file to a larger one, such as 172.30.0.0/16".into()),
        })?;
        Ok(Bridge {
            name,
            subnet,
            gateway,
            ipv6: None,
            mtu: network::uplink_mtu()?,
            table,
            traffic: network::Traffic::default(),
        })
    }

    /// Removes networks that no container uses, and returns their names. The default ones are never among them, but an
    /// idle bridge gives back what it has on the host.
    pub fn prune(&self, filters: &[(String, String)]) -> Result<Vec<String>, EngineError> {
        crate::system::Filters::parse(filters)?;
        self.remove_idle()?;
        crate::events::pruned(self.engine, "network", 0)?;
        Ok(Vec::new())
    }

    /// Takes the default bridge and this root's firewall rules away if no container uses them; the next start makes
    /// them again.
    pub fn remove_idle(&self) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            let Some(network) = find_default(transaction)? else {
                return Ok(());
            };
            let removed = transaction
                .execute(
                    "DELETE FROM networks WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM addresses WHERE network = ?1)",
                    [&network.id],
                )
                .map_err(query_error)?;
            // Within the transaction, so that nobody records the network anew while it is taken away.
            if removed > 0 {
                network.bridge.remove()?;
                sys::failpoint::reach("network.removed")?;
            }
            Ok(())
        })
    }
}

fn find_default(connection: &Connection) -> Result<Option<BridgeNetwork>, EngineError> {
    let row: Option<(String, String)> = connection
        .prepare_cached("SELECT id, settings FROM networks WHERE name = ?1")
        .map_err(query_error)?
        .query_row([DEFAULT], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(query_error)?;
    let Some((id, settings)) = row else {
        return Ok(None);
    };
    let bridge = serde_json::from_str(&settings).map_err(|error| {
        query_error(rusqlite::Error::FromSqlConversionFailure(
            1,
            rusqlite::types::Type::Text,
            Box::new(error),
        ))
    })?;
    Ok(Some(BridgeNetwork { id, bridge }))
}

fn query_error(error: rusqlite::Error) -> EngineError {
    StateError::from(error).into()
}

/// Gives `holder` (a container's id, or a build step's) an address on the network and the host ports that it asks for,
/// in the transaction that `connection` is in. `name` is what messages call it.
pub(crate) fn allot(
    connection: &Connection,
    network: &BridgeNetwork,
    holder: &ContainerId,
    name: &str,
    publish: &[PublishRequest],
) -> Result<Place, EngineError> {
    let bridge = &network.bridge;
    let taken = taken_addresses(connection, &network.id).map_err(query_error)?;
    let address = network::free_address(bridge.subnet, None, bridge.gateway, &taken).ok_or_else(|| {
        EngineError::Conflict {
            message: format!("no available IPv4 addresses on this network's address pools: {DEFAULT}"),
            hint: Some(format!("all of {} is taken: remove containers", bridge.subnet)),
        }
    })?;
    connection
        .prepare_cached("INSERT INTO addresses (network, address, container) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute((&network.id, address.to_string(), holder.as_str())))
        .map_err(query_error)?;
    sys::failpoint::reach("network.address")?;
    let mut ports = Vec::with_capacity(publish.len());
    let mut sockets = Vec::new();
    for request in publish {
        let (port, reserved) = reserve(connection, holder, name, request)?;
        ports.push(port);
        sockets.extend(reserved);
    }
    Ok(Place {
        record: EndpointRecord {
            network: DEFAULT.into(),
            network_id: network.id.clone(),
            id: places::hex(&places::random::<32>()?),
            endpoint: Endpoint {
                host_link: host_link(holder),
                link: "eth0".into(),
                address,
                address6: None,
                mac: mac_of(address),
                default_route: true,
                ports,
            },
            gateway: Some(bridge.gateway),
            prefix: bridge.subnet.prefix_len(),
            ipv6: None,
            names: Vec::new(),
        },
        sockets,
    })
}

fn taken_addresses(connection: &Connection, network: &str) -> rusqlite::Result<Vec<Ipv4Addr>> {
    let mut query = connection.prepare_cached("SELECT address FROM addresses WHERE network = ?1")?;
    let rows = query.query_map([network], |row| row.get::<_, String>(0))?;
    let mut taken = Vec::new();
    for row in rows {
        // What is no address cannot be given away either.
        if let Ok(address) = row?.parse() {
            taken.push(address);
        }
    }
    Ok(taken)
}

fn reserve(
    connection: &Connection,
    holder: &ContainerId,
    name: &str,
    request: &PublishRequest,
) -> Result<(PublishedPort, Vec<OwnedFd>), EngineError> {
    let host = request.host.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut refusal = None;
    for wanted in request.host_ports.clone() {
        if wanted != 0
            && let Some(other) = holder_of(connection, request.protocol, host, wanted).map_err(query_error)?
        {
            refusal = Some(port_taken(holder, name, host, wanted, Some(&other)));
            continue;
        }
        match network::reserve_port(host, wanted, request.protocol) {
            Ok((port, sockets)) => {
                connection
                    .prepare_cached(
                        "INSERT INTO published_ports (protocol, host, port, container) VALUES (?1, ?2, ?3, ?4)",
                    )
                    .and_then(|mut statement| {
                        statement.execute((protocol_name(request.protocol), host.to_string(), port, holder.as_str()))
                    })
                    .map_err(query_error)?;
                let published = PublishedPort {
                    host,
                    host_port: port,
                    port: request.port,
                    protocol: request.protocol,
                };
                return Ok((published, sockets));
            }
            Err(NetworkError::Sys(error)) if error.errno == rustix::io::Errno::ADDRINUSE => {
                refusal = Some(port_taken(holder, name, host, wanted, None));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(refusal.unwrap_or_else(|| EngineError::Invalid {
        message: format!(
            "the range of host ports for {}/{} is empty",
            request.port,
            protocol_name(request.protocol)
        ),
        hint: None,
    }))
}

/// Returns the name of the container that has the port on an address that overlaps `host`.
fn holder_of(
    connection: &Connection,
    protocol: Protocol,
    host: IpAddr,
    port: u16,
) -> rusqlite::Result<Option<String>> {
    let mut query = connection.prepare_cached(
        "SELECT p.host, coalesce(c.name, p.container) FROM published_ports p
         LEFT JOIN containers c ON c.id = p.container WHERE p.protocol = ?1 AND p.port = ?2",
    )?;
    let mut rows = query.query((protocol_name(protocol), port))?;
    while let Some(row) = rows.next()? {
        let held: String = row.get(0)?;
        let overlaps = held.parse().map_or(true, |held: IpAddr| {
            held == host
                || (held.is_ipv4() == host.is_ipv4() && (held.is_unspecified() || host.is_unspecified()))
        });
        if overlaps {
            return row.get(1).map(Some);
        }
    }
    Ok(None)
}

fn port_taken(id: &ContainerId, name: &str, host: IpAddr, port: u16, other: Option<&str>) -> EngineError {
    EngineError::Conflict {
        message: format!(
            "driver failed programming external connectivity on endpoint {name} ({id}): Bind for {} failed: port is already allocated",
            std::net::SocketAddr::new(host, port)
        ),
        hint: Some(match other {
            Some(other) => {
                format!("container \"{other}\" has this port: stop it, or publish on another port")
            }
            None => {
                format!(
                    "a program on this host has port {port}: `ss -lptn sport = :{port}` names it; stop it, or publish on another port"
                )
            }
        }),
    }
}

/// Returns the protocol's name as users write it.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The default networks but the bridge are no records; their ids are their names in hexadecimal, padded to 64 digits.
pub fn stable_id(name: &str) -> String {
    format!("{:0<64}", places::hex(name.as_bytes()))
}

/// Returns the host end's name: derived from the id, so that recovery finds what a dead process left.
pub(crate) fn host_link(holder: &ContainerId) -> String {
    format!("ve{}", &holder.as_str()[..11])
}

/// Returns Docker's hardware address for an IPv4 address: locally administered, then the address.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_hardware_addresses_follow_from_what_they_belong_to() {
        let id = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        assert_eq!(host_link(&id), "ve0123456789a");
        assert!(host_link(&id).len() <= 15);
        assert_eq!(
            mac_of(Ipv4Addr::new(172, 17, 0, 2)),
            [0x02, 0x42, 0xac, 0x11, 0x00, 0x02]
        );
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let id = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        let error = port_taken(&id, "web", IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5432, Some("pg"));
        assert!(
            error
                .to_string()
                .ends_with("Bind for 0.0.0.0:5432 failed: port is already allocated")
        );
        assert!(error.hint().unwrap().contains("\"pg\""));
    }
}
