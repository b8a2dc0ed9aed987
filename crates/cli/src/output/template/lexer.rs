//! Text and actions, actions into words.

use super::TemplateError;

/// Where something stood, and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// As written.
    pub(super) text: String,
    /// Line and column of bytes, both as Go counts them: the line from 1, the column from 0.
    pub(super) line: usize,
    pub(super) column: usize,
    /// Whether white space stood before it.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`, without the dot.
    Field(String),
    /// `.` alone.
    Dot,
    /// `$` or `$name`.
    Variable(String),
    Identifier(String),
    Text2(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    LeftParen,
    RightParen,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

/// Takes a template apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    while lexer.at < text.len() {
        let rest = &text[lexer.at..];
        let end = rest.find("{{").unwrap_or(rest.len());
        let mut plain = &rest[..end];
        if trim {
            plain = plain.trim_start();
        }
        let opens = end < rest.len();
        let trims = opens && is_trim(&rest.as_bytes()[end + 2..]);
        if trims {
            plain = plain.trim_end();
        }
        if !plain.is_empty() {
            lexer.push(Kind::Text(plain.to_owned()), "", false);
        }
        lexer.at += end;
        if !opens {
            break;
        }
        trim = lexer.action(trims)?;
    }
    Ok(lexer.tokens)
}

fn is_trim(bytes: &[u8]) -> bool {
    matches!(bytes, [b'-', b' ' | b'\t' | b'\n' | b'\r', ..])
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, text: &str, spaced: bool) {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = self.at - before.rfind('\n').map_or(0, |at| at + 1);
        self.tokens.push(Token {
            kind,
            text: text.to_owned(),
            line,
            column,
            spaced,
        });
    }

    fn error<T>(&self, message: &str) -> Result<T, TemplateError> {
        let line = self.text[..self.at.min(self.text.len())].matches('\n').count() + 1;
        Err(TemplateError(format!("template: :{line}: {message}")))
    }

    /// Reads `{{ … }}` and says whether the text after it is to be trimmed.
    fn action(&mut self, trims: bool) -> Result<bool, TemplateError> {
        self.push(Kind::Open, "{{", false);
        self.at += 2 + usize::from(trims);
        let rest = &self.text[self.at..];
        let comment = rest.trim_start();
        if comment.starts_with("/*") {
            let Some(end) = comment.find("*/") else {
                return self.error("unclosed comment");
            };
            self.at = self.text.len() - comment.len() + end + 2;
            self.tokens.pop();
            let after = &self.text[self.at..];
            let trimmed = after.trim_start();
            let (skip, trim) = if trimmed.starts_with("-}}") && trimmed.len() < after.len() {
                (after.len() - trimmed.len() + 3, true)
            } else if after.starts_with("}}") {
                (2, false)
            } else {
                return self.error("comment ends before closing delimiter");
            };
            self.at += skip;
            return Ok(trim);
        }
        let mut spaced = false;
        loop {
            let rest = &self.text[self.at..];
            let Some(first) = rest.chars().next() else {
                return self.error("unclosed action");
            };
            if first.is_whitespace() {
                if rest[first.len_utf8()..].starts_with("-}}") {
                    self.at += first.len_utf8();
                    self.push(Kind::Close, "}}", true);
                    self.at += 3;
                    return Ok(true);
                }
                self.at += first.len_utf8();
                spaced = true;
                continue;
            }
            if rest.starts_with("}}") {
                self.push(Kind::Close, "}}", spaced);
                self.at += 2;
                return Ok(false);
            }
            let (kind, length) = self.word(rest, first)?;
            let text = rest[..length].to_owned();
            self.push(kind, &text, spaced);
            self.at += length;
            spaced = false;
        }
    }

    fn word(&self, rest: &str, first: char) -> Result<(Kind, usize), TemplateError> {
        let name = |from: usize| {
            let tail = &rest[from..];
            from + tail
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(tail.len())
        };
        Ok(match first {
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::LeftParen, 1),
            ')' => (Kind::RightParen, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            '$' => (Kind::Variable(rest[..name(1)].to_owned()), name(1)),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.number(rest),
            '.' => {
                let end = name(1);
                if end == 1 {
                    (Kind::Dot, 1)
                } else {
                    (Kind::Field(rest[1..end].to_owned()), end)
                }
            }
            '"' => return self.quoted(rest),
            '`' => match rest[1..].find('`') {
                Some(end) => (Kind::Text2(rest[1..=end].to_owned()), end + 2),
                None => return self.error("unterminated raw quoted string"),
            },
            '\'' => {
                let mut chars = rest[1..].chars();
                match (chars.next(), chars.next()) {
                    (Some(c), Some('\'')) => (Kind::Integer(i64::from(u32::from(c))), 2 + c.len_utf8()),
                    _ => return self.error("malformed character constant"),
                }
            }
            '+' | '-' | '0'..='9' => return self.number(rest),
            c if c.is_alphabetic() || c == '_' => (Kind::Identifier(rest[..name(0)].to_owned()), name(0)),
            c => {
                return self.error(&format!("unexpected {c:?} in command").replace('\'', "\""));
            }
        })
    }

    fn number(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let end = 1 + rest[1..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            .unwrap_or(rest.len() - 1);
        let text = rest[..end].replace('_', "");
        if let Ok(number) = text.parse::<i64>() {
            return Ok((Kind::Integer(number), end));
        }
        if let Some(Ok(number)) = text.strip_prefix("0x").map(|text| i64::from_str_radix(text, 16)) {
            return Ok((Kind::Integer(number), end));
        }
        match text.parse::<f64>() {
            Ok(number) if text.contains(|c: char| c.is_ascii_digit()) => Ok((Kind::Float(number), end)),
            _ => self.error(&format!("bad number syntax: {text:?}")),
        }
    }

    fn quoted(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let mut text = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Ok((Kind::Text2(text), at + 1)),
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, '0')) => text.push('\0'),
                    Some((_, c @ ('"' | '\\' | '\''))) => text.push(c),
                    Some((_, kind @ ('x' | 'u'))) => {
                        let length = if kind == 'x' { 2 } else { 4 };
                        let digits: String = chars.by_ref().take(length).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        match code {
                            Some(c) => text.push(c),
                            None => return self.error("invalid syntax"),
                        }
                    }
                    _ => return self.error("invalid syntax"),
                },
                c => text.push(c),
            }
        }
        self.error("unterminated quoted string")
    }
}
