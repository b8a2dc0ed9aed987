//! `commit`: an image from a container's changes.
//!
//! What the container has written is copied into a new layer while the container is paused, so that the layer is the
//! state of one moment; hashing and recording come after it has gone on. Volumes and mounts are not part of it. The
//! image appears with its record, in one transaction. A commit that is killed leaves nothing but a container that is
//! still paused, which the next command lets go on: see [`still`](super::still).

use super::record::{ContainerId, Settings};
use super::request::MountSource;
use super::rows::Record;
use super::{Containers, conflict, not_found, start};
use crate::{EngineError, durable, events, images::Image};
use jiff::Timestamp;
use oci::{Config, Empty, History, ImageConfig, Platform, Reference, RootFs};
use store::{Layer, LayerId, Lease, NewImage, Snapshot, Times};
use sys::SysError;

/// The digest of a tar with nothing in it: what a layer without changes has. Docker's images do not mention such a layer.
const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What is to become of a container's changes.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The name that the image gets.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// What is said of it.
    pub message: String,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// Whether the container goes on while it is copied.
    pub no_pause: bool,
    /// The time that the image bears, in seconds since 1970, and the latest that its files may bear. Without it the
    /// image bears none, so that the same changes give the same image, and its files bear their own.
    pub source_date_epoch: Option<i64>,
}

impl Containers<'_> {
    /// Makes an image of a container's changes. `cancelled` is asked from time to time while files are copied.
    pub fn commit(
        &self,
        id: &ContainerId,
        request: &CommitRequest,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Image, EngineError> {
        let record = self.record(id)?;
        if record.removing {
            return Err(conflict(format!(
                "You cannot commit container {id} which is being removed"
            )));
        }
        if let Some(reference) = &request.reference
            && reference.digest().is_some()
        {
            return Err(EngineError::Invalid {
                message: "refusing to create a tag with a digest reference".into(),
                hint: Some("write name:tag".into()),
            });
        }
        let store = &self.engine.store;
        let base = store.image_by_id(&record.image)?;
        let mut config = configuration(&record.settings, base.as_ref());
        builder::apply_changes(&mut config, &request.changes).map_err(Box::new)?;
        let lease = store.lease()?;
        let below = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(start::layers_of(connection, id)?))?;
        let copy = || self.copy_changes(id, &lease, &below, cancelled);
        let snapshot = if request.no_pause {
            copy()?
        } else {
            self.held_still(&record, copy)?
        };
        let times = request
            .source_date_epoch
            .map_or(Times::AsFound, Times::NoLaterThan);
        let layer = store.commit_snapshot(&lease, snapshot, times)?;
        let mut layers = store.layers_by_id(&below)?;
        let empty = layer.diff_id.to_string() == EMPTY_LAYER;
        if !empty {
            layers.push(layer);
        }
        complete(
            &mut config,
            &layers,
            base.as_ref(),
            empty,
            &record.settings,
            request,
        );
        let raw_config = serde_json::to_vec(&config)
            .map_err(|error| SysError::io("write the configuration of", "a new image", &error.into()))?;
        let layers: Vec<LayerId> = layers.into_iter().map(|layer| layer.id).collect();
        let image = store.record_image(&NewImage {
            raw_config: &raw_config,
            manifest: None,
            layers: &layers,
            parent: base.map(|base| base.id),
            tags: request.reference.as_slice(),
            repository_digest: None,
        })?;
        durable::sync_behind(self.engine);
        self.note_commit(&record, request, &image)?;
        Ok(image)
    }

    /// Copies the upper directory, and makes sure that nobody has removed the container meanwhile: the copy of half a
    /// directory would look like a whole one.
    fn copy_changes(
        self,
        id: &ContainerId,
        lease: &Lease,
        below: &[LayerId],
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Snapshot, EngineError> {
        let directory = self.engine.locations().container_directory(id);
        super::create::make_directories(&directory, &self.record(id)?.settings.request)?;
        let store = &self.engine.store;
        let snapshot = store.copy_to_snapshot(lease, &directory.join("upper"), below, cancelled)?;
        match self.record(id) {
            Ok(record) if !record.removing => Ok(snapshot),
            gone => {
                store.discard_snapshot(snapshot)?;
                Err(gone.err().unwrap_or_else(|| not_found(id.as_str())))
            }
        }
    }

    fn note_commit(self, record: &Record, request: &CommitRequest, image: &Image) -> Result<(), EngineError> {
        let image_id = image.id.to_string();
        let reference = request
            .reference
            .as_ref()
            .map(Reference::familiar)
            .unwrap_or_default();
        let more = [
            ("comment", request.message.as_str()),
            ("imageID", &image_id),
            ("imageRef", &reference),
        ];
        self.engine.database.write(|transaction| {
            let (id, name, settings) = (&record.id, &record.name, &record.settings);
            Ok(events::container(
                transaction,
                "commit",
                id,
                name,
                settings,
                &more,
            )?)
        })
    }
}

