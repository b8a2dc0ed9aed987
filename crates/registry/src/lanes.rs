//! One blob over several connections, where the server is slow on each of them.
//!
//! Some servers, and more so what lies between, give each connection only so much. Then what is still to come is asked
//! for in segments, a few at a time, each on a connection of its own. The caller still gets one stream in order, so that
//! it hashes and unpacks in one pass: a segment that comes before its turn waits in memory, and only as many are asked
//! for as may wait there.
//!
//! The connection that was slow goes on until the first segment is answered with what was asked for. A server that knows
//! no ranges, or wants no more connections, loses nothing by having been asked. More connections are added only as long as
//! each step makes the whole faster: if it is the line that is slow, two is where it ends.

use crate::RegistryError;
use crate::blob::Source;
use crate::retry::Failed;
use crate::session::Session;
use crate::transport::Answer;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Connections of one blob, at first and at most.
const FIRST: usize = 2;
const MOST: usize = 8;
/// Segments that may wait beside those that are on their way.
const AHEAD: usize = 2;
/// Segments that all blobs of one client together have on their way at once.
pub(crate) const MOST_OF_ALL: usize = 12;
/// By how much a step must speed the whole up for another one to be made, in percent.
const WORTHWHILE: u64 = 125;

/// When a connection counts as slow.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// How long it is watched.
    pub after: Duration,
    /// It brings fewer bytes a second than this.
    pub rate: u64,
    /// At this rate, the rest would take longer than this.
    pub rest: Duration,
    /// Bytes asked for at once.
    pub segment: u64,
}

impl Default for Slow {
    fn default() -> Self {
        Self {
            after: Duration::from_millis(1500),
            rate: 16 << 20,
            rest: Duration::from_secs(3),
            segment: 2 << 20,
        }
    }
}

/// How fast a connection is, by the time spent waiting for it; who hashes and unpacks may take their time.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    bytes: u64,
    waited: Duration,
}

impl Watch {
    pub(crate) fn came(&mut self, bytes: u64, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
    }

    /// Bytes a second.
    fn rate(&self) -> u64 {
        let micros = u64::try_from(self.waited.as_micros()).unwrap_or(u64::MAX).max(1);
        self.bytes.saturating_mul(1_000_000) / micros
    }

    /// Says whether more connections may help to get `rest` more bytes; begins anew where they would not now.
    pub(crate) fn is_slow(&mut self, slow: &Slow, rest: u64) -> bool {
        if self.waited < slow.after {
            return false;
        }
        let rate = self.rate();
        let found = rate < slow.rate
            && rest > slow.segment * 3
            && u128::from(rest) > u128::from(rate) * slow.rest.as_millis() / 1000;
        if !found {
            *self = Self::default();
        }
        found
    }
}

/// What is on its way, in the order of the blob.
pub(crate) struct Lanes {
    session: Arc<Session>,
    source: Source,
    segments: VecDeque<Segment>,
    /// Where the next segment begins, and where the blob ends.
    next: u64,
    size: u64,
    /// Connections that may be used, and as permits.
    count: usize,
    permits: Arc<Semaphore>,
    /// The rate before the last step; `None` once a step has not been worth it.
    before: Option<u64>,
    since: Instant,
    brought: u64,
    /// Whether a step was made so lately that the count is of both.
    is_settling: bool,
}

struct Segment {
    span: Range<u64>,
    taken: u64,
    pieces: mpsc::UnboundedReceiver<Result<Bytes, Failed>>,
    task: JoinHandle<()>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lanes {
    /// Asks for what comes after the byte `from`.
    pub(crate) fn open(
        session: Arc<Session>,
        source: Source,
        (from, size): (u64, u64),
        watch: &Watch,
    ) -> Self {
        let mut lanes = Self {
            session,
            source,
            segments: VecDeque::new(),
            next: from,
            size,
            count: FIRST,
            permits: Arc::new(Semaphore::new(FIRST)),
            before: Some(watch.rate()),
            since: Instant::now(),
            brought: 0,
            is_settling: true,
        };
        lanes.fill();
        lanes
    }

    fn fill(&mut self) {
        let length = self.session.tuning.slow.segment.max(1);
        while self.next < self.size && self.segments.len() < self.count + AHEAD {
            let span = self.next..self.size.min(self.next.saturating_add(length));
            self.next = span.end;
            let (give, pieces) = mpsc::unbounded_channel();
            let (session, source, wanted) = (self.session.clone(), self.source.clone(), span.clone());
            let permits = self.permits.clone();
            let task = tokio::spawn(async move {
                // Neither is ever closed.
                let Ok(_own) = permits.acquire().await else { return };
                let Ok(_all) = session.lanes.acquire().await else {
                    return;
                };
                let outcome = fetch(&session, &source, &wanted, &give).await;
                if let Err(failed) = outcome {
                    // Nobody is left to be told if this fails.
                    give.send(Err(failed)).unwrap_or_default();
                }
            });
            self.segments.push_back(Segment {
                taken: span.start,
                span,
                pieces,
                task,
            });
        }
    }

    /// Waits until the first segment is answered; says whether with what was asked for.
    pub(crate) async fn are_answered(&mut self) -> bool {
        match self.segments.front_mut() {
            Some(first) => matches!(first.pieces.recv().await, Some(Ok(_))),
            None => false,
        }
    }

    /// Returns what comes next of the blob; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            let Some(segment) = self.segments.front_mut() else {
                return Ok(None);
            };
            match segment.pieces.recv().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    segment.taken += piece.len() as u64;
                    self.brought += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Some(Err(failed)) => return Err(failed),
                None if segment.taken == segment.span.end => {
                    self.segments.pop_front();
                    self.judge();
                    self.fill();
                }
                None => return Err(crate::worker::gone().into()),
            }
        }
    }

    /// Adds connections if the last ones were worth it.
    fn judge(&mut self) {
        let slow = self.session.tuning.slow;
        let elapsed = self.since.elapsed();
        let Some(before) = self.before.filter(|_| elapsed >= slow.after && self.count < MOST) else {
            return;
        };
        let watch = Watch {
            bytes: std::mem::take(&mut self.brought),
            waited: elapsed,
        };
        self.since = Instant::now();
        if std::mem::take(&mut self.is_settling) {
            return;
        }
        let now = watch.rate();
        if now < before.saturating_mul(WORTHWHILE) / 100 {
            self.before = None;
            return;
        }
        let added = self.count.min(MOST - self.count);
        self.count += added;
        self.permits.add_permits(added);
        (self.before, self.is_settling) = (Some(now), true);
    }
}

