//! What `prune` answers: a report, or since version 1.56, where that is asked for, a line for each thing and then the report.

use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, Reply};
use serde_json::{Value, json};

/// One thing that is gone.
#[derive(Debug)]
pub(super) struct Gone {
    id: String,
    status: &'static str,
}

impl Gone {
    /// Makes it of an id or a name, and what became of it.
    pub(super) fn new(id: impl Into<String>, status: &'static str) -> Self {
        Self {
            id: id.into(),
            status,
        }
    }
}

/// Answers with a report in the form that the client wants.
pub(super) fn reply(exchange: &Exchange, gone: Vec<Gone>, report: &Value) -> Result<Reply, Failure> {
    if exchange.version() < ApiVersion::new(56) || !exchange.query().flag("stream") {
        return Reply::json(report);
    }
    let mut text = String::new();
    for gone in gone {
        text.extend([
            json!({"id": gone.id, "status": gone.status}).to_string(),
            "\n".into(),
        ]);
    }
    text.extend([json!({"aux": report}).to_string(), "\n".into()]);
    Ok(Reply::Whole(Head::ok("application/jsonl"), text.into_bytes()))
}
