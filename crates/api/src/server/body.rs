//! A request's body, as a plain reader.

use super::{Failure, Limits};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Handle;

/// No JSON that Docker's clients send comes near this many bytes.
const LONGEST_DOCUMENT: usize = 8 << 20;

/// Reads a request's body as it comes. Only for threads that may block.
#[derive(Debug)]
pub(crate) struct BodyReader {
    body: Option<Incoming>,
    chunk: Bytes,
    runtime: Handle,
    /// How long the client may be silent: while it sends a document, or anything else.
    document_patience: Duration,
    patience: Duration,
}

impl BodyReader {
    pub(super) fn new(body: Option<Incoming>, runtime: Handle) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            runtime,
            document_patience: Limits::default().document,
            patience: Limits::default().body,
        }
    }

    pub(super) fn with_patience(self, limits: &Limits) -> Self {
        Self {
            document_patience: limits.document,
            patience: limits.body,
            ..self
        }
    }

    /// Reads all of a body that holds a document.
    pub(super) fn document(&mut self) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        let limit = LONGEST_DOCUMENT as u64 + 1;
        self.patience = self.document_patience;
        self.take(limit).read_to_end(&mut text).map_err(|error| {
            let status = match error.kind() {
                io::ErrorKind::TimedOut => hyper::StatusCode::REQUEST_TIMEOUT,
                _ => hyper::StatusCode::BAD_REQUEST,
            };
            Failure::new(status, format!("cannot read the request's body: {error}"))
        })?;
        if text.len() > LONGEST_DOCUMENT {
            return Err(Failure::new(
                hyper::StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request's body is longer than {LONGEST_DOCUMENT} bytes"),
            ));
        }
        Ok(text)
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(body) = &mut self.body else {
                return Ok(0);
            };
            let patience = self.patience;
            let frame = self
                .runtime
                .block_on(async { tokio::time::timeout(patience, body.frame()).await });
            let Ok(frame) = frame else {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the client has sent nothing for {} seconds", patience.as_secs()),
                ));
            };
            match frame {
                None => self.body = None,
                // Trailers say nothing to us.
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            }
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
