//! `start`: the record is resolved into a plan, and a monitor is started on it.
use super::launch::Launched;
use super::logs;
use super::monitor::{self, Care, MonitorPlan, NetworkPlan};
use super::network_files::{self, View};
use super::record::{ContainerId, ContainerMount, EndpointRecord, ExitRecord};
use super::request::{CreateContainer, NetworkMode, PublishRequest};
use super::rows::{self, Record};
use super::running;
use super::seat::{self, Seat};
use super::session::{Session, SessionEvent};
use super::spec::{self, NetworkNamespace, PlanInput};
use super::{Containers, apparmor, conflict, create, early, finish, history, launch, stop, wait};
use crate::networks::joining::{self, Joining};
use crate::networks::{DEFAULT, names::NamesPlan};
use crate::{EngineError, ca, cdi, events, volumes};
use network::Protocol;
use oci::Overlay;
use runtime::StartError;
use rusqlite::Connection;
use state::StateError;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::LayerId;
use sys::lock::Lock;
use sys::{SysError, failpoint};

/// How to start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartRequest {
    /// Return a session that sees the container's output from the first byte on, and may send input.
    pub attach: bool,
    /// Rows and columns of the client's terminal.
    pub size: Option<(u16, u16)>,
}

/// Where a container finds its network, resolved.
struct Network {
    namespace: NetworkNamespace,
    plan: NetworkPlan,
    /// The directory of its `hosts`, `hostname`, `resolv.conf`.
    files: PathBuf,
    /// What they say; `None` if they are another container's.
    view: Option<View>,
    /// What its name server answers, if it has one.
    names: Option<NamesPlan>,
    /// What keeps its host ports.
    sockets: Vec<OwnedFd>,
}

