//! `network create`, and how the default bridge comes into being.

use super::record::Network;
use super::request::CreateNetwork;
use super::rows::{self, Known, NetworkSettings};
use super::{DEFAULT, Networks, list, names, options, pools, stable_id};
use crate::containers::record::ContainerId;
use crate::{EngineError, events};
use ipnet::IpNet;
use network::{Bridge, Ensured, GatewayMode, Lan, Segment, Traffic};
use std::path::Path;
use sys::failpoint;

/// Names that always mean the same networks.
const PREDEFINED: [&str; 5] = [DEFAULT, "container", "default", "host", "none"];

impl Networks<'_> {
    /// Makes a network. The name must be free.
    pub fn create(&self, request: &CreateNetwork) -> Result<Network, EngineError> {
        let request = &options::switches(request)?;
        check(request)?;
        pools::check(request)?;
        let engine = self.engine;
        // One that nobody mistakes for a number, as some do who see only the first twelve digits.
        let id = ContainerId::random()?.0;
        let mut ensured = Ensured::Unchanged;
        let made = engine.database.write(|transaction| {
            if rows::by_name(transaction, &request.name)?.is_some() {
                return Err(EngineError::Conflict {
                    message: format!("network with name {} already exists", request.name),
                    hint: None,
                });
            }
            let others = rows::all(transaction)?;
            let known = Known {
                id: id.clone(),
                name: request.name.clone(),
                created: events::now(),
                settings: self.plan(request, &id, &others)?,
            };
            // Within the transaction, so that nobody else takes the same subnet, and nobody takes it for a leaving.
            names::intend(engine.locations(), &id, known.segment())?;
            failpoint::reach("network.intended")?;
            ensured = known.segment().ensure()?;
            failpoint::reach("network.made")?;
            rows::insert(transaction, &known)?;
            let told = [
                ("name", known.name.as_str()),
                ("type", known.settings.driver.as_str()),
            ];
            events::record(transaction, "network", "create", &id, &told)?;
            Ok(known)
        });
        match made {
            Ok(known) => {
                if ensured == Ensured::Rebuilt {
                    self.restore()?;
                }
                Ok(list::describe(&known, &[]))
            }
            Err(error) => {
                // Why there is no network is what counts; what cannot be taken away now, recovery takes away.
                self.sweep(&id).unwrap_or_default();
                Err(error)
            }
        }
    }

    /// Settles all that is said of a new network.
    fn plan(
        self,
        request: &CreateNetwork,
        id: &str,
        others: &[Known],
    ) -> Result<NetworkSettings, EngineError> {
        let taken: Vec<IpNet> = others
            .iter()
            .flat_map(|known| {
                [
                    Some(known.segment().subnet().into()),
                    known.segment().ipv6().map(|side| side.subnet.into()),
                ]
            })
            .flatten()
            .collect();
        let addresses = pools::settle(request, &taken)?;
        let wanted = request.known_options();
        let (segment, host_binding, link_prefix) = if request.driver == "bridge" {
            let read = options::bridge(&wanted)?;
            let name = read.name.unwrap_or_else(|| format!("co-{}", &id[..12]));
            refuse_link(&name, others)?;
            let isolated = [read.gateway_mode, read.gateway_mode6].contains(&GatewayMode::Isolated);
            if isolated && !request.internal {
                return Err(EngineError::Invalid {
                    message: "gateway mode 'isolated' can only be used for an internal network".into(),
                    hint: Some("add --internal".into()),
                });
            }
            let bridge = Bridge {
                name,
                subnet: addresses.subnet,
                gateway: addresses.gateway,
                ipv6: addresses.ipv6,
                mtu: match read.mtu {
                    Some(mtu) => mtu,
                    None => network::uplink_mtu()?,
                },
                table: self.table(),
                traffic: Traffic {
                    internal: request.internal,
                    between_endpoints: read.between_endpoints,
                    masquerade: read.masquerade,
                    gateway_mode: read.gateway_mode,
                    gateway_mode6: read.gateway_mode6,
                },
            };
            (Segment::Bridge(bridge), read.host_binding, read.link_prefix)
        } else {
            let read = options::lan(&request.driver, &wanted)?;
            // Nobody is outside of a link that leads nowhere.
            let leads_nowhere = read.parent.is_none();
            let parent = read.parent.unwrap_or_else(|| format!("dm-{}", &id[..12]));
            let is_vlan = parent.contains('.') && !Path::new("/sys/class/net").join(&parent).exists();
            let lan = Lan {
                parent,
                made: leads_nowhere || is_vlan,
                kind: read.kind,
                subnet: addresses.subnet,
                gateway: Some(addresses.gateway).filter(|_| !request.internal && !leads_nowhere),
                ipv6: addresses.ipv6,
                mtu: read.mtu,
            };
            lan.check()?;
            (Segment::Lan(lan), None, read.link_prefix)
        };
        Ok(NetworkSettings {
            segment,
            driver: request.driver.clone(),
            internal: request.internal,
            attachable: request.attachable,
            pools: addresses.pools,
            chosen: addresses.chosen,
            options: request.options.clone(),
            ipam_options: request.ipam_options.clone(),
            labels: request.labels.clone(),
            host_binding,
            link_prefix,
        })
    }

    /// Returns the default bridge's record, making it on first use. The bridge itself is made by
    /// [`Bridge::ensure`].
    pub(crate) fn default_bridge(self) -> Result<Known, EngineError> {
        let database = &self.engine.database;
        let find =
            |connection: &rusqlite::Connection| Ok::<_, EngineError>(rows::by_name(connection, DEFAULT)?);
        if let Some(known) = database.read(find)? {
            return Ok(known);
        }
        // What the subnets of others are does not matter much here: their routes are seen while they are up.
        let others = database.read(|connection| Ok::<_, EngineError>(rows::all(connection)?))?;
        let known = Known {
            id: stable_id(DEFAULT),
            name: DEFAULT.into(),
            created: events::now(),
            settings: NetworkSettings::of_bridge(self.plan_default_bridge(&others)?),
        };
        database.write(|transaction| {
            // Another process may have been faster.
            if let Some(known) = rows::by_name(transaction, DEFAULT)? {
                return Ok(known);
            }
            rows::insert(transaction, &known)?;
            Ok(known)
        })
    }

    fn plan_default_bridge(self, others: &[Known]) -> Result<Bridge, EngineError> {
        let locations = self.engine.locations();
        let name = if self.is_at_home() {
            "coracle0".to_owned()
        } else {
            format!("cor{}", locations.mark())
        };
        let subnet = if let Some(subnet) = self.engine.config().subnet {
            subnet.trunc()
        } else {
            let taken: Vec<_> = others.iter().map(|known| known.segment().subnet()).collect();
            network::free_subnet(&taken)?
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
            table: self.table(),
            traffic: Traffic::default(),
        })
    }

    fn is_at_home(self) -> bool {
        self.engine.locations().root.as_os_str() == "/var/lib/coracle"
    }

    /// Returns the firewall table of this root.
    pub(crate) fn table(self) -> String {
        if self.is_at_home() {
            "coracle".to_owned()
        } else {
            format!("coracle-{}", self.engine.locations().mark())
        }
    }

    /// Returns what a dead container's endpoint was on, by the network's id; without one, the default bridge. Of a
    /// network that is gone no more is left to know than the firewall table, which all bridges of a root share.
    pub(crate) fn leavings_of(self, id: Option<&str>) -> Result<Segment, EngineError> {
        let found = self.engine.database.read(|connection| match id {
            Some(id) => rows::by_id(connection, id),
            None => rows::by_name(connection, DEFAULT),
        })?;
        match found {
            Some(known) => Ok(known.settings.segment),
            None => Ok(Segment::Bridge(self.plan_default_bridge(&[])?)),
        }
    }

    /// Takes away what of a network has no row (any more): its maker died, or failed.
    pub(super) fn sweep(self, id: &str) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            if rows::by_id(transaction, id)?.is_some() {
                return Ok(());
            }
            let locations = self.engine.locations();
            if let Some(segment) = names::intended(locations, id) {
                segment.remove()?;
            }
            failpoint::reach("network.swept")?;
            names::remove_directory(locations, id)
        })
    }

    /// Takes away what dead processes left of networks: see [`names`]. One look at a directory if there is nothing.
    pub(crate) fn recover(self) -> Result<(), EngineError> {
        let directory = self.engine.locations().networks_directory();
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => {
                entries.map_err(|error| sys::SysError::io("read the directory", &directory, &error))?
            }
        };
        let there: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let known = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::ids(connection)?))?;
        for name in there {
            if let Some(container) = name.strip_suffix(super::connect::TURN) {
                self.repair(container)?;
            } else if !known.contains(&name) {
                self.sweep(&name)?;
            }
        }
        Ok(())
    }
}

