//! The builder's events as BuildKit tells them: vertexes that begin and end, their logs, warnings.

use super::wire::control::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use super::wire::{Timestamp, pb};
use engine::builder::{BuildEvent, OutputStream};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// So much of what a step prints is passed on, as with BuildKit: whoever watches is not to be drowned, and a client that
/// is slow makes us keep it.
const LONGEST_LOG: usize = 2 << 20;

/// Where updates go.
pub(crate) type Sink = Box<dyn Fn(StatusResponse) + Send + Sync>;

/// Tells somebody how builds go.
pub(crate) struct Progress {
    /// Makes vertexes of this build different from those of others.
    build: String,
    sink: Sink,
    /// So many vertexes there are.
    vertexes: Mutex<usize>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

/// A vertex that has begun.
#[derive(Debug, Clone)]
struct Begun {
    vertex: Vertex,
    printed: usize,
}

/// A piece of work beside the builder's own.
#[derive(Debug)]
pub(crate) struct Work<'p> {
    progress: &'p Progress,
    vertex: Vertex,
}

/// The steps of one run of the builder.
#[derive(Debug)]
pub(crate) struct Steps<'p> {
    progress: &'p Progress,
    begun: Mutex<Vec<Begun>>,
    /// The Dockerfile's name and text, for warnings.
    dockerfile: (String, Vec<u8>),
}

impl Progress {
    /// Makes one for the build that is called `build`.
    pub(crate) fn new(build: String, sink: Sink) -> Self {
        Self {
            build,
            sink,
            vertexes: Mutex::new(0),
        }
    }

    fn vertex(&self, name: String) -> Vertex {
        let mut last = self.vertexes.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let text = format!("{} {}", self.build, *last);
        let digest = engine::builds::digest_of(text.as_bytes());
        Vertex {
            digest: digest.to_string(),
            name,
            started: Some(now()),
            ..Vertex::default()
        }
    }

    fn send(&self, vertex: Vertex) {
        (self.sink)(StatusResponse {
            vertexes: vec![vertex],
            ..StatusResponse::default()
        });
    }

    fn note(&self, vertex: &Vertex, text: &str) {
        let time = now();
        (self.sink)(StatusResponse {
            statuses: vec![VertexStatus {
                // Clients say themselves that it is done.
                id: text.strip_suffix(" done").unwrap_or(text).to_owned(),
                vertex: vertex.digest.clone(),
                timestamp: Some(time),
                started: Some(time),
                completed: Some(time),
                ..VertexStatus::default()
            }],
            ..StatusResponse::default()
        });
    }

    /// Begins a piece of work.
    pub(crate) fn begin(&self, name: impl Into<String>) -> Work<'_> {
        let vertex = self.vertex(name.into());
        self.send(vertex.clone());
        Work {
            progress: self,
            vertex,
        }
    }

    /// Takes the events of one run of the builder. The Dockerfile is shown with warnings.
    pub(crate) fn steps(&self, (name, text): (&str, &str)) -> Steps<'_> {
        Steps {
            progress: self,
            begun: Mutex::default(),
            dockerfile: (name.to_owned(), text.as_bytes().to_vec()),
        }
    }
}

impl Work<'_> {
    /// Says something about it.
    pub(crate) fn note(&self, text: &str) {
        self.progress.note(&self.vertex, text);
    }

    /// It is over; `error` says why it failed.
    pub(crate) fn end(mut self, error: Option<String>) {
        self.vertex.completed = Some(now());
        self.vertex.error = error.unwrap_or_default();
        self.progress.send(self.vertex);
    }

    /// Ends it as a result says.
    pub(crate) fn finish<T>(self, result: Result<T, super::SolveError>) -> Result<T, super::SolveError> {
        let error = match &result {
            Ok(_) => None,
            Err(super::SolveError::Cancelled) => Some("context canceled".to_owned()),
            Err(error) => Some(error.text()),
        };
        self.end(error);
        result
    }
}

