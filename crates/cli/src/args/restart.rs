//! `--restart`.

use super::{Invalid, invalid};
use engine::containers::request::RestartPolicy;

/// Reads a restart policy.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy, Invalid> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => match count.parse::<i64>() {
            Ok(count) => (name, Some(count)),
            Err(_) => {
                return invalid("invalid restart policy format: maximum retry count must be an integer");
            }
        },
        None => (text, None),
    };
    let limited = matches!(count, Some(count) if count != 0);
    match name {
        "on-failure" => match u32::try_from(count.unwrap_or(0)) {
            Ok(count) => Ok(RestartPolicy::OnFailure(count)),
            Err(_) => invalid("invalid restart policy: maximum retry count cannot be negative"),
        },
        "" | "no" | "always" | "unless-stopped" if limited => {
            invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
        }
        "" | "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        _ => invalid(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for (text, expected) in [
            ("", RestartPolicy::No),
            ("no", RestartPolicy::No),
            ("always", RestartPolicy::Always),
            ("unless-stopped", RestartPolicy::UnlessStopped),
            ("on-failure", RestartPolicy::OnFailure(0)),
            ("on-failure:3", RestartPolicy::OnFailure(3)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["foo", "always:3", "on-failure:x", "on-failure:-1", "no:1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
