//! Neighbours: other containers on the same network, other hosts on the same cable.

use super::with_attacker;
use crate::elsewhere::{Elsewhere, HOST, address, fetch, host, inside, say, server, sleeper, told};
use crate::sandbox;
use std::os::fd::AsFd;

/// What the attacker announces; no container and no host has anything of it otherwise.
const ANNOUNCED: &str = "2001:db8:bad:";

/// CVE-2020-13401: a container tells the others of its bridge, and the host, that it is their router for IPv6.
/// CVE-2024-32473: on a network without IPv6, links have no address of it.
#[test]
fn a_container_is_nobodys_router() {
    let coracle = sandbox();
    say(
        &coracle,
        "network create --ipv6 --subnet 10.214.1.0/24 --subnet fd00:214:1::/64 both",
    )
    .ok();
    say(&coracle, "network create old").ok();
    for network in ["bridge", "old", "both"] {
        let flags = format!("--network {network}");
        sleeper(&coracle, "victim", &flags);
        sleeper(&coracle, "attacker", &format!("{flags} {}", with_attacker()));
        let sent = inside(&coracle, "attacker", "/attacker router eth0").unwrap();
        assert_eq!(sent, "sent 20");
        let look = "ip -6 addr; ip -6 route";
        let seen = inside(&coracle, "victim", look).unwrap();
        assert!(!seen.contains(ANNOUNCED), "{network}: {seen}");
        if network == "both" {
            assert!(seen.contains("fd00:214:1::"), "{seen}");
            assert_eq!(seen.matches("default").count(), 1, "{seen}");
        } else {
            assert!(!seen.contains("eth0"), "{network}: {seen}");
        }
        let of_the_host = host(look);
        assert!(!of_the_host.contains(ANNOUNCED), "{network}: {of_the_host}");
        say(&coracle, "rm -f victim attacker").ok();
    }
}

/// CVE-2020-8558 and CVE-2025-54410: a packet for 127.0.0.1 comes over a cable, from another host or from a container,
/// and finds what listens on this host's loopback, or what is published there.
#[test]
fn the_hosts_loopback_is_nobody_elses() {
    let coracle = sandbox();
    let elsewhere = Elsewhere::new();
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = own.local_addr().unwrap().to_string();
    server(&coracle, "web", "-p 127.0.0.1:18200:8080 -p 18201:8080");
    sleeper(&coracle, "attacker", "");
    assert!(fetch("127.0.0.1:18200").is_some());
    let turn = |link: &str, gateway: &str| {
        format!(
            "echo 1 > /proc/sys/net/ipv4/conf/{link}/route_localnet && ip addr del 127.0.0.1/8 dev lo &&
             ip route add 127.0.0.1 via {gateway} dev {link}"
        )
    };
    elsewhere.sh(&turn("across", HOST));
    let pid = told(&coracle, "inspect -f {{.State.Pid}} attacker");
    let gateway = told(&coracle, "inspect -f {{.NetworkSettings.Gateway}} attacker");
    // With what a container lacks, so that it is not the lack of it that saves the host.
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    sys::netlink::inside(namespace.as_fd(), || host(&turn("eth0", &gateway))).unwrap();
    for address in ["127.0.0.1:18200", "127.0.0.1:18201", own.as_str()] {
        assert!(!elsewhere.connects(address), "{address} from another host");
        let connects = sys::netlink::inside(namespace.as_fd(), || crate::elsewhere::connects(address));
        assert!(!connects.unwrap(), "{address} from a container");
    }
    assert!(fetch("127.0.0.1:18200").is_some());
    // What is published everywhere is reached by an address that is the host's on the cable.
    assert!(elsewhere.fetch(&format!("{HOST}:18201")).is_some());
    assert!(!elsewhere.connects(&format!("{HOST}:18200")));
    say(&coracle, "rm -f web attacker").ok();
}

/// A container that says it has another's address, or the gateway's, is not on the way of what others send to whom has
/// it: it has no other network to speak on than its own.
#[test]
fn networks_stay_apart_for_whoever_routes_around() {
    let coracle = sandbox();
    say(&coracle, "network create one").ok();
    say(&coracle, "network create two").ok();
    server(&coracle, "web", "--network one");
    sleeper(&coracle, "attacker", "--network two --cap-add NET_ADMIN");
    let web = address(&coracle, "web", "one");
    let gateway = coracle
        .run([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.two.Gateway}}",
            "attacker",
        ])
        .ok();
    let bridge_of_web = coracle
        .run([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.one.Gateway}}",
            "web",
        ])
        .ok();
    // As if the other network were a neighbour, and as if the attacker were on it.
    for script in [
        format!("ip route replace {web} via {}", gateway.trim()),
        format!("ip addr add {}/16 dev eth0", bridge_of_web.trim()),
    ] {
        inside(&coracle, "attacker", &script).unwrap();
        assert!(!crate::elsewhere::reaches(&coracle, "attacker", &web), "{script}");
    }
    say(&coracle, "rm -f web attacker").ok();
}
