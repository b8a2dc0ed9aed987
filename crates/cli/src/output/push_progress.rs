//! The progress of a push: bars on a terminal, Docker's lines elsewhere.

use super::progress::style;
use crate::failure::Failure;
use engine::images::PushEvent;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Of a layer whose end is not known yet only the bytes are shown.
const WITHOUT_END: &str = "{prefix}: {msg:11} {decimal_bytes:>9}";
const WITH_END: &str = "{prefix}: {msg:11} [{wide_bar}] {decimal_bytes:>9}/{decimal_total_bytes:9}";

/// Shows push events.
#[derive(Debug)]
pub(crate) struct PushProgress {
    quiet: bool,
    bars: Option<MultiProgress>,
    layers: Mutex<BTreeMap<String, Option<ProgressBar>>>,
}

impl PushProgress {
    /// Makes one that shows nothing if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let draws = !quiet && super::stdout_is_terminal();
        Self {
            quiet,
            bars: draws.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout())),
            layers: Mutex::default(),
        }
    }

    /// Shows an event.
    pub(crate) fn event(&self, event: PushEvent) {
        if self.quiet {
            return;
        }
        // A thread that panicked while it held the lock has not made the bars any worse.
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Status { message } => {
                // The layers of the next image have bars of their own.
                layers.clear();
                self.say(&message);
            }
            PushEvent::Layer { id, done, total } => match layers.get(&id) {
                Some(Some(bar)) => {
                    if total > 0 && bar.length() != Some(total) {
                        bar.set_style(style(WITH_END));
                        bar.set_length(total);
                    }
                    bar.set_position(done);
                    bar.set_message("Pushing");
                }
                Some(None) => {}
                None => {
                    let bar = self.bar(&id, total);
                    if bar.is_none() {
                        self.say(&format!("{id}: Preparing"));
                    }
                    layers.insert(id, bar);
                }
            },
            PushEvent::LayerDone { id, outcome } => match layers.get(&id) {
                Some(Some(bar)) => {
                    bar.set_style(style("{prefix}: {msg}"));
                    bar.finish_with_message(outcome);
                }
                _ => self.say(&format!("{id}: {outcome}")),
            },
        }
    }

    fn bar(&self, id: &str, total: u64) -> Option<ProgressBar> {
        let bars = self.bars.as_ref()?;
        let bar = ProgressBar::new(total)
            .with_style(style(if total == 0 { WITHOUT_END } else { WITH_END }))
            .with_prefix(id.to_owned())
            .with_message("Preparing");
        Some(bars.add(bar))
    }

    /// Leaves the bars as they stand. Ones that were cut short go.
    pub(crate) fn finish(&self) {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in layers.values().flatten() {
            if !bar.is_finished() {
                bar.finish_and_clear();
            }
        }
    }

    /// Says a line below what stands there.
    fn say(&self, line: &str) {
        if let Some(bars) = &self.bars {
            bars.add(ProgressBar::new(0).with_style(style("{msg}")))
                .finish_with_message(line.to_owned());
            return;
        }
        if let Err(Failure { message, .. }) = super::line(line) {
            super::note(&message);
        }
    }
}
