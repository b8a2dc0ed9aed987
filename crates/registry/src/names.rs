//! Host names to addresses, without libc: a static binary has no NSS.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

/// Answers from `/etc/hosts` and then as `/etc/resolv.conf` says; reads them when the first name is asked for.
#[derive(Clone, Default)]
pub(crate) struct Names {
    known: HashMap<String, IpAddr>,
    resolver: Arc<OnceLock<TokioResolver>>,
}

/// A name that has no address.
#[derive(Debug, thiserror::Error)]
#[error("name '{name}' was not resolved")]
pub(crate) struct NameError {
    name: String,
    #[source]
    source: crate::error::Cause,
}

impl Names {
    /// Makes a resolver that knows some names by itself.
    pub(crate) fn new(known: HashMap<String, IpAddr>) -> Self {
        Self {
            known,
            resolver: Arc::default(),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, crate::error::Cause> {
        if let Some(address) = self.known.get(name) {
            return Ok(vec![*address]);
        }
        // RFC 6761 §6.3: names of the host itself are never asked of anybody.
        if is_localhost(name) {
            return Ok(vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]);
        }
        let resolver = if let Some(resolver) = self.resolver.get() {
            resolver
        } else {
            let made = resolver()?;
            self.resolver.get_or_init(|| made)
        };
        let addresses: Vec<IpAddr> = resolver.lookup_ip(name).await?.iter().collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no address").into());
        }
        Ok(addresses)
    }
}

fn resolver() -> Result<TokioResolver, crate::error::Cause> {
    let mut builder = if std::path::Path::new("/etc/resolv.conf").exists() {
        TokioResolver::builder_tokio()?
    } else {
        // resolv.conf(5): without the file the name server on the local machine is asked.
        let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), vec![local]),
            TokioRuntimeProvider::default(),
        )
    };
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    Ok(builder.build()?)
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            match names.look_up(&name).await {
                Ok(addresses) => {
                    let addresses: Addrs =
                        Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
                    Ok(addresses)
                }
                Err(source) => Err(NameError { name, source }.into()),
            }
        })
    }
}

/// Says whether a host name means this machine by definition.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .len()
            .checked_sub(".localhost".len())
            .is_some_and(|at| name.is_char_boundary(at) && name[at..].eq_ignore_ascii_case(".localhost"))
}
