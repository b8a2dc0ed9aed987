//! The default seccomp profile in the kernel: what it forbids fails in a child, and the rest goes on working.
#![expect(
    clippy::print_stdout,
    reason = "a test without harness says itself how it went"
)]

use runtime::{capabilities, seccomp};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use sys::process::{self, FilterInstruction, Namespaces};

/// `AF_ALG`, which this kernel may not even have: then it fails without a filter too, but otherwise.
const ALGORITHMS: AddressFamily = AddressFamily::from_raw(38);

/// What must hold in the child; its exit code names the one that does not.
type Check = (&'static str, fn() -> bool);

const CHECKS: [Check; 6] = [
    ("socket(AF_ALG) must fail with EPERM", || {
        socket(ALGORITHMS, SocketType::SEQPACKET, None).err() == Some(Errno::PERM)
    }),
    ("socket(AF_UNIX) must work", || {
        socket(AddressFamily::UNIX, SocketType::STREAM, None).is_ok()
    }),
    ("clone3 must fail with ENOSYS", || {
        // Nothing is executed: the clone before it fails.
        let error = process::spawn(std::io::stdin().as_fd(), &[], &[], &[], false).err();
        error.map(|error| error.errno) == Some(Errno::NOSYS)
    }),
    ("unshare(CLONE_NEWUSER) must fail with EPERM", || {
        process::leave_namespaces(Namespaces::USER) == Err(Errno::PERM)
    }),
    ("personality(UNAME26) must work", || {
        process::set_personality(0x2_0000).is_ok()
    }),
    ("personality(ADDR_NO_RANDOMIZE) must fail with EPERM", || {
        process::set_personality(0x4_0000) == Err(Errno::PERM)
    }),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!(
                "the default seccomp profile in the kernel: {} checks ok",
                CHECKS.len()
            );
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    if socket(ALGORITHMS, SocketType::SEQPACKET, None).err() == Some(Errno::PERM) {
        return Err("socket(AF_ALG) fails with EPERM before any filter, so nothing can be seen".to_owned());
    }
    let profile = seccomp::default_profile(&capabilities::DEFAULT);
    let program: Vec<_> = seccomp::compile(&profile)
        .map_err(|error| error.to_string())?
        .into_iter()
        .map(|each| FilterInstruction {
            code: each.code,
            jt: each.jt,
            jf: each.jf,
            k: each.k,
        })
        .collect();
    let child = process::fork(Namespaces::empty(), None, || {
        if process::load_seccomp(&program, 0).is_err() {
            return 100;
        }
        CHECKS
            .iter()
            .zip(1..)
            .find(|((_, check), _)| !check())
            .map_or(0, |(_, number)| number)
    })
    .map_err(|error| error.to_string())?;
    let code = child.wait().map_err(|error| error.to_string())?.code;
    match usize::try_from(code) {
        Ok(0) => Ok(()),
        Ok(number @ 1..=6) => Err(CHECKS[number - 1].0.to_owned()),
        _ => Err(format!("the child cannot load the filter, or died: {code}")),
    }
}
