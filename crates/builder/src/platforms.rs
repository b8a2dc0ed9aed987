//! Whether this machine can run programs made for another.
//!
//! The kernel hands programs of foreign processors to an interpreter (QEMU, as a rule) if binfmt_misc knows one:
//! <https://docs.kernel.org/admin-guide/binfmt-misc.html>. Without it a `RUN` ends with "exec format error", which tells
//! nobody what to do.

use oci::Platform;
use std::path::Path;

/// Where the kernel lists what it knows.
const INTERPRETERS: &str = "/proc/sys/fs/binfmt_misc";

/// Says why programs for a platform cannot be run here, if they cannot.
pub(crate) fn obstacle(platform: &Platform) -> Option<String> {
    let host = Platform::host();
    if platform.os != host.os {
        return Some(format!("programs for {} cannot run on {}", platform.os, host.os));
    }
    if is_native(&host.architecture, &platform.architecture) {
        return None;
    }
    let interpreter =
        machine(&platform.architecture).and_then(|machine| interpreter(Path::new(INTERPRETERS), machine));
    match interpreter {
        Some(Interpreter { fixed: true, .. }) => None,
        Some(Interpreter { name, .. }) => Some(format!(
            "{name}, which would run programs for {platform}, is not opened beforehand (flag F), so it is not found \
             inside of a build step"
        )),
        None => Some(format!(
            "this machine is {host} and has no interpreter for {platform}: install qemu-user-static, which registers \
             one with binfmt_misc, or let the stage that runs commands be FROM --platform=$BUILDPLATFORM"
        )),
    }
}

/// Says whether the kernel runs such programs by itself.
fn is_native(host: &str, wanted: &str) -> bool {
    matches!((host, wanted), ("amd64", "386") | ("ppc64", "ppc64le")) || host == wanted
}

/// What an ELF header says of a processor: class, byte order, `e_machine`.
type Machine = (u8, u8, u16);

fn machine(architecture: &str) -> Option<Machine> {
    Some(match architecture {
        "amd64" => (2, 1, 62),
        "arm64" => (2, 1, 183),
        "arm" => (1, 1, 40),
        "386" => (1, 1, 3),
        "riscv64" => (2, 1, 243),
        "ppc64le" => (2, 1, 21),
        "s390x" => (2, 2, 22),
        "mips64le" => (2, 1, 8),
        "mips64" => (2, 2, 8),
        "mipsle" => (1, 1, 8),
        "mips" => (1, 2, 8),
        "loong64" => (2, 1, 258),
        _ => return None,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Interpreter {
    name: String,
    /// Whether the kernel holds it open, so that it need not be in the container.
    fixed: bool,
}

fn interpreter(directory: &Path, machine: Machine) -> Option<Interpreter> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = None;
    for entry in entries {
        let Ok(text) = std::fs::read_to_string(entry.path()) else {
            continue;
        };
        let line = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
        };
        let for_machine = line("magic ")
            .and_then(header)
            .is_some_and(|found| found == machine);
        if !text.starts_with("enabled") || line("offset ") != Some("0") || !for_machine {
            continue;
        }
        let interpreter = Interpreter {
            name: line("interpreter ").unwrap_or_default().to_owned(),
            fixed: line("flags:").is_some_and(|flags| flags.contains('F')),
        };
        if interpreter.fixed {
            return Some(interpreter);
        }
        found = Some(interpreter);
    }
    found
}

/// Reads what an ELF header's first bytes, in hex digits, say.
fn header(magic: &str) -> Option<Machine> {
    let byte = |index: usize| u8::from_str_radix(magic.get(2 * index..2 * index + 2)?, 16).ok();
    (magic.starts_with("7f454c46")).then_some(())?;
    let (class, order) = (byte(4)?, byte(5)?);
    let bytes = [byte(18)?, byte(19)?];
    let machine = if order == 2 {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    };
    Some((class, order, machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_the_processor() {
        let directory = tempfile::tempdir().unwrap();
        let entry = |name: &str, state: &str, flags: &str, magic: &str| {
            let text = format!(
                "{state}\ninterpreter /usr/bin/{name}\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n"
            );
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let arm64 = "7f454c460201010000000000000000000200b700";
        let s390x = "7f454c4602020100000000000000000000020016";
        entry("qemu-aarch64", "enabled", "OCF", arm64);
        entry("qemu-s390x", "enabled", "OC", s390x);
        entry(
            "qemu-riscv64",
            "disabled",
            "F",
            "7f454c460201010000000000000000000200f300",
        );
        std::fs::write(directory.path().join("status"), "enabled").unwrap();
        let find = |architecture| interpreter(directory.path(), machine(architecture).unwrap());
        assert!(find("arm64").unwrap().fixed);
        let unfixed = find("s390x").unwrap();
        assert_eq!(
            (unfixed.name.as_str(), unfixed.fixed),
            ("/usr/bin/qemu-s390x", false)
        );
        assert_eq!(find("riscv64"), None);
        assert_eq!(find("arm"), None);
        assert_eq!(obstacle(&Platform::host()), None);
    }
}
