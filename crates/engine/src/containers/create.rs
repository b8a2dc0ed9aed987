//! `create`: a request becomes a record and a directory.
//!
//! The record comes first, in one transaction with its layers and volumes; the directories that it names are made
//! after it, and again by `start` if they are missing. So a process killed in between leaves a container that is whole.

use super::mounts::{Mounts, NamedVolume};
use super::record::{ContainerId, Settings, Status};
use super::request::{CreateContainer, NetworkMode, UtsMode};
use super::rows::{self, Record};
use super::{Containers, conflict, health, logs, name, quota, seat, spec, validate};
use crate::{EngineError, events, images::PullEvent, volumes};
use rusqlite::Connection;
use state::StateError;
use std::path::Path;
use store::Image;
use sys::failpoint;

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its id.
    pub id: ContainerId,
    /// What was asked for and cannot be done here, or is better done otherwise.
    pub warnings: Vec<String>,
}

impl Containers<'_> {
    /// Makes a container; fetches its image first if the request's pull policy says so. Nothing is left on failure.
    pub fn create(
        &self,
        mut request: CreateContainer,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<CreatedContainer, EngineError> {
        let mut warnings = validate::request(&request)?;
        warnings.extend(spec::limit_warnings(&request));
        // What is wrong with a device is said when the container is started: it may come until then.
        if let Ok(edits) = self.device_edits(&request) {
            warnings.extend(edits.remarks);
        }
        let config = self.engine.config();
        let (driver, options) =
            logs::options::in_force(config, request.log_driver.as_deref(), &request.log_options);
        logs::options::check(config, &driver, &options)?;
        seat::check_parent(config, request.cgroup_parent.as_deref())?;
        quota::check(&request, &self.engine.locations().root)?;
        self.resolve_peers(&mut request)?;
        self.resolve_networks(&mut request)?;
        let image =
            self.engine
                .images()
                .ensure(&request.image, request.platform.as_ref(), request.pull, progress)?;
        let id = ContainerId::random()?;
        let (settings, mut mounts) = self.settle(&id, request, &image, progress)?;
        warnings.extend(health::warning(&settings));
        let mut record = Record {
            name: settings.request.name.clone().unwrap_or_default(),
            id,
            image: image.id,
            created: events::now(),
            settings,
            status: Status::default(),
            removing: false,
        };
        self.insert(&mut record, &image, &mut mounts)?;
        failpoint::pass("create.recorded");
        if let Err(error) = self.furnish(&record, &image, &mounts.volumes) {
            self.undo(&record, &mounts.volumes);
            return Err(error);
        }
        Ok(CreatedContainer {
            id: record.id,
            warnings,
        })
    }

    /// Fills in the image's settings and the defaults.
    fn settle(
        self,
        id: &ContainerId,
        request: CreateContainer,
        image: &Image,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<(Settings, Mounts), EngineError> {
        let config = &image.config.config;
        let (entrypoint, command) = command_in_force(&request, config);
        if entrypoint.is_empty() && command.is_empty() {
            return Err(EngineError::Invalid {
                message: "No command specified".into(),
                hint: Some("the image names none: write one after the image".into()),
            });
        }
        let mut mounts = self.mounts(&request, config, progress)?;
        let mut exposed: Vec<String> = config
            .exposed_ports
            .keys()
            .map(|port| with_protocol(port))
            .collect();
        exposed.extend(request.expose.iter().map(|port| with_protocol(port)));
        exposed.extend(request.publish.iter().map(|publish| {
            format!(
                "{}/{}",
                publish.port,
                crate::networks::protocol_name(publish.protocol)
            )
        }));
        exposed.sort();
        exposed.dedup();
        let mut labels = config.labels.clone();
        labels.extend(request.labels.clone());
        let text = |asked: &Option<String>, of_image: &str| match asked {
            Some(asked) if !asked.is_empty() => asked.clone(),
            _ => of_image.to_owned(),
        };
        let (log_driver, log_options) = logs::options::in_force(
            self.engine.config(),
            request.log_driver.as_deref(),
            &request.log_options,
        );
        let settings = Settings {
            image_name: request.image.clone(),
            entrypoint,
            command,
            environment: environment_in_force(&config.env, &request.environment),
            working_directory: text(&request.working_directory, &config.working_dir),
            user: text(&request.user, &config.user),
            hostname: self.hostname(id, &request)?,
            labels,
            exposed,
            networks: request.attachments.clone(),
            mounts: std::mem::take(&mut mounts.all),
            stop_signal: match text(&request.stop_signal, &config.stop_signal) {
                signal if signal.is_empty() => "SIGTERM".into(),
                signal => signal,
            },
            log_options,
            log_driver,
            healthcheck: health::in_force(&request.health, config.healthcheck.as_ref()),
            shell: config.shell.clone(),
            request,
        };
        Ok((settings, mounts))
    }

    fn hostname(self, id: &ContainerId, request: &CreateContainer) -> Result<String, EngineError> {
        let of_host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        if request.uts == UtsMode::Host {
            return Ok(of_host());
        }
        match &request.network {
            NetworkMode::Container(other) => {
                let other = ContainerId(other.clone());
                Ok(self.record(&other)?.settings.hostname)
            }
            NetworkMode::Host if request.hostname.is_none() => Ok(of_host()),
            _ => Ok(request
                .hostname
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| id.short().to_owned())),
        }
    }

    /// Writes the record. A garbage collection at the same time either sees the rows that keep the layers, or has
    /// already taken the layers, and then the rows' references fail.
    fn insert(self, record: &mut Record, image: &Image, mounts: &mut Mounts) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            if record.name.is_empty() {
                record.name = free_name(transaction)?;
            } else if let Some(other) = rows::id_of_name(transaction, &record.name)? {
                return Err(name_in_use(&record.name, &other));
            }
            for volume in &mut mounts.volumes {
                let asked = &volume.settings;
                let inserted = volumes::insert(transaction, &volume.name, volume.anonymous, asked)?;
                volume.made = inserted.made;
                let mounts = record.settings.mounts.iter_mut();
                for mount in mounts.filter(|mount| mount.name.as_ref() == Some(&volume.name)) {
                    mount.mounted = inserted.mounted;
                }
            }
            rows::insert(transaction, record)?;
            insert_layers(transaction, record, image, 0)?;
            for (number, image) in (1..).zip(&mounts.images) {
                insert_layers(transaction, record, image, number * LAYER_BLOCK)?;
            }
            for volume in &mounts.volumes {
                volumes::refer(transaction, &record.id, &volume.name)?;
            }
            let (id, name, settings) = (&record.id, &record.name, &record.settings);
            Ok(events::container(transaction, "create", id, name, settings, &[])?)
        })
    }

    /// Makes the directories, and copies the image's content into empty volumes.
    fn furnish(self, record: &Record, image: &Image, volumes: &[NamedVolume]) -> Result<(), EngineError> {
        failpoint::reach("create.furnish")?;
        let directory = self.engine.locations().container_directory(&record.id);
        make_directories(&directory, &record.settings.request)?;
        failpoint::reach("create.directories")?;
        let mut filler = None;
        for volume in volumes {
            volumes::make(self.engine.locations(), &volume.name)?;
            failpoint::reach("create.volume")?;
            let filler = match &mut filler {
                Some(filler) => filler,
                none => none.insert(volumes::copy_up::Filler::open(self.engine, image)?),
            };
            filler.check(&volume.target)?;
            if volume.copy {
                filler.fill(self.engine, &volume.name, &volume.target)?;
            }
        }
        Ok(())
    }

    /// Takes away what a failed create has made. That a part of it cannot be taken away must not hide why it failed;
    /// the record goes last, so that what is left is still found by it.
    fn undo(self, record: &Record, volumes: &[NamedVolume]) {
        let locations = self.engine.locations();
        let directory = locations.container_directory(&record.id);
        quota::lift(&record.settings.request, &directory);
        let removed = std::fs::remove_dir_all(directory);
        if removed.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {
            return;
        }
        let made: Vec<&str> = volumes
            .iter()
            .filter(|volume| volume.made)
            .map(|volume| volume.name.as_str())
            .collect();
        failpoint::pass("create.undoing");
        let gone = self.engine.database.write(|transaction| {
            rows::delete(transaction, &record.id)?;
            volumes::delete_unused(transaction, locations, made.iter().copied())
        });
        for volume in gone.unwrap_or_default() {
            volume.finish().unwrap_or_default();
        }
    }
}

