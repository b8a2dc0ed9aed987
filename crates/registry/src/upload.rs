//! Blobs to a registry: asked for first, mounted from another repository where that works, else sent in one stream that
//! goes on where it broke.
//!
//! Content may still be in the making while it is sent: its digest is told at the end (distribution spec, "Pushing a
//! blob in chunks"). What is small and finished goes in one request.

use crate::endpoint::Endpoint;
use crate::error::printable;
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Call, Session};
use crate::transport::{Answer, Pace, host_and_port};
use crate::{RegistryError, worker};
use bytes::Bytes;
use oci::Digest;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use url::Url;

/// Content up to this size goes in one request, from memory.
const SMALL: u64 = 512 << 10;
/// Content is read in pieces of this size.
const PIECE: usize = 128 << 10;
/// Pieces that wait to be sent.
const PIECES: usize = 8;
/// So many more bytes make good for an earlier failure.
const PROGRESS: u64 = 1 << 20;
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Bytes to be uploaded; they may still be in the making. Its methods may wait, and are called from several threads.
pub trait Content: Send + Sync {
    /// Reads from a place; waits until there is something. 0 is the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns digest and size if all is there.
    fn known(&self) -> Option<(Digest, u64)>;

    /// Waits until all is there.
    fn finish(&self) -> io::Result<(Digest, u64)>;

    /// Is told how many bytes have gone out.
    fn sent(&self, count: u64);
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// It was there.
    Existed,
    /// The registry took it from this repository of its own.
    Mounted(String),
    /// It was sent.
    Uploaded,
}

/// A blob on its way out.
pub(crate) struct Upload {
    session: Arc<Session>,
    endpoint: Endpoint,
    /// The repository as people write it.
    name: String,
    content: Arc<dyn Content>,
    /// Where the upload goes on, if one is open.
    location: Option<Url>,
    /// Bytes that the registry has.
    offset: u64,
    /// Whether the registry is to be asked how much it has.
    unsure: bool,
    failures: u32,
    mark: u64,
}

impl Upload {
    pub(crate) fn new(
        session: Arc<Session>,
        endpoint: Endpoint,
        name: String,
        content: Arc<dyn Content>,
    ) -> Self {
        Self {
            session,
            endpoint,
            name,
            content,
            location: None,
            offset: 0,
            unsure: false,
            failures: 0,
            mark: 0,
        }
    }

    /// Brings the blob into the repository; `sources` are repositories of the registry that may have it.
    pub(crate) async fn run(mut self, sources: Vec<String>) -> Result<Landed, RegistryError> {
        let result = self.deliver(&sources).await;
        if result.is_err() {
            self.cancel().await;
        }
        result
    }

    async fn deliver(&mut self, sources: &[String]) -> Result<Landed, RegistryError> {
        if let Some((digest, _)) = self.content.known() {
            if exists(&self.session, &self.endpoint, &self.name, &digest).await? {
                return Ok(Landed::Existed);
            }
            for source in sources {
                self.cancel().await;
                if self.mount(&digest, source).await {
                    return Ok(Landed::Mounted(source.clone()));
                }
            }
        }
        loop {
            match self.attempt().await {
                Ok(()) => return Ok(Landed::Uploaded),
                Err(failed) => self.recover(failed).await?,
            }
        }
    }

