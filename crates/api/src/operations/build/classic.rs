//! The classic builder's stream: `Step 1/3 : FROM …`, what commands print, `Successfully built …`.

use super::options::Form;
use super::{Lines, run_with};
use crate::buildkit::SolveError;
use crate::buildkit::progress::Progress;
use crate::buildkit::solve::{Solve, Solved, Workshop};
use engine::EngineError;
use engine::builder::{BuildError, BuildEvent};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of a step that is shown.
#[derive(Debug, Default)]
struct Shown {
    /// The beginning of a letter whose end has not come yet.
    rest: Vec<u8>,
}

pub(super) fn run(
    workshop: &Workshop,
    solve: &Solve,
    lines: &Lines<'_>,
    form: &Form,
    cancelled: &Arc<AtomicBool>,
) -> Result<Solved, SolveError> {
    let progress = Progress::new(String::new(), Box::new(|_| {}));
    let steps: Mutex<BTreeMap<usize, Shown>> = Mutex::default();
    let warned = std::sync::Once::new();
    let listener = |event: &BuildEvent| {
        warned.call_once(|| form.warn(lines));
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            BuildEvent::Started { step, name } => {
                if let Some(line) = line(name) {
                    steps.insert(*step, Shown::default());
                    lines.stream(&line);
                    lines.stream("\n");
                }
            }
            BuildEvent::Cached { step } if steps.contains_key(step) => {
                lines.stream(" ---> Using cache\n");
            }
            BuildEvent::Note { step, message } if steps.contains_key(step) => {
                lines.say(&json!({ "status": message }));
            }
            BuildEvent::Output { step, bytes, .. } => {
                if let Some(shown) = steps.get_mut(step) {
                    let text = shown.text(bytes);
                    if !text.is_empty() {
                        lines.stream(&text);
                    }
                }
            }
            BuildEvent::Warning { message, line } => {
                let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
                lines.stream(&format!("[Warning] {message}{line}\n"));
            }
            _ => {}
        }
    };
    let solved = run_with(workshop, solve, &progress, cancelled, &listener)?;
    if let Some(image) = solved.image {
        if form.wants_aux {
            lines.say(&json!({ "aux": { "ID": image.to_string() } }));
        }
        lines.stream(&format!("Successfully built {}\n", image.short()));
        for name in solve
            .outputs
            .iter()
            .flat_map(crate::buildkit::outputs::Output::names)
        {
            lines.stream(&format!("Successfully tagged {}\n", name.familiar()));
        }
    }
    Ok(solved)
}

/// Makes `Step 2/3 : RUN x` of `[build 2/3] RUN x`; `None` for what the classic builder has no word for.
fn line(name: &str) -> Option<String> {
    let (place, rest) = name.strip_prefix('[')?.split_once("] ")?;
    let number = place.rsplit(' ').next()?;
    let (step, of) = number.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(step) && is_number(of)).then(|| format!("Step {number} : {rest}"))
}

impl Shown {
    /// Returns what is text by now.
    fn text(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.rest.len(),
        };
        let later = self.rest.split_off(whole);
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest = later;
        text
    }
}

/// Returns a failed command's exit code, and what there is to say of an error.
pub(super) fn explained(error: &SolveError) -> (Option<i32>, String) {
    if let SolveError::Build { error, .. } = error
        && let EngineError::Build(error) = &**error
        && let BuildError::Command(failure) = &**error
    {
        let message = format!(
            "The command '{}' returned a non-zero code: {}",
            failure.command, failure.code
        );
        return (Some(failure.code), message);
    }
    (None, error.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_as_of_old() {
        for (name, expected) in [
            (
                "[1/2] FROM docker.io/library/busybox:latest",
                Some("Step 1/2 : FROM docker.io/library/busybox:latest"),
            ),
            ("[build 2/3] RUN echo [x] y", Some("Step 2/3 : RUN echo [x] y")),
            ("[internal] load build definition from Dockerfile", None),
            ("exporting to image", None),
        ] {
            assert_eq!(line(name).as_deref(), expected);
        }
    }

    #[test]
    fn letters_are_not_torn() {
        let mut shown = Shown::default();
        let bytes = "aé".as_bytes();
        assert_eq!(shown.text(&bytes[..2]), "a");
        assert_eq!(shown.text(&bytes[2..]), "é");
        assert_eq!(shown.text(b"\xffb"), "\u{fffd}b");
    }
}
