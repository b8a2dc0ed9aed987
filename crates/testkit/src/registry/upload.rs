//! Uploads to [`super::FakeRegistry`]: sessions that keep what came, however the connection ended.

use super::serve::{Scripted, lock, reply};
use super::{Content, Fault, Object, Request, digest_of};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex};

/// Answers a request below `/v2/<name>/blobs/uploads/`.
pub(super) async fn answer(
    request: &Request,
    mut body: Incoming,
    fault: Fault,
    content: &Mutex<Content>,
) -> io::Result<Response<Scripted>> {
    let (repository, id) = request
        .path
        .trim_start_matches("/v2/")
        .split_once("/blobs/uploads/")
        .unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    };
    if request.method == "POST" && id.is_empty() {
        let mut content = lock(content);
        if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
            && let Some(object) = content
                .objects
                .get(&format!("/v2/{from}/blobs/{digest}"))
                .cloned()
        {
            content
                .objects
                .insert(format!("/v2/{repository}/blobs/{digest}"), object);
            return reply(201, &[("docker-content-digest", &digest)], &[]);
        }
        content.opened += 1;
        let id = content.opened.to_string();
        content.uploads.insert(id.clone(), Vec::new());
        return accepted(repository, &id, 0);
    }
    let unknown = br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}"#;
    let Some(there) = lock(content).uploads.get(id).map(Vec::len) else {
        return reply(404, &[], unknown);
    };
    match request.method.as_str() {
        "GET" => {
            let range = format!("0-{}", there.saturating_sub(1));
            return reply(204, &[("range", &range), ("location", &request.path)], &[]);
        }
        "DELETE" => {
            lock(content).uploads.remove(id);
            return reply(204, &[], &[]);
        }
        "PATCH" | "PUT" => {}
        _ => return reply(405, &[], &[]),
    }
    if let Some(range) = request.headers.get("content-range")
        && range.split('-').next() != Some(there.to_string().as_str())
    {
        return reply(416, &[], &[]);
    }
    let (limit, breaks) = match fault {
        Fault::CutAfter(count) => (Some(count), true),
        Fault::StallAfter(count) => (Some(count), false),
        _ => (None, false),
    };
    let mut came = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let Some(data) = frame.data_ref() else { continue };
        let take = limit.map_or(data.len(), |limit: usize| {
            limit.saturating_sub(came).min(data.len())
        });
        came += data.len();
        if let Some(bytes) = lock(content).uploads.get_mut(id) {
            bytes.extend_from_slice(&data[..take]);
        }
        if limit.is_some_and(|limit| came >= limit) {
            if breaks {
                return Err(io::Error::other("cut on purpose"));
            }
            std::future::pending::<()>().await;
        }
    }
    let mut content = lock(content);
    if request.method == "PATCH" {
        let there = content.uploads.get(id).map_or(0, Vec::len);
        return accepted(repository, id, there);
    }
    let bytes = content.uploads.remove(id).unwrap_or_default();
    let digest = digest_of(&bytes);
    if parameter("digest") != Some(digest.to_string()) {
        let body = br#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#;
        return reply(400, &[], body);
    }
    content.objects.insert(
        format!("/v2/{repository}/blobs/{digest}"),
        Object {
            content_type: "application/octet-stream".to_owned(),
            bytes: Arc::new(bytes),
            digest,
        },
    );
    let said = match fault {
        Fault::Header(name, value) if name == "docker-content-digest" => value,
        _ => digest.to_string(),
    };
    reply(201, &[("docker-content-digest", &said)], &[])
}

fn accepted(repository: &str, id: &str, there: usize) -> io::Result<Response<Scripted>> {
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    let range = format!("0-{}", there.saturating_sub(1));
    reply(202, &[("location", &location), ("range", &range)], &[])
}

/// Takes a manifest whose blobs are there.
pub(super) fn manifest(
    content: &mut Content,
    request: &Request,
    body: &[u8],
) -> io::Result<Response<Scripted>> {
    let Some((repository, _)) = request.path.split_once("/manifests/") else {
        return reply(404, &[], &[]);
    };
    let document: Value = serde_json::from_slice(body).map_err(io::Error::other)?;
    let layers = document.get("layers").and_then(Value::as_array);
    let blobs = document
        .get("config")
        .into_iter()
        .chain(layers.into_iter().flatten());
    for blob in blobs.filter(|blob| blob.get("urls").is_none()) {
        let digest = blob.get("digest").and_then(Value::as_str).unwrap_or_default();
        if !content
            .objects
            .contains_key(&format!("{repository}/blobs/{digest}"))
        {
            let body =
                br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"manifest blob unknown to registry"}]}"#;
            return reply(400, &[], body);
        }
    }
    let digest = digest_of(body);
    let object = Object {
        content_type: request.headers.get("content-type").cloned().unwrap_or_default(),
        bytes: Arc::new(body.to_vec()),
        digest,
    };
    content
        .objects
        .insert(format!("{repository}/manifests/{digest}"), object.clone());
    content.objects.insert(request.path.clone(), object);
    reply(201, &[("docker-content-digest", &digest.to_string())], &[])
}
