//! Hooks: programs of the host's that a specification wants run with a container.
//!
//! They are not run. A hook runs as the host's root on the container's tree of files, and what a container controls
//! of it has led out again and again (CVE-2024-0132, CVE-2025-23266, both in the hooks that are read here). What the
//! known ones do is done by ourselves instead: links are made by descriptor inside the tree, and where `ldconfig` would
//! be run on the image's own files, the loader is told of the directories by `LD_LIBRARY_PATH`. A hook that is not
//! known is an error, for without it the device would not work and nobody would know why.

use super::specification::Hook;
use super::{CdiError, Edits};
use runtime::Link;

/// Does what a hook would do.
pub(super) fn apply(hook: &Hook, kind: &str, edits: &mut Edits) -> Result<(), CdiError> {
    let words: Vec<&str> = hook.args.iter().map(String::as_str).collect();
    // `nvidia-ctk hook NAME …` and `nvidia-cdi-hook NAME …`.
    let (name, options) = match words[..] {
        [_, "hook", name, ..] => (name, &words[3..]),
        [_, name, ..] => (name, &words[2..]),
        _ => ("", &words[..0]),
    };
    let program = hook.path.file_name().unwrap_or_default().to_string_lossy();
    let known = matches!(&*program, "nvidia-ctk" | "nvidia-cdi-hook");
    match name {
        "create-symlinks" if known => {
            for link in values(options, "--link") {
                if let Some((target, path)) = link.split_once("::") {
                    edits.links.push(Link {
                        target: target.to_owned(),
                        path: path.into(),
                    });
                }
            }
            Ok(())
        }
        "update-ldcache" if known => {
            for folder in values(options, "--folder") {
                let folder = folder.to_owned();
                if !edits.libraries.contains(&folder) {
                    edits.libraries.push(folder);
                }
            }
            Ok(())
        }
        // The first is about modes, which device nodes have from the host's; the second keeps the driver's tools from
        // making nodes, which would be of no use: the devices cgroup decides what can be opened. Nothing is lost.
        "chmod" | "disable-device-node-modification" if known => Ok(()),
        // It prefers the image's newer libraries to the host's where both serve, which takes a look into the image.
        "enable-cuda-compat" if known => {
            let remark = format!(
                "the hook enable-cuda-compat of {kind} is not run: programs use the host's CUDA libraries, not newer ones of the image; where these are needed, add -e LD_LIBRARY_PATH=/usr/local/cuda/compat"
            );
            if !edits.remarks.contains(&remark) {
                edits.remarks.push(remark);
            }
            Ok(())
        }
        _ => Err(CdiError::Hook {
            hook: std::iter::once(hook.path.display().to_string())
                .chain(words.iter().skip(1).map(|&word| word.to_owned()))
                .collect::<Vec<_>>()
                .join(" "),
            kind: kind.to_owned(),
        }),
    }
}

/// Returns the values of an option, written `--option value` or `--option=value`.
fn values<'a>(words: &[&'a str], option: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == option {
            values.extend(words.next());
        } else if let Some(value) = word.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')) {
            values.push(value);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(path: &str, words: &str) -> Result<Edits, String> {
        let hook = Hook {
            path: path.into(),
            args: words.split(' ').map(str::to_owned).collect(),
        };
        let mut edits = Edits::default();
        apply(&hook, "nvidia.com/gpu", &mut edits).map_err(|error| error.to_string())?;
        Ok(edits)
    }

    #[test]
    fn known_hooks_are_done_by_ourselves() {
        let edits = applied(
            "/usr/bin/nvidia-cdi-hook",
            "nvidia-cdi-hook create-symlinks --link a::/usr/lib/b --link=c::/d",
        )
        .unwrap();
        let links: Vec<_> = edits
            .links
            .iter()
            .map(|link| (link.target.as_str(), link.path.to_str().unwrap()))
            .collect();
        assert_eq!(links, [("a", "/usr/lib/b"), ("c", "/d")]);
        let edits = applied(
            "/usr/bin/nvidia-ctk",
            "nvidia-ctk hook update-ldcache --folder /usr/lib --folder /usr/lib",
        )
        .unwrap();
        assert_eq!(edits.libraries, ["/usr/lib"]);
    }

    #[test]
    fn what_is_not_done_is_told_if_it_changes_anything() {
        for (hook, remarks) in [
            ("chmod --mode 755 --path /dev/dri", 0),
            ("disable-device-node-modification", 0),
            ("enable-cuda-compat --host-driver-version=560.35", 1),
        ] {
            let edits = applied("/usr/bin/nvidia-cdi-hook", &format!("nvidia-cdi-hook {hook}")).unwrap();
            assert_eq!(edits.remarks.len(), remarks, "{hook}");
        }
    }

    #[test]
    fn others_are_refused() {
        let error = applied("/opt/hook", "hook create-symlinks --link a::/b").unwrap_err();
        assert_eq!(
            error,
            "CDI device injection failed: the hook '/opt/hook create-symlinks --link a::/b' of nvidia.com/gpu is not supported"
        );
        assert!(applied("/usr/bin/nvidia-ctk", "nvidia-ctk hook new-thing").is_err());
    }
}
