//! Sizes, of which some may be "no limit".

use super::Invalid;

/// Reads a size in bytes.
pub fn bytes(text: &str) -> Result<i64, Invalid> {
    crate::size::bytes(text).map_err(|error| Invalid(error.to_string()))
}

/// Reads a size of which -1 means "no limit" (`--memory-swap`).
pub fn bytes_or_unlimited(text: &str) -> Result<i64, Invalid> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_is_no_limit() {
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert_eq!(bytes_or_unlimited("1k"), Ok(1024));
        assert_eq!(bytes_or_unlimited("-2").unwrap_err().0, "invalid size: '-2'");
    }
}