/// Makes what is missing of a container's directory, with the limit on what is written there.
pub(super) fn make_directories(directory: &Path, request: &CreateContainer) -> Result<(), EngineError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    crate::make_private_directory(directory)?;
    failpoint::reach("container.directory")?;
    for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
        let path = directory.join(name);
        let failed = |error: &std::io::Error| sys::SysError::io("make the directory", &path, error);
        match std::fs::DirBuilder::new().mode(mode).create(&path) {
            Ok(()) => {
                // Whatever our umask: this one is what the container sees as its root directory.
                let permissions = PermissionsExt::from_mode(mode);
                std::fs::set_permissions(&path, permissions).map_err(|error| failed(&error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&error).into()),
        }
    }
    quota::hold(request, &directory.join("upper"), &directory.join("work"))
}

/// The layers of the nth image that is mounted have positions from n times this on; below it are the container's own.
pub(super) const LAYER_BLOCK: i64 = 1 << 20;

fn insert_layers(
    connection: &Connection,
    record: &Record,
    image: &Image,
    first: i64,
) -> Result<(), EngineError> {
    let mut statement = connection
        .prepare_cached("INSERT INTO container_layers (container, position, layer) VALUES (?1, ?2, ?3)")
        .map_err(StateError::from)?;
    for (position, layer) in (first..).zip(&image.layers) {
        statement
            .execute((record.id.as_str(), position, layer.id.as_str()))
            .map_err(StateError::from)?;
    }
    Ok(())
}

