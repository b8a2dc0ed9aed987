//! Instructions, from the last to the first.
//!
//! Jumps of BPF go forward only, so the program is made from its end: a block is emitted when everything it leads to
//! is there, and distances are known at once. A conditional jump reaches 255 instructions; what is further away is
//! reached through a copy (of a return) or a long jump, put in just before.

use super::super::Instruction;
use super::{Check, Condition, Decision, Rules, Segment};
use oci_spec::runtime::LinuxSeccompOperator;
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

/// A place in the program, counted from its end.
type Label = usize;

/// Makes the program, last instruction first.
pub(super) struct Emitter<'a> {
    rules: &'a Rules,
    reversed: Vec<Instruction>,
    returns: BTreeMap<u32, Label>,
    blocks: BTreeMap<Decision, Label>,
    /// Where the programs of the architectures start.
    entries: Vec<(u32, Label)>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            reversed: Vec::new(),
            returns: BTreeMap::new(),
            blocks: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    /// Adds what holds for one architecture. The one added last is tried first.
    pub(super) fn architecture(&mut self, audit: u32, segments: &[Segment]) {
        // Checks of arguments are shared within one architecture, not across: what is near is better.
        self.blocks.clear();
        let tree = self.tree(segments);
        let entry = self.then(LOAD, NUMBER, tree);
        self.entries.push((audit, entry));
    }

    /// Puts the architectures together; others get the default action.
    pub(super) fn program(mut self) -> Vec<Instruction> {
        let mut next = self.finish(self.rules.default);
        for (audit, entry) in std::mem::take(&mut self.entries) {
            next = self.branch(EQUAL, audit, entry, next);
        }
        self.then(LOAD, ARCHITECTURE, next);
        self.reversed.reverse();
        self.reversed
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