/// Checks what can be checked without looking at other networks.
fn check(request: &CreateNetwork) -> Result<(), EngineError> {
    let name = request.name.as_str();
    if PREDEFINED.contains(&name) {
        return Err(EngineError::Forbidden {
            message: format!("operation is not permitted on predefined {name} network"),
            hint: Some("choose another name".into()),
        });
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.bytes().all(good) || !name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
        return Err(EngineError::Invalid {
            message: format!(
                "invalid network name \"{name}\": only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
            ),
            hint: None,
        });
    }
    match request.driver.as_str() {
        "bridge" | "ipvlan" | "macvlan" => {}
        "host" | "null" => {
            return Err(EngineError::Forbidden {
                message: format!("only one instance of \"{}\" network is allowed", request.driver),
                hint: None,
            });
        }
        other => {
            return Err(EngineError::Invalid {
                message: format!("plugin \"{other}\" not found"),
                hint: Some("network drivers are bridge, ipvlan and macvlan".into()),
            });
        }
    }
    if !matches!(request.ipam_driver.as_str(), "" | "default") {
        return Err(EngineError::Invalid {
            message: format!("ipam driver \"{}\" not found", request.ipam_driver),
            hint: Some("there is one, which is built in: leave --ipam-driver out".into()),
        });
    }
    if !request.ipv4 {
        return Err(EngineError::NotSupported("a network without IPv4".into()));
    }
    Ok(())
}

