//! `POST /build`, for the classic builder's clients and for BuildKit's without buildx; cancelling, and the build cache.

mod classic;
mod options;
mod trace;

use crate::buildkit::SolveError;
use crate::buildkit::control::{CACHE_FIELDS, is_wanted};
use crate::buildkit::filters::Filters;
use crate::buildkit::progress::Progress;
use crate::buildkit::solve::{self, Solve, Solved, Workshop};
use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, Method, Outlet, Reply, Route};
use engine::builder::BuildEvent;
use engine::builds::{CacheLimits, CachedStep};
use hyper::StatusCode;
use options::Form;
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        pattern: "/build",
        operation: build,
    },
    Route {
        method: Method::Post,
        pattern: "/build/cancel",
        operation: cancel,
    },
    Route {
        method: Method::Post,
        pattern: "/build/prune",
        operation: prune,
    },
];

/// What a client sends its context under, in a request of its own.
const UPLOAD: &str = "upload-request";

fn build(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let form = options::read(exchange)?;
    let engines = exchange.engines();
    let body = exchange.take_body();
    if let Some(name) = form
        .id
        .as_deref()
        .and_then(|id| id.strip_prefix("upload-request:"))
    {
        if engines.hub().jobs.offer(name, body) {
            return Ok(Reply::empty(StatusCode::OK));
        }
        return Err(Failure::not_found(format!("no build {name} waits for a context")));
    }
    let workshop = Workshop {
        engines,
        runtime: exchange.runtime().clone(),
    };
    let mut solve = form.solve()?;
    let remote = form.remote.clone();
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| {
            match remote.as_deref() {
                None => solve.tar = Mutex::new(Some(Box::new(body))),
                Some(UPLOAD) => {
                    let name = form.id.clone().unwrap_or_default();
                    let Some(upload) = workshop.engines.hub().jobs.take_upload(&name) else {
                        return Err(Failure::bad_request("the client has sent no context"));
                    };
                    solve.tar = Mutex::new(Some(Box::new(upload)));
                }
                Some(_) => {}
            }
            let cancelled = Arc::new(AtomicBool::new(false));
            let jobs = &workshop.engines.hub().jobs;
            let named = jobs.cancellable(form.id.as_deref(), &cancelled);
            let lines = Lines::new(outlet, form.quiet, Arc::clone(&cancelled))?;
            let result = lines.while_it_is_heard(|| {
                if form.classic {
                    classic::run(&workshop, &solve, &lines, &form, &cancelled)
                } else {
                    trace::run(&workshop, &solve, &lines, &cancelled)
                }
            });
            drop(named);
            lines.end(result)
        }),
    ))
}

/// Lines of JSON for the client. The builder's threads share it.
struct Lines<'o> {
    outlet: Mutex<&'o mut Outlet>,
    /// Nothing is said but errors, and the image's id at the end.
    quiet: bool,
    said: AtomicBool,
    cancelled: Arc<AtomicBool>,
    /// Reports an error as soon as the client is gone.
    gone: OwnedFd,
}

impl<'o> Lines<'o> {
    fn new(outlet: &'o mut Outlet, quiet: bool, cancelled: Arc<AtomicBool>) -> Result<Self, Failure> {
        let gone = outlet.descriptor().try_clone_to_owned()?;
        Ok(Self {
            outlet: Mutex::new(outlet),
            quiet,
            said: AtomicBool::new(false),
            cancelled,
            gone,
        })
    }

    /// Says something unless the client wants to hear nothing.
    fn say(&self, line: &impl Serialize) {
        if !self.quiet {
            self.insist(line);
        }
    }

