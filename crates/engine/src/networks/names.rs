//! Who is on a network, for those who resolve names there: files in the run directory, one for each endpoint.
//!
//! ```text
//! <run root>/networks/<network>/<container>   names and addresses; made and removed by the container's monitor
//! <run root>/networks/<network>/segment       what was about to be made, while `create` makes it
//! ```
//!
//! A file appears and goes by rename and unlink, so each change changes the directory's time. A name server reads the
//! directories of its container's networks again when that time is another: a query costs a stat(2) for each network,
//! and nobody needs to be told of anything.

use crate::containers::record::ContainerId;
use crate::containers::running;
use crate::{EngineError, Locations};
use network::Segment;
use network::names::{Table, Upstream};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use sys::SysError;

/// What somebody is about to make: recovery takes it away again if no network came of it.
const INTENT: &str = "segment";
/// Two changes this close together may bear the same time: before Linux 6.13 a file's time is that of the last tick.
const TICK: Duration = Duration::from_millis(20);

/// An endpoint's names, its container's own first, and its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) names: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// A network that a container is on, as its name server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedNetwork {
    pub(crate) id: String,
    pub(crate) name: String,
    /// How the container is found there.
    pub(crate) entry: Entry,
}

/// What a container's name server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamesPlan {
    pub(crate) networks: Vec<NamedNetwork>,
    /// What the container alone calls others: a name of theirs, and its own for them.
    pub(crate) links: Vec<(String, String)>,
    /// Whom it asks for what it does not know.
    pub(crate) upstream: Vec<Upstream>,
}

/// Makes a network's directory, with a word of what is to be made.
pub(super) fn intend(locations: &Locations, network: &str, segment: &Segment) -> Result<(), EngineError> {
    let directory = locations.network_directory(network);
    crate::make_private_directory(&directory)?;
    running::replace(&directory, INTENT, segment)
}

/// Returns what somebody was about to make.
pub(super) fn intended(locations: &Locations, network: &str) -> Option<Segment> {
    running::document(&locations.network_directory(network).join(INTENT))
}

/// Removes a network's directory.
pub(super) fn remove_directory(locations: &Locations, network: &str) -> Result<(), EngineError> {
    let directory = locations.network_directory(network);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SysError::io("remove the directory", &directory, &error).into())
        }
        _ => Ok(()),
    }
}

/// Makes a container known on a network, or known otherwise.
pub(crate) fn enter(
    locations: &Locations,
    network: &str,
    container: &ContainerId,
    entry: &Entry,
) -> Result<(), EngineError> {
    let directory = locations.network_directory(network);
    crate::make_private_directory(&directory)?;
    running::replace(&directory, container.as_str(), entry)
}

/// Takes a container's word away, if it is there.
pub(crate) fn leave(locations: &Locations, network: &str, container: &ContainerId) {
    let path = locations.network_directory(network).join(container.as_str());
    // It is there only while the container is on the network.
    std::fs::remove_file(path).unwrap_or_default();
}

/// A container's name server's knowledge, as of when the directories were read last.
#[derive(Debug, Default)]
pub(crate) struct Book {
    table: Arc<Table>,
    /// The directories' times then; empty if they are to be read in any case.
    times: Vec<Option<SystemTime>>,
}

impl Book {
    /// Returns who is on the container's networks now.
    pub(crate) fn table(&mut self, locations: &Locations, plan: &NamesPlan) -> Arc<Table> {
        let times: Vec<Option<SystemTime>> = plan
            .networks
            .iter()
            .map(|network| changed(&locations.network_directory(&network.id)))
            .collect();
        if times.is_empty() || times != self.times {
            // First the times, then what they are of: what changes in between is seen by the next query.
            self.table = Arc::new(read(locations, plan));
            let now = SystemTime::now();
            let is_old = |time: &SystemTime| now.duration_since(*time).is_ok_and(|age| age > TICK);
            let settled = times.iter().flatten().all(is_old);
            self.times = if settled { times } else { Vec::new() };
        }
        Arc::clone(&self.table)
    }

    /// Has everything read again: the plan is another.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn changed(directory: &Path) -> Option<SystemTime> {
    std::fs::metadata(directory)
        .and_then(|found| found.modified())
        .ok()
}

fn read(locations: &Locations, plan: &NamesPlan) -> Table {
    let mut table = Table::default();
    for network in &plan.networks {
        let entries = std::fs::read_dir(locations.network_directory(&network.id));
        let mut paths: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| ContainerId::parse(&entry.file_name().to_string_lossy()).is_some())
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        for path in paths {
            // Whoever has just gone has no names any more.
            if let Some(entry) = running::document::<Entry>(&path) {
                table.add(&network.name, &entry.names, &entry.addresses);
            }
        }
    }
    for (name, alias) in &plan.links {
        table.link(name, alias);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go_with_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let locations = Locations {
            root: directory.path().join("root"),
            run_root: directory.path().join("run"),
            config: None,
        };
        let container = |digit: &str| ContainerId::parse(&digit.repeat(64)).unwrap();
        let entry = |name: &str, address: &str| Entry {
            names: vec![name.to_owned(), "both".to_owned()],
            addresses: vec![address.parse().unwrap()],
        };
        let plan = NamesPlan {
            networks: vec![NamedNetwork {
                id: "n".into(),
                name: "net".into(),
                entry: Entry::default(),
            }],
            links: vec![("db".into(), "store".into())],
            upstream: Vec::new(),
        };
        let mut book = Book::default();
        let find = |book: &mut Book, name: &str| {
            let table = book.table(&locations, &plan);
            table.addresses_of(name).map(<[IpAddr]>::len)
        };
        assert_eq!(find(&mut book, "db"), None);
        enter(&locations, "n", &container("a"), &entry("db", "10.0.0.2")).unwrap();
        assert_eq!(find(&mut book, "db"), Some(1));
        // Within one tick of the clock by which files get their times, too.
        for round in 0..50 {
            let name = format!("web{round}");
            enter(&locations, "n", &container("b"), &entry(&name, "10.0.0.3")).unwrap();
            assert_eq!(find(&mut book, &name), Some(1));
            assert_eq!(find(&mut book, "both"), Some(2));
            leave(&locations, "n", &container("b"));
            assert_eq!(find(&mut book, &name), None);
        }
        assert_eq!(find(&mut book, "store.net"), None);
        assert_eq!(find(&mut book, "store"), Some(1));
        remove_directory(&locations, "n").unwrap();
        assert_eq!(find(&mut book, "db"), None);
    }
}
