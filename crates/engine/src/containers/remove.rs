//! `rm`, and `container prune`.
use super::rows::{self, Record};
use super::stop::KILL;
use super::{
    Containers, conflict, create, finish, invalid,
    record::{Activity, ContainerId},
    validate,
};
use crate::system::Filters;
use crate::{EngineError, events};
use runtime::cgroups::Cgroup;
use std::time::Duration;
use sys::failpoint;
use sys::path::Tree;

impl Containers<'_> {
    /// Removes a container; with `force` also a running one, by SIGKILL; with `volumes` also its anonymous volumes.
    pub fn remove(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError> {
        self.engine.database.make_room();
        let locations = self.engine.locations();
        loop {
            let record = self.record(id)?;
            if let Some(_lock) = locations.claim(id)? {
                return self.remove_claimed(&record, volumes);
            }
            if !force {
                let why = match self.activity(&record)?.0 {
                    Activity::Paused => "paused and must be unpaused first",
                    Activity::Restarting => "restarting: stop the container before removing or force remove",
                    _ => "running: stop the container before removing or force remove",
                };
                return Err(conflict(format!(
                    "cannot remove container \"/{}\": container is {why}",
                    record.name
                )));
            }
            match self.end(&record, KILL, Duration::from_secs(10)).map(drop) {
                // With --rm it is gone by its own end.
                Ok(()) if record.settings.request.remove_when_done => return Ok(()),
                Err(EngineError::NotFound { .. }) => return Ok(()),
                result => result?,
            }
        }
    }

    fn remove_claimed(self, record: &Record, volumes: bool) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        let id = &record.id;
        // Its monitor may have died since this command has healed what it found. Once the record is gone, nobody looks for
        // what that one left in the kernel.
        let (now, open) = self.engine.database.read(|connection| {
            let open = rows::unfinished(connection)?.contains(id);
            Ok::<_, EngineError>((rows::by_id(connection, id)?, open))
        })?;
        if open {
            self.clear_kernel(id, now.as_ref())?;
        }
        // From here on recovery finishes what we begin.
        self.engine.database.write(|transaction| {
            transaction
                .prepare_cached("UPDATE containers SET removing = 1 WHERE id = ?1")
                .and_then(|mut statement| statement.execute([id.as_str()]))
                .map_err(state::StateError::from)?;
            Ok::<_, EngineError>(())
        })?;
        failpoint::reach("remove.marked")?;
        let leavings = self
            .engine
            .database
            .write(|transaction| finish::remove(transaction, locations, record, volumes))?;
        failpoint::pass("remove.removed");
        finish::remove_run_directory(locations, id);
        leavings.reap();
        Ok(())
    }

    /// Removes every container that does not run and that the filters (`until`, `label`, `label!`) let through.
    /// Returns their ids and the bytes given back.
    pub fn prune(&self, filters: &[(String, String)]) -> Result<(Vec<ContainerId>, u64), EngineError> {
        self.engine.database.make_room();
        let filters = Filters::parse(filters)?;
        let locations = self.engine.locations();
        let records = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::all(connection)?))?;
        let (mut removed, mut bytes) = (Vec::new(), 0);
        for record in records {
            if !filters.accept(record.created, &record.settings.labels) || locations.is_claimed(&record.id)? {
                continue;
            }
            let upper = locations.container_directory(&record.id).join("upper");
            // What cannot be measured counts nothing.
            let size = Tree::open(&upper)
                .and_then(|tree| tree.disk_usage())
                .unwrap_or_default();
            let Some(_lock) = locations.claim(&record.id)? else {
                continue;
            };
            self.remove_claimed(&record, false)?;
            bytes += size;
            removed.push(record.id);
        }
        self.remove_idle_cgroup()?;
        events::pruned(self.engine, "container", bytes)?;
        Ok((removed, bytes))
    }

    /// Removes the cgroup that this root's containers lie in, unless one runs or is about to. Kills nothing.
    fn remove_idle_cgroup(self) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        if !self.run_directories()?.is_empty() {
            return Ok(());
        }
        self.engine.database.write(|transaction| {
            // Whoever starts one says so in the database before the cgroup is made.
            if !rows::unfinished(transaction)?.is_empty() {
                return Ok(());
            }
            Ok(Cgroup::remove_if_idle(&locations.cgroup_of_all())?)
        })
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(invalid("Neither old nor new names may be empty"));
        }
        validate::container_name(name)
            .map_err(|error| invalid(format!("Error when allocating new name: {error}")))?;
        self.engine.database.write(|transaction| {
            let record = rows::by_id(transaction, id)?.ok_or_else(|| super::not_found(id.as_str()))?;
            if record.name == name {
                return Err(conflict(
                    "Renaming a container with the same name as its current name",
                ));
            }
            if let Some(other) = rows::id_of_name(transaction, name)? {
                let error = create::name_in_use(name, &other);
                return Err(conflict(format!("Error when allocating new name: {error}")));
            }
            transaction
                .execute(
                    "UPDATE containers SET name = ?2 WHERE id = ?1",
                    (id.as_str(), name),
                )
                .map_err(state::StateError::from)?;
            let old = [("oldName", format!("/{}", record.name))];
            let old = old.each_ref().map(|(key, value)| (*key, value.as_str()));
            Ok(events::container(
                transaction,
                "rename",
                id,
                name,
                &record.settings,
                &old,
            )?)
        })?;
        self.engine.networks().renew(id)
    }
}
