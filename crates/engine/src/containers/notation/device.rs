//! `--device source[:target][:rwm]`.

use super::{Invalid, invalid};
use crate::containers::request::DeviceRequest;

/// Reads a device.
pub fn parse(text: &str) -> Result<DeviceRequest, Invalid> {
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

/// Says whether it is a name in the Container Device Interface, `vendor.com/class=name`.
pub fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    let word = |text: &str, further: &[u8]| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.ends_with(|last: char| last.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || further.contains(&b))
    };
    let named = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
    word(vendor, b"_-.") && word(class, b"_-") && named
}

/// Reads a `--device-cgroup-rule`: `c 1:3 rwm`.
pub fn rule(text: &str) -> Result<String, Invalid> {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let known = match text.split(' ').collect::<Vec<_>>()[..] {
        [kind, numbers, access] => {
            matches!(kind, "a" | "b" | "c")
                && numbers
                    .split_once(':')
                    .is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&access.len())
                && access.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    if known {
        Ok(text.to_owned())
    } else {
        invalid(format!("invalid device cgroup format '{text}'"))
    }
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

    #[test]
    fn names_of_the_container_device_interface() {
        for (text, is) in [
            ("nvidia.com/gpu=all", true),
            ("nvidia.com/gpu=0:1", true),
            ("vendor.com/my-class=GPU-1.a", true),
            ("/dev/null", false),
            ("/dev/a=b", false),
            ("vendor.com=x", false),
            ("v/c=", false),
            ("1v/c=x", false),
            ("v/c=/x", false),
        ] {
            assert_eq!(is_cdi(text), is, "{text}");
        }
    }

    #[test]
    fn rules() {
        for text in ["c 1:3 rwm", "b *:* r", "a *:* rwm", "c 10:* rw"] {
            assert_eq!(rule(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "c 1:3",
            "x 1:3 r",
            "c 1:3 x",
            "c 1 r",
            "c 1:3 rwmr",
            "c  1:3 r",
        ] {
            assert_eq!(
                rule(text).unwrap_err().0,
                format!("invalid device cgroup format '{text}'")
            );
        }
    }
}