    /// Asks for a blob of another repository. What fails here is sent instead, so no error counts; an upload that was
    /// begun instead is used.
    async fn mount(&mut self, digest: &Digest, source: &str) -> bool {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("mount", &digest.to_string())
            .append_pair("from", source)
            .finish();
        let rest = format!("blobs/uploads/?{query}");
        match self
            .session
            .call(&self.endpoint, &rest, empty(Method::POST))
            .await
        {
            Ok(answer) if answer.status().as_u16() == 201 => true,
            Ok(answer) if answer.status().as_u16() == 202 => {
                self.location = location(&answer);
                false
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Tells the registry that an upload does not go on. It forgets it by itself after some days otherwise.
    async fn cancel(&mut self) {
        if let Some(url) = self.location.take() {
            let call = self.session.call_at(&self.endpoint, url, empty(Method::DELETE));
            drop(tokio::time::timeout(self.session.tuning.connect_timeout, call).await);
        }
    }

    async fn attempt(&mut self) -> Result<(), Failed> {
        if self.unsure && self.found_again().await? {
            return Ok(());
        }
        if self.location.is_none() {
            self.begin().await?;
        }
        match self.content.known() {
            Some((digest, size)) if size <= SMALL && self.offset == 0 => {
                let bytes = self.whole(size).await?;
                self.complete(&digest, bytes).await
            }
            known => {
                if known.is_none_or(|(_, size)| self.offset < size) {
                    self.patch().await?;
                }
                let (digest, size) = self.finished().await?;
                if self.offset != size {
                    // What the registry did not take is sent with the next request.
                    return Err(again(self.nonsense("it took only a part of what was sent")));
                }
                self.complete(&digest, Bytes::new()).await
            }
        }
    }

    /// Opens an upload.
    async fn begin(&mut self) -> Result<(), Failed> {
        let answer = self
            .session
            .call(&self.endpoint, "blobs/uploads/", empty(Method::POST))
            .await?;
        if answer.status().as_u16() != 202 {
            return Err(self.refused(answer).await);
        }
        let url = location(&answer)
            .ok_or_else(|| Failed::from(self.nonsense("it opened an upload and did not say where")))?;
        drop(answer.complaint().await);
        self.location = Some(url);
        self.offset = 0;
        Ok(())
    }

    /// Finds out after a failure how much is there; returns whether it is all, blob and all.
    async fn found_again(&mut self) -> Result<bool, Failed> {
        if let Some((digest, _)) = self.content.known()
            && exists(&self.session, &self.endpoint, &self.name, &digest).await?
        {
            self.location = None;
            return Ok(true);
        }
        let Some(url) = self.location.clone() else {
            self.unsure = false;
            return Ok(false);
        };
        let answer = self
            .session
            .call_at(&self.endpoint, url, empty(Method::GET))
            .await?;
        let there = answer.header("range").and_then(end_of);
        match (answer.status().as_u16(), there) {
            (204 | 202, Some(there)) => {
                self.location = location(&answer).or(self.location.take());
                self.offset = there;
            }
            // Forgotten, or it cannot say: from the beginning.
            _ => self.location = None,
        }
        drop(answer.complaint().await);
        self.unsure = false;
        Ok(false)
    }

    /// Sends everything from the offset on.
    async fn patch(&mut self) -> Result<(), Failed> {
        let Some(url) = self.location.clone() else {
            return Ok(());
        };
        let start = self.offset;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, OCTETS);
        // A part that follows another one says where it belongs, and so must have an end.
        let known = if start > 0 {
            Some(self.finished().await?)
        } else {
            self.content.known()
        };
        if let Some((_, size)) = known {
            if start >= size {
                self.location = None;
                return Err(again(self.nonsense("it has more of the blob than there is")));
            }
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size - start));
            if start > 0 {
                let range = HeaderValue::from_str(&format!("{start}-{}", size - 1))
                    .map_err(|_invalid| Failed::from(self.nonsense("the range has no text")))?;
                headers.insert(CONTENT_RANGE, range);
            }
        }
        let pace = Arc::new(Pace::default());
        let (body, mut outcome) = body(self.content.clone(), start, pace.clone());
        self.unsure = true;
        let answer = self
            .session
            .stream(&self.endpoint, url, headers, (body, &pace))
            .await;
        // Our own trouble with the content is behind whatever the connection made of it.
        if let Ok(Err(source)) = outcome.try_recv() {
            return Err(Failed {
                error: self.unreadable(source),
                again: Again::Never,
            });
        }
        let answer = answer.map_err(|failed| match failed.error {
            // A connection that fell silent is worth another one.
            RegistryError::Timeout { .. } => Failed {
                again: Again::After(0),
                ..failed
            },
            _ => failed,
        })?;
        match answer.status().as_u16() {
            202 | 201 | 204 => {}
            // The upload is elsewhere from now on.
            307 | 308 => {
                self.location = location(&answer);
                return Err(again(self.nonsense("it moved the upload")));
            }
            404 | 416 => {
                let error = self.refused(answer).await.error;
                return Err(again(error));
            }
            _ => return Err(self.refused(answer).await),
        }
        let said = answer.header("range").and_then(end_of);
        self.location = location(&answer).or(self.location.take());
        drop(answer.complaint().await);
        let (_, size) = self.finished().await?;
        self.offset = match said {
            Some(there) if there > 1 && there <= size => there,
            _ => size,
        };
        self.unsure = false;
        Ok(())
    }

