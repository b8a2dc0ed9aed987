//! The compiler against a plain reading of the profile, by a BPF machine; the built-in profile against Docker's JSON.

use super::profile::Host;
use super::*;
use crate::capabilities;
use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompOperator};
use std::collections::BTreeSet;

const JSON: &str = include_str!("../../tests/fixtures/seccomp-default.json");

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;

/// Seccomp's data as the kernel gives it.
#[derive(Debug, Clone, Copy)]
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => panic!("the instruction pointer is nobody's business"),
            _ => {
                let argument = self.arguments[usize::try_from((offset - 16) / 8).unwrap()];
                let half = if offset.is_multiple_of(8) {
                    argument
                } else {
                    argument >> 32
                };
                u32::try_from(half & 0xffff_ffff).unwrap()
            }
        }
    }
}

/// Runs a program; returns its answer and how many instructions that took.
fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        steps += 1;
        let mut jump = |condition: bool| at += usize::from(if condition { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x06 => return (k, steps),
            other => panic!("operation {other:#x}"),
        }
    }
}

/// What the kernel demands of a program (`bpf_check_classic`): every jump inside, and a return at the end.
fn check(program: &[Instruction]) {
    for (at, Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let furthest = match code {
            0x05 => usize::try_from(*k).unwrap(),
            0x15 | 0x25 | 0x35 => usize::from(*jt.max(jf)),
            _ => 0,
        };
        assert!(at + 1 + furthest < program.len() || *code == 0x06, "jump at {at}");
    }
    assert_eq!(program.last().unwrap().code, 0x06);
}

/// What the profile says about a call, written down as plainly as can be.
fn meant(profile: &LinuxSeccomp, call: &Call) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let listed = |arch| profile.architectures().iter().flatten().any(|each| *each == arch);
    let (column, base, wide) = match call.architecture {
        X86_64 if call.number >= X32_BIT && listed(Arch::ScmpArchX32) => (2, X32_BIT, true),
        X86_64 if call.number < X32_BIT => (0, 0, true),
        I386 if listed(Arch::ScmpArchX86) => (1, 0, false),
        AARCH64 if listed(Arch::ScmpArchAarch64) => (3, 0, true),
        ARM if listed(Arch::ScmpArchArm) => (4, 0, false),
        _ => return default,
    };
    let width = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let mut last = 0;
    let (mut always, mut checked) = (None, None);
    for rule in profile.syscalls().iter().flatten() {
        let action = rule.action().as_u32(rule.errno_ret());
        for name in rule.names() {
            let Some(number) = syscalls::numbers(syscalls::canonical(name)).map(|numbers| numbers[column])
            else {
                continue;
            };
            let Ok(number) = u32::try_from(number) else {
                continue;
            };
            last = last.max(number);
            if number + base != call.number {
                continue;
            }
            let arguments = rule.args().as_deref().unwrap_or_default();
            if arguments.is_empty() {
                always = always.or(Some(action));
                continue;
            }
            let holds = |argument: &oci_spec::runtime::LinuxSeccompArg| {
                let actual = width(call.arguments[argument.index()]);
                let value = width(argument.value());
                match argument.op() {
                    LinuxSeccompOperator::ScmpCmpNe => actual != value,
                    LinuxSeccompOperator::ScmpCmpLt => actual < value,
                    LinuxSeccompOperator::ScmpCmpLe => actual <= value,
                    LinuxSeccompOperator::ScmpCmpEq => actual == value,
                    LinuxSeccompOperator::ScmpCmpGe => actual >= value,
                    LinuxSeccompOperator::ScmpCmpGt => actual > value,
                    LinuxSeccompOperator::ScmpCmpMaskedEq => {
                        actual & value == argument.value_two().unwrap_or(0) & value
                    }
                }
            };
            let indices: BTreeSet<_> = arguments
                .iter()
                .map(oci_spec::runtime::LinuxSeccompArg::index)
                .collect();
            let matches = if indices.len() < arguments.len() {
                arguments.iter().any(holds)
            } else {
                arguments.iter().all(holds)
            };
            if matches {
                checked = checked.or(Some(action));
            }
        }
    }
    let permissive = matches!(
        profile.default_action(),
        LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog | LinuxSeccompAction::ScmpActTrace
    );
    let beyond = (call.number - base > last && !permissive).then_some(ENOSYS);
    always.or(checked).or(beyond).unwrap_or(default)
}