    fn insist(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else {
            return;
        };
        text.extend_from_slice(b"\r\n");
        self.said.store(true, Ordering::SeqCst);
        let mut outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner);
        if outlet.write_all(&text).is_err() {
            // Nobody hears it any more.
            self.cancelled.store(true, Ordering::SeqCst);
        }
    }

    fn stream(&self, text: &str) {
        self.say(&json!({ "stream": text }));
    }

    /// Does something, and lets it be cancelled when the client goes away.
    fn while_it_is_heard<T>(&self, work: impl FnOnce() -> T) -> T {
        let Ok((over, ends)) = std::io::pipe() else {
            return work();
        };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut descriptors = [
                    PollFd::from_borrowed_fd(self.gone.as_fd(), PollFlags::empty()),
                    PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN),
                ];
                while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut descriptors, None) {}
                if !descriptors[0].revents().is_empty() {
                    self.cancelled.store(true, Ordering::SeqCst);
                }
            });
            let done = work();
            drop(ends);
            done
        })
    }

    /// Says how it ended. What failed before anything was said is the request's own failure.
    fn end(&self, result: Result<Solved, SolveError>) -> Result<(), Failure> {
        match result {
            Ok(solved) => {
                if let (true, Some(image)) = (self.quiet, solved.image) {
                    self.insist(&json!({ "stream": format!("{image}\n") }));
                }
                Ok(())
            }
            Err(error) if !self.said.load(Ordering::SeqCst) => Err(error.into()),
            Err(error) => {
                self.insist(&described(&error));
                Ok(())
            }
        }
    }
}

/// Describes an error as a line of the stream.
fn described(error: &SolveError) -> Value {
    let (code, message) = classic::explained(error);
    let mut detail = json!({ "message": message });
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    json!({ "errorDetail": detail, "error": message })
}

/// Runs a build whose events go to somebody who does not understand BuildKit's.
fn run_with(
    workshop: &Workshop,
    solve: &Solve,
    progress: &Progress,
    cancelled: &Arc<AtomicBool>,
    listener: &(dyn Fn(&BuildEvent) + Sync),
) -> Result<Solved, SolveError> {
    solve::run(workshop, solve, progress, listener, cancelled)
}

/// `POST /build/cancel`. A build that is not there is over.
fn cancel(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let Some(id) = exchange.query().get("id") else {
        return Err(Failure::bad_request("build ID not provided"));
    };
    exchange.engines().hub().jobs.cancel(id);
    Ok(Reply::empty(StatusCode::OK))
}

/// What a prune has removed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    caches_deleted: Vec<String>,
    space_reclaimed: u64,
}

/// `POST /build/prune`.
fn prune(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let (mut filters, mut chosen) = (Vec::new(), Vec::new());
    for (key, value) in query.filters()? {
        match key.as_str() {
            // The same by its older name.
            "unused-for" => filters.push(("until".to_owned(), value)),
            "id" => chosen.push(format!("id~={value}")),
            "parent" => chosen.push(format!("parents=={value}")),
            "description" | "inuse" | "shared" | "private" => {
                let is_said = value.is_empty() && key != "description";
                chosen.push(if is_said { key } else { format!("{key}=={value}") });
            }
            _ => filters.push((key, value)),
        }
    }
    let size = |name: &str| Ok::<u64, Failure>(query.number(name)?.unwrap_or_default());
    let mut limits = CacheLimits {
        reserved: size("keep-storage")?,
        ..CacheLimits::default()
    };
    if exchange.version() >= ApiVersion::new(48) {
        let reserved = size("reserved-space")?;
        limits = CacheLimits {
            // The older name counts where the newer is not used.
            reserved: if reserved == 0 { limits.reserved } else { reserved },
            most: size("max-used-space")?,
            least_free: size("min-free-space")?,
        };
    }
    let engine = exchange.engine()?;
    let (caches_deleted, space_reclaimed) = if chosen.is_empty() {
        engine.builds().prune(query.flag("all"), &filters, limits)?
    } else {
        if let Some((key, _)) = filters.iter().find(|(key, _)| key != "type") {
            return Err(Failure::bad_request(format!(
                "the filter {key} of the build cache cannot be used with others"
            )));
        }
        chosen.extend(filters.into_iter().map(|(_, kind)| format!("type=={kind}")));
        let chosen = Filters::parse(&[chosen.join(",")], &CACHE_FIELDS)?;
        let wanted = |step: &CachedStep| is_wanted(step, &chosen);
        engine.builds().prune_those(query.flag("all"), &wanted, limits)?
    };
    Reply::json(&Pruned {
        caches_deleted,
        space_reclaimed,
    })
}

impl Form {
    /// Says what of the request is not done.
    fn warn(&self, lines: &Lines<'_>) {
        for what in &self.ignored {
            lines.stream(&format!(
                "[Warning] {what} is not there for builds yet and is ignored\n"
            ));
        }
    }
}
