//! `network connect` and `disconnect`.

use crate::args::network;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use engine::EngineError;
use engine::containers::request::NetworkAttachment;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

/// Flags of `network connect`.
#[derive(Debug, Args)]
pub(in crate::commands) struct Connect {
    /// Add network-scoped alias for the container
    #[arg(long, value_delimiter = ',', value_name = "strings")]
    alias: Vec<String>,
    /// driver options for the network
    #[arg(long, value_parser = network::driver_option, value_delimiter = ',', value_name = "strings")]
    driver_opt: Vec<(String, String)>,
    /// Highest gw-priority provides the default gateway. Accepts positive and negative values.
    #[arg(long, value_parser = crate::args::integer::int64, value_name = "int", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_parser = network::address, value_name = "ip")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_parser = network::address6, value_name = "ip")]
    ip6: Option<Ipv6Addr>,
    /// Add link to another container
    #[arg(long, value_parser = network::link, value_name = "list")]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long, value_parser = network::gateway, value_delimiter = ',', value_name = "ipSlice")]
    link_local_ip: Vec<IpAddr>,
}

/// Flags of `network disconnect`.
#[derive(Debug, Args)]
pub(in crate::commands) struct Disconnect {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
}

impl Verb for Connect {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let [network, container] = pair(words)?;
        let engine = cli.engine()?;
        let container = engine.containers().find(&container)?;
        let attachment = NetworkAttachment {
            network,
            aliases: self.alias,
            address: self.ip,
            address6: self.ip6,
            link_local: self.link_local_ip,
            mac: None,
            driver_options: self.driver_opt.into_iter().collect(),
            gateway_priority: self.gw_priority.unwrap_or(0),
            links: self.link,
        };
        engine.networks().connect(&container, &attachment)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Disconnect {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let [network, container] = pair(words)?;
        let engine = cli.engine()?;
        let done = engine
            .containers()
            .find(&container)
            .and_then(|container| engine.networks().disconnect(&container, &network));
        match done {
            // What is gone is on no network any more.
            Err(EngineError::NotFound {
                kind: "container", ..
            }) if self.force => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(ExitCode::SUCCESS),
        }
    }
}

/// The two words of the command line, of which there are two.
fn pair(words: Vec<String>) -> Result<[String; 2], Failure> {
    words
        .try_into()
        .map_err(|_words: Vec<String>| Failure::new("a network and a container belong here"))
}