/// What the image runs: what the container runs, as Docker has it. What was decided for the container alone (its host
/// name, its limits, its named volumes) is not among it.
fn configuration(settings: &Settings, base: Option<&Image>) -> ImageConfig {
    let request = &settings.request;
    let of_image = base.map(|base| &base.config.config);
    let mut volumes = of_image.map(|config| config.volumes.clone()).unwrap_or_default();
    for mount in &request.mounts {
        if matches!(mount.source, MountSource::Volume { name: None, .. }) {
            volumes.insert(mount.target.clone(), Empty {});
        }
    }
    let stop_signal = request.stop_signal.clone().filter(|signal| !signal.is_empty());
    let platform = base.map_or_else(Platform::host, |base| base.platform.clone());
    ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        config: Config {
            cmd: settings.command.clone(),
            entrypoint: settings.entrypoint.clone(),
            env: settings.environment.clone(),
            exposed_ports: settings
                .exposed
                .iter()
                .map(|port| (port.clone(), Empty {}))
                .collect(),
            healthcheck: settings.healthcheck.clone(),
            labels: settings.labels.clone(),
            on_build: Vec::new(),
            shell: of_image.map(|config| config.shell.clone()).unwrap_or_default(),
            stop_signal: stop_signal
                .or_else(|| of_image.map(|config| config.stop_signal.clone()))
                .unwrap_or_default(),
            user: settings.user.clone(),
            volumes,
            working_dir: settings.working_directory.clone(),
        },
        ..ImageConfig::default()
    }
}

/// Adds layers and history.
fn complete(
    config: &mut ImageConfig,
    layers: &[Layer],
    base: Option<&Image>,
    empty: bool,
    settings: &Settings,
    request: &CommitRequest,
) {
    let created = Timestamp::from_second(request.source_date_epoch.unwrap_or(0)).unwrap_or_default();
    config.author.clone_from(&request.author);
    config.created = Some(created.to_string());
    config.rootfs = RootFs {
        diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        ..RootFs::default()
    };
    // Of an image that is gone, all that is known is how many layers it had.
    let below = layers.len() - usize::from(!empty);
    config.history = base.map_or_else(
        || vec![History::default(); below],
        |base| base.config.history.clone(),
    );
    config.history.push(History {
        created: config.created.clone(),
        created_by: settings.command.join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: empty,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::request::{CreateContainer, MountRequest};

    fn mount(name: Option<&str>, target: &str) -> MountRequest {
        let mut request = MountRequest {
            target: target.into(),
            ..MountRequest::default()
        };
        if let MountSource::Volume { name: there, .. } = &mut request.source {
            *there = name.map(str::to_owned);
        }
        request
    }

    #[test]
    fn the_image_runs_what_the_container_runs() {
        let settings = Settings {
            entrypoint: vec!["/entry".into()],
            command: vec!["serve".into()],
            environment: vec!["A=1".into()],
            exposed: vec!["80/tcp".into()],
            stop_signal: "SIGTERM".into(),
            hostname: "of-its-own".into(),
            request: CreateContainer {
                mounts: vec![mount(None, "/anonymous"), mount(Some("data"), "/data")],
                ..CreateContainer::default()
            },
            ..Settings::default()
        };
        let config = configuration(&settings, None).config;
        assert_eq!(
            (config.entrypoint, config.cmd),
            (vec!["/entry".to_owned()], vec!["serve".to_owned()])
        );
        assert_eq!(config.env, ["A=1"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp"]);
        assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/anonymous"]);
        // What nobody asked for is no part of the image.
        assert_eq!(config.stop_signal, "");
    }

    #[test]
    fn a_layer_without_changes_is_only_mentioned() {
        let mut config = ImageConfig::default();
        let settings = Settings {
            command: vec!["sh".into(), "-c".into()],
            ..Settings::default()
        };
        let request = CommitRequest {
            author: "somebody".into(),
            message: "why".into(),
            ..CommitRequest::default()
        };
        complete(&mut config, &[], None, true, &settings, &request);
        assert_eq!(config.history.len(), 1);
        assert!(config.history[0].empty_layer);
        assert_eq!(config.history[0].created_by, "sh -c");
        assert_eq!(
            (config.author.as_str(), config.history[0].comment.as_str()),
            ("somebody", "why")
        );
        assert_eq!(config.created.as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
