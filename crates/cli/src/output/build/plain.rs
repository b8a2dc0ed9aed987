//! Numbered lines: `#5 [2/4] RUN pip install pandas`, `#5 0.312 Collecting pandas`, `#5 DONE 12.3s`.
//!
//! Steps run side by side, but their lines do not mingle: one step has the floor until it ends or falls silent, the
//! others' lines wait.

use super::{Outcome, Step, printable};
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
    /// Lines that wait, by step.
    waiting: BTreeMap<usize, Vec<String>>,
    /// Output without its line's end.
    partial: BTreeMap<usize, Vec<u8>>,
}

impl Plain {
    pub(super) fn started(&mut self, steps: &[Step], number: usize) {
        if self.floor.is_none() {
            self.take_floor(steps, number);
        } else {
            self.waiting.entry(number).or_default();
        }
    }

    pub(super) fn output(&mut self, steps: &[Step], number: usize, bytes: &[u8]) {
        let Some(step) = steps.iter().find(|step| step.number == number) else {
            return;
        };
        let seconds = step.begun.elapsed().as_secs_f64();
        let partial = self.partial.entry(number).or_default();
        partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            // Only what stands after the last carriage return would be seen on a terminal.
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            let line = line.rsplit('\r').next().unwrap_or(line);
            lines.push(format!("#{} {seconds:.3} {}", number, printable(line)));
        }
        for line in lines {
            self.say(steps, number, line);
        }
    }

    pub(super) fn ended(&mut self, steps: &[Step], number: usize) {
        if let Some(rest) = self.partial.remove(&number).filter(|rest| !rest.is_empty()) {
            let seconds = steps
                .iter()
                .find(|step| step.number == number)
                .map_or(0.0, |step| step.begun.elapsed().as_secs_f64());
            let rest = String::from_utf8_lossy(&rest);
            self.say(
                steps,
                number,
                format!("#{number} {seconds:.3} {}", printable(&rest)),
            );
        }
        let outcome = steps
            .iter()
            .find(|step| step.number == number)
            .and_then(|step| step.outcome.clone());
        let line = match outcome {
            Some(Outcome::Cached) => format!("#{number} CACHED"),
            Some(Outcome::Done(seconds)) => format!("#{number} DONE {seconds:.1}s"),
            Some(Outcome::Failed(message)) => format!("#{number} ERROR: {message}"),
            None => return,
        };
        if matches!(self.floor, Some((floor, _)) if floor == number) {
            note(&line);
            self.floor = None;
        } else if self.floor.is_none() {
            self.take_floor(steps, number);
            note(&line);
            self.floor = None;
        } else {
            self.waiting.entry(number).or_default().push(line);
            return;
        }
        self.next(steps);
    }

    fn say(&mut self, steps: &[Step], number: usize, line: String) {
        match self.floor {
            Some((floor, _)) if floor == number => {}
            Some((_, spoke)) if spoke.elapsed() < SILENCE => {
                self.waiting.entry(number).or_default().push(line);
                return;
            }
            Some((floor, _)) => {
                note(&format!("#{floor} ..."));
                self.waiting.entry(floor).or_default();
                self.take_floor(steps, number);
            }
            None => self.take_floor(steps, number),
        }
        note(&line);
        self.floor = Some((number, Instant::now()));
    }

    /// Gives the floor to a step: its name, and what it has said meanwhile.
    fn take_floor(&mut self, steps: &[Step], number: usize) {
        let name = steps
            .iter()
            .find(|step| step.number == number)
            .map_or("", |step| step.name.as_str());
        if self.begun {
            note("");
        }
        self.begun = true;
        note(&format!("#{} {}", number, printable(name)));
        for line in self.waiting.remove(&number).unwrap_or_default() {
            note(&line);
        }
        self.floor = Some((number, Instant::now()));
    }

    /// Lets those speak that ended meanwhile, then gives the floor to the first that waits.
    fn next(&mut self, steps: &[Step]) {
        while let Some(number) = self.waiting.keys().next().copied() {
            self.take_floor(steps, number);
            let has_ended = steps
                .iter()
                .any(|step| step.number == number && step.outcome.is_some());
            if !has_ended {
                return;
            }
            self.floor = None;
        }
    }
}
