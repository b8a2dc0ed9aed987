//! Sizes as people write them: `512m`, `1.5g`, `64 kb`, in powers of 1024 (Docker's `RAMInBytes`).

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSize {
    /// It is no number.
    #[error("invalid size: '{0}'")]
    Number(String),
    /// What follows the number is no unit.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
}

/// Reads a size in bytes. Not negative.
pub fn bytes(text: &str) -> Result<i64, NoSize> {
    let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        return Err(NoSize::Number(text.to_owned()));
    };
    let (number, suffix) = (text[..=last].trim_end_matches(' '), &text[last + 1..]);
    let value: f64 = number
        .parse()
        .map_err(|_error: std::num::ParseFloatError| NoSize::Number(text.to_owned()))?;
    if value < 0.0 || !value.is_finite() {
        return Err(NoSize::Number(text.to_owned()));
    }
    let lower = suffix.to_ascii_lowercase();
    let unit = match lower.as_bytes() {
        [] | [b'b'] => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => match unit {
            b'k' => 10,
            b'm' => 20,
            b'g' => 30,
            b't' => 40,
            b'p' => 50,
            _ => return Err(NoSize::Suffix(suffix.to_owned())),
        },
        _ => return Err(NoSize::Suffix(suffix.to_owned())),
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "what Docker computes; it saturates"
    )]
    let size = (value * (1_i64 << unit) as f64) as i64;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("32.5kb", 33280),
            ("32 kb", 32 << 10),
            ("32Mb", 32 << 20),
            ("1.5g", 3 << 29),
            ("2T", 2 << 40),
            ("1p", 1 << 50),
            ("32.", 32),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for (text, message) in [
            ("", "invalid size: ''"),
            ("x", "invalid size: 'x'"),
            ("-1", "invalid size: '-1'"),
            ("3x", "invalid suffix: 'x'"),
            ("1mbx", "invalid suffix: 'mbx'"),
            ("1bb", "invalid suffix: 'bb'"),
        ] {
            assert_eq!(bytes(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
