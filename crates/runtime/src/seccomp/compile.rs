//! The compiler: from a resolved profile to classic BPF.
//!
//! ```text
//! architecture? -> number? -> a tree of comparisons -> an action, or checks of arguments and then an action
//! ```
//!
//! Only loads of the number and the architecture, comparisons, `and` and returns are used, because for programs of
//! these the kernel (since 5.11) works out once which system calls are always allowed, and then skips the program for
//! them altogether (`seccomp_cache_prepare`).
//!
//! Jumps of BPF go forward only, so the program is made from its end: a block is emitted when everything it leads to
//! is there, and distances are known at once. A conditional jump reaches 255 instructions; what is further away is
//! reached through a copy (of a return) or a long jump, put in just before.

use super::syscalls::{NONE, canonical, numbers};
use super::{Instruction, SeccompError};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use std::collections::BTreeMap;

// Operations (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const NOT_LESS: u16 = 0x35;

// Offsets in `struct seccomp_data`, for little-endian machines.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

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
    let mut entries = Vec::new();
    for audit in audits.iter().rev() {
        let theirs: Vec<_> = conventions
            .iter()
            .copied()
            .filter(|each| each.audit == *audit)
            .collect();
        let segments = rules.segments(&theirs);
        let tree = emitter.tree(&segments);
        entries.push((*audit, emitter.then(LOAD, NUMBER, tree)));
        emitter.forget_blocks();
    }
    let mut next = emitter.finish(rules.default);
    for (audit, entry) in entries {
        next = emitter.branch(EQUAL, audit, entry, next);
    }
    emitter.then(LOAD, ARCHITECTURE, next);
    let mut program = emitter.reversed;
    program.reverse();
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

/// A place in the program, counted from its end.
type Label = usize;

/// Makes the program, last instruction first.
struct Emitter<'a> {
    rules: &'a Rules,
    reversed: Vec<Instruction>,
    returns: BTreeMap<u32, Label>,
    blocks: BTreeMap<Decision, Label>,
}

impl<'a> Emitter<'a> {
    fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            reversed: Vec::new(),
            returns: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// The distance to a label from an instruction that comes before `between` more are put in.
    fn distance(&self, label: Label, between: usize) -> usize {
        self.reversed.len() + between - label - 1
    }

    /// A return, one that is near if there is one.
    fn finish(&mut self, value: u32) -> Label {
        match self.returns.get(&value) {
            // With room for the rest of a block; what becomes too far after all is copied by `near`.
            Some(label) if self.distance(*label, 0) < 200 => *label,
            _ => {
                let label = self.push(RETURN, value, 0, 0);
                self.returns.insert(value, label);
                label
            }
        }
    }

    /// Checks of arguments are shared within one architecture, not across.
    fn forget_blocks(&mut self) {
        self.blocks.clear();
    }

    /// Returns a label for the same that a conditional jump can reach, even after two more instructions.
    fn near(&mut self, label: Label) -> Label {
        if u8::try_from(self.distance(label, 2)).is_ok() {
            return label;
        }
        if let Some(Instruction { code: RETURN, k, .. }) = self.reversed.get(label) {
            let value = *k;
            let label = self.push(RETURN, value, 0, 0);
            self.returns.insert(value, label);
            return label;
        }
        // No program is longer than 32 bits can say.
        let distance = u32::try_from(self.distance(label, 0)).unwrap_or(u32::MAX);
        self.push(JUMP, distance, 0, 0)
    }

