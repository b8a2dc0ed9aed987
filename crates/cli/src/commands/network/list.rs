//! `network ls`.

use crate::args::filter;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::order;
use crate::output::table::{self, Layout, Row};
use crate::output::time;
use clap::Args;
use engine::networks::record::Network;
use engine::pattern::Pattern;
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

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

impl Verb for List {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, FILTERS)?;
        crate::commands::volume::check_dangling(&self.filter)?;
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
        let mut networks = cli.engine()?.networks().list()?;
        networks.sort_by(|one, other| order::natural(&one.name, &other.name));
        let rows: Vec<Row> = networks
            .iter()
            .filter(|network| passes(network, &self.filter, &patterns))
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

/// Filters of one key are alternatives, except labels, which all must be there.
fn passes(network: &Network, filters: &[(String, String)], patterns: &[Pattern]) -> bool {
    let matches = |key: &str, value: &str, text: &str| {
        patterns
            .iter()
            .any(|pattern| pattern.is_of(key, value) && pattern.matches(text))
    };
    let holds = |key: &str, value: &str| match key {
        "dangling" => {
            let is_dangling = !network.is_predefined() && network.members.is_empty();
            is_dangling == matches!(value, "true" | "1")
        }
        "driver" => network.driver == value,
        "id" => matches("id", value, &network.id),
        "label" => filter::label_matches(&network.labels, value),
        "name" => matches("name", value, &network.name),
        "scope" => value == "local",
        "type" => network.is_predefined() == (value == "builtin"),
        _ => false,
    };
    filters.iter().all(|(key, value)| {
        if key == "label" {
            return holds(key, value);
        }
        filters
            .iter()
            .filter(|(other, _)| other == key)
            .any(|(key, value)| holds(key, value))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, driver: &str) -> Network {
        Network {
            id: name.repeat(64)[..64].to_owned(),
            name: name.into(),
            driver: driver.into(),
            created: 0,
            internal: false,
            attachable: false,
            ipv6: false,
            pools: Vec::new(),
            ipam_options: std::collections::BTreeMap::new(),
            options: std::collections::BTreeMap::new(),
            labels: [("use".to_owned(), "db".to_owned())].into(),
            members: Vec::new(),
        }
    }

    #[test]
    fn filters() {
        let lan = network("lan", "macvlan");
        let bridge = network("bridge", "bridge");
        for (filters, of_lan, of_bridge) in [
            (&[][..], true, true),
            (&["type=builtin"], false, true),
            (&["type=custom"], true, false),
            (&["type=custom", "type=builtin"], true, true),
            (&["dangling=true"], true, false),
            (&["dangling=0"], false, true),
            (&["driver=macvlan"], true, false),
            (&["driver=mac"], false, false),
            (&["name=an"], true, false),
            (&["name=^b", "name=^l"], true, true),
            (&["id=lanlan"], true, false),
            (&["label=use", "label=use=db"], true, true),
            (&["label=use", "label=other"], false, false),
            (&["scope=local"], true, true),
            (&["scope=swarm"], false, false),
        ] {
            let filters: Vec<_> = filters.iter().map(|text| filter::parse(text).unwrap()).collect();
            let patterns = Pattern::all(&filters, &["id", "name"]);
            assert_eq!(passes(&lan, &filters, &patterns), of_lan, "{filters:?}");
            assert_eq!(passes(&bridge, &filters, &patterns), of_bridge, "{filters:?}");
        }
    }
}
