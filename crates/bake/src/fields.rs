//! The attributes of targets and groups, and what form their values have.

use crate::blocks::Kind;
use crate::value::Value;
use std::collections::BTreeMap;

/// The form of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Bool,
    Texts,
    TextMap,
    /// Lines or objects.
    Entries,
    /// What was needed to know which targets there are.
    Done,
}

const TARGET: &[(&str, Form)] = &[
    ("annotations", Form::Texts),
    ("args", Form::TextMap),
    ("attest", Form::Entries),
    ("cache-from", Form::Entries),
    ("cache-to", Form::Entries),
    ("call", Form::Text),
    ("context", Form::Text),
    ("contexts", Form::TextMap),
    ("description", Form::Text),
    ("dockerfile", Form::Text),
    ("dockerfile-inline", Form::Text),
    ("entitlements", Form::Texts),
    ("extra-hosts", Form::TextMap),
    ("inherits", Form::Texts),
    ("labels", Form::TextMap),
    ("matrix", Form::Done),
    ("name", Form::Done),
    ("network", Form::Text),
    ("no-cache", Form::Bool),
    ("no-cache-filter", Form::Texts),
    ("output", Form::Entries),
    ("platforms", Form::Texts),
    ("policy", Form::Entries),
    ("pull", Form::Bool),
    ("resources", Form::TextMap),
    ("secret", Form::Entries),
    ("shm-size", Form::Text),
    ("ssh", Form::Entries),
    ("tags", Form::Texts),
    ("target", Form::Text),
    ("ulimits", Form::Texts),
];

const GROUP: &[(&str, Form)] = &[
    ("description", Form::Text),
    ("matrix", Form::Done),
    ("name", Form::Done),
    ("targets", Form::Texts),
];

fn table(kind: Kind) -> &'static [(&'static str, Form)] {
    match kind {
        Kind::Group => GROUP,
        Kind::Target => TARGET,
    }
}

/// Returns the names of the attributes.
pub(crate) fn known(kind: Kind) -> Vec<&'static str> {
    table(kind).iter().map(|(name, _)| *name).collect()
}

/// What to call an attribute in a message.
pub(crate) fn attribute_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Group => "attribute of a group",
        Kind::Target => "attribute of a target",
    }
}

/// Brings a value into the form of an attribute.
pub(crate) fn coerce(kind: Kind, name: &str, value: Value) -> Result<Value, String> {
    let form = table(kind).iter().find(|(known, _)| *known == name);
    let form = form.map_or(Form::Done, |(_, form)| *form);
    let wrong = |wanted: &str, value: &Value| Err(format!("{name} is {wanted}, not {}", value.kind()));
    let text = |what: &str, value: Value| match value.text() {
        Some(text) => Ok(text),
        None => Err(format!("{what} of {name} is a string, not {}", value.kind())),
    };
    match (form, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Form::Text, value) => match value.text() {
            Some(text) => Ok(Value::Text(text)),
            None => wrong("a string", &value),
        },
        (Form::Bool, value) => match value.bool() {
            Some(value) => Ok(Value::Bool(value)),
            None => wrong("true or false", &value),
        },
        (Form::Texts, Value::List(values) | Value::Set(values)) => {
            let texts = values
                .into_iter()
                .map(|value| text("an element", value).map(Value::Text));
            Ok(Value::List(texts.collect::<Result<_, _>>()?))
        }
        (Form::Texts, value) => wrong("a list of strings", &value),
        (Form::TextMap, Value::Map(fields)) => {
            let mut texts = BTreeMap::new();
            for (key, value) in fields {
                let value = match value {
                    Value::Null => Value::Null,
                    value => Value::Text(text(&format!("\"{key}\""), value)?),
                };
                texts.insert(key, value);
            }
            Ok(Value::Map(texts))
        }
        (Form::TextMap, value) => wrong("an object of strings", &value),
        (Form::Done, value) | (Form::Entries, value @ (Value::List(_) | Value::Set(_))) => Ok(value),
        (Form::Entries, value) => wrong("a list", &value),
    }
}
