//! Filters as BuildKit's clients write them: `type==exec.cachemount,inuse`, `id~=ab`, `status!=error`.

use super::SolveError;
use regex_lite::Regex;

/// What is wanted: one of these lists, all of it.
#[derive(Debug, Default)]
pub(crate) struct Filters(Vec<Vec<Selector>>);

#[derive(Debug)]
struct Selector {
    field: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    /// It is there, or true.
    Holds,
}

impl Filters {
    /// Understands filters on fields that are known.
    pub(crate) fn parse<S: AsRef<str>>(written: &[S], known: &[&str]) -> Result<Self, SolveError> {
        let alternatives = written
            .iter()
            .map(|filter| {
                let parts = filter.as_ref().split(',').filter(|part| !part.is_empty());
                parts.map(|part| Selector::parse(part, known)).collect()
            })
            .collect::<Result<Vec<Vec<Selector>>, SolveError>>()?;
        Ok(Self(
            alternatives.into_iter().filter(|all| !all.is_empty()).collect(),
        ))
    }

    /// Says whether everything passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether something passes whose fields `value` tells; what is true or false is told so.
    pub(crate) fn accept(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        let passes = |selector: &Selector| {
            let value = value(&selector.field);
            match &selector.test {
                Test::Is(wanted) => value.as_ref() == Some(wanted),
                Test::IsNot(unwanted) => value.as_ref() != Some(unwanted),
                Test::Matches(pattern) => value.is_some_and(|value| pattern.is_match(&value)),
                Test::Holds => value.is_some_and(|value| !value.is_empty() && value != "false"),
            }
        };
        self.is_empty() || self.0.iter().any(|all| all.iter().all(passes))
    }
}

impl Selector {
    fn parse(text: &str, known: &[&str]) -> Result<Self, SolveError> {
        let end = text.find(['=', '!', '~', '<', '>']).unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        if !known.contains(&field) {
            return Err(SolveError::Invalid(format!(
                "there is no filter '{field}': write one of {}",
                known.join(", ")
            )));
        }
        let plain = |value: &str| value.trim_matches('"').to_owned();
        let test = if rest.is_empty() {
            Test::Holds
        } else if let Some(value) = rest.strip_prefix("==") {
            Test::Is(plain(value))
        } else if let Some(value) = rest.strip_prefix("!=") {
            Test::IsNot(plain(value))
        } else if let Some(value) = rest.strip_prefix("~=") {
            let pattern = Regex::new(&plain(value)).map_err(|error| {
                SolveError::Invalid(format!("the filter {text} is no regular expression: {error}"))
            })?;
            Test::Matches(pattern)
        } else {
            return Err(SolveError::Invalid(format!(
                "the filter {text} cannot be understood: write {field}==VALUE, {field}!=VALUE or {field}~=PATTERN"
            )));
        };
        Ok(Self {
            field: field.to_owned(),
            test,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose() {
        let value = |field: &str| match field {
            "type" => Some("regular".to_owned()),
            "id" => Some("abc".to_owned()),
            "shared" => Some("false".to_owned()),
            "inuse" => Some("true".to_owned()),
            _ => None,
        };
        let known = ["type", "id", "shared", "inuse", "parents"];
        for (written, expected) in [
            (&[][..], true),
            (&[""], true),
            (&["type==regular"], true),
            (&["type==\"regular\""], true),
            (&["type!=regular"], false),
            (&["id~=^ab", "type==x"], true),
            (&["id~=b$"], false),
            (&["type==regular,shared"], false),
            (&["type==regular,inuse"], true),
            (&["parents"], false),
            (&["shared==false"], true),
        ] {
            let filters = Filters::parse(written, &known).unwrap();
            assert_eq!(filters.accept(value), expected, "{written:?}");
        }
        for wrong in ["nosuch==1", "id<3", "id=a", "id~=("] {
            assert!(Filters::parse(&[wrong], &known).is_err(), "{wrong}");
        }
    }
}
