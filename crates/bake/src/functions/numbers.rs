//! Numbers and truth.

use super::{Arguments, Outcome};
use crate::value::{Number, Value};

pub(crate) fn add(left: Number, right: Number) -> Number {
    left.with(right, i128::checked_add, |a, b| a + b)
}

pub(crate) fn subtract(left: Number, right: Number) -> Number {
    left.with(right, i128::checked_sub, |a, b| a - b)
}

pub(crate) fn multiply(left: Number, right: Number) -> Number {
    left.with(right, i128::checked_mul, |a, b| a * b)
}

/// Divides; what does not come out even is no whole number.
pub(crate) fn divide(left: Number, right: Number) -> Result<Number, String> {
    if right == Number::Whole(0) {
        return Err("a division by zero".to_owned());
    }
    let even = |a: i128, b: i128| {
        a.checked_rem(b)
            .filter(|rest| *rest == 0)
            .and_then(|_| a.checked_div(b))
    };
    Ok(left.with(right, even, |a, b| a / b))
}

pub(crate) fn modulo(left: Number, right: Number) -> Result<Number, String> {
    if right == Number::Whole(0) {
        return Err("a division by zero".to_owned());
    }
    Ok(left.with(right, i128::checked_rem, |a, b| a % b))
}

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Outcome> {
    Some(apply(name, arguments)?.map(|value| match value {
        Value::Number(Number::Real(real)) => Value::Number(Number::real(real)),
        value => value,
    }))
}

fn apply(name: &str, arguments: Arguments<'_>) -> Option<Outcome> {
    let two = |calculate: &dyn Fn(Number, Number) -> Result<Number, String>| {
        let (left, right) = (arguments.number(0)?, arguments.number(1)?);
        calculate(left, right).map(Value::Number)
    };
    let one = |calculate: &dyn Fn(Number) -> Number| Ok(Value::Number(calculate(arguments.number(0)?)));
    let compared = |holds: &dyn Fn(std::cmp::Ordering) -> bool| {
        let (left, right) = (arguments.number(0)?, arguments.number(1)?);
        Ok(Value::Bool(holds(left.compare(right))))
    };
    let rounded = |round: fn(f64) -> f64| {
        one(&|number| match number {
            Number::Real(real) => Number::real(round(real)),
            whole @ Number::Whole(_) => whole,
        })
    };
    let same = || Ok(arguments.value(0)? == arguments.value(1)?);
    Some(match name {
        "absolute" => one(&|number| match number {
            Number::Whole(whole) => Number::Whole(whole.saturating_abs()),
            Number::Real(real) => Number::real(real.abs()),
        }),
        "add" => two(&|a, b| Ok(add(a, b))),
        "subtract" => two(&|a, b| Ok(subtract(a, b))),
        "multiply" => two(&|a, b| Ok(multiply(a, b))),
        "divide" => two(&divide),
        "modulo" => two(&modulo),
        "negate" => one(&|number| subtract(Number::Whole(0), number)),
        "ceil" => rounded(f64::ceil),
        "floor" => rounded(f64::floor),
        "int" => rounded(f64::trunc),
        "signum" => one(&|number| {
            Number::Whole(match number.compare(Number::Whole(0)) {
                std::cmp::Ordering::Less => -1,
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 1,
            })
        }),
        "log" => two(&|number, base| Ok(Number::real(number.as_f64().ln() / base.as_f64().ln()))),
        "pow" => two(&|number, power| {
            let exact = |a: i128, b: i128| u32::try_from(b).ok().and_then(|power| a.checked_pow(power));
            Ok(number.with(power, exact, f64::powf))
        }),
        "max" | "min" => extreme(arguments, name == "max"),
        "greaterthan" => compared(&std::cmp::Ordering::is_gt),
        "greaterthanorequalto" => compared(&std::cmp::Ordering::is_ge),
        "lessthan" => compared(&std::cmp::Ordering::is_lt),
        "lessthanorequalto" => compared(&std::cmp::Ordering::is_le),
        "equal" => same().map(Value::Bool),
        "notequal" => same().map(|same| Value::Bool(!same)),
        "and" => both(arguments, |a, b| a && b),
        "or" => both(arguments, |a, b| a || b),
        "not" => arguments.bool(0).map(|value| Value::Bool(!value)),
        "parseint" => parse(arguments),
        _ => return None,
    })
}

fn both(arguments: Arguments<'_>, holds: fn(bool, bool) -> bool) -> Outcome {
    Ok(Value::Bool(holds(arguments.bool(0)?, arguments.bool(1)?)))
}

fn extreme(arguments: Arguments<'_>, largest: bool) -> Outcome {
    let mut best = arguments.number(0)?;
    for place in 1..arguments.0.len() {
        let number = arguments.number(place)?;
        if number.compare(best).is_gt() == largest {
            best = number;
        }
    }
    Ok(Value::Number(best))
}

fn parse(arguments: Arguments<'_>) -> Outcome {
    let (text, base) = (arguments.text(0)?, arguments.whole(1)?);
    let Some(base) = u32::try_from(base).ok().filter(|base| (2..=36).contains(base)) else {
        return Err(format!("a base is from 2 to 36, not {base}"));
    };
    match i128::from_str_radix(&text, base) {
        Ok(number) => Ok(Value::Number(Number::Whole(number))),
        Err(_) => Err(format!("{text:?} is no number of base {base}")),
    }
}
