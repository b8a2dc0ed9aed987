//! On which networks a new container is to be: `--network` and the older flags that say more of the first of them.

use super::network::{self, NetworkFlag};
use super::{Invalid, invalid};
use clap::Args;
use engine::containers::request::{NetworkAttachment, NetworkMode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flags of `run` and `create` about networks.
#[derive(Debug, Default, Args)]
pub(crate) struct NetworkFlags {
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_parser = network::address, value_name = "ip")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_parser = network::address6, value_name = "ip")]
    ip6: Option<Ipv6Addr>,
    /// Add link to another container
    #[arg(long, value_parser = network::link, value_name = "list")]
    link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_parser = network::link_local, value_name = "list")]
    link_local_ip: Vec<IpAddr>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_parser = network::mac_address, value_name = "string")]
    mac_address: Option<[u8; 6]>,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_parser = network::parse, value_name = "network")]
    network: Vec<NetworkFlag>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "list")]
    network_alias: Vec<String>,
}

/// What the flags came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The first network.
    pub mode: NetworkMode,
    /// All of them, if there is more to say than the first one's name.
    pub attachments: Vec<NetworkAttachment>,
    /// `--link`.
    pub links: Vec<String>,
    /// `--mac-address`.
    pub mac_address: Option<[u8; 6]>,
}

impl NetworkFlags {
    /// Puts the flags together, as Docker does: what was not said of any network in particular belongs to the first.
    pub(crate) fn placement(self) -> Result<Placement, Invalid> {
        let (mac_address, links) = (self.mac_address, self.link.clone());
        let mut networks = self.networks()?;
        let first = networks.first().map(|network| network.mode.clone());
        let mode = first.unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = networks.iter().partition(|network| network.is_user_defined());
        if !own.is_empty() && !others.is_empty() {
            return invalid(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            );
        }
        if networks.len() > 1 {
            match mode {
                NetworkMode::Host | NetworkMode::Container(_) => {
                    return invalid(
                        "container sharing network namespace with another container or host cannot be connected to any other network",
                    );
                }
                NetworkMode::None => {
                    return invalid(
                        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                    );
                }
                NetworkMode::Bridge | NetworkMode::Named(_) => {}
            }
        }
        for network in &mut networks {
            if !network.is_user_defined() && !network.attachment.aliases.is_empty() {
                return invalid("network-scoped aliases are only supported for user-defined networks");
            }
        }
        let mut attachments: Vec<NetworkAttachment> =
            networks.into_iter().map(|network| network.attachment).collect();
        for (index, attachment) in attachments.iter().enumerate() {
            let same = |other: &NetworkAttachment| other.network == attachment.network;
            if attachments[..index].iter().any(same) {
                return invalid(format!(
                    "network {:?} is specified multiple times",
                    attachment.network
                ));
            }
        }
        if let [only] = attachments.as_slice() {
            let plain = NetworkAttachment {
                network: only.network.clone(),
                mac: mac_address,
                ..NetworkAttachment::default()
            };
            if *only == plain {
                attachments.clear();
            }
        }
        Ok(Placement {
            mode,
            attachments,
            links,
            mac_address,
        })
    }

