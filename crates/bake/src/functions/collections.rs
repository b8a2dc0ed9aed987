//! Lists, sets and objects.

use super::strings::place_of;
use super::{Arguments, Outcome};
use crate::evaluate::element;
use crate::value::{Number, Value};
use std::collections::BTreeMap;

/// No list that a function makes is longer: a mistaken number must not fill the memory.
const LONGEST: usize = 100_000;

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Outcome> {
    Some(match name {
        "length" => length(arguments),
        "concat" => concat(arguments),
        "contains" => arguments
            .list(0)
            .and_then(|list| Ok(Value::Bool(list.contains(arguments.value(1)?)))),
        "sethaselement" => arguments
            .list(0)
            .and_then(|list| Ok(Value::Bool(list.contains(arguments.value(1)?)))),
        "coalesce" => coalesce(arguments),
        "coalescelist" => coalesce_list(arguments),
        "compact" => arguments.list(0).map(|list| {
            let keeps = |value: &&Value| !matches!(value, Value::Null) && value.text().as_deref() != Some("");
            Value::List(list.iter().filter(keeps).cloned().collect())
        }),
        "chunklist" => chunks(arguments),
        "distinct" => arguments.list(0).map(distinct),
        "element" => wrapped(arguments),
        "flatten" => arguments.list(0).map(|list| {
            let mut flat = Vec::new();
            flatten(list, &mut flat);
            Value::List(flat)
        }),
        "hasindex" => has_index(arguments),
        "index" => arguments
            .value(0)
            .and_then(|value| element(value.clone(), arguments.value(1)?)),
        "indexof" => arguments.list(0).and_then(|list| {
            place_of(list, arguments.value(1)?).ok_or_else(|| "the list has no such element".to_owned())
        }),
        "keys" => arguments
            .map(0)
            .map(|fields| Value::List(fields.keys().map(|name| name.as_str().into()).collect())),
        "values" => arguments
            .map(0)
            .map(|fields| Value::List(fields.values().cloned().collect())),
        "lookup" => lookup(arguments),
        "merge" => merge(arguments),
        "range" => range(arguments),
        "reverselist" => arguments
            .list(0)
            .map(|list| Value::List(list.iter().rev().cloned().collect())),
        "slice" => slice(arguments),
        "sort" => arguments.texts(0).map(|mut texts| {
            texts.sort();
            Value::List(texts.into_iter().map(Value::Text).collect())
        }),
        "zipmap" => zip(arguments),
        "setproduct" => product(arguments),
        "setunion" => sets(arguments, |left, right| {
            left.iter().chain(right).cloned().collect()
        }),
        "setintersection" => sets(arguments, |left, right| {
            left.iter()
                .filter(|value| right.contains(value))
                .cloned()
                .collect()
        }),
        "setsubtract" => sets(arguments, |left, right| {
            left.iter()
                .filter(|value| !right.contains(value))
                .cloned()
                .collect()
        }),
        "setsymmetricdifference" => sets(arguments, |left, right| {
            let only = |of: &[Value], other: &[Value]| -> Vec<Value> {
                of.iter()
                    .filter(|value| !other.contains(value))
                    .cloned()
                    .collect()
            };
            let mut all = only(left, right);
            all.extend(only(right, left));
            all
        }),
        _ => return None,
    })
}

fn length(arguments: Arguments<'_>) -> Outcome {
    Ok(match arguments.value(0)? {
        Value::List(values) | Value::Set(values) => values.len(),
        Value::Map(fields) => fields.len(),
        other => {
            return Err(format!(
                "argument 1 is a list, a set or an object, not {}",
                other.kind()
            ));
        }
    }
    .into())
}

fn concat(arguments: Arguments<'_>) -> Outcome {
    arguments.value(0)?;
    let mut all = Vec::new();
    for place in 0..arguments.0.len() {
        all.extend_from_slice(arguments.list(place)?);
    }
    Ok(Value::List(all))
}

fn coalesce(arguments: Arguments<'_>) -> Outcome {
    let first = arguments.0.iter().find(|value| !matches!(value, Value::Null));
    first.cloned().ok_or_else(|| "all arguments are null".to_owned())
}

fn coalesce_list(arguments: Arguments<'_>) -> Outcome {
    for place in 0..arguments.0.len() {
        if !arguments.list(place)?.is_empty() {
            return Ok(arguments.0[place].clone());
        }
    }
    Err("all lists are empty".to_owned())
}

fn chunks(arguments: Arguments<'_>) -> Outcome {
    let (list, size) = (arguments.list(0)?, arguments.number(1)?);
    let size = size
        .index()
        .ok_or("the size of a chunk is a whole number from 0 on")?;
    if size == 0 {
        return Ok(Value::List(vec![Value::List(list.to_vec())]));
    }
    Ok(Value::List(
        list.chunks(size)
            .map(|chunk| Value::List(chunk.to_vec()))
            .collect(),
    ))
}

