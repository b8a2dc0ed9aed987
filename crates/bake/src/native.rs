//! HCL's own syntax.

use crate::blocks::{Attribute, Block, FunctionBlock, Kind, Parts, Sheet, Validation, VariableBlock};
use crate::error::{BakeError, Place};
use crate::world::place;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{self, Body};
use std::collections::BTreeMap;
use std::ops::Range;

/// Reads a file into what the files before it gave.
pub(crate) fn read(parts: &mut Parts, sheets: &[Sheet], file: usize) -> Result<(), BakeError> {
    let sheet = &sheets[file];
    let body = hcl_edit::parser::parse_body(&sheet.text).map_err(|error| {
        let location = error.location();
        BakeError::At {
            place: Box::new(Place {
                file: sheet.name.clone(),
                lines: Some((location.line(), location.line())),
                columns: (location.column(), location.column()),
            }),
            message: error.message().to_owned(),
        }
    })?;
    let mut reader = Reader { parts, sheet, file };
    for attribute in body.attributes() {
        reader.parts.attributes.insert(
            attribute.key.as_str().to_owned(),
            Attribute {
                file,
                key: attribute.key.span(),
                value: attribute.value.clone(),
            },
        );
    }
    for block in body.blocks() {
        reader.block(block)?;
    }
    Ok(())
}

struct Reader<'a> {
    parts: &'a mut Parts,
    sheet: &'a Sheet,
    file: usize,
}

impl Reader<'_> {
    fn at(&self, span: Option<Range<usize>>, message: impl Into<String>) -> BakeError {
        BakeError::At {
            place: place(self.sheet, span).into(),
            message: message.into(),
        }
    }

    fn block(&mut self, block: &structure::Block) -> Result<(), BakeError> {
        let kind = block.ident.as_str();
        if !["variable", "function", "group", "target"].contains(&kind) {
            return Err(BakeError::Unknown {
                place: Some(place(self.sheet, block.ident.span()).into()),
                kind: "block type",
                name: kind.to_owned(),
                known: ["variable", "function", "group", "target"]
                    .map(str::to_owned)
                    .into(),
            });
        }
        let [label] = &block.labels[..] else {
            return Err(self.at(
                block.ident.span(),
                format!("a {kind} has one name: {kind} \"NAME\" {{ … }}"),
            ));
        };
        let name = label.as_str().to_owned();
        match kind {
            "variable" => self.variable(name, &block.body),
            "function" => self.function(name, block),
            kind => {
                let kind = if kind == "group" {
                    Kind::Group
                } else {
                    Kind::Target
                };
                if let Some(inner) = block.body.blocks().next() {
                    let inner_name = inner.ident.as_str();
                    return Err(self.at(
                        inner.ident.span(),
                        format!("a {} has no blocks: write {inner_name} = {{ … }}", kind.name()),
                    ));
                }
                let mut attributes = BTreeMap::new();
                for attribute in block.body.attributes() {
                    let key = attribute.key.as_str().to_owned();
                    attributes.insert(
                        key,
                        Attribute {
                            file: self.file,
                            key: attribute.key.span(),
                            value: attribute.value.clone(),
                        },
                    );
                }
                self.parts.blocks.push(Block {
                    kind,
                    file: self.file,
                    label: name,
                    span: label.span(),
                    attributes,
                });
                Ok(())
            }
        }
    }

    fn variable(&mut self, name: String, body: &Body) -> Result<(), BakeError> {
        let mut variable = VariableBlock {
            file: self.file,
            ..VariableBlock::default()
        };
        for attribute in body.attributes() {
            let value = Some(attribute.value.clone());
            match attribute.key.as_str() {
                "default" => variable.default = value,
                "type" => variable.constraint = value,
                "description" => variable.description = value,
                // Of Terraform's; buildx takes it and does nothing with it either.
                "sensitive" => {}
                other => return Err(self.unexpected(attribute.key.span(), other, "variable", VARIABLE)),
            }
        }
        for block in body.blocks() {
            if block.ident.as_str() != "validation" {
                return Err(self.unexpected(block.ident.span(), block.ident.as_str(), "variable", VARIABLE));
            }
            let get = |name: &str| block.body.get_attribute(name).map(|found| found.value.clone());
            let Some(condition) = get("condition") else {
                return Err(self.at(block.ident.span(), "a validation needs a condition"));
            };
            variable.validations.push(Validation {
                condition,
                message: get("error_message"),
            });
        }
        self.parts.variables.insert(name, variable);
        Ok(())
    }

    fn function(&mut self, name: String, block: &structure::Block) -> Result<(), BakeError> {
        let (mut parameters, mut variadic, mut result) = (None, None, None);
        for attribute in block.body.attributes() {
            match attribute.key.as_str() {
                "params" => {
                    let Expression::Array(array) = &attribute.value else {
                        return Err(self.at(attribute.value.span(), "params is a list of names: [a, b]"));
                    };
                    let names = array.iter().map(|item| self.name(item));
                    parameters = Some(names.collect::<Result<Vec<_>, _>>()?);
                }
                "variadic_param" => variadic = Some(self.name(&attribute.value)?),
                "result" => result = Some(attribute.value.clone()),
                other => return Err(self.unexpected(attribute.key.span(), other, "function", FUNCTION)),
            }
        }
        let span = block.labels.first().and_then(Span::span);
        let (Some(parameters), Some(result)) = (parameters, result) else {
            return Err(self.at(span, format!("the function \"{name}\" needs params and result")));
        };
        self.parts.functions.insert(
            name,
            FunctionBlock {
                file: self.file,
                parameters,
                variadic,
                result,
            },
        );
        Ok(())
    }

    fn name(&self, expression: &Expression) -> Result<String, BakeError> {
        match expression {
            Expression::Variable(name) => Ok(name.as_str().to_owned()),
            other => Err(self.at(other.span(), "a parameter's name is a word without quotes")),
        }
    }

    fn unexpected(
        &self,
        span: Option<Range<usize>>,
        name: &str,
        of: &str,
        known: &'static [&'static str],
    ) -> BakeError {
        BakeError::Unknown {
            place: Some(place(self.sheet, span).into()),
            kind: if of == "variable" {
                "attribute of a variable"
            } else {
                "attribute of a function"
            },
            name: name.to_owned(),
            known: known.iter().map(|known| (*known).to_owned()).collect(),
        }
    }
}

const VARIABLE: &[&str] = &["default", "type", "description", "validation"];
const FUNCTION: &[&str] = &["params", "variadic_param", "result"];
