//! Building twice in different surroundings, and telling what is not the same.

use super::Builds;
use crate::EngineError;
use builder::{Build, BuildEvent, StepReport};
use oci::Digest;
use rustix::fs::Mode;
use rustix::thread::CpuSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Difference;
use sys::SysError;

/// The second build begins at least so long after the first: times in layers are whole seconds, those in some archives
/// even ones.
const APART: Duration = Duration::from_millis(2_100);

/// A step that did not give the same twice.
#[derive(Debug, Clone)]
pub struct UnequalStep {
    /// The instruction.
    pub instruction: String,
    /// Whether what it stands on, or copies, was not the same either: then the fault may be there.
    pub follows: bool,
    /// What is not the same. Empty if one build has the step and the other has not, or the tars differ in their order
    /// alone.
    pub files: Vec<Difference>,
}

/// What building twice has shown.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The image of the first build, which has the tags.
    pub first: Digest,
    /// The image of the second.
    pub second: Digest,
    /// The steps that were not the same, in the first build's order.
    pub unequal: Vec<UnequalStep>,
}

impl Builds<'_> {
    /// Builds twice without the cache: as things are, and then later, with another umask, on one processor alone, from a
    /// copy of the sources that lies elsewhere, was made in another order and looks older.
    pub fn verify(
        &self,
        build: &Build,
        events: &(dyn Fn(BuildEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Verification, EngineError> {
        let lease = self.engine.store.lease()?;
        let keep = |report: &StepReport| -> Result<(), EngineError> {
            // A layer that only the cache refers to goes when the second build takes its place there.
            if let Some(layer) = &report.layer {
                self.engine.store.find_layer(&lease, &layer.diff_id)?;
            }
            Ok(())
        };
        let began = Instant::now();
        let mut once = Build {
            no_cache: true,
            ..build.clone()
        };
        let (first, before) = self.reported(&once, events, cancelled)?;
        before.iter().try_for_each(keep)?;
        std::thread::sleep(APART.saturating_sub(began.elapsed()));
        once.tags.clear();
        let stopped = || cancelled.load(Ordering::Relaxed);
        let elsewhere = builder::elsewhere(&self.engine.store, &once, &stopped).map_err(Box::new)?;
        let surroundings = Surroundings::change()?;
        let again = self.reported(&elsewhere.build, events, cancelled);
        drop((surroundings, elsewhere));
        let (second, after) = again?;
        after.iter().try_for_each(keep)?;
        let unequal = self.unequal(&before, &after)?;
        if second != first {
            self.forget(&second)?;
        }
        Ok(Verification {
            first,
            second,
            unequal,
        })
    }

    /// Builds and returns what became of the steps.
    fn reported(
        self,
        build: &Build,
        events: &(dyn Fn(BuildEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<(Digest, Vec<StepReport>), EngineError> {
        let reports = Mutex::new(Vec::new());
        let collect = |event: BuildEvent| {
            if let BuildEvent::Report(report) = &event {
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.push(StepReport::clone(report));
            }
            events(event);
        };
        let image = self.build(build, &collect, cancelled)?;
        Ok((
            image,
            reports.into_inner().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    fn unequal(self, before: &[StepReport], after: &[StepReport]) -> Result<Vec<UnequalStep>, EngineError> {
        let mut left: Vec<&StepReport> = after.iter().collect();
        let mut unequal = Vec::new();
        for first in before {
            // The same instruction may stand there more than once; they come in the same order, but for stages that
            // run at the same time.
            let same = |second: &&&StepReport| second.summary == first.summary;
            let exact = left
                .iter()
                .position(|second| same(&second) && second.key == first.key);
            let position = exact.or_else(|| left.iter().position(|second| same(&second)));
            let Some(second) = position.map(|position| left.remove(position)) else {
                unequal.push(UnequalStep {
                    instruction: first.summary.clone(),
                    follows: false,
                    files: Vec::new(),
                });
                continue;
            };
            let digest = |report: &StepReport| report.layer.as_ref().map(|layer| layer.diff_id);
            if digest(first) == digest(second) {
                continue;
            }
            let files = match (&first.layer, &second.layer) {
                (Some(a), Some(b)) => self.engine.store.compare_layers(a, b)?,
                _ => Vec::new(),
            };
            unequal.push(UnequalStep {
                instruction: first.summary.clone(),
                follows: first.key != second.key,
                files,
            });
        }
        Ok(unequal)
    }
}

/// Other surroundings than before, until this goes.
struct Surroundings {
    umask: Mode,
    processors: CpuSet,
}

impl Surroundings {
    fn change() -> Result<Self, SysError> {
        let processors = rustix::thread::sched_getaffinity(None)
            .map_err(SysError::of("ask for the processors of this process"))?;
        let mut one = CpuSet::new();
        if let Some(first) = (0..CpuSet::MAX_CPU).find(|&number| processors.is_set(number)) {
            one.set(first);
        }
        // What the builder's threads and the steps' monitors inherit.
        rustix::thread::sched_setaffinity(None, &one)
            .map_err(SysError::of("choose the processors of this process"))?;
        Ok(Self {
            umask: rustix::process::umask(Mode::from_raw_mode(0o077)),
            processors,
        })
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        rustix::process::umask(self.umask);
        if rustix::thread::sched_setaffinity(None, &self.processors).is_err() {
            // The processors have gone meanwhile: what is left is slower, and nothing else.
        }
    }
}
