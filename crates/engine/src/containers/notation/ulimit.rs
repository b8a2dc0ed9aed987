//! `--ulimit`.

use super::{Invalid, invalid};
use crate::containers::request::Ulimit;

const NAMES: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Refuses a limit that there is not.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    invalid(format!("invalid ulimit type: {name}"))
}

/// Makes a limit; -1 is none.
pub fn checked(name: &str, soft: i64, hard: i64) -> Result<Ulimit, Invalid> {
    check_name(name)?;
    if hard != -1 {
        if soft == -1 {
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            ));
        }
        if soft > hard {
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}
