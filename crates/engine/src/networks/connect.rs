//! `network connect`, `network disconnect`, and what else changes the networks of a container.
//!
//! One that does not run has only its settings changed, under its lock. Of one that runs, the command decides the new
//! state in one transaction, writes it down in the run directory, and tells the monitor, which alone touches the
//! container's namespace and answers when it is done, or why it cannot be; then the command takes its decision back.
//! While that lasts the command holds a lock, `<run root>/networks/<container>.turn`: what a killed one has left half
//! done, recovery finds by it and has the monitor finish.

use super::allot::{self, allot};
use super::joining::{self, Place};
use super::names::NamesPlan;
use super::rows::{self, Known};
use super::{DEFAULT, Networks, list, ports};
use crate::containers::network_files;
use crate::containers::record::{Activity, ContainerId, EndpointRecord};
use crate::containers::request::{NetworkAttachment, NetworkMode};
use crate::containers::rows::{self as containers, Record};
use crate::containers::running;
use crate::{EngineError, events};
use ::network::{Endpoint, Segment};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use sys::failpoint;
use sys::lock::Lock;

/// How the lock of a change is called, after the container's id.
pub(super) const TURN: &str = ".turn";
/// How often it is looked what becomes of a container that somebody holds who has no process to show.
const GLANCE: Duration = Duration::from_millis(1);

/// The file `networks` in the run directory of a container whose networks have changed since it was started: what its
/// monitor is to bring about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) places: Vec<(Segment, Endpoint)>,
    pub(crate) names: Option<NamesPlan>,
}

/// What is to change.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Connect(&'a Known, &'a NetworkAttachment),
    Disconnect(&'a str),
    /// Nothing but what follows from the container's name.
    Renew,
}

