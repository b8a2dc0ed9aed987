//! Which devices a cgroup's processes may open and make: the OCI's ordered list as lines for the `devices` controller
//! of version 1, or as an eBPF program for version 2, which has no such controller.
//!
//! The meaning, alike for both: nothing is allowed at first; for each device and each of read, write and mknod the
//! last rule that applies decides. The devices that the specification gives every container stay usable.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use rustix::io::Errno;
use sys::SysError;
use sys::bpf::Instruction;

/// Access bits as in `bpf_cgroup_dev_ctx` (`BPF_DEVCG_ACC_*`).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const EVERYTHING: u8 = MKNOD | READ | WRITE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Character,
}

/// What may be done with a device, or with all of a major number, or all of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Rule {
    const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Self {
        Self {
            allow: true,
            kind,
            major,
            minor,
            access,
        }
    }

    fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet = |one: Option<u32>, two: Option<u32>| one.is_none() || two.is_none() || one == two;
        self.kind == other.kind
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// Says whether every device of `other` is one of this rule's.
    fn covers(&self, other: &Self) -> bool {
        let covers = |one: Option<u32>, two: Option<u32>| one.is_none() || one == two;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// The line that the controller of version 1 reads: `c 1:3 rwm`.
    fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let mut line = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                line.push(letter);
            }
        }
        line
    }
}

/// Devices that the specification gives every container (runtime-spec, "Default Devices"), and making any node: a
/// node that may not be opened is harmless, and archives contain them.
const ALWAYS: [Rule; 10] = [
    Rule::allow(Kind::Character, None, None, MKNOD),
    Rule::allow(Kind::Block, None, None, MKNOD),
    Rule::allow(Kind::Character, Some(1), Some(3), EVERYTHING), // null
    Rule::allow(Kind::Character, Some(1), Some(5), EVERYTHING), // zero
    Rule::allow(Kind::Character, Some(1), Some(7), EVERYTHING), // full
    Rule::allow(Kind::Character, Some(1), Some(8), EVERYTHING), // random
    Rule::allow(Kind::Character, Some(1), Some(9), EVERYTHING), // urandom
    Rule::allow(Kind::Character, Some(5), Some(0), EVERYTHING), // tty
    Rule::allow(Kind::Character, Some(5), Some(2), EVERYTHING), // ptmx
    Rule::allow(Kind::Character, Some(136), None, EVERYTHING),  // pts/*
];

/// An ordered list of rules upon a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    allow_by_default: bool,
    rules: Vec<Rule>,
}

impl Rules {
    /// Reads the specification's list.
    pub(super) fn read(list: &[LinuxDeviceCgroup]) -> Result<Self, SysError> {
        let mut rules = Self {
            allow_by_default: false,
            rules: Vec::new(),
        };
        for entry in list {
            rules.add(entry)?;
        }
        if !rules.allow_by_default {
            let denies = rules.rules.iter().any(|rule| !rule.allow);
            for always in ALWAYS {
                let granted =
                    |rule: &Rule| rule.same_devices(&always) && rule.access & always.access == always.access;
                if denies || !rules.rules.iter().any(granted) {
                    rules.rules.push(always);
                }
            }
        }
        Ok(rules)
    }

