//! Words into a tree.

use super::TemplateError;
use super::lexer::{Kind, Token};
use std::collections::BTreeMap;

/// The bodies that `{{define}}` and `{{block}}` give names to.
pub(super) type Definitions = BTreeMap<String, Vec<Node>>;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Pipeline, Vec<Self>, Vec<Self>),
    With(Pipeline, Vec<Self>, Vec<Self>),
    Range(Pipeline, Vec<Self>, Vec<Self>),
    /// The body of that name, on what the pipeline comes to.
    Template(Invocation),
    Break,
    Continue,
}

/// `{{template "name" …}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Invocation {
    pub(super) name: String,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Commands whose results feed the next, and the variables that get the last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command, and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// Fields taken from it: `.A.B`.
    pub(super) fields: Vec<String>,
    pub(super) line: usize,
    pub(super) column: usize,
    /// As written, for messages.
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Pipeline(Box<Pipeline>),
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    line: usize,
    /// How many blocks are open: definitions stand outside of all.
    depth: usize,
    definitions: Definitions,
}

enum End {
    Eof,
    Else(Option<Token>),
    Close,
}

/// Makes a tree of the words, and one of each definition.
pub(super) fn parse(tokens: Vec<Token>) -> Result<(Vec<Node>, Definitions), TemplateError> {
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        line: 1,
        depth: 0,
        definitions: Definitions::new(),
    };
    match parser.nodes()? {
        (nodes, End::Eof) => Ok((nodes, parser.definitions)),
        (_, End::Close) => parser.error("unexpected {{end}}"),
        (_, End::Else(_)) => parser.error("unexpected {{else}}"),
    }
}

impl Parser {
    fn error<T>(&self, message: &str) -> Result<T, TemplateError> {
        Err(TemplateError(format!("template: :{}: {message}", self.line)))
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.next();
        if let Some(token) = &token {
            self.line = token.line;
        }
        token
    }

