//! `version`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::json;
use crate::output::template::{Labels, Template};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// What we were built from, where the build said so.
pub(crate) const BUILD: &str = match option_env!("CORACLE_BUILD") {
    Some(commit) => commit,
    None => "unknown",
};
/// The Docker Engine API that our JSON follows.
const API_VERSION: &str = "1.50";

/// Flags of `version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

/// `buildx version` has no flags.
#[derive(Debug, Args)]
pub(crate) struct BuildxVersion {}

impl Verb for Version {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let architecture = oci::Platform::host().architecture;
        let version = env!("CARGO_PKG_VERSION");
        let Some(format) = self.format.as_deref().filter(|format| !format.is_empty()) else {
            output::text(&format!(
                "Coracle:\n Version:           {version}\n API version:       {API_VERSION}\n Git commit:        {BUILD}\n OS/Arch:           linux/{architecture}\n Daemon:            none; none is needed\n"
            ))?;
            return Ok(ExitCode::SUCCESS);
        };
        // Scripts ask for {{.Server.Version}} to see whether the daemon answers. We are both sides.
        let side = json!({
            "Version": version, "ApiVersion": API_VERSION, "GitCommit": BUILD, "Os": "linux", "Arch": architecture,
        });
        let mut client = side.clone();
        client["Platform"] = json!({"Name": "Coracle"});
        client["Context"] = "default".into();
        let mut server = side;
        server["Platform"] = json!({"Name": "Coracle"});
        server["MinAPIVersion"] = "1.24".into();
        server["Components"] = json!([{"Name": "Engine", "Version": version}]);
        let data = json!({"Client": client, "Server": server});
        if format == "json" {
            output::line(&json::compact(&data))?;
            return Ok(ExitCode::SUCCESS);
        }
        let template = Template::parse(format)
            .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
        let text = template
            .execute(&data, Labels::None, Some("system.versionInfo"))
            .map_err(|error| Failure::new(error.to_string()))?;
        output::line(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for BuildxVersion {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        output::line(&format!("coracle build {} {BUILD}", env!("CARGO_PKG_VERSION")))?;
        Ok(ExitCode::SUCCESS)
    }
}
