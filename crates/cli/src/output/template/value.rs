//! Values in a template, and how Go prints them.

use serde_json::Value;

/// What an operand comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val {
    Json(Value),
    /// A key that a map does not have: `<no value>`.
    Missing,
}

impl Val {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Json(Value::String(text.into()))
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::Json(Value::Bool(value))
    }

    /// Go's truth: not zero, not empty.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Missing | Self::Json(Value::Null) => false,
            Self::Json(Value::Bool(value)) => *value,
            Self::Json(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
            Self::Json(Value::String(text)) => !text.is_empty(),
            Self::Json(Value::Array(items)) => !items.is_empty(),
            Self::Json(Value::Object(map)) => !map.is_empty(),
        }
    }

    /// Go's `%v`.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Missing => "<no value>".into(),
            Self::Json(value) => show(value),
        }
    }

    /// The value as JSON has it.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Missing => Value::Null,
            Self::Json(value) => value.clone(),
        }
    }
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let items: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", show(value)))
                .collect();
            format!("map[{}]", items.join(" "))
        }
    }
}
