//! Times in logs: RFC 3339 with as many digits of a second as there are, as Docker writes them; made and read many times
//! a second, so the part that seldom changes is kept.

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Writes times.
#[derive(Debug, Default)]
pub(in crate::containers) struct Clock {
    second: i64,
    text: String,
}

impl Clock {
    /// Appends a time, in nanoseconds since 1970.
    pub(in crate::containers) fn write(&mut self, into: &mut Vec<u8>, time: i64) {
        let second = time.div_euclid(SECOND);
        if self.text.is_empty() || second != self.second {
            self.second = second;
            let (day, time) = (second.div_euclid(86400), second.rem_euclid(86400));
            let (year, month, day) = civil(day);
            self.text = format!(
                "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
                time / 3600,
                time / 60 % 60,
                time % 60
            );
        }
        into.extend_from_slice(self.text.as_bytes());
        let mut fraction = time.rem_euclid(SECOND);
        if fraction > 0 {
            let mut digits = *b".000000000";
            for digit in digits[1..].iter_mut().rev() {
                *digit += u8::try_from(fraction % 10).unwrap_or_default();
                fraction /= 10;
            }
            let length = digits
                .iter()
                .rposition(|&digit| digit != b'0')
                .unwrap_or_default()
                + 1;
            into.extend_from_slice(&digits[..length]);
        }
        into.push(b'Z');
    }
}

/// Reads times.
#[derive(Debug, Default)]
pub(in crate::containers) struct Reading {
    /// The text up to the second that was read last, and what it meant.
    text: [u8; 19],
    second: i64,
}

impl Reading {
    /// Reads a time as nanoseconds since 1970. One that cannot be read is the oldest there is.
    pub(in crate::containers) fn read(&mut self, text: &[u8]) -> i64 {
        self.read_fast(text).unwrap_or_else(|| {
            let time = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                .unwrap_or_default();
            i64::try_from(time.as_nanosecond()).unwrap_or_default()
        })
    }

    /// Reads what [`Clock`] writes.
    fn read_fast(&mut self, text: &[u8]) -> Option<i64> {
        let (head, rest) = text.split_first_chunk::<19>()?;
        let rest = rest.strip_suffix(b"Z")?;
        let mut fraction = 0;
        if let Some(digits) = rest.strip_prefix(b".") {
            if digits.is_empty() || digits.len() > 9 {
                return None;
            }
            for place in 0..9 {
                let digit = digits.get(place).copied().unwrap_or(b'0');
                fraction = fraction * 10 + i64::from(value(digit)?);
            }
        } else if !rest.is_empty() {
            return None;
        }
        if *head != self.text {
            let head = std::str::from_utf8(head).ok()?;
            let time: jiff::civil::DateTime = head.parse().ok()?;
            let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
            self.second = time.as_second();
            self.text.copy_from_slice(head.as_bytes());
        }
        self.second.checked_mul(SECOND)?.checked_add(fraction)
    }
}

fn value(digit: u8) -> Option<u8> {
    digit.is_ascii_digit().then(|| digit - b'0')
}

/// Returns year, month and day of a day counted from 1970-01-01. Counting years from March puts the leap day last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_723, (2024, 1, 1)),
            (24_855, (2038, 1, 19)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn times_are_written_as_docker_does_and_read_again() {
        let mut clock = Clock::default();
        let mut reading = Reading::default();
        for (time, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
            (1_700_000_000_999_999_999, "2023-11-14T22:13:20.999999999Z"),
            (1_700_000_001_000_000_000, "2023-11-14T22:13:21Z"),
        ] {
            let mut text = Vec::new();
            clock.write(&mut text, time);
            assert_eq!(String::from_utf8(text.clone()).unwrap(), expected);
            assert_eq!(reading.read(&text), time);
        }
        assert_eq!(
            reading.read(b"2023-11-14T23:13:20+01:00"),
            1_700_000_000_000_000_000,
            "another program's zone"
        );
        assert_eq!(reading.read(b"nonsense"), 0);
    }
}
