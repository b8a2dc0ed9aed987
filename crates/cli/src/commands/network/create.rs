//! `network create`.

use crate::args::{label, network, pool};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::{Arg, ArgAction, Args};
use engine::networks::request::CreateNetwork;
use ipnet::IpNet;
use std::net::IpAddr;
use std::process::ExitCode;

/// Flags of `network create`.
#[derive(Debug, Args)]
pub(in crate::commands) struct Create {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_parser = label::pair, value_name = "map")]
    aux_address: Vec<(String, String)>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "string")]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network (default "bridge")
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_parser = network::gateway, value_delimiter = ',', value_name = "ipSlice")]
    gateway: Vec<IpAddr>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_parser = network::range, value_delimiter = ',', value_name = "ipNetSlice")]
    ip_range: Vec<IpNet>,
    /// IP Address Management Driver (default "default")
    #[arg(long, value_name = "string")]
    ipam_driver: Option<String>,
    /// Set IPAM driver specific options
    #[arg(long, value_parser = label::pair, value_name = "map")]
    ipam_opt: Vec<(String, String)>,
    #[command(flatten)]
    ipv4: Ipv4,
    /// Enable or disable IPv6 address assignment
    #[arg(long)]
    ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_parser = label::parse, value_name = "list")]
    label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short, long, value_parser = label::pair, value_name = "map")]
    opt: Vec<(String, String)>,
    /// Control the network's scope
    #[arg(long, value_name = "string")]
    scope: Option<String>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_delimiter = ',', value_name = "stringSlice")]
    subnet: Vec<String>,
}

/// `--ipv4`, the one boolean that is true unless somebody says otherwise.
#[derive(Debug)]
struct Ipv4(bool);

impl clap::FromArgMatches for Ipv4 {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.get_one("ipv4").copied().unwrap_or(true)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Ipv4 {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.arg(
            Arg::new("ipv4")
                .long("ipv4")
                .help("Enable or disable IPv4 address assignment (default true)")
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(crate::args::boolean::parse)
                .value_name(""),
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl Create {
    /// Refuses what only a cluster has, and what is not there.
    fn refuse(&self) -> Result<(), Failure> {
        let refusal = |message: &str, hint: &str| Err(Failure::new(message).with_hint(hint));
        if self.config_only || self.config_from.is_some() {
            return refusal(
                "networks that only hold the settings of others are not there",
                "write the options at each network",
            );
        }
        let no_swarm = "leave it out: there is no swarm mode, and every network is one of this host";
        if self.ingress {
            return refusal("'--ingress' is of swarm mode", no_swarm);
        }
        match self.scope.as_deref() {
            None | Some("" | "local") => Ok(()),
            Some(scope @ ("swarm" | "global")) => {
                refusal(&format!("'--scope {scope}' is of swarm mode"), no_swarm)
            }
            Some(scope) => refusal(&format!("invalid network scope '{scope}'"), "leave --scope out"),
        }
    }
}

impl Verb for Create {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        self.refuse()?;
        let or = |text: Option<String>, default: &str| {
            text.filter(|text| !text.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        let request = CreateNetwork {
            name: words.into_iter().next().unwrap_or_default(),
            driver: or(self.driver, "bridge"),
            internal: self.internal,
            attachable: self.attachable,
            ipv4: self.ipv4.0,
            ipv6: self.ipv6,
            pools: pool::pools(&self.subnet, &self.ip_range, &self.gateway, &self.aux_address)?,
            ipam_driver: or(self.ipam_driver, "default"),
            ipam_options: self.ipam_opt.into_iter().collect(),
            options: self.opt.into_iter().collect(),
            labels: self.label.into_iter().collect(),
            ignores_unknown: false,
        };
        let network = cli.engine()?.networks().create(&request)?;
        output::line(&network.id)?;
        Ok(ExitCode::SUCCESS)
    }
}
