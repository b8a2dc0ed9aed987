//! Blobs as streams that outlive the connections which carry them.
//!
//! A task on the network thread fetches; a bounded channel hands over what came; the caller reads. When a connection
//! breaks, the next request asks for the rest by range, from the same place or the next one that may have it.

use crate::RegistryError;
use crate::endpoint::Endpoint;
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Session, refusal};
use crate::transport::Answer;
use crate::worker::{Worker, gone};
use bytes::{Buf, Bytes};
use oci::{Digest, Reference};
use reqwest::header::{ACCEPT, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces that wait to be read; hyper makes them up to 400 KB long.
const PIECES: usize = 8;
/// So many more bytes make good for an earlier failure.
const PROGRESS: u64 = 1 << 20;
/// How long to look for bytes beyond the promised ones, where the answer did not say how many come.
const TAIL: Duration = Duration::from_secs(1);

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
}

/// An answer that begins `skip` bytes before what is needed next.
pub(crate) struct Flow {
    answer: Answer,
    skip: u64,
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
                })
            }
            206 => {
                let header = answer.response.headers().get(CONTENT_RANGE);
                let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
                if self.received == 0 || !continues(text, self.received, self.size) {
                    let why = format!(
                        "bytes from {} of {} were asked for, and '{}' came",
                        self.received,
                        self.size,
                        crate::error::printable(text)
                    );
                    return Err(self.nonsense(place, &why).into());
                }
                Ok(Flow { answer, skip: 0 })
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

    /// Hands all bytes over, or one error at the end.
    pub(crate) async fn pump(mut self, mut flow: Flow, give: mpsc::Sender<Result<Bytes, RegistryError>>) {
        loop {
            let result = tokio::select! {
                () = give.closed() => return,
                result = self.drain(&mut flow, &give) => result,
            };
            let renewed = match result {
                Ok(()) => return,
                Err(failed) => {
                    tokio::select! {
                        () = give.closed() => return,
                        renewed = self.renew(failed) => renewed,
                    }
                }
            };
            match renewed {
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

    async fn drain(
        &mut self,
        flow: &mut Flow,
        give: &mpsc::Sender<Result<Bytes, RegistryError>>,
    ) -> Result<(), Failed> {
        let start = self.received;
        while self.received < self.size {
            let mut chunk = match flow.answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(self.truncated(&flow.answer.host, None)),
                Err(RegistryError::Connection { host, source }) => {
                    return Err(self.truncated(&host, Some(source)));
                }
                Err(error) => {
                    // A connection that fell silent is worth another one; a server that says nothing from the start
                    // is not.
                    let again = if self.received > start {
                        Again::After(0)
                    } else {
                        Again::Never
                    };
                    return Err(Failed { error, again });
                }
            };
            if flow.skip > 0 {
                let skipped = usize::try_from(flow.skip).unwrap_or(usize::MAX).min(chunk.len());
                chunk.advance(skipped);
                flow.skip -= skipped as u64;
            }
            if chunk.is_empty() {
                continue;
            }
            if chunk.len() as u64 > self.size - self.received {
                return Err(self.wrong_size(&flow.answer.host, "more".to_owned()).into());
            }
            self.received += chunk.len() as u64;
            if give.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        // Reading the end also lets the connection serve again.
        match tokio::time::timeout(TAIL, flow.answer.chunk()).await {
            Ok(Ok(Some(more))) if !more.is_empty() => {
                Err(self.wrong_size(&flow.answer.host, "more".to_owned()).into())
            }
            // All bytes are there; how the connection ends does not matter any more.
            _ => Ok(()),
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

/// Says whether a `Content-Range` is the rest of the blob from `start` on (RFC 9110 §14.4).
fn continues(header: &str, start: u64, size: u64) -> bool {
    let Some((span, total)) = header
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = span.split_once('-') else {
        return false;
    };
    first.parse() == Ok(start)
        && last
            .parse::<u64>()
            .is_ok_and(|last| last.checked_add(1) == Some(size))
        && (total == "*" || total.parse() == Ok(size))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_rest_continues_a_blob() {
        for (header, fits) in [
            ("bytes 10-99/100", true),
            ("bytes 10-99/*", true),
            ("bytes 0-99/100", false),
            ("bytes 10-98/100", false),
            ("bytes 10-99/101", false),
            ("bytes 10-18446744073709551615/100", false),
            ("bytes */100", false),
            ("items 10-99/100", false),
            ("", false),
        ] {
            assert_eq!(continues(header, 10, 100), fits, "{header}");
        }
    }
}