impl Containers<'_> {
    /// Starts a container and returns when its command has been executed, with a session if one was asked for.
    /// Starting one that runs does nothing, as with Docker.
    pub fn start(&self, id: &ContainerId, request: StartRequest) -> Result<Option<Session>, EngineError> {
        let (lock, record, layers) = loop {
            let Some(lock) = self.claim_for_start(id)? else {
                if running::is_paused(self.engine.locations(), id) {
                    return Err(conflict("cannot start a paused container, try unpause instead"));
                }
                return if request.attach {
                    self.attach(id).map(Some)
                } else {
                    Ok(None)
                };
            };
            let (record, layers, open) = self.engine.database.read(|connection| {
                let record = rows::by_id(connection, id)?;
                let open = rows::unfinished(connection)?.contains(id);
                Ok::<_, EngineError>((record, layers_of(connection, id)?, open))
            })?;
            if !open {
                break (lock, record, layers);
            }
            // A monitor died before it had a process to show: its leavings go first.
            drop(lock);
            self.recover()?;
        };
        let Some(record) = record else {
            finish::remove_run_directory(self.engine.locations(), id);
            return Err(super::not_found(id.as_str()));
        };
        if record.removing {
            finish::remove_run_directory(self.engine.locations(), id);
            return Err(conflict(format!(
                "container {id} is marked for removal and cannot be started"
            )));
        }
        failpoint::pass("start.claimed");
        match self.start_claimed(&record, &layers, request, &lock) {
            Ok(session) => Ok(session),
            Err(error) => {
                self.undo_start(&record, &error);
                Err(error)
            }
        }
    }

    /// Takes the container's lock; `None` if it runs.
    fn claim_for_start(self, id: &ContainerId) -> Result<Option<Lock>, EngineError> {
        let locations = self.engine.locations();
        loop {
            if let Some(lock) = locations.claim(id)? {
                if running::read(locations, id).is_none() {
                    return Ok(Some(lock));
                }
                // A monitor died: its leavings go first.
                drop(lock);
                self.recover()?;
                continue;
            }
            // It is just ending: its end is written, and its lock is about to be free.
            if running::read_end(locations, id).is_some() {
                self.wait_for_release(id)?;
                continue;
            }
            if running::read(locations, id).is_some() {
                return Ok(None);
            }
            // Somebody else is about to start it, copies files from it, or removes it.
            std::thread::sleep(GLANCE);
        }
    }

    fn start_claimed(
        self,
        record: &Record,
        layers: &[LayerId],
        request: StartRequest,
        lock: &Lock,
    ) -> Result<Option<Session>, EngineError> {
        let locations = self.engine.locations();
        let linked = self.with_links(record)?;
        let settings = linked.as_ref();
        apparmor::prepare(&settings.request)?;
        let parent = settings.request.cgroup_parent.as_deref();
        let Seat { cgroup, scope } = seat::assign(self.engine.config(), locations, &record.id, parent)?;
        let launched = launch::launch(monitor::CONTAINER, scope.as_ref())?;
        failpoint::reach("start.launched")?;
        let directory = locations.container_directory(&record.id);
        create::make_directories(&directory, &settings.request)?;
        let log = logs::options::plan(self.engine.config(), record, &directory)?;
        for mount in &settings.mounts {
            make_source(self, mount)?;
        }
        hold_volumes(self, record)?;
        let started = events::now();
        let joins = self.joins(record)?;
        let images = (1..)
            .zip(settings.mounts.iter().filter(|mount| mount.kind == "image"))
            .map(|(number, _)| self.image_mount(&record.id, number))
            .collect::<Result<_, _>>()?;
        let edits = self.device_edits(&settings.request)?;
        let network = self.prepare_network(record, started, request)?;
        failpoint::reach("start.placed")?;
        if let Some(view) = &network.view {
            network_files::write(&network.files, settings, view)?;
        }
        failpoint::reach("start.files")?;
        if let NetworkPlan::Own(places) = &network.plan {
            let networks = self.engine.networks();
            places
                .iter()
                .try_for_each(|(segment, _)| networks.make_ready(segment))?;
            failpoint::reach("start.bridge")?;
        }
        let upper = (directory.join("upper"), directory.join("work"));
        let top = Some((upper.0.as_path(), upper.1.as_path()));
        let rootfs = Overlay {
            // It goes with the container, also when the host crashes.
            temporary: settings.request.remove_when_done,
            ..self.engine.store.overlay(layers, top, true)
        };
        let plan = spec::plan(PlanInput {
            settings,
            rootfs,
            cgroup: cgroup.clone(),
            network: network.namespace,
            files: &network.files,
            pids_limit: self.engine.config().pids_limit,
            host_ca: ca::for_container(self.engine, settings.request.host_ca),
            mounts: Vec::new(),
            images,
            edits,
        })?;
        let monitor_plan = MonitorPlan {
            root: locations.root.clone(),
            run_root: locations.run_root.clone(),
            id: record.id.clone(),
            plan: Some(plan),
            attach: request.attach,
            terminal: settings.request.terminal,
            open_stdin: settings.request.open_stdin,
            stdin_once: settings.request.stdin_once,
            size: request.size.or(settings.request.console_size),
            network: network.plan,
            names: network.names,
            log,
            restart: settings.request.restart,
            care: Care {
                stop_signal: stop::signal_number(&settings.stop_signal)?,
                stop_patience: stop::patience(settings),
                timeout: settings.request.timeout,
                health: self.health_plan(record)?,
            },
            recorded: true,
            cgroup,
            started,
            joins,
        };
        let listener = listen(&locations.run_directory(&record.id))?;
        failpoint::reach("start.listening")?;
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![lock.file().as_fd(), listener.as_fd()];
        descriptors.extend(network.sockets.iter().map(AsFd::as_fd));
        let session = begin(&record.id, launched, &monitor_plan, &descriptors)?;
        failpoint::pass("start.begun");
        Ok(request.attach.then_some(session))
    }

    /// Decides where the container's network is and notes in the same transaction that it is being started: from then
    /// on recovery looks after it.
    fn prepare_network(
        self,
        record: &Record,
        started: i64,
        request: StartRequest,
    ) -> Result<Network, EngineError> {
        let own_files = self.engine.locations().container_directory(&record.id);
        let mut network = Network {
            namespace: NetworkNamespace::Own,
            plan: NetworkPlan::Own(Vec::new()),
            files: own_files,
            view: Some(View::LONELY),
            names: None,
            sockets: Vec::new(),
        };
        match &record.settings.request.network {
            NetworkMode::Bridge | NetworkMode::Named(_) | NetworkMode::None => {}
            NetworkMode::Host => {
                network.namespace = NetworkNamespace::Host;
                network.plan = NetworkPlan::Shared;
                network.view = Some(View::Host);
            }
            NetworkMode::Container(other) => {
                let other = ContainerId(other.clone());
                network.namespace = NetworkNamespace::Joined;
                network.plan = NetworkPlan::Shared;
                network.files = self.engine.locations().container_directory(&other);
                network.view = None;
            }
        }
        let attachments = joining::attachments(&record.settings);
        let on_default = attachments.iter().any(|there| there.network == DEFAULT);
        let default = if on_default {
            Some(self.engine.networks().default_bridge()?)
        } else {
            None
        };
        let boot = sys::fs::boot_id()?;
        let publish = publications(record);
        let (joining, names) = self.engine.database.write(|transaction| {
            let joining = if attachments.is_empty() {
                Joining::default()
            } else {
                joining::join(transaction, record, attachments, default.as_ref(), &publish)?
            };
            let names = joining::names_plan(transaction, record, &joining.places, false)?;
            let mut status = record.status.clone();
            status.started = Some(started);
            status.restarts = 0;
            status.stopped_by_user = false;
            status.interrupted = false;
            status.boot = boot;
            status.endpoints = joining.places.iter().map(|place| place.record.clone()).collect();
            rows::set_status(transaction, &record.id, &status)?;
            history::begin(transaction, record, started)?;
            note_start(transaction, record, request, &status.endpoints)?;
            Ok::<_, EngineError>((joining, names))
        })?;
        if !joining.places.is_empty() {
            network.view = Some(joining::view(&joining.places, names.is_some()));
            network.plan = NetworkPlan::Own(joining::plugs(&joining.places));
        }
        network.names = names;
        network.sockets = joining.sockets;
        Ok(network)
    }

    /// Returns what the devices that are given by name bring with them. They are looked for at every start: drivers are
    /// updated.
    pub(super) fn device_edits(self, request: &CreateContainer) -> Result<cdi::Edits, EngineError> {
        if request.cdi_devices.is_empty() && request.gpus.is_empty() {
            return Ok(cdi::Edits::default());
        }
        let directories = &self.engine.config().cdi_directories;
        let registry = cdi::Registry::read(directories);
        let resolve = || {
            let mut names = request.cdi_devices.clone();
            names.extend(cdi::gpu_names(&request.gpus, &registry)?);
            registry.resolve(&names)
        };
        resolve().map_err(|error| EngineError::Invalid {
            message: error.to_string(),
            hint: Some(error.hint(directories)),
        })
    }

    /// Returns the union of the nth image that is mounted in a container. What a record's layers are is known since it
    /// was made: another image may have its name by now.
    fn image_mount(self, id: &ContainerId, number: i64) -> Result<Overlay, EngineError> {
        let layers = self
            .engine
            .database
            .read(|connection| layers_from(connection, id, number * create::LAYER_BLOCK))?;
        Ok(self.engine.store.overlay(&layers, None, false))
    }

    /// Takes back what a failed start has recorded, and leaves why it failed. The error that the user sees is that of
    /// the start: what cannot be undone now is undone by recovery, for the lock is free then.
    fn undo_start(self, record: &Record, error: &EngineError) {
        let mut status = record.status.clone();
        let code = match error {
            EngineError::Start(error) => monitor::code_of(error.failure),
            _ => 128,
        };
        status.exit = Some(ExitRecord {
            code,
            error: Some(error.to_string()),
            finished: events::now(),
            ..ExitRecord::default()
        });
        let locations = self.engine.locations();
        // A monitor that could say why it failed has cleared up. One that was killed has not, and once the run is closed
        // in the database, recovery would not look for it any more.
        let cleared = self
            .record(&record.id)
            .and_then(|as_started| self.clear_kernel(&record.id, Some(&as_started)));
        if cleared.is_err() {
            early::dismiss(&early::directory_of(locations, &record.id));
            return;
        }
        volumes::mounting::release(locations, &record.id);
        failpoint::pass("start.cleared");
        let undone = self.engine.database.write(|transaction| {
            let exit = status.exit.clone().unwrap_or_default();
            history::end(transaction, &record.id, &exit)?;
            rows::release(transaction, record.id.as_str())?;
            let code = exit.code.to_string();
            let more = [("execDuration", "0"), ("exitCode", code.as_str())];
            events::container(
                transaction,
                "die",
                &record.id,
                &record.name,
                &record.settings,
                &more,
            )?;
            if record.settings.request.remove_when_done {
                return finish::remove(transaction, locations, record, true);
            }
            rows::set_status(transaction, &record.id, &status)?;
            Ok(finish::Leavings::default())
        });
        if let Ok(leavings) = undone {
            failpoint::pass("start.undone");
            finish::remove_run_directory(locations, &record.id);
            leavings.reap();
            // Those who waited for this start see that there was none.
            early::dismiss(&early::directory_of(locations, &record.id));
        }
    }
}