/// A link of that name must be neither another network's nor anybody else's: it would go with ours.
fn refuse_link(name: &str, others: &[Known]) -> Result<(), EngineError> {
    let bridge_of = |known: &&Known| known.segment().bridge().is_some_and(|bridge| bridge.name == name);
    let holder = match others.iter().find(bridge_of) {
        Some(other) => format!("network {} has a bridge of this name", other.name),
        None if Path::new("/sys/class/net").join(name).exists() => "this host has a link of this name".into(),
        None => return Ok(()),
    };
    Err(EngineError::Conflict {
        message: format!("cannot make the bridge {name}: {holder}"),
        hint: Some("choose another com.docker.network.bridge.name, or leave it out".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut CreateNetwork)) -> String {
        let mut request = CreateNetwork {
            name: "net".into(),
            ..CreateNetwork::default()
        };
        change(&mut request);
        check(&request).unwrap_err().to_string()
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        assert_eq!(
            refusal(|request| request.name = "bridge".into()),
            "operation is not permitted on predefined bridge network"
        );
        assert_eq!(
            refusal(|request| request.driver = "host".into()),
            "only one instance of \"host\" network is allowed"
        );
        assert_eq!(
            refusal(|request| request.driver = "overlay".into()),
            "plugin \"overlay\" not found"
        );
        for bad in ["", "-a", "a b", "a/b", "ä"] {
            assert!(refusal(|request| request.name = bad.into()).starts_with("invalid network name"));
        }
        assert!(refusal(|request| request.ipv4 = false).contains("not supported"));
    }
}