    fn add(&mut self, entry: &LinuxDeviceCgroup) -> Result<(), SysError> {
        let refuse = |action| Err(SysError::on(action, entry.to_string())(Errno::INVAL));
        let mut access = 0;
        for letter in entry.access().as_deref().unwrap_or_default().chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return refuse("understand the access of device rule"),
            };
        }
        if access == 0 {
            access = EVERYTHING;
        }
        let (Some(major), Some(minor)) = (device_number(entry.major()), device_number(entry.minor())) else {
            return refuse("understand the numbers of device rule");
        };
        let kinds: &[Kind] = match entry.typ().unwrap_or_default() {
            LinuxDeviceType::A => &[Kind::Block, Kind::Character],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C | LinuxDeviceType::U => &[Kind::Character],
            LinuxDeviceType::P => return refuse("apply to a pipe the device rule"),
        };
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == EVERYTHING {
            // Nothing said before matters any more.
            self.allow_by_default = entry.allow();
            self.rules.clear();
            return Ok(());
        }
        self.rules.extend(kinds.iter().map(|kind| Rule {
            allow: entry.allow(),
            kind: *kind,
            major,
            minor,
            access,
        }));
        Ok(())
    }

    /// Says whether they forbid nothing.
    pub(super) fn allow_everything(&self) -> bool {
        self.allow_by_default && self.rules.iter().all(|rule| rule.allow)
    }

    /// Returns files of the `devices` controller and what to write to them, in order.
    ///
    /// The controller has a default and exceptions from it, and takes back only an exception that names exactly the
    /// same devices (`dev_exception_rm` of the kernel). So a rule that would punch a hole into a wider exception
    /// would silently do nothing there, and is an error here.
    pub(super) fn version_1(&self) -> Result<Vec<(&'static str, String)>, SysError> {
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let mut writes = vec![(file(self.allow_by_default), "a".to_owned())];
        let mut exceptions: Vec<Rule> = Vec::new();
        for rule in &self.rules {
            if rule.allow != self.allow_by_default {
                writes.push((file(rule.allow), rule.line()));
                match exceptions.iter_mut().find(|known| known.same_devices(rule)) {
                    Some(known) => known.access |= rule.access,
                    None => exceptions.push(*rule),
                }
                continue;
            }
            for exception in exceptions.iter_mut().filter(|exception| exception.overlaps(rule)) {
                if !rule.covers(exception) {
                    return Err(SysError::on(
                        "on cgroup version 1 except from a wider device rule",
                        rule.line(),
                    )(Errno::OPNOTSUPP));
                }
                let taken_back = Rule {
                    access: rule.access & exception.access,
                    allow: rule.allow,
                    ..*exception
                };
                writes.push((file(rule.allow), taken_back.line()));
                exception.access &= !rule.access;
            }
            exceptions.retain(|exception| exception.access != 0);
        }
        Ok(writes)
    }

    /// Returns the program for version 2: it is asked with the kind, the numbers and the wanted access, walks from
    /// the last rule to the first, and crosses off what each of them grants.
    pub(super) fn program(&self) -> Vec<Instruction> {
        use instruction::{
            ACCESS, CONTEXT, KIND, MAJOR, MINOR, and, answer, copy, jump, load, shift_right, unless_equal,
            when_any,
        };
        let mut program = vec![
            load(KIND, CONTEXT, 0),
            copy(ACCESS, KIND),
            shift_right(ACCESS, 16),
            and(KIND, 0xffff),
            load(MAJOR, CONTEXT, 4),
            load(MINOR, CONTEXT, 8),
        ];
        for rule in self.rules.iter().rev() {
            let mut body = Vec::with_capacity(4);
            if rule.allow {
                body.push(and(ACCESS, !i32::from(rule.access)));
                body.push(unless_equal(ACCESS, 0, 2));
            } else {
                body.push(when_any(ACCESS, i32::from(rule.access), 1));
                body.push(jump(2));
            }
            body.extend(answer(rule.allow));
            let kind = match rule.kind {
                Kind::Block => 1,
                Kind::Character => 2,
            };
            let mut conditions = vec![(KIND, kind)];
            conditions.extend(rule.major.map(|major| (MAJOR, major.cast_signed())));
            conditions.extend(rule.minor.map(|minor| (MINOR, minor.cast_signed())));
            let mut beyond = i16::try_from(conditions.len() - 1 + body.len()).unwrap_or(i16::MAX);
            for (register, value) in conditions {
                program.push(unless_equal(register, value, beyond));
                beyond -= 1;
            }
            program.extend(body);
        }
        program.extend(answer(self.allow_by_default));
        program
    }
}

