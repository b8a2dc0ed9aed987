//! Choosing subnets and addresses.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

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

/// Returns the lowest address of `subnet` that is neither the network's, the broadcast's, the gateway's nor taken.
pub fn free_address(subnet: Ipv4Net, gateway: Ipv4Addr, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    // A subnet of two addresses (RFC 3021) or one has neither network nor broadcast address.
    let (first, last) = if subnet.prefix_len() >= 31 {
        (subnet.network(), subnet.broadcast())
    } else {
        (next(subnet.network()), previous(subnet.broadcast()))
    };
    let mut used: Vec<Ipv4Addr> = taken
        .iter()
        .copied()
        .filter(|address| (first..=last).contains(address))
        .collect();
    used.push(gateway);
    used.sort_unstable();
    let mut candidate = first;
    for address in used {
        if address > candidate {
            break;
        }
        if address == candidate {
            if candidate == last {
                return None;
            }
            candidate = next(candidate);
        }
    }
    Some(candidate)
}

fn next(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address).saturating_add(1))
}

fn previous(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address).saturating_sub(1))
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
            let free = free_address(subnet.parse().unwrap(), gateway.parse().unwrap(), &taken);
            assert_eq!(
                free.map(|address| address.to_string()).as_deref(),
                *expected,
                "{subnet} {taken:?}"
            );
        }
    }
}
