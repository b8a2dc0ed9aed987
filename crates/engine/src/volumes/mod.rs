//! Volumes: directories that outlive containers.
//!
//! ```text
//! <root>/volumes/<name>/_data      what containers see
//! <root>/volumes/<name>/lock       held while an image's content is copied in
//! <root>/volumes/<name>/_filling   a copy under way; becomes _data by rename
//! <root>/volumes/<name>/_versions  what it held at other times: see [`versions`]
//! <root>/containers/.removed/volume-<random>/<name>   a volume on its way out
//! ```
//!
//! The row in the database comes before the directory, and the two go together: see [`removal`]. A volume with options
//! has something mounted on its `_data` while it is used: see [`mounting`].

pub(crate) mod copy_up;
pub mod filter;
pub(crate) mod mounting;
mod options;
pub(crate) mod removal;
mod tree_copy;
pub mod versions;

use crate::containers::record::{ContainerId, ContainerMount};
use crate::containers::{places, rows, validate};
use crate::system::Filters;
use crate::{Engine, EngineError, Locations, events};
use removal::Removal;
use rusqlite::{Connection, OptionalExtension};
use state::StateError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sys::path::Tree;

/// The volumes of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'e> {
    pub(crate) engine: &'e Engine,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name; 64 hex digits for an anonymous one.
    pub name: String,
    /// Whether it was made for one container alone.
    pub anonymous: bool,
    /// Its directory on the host.
    pub mountpoint: PathBuf,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// How many containers refer to it.
    pub containers: u64,
    /// How many versions it has.
    pub versions: u64,
}

/// The document in a volume's row.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct VolumeSettings {
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl VolumeSettings {
    /// Checks a new volume's options.
    pub(crate) fn new(
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Self, EngineError> {
        options::check(name, &options)?;
        Ok(Self { labels, options })
    }
}

/// What came of asking for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// It was not there before.
    pub(crate) made: bool,
    /// Something is to be mounted on it when it is used.
    pub(crate) mounted: bool,
}

const COLUMNS: &str = "name, anonymous, settings, created,
    (SELECT count(*) FROM container_volumes WHERE volume = volumes.name),
    (SELECT count(*) FROM volume_versions WHERE volume = volumes.name)";

