//! Progress as Docker streams it: one JSON document a line.

use crate::server::{Failure, Outlet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes documents to a client, from callbacks that cannot fail. When the client is gone, `stop` is set.
pub(super) struct Lines<'o> {
    outlet: RefCell<&'o mut Outlet>,
    /// What is only worth saying if more comes: what fails before has a status of its own.
    held: RefCell<Vec<Value>>,
    stop: Arc<AtomicBool>,
}

impl<'o> Lines<'o> {
    pub(super) fn new(outlet: &'o mut Outlet, stop: Arc<AtomicBool>) -> Self {
        Self {
            outlet: RefCell::new(outlet),
            held: RefCell::default(),
            stop,
        }
    }

    /// Writes a document with the next one.
    pub(super) fn hold(&self, document: Value) {
        self.held.borrow_mut().push(document);
    }

    /// Writes a document.
    pub(super) fn send(&self, document: &Value) {
        let mut text = String::new();
        for document in self.held.take().iter().chain([document]) {
            text.push_str(&document.to_string());
            text.push_str("\r\n");
        }
        if self.outlet.borrow_mut().write_all(text.as_bytes()).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Says how it ended. A failure after the first line is one more line.
    pub(super) fn end(self, ended: Result<(), Failure>) -> Result<(), Failure> {
        match ended {
            Err(failure) if self.outlet.borrow().has_begun() => {
                self.send(&failed(&failure.message));
                Ok(())
            }
            Ok(()) if !self.held.borrow().is_empty() => {
                let last = self.held.borrow_mut().pop();
                if let Some(last) = last {
                    self.send(&last);
                }
                Ok(())
            }
            ended => ended,
        }
    }
}

/// The document of a failure in the middle of a stream. `error` is for clients from before API 1.4.
pub(super) fn failed(message: &str) -> Value {
    json!({"errorDetail": {"message": message}, "error": message})
}

/// A line about the whole.
pub(super) fn status(message: &str) -> Value {
    json!({"status": message})
}

/// A line about one layer.
pub(super) fn layer(id: &str, what: &str) -> Value {
    json!({"status": what, "progressDetail": {}, "id": id})
}

/// A line about how far a layer is.
pub(super) fn progress(id: &str, what: &str, done: u64, total: u64) -> Value {
    let mut detail = json!({"current": done});
    if total > 0 {
        detail["total"] = total.into();
    }
    json!({"status": what, "progressDetail": detail, "progress": bar(done, total), "id": id})
}

/// The drawing that old clients print as it is.
fn bar(done: u64, total: u64) -> String {
    let numbers = |bytes: u64| format!("{:>8}", size(bytes));
    if total == 0 || done > total {
        return numbers(done);
    }
    let filled = usize::try_from(u128::from(done) * 50 / u128::from(total)).unwrap_or(50);
    format!(
        "[{}>{}] {}/{}",
        "=".repeat(filled),
        " ".repeat(50 - filled),
        numbers(done),
        size(total)
    )
}

/// Bytes in powers of 1000 with four digits, as go-units writes them.
fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut scale: u64 = 1;
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    while unit + 1 < units.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let whole = bytes / scale;
    let digits = 4_usize.saturating_sub(whole.to_string().len());
    let fraction = format!(
        "{:018}",
        u128::from(bytes % scale) * 1_000_000_000_000_000_000 / u128::from(scale)
    );
    let fraction = fraction[..digits].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{}", units[unit])
}

/// Does some work and meanwhile sets `stop` as soon as nobody reads the response any more.
pub(super) fn while_read<T>(
    outlet: &mut Outlet,
    stop: &Arc<AtomicBool>,
    work: impl FnOnce(&mut Outlet) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let reader = outlet.descriptor().try_clone_to_owned()?;
    let (ended, end) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut watched = [
                PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::empty()),
                PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
            ];
            // Whatever else poll(2) may say, the work goes on without a watch; its next line finds the client gone.
            while poll(&mut watched, None) == Err(Errno::INTR) {}
            if watched[0].revents().contains(PollFlags::ERR) {
                stop.store(true, Ordering::Relaxed);
            }
        });
        let done = work(outlet);
        drop(end);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_dockers() {
        assert_eq!(
            bar(1024, 2048),
            "[=========================>                         ]  1.024kB/2.048kB"
        );
        assert_eq!(bar(500, 0), "    500B");
        assert_eq!(bar(7, 5), "      7B");
        assert!(bar(5, 5).starts_with(&format!("[{}>]", "=".repeat(50))));
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (12_345_678, "12.34MB"),
            (2_200_000_000, "2.2GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