fn free_name(connection: &Connection) -> Result<String, EngineError> {
    let mut attempt = 0;
    loop {
        let name = name::generate(attempt)?;
        if rows::id_of_name(connection, &name)?.is_none() {
            return Ok(name);
        }
        attempt += 1;
    }
}

pub(super) fn name_in_use(name: &str, other: &ContainerId) -> EngineError {
    conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{other}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// Docker's rule: an entry point from the request does away with the image's arguments too. A list without words, which
/// only the API can give, takes the image's entry point away and leaves its arguments.
fn command_in_force(request: &CreateContainer, config: &oci::Config) -> (Vec<String>, Vec<String>) {
    let asked = || request.command.clone();
    let command = || match asked() {
        asked if asked.is_empty() => config.cmd.clone(),
        asked => asked,
    };
    match request.entrypoint.as_deref() {
        None if request.command.is_empty() => (config.entrypoint.clone(), config.cmd.clone()),
        None => (config.entrypoint.clone(), asked()),
        Some([]) => (Vec::new(), command()),
        Some(words) => (
            words.iter().filter(|word| !word.is_empty()).cloned().collect(),
            asked(),
        ),
    }
}

/// Merges by name, a later value in the earlier one's place; a bare name removes. What an image writes without `=`
/// carries no value and is never filled from the host.
fn environment_in_force(of_image: &[String], asked: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    let same = |a: &str, b: &str| a.split('=').next() == b.split('=').next();
    for variable in of_image
        .iter()
        .filter(|variable| variable.contains('='))
        .chain(asked)
    {
        if !variable.contains('=') {
            merged.retain(|there| !same(there, variable));
            continue;
        }
        match merged.iter_mut().find(|there| same(there, variable)) {
            Some(there) => there.clone_from(variable),
            None => merged.push(variable.clone()),
        }
    }
    merged
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') {
        port.to_ascii_lowercase()
    } else {
        format!("{port}/tcp")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_point_of_ones_own_drops_the_images_arguments() {
        let config = oci::Config {
            entrypoint: words("/entry"),
            cmd: words("serve now"),
            ..oci::Config::default()
        };
        for (entrypoint, command, expected) in [
            (None, "", ("/entry", "serve now")),
            (None, "other", ("/entry", "other")),
            (Some("sh"), "", ("sh", "")),
            (Some("sh"), "-c x", ("sh", "-c x")),
            (Some(""), "ls", ("", "ls")),
            (Some(""), "", ("", "serve now")),
        ] {
            let request = CreateContainer {
                entrypoint: entrypoint.map(words),
                command: words(command),
                ..CreateContainer::default()
            };
            assert_eq!(
                command_in_force(&request, &config),
                (words(expected.0), words(expected.1)),
                "{entrypoint:?} {command}"
            );
        }
    }

    #[test]
    fn an_empty_word_takes_the_images_arguments_away_too() {
        let config = oci::Config {
            entrypoint: words("/entry"),
            cmd: words("serve now"),
            ..oci::Config::default()
        };
        let request = CreateContainer {
            entrypoint: Some(vec![String::new()]),
            ..CreateContainer::default()
        };
        assert_eq!(command_in_force(&request, &config), (Vec::new(), Vec::new()));
    }

    #[test]
    fn variables_are_replaced_in_place_and_removed_by_bare_names() {
        let merged = environment_in_force(&words("PATH=/bin A=1 SECRET B=2"), &words("B=3 C=4 A"));
        assert_eq!(merged, words("PATH=/bin B=3 C=4"));
    }
}
