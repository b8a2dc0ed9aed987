//! Expressions to values.

use crate::blocks::Kind;
use crate::error::BakeError;
use crate::fields;
use crate::functions;
use crate::value::{Number, Value};
use crate::world::World;
use hcl_edit::expr::{
    BinaryOperator, Expression, ForExpr, FuncCall, ObjectKey, TraversalOperator, UnaryOperator,
};
use hcl_edit::{Decorated, Ident, Span};
use std::collections::BTreeMap;

/// The names that count at a place: parameters, loop variables, a matrix's axes.
#[derive(Debug)]
pub(crate) struct Frame<'p> {
    /// The file that the expressions stand in.
    pub file: usize,
    names: BTreeMap<String, Value>,
    parent: Option<&'p Self>,
}

impl<'p> Frame<'p> {
    pub(crate) fn new(file: usize) -> Self {
        Self::with(file, BTreeMap::new())
    }

    pub(crate) fn with(file: usize, names: BTreeMap<String, Value>) -> Self {
        Self {
            file,
            names,
            parent: None,
        }
    }

    pub(crate) fn within(parent: &'p Self, names: BTreeMap<String, Value>) -> Self {
        Self {
            file: parent.file,
            names,
            parent: Some(parent),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let own = self.names.get(name);
        own.or_else(|| self.parent.and_then(|parent| parent.get(name)))
    }

    fn all(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.keys().cloned().collect();
        names.extend(self.parent.map(Frame::all).unwrap_or_default());
        names
    }
}

impl World<'_> {
    /// Evaluates an expression.
    pub(crate) fn value(&self, expression: &Expression, frame: &Frame<'_>) -> Result<Value, BakeError> {
        let at = |message: String| self.at(frame.file, expression, message);
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(number) => {
                let number = number.value();
                let value = match (number.as_i64(), number.as_u64()) {
                    (Some(whole), _) => Number::Whole(whole.into()),
                    (_, Some(whole)) => Number::Whole(whole.into()),
                    _ => Number::real(number.as_f64().unwrap_or_default()),
                };
                Ok(Value::Number(value))
            }
            Expression::String(text) => Ok(Value::Text(text.value().clone())),
            Expression::Array(items) => {
                let values = items.iter().map(|item| self.value(item, frame));
                Ok(Value::List(values.collect::<Result<_, _>>()?))
            }
            Expression::Object(object) => {
                let mut fields = BTreeMap::new();
                for (key, value) in object {
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(key) => {
                            let value = self.value(key, frame)?;
                            let message = || format!("a key is a string, not {}", value.kind());
                            value.text().ok_or_else(|| self.at(frame.file, key, message()))?
                        }
                    };
                    fields.insert(name, self.value(value.expr(), frame)?);
                }
                Ok(Value::Map(fields))
            }
            Expression::StringTemplate(template) => self.template(template.iter(), frame),
            Expression::HeredocTemplate(heredoc) => {
                let mut heredoc = heredoc.clone();
                heredoc.dedent();
                self.document(&heredoc.template, frame).map(Value::Text)
            }
            Expression::Parenthesis(inner) => self.value(inner.inner(), frame),
            Expression::Variable(name) => self.named(name, frame),
            Expression::Conditional(conditional) => {
                let condition = self.value(&conditional.cond_expr, frame)?;
                match condition.bool() {
                    Some(true) => self.value(&conditional.true_expr, frame),
                    Some(false) => self.value(&conditional.false_expr, frame),
                    None => Err(self.at(
                        frame.file,
                        &conditional.cond_expr,
                        format!("a condition is true or false, not {}", condition.kind()),
                    )),
                }
            }
            Expression::FuncCall(call) => self.call(expression, call, frame),
            Expression::Traversal(traversal) => {
                let operators: Vec<&TraversalOperator> =
                    traversal.operators.iter().map(Decorated::value).collect();
                if let Expression::Variable(root) = &traversal.expr
                    && let Some(kind) = block_kind(root.as_str())
                    && frame.get(root.as_str()).is_none()
                {
                    return self.referred(expression, kind, &operators, frame);
                }
                let value = self.value(&traversal.expr, frame)?;
                self.traverse(expression, value, &operators, frame)
            }
            Expression::UnaryOp(operation) => {
                let value = self.value(&operation.expr, frame)?;
                match operation.operator.value() {
                    UnaryOperator::Neg => match value.number() {
                        Some(number) => Ok(Value::Number(Number::Whole(0).with(
                            number,
                            i128::checked_sub,
                            |a, b| a - b,
                        ))),
                        None => Err(at(format!("- needs a number, not {}", value.kind()))),
                    },
                    UnaryOperator::Not => match value.bool() {
                        Some(value) => Ok(Value::Bool(!value)),
                        None => Err(at(format!("! needs true or false, not {}", value.kind()))),
                    },
                }
            }
            Expression::BinaryOp(operation) => {
                let left = self.value(&operation.lhs_expr, frame)?;
                let right = self.value(&operation.rhs_expr, frame)?;
                binary(*operation.operator.value(), &left, &right).map_err(at)
            }
            Expression::ForExpr(each) => self.each(each, frame),
        }
    }

    fn named(&self, name: &Decorated<Ident>, frame: &Frame<'_>) -> Result<Value, BakeError> {
        let text = name.as_str();
        if let Some(value) = frame.get(text) {
            return Ok(value.clone());
        }
        let place = || self.place(frame.file, name.span());
        if let Some(kind) = block_kind(text) {
            return Err(BakeError::At {
                place: place().into(),
                message: format!(
                    "{text} is no variable: {0}.NAME.ATTRIBUTE is an attribute of a {0}",
                    kind.name()
                ),
            });
        }
        match self.variable(text) {
            Some(value) => value,
            None => Err(BakeError::Unknown {
                place: Some(place().into()),
                kind: "variable",
                name: text.to_owned(),
                known: {
                    let mut known = frame.all();
                    known.extend(self.parts.variables.keys().cloned());
                    known.extend(self.parts.attributes.keys().cloned());
                    known
                },
            }),
        }
    }

    fn call(&self, expression: &Expression, call: &FuncCall, frame: &Frame<'_>) -> Result<Value, BakeError> {
        let name = call.name.name.as_str();
        let at = |message: String| self.at(frame.file, expression, message);
        if call.name.is_namespaced() {
            return Err(at("functions have no namespaces here".to_owned()));
        }
        if !self.parts.functions.contains_key(name) {
            match name {
                "try" => {
                    let mut last = None;
                    for argument in &call.args {
                        match self.value(argument, frame) {
                            Ok(value) => return Ok(value),
                            Err(error) => last = Some(error),
                        }
                    }
                    return Err(last.unwrap_or_else(|| at("try needs an argument".to_owned())));
                }
                "can" => {
                    let Some(argument) = call.args.get(0).filter(|_| call.args.len() == 1) else {
                        return Err(at("can needs one argument".to_owned()));
                    };
                    return Ok(Value::Bool(self.value(argument, frame).is_ok()));
                }
                "convert" => {
                    let (Some(value), Some(constraint), 2) =
                        (call.args.get(0), call.args.get(1), call.args.len())
                    else {
                        return Err(at("convert needs a value and a type".to_owned()));
                    };
                    let constraint = crate::constraint::read(constraint).map_err(at)?;
                    let value = self.value(value, frame)?;
                    return constraint.convert(value).map_err(at);
                }
                _ => {}
            }
        }
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.value(argument, frame)?);
        }
        if call.args.expand_final() {
            match arguments.pop() {
                Some(Value::List(values) | Value::Set(values)) => arguments.extend(values),
                Some(other) => return Err(at(format!("… needs a list to take apart, not {}", other.kind()))),
                None => {}
            }
        }
        if let Some(function) = self.parts.functions.get(name) {
            let count = function.parameters.len();
            let fits = match function.variadic {
                None => arguments.len() == count,
                Some(_) => arguments.len() >= count,
            };
            if !fits {
                return Err(at(format!(
                    "the function \"{name}\" takes {}{count} argument{}, not {}",
                    if function.variadic.is_some() {
                        "at least "
                    } else {
                        ""
                    },
                    if count == 1 { "" } else { "s" },
                    arguments.len()
                )));
            }
            let rest = arguments.split_off(count);
            let mut names: BTreeMap<String, Value> =
                function.parameters.iter().cloned().zip(arguments).collect();
            if let Some(variadic) = &function.variadic {
                names.insert(variadic.clone(), Value::List(rest));
            }
            let own = Frame::with(function.file, names);
            return self.guarded(
                &format!("function {name}"),
                || at(format!("the function \"{name}\" calls itself")),
                || self.value(&function.result, &own),
            );
        }
        if let Some(result) = functions::call(name, &arguments, self.surroundings) {
            return result.map_err(|why| at(format!("{name}: {why}")));
        }
        let mut known: Vec<String> = self.parts.functions.keys().cloned().collect();
        known.extend(functions::names().map(str::to_owned));
        Err(BakeError::Unknown {
            place: Some(self.place(frame.file, call.name.name.span()).into()),
            kind: "function",
            name: name.to_owned(),
            known,
        })
    }

    /// `target.NAME.ATTRIBUTE`.
    fn referred(
        &self,
        expression: &Expression,
        kind: Kind,
        operators: &[&TraversalOperator],
        frame: &Frame<'_>,
    ) -> Result<Value, BakeError> {
        let word = |operator: &TraversalOperator| -> Result<Option<String>, BakeError> {
            match operator {
                TraversalOperator::GetAttr(name) => Ok(Some(name.as_str().to_owned())),
                TraversalOperator::Index(index) => Ok(self.value(index, frame)?.text()),
                _ => Ok(None),
            }
        };
        let at = |message: String| self.at(frame.file, expression, message);
        let form = || {
            at(format!(
                "write {0}.NAME.ATTRIBUTE for an attribute of a {0}",
                kind.name()
            ))
        };
        let [first, second, rest @ ..] = operators else {
            return Err(form());
        };
        let (Some(name), Some(attribute)) = (word(first)?, word(second)?) else {
            return Err(form());
        };
        let variants = self.variants.borrow().clone();
        let known: Vec<(usize, usize)> = self
            .parts
            .blocks
            .iter()
            .enumerate()
            .filter(|(_, block)| block.kind == kind)
            .flat_map(|(index, _)| {
                let of_block = variants.get(index).map(Vec::as_slice).unwrap_or_default();
                (0..of_block.len()).map(move |variant| (index, variant))
            })
            .collect();
        let found: Vec<(usize, usize)> = known
            .iter()
            .copied()
            .filter(|(block, variant)| variants[*block][*variant].name == name)
            .collect();
        if found.is_empty() {
            return Err(BakeError::Unknown {
                place: Some(self.place(frame.file, expression.span()).into()),
                kind: kind.name(),
                name,
                known: known
                    .into_iter()
                    .map(|(block, variant)| variants[block][variant].name.clone())
                    .collect(),
            });
        }
        let value = if attribute == "name" {
            Value::Text(name)
        } else {
            if !fields::known(kind).contains(&attribute.as_str()) {
                return Err(BakeError::Unknown {
                    place: Some(self.place(frame.file, expression.span()).into()),
                    kind: fields::attribute_of(kind),
                    name: attribute,
                    known: fields::known(kind)
                        .iter()
                        .map(|name| (*name).to_owned())
                        .collect(),
                });
            }
            let with = found
                .into_iter()
                .rfind(|(block, _)| self.parts.blocks[*block].attributes.contains_key(&attribute));
            match with {
                None => Value::Null,
                Some((block, variant)) => {
                    self.attribute(block, variant, &variants[block][variant], &attribute)?
                }
            }
        };
        self.traverse(expression, value, rest, frame)
    }

    /// Evaluates an attribute of a target or group.
    pub(crate) fn attribute(
        &self,
        block: usize,
        variant: usize,
        names: &crate::world::Variant,
        attribute: &str,
    ) -> Result<Value, BakeError> {
        let of = &self.parts.blocks[block];
        let Some(found) = of.attributes.get(attribute) else {
            return Ok(Value::Null);
        };
        let cycle = || {
            let (kind, name) = (of.kind.name(), &names.name);
            self.at(
                found.file,
                &found.value,
                format!("{kind}.{name}.{attribute} needs itself"),
            )
        };
        self.once(format!("attribute {block} {variant} {attribute}"), cycle, || {
            let frame = Frame::with(of.file, names.names.clone());
            let value = self.value(&found.value, &frame)?;
            fields::coerce(of.kind, attribute, value).map_err(|why| self.at(of.file, &found.value, why))
        })
    }

    fn traverse(
        &self,
        expression: &Expression,
        mut value: Value,
        operators: &[&TraversalOperator],
        frame: &Frame<'_>,
    ) -> Result<Value, BakeError> {
        let at = |message: String| self.at(frame.file, expression, message);
        for (position, operator) in operators.iter().enumerate() {
            value = match operator {
                TraversalOperator::GetAttr(name) => field(value, name.as_str()).map_err(at)?,
                TraversalOperator::LegacyIndex(index) => {
                    let index = usize::try_from(*index.value()).unwrap_or(usize::MAX);
                    element(value, &index.into()).map_err(at)?
                }
                TraversalOperator::Index(index) => {
                    let index = self.value(index, frame)?;
                    element(value, &index).map_err(at)?
                }
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let full = matches!(operator, TraversalOperator::FullSplat(_));
                    let rest = &operators[position + 1..];
                    // `a.*.b[0]` takes the first of all `b`, `a[*].b[0]` the first of each `b`.
                    let own = rest
                        .iter()
                        .take_while(|next| full || matches!(next, TraversalOperator::GetAttr(_)))
                        .count();
                    let values = match value {
                        Value::Null => Vec::new(),
                        Value::List(values) | Value::Set(values) => values,
                        one => vec![one],
                    };
                    let values = values
                        .into_iter()
                        .map(|value| self.traverse(expression, value, &rest[..own], frame));
                    let list = Value::List(values.collect::<Result<_, _>>()?);
                    return self.traverse(expression, list, &rest[own..], frame);
                }
            };
        }
        Ok(value)
    }

    fn each(&self, each: &ForExpr, frame: &Frame<'_>) -> Result<Value, BakeError> {
        let intro = &each.intro;
        let key_name = intro.key_var.as_ref().map(|name| name.as_str());
        let rounds = self.rounds(&intro.collection_expr, key_name, intro.value_var.as_str(), frame)?;
        let mut list = Vec::new();
        let mut map: BTreeMap<String, Value> = BTreeMap::new();
        for names in rounds {
            let own = Frame::within(frame, names);
            if let Some(condition) = &each.cond {
                let value = self.value(&condition.expr, &own)?;
                match value.bool() {
                    Some(true) => {}
                    Some(false) => continue,
                    None => {
                        let message = format!("a condition is true or false, not {}", value.kind());
                        return Err(self.at(frame.file, &condition.expr, message));
                    }
                }
            }
            let value = self.value(&each.value_expr, &own)?;
            let Some(key) = &each.key_expr else {
                list.push(value);
                continue;
            };
            let name = self.value(key, &own)?;
            let Some(name) = name.text() else {
                let message = format!("a key is a string, not {}", name.kind());
                return Err(self.at(frame.file, key, message));
            };
            if each.grouping {
                match map.entry(name).or_insert_with(|| Value::List(Vec::new())) {
                    Value::List(group) => group.push(value),
                    other => *other = value,
                }
            } else if map.insert(name.clone(), value).is_some() {
                let message =
                    format!("the key \"{name}\" comes twice; with … behind the value both are kept");
                return Err(self.at(frame.file, key, message));
            }
        }
        Ok(if each.key_expr.is_some() {
            Value::Map(map)
        } else {
            Value::List(list)
        })
    }

    /// The names of each round of a loop.
    pub(crate) fn rounds(
        &self,
        collection: &Expression,
        key: Option<&str>,
        value_name: &str,
        frame: &Frame<'_>,
    ) -> Result<Vec<BTreeMap<String, Value>>, BakeError> {
        let round = |name: Value, value: Value| {
            let mut names = BTreeMap::new();
            if let Some(key) = key {
                names.insert(key.to_owned(), name);
            }
            names.insert(value_name.to_owned(), value);
            names
        };
        match self.value(collection, frame)? {
            Value::List(values) => Ok(values
                .into_iter()
                .enumerate()
                .map(|(index, value)| round(index.into(), value))
                .collect()),
            Value::Set(values) => Ok(values
                .into_iter()
                .map(|value| round(value.clone(), value))
                .collect()),
            Value::Map(values) => Ok(values
                .into_iter()
                .map(|(name, value)| round(Value::Text(name), value))
                .collect()),
            other => Err(self.at(
                frame.file,
                collection,
                format!("for goes over a list, a set or an object, not {}", other.kind()),
            )),
        }
    }
}

