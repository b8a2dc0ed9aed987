//! `--tmpfs target[:options]`.

use super::{Invalid, invalid, size};
use crate::containers::request::{MountRequest, MountSource};

const FLAGS: &[&str] = &[
    "async",
    "atime",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "relatime",
    "rw",
    "strictatime",
    "suid",
    "sync",
    "noswap",
    "inode32",
    "inode64",
];
const VALUES: &[&str] = &["gid", "huge", "mpol", "nr_blocks", "nr_inodes", "uid"];

/// Reads a tmpfs mount.
pub fn parse(text: &str) -> Result<MountRequest, Invalid> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return invalid(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        ));
    }
    let (mut read_only, mut bytes, mut mode, mut further) = (false, None, None, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let unknown = || Invalid(format!("invalid tmpfs option [{option:?}]"));
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            None if FLAGS.contains(&option) => further.push(option.to_owned()),
            Some(("size", value)) if value.ends_with('%') => further.push(option.to_owned()),
            Some(("size", value)) => {
                bytes = Some(
                    u64::try_from(size::bytes(value)?)
                        .map_err(|_error: std::num::TryFromIntError| unknown())?,
                );
            }
            Some(("mode", value)) => {
                let bits =
                    u32::from_str_radix(value, 8).map_err(|_error: std::num::ParseIntError| unknown())?;
                mode = Some(bits);
            }
            Some((name, _)) if VALUES.contains(&name) => further.push(option.to_owned()),
            _ => return Err(unknown()),
        }
    }
    Ok(MountRequest {
        target: target.to_owned(),
        read_only,
        source: MountSource::Tmpfs {
            size: bytes,
            mode,
            options: further,
        },
        ..MountRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart() {
        let mount = parse("/run:size=64m,mode=1770,exec,uid=3,ro").unwrap();
        assert!(mount.read_only && mount.target == "/run");
        assert_eq!(
            mount.source,
            MountSource::Tmpfs {
                size: Some(64 << 20),
                mode: Some(0o1770),
                options: vec!["exec".into(), "uid=3".into()]
            }
        );
        assert_eq!(parse("/x:foo").unwrap_err().0, "invalid tmpfs option [\"foo\"]");
        assert!(parse("x").is_err());
    }
}
