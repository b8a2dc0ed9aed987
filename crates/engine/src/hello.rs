//! The image `hello-world`, made on the spot: one static program of a few hundred bytes that greets and ends.
//!
//! It is assembled here, instruction by instruction, so that the first command of every tutorial needs neither a
//! network nor a compiler. Its configuration and its layer depend on nothing but the architecture: the same program
//! has the same image id everywhere.

use crate::EngineError;
use oci::{Config, History, ImageConfig, Platform, Reference, RootFs};
use std::os::unix::fs::OpenOptionsExt;
use store::{Image, NewImage, Store, Times};

/// What people write to get it.
pub(crate) const NAME: &str = "hello-world";

/// 1980-01-01T00:00:00Z: the time of all that is made from no sources.
const TIME: i64 = 315_532_800;
const CREATED: &str = "1980-01-01T00:00:00Z";

const GREETING: &str = "
Hello from Coracle!
This message shows that your installation works.

To write it, coracle took these steps:
 1. It took the image \"hello-world\" out of its own binary; any other image
    comes from a registry.
 2. It made a container of that image: namespaces, a root filesystem, limits.
 3. It ran the image's one program in it, which wrote what you are reading.
 4. It brought the output to your terminal. No daemon took part, and none is
    left behind.

To try something more ambitious, run a shell in a container:
 $ coracle run -it ubuntu bash

";

/// Says whether a reference means the built-in image.
pub(crate) fn is_meant_by(reference: &Reference) -> bool {
    reference.familiar() == "hello-world:latest" && reference.digest().is_none()
}

/// Puts the image into the store, under `reference`. `None` where there is no program for this processor.
pub(crate) fn install(store: &Store, reference: &Reference) -> Result<Option<Image>, EngineError> {
    let platform = Platform::host();
    let Some(program) = program(&platform.architecture) else {
        return Ok(None);
    };
    let lease = store.lease()?;
    let snapshot = store.begin_snapshot(&lease, &[])?;
    // The upper directory is still ours alone, so it may be written to by path.
    let path = snapshot.upper.join("hello");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &program));
    if let Err(error) = written {
        store.discard_snapshot(snapshot)?;
        return Err(sys::SysError::io("write", &path, &error).into());
    }
    let layer = store.commit_snapshot(&lease, snapshot, Times::Exactly(TIME))?;
    let config = ImageConfig {
        architecture: platform.architecture,
        config: Config {
            cmd: vec!["/hello".into()],
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
            working_dir: "/".into(),
            ..Config::default()
        },
        created: Some(CREATED.into()),
        history: vec![
            History {
                created: Some(CREATED.into()),
                created_by: "COPY hello /".into(),
                comment: "built into coracle".into(),
                ..History::default()
            },
            History {
                created: Some(CREATED.into()),
                created_by: "CMD [\"/hello\"]".into(),
                comment: "built into coracle".into(),
                empty_layer: true,
                ..History::default()
            },
        ],
        os: platform.os,
        rootfs: RootFs {
            diff_ids: vec![layer.diff_id],
            ..RootFs::default()
        },
        ..ImageConfig::default()
    };
    let raw_config = serde_json::to_vec(&config).map_err(|error| EngineError::Invalid {
        message: format!("the built-in image has no valid configuration: {error}"),
        hint: None,
    })?;
    let image = store.record_image(&NewImage {
        raw_config: &raw_config,
        manifest: None,
        layers: &[layer.id],
        parent: None,
        tags: std::slice::from_ref(reference),
        repository_digest: None,
    })?;
    Ok(Some(image))
}

