//! `logs`.

use crate::args::{integer, timestamp};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::containers::logs::{LogEntry, LogEvent};
use engine::containers::request::LogRequest;
use std::process::ExitCode;

/// Flags of `logs`.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs (default "all")
    #[arg(short = 'n', long, value_name = "string")]
    tail: Option<String>,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Verb for Logs {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let now = jiff::Timestamp::now();
        let moment = |flag: &str, text: &Option<String>| match text.as_deref().filter(|text| !text.is_empty())
        {
            None => Ok(None),
            Some(text) => timestamp::nanoseconds(text, now)
                .map(Some)
                .map_err(|why| Failure::new(format!("invalid value for {flag:?}: {why}"))),
        };
        let tail = match self.tail.as_deref() {
            None | Some("all" | "") => None,
            // Docker shows everything for a negative number.
            Some(text) => u64::try_from(integer::int64(text)?).ok(),
        };
        let request = LogRequest {
            follow: self.follow,
            tail,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            stdout: true,
            stderr: true,
            details: self.details,
        };
        let containers = cli.engine()?.containers();
        let id = containers.find(&words[0])?;
        let mut shown = Shown {
            timestamps: self.timestamps,
            details: self.details,
            ..Shown::default()
        };
        let mut broken = None;
        containers.logs(&id, &request, &mut |event| {
            let done = match event {
                LogEvent::Entry(entry) => shown.add(&entry),
                LogEvent::Pause => shown.flush(),
            };
            done.map_err(|failure| broken = Some(failure)).is_ok()
        })?;
        broken.map_or_else(|| shown.flush(), Err)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is shown at once, at most.
const BATCH: usize = 64 << 10;

/// Entries on their way to the standard streams, of one of which some are kept back: the order between the two is that
/// in which they are written.
#[derive(Debug, Default)]
struct Shown {
    timestamps: bool,
    details: bool,
    /// Of standard error.
    stderr: bool,
    bytes: Vec<u8>,
}

impl Shown {
    fn add(&mut self, entry: &LogEntry<'_>) -> Result<(), Failure> {
        if entry.stderr != self.stderr || self.bytes.len() >= BATCH {
            self.flush()?;
            self.stderr = entry.stderr;
        }
        api::wire::log_line(entry, self.timestamps, self.details, &mut self.bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.bytes.is_empty() {
            if self.stderr {
                output::error_bytes(&self.bytes)?;
            } else {
                output::bytes(&self.bytes)?;
            }
            self.bytes.clear();
        }
        Ok(())
    }
}
