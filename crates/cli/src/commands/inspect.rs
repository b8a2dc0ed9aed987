//! `inspect`, of everything or of one kind.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::template::{Labels, Template};
use crate::output::{self, json};
use api::wire::{ContainerInspect, ImageInspect, NetworkInspect, VolumeInspect};
use clap::Args;
use engine::{EngineError, Kind};
use serde::Serialize;
use std::process::ExitCode;

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
}

/// Flags of `container inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectContainers {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

/// Flags of `image inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectImages {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Inspect a specific platform of the multi-platform image
    #[arg(long, value_name = "string")]
    platform: Option<String>,
}

/// Flags of `volume inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectVolumes {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

/// Flags of `network inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectNetworks {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Container,
    Image,
    Network,
    Volume,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Object {
    Container(Box<ContainerInspect>),
    Image(Box<ImageInspect>),
    Network(Box<NetworkInspect>),
    Volume(Box<VolumeInspect>),
}

impl Verb for Inspect {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let classes: &[Class] = match self.kind.as_deref() {
            None | Some("") => &[Class::Container, Class::Image, Class::Volume, Class::Network],
            Some("container") => &[Class::Container],
            Some("image") => &[Class::Image],
            Some("network") => &[Class::Network],
            Some("volume") => &[Class::Volume],
            Some(other) => {
                return Err(Failure::bare(format!(
                    "unknown type: {other:?}: must be one of \"container\", \"image\", \"network\", \"volume\""
                )));
            }
        };
        inspect(cli, &words, classes, self.format.as_deref(), self.size)
    }
}

impl Verb for InspectContainers {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        inspect(
            cli,
            &words,
            &[Class::Container],
            self.format.as_deref(),
            self.size,
        )
    }
}

impl Verb for InspectImages {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let platforms = super::for_platform::parse(self.platform.as_slice())?;
        if !platforms.is_empty() {
            super::for_platform::require(cli.engine()?.images(), &words, &platforms)?;
        }
        inspect(cli, &words, &[Class::Image], self.format.as_deref(), false)
    }
}

impl Verb for InspectVolumes {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        inspect(cli, &words, &[Class::Volume], self.format.as_deref(), false)
    }
}

impl Verb for InspectNetworks {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        inspect(cli, &words, &[Class::Network], self.format.as_deref(), false)
    }
}

/// Shows what is there, then names what is not.
fn inspect(
    cli: &Cli,
    names: &[String],
    classes: &[Class],
    format: Option<&str>,
    size: bool,
) -> Result<ExitCode, Failure> {
    let template = match format {
        None | Some("" | "json") => None,
        Some(text) => Some(
            Template::parse(text)
                .map_err(|error| Failure::new(format!("template parsing error: {error}")))?,
        ),
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match find(cli, name, classes, size) {
            Ok(Some(object)) => found.push(object),
            Ok(None) if classes.len() > 1 => {
                missing.push(Failure::bare(format!("Error: No such object: {name}")));
            }
            Ok(None) if classes == [Class::Network] => {
                missing.push(Failure::new(format!("network {name} not found")));
            }
            Ok(None) => missing.push(Failure::new(format!("No such {}: {name}", word(classes)))),
            Err(failure) => missing.push(failure),
        }
    }
    match (&template, format) {
        (None, Some("json")) => {
            if found.is_empty() {
                output::line("")?;
            }
            for object in &found {
                output::line(&json::compact(&value(object)?))?;
            }
        }
        (None, _) => output::line(&json::pretty(&found).map_err(|error| Failure::new(error.to_string()))?)?,
        (Some(template), _) => {
            if found.is_empty() {
                output::line("")?;
            }
            for object in &found {
                let text = template
                    .execute(&value(object)?, Labels::None, None)
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                output::line(&text)?;
            }
        }
    }
    for failure in &missing {
        output::failure(&cli.program, failure);
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn word(classes: &[Class]) -> &'static str {
    match classes {
        [Class::Container] => "container",
        [Class::Image] => "image",
        [Class::Network] => "network",
        [Class::Volume] => "volume",
        _ => "object",
    }
}

fn value(object: &Object) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::new(error.to_string()))
}

fn find(cli: &Cli, name: &str, classes: &[Class], size: bool) -> Result<Option<Object>, Failure> {
    let engine = cli.engine()?;
    for class in classes {
        let found = match class {
            Class::Container => {
                let containers = engine.containers();
                containers
                    .find(name)
                    .and_then(|id| Ok((containers.inspect(&id, size)?, containers.lower_directories(&id)?)))
                    .map(|(container, lower)| {
                        let root = &cli.locations().root;
                        Object::Container(Box::new(ContainerInspect::new(&container, root, &lower)))
                    })
            }
            Class::Image => engine.images().find(name).map(|image| {
                let layers = engine.images().layer_directories(&image);
                Object::Image(Box::new(ImageInspect::new(&image, &layers)))
            }),
            Class::Volume => engine
                .volumes()
                .inspect(name)
                .map(|volume| Object::Volume(Box::new(VolumeInspect::new(&volume)))),
            Class::Network => engine
                .networks()
                .inspect(name)
                .map(|network| Object::Network(Box::new(NetworkInspect::new(&network)))),
        };
        match found {
            Ok(object) => return Ok(Some(object)),
            // What is no container's name and no image's may still be a volume's.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(EngineError::Invalid { .. }) if classes.len() > 1 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
