//! From a profile with conditions to the plain one of the OCI specification.

use super::default;
use super::{SeccompError, default::Condition};
use crate::capabilities;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

/// What conditions are about.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) capabilities: Vec<String>,
    /// Docker's conditions use Go's names; those of architectures that may run beside the native one never hold.
    pub(super) architecture: &'static str,
    pub(super) native: Arch,
    pub(super) kernel: (u32, u32),
}

impl Host {
    /// This machine, for a process with `capabilities` in its bounding set.
    pub(super) fn this(capabilities: &[Capability]) -> Self {
        let (architecture, native) = if cfg!(target_arch = "aarch64") {
            ("arm64", Arch::ScmpArchAarch64)
        } else {
            ("amd64", Arch::ScmpArchX86_64)
        };
        Self {
            capabilities: capabilities.iter().copied().map(capabilities::name).collect(),
            architecture,
            native,
            kernel: version(&rustix::system::uname().release().to_string_lossy()).unwrap_or((0, 0)),
        }
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|held| held == capability)
    }

    /// Says whether a rule counts: all that it includes holds, and nothing that it excludes.
    fn admits(&self, includes: &Condition<'_>, excludes: &Condition<'_>) -> bool {
        let Condition {
            capabilities,
            architectures,
            kernel,
        } = includes;
        let included = capabilities.iter().all(|each| self.has(each))
            && (architectures.is_empty() || architectures.contains(&self.architecture))
            && kernel.is_none_or(|least| self.kernel >= least);
        let Condition {
            capabilities,
            architectures,
            kernel,
        } = excludes;
        let excluded = capabilities.iter().any(|each| self.has(each))
            || architectures.contains(&self.architecture)
            || kernel.is_some_and(|least| self.kernel >= least);
        included && !excluded
    }
}

/// Reads `4.8` or `6.18.44-generic`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Resolves the built-in profile.
pub(super) fn default(host: &Host) -> LinuxSeccomp {
    let syscalls = default::RULES
        .iter()
        .filter(|rule| host.admits(&rule.includes, &rule.excludes))
        .filter_map(|rule| {
            let mut syscall = LinuxSyscall::default();
            syscall
                .set_names(rule.names.iter().copied().map(str::to_owned).collect())
                .set_action(rule.action)
                .set_errno_ret(rule.errno);
            if !rule.arguments.is_empty() {
                let arguments = rule.arguments.iter().map(|(index, value, operator)| {
                    LinuxSeccompArgBuilder::default()
                        .index(*index)
                        .value(*value)
                        .op(*operator)
                        .build()
                });
                // Every field has a default, so this never fails; but a rule must not lose its arguments.
                syscall.set_args(Some(arguments.collect::<Result<_, _>>().ok()?));
            }
            Some(syscall)
        })
        .collect();
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(default::DEFAULT_ACTION)
        .set_default_errno_ret(Some(default::DEFAULT_ERRNO))
        .set_architectures(Some(match host.native {
            Arch::ScmpArchAarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
            native => vec![native, Arch::ScmpArchX86, Arch::ScmpArchX32],
        }))
        .set_syscalls(Some(syscalls));
    profile
}

/// Docker's format; the OCI's is the same without conditions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<Family>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<FileRule>>,
}

/// An architecture and those that its machines run too.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileRule {
    /// The older spelling of a single name.
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<FileCondition>,
    excludes: Option<FileCondition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileCondition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads and resolves a profile.
pub(super) fn parse(json: &str, host: &Host) -> Result<LinuxSeccomp, SeccompError> {
    let unsupported = |text: &str| Err(SeccompError::Unsupported(text.to_owned()));
    let file: File = serde_json::from_str(json)?;
    let families = file.arch_map.unwrap_or_default();
    let named = file.architectures.unwrap_or_default();
    if !families.is_empty() && !named.is_empty() {
        return unsupported("has both 'architectures' and 'archMap'; use either");
    }
    let architectures = if families.is_empty() {
        named
    } else {
        families
            .into_iter()
            .filter(|family| family.architecture == host.native)
            .flat_map(|family| {
                [family.architecture]
                    .into_iter()
                    .chain(family.sub_architectures.unwrap_or_default())
            })
            .collect()
    };
    let mut syscalls = Vec::new();
    for rule in file.syscalls.unwrap_or_default() {
        let names = match (
            rule.name.filter(|name| !name.is_empty()),
            rule.names.unwrap_or_default(),
        ) {
            (Some(_), names) if !names.is_empty() => {
                return unsupported("has a rule with both 'name' and 'names'; use either");
            }
            (Some(name), _) => vec![name],
            (None, names) => names,
        };
        if !admits(
            host,
            &rule.includes.unwrap_or_default(),
            &rule.excludes.unwrap_or_default(),
        )? {
            continue;
        }
        let mut syscall = LinuxSyscall::default();
        syscall
            .set_names(names)
            .set_action(rule.action)
            .set_errno_ret(rule.errno_ret)
            .set_args(rule.args.filter(|arguments| !arguments.is_empty()));
        syscalls.push(syscall);
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(file.default_action)
        .set_default_errno_ret(file.default_errno_ret)
        .set_architectures(Some(architectures))
        .set_flags(file.flags)
        .set_listener_path(file.listener_path)
        .set_listener_metadata(file.listener_metadata)
        .set_syscalls(Some(syscalls));
    Ok(profile)
}

fn admits(host: &Host, includes: &FileCondition, excludes: &FileCondition) -> Result<bool, SeccompError> {
    let read = |condition: &FileCondition| match &condition.min_kernel {
        None => Ok(None),
        Some(text) => version(text).map(Some).ok_or_else(|| {
            SeccompError::Unsupported(format!("asks for the kernel version '{text}', which is none"))
        }),
    };
    let (in_capabilities, in_architectures) =
        (borrow(includes.caps.as_ref()), borrow(includes.arches.as_ref()));
    let (ex_capabilities, ex_architectures) =
        (borrow(excludes.caps.as_ref()), borrow(excludes.arches.as_ref()));
    Ok(host.admits(
        &Condition {
            capabilities: &in_capabilities,
            architectures: &in_architectures,
            kernel: read(includes)?,
        },
        &Condition {
            capabilities: &ex_capabilities,
            architectures: &ex_architectures,
            kernel: read(excludes)?,
        },
    ))
}

fn borrow(list: Option<&Vec<String>>) -> Vec<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}
