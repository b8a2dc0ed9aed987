//! `port`.

use crate::args::{Invalid, invalid};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::{self, order, ports};
use clap::Args;
use engine::network::{Protocol, PublishedPort};
use std::process::ExitCode;

/// `port` has no flags.
#[derive(Debug, Args)]
pub(super) struct Port {}

impl Verb for Port {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let container = containers.inspect(&containers.find(&words[0])?, false)?;
        let ports = ports::published(&container);
        let Some(wanted) = words.get(1) else {
            let line = |port: &PublishedPort| {
                let protocol = ports::protocol(port.protocol);
                format!("{}/{protocol} -> {}", port.port, address(port))
            };
            return print(ports.iter().map(line).collect());
        };
        let (number, protocol) = parse(wanted)?;
        let found: Vec<&PublishedPort> = ports
            .iter()
            .filter(|port| port.port == number && port.protocol == protocol)
            .collect();
        if found.is_empty() {
            return Err(Failure::new(format!(
                "no public port '{number}/{}' published for {}",
                ports::protocol(protocol),
                words[0]
            )));
        }
        print(found.into_iter().map(address).collect())
    }
}

fn print(mut lines: Vec<String>) -> Result<ExitCode, Failure> {
    lines.sort_by(|one, other| order::natural(one, other));
    for line in &lines {
        output::line(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn address(port: &PublishedPort) -> String {
    std::net::SocketAddr::new(port.host, port.host_port).to_string()
}

fn parse(text: &str) -> Result<(u16, Protocol), Invalid> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return invalid(format!("invalid proto: {protocol}")),
    };
    match number.parse() {
        Ok(number) => Ok((number, protocol)),
        Err(_) => invalid(format!("invalid port '{number}'")),
    }
}
