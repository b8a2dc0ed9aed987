//! A picture of the build that is drawn over itself: a line a step, and the last lines of what runs.

use super::{Outcome, Step, printable};
use std::time::Duration;

/// Lines of output below a running step.
const TAIL: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Lines of the last frame.
    drawn: usize,
}

impl Picture {
    /// Returns what draws the next frame over the last one.
    pub(super) fn frame(&mut self, steps: &[Step], elapsed: Duration, finished: Option<bool>) -> String {
        let (rows, columns) = crate::terminal::size().map_or((24, 80), |(rows, columns)| {
            (usize::from(rows), usize::from(columns))
        });
        let lines = lines(
            steps,
            elapsed,
            finished,
            rows.saturating_sub(1).max(4),
            columns.max(20),
        );
        let mut frame = String::new();
        if self.drawn > 0 {
            frame.extend([format!("\x1b[{}A", self.drawn)]);
        }
        for line in &lines {
            frame.push_str("\r\x1b[2K");
            frame.push_str(line);
            frame.push('\n');
        }
        // What the last frame had more of.
        frame.push_str("\x1b[J");
        self.drawn = lines.len();
        frame
    }
}

fn lines(
    steps: &[Step],
    elapsed: Duration,
    finished: Option<bool>,
    rows: usize,
    columns: usize,
) -> Vec<String> {
    let done = steps.iter().filter(|step| step.outcome.is_some()).count();
    let end = if finished == Some(true) { " FINISHED" } else { "" };
    let head = format!(
        "[+] Building {:.1}s ({done}/{}){end}",
        elapsed.as_secs_f64(),
        steps.len()
    );
    let mut body: Vec<(bool, String)> = Vec::new();
    for step in steps {
        let (mark, name, seconds) = match &step.outcome {
            Some(Outcome::Cached) => ("=>", format!("CACHED {}", step.name), 0.0),
            Some(Outcome::Done(seconds)) => ("=>", step.name.clone(), *seconds),
            Some(Outcome::Failed(_)) => (
                "=>",
                format!("ERROR {}", step.name),
                step.begun.elapsed().as_secs_f64(),
            ),
            None => ("=>", step.name.clone(), step.begun.elapsed().as_secs_f64()),
        };
        let time = format!("{seconds:.1}s");
        let left = fit(
            &format!(" {mark} {}", printable(&name)),
            columns.saturating_sub(time.len() + 1),
        );
        let width = columns.saturating_sub(time.len());
        let ended = step.outcome.is_some();
        body.push((ended, format!("{left:<width$}{time}")));
        if !ended && finished.is_none() {
            for line in tail(&step.log) {
                body.push((false, fit(&format!(" => => # {}", printable(&line)), columns)));
            }
        }
    }
    if finished.is_none() {
        // What does not fit is what ended first.
        while body.len() + 1 > rows {
            let oldest = body.iter().position(|(ended, _)| *ended).unwrap_or(0);
            body.remove(oldest);
        }
    }
    std::iter::once(fit(&head, columns))
        .chain(body.into_iter().map(|(_, line)| line))
        .collect()
}

fn fit(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

fn tail(log: &[u8]) -> Vec<String> {
    let log = String::from_utf8_lossy(log);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL)..].iter();
    last.map(|line| {
        line.rsplit('\r')
            .find(|part| !part.is_empty())
            .unwrap_or(line)
            .to_owned()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_picture_fits_its_terminal() {
        let step = |number: usize, outcome| Step {
            number,
            name: format!("[{number}/9] RUN something rather long that does not fit"),
            begun: Instant::now(),
            outcome,
            log: b"one\ntwo\r\nthree\rfour\n".to_vec(),
        };
        let mut steps: Vec<Step> = (1..9)
            .map(|number| step(number, Some(Outcome::Done(1.25))))
            .collect();
        steps.push(step(9, None));
        let lines = lines(&steps, Duration::from_millis(3210), None, 8, 40);
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[0], "[+] Building 3.2s (8/9)");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert_eq!(lines[7], " => => # four");
        assert!(lines[4].starts_with(" => [9/9] RUN"), "{lines:?}");
    }
}
