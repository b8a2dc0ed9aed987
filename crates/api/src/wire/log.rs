//! An entry of a log, as `docker logs` shows it.

use engine::containers::logs::LogEntry;
use jiff::Timestamp;

/// Appends an entry: its time and what stands beside it, where that is wanted, and its bytes.
pub fn log_line(entry: &LogEntry<'_>, timestamps: bool, details: bool, line: &mut Vec<u8>) {
    if timestamps {
        // A time that is no time is left out.
        if let Ok(time) = Timestamp::from_nanosecond(i128::from(entry.time)) {
            line.extend_from_slice(format!("{time:.9}").as_bytes());
        }
        line.push(b' ');
    }
    if details {
        let pairs: Vec<String> = entry
            .details
            .iter()
            .map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value)))
            .collect();
        line.extend_from_slice(pairs.join(",").as_bytes());
        line.push(b' ');
    }
    line.extend_from_slice(entry.bytes);
}

/// Escapes as in the query of a URL, which is how Docker shows details.
fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.extend([format!("%{byte:02X}")]),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn details_are_escaped_as_go_does() {
        assert_eq!(query_escape("a b/c=é~"), "a+b%2Fc%3D%C3%A9~");
    }

    #[test]
    fn what_stands_before_a_line_is_what_was_asked_for() {
        let entry = LogEntry {
            time: 1_700_000_000_000_000_001,
            stderr: false,
            bytes: b"hi\n",
            details: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]),
        };
        let line = |timestamps, details| {
            let mut line = Vec::new();
            log_line(&entry, timestamps, details, &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(line(false, false), "hi\n");
        assert_eq!(line(true, true), "2023-11-14T22:13:20.000000001Z a=1,b=2 hi\n");
    }
}