    /// A comparison that leads to one label or the other.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        // `near` has left room for one instruction more than it put in itself, so neither is beyond 255.
        let short = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (jt, jf) = (short(self.distance(yes, 0)), short(self.distance(no, 0)));
        self.push(code, k, jt, jf)
    }

    /// An instruction that goes on to a label.
    fn then(&mut self, code: u16, k: u32, next: Label) -> Label {
        if self.distance(next, 0) > 0 {
            let distance = u32::try_from(self.distance(next, 0)).unwrap_or(u32::MAX);
            self.push(JUMP, distance, 0, 0);
        }
        self.push(code, k, 0, 0)
    }

    /// Finds the segment of the loaded number.
    ///
    /// A single number that differs from both its neighbours, which agree, costs one comparison for equality instead
    /// of two for order; such triples stay together, and the tree is balanced over them.
    fn tree(&mut self, segments: &[Segment]) -> Label {
        let mut groups: Vec<&[Segment]> = Vec::new();
        let mut rest = segments;
        while !rest.is_empty() {
            let triple = match rest {
                [before, single, after, ..] => {
                    before.decision == after.decision && after.start - single.start == 1
                }
                _ => false,
            };
            let (group, further) = rest.split_at(if triple { 3 } else { 1 });
            groups.push(group);
            rest = further;
        }
        self.branches(&groups)
    }

    fn branches(&mut self, groups: &[&[Segment]]) -> Label {
        match groups {
            [] => self.finish(self.rules.default),
            [[segment]] => self.decision(&segment.decision),
            [[around, single, _]] => {
                let no = self.decision(&around.decision);
                let yes = self.decision(&single.decision);
                self.branch(EQUAL, single.start, yes, no)
            }
            _ => {
                let (low, high) = groups.split_at(groups.len() / 2);
                let start = high
                    .iter()
                    .flat_map(|group| group.iter())
                    .map(|segment| segment.start)
                    .next();
                let high = self.branches(high);
                let low = self.branches(low);
                self.branch(NOT_LESS, start.unwrap_or(0), high, low)
            }
        }
    }

    fn decision(&mut self, decision: &Decision) -> Label {
        match *decision {
            Decision::Return(value) => self.finish(value),
            Decision::Check { rules, wide } => {
                if let Some(label) = self.blocks.get(decision) {
                    return *label;
                }
                let label = self.checks(rules, wide);
                self.blocks.insert(decision.clone(), label);
                label
            }
        }
    }

    /// The rules of one system call, tried in order.
    fn checks(&mut self, rules: usize, wide: bool) -> Label {
        let checks = self
            .rules
            .checks
            .get(rules)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut next = self.finish(self.rules.default);
        let mut rest = checks;
        while let Some((last, before)) = rest.split_last() {
            // Equalities of one argument with the same outcome are looked up in one go.
            let run = rest
                .iter()
                .rev()
                .take_while(|check| alike(check, last))
                .count()
                .max(1);
            let found = self.finish(last.action);
            if run > 1 {
                let (first, alike) = rest.split_at(rest.len() - run);
                let values = alike.iter().flat_map(|check| &check.conditions);
                next = self.any_of(values, found, next, wide);
                rest = first;
            } else {
                let mut success = found;
                for condition in last.conditions.iter().rev() {
                    success = self.condition(condition, success, next, wide);
                }
                next = success;
                rest = before;
            }
        }
        next
    }

    /// Whether an argument equals any of some values: those with the same upper half share its comparison.
    fn any_of<'b>(
        &mut self,
        conditions: impl Iterator<Item = &'b Condition>,
        yes: Label,
        no: Label,
        wide: bool,
    ) -> Label {
        let mut index = 0;
        let mut halves: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for condition in conditions {
            index = condition.index;
            let (high, low) = split(condition.value);
            halves.entry(if wide { high } else { 0 }).or_default().push(low);
        }
        let (high_at, low_at) = offsets(index);
        let mut next = no;
        for (high, lows) in halves {
            let mut chain = no;
            for low in lows {
                chain = self.branch(EQUAL, low, yes, chain);
            }
            let loaded = self.then(LOAD, low_at, chain);
            if !wide {
                return loaded;
            }
            next = self.branch(EQUAL, high, loaded, next);
        }
        self.then(LOAD, high_at, next)
    }

    fn condition(&mut self, condition: &Condition, yes: Label, no: Label, wide: bool) -> Label {
        use LinuxSeccompOperator as Operator;
        let (high, low) = split(condition.value);
        let (high_at, low_at) = offsets(condition.index);
        match condition.operator {
            Operator::ScmpCmpEq => self.equal(condition, (u64::MAX, condition.value), yes, no, wide),
            Operator::ScmpCmpNe => self.equal(condition, (u64::MAX, condition.value), no, yes, wide),
            Operator::ScmpCmpMaskedEq => {
                // As libseccomp does, what the mask hides is not compared.
                let masked = condition.second & condition.value;
                self.equal(condition, (condition.value, masked), yes, no, wide)
            }
            Operator::ScmpCmpGe | Operator::ScmpCmpGt | Operator::ScmpCmpLt | Operator::ScmpCmpLe => {
                // a < b is not (a >= b), and a <= b is not (a > b).
                let (code, yes, no) = match condition.operator {
                    Operator::ScmpCmpGe => (NOT_LESS, yes, no),
                    Operator::ScmpCmpGt => (GREATER, yes, no),
                    Operator::ScmpCmpLt => (NOT_LESS, no, yes),
                    _ => (GREATER, no, yes),
                };
                let compared = self.branch(code, low, yes, no);
                let loaded = self.then(LOAD, low_at, compared);
                if !wide {
                    return loaded;
                }
                let equal = self.branch(EQUAL, high, loaded, no);
                let above = self.branch(GREATER, high, yes, equal);
                self.then(LOAD, high_at, above)
            }
        }
    }

    /// `(argument & mask) == value`, half by half.
    fn equal(
        &mut self,
        condition: &Condition,
        (mask, value): (u64, u64),
        yes: Label,
        no: Label,
        wide: bool,
    ) -> Label {
        let (high_at, low_at) = offsets(condition.index);
        let (mask_high, mask_low) = split(mask);
        let (high, low) = split(value);
        let low = self.half(low_at, mask_low, low, yes, no);
        if wide {
            self.half(high_at, mask_high, high, low, no)
        } else {
            low
        }
    }

    fn half(&mut self, at: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        match mask {
            0 => yes,
            u32::MAX => {
                let compared = self.branch(EQUAL, value, yes, no);
                self.then(LOAD, at, compared)
            }
            _ => {
                let compared = self.branch(EQUAL, value, yes, no);
                let masked = self.then(AND, mask, compared);
                self.then(LOAD, at, masked)
            }
        }
    }
}

fn alike(one: &Check, other: &Check) -> bool {
    match (&one.conditions[..], &other.conditions[..]) {
        ([one_condition], [other_condition]) => {
            one.action == other.action
                && one_condition.index == other_condition.index
                && one_condition.operator == LinuxSeccompOperator::ScmpCmpEq
                && other_condition.operator == LinuxSeccompOperator::ScmpCmpEq
        }
        _ => false,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
fn split(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

/// Where the halves of an argument are.
fn offsets(index: u32) -> (u32, u32) {
    (ARGUMENTS + 8 * index + 4, ARGUMENTS + 8 * index)
}
