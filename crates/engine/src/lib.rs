//! What users ask for: containers, images, builds, volumes, networks, events.
//!
//! In: typed requests from the command line, the API, Compose. Out: records in the state database, and effects through
//! `store`, `registry`, `network`, `runtime` and `builder`, which meet only here. Never speaks HTTP, never touches a
//! terminal, never prints.
//!
//! # On disk
//!
//! ```text
//! <root>/state.db              what was asked for (see the state crate)
//! <root>/containers/<id>/      upper work hosts hostname resolv.conf, the log
//! <root>/volumes/<name>/_data
//! <run root>/<id>/             lock   held by the monitor while the container runs
//!                              control.sock   attach, resize, signal, wait, rename
//!                              process   pid and start time of the container's first process
//!                              exit   exit record, written before the lock is let go
//! ```

mod ca;
mod cdi;
mod config;
pub mod durable;
mod error;
mod hello;
mod system;
pub mod usage;

pub use sys::fs::write_atomically;
pub use sys::signal::name as signal_name;
pub use {builder, network, runtime};

pub mod builds;
pub mod containers;
pub mod events;
pub mod images;
pub mod login;
pub mod networks;
pub mod pattern;
pub mod size;
pub mod volumes;

pub use config::{CgroupDriver, Config, ConfigError, HostCa, OptionValue};
pub use error::{EngineError, Kind, explain};
pub use system::{Info, PruneRequest, Pruned, moment};

use state::Database;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use store::Store;

/// Where an engine keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations {
    /// What outlives a reboot: `/var/lib/coracle`.
    pub root: PathBuf,
    /// What does not: `/run/coracle`.
    pub run_root: PathBuf,
    /// The configuration file, if it is not the default one.
    pub config: Option<PathBuf>,
}

/// The engine on one root. Every door (command line, API) opens its own; all see the same state.
#[derive(Debug)]
pub struct Engine {
    locations: Locations,
    config: Config,
    client_directory: Option<PathBuf>,
    credentials: Option<HashMap<String, login::Auth>>,
    stop: Option<Arc<AtomicBool>>,
    database: Arc<Database>,
    store: Store,
}

impl Engine {
    /// Opens the engine, making directories (0700) where they are missing, and heals what dead processes left.
    pub fn open(locations: Locations) -> Result<Self, EngineError> {
        let config = Config::load(locations.config.as_deref())?;
        for directory in [&locations.root, &locations.run_root] {
            make_private_directory(directory)?;
        }
        let database = Arc::new(Database::open(&locations.root)?);
        let store = match Store::open(&locations.root, Arc::clone(&database)) {
            Err(_) if database.make_room() => Store::open(&locations.root, Arc::clone(&database)),
            opened => opened,
        };
        let engine = Self {
            locations,
            config,
            client_directory: None,
            credentials: None,
            stop: None,
            database,
            store: store?,
        };
        match engine.containers().recover() {
            // What is healed is removed mostly, and there was no room for that.
            Err(_) if engine.database.make_room() => engine.containers().recover()?,
            healed => healed?,
        }
        Ok(engine)
    }

    /// Containers: create, start, stop, …
    pub fn containers(&self) -> containers::Containers<'_> {
        containers::Containers { engine: self }
    }

    /// Images: pull, load, save, tag, …
    pub fn images(&self) -> images::Images<'_> {
        images::Images { engine: self }
    }

    /// Builds.
    pub fn builds(&self) -> builds::Builds<'_> {
        builds::Builds { engine: self }
    }

    /// Volumes.
    pub fn volumes(&self) -> volumes::Volumes<'_> {
        volumes::Volumes { engine: self }
    }

    /// Networks.
    pub fn networks(&self) -> networks::Networks<'_> {
        networks::Networks { engine: self }
    }

    /// Overrides, for this process, whether containers and builds trust the host's own extra CA certificates.
    pub fn set_host_ca(&mut self, trusted: HostCa) {
        self.config.host_ca = trusted;
    }

    /// Names the directory of the user's `config.json` (credentials), for this process; `$DOCKER_CONFIG` or `~/.docker`
    /// otherwise.
    pub fn set_client_directory(&mut self, directory: &Path) {
        self.client_directory = Some(directory.to_owned());
    }

    /// Sets what registries are shown of who asks, by registry; `None`: what the user's `config.json` has.
    pub fn set_credentials(&mut self, credentials: Option<HashMap<String, login::Auth>>) {
        self.credentials = credentials;
    }

    /// Sets what ends everything that is under way with registries, once it is true.
    pub fn set_stop(&mut self, stop: Option<Arc<AtomicBool>>) {
        self.stop = stop;
    }

    /// Returns the directory of the user's `config.json`.
    pub(crate) fn client_directory(&self) -> Option<PathBuf> {
        self.client_directory
            .clone()
            .or_else(|| {
                std::env::var_os("DOCKER_CONFIG")
                    .filter(|value| !value.is_empty())
                    .map(PathBuf::from)
            })
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))
    }

    /// Makes a client for registries, with the user's credentials.
    pub(crate) fn registry_client(&self) -> Result<registry::Client, EngineError> {
        self.registry_client_trusting(None)
    }

    /// The same, which also takes any certificate, or none, of one more registry.
    pub(crate) fn registry_client_trusting(
        &self,
        more: Option<String>,
    ) -> Result<registry::Client, EngineError> {
        let directory = self.client_directory();
        let mut certificates = vec![
            PathBuf::from("/etc/coracle/certs.d"),
            PathBuf::from("/etc/docker/certs.d"),
        ];
        // The user's own come first.
        if let Some(directory) = &directory {
            certificates.insert(0, directory.join("certs.d"));
        }
        Ok(registry::Client::new(registry::RegistryConfig {
            certificates,
            docker_config: directory.map(|directory| directory.join("config.json")),
            credentials: self.credentials.clone(),
            abandoned: self.stop.clone(),
            mirrors: self.config.mirrors.clone(),
            insecure: self
                .config
                .insecure_registries
                .iter()
                .cloned()
                .chain(more)
                .collect(),
            user_agent: concat!("coracle/", env!("CARGO_PKG_VERSION")).into(),
        })?)
    }

    /// Returns the configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns where the engine keeps its things.
    pub fn locations(&self) -> &Locations {
        &self.locations
    }
}

fn make_private_directory(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| sys::SysError::io("make the directory", path, &error).into())
}
