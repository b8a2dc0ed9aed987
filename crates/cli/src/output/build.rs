//! The progress of a build, as BuildKit shows it: numbered lines, or a picture that is drawn again and again.

mod excerpt;
mod joint;
mod log;
mod picture;
mod plain;
mod raw;
pub(crate) mod report;

use crate::output::{error_bytes, note};
use engine::EngineError;
use engine::builder::BuildEvent;
pub(crate) use joint::{Joint, Part, Shown};
use log::Log;
use picture::Picture;
use plain::Plain;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the picture is drawn.
const REFRESH: Duration = Duration::from_millis(100);
/// So many lines of a failed step's output are shown again below everything.
const LOG_SHOWN: usize = 40;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines of JSON.
    Json,
    /// Numbered lines.
    Plain,
    /// Not at all.
    Quiet,
    /// A picture.
    Terminal,
}

/// Shows a build. The builder's threads share it.
#[derive(Debug)]
pub(crate) struct BuildProgress {
    style: Style,
    state: Mutex<State>,
    /// Held by whoever has the terminal for a while.
    away: Mutex<()>,
}

#[derive(Debug)]
struct State {
    begun: Instant,
    /// How many steps there will be, as far as the builder knows.
    planned: usize,
    /// In the order of their numbers, which begin at 1.
    steps: Vec<Step>,
    warnings: Vec<(String, Option<usize>)>,
    plain: Plain,
    raw: raw::Raw,
    picture: Picture,
    /// What has happened while somebody else has the terminal.
    held_back: Option<Vec<BuildEvent>>,
}

/// A step, as far as it has come.
#[derive(Debug)]
struct Step {
    name: String,
    begun: Instant,
    outcome: Option<Outcome>,
    /// What the builder says about it, and when.
    notes: Vec<(String, Instant)>,
    /// What its command prints.
    log: Log,
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Cached,
    Cancelled(f64),
    Done(f64),
    Failed(f64, String),
}

