//! The host's own network: settings that containers need, and what can be learned from it.

use crate::rtnetlink as rtnl;
use crate::{NetworkError, address};
use ipnet::Ipv4Net;
use rustix::io::Errno;
use std::fs;
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::netlink::{Family, Socket};

/// MTU of Ethernet, where there is no default route to ask.
const ETHERNET_MTU: u32 = 1500;

/// Returns the MTU of the link that the default route goes through; 1500 without one.
pub fn uplink_mtu() -> Result<u32, NetworkError> {
    let mut socket = Socket::open(Family::Route)?;
    let uplink = rtnl::routes(&mut socket)?
        .into_iter()
        .filter(|route| route.prefix == 0 && route.main_table)
        .filter_map(|route| Some((route.metric, route.link?)))
        .min();
    let Some((_, index)) = uplink else {
        return Ok(ETHERNET_MTU);
    };
    Ok(rtnl::link_by_index(&mut socket, index)?.map_or(ETHERNET_MTU, |link| link.mtu))
}

/// Picks a subnet from Docker's default pools (172.17.0.0/16 … 192.168.240.0/20) that overlaps none of the host's
/// routes and addresses and none of `taken`.
pub fn free_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let mut socket = Socket::open(Family::Route)?;
    let mut all = taken.to_vec();
    let routes = rtnl::routes(&mut socket)?
        .into_iter()
        .map(|route| (route.destination, route.prefix));
    let addresses = rtnl::addresses(&mut socket, 0)?;
    all.extend(
        routes
            .chain(addresses)
            .filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok()),
    );
    address::first_free(&all).ok_or(NetworkError::NoFreeSubnet)
}

/// Says whether this kernel has IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Switches IPv6 off on a link of the thread's namespace, and for the case that somebody switches it on again has it
/// take no router's word: in a network that was made for IPv4 a container could otherwise announce itself as the
/// router (CVE-2020-13401).
pub(crate) fn refuse_ipv6(link: &str) -> Result<(), NetworkError> {
    let settings = PathBuf::from("/proc/sys/net/ipv6/conf").join(link);
    for (setting, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
        match fs::write(settings.join(setting), value) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !has_ipv6() => return Ok(()),
            Err(error) => return Err(SysError::io("set", settings.join(setting), &error).into()),
        }
    }
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

/// Reads a file that may be missing.
pub(crate) fn read_if_there(path: &str) -> Result<String, NetworkError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(String::new()),
        Err(error) => Err(SysError::io("read", path, &error).into()),
    }
}
