//! Variable substitution: `$name` and the thirteen forms of `${…}`, quotes and escapes.
//!
//! The rules are a POSIX shell's as Docker has narrowed them: patterns know `*` and `?` only, and `\` escapes in them
//! whatever the Dockerfile's escape character is.

use std::cell::RefCell;
use std::iter::Peekable;
use std::str::Chars;

/// How deep `${a:-${b:-…}}` may go; a stack is finite.
const DEEPEST: usize = 64;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process \"{word}\": {problem}")]
pub struct ExpandError {
    /// The word as written.
    pub word: String,
    /// What is wrong with it.
    pub problem: ExpandProblem,
}

/// What is wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandProblem {
    /// `${}`, `${:…`, `${{…`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// Substitutions in substitutions without end.
    #[error("syntax error: substitutions nested deeper than {DEEPEST}")]
    Depth,
    /// `${name` and no more.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${name/pattern` and no more.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// A pattern that escapes what needs no escape.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{character}'")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The character after the backslash.
        character: String,
    },
    /// A quote that nothing closes.
    #[error("unexpected end of statement while looking for matching {0}")]
    Quote(&'static str),
    /// `${name?message}` of a variable that is not set, or `${name:?message}` of an empty one.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the Dockerfile says about it.
        message: String,
    },
    /// `${name!…}`.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
}

/// Expands the variables in `word` and takes away its quotes and escapes.
pub fn expand_word(
    word: &str,
    escape: char,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    expand(word, escape, variables).map(|(text, _)| text)
}

/// Expands like [`expand_word`] and splits the result at spaces that were not quoted.
pub fn expand_words(
    word: &str,
    escape: char,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    expand(word, escape, variables).map(|(_, words)| words)
}

/// Returns the names in a word that have no value, where nothing stands in for it.
pub(crate) fn undefined(
    word: &str,
    escape: char,
    quotes: bool,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let names = RefCell::default();
    let mut expansion = Expansion {
        rest: word.chars().peekable(),
        escape,
        variables,
        depth: 0,
        quotes,
        undefined: Some(&names),
    };
    // What cannot be expanded is an error when it is built.
    match expansion.until(None, false) {
        Ok(_) => names.into_inner(),
        Err(_) => Vec::new(),
    }
}

/// Expands the variables in a here-document, where quotes are letters like all others.
pub fn expand_document(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut expansion = Expansion {
        rest: text.chars().peekable(),
        escape: '\\',
        variables,
        depth: 0,
        quotes: false,
        undefined: None,
    };
    expansion
        .until(None, false)
        .map(|(text, _)| text)
        .map_err(|problem| ExpandError {
            word: text.lines().next().unwrap_or_default().to_owned(),
            problem,
        })
}

fn expand(
    word: &str,
    escape: char,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, Vec<String>), ExpandError> {
    let mut expansion = Expansion {
        rest: word.chars().peekable(),
        escape,
        variables,
        depth: 0,
        quotes: true,
        undefined: None,
    };
    expansion.until(None, false).map_err(|problem| ExpandError {
        word: word.to_owned(),
        problem,
    })
}

struct Expansion<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    variables: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
    /// Whether quotes mean something.
    quotes: bool,
    /// Gets the names that have no value and nothing in its place.
    undefined: Option<&'a RefCell<Vec<String>>>,
}

