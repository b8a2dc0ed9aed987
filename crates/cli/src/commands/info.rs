//! `info`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::template::{Labels, Template};
use crate::output::{json, units};
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

impl Verb for Info {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let engine = cli.engine()?;
        let info = engine.info()?;
        let root = cli.locations().root.display().to_string();
        match self.format.as_deref() {
            None | Some("") => output::text(&text(&info, &root))?,
            Some("json") => output::line(&json::compact(&value(&info, engine, &root)))?,
            Some(format) => {
                let template = Template::parse(format)
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                let text = template
                    .execute(
                        &value(&info, engine, &root),
                        Labels::None,
                        Some("system.dockerInfo"),
                    )
                    .map_err(|error| Failure::new(error.to_string()))?;
                output::line(&text)?;
            }
        }
        for warning in &info.warnings {
            output::warning(warning);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(info: &engine::Info, root: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let containers = info.running + info.paused + info.stopped;
    let mut text = format!(
        "Containers: {containers}\n Running: {}\n Paused: {}\n Stopped: {}\nImages: {}\nEngine Version: {version}\nStorage Driver: overlay2\nLogging Drivers: journald json-file local none\nCgroup Driver: {}\nCgroup Version: {}\nNetworks: bridge host none\n",
        info.running, info.paused, info.stopped, info.images, info.cgroup_driver, info.cgroup_version
    );
    if !info.security.is_empty() {
        text.push_str("Security Options:\n");
        for option in &info.security {
            text.extend([format!(" {option}\n")]);
        }
    }
    text.extend([format!(
        "Kernel Version: {}\nOperating System: {}\nOSType: linux\nArchitecture: {}\nCPUs: {}\nTotal Memory: {}\nName: {}\nRoot Dir: {root}\n",
        info.kernel, info.operating_system, info.architecture, info.processors, units::bytes_size(info.memory), info.name
    )]);
    text.push_str("Settings:\n");
    for (key, value) in &info.settings {
        text.extend([format!(" {key}: {value}\n")]);
    }
    text
}

fn value(info: &engine::Info, engine: &engine::Engine, root: &str) -> Value {
    let settings: serde_json::Map<String, Value> = info
        .settings
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    json!({
        "Containers": info.running + info.paused + info.stopped,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": "overlay2",
        "LoggingDriver": engine.config().log_driver,
        "CgroupDriver": info.cgroup_driver,
        "CgroupVersion": info.cgroup_version,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSType": "linux",
        "Architecture": info.architecture,
        "NCPU": info.processors,
        "MemTotal": info.memory,
        "DockerRootDir": root,
        "Name": info.name,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "SecurityOptions": info.security,
        "Swarm": {"LocalNodeState": "inactive"},
        "Settings": settings,
        "Warnings": info.warnings,
    })
}
