//! Choosing subnets and addresses.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A route this wide is a default route in disguise, as VPNs set two halves of one, and not a network of its own.
const WIDEST_NETWORK: u8 = 8;

/// Returns Docker's default pools in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to
/// 192.168.240.0/20.
fn pools() -> impl Iterator<Item = Ipv4Net> {
    let large = (17..=31).map(|part| (Ipv4Addr::new(172, part, 0, 0), 16));
    let small = (0..=240)
        .step_by(16)
        .map(|part| (Ipv4Addr::new(192, 168, part, 0), 20));
    large
        .chain(small)
        .filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
}

/// Returns the first of the pools that overlaps none of `taken`.
pub(crate) fn first_free(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    pools().find(|pool| {
        !taken
            .iter()
            .filter(|net| net.prefix_len() >= WIDEST_NETWORK)
            .any(|net| net.contains(&pool.network()) || pool.contains(&net.network()))
    })
}

/// Returns the first of a host's own subnets (the 65536 of its /48) that overlaps none of `taken`.
pub(crate) fn first_free6(prefix: Ipv6Net, taken: &[Ipv6Net]) -> Option<Ipv6Net> {
    let base = u128::from(prefix.network());
    (0..=u128::from(u16::MAX))
        .filter_map(|number| Ipv6Net::new(Ipv6Addr::from(base | number << 64), 64).ok())
        .find(|subnet| {
            !taken
                .iter()
                .filter(|net| net.prefix_len() >= WIDEST_NETWORK)
                .any(|net| net.contains(&subnet.network()) || subnet.contains(&net.network()))
        })
}

/// Returns the lowest address of `subnet` that is neither the network's, the broadcast's, the gateway's nor taken; with
/// `range`, of that part of it.
pub fn free_address(
    subnet: Ipv4Net,
    range: Option<Ipv4Net>,
    gateway: impl Into<Option<Ipv4Addr>>,
    taken: &[Ipv4Addr],
) -> Option<Ipv4Addr> {
    let bounds = |net: Ipv4Net| (net.network().into(), net.broadcast().into());
    let (first, last): (u32, u32) = bounds(subnet);
    // A subnet of two addresses (RFC 3021) or one has neither network nor broadcast address.
    let (first, last) = if subnet.prefix_len() >= 31 {
        (first, last)
    } else {
        (first.saturating_add(1), last.saturating_sub(1))
    };
    let (low, high) = range.map_or((first, last), bounds);
    let used = taken.iter().copied().chain(gateway.into());
    let used = used.map(|address| u128::from(u32::from(address)));
    let free = lowest_free(first.max(low).into(), last.min(high).into(), used)?;
    u32::try_from(free).ok().map(Ipv4Addr::from)
}

/// Returns the lowest address of `subnet` that is neither the one for any of its routers (RFC 4291, 2.6.1), the
/// gateway's nor taken; with `range`, of that part of it.
pub fn free_address6(
    subnet: Ipv6Net,
    range: Option<Ipv6Net>,
    gateway: impl Into<Option<Ipv6Addr>>,
    taken: &[Ipv6Addr],
) -> Option<Ipv6Addr> {
    let bounds = |net: Ipv6Net| (net.network().into(), net.broadcast().into());
    let (first, last): (u128, u128) = bounds(subnet);
    // Between two routers there is none (RFC 6164).
    let first = if subnet.prefix_len() >= 127 {
        first
    } else {
        first.saturating_add(1)
    };
    let (low, high) = range.map_or((first, last), bounds);
    let used = taken.iter().copied().chain(gateway.into()).map(u128::from);
    lowest_free(first.max(low), last.min(high), used).map(Ipv6Addr::from)
}

