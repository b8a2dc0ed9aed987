//! What stands behind the question mark.

use super::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request's query parameters, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            url::form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Returns the first value of a parameter, `None` if it is not there or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let wanted = self.0.iter().filter(move |(key, _)| key == name);
        wanted.map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on. Docker counts all as on but nothing, `0`, `no`, `false` and `none`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_on)
    }

    /// The same for a switch that is on unless it is turned off.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, is_on)
    }

    /// Returns a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Failure> {
        let parsed = self.get(name).map(|text| {
            text.parse().map_err(|_not_a_number| {
                Failure::bad_request(format!("invalid value for '{name}': '{text}' is no number"))
            })
        });
        parsed.transpose()
    }

    /// Returns the filters. Clients write them in two ways: `{"label": ["a", "b"]}` and `{"label": {"a": true}}`.
    pub(crate) fn filters(&self) -> Result<Vec<(String, String)>, Failure> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Set(BTreeMap<String, bool>),
        }
        let Some(text) = self.get("filters") else {
            return Ok(Vec::new());
        };
        let parsed: Option<BTreeMap<String, Values>> = serde_json::from_str(text).map_err(|error| {
            Failure::bad_request(format!(
                "invalid filter: '{text}' is neither a map of lists nor of sets: {error}"
            ))
        })?;
        let mut filters = Vec::new();
        for (key, values) in parsed.unwrap_or_default() {
            match values {
                Values::List(values) => filters.extend(values.into_iter().map(|value| (key.clone(), value))),
                Values::Set(values) => filters.extend(
                    values
                        .into_iter()
                        .filter(|(_, on)| *on)
                        .map(|(value, _)| (key.clone(), value)),
                ),
            }
        }
        Ok(filters)
    }
}

fn is_on(value: &str) -> bool {
    !matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_dockers() {
        let query = Query::parse("a=1&b=0&c=&d=none&e=yes&f=False&n=12&s=a%20b");
        let on: Vec<bool> = ["a", "b", "c", "d", "e", "f", "g"]
            .iter()
            .map(|name| query.flag(name))
            .collect();
        assert_eq!(on, [true, false, false, false, true, false, false]);
        assert!(query.flag_or("g", true) && !query.flag_or("b", true));
        assert_eq!(query.number::<u32>("n").unwrap(), Some(12));
        assert_eq!(query.number::<u32>("c").unwrap(), None);
        assert!(query.number::<u32>("s").is_err());
        assert_eq!(query.get("s"), Some("a b"));
    }

    #[test]
    fn filters_have_two_spellings() {
        let filters = |text: &str| {
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("filters", text)
                .finish();
            Query::parse(&query).filters()
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            filters(r#"{"label":["a","b=c"],"id":["x"]}"#).unwrap(),
            [pair("id", "x"), pair("label", "a"), pair("label", "b=c")]
        );
        assert_eq!(
            filters(r#"{"label":{"a":true,"b":false}}"#).unwrap(),
            [pair("label", "a")]
        );
        assert_eq!(filters("null").unwrap(), []);
        assert!(filters("[1]").is_err());
        assert!(filters("{").is_err());
    }
}
