//! What the tests share: a client with short waits, and reading a blob whole.

use oci::{Descriptor, Platform, Reference};
use registry::{Client, RegistryConfig, RegistryError, RemoteImage, Tuning};
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read};
use std::process::Command;
use std::time::Duration;

pub(crate) fn tuning() -> Tuning {
    Tuning {
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_secs(2),
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

const CHILD: &str = "REGISTRY_TEST_IN_ITS_OWN_PROCESS";

/// Runs the named test once more in a process of its own, where it has all threads and these variables to itself.
/// Returns true there; false in the first process, when the other has passed.
pub(crate) fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .envs(variables)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
