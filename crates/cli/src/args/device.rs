//! `--device source[:target][:rwm]`.

use super::{Invalid, invalid};
use engine::containers::request::DeviceRequest;

/// Reads a device.
pub(crate) fn parse(text: &str) -> Result<DeviceRequest, Invalid> {
    if text.contains('=') && !text.starts_with('/') {
        return invalid(format!(
            "CDI device '{text}' cannot be given: CDI is not there yet"
        ));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let permissions_of = |text: &str| {
        let known = !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b));
        let once = b"rwm"
            .iter()
            .all(|known| text.bytes().filter(|b| b == known).count() <= 1);
        known && once
    };
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if permissions_of(second) => (source, source, second),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return invalid(format!("invalid device specification: {text}")),
    };
    if !permissions_of(permissions) {
        return invalid(format!("bad mode specified: {permissions}"));
    }
    if source.is_empty() {
        return invalid(format!("invalid device specification: {text}"));
    }
    if !target.starts_with('/') {
        return invalid(format!("{target} is not an absolute path"));
    }
    Ok(DeviceRequest {
        source: source.into(),
        target: target.into(),
        permissions: permissions.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for (text, expected) in [
            ("/dev/null", ("/dev/null", "/dev/null", "rwm")),
            ("/dev/null:/dev/x", ("/dev/null", "/dev/x", "rwm")),
            ("/dev/null:r", ("/dev/null", "/dev/null", "r")),
            ("/dev/null:/dev/x:rw", ("/dev/null", "/dev/x", "rw")),
        ] {
            let device = parse(text).unwrap();
            let (source, target) = (device.source.to_str().unwrap(), device.target.to_str().unwrap());
            assert_eq!((source, target, device.permissions.as_str()), expected, "{text}");
        }
        assert_eq!(parse("/dev/null:/x:z").unwrap_err().0, "bad mode specified: z");
        assert_eq!(parse("/dev/null:x").unwrap_err().0, "x is not an absolute path");
        assert!(parse("/dev/null:/x:rr").is_err());
    }
}
