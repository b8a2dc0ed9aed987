//! `inspect`, of everything or of one kind.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::template::{Labels, Template};
use crate::output::{self, json};
use api::wire::{ArtifactInspect, ContainerInspect, ImageInspect, NetworkInspect, VolumeInspect};
use clap::Args;
use engine::images::Images;
use engine::{EngineError, Kind};
use oci::Platform;
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

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    classes: &'a [Class],
    /// Of containers, whether their sizes are measured.
    size: bool,
    /// Of images.
    platform: Option<&'a Platform>,
}

impl<'a> Wanted<'a> {
    fn of(classes: &'a [Class]) -> Self {
        Self {
            classes,
            size: false,
            platform: None,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Object {
    Artifact(Box<ArtifactInspect>),
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
        let wanted = Wanted {
            size: self.size,
            ..Wanted::of(classes)
        };
        inspect(cli, &words, wanted, self.format.as_deref())
    }
}

impl Verb for InspectContainers {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let wanted = Wanted {
            size: self.size,
            ..Wanted::of(&[Class::Container])
        };
        inspect(cli, &words, wanted, self.format.as_deref())
    }
}

impl Verb for InspectImages {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let platforms = super::for_platform::parse(self.platform.as_slice())?;
        let wanted = Wanted {
            classes: &[Class::Image],
            size: false,
            platform: platforms.first(),
        };
        inspect(cli, &words, wanted, self.format.as_deref())
    }
}

impl Verb for InspectVolumes {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        inspect(cli, &words, Wanted::of(&[Class::Volume]), self.format.as_deref())
    }
}

impl Verb for InspectNetworks {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        inspect(cli, &words, Wanted::of(&[Class::Network]), self.format.as_deref())
    }
}

/// Shows what is there, then names what is not.
fn inspect(
    cli: &Cli,
    names: &[String],
    wanted: Wanted<'_>,
    format: Option<&str>,
) -> Result<ExitCode, Failure> {
    let classes = wanted.classes;
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
        match find(cli, name, wanted) {
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

fn find(cli: &Cli, name: &str, wanted: Wanted<'_>) -> Result<Option<Object>, Failure> {
    let classes = wanted.classes;
    let engine = cli.engine()?;
    for class in classes {
        let found = match class {
            Class::Container => {
                let containers = engine.containers();
                containers
                    .find(name)
                    .and_then(|id| {
                        Ok((
                            containers.inspect(&id, wanted.size)?,
                            containers.lower_directories(&id)?,
                        ))
                    })
                    .map(|(container, lower)| {
                        let root = &cli.locations().root;
                        Object::Container(Box::new(ContainerInspect::new(&container, root, &lower)))
                    })
            }
            Class::Image => image(engine.images(), name, wanted.platform),
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

fn image(images: Images<'_>, name: &str, platform: Option<&Platform>) -> Result<Object, EngineError> {
    match images.find_for(name, platform) {
        Ok(image) => {
            let layers = images.layer_directories(&image);
            Ok(Object::Image(Box::new(ImageInspect::new(&image, &layers))))
        }
        Err(error) => match images.find_artifact(name)? {
            Some(artifact) => {
                let manifest = images.artifact_manifest(&artifact)?;
                Ok(Object::Artifact(Box::new(ArtifactInspect::new(&manifest))))
            }
            None => Err(error),
        },
    }
}
