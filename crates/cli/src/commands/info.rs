//! `info`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::template::{Labels, Template};
use crate::output::{json, units};
use api::wire::SystemInfo;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Flags of `info`.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Verb for Info {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let engine = cli.engine()?;
        let info = engine.info()?;
        let value = || value(cli, &SystemInfo::new(&info, engine, VERSION));
        match self.format.as_deref() {
            None | Some("") => {
                output::text(&text(cli, &info, &engine.config().log_driver))?;
                if !info.warnings.is_empty() {
                    output::note("");
                }
                for warning in &info.warnings {
                    output::warning(warning);
                }
            }
            Some("json") => output::line(&json::compact(&value()?))?,
            Some(format) => {
                let template = Template::parse(format)
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                let text = template
                    .execute(&value()?, Labels::None, Some("system.dockerInfo"))
                    .map_err(|error| Failure::new(error.to_string()))?;
                output::line(&text)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Docker's layout, which scripts search for lines such as ` Storage Driver: overlay2`.
fn text(cli: &Cli, info: &engine::Info, log_driver: &str) -> String {
    let debug = cli.debug;
    let mut text = format!(
        "Client: Coracle\n Version:    {VERSION}\n Context:    default\n Debug Mode: {debug}\n\nServer:\n"
    );
    let mut line = |depth: usize, key: &str, value: &str| {
        let value = if value.is_empty() {
            String::new()
        } else {
            format!(" {value}")
        };
        text.extend([format!("{:depth$}{key}:{value}\n", "")]);
    };
    line(
        1,
        "Containers",
        &(info.running + info.paused + info.stopped).to_string(),
    );
    line(2, "Running", &info.running.to_string());
    line(2, "Paused", &info.paused.to_string());
    line(2, "Stopped", &info.stopped.to_string());
    line(1, "Images", &info.images.to_string());
    line(1, "Server Version", VERSION);
    line(1, "Storage Driver", "overlay2");
    for (key, value) in &info.storage {
        line(2, key, value);
    }
    line(1, "Logging Driver", log_driver);
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    line(1, "Plugins", "");
    line(2, "Volume", "local");
    line(2, "Network", "bridge host null");
    line(2, "Log", &info.log_drivers.join(" "));
    line(1, "Swarm", "inactive");
    line(1, "Runtimes", "coracle");
    line(1, "Default Runtime", "coracle");
    line(1, "Init Binary", "coracle");
    line(1, "Security Options", "");
    for option in &info.security {
        if option == "seccomp" {
            text.push_str("  seccomp\n   Profile: builtin\n");
        } else {
            text.extend([format!("  {option}\n")]);
        }
    }
    let mut line = |key: &str, value: &str| text.extend([format!(" {key}: {value}\n")]);
    line("Kernel Version", &info.kernel);
    line("Operating System", &info.operating_system);
    line("OSType", "linux");
    line("Architecture", &info.machine);
    line("CPUs", &info.processors.to_string());
    line("Total Memory", &units::bytes_size(info.memory));
    line("Name", &info.name);
    line("ID", &info.id);
    line("Docker Root Dir", &cli.locations().root.display().to_string());
    line("API Socket", &api_socket(cli));
    line("Debug Mode", &debug.to_string());
    line("Experimental", "false");
    line("Live Restore Enabled", "true");
    text.push_str(" Settings:\n");
    for (key, value) in &info.settings {
        text.extend([format!("  {key}: {value}\n")]);
    }
    text
}

/// Says where `serve` listens unless it is told otherwise, and whether somebody does.
fn api_socket(cli: &Cli) -> String {
    let path = super::serve::default_socket(cli);
    let state = match std::os::unix::net::UnixStream::connect(&path) {
        Ok(_) => "is served",
        Err(_) => "not served; see 'serve'",
    };
    format!("unix://{} ({state})", path.display())
}

/// What templates see: the server's fields, and the client's in `ClientInfo`.
fn value(cli: &Cli, info: &SystemInfo) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(info).map_err(|error| Failure::new(error.to_string()))?;
    value["ClientInfo"] = json!({
        "Debug": cli.debug,
        "Platform": {"Name": "Coracle"},
        "Version": VERSION,
        "ApiVersion": super::version::api_version(),
        "DefaultAPIVersion": super::version::api_version(),
        "GitCommit": super::version::BUILD,
        "Os": "linux",
        "Arch": oci::Platform::host().architecture,
        "Context": super::context::NAME,
        "Plugins": [],
        "Warnings": null,
    });
    Ok(value)
}
