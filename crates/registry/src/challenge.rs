//! `WWW-Authenticate`: the challenges that a server answers 401 with (RFC 9110 §11.6.1).

use std::collections::BTreeMap;

/// One challenge: how the server wants to be told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`, …
    pub(crate) scheme: String,
    /// Its parameters, names in lower case.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// More challenges or parameters than this no honest server sends.
const MOST: usize = 32;

/// Reads one header's challenges. What cannot be read ends the list: a half-read challenge is none.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Scanner { text: header };
    let mut challenges: Vec<Challenge> = Vec::new();
    while challenges.len() < MOST {
        rest.skip(|c| c == ',' || c == ' ' || c == '\t');
        let Some(scheme) = rest.token() else { break };
        rest.skip(|c| c == ' ' || c == '\t');
        let mut challenge = Challenge {
            scheme: scheme.to_ascii_lowercase(),
            parameters: BTreeMap::new(),
        };
        loop {
            let before = rest.text;
            rest.skip(|c| c == ',' || c == ' ' || c == '\t');
            match rest.parameter() {
                Some((name, value)) if challenge.parameters.len() < MOST => {
                    // The first one counts, so that nothing appended later can redirect a token request.
                    challenge
                        .parameters
                        .entry(name.to_ascii_lowercase())
                        .or_insert(value);
                }
                Some(_) => return challenges,
                None => {
                    rest.text = before;
                    break;
                }
            }
        }
        // A token68 (`Negotiate YII…=`) belongs to the scheme; nobody here uses it.
        if challenge.parameters.is_empty() && !rest.text.is_empty() && !rest.text.starts_with(',') {
            rest.skip(|c| c != ',');
        }
        challenges.push(challenge);
    }
    challenges
}

struct Scanner<'a> {
    text: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        self.text = self.text.trim_start_matches(wanted);
    }

    /// RFC 9110 §5.6.2.
    fn token(&mut self) -> Option<&'a str> {
        let end = self
            .text
            .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
            .unwrap_or(self.text.len());
        let (token, rest) = self.text.split_at(end);
        if token.is_empty() {
            return None;
        }
        self.text = rest;
        Some(token)
    }

    /// `name = token` or `name = "quoted \" string"`.
    fn parameter(&mut self) -> Option<(&'a str, String)> {
        let name = self.token()?;
        self.skip(|c| c == ' ' || c == '\t');
        self.text = self.text.strip_prefix('=')?;
        self.skip(|c| c == ' ' || c == '\t');
        let Some(quoted) = self.text.strip_prefix('"') else {
            return Some((name, self.token()?.to_owned()));
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.text = &quoted[at + 1..];
                    return Some((name, value));
                }
                '\\' => value.push(characters.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> String {
        parse(header)
            .iter()
            .map(|challenge| {
                let parameters: Vec<String> = challenge
                    .parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!("{}({})", challenge.scheme, parameters.join(";"))
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn challenges_are_read() {
        for (header, expected) in [
            (r#"Basic realm="Registry""#, "basic(realm=Registry)"),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/ubuntu:pull""#,
                "bearer(realm=https://auth.docker.io/token;scope=repository:library/ubuntu:pull;service=registry.docker.io)",
            ),
            (r#"bearer Realm = "a" , SERVICE=b"#, "bearer(realm=a;service=b)"),
            (
                r#"Basic realm="a", Bearer realm="b",service="c""#,
                "basic(realm=a) bearer(realm=b;service=c)",
            ),
            (
                r#"Negotiate YIIabc=, Basic realm="x""#,
                "negotiate() basic(realm=x)",
            ),
            (r#"Negotiate, Basic realm="x""#, "negotiate() basic(realm=x)"),
            (r#"Bearer realm="a\"b\\c""#, r#"bearer(realm=a"b\c)"#),
            (
                r#"Bearer realm="a,b", scope="x y""#,
                "bearer(realm=a,b;scope=x y)",
            ),
            (r#"Bearer realm="a",realm="evil""#, "bearer(realm=a)"),
            (",, Basic realm=x,", "basic(realm=x)"),
            ("", ""),
            ("\"", ""),
            (r#"Bearer realm="unfinished"#, "bearer()"),
            ("Bearer realm=", "bearer()"),
            (r#"Bearer realm="é""#, "bearer(realm=é)"),
        ] {
            assert_eq!(shown(header), expected, "{header}");
        }
    }

    #[test]
    fn nothing_makes_it_run_away() {
        assert!(parse(&"a,".repeat(10_000)).len() <= MOST);
        assert!(parse(&format!("Bearer {}", "x=1,y=2,z=3,".repeat(1000))).len() <= MOST);
        let many = (0..100).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join(",");
        assert!(parse(&format!("Bearer {many}")).is_empty());
    }
}
