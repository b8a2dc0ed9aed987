//! `--log-opt tag=…`: the part of Go's templates that tags are made of. Text, fields of the container, Docker's functions,
//! pipelines, parentheses and trimming; no variables, no `if`, no `range`.

use std::collections::BTreeMap;

/// What a tag can tell of a container, by Docker's names.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) name: String,
    /// With its algorithm.
    pub(super) image_id: String,
    pub(super) image_name: String,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// What `labels` and `env` pick: `(.ExtraAttributes nil).NAME`.
    pub(super) picked: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Number(i64),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    Nil,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `.Name`, directly behind what it is a field of or not.
    Field(String),
    Word(String),
    Text(String),
    Number(i64),
    Pipe,
    Open,
    Close,
}

/// Fills a template in.
pub(super) fn render(template: &str, subject: &Subject) -> Result<String, String> {
    fill(template, subject).map_err(|why| format!("invalid value for log opt 'tag': {why}"))
}

fn fill(template: &str, subject: &Subject) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, mut after) = split_action(after)?;
        let (mut text, mut action) = (text, action);
        if let Some(trimmed) = action.strip_prefix("- ") {
            text = text.trim_end();
            action = trimmed;
        }
        if let Some(trimmed) = action.strip_suffix(" -") {
            after = after.trim_start();
            action = trimmed;
        }
        made.push_str(text);
        // A comment.
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            let tokens = tokens(action)?;
            let mut parser = Parser {
                tokens: &tokens,
                subject,
            };
            let value = parser.pipeline()?;
            if !parser.tokens.is_empty() {
                return Err(format!("unexpected \"}}\" or operand in \"{{{{{action}}}}}\""));
            }
            made.push_str(&show(&value));
        }
        rest = after;
    }
    Ok(made + rest)
}

/// Splits at the `}}` that is in no string.
fn split_action(text: &str) -> Result<(&str, &str), String> {
    let mut quote = None;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if character == '\\' => escaped = true,
            Some(open) if open == character => quote = None,
            None if matches!(character, '"' | '`') => quote = Some(character),
            None if text[index..].starts_with("}}") => return Ok((&text[..index], &text[index + 2..])),
            Some(_) | None => {}
        }
    }
    Err("unclosed action".into())
}

fn tokens(mut text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    loop {
        text = text.trim_start();
        let Some(first) = text.chars().next() else {
            return Ok(tokens);
        };
        let mut length = first.len_utf8();
        let token = match first {
            '|' => Token::Pipe,
            '(' => Token::Open,
            ')' => Token::Close,
            '.' => {
                let name: String = text[1..].chars().take_while(|c| is_name(*c)).collect();
                length += name.len();
                Token::Field(name)
            }
            '"' => {
                let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
                let string = strings
                    .next()
                    .and_then(Result::ok)
                    .ok_or("unterminated quoted string")?;
                length = strings.byte_offset();
                Token::Text(string)
            }
            '`' => {
                let end = text[1..].find('`').ok_or("unterminated raw quoted string")?;
                length = end + 2;
                Token::Text(text[1..=end].to_owned())
            }
            '0'..='9' | '-' => {
                let digits: String = text[1..].chars().take_while(char::is_ascii_digit).collect();
                length += digits.len();
                let number = text[..length].parse().ok();
                Token::Number(number.ok_or_else(|| format!("bad number syntax: \"{}\"", &text[..length]))?)
            }
            _ if is_name(first) => {
                let word: String = text.chars().take_while(|c| is_name(*c)).collect();
                length = word.len();
                Token::Word(word)
            }
            _ => return Err(format!("unexpected {first:?} in operand")),
        };
        tokens.push(token);
        text = &text[length..];
    }
}

