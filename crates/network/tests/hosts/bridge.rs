//! Bridges, cables and published ports, on a host made of throw-away network namespaces.

use crate::bed::{Bed, Namespace, attach_to, endpoint, tcp};
use network::{
    Bridge, Endpoint, Ensured, NetworkError, Protocol, Published, PublishedPort, Traffic, set_default_route,
};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;

const GATEWAY: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1)));

#[expect(clippy::unnecessary_wraps, reason = "it names an expected answer")]
fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_bridge_is_made_once_and_as_it_must_be() {
    let bed = Bed::new();
    // A new namespace starts with the setting of the first one.
    bed.host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    assert_eq!(bed.ensure(), Ensured::Rebuilt);
    let link = bed.host.sh("ip -d link show cora0");
    for part in [
        "mtu 1400",
        "02:c0:ac:11:00:01",
        "forward_delay 0",
        "stp_state 0",
        "UP",
    ] {
        assert!(link.contains(part), "{part}: {link}");
    }
    let addresses = bed.host.sh("ip addr show cora0");
    assert!(
        addresses.contains("inet 172.17.0.1/16 brd 172.17.255.255"),
        "{addresses}"
    );
    assert!(!addresses.contains("inet6"), "{addresses}");
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    assert_eq!(
        bed.host.sh("cat /proc/sys/net/ipv6/conf/cora0/disable_ipv6"),
        "1\n"
    );
    assert_eq!(bed.host.sh("cat /proc/sys/net/ipv6/conf/cora0/accept_ra"), "0\n");
    let (links, rules) = (bed.host.sh("ip -o addr"), bed.rules());
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    assert_eq!((bed.host.sh("ip -o addr"), bed.rules()), (links, rules));
}

