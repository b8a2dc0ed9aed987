//! The compiler: from a resolved profile to classic BPF.
//!
//! ```text
//! architecture? -> number? -> a tree of comparisons -> an action, or checks of arguments and then an action
//! ```
//!
//! Only loads of the number and the architecture, comparisons, `and` and returns are used, because for programs of
//! these the kernel (since 5.11) works out once which system calls are always allowed, and then skips the program for
//! them altogether (`seccomp_cache_prepare`).

mod emitter;

use super::syscalls::{NONE, canonical, numbers};
use super::{Instruction, SeccompError};
use emitter::Emitter;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use std::collections::BTreeMap;

// Actions (linux/seccomp.h).
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The kernel's bound for an error number (`MAX_ERRNO`); beyond it would be cut silently.
const MOST_ERRNO: u32 = 4095;

/// The kernel's bound for a program (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;

/// Marks system calls of x32, which run under the architecture of x86-64.
const X32: u32 = 0x4000_0000;

/// One calling convention with its own numbers.
#[derive(Debug, Clone, Copy)]
struct Convention {
    architecture: Arch,
    /// `AUDIT_ARCH_*` as the kernel reports it.
    audit: u32,
    /// In [`numbers`].
    column: usize,
    /// Added to each number.
    base: u32,
    /// Whether arguments have 64 bits. Of 32-bit callers the kernel reports the upper halves as zero.
    wide: bool,
}

const CONVENTIONS: [Convention; 5] = [
    Convention {
        architecture: Arch::ScmpArchX86_64,
        audit: 0xc000_003e,
        column: 0,
        base: 0,
        wide: true,
    },
    Convention {
        architecture: Arch::ScmpArchX32,
        audit: 0xc000_003e,
        column: 2,
        base: X32,
        wide: true,
    },
    Convention {
        architecture: Arch::ScmpArchX86,
        audit: 0x4000_0003,
        column: 1,
        base: 0,
        wide: false,
    },
    Convention {
        architecture: Arch::ScmpArchAarch64,
        audit: 0xc000_00b7,
        column: 3,
        base: 0,
        wide: true,
    },
    Convention {
        architecture: Arch::ScmpArchArm,
        audit: 0x4000_0028,
        column: 4,
        base: 0,
        wide: false,
    },
];

/// Compiles a profile.
pub(super) fn program(profile: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    let rules = Rules::read(profile)?;
    let native = if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else {
        Arch::ScmpArchX86_64
    };
    let named = profile.architectures().as_deref().unwrap_or_default();
    // The machine's own architecture is always meant. What we have no numbers for is foreign to this machine, and has
    // the default action.
    let conventions: Vec<_> = CONVENTIONS
        .iter()
        .filter(|each| each.architecture == native || named.contains(&each.architecture))
        .collect();
    let mut audits: Vec<u32> = conventions.iter().map(|each| each.audit).collect();
    audits.dedup();
    // Programs of the machine's own kind come first of all.
    audits.sort_by_key(|audit| {
        !conventions
            .iter()
            .any(|each| each.audit == *audit && each.architecture == native)
    });

    let mut emitter = Emitter::new(&rules);
    for audit in audits.iter().rev() {
        let theirs: Vec<_> = conventions
            .iter()
            .copied()
            .filter(|each| each.audit == *audit)
            .collect();
        emitter.architecture(*audit, &rules.segments(&theirs));
    }
    let program = emitter.program();
    if program.len() > MOST_INSTRUCTIONS {
        return Err(SeccompError::Unsupported(format!(
            "needs {} instructions, more than the kernel's {MOST_INSTRUCTIONS}",
            program.len()
        )));
    }
    Ok(program)
}

/// What happens to a system call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Decision {
    /// This, always.
    Return(u32),
    /// The checks with this index, for arguments of this width.
    Check { rules: usize, wide: bool },
}

/// One rule for one system call: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    conditions: Vec<Condition>,
    action: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    index: u32,
    operator: LinuxSeccompOperator,
    /// For `MaskedEq` the mask.
    value: u64,
    /// Only for `MaskedEq`: what the masked argument must be.
    second: u64,
}

impl Condition {
    fn read(argument: &LinuxSeccompArg) -> Result<Self, SeccompError> {
        let index = u32::try_from(argument.index()).ok().filter(|index| *index < 6);
        Ok(Self {
            index: index.ok_or_else(|| {
                SeccompError::Unsupported(format!(
                    "has a rule for argument {}, and there are six from 0",
                    argument.index()
                ))
            })?,
            operator: argument.op(),
            value: argument.value(),
            second: argument.value_two().unwrap_or(0),
        })
    }
}

/// A profile, gathered by system call.
#[derive(Debug)]
struct Rules {
    default: u32,
    /// For numbers beyond all that are named.
    beyond: u32,
    /// By name, in alphabetical order.
    by_name: Vec<([i32; 5], Gathered)>,
    /// The lists that [`Gathered::Checked`] and [`Decision::Check`] point to.
    checks: Vec<Vec<Check>>,
}

