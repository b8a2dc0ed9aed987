//! Places in the program where a test may kill it, or let it fail.
//!
//! One stands at every step that makes an object outside the process (a file, a link, a cgroup, a transaction), so
//! that a test can ask of each: what if nothing had come after it? They are compiled in with the feature `failpoints`,
//! which the tests turn on; without it both functions are empty and their names are not in the program.
//!
//! ```text
//! CORACLE_FAILPOINTS=ROLE:NAME#N=kill,ROLE:NAME#N=error    what happens where, the Nth time that a process passes
//! CORACLE_FAILPOINTS_TRACE=FILE                            gets a line per passing: ROLE:NAME#N pass|reach|kill|error
//! ```
//!
//! The role is what the program runs as: `client`, or its hidden first argument without `coracle-`.

#[cfg(feature = "failpoints")]
pub use compiled_in::{environment, pass, reach};
#[cfg(not(feature = "failpoints"))]
pub use left_out::{environment, pass, reach};

#[cfg(not(feature = "failpoints"))]
mod left_out {
    use crate::SysError;
    use std::ffi::OsString;

    /// Passes a place where the program may be killed by a test.
    #[inline]
    pub const fn pass(_name: &'static str) {}

    /// Passes a place where the program may be killed by a test, or fail.
    #[inline]
    pub const fn reach(_name: &'static str) -> Result<(), SysError> {
        Ok(())
    }

    /// Returns the variables that a child needs in an otherwise empty environment to have the same failpoints.
    #[inline]
    pub const fn environment() -> [(&'static str, OsString); 0] {
        []
    }
}

#[cfg(feature = "failpoints")]
mod compiled_in {
    use crate::SysError;
    use rustix::io::Errno;
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    const POINTS: &str = "CORACLE_FAILPOINTS";
    const TRACE: &str = "CORACLE_FAILPOINTS_TRACE";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Error,
    }

    struct Plan {
        role: String,
        actions: BTreeMap<String, Action>,
        trace: Option<File>,
        passed: Mutex<BTreeMap<&'static str, u32>>,
    }

    /// Passes a place where the program may be killed by a test.
    pub fn pass(name: &'static str) {
        // An error that has no way out is none.
        act(name, "pass");
    }

    /// Passes a place where the program may be killed by a test, or fail.
    pub fn reach(name: &'static str) -> Result<(), SysError> {
        if act(name, "reach") {
            return Err(SysError::on("pass the failpoint", name)(Errno::IO));
        }
        Ok(())
    }

    /// Returns the variables that a child needs in an otherwise empty environment to have the same failpoints.
    pub fn environment() -> Vec<(&'static str, OsString)> {
        [POINTS, TRACE]
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
            .collect()
    }

    /// Says whether an error was asked for.
    fn act(name: &'static str, kind: &str) -> bool {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let Some(plan) = PLAN.get_or_init(Plan::read) else {
            return false;
        };
        let count = {
            let mut passed = plan.passed.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passed.entry(name).or_default();
            *count += 1;
            *count
        };
        let key = format!("{}:{name}#{count}", plan.role);
        let action = plan.actions.get(&key).copied();
        match action {
            None => plan.note(&key, kind),
            Some(Action::Error) => plan.note(&key, "error"),
            Some(Action::Kill) => {
                plan.note(&key, "kill");
                // There is nothing after it, also if it could fail.
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .unwrap_or_default();
            }
        }
        action == Some(Action::Error)
    }

    impl Plan {
        /// Reads the environment; `None` if it asks for nothing.
        fn read() -> Option<Self> {
            let points = std::env::var(POINTS).unwrap_or_default();
            let trace = std::env::var_os(TRACE);
            if points.is_empty() && trace.is_none() {
                return None;
            }
            let argument = std::env::args().nth(1).unwrap_or_default();
            Some(Self {
                role: argument.strip_prefix("coracle-").unwrap_or("client").to_owned(),
                actions: points.split(',').filter_map(parse).collect(),
                trace: trace.and_then(|path| OpenOptions::new().append(true).create(true).open(path).ok()),
                passed: Mutex::default(),
            })
        }

        fn note(&self, key: &str, what: &str) {
            if let Some(mut trace) = self.trace.as_ref() {
                // One write, so that lines of several processes do not mix.
                trace
                    .write_all(format!("{key} {what}\n").as_bytes())
                    .unwrap_or_default();
            }
        }
    }

    fn parse(point: &str) -> Option<(String, Action)> {
        let (key, action) = point.split_once('=')?;
        let action = match action {
            "kill" => Action::Kill,
            "error" => Action::Error,
            _ => return None,
        };
        Some((key.trim().to_owned(), action))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn points_are_read_as_they_are_written() {
            assert_eq!(
                parse("client:create.recorded#2=kill"),
                Some(("client:create.recorded#2".to_owned(), Action::Kill))
            );
            assert_eq!(parse("x=error").unwrap().1, Action::Error);
            assert_eq!(parse("x=explode"), None);
            assert_eq!(parse(""), None);
        }
    }
}
