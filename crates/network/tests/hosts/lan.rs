//! Networks on one of the host's links.

use crate::bed::{Bed, Namespace, side6};
use network::{Endpoint, IpvlanFlag, IpvlanMode, Lan, LanKind, MacvlanMode, NetworkError, Segment};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

#[expect(clippy::unnecessary_wraps, reason = "it names an expected answer")]
fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// A network on the uplink, in the same subnet.
fn lan(mode: MacvlanMode) -> Lan {
    Lan {
        parent: "uplink".to_owned(),
        made: false,
        kind: LanKind::Macvlan(mode),
        subnet: "10.9.0.0/24".parse().unwrap(),
        gateway: Some(Ipv4Addr::new(10, 9, 0, 2)),
        ipv6: Some(network::Side6 {
            gateway: "fd09::2".parse().unwrap(),
            ..side6("fd09::")
        }),
        mtu: None,
    }
}

fn endpoint(number: u8) -> Endpoint {
    Endpoint {
        host_link: format!("v{number}"),
        link: "eth0".to_owned(),
        address: Ipv4Addr::new(10, 9, 0, number),
        address6: Some(format!("fd09::{number:x}").parse().unwrap()),
        mac: [0x02, 0x42, 10, 9, 0, number],
        default_route: true,
        ports: Vec::new(),
    }
}

fn attach(bed: &Bed, lan: &Lan, number: u8) -> Namespace {
    let namespace = Namespace::bare();
    bed.host
        .inside(|| lan.attach(namespace.as_fd(), &endpoint(number)))
        .unwrap();
    namespace
}

