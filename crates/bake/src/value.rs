//! Values of expressions.

use serde_json::{Map, Value as Json};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What an expression gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    /// Sorted, and each value once.
    Set(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

/// A number: whole as long as that is exact. A whole one is always `Whole`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Whole(i128),
    Real(f64),
}

/// Above this a float has no fractions, and whole numbers have gaps.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// Takes a float as it is, or as a whole number if it is one.
    pub(crate) fn real(value: f64) -> Self {
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            return Self::Whole(value as i128);
        }
        Self::Real(value)
    }

    /// Reads one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        let is_number = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let value: f64 = text.parse().ok().filter(|_| is_number)?;
        value.is_finite().then(|| Self::real(value))
    }

    pub(crate) fn as_f64(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "what a float is for")]
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    /// Returns it if it is whole.
    pub(crate) fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Real(_) => None,
        }
    }

    /// Returns it if it is whole and not negative.
    pub(crate) fn index(self) -> Option<usize> {
        self.whole().and_then(|value| usize::try_from(value).ok())
    }

    /// Calculates with whole numbers where both are and the result fits, else with floats.
    pub(crate) fn with(
        self,
        other: Self,
        whole: impl Fn(i128, i128) -> Option<i128>,
        real: impl Fn(f64, f64) -> f64,
    ) -> Self {
        if let (Self::Whole(left), Self::Whole(right)) = (self, other)
            && let Some(result) = whole(left, right)
        {
            return Self::Whole(result);
        }
        Self::real(real(self.as_f64(), other.as_f64()))
    }

    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => left.cmp(&right),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }

    fn to_json(self) -> Json {
        match self {
            Self::Whole(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => self.as_f64().into(),
            },
            Self::Real(value) => value.into(),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.compare(*other) == Ordering::Equal
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(Number::Whole(i128::try_from(number).unwrap_or(i128::MAX)))
    }
}

impl Value {
    /// Makes a set of what comes.
    pub(crate) fn set(mut values: Vec<Self>) -> Self {
        values.sort_by(Self::order);
        values.dedup();
        Self::Set(values)
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "an object",
        }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(value) => Some(value.to_string()),
            Self::Null | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// Returns the number that it is or spells.
    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Text(text) => Number::parse(text),
            _ => None,
        }
    }

    /// Returns the truth value that it is or spells.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the elements of a list or a set.
    pub(crate) fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) | Self::Set(values) => Some(values),
            _ => None,
        }
    }

    /// An order of all values, for sets.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Set(_) => 5,
            Self::Map(_) => 6,
        };
        let sequences = |left: &[Self], right: &[Self]| {
            let first = left.iter().zip(right).map(|(left, right)| left.order(right));
            first
                .into_iter()
                .find(|order| order.is_ne())
                .unwrap_or_else(|| left.len().cmp(&right.len()))
        };
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.compare(*right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::List(left), Self::List(right)) | (Self::Set(left), Self::Set(right)) => {
                sequences(left, right)
            }
            (Self::Map(left), Self::Map(right)) => left.keys().cmp(right.keys()).then_with(|| {
                let mut pairs = left.values().zip(right.values());
                pairs
                    .find_map(|(left, right)| Some(left.order(right)).filter(|order| order.is_ne()))
                    .unwrap_or(Ordering::Equal)
            }),
            _ => rank(self).cmp(&rank(other)),
        }
    }

    /// Writes it as JSON.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(value) => value.to_json(),
            Self::Text(text) => text.as_str().into(),
            Self::List(values) | Self::Set(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(values) => {
                let fields: Map<String, Json> = values
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_json()))
                    .collect();
                Json::Object(fields)
            }
        }
    }

    /// Reads it from JSON.
    pub(crate) fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Number(match (value.as_i64(), value.as_u64()) {
                (Some(value), _) => Number::Whole(value.into()),
                (_, Some(value)) => Number::Whole(value.into()),
                _ => Number::real(value.as_f64().unwrap_or_default()),
            }),
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(values) => Self::List(values.iter().map(Self::from_json).collect()),
            Json::Object(values) => Self::Map(
                values
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::from_json(value)))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_where_they_can_be() {
        for (text, expected) in [
            ("12345678901234567890", "12345678901234567890"),
            ("1.50", "1.5"),
            ("2.0", "2"),
            ("-7", "-7"),
            ("1e3", "1000"),
        ] {
            assert_eq!(Number::parse(text).unwrap().to_string(), expected);
        }
        for text in ["", "NaN", "inf", "1x", "0x10"] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
        let third = Number::Whole(1).with(Number::Whole(3), |_, _| None, |a, b| a / b);
        assert!(third.to_string().starts_with("0.333"));
    }

    #[test]
    fn sets_are_sorted_and_have_each_value_once() {
        let set = Value::set(vec!["b".into(), "a".into(), "b".into(), 1.into()]);
        assert_eq!(set, Value::Set(vec![1.into(), "a".into(), "b".into()]));
    }
}