    /// Gives the upload its name, with what is not there yet.
    async fn complete(&mut self, digest: &Digest, bytes: Bytes) -> Result<(), Failed> {
        let Some(mut url) = self.location.clone() else {
            return Ok(());
        };
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, OCTETS);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let small = bytes.len() as u64;
        self.unsure = true;
        let call = Call {
            method: Method::PUT,
            headers,
            body: Some(bytes),
            pinned: true,
        };
        let answer = self.session.call_at(&self.endpoint, url, call).await?;
        match answer.status().as_u16() {
            201 | 204 => {}
            400 | 404 | 416 => {
                // What it has is not what we sent: once more, from the beginning.
                let failed = self.refused(answer).await;
                self.location = None;
                self.offset = 0;
                return Err(again(failed.error));
            }
            _ => return Err(self.refused(answer).await),
        }
        let other = answer
            .header("docker-content-digest")
            .filter(|said| said.starts_with("sha256:") && *said != digest.to_string())
            .map(printable);
        if let Some(said) = other {
            return Err(self
                .nonsense(&format!("it stored blob {digest} as {said}"))
                .into());
        }
        drop(answer.complaint().await);
        self.location = None;
        if small > 0 {
            self.content.sent(small);
        }
        Ok(())
    }

    /// Waits until it makes sense to try again; gives the error back where that does not help.
    async fn recover(&mut self, failed: Failed) -> Result<(), RegistryError> {
        if self.offset.saturating_sub(self.mark) >= PROGRESS {
            self.failures = 0;
        }
        if self.failures == 0 {
            self.mark = self.offset;
        }
        self.failures += 1;
        match failed.again {
            Again::After(asked) if self.failures < MOST_ATTEMPTS => {
                let wait = delay(self.session.tuning.backoff, self.failures, asked);
                tokio::time::sleep(wait).await;
                Ok(())
            }
            _ => Err(failed.error),
        }
    }

    async fn finished(&self) -> Result<(Digest, u64), Failed> {
        if let Some(known) = self.content.known() {
            return Ok(known);
        }
        let content = self.content.clone();
        let result = tokio::task::spawn_blocking(move || content.finish())
            .await
            .map_err(|_cancelled| Failed::from(worker::gone()))?;
        result.map_err(|source| self.unreadable(source).into())
    }

    async fn whole(&self, size: u64) -> Result<Bytes, Failed> {
        let content = self.content.clone();
        let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            let mut filled = 0;
            while filled < bytes.len() {
                match content.read_at(filled as u64, &mut bytes[filled..])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            Ok(bytes)
        });
        let read = read.await.map_err(|_cancelled| Failed::from(worker::gone()))?;
        read.map(Bytes::from)
            .map_err(|source| self.unreadable(source).into())
    }

    async fn refused(&self, answer: Answer) -> Failed {
        let what = match self.content.known() {
            Some((digest, _)) => format!("blob {digest}"),
            None => "a blob".to_owned(),
        };
        refusal(answer, &self.name, &what).await
    }

    fn unreadable(&self, source: io::Error) -> RegistryError {
        let what = match self.content.known() {
            Some((digest, _)) => format!("blob {digest}"),
            None => "a layer".to_owned(),
        };
        RegistryError::Content { what, source }
    }

    fn nonsense(&self, why: &str) -> RegistryError {
        RegistryError::Response {
            host: self.endpoint.host.clone(),
            why: why.to_owned(),
        }
    }
}

fn again(error: RegistryError) -> Failed {
    Failed {
        error,
        again: Again::After(0),
    }
}

fn empty(method: Method) -> Call {
    let mut headers = HeaderMap::new();
    let body = (method == Method::POST).then(|| {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        Bytes::new()
    });
    Call {
        method,
        headers,
        body,
        pinned: true,
    }
}