struct Parser<'p> {
    tokens: &'p [Token],
    subject: &'p Subject,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.first()
    }

    fn take(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn pipeline(&mut self) -> Result<Value, String> {
        let mut value = self.command(None)?;
        while self.peek() == Some(&Token::Pipe) {
            self.take();
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    /// Reads and does a function with its arguments, or a single value. `last` is what a pipe brings.
    fn command(&mut self, last: Option<Value>) -> Result<Value, String> {
        let name = match self.peek() {
            Some(Token::Word(name)) if name != "nil" => name.clone(),
            _ => {
                let value = self.operand()?;
                return match last {
                    None => Ok(value),
                    Some(_) => Err("can't give argument to non-function".into()),
                };
            }
        };
        self.take();
        let mut arguments = Vec::new();
        while !matches!(self.peek(), None | Some(Token::Pipe | Token::Close)) {
            arguments.push(self.operand()?);
        }
        arguments.extend(last);
        call(&name, &arguments)
    }

    fn operand(&mut self) -> Result<Value, String> {
        let mut value = match self.take() {
            Some(Token::Text(text)) => Value::Text(text),
            Some(Token::Number(number)) => Value::Number(number),
            Some(Token::Word(word)) if word == "nil" => Value::Nil,
            Some(Token::Word(word)) => call(&word, &[])?,
            Some(Token::Field(name)) => {
                // `.ExtraAttributes nil` is a method with an argument.
                if name == "ExtraAttributes" && self.peek() == Some(&Token::Word("nil".into())) {
                    self.take();
                }
                self.subject.field(&name)?
            }
            Some(Token::Open) => {
                let value = self.pipeline()?;
                if self.take() != Some(Token::Close) {
                    return Err("unclosed left paren".into());
                }
                value
            }
            Some(Token::Pipe | Token::Close) | None => return Err("missing value for command".into()),
        };
        // `.ContainerLabels.name`, `(.ExtraAttributes nil).NAME`.
        if let Value::Map(map) = &value
            && let Some(Token::Field(name)) = self.peek()
        {
            value = Value::Text(map.get(name).cloned().unwrap_or_default());
            self.take();
        }
        Ok(value)
    }
}

impl Subject {
    fn field(&self, name: &str) -> Result<Value, String> {
        let short = |id: &str| {
            let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
            Value::Text(digits.get(..12).unwrap_or(digits).to_owned())
        };
        let text = |text: &str| Value::Text(text.to_owned());
        Ok(match name {
            "Command" => Value::Text(self.command.join(" ")),
            "ContainerArgs" => Value::List(self.command.get(1..).unwrap_or_default().to_vec()),
            "ContainerEntrypoint" => text(self.command.first().map(String::as_str).unwrap_or_default()),
            "ContainerEnv" => Value::List(self.environment.clone()),
            "ContainerID" | "FullID" => text(&self.id),
            "ContainerImageID" | "ImageFullID" => text(&self.image_id),
            "ContainerImageName" | "ImageName" => text(&self.image_name),
            "ContainerLabels" => Value::Map(self.labels.clone()),
            "ContainerName" => Value::Text(format!("/{}", self.name)),
            // What templates written for Docker expect.
            "DaemonName" => text("docker"),
            "ExtraAttributes" => Value::Map(self.picked.clone()),
            "Hostname" => Value::Text(rustix::system::uname().nodename().to_string_lossy().into_owned()),
            "ID" => short(&self.id),
            "ImageID" => short(&self.image_id),
            "Name" => text(&self.name),
            _ => {
                return Err(format!(
                    "can't evaluate field {name}: a log tag knows no such thing"
                ));
            }
        })
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::List(list) => format!("[{}]", list.join(" ")),
        Value::Map(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}:{value}"))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Nil => "<nil>".into(),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let wrong = || format!("wrong number or kind of arguments for {name}");
    Ok(match (name, arguments) {
        ("index", [Value::Map(map), Value::Text(key)]) => {
            Value::Text(map.get(key).cloned().unwrap_or_default())
        }
        ("index", [Value::List(list), Value::Number(place)]) => usize::try_from(*place)
            .ok()
            .and_then(|place| list.get(place))
            .map(|text| Value::Text(text.clone()))
            .ok_or_else(|| format!("error calling index: index out of range: {place}"))?,
        ("join", [Value::List(list), Value::Text(between)]) => Value::Text(list.join(between)),
        ("json", [value]) => Value::Text(json(value)),
        ("lower", [Value::Text(text)]) => Value::Text(text.to_lowercase()),
        ("pad", [Value::Text(text), Value::Number(before), Value::Number(after)]) => {
            let blanks = |count: &i64| " ".repeat(usize::try_from(*count).unwrap_or_default().min(1024));
            Value::Text(if text.is_empty() {
                String::new()
            } else {
                blanks(before) + text + &blanks(after)
            })
        }
        ("print", values) => Value::Text(values.iter().map(show).collect()),
        ("split", [Value::Text(text), Value::Text(at)]) => {
            Value::List(text.split(at.as_str()).map(str::to_owned).collect())
        }
        ("title", [Value::Text(text)]) => {
            let mut start = true;
            let mut title = String::new();
            for character in text.chars() {
                if start {
                    title.extend(character.to_uppercase());
                } else {
                    title.push(character);
                }
                start = !character.is_alphanumeric() && character != '_' && character != '\'';
            }
            Value::Text(title)
        }
        ("truncate", [Value::Text(text), Value::Number(length)]) => {
            let mut length = usize::try_from(*length).unwrap_or_default().min(text.len());
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            Value::Text(text[..length].to_owned())
        }
        ("upper", [Value::Text(text)]) => Value::Text(text.to_uppercase()),
        ("index" | "join" | "json" | "lower" | "pad" | "split" | "title" | "truncate" | "upper", _) => {
            return Err(wrong());
        }
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

fn json(value: &Value) -> String {
    match value {
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Number(number) => number.to_string(),
        Value::List(list) => serde_json::Value::from(list.clone()).to_string(),
        Value::Map(map) => serde_json::Value::from_iter(map.clone()).to_string(),
        Value::Nil => "null".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            id: "0123456789abcdef".repeat(4),
            name: "web".into(),
            image_id: format!("sha256:{}", "fedcba9876543210".repeat(4)),
            image_name: "nginx:latest".into(),
            command: ["nginx", "-g", "daemon off;"].map(str::to_owned).to_vec(),
            environment: vec!["A=1".into()],
            labels: [("tier".to_owned(), "front".to_owned())].into(),
            picked: [("SOME".to_owned(), "value".to_owned())].into(),
        }
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{.ID}}", "0123456789ab"),
            (
                "{{.ImageName}}/{{.Name}}/{{ .ID }}",
                "nginx:latest/web/0123456789ab",
            ),
            ("{{.ImageID}} {{.DaemonName}}", "fedcba987654 docker"),
            ("{{.Command}}", "nginx -g daemon off;"),
            ("{{.ContainerName}}", "/web"),
            ("{{upper .Name}} {{.Name | title | pad 1 2}}|", ""),
            ("{{.Name | upper | printf}}", ""),
            ("a {{- .Name -}} b", "awebb"),
            ("{{/* nothing */}}x", "x"),
            ("{{truncate .ImageName 5}}", "nginx"),
            ("{{index .ContainerLabels \"tier\"}}", "front"),
            ("{{.ContainerLabels.tier}}", "front"),
            ("{{(.ExtraAttributes nil).SOME}}", "value"),
            ("{{ join (split .ImageName \":\") \"/\" }}", "nginx/latest"),
            ("{{json .Name}}{{`}}`}}", "\"web\"}}"),
            ("{{.ContainerEnv}}", "[A=1]"),
        ] {
            match render(template, &subject()) {
                Ok(found) => assert_eq!(found, expected, "{template}"),
                Err(why) => assert_eq!(expected, "", "{template}: {why}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        for (template, expected) in [
            ("{{.Name", "unclosed action"),
            ("{{.Nmae}}", "can't evaluate field Nmae"),
            ("{{if .Name}}x{{end}}", "function \"if\" not defined"),
            ("{{upper}}", "wrong number or kind of arguments for upper"),
            ("{{}}", "missing value for command"),
            ("{{(.Name}}", "unclosed left paren"),
            ("{{.Name .ID}}", "unexpected"),
            ("{{.Name | .ID}}", "can't give argument to non-function"),
        ] {
            let error = render(template, &subject()).unwrap_err();
            assert!(error.starts_with("invalid value for log opt 'tag': "), "{error}");
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
