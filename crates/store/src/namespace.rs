//! Which user namespace this process is in (`user_namespaces(7)`), and so what it may do to files.

use rustix::io::Errno;
use std::path::Path;
use std::sync::OnceLock;

/// The kind of user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// The machine's own.
    First,
    /// One with ranges of ids.
    Ranges,
    /// One with a single id: all files belong to the one user.
    Single,
}

/// Returns this process's namespace.
pub(crate) fn namespace() -> Namespace {
    static NAMESPACE: OnceLock<Namespace> = OnceLock::new();
    *NAMESPACE.get_or_init(|| {
        let map = sys::fs::read(Path::new("/proc/self/uid_map"), 65536).unwrap_or_default();
        recognise(&String::from_utf8_lossy(&map))
    })
}

fn recognise(map: &str) -> Namespace {
    let numbers: Vec<&str> = map.split_whitespace().collect();
    match numbers[..] {
        ["0", "0", "4294967295"] => Namespace::First,
        [_, _, "1"] => Namespace::Single,
        _ => Namespace::Ranges,
    }
}

/// Where there is one id only, nothing can be given to another; like Podman's `ignore_chown_errors`.
pub(crate) fn judge_owner(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::INVAL | Errno::PERM) if namespace() == Namespace::Single => Ok(()),
        result => result,
    }
}

/// No user namespace but the first may make devices; images' own are left out there, as Docker does: what a
/// container gets in `/dev` comes from the runtime.
pub(crate) fn judge_device(result: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match result {
        Err(Errno::PERM) if namespace() != Namespace::First => Ok(false),
        result => result.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::{Namespace, recognise};

    #[test]
    fn maps() {
        for (map, kind) in [
            ("         0          0 4294967295\n", Namespace::First),
            ("         0       1000          1\n", Namespace::Single),
            ("0 1000 1\n1 100000 65536\n", Namespace::Ranges),
            ("0 100000 65536\n", Namespace::Ranges),
        ] {
            assert_eq!(recognise(map), kind, "{map}");
        }
    }
}
