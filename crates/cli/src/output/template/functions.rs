//! Functions: Go's own, and those that Docker adds.

use super::value::{Val, show};
use serde_json::Value;
use std::cmp::Ordering;

const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or",
    "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function. `and` and `or`, which do not look at all their arguments, are not called here.
pub(super) fn call(name: &str, arguments: &[Val]) -> Result<Val, String> {
    let wrong = |wanted: &str| {
        format!(
            "wrong number of args for {name}: want {wanted} got {}",
            arguments.len()
        )
    };
    let one = || match arguments {
        [one] => Ok(one),
        _ => Err(wrong("1")),
    };
    match name {
        "not" => Ok(Val::bool(!one()?.truth())),
        "len" => length(one()?),
        "json" => Ok(Val::text(crate::output::json::compact(&one()?.json()))),
        "lower" => Ok(Val::text(text(one()?)?.to_lowercase())),
        "upper" => Ok(Val::text(text(one()?)?.to_uppercase())),
        "title" => Ok(Val::text(title(text(one()?)?))),
        "html" => Ok(Val::text(escape(&print(arguments)))),
        "urlquery" => Ok(Val::text(percent(&print(arguments)))),
        "print" => Ok(Val::text(print(arguments))),
        "println" => {
            let words: Vec<String> = arguments.iter().map(Val::show).collect();
            Ok(Val::text(words.join(" ") + "\n"))
        }
        "printf" => match arguments.split_first() {
            Some((format, rest)) => Ok(Val::text(printf(text(format)?, rest))),
            None => Err(wrong("at least 1")),
        },
        "split" => match arguments {
            [whole, separator] => Ok(Val::Json(split(text(whole)?, text(separator)?))),
            _ => Err(wrong("2")),
        },
        "join" => match arguments {
            [items, separator] => join(items, text(separator)?),
            _ => Err(wrong("2")),
        },
        "pad" => match arguments {
            [whole, before, after] => {
                let (before, after) = (integer(before)?, integer(after)?);
                let whole = text(whole)?;
                if whole.is_empty() {
                    return Ok(Val::text(""));
                }
                Ok(Val::text(format!(
                    "{}{whole}{}",
                    " ".repeat(before),
                    " ".repeat(after)
                )))
            }
            _ => Err(wrong("3")),
        },
        "truncate" => match arguments {
            [whole, length] => {
                let length = integer(length)?;
                Ok(Val::text(text(whole)?.chars().take(length).collect::<String>()))
            }
            _ => Err(wrong("2")),
        },
        "index" => match arguments.split_first() {
            Some((item, indices)) => indices.iter().try_fold(item.clone(), |item, at| index(&item, at)),
            None => Err(wrong("at least 1")),
        },
        "slice" => slice(arguments),
        "eq" => match arguments.split_first() {
            Some((first, rest)) if !rest.is_empty() => {
                for other in rest {
                    if equal(first, other)? {
                        return Ok(Val::bool(true));
                    }
                }
                Ok(Val::bool(false))
            }
            _ => Err("missing argument for comparison".into()),
        },
        _ => match arguments {
            [one, other] => Ok(Val::bool(match name {
                "ne" => !equal(one, other)?,
                "lt" => compare(one, other)? == Ordering::Less,
                "le" => compare(one, other)? != Ordering::Greater,
                "gt" => compare(one, other)? == Ordering::Greater,
                _ => compare(one, other)? != Ordering::Less,
            })),
            _ => Err(wrong("2")),
        },
    }
}

fn text(value: &Val) -> Result<&str, String> {
    match value {
        Val::Json(Value::String(text)) => Ok(text),
        other => Err(format!(
            "wrong type for value; expected string; got {}",
            kind(other)
        )),
    }
}

fn integer(value: &Val) -> Result<usize, String> {
    match value {
        Val::Json(Value::Number(number)) => number
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            // Padding and truncation are columns of a terminal; nobody means a billion of them.
            .filter(|number| *number <= 1 << 16)
            .ok_or_else(|| format!("value {number} is out of range")),
        other => Err(format!("wrong type for value; expected int; got {}", kind(other))),
    }
}

