//! `--restart`.

use super::{Invalid, invalid};
use crate::containers::request::RestartPolicy;

/// Makes a policy of its name and how often it starts a container again; 0 is no limit.
pub fn policy(name: &str, count: i64) -> Result<RestartPolicy, Invalid> {
    match name {
        "on-failure" => match u32::try_from(count) {
            Ok(count) => Ok(RestartPolicy::OnFailure(count)),
            Err(_) => invalid("invalid restart policy: maximum retry count cannot be negative"),
        },
        "" | "no" | "always" | "unless-stopped" if count != 0 => {
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
