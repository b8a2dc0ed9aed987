//! Capabilities: names, numbers, sets, and Docker's default fourteen.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};
use std::str::FromStr;

/// Docker's default set.
pub const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Every capability, at the index that is its number in the kernel (`linux/capability.h`).
pub const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// A capability that cannot be given. Only naming one to add can fail for lack of it; dropping what is not there is
/// what the user wants.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CapabilityError {
    /// It exists, but this kernel does not have it or this process was started without it.
    #[error("capability '{}' is not supported by the kernel or not available here", name(*.0))]
    Unavailable(Capability),
    /// There is none of that name.
    #[error("unknown capability '{0}'")]
    Unknown(String),
}

/// Returns the name with its prefix: `CAP_NET_RAW`.
pub fn name(capability: Capability) -> String {
    format!("CAP_{capability}")
}

/// Returns the kernel's number for a capability.
pub fn number(capability: Capability) -> u32 {
    // The enumeration has no member outside `ALL` (tested), so the fallback is a number that no kernel knows.
    ALL.iter()
        .zip(0..)
        .find(|(each, _)| **each == capability)
        .map_or(63, |(_, number)| number)
}

/// Returns the names with their prefix, sorted, as they are shown and stored.
pub fn names(capabilities: &Capabilities) -> Vec<String> {
    let mut names: Vec<_> = capabilities.iter().copied().map(name).collect();
    names.sort();
    names
}

/// Reads a name in any case, with or without `CAP_`.
pub fn parse(text: &str) -> Result<Capability, CapabilityError> {
    let upper = text.trim().to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper))
        .map_err(|_unknown| CapabilityError::Unknown(text.to_owned()))
}

/// Returns what this process could give: what the kernel knows and our bounding set still has. A number beyond the
/// kernel's `cap_last_cap` is `EINVAL` to prctl(2), so asking settles both.
pub fn held() -> Vec<Capability> {
    ALL.into_iter()
        .filter(|capability| {
            let bit = CapabilitySet::from_bits_retain(1 << number(*capability));
            capability_is_in_bounding_set(bit).unwrap_or(false)
        })
        .collect()
}

/// Applies `--cap-add` and `--cap-drop` (names with or without `CAP_`, `ALL`) to the default set as Docker does, or
/// gives every capability that the kernel knows and we hold where `privileged`. Inheritable and ambient stay empty
/// (CVE-2022-24769).
///
/// Dropping goes first: `--cap-drop ALL --cap-add CHOWN` leaves one. `--cap-add ALL` starts from everything and then
/// takes away what is dropped by name. A privileged container ignores both lists.
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<LinuxCapabilities, CapabilityError> {
    chosen(add, drop, privileged, &held()).map(|set| {
        let mut capabilities = LinuxCapabilities::default();
        capabilities
            .set_bounding(Some(set.clone()))
            .set_effective(Some(set.clone()))
            .set_permitted(Some(set))
            .set_inheritable(Some(Capabilities::default()))
            .set_ambient(Some(Capabilities::default()));
        capabilities
    })
}

/// One list of the command line, read.
struct Request {
    all: bool,
    named: Vec<Capability>,
}

