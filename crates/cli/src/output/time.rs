//! Times for people, as Docker writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Writes how long something takes or is ago: `5 minutes` (go-units' HumanDuration).
pub(crate) fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // go-units rounds the hours.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Returns now in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Writes how long before `now` a moment was.
pub(crate) fn since(moment: i64, now: i64) -> String {
    human_duration(now.saturating_sub(moment) / 1_000_000_000)
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
    fn durations_for_people() {
        let hour = 3600;
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (hour, "About an hour"),
            (89 * 60, "About an hour"),
            (90 * 60, "2 hours"),
            (47 * hour, "47 hours"),
            (48 * hour, "2 days"),
            (14 * 24 * hour, "2 weeks"),
            (61 * 24 * hour, "2 months"),
            (3 * 365 * 24 * hour, "3 years"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(parse("2023-11-14T22:13:20.5Z"), Some(1_700_000_000_500_000_000));
    }
}
