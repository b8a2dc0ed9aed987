//! `network ls`.

use crate::args::filter;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::order;
use crate::output::table::{self, Layout, Row};
use crate::output::time;
use clap::Args;
use engine::networks::filter::Filter;
use engine::networks::record::Network;
use std::process::ExitCode;

/// Flags of `network ls`.
#[derive(Debug, Args)]
pub(in crate::commands) struct List {
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
        let filter = Filter::new(self.filter)?;
        let mut networks = cli.engine()?.networks().list()?;
        networks.sort_by(|one, other| order::natural(&one.name, &other.name));
        let rows: Vec<Row> = networks
            .iter()
            .filter(|network| filter.accepts(network))
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

fn row(network: &Network, truncate: bool) -> Row {
    let id = if truncate {
        network.id.get(..12).unwrap_or(&network.id)
    } else {
        &network.id
    };
    let has_ipv4 = network
        .pools
        .iter()
        .filter_map(|pool| pool.subnet)
        .any(|subnet| subnet.addr().is_ipv4());
    Row::new([
        ("CreatedAt", time::go_string_utc(network.created)),
        ("Driver", network.driver.clone()),
        ("ID", id.to_owned()),
        ("IPv4", (has_ipv4 || network.pools.is_empty()).to_string()),
        ("IPv6", network.ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("Name", network.name.clone()),
        ("Scope", "local".to_owned()),
    ])
    .with_labels(&network.labels)
}
