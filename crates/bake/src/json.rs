//! The JSON form of HCL: blocks are objects by their names, strings are templates.

use crate::blocks::{Attribute, Block, FunctionBlock, Kind, Parts, Sheet, Validation, VariableBlock};
use crate::error::{BakeError, Place};
use hcl_edit::expr::{Array, Expression, Object, ObjectKey, ObjectValue};
use hcl_edit::template::{Element, StringTemplate};
use serde_json::{Map, Value as Json};

/// Reads a file into what the files before it gave.
pub(crate) fn read(parts: &mut Parts, sheets: &[Sheet], file: usize) -> Result<(), BakeError> {
    let sheet = &sheets[file];
    let json: Json = serde_json::from_str(&sheet.text).map_err(|error| BakeError::At {
        place: Box::new(Place {
            file: sheet.name.clone(),
            lines: Some((error.line(), error.line())),
            columns: (error.column(), error.column()),
        }),
        message: format!("is not JSON: {}", plain(&error)),
    })?;
    let reader = Reader { sheet, file };
    let Json::Object(fields) = &json else {
        return Err(reader.wrong("a bake file in JSON is an object"));
    };
    for (name, value) in fields {
        match name.as_str() {
            "variable" => {
                for (name, body) in reader.bodies(name, value)? {
                    let variable = reader.variable(&name, body)?;
                    parts.variables.insert(name, variable);
                }
            }
            "function" => {
                for (name, body) in reader.bodies(name, value)? {
                    let function = reader.function(&name, body)?;
                    parts.functions.insert(name, function);
                }
            }
            "group" | "target" => {
                let kind = if name == "group" {
                    Kind::Group
                } else {
                    Kind::Target
                };
                for (label, body) in reader.bodies(name, value)? {
                    let mut attributes = std::collections::BTreeMap::new();
                    for (key, value) in body {
                        let value = reader.expression(value)?;
                        attributes.insert(
                            key.clone(),
                            Attribute {
                                file,
                                key: None,
                                value,
                            },
                        );
                    }
                    parts.blocks.push(Block {
                        kind,
                        file,
                        label,
                        span: None,
                        attributes,
                    });
                }
            }
            // By convention a comment.
            "//" => {}
            _ => {
                let value = reader.expression(value)?;
                parts.attributes.insert(
                    name.clone(),
                    Attribute {
                        file,
                        key: None,
                        value,
                    },
                );
            }
        }
    }
    Ok(())
}

/// `serde_json` says the place again.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Blocks by their names.
type Bodies<'j> = Vec<(String, &'j Map<String, Json>)>;

struct Reader<'a> {
    sheet: &'a Sheet,
    file: usize,
}

impl Reader<'_> {
    fn wrong(&self, message: impl Into<String>) -> BakeError {
        BakeError::At {
            place: Box::new(Place {
                file: self.sheet.name.clone(),
                lines: None,
                columns: (0, 0),
            }),
            message: message.into(),
        }
    }

    /// Takes the blocks of a type apart: an object of bodies, each perhaps a list of several, or a list of such objects.
    fn bodies<'j>(&self, kind: &str, value: &'j Json) -> Result<Bodies<'j>, BakeError> {
        let mut bodies = Vec::new();
        match value {
            Json::Array(values) => {
                for value in values {
                    bodies.extend(self.bodies(kind, value)?);
                }
            }
            Json::Object(fields) => {
                for (name, body) in fields {
                    match body {
                        Json::Object(body) => bodies.push((name.clone(), body)),
                        Json::Array(several) => {
                            for body in several {
                                let Json::Object(body) = body else {
                                    return Err(self.wrong(format!("the {kind} \"{name}\" is no object")));
                                };
                                bodies.push((name.clone(), body));
                            }
                        }
                        _ => return Err(self.wrong(format!("the {kind} \"{name}\" is no object"))),
                    }
                }
            }
            _ => return Err(self.wrong(format!("\"{kind}\" is no object of {kind}s by their names"))),
        }
        Ok(bodies)
    }

    fn variable(&self, name: &str, body: &Map<String, Json>) -> Result<VariableBlock, BakeError> {
        let mut variable = VariableBlock {
            file: self.file,
            ..VariableBlock::default()
        };
        for (key, value) in body {
            match key.as_str() {
                "default" => variable.default = Some(self.expression(value)?),
                "description" => variable.description = Some(self.expression(value)?),
                "type" => {
                    let text = value.as_str().unwrap_or_default();
                    variable.constraint = Some(hcl_edit::parser::parse_expr(text).map_err(|error| {
                        self.wrong(format!("the type of \"{name}\" is none: {}", error.message()))
                    })?);
                }
                "validation" => {
                    let several = match value {
                        Json::Array(values) => values.iter().collect(),
                        value => vec![value],
                    };
                    for value in several {
                        let Some(condition) = value.get("condition") else {
                            return Err(self.wrong(format!("a validation of \"{name}\" needs a condition")));
                        };
                        let message = value.get("error_message");
                        variable.validations.push(Validation {
                            condition: self.expression(condition)?,
                            message: message.map(|message| self.expression(message)).transpose()?,
                        });
                    }
                }
                "sensitive" | "//" => {}
                other => return Err(self.wrong(format!("a variable has no attribute \"{other}\""))),
            }
        }
        Ok(variable)
    }

    fn function(&self, name: &str, body: &Map<String, Json>) -> Result<FunctionBlock, BakeError> {
        let names = |value: &Json| -> Option<Vec<String>> {
            let names = value.as_array()?.iter();
            names.map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let (Some(parameters), Some(result)) = (body.get("params").and_then(names), body.get("result"))
        else {
            return Err(self.wrong(format!(
                "the function \"{name}\" needs params, a list of names, and result"
            )));
        };
        Ok(FunctionBlock {
            file: self.file,
            parameters,
            variadic: body
                .get("variadic_param")
                .and_then(Json::as_str)
                .map(str::to_owned),
            result: self.expression(result)?,
        })
    }

    fn expression(&self, value: &Json) -> Result<Expression, BakeError> {
        Ok(match value {
            Json::Null => Expression::null(),
            Json::Bool(value) => Expression::from(*value),
            Json::Number(number) => {
                let number = match (number.as_i64(), number.as_u64()) {
                    (Some(whole), _) => Some(hcl_edit::Number::from(whole)),
                    (_, Some(whole)) => Some(hcl_edit::Number::from(whole)),
                    _ => number.as_f64().and_then(hcl_edit::Number::from_f64),
                };
                Expression::from(number.ok_or_else(|| self.wrong("a number that is none"))?)
            }
            Json::String(text) => self.template(text)?,
            Json::Array(values) => {
                let mut array = Array::new();
                for value in values {
                    array.push(self.expression(value)?);
                }
                Expression::Array(array)
            }
            Json::Object(values) => {
                let mut object = Object::new();
                for (key, value) in values {
                    let key = ObjectKey::Expression(self.template(key)?);
                    object.insert(key, ObjectValue::new(self.expression(value)?));
                }
                Expression::Object(object)
            }
        })
    }

    fn template(&self, text: &str) -> Result<Expression, BakeError> {
        if !text.contains("${") && !text.contains("%{") {
            return Ok(Expression::from(text));
        }
        let parsed = hcl_edit::parser::parse_template(text)
            .map_err(|error| self.wrong(format!("in {text:?}: {}", error.message())))?;
        let mut template = StringTemplate::new();
        for element in parsed {
            let element: Element = element;
            template.push(element);
        }
        Ok(Expression::from(template))
    }
}