/// Go's name for a value's type.
pub(super) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Missing | Val::Json(Value::Null) => "<nil>",
        Val::Json(Value::Bool(_)) => "bool",
        Val::Json(Value::Number(number)) if number.is_f64() => "float64",
        Val::Json(Value::Number(_)) => "int",
        Val::Json(Value::String(_)) => "string",
        Val::Json(Value::Array(_)) => "[]interface {}",
        Val::Json(Value::Object(_)) => "map[string]interface {}",
    }
}

fn length(value: &Val) -> Result<Val, String> {
    let length = match value {
        Val::Json(Value::String(text)) => text.len(),
        Val::Json(Value::Array(items)) => items.len(),
        Val::Json(Value::Object(map)) => map.len(),
        Val::Json(Value::Null) => 0,
        Val::Missing => return Err("error calling len: len of nil pointer".into()),
        other @ Val::Json(_) => return Err(format!("error calling len: len of type {}", kind(other))),
    };
    Ok(Val::Json(length.into()))
}

fn index(item: &Val, at: &Val) -> Result<Val, String> {
    match (item, at) {
        (Val::Json(Value::Object(map)), Val::Json(Value::String(key))) => Ok(map
            .get(key)
            .map_or(Val::Missing, |value| Val::Json(value.clone()))),
        (Val::Json(Value::Array(items)), Val::Json(Value::Number(number))) => {
            let found = number
                .as_u64()
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| items.get(at));
            match found {
                Some(value) => Ok(Val::Json(value.clone())),
                None => Err(format!("error calling index: index out of range: {number}")),
            }
        }
        (Val::Missing | Val::Json(Value::Null), _) => Err("error calling index: index of untyped nil".into()),
        (Val::Json(Value::Array(_)), other) => Err(format!(
            "error calling index: cannot index slice/array with type {}",
            kind(other)
        )),
        (Val::Json(Value::Object(_)), other) => Err(format!(
            "error calling index: value has type {}; should be string",
            kind(other)
        )),
        (other, _) => Err(format!(
            "error calling index: can't index item of type {}",
            kind(other)
        )),
    }
}

fn slice(arguments: &[Val]) -> Result<Val, String> {
    let Some((item, bounds)) = arguments.split_first() else {
        return Err("wrong number of args for slice: want at least 1 got 0".into());
    };
    let bounds = bounds.iter().map(integer).collect::<Result<Vec<_>, _>>()?;
    let range = |length: usize| {
        let from = bounds.first().copied().unwrap_or(0);
        let to = bounds.get(1).copied().unwrap_or(length);
        if to > length {
            return Err(format!("error calling slice: index out of range: {to}"));
        }
        if from > to {
            return Err(format!("error calling slice: invalid slice index: {from} > {to}"));
        }
        Ok(from..to)
    };
    match item {
        Val::Json(Value::String(text)) => {
            let part = text.get(range(text.len())?);
            Ok(Val::text(part.ok_or("error calling slice: not at a character")?))
        }
        Val::Json(Value::Array(items)) => Ok(Val::Json(items[range(items.len())?].to_vec().into())),
        other => Err(format!(
            "error calling slice: can't slice item of type {}",
            kind(other)
        )),
    }
}

fn equal(one: &Val, other: &Val) -> Result<bool, String> {
    match (one, other) {
        (Val::Json(Value::Number(one)), Val::Json(Value::Number(other))) => {
            Ok(one.as_f64() == other.as_f64())
        }
        (Val::Json(Value::Array(_) | Value::Object(_)), _)
        | (_, Val::Json(Value::Array(_) | Value::Object(_))) => {
            Err("error calling eq: non-comparable type".into())
        }
        (Val::Missing | Val::Json(Value::Null), _) | (_, Val::Missing | Val::Json(Value::Null)) => {
            Ok(one.json() == other.json())
        }
        _ if kind(one) != kind(other) => Err("error calling eq: incompatible types for comparison".into()),
        _ => Ok(one == other),
    }
}

fn compare(one: &Val, other: &Val) -> Result<Ordering, String> {
    match (one, other) {
        (Val::Json(Value::Number(one)), Val::Json(Value::Number(other))) => {
            let order = one.as_f64().partial_cmp(&other.as_f64());
            order.ok_or_else(|| "invalid type for comparison".into())
        }
        (Val::Json(Value::String(one)), Val::Json(Value::String(other))) => Ok(one.cmp(other)),
        _ => Err("incompatible types for comparison".into()),
    }
}