/// Where the program is loaded, in its only segment.
const ADDRESS: u64 = 0x40_0000;
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Assembles the program: an ELF header, one loadable segment, `write(1, greeting)`, `exit(0)` (System V ABI, ELF-64).
fn program(architecture: &str) -> Option<Vec<u8>> {
    type Code = fn(u64, u32) -> Vec<u8>;
    let (machine, code): (u16, Code) = match architecture {
        "amd64" => (62, amd64),
        "arm64" => (183, arm64),
        _ => return None,
    };
    let entry = ADDRESS + (ELF_HEADER + PROGRAM_HEADER) as u64;
    let length = u32::try_from(GREETING.len()).ok()?;
    // The code's length does not depend on the address in it.
    let greeting = entry + code(0, length).len() as u64;
    let code = code(greeting, length);
    let total = (ELF_HEADER + PROGRAM_HEADER + code.len() + GREETING.len()) as u64;

    let mut file = Vec::with_capacity(1024);
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bits, little-endian, version 1
    file.extend(2u16.to_le_bytes()); // executable
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes()); // version
    file.extend(entry.to_le_bytes());
    file.extend((ELF_HEADER as u64).to_le_bytes()); // program headers begin here
    file.extend(0u64.to_le_bytes()); // no sections
    file.extend(0u32.to_le_bytes()); // flags
    for half in [ELF_HEADER, PROGRAM_HEADER, 1, 0, 0, 0] {
        file.extend(u16::try_from(half).ok()?.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes()); // PT_LOAD
    file.extend(5u32.to_le_bytes()); // readable, executable
    for value in [0, ADDRESS, ADDRESS, total, total, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file.extend(GREETING.as_bytes());
    Some(file)
}

fn amd64(greeting: u64, length: u32) -> Vec<u8> {
    let mut code = Vec::new();
    code.extend(b"\xb8\x01\0\0\0"); // mov eax, 1 (write)
    code.extend(b"\xbf\x01\0\0\0"); // mov edi, 1
    code.push(0xbe); // mov esi, greeting; the address is below 2^32
    code.extend(&greeting.to_le_bytes()[..4]);
    code.push(0xba); // mov edx, length
    code.extend(length.to_le_bytes());
    code.extend(b"\x0f\x05"); // syscall
    code.extend(b"\xb8\x3c\0\0\0"); // mov eax, 60 (exit)
    code.extend(b"\x31\xff"); // xor edi, edi
    code.extend(b"\x0f\x05"); // syscall
    code
}

fn arm64(_greeting: u64, length: u32) -> Vec<u8> {
    const INSTRUCTIONS: u32 = 8;
    // adr counts from its own address; it is the third instruction, the greeting follows the last one.
    let offset = (INSTRUCTIONS - 2) * 4;
    let adr = 0x1000_0001 | (offset & 3) << 29 | (offset >> 2) << 5;
    [
        0xd280_0808,               // mov x8, 64 (write)
        0xd280_0020,               // mov x0, 1
        adr,                       // adr x1, greeting
        0xd280_0002 | length << 5, // mov x2, length
        0xd400_0001,               // svc 0
        0xd280_0ba8,               // mov x8, 93 (exit)
        0xd280_0000,               // mov x0, 0
        0xd400_0001,               // svc 0
    ]
    .into_iter()
    .flat_map(u32::to_le_bytes)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_program_greets_and_ends_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello");
        let host = Platform::host();
        std::fs::write(&path, program(&host.architecture).unwrap()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let output = Command::new(&path).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), GREETING);
    }

    #[test]
    fn the_arm_program_points_at_its_greeting() {
        let program = program("arm64").unwrap();
        let code = ELF_HEADER + PROGRAM_HEADER;
        let adr = u32::from_le_bytes(program[code + 8..code + 12].try_into().unwrap());
        let offset = ((adr >> 5 & 0x7_ffff) << 2 | adr >> 29 & 3) as usize;
        assert_eq!(&program[code + 8 + offset..], GREETING.as_bytes());
    }

    #[test]
    fn only_the_official_name_means_it() {
        for (name, meant) in [
            ("hello-world", true),
            ("hello-world:linux", false),
            ("localhost/hello-world", false),
        ] {
            assert_eq!(is_meant_by(&name.parse().unwrap()), meant, "{name}");
        }
    }
}
