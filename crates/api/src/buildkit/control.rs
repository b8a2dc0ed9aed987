//! BuildKit's control service: builds and how they go, the build cache, who builds.

use super::attributes::{Options, rights};
use super::caches::Caches;
use super::filters::Filters;
use super::history::{self, Kept, Recorder, Wanted};
use super::jobs::Job;
use super::outputs::Output;
use super::progress::Progress;
use super::sessions::Introduction;
use super::solve::{self, Solve, Solved, Workshop};
use super::wire::control::control_server::Control;
use super::wire::control::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRequest, BytesMessage, DiskUsageRequest,
    DiskUsageResponse, Exporter, InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse,
    PruneRequest, SolveRequest, SolveResponse, StatusRequest, StatusResponse, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse, UsageRecord,
};
use super::wire::workers::{BuildkitVersion, WorkerRecord};
use super::wire::{Timestamp, pb};
use super::{SolveError, definitions};
use engine::builds::{CacheLimits, CachedStep};
use futures_util::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use oci::Platform;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

/// What a call answers bit by bit.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How long a build that is over is remembered, for whoever watches it comes a moment late.
const LINGER: Duration = Duration::from_secs(5);
/// So much of a session is under way inside the server.
const PIPE: usize = 64 << 10;

/// The service, on one connection.
#[derive(Debug)]
pub(super) struct ControlService {
    workshop: Workshop,
}

/// Ends a build whose caller is gone.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl ControlService {
    pub(super) fn new(workshop: Workshop) -> Self {
        Self { workshop }
    }

    async fn solve_now(&self, request: SolveRequest) -> Result<Solved, Status> {
        let name = request.r#ref.clone();
        let internal = request.internal;
        let from_client = request.frontend.is_empty();
        let (returns, returned) = oneshot::channel();
        let (job, closing) = job(request, returns)?;
        let jobs = &self.workshop.engines.hub().jobs;
        if !jobs.begin(&name, &job) {
            return Err(SolveError::Invalid(format!("there is a build {name} already")).into());
        }
        let changes = &self.workshop.engines.hub().history;
        if !internal {
            changes.tell(BuildHistoryEventType::Started, job.recorder.record());
        }
        let abandon = Abandon(Arc::clone(&job.cancelled));
        let result = if from_client {
            self.by_client(&job, returned).await
        } else {
            let (workshop, job) = (self.workshop.clone(), Arc::clone(&job));
            blocking(move || solve::run(&workshop, &job.solve, &job.progress, &|_| {}, &job.cancelled)).await
        };
        drop(abandon);
        let result = result.map_err(Status::from);
        if !internal {
            let (workshop, job) = (self.workshop.clone(), Arc::clone(&job));
            let ended = result.clone();
            // A history that cannot be written down fails no build.
            let written = blocking(move || {
                let engine = workshop.engine()?;
                let record = job.recorder.end(&engine.locations().root, &ended);
                record.map_err(|error| SolveError::Invalid(error.to_string()))
            });
            if let Ok(record) = written.await {
                changes.tell(BuildHistoryEventType::Complete, record);
            }
        }
        // Whoever watches sees the end.
        drop(closing.lock().unwrap_or_else(PoisonError::into_inner).take());
        let engines = Arc::clone(&self.workshop.engines);
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            engines.hub().jobs.end(&name);
        });
        result
    }

    /// Waits for what a frontend in the client returns, and makes of it what is wanted.
    async fn by_client(
        &self,
        job: &Arc<Job>,
        returned: oneshot::Receiver<super::jobs::Returned>,
    ) -> Result<Solved, SolveError> {
        let name = match returned.await {
            Ok(Ok(name)) => name,
            Ok(Err(why)) => return Err(why),
            Err(_) => return Err(SolveError::Cancelled),
        };
        let built = {
            let mut results = job.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.remove(&name)
        };
        let Some(built) = built else {
            // It wanted nothing built: clients look what we can that way.
            return Ok(Solved::default());
        };
        let (workshop, job) = (self.workshop.clone(), Arc::clone(job));
        blocking(move || solve::deliver(&workshop, &job.solve, &built, &job.progress, &job.cancelled)).await
    }
}