fn title(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            result.extend(c.to_uppercase());
        } else {
            result.push(c);
        }
        starts = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    result
}

fn split(whole: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return whole.chars().map(|c| Value::from(c.to_string())).collect();
    }
    whole.split(separator).map(Value::from).collect()
}

fn join(items: &Val, separator: &str) -> Result<Val, String> {
    match items {
        Val::Json(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(show).collect();
            Ok(Val::text(items.join(separator)))
        }
        Val::Json(Value::Null) | Val::Missing => Ok(Val::text("")),
        other @ Val::Json(_) => Err(format!(
            "wrong type for value; expected []string; got {}",
            kind(other)
        )),
    }
}

/// Go's `Sprint`: a space between two operands when neither is a string.
fn print(arguments: &[Val]) -> String {
    let mut result = String::new();
    let is_text = |value: &Val| matches!(value, Val::Json(Value::String(_)));
    for (at, value) in arguments.iter().enumerate() {
        if at > 0 && !is_text(value) && !is_text(&arguments[at - 1]) {
            result.push(' ');
        }
        result.push_str(&value.show());
    }
    result
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

fn percent(text: &str) -> String {
    let mut result = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                result.push(char::from(byte));
            }
            b' ' => result.push('+'),
            _ => result.extend([format!("%{byte:02X}")]),
        }
    }
    result
}

/// Go's `Sprintf` for the verbs that templates use, with flags `-`, `0`, `+`, width and precision.
fn printf(format: &str, arguments: &[Val]) -> String {
    let mut result = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            result.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| "-+#0 ".contains(*c)) {
            flags.push(flag);
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().ok().map(|number| number.min(1 << 16))
        };
        let width = number(&mut chars).unwrap_or(0);
        let precision = if chars.next_if_eq(&'.').is_some() {
            Some(number(&mut chars).unwrap_or(0))
        } else {
            None
        };
        let Some(verb) = chars.next() else {
            result.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            result.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            result.extend([format!("%!{verb}(MISSING)")]);
            continue;
        };
        let shown = verb_text(verb, argument, precision, flags.contains('+'));
        let padding = width.saturating_sub(shown.chars().count());
        if flags.contains('-') {
            result.push_str(&shown);
            result.extend(std::iter::repeat_n(' ', padding));
        } else {
            let fill = if flags.contains('0') { '0' } else { ' ' };
            result.extend(std::iter::repeat_n(fill, padding));
            result.push_str(&shown);
        }
    }
    let extra: Vec<String> = arguments
        .map(|value| format!("{}={}", kind(value), value.show()))
        .collect();
    if !extra.is_empty() {
        result.extend([format!("%!(EXTRA {})", extra.join(", "))]);
    }
    result
}

fn verb_text(verb: char, argument: &Val, precision: Option<usize>, plus: bool) -> String {
    let json = argument.json();
    match (verb, &json) {
        ('v', _) | ('s', Value::Array(_) | Value::Object(_)) => argument.show(),
        ('s', Value::String(text)) => match precision {
            Some(length) => text.chars().take(length).collect(),
            None => text.clone(),
        },
        ('q', Value::String(text)) => format!("{text:?}"),
        ('d', Value::Number(number)) if !number.is_f64() => {
            if plus && number.as_i64().is_some_and(|number| number >= 0) {
                format!("+{number}")
            } else {
                number.to_string()
            }
        }
        ('x', Value::Number(number)) => number
            .as_i64()
            .map_or_else(String::new, |number| format!("{number:x}")),
        ('x', Value::String(text)) => {
            let digits: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            digits.concat()
        }
        ('f' | 'g' | 'e', Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(0.0);
            match verb {
                'f' => format!("{number:.*}", precision.unwrap_or(6)),
                _ => number.to_string(),
            }
        }
        ('t', Value::Bool(value)) => value.to_string(),
        ('T', _) => kind(argument).to_owned(),
        _ => format!("%!{verb}({}={})", kind(argument), argument.show()),
    }
}