impl Volumes<'_> {
    /// Makes a volume, or returns the one that has this name. The options are those of Docker's local driver; if there
    /// is a volume of this name with other ones, it is left alone, and that is an error.
    pub fn create(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        let (name, anonymous) = match name {
            Some(name) if !name.is_empty() => {
                validate::volume_name(name)?;
                (name.to_owned(), false)
            }
            _ => (places::hex(&places::random::<32>()?), true),
        };
        let settings = VolumeSettings::new(&name, labels, options)?;
        self.engine
            .database
            .write(|transaction| insert(transaction, &name, anonymous, &settings))?;
        sys::failpoint::reach("volume.recorded")?;
        make(&self.engine.locations, &name)?;
        self.inspect(&name)
    }

    /// Mounts those volumes that have options, for as long as what is returned lives.
    pub(crate) fn visit(self, mounts: &[ContainerMount]) -> Result<Vec<mounting::Guest>, EngineError> {
        let mut guests = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.mounted) {
            if let Some(name) = &mount.name {
                let options = self.inspect(name)?.options;
                guests.extend(mounting::Guest::enter(&self.engine.locations, name, &options)?);
            }
        }
        Ok(guests)
    }

    /// Returns all volumes by name.
    pub fn list(&self) -> Result<Vec<Volume>, EngineError> {
        let locations = &self.engine.locations;
        let list = self.engine.database.read(|connection| {
            let mut query = connection.prepare(&format!("SELECT {COLUMNS} FROM volumes ORDER BY name"))?;
            let rows = query.query_map([], |row| read(row, locations))?;
            Ok::<_, StateError>(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        Ok(list)
    }

    /// Returns one.
    pub fn inspect(&self, name: &str) -> Result<Volume, EngineError> {
        let locations = &self.engine.locations;
        let found = self.engine.database.read(|connection| {
            Ok::<_, StateError>(
                connection
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM volumes WHERE name = ?1"))?
                    .query_row([name], |row| read(row, locations))
                    .optional()?,
            )
        })?;
        found.ok_or_else(|| no_such(name))
    }

    /// Removes one that no container refers to. With `force`, one that is not there is no error. One that has versions
    /// is removed only `with_versions`.
    pub fn remove(&self, name: &str, force: bool, with_versions: bool) -> Result<(), EngineError> {
        self.engine.database.make_room();
        let gone = self.engine.database.write(|transaction| {
            if let Some(user) = user_of(transaction, name)? {
                return Err(EngineError::Conflict {
                    message: format!("remove {name}: volume is in use - [{user}]"),
                    hint: Some("remove the container first".into()),
                });
            }
            let data = data(&self.engine.locations, name);
            if mounting::is_mounted(&data)? {
                return Err(is_mounted_on(name, &data));
            }
            let tags = versions::tags(transaction, name)?;
            if !(with_versions || tags.is_empty()) {
                return Err(has_versions(name, &tags));
            }
            transaction
                .execute("DELETE FROM volume_versions WHERE volume = ?1", [name])
                .map_err(StateError::from)?;
            delete_unused(transaction, &self.engine.locations, [name])
        })?;
        if gone.is_empty() && !force {
            return Err(no_such(name));
        }
        gone.into_iter().try_for_each(Removal::finish)
    }

    /// Removes anonymous volumes (with `all`, named ones too) that no container refers to and that have no versions.
    /// Returns names and bytes.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<(Vec<String>, u64), EngineError> {
        self.engine.database.make_room();
        let is_all =
            |(key, value): &&(String, String)| key == "all" && matches!(value.as_str(), "1" | "t" | "true");
        let all = all || filters.iter().any(|filter| is_all(&filter));
        let others: Vec<_> = filters.iter().filter(|(key, _)| key != "all").cloned().collect();
        let filters = Filters::parse(&others)?;
        let candidates: Vec<String> = self
            .list()?
            .into_iter()
            .filter(|volume| volume.containers == 0 && (all || volume.anonymous))
            .filter(|volume| filters.accept(volume.created, &volume.labels))
            .map(|volume| volume.name)
            .collect();
        let (mut names, mut bytes) = (Vec::new(), 0);
        let gone = self.engine.database.write(|transaction| {
            let candidates = candidates.iter().map(String::as_str);
            delete_unused(transaction, &self.engine.locations, candidates)
        })?;
        for removal in gone {
            // What cannot be measured is removed all the same, and counts nothing.
            let size = removal
                .data()
                .and_then(|data| Tree::open(&data).and_then(|tree| tree.disk_usage()).ok());
            bytes += size.unwrap_or_default();
            names.push(removal.name().to_owned());
            removal.finish()?;
        }
        events::pruned(self.engine, "volume", bytes)?;
        Ok((names, bytes))
    }
}

fn read(row: &rusqlite::Row<'_>, locations: &Locations) -> rusqlite::Result<Volume> {
    let name: String = row.get(0)?;
    let settings: String = row.get(2)?;
    // A damaged document costs the volume its labels, not its place in the list.
    let settings: VolumeSettings = serde_json::from_str(&settings).unwrap_or_default();
    Ok(Volume {
        anonymous: row.get(1)?,
        mountpoint: data(locations, &name),
        labels: settings.labels,
        options: settings.options,
        created: row.get(3)?,
        containers: row.get(4)?,
        versions: row.get(5)?,
        name,
    })
}

fn no_such(name: &str) -> EngineError {
    EngineError::NotFound {
        kind: "volume",
        name: name.to_owned(),
    }
}

/// Refuses volume drivers other than the one that there is.
pub fn check_driver(driver: Option<&str>) -> Result<(), EngineError> {
    match driver {
        None | Some("" | "local") => Ok(()),
        Some(other) => Err(EngineError::Invalid {
            message: format!("error looking up volume plugin {other}: plugin \"{other}\" not found"),
            hint: Some("there is the volume driver 'local' and no other".into()),
        }),
    }
}

fn is_mounted_on(name: &str, data: &Path) -> EngineError {
    EngineError::Conflict {
        message: format!("remove {name}: volume is in use: something is mounted on it"),
        hint: Some(format!(
            "if no container or command uses it, take away what you have mounted there: umount {}",
            data.display()
        )),
    }
}

fn has_versions(name: &str, tags: &[String]) -> EngineError {
    let plural = if tags.len() == 1 { "a version" } else { "versions" };
    EngineError::Conflict {
        message: format!("remove {name}: volume has {plural}: {}", tags.join(", ")),
        hint: Some(format!(
            "remove them with it: 'volume rm --versions {name}', or one by one: 'volume forget {name} TAG'"
        )),
    }
}

fn user_of(connection: &Connection, volume: &str) -> Result<Option<String>, StateError> {
    Ok(connection
        .prepare_cached("SELECT container FROM container_volumes WHERE volume = ?1 LIMIT 1")?
        .query_row([volume], |row| row.get(0))
        .optional()?)
}

/// Writes a volume's row unless there is one. Docker takes one that is there whatever was asked for; what would be
/// written to another place than was said is an error here.
pub(crate) fn insert(
    connection: &Connection,
    name: &str,
    anonymous: bool,
    settings: &VolumeSettings,
) -> Result<Inserted, EngineError> {
    if insert_at(connection, name, anonymous, settings, events::now())? {
        return Ok(Inserted {
            made: true,
            mounted: options::recipe(&settings.options).is_some(),
        });
    }
    let there: String = connection
        .prepare_cached("SELECT settings FROM volumes WHERE name = ?1")
        .and_then(|mut query| query.query_row([name], |row| row.get(0)))
        .map_err(StateError::from)?;
    let there: VolumeSettings = serde_json::from_str(&there).unwrap_or_default();
    if !settings.options.is_empty() && settings.options != there.options {
        return Err(EngineError::Conflict {
            message: format!("create {name}: a volume named {name} already exists with other options"),
            hint: Some("choose a different name, or look at it with 'volume inspect'".into()),
        });
    }
    Ok(Inserted {
        made: false,
        mounted: options::recipe(&there.options).is_some(),
    })
}

/// Writes a volume's row, with the time of its making, unless there is one; says whether it wrote one.
fn insert_at(
    connection: &Connection,
    name: &str,
    anonymous: bool,
    settings: &VolumeSettings,
    created: i64,
) -> Result<bool, StateError> {
    let settings = rows::json(settings)?;
    let inserted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO volumes (name, anonymous, settings, created) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((name, anonymous, settings, created))?;
    if inserted > 0 {
        events::record(connection, "volume", "create", name, &[("driver", "local")])?;
    }
    Ok(inserted > 0)
}

/// Notes that a container uses a volume.
pub(crate) fn refer(
    connection: &Connection,
    container: &ContainerId,
    volume: &str,
) -> Result<(), StateError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO container_volumes (container, volume) VALUES (?1, ?2)")?
        .execute((container.as_str(), volume))?;
    Ok(())
}