fn block_kind(name: &str) -> Option<Kind> {
    match name {
        "target" => Some(Kind::Target),
        "group" => Some(Kind::Group),
        _ => None,
    }
}

/// Takes a field of an object.
fn field(value: Value, name: &str) -> Result<Value, String> {
    let Value::Map(mut fields) = value else {
        return Err(format!("{} has no attribute \"{name}\"", value.kind()));
    };
    fields.remove(name).ok_or_else(|| {
        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        format!("the object has no attribute \"{name}\"; it has {known}")
    })
}

/// Takes an element of a list or an object.
pub(crate) fn element(value: Value, index: &Value) -> Result<Value, String> {
    match (value, index) {
        (Value::List(mut values), index) => {
            let Some(number) = index.number() else {
                return Err(format!("the index of a list is a number, not {}", index.kind()));
            };
            let length = values.len();
            match number.index().filter(|index| *index < length) {
                Some(index) => Ok(values.swap_remove(index)),
                None => Err(format!(
                    "the list has no element {number}: it has {length}, counted from 0"
                )),
            }
        }
        (fields @ Value::Map(_), index) => match index.text() {
            Some(name) => field(fields, &name),
            None => Err(format!("the key of an object is a string, not {}", index.kind())),
        },
        (Value::Set(_), _) => Err("a set has no order: its elements have no index".to_owned()),
        (other, _) => Err(format!("{} has no elements", other.kind())),
    }
}