impl Networks<'_> {
    /// Puts a container on one more network, at once if it runs.
    pub fn connect(
        &self,
        container: &ContainerId,
        attachment: &NetworkAttachment,
    ) -> Result<(), EngineError> {
        let known = self.find(&attachment.network)?;
        joining::check(Some(&known), attachment)?;
        let attachment = NetworkAttachment {
            network: known.name.clone(),
            ..attachment.clone()
        };
        self.change(container, Change::Connect(&known, &attachment))
    }

    /// Takes a container off a network, at once if it runs. A network that is gone is known by its name.
    pub fn disconnect(&self, container: &ContainerId, network: &str) -> Result<(), EngineError> {
        let known = self
            .engine
            .database
            .read(|connection| rows::find(connection, network))?;
        let name = match &known {
            Some(known) => known.name.as_str(),
            None => list::always_there(network).unwrap_or(network),
        };
        if known.is_none() && list::always_there(network).is_none() {
            let record = self.engine.containers().record(container)?;
            if !joining::attachments(&record.settings)
                .iter()
                .any(|there| there.network == name)
            {
                return Err(EngineError::NoNetwork(network.to_owned()));
            }
        }
        self.change(container, Change::Disconnect(name))
    }

    /// Returns a network that a container can be on, by name, id or id prefix.
    fn find(self, name: &str) -> Result<Known, EngineError> {
        let found = self
            .engine
            .database
            .read(|connection| rows::find(connection, name))?;
        match (found, list::always_there(name)) {
            (Some(known), _) => Ok(known),
            (None, Some(DEFAULT)) => self.default_bridge(),
            (None, Some("host")) => Err(invalid(HOST)),
            (None, Some(_)) => Err(invalid(NONE)),
            (None, None) => Err(EngineError::NoNetwork(name.to_owned())),
        }
    }

    fn change(self, id: &ContainerId, change: Change<'_>) -> Result<(), EngineError> {
        let engine = self.engine;
        let locations = engine.locations();
        loop {
            if let Some(lock) = locations.claim(id)? {
                let open = engine
                    .database
                    .read(|connection| Ok::<_, EngineError>(containers::unfinished(connection)?))?
                    .contains(id);
                if open {
                    // A monitor died: its leavings go first.
                    drop(lock);
                    engine.containers().recover()?;
                    continue;
                }
                let changed = self.change_settings(id, change);
                engine.containers().remove_run_directory(id);
                return changed;
            }
            let record = engine.containers().record(id)?;
            match engine.containers().activity(&record)?.0 {
                Activity::Paused | Activity::Restarting | Activity::Running => {
                    return self.change_live(id, change);
                }
                Activity::Removing => {
                    return Err(EngineError::Conflict {
                        message: format!(
                            "container {id} is marked for removal and cannot be connected or disconnected"
                        ),
                        hint: None,
                    });
                }
                // Somebody is about to start it, copies files from it, or it is just ending.
                Activity::Created | Activity::Exited => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Changes what a container that does not run is on when it starts.
    fn change_settings(self, id: &ContainerId, change: Change<'_>) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            let mut record = containers::by_id(transaction, id)?
                .ok_or_else(|| crate::containers::not_found(id.as_str()))?;
            settle(&mut record, change, false)?;
            Ok(containers::set_settings(transaction, id, &record.settings)?)
        })
    }

    /// Changes what a running container is on.
    fn change_live(self, id: &ContainerId, change: Change<'_>) -> Result<(), EngineError> {
        let turn = self.take_turn(id)?;
        failpoint::reach("connect.turn")?;
        let done = self.change_in_turn(id, change);
        turn.end();
        done
    }

    fn change_in_turn(self, id: &ContainerId, change: Change<'_>) -> Result<(), EngineError> {
        let engine = self.engine;
        let has_server = self.has_server(id);
        let (before, after, connections) = engine
            .database
            .write(|transaction| decide(transaction, id, change, has_server))?;
        failpoint::pass("connect.decided");
        let brought_about = (|| {
            if let Change::Connect(known, _) = change {
                self.make_ready(known.segment())?;
                failpoint::reach("connect.ensured")?;
            }
            self.bring_about(id, &connections)
        })();
        let error = match brought_about {
            Ok(()) => {
                let directory = engine.locations().container_directory(id);
                network_files::revise(&directory, &before, &after)?;
                failpoint::pass("connect.files");
                return Ok(());
            }
            Err(error) => error,
        };
        // Why it failed is what counts. Of a container that has ended meanwhile nothing is left to take back.
        let former = engine
            .database
            .write(|transaction| take_back(transaction, &before, change));
        if let Ok(Some(former)) = former {
            self.write_down(id, &former).unwrap_or_default();
        }
        Err(error)
    }

    /// Has a container's monitor bring its networks to what is written.
    fn bring_about(self, id: &ContainerId, connections: &Connections) -> Result<(), EngineError> {
        self.write_down(id, connections)?;
        failpoint::reach("connect.written")?;
        self.engine.containers().rejoin(id)?;
        failpoint::pass("connect.joined");
        Ok(())
    }

    fn write_down(self, id: &ContainerId, connections: &Connections) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        // One that has just ended has no directory any more.
        if locations.is_claimed(id)? {
            running::replace(&locations.run_directory(id), "networks", connections)?;
        }
        Ok(())
    }

    /// Has a running container found by its new name, which the caller has recorded.
    pub(crate) fn renew(self, id: &ContainerId) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        let record = self.engine.containers().record(id)?;
        let has_names = record
            .status
            .endpoints
            .iter()
            .any(|endpoint| !endpoint.names.is_empty());
        if has_names && locations.is_claimed(id)? {
            return self.change_live(id, Change::Renew);
        }
        Ok(())
    }

    /// Finishes what a command that was killed has begun.
    pub(super) fn repair(self, container: &str) -> Result<(), EngineError> {
        let Some(id) = ContainerId::parse(container) else {
            return Ok(());
        };
        let path = self.turn_path(&id);
        if Lock::is_held(&path)? {
            return Ok(());
        }
        let Some(lock) = Lock::try_exclusive(&path)? else {
            return Ok(());
        };
        if self.engine.locations().is_claimed(&id)? {
            let has_server = self.has_server(&id);
            let decided = self
                .engine
                .database
                .write(|transaction| decide(transaction, &id, Change::Renew, has_server));
            // What cannot be finished must not keep every command from its work: the container ends as it is.
            if let Ok((_, record, connections)) = decided {
                for (segment, _) in &connections.places {
                    self.make_ready(segment).unwrap_or_default();
                }
                if self.bring_about(&id, &connections).is_ok() {
                    let directory = self.engine.locations().container_directory(&id);
                    network_files::revise(&directory, &record, &record).unwrap_or_default();
                }
            }
        }
        Turn { lock, path }.end();
        Ok(())
    }

    /// Says whether a container's monitor has been told to answer for names, which it then does to the end.
    fn has_server(self, id: &ContainerId) -> bool {
        let path = self.engine.locations().run_directory(id).join("networks");
        running::document(&path).is_some_and(|told: Connections| told.names.is_some())
    }

    fn turn_path(self, id: &ContainerId) -> std::path::PathBuf {
        let name = format!("{id}{TURN}");
        self.engine.locations().networks_directory().join(name)
    }

    /// Waits until nobody else changes the container's networks.
    fn take_turn(self, id: &ContainerId) -> Result<Turn, EngineError> {
        let path = self.turn_path(id);
        loop {
            crate::make_private_directory(&self.engine.locations().networks_directory())?;
            match Lock::exclusive(&path) {
                // Somebody swept the empty directory away between our two steps.
                Err(error) if error.errno == rustix::io::Errno::NOENT => {}
                lock => return Ok(Turn { lock: lock?, path }),
            }
        }
    }
}