/// How often it is looked what becomes of a container that somebody holds who has no process to show.
const GLANCE: Duration = Duration::from_millis(1);
/// Records what Docker tells of a start, in its order.
fn note_start(
    connection: &Connection,
    record: &Record,
    request: StartRequest,
    endpoints: &[EndpointRecord],
) -> Result<(), StateError> {
    let (id, settings) = (&record.id, &record.settings);
    let tell = |action, more: &[(&str, &str)]| {
        events::container(connection, action, id, &record.name, settings, more)
    };
    if request.attach {
        tell("attach", &[])?;
    }
    events::join_networks(connection, id, settings, endpoints)?;
    events::mount_volumes(connection, id, settings)?;
    tell("start", &[])?;
    if let Some((rows, columns)) = request.size.filter(|_| settings.request.terminal) {
        let (height, width) = (rows.to_string(), columns.to_string());
        tell("resize", &[("height", &height), ("width", &width)])?;
    }
    Ok(())
}

/// Gives the monitor its plan and waits until it has started the process.
pub(super) fn begin(
    id: &ContainerId,
    launched: Launched,
    plan: &MonitorPlan,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Session, EngineError> {
    let mut session = Session::new(launched.hand_over(plan, descriptors)?);
    failpoint::pass("start.handed-over");
    match session.next().map_err(wait::session_error(id))? {
        Some(SessionEvent::Started) => Ok(session),
        Some(SessionEvent::Failed(error)) => Err(error.into()),
        _ => Err(StartError {
            failure: runtime::StartFailure::Setup,
            message: "the monitor ended without a word".into(),
        }
        .into()),
    }
}

/// Returns the layers that a container stands on, the bottom first.
pub(super) fn layers_of(connection: &Connection, id: &ContainerId) -> Result<Vec<LayerId>, StateError> {
    layers_from(connection, id, 0)
}

/// Returns the layers from a position on, to the end of its block.
fn layers_from(connection: &Connection, id: &ContainerId, first: i64) -> Result<Vec<LayerId>, StateError> {
    let mut query = connection.prepare_cached(
        "SELECT layer FROM container_layers WHERE container = ?1 AND position >= ?2 AND position < ?3
         ORDER BY position",
    )?;
    let bounds = (id.as_str(), first, first + create::LAYER_BLOCK);
    let layers = query.query_map(bounds, |row| row.get::<_, String>(0))?;
    layers
        .map(|layer| {
            serde_json::from_value(serde_json::Value::String(layer?)).map_err(|error| {
                StateError::from(rusqlite::Error::FromSqlConversionFailure(
                    0,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                ))
            })
        })
        .collect()
}

/// Makes a volume's directory if it is missing; says what is missing of a bind.
fn make_source(containers: Containers<'_>, mount: &ContainerMount) -> Result<(), EngineError> {
    match (&mount.name, mount.kind.as_str()) {
        (Some(name), "volume") => volumes::make(containers.engine.locations(), name),
        (None, "bind") if !mount.source.exists() => Err(super::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            mount.source.display()
        ))),
        _ => Ok(()),
    }
}

