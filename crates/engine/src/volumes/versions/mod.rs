//! Versions of volumes: what a volume held at a moment, kept under a tag.
//!
//! ```text
//! <root>/volumes/<name>/_versions/<id>      the tree as it was; nobody writes to it any more
//! <root>/volumes/<name>/_versions/lock      held by whoever makes, reads or forgets versions of the volume
//! <root>/containers/.removed/version-<id>/  one that is being made or forgotten: see [`staging`]
//! ```
//!
//! A version is a whole tree. On a filesystem that can share blocks between files every file of it is a clone of the
//! volume's file. Elsewhere a file that is the same as in the version before (owner, mode, time, attributes, and the
//! content, which is read) is a further name of that one's, never of the volume's own file, which is written in place.
//!
//! Consistency: the containers that run with the volume are paused for the copy, all at once. To keep that short the
//! tree is first copied while they run, and under the pause only what has changed since is copied again; what that goes
//! by is in [`tree_copy`](super::tree_copy).

mod capture;
pub mod compare;
mod restore;
pub(crate) mod staging;
mod transfer;

use super::{Volumes, mounting};
use crate::containers::record::ContainerId;
use crate::containers::{invalid, rows};
use crate::{EngineError, Locations, events};
use rusqlite::{Connection, OptionalExtension};
use staging::Stage;
use state::StateError;
use std::path::PathBuf;
use std::time::Duration;
use sys::lock::Lock;
use sys::{SysError, failpoint};

pub use compare::{Difference, DifferenceKind};

/// The longest tag.
const LONGEST_TAG: usize = 128;
/// How many files of the same second are told apart by a number behind the tag.
const LAST_NUMBER: u32 = 1000;

/// A version of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The volume.
    pub volume: String,
    /// What it is called.
    pub tag: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Bytes of its regular files.
    pub size: u64,
    /// How it came about.
    pub origin: Origin,
    /// How long containers stood still for it.
    pub frozen: Duration,
    id: String,
}

/// How a version came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// Of one moment: nobody was writing, or whoever was stood still.
    #[default]
    Consistent,
    /// While containers were running with the volume (`--live`).
    Live,
    /// By a restore, of what it has replaced.
    Replaced,
}

/// The document in a version's row.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct VersionSettings {
    origin: Origin,
    frozen: u64,
}

/// How to make a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Its tag; the time of its making if there is none.
    pub tag: Option<String>,
    /// Do not pause containers.
    pub live: bool,
}

/// What came of copying a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of regular files.
    pub bytes: u64,
    /// Of these, bytes that are shared with an earlier version by its name in the directory.
    pub shared: u64,
    /// Sockets that were left out.
    pub sockets: u64,
}

/// A volume, or a version of it: `NAME`, `NAME:TAG`, `NAME@TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The volume.
    pub volume: String,
    /// The version; without one, the volume as it is.
    pub tag: Option<String>,
}

impl Source {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        // Neither character is in a volume's name.
        let (volume, tag) = match text.split_once([':', '@']) {
            Some((volume, tag)) => (volume, Some(tag.to_owned())),
            None => (text, None),
        };
        Self {
            volume: volume.to_owned(),
            tag,
        }
    }
}

