//! JSON as Docker prints it.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Writes with four spaces a level, as `inspect` does.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(
        &mut text,
        PrettyFormatter::with_indent(b"    "),
    ))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes on one line, a structure's fields in its own order.
pub(crate) fn ordered<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    Ok(escaped(&serde_json::to_string(value)?))
}

/// Writes on one line with Go's escapes of what could end a script element.
pub(crate) fn compact(value: &Value) -> String {
    escaped(&value.to_string())
}

fn escaped(text: &str) -> String {
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_it() {
        let value = serde_json::json!([{"a": [], "b": {"c": 1}}]);
        assert_eq!(
            pretty(&value).unwrap(),
            "[\n    {\n        \"a\": [],\n        \"b\": {\n            \"c\": 1\n        }\n    }\n]"
        );
        assert_eq!(
            compact(&serde_json::json!({"a": "<x> & y"})),
            r#"{"a":"\u003cx\u003e \u0026 y"}"#
        );
    }
}
