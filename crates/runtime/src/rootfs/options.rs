//! Mount options as fstab(5) and the OCI runtime specification write them.

use sys::mount::{MountAttrFlags, Propagation};

/// Mount options, sorted by what takes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// It is a bind mount.
    pub(crate) bind: bool,
    /// What is mounted below the source comes with it.
    pub(crate) recursive: bool,
    /// Flags of the mount.
    pub(crate) own: Flags,
    /// Flags of the mount and of all below it (`rro`).
    pub(crate) all: Flags,
    /// Propagation, and whether it goes for all below as well.
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// What the filesystem itself takes.
    pub(crate) data: Vec<(String, String)>,
}

/// Flags to set and to clear.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

impl Flags {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Options that turn a flag of a mount on, and those that turn it off.
const SWITCHES: [(&str, &str, MountAttrFlags); 9] = [
    ("ro", "rw", MountAttrFlags::MOUNT_ATTR_RDONLY),
    ("nosuid", "suid", MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("nodev", "dev", MountAttrFlags::MOUNT_ATTR_NODEV),
    ("noexec", "exec", MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("nodiratime", "diratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", "symfollow", MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
    ("noatime", "atime", MountAttrFlags::MOUNT_ATTR_NOATIME),
    (
        "strictatime",
        "nostrictatime",
        MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    ),
    // Zero: it is the field of access times with nothing in it.
    ("relatime", "norelatime", MountAttrFlags::MOUNT_ATTR_RELATIME),
];

impl Options {
    /// Sorts options.
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "defaults" | "async" | "" => {}
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            _ => {
                if let Some(propagation) = propagation(option) {
                    self.propagation = Some(propagation);
                } else if let Some((flags, recursive)) = switch(option) {
                    let into = if recursive { &mut self.all } else { &mut self.own };
                    into.set = (into.set & !flags.clear) | flags.set;
                    into.clear = (into.clear & !flags.set) | flags.clear;
                } else {
                    let (key, value) = option.split_once('=').unwrap_or((option, ""));
                    self.data.push((key.to_owned(), value.to_owned()));
                }
            }
        }
    }
}

fn propagation(option: &str) -> Option<(Propagation, bool)> {
    let named = |name: &str| {
        Some(match name {
            "private" => Propagation::Private,
            "slave" => Propagation::Slave,
            "shared" => Propagation::Shared,
            "unbindable" => Propagation::Unbindable,
            _ => return None,
        })
    };
    named(option).map(|found| (found, false)).or_else(|| {
        option
            .strip_prefix('r')
            .and_then(named)
            .map(|found| (found, true))
    })
}

fn switch(option: &str) -> Option<(Flags, bool)> {
    let named = |name: &str| {
        SWITCHES.iter().find_map(|(on, off, flag)| {
            let bits = u64::from(flag.bits());
            let access_time = u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
            // The modes of access times exclude each other: setting one clears the others.
            let others = if bits & access_time == bits {
                access_time & !bits
            } else {
                0
            };
            if name == *on {
                Some(Flags {
                    set: bits,
                    clear: others,
                })
            } else if name == *off {
                Some(Flags { set: 0, clear: bits })
            } else {
                None
            }
        })
    };
    named(option).map(|flags| (flags, false)).or_else(|| {
        option
            .strip_prefix('r')
            .and_then(named)
            .map(|flags| (flags, true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Options {
        Options::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    const RDONLY: u64 = 1;
    const NOSUID: u64 = 2;
    const NODEV: u64 = 4;
    const NOEXEC: u64 = 8;

    #[test]
    fn options() {
        let tmpfs = parse("nosuid,noexec,strictatime,mode=755,size=65536k");
        assert_eq!(tmpfs.own.set, NOSUID | NOEXEC | 0x20);
        assert_eq!(
            tmpfs.data,
            [
                ("mode".to_owned(), "755".to_owned()),
                ("size".to_owned(), "65536k".to_owned())
            ]
        );
        let bind = parse("rbind,ro,rprivate");
        assert!(bind.bind && bind.recursive);
        assert_eq!((bind.own.set, bind.all.set), (RDONLY, 0));
        assert_eq!(bind.propagation, Some((Propagation::Private, true)));
        let bind = parse("bind,rro,slave");
        assert!(bind.bind && !bind.recursive);
        assert_eq!((bind.own.set, bind.all.set), (0, RDONLY));
        assert_eq!(bind.propagation, Some((Propagation::Slave, false)));
        // The last one counts.
        assert_eq!(
            parse("ro,rw").own,
            Flags {
                set: 0,
                clear: RDONLY
            }
        );
        assert_eq!(
            parse("rw,ro").own,
            Flags {
                set: RDONLY,
                clear: 0
            }
        );
        assert_eq!(parse("nodev,dev,nodev").own.set, NODEV);
        assert_eq!(parse("noatime,strictatime").own.set, 0x20);
        assert_eq!(parse("relatime").own, Flags { set: 0, clear: 0x70 });
        assert_eq!(
            parse("newinstance").data,
            [("newinstance".to_owned(), String::new())]
        );
    }
}
