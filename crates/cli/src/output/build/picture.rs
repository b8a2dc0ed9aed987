//! A picture of the build that is drawn over itself: a line a step, and the last lines of what runs.

use super::{Outcome, Step};
use rustix::termios::tcgetwinsize;
use std::time::{Duration, Instant};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Lines of output below a running step.
const TAIL: usize = 6;
/// No terminal is taken to be narrower.
const NARROWEST: usize = 20;
/// Where the terminal does not say.
const USUAL_SIZE: (usize, usize) = (24, 80);

#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The last frame's lines.
    drawn: Vec<Row>,
}

/// A line of a frame.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    text: String,
    /// How it is coloured; empty is not at all.
    colour: &'static str,
    /// Whether it is there for something that has ended, and can be left out first.
    ended: bool,
}

impl Picture {
    /// Returns what draws the next frame over the last one.
    pub(super) fn frame(
        &mut self,
        steps: &[Step],
        planned: usize,
        elapsed: Duration,
        finished: Option<bool>,
    ) -> String {
        let (rows, columns) = tcgetwinsize(std::io::stderr())
            .ok()
            .filter(|size| size.ws_row > 0 && size.ws_col > 0)
            .map_or(USUAL_SIZE, |size| {
                (usize::from(size.ws_row), usize::from(size.ws_col))
            });
        let columns = columns.max(NARROWEST);
        let new = lines(
            steps,
            planned,
            elapsed,
            finished,
            rows.saturating_sub(1).max(4),
            columns,
        );
        if new == self.drawn {
            return String::new();
        }
        let coloured = has_colours();
        // The cursor is hidden while it jumps about, and is there again at the end of each frame: whoever kills us
        // finds the terminal as it was.
        let mut frame = String::from("\x1b[?25l");
        // A terminal that has become narrower has wrapped what stood on it.
        let above: usize = self
            .drawn
            .iter()
            .map(|row| row.text.width().max(1).div_ceil(columns))
            .sum();
        if above > 0 {
            frame.extend([format!("\x1b[{above}A")]);
        }
        for row in &new {
            frame.push('\r');
            if coloured && !row.colour.is_empty() {
                frame.extend(["\x1b[", row.colour, "m", &row.text, "\x1b[0m"]);
            } else {
                frame.push_str(&row.text);
            }
            // In a full line the cursor still stands on the last column, which this would erase.
            if row.text.width() < columns {
                frame.push_str("\x1b[K");
            }
            frame.push_str("\r\n");
        }
        // What the last frame had more of.
        frame.push_str("\x1b[J\x1b[?25h");
        self.drawn = new;
        frame
    }
}

/// Says whether the user wants colours (see no-color.org).
fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn lines(
    steps: &[Step],
    planned: usize,
    elapsed: Duration,
    finished: Option<bool>,
    rows: usize,
    columns: usize,
) -> Vec<Row> {
    let done = steps.iter().filter(|step| step.outcome.is_some()).count();
    // A finished build may have had fewer steps than it might have needed.
    let total = if finished == Some(true) {
        done
    } else {
        planned.max(steps.len())
    };
    let end = if finished == Some(true) { " FINISHED" } else { "" };
    let head = format!("[+] Building {:.1}s ({done}/{total}){end}", elapsed.as_secs_f64());
    let mut body = Vec::new();
    for step in steps {
        let running = step.begun.elapsed().as_secs_f64();
        let (name, seconds, colour) = match &step.outcome {
            Some(Outcome::Cached) => (format!("CACHED {}", step.name), 0.0, "34"),
            Some(Outcome::Cancelled(seconds)) => (format!("CANCELED {}", step.name), *seconds, "33"),
            Some(Outcome::Done(seconds)) => (step.name.clone(), *seconds, "34"),
            Some(Outcome::Failed(seconds, _)) => (format!("ERROR {}", step.name), *seconds, "31"),
            None => (step.name.clone(), running, ""),
        };
        let ended = step.outcome.is_some();
        body.push(Row {
            text: timed(&format!(" => {name}"), seconds, columns),
            colour,
            ended,
        });
        let mut before = step.begun;
        for (note, at) in &step.notes {
            let (text, is_done) = match note.strip_suffix(" done") {
                Some(text) => (text, true),
                None => (note.as_str(), ended),
            };
            body.push(Row {
                text: timed(&format!(" => => {text}"), between(before, *at), columns),
                colour: if is_done { "34" } else { "" },
                ended,
            });
            before = *at;
        }
        if !ended && finished.is_none() {
            body.extend(step.log.tail(TAIL).into_iter().map(|line| Row {
                text: fit(&format!(" => => # {line}"), columns),
                colour: "90",
                ended: false,
            }));
        }
    }
    if finished.is_none() {
        let mut surplus = (body.len() + 1).saturating_sub(rows);
        // What does not fit is what ended first, and then what stands highest.
        body.retain(|row| {
            let goes = surplus > 0 && row.ended;
            surplus -= usize::from(goes);
            !goes
        });
        body.drain(..surplus.min(body.len()));
    }
    let head = Row {
        text: fit(&head, columns),
        colour: "",
        ended: false,
    };
    std::iter::once(head).chain(body).collect()
}