fn binary(operator: BinaryOperator, left: &Value, right: &Value) -> Result<Value, String> {
    let sign = operator.as_str();
    let numbers = || match (left.number(), right.number()) {
        (Some(left), Some(right)) => Ok((left, right)),
        (None, _) => Err(format!("{sign} needs numbers, not {}", left.kind())),
        (_, None) => Err(format!("{sign} needs numbers, not {}", right.kind())),
    };
    let truths = || match (left.bool(), right.bool()) {
        (Some(left), Some(right)) => Ok((left, right)),
        (None, _) => Err(format!("{sign} needs true or false, not {}", left.kind())),
        (_, None) => Err(format!("{sign} needs true or false, not {}", right.kind())),
    };
    Ok(match operator {
        BinaryOperator::Eq => Value::Bool(left == right),
        BinaryOperator::NotEq => Value::Bool(left != right),
        BinaryOperator::And => truths().map(|(left, right)| Value::Bool(left && right))?,
        BinaryOperator::Or => truths().map(|(left, right)| Value::Bool(left || right))?,
        BinaryOperator::Less => Value::Bool(numbers().map(|(left, right)| left.compare(right).is_lt())?),
        BinaryOperator::LessEq => Value::Bool(numbers().map(|(left, right)| left.compare(right).is_le())?),
        BinaryOperator::Greater => Value::Bool(numbers().map(|(left, right)| left.compare(right).is_gt())?),
        BinaryOperator::GreaterEq => Value::Bool(numbers().map(|(left, right)| left.compare(right).is_ge())?),
        BinaryOperator::Plus => Value::Number(numbers().map(|(a, b)| functions::numbers::add(a, b))?),
        BinaryOperator::Minus => Value::Number(numbers().map(|(a, b)| functions::numbers::subtract(a, b))?),
        BinaryOperator::Mul => Value::Number(numbers().map(|(a, b)| functions::numbers::multiply(a, b))?),
        BinaryOperator::Div => {
            let (left, right) = numbers()?;
            Value::Number(functions::numbers::divide(left, right)?)
        }
        BinaryOperator::Mod => {
            let (left, right) = numbers()?;
            Value::Number(functions::numbers::modulo(left, right)?)
        }
    })
}
