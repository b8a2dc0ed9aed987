//! `POST /containers/create`: Docker's `Config`, `HostConfig` and `NetworkingConfig` become one request to the engine.

mod host;
mod mounts;
pub(in crate::operations) mod network;
mod ports;

pub(super) use host::{limits, restart_policy};

use crate::operations::object::{Object, Words};
use crate::server::{ApiVersion, Exchange, Failure, Reply};
use engine::EngineError;
use engine::containers::notation::Invalid;
use engine::containers::request::{Attach, CreateContainer, HealthRequest, PullPolicy};
use hyper::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    warnings: Vec<String>,
}

pub(super) fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let version = exchange.version();
    let mut body = Object::new(exchange.document()?)?;
    if body.is_empty() {
        return Err(Failure::bad_request(
            "config cannot be empty in order to create a container",
        ));
    }
    let (mut request, mut warnings) = request(&mut body, version)?;
    let name = exchange.query().get("name").unwrap_or_default();
    request.name = Some(name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty());
    request.platform =
        match exchange.query().get("platform") {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| {
                Failure::bad_request(format!("error parsing specified platform: {error}"))
            })?),
        };
    let engine = exchange.engine()?;
    let image = request.image.clone();
    let created = engine
        .containers()
        .create(request, &|_| {})
        .map_err(|error| match error {
            // Clients fetch what is missing when they read this, name and tag.
            EngineError::NotFound { kind: "image", name } if name == image => {
                Failure::not_found(format!("No such image: {}", with_tag(&image)))
            }
            // As with Docker: a client that reads 404 fetches the image, and tries again.
            error @ EngineError::NotFound {
                kind: "container", ..
            } => Failure::bad_request(Failure::from(error).message),
            error => error.into(),
        })?;
    warnings.extend(created.warnings);
    let created = Created {
        id: created.id.to_string(),
        warnings,
    };
    Reply::json_with(StatusCode::CREATED, &created)
}

/// Writes an image's name as Docker does where it has none of that name.
fn with_tag(image: &str) -> String {
    match image.parse::<oci::Reference>() {
        Ok(reference) => reference.familiar(),
        Err(_) => image.to_owned(),
    }
}

pub(super) fn refused(Invalid(message): Invalid) -> Failure {
    Failure::bad_request(message)
}

/// Reads the whole body. What comes beside the request are warnings.
pub(super) fn request(
    body: &mut Object,
    version: ApiVersion,
) -> Result<(CreateContainer, Vec<String>), Failure> {
    let mut host = body.object("HostConfig")?;
    let mut warnings = Vec::new();
    let mut request = CreateContainer {
        pull: PullPolicy::Never,
        ..CreateContainer::default()
    };
    process(body, &mut request)?;
    request.health = health(body)?;
    host::read(&mut host, version, &mut request, &mut warnings)?;
    mounts::read(body, &mut host, &mut request)?;
    ports::read(body, &mut host, &mut request)?;
    network::read(body, &mut host, version, &mut request)?;
    Ok((request, warnings))
}

/// `Config`: what runs, and with what it is surrounded.
fn process(body: &mut Object, request: &mut CreateContainer) -> Result<(), Failure> {
    request.image = body.take("Image")?;
    if request.image.is_empty() {
        return Err(Failure::bad_request(
            "invalid reference format: no image is named",
        ));
    }
    request.command = body.take::<Words>("Cmd")?.0;
    request.entrypoint = body.take::<Option<Words>>("Entrypoint")?.map(|words| words.0);
    request.environment = body.take("Env")?;
    request.working_directory = body.text("WorkingDir")?;
    request.user = body.text("User")?;
    request.hostname = body.text("Hostname")?;
    request.domain_name = body.text("Domainname")?;
    request.labels = body
        .take::<BTreeMap<String, Option<String>>>("Labels")?
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect();
    request.terminal = body.take("Tty")?;
    request.open_stdin = body.take("OpenStdin")?;
    request.stdin_once = body.take("StdinOnce")?;
    request.attach = Attach {
        stdin: body.take("AttachStdin")?,
        stdout: body.take("AttachStdout")?,
        stderr: body.take("AttachStderr")?,
    };
    request.stop_signal = body.text("StopSignal")?;
    request.stop_timeout = body.take::<Option<i64>>("StopTimeout")?.map(super::patience);
    Ok(())
}

/// `Healthcheck`, whose times are nanoseconds.
fn health(body: &mut Object) -> Result<HealthRequest, Failure> {
    let mut check = body.object("Healthcheck")?;
    let mut test: Vec<String> = check.take("Test")?;
    if test.first().is_some_and(|kind| kind == "NONE") {
        return Ok(HealthRequest {
            none: true,
            ..HealthRequest::default()
        });
    }
    // A kind without a command is as good as nothing, as with Docker.
    if matches!(test.as_slice(), [kind] if kind.is_empty()) {
        test.clear();
    }
    let mut time = |name: &str| -> Result<Option<Duration>, Failure> {
        let Some(nanoseconds) = check.number(name)? else {
            return Ok(None);
        };
        u64::try_from(nanoseconds)
            .map(|nanoseconds| Some(Duration::from_nanos(nanoseconds)))
            .map_err(|_negative| {
                Failure::bad_request(format!("{name} in Healthcheck cannot be less than 1ms"))
            })
    };
    Ok(HealthRequest {
        none: false,
        interval: time("Interval")?,
        timeout: time("Timeout")?,
        start_period: time("StartPeriod")?,
        start_interval: time("StartInterval")?,
        retries: match check.number("Retries")? {
            None => None,
            Some(retries) => Some(u32::try_from(retries).map_err(|_out_of_range| {
                Failure::bad_request("Retries in Healthcheck cannot be negative")
            })?),
        },
        test: Some(test).filter(|test| !test.is_empty()),
        on_failure: engine::containers::request::OnUnhealthy::default(),
    })
}

#[cfg(test)]
mod tests;
