//! Numbered lines: `#5 [2/4] RUN pip install pandas`, `#5 0.312 Collecting pandas`, `#5 DONE 12.3s`.
//!
//! Steps run side by side, but their lines do not mingle: one step has the floor until it ends or falls silent, the
//! others' lines wait.

use super::{Outcome, Step};
use crate::output::note;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// After so long a silence another step gets the floor.
const SILENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The step that has the floor, and when it last spoke.
    floor: Option<(usize, Instant)>,
    /// Whether anything was printed, so that an empty line must come before the next step.
    begun: bool,
    /// Lines that wait, by step; a step with none waits for its title to be shown.
    waiting: BTreeMap<usize, Vec<String>>,
}

impl Plain {
    pub(super) fn started(&mut self, steps: &[Step], number: usize) {
        if self.floor.is_none() {
            self.take_floor(steps, number);
        } else {
            self.waiting.entry(number).or_default();
        }
    }

    pub(super) fn ended(&mut self, steps: &[Step], number: usize) {
        let line = match steps.get(number - 1).and_then(|step| step.outcome.as_ref()) {
            Some(Outcome::Cached) => "CACHED".to_owned(),
            Some(Outcome::Cancelled(_)) => "CANCELED".to_owned(),
            Some(Outcome::Done(seconds)) => format!("DONE {seconds:.1}s"),
            Some(Outcome::Failed(_, message)) => format!("ERROR: {}", super::log::clean(message)),
            None => return,
        };
        self.say(steps, number, line);
        if self.has_floor(number) {
            self.floor = None;
            self.next(steps);
        }
    }

    /// Prints a line of a step's, now or when it gets the floor.
    pub(super) fn say(&mut self, steps: &[Step], number: usize, line: String) {
        match self.floor {
            Some((floor, _)) if floor == number => {}
            Some((_, spoke)) if spoke.elapsed() < SILENCE => {
                self.waiting.entry(number).or_default().push(line);
                return;
            }
            Some((silent, _)) => {
                note(&format!("#{silent} ..."));
                self.waiting.entry(silent).or_default();
                self.take_floor(steps, number);
            }
            None => self.take_floor(steps, number),
        }
        note(&format!("#{number} {line}"));
        self.floor = Some((number, Instant::now()));
    }

    fn has_floor(&self, number: usize) -> bool {
        matches!(self.floor, Some((floor, _)) if floor == number)
    }

    /// Gives the floor to a step: its name, and what it has said meanwhile.
    fn take_floor(&mut self, steps: &[Step], number: usize) {
        if self.begun {
            note("");
        }
        self.begun = true;
        let name = steps.get(number - 1).map_or("", |step| step.name.as_str());
        note(&format!("#{number} {name}"));
        for line in self.waiting.remove(&number).unwrap_or_default() {
            note(&format!("#{number} {line}"));
        }
        self.floor = Some((number, Instant::now()));
    }

    /// Lets those speak that ended meanwhile, then gives the floor to the first that still works.
    fn next(&mut self, steps: &[Step]) {
        let has_ended = |number: usize| steps.get(number - 1).is_none_or(|step| step.outcome.is_some());
        while let Some(number) = self.waiting.keys().copied().find(|&number| has_ended(number)) {
            self.take_floor(steps, number);
            self.floor = None;
        }
        if let Some(number) = self.waiting.keys().next().copied() {
            self.take_floor(steps, number);
        }
    }
}
