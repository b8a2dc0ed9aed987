//! Finding containers and looking at one.
use super::record::{Activity, Container, ContainerId, Health, HealthStatus, Settings, Status};
use super::rows::{self, Record};
use super::running::{self, Running};
use super::{Containers, health, invalid, not_found};
use crate::EngineError;
use std::path::PathBuf;
use sys::path::Tree;

impl Containers<'_> {
    /// Finds a container by id, name or unambiguous id prefix, in this order.
    pub fn find(&self, text: &str) -> Result<ContainerId, EngineError> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let is_hex = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        self.engine.database.read(|connection| {
            let mut ids = if is_hex {
                rows::ids_by_prefix(connection, text)?
            } else {
                Vec::new()
            };
            if text.len() == 64 && ids.len() == 1 {
                return Ok(ids.remove(0));
            }
            if let Some(id) = rows::id_of_name(connection, name)? {
                return Ok(id);
            }
            match ids.len() {
                0 => Err(not_found(text)),
                1 => Ok(ids.remove(0)),
                _ => Err(EngineError::Invalid {
                    message: format!("multiple IDs found with provided prefix: {text}"),
                    hint: Some("write more of its digits".into()),
                }),
            }
        })
    }

    /// Returns all that is known of a container; with `size`, measured.
    pub fn inspect(&self, id: &ContainerId, size: bool) -> Result<Container, EngineError> {
        let record = self.record(id)?;
        let mut container = self.describe(record, size)?;
        if container.pid.is_some() {
            container.execs = self.live_instances(id);
        }
        Ok(container)
    }

    /// Returns the directories of the layers that a container stands on, the topmost first.
    pub fn lower_directories(&self, id: &ContainerId) -> Result<Vec<PathBuf>, EngineError> {
        let layers = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(super::start::layers_of(connection, id)?))?;
        Ok(self.engine.store.overlay(&layers, None, false).lower)
    }

    /// Says what a container does now, and what its monitor tells of it.
    pub(crate) fn activity(self, record: &Record) -> Result<(Activity, Option<Running>), EngineError> {
        let locations = self.engine.locations();
        if record.removing {
            return Ok((Activity::Removing, None));
        }
        if locations.is_claimed(&record.id)?
            && let Some(running) = running::read(locations, &record.id)
            && running::read_end(locations, &record.id).is_none()
        {
            let activity = if running.pid == 0 {
                Activity::Restarting
            } else if running::is_paused(locations, &record.id) {
                Activity::Paused
            } else {
                Activity::Running
            };
            return Ok((activity, Some(running)));
        }
        Ok((idle_activity(record), None))
    }

    pub(super) fn describe(self, record: Record, size: bool) -> Result<Container, EngineError> {
        let (activity, running) = self.activity(&record)?;
        self.describe_as(record, activity, running, size)
    }

    /// Describes a container that is known not to run, without a look at its run directory.
    pub(super) fn describe_idle(self, record: Record, size: bool) -> Result<Container, EngineError> {
        let activity = idle_activity(&record);
        self.describe_as(record, activity, None, size)
    }

    fn describe_as(
        self,
        record: Record,
        activity: Activity,
        running: Option<Running>,
        size: bool,
    ) -> Result<Container, EngineError> {
        let mut status = record.status;
        if let Some(running) = &running {
            status.started = Some(running.started);
            status.restarts = running.restarts;
            if running.last_exit.is_some() {
                status.exit.clone_from(&running.last_exit);
            }
        }
        let (mut size_rw, mut size_root) = (None, None);
        if size {
            let upper = self
                .engine
                .locations()
                .container_directory(&record.id)
                .join("upper");
            // One that was never furnished has nothing written.
            let written = Tree::open(&upper)
                .and_then(|tree| tree.disk_usage())
                .unwrap_or_default();
            size_rw = Some(written);
            size_root = Some(written + self.size_of_image(&record.id)?);
        }
        let health = self.health(&record.id, &record.settings, &status, running.is_some());
        let oom_killed = match &running {
            Some(running) => running.oom_killed,
            None => status.exit.as_ref().is_some_and(|exit| exit.oom_killed),
        };
        Ok(Container {
            health,
            oom_killed,
            id: record.id,
            name: record.name,
            image: record.image,
            created: record.created,
            settings: record.settings,
            status,
            activity,
            pid: running.map(|running| running.pid).filter(|&pid| pid > 0),
            size_rw,
            size_root,
            execs: Vec::new(),
        })
    }

    /// Says what health checks have found, if there are any. What does not run is not healthy, as Docker has it.
    fn health(self, id: &ContainerId, settings: &Settings, status: &Status, runs: bool) -> Option<Health> {
        health::command(settings)?;
        if runs {
            return Some(running::read_health(self.engine.locations(), id).unwrap_or_default());
        }
        status.health.clone().map(|health| Health {
            status: HealthStatus::Unhealthy,
            ..health
        })
    }

    /// Measures the layers that a container stands on, whether or not its image still has a name.
    fn size_of_image(self, id: &ContainerId) -> Result<u64, EngineError> {
        let size: i64 = self.engine.database.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT coalesce(sum(l.size), 0) FROM container_layers c JOIN layers l ON l.id = c.layer
                     WHERE c.container = ?1 AND c.position < 1048576",
                )
                .and_then(|mut statement| statement.query_row([id.as_str()], |row| row.get(0)))
                .map_err(state::StateError::from)
        })?;
        u64::try_from(size).map_err(|_negative| invalid(format!("the layers of {id} have no size")))
    }
}

/// What a container does that nobody holds.
fn idle_activity(record: &Record) -> Activity {
    if record.status.started.is_none() {
        Activity::Created
    } else {
        Activity::Exited
    }
}
