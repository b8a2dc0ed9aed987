//! Numbers for steps, and their events.

use crate::{BuildEvent, OutputStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Hands out numbers and passes events on. Stages that run at once share it.
pub(crate) struct Progress<'a> {
    events: &'a (dyn Fn(BuildEvent) + Sync),
    last: AtomicUsize,
}

/// A step that has been announced.
pub(crate) struct Step<'a> {
    events: &'a (dyn Fn(BuildEvent) + Sync),
    number: usize,
    began: Instant,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(events: &'a (dyn Fn(BuildEvent) + Sync)) -> Self {
        Self {
            events,
            last: AtomicUsize::new(0),
        }
    }

    pub(crate) fn start(&self, name: String) -> Step<'a> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        (self.events)(BuildEvent::Started { step: number, name });
        Step {
            events: self.events,
            number,
            began: Instant::now(),
        }
    }

    pub(crate) fn warn(&self, message: String, line: Option<usize>) {
        (self.events)(BuildEvent::Warning { message, line });
    }
}

impl Step<'_> {
    pub(crate) fn cached(&self) {
        (self.events)(BuildEvent::Cached { step: self.number });
    }

    pub(crate) fn done(&self) {
        (self.events)(BuildEvent::Done {
            step: self.number,
            seconds: self.seconds(),
        });
    }

    pub(crate) fn failed(&self, message: String) {
        (self.events)(BuildEvent::Failed {
            step: self.number,
            message,
        });
    }

    pub(crate) fn output(&self, stream: OutputStream, bytes: &[u8]) {
        (self.events)(BuildEvent::Output {
            step: self.number,
            stream,
            bytes: bytes.to_vec(),
        });
    }

    /// Adds a line of our own to the step's output.
    pub(crate) fn note(&self, line: &str) {
        self.output(OutputStream::Stderr, format!("{line}\n").as_bytes());
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