/// The lock of a change. Dropped, it leaves its file for recovery.
struct Turn {
    lock: Lock,
    path: std::path::PathBuf,
}

impl Turn {
    fn end(self) {
        // While it is still held, so that it is ours. One that stays costs the next command a look.
        std::fs::remove_file(&self.path).unwrap_or_default();
        drop(self.lock);
    }
}

const HOST: &str = "container cannot be disconnected from host network or connected to host network";
const NONE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";
const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";

fn invalid(message: &str) -> EngineError {
    EngineError::Invalid {
        message: message.to_owned(),
        hint: None,
    }
}

/// Applies a change to a container's settings; says what it was told otherwise, in Docker's words.
fn settle(record: &mut Record, change: Change<'_>, live: bool) -> Result<(), EngineError> {
    let mode = &record.settings.request.network;
    let mut networks = joining::attachments(&record.settings);
    match change {
        Change::Connect(known, attachment) => {
            match mode {
                NetworkMode::Container(_) | NetworkMode::Host => return Err(invalid(SHARED)),
                NetworkMode::None => return Err(invalid(NONE)),
                NetworkMode::Bridge | NetworkMode::Named(_) => {}
            }
            if live
                && record
                    .status
                    .endpoints
                    .iter()
                    .any(|there| there.network_id == known.id)
            {
                return Err(EngineError::Forbidden {
                    message: format!(
                        "endpoint with name {} already exists in network {}",
                        record.name, known.name
                    ),
                    hint: None,
                });
            }
            networks.retain(|there| there.network != known.name);
            networks.push(attachment.clone());
        }
        Change::Disconnect(name) => {
            if *mode == NetworkMode::Host && name == "host" {
                return Err(invalid(HOST));
            }
            let count = networks.len();
            networks.retain(|there| there.network != name);
            let is_on = record.status.endpoints.iter().any(|there| there.network == name);
            if networks.len() == count && !(live && is_on) {
                return Err(EngineError::Conflict {
                    message: format!("container {} is not connected to the network {name}", record.id),
                    hint: None,
                });
            }
        }
        Change::Renew => return Ok(()),
    }
    record.settings.networks = networks;
    Ok(())
}

