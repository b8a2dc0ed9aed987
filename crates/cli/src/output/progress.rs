//! The progress of a pull: bars on a terminal, lines elsewhere.

use crate::failure::Failure;
use engine::images::PullEvent;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nowhere.
    Nowhere,
    /// Standard error, for `run` and `create`, whose output is the container's.
    Stderr,
    /// Standard output, for `pull`.
    Stdout,
}

/// Shows pull events. Threads share it.
#[derive(Debug)]
pub(crate) struct PullProgress {
    target: Target,
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    layers: BTreeMap<String, Option<ProgressBar>>,
}

impl PullProgress {
    /// Makes one.
    pub(crate) fn new(target: Target) -> Self {
        let draw = match target {
            Target::Stderr if super::stderr_is_terminal() => Some(ProgressDrawTarget::stderr()),
            Target::Stdout if super::stdout_is_terminal() => Some(ProgressDrawTarget::stdout()),
            _ => None,
        };
        Self {
            target,
            bars: draw.map(MultiProgress::with_draw_target),
            state: Mutex::default(),
        }
    }

    /// Shows an event.
    pub(crate) fn event(&self, event: PullEvent) {
        if self.target == Target::Nowhere {
            return;
        }
        // A thread that panicked while it held the lock has not made the bars any worse.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PullEvent::Status { message } if state.layers.is_empty() => self.say(&message),
            PullEvent::Status { message } => self.say_below(&message),
            PullEvent::Layer { id, done, total } => self.layer(&mut state, &id, done, total),
            PullEvent::LayerDone { id, existed } => {
                let what = if existed {
                    "Already exists"
                } else {
                    "Pull complete"
                };
                match state.layers.get(&id).cloned().flatten() {
                    Some(bar) => {
                        bar.set_style(style("{prefix}: {msg}"));
                        bar.finish_with_message(what);
                    }
                    None if self.bars.is_some() => {
                        let bar = self.bar(&id, 0);
                        bar.set_style(style("{prefix}: {msg}"));
                        bar.finish_with_message(what);
                        state.layers.insert(id, Some(bar));
                    }
                    None => self.say(&format!("{id}: {what}")),
                }
            }
        }
    }

    fn layer(&self, state: &mut State, id: &str, done: u64, total: u64) {
        if !state.layers.contains_key(id) {
            let bar = self.bars.is_some().then(|| self.bar(id, total));
            if bar.is_none() {
                self.say(&format!("{id}: Pulling fs layer"));
            }
            state.layers.insert(id.to_owned(), bar);
        }
        if let Some(Some(bar)) = state.layers.get(id) {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(if done == 0 { "Waiting" } else { "Downloading" });
        }
    }

    fn bar(&self, id: &str, total: u64) -> ProgressBar {
        let bar = ProgressBar::new(total)
            .with_style(style(
                // As wide as the terminal is, and in columns, so that nothing jumps when a word changes.
                "{prefix}: {msg:11} [{wide_bar}] {decimal_bytes:>9}/{decimal_total_bytes:9}",
            ))
            .with_prefix(id.to_owned());
        match &self.bars {
            Some(bars) => bars.add(bar),
            None => bar,
        }
    }

    /// Leaves the bars as they stand. Ones that were cut short go.
    pub(crate) fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in state.layers.values().flatten() {
            if !bar.is_finished() {
                bar.finish_and_clear();
            }
        }
    }

    /// Says what comes after the layers below them, where it belongs.
    fn say_below(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars
                .add(ProgressBar::new(0).with_style(style("{msg}")))
                .finish_with_message(line.to_owned()),
            None => self.say(line),
        }
    }

    fn say(&self, line: &str) {
        if let Some(bars) = &self.bars {
            if let Err(error) = bars.println(line) {
                super::note(&format!("{line} ({error})"));
            }
            return;
        }
        if self.target == Target::Stderr {
            super::note(line);
        } else if let Err(Failure { message, .. }) = super::line(line) {
            super::note(&message);
        }
    }
}

pub(super) fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; one that indicatif cannot read still shows the default bar.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
