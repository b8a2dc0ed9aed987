//! `--filter key=value`.

use super::{Invalid, invalid};

/// Reads a filter. `label!=a` keeps its `!` with the key.
pub(crate) fn parse(text: &str) -> Result<(String, String), Invalid> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned())),
        None => invalid("bad format of filter (expected name=value)"),
    }
}

/// Refuses filters that a command does not know, in Docker's words.
pub(crate) fn check(filters: &[(String, String)], known: &[&str]) -> Result<(), Invalid> {
    match filters.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => invalid(format!("invalid filter '{key}'")),
        None => Ok(()),
    }
}

/// Says whether labels satisfy a `label` filter's value: a name, or `name=value`.
pub(crate) fn label_matches(labels: &std::collections::BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(parse("label=a=b").unwrap(), ("label".into(), "a=b".into()));
        assert_eq!(parse("label!=a").unwrap(), ("label!".into(), "a".into()));
        assert_eq!(
            parse("foo").unwrap_err().0,
            "bad format of filter (expected name=value)"
        );
        assert_eq!(
            check(&[("x".into(), "y".into())], &["label"]).unwrap_err().0,
            "invalid filter 'x'"
        );
        let labels = [("a".to_owned(), "b".to_owned())].into();
        assert!(
            label_matches(&labels, "a") && label_matches(&labels, "a=b") && !label_matches(&labels, "a=c")
        );
    }
}
