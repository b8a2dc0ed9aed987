//! `network ls`: the networks that are always there.

use crate::args::filter;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use api::wire::NetworkInspect;
use clap::Args;
use engine::containers::request::ListContainers;
use engine::pattern::Pattern;
use std::process::ExitCode;

/// Flags of `network ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*network.networkContext",
    headers: &[
        ("CreatedAt", "CREATED AT"),
        ("Driver", "DRIVER"),
        ("ID", "NETWORK ID"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("Name", "NAME"),
        ("Scope", "SCOPE"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

impl Verb for List {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(
            &self.filter,
            &["dangling", "driver", "id", "label", "name", "scope", "type"],
        )?;
        super::volume::check_dangling(&self.filter)?;
        if let Some((_, value)) = self
            .filter
            .iter()
            .find(|(key, value)| key == "type" && !matches!(value.as_str(), "builtin" | "custom"))
        {
            return Err(
                Failure::new(format!("invalid filter 'type={value}'")).with_hint("type is builtin or custom")
            );
        }
        let patterns = Pattern::all(&self.filter, &["id", "name"]);
        let matches = |key: &str, value: &str, text: &str| {
            patterns
                .iter()
                .any(|pattern| pattern.is_of(key, value) && pattern.matches(text))
        };
        let networks = all(cli)?;
        let passes = |network: &NetworkInspect| {
            let mut keys: Vec<&str> = self.filter.iter().map(|(key, _)| key.as_str()).collect();
            keys.dedup();
            keys.iter().all(|key| {
                let mut values = self
                    .filter
                    .iter()
                    .filter(|(known, _)| known == key)
                    .map(|(_, value)| value.as_str());
                values.any(|value| match *key {
                    "driver" => network.driver() == value,
                    "id" => matches("id", value, network.id()),
                    "name" => matches("name", value, network.name()),
                    "scope" => value == "local",
                    "type" => value == "builtin",
                    // The default networks are no one's to prune.
                    "dangling" => matches!(value, "0" | "false"),
                    _ => false,
                })
            })
        };
        let rows: Vec<Row> = networks
            .iter()
            .filter(|network| passes(network))
            .map(|network| row(network, !self.no_trunc))
            .collect();
        let format =
            self.format
                .as_deref()
                .or(cli.client().networks_format.as_deref().filter(|_| !self.quiet));
        table::print(&LAYOUT, &rows, format, self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the default networks.
pub(crate) fn all(cli: &Cli) -> Result<Vec<NetworkInspect>, Failure> {
    let engine = cli.engine()?;
    let running = engine.containers().list(&ListContainers::default())?;
    let subnet = engine.config().subnet.map(|subnet| subnet.to_string());
    Ok(NetworkInspect::defaults(&running, subnet.as_deref()))
}

fn row(network: &NetworkInspect, truncate: bool) -> Row {
    let id = if truncate {
        &network.id()[..12]
    } else {
        network.id()
    };
    Row::new([
        ("CreatedAt", String::new()),
        ("Driver", network.driver().to_owned()),
        ("ID", id.to_owned()),
        ("IPv4", "true".to_owned()),
        ("IPv6", "false".to_owned()),
        ("Internal", "false".to_owned()),
        ("Labels", String::new()),
        ("Name", network.name().to_owned()),
        ("Scope", "local".to_owned()),
    ])
}
