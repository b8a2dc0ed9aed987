//! `--security-opt`.

use super::{Invalid, environment};
use engine::containers::request::SecurityOptions;
use std::path::Path;

/// Reads all of them together. A seccomp profile is read from its file here, as it is the client's file.
pub(crate) fn parse(options: &[String]) -> Result<SecurityOptions, Invalid> {
    engine::containers::notation::security::parse(options, &profile)
}

fn profile(path: &str) -> Result<String, Invalid> {
    let content = environment::read(Path::new(path))
        .map_err(|Invalid(why)| Invalid(format!("opening seccomp profile ({path}) failed: {why}")))?;
    let failed = |why: String| {
        Invalid(format!(
            "compacting json for seccomp profile ({path}) failed: {why}"
        ))
    };
    let value: serde_json::Value =
        serde_json::from_slice(&content).map_err(|error| failed(error.to_string()))?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::containers::request::Seccomp;

    fn one(option: &str) -> Result<SecurityOptions, Invalid> {
        parse(&[option.to_owned()])
    }

    #[test]
    fn options() {
        assert!(one("no-new-privileges").unwrap().no_new_privileges);
        assert!(one("no-new-privileges:true").unwrap().no_new_privileges);
        assert!(!one("no-new-privileges=false").unwrap().no_new_privileges);
        assert_eq!(one("seccomp=unconfined").unwrap().seccomp, Seccomp::Unconfined);
        assert!(one("writable-cgroups=true").unwrap().writable_cgroups);
        assert!(one("systempaths=unconfined").unwrap().system_paths_unconfined);
        assert_eq!(
            one("apparmor:unconfined").unwrap().apparmor.as_deref(),
            Some("unconfined")
        );
        assert_eq!(one("label=type:x").unwrap().labels, ["type:x"]);
        for (option, message) in [
            ("foo", "Invalid --security-opt: \"foo\""),
            ("foo=bar", "invalid --security-opt: \"foo=bar\""),
            (
                "seccomp=/nope",
                "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
            ),
        ] {
            assert_eq!(one(option).unwrap_err().0, message);
        }
    }
}
