//! Integers with Go's messages.

use super::Invalid;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

fn wrong(function: &str, text: &str, error: &ParseIntError) -> Invalid {
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    Invalid(format!("strconv.{function}: parsing {text:?}: {why}"))
}

/// Reads a signed integer.
pub(crate) fn signed<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|error| wrong("ParseInt", text, &error))
}

/// Reads an unsigned integer.
pub(crate) fn unsigned<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|error| wrong("ParseUint", text, &error))
}

/// Reads an `i64`.
pub(crate) fn int64(text: &str) -> Result<i64, Invalid> {
    signed(text)
}

/// Reads an `i32`.
pub(crate) fn int32(text: &str) -> Result<i32, Invalid> {
    signed(text)
}

/// Reads a `u16`.
pub(crate) fn uint16(text: &str) -> Result<u16, Invalid> {
    unsigned(text)
}

/// Reads a decimal number of processors (`1.5`) as billionths.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, Invalid> {
    let unreadable = || Invalid(format!("failed to parse {text} as a rational number"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty())
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return Err(unreadable());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(Invalid("value is too precise".into()));
    }
    let text = format!("{whole}{fraction:0<9}");
    let value: i64 = text.parse().map_err(|_error: ParseIntError| unreadable())?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_billionths() {
        for (text, expected) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            (".25", 250_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(nano_cpus(text).unwrap(), expected, "{text}");
        }
        for (text, message) in [
            ("x", "failed to parse x as a rational number"),
            ("0.0000000001", "value is too precise"),
        ] {
            assert_eq!(nano_cpus(text).unwrap_err().0, message);
        }
    }

    #[test]
    fn integers_fail_in_gos_words() {
        assert_eq!(
            int64("x").unwrap_err().0,
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            int64("99999999999999999999").unwrap_err().0,
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
        );
    }
}
