//! What the cgroups above a container's own must have, so that its own can be limited: on version 1 a filled cpuset,
//! on version 2 the controllers handed down.

use super::directory::{Directory, ancestors};
use super::hierarchy::Hierarchy;
use super::settings;
use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use sys::SysError;

/// Fills a cpuset that is empty, as a new one of version 1 is, and takes no process.
pub(super) fn copy_cpuset(from: &Directory, to: &Directory) -> Result<(), SysError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if to.read(file)?.trim().is_empty() {
            to.write(file, from.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Makes what leads to a cpuset of version 1 and fills it from above.
pub(super) fn inherit_cpuset(mount: &Path, relative: &Path) -> Result<(), SysError> {
    let mut parent = Directory::open(mount.to_owned())?;
    for ancestor in ancestors(relative).skip(1) {
        let directory = Directory::shared(mount.join(ancestor))?;
        copy_cpuset(&parent, &directory)?;
        parent = directory;
    }
    Ok(())
}

/// A controller that could not be enabled, where, and why.
pub(super) type Refused = (&'static str, PathBuf, Errno);

/// Enables controllers of version 2 on the way down to `relative`, whose parents are made.
///
/// Every cgroup but the leaf gets no processes of ours, as the kernel demands of one that hands controllers down
/// (cgroup-v2.rst, "No Internal Process Constraint"). A parent that has processes of somebody else's refuses; that is
/// returned, not an error, because it matters only if a limit needs the controller.
pub(super) fn enable(
    hierarchy: &Hierarchy,
    relative: &Path,
    controllers: &[&'static str],
) -> Result<Vec<Refused>, SysError> {
    let mut refused: Vec<Refused> = Vec::new();
    for ancestor in ancestors(relative) {
        let directory = Directory::shared(hierarchy.mount.join(ancestor))?;
        let file = "cgroup.subtree_control";
        let enabled = directory.read(file)?;
        let missing: Vec<_> = controllers
            .iter()
            .copied()
            .filter(|controller| !enabled.split_ascii_whitespace().any(|each| each == *controller))
            .filter(|controller| !refused.iter().any(|(known, ..)| known == controller))
            .collect();
        let line = |controllers: &[&str]| {
            let signed: Vec<_> = controllers.iter().map(|each| format!("+{each}")).collect();
            signed.join(" ")
        };
        if missing.is_empty() || directory.write(file, &line(&missing)).is_ok() {
            continue;
        }
        // All or nothing, says the kernel; so one by one.
        for controller in missing {
            if let Err(error) = directory.write(file, &line(&[controller])) {
                refused.push((controller, directory.path().to_owned(), error.errno));
            }
        }
    }
    Ok(refused)
}

/// Says why a limit will be missing: only for controllers that a limit needs.
pub(super) fn refused_warnings(
    refused: &[Refused],
    resources: &LinuxResources,
) -> Result<Vec<String>, SysError> {
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let settings = settings::version_2(resources)?;
    Ok(refused
        .iter()
        .filter(|(controller, ..)| settings.iter().any(|setting| setting.controller == *controller))
        .map(|(controller, path, errno)| {
            format!(
                "The cgroup controller '{controller}' cannot be enabled in '{}': {errno}.",
                path.display()
            )
        })
        .collect())
}
