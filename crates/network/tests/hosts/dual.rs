//! Bridges with IPv6 beside IPv4.

use crate::bed::{Bed, Namespace, attach_to, endpoint, side6, tcp};
use network::{
    Bridge, Endpoint, Ensured, NetworkError, Protocol, PublishedPort, Traffic, set_default_route6,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;

#[expect(clippy::unnecessary_wraps, reason = "it names an expected answer")]
fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn ready() -> Bed {
    let bed = Bed::dual();
    assert_eq!(bed.ensure(), Ensured::Rebuilt);
    bed
}

/// A second bridge of the same root.
fn another(bed: &Bed, traffic: Traffic) -> Bridge {
    let other = Bridge {
        name: "cora1".to_owned(),
        subnet: "172.18.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 18, 0, 1),
        ipv6: Some(side6("fd18::")),
        traffic,
        ..bed.bridge.clone()
    };
    bed.host.inside(|| other.ensure()).unwrap();
    other
}

#[test]
fn a_bridge_and_its_containers_have_both() {
    let bed = Bed::dual();
    bed.host.sh("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding");
    bed.ensure();
    let address = |namespace: &Namespace, link: &str| namespace.sh(&format!("ip -6 addr show {link}"));
    let setting = |namespace: &Namespace, name: &str| {
        namespace
            .sh(&format!("cat /proc/sys/net/ipv6/conf/{name}"))
            .trim()
            .to_owned()
    };
    let of_bridge = address(&bed.host, "cora0");
    assert!(of_bridge.contains("inet6 fd17::1/64"), "{of_bridge}");
    assert!(of_bridge.contains("nodad"), "{of_bridge}");
    assert_eq!(setting(&bed.host, "cora0/accept_ra"), "0");
    assert_eq!(setting(&bed.host, "all/forwarding"), "1");
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    let (one, _) = bed.container(2, &[]);
    let inside = address(&one, "eth0");
    assert!(inside.contains("inet6 fd17::2/64 scope global nodad"), "{inside}");
    assert!(!inside.contains("tentative"), "{inside}");
    assert_eq!(setting(&one, "eth0/accept_ra"), "0");
    assert_eq!(
        one.sh("ip -6 route show default").trim(),
        "default via fd17::1 dev eth0 metric 1024 pref medium"
    );
    assert!(!address(&bed.host, "v-cora0-2").contains("inet6"));
    // An endpoint may do without.
    let without = Namespace::bare();
    let four = Endpoint {
        address6: None,
        ..endpoint(&bed.bridge, 3, &[])
    };
    bed.host
        .inside(|| bed.bridge.attach(without.as_fd(), &four))
        .unwrap();
    assert!(!address(&without, "eth0").contains("inet6"));
    assert_eq!(setting(&without, "eth0/disable_ipv6"), "1");
}

#[test]
fn what_was_changed_is_put_right() {
    let bed = ready();
    let good = (bed.host.sh("ip -6 addr show cora0"), bed.rules());
    for harm in [
        "ip addr del fd17::1/64 dev cora0",
        "ip addr add fd44::1/64 dev cora0",
        "echo 1 > /proc/sys/net/ipv6/conf/cora0/disable_ipv6",
        "echo 1 > /proc/sys/net/ipv6/conf/cora0/accept_ra",
        "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        "ip link set cora0 down; ip link set cora0 up",
        "ip link del cora0",
        "nft flush ruleset",
        "nft flush set inet cora-test subnets6",
        "nft flush set inet cora-test hidden6",
    ] {
        bed.host.sh(harm);
        bed.ensure();
        assert_eq!(bed.ensure(), Ensured::Unchanged, "{harm}");
        let now = (bed.host.sh("ip -6 addr show cora0"), bed.rules());
        let addresses = |text: &str| {
            text.lines()
                .filter(|line| line.contains("scope global"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (addresses(&now.0), &now.1),
            (addresses(&good.0), &good.1),
            "{harm}"
        );
        assert_eq!(
            bed.host.sh("cat /proc/sys/net/ipv6/conf/all/forwarding"),
            "1\n",
            "{harm}"
        );
        assert_eq!(
            bed.host.sh("cat /proc/sys/net/ipv6/conf/cora0/accept_ra"),
            "0\n",
            "{harm}"
        );
    }
}

#[test]
fn containers_reach_each_other_the_host_and_outside() {
    let bed = ready();
    let (one, _) = bed.container(2, &[]);
    let (two, _) = bed.container(3, &[]);
    let (in_two, in_host, in_outside) = (two.serve6(80), bed.host.serve6(81), bed.outside.serve6(82));
    // The very first packet arrives.
    assert_eq!(one.reaches(&in_two, "[fd17::3]:80"), ip("fd17::2"));
    assert_eq!(one.reaches(&in_host, "[fd17::1]:81"), ip("fd17::2"));
    assert_eq!(
        one.reaches(&in_outside, "[fd09::2]:82"),
        ip("fd09::1"),
        "masqueraded"
    );
    assert_eq!(bed.host.reaches(&in_two, "[fd17::3]:80"), ip("fd17::1"));
    // IPv4 is as it was.
    assert_eq!(one.reaches(&two.serve(83), "172.17.0.3:83"), ip("172.17.0.2"));
    assert_eq!(one.reaches(&bed.outside.serve(84), "10.9.0.2:84"), ip("10.9.0.1"));
}

/// Docker and Kubernetes switch it on; where that part of the kernel is loaded it is on by default.
fn filter_bridged(bed: &Bed, filtered: u8) {
    bed.host.sh(&format!(
        "echo {filtered} > /proc/sys/net/bridge/bridge-nf-call-ip6tables"
    ));
    bed.ensure();
    assert_eq!(bed.ensure(), Ensured::Unchanged);
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for filtered in [0, 1] {
        let bed = ready();
        filter_bridged(&bed, filtered);
        let (one, endpoint) = bed.container(2, &[tcp("::", 8080, 80)]);
        let (two, _) = bed.container(3, &[]);
        let server = one.serve6(80);
        assert_eq!(bed.outside.reaches(&server, "[fd09::1]:8080"), ip("fd09::2"));
        assert_eq!(bed.host.reaches(&server, "[fd09::1]:8080"), ip("fd09::1"));
        assert_eq!(bed.host.reaches(&server, "[fd17::1]:8080"), ip("fd17::1"));
        assert_ne!(bed.host.reaches(&server, "[::1]:8080").is_some(), filtered == 1);
        assert_eq!(two.reaches(&server, "[fd09::1]:8080"), ip("fd17::1"), "hairpin");
        assert_eq!(two.reaches(&server, "[fd17::1]:8080"), ip("fd17::1"), "hairpin");
        assert_eq!(one.reaches(&server, "[fd09::1]:8080"), ip("fd17::1"), "to itself");
        // All of IPv6 is none of IPv4.
        assert_eq!(bed.outside.reaches(&one.serve(80), "10.9.0.1:8080"), None);
        assert_eq!(two.reaches(&server, "[fd09::2]:8080"), None);
        bed.host.inside(|| bed.bridge.detach(&endpoint)).unwrap();
        assert_eq!(bed.outside.reaches(&server, "[fd09::1]:8080"), None);
        assert_eq!(bed.host.inside(|| bed.bridge.published()).unwrap(), []);
    }
}

#[test]
fn a_port_published_on_one_address_is_not_on_others() {
    let bed = ready();
    filter_bridged(&bed, 1);
    filter_bridged(&bed, 0);
    let ports = [
        tcp("::1", 8080, 80),
        tcp("fd09::1", 8081, 80),
        tcp("0.0.0.0", 8082, 80),
    ];
    let (one, endpoint) = bed.container(2, &ports);
    let (two, _) = bed.container(3, &[]);
    let server = one.serve6(80);
    assert_eq!(bed.host.reaches(&server, "[::1]:8080"), ip("fd17::1"));
    assert_eq!(bed.host.reaches(&server, "[fd09::1]:8080"), None);
    assert_eq!(bed.outside.reaches(&server, "[fd09::1]:8080"), None);
    assert_eq!(two.reaches(&server, "[fd17::1]:8080"), None);
    assert_eq!(bed.outside.reaches(&server, "[fd09::1]:8081"), ip("fd09::2"));
    assert_eq!(bed.host.reaches(&server, "[::1]:8081"), None);
    assert_eq!(
        bed.outside.reaches(&server, "[fd09::1]:8082"),
        None,
        "of IPv4 only"
    );
    let mut listed = bed.host.inside(|| bed.bridge.published()).unwrap();
    let mut said = endpoint.published();
    for list in [&mut listed, &mut said] {
        list.sort_by_key(|published| published.port.host_port);
    }
    assert_eq!(listed, said);
}

/// Somebody else sends packets for ::1, and for a port that is published there.
#[test]
fn the_hosts_loopback_is_reached_from_nowhere_else() {
    let bed = ready();
    filter_bridged(&bed, 0);
    let (one, _) = bed.container(2, &[tcp("::1", 8080, 80), tcp("::", 8081, 80)]);
    let (two, _) = bed.container(3, &[]);
    let server = one.serve6(80);
    let hosts_own = bed
        .host
        .inside(|| std::net::TcpListener::bind("[::1]:9000"))
        .unwrap();
    for (from, gateway, link) in [(&bed.outside, "fd09::1", "uplink"), (&two, "fd17::1", "eth0")] {
        from.sh(&format!(
            "ip addr del ::1/128 dev lo; ip -6 route add ::1/128 via {gateway} dev {link}"
        ));
        assert_eq!(from.reaches(&server, "[::1]:8080"), None, "{link}");
        assert_eq!(from.reaches(&server, "[::1]:8081"), None, "{link}");
        assert_eq!(from.reaches(&hosts_own, "[::1]:9000"), None, "{link}");
    }
    assert_eq!(bed.host.reaches(&hosts_own, "[::1]:9000"), ip("::1"));
}

#[test]
fn udp_ports_are_published_too() {
    let bed = ready();
    let port = PublishedPort {
        protocol: Protocol::Udp,
        ..tcp("::", 5353, 53)
    };
    let (one, _) = bed.container(2, &[port]);
    let (two, _) = bed.container(3, &[]);
    let server = one.inside(|| UdpSocket::bind("[::]:53")).unwrap();
    assert_eq!(bed.outside.reaches_udp(&server, "[fd09::1]:5353"), ip("fd09::2"));
    assert_eq!(two.reaches_udp(&server, "[fd09::1]:5353"), ip("fd17::1"));
}

#[test]
fn bridges_do_not_reach_each_other() {
    let bed = ready();
    filter_bridged(&bed, 0);
    let other = another(&bed, Traffic::default());
    let (here, _) = bed.container(2, &[tcp("::", 8080, 80)]);
    let (there, _) = attach_to(&bed.host, &other, 2, &[tcp("::1", 8090, 80)]);
    let (in_here, in_there) = (here.serve6(80), there.serve6(80));
    let other_in_here = here.serve6(81);
    assert_eq!(bed.host.reaches(&in_here, "[::1]:8080"), ip("fd17::1"));
    assert_eq!(bed.host.reaches(&in_there, "[::1]:8090"), ip("fd18::1"));
    bed.outside.sh("ip route add fd17::/64 via fd09::1");
    let kept_apart = || {
        assert_eq!(there.reaches(&in_here, "[fd17::2]:80"), None);
        assert_eq!(here.reaches(&in_there, "[fd18::2]:80"), None);
        assert_eq!(bed.outside.reaches(&other_in_here, "[fd17::2]:81"), None);
        assert!(there.reaches(&in_here, "[fd09::1]:8080").is_some());
    };
    kept_apart();
    // It is the rules that keep them apart, and they come back.
    bed.host.sh("nft flush ruleset");
    assert_eq!(there.reaches(&in_here, "[fd17::2]:80"), ip("fd18::2"));
    assert_eq!(bed.outside.reaches(&other_in_here, "[fd17::2]:81"), ip("fd09::2"));
    bed.host.inside(|| {
        other.ensure().unwrap();
        bed.bridge.ensure().unwrap();
        let one = endpoint(&bed.bridge, 2, &[tcp("::", 8080, 80)]);
        bed.bridge.publish(&[one]).unwrap();
    });
    kept_apart();
    bed.host.inside(|| other.remove()).unwrap();
    assert!(!bed.rules().contains("fd18"), "{}", bed.rules());
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    assert_eq!(bed.rules(), "");
}

#[test]
fn nothing_leaves_or_enters_an_internal_bridge() {
    let bed = ready();
    let inner = another(
        &bed,
        Traffic {
            internal: true,
            ..Traffic::default()
        },
    );
    let (one, _) = attach_to(&bed.host, &inner, 2, &[]);
    let (two, _) = attach_to(&bed.host, &inner, 3, &[]);
    let (open, _) = bed.container(2, &[]);
    let (in_one, outside) = (one.serve6(80), bed.outside.serve6(82));
    assert_eq!(two.reaches(&in_one, "[fd18::2]:80"), ip("fd18::3"));
    assert_eq!(bed.host.reaches(&in_one, "[fd18::2]:80"), ip("fd18::1"));
    assert_eq!(one.sh("ip -6 route | grep -c default || true"), "0\n");
    one.sh("ip -6 route add default via fd18::1");
    bed.outside.sh("ip -6 route add fd18::/64 via fd09::1");
    assert_eq!(one.reaches(&outside, "[fd09::2]:82"), None);
    assert_eq!(open.reaches(&in_one, "[fd18::2]:80"), None);
    assert_eq!(bed.outside.reaches(&in_one, "[fd18::2]:80"), None);
}

#[test]
fn endpoints_can_be_kept_from_each_other() {
    let bed = ready();
    let other = another(
        &bed,
        Traffic {
            between_endpoints: false,
            ..Traffic::default()
        },
    );
    let (one, _) = attach_to(&bed.host, &other, 2, &[]);
    let (two, _) = attach_to(&bed.host, &other, 3, &[]);
    let in_one = one.serve6(80);
    assert_eq!(two.reaches(&in_one, "[fd18::2]:80"), None);
    assert_eq!(bed.host.reaches(&in_one, "[fd18::2]:80"), ip("fd18::1"));
    assert_eq!(
        two.reaches(&bed.outside.serve6(82), "[fd09::2]:82"),
        ip("fd09::1")
    );
}

#[test]
fn one_of_several_networks_has_the_default_route_and_it_can_change() {
    let bed = ready();
    let other = another(&bed, Traffic::default());
    let (container, _) = bed.container(2, &[]);
    let mut second = endpoint(&other, 2, &[]);
    second.link = "eth1".to_owned();
    second.default_route = false;
    bed.host
        .inside(|| other.attach(container.descriptor(), &second))
        .unwrap();
    let route = || container.sh("ip -6 route show default | sed 's/ metric.*//'");
    assert_eq!(route(), "default via fd17::1 dev eth0\n");
    let set = |route: Option<(&str, &str)>| {
        let route = route.map(|(link, gateway)| (link, gateway.parse().unwrap()));
        bed.host
            .inside(|| set_default_route6(container.descriptor(), route))
            .unwrap();
    };
    set(Some(("eth1", "fd18::1")));
    assert_eq!(route(), "default via fd18::1 dev eth1\n");
    assert_eq!(
        container.reaches(&bed.outside.serve6(82), "[fd09::2]:82"),
        ip("fd09::1")
    );
    set(None);
    set(None);
    assert_eq!(route(), "");
    set(Some(("eth1", "::")));
    assert_eq!(route(), "default dev eth1\n");
    set(Some(("eth0", "fd17::1")));
    assert_eq!(route(), "default via fd17::1 dev eth0\n");
    bed.host.inside(|| other.detach(&second)).unwrap();
    assert_eq!(route(), "default via fd17::1 dev eth0\n");
    assert!(!container.sh("ip link").contains("eth1"));
}

#[test]
fn what_has_no_ipv6_address_is_refused_and_leaves_nothing() {
    let bed = ready();
    let links = || bed.host.sh("ip -o link | wc -l");
    let before = (links(), bed.rules());
    let container = Namespace::bare();
    let without = Endpoint {
        address6: None,
        ..endpoint(&bed.bridge, 2, &[tcp("::", 8080, 80)])
    };
    let error = bed
        .host
        .inside(|| bed.bridge.attach(container.as_fd(), &without))
        .unwrap_err();
    assert!(
        matches!(error, NetworkError::NoIpv6Address { port: 8080, .. }),
        "{error}"
    );
    let outside = Endpoint {
        address6: Some("fd44::2".parse().unwrap()),
        ..endpoint(&bed.bridge, 2, &[])
    };
    let error = bed
        .host
        .inside(|| bed.bridge.attach(container.as_fd(), &outside))
        .unwrap_err();
    assert_eq!(error.to_string(), "address fd44::2 is not in subnet fd17::/64");
    let four = Bridge {
        ipv6: None,
        ..bed.bridge.clone()
    };
    let error = bed
        .host
        .inside(|| four.attach(container.as_fd(), &endpoint(&bed.bridge, 2, &[])))
        .unwrap_err();
    assert!(matches!(error, NetworkError::NoIpv6Subnet { .. }), "{error}");
    assert_eq!((links(), bed.rules()), before);
}

/// The host learnt its way out from a router; to the kernel it becomes a router itself.
#[test]
fn a_host_that_listens_to_routers_goes_on_listening() {
    let bed = Bed::dual();
    bed.host.sh(
        "ip -6 route del default; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding;
         echo 1 > /proc/sys/net/ipv6/conf/uplink/accept_ra",
    );
    let default = || bed.host.sh("ip -6 route show default | sed 's/ metric.*//'");
    eventually(|| {
        advertise(&bed.outside, "uplink");
        default().contains("proto ra")
    });
    bed.ensure();
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv6/conf/all/forwarding"), "1\n");
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv6/conf/uplink/accept_ra"), "2\n");
    assert!(default().contains("proto ra"), "{}", default());
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv6/conf/lo/accept_ra"), "2\n");
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv6/conf/cora0/accept_ra"), "0\n");
}

/// CVE-2020-13401: a container says that it is the router.
#[test]
fn nobody_on_a_bridge_believes_a_container_that_calls_itself_a_router() {
    for bed in [Bed::dual(), Bed::new()] {
        bed.ensure();
        let (one, _) = bed.container(2, &[]);
        let (two, _) = bed.container(3, &[]);
        // Whoever may do everything in his namespace switches IPv6 on for himself.
        two.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        // A control who does believe.
        let (fool, _) = bed.container(4, &[]);
        fool.sh(
            "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra",
        );
        let routes = |namespace: &Namespace| namespace.sh("ip -6 route; ip -6 addr | grep inet6");
        eventually(|| !two.sh("ip -6 addr show eth0").contains("tentative"));
        let link_local = |namespace: &Namespace| namespace.sh("ip -6 addr show eth0").contains("fe80");
        eventually(|| link_local(&two) && link_local(&fool));
        eventually(|| !fool.sh("ip -6 addr show eth0").contains("tentative"));
        let before = (routes(&one), routes(&bed.host));
        eventually(|| {
            advertise(&two, "eth0");
            routes(&fool).contains("proto ra")
        });
        assert_eq!((routes(&one), routes(&bed.host)), before);
        assert!(!routes(&one).contains("2001:db8"), "{}", routes(&one));
    }
}

fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it did not come to that");
}

/// Sends a router advertisement (RFC 4861, 4.2) to all on a link, with a prefix to take addresses from.
fn advertise(from: &Namespace, link: &str) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt};
    const ADVERTISEMENT: u8 = 134;
    const PREFIX: u8 = 3;
    const LINK_AND_AUTONOMOUS: u8 = 0xc0;
    let index: u32 = from
        .sh(&format!("ip -o link show {link} | cut -d: -f1"))
        .trim()
        .parse()
        .unwrap();
    let mut packet = vec![ADVERTISEMENT, 0, 0, 0, 64, 0, 0x07, 0x08];
    packet.extend_from_slice(&[0; 8]);
    packet.extend_from_slice(&[PREFIX, 4, 64, LINK_AND_AUTONOMOUS]);
    packet.extend_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend_from_slice(&"2001:db8::".parse::<Ipv6Addr>().unwrap().octets());
    let socket = from.inside(|| {
        socket_with(
            AddressFamily::INET6,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(ipproto::ICMPV6),
        )
        .unwrap()
    });
    // Advertisements that came over a router are not believed; the kernel fills the checksum in.
    sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
    let all = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, index);
    sendto(&socket, &packet, rustix::net::SendFlags::empty(), &all).unwrap();
}