fn between(before: Instant, after: Instant) -> f64 {
    after.saturating_duration_since(before).as_secs_f64()
}

/// Returns a line with a time at its right end.
fn timed(text: &str, seconds: f64, columns: usize) -> String {
    let time = format!("{seconds:.1}s");
    let mut line = fit(text, columns.saturating_sub(time.len() + 1));
    let gap = columns.saturating_sub(line.width() + time.len());
    line.extend(std::iter::repeat_n(' ', gap));
    line.push_str(&time);
    line
}

/// Cuts a text to so many columns.
fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let mut cut: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::super::log::Log;
    use super::*;

    fn step(name: &str, outcome: Option<Outcome>) -> Step {
        let mut log = Log::default();
        log.add(b"one\ntwo\r\nthree\rfour\n", 0.0);
        Step {
            name: name.to_owned(),
            begun: Instant::now(),
            outcome,
            notes: Vec::new(),
            log,
        }
    }

    fn texts(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.text.as_str()).collect()
    }

    #[test]
    fn a_picture_fits_its_terminal() {
        let mut steps: Vec<Step> = (1..9)
            .map(|number| {
                step(
                    &format!("[{number}/9] RUN 日本 is rather long and does not fit"),
                    Some(Outcome::Done(1.25)),
                )
            })
            .collect();
        steps.push(step("[9/9] RUN x", None));
        let rows = lines(&steps, 10, Duration::from_millis(3210), None, 8, 40);
        assert_eq!(
            texts(&rows),
            [
                "[+] Building 3.2s (8/10)",
                " => [6/9] RUN 日本 is rather long … 1.2s",
                " => [7/9] RUN 日本 is rather long … 1.2s",
                " => [8/9] RUN 日本 is rather long … 1.2s",
                " => [9/9] RUN x                     0.0s",
                " => => # one",
                " => => # two",
                " => => # four",
            ]
        );
        assert!(rows.iter().all(|row| row.text.width() <= 40));
        let rows = lines(&steps[8..], 10, Duration::ZERO, None, 4, 20);
        assert_eq!(
            texts(&rows),
            [
                "[+] Building 0.0s (…",
                " => => # one",
                " => => # two",
                " => => # four"
            ]
        );
    }

    #[test]
    fn the_last_picture_has_all_steps_and_no_logs() {
        let mut exporting = step("exporting to image", Some(Outcome::Done(0.0)));
        exporting.notes = vec![("naming to x done".to_owned(), exporting.begun)];
        let steps = [
            step("[1/3] FROM x", Some(Outcome::Done(0.0))),
            step("[2/3] RUN y", Some(Outcome::Cached)),
            exporting,
        ];
        assert_eq!(
            texts(&lines(&steps, 9, Duration::ZERO, Some(true), 4, 30)),
            [
                "[+] Building 0.0s (3/3) FINIS…",
                " => [1/3] FROM x          0.0s",
                " => CACHED [2/3] RUN y    0.0s",
                " => exporting to image    0.0s",
                " => => naming to x        0.0s",
            ]
        );
        let steps = [
            step("[2/3] RUN y", Some(Outcome::Failed(2.0, "no".to_owned()))),
            step("[z 1/1] RUN w", Some(Outcome::Cancelled(1.0))),
        ];
        assert_eq!(
            texts(&lines(&steps, 9, Duration::ZERO, Some(false), 4, 30)),
            [
                "[+] Building 0.0s (2/9)",
                " => ERROR [2/3] RUN y     2.0s",
                " => CANCELED [z 1/1] RUN … 1.0s",
            ]
        );
    }
}
