//! Moments.

use super::{Arguments, Outcome};
use crate::definition::Surroundings;
use crate::value::{Number, Value};
use jiff::civil::ISOWeekDate;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};
use std::collections::BTreeMap;

pub(super) fn call(name: &str, arguments: Arguments<'_>, surroundings: &Surroundings) -> Option<Outcome> {
    Some(match name {
        "timestamp" => utc(surroundings.now).map(|now| Value::Text(rfc3339(&now))),
        "formatdate" => formatted(arguments, false),
        "formattimestamp" => formatted(arguments, true),
        "timeadd" => add(arguments),
        "unixtimestampparse" => parts(arguments),
        _ => return None,
    })
}

fn utc(seconds: i64) -> Result<Zoned, String> {
    let moment = Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    Ok(moment.to_zoned(TimeZone::UTC))
}

/// Reads a time of RFC 3339 and keeps its offset.
fn parse(text: &str) -> Result<Zoned, String> {
    let wrong = || format!("{text:?} is no time such as 2006-01-02T15:04:05Z");
    let moment: Timestamp = text.parse().map_err(|_wrong| wrong())?;
    let tail = text.rfind(['+', '-']).filter(|at| *at > 10).map(|at| &text[at..]);
    let offset = match tail {
        None => Offset::UTC,
        Some(tail) => {
            let (hours, minutes) = tail[1..].split_once(':').ok_or_else(wrong)?;
            let seconds = hours.parse::<i32>().map_err(|_wrong| wrong())? * 3600
                + minutes.parse::<i32>().map_err(|_wrong| wrong())? * 60;
            let seconds = if tail.starts_with('-') { -seconds } else { seconds };
            Offset::from_seconds(seconds).map_err(|_wrong| wrong())?
        }
    };
    Ok(moment.to_zoned(TimeZone::fixed(offset)))
}

fn rfc3339(time: &Zoned) -> String {
    format!("{}{}", time.strftime("%Y-%m-%dT%H:%M:%S"), zone(time, true, ":"))
}

fn zone(time: &Zoned, letter: bool, between: &str) -> String {
    let seconds = time.offset().seconds();
    if seconds == 0 && letter {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
}

fn formatted(arguments: Arguments<'_>, takes_number: bool) -> Outcome {
    let form = arguments.text(0)?;
    let time = match arguments.value(1)? {
        Value::Number(number) if takes_number => utc(second(*number)?)?,
        _ => parse(&arguments.text(1)?)?,
    };
    if takes_number && form == "X" {
        return Ok(Value::Text(time.timestamp().as_second().to_string()));
    }
    let mut text = String::new();
    let letters: Vec<char> = form.chars().collect();
    let mut rest = &letters[..];
    while let Some(first) = rest.first() {
        if *first == '\'' {
            // Between quotes everything stands for itself, and a doubled quote for one.
            let mut at = 1;
            loop {
                match (rest.get(at), rest.get(at + 1)) {
                    (Some('\''), Some('\'')) => {
                        text.push('\'');
                        at += 2;
                    }
                    (Some('\''), _) => break,
                    (Some(letter), _) => {
                        text.push(*letter);
                        at += 1;
                    }
                    (None, _) => return Err(format!("a quote without its end in {form:?}")),
                }
            }
            rest = &rest[at + 1..];
            continue;
        }
        let count = rest.iter().take_while(|letter| *letter == first).count();
        let verb: String = rest[..count].iter().collect();
        rest = &rest[count..];
        let pattern = match verb.as_str() {
            "YYYY" => "%Y",
            "YY" => "%y",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "DD" => "%d",
            "D" => "%-d",
            "EEEE" => "%A",
            "EEE" => "%a",
            "hh" => "%H",
            "h" => "%-H",
            "HH" => "%I",
            "H" => "%-I",
            "AA" => "%p",
            "aa" => {
                text.push_str(&time.strftime("%p").to_string().to_lowercase());
                continue;
            }
            "mm" => "%M",
            "m" => "%-M",
            "ss" => "%S",
            "s" => "%-S",
            "ZZZZZ" => {
                text.push_str(&zone(&time, false, ":"));
                continue;
            }
            "ZZZ" if time.offset().seconds() == 0 => {
                text.push_str("UTC");
                continue;
            }
            "ZZZZ" | "ZZZ" => {
                text.push_str(&zone(&time, false, ""));
                continue;
            }
            "Z" => {
                text.push_str(&zone(&time, true, ":"));
                continue;
            }
            verb if first.is_ascii_alphabetic() => {
                return Err(format!(
                    "there is no part {verb:?} of a time; letters that stand for themselves go between single quotes"
                ));
            }
            other => {
                text.push_str(other);
                continue;
            }
        };
        text.push_str(&time.strftime(pattern).to_string());
    }
    Ok(Value::Text(text))
}

fn second(number: Number) -> Result<i64, String> {
    let whole = number.whole().and_then(|whole| i64::try_from(whole).ok());
    whole.ok_or_else(|| format!("a Unix time is a whole number of seconds, not {number}"))
}

/// Reads a duration as Go writes it: `1h30m`, `-90s`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| rest.starts_with(unit))
            .max_by_key(|unit| unit.len())?;
        rest = &rest[unit.len()..];
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                _ => 3600.0,
            };
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

fn add(arguments: Arguments<'_>) -> Outcome {
    let (time, by) = (parse(&arguments.text(0)?)?, arguments.text(1)?);
    let by = duration(&by).ok_or_else(|| format!("{by:?} is no duration such as 1h30m"))?;
    let later = time.checked_add(by).map_err(|error| error.to_string())?;
    Ok(Value::Text(rfc3339(&later)))
}

fn parts(arguments: Arguments<'_>) -> Outcome {
    let time = utc(second(arguments.number(0)?)?)?;
    let whole = |number: i64| Value::Number(Number::Whole(number.into()));
    let week: ISOWeekDate = time.date().iso_week_date();
    let name = |form: &str| Value::Text(time.strftime(form).to_string());
    let fields = [
        ("year", whole(time.year().into())),
        ("year_day", whole(time.day_of_year().into())),
        ("day", whole(time.day().into())),
        ("month", whole(time.month().into())),
        ("month_name", name("%B")),
        ("weekday", whole(time.weekday().to_sunday_zero_offset().into())),
        ("weekday_name", name("%A")),
        ("hour", whole(time.hour().into())),
        ("minute", whole(time.minute().into())),
        ("second", whole(time.second().into())),
        ("rfc3339", Value::Text(rfc3339(&time))),
        ("iso_year", whole(week.year().into())),
        ("iso_week", whole(week.week().into())),
    ];
    let fields: BTreeMap<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Ok(Value::Map(fields))
}