/// A generator of numbers that is the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn choose<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Compares program and meaning on every number and architecture, with arguments around `interesting` values.
fn compare(profile: &LinuxSeccomp, interesting: &[u64], rounds: usize) {
    let program = compile(profile).unwrap();
    check(&program);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let calls = (0..=600).chain(X32_BIT..=X32_BIT + 600).chain([
        983_041,
        983_042,
        983_045,
        X32_BIT - 1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ]);
    for number in calls {
        for architecture in [X86_64, I386, AARCH64, ARM, 0, 0x4000_003e, 0xffff_ffff] {
            for _round in 0..rounds {
                let arguments = std::array::from_fn(|_| {
                    let value = numbers.choose(interesting);
                    let value = match numbers.below(6) {
                        0 => value.wrapping_add(1),
                        1 => value.wrapping_sub(1),
                        2 => value ^ 1 << numbers.below(64),
                        3 => numbers.next(),
                        _ => value,
                    };
                    // Of 32-bit callers the kernel reports no upper halves.
                    if matches!(architecture, I386 | ARM) {
                        value & 0xffff_ffff
                    } else {
                        value
                    }
                });
                let call = Call {
                    architecture,
                    number,
                    arguments,
                };
                assert_eq!(run(&program, &call).0, meant(profile, &call), "{call:x?}");
            }
        }
    }
}

fn host(names: &[&str], architecture: &'static str, native: Arch, kernel: (u32, u32)) -> Host {
    Host {
        capabilities: names.iter().map(|name| (*name).to_owned()).collect(),
        architecture,
        native,
        kernel,
    }
}

#[test]
fn the_built_in_profile_is_dockers() {
    let all: Vec<_> = capabilities::ALL.into_iter().map(capabilities::name).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let mut sets: Vec<Vec<&str>> = vec![vec![], all.clone()];
    sets.extend(all.iter().map(|name| vec![*name]));
    for set in &sets {
        for (architecture, native) in [("amd64", Arch::ScmpArchX86_64), ("arm64", Arch::ScmpArchAarch64)] {
            for kernel in [(4, 7), (4, 8), (6, 18)] {
                let host = host(set, architecture, native, kernel);
                assert_eq!(
                    profile::default(&host),
                    profile::parse(JSON, &host).unwrap(),
                    "{host:?}"
                );
            }
        }
    }
}

#[test]
fn conditions_are_resolved() {
    let allowed = |names: &[&str], architecture, kernel| {
        let native = if architecture == "amd64" {
            Arch::ScmpArchX86_64
        } else {
            Arch::ScmpArchAarch64
        };
        let profile = profile::default(&host(names, architecture, native, kernel));
        let mut found = BTreeSet::new();
        for rule in profile.syscalls().iter().flatten() {
            if rule.action() == LinuxSeccompAction::ScmpActAllow {
                found.extend(rule.names().iter().cloned());
            }
        }
        found
    };
    let has = |set: &BTreeSet<String>, name: &str| set.contains(name);
    let plain = allowed(&[], "amd64", (6, 18));
    assert!(has(&plain, "ptrace") && has(&plain, "arch_prctl") && has(&plain, "clone"));
    assert!(
        !has(&plain, "mount") && !has(&plain, "bpf") && !has(&plain, "breakpoint") && !has(&plain, "chroot")
    );
    assert!(!has(&allowed(&[], "amd64", (4, 7)), "ptrace"));
    assert!(has(&allowed(&["CAP_SYS_PTRACE"], "amd64", (4, 7)), "ptrace"));
    assert!(has(&allowed(&["CAP_SYS_ADMIN"], "amd64", (6, 18)), "mount"));
    let arm = allowed(&[], "arm64", (6, 18));
    assert!(has(&arm, "breakpoint") && !has(&arm, "arch_prctl"));
}

