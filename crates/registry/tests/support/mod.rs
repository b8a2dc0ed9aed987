//! What the tests of this crate share: a client with short waits, and reading a blob whole.
#![allow(dead_code, reason = "each test program uses its own part")]

use oci::{Descriptor, Platform, Reference};
use registry::{Client, RegistryConfig, RegistryError, RemoteImage, Tuning};
use std::error::Error;
use std::io::{self, Read};
use std::time::Duration;

pub(crate) fn tuning() -> Tuning {
    Tuning {
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_millis(500),
        no_proxy: true,
        ..Tuning::default()
    }
}

pub(crate) fn client(config: RegistryConfig) -> Client {
    Client::with_tuning(config, tuning()).unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn amd64() -> Platform {
    Platform::new("linux", "amd64", "")
}

pub(crate) fn resolve(client: &Client, text: &str) -> Result<RemoteImage, RegistryError> {
    client.resolve(&reference(text), &amd64())
}

pub(crate) fn read(
    client: &Client,
    text: &str,
    image: &RemoteImage,
    blob: &Descriptor,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    client
        .blob(&reference(text), image, blob)
        .map_err(io::Error::other)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error with its causes, as a user sees it.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