#[test]
fn what_was_changed_is_put_right() {
    let bed = Bed::with_bridge();
    let good = (bed.host.sh("ip addr show cora0"), bed.rules());
    for harm in [
        "ip link set cora0 down",
        "ip link set cora0 mtu 1300",
        "ip addr flush dev cora0",
        "ip addr add 172.18.0.1/16 dev cora0",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "echo 0 > /proc/sys/net/ipv4/conf/cora0/route_localnet",
        "echo 0 > /proc/sys/net/ipv6/conf/cora0/disable_ipv6",
        "echo 1 > /proc/sys/net/ipv6/conf/cora0/accept_ra",
        "ip link del cora0",
        "nft flush ruleset",
        "nft flush table inet cora-test",
        "nft flush chain inet cora-test guard",
        "nft delete rule inet cora-test forward handle $(nft -a list chain inet cora-test forward | sed -n 's/.*drop # handle //p' | tail -1)",
        "nft flush set inet cora-test bridges",
        "nft flush set inet cora-test within",
        "nft flush set inet cora-test subnets",
        "nft delete table inet cora-test",
        "nft delete table inet cora-test; nft 'add table inet cora-test { comment \"older\"; chain x { }; }'",
        "nft add table inet cora-test '{ flags dormant; }'",
    ] {
        bed.host.sh(harm);
        bed.ensure();
        assert_eq!(bed.ensure(), Ensured::Unchanged, "{harm}");
        let now = (bed.host.sh("ip addr show cora0"), bed.rules());
        // A bridge without cables has no carrier, and one that is made anew another index.
        let strip = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!((strip(&now.0), &now.1), (strip(&good.0), &good.1), "{harm}");
        assert_eq!(bed.host.sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n", "{harm}");
        assert_eq!(
            bed.host.sh("cat /proc/sys/net/ipv6/conf/cora0/disable_ipv6"),
            "1\n",
            "{harm}"
        );
        assert!(now.0.contains("mtu 1400"), "{harm}: {}", now.0);
    }
}

#[test]
fn a_container_gets_its_address_and_nothing_of_ipv6() {
    let bed = Bed::with_bridge();
    let (one, _) = bed.container(2, &[]);
    let addresses = one.sh("ip addr");
    for part in [
        "inet 127.0.0.1/8",
        "inet 172.17.0.2/16 brd 172.17.255.255",
        "link/ether 02:42:ac:11:00:02",
        "mtu 1400",
    ] {
        assert!(addresses.contains(part), "{part}: {addresses}");
    }
    assert_eq!(
        one.sh("ip route show default").trim(),
        "default via 172.17.0.1 dev eth0"
    );
    assert!(!one.sh("ip addr show eth0").contains("inet6"));
    assert_eq!(one.sh("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1\n");
    assert_eq!(one.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_ra"), "0\n");
    // Nor do the links on the host's side speak IPv6.
    assert!(!bed.host.sh("ip addr show v-cora0-2").contains("inet6"));
}

#[test]
fn containers_reach_each_other_the_host_and_outside() {
    let bed = Bed::with_bridge();
    let mac = || bed.host.sh("ip -o link show cora0 | sed 's/.*link.ether //'");
    let before = mac();
    let (one, _) = bed.container(2, &[]);
    let (two, _) = bed.container(3, &[]);
    let in_two = two.serve(80);
    let in_host = bed.host.serve(81);
    let in_outside = bed.outside.serve(82);
    assert_eq!(one.reaches(&in_two, "172.17.0.3:80"), ip("172.17.0.2"));
    assert_eq!(one.reaches(&in_host, "172.17.0.1:81"), ip("172.17.0.2"));
    assert_eq!(
        one.reaches(&in_outside, "10.9.0.2:82"),
        ip("10.9.0.1"),
        "masqueraded"
    );
    assert_eq!(bed.host.reaches(&in_two, "172.17.0.3:80"), GATEWAY);
    assert_eq!(mac(), before);
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    published_port_everywhere(0);
}

/// As Docker and Kubernetes set it, and as it is by default where that part of the kernel is loaded.
#[test]
fn a_published_port_is_reached_from_everywhere_when_bridged_packets_are_filtered() {
    published_port_everywhere(1);
}

fn published_port_everywhere(filtered: u8) {
    let bed = Bed::with_bridge();
    bed.host.sh(&format!(
        "echo {filtered} > /proc/sys/net/bridge/bridge-nf-call-iptables"
    ));
    let (one, endpoint) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let (two, _) = bed.container(3, &[]);
    let server = one.serve(80);
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8080"), GATEWAY);
    assert_eq!(bed.host.reaches(&server, "10.9.0.1:8080"), ip("10.9.0.1"));
    assert_eq!(bed.host.reaches(&server, "172.17.0.1:8080"), GATEWAY);
    assert_eq!(
        bed.outside.reaches(&server, "10.9.0.1:8080"),
        ip("10.9.0.2"),
        "the client's own address"
    );
    assert_eq!(two.reaches(&server, "10.9.0.1:8080"), GATEWAY, "hairpin");
    assert_eq!(two.reaches(&server, "172.17.0.1:8080"), GATEWAY, "hairpin");
    assert_eq!(
        one.reaches(&server, "10.9.0.1:8080"),
        GATEWAY,
        "hairpin to itself"
    );
    assert_eq!(
        two.reaches(&server, "172.17.0.2:80"),
        ip("172.17.0.3"),
        "directly"
    );
    // Only what is addressed to this host is translated.
    assert_eq!(two.reaches(&server, "10.9.0.2:8080"), None);
    bed.host.inside(|| bed.bridge.detach(&endpoint)).unwrap();
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8080"), None);
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8080"), None);
}

#[test]
fn a_port_published_on_one_address_is_not_on_others() {
    let bed = Bed::with_bridge();
    let ports = [tcp("127.0.0.1", 8080, 80), tcp("10.9.0.1", 8081, 80)];
    let (one, _) = bed.container(2, &ports);
    let (two, _) = bed.container(3, &[]);
    let server = one.serve(80);
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8080"), GATEWAY);
    assert_eq!(bed.host.reaches(&server, "10.9.0.1:8080"), None);
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8080"), None);
    assert_eq!(two.reaches(&server, "172.17.0.1:8080"), None);
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8081"), ip("10.9.0.2"));
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8081"), None);
}

/// moby CVE-2025-54410 and CVE-2020-8558: a neighbour, or a container, sends packets for 127.0.0.1 to this host.
#[test]
fn the_hosts_loopback_is_reached_from_nowhere_else() {
    let bed = Bed::with_bridge();
    let ports = [tcp("127.0.0.1", 8080, 80), tcp("0.0.0.0", 8081, 80)];
    let (one, _) = bed.container(2, &ports);
    let (two, _) = bed.container(3, &[]);
    let server = one.serve(80);
    let hosts_own = bed
        .host
        .inside(|| std::net::TcpListener::bind("127.0.0.1:9000"))
        .unwrap();
    for (from, gateway, link) in [(&bed.outside, "10.9.0.1", "uplink"), (&two, "172.17.0.1", "eth0")] {
        from.sh(&format!(
            "echo 1 > /proc/sys/net/ipv4/conf/{link}/route_localnet
             ip addr del 127.0.0.1/8 dev lo
             ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null
             ip route add 127.0.0.1 via {gateway} dev {link}"
        ));
        assert_eq!(from.reaches(&server, "127.0.0.1:8080"), None, "{link}");
        assert_eq!(from.reaches(&server, "127.0.0.1:8081"), None, "{link}");
        assert_eq!(from.reaches(&hosts_own, "127.0.0.1:9000"), None, "{link}");
    }
    // The same words do reach it from the host itself.
    assert_eq!(bed.host.reaches(&hosts_own, "127.0.0.1:9000"), ip("127.0.0.1"));
    assert_eq!(bed.host.reaches(&server, "127.0.0.1:8080"), GATEWAY);
}

#[test]
fn what_is_not_published_is_not_reached_by_its_own_address() {
    let bed = Bed::with_bridge();
    let (one, _) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let (unpublished, published) = (one.serve(81), one.serve(80));
    bed.outside.sh("ip route add 172.17.0.0/16 via 10.9.0.1");
    assert_eq!(bed.outside.reaches(&unpublished, "172.17.0.2:81"), None);
    assert_eq!(bed.outside.reaches(&published, "172.17.0.2:80"), None);
    assert_eq!(bed.outside.reaches(&unpublished, "10.9.0.1:81"), None);
    // It is the rules that keep it away, not the routes.
    bed.host.sh("nft flush ruleset");
    assert_eq!(bed.outside.reaches(&unpublished, "172.17.0.2:81"), ip("10.9.0.2"));
    bed.ensure();
    assert_eq!(bed.outside.reaches(&unpublished, "172.17.0.2:81"), None);
}

#[test]
fn udp_ports_are_published_too() {
    let bed = Bed::with_bridge();
    let port = PublishedPort {
        protocol: Protocol::Udp,
        ..tcp("0.0.0.0", 5353, 53)
    };
    let (one, _) = bed.container(2, &[port]);
    let (two, _) = bed.container(3, &[]);
    let server = one.inside(|| UdpSocket::bind("0.0.0.0:53")).unwrap();
    assert_eq!(bed.outside.reaches_udp(&server, "10.9.0.1:5353"), ip("10.9.0.2"));
    assert_eq!(bed.host.reaches_udp(&server, "127.0.0.1:5353"), GATEWAY);
    assert_eq!(two.reaches_udp(&server, "10.9.0.1:5353"), GATEWAY);
    let over_tcp = one.serve(53);
    assert_eq!(bed.outside.reaches(&over_tcp, "10.9.0.1:5353"), None);
}

#[test]
fn bridges_do_not_reach_each_other() {
    let bed = Bed::with_bridge();
    let other = Bridge {
        name: "cora1".to_owned(),
        subnet: "172.18.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 18, 0, 1),
        ..bed.bridge.clone()
    };
    bed.host.inside(|| other.ensure()).unwrap();
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    let (here, _) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let (there, _) = attach_to(&bed.host, &other, 2, &[]);
    let (in_here, in_there, outside) = (here.serve(80), there.serve(80), bed.outside.serve(82));
    assert_eq!(there.reaches(&in_here, "172.17.0.2:80"), None);
    assert_eq!(here.reaches(&in_there, "172.18.0.2:80"), None);
    assert_eq!(there.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.1"));
    assert!(
        there.reaches(&in_here, "10.9.0.1:8080").is_some(),
        "what is published is for all"
    );
    // One goes, the other stays whole.
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    assert!(!bed.rules().contains("cora0"), "{}", bed.rules());
    assert_eq!(bed.host.inside(|| other.ensure()).unwrap(), Ensured::Unchanged);
    assert_eq!(there.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.1"));
    bed.host.inside(|| other.remove()).unwrap();
    assert_eq!(bed.rules(), "");
}

/// A second bridge of the same root.
fn another(bed: &Bed, traffic: Traffic) -> Bridge {
    let other = Bridge {
        name: "cora1".to_owned(),
        subnet: "172.18.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 18, 0, 1),
        traffic,
        ..bed.bridge.clone()
    };
    bed.host.inside(|| other.ensure()).unwrap();
    other
}

#[test]
fn nothing_leaves_or_enters_an_internal_bridge() {
    let bed = Bed::with_bridge();
    let internal = Traffic {
        internal: true,
        ..Traffic::default()
    };
    let inner = another(&bed, internal);
    let (one, _) = attach_to(&bed.host, &inner, 2, &[]);
    let (two, _) = attach_to(&bed.host, &inner, 3, &[]);
    let (open, _) = bed.container(2, &[]);
    let (in_one, in_open, outside) = (one.serve(80), open.serve(80), bed.outside.serve(82));
    assert_eq!(two.reaches(&in_one, "172.18.0.2:80"), ip("172.18.0.3"));
    assert_eq!(bed.host.reaches(&in_one, "172.18.0.2:80"), ip("172.18.0.1"));
    assert_eq!(one.sh("ip route | grep -c default || true"), "0\n");
    // Somebody in it may make a route of his own, and somebody outside too.
    one.sh("ip route add default via 172.18.0.1");
    bed.outside.sh("ip route add 172.18.0.0/16 via 10.9.0.1");
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), None);
    assert_eq!(one.reaches(&in_open, "172.17.0.2:80"), None);
    assert_eq!(open.reaches(&in_one, "172.18.0.2:80"), None);
    assert_eq!(bed.outside.reaches(&in_one, "172.18.0.2:80"), None);
    assert_eq!(
        bed.host.inside(|| inner.ensure()).unwrap(),
        Ensured::Unchanged,
        "its elements are known again"
    );
    // With the firewall emptied, the next look puts everything back.
    bed.host.sh("nft flush ruleset");
    assert_eq!(bed.host.inside(|| inner.ensure()).unwrap(), Ensured::Rebuilt);
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), None);
    assert_eq!(bed.ensure(), Ensured::Rebuilt);
    bed.host.inside(|| inner.remove()).unwrap();
    assert!(!bed.rules().contains("cora1"), "{}", bed.rules());
}

#[test]
fn endpoints_can_be_kept_from_each_other() {
    let bed = Bed::with_bridge();
    let apart = Traffic {
        between_endpoints: false,
        ..Traffic::default()
    };
    let other = another(&bed, apart);
    let (one, _) = attach_to(&bed.host, &other, 2, &[]);
    let (two, _) = attach_to(&bed.host, &other, 3, &[]);
    let (in_one, outside) = (one.serve(80), bed.outside.serve(82));
    assert_eq!(two.reaches(&in_one, "172.18.0.2:80"), None);
    assert_eq!(bed.host.reaches(&in_one, "172.18.0.2:80"), ip("172.18.0.1"));
    assert_eq!(two.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.1"));
}

#[test]
fn addresses_can_be_left_as_they_are() {
    let bed = Bed::with_bridge();
    let plain = Traffic {
        masquerade: false,
        ..Traffic::default()
    };
    let other = another(&bed, plain);
    let (one, _) = attach_to(&bed.host, &other, 2, &[]);
    bed.outside.sh("ip route add 172.18.0.0/16 via 10.9.0.1");
    let outside = bed.outside.serve(82);
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), ip("172.18.0.2"));
    // Who asks for a published port of his own bridge gets his answer all the same.
    let (two, _) = attach_to(&bed.host, &other, 3, &[tcp("0.0.0.0", 8090, 80)]);
    assert_eq!(
        one.reaches(&two.serve(80), "10.9.0.1:8090"),
        ip("172.18.0.1"),
        "hairpin"
    );
}

