//! The host's own network: settings that containers need, and what can be learned from it.

use crate::rtnetlink::{self as rtnl, Version};
use crate::{NetworkError, address};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use sys::SysError;
use sys::netlink::{Family, Socket};

/// MTU of Ethernet, where there is no default route to ask.
const ETHERNET_MTU: u32 = 1500;

/// Returns the MTU of the link that the default route goes through; 1500 without one.
pub fn uplink_mtu() -> Result<u32, NetworkError> {
    let mut socket = Socket::open(Family::Route)?;
    for version in [Version::Four, Version::Six] {
        let uplink = rtnl::routes(&mut socket, version)?
            .into_iter()
            .filter(|route| route.destination.prefix_len() == 0 && route.main_table)
            .filter_map(|route| Some((route.metric, route.link?)))
            .min();
        if let Some((_, index)) = uplink
            && let Some(link) = rtnl::link_by_index(&mut socket, index)?
        {
            return Ok(link.mtu);
        }
    }
    Ok(ETHERNET_MTU)
}

/// Picks a subnet from Docker's default pools (172.17.0.0/16 … 192.168.240.0/20) that overlaps none of the host's
/// routes and addresses and none of `taken`.
pub fn free_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let mut all = taken.to_vec();
    all.extend(in_use(Version::Four)?.into_iter().filter_map(|net| match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }));
    address::first_free(&all).ok_or(NetworkError::NoFreeSubnet)
}

/// Picks an IPv6 subnet from the host's own 65536 that overlaps none of its routes and addresses and none of `taken`.
///
/// They are unique local addresses (RFC 4193), whose prefix is made of the host's identity as Docker makes it, so that
/// it stays the same and no other host's: networks of two hosts can be connected one day.
pub fn free_subnet6(taken: &[Ipv6Net]) -> Result<Ipv6Net, NetworkError> {
    let prefix = own_prefix()?;
    let mut all = taken.to_vec();
    all.extend(in_use(Version::Six)?.into_iter().filter_map(|net| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(net),
    }));
    address::first_free6(prefix, &all).ok_or(NetworkError::NoFreeSubnet6 { prefix })
}

/// Lists the subnets that the host has a route to or an address in.
fn in_use(version: Version) -> Result<Vec<IpNet>, NetworkError> {
    let mut socket = Socket::open(Family::Route)?;
    let routes = rtnl::routes(&mut socket, version)?;
    let addresses = rtnl::addresses(&mut socket, version, 0)?;
    Ok(routes
        .into_iter()
        .map(|route| route.destination)
        .chain(addresses)
        .collect())
}

/// Returns the /48 of this host. Its identity is machine-id(5), which is nobody else's business, hence the digest;
/// where there is none, its name.
fn own_prefix() -> Result<Ipv6Net, NetworkError> {
    let mut identity = read_if_there("/etc/machine-id")?.trim().to_owned();
    if identity.is_empty() {
        identity = rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    Ok(prefix_of(&identity))
}

fn prefix_of(identity: &str) -> Ipv6Net {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    let digest = ring::digest::digest(&ring::digest::SHA256, identity.as_bytes());
    for (octet, byte) in octets[1..6].iter_mut().zip(digest.as_ref()) {
        *octet = *byte;
    }
    Ipv6Net::new_assert(Ipv6Addr::from(octets), 48)
}

/// Says whether this kernel has IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Switches IPv6 off on a link of the thread's namespace, and for the case that somebody switches it on again has it
/// take no router's word: in a network that was made for IPv4 a container could otherwise announce itself as the
/// router (CVE-2020-13401).
pub(crate) fn refuse_ipv6(link: &str) -> Result<(), NetworkError> {
    if set_ipv6(link, &[("accept_ra", "0"), ("disable_ipv6", "1")])? || !has_ipv6() {
        return Ok(());
    }
    Err(NetworkError::LinkVanished {
        name: link.to_owned(),
    })
}

/// Switches IPv6 on on a link of the thread's namespace. It takes no router's word here either: addresses and routes
/// are ours to give. That nobody has its link-local address is taken for granted, as for the others, because to ask
/// takes a second in which nothing could be sent from it.
pub(crate) fn allow_ipv6(link: &str) -> Result<(), NetworkError> {
    if set_ipv6(
        link,
        &[("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")],
    )? {
        return Ok(());
    }
    Err(NetworkError::NoIpv6 {
        link: link.to_owned(),
    })
}

/// Says `false` if there are no such settings.
fn set_ipv6(link: &str, settings: &[(&str, &str)]) -> Result<bool, NetworkError> {
    let directory = Path::new(IPV6_SETTINGS).join(link);
    for (setting, value) in settings {
        match fs::write(directory.join(setting), value) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(SysError::io("set", directory.join(setting), &error).into()),
        }
    }
    Ok(true)
}

const IPV6_SETTINGS: &str = "/proc/sys/net/ipv6/conf";

/// Has the host pass IPv6 packets on from link to link, if it does not yet.
///
/// A host that does is a router to the kernel, and a router takes no other router's word: the routes that it learnt
/// are forgotten, and a host that has its own address and default route from router advertisements loses both (Docker
/// lets that happen, moby issue 43466). So links that do listen to them are told to go on before.
pub(crate) fn forward6() -> Result<(), NetworkError> {
    let settings = Path::new(IPV6_SETTINGS);
    let forwarding = settings.join("all/forwarding");
    let read = |path: &Path| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let now = read(&forwarding).map_err(|error| SysError::io("read", &forwarding, &error))?;
    if now != "0" {
        return Ok(());
    }
    let links = fs::read_dir(settings).map_err(|error| SysError::io("list", settings, &error))?;
    for link in links {
        let link = link.map_err(|error| SysError::io("list", settings, &error))?;
        if link.file_name() == "all" || link.file_name() == "default" {
            continue;
        }
        let listens = link.path().join("accept_ra");
        // A link may be gone by now.
        if read(&listens).is_ok_and(|value| value == "1")
            && let Err(error) = fs::write(&listens, "2")
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(SysError::io("set", listens, &error).into());
        }
    }
    fs::write(&forwarding, "1").map_err(|error| SysError::io("set", &forwarding, &error))?;
    Ok(())
}

/// Has the host pass packets on from link to link, if it does not yet.
pub(crate) fn forward() -> Result<(), NetworkError> {
    const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
    let now = fs::read_to_string(SETTING).map_err(|error| SysError::io("read", SETTING, &error))?;
    if now.trim() == "0" {
        fs::write(SETTING, "1").map_err(|error| SysError::io("set", SETTING, &error))?;
    }
    Ok(())
}

/// Says whether an answer that comes over a bridge reaches ::1. With `net.bridge.bridge-nf-call-ip6tables` translation
/// is undone on the bridge already, and the host then takes it for a packet that came from the wire with that address.
pub(crate) fn answers_reach_loopback6() -> bool {
    // Without the file nothing is filtered on bridges.
    fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
        .map_or(true, |setting| setting.trim() == "0")
}

/// Reads a file that may be missing.
pub(crate) fn read_if_there(path: &str) -> Result<String, NetworkError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(String::new()),
        Err(error) => Err(SysError::io("read", path, &error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_prefix_is_its_own_and_stays() {
        let prefix = prefix_of("0123456789abcdef0123456789abcdef");
        assert_eq!(prefix.to_string(), "fd3e:b1bd:4399::/48");
        assert_ne!(prefix, prefix_of("0123456789abcdef0123456789abcdee"));
    }
}
