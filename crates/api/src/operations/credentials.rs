//! Who a client says that it is at registries: `X-Registry-Auth` and `X-Registry-Config`.
//!
//! A header counts for one operation alone. Without one nobody is shown to registries: the `config.json` of whoever runs
//! the server is theirs.

use crate::server::{Exchange, OpenEngine};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine::login::{Auth, registry_of};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Padded or not: clients do both.
const TOLERANT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, TOLERANT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, TOLERANT);

impl OpenEngine {
    /// Shows a registry what the client has in `X-Registry-Auth`, until the engine goes back. The header does not bind
    /// itself to a registry; the operation that it comes with does.
    pub(crate) fn show(&mut self, exchange: &Exchange, registry: &str) {
        let auth = exchange.header("x-registry-auth").and_then(read_auth);
        let shown = auth.map(|auth| (registry.to_owned(), auth));
        self.set_credentials(Some(shown.into_iter().collect()));
    }
}

/// Reads an `X-Registry-Config`: what the client has for each registry.
pub(super) fn all(exchange: &Exchange) -> HashMap<String, Auth> {
    let auths = exchange.header("x-registry-config").and_then(decode);
    auths
        .into_iter()
        .flatten()
        .filter_map(|(server, entry)| Some((registry_of(&server).to_owned(), auth(entry.as_object()?))))
        .collect()
}

/// Reads an `X-Registry-Auth`. What cannot be read counts as nothing, as with Docker: old clients send all kinds of things.
fn read_auth(text: &str) -> Option<Auth> {
    let auth = auth(&decode(text)?);
    (!auth.is_empty()).then_some(auth)
}

fn decode(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim();
    let bytes = URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// Reads an entry as Go does: keys in any case, `null` for nothing.
pub(super) fn auth(entry: &Map<String, Value>) -> Auth {
    let of = |name: &str| {
        let found = entry.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    };
    Auth::password(of("username"), of("password"))
        .with_encoded(of("auth"))
        .with_identity(of("identitytoken"))
        .with_bearer(of("registrytoken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_header_is_read() {
        let document = r#"{"username":"anna","Password":"p?>?~","email":null,"serveraddress":"r.example"}"#;
        let expected = Auth::password("anna", "p?>?~");
        let plain = GeneralPurpose::new(&alphabet::STANDARD, base64::engine::general_purpose::NO_PAD);
        for text in [
            base64::engine::general_purpose::STANDARD.encode(document),
            base64::engine::general_purpose::URL_SAFE.encode(document),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(document),
            plain.encode(document),
        ] {
            assert_eq!(read_auth(&text), Some(expected.clone()), "{text}");
        }
        let token = URL_SAFE.encode(r#"{"identitytoken":"t"}"#);
        assert_eq!(read_auth(&token), Some(Auth::default().with_identity("t")));
        for nothing in ["", "e30=", "e30", "bnVsbA==", "***", "W10="] {
            assert_eq!(read_auth(nothing), None, "{nothing}");
        }
    }
}
