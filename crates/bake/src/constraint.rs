//! Types of variables.

use crate::csv;
use crate::value::{Number, Value};
use hcl_edit::expr::{Expression, ObjectKey};
use std::collections::BTreeMap;

/// A type that values can be brought into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constraint {
    Any,
    Text,
    Number,
    Bool,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// Reads a type: a word, or a word with types in parentheses.
pub(crate) fn read(expression: &Expression) -> Result<Constraint, String> {
    match expression {
        Expression::Parenthesis(inner) => read(inner.inner()),
        Expression::Variable(name) => match name.as_str() {
            "any" => Ok(Constraint::Any),
            "string" => Ok(Constraint::Text),
            "number" => Ok(Constraint::Number),
            "bool" => Ok(Constraint::Bool),
            other @ ("list" | "set" | "map" | "tuple" | "object") => Err(format!(
                "the type {other} needs that of its elements, as in {}",
                match other {
                    "tuple" => "tuple([string, number])".to_owned(),
                    "object" => "object({name = string})".to_owned(),
                    other => format!("{other}(string)"),
                }
            )),
            other => Err(format!(
                "there is no type {other}: use string, number, bool, list(…), set(…), map(…), tuple([…]) or object({{…}})"
            )),
        },
        Expression::FuncCall(call) => {
            let name = call.name.name.as_str();
            let Some(of) = call.args.get(0).filter(|_| call.args.len() == 1) else {
                return Err(format!("the type {name} takes one argument"));
            };
            match (name, of) {
                ("list", of) => Ok(Constraint::List(Box::new(read(of)?))),
                ("set", of) => Ok(Constraint::Set(Box::new(read(of)?))),
                ("map", of) => Ok(Constraint::Map(Box::new(read(of)?))),
                ("tuple", Expression::Array(items)) => Ok(Constraint::Tuple(
                    items.iter().map(read).collect::<Result<_, _>>()?,
                )),
                ("tuple", _) => {
                    Err("the type tuple takes a list of types: tuple([string, number])".to_owned())
                }
                ("object", Expression::Object(object)) => {
                    let mut fields = BTreeMap::new();
                    for (key, value) in object {
                        let name = match key {
                            ObjectKey::Ident(name) => name.as_str().to_owned(),
                            ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                            ObjectKey::Expression(_) => {
                                return Err("the names of an object's type are words".to_owned());
                            }
                        };
                        fields.insert(name, read(value.expr())?);
                    }
                    Ok(Constraint::Object(fields))
                }
                ("object", _) => {
                    Err("the type object takes names and types: object({name = string})".to_owned())
                }
                (other, _) => Err(format!("there is no type {other}(…)")),
            }
        }
        _ => Err("a type is written without quotes: string, number, bool, list(string), …".to_owned()),
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Text => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(of) => write!(f, "list of {of}"),
            Self::Set(of) => write!(f, "set of {of}"),
            Self::Map(of) => write!(f, "map of {of}"),
            Self::Tuple(_) => f.write_str("tuple"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

impl Constraint {
    /// Brings a value into the type.
    pub(crate) fn convert(&self, value: Value) -> Result<Value, String> {
        let wrong = |value: &Value| format!("{self} expected, not {}", value.kind());
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (_, Value::Null) => Ok(Value::Null),
            (Self::Text, value) => value.text().map(Value::Text).ok_or_else(|| wrong(&value)),
            (Self::Number, value) => value.number().map(Value::Number).ok_or_else(|| wrong(&value)),
            (Self::Bool, value) => value.bool().map(Value::Bool).ok_or_else(|| wrong(&value)),
            (Self::List(of), Value::List(values) | Value::Set(values)) => Ok(Value::List(all(of, values)?)),
            (Self::Set(of), Value::List(values) | Value::Set(values)) => Ok(Value::set(all(of, values)?)),
            (Self::Map(of), Value::Map(fields)) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = of.convert(value).map_err(|why| format!("{name}: {why}"))?;
                    Ok((name, value))
                });
                Ok(Value::Map(fields.collect::<Result<_, String>>()?))
            }
            (Self::Tuple(types), Value::List(values)) => {
                if types.len() != values.len() {
                    return Err(format!(
                        "a tuple of {} elements expected, not of {}",
                        types.len(),
                        values.len()
                    ));
                }
                let values = types.iter().zip(values).map(|(of, value)| of.convert(value));
                Ok(Value::List(values.collect::<Result<_, _>>()?))
            }
            (Self::Object(types), Value::Map(mut fields)) => {
                let mut converted = BTreeMap::new();
                for (name, of) in types {
                    let Some(value) = fields.remove(name) else {
                        return Err(format!("the object lacks the attribute \"{name}\""));
                    };
                    let value = of.convert(value).map_err(|why| format!("{name}: {why}"))?;
                    converted.insert(name.clone(), value);
                }
                Ok(Value::Map(converted))
            }
            (_, value) => Err(wrong(&value)),
        }
    }

    /// Reads a value from the environment's form: a scalar as it is, a collection as a line of fields.
    pub(crate) fn read_text(&self, text: &str) -> Result<Value, String> {
        let scalars = |of: &Self, fields: Vec<String>| -> Result<Vec<Value>, String> {
            fields.iter().map(|field| of.scalar(field)).collect()
        };
        match self {
            Self::Any => Ok(Value::Text(text.to_owned())),
            Self::Text | Self::Number | Self::Bool => self.scalar(text),
            Self::List(of) => Ok(Value::List(scalars(of, csv::fields(text, ',')?)?)),
            Self::Set(of) => Ok(Value::set(scalars(of, csv::fields(text, ',')?)?)),
            Self::Tuple(types) => {
                let fields = csv::fields(text, ',')?;
                if fields.len() != types.len() {
                    return Err(format!(
                        "the tuple has {} elements, and {} were given",
                        types.len(),
                        fields.len()
                    ));
                }
                let values = types.iter().zip(&fields).map(|(of, field)| of.scalar(field));
                Ok(Value::List(values.collect::<Result<_, _>>()?))
            }
            Self::Map(of) => {
                let mut values = BTreeMap::new();
                for field in csv::fields(text, ',')? {
                    let parts = csv::fields(&field, ':')?;
                    let [name, value] = &parts[..] else {
                        return Err(format!("KEY:VALUE expected, not {field:?}"));
                    };
                    values.insert(name.clone(), of.scalar(value)?);
                }
                Ok(Value::Map(values))
            }
            Self::Object(_) => {
                Err("an object cannot be given like this: set NAME_JSON to its JSON".to_owned())
            }
        }
    }

    fn scalar(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text | Self::Any => Ok(Value::Text(text.to_owned())),
            Self::Number => match Number::parse(text) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(format!("{text:?} is no number")),
            },
            // The words that Go's strconv.ParseBool takes.
            Self::Bool => match text {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
                _ => Err(format!("{text:?} is neither true nor false")),
            },
            other => Err(format!(
                "{other} cannot be an element here: set NAME_JSON to its JSON"
            )),
        }
    }

    /// Returns the type of a scalar.
    pub(crate) fn of_scalar(value: &Value) -> Option<Self> {
        match value {
            Value::Text(_) => Some(Self::Text),
            Value::Number(_) => Some(Self::Number),
            Value::Bool(_) => Some(Self::Bool),
            _ => None,
        }
    }
}

fn all(of: &Constraint, values: Vec<Value>) -> Result<Vec<Value>, String> {
    values.into_iter().map(|value| of.convert(value)).collect()
}
