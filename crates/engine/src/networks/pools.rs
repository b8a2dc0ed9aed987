//! Which addresses a new network has: as they were asked for, and chosen for the rest.

use super::addresses::{free, overlap};
use super::request::{CreateNetwork, Pool};
use crate::EngineError;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use network::Side6;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) subnet: Ipv4Net,
    pub(super) gateway: Ipv4Addr,
    pub(super) ipv6: Option<Side6>,
    /// In force, IPv4 first.
    pub(super) pools: Vec<Pool>,
    /// Subnets that were asked for.
    pub(super) chosen: Vec<IpNet>,
}

/// Says what is wrong with the pools of a request by themselves, in Docker's words.
pub(super) fn check(request: &CreateNetwork) -> Result<(), EngineError> {
    let mut errors = Vec::new();
    for pool in &request.pools {
        let Some(subnet) = pool.subnet else {
            if pool.range.is_some() || pool.gateway.is_some() || !pool.auxiliary.is_empty() {
                return Err(invalid(
                    "every ip-range or gateway must have a corresponding subnet".into(),
                ));
            }
            continue;
        };
        if is_idle(request, subnet) {
            continue;
        }
        if subnet.trunc() != subnet {
            errors.push(format!(
                "invalid subnet {subnet}: it should be {}",
                subnet.trunc()
            ));
        }
        errors.extend(pool.range.and_then(|range| range_error(range, subnet)));
        if let Some(why) = pool.gateway.and_then(|gateway| address_error(gateway, subnet)) {
            errors.extend(
                pool.gateway
                    .map(|gateway| format!("invalid gateway {gateway}: {why}")),
            );
        }
        for (name, address) in &pool.auxiliary {
            if let Some(why) = address_error(*address, subnet) {
                errors.push(format!("invalid auxiliary address {name}: {why}"));
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(format!("invalid network config:\n{}", errors.join("\n"))))
    }
}

/// An IPv6 subnet of a network without IPv6 is only written down.
fn is_idle(request: &CreateNetwork, subnet: IpNet) -> bool {
    matches!(subnet, IpNet::V6(_)) && !request.ipv6
}

fn family(subnet: IpNet) -> &'static str {
    match subnet {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

fn range_error(range: IpNet, subnet: IpNet) -> Option<String> {
    if range.addr().is_ipv4() != subnet.addr().is_ipv4() {
        return Some(format!(
            "invalid ip-range {range}: parent subnet is an {} block",
            family(subnet)
        ));
    }
    if range.trunc() != range {
        return Some(format!(
            "invalid ip-range {range}: it should be {}",
            range.trunc()
        ));
    }
    if range.prefix_len() < subnet.prefix_len() {
        return Some(format!(
            "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    (!subnet.contains(&range))
        .then(|| format!("invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"))
}

fn address_error(address: IpAddr, subnet: IpNet) -> Option<String> {
    if address.is_ipv4() != subnet.addr().is_ipv4() {
        return Some(format!("parent subnet is an {} block", family(subnet)));
    }
    (!subnet.contains(&address)).then(|| format!("parent subnet {subnet} doesn't contain this address"))
}

/// Settles the addresses of a network. `taken` is what other networks of this root have.
pub(super) fn settle(request: &CreateNetwork, taken: &[IpNet]) -> Result<Addresses, EngineError> {
    let of_family = |ipv6: bool| -> Result<Option<&Pool>, EngineError> {
        let mut pools = request.pools.iter().filter(|pool| {
            pool.subnet
                .is_some_and(|subnet| matches!(subnet, IpNet::V6(_)) == ipv6)
        });
        let first = pools.next();
        match pools.next() {
            Some(_) => Err(EngineError::Forbidden {
                message: format!("{} driver doesn't support multiple subnets", request.driver),
                hint: Some("give one subnet of each family".into()),
            }),
            None => Ok(first),
        }
    };
    let mut chosen = Vec::new();
    let mut pools = Vec::new();
    let asked = of_family(false)?;
    let subnet = if let Some(IpNet::V4(subnet)) = asked.and_then(|pool| pool.subnet) {
        refuse_overlap(subnet.into(), taken)?;
        chosen.push(subnet.into());
        subnet
    } else {
        let of_others = taken.iter().filter_map(|subnet| match subnet {
            IpNet::V4(subnet) => Some(*subnet),
            IpNet::V6(_) => None,
        });
        network::free_subnet(&of_others.collect::<Vec<Ipv4Net>>())?
    };
    let pool = in_force(asked, subnet.into())?;
    let Some(IpAddr::V4(gateway)) = pool.gateway else {
        return Err(no_room(subnet.into()));
    };
    pools.push(pool);
    let mut ipv6 = None;
    let asked = of_family(true)?;
    if request.ipv6 {
        let subnet = if let Some(IpNet::V6(subnet)) = asked.and_then(|pool| pool.subnet) {
            refuse_overlap(subnet.into(), taken)?;
            chosen.push(subnet.into());
            subnet
        } else {
            let of_others = taken.iter().filter_map(|subnet| match subnet {
                IpNet::V4(_) => None,
                IpNet::V6(subnet) => Some(*subnet),
            });
            network::free_subnet6(&of_others.collect::<Vec<Ipv6Net>>())?
        };
        let pool = in_force(asked, subnet.into())?;
        let Some(IpAddr::V6(gateway)) = pool.gateway else {
            return Err(no_room(subnet.into()));
        };
        ipv6 = Some(Side6 { subnet, gateway });
        pools.push(pool);
    } else {
        pools.extend(asked.cloned());
    }
    Ok(Addresses {
        subnet,
        gateway,
        ipv6,
        pools,
        chosen,
    })
}

/// Fills in the gateway: the first address that is given away, as with Docker.
fn in_force(asked: Option<&Pool>, subnet: IpNet) -> Result<Pool, EngineError> {
    let mut pool = asked.cloned().unwrap_or_default();
    pool.subnet = Some(subnet);
    if pool.gateway.is_none() {
        let taken: BTreeSet<IpAddr> = pool.auxiliary.values().copied().collect();
        pool.gateway = Some(free(subnet, pool.range, &taken).ok_or_else(|| no_room(subnet))?);
    }
    Ok(pool)
}

fn refuse_overlap(subnet: IpNet, taken: &[IpNet]) -> Result<(), EngineError> {
    match taken.iter().find(|other| overlap(&subnet, other)) {
        None => Ok(()),
        Some(other) => Err(EngineError::Forbidden {
            message: "invalid pool request: Pool overlaps with other one on this address space".into(),
            hint: Some(format!("{subnet} overlaps {other}, which another network has")),
        }),
    }
}

fn no_room(subnet: IpNet) -> EngineError {
    EngineError::Invalid {
        message: format!("the subnet {subnet} has no room for a gateway"),
        hint: Some("give a larger one, such as 172.30.0.0/16".into()),
    }
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid { message, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pools: &[(&str, Option<&str>, Option<&str>)]) -> CreateNetwork {
        CreateNetwork {
            name: "n".into(),
            ipv6: true,
            pools: pools
                .iter()
                .map(|(subnet, range, gateway)| Pool {
                    subnet: Some(subnet.parse().unwrap()),
                    range: range.map(|text| text.parse().unwrap()),
                    gateway: gateway.map(|text| text.parse().unwrap()),
                    ..Pool::default()
                })
                .collect(),
            ..CreateNetwork::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_dockers_words() {
        for (subnet, range, gateway, expected) in [
            (
                "10.1.2.3/16",
                None,
                None,
                "invalid subnet 10.1.2.3/16: it should be 10.1.0.0/16",
            ),
            (
                "10.1.0.0/16",
                Some("10.2.0.0/24"),
                None,
                "invalid ip-range 10.2.0.0/24: parent subnet 10.1.0.0/16 doesn't contain ip-range",
            ),
            (
                "10.1.0.0/16",
                Some("10.0.0.0/8"),
                None,
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16",
            ),
            (
                "10.1.0.0/16",
                Some("fd00::/64"),
                None,
                "invalid ip-range fd00::/64: parent subnet is an IPv4 block",
            ),
            (
                "10.1.0.0/16",
                None,
                Some("10.2.0.1"),
                "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
            ),
        ] {
            let error = check(&request(&[(subnet, range, gateway)])).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid network config:\n{expected}"));
        }
        assert!(
            check(&request(&[(
                "10.1.0.0/16",
                Some("10.1.1.0/24"),
                Some("10.1.0.1")
            )]))
            .is_ok()
        );
    }

    #[test]
    fn the_gateway_is_the_first_address_of_the_range() {
        let asked = request(&[
            ("10.5.0.0/16", Some("10.5.1.0/24"), None),
            ("fd01::/64", None, None),
        ]);
        let settled = settle(&asked, &["10.4.0.0/16".parse().unwrap()]).unwrap();
        assert_eq!(settled.gateway.to_string(), "10.5.1.0");
        assert_eq!(settled.ipv6.unwrap().gateway.to_string(), "fd01::1");
        assert_eq!(settled.chosen.len(), 2);
        assert_eq!(settled.pools.len(), 2);
    }

    #[test]
    fn subnets_of_other_networks_are_refused() {
        let error = settle(
            &request(&[("10.5.1.0/24", None, None)]),
            &["10.5.0.0/16".parse().unwrap()],
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "invalid pool request: Pool overlaps with other one on this address space"
        );
        let two = request(&[("10.5.1.0/24", None, None), ("10.6.1.0/24", None, None)]);
        assert!(settle(&two, &[]).is_err());
    }

    #[test]
    fn an_ipv6_subnet_is_made_up() {
        let settled = settle(&request(&[("10.5.1.0/24", None, None)]), &[]).unwrap();
        let side = settled.ipv6.unwrap();
        assert_eq!(side.subnet.prefix_len(), 64);
        assert_eq!(side.subnet.network().segments()[0] >> 8, 0xfd);
    }
}