#[test]
fn files_are_read_in_either_format() {
    let host = host(&[], "amd64", Arch::ScmpArchX86_64, (5, 15));
    let parse = |json: &str| profile::parse(json, &host);
    let oci = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
        "syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let plain: LinuxSeccomp = serde_json::from_str(oci).unwrap();
    assert_eq!(parse(oci).unwrap(), plain);
    let old =
        parse(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"read","action":"SCMP_ACT_KILL"}]}"#);
    assert_eq!(old.unwrap().syscalls().as_ref().unwrap()[0].names(), &["read"]);
    let newer = parse(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.16"}},
        {"names":["write"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.15"}},
        {"names":["open"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.15"}}]}"#,
    )
    .unwrap();
    let names: Vec<_> = newer
        .syscalls()
        .iter()
        .flatten()
        .flat_map(oci_spec::runtime::LinuxSyscall::names)
        .collect();
    assert_eq!(names, ["write"]);
    for refused in [
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_KILL"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_KILL","includes":{"minKernel":"x"}}]}"#,
    ] {
        assert!(
            matches!(parse(refused), Err(SeccompError::Unsupported(_))),
            "{refused}"
        );
    }
    for broken in ["", "{}", "[]", r#"{"defaultAction":"SCMP_ACT_NONE"}"#] {
        assert!(matches!(parse(broken), Err(SeccompError::Json(_))), "{broken}");
    }
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    for profile in [
        r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
            "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    ] {
        let profile: LinuxSeccomp = serde_json::from_str(profile).unwrap();
        assert!(
            matches!(compile(&profile), Err(SeccompError::Unsupported(_))),
            "{profile:?}"
        );
    }
}

#[test]
fn the_default_profile_does_what_it_says() {
    let interesting = [
        0,
        1,
        8,
        38,
        39,
        40,
        41,
        0x2_0000,
        0x2_0008,
        0xffff_ffff,
        0x7e02_0000,
        0x1000_0000,
        0x0200_0000,
        1 << 32,
        0x1_0000_0027,
    ];
    let all: Vec<_> = capabilities::ALL.into_iter().collect();
    for set in [&capabilities::DEFAULT[..], &[], &all] {
        compare(&default_profile(set), &interesting, 4);
    }
    let arm = profile::default(&host(&[], "arm64", Arch::ScmpArchAarch64, (6, 18)));
    compare(&arm, &interesting, 4);
}

#[test]
fn the_default_profile_is_small_and_quick() {
    let program = compile(&default_profile(&capabilities::DEFAULT)).unwrap();
    let mut most = 0;
    let mut sum = 0;
    for number in 0..470 {
        let call = Call {
            architecture: X86_64,
            number,
            arguments: [0; 6],
        };
        let (_, steps) = run(&program, &call);
        most = most.max(steps);
        sum += steps;
    }
    println!(
        "{} instructions; at most {most}, on average {:.1}",
        program.len(),
        f64::from(u32::try_from(sum).unwrap()) / 470.0
    );
    assert!(program.len() <= 300, "{} instructions", program.len());
    assert!(most <= 20, "{most} steps");
    assert!(sum / 470 < 12, "{sum} steps");
}

#[test]
fn the_attacks_that_the_default_profile_is_for_fail() {
    let program = compile(&default_profile(&capabilities::DEFAULT)).unwrap();
    let answer = |number: i64, first: u64| {
        let number = u32::try_from(number).unwrap();
        run(
            &program,
            &Call {
                architecture: X86_64,
                number,
                arguments: [first, 0, 0, 0, 0, 0],
            },
        )
        .0
    };
    // AF_ALG and AF_VSOCK; AF_INET and AF_NETLINK; a family that is AF_INET only in its lower half.
    for (family, expected) in [
        (38, EPERM),
        (40, EPERM),
        (2, ALLOW),
        (16, ALLOW),
        (39, ALLOW),
        (41, ALLOW),
    ] {
        assert_eq!(answer(libc::SYS_socket, family), expected, "family {family}");
    }
    assert_eq!(answer(libc::SYS_clone3, 0), ENOSYS);
    assert_eq!(answer(libc::SYS_unshare, 0x1000_0000), EPERM);
    assert_eq!(answer(libc::SYS_clone, 0x1000_0000), EPERM);
    assert_eq!(answer(libc::SYS_clone, 17), ALLOW);
    assert_eq!(answer(libc::SYS_mount, 0), EPERM);
    assert_eq!(answer(libc::SYS_keyctl, 0), EPERM);
    assert_eq!(answer(libc::SYS_personality, 0x2_0000), ALLOW);
    assert_eq!(answer(libc::SYS_personality, 0x4_0000), EPERM);
    assert_eq!(answer(libc::SYS_personality, 0x1_0000_0000), EPERM);
    // Younger than the profile: the C library falls back.
    assert_eq!(answer(500, 0), ENOSYS);
}

