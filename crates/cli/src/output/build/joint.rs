//! Several builds that run side by side, shown as one.

use super::{BuildProgress, Style};
use engine::builder::BuildEvent;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The progress of several builds.
#[derive(Debug)]
pub(crate) struct Joint {
    shown: BuildProgress,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// The steps that were announced.
    announced: usize,
    /// Those that there will be.
    planned: usize,
}

/// One of the builds.
#[derive(Debug)]
pub(crate) struct Part<'j> {
    joint: &'j Joint,
    /// What it is called in the names of its steps.
    name: String,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    /// The numbers of its steps among all, in the order of its own numbers.
    numbers: Vec<usize>,
    planned: usize,
}

impl Joint {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            shown: BuildProgress::new(style),
            counted: Mutex::default(),
        }
    }

    /// Returns what shows all of them.
    pub(crate) fn shown(&self) -> &BuildProgress {
        &self.shown
    }

    /// Returns what shows one of them.
    pub(crate) fn part(&self, name: &str) -> Part<'_> {
        Part {
            joint: self,
            name: name.to_owned(),
            own: Mutex::default(),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Returns what the build is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Shows what happens in this build.
    pub(crate) fn event(&self, event: BuildEvent) {
        // Held until the event is shown, so that numbers are given in the order in which steps are announced.
        let mut counted = self.joint.counted();
        let mut own = self.own();
        let whole = |step: usize| own.numbers.get(step.wrapping_sub(1)).copied();
        let event = match event {
            BuildEvent::Planned { steps } => {
                counted.planned = (counted.planned + steps).saturating_sub(own.planned);
                own.planned = steps;
                Some(BuildEvent::Planned {
                    steps: counted.planned,
                })
            }
            BuildEvent::Started { name, .. } => {
                counted.announced += 1;
                own.numbers.push(counted.announced);
                Some(BuildEvent::Started {
                    step: counted.announced,
                    name: match name.strip_prefix('[') {
                        Some(rest) => format!("[{} {rest}", self.name),
                        None => format!("[{}] {name}", self.name),
                    },
                })
            }
            BuildEvent::Cached { step } => whole(step).map(|step| BuildEvent::Cached { step }),
            BuildEvent::Cancelled { step } => whole(step).map(|step| BuildEvent::Cancelled { step }),
            BuildEvent::Done { step, seconds } => whole(step).map(|step| BuildEvent::Done { step, seconds }),
            BuildEvent::Failed { step, message } => {
                whole(step).map(|step| BuildEvent::Failed { step, message })
            }
            BuildEvent::Note { step, message } => whole(step).map(|step| BuildEvent::Note { step, message }),
            BuildEvent::Output { step, stream, bytes } => {
                whole(step).map(|step| BuildEvent::Output { step, stream, bytes })
            }
            BuildEvent::Warning { message, line } => Some(BuildEvent::Warning {
                message: format!("{}: {message}", self.name),
                line,
            }),
            report @ BuildEvent::Report(_) => Some(report),
        };
        drop(own);
        if let Some(event) = event {
            self.joint.shown.event(event);
        }
    }

    /// Writes a line of its own below what is shown.
    pub(crate) fn note(&self, line: &str) {
        self.joint.shown.aside(|| crate::output::note(line));
    }

    /// Shows the log of its step that failed and the lines of the Dockerfile that it stands on.
    pub(crate) fn explain(&self, place: Option<(&Path, &str, std::ops::RangeInclusive<usize>)>) {
        let numbers = self.own().numbers.clone();
        let shown = &self.joint.shown;
        shown.aside(|| shown.explain_among(&|number| numbers.contains(&number), place));
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a build is shown: by itself, or as one of several.
#[derive(Debug)]
pub(crate) enum Shown<'j> {
    /// By itself.
    Alone(Box<BuildProgress>),
    /// As one of several.
    Part(&'j Part<'j>),
}

impl Shown<'_> {
    /// Runs a build, handing it where its events go.
    pub(crate) fn while_it_runs<T>(&self, build: impl FnOnce(&(dyn Fn(BuildEvent) + Sync)) -> T) -> T {
        match self {
            Self::Alone(shown) => shown.while_it_runs(build),
            Self::Part(part) => build(&|event| part.event(event)),
        }
    }

    /// Draws the last picture; of several builds that is done when all are over.
    pub(crate) fn finish(&self, success: bool) {
        if let Self::Alone(shown) = self {
            shown.finish(success);
        }
    }

    /// Shows the log of the step that failed and the lines of the Dockerfile that it stands on.
    pub(crate) fn explain(&self, place: Option<(&Path, &str, std::ops::RangeInclusive<usize>)>) {
        match self {
            Self::Alone(shown) => shown.explain(place),
            Self::Part(part) => part.explain(place),
        }
    }

    /// Writes a line.
    pub(crate) fn note(&self, line: &str) {
        match self {
            Self::Alone(_) => crate::output::note(line),
            Self::Part(part) => part.note(line),
        }
    }

    /// Leaves the terminal to `what` for as long as it takes.
    pub(crate) fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        match self {
            Self::Alone(shown) => shown.aside(what),
            Self::Part(part) => part.joint.shown.aside(what),
        }
    }
}
