//! The ways in which the world outside reaches endpoints.

use crate::bed::{Bed, Namespace, attach_to, side6, tcp};
use network::{Bridge, Ensured, GatewayMode, Traffic};
use std::net::{IpAddr, Ipv4Addr};

#[expect(clippy::unnecessary_wraps, reason = "it names an expected answer")]
fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// A bridge of that mode beside the usual one, to which the world outside has routes.
fn with(mode: GatewayMode, mode6: GatewayMode, internal: bool) -> (Bed, Bridge) {
    let bed = Bed::dual();
    bed.ensure();
    let other = Bridge {
        name: "cora1".to_owned(),
        subnet: "172.18.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 18, 0, 1),
        ipv6: Some(side6("fd18::")),
        traffic: Traffic {
            internal,
            gateway_mode: mode,
            gateway_mode6: mode6,
            ..Traffic::default()
        },
        ..bed.bridge.clone()
    };
    bed.host.inside(|| other.ensure()).unwrap();
    assert_eq!(bed.host.inside(|| other.ensure()).unwrap(), Ensured::Unchanged);
    bed.outside
        .sh("ip route add 172.18.0.0/16 via 10.9.0.1; ip route add fd18::/64 via fd09::1");
    (bed, other)
}

fn pings(from: &Namespace, address: &str) -> bool {
    from.sh(&format!(
        "busybox ping -c1 -W1 {address} >/dev/null 2>&1 && echo yes || echo no"
    )) == "yes\n"
}

#[test]
fn a_routed_port_is_opened_and_nothing_translated() {
    let (bed, routed) = with(GatewayMode::Routed, GatewayMode::Routed, false);
    let ports = [
        tcp("0.0.0.0", 8080, 80),
        tcp("0.0.0.0", 8081, 80),
        tcp("::", 8080, 80),
    ];
    let (one, endpoint) = attach_to(&bed.host, &routed, 2, &ports);
    let (neighbour, _) = bed.container(2, &[]);
    let (four, six) = (one.serve(80), one.serve6(80));
    let (closed, closed6) = (one.serve(81), one.serve6(81));
    assert_eq!(bed.outside.reaches(&four, "172.18.0.2:80"), ip("10.9.0.2"));
    assert_eq!(bed.outside.reaches(&six, "[fd18::2]:80"), ip("fd09::2"));
    assert_eq!(bed.outside.reaches(&closed, "172.18.0.2:81"), None);
    assert_eq!(bed.outside.reaches(&closed6, "[fd18::2]:81"), None);
    assert_eq!(bed.outside.reaches(&four, "10.9.0.1:8080"), None);
    assert_eq!(bed.outside.reaches(&six, "[fd09::1]:8080"), None);
    assert_eq!(neighbour.reaches(&four, "172.18.0.2:80"), ip("172.17.0.2"));
    assert_eq!(neighbour.reaches(&closed, "172.18.0.2:81"), None);
    assert_eq!(
        one.reaches(&bed.outside.serve(82), "10.9.0.2:82"),
        ip("172.18.0.2")
    );
    assert_eq!(
        one.reaches(&bed.outside.serve6(82), "[fd09::2]:82"),
        ip("fd18::2")
    );
    assert!(pings(&bed.outside, "172.18.0.2"));
    assert!(pings(&bed.outside, "fd18::2"));
    assert_eq!(bed.host.inside(|| routed.published()).unwrap().len(), 2);
    bed.host.inside(|| routed.detach(&endpoint)).unwrap();
    assert_eq!(bed.host.inside(|| routed.published()).unwrap(), []);
    assert_eq!(bed.outside.reaches(&four, "172.18.0.2:80"), None);
    bed.host.inside(|| routed.remove()).unwrap();
    assert!(!bed.rules().contains("cora1"), "{}", bed.rules());
}

#[test]
fn what_is_unprotected_is_reached_from_outside_and_not_from_other_bridges() {
    let (bed, open) = with(GatewayMode::NatUnprotected, GatewayMode::Nat, false);
    let (one, _) = attach_to(&bed.host, &open, 2, &[tcp("0.0.0.0", 8080, 80)]);
    let (neighbour, _) = bed.container(2, &[]);
    let (server, other, six) = (one.serve(80), one.serve(81), one.serve6(81));
    assert_eq!(bed.outside.reaches(&other, "172.18.0.2:81"), ip("10.9.0.2"));
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8080"), ip("10.9.0.2"));
    assert_eq!(neighbour.reaches(&other, "172.18.0.2:81"), None);
    assert_eq!(
        bed.outside.reaches(&six, "[fd18::2]:81"),
        None,
        "each version for itself"
    );
    assert!(!pings(&bed.outside, "fd18::2"));
    assert_eq!(one.reaches(&bed.outside.serve(82), "10.9.0.2:82"), ip("10.9.0.1"));
}

#[test]
fn the_host_has_no_address_on_an_isolated_bridge() {
    let (bed, isolated) = with(GatewayMode::Isolated, GatewayMode::Isolated, true);
    let (one, _) = attach_to(&bed.host, &isolated, 2, &[tcp("0.0.0.0", 8080, 80)]);
    let (two, _) = attach_to(&bed.host, &isolated, 3, &[]);
    let (server, six) = (one.serve(80), one.serve6(80));
    let addresses = bed.host.sh("ip addr show cora1");
    assert!(!addresses.contains("inet"), "{addresses}");
    assert_eq!(two.reaches(&server, "172.18.0.2:80"), ip("172.18.0.3"));
    assert_eq!(two.reaches(&six, "[fd18::2]:80"), ip("fd18::3"));
    assert_eq!(bed.host.reaches(&server, "172.18.0.2:80"), None);
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8080"), None);
    assert_eq!(bed.outside.reaches(&server, "172.18.0.2:80"), None);
    assert_eq!(one.reaches(&bed.host.serve(83), "172.18.0.1:83"), None);
}