/// Mounts those of the container's volumes that have options.
fn hold_volumes(containers: Containers<'_>, record: &Record) -> Result<(), EngineError> {
    let with_options = record.settings.mounts.iter().filter(|mount| mount.mounted);
    let mut volumes: Vec<&str> = with_options.filter_map(|mount| mount.name.as_deref()).collect();
    if volumes.is_empty() {
        return Ok(());
    }
    volumes.sort_unstable();
    volumes.dedup();
    volumes::mounting::hold(containers.engine, &record.id, &volumes)
}

/// Returns what is published: what was asked for, and with `-P` every other exposed port on a free one.
pub(crate) fn publications(record: &Record) -> Vec<PublishRequest> {
    let request = &record.settings.request;
    let mut publish = request.publish.clone();
    if request.publish_all {
        for exposed in &record.settings.exposed {
            let Some((port, protocol)) = parse_port(exposed) else {
                continue;
            };
            let asked = |there: &PublishRequest| there.port == port && there.protocol == protocol;
            if !publish.iter().any(asked) {
                publish.push(PublishRequest {
                    host: None,
                    host_ports: 0..=0,
                    port,
                    protocol,
                });
            }
        }
    }
    publish
}

fn parse_port(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "sctp" => Protocol::Sctp,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((port.parse().ok()?, protocol))
}

/// Makes the control socket, for this user alone (the directory is 0700 too).
pub(super) fn listen(directory: &Path) -> Result<UnixListener, EngineError> {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("control.sock");
    let failed = |error: std::io::Error| SysError::io("make the control socket", &path, &error);
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())
        .map_err(SysError::on("open", directory))?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    // By the descriptor, because a socket's path may have no more than 107 bytes (unix(7)).
    let listener = UnixListener::bind(sys::mount::descriptor_path(opened.as_fd()).join("control.sock"))
        .map_err(failed)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