impl Steps<'_> {
    /// Passes an event on.
    pub(crate) fn event(&self, event: BuildEvent) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            BuildEvent::Started { name, .. } => {
                let vertex = self.progress.vertex(name);
                self.progress.send(vertex.clone());
                begun.push(Begun { vertex, printed: 0 });
            }
            BuildEvent::Cached { step } => {
                end(&mut begun, step, self.progress, |vertex| vertex.cached = true);
            }
            BuildEvent::Cancelled { step } => end(&mut begun, step, self.progress, |vertex| {
                "context canceled".clone_into(&mut vertex.error);
            }),
            BuildEvent::Done { step, .. } => end(&mut begun, step, self.progress, |_| {}),
            BuildEvent::Failed { step, message } => {
                end(&mut begun, step, self.progress, |vertex| vertex.error = message);
            }
            BuildEvent::Note { step, message } => {
                if let Some(step) = begun.get(step.wrapping_sub(1)) {
                    self.progress.note(&step.vertex, &message);
                }
            }
            BuildEvent::Output { step, stream, bytes } => {
                if let Some(step) = begun.get_mut(step.wrapping_sub(1)) {
                    self.output(step, stream, bytes);
                }
            }
            BuildEvent::Warning { message, line } => {
                if let Some(first) = begun.first() {
                    self.warn(&first.vertex, message, line);
                }
            }
            BuildEvent::Planned { .. } | BuildEvent::Report(_) => {}
        }
    }

    fn output(&self, step: &mut Begun, stream: OutputStream, mut bytes: Vec<u8>) {
        if step.printed >= LONGEST_LOG {
            return;
        }
        let left = LONGEST_LOG - step.printed;
        step.printed += bytes.len();
        if bytes.len() > left {
            bytes.truncate(left);
            bytes.extend_from_slice(b"\n[output clipped, log limit 2MiB reached]\n");
            step.printed = LONGEST_LOG;
        }
        (self.progress.sink)(StatusResponse {
            logs: vec![VertexLog {
                vertex: step.vertex.digest.clone(),
                timestamp: Some(now()),
                stream: match stream {
                    OutputStream::Stdout => 1,
                    OutputStream::Stderr => 2,
                },
                msg: bytes,
            }],
            ..StatusResponse::default()
        });
    }

    fn warn(&self, vertex: &Vertex, message: String, line: Option<usize>) {
        let place = line
            .and_then(|line| i32::try_from(line).ok())
            .map(|line| pb::Range {
                start: Some(pb::Position { line, character: 0 }),
                end: Some(pb::Position { line, character: 0 }),
            });
        let (filename, data) = self.dockerfile.clone();
        let url = message
            .split(':')
            .next()
            .filter(|name| is_rule(name))
            .map(engine::builder::rule_url);
        (self.progress.sink)(StatusResponse {
            warnings: vec![VertexWarning {
                vertex: vertex.digest.clone(),
                level: 1,
                short: message.into_bytes(),
                url: url.unwrap_or_default(),
                info: place.is_some().then(|| pb::SourceInfo {
                    filename,
                    data,
                    definition: None,
                    language: "Dockerfile".to_owned(),
                }),
                ranges: place.into_iter().collect(),
                ..VertexWarning::default()
            }],
            ..StatusResponse::default()
        });
    }
}

fn is_rule(name: &str) -> bool {
    engine::builder::CHECKS.iter().any(|check| check.name == name)
}

fn end(begun: &mut [Begun], step: usize, progress: &Progress, change: impl FnOnce(&mut Vertex)) {
    if let Some(step) = begun.get_mut(step.wrapping_sub(1)) {
        step.vertex.completed = Some(now());
        change(&mut step.vertex);
        progress.send(step.vertex.clone());
    }
}

/// Returns the time of day.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or_default(),
        nanos: since.subsec_nanos().cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn events_become_vertexes() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let told = Arc::clone(&told);
            Box::new(move |update| told.lock().unwrap().push(update))
        };
        let progress = Progress::new("b".to_owned(), sink);
        progress.begin("[internal] load build context").end(None);
        let steps = progress.steps(("Dockerfile", "FROM x\n"));
        let start = |name: &str, step| BuildEvent::Started {
            step,
            name: name.to_owned(),
        };
        steps.event(start("[1/2] FROM x", 1));
        steps.event(BuildEvent::Cached { step: 1 });
        steps.event(start("[2/2] RUN y", 2));
        steps.event(BuildEvent::Output {
            step: 2,
            stream: OutputStream::Stderr,
            bytes: b"oops\n".to_vec(),
        });
        steps.event(BuildEvent::Output {
            step: 2,
            stream: OutputStream::Stdout,
            bytes: vec![b'x'; LONGEST_LOG + 1],
        });
        steps.event(BuildEvent::Output {
            step: 2,
            stream: OutputStream::Stdout,
            bytes: b"unheard".to_vec(),
        });
        steps.event(BuildEvent::Failed {
            step: 2,
            message: "no".to_owned(),
        });
        steps.event(BuildEvent::Warning {
            message: "hm".to_owned(),
            line: Some(1),
        });
        let told = told.lock().unwrap();
        let vertexes: Vec<_> = told.iter().flat_map(|update| &update.vertexes).collect();
        assert_eq!(vertexes.len(), 6);
        assert_ne!(vertexes[0].digest, vertexes[2].digest);
        assert_eq!(vertexes[2].digest, vertexes[3].digest);
        assert!(vertexes[3].cached && vertexes[3].completed.is_some());
        assert_eq!(
            (vertexes[5].name.as_str(), vertexes[5].error.as_str()),
            ("[2/2] RUN y", "no")
        );
        let logs: Vec<_> = told.iter().flat_map(|update| &update.logs).collect();
        assert_eq!(
            (logs.len(), logs[0].stream, logs[0].msg.as_slice()),
            (2, 2, &b"oops\n"[..])
        );
        assert!(
            logs[1]
                .msg
                .ends_with(b"[output clipped, log limit 2MiB reached]\n")
        );
        let warnings: Vec<_> = told.iter().flat_map(|update| &update.warnings).collect();
        assert_eq!(warnings[0].ranges[0].start.as_ref().unwrap().line, 1);
    }
}
