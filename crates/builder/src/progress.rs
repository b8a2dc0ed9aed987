//! Numbers for steps, and their events.

use crate::{BuildEvent, OutputStream};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Hands out numbers and passes events on. Stages that run at once share it.
pub(crate) struct Progress<'a> {
    events: &'a (dyn Fn(BuildEvent) + Sync),
    /// The last number. Locked while a step is announced, so that they come in their order.
    last: Mutex<usize>,
}

/// A step that has been announced.
pub(crate) struct Step<'a> {
    events: &'a (dyn Fn(BuildEvent) + Sync),
    number: usize,
    began: Instant,
    /// Its result came from the cache, which has been said and is how it ended.
    cached: Cell<bool>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(events: &'a (dyn Fn(BuildEvent) + Sync)) -> Self {
        Self {
            events,
            last: Mutex::new(0),
        }
    }

    pub(crate) fn start(&self, name: String) -> Step<'a> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let number = *last;
        (self.events)(BuildEvent::Started { step: number, name });
        Step {
            events: self.events,
            number,
            began: Instant::now(),
            cached: Cell::new(false),
        }
    }

    pub(crate) fn planned(&self, steps: usize) {
        (self.events)(BuildEvent::Planned { steps });
    }

    pub(crate) fn warn(&self, message: String, line: Option<usize>) {
        (self.events)(BuildEvent::Warning { message, line });
    }
}

impl Step<'_> {
    pub(crate) fn cached(&self) {
        self.cached.set(true);
        (self.events)(BuildEvent::Cached { step: self.number });
    }

    /// Says that the step has ended well, if that has not been said.
    pub(crate) fn done(&self) {
        if self.cached.get() {
            return;
        }
        (self.events)(BuildEvent::Done {
            step: self.number,
            seconds: self.seconds(),
        });
    }

    pub(crate) fn cancelled(&self) {
        (self.events)(BuildEvent::Cancelled { step: self.number });
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

    /// Says something about the step, in a line.
    pub(crate) fn note(&self, message: &str) {
        (self.events)(BuildEvent::Note {
            step: self.number,
            message: message.to_owned(),
        });
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