impl Volumes<'_> {
    /// Returns the versions of a volume, or of all, the oldest first.
    pub fn versions(&self, volume: Option<&str>) -> Result<Vec<Version>, EngineError> {
        if let Some(volume) = volume {
            self.inspect(volume)?;
        }
        let list = self.engine.database.read(|connection| {
            let mut query = connection.prepare(
                "SELECT volume, tag, id, size, settings, created FROM volume_versions
                 WHERE ?1 IS NULL OR volume = ?1 ORDER BY volume, created, tag",
            )?;
            let rows = query.query_map([volume], read)?;
            Ok::<_, StateError>(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        Ok(list)
    }

    /// Returns one version.
    pub fn version(&self, volume: &str, tag: &str) -> Result<Version, EngineError> {
        self.inspect(volume)?;
        let found = self
            .engine
            .database
            .read(|connection| version(connection, volume, tag))?;
        found.ok_or_else(|| no_such_version(volume, tag))
    }

    /// Keeps what a volume holds now.
    pub fn snapshot(
        &self,
        volume: &str,
        request: &SnapshotRequest,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Version, Copied), EngineError> {
        let made = self.inspect(volume)?;
        if let Some(tag) = &request.tag {
            check_tag(tag)?;
        }
        let locations = &self.engine.locations;
        let _turn = take_turn(locations, volume)?;
        if let Some(tag) = &request.tag
            && self
                .versions(Some(volume))?
                .iter()
                .any(|version| version.tag == *tag)
        {
            return Err(tag_in_use(volume, tag));
        }
        // The last one is the one that shares most.
        let before = self.versions(Some(volume))?.pop();
        let previous = before.map(|version| directory(locations, volume).join(version.id));
        let stage = Stage::begin(locations, volume)?;
        failpoint::reach("version.staged")?;
        let captured = self.capture(
            volume,
            &stage.tree(),
            previous.as_deref(),
            request.live,
            cancelled,
        )?;
        sys::fs::sync_filesystem(&stage.tree())?;
        failpoint::reach("version.copied")?;
        let settings = VersionSettings {
            origin: if captured.lively {
                Origin::Live
            } else {
                Origin::Consistent
            },
            frozen: u64::try_from(captured.frozen.as_nanos()).unwrap_or(u64::MAX),
        };
        let version = self.engine.database.write(|transaction| {
            let created = events::now();
            let row = NewVersion {
                volume,
                tag: request.tag.as_deref(),
                id: stage.id(),
                size: captured.copied.bytes,
                settings: &settings,
                created,
            };
            let version = insert(transaction, made.created, &row)?;
            events::record(
                transaction,
                "volume",
                "snapshot",
                volume,
                &[("driver", "local"), ("tag", &version.tag)],
            )?;
            stage.place(locations)?;
            failpoint::reach("version.placed")?;
            Ok::<_, EngineError>(version)
        })?;
        failpoint::pass("version.recorded");
        stage.finish()?;
        Ok((version, captured.copied))
    }

    /// Removes a version.
    pub fn forget(&self, volume: &str, tag: &str) -> Result<(), EngineError> {
        self.inspect(volume)?;
        let locations = &self.engine.locations;
        let _turn = take_turn(locations, volume)?;
        let stage = self.engine.database.write(|transaction| {
            let Some(version) = version(transaction, volume, tag)? else {
                return Err(no_such_version(volume, tag));
            };
            transaction
                .execute("DELETE FROM volume_versions WHERE id = ?1", [&version.id])
                .map_err(StateError::from)?;
            events::record(
                transaction,
                "volume",
                "forget",
                volume,
                &[("driver", "local"), ("tag", tag)],
            )?;
            Stage::take_away(locations, volume, &version.id)
        })?;
        failpoint::pass("version.forgotten");
        stage.finish()
    }

    /// Opens a volume or a version of it for reading. What is returned with its directory keeps it there.
    fn open_source(self, source: &Source) -> Result<(PathBuf, Opened), EngineError> {
        let locations = &self.engine.locations;
        let volume = self.inspect(&source.volume)?;
        let Some(tag) = &source.tag else {
            let mounted = mounting::Guest::enter(locations, &source.volume, &volume.options)?;
            return Ok((
                volume.mountpoint,
                Opened {
                    _turn: None,
                    _mounted: mounted,
                },
            ));
        };
        let turn = take_turn(locations, &source.volume)?;
        let version = self.version(&source.volume, tag)?;
        let opened = Opened {
            _turn: Some(turn),
            _mounted: None,
        };
        Ok((directory(locations, &source.volume).join(version.id), opened))
    }

    /// Returns the containers that hold a volume's lock of life: that run, or are about to.
    fn users_alive(self, volume: &str) -> Result<Vec<rows::Record>, EngineError> {
        let users: Vec<String> = self.engine.database.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT container FROM container_volumes WHERE volume = ?1")?;
            let users = query.query_map([volume], |row| row.get(0))?;
            Ok::<_, StateError>(users.collect::<Result<_, _>>()?)
        })?;
        let mut alive = Vec::new();
        for id in users.iter().filter_map(|id| ContainerId::parse(id)) {
            if self.engine.locations.is_claimed(&id)? {
                let record = self
                    .engine
                    .database
                    .read(|connection| Ok::<_, EngineError>(rows::by_id(connection, &id)?))?;
                alive.extend(record);
            }
        }
        // Whoever holds several still takes them in one order, whichever volume it is for.
        alive.sort_by(|one: &rows::Record, other| one.id.cmp(&other.id));
        Ok(alive)
    }
}

/// What keeps a tree in its place while it is read.
struct Opened {
    _turn: Option<Lock>,
    _mounted: Option<mounting::Guest>,
}

/// Where the versions of a volume lie.
pub(crate) fn directory(locations: &Locations, volume: &str) -> PathBuf {
    locations.volume_directory(volume).join("_versions")
}

/// Waits until nobody else makes, reads or forgets versions of a volume.
fn take_turn(locations: &Locations, volume: &str) -> Result<Lock, EngineError> {
    let directory = directory(locations, volume);
    super::make(locations, volume)?;
    crate::make_private_directory(&directory)?;
    Ok(Lock::exclusive(&directory.join("lock"))?)
}

