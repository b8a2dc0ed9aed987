//! Labels and other `key=value` pairs.

use super::{Invalid, invalid};
use std::collections::BTreeMap;

/// Reads a label.
pub(crate) fn parse(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.trim().is_empty() {
        return invalid(format!("invalid label '{text}': empty name"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads labels out of files, then those of the command line, which win.
pub(crate) fn collect(
    files: &[std::path::PathBuf],
    labels: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>, Invalid> {
    let mut all = BTreeMap::new();
    for file in files {
        for line in super::environment::label_file(file)? {
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all.extend(labels);
    Ok(all)
}

/// Reads `key=value` (`--log-opt`); a bare key has an empty value.
pub(crate) fn pair(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return invalid(format!("invalid option '{text}': empty name"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads a `--sysctl`. Whether it may be set is the engine's to say: it knows the container's namespaces.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), Invalid> {
    let names = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((name, value))
            if names.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") =>
        {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => invalid(format!("sysctl '{text}' is not allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert_eq!(parse("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(parse("a").unwrap(), ("a".into(), String::new()));
        assert_eq!(parse("").unwrap_err().0, "invalid label '': empty name");
    }

    #[test]
    fn sysctls_of_the_host_are_refused() {
        assert!(sysctl("net.ipv4.ip_forward=1").is_ok());
        assert_eq!(sysctl("foo").unwrap_err().0, "sysctl 'foo' is not allowed");
        assert!(sysctl("kernel.panic=1").is_err());
    }
}