#[test]
fn macvlan_links_are_seen_outside_by_their_own_addresses() {
    let bed = Bed::new();
    let lan = lan(MacvlanMode::Bridge);
    bed.host.inside(|| lan.check()).unwrap();
    let before = bed.host.sh("ip -o link | wc -l");
    let (one, two) = (attach(&bed, &lan, 10), attach(&bed, &lan, 11));
    assert_eq!(
        bed.host.sh("ip -o link | wc -l"),
        before,
        "nothing is left on the host"
    );
    let (outside, in_two) = (bed.outside.serve(82), two.serve(80));
    assert_eq!(one.reaches(&outside, "10.9.0.2:82"), ip("10.9.0.10"));
    assert_eq!(
        one.reaches(&bed.outside.serve6(83), "[fd09::2]:83"),
        ip("fd09::a")
    );
    assert_eq!(one.reaches(&in_two, "10.9.0.11:80"), ip("10.9.0.10"));
    assert_eq!(bed.outside.reaches(&in_two, "10.9.0.11:80"), ip("10.9.0.2"));
    let link = one.sh("ip -d addr show eth0");
    for part in [
        "macvlan mode bridge",
        "02:42:0a:09:00:0a",
        "mtu 1400",
        "inet 10.9.0.10/24 brd 10.9.0.255",
        "inet6 fd09::a/64",
    ] {
        assert!(link.contains(part), "{part}: {link}");
    }
    assert_eq!(one.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_ra"), "0\n");
    assert_eq!(
        one.sh("ip route show default").trim(),
        "default via 10.9.0.2 dev eth0"
    );
    let six = one.sh("ip -6 route show default");
    assert!(six.starts_with("default via fd09::2 dev eth0"), "{six}");
}

#[test]
fn private_links_do_not_see_each_other() {
    for mode in [MacvlanMode::Private, MacvlanMode::Vepa] {
        let bed = Bed::new();
        let lan = lan(mode);
        let (one, two) = (attach(&bed, &lan, 10), attach(&bed, &lan, 11));
        assert_eq!(one.reaches(&two.serve(80), "10.9.0.11:80"), None, "{mode:?}");
        assert_eq!(
            one.reaches(&bed.outside.serve(82), "10.9.0.2:82"),
            ip("10.9.0.10"),
            "{mode:?}"
        );
    }
}

#[test]
fn one_container_has_a_link_that_is_passed_through() {
    let bed = Bed::new();
    let lan = lan(MacvlanMode::Passthru);
    let one = attach(&bed, &lan, 10);
    assert_eq!(
        one.reaches(&bed.outside.serve(82), "10.9.0.2:82"),
        ip("10.9.0.10")
    );
    let two = Namespace::bare();
    let error = bed
        .host
        .inside(|| lan.attach(two.as_fd(), &endpoint(11)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot put a macvlan network on link 'uplink': in passthru mode one container has it to itself, and it has one"
    );
    assert!(!two.sh("ip link").contains("eth0"));
}

#[test]
fn an_internal_network_stands_on_a_link_that_leads_nowhere() {
    let bed = Bed::new();
    let before = bed.host.sh("ip -o link | cut -d: -f2");
    let lan = Lan {
        parent: "dm-0123456789ab".to_owned(),
        made: true,
        gateway: None,
        subnet: "10.44.0.0/24".parse().unwrap(),
        ..lan(MacvlanMode::Bridge)
    };
    bed.host.inside(|| {
        lan.check().unwrap();
        lan.ensure().unwrap();
        lan.ensure().unwrap();
    });
    let attach = |number: u8| {
        let namespace = Namespace::bare();
        let endpoint = Endpoint {
            address: Ipv4Addr::new(10, 44, 0, number),
            ..endpoint(number)
        };
        bed.host
            .inside(|| lan.attach(namespace.as_fd(), &endpoint))
            .unwrap();
        namespace
    };
    let (one, two) = (attach(10), attach(11));
    assert_eq!(one.reaches(&two.serve(80), "10.44.0.11:80"), ip("10.44.0.10"));
    assert_eq!(one.reaches(&two.serve6(80), "[fd09::b]:80"), ip("fd09::a"));
    assert_eq!(one.sh("ip route show default; ip -6 route show default"), "");
    assert!(bed.host.sh("ip link").contains("dm-0123456789ab"));
    drop((one, two));
    bed.host.inside(|| lan.remove()).unwrap();
    bed.host.inside(|| lan.remove()).unwrap();
    assert_eq!(bed.host.sh("ip -o link | cut -d: -f2"), before);
}

#[test]
fn a_running_container_joins_and_leaves() {
    let bed = Bed::with_bridge();
    let (container, _) = bed.container(2, &[]);
    let lan = Segment::Lan(lan(MacvlanMode::Bridge));
    let second = Endpoint {
        link: "eth1".to_owned(),
        default_route: false,
        ..endpoint(10)
    };
    bed.host
        .inside(|| lan.attach(container.as_fd(), &second))
        .unwrap();
    let route = || container.sh("ip route show default").trim().to_owned();
    assert_eq!(route(), "default via 172.17.0.1 dev eth0");
    assert_eq!(
        container.reaches(&bed.outside.serve(82), "10.9.0.2:82"),
        ip("10.9.0.10")
    );
    assert_eq!(lan.way_out(), Some(Ipv4Addr::new(10, 9, 0, 2)));
    bed.host.inside(|| {
        network::set_default_route(container.as_fd(), lan.way_out().map(|gateway| ("eth1", gateway)))
            .unwrap();
        assert_eq!(route(), "default via 10.9.0.2 dev eth1");
        lan.detach_from(container.as_fd(), &second).unwrap();
        lan.detach_from(container.as_fd(), &second).unwrap();
    });
    assert!(!container.sh("ip link").contains("eth1"));
    assert!(container.sh("ip link").contains("eth0"));
    bed.host
        .inside(|| network::set_default_route(container.as_fd(), Some(("eth0", bed.bridge.gateway))))
        .unwrap();
    assert_eq!(
        container.reaches(&bed.outside.serve(83), "10.9.0.2:83"),
        ip("10.9.0.1")
    );
}

/// Whoever is inside gave his own link the name; it is not taken from him.
#[test]
fn only_links_of_that_kind_are_taken_away() {
    let bed = Bed::new();
    let container = Namespace::new();
    container.sh("ip link add eth0 type bridge");
    let lan = lan(MacvlanMode::Bridge);
    assert!(
        bed.host
            .inside(|| lan.attach(container.as_fd(), &endpoint(10)))
            .is_err()
    );
    bed.host
        .inside(|| lan.detach_from(container.as_fd(), &endpoint(10)))
        .unwrap();
    assert!(container.sh("ip link").contains("eth0"));
}

#[test]
fn what_cannot_carry_a_network_is_said() {
    let bed = Bed::with_bridge();
    let (_one, on_bridge) = bed.container(2, &[]);
    let check = |parent: &str| {
        let lan = Lan {
            parent: parent.to_owned(),
            ..lan(MacvlanMode::Bridge)
        };
        bed.host.inside(|| lan.check()).map_err(|error| error.to_string())
    };
    for (parent, message) in [
        ("eth9", "no link 'eth9' on this host to put the network on"),
        ("eth9.10", "no link 'eth9' on this host to put the network on"),
        (
            "uplink.4095",
            "invalid VLAN in 'uplink.4095': the part behind the dot is a number from 1 to 4094",
        ),
        (
            "lo",
            "cannot put a macvlan network on link 'lo': it leads to this host alone",
        ),
        (
            on_bridge.host_link.as_str(),
            "cannot put a macvlan network on link 'v-cora0-2': it is part of a bridge or bond; take that instead",
        ),
    ] {
        assert_eq!(check(parent).unwrap_err(), message);
    }
    assert!(check("uplink").is_ok());
    assert!(check("uplink.10").is_ok());
    assert!(matches!(
        bed.host.inside(|| Lan {
            parent: "eth9".to_owned(),
            ..lan(MacvlanMode::Bridge)
        }
        .ensure()),
        Err(NetworkError::NoParent { .. })
    ));
}

/// Kernels are made without these kinds too: then it is said which module is missing.
#[test]
fn ipvlan_and_vlan_links_are_made_where_the_kernel_has_them() {
    let bed = Bed::new();
    for (mode, route) in [
        (IpvlanMode::L2, "default via 10.9.0.2 dev eth0"),
        (IpvlanMode::L3, "default dev eth0 scope link"),
        (IpvlanMode::L3s, "default dev eth0 scope link"),
    ] {
        for flag in [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa] {
            let lan = Lan {
                kind: LanKind::Ipvlan(mode, flag),
                ..lan(MacvlanMode::Bridge)
            };
            let one = Namespace::bare();
            let result = bed.host.inside(|| lan.attach(one.as_fd(), &endpoint(10)));
            if let Err(error) = result {
                assert_eq!(
                    error.to_string(),
                    "this kernel has no ipvlan links: the module 'ipvlan' is missing"
                );
                assert!(!one.sh("ip link").contains("eth0"));
                continue;
            }
            assert_eq!(one.sh("ip route show default").trim(), route);
            let link = one.sh("ip -d link show eth0").to_lowercase();
            let words = format!(
                "mode {} {}",
                format!("{mode:?}").to_lowercase(),
                format!("{flag:?}").to_lowercase()
            );
            assert!(link.contains(&words), "{link}");
            // In layer 3 nobody answers who asks for the address: others must have a route.
            if mode != IpvlanMode::L2 {
                bed.outside.sh("ip route replace 10.9.0.10/32 via 10.9.0.1");
            }
            assert_eq!(
                one.reaches(&bed.outside.serve(82), "10.9.0.2:82"),
                ip("10.9.0.10"),
                "{words}"
            );
            bed.host
                .inside(|| lan.detach_from(one.as_fd(), &endpoint(10)))
                .unwrap();
            assert!(!one.sh("ip link").contains("eth0"));
        }
    }
    let tagged = Lan {
        parent: "uplink.10".to_owned(),
        made: true,
        ..lan(MacvlanMode::Bridge)
    };
    if let Err(error) = bed.host.inside(|| tagged.ensure()) {
        assert_eq!(
            error.to_string(),
            "this kernel has no vlan links: the module '8021q' is missing"
        );
    } else {
        let link = bed.host.sh("ip -d link show uplink.10");
        assert!(link.contains("vlan protocol 802.1Q id 10"), "{link}");
        bed.host.inside(|| tagged.remove()).unwrap();
    }
    assert!(!bed.host.sh("ip link").contains("uplink.10"));
}
