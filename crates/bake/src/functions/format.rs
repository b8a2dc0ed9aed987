//! `format` and `formatlist`: the verbs of Go's `fmt`.

use super::{Arguments, Outcome};
use crate::value::{Number, Value};

/// No field is wider: a mistaken number must not fill the memory.
const WIDEST: usize = 10_000;

pub(super) fn format(arguments: Arguments<'_>) -> Outcome {
    let form = arguments.text(0)?;
    fill(&form, &arguments.0[1..]).map(Value::Text)
}

/// Formats as often as the lists among the arguments have elements.
pub(super) fn format_list(arguments: Arguments<'_>) -> Outcome {
    let form = arguments.text(0)?;
    let values = &arguments.0[1..];
    let mut length = None;
    for value in values {
        if let Some(list) = value.elements() {
            match length {
                None => length = Some(list.len()),
                Some(known) if known == list.len() => {}
                Some(known) => {
                    return Err(format!(
                        "lists of {known} and of {} elements do not go together",
                        list.len()
                    ));
                }
            }
        }
    }
    let rows = (0..length.unwrap_or(1)).map(|row| {
        let values: Vec<Value> = values
            .iter()
            .map(|value| match value.elements() {
                Some(list) => list[row].clone(),
                None => value.clone(),
            })
            .collect();
        fill(&form, &values).map(Value::Text)
    });
    Ok(Value::List(rows.collect::<Result<_, _>>()?))
}

#[derive(Debug, Default)]
struct Verb {
    sharp: bool,
    zero: bool,
    minus: bool,
    plus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn fill(form: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut letters = form.chars().peekable();
    let mut next = 0;
    let mut used = 0;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            text.push('%');
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = letters.next_if(|c| "#0-+ ".contains(*c)) {
            match flag {
                '#' => verb.sharp = true,
                '0' => verb.zero = true,
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                _ => verb.space = true,
            }
        }
        let mut number = || -> Result<Option<usize>, String> {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            if digits.is_empty() {
                return Ok(None);
            }
            match digits.parse() {
                Ok(number) if number <= WIDEST => Ok(Some(number)),
                _ => Err(format!("the number {digits} in {form:?} is too large")),
            }
        };
        verb.width = number()?;
        if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            verb.precision = Some(digits.parse().unwrap_or(0)).filter(|precision| *precision <= WIDEST);
        }
        if letters.next_if_eq(&'[').is_some() {
            let digits: String = letters.by_ref().take_while(|c| *c != ']').collect();
            match digits.parse::<usize>() {
                Ok(place) if place > 0 => next = place - 1,
                _ => return Err(format!("[{digits}] in {form:?} is no place of an argument")),
            }
        }
        let Some(kind) = letters.next() else {
            return Err(format!("{form:?} ends within a verb"));
        };
        let Some(value) = values.get(next) else {
            return Err(format!(
                "{form:?} wants argument {}, and there are {}",
                next + 1,
                values.len()
            ));
        };
        next += 1;
        used = used.max(next);
        let written = one(&verb, kind, value)?;
        let length = written.chars().count();
        match verb.width.filter(|width| *width > length) {
            None => text.push_str(&written),
            Some(width) => {
                let missing = width - length;
                if verb.minus {
                    text.push_str(&written);
                    text.push_str(&" ".repeat(missing));
                } else if verb.zero && kind != 's' && kind != 'q' && kind != 'v' {
                    let (sign, digits) = match written.strip_prefix(['-', '+', ' ']) {
                        Some(digits) => written.split_at(written.len() - digits.len()),
                        None => ("", written.as_str()),
                    };
                    text.push_str(sign);
                    text.push_str(&"0".repeat(missing));
                    text.push_str(digits);
                } else {
                    text.push_str(&" ".repeat(missing));
                    text.push_str(&written);
                }
            }
        }
    }
    if used < values.len() && !form.contains('[') {
        return Err(format!("{form:?} has no place for argument {}", used + 1));
    }
    Ok(text)
}

fn one(verb: &Verb, kind: char, value: &Value) -> Result<String, String> {
    let number = || {
        let unfit = || format!("%{kind} wants a number, not {}", value.kind());
        value.number().ok_or_else(unfit)
    };
    let whole = || {
        let number = number()?;
        let truncated = match number {
            Number::Whole(whole) => Some(whole),
            Number::Real(real) => Number::real(real.trunc()).whole(),
        };
        truncated.ok_or_else(|| format!("{number} is too large for %{kind}"))
    };
    let signed = |digits: String| {
        if digits.starts_with('-') {
            digits
        } else if verb.plus {
            format!("+{digits}")
        } else if verb.space {
            format!(" {digits}")
        } else {
            digits
        }
    };
    Ok(match kind {
        'v' if verb.sharp => value.to_json().to_string(),
        'v' => match value {
            Value::Null => "null".to_owned(),
            value => value.text().unwrap_or_else(|| value.to_json().to_string()),
        },
        't' => match value.bool() {
            Some(value) => value.to_string(),
            None => return Err(format!("%t wants true or false, not {}", value.kind())),
        },
        's' | 'q' => {
            let Some(text) = value.text() else {
                return Err(format!("%{kind} wants a string, not {}", value.kind()));
            };
            let text = match verb.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text,
            };
            if kind == 'q' {
                Value::Text(text).to_json().to_string()
            } else {
                text
            }
        }
        'd' => signed(whole()?.to_string()),
        'b' | 'o' | 'x' | 'X' => {
            let whole = whole()?;
            let size = whole.unsigned_abs();
            let digits = match kind {
                'b' => format!("{size:b}"),
                'o' => format!("{size:o}"),
                'x' => format!("{size:x}"),
                _ => format!("{size:X}"),
            };
            signed(if whole < 0 { format!("-{digits}") } else { digits })
        }
        'f' | 'F' => signed(std::format!(
            "{:.*}",
            verb.precision.unwrap_or(6),
            number()?.as_f64()
        )),
        'e' | 'E' => {
            let text = std::format!("{:.*e}", verb.precision.unwrap_or(6), number()?.as_f64());
            // Go writes the sign of an exponent and two digits of it.
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            signed(format!("{mantissa}{kind}{sign}{exponent:0>2}"))
        }
        'g' | 'G' => signed(number()?.to_string()),
        other => return Err(format!("there is no verb %{other}")),
    })
}
