//! `port`.

use crate::args::{Invalid, invalid};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
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
        let mut ports = Vec::new();
        if container.pid.is_some() {
            let endpoints = container.status.endpoints.into_iter();
            ports.extend(endpoints.flat_map(|endpoint| endpoint.endpoint.ports));
        }
        ports.sort_by_key(|port| (port.port, port.protocol));
        let Some(wanted) = words.get(1) else {
            for port in &ports {
                let (number, protocol) = (port.port, super::ps::protocol(port.protocol));
                output::line(&format!("{number}/{protocol} -> {}", address(port)))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (number, protocol) = parse(wanted)?;
        let found: Vec<&PublishedPort> = ports
            .iter()
            .filter(|port| port.port == number && port.protocol == protocol)
            .collect();
        if found.is_empty() {
            return Err(Failure::new(format!(
                "no public port '{number}/{}' published for {}",
                super::ps::protocol(protocol),
                words[0]
            )));
        }
        for port in found {
            output::line(&address(port))?;
        }
        Ok(ExitCode::SUCCESS)
    }
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
