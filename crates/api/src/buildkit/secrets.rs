//! Secrets that the client has: asked for by the names that the Dockerfile has, before its build begins.

use super::SolveError;
use super::sessions::Session;
use super::wire::secrets::GetSecretRequest;
use engine::builder::{Build, Secret};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
/// Secrets for what is fetched from the web, alone or with a host's name behind them.
const FOR_FETCHING: [&str; 4] = [
    "GIT_AUTH_TOKEN",
    "GIT_AUTH_HEADER",
    "HTTP_AUTH_TOKEN",
    "HTTP_AUTH_HEADER",
];

/// Returns those of the client's secrets that a build may want. What is not there is missed, or not, by its step.
pub(super) async fn wanted(session: &Session, build: &Build) -> Result<BTreeMap<String, Secret>, SolveError> {
    let mut found = BTreeMap::new();
    if !session.supports(METHOD) {
        return Ok(found);
    }
    for id in names(build) {
        let request = GetSecretRequest {
            id: id.clone(),
            ..GetSecretRequest::default()
        };
        match session.secrets().get_secret(request).await {
            Ok(answer) => {
                found.insert(id, Secret::Value(answer.into_inner().data));
            }
            // Some clients have no better code for it.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unknown) => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(found)
}

/// Returns the names of the secrets that a build may ask for.
fn names(build: &Build) -> BTreeSet<String> {
    // A Dockerfile that cannot be understood fails where it is built.
    let outline = engine::builder::call::outline(build).unwrap_or_default();
    let mut names: BTreeSet<String> = outline.secrets.into_iter().map(|(id, _)| id).collect();
    let (_, text) = &build.dockerfile;
    for host in hosts(text) {
        for name in FOR_FETCHING {
            names.insert(name.to_owned());
            names.insert(format!("{name}.{host}"));
            names.insert(format!("{name}_{host}"));
        }
    }
    names
}

/// Returns the hosts of the addresses in a text.
fn hosts(text: &str) -> BTreeSet<&str> {
    let addresses = text.match_indices("://").map(|(at, _)| &text[at + 3..]);
    addresses
        .chain(text.match_indices("git@").map(|(at, _)| &text[at + 4..]))
        .filter_map(|rest| {
            let end = rest.find(|letter: char| letter == '/' || letter == ':' || letter.is_whitespace());
            let host = rest[..end.unwrap_or(rest.len())].rsplit('@').next()?;
            let plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'.' || letter == b'-';
            (!host.is_empty() && host.bytes().all(plain)).then_some(host)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        let text = "ADD https://me@example.com:8080/x /\nADD git@other.org:a/b .\n# see http://$HOST/ or ftp://z.y\n";
        let found: Vec<_> = hosts(text).into_iter().collect();
        assert_eq!(found, ["example.com", "other.org", "z.y"]);
    }
}