impl Request {
    fn read(texts: &[String]) -> Result<Self, CapabilityError> {
        let is_all = |text: &&String| text.trim().eq_ignore_ascii_case("ALL");
        Ok(Self {
            all: texts.iter().any(|text| is_all(&text)),
            named: texts
                .iter()
                .filter(|text| !is_all(text))
                .map(|text| parse(text))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn chosen(
    add: &[String],
    drop: &[String],
    privileged: bool,
    held: &[Capability],
) -> Result<Capabilities, CapabilityError> {
    if privileged {
        return Ok(held.iter().copied().collect());
    }
    let (add, drop) = (Request::read(add)?, Request::read(drop)?);
    if let Some(missing) = add.named.iter().find(|each| !held.contains(each)) {
        return Err(CapabilityError::Unavailable(*missing));
    }
    let kept = |each: &Capability| !drop.named.contains(each) && held.contains(each);
    Ok(if add.all {
        ALL.into_iter().filter(kept).collect()
    } else if drop.all {
        add.named.into_iter().collect()
    } else {
        DEFAULT.into_iter().filter(kept).chain(add.named).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn resolved(add: &[&str], drop: &[&str]) -> Capabilities {
        chosen(&strings(add), &strings(drop), false, &ALL).unwrap()
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (capability, expected) in [
            (Capability::Chown, 0),
            (Capability::Setpcap, 8),
            (Capability::NetRaw, 13),
            (Capability::SysAdmin, 21),
            (Capability::Mknod, 27),
            (Capability::Setfcap, 31),
            (Capability::AuditRead, 37),
            (Capability::Perfmon, 38),
            (Capability::CheckpointRestore, 40),
        ] {
            assert_eq!(number(capability), expected, "{capability}");
        }
        assert_eq!(ALL.into_iter().collect::<HashSet<_>>().len(), ALL.len());
    }

    #[test]
    fn lists_are_applied_as_docker_does() {
        let default: Capabilities = DEFAULT.into_iter().collect();
        let without = |gone: Capability| default.iter().copied().filter(|each| *each != gone).collect();
        let with = |new: Capability| default.iter().copied().chain([new]).collect();
        let everything_but =
            |gone: &[Capability]| ALL.into_iter().filter(|each| !gone.contains(each)).collect();
        let cases: [(&[&str], &[&str], Capabilities); 11] = [
            (&[], &[], default.clone()),
            (&["NET_ADMIN"], &[], with(Capability::NetAdmin)),
            (&["cap_net_admin"], &[], with(Capability::NetAdmin)),
            (&[" Cap_Net_Admin "], &[], with(Capability::NetAdmin)),
            (&[], &["CAP_NET_RAW"], without(Capability::NetRaw)),
            // Adding comes last, so what is in both lists is there.
            (&["NET_RAW"], &["NET_RAW"], default.clone()),
            (&[], &["all"], Capabilities::default()),
            (&["CHOWN"], &["ALL"], [Capability::Chown].into()),
            (&["ALL"], &[], everything_but(&[])),
            (
                &["ALL"],
                &["NET_RAW", "SYS_ADMIN"],
                everything_but(&[Capability::NetRaw, Capability::SysAdmin]),
            ),
            (&["ALL"], &["ALL"], everything_but(&[])),
        ];
        for (add, drop, expected) in cases {
            assert_eq!(resolved(add, drop), expected, "add {add:?}, drop {drop:?}");
        }
    }

    #[test]
    fn unknown_names_are_errors_in_either_list() {
        for text in ["CAP_CHOWNN", "", "CAP_", "CAP_ALL", "CAP_CAP_CHOWN", "NET RAW"] {
            let expected = Err(CapabilityError::Unknown(text.to_owned()));
            assert_eq!(chosen(&strings(&[text]), &[], false, &ALL), expected);
            assert_eq!(chosen(&[], &strings(&[text]), false, &ALL), expected);
        }
        assert_eq!(
            CapabilityError::Unknown("X".to_owned()).to_string(),
            "unknown capability 'X'"
        );
    }

    #[test]
    fn nothing_is_given_that_is_not_held() {
        let held: Vec<_> = ALL
            .into_iter()
            .filter(|each| !matches!(each, Capability::SysResource | Capability::Mknod))
            .collect();
        let held_set: Capabilities = held.iter().copied().collect();
        assert_eq!(chosen(&[], &[], true, &held).unwrap(), held_set);
        assert_eq!(chosen(&strings(&["ALL"]), &[], false, &held).unwrap(), held_set);
        assert!(
            !chosen(&[], &[], false, &held)
                .unwrap()
                .contains(&Capability::Mknod)
        );
        assert!(chosen(&[], &strings(&["SYS_RESOURCE"]), false, &held).is_ok());
        let refused = chosen(&strings(&["SYS_RESOURCE"]), &[], false, &held).unwrap_err();
        assert_eq!(refused, CapabilityError::Unavailable(Capability::SysResource));
        assert_eq!(
            refused.to_string(),
            "capability 'CAP_SYS_RESOURCE' is not supported by the kernel or not available here"
        );
    }

    #[test]
    fn a_privileged_container_ignores_the_lists() {
        assert!(chosen(&strings(&["NO_SUCH"]), &strings(&["ALL"]), true, &ALL).is_ok());
    }

    #[test]
    fn held_is_the_bounding_set_of_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .unwrap();
        let bounding = u64::from_str_radix(line.trim(), 16).unwrap();
        let ours = held()
            .into_iter()
            .fold(0, |bits, each| bits | 1_u64 << number(each));
        assert_eq!(ours, bounding & ((1 << ALL.len()) - 1));
    }

    #[test]
    fn inheritable_and_ambient_stay_empty() {
        for privileged in [false, true] {
            let capabilities = resolve(&[], &[], privileged).unwrap();
            assert_eq!(capabilities.inheritable(), &Some(Capabilities::default()));
            assert_eq!(capabilities.ambient(), &Some(Capabilities::default()));
            assert_eq!(capabilities.bounding(), capabilities.effective());
            assert_eq!(capabilities.bounding(), capabilities.permitted());
        }
    }

    #[test]
    fn names_are_sorted_and_prefixed() {
        let set = [Capability::Setuid, Capability::Chown, Capability::NetRaw].into();
        assert_eq!(names(&set), ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SETUID"]);
    }
}