/// Asks whether a repository has a blob.
pub(crate) async fn exists(
    session: &Session,
    endpoint: &Endpoint,
    name: &str,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    let rest = format!("blobs/{digest}");
    let mut attempt = 1;
    loop {
        let failed = match session.call(endpoint, &rest, empty(Method::HEAD)).await {
            Ok(answer) => match answer.status().as_u16() {
                200 => return Ok(true),
                404 => return Ok(false),
                // Only what is there has an address elsewhere; one that is signed for GET alone refuses the question.
                403 if !answer.own => return Ok(true),
                _ => refusal(answer, name, &format!("a question for blob {digest}")).await,
            },
            Err(failed) => failed,
        };
        match failed.again {
            Again::After(asked) if attempt < MOST_ATTEMPTS => {
                tokio::time::sleep(delay(session.tuning.backoff, attempt, asked)).await;
            }
            _ => return Err(failed.error),
        }
        attempt += 1;
    }
}

/// Puts a refusal of something to be stored into our words.
pub(crate) async fn refusal(answer: Answer, name: &str, what: &str) -> Failed {
    let own = answer.own;
    let complaint = answer.complaint().await;
    let has = |code: &str| complaint.codes.iter().any(|known| known == code);
    match complaint.status {
        401 | 403 if own => RegistryError::PushDenied(name.to_owned()).into(),
        404 if own && (has("NAME_UNKNOWN") || has("REPOSITORY_NOT_FOUND")) => {
            RegistryError::RepositoryNotFound(name.to_owned()).into()
        }
        status @ (400 | 404..=407 | 409..=428 | 430..=499) => {
            let said = if complaint.message.is_empty() {
                complaint.codes.join(", ")
            } else {
                complaint.message
            };
            let said = match (status, printable(&said)) {
                (405, _) => "it takes no pushes".to_owned(),
                (413, said) if said.is_empty() => "it, or a proxy before it, limits the size".to_owned(),
                (_, said) => said,
            };
            let colon = if said.is_empty() { "" } else { " " };
            RegistryError::Refused {
                host: complaint.host,
                what: what.to_owned(),
                message: format!("{said}{colon}(HTTP status {status})"),
            }
            .into()
        }
        _ => Failed::by_status(complaint),
    }
}

/// Returns where an upload goes on. Registries behind a proxy that ends TLS often do not know that they are reached by
/// it; credentials do not go back to plain HTTP for that.
fn location(answer: &Answer) -> Option<Url> {
    let asked = answer.response.url();
    let mut url = asked.join(answer.header("location")?).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let same_host = url.host_str() == asked.host_str();
    if asked.scheme() == "https" && url.scheme() == "http" {
        if !same_host && host_and_port(&url) != host_and_port(asked) {
            return None;
        }
        url.set_scheme("https").ok()?;
    }
    Some(url)
}

/// Reads `0-<last>` as how many bytes that are. `0-0` is what registries say when there is nothing.
fn end_of(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    if first.trim() != "0" {
        return None;
    }
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

/// How reading the content ended.
type ReadOutcome = tokio::sync::oneshot::Receiver<io::Result<()>>;

/// Makes a request's body of content from `start` on, read on a thread of its own.
fn body(content: Arc<dyn Content>, start: u64, pace: Arc<Pace>) -> (reqwest::Body, ReadOutcome) {
    let (give, mut pieces) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let (tell, outcome) = tokio::sync::oneshot::channel();
    let source = content.clone();
    tokio::task::spawn_blocking(move || {
        let mut offset = start;
        let mut buffer = vec![0; PIECE];
        let result = loop {
            match source.read_at(offset, &mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    offset += count as u64;
                    if give
                        .blocking_send(Ok(Bytes::copy_from_slice(&buffer[..count])))
                        .is_err()
                    {
                        // The request has ended without wanting more.
                        return;
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let broken = result.is_err();
        // Whoever waits for the outcome may be gone as well.
        tell.send(result).unwrap_or_default();
        if broken {
            give.blocking_send(Err(io::ErrorKind::Other.into()))
                .unwrap_or_default();
        }
    });
    let mut gone = start;
    let stream = futures_util::stream::poll_fn(move |context| {
        let polled = pieces.poll_recv(context);
        pace.starve(polled.is_pending());
        if let std::task::Poll::Ready(Some(Ok(piece))) = &polled {
            pace.gave(piece.len());
            gone += piece.len() as u64;
            content.sent(gone);
        }
        polled
    });
    (reqwest::Body::wrap_stream(stream), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_how_much_is_there() {
        for (text, there) in [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0--1", None),
            ("5-99", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(end_of(text), there, "{text:?}");
        }
    }
}