fn distinct(list: &[Value]) -> Value {
    let mut seen: Vec<Value> = Vec::new();
    for value in list {
        if !seen.contains(value) {
            seen.push(value.clone());
        }
    }
    Value::List(seen)
}

/// Takes an element, counting round and round.
fn wrapped(arguments: Arguments<'_>) -> Outcome {
    let (list, place) = (arguments.list(0)?, arguments.whole(1)?);
    let length = i128::try_from(list.len()).unwrap_or(i128::MAX);
    if length == 0 {
        return Err("the list is empty".to_owned());
    }
    let place = usize::try_from(place.rem_euclid(length)).unwrap_or_default();
    Ok(list[place].clone())
}

fn flatten(list: &[Value], into: &mut Vec<Value>) {
    for value in list {
        match value {
            Value::List(inner) | Value::Set(inner) => flatten(inner, into),
            value => into.push(value.clone()),
        }
    }
}

fn has_index(arguments: Arguments<'_>) -> Outcome {
    let index = arguments.value(1)?;
    Ok(Value::Bool(match arguments.value(0)? {
        Value::List(values) => index
            .number()
            .and_then(Number::index)
            .is_some_and(|index| index < values.len()),
        Value::Map(fields) => index.text().is_some_and(|name| fields.contains_key(&name)),
        other => return Err(format!("argument 1 is a list or an object, not {}", other.kind())),
    }))
}

fn lookup(arguments: Arguments<'_>) -> Outcome {
    let (fields, name) = (arguments.map(0)?, arguments.text(1)?);
    match (fields.get(&name), arguments.0.get(2)) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(format!(
            "the object has no \"{name}\", and no third argument says what then"
        )),
    }
}

fn merge(arguments: Arguments<'_>) -> Outcome {
    let mut all = BTreeMap::new();
    for place in 0..arguments.0.len() {
        if !matches!(arguments.0[place], Value::Null) {
            let fields = arguments.map(place)?.clone();
            all.extend(fields);
        }
    }
    Ok(Value::Map(all))
}

fn range(arguments: Arguments<'_>) -> Outcome {
    let first = arguments.number(0)?;
    let zero = Number::Whole(0);
    let (from, to, step) = match arguments.0.len() {
        1 => (zero, first, None),
        2 => (first, arguments.number(1)?, None),
        _ => (first, arguments.number(1)?, Some(arguments.number(2)?)),
    };
    let down = to.compare(from).is_lt();
    let step = step.unwrap_or(Number::Whole(if down { -1 } else { 1 }));
    if step == zero || (step.compare(zero).is_lt() != down && from != to) {
        return Err(format!("steps of {step} do not lead from {from} to {to}"));
    }
    let mut values = Vec::new();
    let mut next = from;
    while if down {
        next.compare(to).is_gt()
    } else {
        next.compare(to).is_lt()
    } {
        if values.len() == LONGEST {
            return Err(format!("a list of more than {LONGEST} numbers"));
        }
        values.push(Value::Number(next));
        next = super::numbers::add(next, step);
    }
    Ok(Value::List(values))
}

fn slice(arguments: Arguments<'_>) -> Outcome {
    let (list, from, to) = (arguments.list(0)?, arguments.number(1)?, arguments.number(2)?);
    match (from.index(), to.index()) {
        (Some(start), Some(end)) if start <= end && end <= list.len() => {
            Ok(Value::List(list[start..end].to_vec()))
        }
        _ => Err(format!(
            "a list of {} elements has no part from {from} to {to}",
            list.len()
        )),
    }
}

fn zip(arguments: Arguments<'_>) -> Outcome {
    let (names, values) = (arguments.texts(0)?, arguments.list(1)?);
    if names.len() != values.len() {
        return Err(format!(
            "there are {} keys and {} values",
            names.len(),
            values.len()
        ));
    }
    Ok(Value::Map(
        names.into_iter().zip(values.iter().cloned()).collect(),
    ))
}

fn product(arguments: Arguments<'_>) -> Outcome {
    if arguments.0.len() < 2 {
        return Err("needs two sets or more".to_owned());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut all_sets = true;
    for place in 0..arguments.0.len() {
        let values = arguments.list(place)?;
        all_sets &= matches!(arguments.0[place], Value::Set(_));
        if rows.len().saturating_mul(values.len()) > LONGEST {
            return Err(format!("a product of more than {LONGEST} elements"));
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.push(value.clone());
                    row
                })
            })
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::List).collect();
    Ok(if all_sets {
        Value::set(rows)
    } else {
        Value::List(rows)
    })
}

fn sets(arguments: Arguments<'_>, combine: fn(&[Value], &[Value]) -> Vec<Value>) -> Outcome {
    let mut all = arguments.list(0)?.to_vec();
    for place in 1..arguments.0.len() {
        all = combine(&all, arguments.list(place)?);
    }
    Ok(Value::set(all))
}
