//! What a device is given: `--device-read-bps /dev/sda:1mb`, `--device-read-iops /dev/sda:100`,
//! `--blkio-weight-device /dev/sda:200`.

use super::{Invalid, invalid, size};
use std::path::PathBuf;

/// Reads a device and bytes a second.
pub(crate) fn bytes(text: &str) -> Result<(PathBuf, u64), Invalid> {
    let (device, rate) = split(text)?;
    let rate = size::bytes(rate).ok().and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| {
        Invalid(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ))
    })?;
    Ok((device, rate))
}

/// Reads a device and operations a second.
pub(crate) fn operations(text: &str) -> Result<(PathBuf, u64), Invalid> {
    let (device, rate) = split(text)?;
    match rate.parse() {
        Ok(rate) => Ok((device, rate)),
        Err(_) => invalid(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )),
    }
}

/// Reads a device and its weight.
pub(crate) fn weight(text: &str) -> Result<(PathBuf, u16), Invalid> {
    let (device, weight) = split(text)?;
    match weight.parse::<u16>() {
        Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => Ok((device, weight)),
        _ => invalid(format!("invalid weight for device: {text}")),
    }
}

fn split(text: &str) -> Result<(PathBuf, &str), Invalid> {
    let Some((device, value)) = text.split_once(':').filter(|(device, _)| !device.is_empty()) else {
        return invalid(format!("bad format: {text}"));
    };
    if !device.starts_with("/dev/") {
        return invalid(format!("bad format for device path: {text}"));
    }
    Ok((PathBuf::from(device), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_weights() {
        assert_eq!(bytes("/dev/sda:1mb"), Ok(("/dev/sda".into(), 1 << 20)));
        assert_eq!(operations("/dev/sda:100"), Ok(("/dev/sda".into(), 100)));
        assert_eq!(weight("/dev/sda:200"), Ok(("/dev/sda".into(), 200)));
        for (text, message) in [
            ("x", "bad format: x"),
            ("sda:1", "bad format for device path: sda:1"),
            (
                "/dev/sda:x",
                "invalid rate for device: /dev/sda:x. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
            ),
        ] {
            assert_eq!(bytes(text).unwrap_err().0, message);
        }
        assert_eq!(
            operations("/dev/sda:1k").unwrap_err().0,
            "invalid rate for device: /dev/sda:1k. The correct format is <device-path>:<number>. Number must be a positive integer"
        );
        for text in ["/dev/sda:5", "/dev/sda:1001", "/dev/sda:x"] {
            assert_eq!(
                weight(text).unwrap_err().0,
                format!("invalid weight for device: {text}")
            );
        }
    }
}