/// Reads a number of the specification: absent or -1 is any.
#[expect(clippy::option_option, reason = "not a number, any number, this number")]
fn device_number(number: Option<i64>) -> Option<Option<u32>> {
    match number {
        None | Some(-1) => Some(None),
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|number| *number <= i32::MAX.unsigned_abs())
            .map(Some),
    }
}

/// The few eBPF instructions that are needed (bpf(2), the kernel's `instruction-set.rst`).
mod instruction {
    use sys::bpf::Instruction;

    pub(super) const CONTEXT: u8 = 1;
    pub(super) const KIND: u8 = 2;
    pub(super) const ACCESS: u8 = 3;
    pub(super) const MAJOR: u8 = 4;
    pub(super) const MINOR: u8 = 5;

    const fn make(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction {
            code,
            registers: from << 4 | to,
            offset,
            immediate,
        }
    }

    /// `BPF_LDX | BPF_MEM | BPF_W`
    pub(super) const fn load(to: u8, from: u8, offset: i16) -> Instruction {
        make(0x61, to, from, offset, 0)
    }

    /// `BPF_ALU64 | BPF_MOV | BPF_X`
    pub(super) const fn copy(to: u8, from: u8) -> Instruction {
        make(0xbf, to, from, 0, 0)
    }

    /// `BPF_ALU64 | BPF_RSH | BPF_K`
    pub(super) const fn shift_right(register: u8, bits: i32) -> Instruction {
        make(0x77, register, 0, 0, bits)
    }

    /// `BPF_ALU64 | BPF_AND | BPF_K`
    pub(super) const fn and(register: u8, mask: i32) -> Instruction {
        make(0x57, register, 0, 0, mask)
    }

    /// `BPF_JMP | BPF_JNE | BPF_K`
    pub(super) const fn unless_equal(register: u8, value: i32, offset: i16) -> Instruction {
        make(0x55, register, 0, offset, value)
    }

    /// `BPF_JMP | BPF_JSET | BPF_K`
    pub(super) const fn when_any(register: u8, mask: i32, offset: i16) -> Instruction {
        make(0x45, register, 0, offset, mask)
    }

    /// `BPF_JMP | BPF_JA`
    pub(super) const fn jump(offset: i16) -> Instruction {
        make(0x05, 0, 0, offset, 0)
    }

    /// `BPF_ALU64 | BPF_MOV | BPF_K` to the result, `BPF_JMP | BPF_EXIT`
    pub(super) fn answer(allow: bool) -> [Instruction; 2] {
        [make(0xb7, 0, 0, 0, i32::from(allow)), make(0x95, 0, 0, 0, 0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Rules {
        let list: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        Rules::read(&list).unwrap()
    }

    fn lines(json: &str) -> Vec<String> {
        rules(json)
            .version_1()
            .unwrap()
            .into_iter()
            .map(|(file, line)| format!("{} {line}", file.strip_prefix("devices.").unwrap()))
            .collect()
    }

    const DENY_ALL: &str = r#"{"allow":false,"access":"rwm"}"#;

    #[test]
    fn version_1_denies_first_and_then_allows() {
        let text = lines(&format!(
            r#"[{DENY_ALL},{{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}},
                {{"allow":true,"type":"b","major":8,"minor":0,"access":"r"}}]"#
        ));
        assert_eq!(&text[..3], ["deny a", "allow c 1:3 rwm", "allow b 8:0 r"]);
        // /dev/null was named already and is not named twice.
        assert_eq!(text.iter().filter(|line| line.contains("c 1:3")).count(), 1);
        assert!(text.contains(&"allow c 136:* rwm".to_owned()));
        assert!(text.contains(&"allow b *:* m".to_owned()));
    }

    #[test]
    fn a_privileged_container_needs_one_line() {
        let json = format!(r#"[{DENY_ALL},{{"allow":true,"access":"rwm"}}]"#);
        assert_eq!(lines(&json), ["allow a"]);
        assert!(rules(&json).allow_everything());
        assert!(!rules(&format!("[{DENY_ALL}]")).allow_everything());
    }

    #[test]
    fn holes_in_wider_rules_are_refused_on_version_1() {
        let json = format!(
            r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"access":"rwm"}},
                {{"allow":false,"type":"c","major":10,"minor":200,"access":"rwm"}}]"#
        );
        assert_eq!(rules(&json).version_1().unwrap_err().errno, Errno::OPNOTSUPP);
    }

