//! Names on the networks of one container, and the name server that knows them.
//!
//! In: a [`Table`] of who is on the same networks, and the queries of one network namespace. Out: answers, from the
//! table where it knows, from the host's own name servers otherwise; never out of a network that is internal
//! (CVE-2024-29018). The server has no thread and never waits: whoever runs it polls its descriptor.
//!
//! Messages are read and written by hickory-proto; a message that it cannot read is not answered.

mod message;
mod redirect;
mod relay;
mod server;

pub use server::{ADDRESS, NameServer, Upstream};

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who is on a container's networks: names, and the addresses that they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// By lower-case name, without a final dot.
    addresses: BTreeMap<String, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, Vec<String>>,
}

impl Table {
    /// Adds a container's endpoint on one network: it is found by each of `names`, and by each with the network's
    /// name behind a dot; its addresses are found under the first name.
    pub fn add(&mut self, network: &str, names: &[String], addresses: &[IpAddr]) {
        let network = network.to_lowercase();
        for name in names {
            let name = name.trim_end_matches('.').to_lowercase();
            for name in [format!("{name}.{network}"), name] {
                let known = self.addresses.entry(name).or_default();
                for address in addresses {
                    if !known.contains(address) {
                        known.push(*address);
                    }
                }
            }
        }
        if let Some(name) = names.first() {
            let name = format!("{}.{network}", name.trim_end_matches('.').to_lowercase());
            for address in addresses {
                let known = self.names.entry(*address).or_default();
                if !known.contains(&name) {
                    known.push(name.clone());
                }
            }
        }
    }

    /// Adds another name for what one container calls another (`--link`): it stands for what `name` stands for now.
    pub fn link(&mut self, name: &str, alias: &str) {
        let name = name.trim_end_matches('.').to_lowercase();
        if let Some(addresses) = self.addresses.get(&name).cloned() {
            self.addresses
                .entry(alias.trim_end_matches('.').to_lowercase())
                .or_insert(addresses);
        }
    }

    /// Returns the addresses of a name, written in any case, with or without a final dot. `None` if nobody has it.
    pub fn addresses_of(&self, name: &str) -> Option<&[IpAddr]> {
        let name = name.trim_end_matches('.').to_lowercase();
        self.addresses.get(&name).map(Vec::as_slice)
    }

    /// Returns the names of an address, each with its network's.
    pub fn names_of(&self, address: IpAddr) -> &[String] {
        self.names.get(&address).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_found_by_each_of_its_names() {
        let mut table = Table::default();
        let first: IpAddr = "172.18.0.2".parse().unwrap();
        let second: IpAddr = "172.18.0.3".parse().unwrap();
        table.add("Shop", &["db-1".into(), "DB".into()], &[first]);
        table.add("Shop", &["db-2".into(), "db".into()], &[second]);
        for (name, addresses) in [
            ("db-1", &[first][..]),
            ("db", &[first, second]),
            ("dB.", &[first, second]),
            ("db.shop", &[first, second]),
            ("DB-2.Shop.", &[second]),
        ] {
            assert_eq!(table.addresses_of(name), Some(addresses), "{name}");
        }
        assert_eq!(table.addresses_of("db-3"), None);
        assert_eq!(table.addresses_of("shop"), None);
        assert_eq!(table.names_of(first), ["db-1.shop"]);
        assert_eq!(table.names_of("172.18.0.9".parse().unwrap()), [] as [&str; 0]);
        table.link("db-2", "store");
        table.link("nobody", "ghost");
        assert_eq!(table.addresses_of("store"), Some(&[second][..]));
        assert_eq!(table.addresses_of("ghost"), None);
    }
}
