//! How many descriptors this process may have open.
//!
//! A server needs many, and what it starts must not be seen to have been started by a server: programs that use select(2)
//! break above 1024, and others close all that they might have one by one. So the limit is raised for this process, and
//! what it was is remembered for those that it starts.

use crate::SysError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::sync::OnceLock;

/// Where a process that we start finds the limit that is its own.
const VARIABLE: &str = "CORACLE_DESCRIPTORS";

static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the limit as far as it goes without rights, and returns it.
pub fn raise_limit() -> Result<u64, SysError> {
    let limit = getrlimit(Resource::Nofile);
    let (Some(current), most) = (limit.current, limit.maximum) else {
        return Ok(u64::MAX);
    };
    if most.is_some_and(|most| most <= current) {
        return Ok(current);
    }
    let raised = most.unwrap_or(1 << 20).min(1 << 20).max(current);
    set(Some(raised), most)?;
    // Raised again, it is the first limit that counts.
    BEFORE.get_or_init(|| current);
    Ok(raised)
}

/// Returns what a child's environment must say for [`restore_limit`].
pub fn environment() -> Option<(&'static str, OsString)> {
    BEFORE.get().map(|before| (VARIABLE, before.to_string().into()))
}

/// Takes the limit back to what it was before the parent raised its own, if it did.
pub fn restore_limit() -> Result<(), SysError> {
    let before = std::env::var(VARIABLE).ok();
    match before.and_then(|before| before.parse().ok()) {
        Some(before) => set(Some(before), getrlimit(Resource::Nofile).maximum),
        None => Ok(()),
    }
}

fn set(current: Option<u64>, maximum: Option<u64>) -> Result<(), SysError> {
    setrlimit(Resource::Nofile, Rlimit { current, maximum })
        .map_err(SysError::of("set the limit of open descriptors"))
}
