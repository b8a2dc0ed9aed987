//! Variables: what stands in the files, unless the environment or the command line says otherwise.

use crate::blocks::VariableBlock;
use crate::constraint::{self, Constraint};
use crate::definition::VariableReport;
use crate::error::BakeError;
use crate::evaluate::Frame;
use crate::value::Value;
use crate::world::World;

/// A variable's value may come as JSON in a variable of its name and this.
const JSON: &str = "_JSON";

impl World<'_> {
    /// Returns the value of a variable, if there is one by that name.
    pub(crate) fn variable(&self, name: &str) -> Option<Result<Value, BakeError>> {
        if let Some(value) = self.surroundings.builtins.get(name) {
            return Some(Ok(Value::Text(value.clone())));
        }
        let attribute = self.parts.attributes.get(name);
        let block = self.parts.variables.get(name);
        let (file, expression) = match (attribute, block) {
            (Some(attribute), _) => (attribute.file, Some(&attribute.value)),
            (None, Some(block)) => (block.file, block.default.as_ref()),
            (None, None) => return None,
        };
        let cycle = || {
            let message = format!("the variable \"{name}\" needs itself");
            match expression {
                Some(expression) => self.at(file, expression, message),
                None => BakeError::request(message),
            }
        };
        Some(self.once(format!("variable {name}"), cycle, || {
            let default = match expression {
                Some(expression) => Some(self.value(expression, &Frame::new(file))?),
                None => None,
            };
            match block {
                Some(block) => self.overridden(name, block, default),
                None => Ok(default.unwrap_or(Value::Null)),
            }
        }))
    }

    fn constraint(&self, block: &VariableBlock) -> Result<Option<Constraint>, BakeError> {
        let Some(expression) = &block.constraint else {
            return Ok(None);
        };
        let constraint = constraint::read(expression).map_err(|why| self.at(block.file, expression, why))?;
        Ok(Some(constraint))
    }

    fn overridden(
        &self,
        name: &str,
        block: &VariableBlock,
        default: Option<Value>,
    ) -> Result<Value, BakeError> {
        let constraint = self.constraint(block)?;
        let wrong = |why: String| BakeError::request(format!("the variable {name}: {why}"));
        let default = match (&constraint, default, &block.default) {
            (Some(constraint), Some(value), Some(expression)) => {
                let value = constraint.convert(value).map_err(|why| {
                    self.at(
                        block.file,
                        expression,
                        format!("the default of \"{name}\": {why}"),
                    )
                })?;
                Some(value)
            }
            (_, default, _) => default,
        };
        let given = self.surroundings.lookup(name);
        if given.is_none() || constraint.is_some() {
            // A variable that is itself called so takes it for its own.
            let json_name = format!("{name}{JSON}");
            if !self.parts.variables.contains_key(&json_name)
                && let Some(json) = self.surroundings.lookup(&json_name)
                && let Some(constraint) = &constraint
            {
                let json = serde_json::from_str(&json)
                    .map_err(|error| wrong(format!("{json_name} is not JSON: {error}")))?;
                return constraint.convert(Value::from_json(&json)).map_err(wrong);
            }
        }
        let Some(given) = given else {
            return Ok(match (default, constraint) {
                (Some(default), _) => default,
                (None, Some(_)) => Value::Null,
                (None, None) => Value::Text(String::new()),
            });
        };
        match (constraint, &default) {
            (Some(constraint), _) => constraint.read_text(&given).map_err(wrong),
            (None, None | Some(Value::Null)) => Ok(Value::Text(given)),
            (None, Some(default)) => match Constraint::of_scalar(default) {
                Some(constraint) => constraint.read_text(&given).map_err(wrong),
                None => Err(wrong(
                    "only variables with a type can be set to a collection: give it one, as in type = list(string)"
                        .to_owned(),
                )),
            },
        }
    }

    /// Evaluates all variables, checks them, and says what they are.
    pub(crate) fn variables(&self) -> Result<Vec<VariableReport>, BakeError> {
        let mut reports = Vec::new();
        for (name, block) in &self.parts.variables {
            let Some(value) = self.variable(name) else {
                continue;
            };
            let value = value?;
            let constraint = self.constraint(block)?;
            let description = match &block.description {
                Some(expression) => self.value(expression, &Frame::new(block.file))?.text(),
                None => None,
            };
            reports.push(VariableReport {
                name: name.clone(),
                description: description.unwrap_or_default(),
                kind: constraint
                    .map(|constraint| constraint.to_string())
                    .unwrap_or_default(),
                value: match &value {
                    Value::Null => None,
                    value => Some(value.text().unwrap_or_else(|| value.to_json().to_string())),
                },
            });
        }
        for (name, block) in &self.parts.variables {
            for validation in &block.validations {
                let frame = Frame::new(block.file);
                let verdict = self.value(&validation.condition, &frame)?;
                match verdict.bool() {
                    Some(true) => {}
                    Some(false) => {
                        let message = match &validation.message {
                            Some(message) => self.value(message, &frame)?.text(),
                            None => None,
                        };
                        let message = message.unwrap_or_else(|| "its condition does not hold".to_owned());
                        return Err(self.at(
                            block.file,
                            &validation.condition,
                            format!("the variable \"{name}\" is not valid: {message}"),
                        ));
                    }
                    None => {
                        let message = format!("a condition is true or false, not {}", verdict.kind());
                        return Err(self.at(block.file, &validation.condition, message));
                    }
                }
            }
        }
        Ok(reports)
    }
}
