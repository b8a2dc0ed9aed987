//! The history of builds: what was built, how it ended, and what was told of it.
//!
//! What is over is on disk, two files for each build in `<root>/history`, so that it outlives the server: the record, and
//! the log as the messages that clients got, each after its length. What runs is known to [`super::jobs`].

use super::SolveError;
use super::filters::Filters;
use super::solve::Solved;
use super::wire::control::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildHistoryRequest, SolveRequest,
    StatusResponse,
};
use super::wire::gateway::RpcStatus;
use prost::Message;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tonic::Status;

/// So many builds are remembered, as with BuildKit; those that are pinned do not count.
const KEPT: usize = 50;
/// So much of a build's log is kept.
const LONGEST_LOG: usize = 4 << 20;
/// So many changes wait for a listener that is slow, before it misses some.
const WAITING: usize = 64;
const RECORD: &str = "record";
const LOG: &str = "log";

/// Tells listeners of changes.
#[derive(Debug)]
pub(crate) struct Changes(broadcast::Sender<BuildHistoryEvent>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(WAITING).0)
    }
}

impl Changes {
    /// Tells whoever listens.
    pub(super) fn tell(&self, kind: BuildHistoryEventType, record: BuildHistoryRecord) {
        // Nobody need listen.
        drop(self.0.send(event(kind, record)));
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<BuildHistoryEvent> {
        self.0.subscribe()
    }
}

/// Makes a message for listeners.
pub(super) fn event(kind: BuildHistoryEventType, record: BuildHistoryRecord) -> BuildHistoryEvent {
    BuildHistoryEvent {
        r#type: kind.into(),
        record: Some(record),
    }
}

/// Writes down what happens in one build.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    record: BuildHistoryRecord,
    log: Vec<u8>,
    /// Vertexes by their digests: whether each is over, and whether it came from the cache.
    vertexes: HashMap<String, (bool, bool)>,
}

