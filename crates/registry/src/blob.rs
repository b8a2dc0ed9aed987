//! Blobs as streams that outlive the connections which carry them.
//!
//! A task on the network thread fetches; a bounded channel hands over what came; the caller reads. When a connection
//! breaks, the next request asks for the rest by range, from the same place or the next one that may have it.

use crate::RegistryError;
use crate::endpoint::Endpoint;
use crate::lanes::{Lanes, Watch, covers};
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Session, refusal};
use crate::transport::Answer;
use crate::worker::{Worker, gone};
use bytes::{Buf, Bytes};
use oci::{Digest, Reference};
use reqwest::header::{ACCEPT, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces that wait to be read; hyper makes them up to 400 KB long.
const PIECES: usize = 8;
/// So many more bytes make good for an earlier failure.
const PROGRESS: u64 = 1 << 20;
/// How long to look for bytes beyond the promised ones, where the answer did not say how many come.
const TAIL: Duration = Duration::from_secs(1);

/// How often a blob is fetched over several connections, if some of these fail.
const MOST_FANS: u32 = 3;

/// What is to be fetched, and from where.
#[derive(Debug)]
pub(crate) struct Transfer {
    session: Arc<Session>,
    reference: Reference,
    digest: Digest,
    size: u64,
    /// Whether the descriptor also names addresses outside of the registry.
    foreign: bool,
    places: Vec<Endpoint>,
    place: usize,
    received: u64,
    /// Failures in a row, and how much was there at the first of them.
    failures: u32,
    mark: u64,
    /// The error of the place that was tried first; it is where the manifest came from.
    first: Option<RegistryError>,
    /// How often several connections have been tried.
    fans: u32,
}

/// An answer that begins `skip` bytes before what is needed next.
pub(crate) struct Flow {
    answer: Answer,
    skip: u64,
    /// What came of it and was not handed over yet.
    rest: Bytes,
}

/// How far one connection got.
#[derive(Debug, PartialEq, Eq)]
enum Drained {
    /// To where it was to go.
    Whole,
    /// Others should help it.
    Slow,
    /// The reader is gone.
    Unwanted,
}

/// One blob at one place.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) place: Endpoint,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Source {
    /// The error of an answer that makes no sense.
    pub(crate) fn nonsense(&self, why: &str) -> RegistryError {
        RegistryError::Response {
            host: self.place.host.clone(),
            why: format!("for blob {}, {why}", self.digest),
        }
    }
}

impl Transfer {
    /// Plans a transfer; `places` in the order to try them.
    pub(crate) fn new(
        session: Arc<Session>,
        reference: Reference,
        (digest, size, foreign): (Digest, u64, bool),
        places: Vec<Endpoint>,
    ) -> Self {
        Self {
            session,
            reference,
            digest,
            size,
            foreign,
            places,
            place: 0,
            received: 0,
            failures: 0,
            mark: 0,
            first: None,
            fans: 0,
        }
    }

    /// Opens the stream at the byte that is needed next.
    pub(crate) async fn connect(&mut self) -> Result<Flow, RegistryError> {
        loop {
            match self.attempt().await {
                Ok(flow) => return Ok(flow),
                Err(failed) => self.recover(failed).await?,
            }
        }
    }

