//! `--restart`.

use super::{Invalid, invalid};
use engine::containers::notation::restart::policy;
use engine::containers::request::RestartPolicy;

/// Reads a restart policy.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy, Invalid> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => match count.parse::<i64>() {
            Ok(count) => (name, count),
            Err(_) => {
                return invalid("invalid restart policy format: maximum retry count must be an integer");
            }
        },
        None => (text, 0),
    };
    policy(name, count)
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