impl BuildProgress {
    /// Makes one for a build that begins now.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            away: Mutex::default(),
            state: Mutex::new(State {
                begun: Instant::now(),
                planned: 0,
                steps: Vec::new(),
                warnings: Vec::new(),
                plain: Plain::default(),
                raw: raw::Raw::default(),
                picture: Picture::default(),
                held_back: None,
            }),
        }
    }

    /// Runs a build, handing it where its events go, and draws while it runs.
    pub(crate) fn while_it_runs<T>(&self, build: impl FnOnce(&(dyn Fn(BuildEvent) + Sync)) -> T) -> T {
        if self.style != Style::Terminal {
            return build(&|event| self.event(event));
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let painter = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    self.draw(None);
                    std::thread::park_timeout(REFRESH);
                }
            });
            let result = build(&|event| self.event(event));
            over.store(true, Ordering::Release);
            painter.thread().unpark();
            result
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panicked thread left is a picture at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: BuildEvent) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(held_back) = &mut state.held_back {
            held_back.push(event);
            return;
        }
        let plain = self.style == Style::Plain;
        if self.style == Style::Json
            && let Some(line) = state.raw.line(&event)
        {
            note(&line);
        }
        match event {
            BuildEvent::Planned { steps } => state.planned = steps,
            BuildEvent::Started { step, name } => {
                state.steps.push(Step {
                    name: log::clean(&name),
                    begun: Instant::now(),
                    outcome: None,
                    notes: Vec::new(),
                    log: Log::default(),
                });
                if plain {
                    state.plain.started(&state.steps, step);
                }
            }
            BuildEvent::Cached { step } => self.ended(state, step, |_| Outcome::Cached),
            BuildEvent::Cancelled { step } => self.ended(state, step, Outcome::Cancelled),
            BuildEvent::Done { step, seconds } => self.ended(state, step, |_| Outcome::Done(seconds)),
            BuildEvent::Failed { step, message } => {
                self.ended(state, step, |seconds| Outcome::Failed(seconds, message));
            }
            BuildEvent::Note { step, message } => {
                let message = log::clean(&message);
                if plain {
                    state.plain.say(&state.steps, step, message.clone());
                }
                if let Some(step) = state.steps.get_mut(step - 1) {
                    step.notes.push((message, Instant::now()));
                }
            }
            BuildEvent::Output { step, bytes, .. } => {
                let Some(found) = state.steps.get_mut(step - 1) else {
                    return;
                };
                let seconds = found.begun.elapsed().as_secs_f64();
                for line in found.log.add(&bytes, seconds) {
                    if plain {
                        state.plain.say(&state.steps, step, line);
                    }
                }
            }
            BuildEvent::Report(_) => {}
            BuildEvent::Warning { message, line } => state.warnings.push((message, line)),
        }
    }

    fn ended(&self, state: &mut State, number: usize, outcome: impl FnOnce(f64) -> Outcome) {
        let Some(step) = state.steps.get_mut(number - 1) else {
            return;
        };
        let seconds = step.begun.elapsed().as_secs_f64();
        let rest = step.log.end(seconds);
        step.outcome = Some(outcome(seconds));
        if self.style == Style::Plain {
            if let Some(line) = rest {
                state.plain.say(&state.steps, number, line);
            }
            state.plain.ended(&state.steps, number);
        }
    }

    /// Leaves the terminal to `what` for as long as it takes, and goes on below.
    pub(crate) fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        let _alone = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if self.style == Style::Terminal {
            self.draw(None);
        }
        self.lock().held_back = Some(Vec::new());
        let result = what();
        let mut state = self.lock();
        state.picture = Picture::default();
        let held_back = state.held_back.take();
        drop(state);
        held_back
            .into_iter()
            .flatten()
            .for_each(|event| self.event(event));
        result
    }

    fn draw(&self, finished: Option<bool>) {
        let mut state = self.lock();
        let state = &mut *state;
        if state.held_back.is_some() {
            return;
        }
        let frame = state
            .picture
            .frame(&state.steps, state.planned, state.begun.elapsed(), finished);
        if error_bytes(frame.as_bytes()).is_err() {
            // Nobody looks at the terminal any more; the build goes on.
        }
    }

    /// Draws the last picture and says what is worth a warning.
    pub(crate) fn finish(&self, success: bool) {
        if self.style == Style::Terminal {
            self.draw(Some(success));
        }
        if matches!(self.style, Style::Quiet | Style::Json) {
            return;
        }
        let warnings = std::mem::take(&mut self.lock().warnings);
        if warnings.is_empty() {
            return;
        }
        let count = warnings.len();
        note(&format!(
            "\n {count} warning{} found:",
            if count == 1 { "" } else { "s" }
        ));
        for (message, line) in warnings {
            let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
            note(&format!(" - {}{line}", log::clean(&message)));
        }
    }

    /// Shows the log of the step that failed and the lines of the Dockerfile that it stands on.
    pub(crate) fn explain(&self, place: Option<(&Path, &str, std::ops::RangeInclusive<usize>)>) {
        self.explain_among(&|_| true, place);
    }

    /// Like [`BuildProgress::explain`], of the steps whose numbers `is_ours` accepts.
    fn explain_among(
        &self,
        is_ours: &dyn Fn(usize) -> bool,
        place: Option<(&Path, &str, std::ops::RangeInclusive<usize>)>,
    ) {
        let state = self.lock();
        let has_failed = |step: &&Step| matches!(step.outcome, Some(Outcome::Failed(..)));
        let own = (1..).zip(&state.steps).filter(|(number, _)| is_ours(*number));
        let failed = own.map(|(_, step)| step).find(has_failed);
        if let Some(step) = failed.filter(|step| !step.log.is_empty()) {
            let lines = step.log.last(LOG_SHOWN).join("\n");
            note(&format!("------\n > {}:\n{lines}\n------", step.name));
        }
        if let Some((name, text, lines)) = place {
            note(&excerpt::excerpt(name, text, &lines));
        }
    }
}

/// Shows lines of a file and their neighbours.
pub(crate) fn show_lines(name: &str, text: &str, lines: std::ops::RangeInclusive<usize>) {
    note(&excerpt::excerpt(Path::new(name), text, &lines));
}

/// Finds the lines of the Dockerfile that an error speaks of.
pub(crate) fn place(error: &EngineError) -> Option<std::ops::RangeInclusive<usize>> {
    match error {
        EngineError::Build(error) => error.location().map(|(_, lines, _)| lines.first..=lines.last),
        _ => None,
    }
}
