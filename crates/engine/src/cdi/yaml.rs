//! YAML, as far as specifications are written in it: one document of maps, lists and scalars. Its plain scalars mean
//! what the core schema of YAML 1.2 says. Aliases are refused: no tool writes them here, and a few lines of them can
//! stand for gigabytes.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// A collection that is not complete yet.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut document = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("is not YAML: {error}"))?;
        let wrong = |why: &str| Err(format!("{why} (line {})", span.start.line()));
        let value = match event {
            Event::Alias(_) => return wrong("has an alias, which is not supported"),
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::List(list)) => Value::Array(list),
                Some(Open::Map(map, _)) => Value::Object(map),
                None => return wrong("ends a collection that was never begun"),
            },
            Event::Scalar(text, ScalarStyle::Plain, _, None) => {
                // A key is a text, whatever it looks like.
                if let Some(Open::Map(_, key @ None)) = open.last_mut() {
                    *key = Some(text.into_owned());
                    continue;
                }
                plain(&text)
            }
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            Some(Open::List(list)) => list.push(value),
            Some(Open::Map(map, key)) => match (key.take(), value) {
                (Some(name), value) => {
                    if map.insert(name.clone(), value).is_some() {
                        return wrong(&format!("has the key '{name}' twice"));
                    }
                }
                (None, Value::String(name)) => *key = Some(name),
                (None, _) => return wrong("has a key that is no text"),
            },
            None if document.is_none() => document = Some(value),
            None => return wrong("has more than one document"),
        }
    }
    document.ok_or_else(|| "is empty".to_owned())
}

/// Reads a scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let whole = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => i64::from_str_radix(digits, 16).ok(),
        (_, Some(digits)) => i64::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    };
    if let Some(number) = whole {
        return Value::Number(Number::from(number));
    }
    // `1.5` is a number, `0.6.0`, `inf` and `1.` are not written as such by anybody.
    let looks_like_one = text.contains('.')
        && text.ends_with(|last: char| last.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if looks_like_one && let Some(number) = text.parse().ok().and_then(Number::from_f64) {
        return Value::Number(number);
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents() {
        let text = "---\na: 1\n\"b\": [x, 'y z', 0.6.0, 1.5, -3, 0x10, 0o17]\nc:\n- d: true\n  e: ~\n- \"1\"\nf: |\n  two\n  lines\n1: x\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "a": 1, "b": ["x", "y z", "0.6.0", 1.5, -3, 16, 15],
                "c": [{"d": true, "e": null}, "1"], "f": "two\nlines\n", "1": "x"
            })
        );
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("a: &x [1]\nb: *x\n", "alias"),
            ("a: 1\na: 2\n", "twice"),
            ("a: 1\n---\nb: 2\n", "more than one document"),
            ("", "empty"),
            ("a: [1", "not YAML"),
            ("? [a]\n: 1\n", "no text"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