/// Hands the bytes of one segment over, the first time nothing: to say that they are coming.
async fn fetch(
    session: &Arc<Session>,
    source: &Source,
    span: &Range<u64>,
    give: &mpsc::UnboundedSender<Result<Bytes, Failed>>,
) -> Result<(), Failed> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let range = HeaderValue::from_str(&format!("bytes={}-{}", span.start, span.end - 1))
        .map_err(|_invalid| Failed::from(source.nonsense("the range has no text")))?;
    headers.insert(RANGE, range);
    let rest = format!("blobs/{}", source.digest);
    let mut answer: Answer = session.get(&source.place, &rest, &headers, true).await?;
    let header = answer.response.headers().get(CONTENT_RANGE);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if answer.status().as_u16() != 206 || !covers(text, span, source.size) {
        let why = format!(
            "bytes {}-{} were asked for, and {} with '{}' came",
            span.start,
            span.end - 1,
            answer.status().as_u16(),
            crate::error::printable(text)
        );
        return Err(source.nonsense(&why).into());
    }
    let send = |piece| give.send(Ok(piece)).is_ok();
    if !send(Bytes::new()) {
        return Ok(());
    }
    let mut left = span.end - span.start;
    while left > 0 {
        let Some(piece) = answer.chunk().await? else {
            return Err(truncated(&answer, source, span.end - left));
        };
        if piece.len() as u64 > left {
            return Err(source.nonsense("more came than was asked for").into());
        }
        left -= piece.len() as u64;
        if !piece.is_empty() && !send(piece) {
            return Ok(());
        }
    }
    // Reading the end lets the connection serve again. All bytes are there, so it does not matter how it comes.
    answer.chunk().await.map(|_end| ()).unwrap_or_default();
    Ok(())
}

fn truncated(answer: &Answer, source: &Source, received: u64) -> Failed {
    RegistryError::Truncated {
        what: format!("blob {}", source.digest),
        host: answer.host.clone(),
        received,
        expected: source.size,
        source: None,
    }
    .into()
}

/// Says whether a `Content-Range` is exactly this part of the blob (RFC 9110 §14.4).
pub(crate) fn covers(header: &str, span: &Range<u64>, size: u64) -> bool {
    let Some((found, total)) = header
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = found.split_once('-') else {
        return false;
    };
    first.parse() == Ok(span.start)
        && last
            .parse::<u64>()
            .is_ok_and(|last| last.checked_add(1) == Some(span.end))
        && (total == "*" || total.parse() == Ok(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_what_was_asked_for_counts() {
        for (header, fits) in [
            ("bytes 10-19/100", true),
            ("bytes 10-19/*", true),
            ("bytes 10-20/100", false),
            ("bytes 9-19/100", false),
            ("bytes 10-99/100", false),
            ("bytes 10-19/101", false),
            ("bytes 10-18446744073709551615/100", false),
            ("bytes */100", false),
            ("items 10-19/100", false),
            ("", false),
        ] {
            assert_eq!(covers(header, &(10..20), 100), fits, "{header}");
        }
    }

    #[test]
    fn a_connection_is_slow_by_its_rate_and_by_what_is_left() {
        let slow = Slow::default();
        for (bytes, millis, rest, expected) in [
            // Not watched for long enough.
            (1 << 20, 1000, 1 << 30, false),
            (1 << 20, 2000, 1 << 30, true),
            // Little is left, or it comes soon.
            (1 << 20, 2000, 4 << 20, false),
            (16 << 20, 2000, 20 << 20, false),
            (16 << 20, 2000, 40 << 20, true),
            // Fast, though much is left.
            (64 << 20, 2000, 1 << 40, false),
        ] {
            let mut watch = Watch::default();
            watch.came(bytes, Duration::from_millis(millis));
            assert_eq!(
                watch.is_slow(&slow, rest),
                expected,
                "{bytes} in {millis} ms, {rest} left"
            );
        }
    }
}
