//! Strings with `${…}` and `%{…}` in them.

use crate::error::BakeError;
use crate::evaluate::Frame;
use crate::value::Value;
use crate::world::World;
use hcl_edit::template::{Directive, Element, Strip, Template};

/// What whitespace around a part goes.
#[derive(Clone, Copy, Default)]
struct Trim {
    /// Of the literal behind it.
    behind: bool,
    /// Of the literal in front of it.
    before: bool,
}

impl From<Strip> for Trim {
    fn from(strip: Strip) -> Self {
        Self {
            before: strip.strip_start(),
            behind: strip.strip_end(),
        }
    }
}

impl World<'_> {
    /// Evaluates a string in quotes. What is nothing but one `${…}` is that value, whatever it is.
    pub(crate) fn template<'t>(
        &self,
        elements: impl Iterator<Item = &'t Element>,
        frame: &Frame<'_>,
    ) -> Result<Value, BakeError> {
        let elements: Vec<&Element> = elements.collect();
        if let [Element::Interpolation(only)] = elements[..] {
            return self.value(&only.expr, frame);
        }
        let mut text = String::new();
        self.elements(&elements, frame, Trim::default(), Trim::default(), &mut text)?;
        Ok(Value::Text(text))
    }

    /// Evaluates a template that is a text in any case.
    pub(crate) fn document(&self, template: &Template, frame: &Frame<'_>) -> Result<String, BakeError> {
        let elements: Vec<&Element> = template.iter().collect();
        let mut text = String::new();
        self.elements(&elements, frame, Trim::default(), Trim::default(), &mut text)?;
        Ok(text)
    }

    fn elements(
        &self,
        elements: &[&Element],
        frame: &Frame<'_>,
        first: Trim,
        last: Trim,
        into: &mut String,
    ) -> Result<(), BakeError> {
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let before = index
                        .checked_sub(1)
                        .map_or(first, |before| behind(elements[before]));
                    let behind = elements.get(index + 1).map_or(last, |next| before_it(next));
                    let mut text = literal.value().as_str();
                    if before.behind {
                        text = text.trim_start();
                    }
                    if behind.before {
                        text = text.trim_end();
                    }
                    into.push_str(text);
                }
                Element::Interpolation(part) => {
                    let value = self.value(&part.expr, frame)?;
                    match value.text() {
                        Some(text) => into.push_str(&text),
                        None => {
                            return Err(self.at(
                                frame.file,
                                &part.expr,
                                format!("{} cannot stand within a string", value.kind()),
                            ));
                        }
                    }
                }
                Element::Directive(directive) => self.directive(directive, frame, into)?,
            }
        }
        Ok(())
    }

    fn directive(
        &self,
        directive: &Directive,
        frame: &Frame<'_>,
        into: &mut String,
    ) -> Result<(), BakeError> {
        let parts = |template: &'_ Template| -> Vec<Element> { template.iter().cloned().collect() };
        match directive {
            Directive::If(branch) => {
                let condition = self.value(&branch.if_expr.cond_expr, frame)?;
                let Some(holds) = condition.bool() else {
                    return Err(self.at(
                        frame.file,
                        &branch.if_expr.cond_expr,
                        format!("a condition is true or false, not {}", condition.kind()),
                    ));
                };
                let end = branch.endif_expr.strip;
                let (template, first, last) = match (&branch.else_expr, holds) {
                    (Some(other), true) => (&branch.if_expr.template, branch.if_expr.strip, other.strip),
                    (None, true) => (&branch.if_expr.template, branch.if_expr.strip, end),
                    (Some(other), false) => (&other.template, other.strip, end),
                    (None, false) => return Ok(()),
                };
                let own = parts(template);
                let own: Vec<&Element> = own.iter().collect();
                self.elements(&own, frame, first.into(), last.into(), into)
            }
            Directive::For(each) => {
                let intro = &each.for_expr;
                let key = intro.key_var.as_ref().map(|name| name.as_str());
                let rounds = self.rounds(&intro.collection_expr, key, intro.value_var.as_str(), frame)?;
                let own = parts(&intro.template);
                let own: Vec<&Element> = own.iter().collect();
                for names in rounds {
                    let inner = Frame::within(frame, names);
                    let (first, last) = (intro.strip.into(), each.endfor_expr.strip.into());
                    self.elements(&own, &inner, first, last, into)?;
                }
                Ok(())
            }
        }
    }
}

/// What an element does to the literal behind it.
fn behind(element: &Element) -> Trim {
    match element {
        Element::Literal(_) => Trim::default(),
        Element::Interpolation(part) => part.strip.into(),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(branch) => branch.endif_expr.strip.into(),
            Directive::For(each) => each.endfor_expr.strip.into(),
        },
    }
}

/// What an element does to the literal in front of it.
fn before_it(element: &Element) -> Trim {
    match element {
        Element::Literal(_) => Trim::default(),
        Element::Interpolation(part) => part.strip.into(),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(branch) => branch.if_expr.strip.into(),
            Directive::For(each) => each.for_expr.strip.into(),
        },
    }
}
