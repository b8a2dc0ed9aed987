//! What a security module is told of a process that is about to be executed: its AppArmor profile, its SELinux label.
//!
//! That goes through files of procfs. The procfs that the container sees may have something else mounted on top, and
//! a label that is written to a file of the attacker's leaves the process without one (CVE-2019-16884,
//! CVE-2025-52881); so it is written below a descriptor of a procfs that is mounted nowhere, following no link.

use crate::StartError;
use crate::error::failed;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What the next program that this process executes runs as.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Labels {
    /// Takes what a specification says; empty texts, and AppArmor's word for none, say nothing.
    pub(crate) fn new(apparmor: Option<&str>, selinux: Option<&str>) -> Self {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            apparmor: given(apparmor).filter(|profile| profile != "unconfined"),
            selinux: given(selinux),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Asks for them. `process` is this process's directory of a procfs.
    pub(crate) fn announce(&self, process: BorrowedFd<'_>) -> Result<(), StartError> {
        if let Some(profile) = &self.apparmor {
            let what = format!("use the AppArmor profile '{profile}'");
            let value = format!("exec {profile}");
            // Without the module's own directory (before Linux 5.8) the file belongs to whichever module is first.
            match write(process, "attr/apparmor/exec", &value) {
                Err(Errno::NOENT) => write(process, "attr/exec", &value),
                written => written,
            }
            .map_err(failed(what))?;
        }
        if let Some(label) = &self.selinux {
            write(process, "attr/exec", label).map_err(failed(format!("use the SELinux label '{label}'")))?;
        }
        Ok(())
    }
}

fn write(process: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let opened = sys::path::open_resolving(process, Path::new(file), OFlags::WRONLY, Mode::empty(), resolve)?;
    // The kernel takes a label in one piece or not at all.
    rustix::io::write(&opened, value.as_bytes()).map(|_written| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn announced(labels: &Labels, files: &[&str]) -> (Result<(), String>, tempfile::TempDir) {
        let process = tempfile::tempdir().unwrap();
        for file in files {
            let path = process.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let opened = std::fs::File::open(process.path()).unwrap();
        let result = labels.announce(opened.as_fd()).map_err(|error| error.message);
        (result, process)
    }

    #[test]
    fn each_module_is_told_in_its_own_file() {
        let labels = Labels::new(Some("my-profile"), Some("system_u:system_r:container_t:s0:c1,c2"));
        let (result, process) = announced(&labels, &["attr/exec", "attr/apparmor/exec"]);
        result.unwrap();
        let read = |name: &str| std::fs::read_to_string(process.path().join(name)).unwrap();
        assert_eq!(read("attr/apparmor/exec"), "exec my-profile");
        assert_eq!(read("attr/exec"), "system_u:system_r:container_t:s0:c1,c2");
    }

    #[test]
    fn an_older_kernel_has_one_file() {
        let (result, process) = announced(&Labels::new(Some("p"), None), &["attr/exec"]);
        result.unwrap();
        assert_eq!(
            std::fs::read_to_string(process.path().join("attr/exec")).unwrap(),
            "exec p"
        );
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let labels = Labels::new(Some("p"), None);
        let process = tempfile::tempdir().unwrap();
        let elsewhere = process.path().join("elsewhere");
        std::fs::create_dir_all(elsewhere.join("apparmor")).unwrap();
        std::fs::write(elsewhere.join("apparmor/exec"), "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, process.path().join("attr")).unwrap();
        let opened = std::fs::File::open(process.path()).unwrap();
        let error = labels.announce(opened.as_fd()).unwrap_err().message;
        assert!(error.contains("cannot use the AppArmor profile 'p'"), "{error}");
        assert_eq!(std::fs::read(elsewhere.join("apparmor/exec")).unwrap(), b"");
    }

    #[test]
    fn nothing_is_said_of_the_unconfined() {
        for (apparmor, selinux) in [(None, None), (Some("unconfined"), None), (Some(""), Some(""))] {
            assert!(Labels::new(apparmor, selinux).is_empty());
        }
    }
}
