//! BuildKit's progress in `POST /build`'s stream: its own messages, in base64.

use super::{Lines, run_with};
use crate::buildkit::SolveError;
use crate::buildkit::progress::Progress;
use crate::buildkit::solve::{Solve, Solved, Workshop};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

pub(super) fn run(
    workshop: &Workshop,
    solve: &Solve,
    lines: &Lines<'_>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Solved, SolveError> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let name = format!("{}", LAST.fetch_add(1, Ordering::Relaxed));
    let (send, updates) = mpsc::channel::<Value>();
    let progress = Progress::new(
        name,
        Box::new(move |update| {
            let text = STANDARD.encode(update.encode_to_vec());
            // It is received for as long as something is sent.
            send.send(json!({ "id": "moby.buildkit.trace", "aux": text }))
                .unwrap_or_default();
        }),
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in updates {
                lines.insist(&line);
            }
        });
        let solved = run_with(workshop, solve, &progress, cancelled, &|_| {});
        drop(progress);
        solved
    })
    .inspect(|solved| {
        if let Some(image) = solved.image.filter(|_| !solved.response.is_empty()) {
            lines.insist(&json!({ "id": "moby.image.id", "aux": { "ID": image.to_string() } }));
        }
    })
}