/// How many versions a volume has, and the first tags of them.
pub(super) fn tags(connection: &Connection, volume: &str) -> Result<Vec<String>, StateError> {
    let mut query = connection
        .prepare_cached("SELECT tag FROM volume_versions WHERE volume = ?1 ORDER BY created, tag")?;
    let tags = query.query_map([volume], |row| row.get(0))?;
    Ok(tags.collect::<Result<_, _>>()?)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Version> {
    let settings: String = row.get(4)?;
    let settings: VersionSettings = serde_json::from_str(&settings).unwrap_or_default();
    Ok(Version {
        volume: row.get(0)?,
        tag: row.get(1)?,
        id: row.get(2)?,
        size: row.get(3)?,
        created: row.get(5)?,
        origin: settings.origin,
        frozen: Duration::from_nanos(settings.frozen),
    })
}

fn version(connection: &Connection, volume: &str, tag: &str) -> Result<Option<Version>, StateError> {
    Ok(connection
        .prepare_cached(
            "SELECT volume, tag, id, size, settings, created FROM volume_versions WHERE volume = ?1 AND tag = ?2",
        )?
        .query_row([volume, tag], read)
        .optional()?)
}

/// A row to be written.
struct NewVersion<'r> {
    volume: &'r str,
    tag: Option<&'r str>,
    id: &'r str,
    size: u64,
    settings: &'r VersionSettings,
    created: i64,
}

/// Writes a version's row. The volume must be the one that was made at `made`.
fn insert(connection: &Connection, made: i64, new: &NewVersion<'_>) -> Result<Version, EngineError> {
    let still: Option<i64> = connection
        .query_row(
            "SELECT created FROM volumes WHERE name = ?1",
            [new.volume],
            |row| row.get(0),
        )
        .optional()
        .map_err(StateError::from)?;
    if still != Some(made) {
        return Err(super::no_such(new.volume));
    }
    let settings = rows::json(new.settings)?;
    let write = |tag: &str| {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO volume_versions (volume, tag, id, size, settings, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute((new.volume, tag, new.id, new.size, &settings, new.created))
            })
            .map(|count| count > 0)
            .map_err(StateError::from)
    };
    let tag = match new.tag {
        Some(tag) if write(tag)? => tag.to_owned(),
        Some(tag) => return Err(tag_in_use(new.volume, tag)),
        None => {
            let time = timestamp(new.created);
            let mut numbered = (2..LAST_NUMBER).map(|number| format!("{time}-{number}"));
            let mut tag = time.clone();
            while !write(&tag)? {
                tag = numbered.next().ok_or_else(|| tag_in_use(new.volume, &time))?;
            }
            tag
        }
    };
    Ok(Version {
        volume: new.volume.to_owned(),
        tag,
        created: new.created,
        size: new.size,
        origin: new.settings.origin,
        frozen: Duration::from_nanos(new.settings.frozen),
        id: new.id.to_owned(),
    })
}

/// Writes a time as a tag: `20260704T155900Z`.
fn timestamp(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .unwrap_or_default()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

fn check_tag(tag: &str) -> Result<(), EngineError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = tag.bytes().next();
    if tag.len() <= LONGEST_TAG
        && tag.bytes().all(known)
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Ok(());
    }
    Err(invalid(format!(
        "invalid tag {tag:?}: a tag is of letters, digits, '_', '.' and '-', begins with none of the last two, and has at most {LONGEST_TAG} characters"
    )))
}

fn no_such_version(volume: &str, tag: &str) -> EngineError {
    EngineError::NotFound {
        kind: "version",
        name: format!("{volume}:{tag}"),
    }
}

fn tag_in_use(volume: &str, tag: &str) -> EngineError {
    EngineError::Conflict {
        message: format!("the volume {volume} has a version {tag} already"),
        hint: Some(format!(
            "choose another tag, or remove that version with 'volume forget {volume} {tag}'"
        )),
    }
}

/// Opens a trusted directory of ours.
fn open_directory(path: &std::path::Path) -> Result<std::os::fd::OwnedFd, SysError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(SysError::on("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for tag in ["a", "1.0", "_x", "before-migration", "20260704T155900Z"] {
            assert!(check_tag(tag).is_ok(), "{tag}");
        }
        for tag in ["", ".", "..", "-x", "a/b", "a b", "é", "a:b", &"x".repeat(129)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
        assert_eq!(timestamp(1_783_180_740_000_000_000), "20260704T155900Z");
    }

    #[test]
    fn sources() {
        for (text, volume, tag) in [
            ("pg", "pg", None),
            ("pg:v1", "pg", Some("v1")),
            ("pg@v1", "pg", Some("v1")),
            ("pg:", "pg", Some("")),
        ] {
            let source = Source::parse(text);
            assert_eq!((source.volume.as_str(), source.tag.as_deref()), (volume, tag));
        }
    }
}