impl Recorder {
    pub(super) fn new(request: &SolveRequest) -> Self {
        Self(Mutex::new(Recorded {
            record: BuildHistoryRecord {
                r#ref: request.r#ref.clone(),
                frontend: request.frontend.clone(),
                frontend_attrs: request.frontend_attrs.clone(),
                exporters: request.exporters.clone(),
                created_at: Some(super::progress::now()),
                ..BuildHistoryRecord::default()
            },
            ..Recorded::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the options of a build whose frontend is in the client, which come later.
    pub(super) fn options(&self, frontend: &str, attributes: &HashMap<String, String>) {
        let record = &mut self.lock().record;
        if record.frontend.is_empty() {
            frontend.clone_into(&mut record.frontend);
            record
                .frontend_attrs
                .extend(attributes.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    /// Notes what is told.
    pub(super) fn hear(&self, update: &StatusResponse) {
        let mut recorded = self.lock();
        for vertex in &update.vertexes {
            let state = (vertex.completed.is_some(), vertex.cached);
            recorded.vertexes.insert(vertex.digest.clone(), state);
        }
        recorded.record.num_warnings += i32::try_from(update.warnings.len()).unwrap_or_default();
        if recorded.log.len() + update.encoded_len() <= LONGEST_LOG {
            recorded.log.extend(update.encode_length_delimited_to_vec());
        }
    }

    /// Returns the record as it is by now.
    pub(super) fn record(&self) -> BuildHistoryRecord {
        let recorded = self.lock();
        let count = |which: fn(&(bool, bool)) -> bool| {
            let count = recorded.vertexes.values().filter(|state| which(state)).count();
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        BuildHistoryRecord {
            num_total_steps: count(|_| true),
            num_completed_steps: count(|(over, _)| *over),
            num_cached_steps: count(|(_, cached)| *cached),
            ..recorded.record.clone()
        }
    }

    /// The build is over: keeps its record and its log. Returns the record.
    pub(super) fn end(&self, root: &Path, result: &Result<Solved, Status>) -> io::Result<BuildHistoryRecord> {
        {
            let record = &mut self.lock().record;
            record.completed_at = Some(super::progress::now());
            match result {
                Ok(solved) => record.exporter_response.clone_from(&solved.response),
                Err(status) => record.error = Some(described(status)),
            }
        }
        let record = self.record();
        let kept = Kept::new(root);
        let log = std::mem::take(&mut self.lock().log);
        kept.write(&record, Some(&log))?;
        kept.forget_the_oldest()?;
        Ok(record)
    }
}

fn described(status: &Status) -> RpcStatus {
    RpcStatus::decode(status.details())
        .ok()
        .filter(|described| !described.message.is_empty())
        .unwrap_or_else(|| RpcStatus {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
}

/// The builds that are over.
#[derive(Debug)]
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Finds them below the engine's root.
    pub(super) fn new(root: &Path) -> Self {
        Self(root.join("history"))
    }

    /// Returns the path of one of a build's files; `None` for a name that is none. Clients choose them.
    fn path(&self, name: &str, kind: &str) -> Option<PathBuf> {
        let plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(plain);
        is_name.then(|| self.0.join(format!("{name}.{kind}")))
    }

    fn write(&self, record: &BuildHistoryRecord, log: Option<&[u8]>) -> io::Result<()> {
        let (Some(path), Some(beside)) = (self.path(&record.r#ref, RECORD), self.path(&record.r#ref, LOG))
        else {
            return Ok(());
        };
        sys::fs::create_directories(&self.0, 0o700).map_err(io::Error::other)?;
        if let Some(log) = log {
            sys::fs::write_atomically(&beside, log, 0o600).map_err(io::Error::other)?;
        }
        sys::fs::write_atomically(&path, &record.encode_to_vec(), 0o600).map_err(io::Error::other)
    }

    /// Returns one build.
    pub(super) fn find(&self, name: &str) -> Option<BuildHistoryRecord> {
        let bytes = fs::read(self.path(name, RECORD)?).ok()?;
        BuildHistoryRecord::decode(bytes.as_slice()).ok()
    }

    /// Returns all of them, the latest first.
    pub(super) fn all(&self) -> Vec<BuildHistoryRecord> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let mut records: Vec<BuildHistoryRecord> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                (path.extension()? == RECORD).then(|| fs::read(path).ok())?
            })
            .filter_map(|bytes| BuildHistoryRecord::decode(bytes.as_slice()).ok())
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(began(record)));
        records
    }

    /// Returns what was told of a build that is over; `None` if there is none of this name.
    pub(super) fn told(&self, name: &str) -> Option<Vec<StatusResponse>> {
        let bytes = fs::read(self.path(name, LOG)?).ok()?;
        let mut rest = bytes.as_slice();
        let mut updates = Vec::new();
        while !rest.is_empty() {
            let Ok(update) = StatusResponse::decode_length_delimited(&mut rest) else {
                break;
            };
            updates.push(update);
        }
        Some(updates)
    }

    /// Keeps a build for good, or no longer.
    pub(super) fn pin(&self, name: &str, pinned: bool) -> Result<BuildHistoryRecord, Status> {
        let mut record = self.find(name).ok_or_else(|| missing(name))?;
        record.pinned = pinned;
        self.write(&record, None)
            .map_err(|error| Status::unknown(format!("cannot write down the build {name}: {error}")))?;
        Ok(record)
    }

    /// Forgets a build.
    pub(super) fn remove(&self, name: &str) -> Result<BuildHistoryRecord, Status> {
        let record = self.find(name).ok_or_else(|| missing(name))?;
        self.remove_files(name)
            .map_err(|error| Status::unknown(format!("cannot forget the build {name}: {error}")))?;
        Ok(record)
    }

    fn remove_files(&self, name: &str) -> io::Result<()> {
        for kind in [RECORD, LOG] {
            if let Some(path) = self.path(name, kind) {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let passing = self.all().into_iter().filter(|record| !record.pinned);
        for record in passing.skip(KEPT) {
            self.remove_files(&record.r#ref)?;
        }
        Ok(())
    }
}

fn missing(name: &str) -> Status {
    Status::not_found(format!("there is no build {name}"))
}

fn began(record: &BuildHistoryRecord) -> (i64, i32) {
    record
        .created_at
        .map_or((0, 0), |time| (time.seconds, time.nanos))
}

/// Which builds a listener wants to hear of.
#[derive(Debug)]
pub(super) struct Wanted {
    name: String,
    filters: Filters,
    limit: usize,
}

impl Wanted {
    pub(super) fn of(request: &BuildHistoryRequest) -> Result<Self, SolveError> {
        Ok(Self {
            name: request.r#ref.clone(),
            filters: Filters::parse(&request.filter, &["ref", "status"])?,
            limit: match usize::try_from(request.limit) {
                Ok(limit) if limit > 0 => limit,
                _ => usize::MAX,
            },
        })
    }

    /// Says whether a build is among them.
    pub(super) fn has(&self, record: &BuildHistoryRecord) -> bool {
        let status = match (&record.completed_at, &record.error) {
            (None, _) => "running",
            (_, None) => "completed",
            (_, Some(error)) if error.code == i32::from(tonic::Code::Cancelled) => "canceled",
            (_, Some(_)) => "error",
        };
        (self.name.is_empty() || self.name == record.r#ref)
            && self.filters.accept(|field| {
                Some(match field {
                    "ref" => record.r#ref.clone(),
                    _ => status.to_owned(),
                })
            })
    }

    /// Chooses among builds.
    pub(super) fn choose(&self, records: Vec<BuildHistoryRecord>) -> Vec<BuildHistoryRecord> {
        let wanted = records.into_iter().filter(|record| self.has(record));
        wanted.take(self.limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Timestamp;
    use super::super::wire::control::Vertex;
    use super::*;

    fn ended(root: &Path, name: &str, result: &Result<Solved, Status>) -> BuildHistoryRecord {
        let recorder = Recorder::new(&SolveRequest {
            r#ref: name.to_owned(),
            ..SolveRequest::default()
        });
        recorder.options(
            "dockerfile.v0",
            &HashMap::from([("target".to_owned(), "t".to_owned())]),
        );
        for cached in [false, true] {
            recorder.hear(&StatusResponse {
                vertexes: vec![Vertex {
                    digest: format!("{cached}"),
                    completed: cached.then(Timestamp::default),
                    cached,
                    ..Vertex::default()
                }],
                ..StatusResponse::default()
            });
        }
        recorder.end(root, result).unwrap()
    }

    #[test]
    fn builds_are_remembered() {
        let root = tempfile::tempdir().unwrap();
        let kept = Kept::new(root.path());
        assert!(kept.all().is_empty());
        let first = ended(root.path(), "first", &Ok(Solved::default()));
        assert_eq!(
            (
                first.num_total_steps,
                first.num_completed_steps,
                first.num_cached_steps
            ),
            (2, 1, 1)
        );
        ended(root.path(), "second", &Err(Status::unknown("no")));
        ended(root.path(), "../third", &Ok(Solved::default()));
        let names: Vec<_> = kept.all().into_iter().map(|record| record.r#ref).collect();
        assert_eq!(names, ["second", "first"]);
        assert_eq!(kept.told("first").unwrap().len(), 2);
        assert_eq!(kept.find("second").unwrap().error.unwrap().message, "no");
        let wanted = |filter: &str, limit| {
            let wanted = Wanted::of(&BuildHistoryRequest {
                filter: vec![filter.to_owned()],
                limit,
                ..BuildHistoryRequest::default()
            });
            wanted.unwrap().choose(kept.all()).len()
        };
        assert_eq!(
            (wanted("status==error", 0), wanted("", 1), wanted("", 0)),
            (1, 1, 2)
        );
        kept.pin("first", true).unwrap();
        for number in 0..=KEPT {
            ended(root.path(), &format!("n{number}"), &Ok(Solved::default()));
        }
        assert_eq!(kept.all().len(), KEPT + 1);
        assert!(kept.find("first").unwrap().pinned && kept.find("second").is_none());
        kept.remove("first").unwrap();
        assert!(kept.told("first").is_none() && kept.remove("first").is_err());
    }
}