/// Does what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SolveError> + Send + 'static,
) -> Result<T, SolveError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(SolveError::Invalid("the build ended without a word".to_owned())))
}

type Closing = Arc<Mutex<Option<mpsc::UnboundedSender<StatusResponse>>>>;

/// Makes a job of a request, and what ends the telling about it.
fn job(
    request: SolveRequest,
    returns: oneshot::Sender<super::jobs::Returned>,
) -> Result<(Arc<Job>, Closing), SolveError> {
    let graph = request.definition.as_ref();
    if graph.is_some_and(|definition| !definition.def.is_empty()) {
        return Err(SolveError::Unsupported(
            "a build graph of the client's own (LLB)".to_owned(),
        ));
    }
    frontend(&request.frontend, &request.frontend_attrs)?;
    let recorder = Recorder::new(&request);
    let caches = Caches::of(request.cache.unwrap_or_default())?;
    let mut exporters = request.exporters;
    if exporters.is_empty() && !request.exporter_deprecated.is_empty() {
        exporters.push(Exporter {
            r#type: request.exporter_deprecated,
            attrs: request.exporter_attrs_deprecated,
        });
    }
    let outputs = exporters
        .into_iter()
        .map(|exporter| Output::parse(&exporter.r#type, &exporter.attrs.into_iter().collect()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = if request.frontend.is_empty() {
        Options::default()
    } else {
        Options::parse(&request.frontend_attrs.into_iter().collect())?
    };
    let recorder = Arc::new(recorder);
    let (send, told) = mpsc::unbounded_channel();
    let closing = Arc::new(Mutex::new(Some(send)));
    let sink = {
        let (closing, recorder) = (Arc::clone(&closing), Arc::clone(&recorder));
        Box::new(move |update| {
            recorder.hear(&update);
            if let Some(send) = &*closing.lock().unwrap_or_else(PoisonError::into_inner) {
                // Nobody need watch.
                send.send(update).unwrap_or_default();
            }
        })
    };
    let job = Job {
        solve: Solve {
            options,
            session: Some(request.session),
            allowed: rights(request.entitlements.iter().map(String::as_str))?,
            outputs,
            inputs: definitions::inputs(request.frontend_inputs)?,
            caches,
            credentials: HashMap::new(),
            classic: false,
            tar: Mutex::new(None),
        },
        cancelled: Arc::default(),
        progress: Progress::new(request.r#ref, sink),
        told: Mutex::new(Some(told)),
        results: Mutex::default(),
        recorder,
        returns: Mutex::new(Some(returns)),
    };
    Ok((Arc::new(job), closing))
}

/// Refuses frontends but the Dockerfile's, by whatever name.
pub(super) fn frontend(name: &str, attributes: &HashMap<String, String>) -> Result<(), SolveError> {
    match name {
        "" | "dockerfile.v0" => Ok(()),
        "gateway.v0" => {
            let source = attributes.get("source").map_or("", String::as_str);
            if source.contains("docker/dockerfile") {
                return Ok(());
            }
            Err(SolveError::Unsupported(format!("the frontend {source}")))
        }
        other => Err(SolveError::Unsupported(format!("the frontend {other}"))),
    }
}

/// Says who builds here.
pub(super) fn worker() -> WorkerRecord {
    let host = Platform::host();
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "coracle"),
        ("org.mobyproject.buildkit.worker.snapshotter", "overlayfs"),
    ];
    WorkerRecord {
        id: "coracle".to_owned(),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        platforms: vec![pb::Platform {
            architecture: host.architecture,
            os: host.os,
            variant: host.variant,
            ..pb::Platform::default()
        }],
        buildkit_version: Some(version()),
        ..WorkerRecord::default()
    }
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "coracle".to_owned(),
        version: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
        revision: String::new(),
    }
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp {
        seconds: nanoseconds.div_euclid(1_000_000_000),
        nanos: i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

/// Returns the last moment that something may have been used at to be older than so many nanoseconds; 0 is no limit.
fn latest(age: i64) -> i64 {
    if age <= 0 {
        return i64::MAX;
    }
    let now = super::progress::now();
    (now.seconds * 1_000_000_000 + i64::from(now.nanos)).saturating_sub(age)
}

fn record(step: CachedStep) -> UsageRecord {
    UsageRecord {
        id: step.key,
        in_use: step.in_use,
        size: i64::try_from(step.size).unwrap_or(i64::MAX),
        created_at: Some(timestamp(step.created)),
        last_used_at: Some(timestamp(step.last_used)),
        usage_count: 1,
        description: step.summary,
        record_type: step.kind.to_owned(),
        shared: step.shared,
        ..UsageRecord::default()
    }
}

/// What the build cache can be chosen by.
pub(crate) const CACHE_FIELDS: [&str; 9] = [
    "id",
    "type",
    "description",
    "inuse",
    "shared",
    "private",
    "mutable",
    "immutable",
    "parents",
];

/// Says whether a filter lets an entry of the build cache through.
pub(crate) fn is_wanted(step: &CachedStep, filters: &Filters) -> bool {
    filters.accept(|field| {
        Some(match field {
            "id" => step.key.clone(),
            "type" => step.kind.to_owned(),
            "description" => step.summary.clone(),
            "inuse" => step.in_use.to_string(),
            "shared" => step.shared.to_string(),
            "private" => (!step.shared).to_string(),
            // What is in the cache is as it was made.
            "mutable" => false.to_string(),
            "immutable" => true.to_string(),
            _ => return None,
        })
    })
}

#[tonic::async_trait]
impl Control for ControlService {
    type PruneStream = Answers<UsageRecord>;
    type StatusStream = Answers<StatusResponse>;
    type SessionStream = Answers<BytesMessage>;
    type ListenBuildHistoryStream = Answers<BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        request: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        let request = request.into_inner();
        let filters = Filters::parse(&request.filter, &CACHE_FIELDS)?;
        let latest = latest(request.age_limit);
        let workshop = self.workshop.clone();
        let steps = blocking(move || Ok(workshop.engine()?.builds().cache()?)).await?;
        let wanted = steps
            .into_iter()
            .filter(|step| step.last_used <= latest && is_wanted(step, &filters));
        Ok(Response::new(DiskUsageResponse {
            record: wanted.map(record).collect(),
        }))
    }

    async fn prune(&self, request: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        let request = request.into_inner();
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
        let limits = CacheLimits {
            reserved: size(request.reserved_space),
            most: size(request.max_used_space),
            least_free: size(request.min_free_space),
        };
        let filters = Filters::parse(&request.filter, &CACHE_FIELDS)?;
        let latest = latest(request.keep_duration);
        let workshop = self.workshop.clone();
        let gone = blocking(move || {
            let engine = workshop.engine()?;
            let before = engine.builds().cache()?;
            let wanted = |step: &CachedStep| step.last_used <= latest && is_wanted(step, &filters);
            let (gone, _) = engine.builds().prune_those(request.all, &wanted, limits)?;
            let gone = before.into_iter().filter(move |step| gone.contains(&step.key));
            Ok(gone.map(|step| Ok(record(step))).collect::<Vec<_>>())
        });
        Ok(Response::new(Box::pin(futures_util::stream::iter(gone.await?))))
    }

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let solved = self.solve_now(request.into_inner()).await?;
        Ok(Response::new(SolveResponse {
            exporter_response: solved.response,
        }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let name = request.into_inner().r#ref;
        // Of a build that is over, everything can be told again.
        let (workshop, over) = (self.workshop.clone(), name.clone());
        let replayed = blocking(move || {
            let kept = Kept::new(&workshop.engine()?.locations().root);
            Ok(kept.told(&over))
        });
        if let Some(updates) = replayed.await? {
            let updates = updates.into_iter().map(Ok);
            return Ok(Response::new(Box::pin(futures_util::stream::iter(updates))));
        }
        let told = match self.workshop.engines.hub().jobs.find(&name).await {
            Some(job) => job.take_told(),
            None => return Err(Status::not_found(format!("no such job {name}"))),
        };
        let Some(mut told) = told else {
            return Err(Status::already_exists(format!(
                "somebody watches the build {name} already"
            )));
        };
        Ok(Response::new(Box::pin(futures_util::stream::poll_fn(
            move |context| told.poll_recv(context).map(|update| update.map(Ok)),
        ))))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let metadata = request.metadata();
        let introduction = Introduction::read(|name| {
            let all = metadata.get_all(name).iter();
            all.filter_map(|value| value.to_str().ok()).collect()
        });
        let sessions = &self.workshop.engines.hub().sessions;
        if introduction.id.is_empty() || sessions.is_open(&introduction.id) {
            return Err(Status::invalid_argument("a session needs an id of its own"));
        }
        let mut incoming = request.into_inner();
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let engines = Arc::clone(&self.workshop.engines);
        tokio::spawn(async move {
            engines
                .hub()
                .sessions
                .keep(introduction, TokioIo::new(theirs))
                .await;
        });
        let (mut reads, mut writes) = tokio::io::split(ours);
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if writes.write_all(&message.data).await.is_err() {
                    return;
                }
            }
            // The session sees the end, and has nobody to tell if that fails.
            writes.shutdown().await.unwrap_or_default();
        });
        let (send, mut outgoing) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut buffer = vec![0; PIPE];
            while let Ok(length @ 1..) = reads.read(&mut buffer).await {
                let data = buffer[..length].to_vec();
                if send.send(Ok(BytesMessage { data })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(futures_util::stream::poll_fn(
            move |context| outgoing.poll_recv(context),
        ))))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(ListWorkersResponse {
            record: vec![worker()],
        }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            buildkit_version: Some(version()),
        }))
    }

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let request = request.into_inner();
        let wanted = Wanted::of(&request)?;
        let hub = self.workshop.engines.hub();
        // Before anything is looked up, so that nothing happens unheard.
        let mut changes = hub.history.listen();
        let mut records: Vec<_> = hub.jobs.all().iter().map(|job| job.recorder.record()).collect();
        records.retain(|record| record.completed_at.is_none());
        if !request.active_only {
            let workshop = self.workshop.clone();
            let kept = blocking(move || Ok(Kept::new(&workshop.engine()?.locations().root).all()));
            records.extend(kept.await?);
        }
        let known = wanted.choose(records).into_iter().map(|record| {
            let kind = if record.completed_at.is_some() {
                BuildHistoryEventType::Complete
            } else {
                BuildHistoryEventType::Started
            };
            Ok(history::event(kind, record))
        });
        let known = futures_util::stream::iter(known);
        if request.early_exit {
            return Ok(Response::new(Box::pin(known)));
        }
        let (send, mut later) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = send.closed() => return,
                };
                match change {
                    Ok(event) if event.record.as_ref().is_some_and(|record| wanted.has(record)) => {
                        if send.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let later = futures_util::stream::poll_fn(move |context| later.poll_recv(context));
        Ok(Response::new(Box::pin(known.chain(later))))
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        let request = request.into_inner();
        if request.finalize {
            // What there is of a build is written down when it ends.
            return Ok(Response::new(UpdateBuildHistoryResponse {}));
        }
        let workshop = self.workshop.clone();
        let changed = blocking(move || {
            let kept = Kept::new(&workshop.engine()?.locations().root);
            Ok(if request.delete {
                (BuildHistoryEventType::Deleted, kept.remove(&request.r#ref)?)
            } else {
                let record = kept.pin(&request.r#ref, request.pinned)?;
                (BuildHistoryEventType::Complete, record)
            })
        });
        let (kind, record) = changed.await?;
        self.workshop.engines.hub().history.tell(kind, record);
        Ok(Response::new(UpdateBuildHistoryResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends_are_dockerfiles_alone() {
        let dockerfile = HashMap::from([("source".to_owned(), "docker/dockerfile:1".to_owned())]);
        assert!(frontend("gateway.v0", &dockerfile).is_ok());
        assert!(frontend("gateway.v0", &HashMap::new()).is_err());
        assert!(frontend("nosuch", &HashMap::new()).is_err());
        assert_eq!(timestamp(-1).nanos, 999_999_999);
    }
}