/// Returns the names of the anonymous volumes that a container uses.
pub(crate) fn anonymous_of(
    connection: &Connection,
    container: &ContainerId,
) -> Result<Vec<String>, StateError> {
    let mut query = connection.prepare_cached(
        "SELECT v.name FROM container_volumes c JOIN volumes v ON v.name = c.volume
         WHERE c.container = ?1 AND v.anonymous != 0",
    )?;
    let names = query.query_map([container.as_str()], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Takes those volumes away that no container refers to, that have no versions, and on which nothing is mounted; returns
/// which. When the transaction that `connection` is in
/// has been committed, they are to be finished; otherwise dropped, and all is as before.
pub(crate) fn delete_unused<'n>(
    connection: &Connection,
    locations: &Locations,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<Removal>, EngineError> {
    let mut gone = Vec::new();
    for name in names {
        // What somebody has mounted there is not ours, and would move with the directory.
        if mounting::is_mounted(&data(locations, name))? {
            continue;
        }
        let created: Option<i64> = connection
            .prepare_cached(
                "DELETE FROM volumes WHERE name = ?1
                 AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume = ?1)
                 AND NOT EXISTS (SELECT 1 FROM volume_versions WHERE volume = ?1) RETURNING created",
            )
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
            .map_err(StateError::from)?;
        if let Some(created) = created {
            events::record(connection, "volume", "destroy", name, &[("driver", "local")])?;
            gone.push(Removal::begin(locations, name, created)?);
        }
    }
    Ok(gone)
}

/// What containers see of a volume.
pub(crate) fn data(locations: &Locations, name: &str) -> PathBuf {
    locations.volume_directory(name).join("_data")
}

/// Makes what is missing of a volume's directory.
pub(crate) fn make(locations: &Locations, name: &str) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    let data = data(locations, name);
    if data.exists() {
        return Ok(());
    }
    crate::make_private_directory(&locations.volume_directory(name))?;
    sys::failpoint::reach("volume.directory")?;
    match std::fs::create_dir(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(sys::SysError::io("make the volume", &data, &error).into())
        }
        Err(_) => Ok(()),
        Ok(()) => std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755))
            .map_err(|error| sys::SysError::io("set the mode of", &data, &error).into()),
    }
}
