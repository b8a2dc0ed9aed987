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
    /// Steps of the builder's that were shown already, when the client's files came: by their names' beginnings.
    shown: Mutex<Vec<(String, Vertex)>>,
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
    /// Nothing is told of it but warnings.
    silent: bool,
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
    manner: Manner,
}

/// How one run of the builder is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// What is built for, if there are several runs.
    pub(crate) platform: Option<String>,
    /// Whether an earlier run has shown what is the same for all.
    pub(crate) again: bool,
    /// Whether the image is no result, so that nobody need hear of it.
    pub(crate) passing: bool,
}

/// The names that the builder gives to steps which are shown in another way, or not at all.
const DEFINITION: &str = "[internal] load build definition from ";
const IGNORE_FILE: &str = "[internal] load .dockerignore";
const EXPORTING: &str = "exporting to image";

impl Progress {
    /// Makes one for the build that is called `build`.
    pub(crate) fn new(build: String, sink: Sink) -> Self {
        Self {
            build,
            sink,
            vertexes: Mutex::new(0),
            shown: Mutex::default(),
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

    /// Begins to load a Dockerfile; the builder's own step of that is not shown any more.
    pub(crate) fn begin_definition(&self, name: &str) -> Work<'_> {
        self.begin_instead(DEFINITION, name)
    }

    /// Begins to load the context's ignore file; the builder's own step of that is not shown any more.
    pub(crate) fn begin_ignore_file(&self) -> Work<'_> {
        self.begin_instead(IGNORE_FILE, "")
    }

    fn begin_instead(&self, beginning: &str, rest: &str) -> Work<'_> {
        let work = self.begin(format!("{beginning}{rest}"));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(known, _)| known != beginning);
        shown.push((beginning.to_owned(), work.vertex.clone()));
        drop(shown);
        work
    }

    /// Takes the events of one run of the builder. The Dockerfile is shown with warnings.
    pub(crate) fn steps(&self, (name, text): (&str, &str), manner: Manner) -> Steps<'_> {
        Steps {
            progress: self,
            begun: Mutex::default(),
            dockerfile: (name.to_owned(), text.as_bytes().to_vec()),
            manner,
        }
    }
}

impl Work<'_> {
    /// Says something about it.
    pub(crate) fn note(&self, text: &str) {
        self.progress.note(&self.vertex, text);
    }

    /// Says how much has come from the client, as BuildKit says it: whoever shows it has units.
    pub(crate) fn transferred(&self, what: &str, bytes: u64) {
        let time = now();
        (self.progress.sink)(StatusResponse {
            statuses: vec![VertexStatus {
                id: format!("transferring {what}:"),
                vertex: self.vertex.digest.clone(),
                name: "transferring".to_owned(),
                current: i64::try_from(bytes).unwrap_or(i64::MAX),
                timestamp: Some(time),
                started: self.vertex.started,
                completed: Some(time),
                ..VertexStatus::default()
            }],
            ..StatusResponse::default()
        });
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
                let begins = self.begin(&name);
                begun.push(begins);
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
                if let Some(step) = begun.get(step.wrapping_sub(1)).filter(|step| !step.silent) {
                    self.progress.note(&step.vertex, &message);
                }
            }
            BuildEvent::Output { step, stream, bytes } => {
                if let Some(step) = begun.get_mut(step.wrapping_sub(1)) {
                    self.output(step, stream, bytes);
                }
            }
            BuildEvent::Warning { message, line } => {
                if let Some(first) = begun.first().filter(|_| !self.manner.again) {
                    self.warn(&first.vertex, message, line);
                }
            }
            BuildEvent::Planned { .. } | BuildEvent::Report(_) => {}
        }
    }

    /// Shows a step that begins, or finds how it is shown already.
    fn begin(&self, name: &str) -> Begun {
        let shown = self.progress.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.iter().find(|(beginning, _)| name.starts_with(beginning));
        let silent = shown.is_some()
            || (self.manner.again && (name.starts_with(DEFINITION) || name == IGNORE_FILE))
            || (self.manner.passing && name == EXPORTING);
        let vertex = match shown {
            Some((_, vertex)) => vertex.clone(),
            None => self.progress.vertex(self.manner.name(name)),
        };
        if !silent {
            self.progress.send(vertex.clone());
            if name == EXPORTING {
                self.progress.note(&vertex, "exporting layers");
            }
        }
        Begun {
            vertex,
            printed: 0,
            silent,
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

impl Manner {
    /// Names a step, as BuildKit does where there are several platforms: `[linux/arm64 build 2/3] RUN x`.
    fn name(&self, name: &str) -> String {
        let is_step = |place: &str| {
            let number = place.rsplit(' ').next().unwrap_or_default();
            number
                .split_once('/')
                .is_some_and(|(one, all)| one.parse::<usize>().is_ok() && all.parse::<usize>().is_ok())
        };
        let place = name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match (&self.platform, place) {
            (Some(platform), Some((place, rest))) if is_step(place) => {
                format!("[{platform} {place}]{rest}")
            }
            _ => name.to_owned(),
        }
    }
}

fn is_rule(name: &str) -> bool {
    engine::builder::CHECKS.iter().any(|check| check.name == name)
}

fn end(begun: &mut [Begun], step: usize, progress: &Progress, change: impl FnOnce(&mut Vertex)) {
    if let Some(step) = begun.get_mut(step.wrapping_sub(1)).filter(|step| !step.silent) {
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
        let steps = progress.steps(("Dockerfile", "FROM x\n"), Manner::default());
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
        let told = std::mem::take(&mut *told.lock().unwrap());
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
    #[test]
    fn what_is_shown_already_is_not_shown_again() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let told = Arc::clone(&told);
            Box::new(move |update: StatusResponse| told.lock().unwrap().push(update))
        };
        let progress = Progress::new("b".to_owned(), sink);
        let work = progress.begin_definition("Dockerfile");
        let definition = work.vertex.digest.clone();
        work.transferred("dockerfile", 12);
        work.end(None);
        let manner = Manner {
            platform: Some("linux/arm64".to_owned()),
            passing: true,
            ..Manner::default()
        };
        let steps = progress.steps(("Dockerfile", "FROM x\n"), manner);
        for (step, name) in [
            (1, "[internal] load build definition from Dockerfile"),
            (2, "[a 1/2] FROM x"),
            (3, "exporting to image"),
        ] {
            steps.event(BuildEvent::Started {
                step,
                name: name.to_owned(),
            });
            steps.event(BuildEvent::Done { step, seconds: 0.0 });
        }
        steps.event(BuildEvent::Warning {
            message: "hm".to_owned(),
            line: None,
        });
        let told = told.lock().unwrap();
        let names: Vec<_> = told
            .iter()
            .flat_map(|update| &update.vertexes)
            .map(|vertex| vertex.name.as_str())
            .collect();
        let loading = "[internal] load build definition from Dockerfile";
        let from = "[linux/arm64 a 1/2] FROM x";
        assert_eq!(names, [loading, loading, from, from]);
        let warning = told.iter().flat_map(|update| &update.warnings).next().unwrap();
        assert_eq!(warning.vertex, definition);
        let status = told.iter().flat_map(|update| &update.statuses).next().unwrap();
        assert_eq!(
            (status.id.as_str(), status.current),
            ("transferring dockerfile:", 12)
        );
    }
}