    /// Returns the networks, the first with what the older flags say.
    fn networks(self) -> Result<Vec<NetworkFlag>, Invalid> {
        let mut networks = self.network;
        if networks.is_empty() {
            networks.push(network::parse("default")?);
        }
        let Some(NetworkFlag { attachment, .. }) = networks.first_mut() else {
            return Ok(networks);
        };
        let conflict = |flag: &str, what: &str| {
            invalid(format!(
                "conflicting options: cannot specify both {flag} and per-network {what}"
            ))
        };
        if !self.network_alias.is_empty() {
            if !attachment.aliases.is_empty() {
                return conflict("--network-alias", "alias");
            }
            attachment.aliases = self.network_alias;
        }
        if self.ip.is_some() {
            if attachment.address.is_some() {
                return conflict("--ip", "IPv4 address");
            }
            attachment.address = self.ip;
        }
        if self.ip6.is_some() {
            if attachment.address6.is_some() {
                return conflict("--ip6", "IPv6 address");
            }
            attachment.address6 = self.ip6;
        }
        if self.mac_address.is_some() {
            if attachment.mac.is_some() {
                return conflict("--mac-address", "MAC address");
            }
            attachment.mac = self.mac_address;
        }
        if !self.link_local_ip.is_empty() {
            if !attachment.link_local.is_empty() {
                return conflict("--link-local-ip", "link-local IP addresses");
            }
            attachment.link_local = self.link_local_ip;
        }
        Ok(networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(networks: &[&str]) -> NetworkFlags {
        NetworkFlags {
            network: networks
                .iter()
                .map(|text| network::parse(text).unwrap())
                .collect(),
            ..NetworkFlags::default()
        }
    }

    #[test]
    fn what_is_said_of_no_network_belongs_to_the_first() {
        let placed = NetworkFlags {
            ip: Some(Ipv4Addr::new(10, 0, 0, 9)),
            mac_address: Some([2; 6]),
            network_alias: vec!["db".into()],
            link: vec!["web:w".into()],
            ..flags(&["lan", "name=wan,alias=x"])
        }
        .placement()
        .unwrap();
        assert_eq!(placed.mode, NetworkMode::Named("lan".into()));
        assert_eq!(placed.links, ["web:w"]);
        let expected = [
            NetworkAttachment {
                network: "lan".into(),
                aliases: vec!["db".into()],
                address: Some(Ipv4Addr::new(10, 0, 0, 9)),
                mac: Some([2; 6]),
                ..NetworkAttachment::default()
            },
            NetworkAttachment {
                network: "wan".into(),
                aliases: vec!["x".into()],
                ..NetworkAttachment::default()
            },
        ];
        assert_eq!(placed.attachments, expected);
    }

    #[test]
    fn a_network_alone_needs_no_more_than_its_name() {
        for (networks, mode) in [
            (&[][..], NetworkMode::Bridge),
            (&["host"], NetworkMode::Host),
            (&["lan"], NetworkMode::Named("lan".into())),
        ] {
            let placed = NetworkFlags {
                mac_address: Some([2; 6]),
                ..flags(networks)
            };
            let placed = placed.placement().unwrap();
            assert_eq!((placed.mode, placed.mac_address), (mode, Some([2; 6])));
            assert_eq!(placed.attachments, []);
        }
    }

    #[test]
    fn conflicts_in_dockers_words() {
        type Change = fn(&mut NetworkFlags);
        let conflicts: [(&[&str], Change, &str); 11] = [
            (
                &["name=lan,alias=a"],
                |f| f.network_alias = vec!["b".into()],
                "conflicting options: cannot specify both --network-alias and per-network alias",
            ),
            (
                &["name=lan,ip=1.2.3.4"],
                |f| f.ip = Some(Ipv4Addr::LOCALHOST),
                "conflicting options: cannot specify both --ip and per-network IPv4 address",
            ),
            (
                &["name=lan,ip6=::2"],
                |f| f.ip6 = Some(Ipv6Addr::LOCALHOST),
                "conflicting options: cannot specify both --ip6 and per-network IPv6 address",
            ),
            (
                &["name=lan,mac-address=02:00:00:00:00:01"],
                |f| f.mac_address = Some([2; 6]),
                "conflicting options: cannot specify both --mac-address and per-network MAC address",
            ),
            (
                &["name=lan,link-local-ip=169.254.1.1"],
                |f| f.link_local_ip = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                "conflicting options: cannot specify both --link-local-ip and per-network link-local IP addresses",
            ),
            (
                &["lan", "host"],
                |_| {},
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                &["host", "bridge"],
                |_| {},
                "container sharing network namespace with another container or host cannot be connected to any other network",
            ),
            (
                &["none", "bridge"],
                |_| {},
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            ),
            (
                &["lan", "name=lan"],
                |_| {},
                "network \"lan\" is specified multiple times",
            ),
            (
                &["bridge", "default"],
                |_| {},
                "network \"bridge\" is specified multiple times",
            ),
            (
                &[],
                |f| f.network_alias = vec!["b".into()],
                "network-scoped aliases are only supported for user-defined networks",
            ),
        ];
        for (networks, change, message) in conflicts {
            let mut flags = flags(networks);
            change(&mut flags);
            assert_eq!(flags.placement().unwrap_err().0, message, "{networks:?}");
        }
    }
}
