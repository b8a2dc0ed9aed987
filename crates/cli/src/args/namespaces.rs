//! `--cgroupns`, `--ipc`, `--pid`, `--userns`, `--uts`: with whom a container shares its namespaces.

use super::Invalid;
use clap::Args;
use engine::containers::notation::modes;
use engine::containers::request::{CgroupNamespace, IpcMode, NamespaceMode, UserNamespaceMode, UtsMode};

/// Namespace modes.
#[derive(Debug, Args)]
pub(crate) struct NamespaceFlags {
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_name = "string")]
    cgroupns: Option<String>,
    /// IPC mode to use
    #[arg(long, value_name = "string")]
    ipc: Option<String>,
    /// PID namespace to use
    #[arg(long, value_name = "string")]
    pid: Option<String>,
    /// User namespace to use
    #[arg(long, value_name = "string")]
    userns: Option<String>,
    /// UTS namespace to use
    #[arg(long, value_name = "string")]
    uts: Option<String>,
}

/// The modes that the flags came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) cgroup: Option<CgroupNamespace>,
    pub(crate) ipc: IpcMode,
    pub(crate) pid: NamespaceMode,
    pub(crate) user: UserNamespaceMode,
    pub(crate) uts: UtsMode,
}

impl NamespaceFlags {
    /// Reads all of them.
    pub(crate) fn modes(&self) -> Result<Namespaces, Invalid> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(Namespaces {
            pid: modes::pid(&text(&self.pid))?,
            uts: modes::uts(&text(&self.uts))?,
            user: modes::user(&text(&self.userns))?,
            cgroup: modes::cgroup(&text(&self.cgroupns))?,
            ipc: modes::ipc(&text(&self.ipc))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> NamespaceFlags {
        NamespaceFlags {
            cgroupns: None,
            ipc: None,
            pid: None,
            userns: None,
            uts: None,
        }
    }

    #[test]
    fn modes() {
        for (text, expected) in [
            ("", NamespaceMode::Own),
            ("host", NamespaceMode::Host),
            ("container:db", NamespaceMode::Container("db".into())),
        ] {
            assert_eq!(modes::pid(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", IpcMode::Private),
            ("none", IpcMode::None),
            ("shareable", IpcMode::Shareable),
            ("host", IpcMode::Host),
            ("container:db", IpcMode::Container("db".into())),
        ] {
            assert_eq!(modes::ipc(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_ones_in_dockers_words() {
        let wrong = |change: fn(&mut NamespaceFlags)| {
            let mut flags = flags();
            change(&mut flags);
            flags.modes().unwrap_err().0
        };
        for (change, message) in [
            (
                (|f| f.pid = Some("container:".into())) as fn(&mut NamespaceFlags),
                "--pid: invalid PID mode",
            ),
            (|f| f.uts = Some("x".into()), "--uts: invalid UTS mode"),
            (|f| f.userns = Some("x".into()), "--userns: invalid USER mode"),
            (
                |f| f.cgroupns = Some("x".into()),
                "--cgroupns: invalid CGROUP mode",
            ),
            (|f| f.ipc = Some("x".into()), "invalid IPC mode: x"),
        ] {
            assert_eq!(wrong(change), message);
        }
    }
}