#[test]
fn without_x32_its_numbers_get_the_default_action() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],
        "syscalls":[{"names":["read","write","openat"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let profile: LinuxSeccomp = serde_json::from_str(json).unwrap();
    let program = compile(&profile).unwrap();
    for (number, expected) in [
        (0, ALLOW),
        (2, EPERM),
        (300, ENOSYS),
        (X32_BIT, EPERM),
        (u32::MAX, EPERM),
    ] {
        let call = Call {
            architecture: X86_64,
            number,
            arguments: [0; 6],
        };
        assert_eq!(run(&program, &call).0, expected, "{number:#x}");
    }
}

#[test]
fn random_profiles_do_what_they_say() {
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRACE",
    ];
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let values: [u64; 8] = [
        0,
        1,
        38,
        0xffff_ffff,
        1 << 32,
        0x5_0000_0007,
        u64::MAX,
        0xffff_0000_ffff_0000,
    ];
    let architectures = ["X86_64", "X86", "X32", "AARCH64", "ARM"];
    let mut numbers = Numbers(42);
    for _profile in 0..6 {
        let rules: Vec<_> = (0..25)
            .map(|_| {
                let names: Vec<_> = (0..=numbers.below(12))
                    .map(|_| {
                        format!(
                            "\"{}\"",
                            syscalls::SYSCALLS[numbers.below(syscalls::SYSCALLS.len())].0
                        )
                    })
                    .collect();
                let arguments: Vec<_> = (0..numbers.below(4))
                    .map(|_| {
                        format!(
                            r#"{{"index":{},"value":{},"valueTwo":{},"op":"SCMP_CMP_{}"}}"#,
                            numbers.below(6),
                            numbers.choose(&values),
                            numbers.choose(&values),
                            numbers.choose(&operators)
                        )
                    })
                    .collect();
                format!(
                    r#"{{"names":[{}],"action":"{}","errnoRet":{},"args":[{}]}}"#,
                    names.join(","),
                    numbers.choose(&actions),
                    numbers.below(200),
                    arguments.join(",")
                )
            })
            .collect();
        let listed: Vec<_> = architectures
            .iter()
            .filter(|_| numbers.below(3) > 0)
            .map(|each| format!("\"SCMP_ARCH_{each}\""))
            .collect();
        let json = format!(
            r#"{{"defaultAction":"{}","architectures":[{}],"syscalls":[{}]}}"#,
            numbers.choose(&actions),
            listed.join(","),
            rules.join(",")
        );
        let profile: LinuxSeccomp = serde_json::from_str(&json).unwrap();
        compare(&profile, &values, 4);
    }
}

#[test]
fn a_program_beyond_the_kernels_bound_is_refused() {
    let rules: Vec<_> = syscalls::SYSCALLS
        .iter()
        .enumerate()
        .map(|(value, (name, _))| {
            let argument = |index| format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_GE"}}"#);
            let arguments: Vec<_> = (0..6).map(argument).collect();
            format!(
                r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW","args":[{}]}}"#,
                arguments.join(",")
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#,
        rules.join(",")
    );
    let error = compile(&serde_json::from_str(&json).unwrap()).unwrap_err();
    assert!(
        error.to_string().ends_with("more than the kernel's 4096"),
        "{error}"
    );
}
