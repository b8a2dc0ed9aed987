//! Forms of data, and digests of it.

use super::digests::{self, hex};
use super::{Arguments, Outcome};
use crate::csv;
use crate::definition::Surroundings;
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use std::collections::BTreeMap;

pub(super) fn call(name: &str, arguments: Arguments<'_>, surroundings: &Surroundings) -> Option<Outcome> {
    let hashed = |algorithm| {
        let text = arguments.text(0)?;
        Ok(Value::Text(hex(digest(algorithm, text.as_bytes()).as_ref())))
    };
    Some(match name {
        "base64encode" => arguments.text(0).map(|text| Value::Text(STANDARD.encode(text))),
        "base64decode" => decode(arguments),
        "jsonencode" => arguments
            .value(0)
            .map(|value| Value::Text(value.to_json().to_string())),
        "jsondecode" => arguments.text(0).and_then(|text| {
            let json = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
            Ok(Value::from_json(&json))
        }),
        "csvdecode" => arguments.text(0).and_then(|text| table(&text)),
        "urlencode" => arguments.text(0).map(|text| Value::Text(url(&text))),
        "md5" => arguments
            .text(0)
            .map(|text| Value::Text(hex(&digests::md5(text.as_bytes())))),
        "sha1" => hashed(&SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => hashed(&SHA256),
        "sha512" => hashed(&SHA512),
        "uuidv4" => Ok(Value::Text(identifier((surroundings.random)(), 4))),
        "uuidv5" => named(arguments),
        _ => return None,
    })
}

fn decode(arguments: Arguments<'_>) -> Outcome {
    let text = arguments.text(0)?;
    let bytes = STANDARD
        .decode(&text)
        .map_err(|error| format!("not base64: {error}"))?;
    String::from_utf8(bytes)
        .map(Value::Text)
        .map_err(|_not_text| "what is encoded is no UTF-8 text".to_owned())
}

fn table(text: &str) -> Outcome {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let Some(head) = lines.next() else {
        return Err("the first line with the names is missing".to_owned());
    };
    let names = csv::fields(head, ',')?;
    let mut rows = Vec::new();
    for line in lines {
        let fields = csv::fields(line, ',')?;
        if fields.len() != names.len() {
            return Err(format!(
                "{} fields instead of {} in {line:?}",
                fields.len(),
                names.len()
            ));
        }
        let row: BTreeMap<String, Value> = names
            .iter()
            .cloned()
            .zip(fields.into_iter().map(Value::Text))
            .collect();
        rows.push(Value::Map(row));
    }
    Ok(Value::List(rows))
}

fn url(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            byte => {
                encoded.push('%');
                encoded.push_str(&hex(&[byte]).to_uppercase());
            }
        }
    }
    encoded
}

fn identifier(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// RFC 4122, section 4.3, with the namespaces of its appendix C by their names.
fn named(arguments: Arguments<'_>) -> Outcome {
    let (namespace, name) = (arguments.text(0)?, arguments.text(1)?);
    let namespace = match namespace.as_str() {
        "dns" => "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "url" => "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
        "oid" => "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
        "x500" => "6ba7b814-9dad-11d1-80b4-00c04fd430c8",
        other => other,
    };
    let digits: String = namespace.chars().filter(|c| *c != '-').collect();
    let Some(mut bytes) = digests::bytes(&digits).filter(|bytes| bytes.len() == 16) else {
        return Err(format!(
            "the namespace {namespace:?} is neither dns, url, oid, x500 nor a UUID"
        ));
    };
    bytes.extend_from_slice(name.as_bytes());
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    Ok(Value::Text(identifier(first, 5)))
}
