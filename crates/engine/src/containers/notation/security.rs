//! `--security-opt`.

use super::{Invalid, boolean, invalid};
use crate::containers::request::{Seccomp, SecurityOptions};

/// Reads all of them together. `profile` makes a seccomp profile's text of what is written for it: the command line has
/// a file's name there, the API the text itself.
pub fn parse(
    options: &[String],
    profile: &dyn Fn(&str) -> Result<String, Invalid>,
) -> Result<SecurityOptions, Invalid> {
    let mut security = SecurityOptions::default();
    for option in options {
        // Docker took `:` before it took `=`.
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, Some(value)),
            None => (option.as_str(), None),
        };
        match (key, value) {
            ("no-new-privileges", None) => security.no_new_privileges = true,
            ("no-new-privileges", Some(value)) => {
                security.no_new_privileges = boolean::parse(value)
                    .map_err(|_error: Invalid| Invalid(format!("invalid --security-opt: {option:?}")))?;
            }
            ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
            ("seccomp", Some("builtin")) => security.seccomp = Seccomp::Default,
            ("seccomp", Some(path)) => security.seccomp = Seccomp::Profile(profile(path)?),
            ("writable-cgroups", None) => security.writable_cgroups = true,
            ("writable-cgroups", Some(value)) => {
                security.writable_cgroups = boolean::parse(value)
                    .map_err(|_error: Invalid| Invalid(format!("invalid --security-opt: {option:?}")))?;
            }
            ("systempaths", Some("unconfined")) => security.system_paths_unconfined = true,
            ("apparmor", Some(value)) => security.apparmor = Some(value.to_owned()),
            ("label", Some(value)) => security.labels.push(value.to_owned()),
            (_, None) => return invalid(format!("Invalid --security-opt: {option:?}")),
            (_, Some(_)) => return invalid(format!("invalid --security-opt: {option:?}")),
        }
    }
    Ok(security)
}
