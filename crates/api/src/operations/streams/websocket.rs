//! `attach` over a websocket, for browsers.

use super::attach::prepare;
use super::client::Socket;
use crate::server::{ApiVersion, Conversation, Exchange, Failure, Reply};
use tungstenite::handshake::derive_accept_key;

/// From this version on messages are binary. What a process writes need not be text.
const BINARY: ApiVersion = ApiVersion::new(28);

/// `GET /containers/{id}/attach/ws`.
pub(super) fn attach(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let is_websocket = exchange
        .header("upgrade")
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let key = exchange.header("sec-websocket-key").map(str::to_owned);
    let (true, Some(key)) = (is_websocket, key) else {
        return Err(Failure::bad_request("this operation speaks websocket alone"));
    };
    if exchange.header("sec-websocket-version") != Some("13") {
        return Err(Failure::bad_request("only version 13 of websocket is spoken"));
    }
    let attachment = prepare(exchange)?;
    let binary = exchange.version() >= BINARY;
    let headers = vec![("sec-websocket-accept", derive_accept_key(key.as_bytes()))];
    Ok(Reply::Upgrade(
        "websocket",
        headers,
        Box::new(move |upgraded| {
            Box::pin(async move {
                let talk = move || {
                    if let Ok(conversation) = Conversation::new(upgraded) {
                        let mut client = Socket::new(conversation, binary);
                        // What breaks here is the client's connection or the monitor's, and either side has seen it.
                        attachment.serve(&mut client).unwrap_or_default();
                        client.part();
                    }
                };
                // A thread that has ended is all that is waited for.
                drop(tokio::task::spawn_blocking(talk).await);
            })
        }),
    ))
}
