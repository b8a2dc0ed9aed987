//! The progress of a build, as BuildKit shows it: numbered lines, or a picture that is drawn again and again.

mod picture;
mod plain;

use crate::output::{error_bytes, note};
use engine::EngineError;
use engine::builder::BuildEvent;
use picture::Picture;
use plain::Plain;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the picture is drawn.
const REFRESH: Duration = Duration::from_millis(100);
/// So much of a failed step's output is shown again below the picture.
const LOG_LIMIT: usize = 64 << 10;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
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
}

#[derive(Debug)]
struct State {
    begun: Instant,
    steps: Vec<Step>,
    warnings: Vec<(String, Option<usize>)>,
    plain: Plain,
    picture: Picture,
}

/// A step, as far as it has come.
#[derive(Debug)]
struct Step {
    number: usize,
    name: String,
    begun: Instant,
    outcome: Option<Outcome>,
    /// Its latest output, a bounded part of it.
    log: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Cached,
    Done(f64),
    Failed(String),
}

impl BuildProgress {
    /// Makes one.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            state: Mutex::new(State {
                begun: Instant::now(),
                steps: Vec::new(),
                warnings: Vec::new(),
                plain: Plain::default(),
                picture: Picture::default(),
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
        match event {
            BuildEvent::Started { step, name } => {
                state.steps.push(Step {
                    number: step,
                    name,
                    begun: Instant::now(),
                    outcome: None,
                    log: Vec::new(),
                });
                if self.style == Style::Plain {
                    state.plain.started(&state.steps, step);
                }
            }
            BuildEvent::Cached { step } => self.ended(state, step, Outcome::Cached),
            BuildEvent::Done { step, seconds } => self.ended(state, step, Outcome::Done(seconds)),
            BuildEvent::Failed { step, message } => self.ended(state, step, Outcome::Failed(message)),
            BuildEvent::Output { step, bytes, .. } => {
                let Some(found) = state.steps.iter_mut().find(|known| known.number == step) else {
                    return;
                };
                found.log.extend_from_slice(&bytes);
                if found.log.len() > LOG_LIMIT {
                    found.log.drain(..found.log.len() - LOG_LIMIT);
                }
                if self.style == Style::Plain {
                    state.plain.output(&state.steps, step, &bytes);
                }
            }
            BuildEvent::Warning { message, line } => state.warnings.push((message, line)),
        }
    }

    fn ended(&self, state: &mut State, number: usize, outcome: Outcome) {
        match state.steps.iter_mut().find(|step| step.number == number) {
            // What came out of the cache is done as well; once is enough.
            Some(step) if step.outcome.is_none() => step.outcome = Some(outcome),
            _ => return,
        }
        if self.style == Style::Plain {
            state.plain.ended(&state.steps, number);
        }
    }

    fn draw(&self, finished: Option<bool>) {
        let mut state = self.lock();
        let state = &mut *state;
        let frame = state.picture.frame(&state.steps, state.begun.elapsed(), finished);
        if error_bytes(frame.as_bytes()).is_err() {
            // Nobody looks at the terminal any more; the build goes on.
        }
    }

    /// Draws the last picture and says what is worth a warning.
    pub(crate) fn finish(&self, success: bool) {
        if self.style == Style::Terminal {
            self.draw(Some(success));
        }
        if self.style == Style::Quiet {
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
            note(&format!(" - {message}{line}"));
        }
    }

    /// Shows the log of the step that failed and the lines of the Dockerfile that it stands on.
    pub(crate) fn explain(&self, place: Option<(&Path, &str, std::ops::RangeInclusive<usize>)>) {
        let state = self.lock();
        let failed = state
            .steps
            .iter()
            .find(|step| matches!(step.outcome, Some(Outcome::Failed(_))));
        if let Some(step) = failed.filter(|step| !step.log.is_empty()) {
            let log = String::from_utf8_lossy(&step.log);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            note(&format!("------\n > {}:\n{}\n------", step.name, last.join("\n")));
        }
        if let Some((name, text, lines)) = place {
            note(&excerpt(name, text, &lines));
        }
    }
}

/// Finds the lines of the Dockerfile that an error speaks of.
pub(crate) fn place(error: &EngineError) -> Option<std::ops::RangeInclusive<usize>> {
    match error {
        EngineError::Build(error) => error.location().map(|(_, lines, _)| lines.first..=lines.last),
        _ => None,
    }
}

/// Shows lines of the Dockerfile and their neighbours, as BuildKit does.
fn excerpt(name: &Path, text: &str, lines: &std::ops::RangeInclusive<usize>) -> String {
    let first = if lines.start() == lines.end() {
        lines.start().to_string()
    } else {
        format!("{}-{}", lines.start(), lines.end())
    };
    let mut shown = format!("{}:{first}\n--------------------\n", name.display());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if number + 2 < *lines.start() || number > lines.end() + 2 {
            continue;
        }
        let mark = if lines.contains(&number) { ">>>" } else { "   " };
        shown.extend([format!("{number:>4} | {mark} {}\n", printable(line))]);
    }
    shown.push_str("--------------------");
    shown
}

/// Takes control characters out, which a terminal would act on.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_failure_are_marked() {
        let text = "FROM a\nRUN 1\nRUN 2 && \\\n  3\nRUN 4\nRUN 5\nRUN 6\n";
        assert_eq!(
            excerpt(Path::new("Dockerfile"), text, &(3..=4)),
            "Dockerfile:3-4\n--------------------\n   1 |     FROM a\n   2 |     RUN 1\n   3 | >>> RUN 2 && \\\n   4 | >>>   3\n   5 |     RUN 4\n   6 |     RUN 5\n--------------------"
        );
    }
}
