//! `logs`.

use crate::args::{integer, timestamp};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::containers::logs::LogEntry;
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
        if self.details {
            output::warning("--details is not there yet and was ignored");
        }
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
        };
        let containers = cli.engine()?.containers();
        let id = containers.find(&words[0])?;
        let mut broken = None;
        containers.logs(&id, &request, &mut |entry| match self.show(&entry) {
            Ok(()) => true,
            Err(failure) => {
                broken = Some(failure);
                false
            }
        })?;
        broken.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

impl Logs {
    fn show(&self, entry: &LogEntry) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        if self.timestamps {
            bytes.extend_from_slice(output::time::rfc3339_nano_fixed(entry.time).as_bytes());
            bytes.push(b' ');
        }
        bytes.extend_from_slice(&entry.bytes);
        if entry.stderr {
            return Ok(output::error_bytes(&bytes)?);
        }
        output::bytes(&bytes)
    }
}
