//! Sizes for people, as Docker writes them (go-units).

const DECIMAL: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes bytes in powers of 1000 with three significant digits: `1.02GB`.
pub(crate) fn human_size(bytes: u64) -> String {
    human_size_with(bytes, 3)
}

/// Writes bytes in powers of 1000 with so many significant digits.
pub(crate) fn human_size_with(bytes: u64, digits: usize) -> String {
    let (value, unit) = scale(bytes, 1000.0, DECIMAL);
    format!("{}{unit}", significant(value, digits))
}

/// Writes bytes in powers of 1024 with four significant digits: `1.944GiB`.
pub(crate) fn bytes_size(bytes: u64) -> String {
    let (value, unit) = scale(bytes, 1024.0, BINARY);
    format!("{}{unit}", significant(value, 4))
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn scale(bytes: u64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut value = bytes as f64;
    let mut index = 0;
    while value >= base && index < units.len() - 1 {
        value /= base;
        index += 1;
    }
    (value, units[index])
}

/// C's `%.Ng`: significant digits without zeros at the end. A value that rounds to more digits than asked for is
/// written with an exponent, as C does: 999.9 with three digits is `1e+03`.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < digits => trim(&format!("{value:.*}", digits - 1 - exponent)),
        Ok(exponent) => format!("{}e+{exponent:02}", trim(mantissa)),
        Err(_) => trim(&format!("{value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (13_300, "13.3kB"),
            (133_456_789, "133MB"),
            (1_020_000_000, "1.02GB"),
            (999_950, "1e+03kB"),
            (78_056_417, "78.1MB"),
        ] {
            assert_eq!(human_size(bytes), expected);
        }
        assert_eq!(human_size_with(78_056_417, 4), "78.06MB");
        assert_eq!(bytes_size(2_088_763_392), "1.945GiB");
        assert_eq!(bytes_size(512), "512B");
    }
}
