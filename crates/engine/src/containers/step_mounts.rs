//! What a build's `RUN` has mounted besides its root filesystem.

use super::invalid;
use crate::EngineError;
use builder::{MountSource, StepMount};
use oci_spec::runtime::Mount;
use runtime::{Plan, TREE, TreeSource};

/// Adds the mounts of a step to its plan.
pub(super) fn add(plan: &mut Plan, mounts: &[StepMount]) -> Result<(), EngineError> {
    if mounts.is_empty() {
        return Ok(());
    }
    let mut all = plan.spec.mounts().clone().unwrap_or_default();
    for mount in mounts {
        all.push(one(mount, &mut plan.trees)?);
    }
    plan.spec.set_mounts(Some(all));
    Ok(())
}

fn one(mount: &StepMount, trees: &mut Vec<TreeSource>) -> Result<Mount, EngineError> {
    let access = if mount.read_only { "ro" } else { "rw" };
    let mut tree = |source: TreeSource, options: &[&str]| {
        let number = trees.len().to_string();
        trees.push(source);
        of(&mount.target, TREE, &number, options)
    };
    Ok(match &mount.source {
        // Nothing in a context or a cache is a device, or gains rights by being executed.
        MountSource::Directory { path, subpath } => tree(
            TreeSource::Directory {
                path: path.clone(),
                subpath: subpath.clone(),
            },
            &["bind", "rprivate", "nosuid", "nodev", access],
        ),
        MountSource::File { content, mode, owner } => tree(
            TreeSource::File {
                content: content.clone(),
                mode: *mode,
                owner: *owner,
            },
            &["nosuid", "nodev", access],
        ),
        MountSource::Union { overlay, subpath } => tree(
            TreeSource::Union {
                overlay: overlay.clone(),
                subpath: subpath.clone(),
            },
            &["nosuid", "nodev", access],
        ),
        MountSource::Socket(path) => {
            let path = path
                .to_str()
                .ok_or_else(|| invalid(format!("the path '{}' is not UTF-8", path.display())))?;
            of(
                &mount.target,
                "bind",
                path,
                &["bind", "rprivate", "nosuid", "nodev"],
            )
        }
        MountSource::Tmpfs(size) => {
            let size = size.map(|size| format!("size={size}"));
            let mut options = vec!["nosuid", "nodev", "mode=1777"];
            options.extend(size.as_deref());
            of(&mount.target, "tmpfs", "tmpfs", &options)
        }
    })
}

fn of(target: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}