/// Collects words, split where an unquoted space stands.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn split(&mut self, text: &str) {
        for character in text.chars() {
            if !character.is_whitespace() {
                self.word.push(character);
            } else if !self.word.is_empty() {
                self.done.push(std::mem::take(&mut self.word));
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

impl Expansion<'_> {
    /// Expands up to `stop`, which is consumed, or up to the end. With `keep_escapes` a pattern is read, whose
    /// escapes are its own.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandProblem> {
        let mut result = String::new();
        let mut words = Words::default();
        while let Some(&character) = self.rest.peek() {
            if Some(character) == stop {
                self.rest.next();
                return Ok((result, words.finish()));
            }
            match character {
                '\'' if self.quotes => {
                    let text = self.single_quotes()?;
                    result.push_str(&text);
                    words.word.push_str(&text);
                }
                '"' if self.quotes => {
                    let text = self.double_quotes(keep_escapes)?;
                    result.push_str(&text);
                    words.word.push_str(&text);
                }
                '$' => {
                    let text = self.dollar()?;
                    result.push_str(&text);
                    words.split(&text);
                }
                _ if character == self.escape => {
                    self.rest.next();
                    if keep_escapes {
                        result.push(character);
                        words.word.push(character);
                    }
                    if let Some(next) = self.rest.next() {
                        result.push(next);
                        words.word.push(next);
                    }
                }
                _ => {
                    self.rest.next();
                    result.push(character);
                    words.split(character.encode_utf8(&mut [0; 4]));
                }
            }
        }
        match stop {
            None => Ok((result, words.finish())),
            Some('/') => Err(ExpandProblem::MissingSlash),
            Some(_) => Err(ExpandProblem::MissingBrace),
        }
    }

    fn single_quotes(&mut self) -> Result<String, ExpandProblem> {
        self.rest.next();
        let mut result = String::new();
        loop {
            match self.rest.next() {
                None => return Err(ExpandProblem::Quote("single-quote")),
                Some('\'') => return Ok(result),
                Some(character) => result.push(character),
            }
        }
    }

    fn double_quotes(&mut self, keep_escapes: bool) -> Result<String, ExpandProblem> {
        self.rest.next();
        let mut result = String::new();
        loop {
            let Some(&character) = self.rest.peek() else {
                return Err(ExpandProblem::Quote("double-quote"));
            };
            if character == '$' {
                result.push_str(&self.dollar()?);
                continue;
            }
            self.rest.next();
            if character == '"' {
                return Ok(result);
            }
            if character != self.escape {
                result.push(character);
                continue;
            }
            if keep_escapes {
                result.push(character);
            }
            match self.rest.peek() {
                None => {}
                // Before anything but these the escape character stands for itself.
                Some(&next) if next == '"' || next == '$' || next == self.escape => {
                    self.rest.next();
                    result.push(next);
                }
                Some(_) => result.push(character),
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandProblem> {
        self.rest.next();
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.plain(name).unwrap_or_default());
        }
        self.rest.next();
        if self.depth == DEEPEST {
            return Err(ExpandProblem::Depth);
        }
        self.depth += 1;
        let result = self.braces();
        self.depth -= 1;
        result
    }

    fn braces(&mut self) -> Result<String, ExpandProblem> {
        match self.rest.peek() {
            None => return Err(ExpandProblem::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandProblem::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(mut operator) = self.rest.next() else {
            return Err(ExpandProblem::MissingBrace);
        };
        let mut modifier = operator.to_string();
        let mut empty_is_unset = false;
        if operator == ':' {
            empty_is_unset = true;
            operator = self.rest.next().ok_or(ExpandProblem::MissingBrace)?;
            modifier.push(operator);
            if !matches!(operator, '-' | '+' | '?') {
                return Err(ExpandProblem::Modifier(modifier));
            }
        }
        let value = if matches!(operator, '-' | '+' | '?') {
            (self.variables)(&name)
        } else {
            self.plain(name.clone())
        };
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            '-' | '+' | '?' => {
                let (word, _) = self.until(Some('}'), false)?;
                let present = value.filter(|value| !(empty_is_unset && value.is_empty()));
                match (operator, present) {
                    ('+', None) => Ok(String::new()),
                    ('-', None) | ('+', Some(_)) => Ok(word),
                    (_, Some(value)) => Ok(value),
                    (_, None) => {
                        let set = (self.variables)(&name).is_some();
                        let message = match (word.is_empty(), set) {
                            (false, _) => word,
                            (true, true) => "is not allowed to be empty".to_owned(),
                            (true, false) => "is not allowed to be unset".to_owned(),
                        };
                        Err(ExpandProblem::Required { name, message })
                    }
                }
            }
            '#' | '%' => {
                let (word, _) = self.until(Some('}'), true)?;
                let (pattern, extent) = match word.strip_prefix(operator) {
                    Some(pattern) => (pattern, Extent::Longest),
                    None => (word.as_str(), Extent::Shortest),
                };
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                let pattern = compile(pattern)?;
                Ok(trim(&value, pattern, operator == '%', extent))
            }
            '/' => {
                let all = self.rest.next_if_eq(&'/').is_some();
                let (pattern, _) = self.until(Some('/'), true)?;
                let (replacement, _) = self.until(Some('}'), true)?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(replace(&value, &compile(&pattern)?, &replacement, all))
            }
            _ => Err(ExpandProblem::Modifier(modifier)),
        }
    }

    /// Returns the value of a variable for which nothing stands in.
    fn plain(&self, name: String) -> Option<String> {
        let value = (self.variables)(&name);
        if let (None, Some(undefined)) = (&value, self.undefined) {
            undefined.borrow_mut().push(name);
        }
        value
    }

    /// Reads a variable's name: a word, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(&digit) if digit.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
                return name;
            }
            Some(&special) if "@*#?-$!".contains(special) => {
                self.rest.next();
                name.push(special);
                return name;
            }
            _ => {}
        }
        while let Some(letter) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(letter);
        }
        name
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    Character(char),
    Star,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Longest,
    Shortest,
}