    fn peek(&mut self) -> Option<&Kind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(token) = self.next() {
            match token.kind {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                _ => match self.peek() {
                    Some(Kind::Identifier(word)) => match word.clone().as_str() {
                        "end" => {
                            self.next();
                            self.close("end")?;
                            return Ok((nodes, End::Close));
                        }
                        "else" => {
                            self.next();
                            let chained = matches!(self.peek(), Some(Kind::Identifier(word)) if word == "if" || word == "with");
                            if chained {
                                return Ok((nodes, End::Else(self.next())));
                            }
                            self.close("else")?;
                            return Ok((nodes, End::Else(None)));
                        }
                        word @ ("if" | "with" | "range") => {
                            self.next();
                            nodes.push(self.block(word)?);
                        }
                        "break" => {
                            self.next();
                            self.close("break")?;
                            nodes.push(Node::Break);
                        }
                        "continue" => {
                            self.next();
                            self.close("continue")?;
                            nodes.push(Node::Continue);
                        }
                        "define" => {
                            self.next();
                            if self.depth > 0 {
                                return self.error("unexpected <define> in command");
                            }
                            self.definition()?;
                        }
                        "template" => {
                            self.next();
                            nodes.push(Node::Template(self.invocation("template clause", false)?));
                        }
                        "block" => {
                            self.next();
                            let invocation = self.invocation("block clause", true)?;
                            let body = self.named_body("block clause")?;
                            self.define(invocation.name.clone(), body)?;
                            nodes.push(Node::Template(invocation));
                        }
                        _ => nodes.push(Node::Action(self.pipeline("command", false)?)),
                    },
                    _ => nodes.push(Node::Action(self.pipeline("command", false)?)),
                },
            }
        }
        Ok((nodes, End::Eof))
    }

    /// Reads what follows `{{define`, up to its `{{end}}`.
    fn definition(&mut self) -> Result<(), TemplateError> {
        let (name, _, _) = self.name("define clause")?;
        self.close("define clause")?;
        let body = self.named_body("define clause")?;
        self.define(name, body)
    }

    fn named_body(&mut self, context: &str) -> Result<Vec<Node>, TemplateError> {
        match self.inner_nodes()? {
            (body, End::Close) => Ok(body),
            (_, End::Eof) => self.error("unexpected EOF"),
            (_, End::Else(_)) => self.error(&format!("unexpected {{{{else}}}} in {context}")),
        }
    }

    /// A body of white space alone gives way to another, and takes no other's place.
    fn define(&mut self, name: String, body: Vec<Node>) -> Result<(), TemplateError> {
        let is_empty = |nodes: &[Node]| {
            let blank = |node: &Node| matches!(node, Node::Text(text) if text.trim().is_empty());
            nodes.iter().all(blank)
        };
        match self.definitions.get(&name) {
            Some(there) if !is_empty(there) && is_empty(&body) => Ok(()),
            Some(there) if !is_empty(there) => {
                self.error(&format!("template: multiple definition of template {name:?}"))
            }
            _ => {
                self.definitions.insert(name, body);
                Ok(())
            }
        }
    }

    /// Reads the name and the pipeline of `{{template` or `{{block`, with the `}}`.
    fn invocation(&mut self, context: &str, needs_value: bool) -> Result<Invocation, TemplateError> {
        let (name, line, column) = self.name(context)?;
        let pipeline = if !needs_value && matches!(self.peek(), Some(Kind::Close)) {
            self.close(context)?;
            None
        } else {
            Some(self.pipeline(context, false)?)
        };
        Ok(Invocation {
            name,
            pipeline,
            line,
            column,
        })
    }

    /// Reads a template's name, which is a text; says where it stands, too.
    fn name(&mut self, context: &str) -> Result<(String, usize, usize), TemplateError> {
        match self.next() {
            Some(Token {
                kind: Kind::Text2(name),
                line,
                column,
                ..
            }) => Ok((name, line, column)),
            Some(token) => self.error(&format!("unexpected {:?} in {context}", token.text)),
            None => self.error("unclosed action"),
        }
    }

    fn inner_nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        self.depth += 1;
        let nodes = self.nodes();
        self.depth -= 1;
        nodes
    }

    fn block(&mut self, word: &str) -> Result<Node, TemplateError> {
        let pipeline = self.pipeline(word, false)?;
        let (body, end) = self.inner_nodes()?;
        let otherwise = match end {
            End::Eof => return self.error("unexpected EOF"),
            End::Close => Vec::new(),
            End::Else(Some(token)) => {
                let Kind::Identifier(word) = token.kind else {
                    return self.error("unexpected {{else}}");
                };
                vec![self.block(&word)?]
            }
            End::Else(None) => match self.inner_nodes()? {
                (nodes, End::Close) => nodes,
                (_, End::Eof) => return self.error("unexpected EOF"),
                (_, End::Else(_)) => return self.error("expected end; found {{else}}"),
            },
        };
        Ok(match word {
            "if" => Node::If(pipeline, body, otherwise),
            "with" => Node::With(pipeline, body, otherwise),
            _ => Node::Range(pipeline, body, otherwise),
        })
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        match self.next() {
            Some(Token {
                kind: Kind::Close, ..
            }) => Ok(()),
            Some(token) => self.error(&format!("unexpected <{}> in {context}", token.text)),
            None => self.error("unclosed action"),
        }
    }

    /// Reads up to `}}`, or up to `)` inside parentheses.
    fn pipeline(&mut self, context: &str, nested: bool) -> Result<Pipeline, TemplateError> {
        let mut pipeline = Pipeline {
            variables: Vec::new(),
            assigns: false,
            commands: Vec::new(),
        };
        self.declaration(&mut pipeline);
        let mut command: Vec<Operand> = Vec::new();
        loop {
            let Some(token) = self.next() else {
                return self.error("unclosed action");
            };
            match token.kind {
                Kind::Close if nested => return self.error("unclosed left paren"),
                Kind::RightParen if !nested => return self.error("unexpected right paren"),
                Kind::Close | Kind::RightParen => {
                    if command.is_empty() {
                        return self.error(&format!("missing value for {context}"));
                    }
                    pipeline.commands.push(command);
                    return Ok(pipeline);
                }
                Kind::Pipe => {
                    if command.is_empty() {
                        return self.error(&format!("missing value for {context}"));
                    }
                    pipeline.commands.push(std::mem::take(&mut command));
                }
                _ => {
                    let operand = self.operand(token)?;
                    command.push(operand);
                }
            }
        }
    }

    /// Reads `$a :=`, `$a, $b :=` or `$a =` if there is one.
    fn declaration(&mut self, pipeline: &mut Pipeline) {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        while let Some(Token {
            kind: Kind::Variable(name),
            ..
        }) = ahead.next()
        {
            names.push(name);
            match ahead.next().map(|token| token.kind) {
                Some(Kind::Comma) if names.len() == 1 => {}
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    pipeline.assigns = kind == Kind::Assign;
                    pipeline.variables = names;
                    self.tokens = ahead;
                    return;
                }
                _ => return,
            }
        }
    }

    fn operand(&mut self, token: Token) -> Result<Operand, TemplateError> {
        let (line, column) = (token.line, token.column);
        let mut text = token.text.clone();
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Kind::Variable(name) => Base::Variable(name),
            Kind::Text2(text) => Base::Text(text),
            Kind::Integer(number) => Base::Integer(number),
            Kind::Float(number) => Base::Float(number),
            Kind::LeftParen => Base::Pipeline(Box::new(self.pipeline("parenthesized pipeline", true)?)),
            Kind::Identifier(word) => match word.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                _ if super::functions::is_known(&word) => Base::Function(word),
                _ => return self.error(&format!("function {word:?} not defined")),
            },
            _ => return self.error(&format!("unexpected {:?} in operand", token.text).replace('"', "\"")),
        };
        while let Some(Token {
            kind: Kind::Field(_),
            spaced: false,
            ..
        }) = self.tokens.peek()
        {
            let Some(Token {
                kind: Kind::Field(name),
                ..
            }) = self.next()
            else {
                break;
            };
            text.push('.');
            text.push_str(&name);
            fields.push(name);
        }
        Ok(Operand {
            base,
            fields,
            line,
            column,
            text,
        })
    }
}
