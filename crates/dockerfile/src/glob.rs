//! Shell patterns as Go's `filepath.Match` has them, and with `**` as ignore files have them.

/// A pattern without a sound meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern \"{0}\"")]
pub struct GlobError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `?`: one character but `/`.
    Any,
    Character(char),
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// `**/` or `**` before something: any number of whole components, also none.
    Directories,
    /// `**` at the end: anything.
    Everything,
    /// `*`: any number of characters but `/`.
    Star,
}

/// A compiled pattern. Matching takes time in the product of both lengths, whatever the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    kind: Kind,
}

/// Most patterns in real files are one of the first three, which need no machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exact(String),
    Prefix(String),
    /// The suffix, and whether it must begin a component.
    Suffix(String),
    Tokens {
        literal: String,
        tokens: Vec<Token>,
    },
}

impl Glob {
    /// Compiles a `filepath.Match` pattern: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, false)
    }

    /// Compiles a pattern in which `**` stands for any number of directories.
    pub fn with_double_star(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, true)
    }

    /// Says whether a string has a character that means something in a pattern.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    fn compile(pattern: &str, double_star: bool) -> Result<Self, GlobError> {
        let tokens = tokens(pattern, double_star).ok_or_else(|| GlobError(pattern.to_owned()))?;
        let literal = |tokens: &[Token]| -> Option<String> {
            tokens
                .iter()
                .map(|token| match token {
                    Token::Character(character) => Some(*character),
                    _ => None,
                })
                .collect()
        };
        let kind = if let Some(text) = literal(&tokens) {
            Kind::Exact(text)
        } else if let [rest @ .., Token::Everything] = tokens.as_slice()
            && let Some(text) = literal(rest)
        {
            Kind::Prefix(text)
        } else if let [Token::Directories, rest @ ..] = tokens.as_slice()
            && let Some(mut text) = literal(rest)
        {
            // Docker takes `**name` without a slash for "ends in name".
            if pattern.starts_with("**/") {
                text.insert(0, '/');
            }
            Kind::Suffix(text)
        } else {
            let count = tokens
                .iter()
                .take_while(|token| matches!(token, Token::Character(_)))
                .count();
            Kind::Tokens {
                literal: literal(&tokens[..count]).unwrap_or_default(),
                tokens: tokens[count..].to_vec(),
            }
        };
        Ok(Self { kind })
    }

    /// Says whether the pattern matches the whole of `path`.
    pub fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact(text) => path == text,
            Kind::Prefix(text) => path.starts_with(text.as_str()),
            Kind::Suffix(text) => {
                path.ends_with(text.as_str()) || text.strip_prefix('/').is_some_and(|name| name == path)
            }
            Kind::Tokens { literal, tokens } => path
                .strip_prefix(literal.as_str())
                .is_some_and(|rest| run(tokens, rest)),
        }
    }
}

fn tokens(pattern: &str, double_star: bool) -> Option<Vec<Token>> {
    let mut result = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        result.push(match character {
            '*' if double_star && rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                if rest.peek().is_none() {
                    Token::Everything
                } else {
                    Token::Directories
                }
            }
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Character(rest.next()?),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
                    let low = class_character(&mut rest)?;
                    let high = if rest.next_if_eq(&'-').is_some() {
                        class_character(&mut rest)?
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Class { ranges, negated }
            }
            other => Token::Character(other),
        });
    }
    Some(result)
}

fn class_character(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        other => Some(other),
    }
}

/// Simulates the pattern as an automaton: one set of positions per character of the path.
fn run(tokens: &[Token], path: &str) -> bool {
    if tokens.len() < 63 {
        run_small(tokens, path)
    } else {
        run_large(tokens, path)
    }
}

