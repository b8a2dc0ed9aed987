//! Points in time for `--since` and `--until`: RFC 3339 in whole or in part, Unix seconds, or how long ago.

use super::{Invalid, duration};
use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};

/// Reads a point in time as nanoseconds since 1970. What carries no zone is local time, as with Docker.
pub(crate) fn nanoseconds(text: &str, now: Timestamp) -> Result<i64, Invalid> {
    if let Ok(ago) = duration::nanoseconds(text) {
        return Ok(clamp(now.as_nanosecond() - i128::from(ago)));
    }
    if let Some(nanoseconds) = unix(text) {
        return Ok(nanoseconds);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(clamp(time.as_nanosecond()));
    }
    let unreadable = || Invalid(format!("failed to parse value as time or duration: {text:?}"));
    // Docker also takes 2006-01-02Z07:00, 2006-01-02T15 and 2006-01-02T15:04, with or without a zone.
    let (body, zone) = match text.strip_suffix('Z') {
        Some(body) => (body, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let padded = match body.len() {
        10 => format!("{body}T00:00:00"),
        13 => format!("{body}:00:00"),
        16 => format!("{body}:00"),
        _ => body.to_owned(),
    };
    let civil: DateTime = padded.parse().map_err(|_error: jiff::Error| unreadable())?;
    let zoned = civil.to_zoned(zone).map_err(|_error: jiff::Error| unreadable())?;
    Ok(clamp(zoned.timestamp().as_nanosecond()))
}

fn unix(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

fn clamp(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_when() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        for (text, expected) in [
            ("10m", 1_700_000_000 - 600),
            ("1699999999", 1_699_999_999),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14Z", 1_699_920_000),
        ] {
            assert_eq!(nanoseconds(text, now), Ok(expected * 1_000_000_000), "{text}");
        }
        assert_eq!(nanoseconds("1.5", now), Ok(1_500_000_000));
        assert!(nanoseconds("yesterday", now).is_err());
    }
}