/// Returns the lowest number from `first` to `last` that is not used.
fn lowest_free(first: u128, last: u128, used: impl Iterator<Item = u128>) -> Option<u128> {
    let mut used: Vec<u128> = used.filter(|address| (first..=last).contains(address)).collect();
    used.sort_unstable();
    let mut candidate = first;
    for address in used {
        if address > candidate {
            break;
        }
        if address == candidate {
            candidate = candidate.checked_add(1)?;
        }
    }
    (candidate <= last).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_pool_that_overlaps_nothing_is_taken() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[], Some("172.17.0.0/16")),
            (&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"], Some("172.17.0.0/16")),
            (&["172.17.0.0/16"], Some("172.18.0.0/16")),
            (&["172.17.200.7/32", "172.18.0.0/24"], Some("172.19.0.0/16")),
            (&["172.16.0.0/12"], Some("192.168.0.0/20")),
            (
                &["172.16.0.0/12", "192.168.0.0/24", "192.168.16.0/20"],
                Some("192.168.32.0/20"),
            ),
            (&["172.0.0.0/8"], Some("192.168.0.0/20")),
            (&["172.0.0.0/8", "192.168.0.0/16"], None),
        ];
        for (taken, expected) in cases {
            let free = first_free(&nets(taken)).map(|net| net.to_string());
            assert_eq!(free.as_deref(), *expected, "{taken:?}");
        }
        assert_eq!(pools().count(), 31);
        assert_eq!(pools().last().unwrap().to_string(), "192.168.240.0/20");
    }

    #[test]
    fn the_lowest_free_address_is_taken() {
        let cases: &[(&str, &str, &[&str], Option<&str>)] = &[
            ("172.17.0.0/16", "172.17.0.1", &[], Some("172.17.0.2")),
            (
                "172.17.0.0/16",
                "172.17.0.1",
                &["172.17.0.2", "172.17.0.4"],
                Some("172.17.0.3"),
            ),
            (
                "172.17.0.0/16",
                "172.17.0.1",
                &["172.17.0.4", "172.17.0.2", "172.17.0.2"],
                Some("172.17.0.3"),
            ),
            ("172.17.0.0/16", "172.17.255.254", &[], Some("172.17.0.1")),
            (
                "172.17.0.0/16",
                "172.17.0.1",
                &["10.0.0.1", "172.17.0.0"],
                Some("172.17.0.2"),
            ),
            (
                "10.0.0.0/29",
                "10.0.0.1",
                &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"],
                Some("10.0.0.6"),
            ),
            (
                "10.0.0.0/29",
                "10.0.0.1",
                &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"],
                None,
            ),
            ("10.0.0.0/30", "10.0.0.2", &["10.0.0.1"], None),
            ("10.0.0.0/31", "10.0.0.0", &[], Some("10.0.0.1")),
            ("10.0.0.0/32", "10.0.0.0", &[], None),
            (
                "255.255.255.252/30",
                "255.255.255.253",
                &["255.255.255.254"],
                None,
            ),
        ];
        for (subnet, gateway, taken, expected) in cases {
            let taken: Vec<Ipv4Addr> = taken.iter().map(|text| text.parse().unwrap()).collect();
            let gateway: Ipv4Addr = gateway.parse().unwrap();
            let free = free_address(subnet.parse().unwrap(), None, gateway, &taken);
            assert_eq!(
                free.map(|address| address.to_string()).as_deref(),
                *expected,
                "{subnet} {taken:?}"
            );
        }
    }

    #[test]
    fn a_range_bounds_what_is_taken_from_a_subnet() {
        let cases: &[(&str, &str, &[&str], Option<&str>)] = &[
            ("172.28.5.0/24", "172.28.5.254", &[], Some("172.28.5.0")),
            ("172.28.5.0/24", "172.28.5.0", &["172.28.5.1"], Some("172.28.5.2")),
            ("172.28.0.0/24", "172.28.9.1", &[], Some("172.28.0.1")),
            ("172.28.255.254/31", "172.28.0.1", &["172.28.255.254"], None),
            (
                "172.28.5.8/30",
                "172.28.0.1",
                &["172.28.5.8", "172.28.5.9", "172.28.5.10"],
                Some("172.28.5.11"),
            ),
            ("172.29.0.0/24", "172.28.0.1", &[], None),
        ];
        for (range, gateway, taken, expected) in cases {
            let taken: Vec<Ipv4Addr> = taken.iter().map(|text| text.parse().unwrap()).collect();
            let gateway: Ipv4Addr = gateway.parse().unwrap();
            let subnet = "172.28.0.0/16".parse().unwrap();
            let free = free_address(subnet, Some(range.parse().unwrap()), gateway, &taken);
            assert_eq!(
                free.map(|address| address.to_string()).as_deref(),
                *expected,
                "{range}"
            );
        }
        let none = free_address("10.0.0.0/30".parse().unwrap(), None, None, &[]);
        assert_eq!(none, Some(Ipv4Addr::new(10, 0, 0, 1)), "without a gateway");
    }

    #[test]
    fn the_lowest_free_ipv6_address_is_taken() {
        type Case<'a> = (&'a str, Option<&'a str>, &'a str, &'a [&'a str], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("fd00::/64", None, "fd00::1", &[], Some("fd00::2")),
            ("fd00::/64", None, "fd00::9", &["fd00::1"], Some("fd00::2")),
            (
                "fd00::/64",
                Some("fd00::8:0/112"),
                "fd00::1",
                &[],
                Some("fd00::8:0"),
            ),
            ("fd00::/126", None, "fd00::1", &["fd00::2"], Some("fd00::3")),
            ("fd00::/126", None, "fd00::1", &["fd00::2", "fd00::3"], None),
            ("fd00::/127", None, "fd00::1", &[], Some("fd00::")),
            ("fd00::/128", None, "fd00::", &[], None),
            (
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126",
                None,
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd",
                &[
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                ],
                None,
            ),
        ];
        for (subnet, range, gateway, taken, expected) in cases {
            let taken: Vec<Ipv6Addr> = taken.iter().map(|text| text.parse().unwrap()).collect();
            let gateway: Ipv6Addr = gateway.parse().unwrap();
            let range = range.map(|range| range.parse().unwrap());
            let free = free_address6(subnet.parse().unwrap(), range, gateway, &taken);
            assert_eq!(
                free.map(|address| address.to_string()).as_deref(),
                *expected,
                "{subnet}"
            );
        }
    }

    #[test]
    fn a_hosts_own_subnets_are_taken_in_turn() {
        let prefix: Ipv6Net = "fd12:3456:789a::/48".parse().unwrap();
        let free = |taken: &[&str]| {
            let taken: Vec<Ipv6Net> = taken.iter().map(|text| text.parse().unwrap()).collect();
            first_free6(prefix, &taken).map(|net| net.to_string())
        };
        assert_eq!(
            free(&["::/0", "2000::/3"]).as_deref(),
            Some("fd12:3456:789a::/64")
        );
        assert_eq!(
            free(&["fd12:3456:789a::/64", "fd12:3456:789a:1::7/128"]).as_deref(),
            Some("fd12:3456:789a:2::/64")
        );
        assert_eq!(free(&["fd00::/8"]), None);
    }
}
