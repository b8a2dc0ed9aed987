//! Builds that run, so that other calls find them: whoever watches or cancels one, and the frontend's side of it.

use super::solve::{Built, Solve};
use super::wire::control::StatusResponse;
use crate::server::BodyReader;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a call waits for the build that it belongs to: clients send both at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a frontend in the client has returned: the result's name, or why there is none.
pub(super) type Returned = Result<String, super::SolveError>;

/// A build by `Solve`.
#[derive(Debug)]
pub(super) struct Job {
    /// What is to be built; the frontend in the client may say the rest.
    pub(super) solve: Solve,
    /// Set, the build ends.
    pub(super) cancelled: Arc<AtomicBool>,
    /// Where the build tells how it goes.
    pub(super) progress: super::progress::Progress,
    /// What was told and nobody has asked for yet.
    pub(super) told: Mutex<Option<mpsc::UnboundedReceiver<StatusResponse>>>,
    /// What the frontend in the client has had built, by name.
    pub(super) results: Mutex<HashMap<String, Arc<Built>>>,
    /// Writes down what happens.
    pub(super) recorder: Arc<super::history::Recorder>,
    /// Takes what that frontend returns.
    pub(super) returns: Mutex<Option<oneshot::Sender<Returned>>>,
}

impl Job {
    /// Takes what is told of the build; the first caller gets all of it.
    pub(super) fn take_told(&self) -> Option<mpsc::UnboundedReceiver<StatusResponse>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A context that a client sends in a request of its own.
#[derive(Debug)]
struct Upload {
    body: BodyReader,
    taken: Arc<(Mutex<bool>, Condvar)>,
}

/// The builds that run.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    solves: Mutex<HashMap<String, Arc<Job>>>,
    begun: Notify,
    cancellations: Mutex<HashMap<String, Arc<AtomicBool>>>,
    uploads: Mutex<HashMap<String, Upload>>,
    uploaded: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// Makes a build known; `false` if there is one of this name.
    pub(super) fn begin(&self, name: &str, job: &Arc<Job>) -> bool {
        let mut solves = lock(&self.solves);
        if solves.contains_key(name) {
            return false;
        }
        solves.insert(name.to_owned(), Arc::clone(job));
        drop(solves);
        self.begun.notify_waiters();
        true
    }

    /// Forgets a build.
    pub(super) fn end(&self, name: &str) {
        lock(&self.solves).remove(name);
    }

    /// Returns the builds that run, or did so a moment ago.
    pub(super) fn all(&self) -> Vec<Arc<Job>> {
        lock(&self.solves).values().cloned().collect()
    }

    /// Returns a build, waiting a while for one that is about to begin.
    pub(super) async fn find(&self, name: &str) -> Option<Arc<Job>> {
        let found = async {
            loop {
                let begun = self.begun.notified();
                tokio::pin!(begun);
                begun.as_mut().enable();
                if let Some(job) = lock(&self.solves).get(name) {
                    return Arc::clone(job);
                }
                begun.await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok()
    }

    /// Lets a build be cancelled by a name as long as what this returns lives.
    pub(crate) fn cancellable(&self, name: Option<&str>, cancelled: &Arc<AtomicBool>) -> Cancellable<'_> {
        if let Some(name) = name {
            lock(&self.cancellations).insert(name.to_owned(), Arc::clone(cancelled));
        }
        Cancellable {
            jobs: self,
            name: name.map(str::to_owned),
        }
    }

    /// Cancels a build by its name; one that is over already needs it no more.
    pub(crate) fn cancel(&self, name: &str) {
        if let Some(cancelled) = lock(&self.cancellations).get(name) {
            cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// Offers a request's body to the build that waits for it, and waits until it has been read. `false` if nobody
    /// wants it.
    pub(crate) fn offer(&self, name: &str, body: BodyReader) -> bool {
        let taken = Arc::new((Mutex::new(false), Condvar::new()));
        let upload = Upload {
            body,
            taken: Arc::clone(&taken),
        };
        lock(&self.uploads).insert(name.to_owned(), upload);
        self.uploaded.notify_all();
        let (done, over) = &*taken;
        let end = Instant::now() + PATIENCE;
        let mut done = lock(done);
        while !*done {
            // Once somebody reads it, it takes what it takes.
            let is_offered = lock(&self.uploads).contains_key(name);
            if is_offered && Instant::now() > end {
                lock(&self.uploads).remove(name);
                return false;
            }
            done = over
                .wait_timeout(done, Duration::from_millis(200))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Takes the body that another request offers.
    pub(crate) fn take_upload(&self, name: &str) -> Option<UploadedBody> {
        let end = Instant::now() + PATIENCE;
        let mut uploads = lock(&self.uploads);
        loop {
            if let Some(upload) = uploads.remove(name) {
                return Some(UploadedBody {
                    body: upload.body,
                    taken: upload.taken,
                });
            }
            let left = end.checked_duration_since(Instant::now())?;
            uploads = self
                .uploaded
                .wait_timeout(uploads, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A build that can be cancelled by its name.
#[derive(Debug)]
pub(crate) struct Cancellable<'j> {
    jobs: &'j Jobs,
    name: Option<String>,
}

impl Drop for Cancellable<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            lock(&self.jobs.cancellations).remove(name);
        }
    }
}

/// The body of another request, which is answered when this is dropped.
#[derive(Debug)]
pub(crate) struct UploadedBody {
    body: BodyReader,
    taken: Arc<(Mutex<bool>, Condvar)>,
}

impl std::io::Read for UploadedBody {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.body.read(buffer)
    }
}

impl Drop for UploadedBody {
    fn drop(&mut self) {
        let (done, over) = &*self.taken;
        *lock(done) = true;
        over.notify_all();
    }
}