#[derive(Debug, Clone, Copy)]
enum Gathered {
    Always(u32),
    Checked(usize),
}

impl Rules {
    fn read(profile: &LinuxSeccomp) -> Result<Self, SeccompError> {
        let default = action(profile.default_action(), profile.default_errno_ret())?;
        let mut always: BTreeMap<&str, u32> = BTreeMap::new();
        let mut checked: BTreeMap<&str, Vec<Check>> = BTreeMap::new();
        for rule in profile.syscalls().iter().flatten() {
            let action = action(rule.action(), rule.errno_ret())?;
            let conditions = rule
                .args()
                .iter()
                .flatten()
                .map(Condition::read)
                .collect::<Result<Vec<_>, _>>()?;
            for name in rule.names().iter().map(|name| canonical(name)) {
                if conditions.is_empty() {
                    always.entry(name).or_insert(action);
                    continue;
                }
                let checks = checked.entry(name).or_default();
                let repeats = (1..conditions.len()).any(|at| {
                    conditions[..at]
                        .iter()
                        .any(|earlier| earlier.index == conditions[at].index)
                });
                if repeats {
                    checks.extend(conditions.iter().map(|condition| Check {
                        conditions: vec![*condition],
                        action,
                    }));
                } else {
                    checks.push(Check {
                        conditions: conditions.clone(),
                        action,
                    });
                }
            }
        }
        let mut checks: Vec<Vec<Check>> = Vec::new();
        let mut by_name = Vec::with_capacity(always.len() + checked.len());
        for (name, action) in &always {
            by_name.extend(numbers(name).map(|numbers| (numbers, Gathered::Always(*action))));
        }
        for (name, list) in checked {
            if always.contains_key(name) {
                continue;
            }
            let Some(numbers) = numbers(name) else { continue };
            let index = checks.iter().position(|known| *known == list).unwrap_or_else(|| {
                checks.push(list);
                checks.len() - 1
            });
            by_name.push((numbers, Gathered::Checked(index)));
        }
        let permissive = matches!(default & 0xffff_0000, ALLOW | LOG | TRACE);
        Ok(Self {
            default,
            beyond: if permissive { default } else { ERRNO | ENOSYS },
            by_name,
            checks,
        })
    }

    /// Returns which decision holds from which number on, for conventions of one architecture.
    fn segments(&self, conventions: &[&Convention]) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut push = |start: u32, decision: Decision| match segments.last_mut() {
            Some(last) if last.decision == decision => {}
            Some(last) if last.start == start => last.decision = decision,
            _ => segments.push(Segment { start, decision }),
        };
        push(0, Decision::Return(self.default));
        for convention in conventions {
            let mut decisions: Vec<(u32, Decision)> = self
                .by_name
                .iter()
                .filter_map(|(numbers, gathered)| {
                    let number = numbers.get(convention.column).filter(|number| **number != NONE)?;
                    let number = u32::try_from(*number).ok()? + convention.base;
                    let decision = match *gathered {
                        Gathered::Always(action) => Decision::Return(action),
                        Gathered::Checked(rules) => Decision::Check {
                            rules,
                            wide: convention.wide,
                        },
                    };
                    Some((number, decision))
                })
                .collect();
            decisions.sort_by_key(|(number, _)| *number);
            push(convention.base, Decision::Return(self.default));
            let mut next = convention.base;
            for (number, decision) in decisions {
                if number > next {
                    push(next, Decision::Return(self.default));
                }
                push(number, decision);
                next = number + 1;
            }
            push(next, Decision::Return(self.beyond));
        }
        // Numbers of x32 are not younger than the profile but of another kind, if that is not named.
        if conventions.iter().all(|each| each.column == 0) {
            push(X32, Decision::Return(self.default));
        }
        segments
    }
}

/// Numbers from `start` to the next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    start: u32,
    decision: Decision,
}

/// Returns the value that a filter returns for an action.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let with_number = |action: u32, most: u32| match errno.unwrap_or(EPERM) {
        number if number <= most => Ok(action | number),
        number => Err(SeccompError::Unsupported(format!(
            "returns {number}, and the most possible is {most}"
        ))),
    };
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Ok(KILL_THREAD),
        LinuxSeccompAction::ScmpActKillProcess => Ok(KILL_PROCESS),
        LinuxSeccompAction::ScmpActTrap => Ok(TRAP),
        LinuxSeccompAction::ScmpActErrno => with_number(ERRNO, MOST_ERRNO),
        LinuxSeccompAction::ScmpActTrace => with_number(TRACE, 0xffff),
        LinuxSeccompAction::ScmpActLog => Ok(LOG),
        LinuxSeccompAction::ScmpActAllow => Ok(ALLOW),
        LinuxSeccompAction::ScmpActNotify => Err(SeccompError::Unsupported(
            "asks for SCMP_ACT_NOTIFY, which is not supported".to_owned(),
        )),
    }
}
