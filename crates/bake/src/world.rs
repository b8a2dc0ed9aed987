//! Everything that names can mean while expressions are evaluated: each is worked out when it is first asked for.

use crate::blocks::{Block, Parts, Sheet};
use crate::definition::Surroundings;
use crate::error::{BakeError, Place};
use crate::evaluate::Frame;
use crate::value::Value;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The files, and what has been worked out of them.
pub(crate) struct World<'s> {
    pub parts: &'s Parts,
    pub sheets: &'s [Sheet],
    pub surroundings: &'s Surroundings,
    /// The targets and groups of each block; empty until their names are known.
    pub variants: RefCell<Vec<Vec<Variant>>>,
    known: RefCell<BTreeMap<String, Value>>,
    begun: RefCell<BTreeSet<String>>,
}

/// One of the targets that a block stands for: there are several if it has a matrix.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub name: String,
    pub names: BTreeMap<String, Value>,
}

impl<'s> World<'s> {
    pub(crate) fn new(parts: &'s Parts, sheets: &'s [Sheet], surroundings: &'s Surroundings) -> Self {
        Self {
            parts,
            sheets,
            surroundings,
            variants: RefCell::new(Vec::new()),
            known: RefCell::new(BTreeMap::new()),
            begun: RefCell::new(BTreeSet::new()),
        }
    }

    /// Works something out once. What needs itself is an error.
    pub(crate) fn once(
        &self,
        key: String,
        cycle: impl FnOnce() -> BakeError,
        work: impl FnOnce() -> Result<Value, BakeError>,
    ) -> Result<Value, BakeError> {
        if let Some(value) = self.known.borrow().get(&key) {
            return Ok(value.clone());
        }
        if !self.begun.borrow_mut().insert(key.clone()) {
            return Err(cycle());
        }
        let value = work();
        self.begun.borrow_mut().remove(&key);
        let value = value?;
        self.known.borrow_mut().insert(key, value.clone());
        Ok(value)
    }

    /// Does something that must not be done within itself.
    pub(crate) fn guarded<T>(
        &self,
        key: &str,
        cycle: impl FnOnce() -> BakeError,
        work: impl FnOnce() -> Result<T, BakeError>,
    ) -> Result<T, BakeError> {
        if !self.begun.borrow_mut().insert(key.to_owned()) {
            return Err(cycle());
        }
        let result = work();
        self.begun.borrow_mut().remove(key);
        result
    }

    /// Makes an error about an expression.
    pub(crate) fn at(&self, file: usize, expression: &Expression, message: impl Into<String>) -> BakeError {
        BakeError::At {
            place: place(&self.sheets[file], expression.span()).into(),
            message: message.into(),
        }
    }

    /// Returns the place of something in a file.
    pub(crate) fn place(&self, file: usize, span: Option<Range<usize>>) -> Place {
        place(&self.sheets[file], span)
    }

    /// Works out which targets and groups the blocks stand for.
    pub(crate) fn name_blocks(&self) -> Result<(), BakeError> {
        let blocks = &self.parts.blocks;
        let variants = blocks
            .iter()
            .map(|block| self.variants_of(block))
            .collect::<Result<_, _>>()?;
        *self.variants.borrow_mut() = variants;
        Ok(())
    }

    fn variants_of(&self, block: &Block) -> Result<Vec<Variant>, BakeError> {
        let at = |span, message: String| BakeError::At {
            place: self.place(block.file, span).into(),
            message,
        };
        check_name(&block.label).map_err(|why| at(block.span.clone(), why))?;
        let (matrix, name) = (block.attributes.get("matrix"), block.attributes.get("name"));
        if block.kind == crate::blocks::Kind::Group
            && let Some(attribute) = matrix.or(name)
        {
            return Err(at(
                attribute.key.clone(),
                "a group has no matrix and no name of its own".to_owned(),
            ));
        }
        let Some(matrix) = matrix else {
            if let Some(name) = name {
                return Err(at(
                    name.key.clone(),
                    "name needs a matrix: a target is named by its label".to_owned(),
                ));
            }
            return Ok(vec![Variant {
                name: block.label.clone(),
                names: BTreeMap::new(),
            }]);
        };
        let frame = Frame::new(block.file);
        let Value::Map(axes) = self.value(&matrix.value, &frame)? else {
            return Err(self.at(
                block.file,
                &matrix.value,
                "a matrix is an object of lists: { axis = [ … ] }",
            ));
        };
        let mut corners = vec![BTreeMap::new()];
        for (axis, values) in &axes {
            let values: Vec<Value> = match values {
                Value::List(values) | Value::Set(values) => values.clone(),
                Value::Map(values) => values.values().cloned().collect(),
                other => {
                    let message = format!(
                        "the values of the axis \"{axis}\" are {}, not a list",
                        other.kind()
                    );
                    return Err(self.at(block.file, &matrix.value, message));
                }
            };
            corners = values
                .iter()
                .flat_map(|value| {
                    corners.iter().map(move |corner: &BTreeMap<String, Value>| {
                        let mut corner = corner.clone();
                        corner.insert(axis.clone(), value.clone());
                        corner
                    })
                })
                .collect();
            // A few axes of a few values each can stand for more targets than anybody could build.
            if corners.len() > MOST_VARIANTS {
                return Err(self.at(
                    block.file,
                    &matrix.value,
                    format!("this matrix makes more than {MOST_VARIANTS} targets"),
                ));
            }
        }
        let mut variants: Vec<Variant> = Vec::new();
        for names in corners {
            let variant = match name {
                None => block.label.clone(),
                Some(name) => {
                    let frame = Frame::with(block.file, names.clone());
                    let value = self.value(&name.value, &frame)?;
                    let Some(text) = value.text() else {
                        let message = format!("a target's name is a string, not {}", value.kind());
                        return Err(self.at(block.file, &name.value, message));
                    };
                    check_name(&text).map_err(|why| self.at(block.file, &name.value, why))?;
                    text
                }
            };
            if variants.iter().any(|known| known.name == variant) {
                let message = match name {
                    None => {
                        "a matrix of several targets needs a name for each: name = \"app-${axis}\"".to_owned()
                    }
                    Some(_) => format!("two targets of this matrix have the name \"{variant}\""),
                };
                let blame = name.map_or(&matrix.value, |name| &name.value);
                return Err(self.at(block.file, blame, message));
            }
            variants.push(Variant { name: variant, names });
        }
        Ok(variants)
    }
}

const MOST_VARIANTS: usize = 10_000;

/// Says what is wrong with the name of a target or group.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(is_good) {
        return Err(format!(
            "the name {name:?} has other characters than a-z A-Z 0-9 _ -"
        ));
    }
    Ok(())
}

/// Finds lines and columns.
pub(crate) fn place(sheet: &Sheet, span: Option<Range<usize>>) -> Place {
    let text = &sheet.text;
    let span = span.filter(|span| {
        sheet.has_places
            && span.end <= text.len()
            && text.is_char_boundary(span.start)
            && text.is_char_boundary(span.end)
    });
    let Some(span) = span else {
        return Place {
            file: sheet.name.clone(),
            lines: None,
            columns: (0, 0),
        };
    };
    let position = |at: usize| {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    };
    let (first, from) = position(span.start);
    let (last, to) = position(span.end);
    Place {
        file: sheet.name.clone(),
        lines: Some((first, last)),
        columns: (from, to),
    }
}