#[test]
fn one_of_several_networks_has_the_default_route_and_it_can_change() {
    let bed = Bed::with_bridge();
    let other = another(&bed, Traffic::default());
    let (container, _) = bed.container(2, &[]);
    let mut second = endpoint(&other, 2, &[]);
    second.link = "eth1".to_owned();
    second.default_route = false;
    bed.host
        .inside(|| other.attach(container.descriptor(), &second))
        .unwrap();
    let route = || container.sh("ip route show default");
    assert_eq!(route(), "default via 172.17.0.1 dev eth0 \n");
    let set = |route| {
        bed.host
            .inside(|| set_default_route(container.descriptor(), route))
    };
    set(Some(("eth1", other.gateway))).unwrap();
    assert_eq!(route(), "default via 172.18.0.1 dev eth1 \n");
    let outside = bed.outside.serve(82);
    assert_eq!(container.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.1"));
    set(None).unwrap();
    set(None).unwrap();
    assert_eq!(route(), "");
    set(Some(("eth0", bed.bridge.gateway))).unwrap();
    bed.host.inside(|| other.detach(&second)).unwrap();
    assert_eq!(route(), "default via 172.17.0.1 dev eth0 \n");
    assert!(set(Some(("eth7", other.gateway))).is_err());
}

#[test]
fn detaching_and_removing_leave_nothing() {
    for bed in [Bed::new(), Bed::dual()] {
        detach_and_remove(&bed);
    }
}

fn detach_and_remove(bed: &Bed) {
    let now = || {
        // A host that forwards has addresses for any router, and goes on forwarding.
        let routes = bed
            .host
            .sh("ip route; ip -6 route show table all | grep -v ^anycast");
        (bed.host.sh("ip addr"), bed.rules(), routes)
    };
    let before = now();
    bed.ensure();
    let (_one, first) = bed.container(2, &[tcp("0.0.0.0", 8080, 80), tcp("127.0.0.1", 8081, 80)]);
    let (two, second) = bed.container(3, &[tcp("0.0.0.0", 8082, 80)]);
    bed.host.inside(|| {
        assert_eq!(bed.bridge.links().unwrap(), ["v-cora0-2", "v-cora0-3"]);
        assert_eq!(bed.bridge.published().unwrap().len(), 3);
        bed.bridge.detach(&first).unwrap();
        assert_eq!(bed.bridge.links().unwrap(), ["v-cora0-3"]);
        assert_eq!(bed.bridge.published().unwrap(), second.published());
        bed.bridge.detach(&first).unwrap();
        bed.bridge.detach(&second).unwrap();
        bed.bridge
            .detach(&endpoint(&bed.bridge, 9, &[tcp("0.0.0.0", 1, 1)]))
            .unwrap();
    });
    assert!(!two.sh("ip link").contains("eth0"));
    assert!(!bed.rules().contains("80"), "{}", bed.rules());
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    assert_eq!(now(), before);
    bed.host.inside(|| bed.bridge.remove()).unwrap();
}

#[test]
fn a_link_dies_with_its_namespace_and_a_dead_ones_is_replaced() {
    let bed = Bed::with_bridge();
    let (first, endpoint) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let (again, _) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    assert!(!first.sh("ip link").contains("eth0"));
    assert!(bed.outside.reaches(&again.serve(80), "10.9.0.1:8080").is_some());
    drop((first, again));
    while !bed.host.inside(|| bed.bridge.links()).unwrap().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // The ports do not die; recovery finds them.
    assert_eq!(
        bed.host.inside(|| bed.bridge.published()).unwrap(),
        endpoint.published()
    );
}

/// The port of a dead container was taken over before somebody clears up after the dead one.
#[test]
fn a_port_that_leads_elsewhere_by_now_is_not_taken_back() {
    let bed = Bed::with_bridge();
    let ports = [tcp("0.0.0.0", 8080, 80), tcp("127.0.0.1", 8081, 80)];
    let (_dead, old) = bed.container(2, &ports);
    let (alive, new) = bed.container(3, &ports);
    bed.host.inside(|| bed.bridge.detach(&old)).unwrap();
    assert_eq!(
        bed.host.inside(|| bed.bridge.published()).unwrap(),
        new.published()
    );
    assert!(bed.outside.reaches(&alive.serve(80), "10.9.0.1:8080").is_some());
}

#[test]
fn published_ports_come_back_after_a_flush() {
    let bed = Bed::with_bridge();
    let (one, endpoint) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let server = one.serve(80);
    bed.host.sh("nft flush ruleset");
    assert_eq!(bed.ensure(), Ensured::Rebuilt);
    bed.host
        .inside(|| bed.bridge.publish(std::slice::from_ref(&endpoint)))
        .unwrap();
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8080"), ip("10.9.0.2"));
    bed.host.sh("nft flush ruleset");
    bed.host
        .inside(|| bed.bridge.publish(std::slice::from_ref(&endpoint)))
        .unwrap();
    assert_eq!(
        bed.ensure(),
        Ensured::Unchanged,
        "publishing needs the rules and makes them"
    );
    // Publishing what is published is no error.
    bed.host
        .inside(|| bed.bridge.publish(std::slice::from_ref(&endpoint)))
        .unwrap();
    // Elements survive when only rules were lost.
    bed.host.sh("nft flush chain inet cora-test prerouting");
    assert_eq!(bed.ensure(), Ensured::Rebuilt);
    assert_eq!(
        bed.host.inside(|| bed.bridge.published()).unwrap(),
        endpoint.published()
    );
}

#[test]
fn thousands_of_ports_are_published_at_once() {
    let bed = Bed::with_bridge();
    let ports: Vec<_> = (10_000..16_000).map(|port| tcp("0.0.0.0", port, port)).collect();
    let (one, endpoint) = bed.container(2, &ports);
    assert!(
        bed.outside
            .reaches(&one.serve(15_999), "10.9.0.1:15999")
            .is_some()
    );
    assert_eq!(bed.host.inside(|| bed.bridge.published()).unwrap().len(), 6000);
    bed.host.inside(|| bed.bridge.detach(&endpoint)).unwrap();
    assert_eq!(bed.host.inside(|| bed.bridge.published()).unwrap(), []);
}

#[test]
fn a_failed_attach_leaves_nothing() {
    let bed = Bed::with_bridge();
    let links = || bed.host.sh("ip -o link | sed 's/<.*> //; s/state [A-Z]* //'");
    let before = (links(), bed.rules());
    let container = Namespace::bare();
    let attempt = |endpoint: &Endpoint| bed.host.inside(|| bed.bridge.attach(container.as_fd(), endpoint));
    let good = endpoint(&bed.bridge, 2, &[]);
    let bad = [
        Endpoint {
            ports: vec![tcp("::", 80, 80)],
            ..good.clone()
        },
        Endpoint {
            link: "lo".to_owned(),
            ..good.clone()
        },
        Endpoint {
            mac: [1; 6],
            ..good.clone()
        },
        Endpoint {
            address: Ipv4Addr::new(10, 0, 0, 1),
            ..good.clone()
        },
        Endpoint {
            host_link: "far-too-long-for-a-link".to_owned(),
            ..good.clone()
        },
        Endpoint {
            link: "a/../b".to_owned(),
            ..good.clone()
        },
    ];
    for endpoint in bad {
        assert!(attempt(&endpoint).is_err(), "{endpoint:?}");
        assert_eq!((links(), bed.rules()), before, "{endpoint:?}");
        assert!(!container.sh("ip link").contains("eth0"), "{endpoint:?}");
    }
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    let error = attempt(&good).unwrap_err();
    assert_eq!(error.to_string(), "no bridge 'cora0'");
}

#[test]
fn a_link_of_that_name_that_is_no_bridge_is_left_alone() {
    let bed = Bed::new();
    bed.host.sh("ip link add cora0 type veth peer name cora1");
    let error = bed.host.inside(|| bed.bridge.ensure()).unwrap_err();
    assert!(matches!(error, NetworkError::NotABridge { .. }), "{error:?}");
    assert!(bed.host.inside(|| bed.bridge.remove()).is_err());
    assert!(bed.host.sh("ip -d link show cora0").contains("veth"));
}

/// In threads, each of which has its own network namespace; to the kernel they are as good as processes.
#[test]
fn many_at_once_make_one_bridge() {
    for round in 0..10 {
        let bed = if round % 2 == 0 { Bed::new() } else { Bed::dual() };
        let start = std::sync::Barrier::new(8);
        let kept: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (2..10)
                .map(|number| {
                    let (bed, start) = (&bed, &start);
                    scope.spawn(move || {
                        start.wait();
                        bed.ensure();
                        let kept = bed.container(number, &[tcp("0.0.0.0", 8000 + u16::from(number), 80)]);
                        bed.ensure();
                        kept
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (container, endpoint) in &kept {
            let address = format!("10.9.0.1:{}", endpoint.ports[0].host_port);
            assert!(
                bed.outside.reaches(&container.serve(80), &address).is_some(),
                "{address}"
            );
        }
        std::thread::scope(|scope| {
            for (_, endpoint) in &kept {
                let (bed, start) = (&bed, &start);
                scope.spawn(move || {
                    start.wait();
                    bed.host.inside(|| bed.bridge.detach(endpoint)).unwrap();
                });
            }
        });
        assert_eq!(bed.ensure(), Ensured::Unchanged);
        assert_eq!(
            bed.host.inside(|| bed.bridge.published()).unwrap(),
            Vec::<Published>::new()
        );
        assert_eq!(
            bed.host.inside(|| bed.bridge.links()).unwrap(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn dockers_firewall_is_passed_through_its_own_door() {
    let bed = Bed::new();
    bed.host.sh(
        "iptables-nft -P FORWARD DROP && iptables-nft -N DOCKER-USER && iptables-nft -A FORWARD -j DOCKER-USER &&
         iptables-nft -A DOCKER-USER -j RETURN",
    );
    let before = bed.host.sh("iptables-nft -S");
    bed.ensure();
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    assert_eq!(bed.host.inside(|| bed.bridge.obstacles()).unwrap(), []);
    let rules = bed.host.sh("iptables-nft -S DOCKER-USER");
    for rule in ["-A DOCKER-USER -i cora0", "-A DOCKER-USER -o cora0"] {
        assert_eq!(rules.matches(rule).count(), 1, "{rules}");
    }
    let (one, _) = bed.container(2, &[tcp("0.0.0.0", 8080, 80)]);
    let (server, unpublished) = (one.serve(80), one.serve(81));
    assert_eq!(one.reaches(&bed.outside.serve(82), "10.9.0.2:82"), ip("10.9.0.1"));
    assert_eq!(bed.outside.reaches(&server, "10.9.0.1:8080"), ip("10.9.0.2"));
    bed.outside.sh("ip route add 172.17.0.0/16 via 10.9.0.1");
    assert_eq!(
        bed.outside.reaches(&unpublished, "172.17.0.2:81"),
        None,
        "our own rules still hold"
    );
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    assert_eq!(bed.host.sh("iptables-nft -S"), before);
}

#[test]
fn a_host_that_drops_is_told_about_and_left_alone() {
    let bed = Bed::with_bridge();
    assert_eq!(bed.host.inside(|| bed.bridge.obstacles()).unwrap(), []);
    bed.host.sh("iptables-nft -P FORWARD DROP");
    let before = bed.host.sh("iptables-nft -S");
    bed.ensure();
    assert_eq!(bed.host.sh("iptables-nft -S"), before);
    let obstacles = bed.host.inside(|| bed.bridge.obstacles()).unwrap();
    assert_eq!(obstacles.len(), 1);
    assert_eq!(
        obstacles[0].to_string(),
        "chain FORWARD of the host's firewall table ip filter drops forwarded packets by default"
    );
    let (one, _) = bed.container(2, &[]);
    let outside = bed.outside.serve(82);
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), None);
    for command in obstacles[0].remedy(&bed.bridge) {
        bed.host.sh(&command);
    }
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.1"));
}

#[test]
fn dockers_firewall_for_ipv6_is_passed_through_its_own_door() {
    let bed = Bed::dual();
    for iptables in ["iptables-nft", "ip6tables-nft"] {
        bed.host.sh(&format!(
            "{iptables} -P FORWARD DROP && {iptables} -N DOCKER-USER && {iptables} -A FORWARD -j DOCKER-USER"
        ));
    }
    let rules = || bed.host.sh("iptables-nft -S; ip6tables-nft -S");
    let before = rules();
    bed.ensure();
    assert_eq!(bed.ensure(), Ensured::Unchanged);
    assert_eq!(bed.host.inside(|| bed.bridge.obstacles()).unwrap(), []);
    assert_eq!(rules().matches("-i cora0").count(), 2, "{}", rules());
    let (one, _) = bed.container(2, &[tcp("::", 8080, 80)]);
    assert_eq!(
        one.reaches(&bed.outside.serve6(82), "[fd09::2]:82"),
        ip("fd09::1")
    );
    assert_eq!(
        bed.outside.reaches(&one.serve6(80), "[fd09::1]:8080"),
        ip("fd09::2")
    );
    bed.host.inside(|| bed.bridge.remove()).unwrap();
    assert_eq!(rules(), before);
    // Without the door we only tell.
    bed.host
        .sh("ip6tables-nft -F FORWARD; ip6tables-nft -X DOCKER-USER");
    bed.ensure();
    let obstacles = bed.host.inside(|| bed.bridge.obstacles()).unwrap();
    assert_eq!(obstacles.len(), 1, "{obstacles:?}");
    assert_eq!(obstacles[0].family, "ip6");
    for command in obstacles[0].remedy(&bed.bridge) {
        bed.host.sh(&command);
    }
    let (two, _) = bed.container(3, &[]);
    assert_eq!(
        two.reaches(&bed.outside.serve6(83), "[fd09::2]:83"),
        ip("fd09::1")
    );
    // A bridge without IPv6 has nothing to do with it.
    let four = Bridge {
        ipv6: None,
        ..bed.bridge.clone()
    };
    assert_eq!(bed.host.inside(|| four.obstacles()).unwrap(), []);
}

#[test]
fn the_uplink_and_free_subnets_are_the_hosts() {
    let bed = Bed::new();
    assert_eq!(bed.host.inside(network::uplink_mtu).unwrap(), 1400);
    assert_eq!(Namespace::new().inside(network::uplink_mtu).unwrap(), 1500);
    let free = |taken: &[&str]| {
        let taken: Vec<_> = taken.iter().map(|text| text.parse().unwrap()).collect();
        bed.host
            .inside(|| network::free_subnet(&taken))
            .map(|subnet| subnet.to_string())
    };
    assert_eq!(free(&[]).unwrap(), "172.17.0.0/16");
    bed.ensure();
    assert_eq!(free(&[]).unwrap(), "172.18.0.0/16");
    bed.host
        .sh("ip route add 172.18.5.0/24 via 10.9.0.2; ip addr add 172.19.0.7/32 dev lo");
    assert_eq!(free(&["172.20.0.0/16"]).unwrap(), "172.21.0.0/16");
    bed.host
        .sh("ip route add 172.16.0.0/12 via 10.9.0.2; ip route add blackhole 192.168.0.0/16 table 77");
    assert!(matches!(free(&[]), Err(NetworkError::NoFreeSubnet)));
    let free6 = |taken: &[_]| bed.host.inside(|| network::free_subnet6(taken)).unwrap();
    let first = free6(&[]);
    assert!(first.to_string().starts_with("fd"), "{first}");
    assert_eq!(first, free6(&[]), "it stays");
    let second = free6(&[first]);
    bed.host.sh(&format!("ip route add {first} via fd09::2"));
    assert_eq!(free6(&[]), second);
}

#[test]
fn a_host_of_ipv6_alone_has_an_uplink_too() {
    let bed = Bed::new();
    bed.host.sh("ip route del default");
    assert_eq!(bed.host.inside(network::uplink_mtu).unwrap(), 1400);
}

#[test]
fn loopback_is_raised() {
    let namespace = Namespace::bare();
    network::raise_loopback(namespace.as_fd()).unwrap();
    let server = namespace.serve(80);
    assert_eq!(namespace.reaches(&server, "127.0.0.1:80"), ip("127.0.0.1"));
}
