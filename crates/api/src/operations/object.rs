//! A JSON object as Go's decoder reads it: names whatever their case, `null` as if it were not there, and what is not known
//! is left alone. Clients that were only ever tried with Docker depend on all three.

use crate::server::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An object whose fields are taken out one by one.
#[derive(Debug, Default)]
pub(crate) struct Object {
    fields: Map<String, Value>,
    /// Where it stands, for messages.
    place: String,
}

/// A list of words, or one word alone, as `Cmd` and `Entrypoint` may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            List(Vec<String>),
            Word(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::List(words) => words,
            Written::Word(word) => vec![word],
        }))
    }
}

fn wrong(place: &str, why: &str) -> Failure {
    Failure::bad_request(format!("invalid JSON: {place}: {why}"))
}

impl Object {
    /// Takes a document that is an object; `null` is one without fields.
    pub(crate) fn new(value: Value) -> Result<Self, Failure> {
        Self::at(value, String::new())
    }

    fn at(value: Value, place: String) -> Result<Self, Failure> {
        match value {
            Value::Null => Ok(Self {
                fields: Map::new(),
                place,
            }),
            Value::Object(fields) => Ok(Self { fields, place }),
            _ if place.is_empty() => Err(Failure::bad_request("invalid JSON: the body is no object")),
            _ => Err(wrong(&place, "it is no object")),
        }
    }

    fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    fn value(&mut self, name: &str) -> Value {
        let exact = self.fields.remove(name);
        let found = exact.or_else(|| {
            let key = self.fields.keys().find(|key| key.eq_ignore_ascii_case(name));
            let key = key.cloned()?;
            self.fields.remove(&key)
        });
        found.unwrap_or_default()
    }

    /// Whether a field is there, and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
    }

    /// Whether nothing is in it (any more).
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Takes a field out, or what stands for nothing.
    pub(crate) fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, Failure> {
        match self.value(name) {
            Value::Null => Ok(T::default()),
            value => {
                serde_json::from_value(value).map_err(|error| wrong(&self.place_of(name), &error.to_string()))
            }
        }
    }

    /// Takes out a text that says something.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let text: String = self.take(name)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Takes out a number that says something: Docker's clients write 0 for what was not asked for.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<i64>, Failure> {
        let number: i64 = self.take(name)?;
        Ok(Some(number).filter(|number| *number != 0))
    }

    /// Takes out a number that says something and is not negative.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(number) = self.number(name)? else {
            return Ok(None);
        };
        u64::try_from(number).map(Some).map_err(|_negative| {
            Failure::bad_request(format!("invalid {name}: {number}: it cannot be negative"))
        })
    }

    /// Takes out an object; one without fields if there is none.
    pub(crate) fn object(&mut self, name: &str) -> Result<Self, Failure> {
        Self::at(self.value(name), self.place_of(name))
    }

    /// Takes out a list of objects.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, Failure> {
        let place = self.place_of(name);
        let values: Vec<Value> = self.take(name)?;
        let objects = values.into_iter().map(|value| Self::at(value, place.clone()));
        objects.collect()
    }

    /// Takes out a map whose values are objects.
    pub(crate) fn map(&mut self, name: &str) -> Result<BTreeMap<String, Self>, Failure> {
        let place = self.place_of(name);
        let values: BTreeMap<String, Value> = self.take(name)?;
        let objects = values.into_iter().map(|(key, value)| {
            let object = Self::at(value, format!("{place}.{key}"))?;
            Ok((key, object))
        });
        objects.collect()
    }

    /// Takes out a map of which only the keys say something.
    pub(crate) fn keys(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let values: BTreeMap<String, Value> = self.take(name)?;
        Ok(values.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_gos() {
        let mut object = Object::new(json!({
            "image": "a", "CMD": "ls", "Env": null, "Size": 0, "Memory": -1, "Host": {"Dns": ["x"], "Shm": "y"},
            "Ports": {"80/tcp": {}},
        }))
        .unwrap();
        assert!(object.has("Image") && !object.has("Env") && !object.has("Nothing"));
        assert_eq!(object.text("Image").unwrap().as_deref(), Some("a"));
        assert_eq!(object.take::<Words>("Cmd").unwrap(), Words(vec!["ls".into()]));
        assert_eq!(object.take::<Vec<String>>("Env").unwrap(), [""; 0]);
        assert_eq!(object.number("Size").unwrap(), None);
        assert_eq!(
            object.count("Memory").unwrap_err().message,
            "invalid Memory: -1: it cannot be negative"
        );
        assert_eq!(object.keys("Ports").unwrap(), ["80/tcp"]);
        let mut host = object.object("Host").unwrap();
        assert_eq!(host.take::<Vec<String>>("Dns").unwrap(), ["x"]);
        let error = host.number("Shm").unwrap_err();
        assert!(
            error.message.starts_with("invalid JSON: Host.Shm: "),
            "{}",
            error.message
        );
        assert!(host.is_empty() && object.is_empty());
        assert!(Object::new(json!([1])).is_err());
        assert!(Object::new(Value::Null).unwrap().is_empty());
    }
}
