//! Failed builds as gRPC's errors: with the place in the Dockerfile, so that clients show its lines.

use super::SolveError;
use super::wire::gateway::{Any, RpcStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::EngineError;
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

/// The type of a place, as BuildKit writes it: its messages go as JSON.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// Makes an error of a failed build.
pub(super) fn status(error: &SolveError, dockerfile: &(String, String)) -> Status {
    let message = error.text();
    let SolveError::Build { error, .. } = error else {
        return Status::unknown(message);
    };
    let place = match &**error {
        EngineError::Build(error) => error.location(),
        _ => None,
    };
    let Some((_, lines, _)) = place else {
        return Status::unknown(message);
    };
    let (name, text) = dockerfile;
    let position = |line: usize| json!({ "line": line, "character": 0 });
    let source = json!({
        "info": { "filename": name, "data": STANDARD.encode(text), "language": "Dockerfile" },
        "ranges": [{ "start": position(lines.first), "end": position(lines.last) }],
    });
    let details = RpcStatus {
        code: Code::Unknown.into(),
        message: message.clone(),
        details: vec![Any {
            type_url: SOURCE.to_owned(),
            value: source.to_string().into_bytes(),
        }],
    };
    Status::with_details(Code::Unknown, message, details.encode_to_vec().into())
}
