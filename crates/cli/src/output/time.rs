//! Times for people, as Docker writes them.

use api::wire::since;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Returns now in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Writes how long ago a moment was: `5 minutes ago`.
pub(crate) fn ago(moment: i64, now: i64) -> String {
    format!("{} ago", since(moment, now))
}

/// Writes a moment as Go's `Time.String()` does, in local time: `2024-01-02 15:04:05 +0100 CET`.
pub(crate) fn go_string(moment: i64) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(i128::from(moment)) else {
        return String::new();
    };
    let zoned = timestamp.to_zoned(TimeZone::system());
    let zoned = zoned.round(
        jiff::ZonedRound::new()
            .smallest(jiff::Unit::Second)
            .mode(jiff::RoundMode::Trunc),
    );
    zoned.map_or_else(
        |_| String::new(),
        |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
    )
}

/// Writes a moment as Go's `Time.String()` does of one that came in UTC; 0 is Go's zero time, which stands for never.
pub(crate) fn go_string_utc(moment: i64) -> String {
    if moment == 0 {
        return "0001-01-01 00:00:00 +0000 UTC".into();
    }
    Timestamp::from_nanosecond(i128::from(moment)).map_or_else(
        |_| String::new(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
    )
}

/// Writes a moment as RFC 3339 in local time with nine digits, as `events` does.
pub(crate) fn rfc3339_nano_local(moment: i64) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(i128::from(moment)) else {
        return String::new();
    };
    let zoned = timestamp.to_zoned(TimeZone::system());
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    text.strip_suffix("+00:00")
        .map_or(text.clone(), |text| format!("{text}Z"))
}

/// Writes a moment as RFC 3339 in local time with seconds.
pub(crate) fn rfc3339_local(moment: i64) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(i128::from(moment)) else {
        return String::new();
    };
    let zoned = timestamp.to_zoned(TimeZone::system());
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.strip_suffix("+00:00")
        .map_or(text.clone(), |text| format!("{text}Z"))
}

/// Reads RFC 3339 as nanoseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(parse("2023-11-14T22:13:20.5Z"), Some(1_700_000_000_500_000_000));
    }
}