    #[test]
    fn a_wide_denial_takes_back_each_exception() {
        let text = lines(&format!(
            r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"minor":1,"access":"rw"}},
                {{"allow":false,"type":"c","major":10,"access":"w"}}]"#
        ));
        assert_eq!(&text[..3], ["deny a", "allow c 10:1 rw", "deny c 10:1 w"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for entry in [
            r#"{"allow":true,"type":"p","access":"r"}"#,
            r#"{"allow":true,"type":"c","access":"x"}"#,
            r#"{"allow":true,"type":"c","major":-2}"#,
            r#"{"allow":true,"type":"c","minor":4294967296}"#,
        ] {
            let list: Vec<LinuxDeviceCgroup> = serde_json::from_str(&format!("[{entry}]")).unwrap();
            assert_eq!(Rules::read(&list).unwrap_err().errno, Errno::INVAL, "{entry}");
        }
    }

    /// The meaning of the list, written down plainly: the last rule decides for each bit.
    fn allowed(rules: &Rules, kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [READ, WRITE, MKNOD]
            .into_iter()
            .filter(|bit| access & bit != 0)
            .all(|bit| {
                let asked = Rule::allow(kind, Some(major), Some(minor), bit);
                rules
                    .rules
                    .iter()
                    .rev()
                    .find(|rule| rule.covers(&asked) && rule.access & bit != 0)
                    .map_or(rules.allow_by_default, |rule| rule.allow)
            })
    }

    /// Enough of an eBPF machine for these programs.
    fn run(program: &[Instruction], context: [u32; 3]) -> bool {
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let Instruction {
                code,
                registers: pair,
                offset,
                immediate,
            } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let value = i64::from(immediate).cast_unsigned();
            let mut next = at + 1;
            let mut jump = |condition: bool| {
                if condition {
                    next = next.checked_add_signed(offset.into()).unwrap();
                }
            };
            match code {
                0x61 => registers[to] = context[usize::try_from(offset).unwrap() / 4].into(),
                0xbf => registers[to] = registers[from],
                0xb7 => registers[to] = value,
                0x77 => registers[to] >>= value,
                0x57 => registers[to] &= value,
                0x55 => jump(registers[to] != value),
                0x45 => jump(registers[to] & value != 0),
                0x05 => jump(true),
                0x95 => return registers[0] != 0,
                other => panic!("instruction {other:#x}"),
            }
            at = next;
        }
    }

    #[test]
    fn the_program_means_what_the_list_means() {
        let lists = [
            "[]".to_owned(),
            format!("[{DENY_ALL}]"),
            r#"[{"allow":true,"access":"rwm"}]"#.to_owned(),
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","major":8,"access":"w"},
                {"allow":true,"type":"b","major":8,"minor":1,"access":"w"}]"#
                .to_owned(),
            format!(
                r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"access":"rw"}},
                {{"allow":false,"type":"c","major":10,"minor":200,"access":"w"}},
                {{"allow":true,"major":7,"access":"r"}},{{"allow":true,"type":"c","minor":9,"access":"m"}}]"#
            ),
        ];
        for list in &lists {
            let rules = rules(list);
            let program = rules.program();
            for (kind, code) in [(Kind::Block, 1), (Kind::Character, 2)] {
                for major in [0, 1, 5, 7, 8, 10, 136] {
                    for minor in [0, 1, 2, 3, 9, 200, 1 << 19] {
                        for access in 1..=EVERYTHING {
                            assert_eq!(
                                run(&program, [u32::from(access) << 16 | code, major, minor]),
                                allowed(&rules, kind, major, minor, access),
                                "{kind:?} {major}:{minor} {access} of {list}"
                            );
                        }
                    }
                }
            }
        }
    }
}