/// What reading `character` at a token leads to: staying on it, going on to the next.
fn step(token: &Token, character: char) -> (bool, bool) {
    match token {
        Token::Any => (false, character != '/'),
        Token::Character(expected) => (false, *expected == character),
        Token::Class { ranges, negated } => {
            let inside = ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&character));
            (false, inside != *negated)
        }
        // After a slash the directories may end, but need not.
        Token::Directories => (true, character == '/'),
        Token::Everything => (true, false),
        Token::Star => (character != '/', false),
    }
}

fn may_be_nothing(token: &Token) -> bool {
    matches!(token, Token::Everything | Token::Star)
}

fn run_small(tokens: &[Token], path: &str) -> bool {
    let skip = |mut states: u64| {
        for (index, token) in tokens.iter().enumerate() {
            if states >> index & 1 == 1 && may_be_nothing(token) {
                states |= 2 << index;
            }
        }
        states
    };
    let mut states = skip(enter(1, tokens));
    for character in path.chars() {
        let mut next = 0;
        let mut left = states & !(1 << tokens.len());
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let (stays, goes_on) = step(&tokens[index], character);
            next |= u64::from(stays) << index;
            if goes_on {
                next |= enter(2 << index, tokens);
            }
        }
        states = skip(next);
        if states == 0 {
            return false;
        }
    }
    states >> tokens.len() & 1 == 1
}

/// Arriving at [`Token::Directories`] is arriving behind it as well, since no directory at all will do.
fn enter(mut bit: u64, tokens: &[Token]) -> u64 {
    let mut states = bit;
    while tokens.get(bit.trailing_zeros() as usize) == Some(&Token::Directories) {
        bit <<= 1;
        states |= bit;
    }
    states
}

fn run_large(tokens: &[Token], path: &str) -> bool {
    let arrive = |states: &mut [bool], mut index: usize| {
        states[index] = true;
        while tokens
            .get(index)
            .is_some_and(|token| *token == Token::Directories || may_be_nothing(token))
        {
            index += 1;
            states[index] = true;
        }
    };
    let mut states = vec![false; tokens.len() + 1];
    arrive(&mut states, 0);
    for character in path.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
            let (stays, goes_on) = step(token, character);
            if stays {
                if *token == Token::Directories {
                    next[index] = true;
                } else {
                    arrive(&mut next, index);
                }
            }
            if goes_on {
                arrive(&mut next, index + 1);
            }
        }
        states = next;
    }
    states[tokens.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_patterns_match_as_in_go() {
        for (pattern, path, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a/b", false),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "a[", "[", "[^", "[^bc", "a\\", "[a-b-c]",
        ] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn double_stars_cross_directories() {
        for (pattern, path, expected) in [
            ("**", "a/b/c", true),
            ("**/b", "b", true),
            ("**/b", "a/b", true),
            ("**/b", "x/a/b", true),
            ("**/b", "ab", false),
            ("**b", "ab", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/bc", false),
            ("**/*.py", "x.py", true),
            ("**/*.py", "a/b/x.py", true),
            ("**/*.py", "a/b/x.pyc", false),
            ("**/a/**/b", "x/a/y/b", true),
            ("**/a/**/b", "a/b", true),
            ("**/.git", "x/.git", true),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("**/**/x", "x", true),
            ("*/**/x", "a/x", true),
            ("*/**", "a", false),
        ] {
            let glob = Glob::with_double_star(pattern).unwrap();
            assert_eq!(glob.matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn long_patterns_match_like_short_ones() {
        let tail = "x".repeat(80);
        for (head, path, expected) in [
            ("*/**/a?", "q/ab", true),
            ("*/**/a?", "q/r/s/ab", true),
            ("*/**/a?", "ab", false),
            ("[a-c]**/", "b", true),
        ] {
            let glob = Glob::with_double_star(&format!("{head}{tail}")).unwrap();
            assert_eq!(glob.matches(&format!("{path}{tail}")), expected, "{head}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let glob = Glob::with_double_star(&"*a".repeat(200)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(4000))));
    }
}
