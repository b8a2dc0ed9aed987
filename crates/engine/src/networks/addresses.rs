//! Addresses of either version of IP: which are there to be given away, and which is next.

use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the first and the last address of a subnet that endpoints may have. Neither the network's own nor IPv4's
/// broadcast address is among them, unless the subnet has but two addresses (RFC 3021, RFC 6164) or one.
fn usable(subnet: IpNet) -> (u128, u128) {
    let (first, last) = (number(subnet.network()), number(subnet.broadcast()));
    match subnet {
        IpNet::V4(subnet) if subnet.prefix_len() < 31 => (first + 1, last - 1),
        IpNet::V6(subnet) if subnet.prefix_len() < 127 => (first + 1, last),
        _ => (first, last),
    }
}

/// Says whether an endpoint may have the address.
pub(super) fn is_usable(subnet: IpNet, address: IpAddr) -> bool {
    let (first, last) = usable(subnet);
    subnet.contains(&address) && (first..=last).contains(&number(address))
}

/// Returns the lowest address of `subnet`, and within it of `range`, that is not taken.
pub(super) fn free(subnet: IpNet, range: Option<IpNet>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    match subnet {
        IpNet::V4(subnet) => {
            let range = range.and_then(|range| match range {
                IpNet::V4(range) => Some(range),
                IpNet::V6(_) => None,
            });
            let taken: Vec<Ipv4Addr> = taken
                .iter()
                .filter_map(|address| match address {
                    IpAddr::V4(address) => Some(*address),
                    IpAddr::V6(_) => None,
                })
                .collect();
            network::free_address(subnet, range, None, &taken).map(IpAddr::V4)
        }
        IpNet::V6(subnet) => {
            let range = range.and_then(|range| match range {
                IpNet::V6(range) => Some(range),
                IpNet::V4(_) => None,
            });
            let taken: Vec<Ipv6Addr> = taken
                .iter()
                .filter_map(|address| match address {
                    IpAddr::V6(address) => Some(*address),
                    IpAddr::V4(_) => None,
                })
                .collect();
            network::free_address6(subnet, range, None, &taken).map(IpAddr::V6)
        }
    }
}

/// Says whether two subnets have an address in common.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_of_the_range_is_taken() {
        for (subnet, range, taken, expected) in [
            ("172.18.0.0/16", None, "172.18.0.1", Some("172.18.0.2")),
            (
                "172.18.0.0/16",
                None,
                "172.18.0.1 172.18.0.2 172.18.0.4",
                Some("172.18.0.3"),
            ),
            ("10.5.0.0/16", Some("10.5.1.0/24"), "", Some("10.5.1.0")),
            (
                "10.5.0.0/16",
                Some("10.5.1.0/30"),
                "10.5.1.0 10.5.1.1 10.5.1.2",
                Some("10.5.1.3"),
            ),
            ("10.5.0.0/16", Some("10.5.1.0/31"), "10.5.1.0 10.5.1.1", None),
            (
                "10.5.0.0/24",
                Some("10.5.0.0/30"),
                "10.5.0.1 10.5.0.2 10.5.0.3",
                None,
            ),
            ("10.0.0.0/30", None, "10.0.0.1 10.0.0.2", None),
            ("10.0.0.0/31", None, "10.0.0.0", Some("10.0.0.1")),
            ("10.0.0.0/32", None, "", Some("10.0.0.0")),
            (
                "255.255.255.252/30",
                None,
                "255.255.255.253 255.255.255.254",
                None,
            ),
            ("fd00::/64", None, "fd00::1", Some("fd00::2")),
            ("fd00::/64", Some("fd00::1:0/112"), "fd00::1:0", Some("fd00::1:1")),
            ("::/0", None, "::1", Some("::2")),
        ] {
            let taken = taken
                .split_whitespace()
                .map(|text| text.parse().unwrap())
                .collect();
            let found = free(
                subnet.parse().unwrap(),
                range.map(|text| text.parse().unwrap()),
                &taken,
            );
            assert_eq!(
                found,
                expected.map(|text: &str| text.parse().unwrap()),
                "{subnet} {taken:?}"
            );
        }
    }

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        for (one, other, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.2.0.0/16", false),
            ("fd00::/8", "10.0.0.0/8", false),
        ] {
            let found = overlap(&one.parse().unwrap(), &other.parse().unwrap());
            assert_eq!(found, expected, "{one} {other}");
        }
    }

    #[test]
    fn the_network_and_the_broadcast_address_are_nobodys() {
        let subnet: IpNet = "10.0.0.0/24".parse().unwrap();
        for (address, expected) in [
            ("10.0.0.0", false),
            ("10.0.0.1", true),
            ("10.0.0.255", false),
            ("10.0.1.1", false),
        ] {
            assert_eq!(is_usable(subnet, address.parse().unwrap()), expected, "{address}");
        }
    }
}
