//! From a method and a path to an operation.

use super::{Exchange, Failure, Reply};

/// The methods that Docker's API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Delete,
    Get,
    Head,
    Post,
    Put,
}

impl Method {
    pub(super) fn of(method: &hyper::Method) -> Option<Self> {
        Some(match *method {
            hyper::Method::DELETE => Self::Delete,
            hyper::Method::GET => Self::Get,
            hyper::Method::HEAD => Self::Head,
            hyper::Method::POST => Self::Post,
            hyper::Method::PUT => Self::Put,
            _ => return None,
        })
    }
}

/// An operation.
pub(crate) type Operation = fn(&mut Exchange) -> Result<Reply, Failure>;

/// A row of the table of operations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The method.
    pub method: Method,
    /// `/containers/{id}/json`. `{name}` stands for one part of the path, `{*name}` for one or more: images' names have
    /// slashes.
    pub pattern: &'static str,
    /// What does it, on a thread where it may block.
    pub operation: Operation,
}

/// Parts of a path by the names of their places.
pub(crate) type Parameters = Vec<(&'static str, String)>;

/// Finds the operation of a path that is still percent-encoded. Earlier rows win.
pub(super) fn find<'t>(
    tables: impl IntoIterator<Item = &'t [Route]>,
    method: Method,
    path: &str,
) -> Option<(&'t Route, Parameters)> {
    tables
        .into_iter()
        .flatten()
        .filter(|route| route.method == method)
        .find_map(|route| fit(route.pattern, path).map(|parameters| (route, parameters)))
}

fn fit(pattern: &'static str, path: &str) -> Option<Parameters> {
    let pattern: Vec<&'static str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    let mut parameters = Vec::new();
    let mut rest = path.as_slice();
    for (index, place) in pattern.iter().enumerate() {
        if let Some(name) = place.strip_prefix("{*").and_then(|name| name.strip_suffix('}')) {
            // All that the places behind it leave over.
            let take = rest.len().checked_sub(pattern.len() - index - 1)?;
            if take == 0 {
                return None;
            }
            let (taken, left) = rest.split_at(take);
            parameters.push((name, decode(&taken.join("/"))?));
            rest = left;
            continue;
        }
        let (first, left) = rest.split_first()?;
        rest = left;
        if let Some(name) = place.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            if first.is_empty() {
                return None;
            }
            parameters.push((name, decode(first)?));
        } else if place != first {
            return None;
        }
    }
    rest.is_empty().then_some(parameters)
}

/// Decodes `%2F` and its like; `None` if that is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_patterns() {
        let fit = |pattern, path: &str| {
            let found = fit(pattern, path)?;
            Some(
                found
                    .into_iter()
                    .map(|(_, value)| value)
                    .collect::<Vec<_>>()
                    .join("|"),
            )
        };
        let cases: &[(&'static str, &str, Option<&str>)] = &[
            ("/info", "/info", Some("")),
            ("/info", "/info/", None),
            ("/info", "/infos", None),
            ("/containers/{id}/json", "/containers/a1/json", Some("a1")),
            ("/containers/{id}/json", "/containers//json", None),
            ("/containers/{id}/json", "/containers/a/b/json", None),
            ("/images/{*name}/json", "/images/a/b/c:1/json", Some("a/b/c:1")),
            ("/images/{*name}/json", "/images/json", None),
            ("/images/{*name}/json", "/images/json/json", Some("json")),
            ("/images/{*name}", "/images/a%2Fb@sha256:1", Some("a/b@sha256:1")),
            ("/containers/{id}", "/containers/a%zz", None),
            ("/containers/{id}", "/containers/a%ff", None),
            ("/containers/{id}", "/containers/%", None),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(fit(pattern, path).as_deref(), *expected, "{pattern} {path}");
        }
    }
}
