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
/// The Docker Engine API that our JSON follows, and `serve` speaks.
pub(super) fn api_version() -> String {
    api::server::ApiVersion::NEWEST.to_string()
}

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
        let (newest, oldest) = (api_version(), api::server::ApiVersion::OLDEST.to_string());
        let Some(format) = self.format.as_deref().filter(|format| !format.is_empty()) else {
            output::text(&format!(
                "Client: Coracle\n Version:           {version}\n API version:       {newest}\n Git commit:        {BUILD}\n OS/Arch:           linux/{architecture}\n Context:           {context}\n\nServer: Coracle, in this program; there is no daemon\n Engine:\n  Version:          {version}\n  API version:      {newest} (minimum version {oldest})\n  Git commit:       {BUILD}\n  OS/Arch:          linux/{architecture}\n  Experimental:     false\n",
                context = super::context::NAME,
            ))?;
            return Ok(ExitCode::SUCCESS);
        };
        // Scripts ask for {{.Server.Version}} to see whether the daemon answers. We are both sides.
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let platform = json!({"Name": "Coracle"});
        let data = json!({
            "Client": {
                "Platform": platform, "Version": version, "ApiVersion": newest, "DefaultAPIVersion": newest,
                "GitCommit": BUILD, "GoVersion": "", "Os": "linux", "Arch": architecture, "BuildTime": "",
                "Context": super::context::NAME, "Experimental": true,
            },
            "Server": {
                "Platform": platform,
                "Components": [{
                    "Name": "Engine",
                    "Version": version,
                    "Details": {
                        "ApiVersion": newest, "Arch": architecture, "BuildTime": "", "Experimental": "false",
                        "GitCommit": BUILD, "GoVersion": "", "KernelVersion": kernel, "MinAPIVersion": oldest,
                        "Os": "linux",
                    },
                }],
                "Version": version, "ApiVersion": newest, "MinAPIVersion": oldest, "GitCommit": BUILD,
                "GoVersion": "", "Os": "linux", "Arch": architecture, "KernelVersion": kernel, "Experimental": false,
                "BuildTime": "",
            },
        });
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