fn compile(pattern: &str) -> Result<Vec<Token>, ExpandProblem> {
    let mut tokens = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => match characters.next() {
                // `}` and `/` end the substitution unless they are escaped.
                Some(next @ ('}' | '/' | '*' | '?' | '\\')) => Token::Character(next),
                next => {
                    return Err(ExpandProblem::Pattern {
                        pattern: pattern.to_owned(),
                        character: next.map(String::from).unwrap_or_default(),
                    });
                }
            },
            other => Token::Character(other),
        });
    }
    Ok(tokens)
}

/// Takes a matching prefix (or, from the end, suffix) off the value.
fn trim(value: &[char], mut pattern: Vec<Token>, from_end: bool, extent: Extent) -> String {
    let mut value = value.to_vec();
    if from_end {
        value.reverse();
        pattern.reverse();
    }
    let length = match_length(&value, &pattern, extent).unwrap_or(0);
    let mut rest = value.split_off(length);
    if from_end {
        rest.reverse();
    }
    rest.into_iter().collect()
}

fn replace(value: &[char], pattern: &[Token], replacement: &str, all: bool) -> String {
    let mut result = String::new();
    let mut at = 0;
    let mut may_be_empty = true;
    while at <= value.len() {
        let matched =
            match_length(&value[at..], pattern, Extent::Longest).filter(|length| *length > 0 || may_be_empty);
        if let Some(length) = matched {
            result.push_str(replacement);
            at += length;
            if !all {
                result.extend(&value[at..]);
                return result;
            }
            // An empty match right after another match would be the same place twice.
            may_be_empty = false;
            if length > 0 {
                continue;
            }
        }
        result.extend(value.get(at));
        at += 1;
        may_be_empty = true;
    }
    result
}

/// Returns how many characters at the start of `value` the pattern matches. Runs in the product of both lengths.
fn match_length(value: &[char], pattern: &[Token], extent: Extent) -> Option<usize> {
    let end = pattern.len();
    let mut states = vec![false; end + 1];
    states[0] = true;
    skip_stars(&mut states, pattern);
    let mut found = None;
    for at in 0..=value.len() {
        if states[end] {
            found = Some(at);
            if extent == Extent::Shortest {
                break;
            }
        }
        let Some(&character) = value.get(at) else { break };
        let mut next = vec![false; end + 1];
        for (index, token) in pattern.iter().enumerate().filter(|(index, _)| states[*index]) {
            match token {
                Token::Star if character != '\n' => next[index] = true,
                Token::Any if character != '\n' => next[index + 1] = true,
                Token::Character(expected) if *expected == character => next[index + 1] = true,
                _ => {}
            }
        }
        skip_stars(&mut next, pattern);
        states = next;
    }
    found
}

/// A star may stand for nothing.
fn skip_stars(states: &mut [bool], pattern: &[Token]) {
    for (index, token) in pattern.iter().enumerate() {
        if states[index] && *token == Token::Star {
            states[index + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests;
