//! Names of users and groups, looked up in an image's own files.

use crate::error::StepError;
use rustix::io::Errno;
use std::path::Path;
use sys::path::Tree;

/// Larger files than this are not read (containerd's bound, after CVE-2026-47262).
const LARGEST: u64 = 10 << 20;
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Resolves `user[:group]`, by name or number. Without a group it is the user's own, or the user's number.
pub(crate) fn resolve(tree: &Tree, text: &str) -> Result<(u32, u32), StepError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let (uid, own_group) = if user.is_empty() {
        (0, 0)
    } else if let Ok(uid) = user.parse::<u32>() {
        (uid, uid)
    } else {
        let content = read(tree, USERS)?;
        let missing = || StepError::NoSuchUser {
            kind: "user",
            name: user.to_owned(),
            file: USERS,
        };
        let fields = line(&content, user).ok_or_else(missing)?;
        match (number(&fields, 2), number(&fields, 3)) {
            (Some(uid), Some(gid)) => (uid, gid),
            _ => return Err(missing()),
        }
    };
    let gid = match group {
        None => own_group,
        Some(group) => {
            if let Ok(gid) = group.parse::<u32>() {
                gid
            } else {
                let content = read(tree, GROUPS)?;
                line(&content, group)
                    .and_then(|fields| number(&fields, 2))
                    .ok_or_else(|| StepError::NoSuchUser {
                        kind: "group",
                        name: group.to_owned(),
                        file: GROUPS,
                    })?
            }
        }
    };
    Ok((uid, gid))
}

fn read(tree: &Tree, path: &str) -> Result<String, StepError> {
    match tree.read(Path::new(path), LARGEST) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(error) if error.errno == Errno::NOENT => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

fn line<'a>(content: &'a str, name: &str) -> Option<Vec<&'a str>> {
    content
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
}

fn number(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_image() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\napp:x:7:8::/:\n",
        )
        .unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nwheel:x:10:\n").unwrap();
        let tree = Tree::open(root.path()).unwrap();
        for (text, expected) in [
            ("1", (1, 1)),
            ("1:2", (1, 2)),
            ("app", (7, 8)),
            ("app:wheel", (7, 10)),
            ("app:99", (7, 99)),
            ("5:wheel", (5, 10)),
            ("app:", (7, 8)),
        ] {
            assert_eq!(resolve(&tree, text).unwrap(), expected, "{text}");
        }
        for text in ["nobody", "app:none", "1.5"] {
            assert!(
                matches!(resolve(&tree, text), Err(StepError::NoSuchUser { .. })),
                "{text}"
            );
        }
    }
}
