//! `--storage-opt size=…`: how much a container may write.
//!
//! Its upper and work directories belong to a project of their own, and the filesystem holds that to the limit. Both
//! belong to the same one, because overlayfs renames from one into the other, and nothing is renamed from one project
//! into another (`EXDEV`).

use super::invalid;
use super::places::random;
use super::request::CreateContainer;
use crate::EngineError;
use std::path::Path;
use sys::quota::{self, Filesystem};

/// Others on this filesystem number their projects from one on.
const LOWEST: u32 = 1 << 30;
/// How many numbers are tried before something else must be wrong.
const ATTEMPTS: u32 = 64;

/// Returns the limit that was asked for; zero is none, as with Docker.
pub(super) fn size(request: &CreateContainer) -> Result<Option<u64>, EngineError> {
    let mut size = None;
    for (name, value) in &request.storage_options {
        if !name.eq_ignore_ascii_case("size") {
            return Err(invalid(format!("Unknown option {name}")));
        }
        let bytes = crate::size::bytes(value).map_err(|error| invalid(error.to_string()))?;
        size = u64::try_from(bytes).ok().filter(|&bytes| bytes > 0);
    }
    Ok(size)
}

/// Refuses a limit where the filesystem of this directory cannot hold anybody to it.
pub(super) fn check(request: &CreateContainer, root: &Path) -> Result<(), EngineError> {
    if size(request)?.is_none() || Filesystem::of(root)?.limits_projects() {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: "--storage-opt is supported only for overlay over xfs or ext4 with 'prjquota' mount option"
            .into(),
        hint: Some(format!(
            "{} is on a filesystem that does not limit projects: for XFS mount it with the option prjquota, for ext4 make it with 'mkfs.ext4 -O quota,project' (or change it by tune2fs) and mount it with prjquota; or leave --storage-opt out, and give the container a volume of its own filesystem",
            root.display()
        )),
    })
}

/// Holds the directories of a container to the limit that was asked for, with what is to be made in them.
pub(super) fn hold(request: &CreateContainer, upper: &Path, work: &Path) -> Result<(), EngineError> {
    let Some(bytes) = size(request)? else {
        return Ok(());
    };
    let filesystem = Filesystem::of(upper)?;
    let mut project = quota::project_of(upper)?;
    if project < LOWEST {
        project = free(&filesystem)?;
        // The limit first: what has a project of ours has one, and is found by it when the container goes.
        filesystem.limit(project, Some(bytes))?;
        quota::set_project(upper, project)?;
    } else {
        filesystem.limit(project, Some(bytes))?;
    }
    if quota::project_of(work)? != project {
        quota::set_project(work, project)?;
    }
    Ok(())
}

/// Takes the limit of a container that goes away. Its project has no file then, and what the filesystem remembers of
/// one without files and limits is nothing.
pub(super) fn lift(request: &CreateContainer, directory: &Path) {
    if request.storage_options.is_empty() {
        return;
    }
    let upper = directory.join("upper");
    let lifted = quota::project_of(&upper).and_then(|project| {
        if project < LOWEST {
            return Ok(());
        }
        Filesystem::of(directory)?.limit(project, None)
    });
    // A limit that stays is a number in the filesystem's own list, and keeps nobody from anything.
    lifted.unwrap_or_default();
}

/// Finds a number that nobody has. Two who draw the same one in the same moment would share a limit; there are three
/// thousand million.
fn free(filesystem: &Filesystem) -> Result<u32, EngineError> {
    for _ in 0..ATTEMPTS {
        let project = LOWEST | u32::from_ne_bytes(random::<4>()?);
        if project != u32::MAX && filesystem.is_free(project)? {
            return Ok(project);
        }
    }
    Err(invalid("no free project number was found for --storage-opt size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: &[(&str, &str)]) -> CreateContainer {
        CreateContainer {
            storage_options: options
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..CreateContainer::default()
        }
    }

    #[test]
    fn sizes_are_read() {
        for (options, expected) in [
            (&[][..], None),
            (&[("size", "10m")], Some(10 << 20)),
            (&[("SIZE", "1g")], Some(1 << 30)),
            (&[("size", "0")], None),
        ] {
            assert_eq!(size(&request(options)).unwrap(), expected, "{options:?}");
        }
        for (option, message) in [
            (("size", "x"), "invalid size: 'x'"),
            (("quota", "1g"), "Unknown option quota"),
        ] {
            assert_eq!(size(&request(&[option])).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn where_nothing_is_limited_the_limit_is_refused() {
        let error = check(&request(&[("size", "1g")]), Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("prjquota"), "{error}");
        check(&request(&[]), Path::new("/proc")).unwrap();
        check(&request(&[("size", "0")]), Path::new("/proc")).unwrap();
    }
}
