//! The host's name servers, as containers can use them (resolv.conf(5)).

use crate::NetworkError;
use crate::host::read_if_there;
use std::net::{IpAddr, Ipv4Addr};

/// What a container's `/etc/resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Name servers, in order.
    pub nameservers: Vec<IpAddr>,
    /// Domains that short names are tried in.
    pub search: Vec<String>,
    /// Options, as they are written.
    pub options: Vec<String>,
}

/// Where systemd-resolved lists the servers behind its own at 127.0.0.53.
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// Docker's choice for a host that names no server which a container could reach.
const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

/// Returns the host's name servers, search domains and options for a container with a network of its own.
///
/// The host's loopback is not the container's, and its network has no IPv6, so such servers are left out. If none is
/// left, those behind systemd-resolved are taken, and if there are none either, 8.8.8.8 and 8.8.4.4, as Docker does.
pub fn host_resolvers() -> Result<Resolvers, NetworkError> {
    Ok(for_containers(
        &read_if_there("/etc/resolv.conf")?,
        &read_if_there(BEHIND_SYSTEMD)?,
    ))
}

fn for_containers(host: &str, behind_systemd: &str) -> Resolvers {
    let mut resolvers = Resolvers::parse(host);
    let reachable = |address: &IpAddr| address.is_ipv4() && !address.is_loopback();
    resolvers.nameservers.retain(reachable);
    if resolvers.nameservers.is_empty() {
        resolvers.nameservers = Resolvers::parse(behind_systemd).nameservers;
        resolvers.nameservers.retain(reachable);
    }
    if resolvers.nameservers.is_empty() {
        resolvers.nameservers = PUBLIC.to_vec();
    }
    resolvers
}

impl Resolvers {
    /// Reads a `resolv.conf`. Like the C library it takes the last of several `search` and `domain` lines, and skips
    /// what it does not know.
    pub fn parse(text: &str) -> Self {
        let mut resolvers = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let words_of =
                |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
            match words.next() {
                Some("nameserver") => {
                    resolvers
                        .nameservers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search") => resolvers.search = words_of(words),
                Some("domain") => resolvers.search = words.next().map(str::to_owned).into_iter().collect(),
                Some("options") => resolvers.options.extend(words_of(words)),
                _ => {}
            }
        }
        resolvers
    }
}

impl std::fmt::Display for Resolvers {
    /// Writes a `resolv.conf`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for server in &self.nameservers {
            writeln!(formatter, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(formatter, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(formatter, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(resolvers: &Resolvers) -> Vec<String> {
        resolvers.nameservers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_reachable_servers_are_taken() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("nameserver 10.0.0.53\n", "", &["10.0.0.53"]),
            (
                "nameserver 127.0.0.1\nnameserver 10.0.0.53",
                "nameserver 9.9.9.9",
                &["10.0.0.53"],
            ),
            (
                "nameserver 127.0.0.53\noptions edns0",
                "nameserver 10.1.1.1\nnameserver 10.1.1.2",
                &["10.1.1.1", "10.1.1.2"],
            ),
            (
                "nameserver 127.0.0.53",
                "nameserver 127.0.0.1",
                &["8.8.8.8", "8.8.4.4"],
            ),
            (
                "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1",
                "",
                &["8.8.8.8", "8.8.4.4"],
            ),
            ("", "", &["8.8.8.8", "8.8.4.4"]),
        ];
        for (host, systemd, expected) in cases {
            assert_eq!(servers(&for_containers(host, systemd)), *expected, "{host:?}");
        }
    }

    #[test]
    fn the_hosts_domains_and_options_stay_with_systemds_servers() {
        let host = "nameserver 127.0.0.53\nsearch corp.example\noptions edns0 trust-ad";
        let resolvers = for_containers(host, "nameserver 10.1.1.1\nsearch other.example");
        assert_eq!(
            resolvers.to_string(),
            "nameserver 10.1.1.1\nsearch corp.example\noptions edns0 trust-ad\n"
        );
    }

    #[test]
    fn lines_are_read_as_the_c_library_does() {
        let text = "# comment\n; comment\ndomain a.example\nsearch b.example c.example # no\n nameserver\t1.1.1.1 x\n\
                    nameserver nonsense\nnameserver\noptions ndots:2\noptions rotate\nsortlist 1.2.3.4";
        assert_eq!(
            Resolvers::parse(text),
            Resolvers {
                nameservers: vec!["1.1.1.1".parse().unwrap()],
                search: vec!["b.example".to_owned(), "c.example".to_owned()],
                options: vec!["ndots:2".to_owned(), "rotate".to_owned()],
            }
        );
        assert_eq!(Resolvers::parse("search a b\ndomain c d").search, ["c"]);
    }
}