/// Decides and records what a running container is on from now on, in the transaction that `connection` is in. Returns
/// its record before and after, and what the monitor is told. `has_server` says that it answers for names already.
fn decide(
    connection: &Connection,
    id: &ContainerId,
    change: Change<'_>,
    has_server: bool,
) -> Result<(Record, Record, Connections), EngineError> {
    let before =
        containers::by_id(connection, id)?.ok_or_else(|| crate::containers::not_found(id.as_str()))?;
    let mut after = before.clone();
    let has_server = has_server || has_names(&before.status.endpoints);
    settle(&mut after, change, true)?;
    let mut places = joining::places_of(connection, &before)?;
    let tell = |action: &str, endpoint: &EndpointRecord| events::network(connection, action, id, endpoint);
    match change {
        Change::Connect(known, attachment) => {
            // It may have been removed since it was looked up.
            let known = rows::by_id(connection, &known.id)?
                .ok_or_else(|| EngineError::NoNetwork(known.name.clone()))?;
            let record = allot(connection, &known, joining::guest(&after), attachment)?;
            tell("connect", &record)?;
            places.push(Place {
                known,
                attachment: attachment.clone(),
                record,
            });
        }
        Change::Disconnect(name) => {
            for place in places.iter().filter(|place| place.known.name == name) {
                allot::release(connection, &place.known.id, id)?;
                tell("disconnect", &place.record)?;
            }
            places.retain(|place| place.known.name != name);
        }
        Change::Renew => {}
    }
    for place in places.iter_mut().filter(|place| place.known.has_names()) {
        place.record.names = allot::names_of(joining::guest(&after), &place.attachment);
    }
    let held = ports::held(connection, id, &crate::containers::publications(&after))?;
    joining::arrange(&mut places, id, held);
    after.status.endpoints = places.iter().map(|place| place.record.clone()).collect();
    containers::set_settings(connection, id, &after.settings)?;
    containers::set_status(connection, id, &after.status)?;
    let connections = Connections {
        places: joining::plugs(&places),
        names: joining::names_plan(connection, &after, &places, has_server)?,
    };
    Ok((before, after, connections))
}

/// Says whether names are resolved on one of a container's networks.
pub(crate) fn has_names(endpoints: &[EndpointRecord]) -> bool {
    endpoints.iter().any(|endpoint| !endpoint.names.is_empty())
}

/// Takes a decision back that could not be brought about; returns what the monitor was told before.
fn take_back(
    connection: &Connection,
    before: &Record,
    change: Change<'_>,
) -> Result<Option<Connections>, EngineError> {
    let id = &before.id;
    let Some(mut record) = containers::by_id(connection, id)? else {
        return Ok(None);
    };
    record.settings.networks.clone_from(&before.settings.networks);
    containers::set_settings(connection, id, &record.settings)?;
    if !containers::unfinished(connection)?.contains(id) {
        return Ok(None);
    }
    match change {
        Change::Connect(known, _) => {
            for there in record
                .status
                .endpoints
                .iter()
                .filter(|there| there.network_id == known.id)
            {
                events::network(connection, "disconnect", id, there)?;
            }
            allot::release(connection, &known.id, id)?;
        }
        Change::Disconnect(name) => {
            for there in before
                .status
                .endpoints
                .iter()
                .filter(|there| there.network == name)
            {
                // Should somebody else have the address by now, this fails, and the container stays off the network.
                allot::hold(connection, there, id)?;
                events::network(connection, "connect", id, there)?;
            }
        }
        Change::Renew => {}
    }
    record.status.endpoints.clone_from(&before.status.endpoints);
    containers::set_status(connection, id, &record.status)?;
    let places = joining::places_of(connection, &record)?;
    Ok(Some(Connections {
        places: joining::plugs(&places),
        names: joining::names_plan(connection, &record, &places, has_names(&record.status.endpoints))?,
    }))
}
