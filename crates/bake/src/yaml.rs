//! YAML, as far as Compose files are written in it: one document of maps, lists and scalars, anchors, and maps that are
//! merged by `<<`. Plain scalars mean what the core schema of YAML 1.2 says.

use crate::value::{Number, Value};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::{BTreeMap, HashMap};

/// So many values come of aliases at most: a few lines of them can stand for gigabytes.
const MOST_COPIES: usize = 200_000;

/// A collection that is not complete yet, with the number of its anchor.
enum Open {
    List(Vec<Value>, usize),
    Map {
        fields: BTreeMap<String, Value>,
        key: Option<String>,
        merged: Vec<Value>,
        anchor: usize,
    },
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    let mut copies = 0;
    let mut document = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("not YAML: {error}"))?;
        let wrong = |why: &str| Err(format!("{why} (line {})", span.start.line()));
        let (value, anchor, may_be_key) = match event {
            Event::Alias(anchor) => {
                let Some(value) = anchors.get(&anchor) else {
                    return wrong("an alias of nothing that came before it");
                };
                copies += size(value);
                if copies > MOST_COPIES {
                    return wrong("aliases stand for too much");
                }
                (value.clone(), 0, false)
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Map {
                    fields: BTreeMap::new(),
                    key: None,
                    merged: Vec::new(),
                    anchor,
                });
                continue;
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::List(list, anchor)) => (Value::List(list), anchor, false),
                Some(Open::Map {
                    mut fields,
                    merged,
                    anchor,
                    ..
                }) => {
                    for map in merged {
                        let Value::Map(map) = map else {
                            return wrong("<< takes a map or a list of maps");
                        };
                        for (name, value) in map {
                            fields.entry(name).or_insert(value);
                        }
                    }
                    (Value::Map(fields), anchor, false)
                }
                None => return wrong("the end of a collection that was never begun"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                // A key is a text, whatever it looks like.
                if let Some(Open::Map { key: key @ None, .. }) = open.last_mut() {
                    *key = Some(text.into_owned());
                    continue;
                }
                let value = if is_plain {
                    plain(&text)
                } else {
                    Value::Text(text.into_owned())
                };
                (value, anchor, true)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            Some(Open::List(list, _)) => list.push(value),
            Some(Open::Map {
                fields, key, merged, ..
            }) => match (key.take(), value) {
                (Some(name), Value::List(values)) if name == "<<" => merged.extend(values),
                (Some(name), value) if name == "<<" => merged.push(value),
                (Some(name), value) => {
                    if fields.insert(name.clone(), value).is_some() {
                        return wrong(&format!("the key '{name}' comes twice"));
                    }
                }
                (None, Value::Text(name)) if may_be_key => *key = Some(name),
                (None, _) => return wrong("a key that is no text"),
            },
            None if document.is_none() => document = Some(value),
            None => return wrong("more than one document"),
        }
    }
    document.ok_or_else(|| "the file is empty".to_owned())
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::List(values) | Value::Set(values) => values.iter().map(size).sum(),
        Value::Map(fields) => fields.values().map(size).sum::<usize>(),
        _ => 0,
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let whole = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => i128::from_str_radix(digits, 16).ok(),
        (_, Some(digits)) => i128::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    };
    // What would be written otherwise again stays a text: 0755, 1.20.
    match whole.map(Number::Whole).or_else(|| Number::parse(text)) {
        Some(number) if number.to_string() == text || text.starts_with("0x") || text.starts_with("0o") => {
            Value::Number(number)
        }
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_merged_maps() {
        let text = "x: &a {k: 1, l: 2}\ny:\n  <<: *a\n  l: 3\nz: [*a, \"1\", 1.20, ~]\n";
        assert_eq!(
            parse(text).unwrap().to_json().to_string(),
            r#"{"x":{"k":1,"l":2},"y":{"k":1,"l":3},"z":[{"k":1,"l":2},"1","1.20",null]}"#
        );
    }

    #[test]
    fn what_is_refused() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, before) in ["b", "c", "d", "e", "f", "g"]
            .iter()
            .zip(["a", "b", "c", "d", "e", "f"])
        {
            let copies = vec![format!("*{before}"); 10].join(",");
            for part in [name, ": &", name, " [", &copies, "]\n"] {
                bomb.push_str(part);
            }
        }
        for (text, why) in [
            ("a: 1\na: 2\n", "comes twice"),
            ("a: 1\n---\nb: 2\n", "more than one document"),
            ("", "empty"),
            ("a: [1", "not YAML"),
            ("a: {<<: 3}", "<< takes a map"),
            (&bomb, "aliases stand for too much"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