    async fn attempt(&self) -> Result<Flow, Failed> {
        let place = self
            .places
            .get(self.place)
            .ok_or_else(|| Failed::from(RegistryError::NotFound(self.reference.familiar())))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if self.received > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.received))
                .map_err(|_invalid| Failed::from(self.nonsense(place, "the range has no text")))?;
            headers.insert(RANGE, range);
        }
        let rest = format!("blobs/{}", self.digest);
        let answer = self.session.get(place, &rest, &headers, true).await?;
        match answer.status().as_u16() {
            200 => {
                let length = answer.response.content_length();
                if let Some(length) = length.filter(|length| *length != self.size) {
                    return Err(self.wrong_size(&answer.host, length.to_string()).into());
                }
                Ok(Flow {
                    answer,
                    skip: self.received,
                    rest: Bytes::new(),
                })
            }
            206 => {
                let header = answer.response.headers().get(CONTENT_RANGE);
                let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
                if self.received == 0 || !covers(text, &(self.received..self.size), self.size) {
                    let why = format!(
                        "bytes from {} of {} were asked for, and '{}' came",
                        self.received,
                        self.size,
                        crate::error::printable(text)
                    );
                    return Err(self.nonsense(place, &why).into());
                }
                Ok(Flow {
                    answer,
                    skip: 0,
                    rest: Bytes::new(),
                })
            }
            404 if answer.own && self.foreign => Err(RegistryError::ForeignLayer(self.digest).into()),
            404 if answer.own => Err(RegistryError::BlobNotFound {
                digest: self.digest,
                repository: self.reference.familiar_name(),
            }
            .into()),
            _ => Err(refusal(answer, &self.reference).await),
        }
    }

    /// Waits until it makes sense to try again, or moves to the next place; gives the error back where neither helps.
    async fn recover(&mut self, failed: Failed) -> Result<(), RegistryError> {
        if self.received - self.mark >= PROGRESS {
            self.failures = 0;
        }
        if self.failures == 0 {
            self.mark = self.received;
        }
        self.failures += 1;
        if let Again::After(asked) = failed.again
            && self.failures < MOST_ATTEMPTS
        {
            tokio::time::sleep(delay(self.session.tuning.backoff, self.failures, asked)).await;
            return Ok(());
        }
        let first = self.first.take().unwrap_or(failed.error);
        if self.place + 1 < self.places.len() {
            self.place += 1;
            self.failures = 0;
            self.first = Some(first);
            return Ok(());
        }
        Err(first)
    }

    /// Hands all bytes over, or one error at the end. The reader aborts this when it is dropped.
    pub(crate) async fn pump(mut self, mut flow: Flow, give: mpsc::Sender<Result<Bytes, RegistryError>>) {
        while let Err(failed) = self.pass(&mut flow, &give).await {
            match self.renew(failed).await {
                Ok(next) => flow = next,
                Err(error) => {
                    // Nobody is left to be told if this fails.
                    give.send(Err(error)).await.unwrap_or_default();
                    return;
                }
            }
        }
    }

    async fn renew(&mut self, failed: Failed) -> Result<Flow, RegistryError> {
        self.recover(failed).await?;
        self.connect().await
    }

    /// Reads one connection to the blob's end, with others to help it where it is slow.
    async fn pass(
        &mut self,
        flow: &mut Flow,
        give: &mpsc::Sender<Result<Bytes, RegistryError>>,
    ) -> Result<(), Failed> {
        let mut watch = Watch::default();
        while self.drain(flow, give, self.size, &mut watch).await? == Drained::Slow {
            self.fans += 1;
            if self.fan(flow, give, &watch).await? {
                return Ok(());
            }
            // Nobody helps; it is this one alone then.
            self.fans = MOST_FANS;
        }
        Ok(())
    }

    /// Fetches the rest over several connections. Returns false if the server does not take part in that, and nothing is
    /// lost then.
    async fn fan(
        &mut self,
        flow: &mut Flow,
        give: &mpsc::Sender<Result<Bytes, RegistryError>>,
        watch: &Watch,
    ) -> Result<bool, Failed> {
        let Some(place) = self.places.get(self.place) else {
            return Ok(false);
        };
        let source = Source {
            place: place.clone(),
            digest: self.digest,
            size: self.size,
        };
        let from = self.received + self.session.tuning.slow.segment;
        let mut lanes = Lanes::open(self.session.clone(), source, (from, self.size), watch);
        // The others are on their way meanwhile.
        if self.drain(flow, give, from, &mut Watch::default()).await? == Drained::Unwanted {
            return Ok(true);
        }
        if !lanes.are_answered().await {
            return Ok(false);
        }
        // Whatever ends this, one connection alone tries the rest, and its error is the one that counts.
        while let Some(piece) = lanes.next().await.map_err(|failed| Failed {
            again: failed.again.max(Again::After(0)),
            ..failed
        })? {
            self.received += piece.len() as u64;
            if give.send(Ok(piece)).await.is_err() {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// Hands over what comes up to the byte `end`.
    async fn drain(
        &mut self,
        flow: &mut Flow,
        give: &mpsc::Sender<Result<Bytes, RegistryError>>,
        end: u64,
        watch: &mut Watch,
    ) -> Result<Drained, Failed> {
        let start = self.received;
        while self.received < end {
            if end == self.size
                && self.fans < MOST_FANS
                && watch.is_slow(&self.session.tuning.slow, self.size - self.received)
            {
                return Ok(Drained::Slow);
            }
            let mut chunk = std::mem::take(&mut flow.rest);
            if chunk.is_empty() {
                let asked = Instant::now();
                chunk = self.chunk(flow, start).await?;
                watch.came(chunk.len() as u64, asked.elapsed());
            }
            if flow.skip > 0 {
                let skipped = usize::try_from(flow.skip).unwrap_or(usize::MAX).min(chunk.len());
                chunk.advance(skipped);
                flow.skip -= skipped as u64;
            }
            if chunk.len() as u64 > self.size - self.received {
                return Err(self.wrong_size(&flow.answer.host, "more".to_owned()).into());
            }
            let fits = usize::try_from(end - self.received).unwrap_or(usize::MAX);
            if fits < chunk.len() {
                flow.rest = chunk.split_off(fits);
            }
            if chunk.is_empty() {
                continue;
            }
            self.received += chunk.len() as u64;
            if give.send(Ok(chunk)).await.is_err() {
                return Ok(Drained::Unwanted);
            }
        }
        if end < self.size {
            return Ok(Drained::Whole);
        }
        // Reading the end also lets the connection serve again.
        match tokio::time::timeout(TAIL, flow.answer.chunk()).await {
            Ok(Ok(Some(more))) if !more.is_empty() => {
                Err(self.wrong_size(&flow.answer.host, "more".to_owned()).into())
            }
            // All bytes are there; how the connection ends does not matter any more.
            _ => Ok(Drained::Whole),
        }
    }

    /// Waits for more of an answer of which `start` bytes had been there before.
    async fn chunk(&self, flow: &mut Flow, start: u64) -> Result<Bytes, Failed> {
        match flow.answer.chunk().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => Err(self.truncated(&flow.answer.host, None)),
            Err(RegistryError::Connection { host, source }) => Err(self.truncated(&host, Some(source))),
            Err(error) => {
                // A connection that fell silent is worth another one; a server that says nothing from the start
                // is not.
                let again = if self.received > start {
                    Again::After(0)
                } else {
                    Again::Never
                };
                Err(Failed { error, again })
            }
        }
    }

    fn truncated(&self, host: &str, source: Option<crate::error::Cause>) -> Failed {
        RegistryError::Truncated {
            what: format!("blob {}", self.digest),
            host: host.to_owned(),
            received: self.received,
            expected: self.size,
            source,
        }
        .into()
    }

    fn wrong_size(&self, host: &str, actual: String) -> RegistryError {
        RegistryError::Size {
            what: format!("blob {}", self.digest),
            host: host.to_owned(),
            expected: self.size,
            actual,
        }
    }

    fn nonsense(&self, place: &Endpoint, why: &str) -> RegistryError {
        RegistryError::Response {
            host: place.host.clone(),
            why: format!("for blob {}, {why}", self.digest),
        }
    }
}

/// The caller's end of a transfer. Dropping it ends the transfer.
pub(crate) struct BlobReader {
    pieces: mpsc::Receiver<Result<Bytes, RegistryError>>,
    current: Bytes,
    left: u64,
    failed: bool,
    task: AbortHandle,
    /// Keeps the network thread while the client itself may be gone.
    _worker: Arc<Worker>,
}

impl BlobReader {
    /// Lets a transfer whose first answer is there run.
    pub(crate) fn start(worker: Arc<Worker>, transfer: Transfer, flow: Flow) -> Self {
        let (give, pieces) = mpsc::channel(PIECES);
        let left = transfer.size;
        let task = worker.spawn(transfer.pump(flow, give));
        Self {
            pieces,
            current: Bytes::new(),
            left,
            failed: false,
            task,
            _worker: worker,
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !buffer.is_empty() {
            if self.failed {
                return Err(io::Error::other("the transfer has failed before"));
            }
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => {
                    self.failed = true;
                    return Err(io::Error::new(error.io_kind(), error));
                }
                None if self.left == 0 => return Ok(0),
                None => {
                    // A task that vanished must not look like the end of the blob.
                    self.failed = true;
                    return Err(io::Error::other(gone()));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
