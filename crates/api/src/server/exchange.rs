//! A request, as operations see it.

use super::engines::Engines;
use super::route::Parameters;
use super::{ApiVersion, BodyReader, Failure, OpenEngine, Query};
use hyper::HeaderMap;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::runtime::Handle;

/// One request on the thread that answers it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) version: ApiVersion,
    pub(super) parameters: Parameters,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: BodyReader,
    pub(super) engines: Arc<Engines>,
    pub(super) runtime: Handle,
}

impl Exchange {
    /// The version that the client speaks.
    pub(crate) fn version(&self) -> ApiVersion {
        self.version
    }

    /// Returns a part of the path by its name in the route's pattern; nothing if the pattern has no such name.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns what stands behind the question mark.
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// Returns a header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the body, which is a JSON document. An empty one counts as `{}`, as with Docker.
    pub(crate) fn document<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let mut text = self.body.document()?;
        if text.iter().all(u8::is_ascii_whitespace) {
            text = b"{}".to_vec();
        }
        serde_json::from_slice(&text)
            .map_err(|error| Failure::bad_request(format!("invalid JSON in the request's body: {error}")))
    }

    /// Takes the body, to be read as it comes.
    pub(crate) fn take_body(&mut self) -> BodyReader {
        let empty = BodyReader::new(None, self.runtime.clone());
        std::mem::replace(&mut self.body, empty)
    }

    /// Returns all values of a header that are text.
    pub(crate) fn headers<'e>(&'e self, name: &str) -> Vec<&'e str> {
        let all = self.headers.get_all(name).iter();
        all.filter_map(|value| value.to_str().ok()).collect()
    }

    /// Takes an engine for this operation alone.
    pub(crate) fn engine(&self) -> Result<OpenEngine, Failure> {
        self.engines.take()
    }

    /// Returns where engines come from: for operations that last long, and need one now and then.
    pub(crate) fn engines(&self) -> Arc<Engines> {
        Arc::clone(&self.engines)
    }

    /// Returns the handle of what runs the server's connections: for operations that speak protocols of their own.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
