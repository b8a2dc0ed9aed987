//! The local driver's options: `type`, `device`, `o` say what is mounted on a volume, as mount(8) would have it.

use crate::EngineError;
use crate::containers::invalid;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

/// What is to be mounted on a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// `type`: `nfs`, `tmpfs`, `ext4`; for binds it means nothing.
    pub(super) kind: String,
    /// `device`: a path, or what the filesystem makes of it.
    pub(super) device: String,
    /// `o`, taken apart.
    pub(super) options: Vec<String>,
}

/// Checks the options of the volume `name`, in Docker's words.
pub(super) fn check(name: &str, options: &BTreeMap<String, String>) -> Result<(), EngineError> {
    let refuse = |why: String| Err(invalid(format!("create {name}: {why}")));
    for key in options.keys() {
        if !matches!(key.as_str(), "type" | "o" | "device" | "size") {
            return refuse(format!("invalid option: {key:?}"));
        }
    }
    if options
        .get("size")
        .is_some_and(|size| !size.trim_matches('0').is_empty())
    {
        return Err(EngineError::Invalid {
            message: format!("create {name}: quota size requested but no quota support"),
            hint: Some(
                "a volume in memory has a size: '-o type=tmpfs -o device=tmpfs -o o=size=100m'".into(),
            ),
        });
    }
    for (option, needed) in [
        ("device", &["type"][..]),
        ("o", &["device", "type"]),
        ("type", &["device"]),
    ] {
        if !options.contains_key(option) {
            continue;
        }
        if let Some(missing) = needed.iter().find(|needed| !options.contains_key(**needed)) {
            return refuse(format!("missing required option: {missing:?}"));
        }
    }
    if options.get("device").is_some_and(String::is_empty) {
        return refuse("missing device in volume options".into());
    }
    Ok(())
}

/// Returns what is to be mounted; `None` for a volume that is a directory.
pub(super) fn recipe(options: &BTreeMap<String, String>) -> Option<Recipe> {
    let device = options.get("device")?;
    let list = options.get("o").map(String::as_str).unwrap_or_default();
    Some(Recipe {
        kind: options.get("type").cloned().unwrap_or_default(),
        device: device.clone(),
        options: list
            .split(',')
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

impl Recipe {
    /// Says whether it is in memory, and gone with the last container.
    pub(super) fn is_memory(&self) -> bool {
        !self.is_bind() && matches!(self.kind.as_str(), "ramfs" | "tmpfs")
    }

    fn is_bind(&self) -> bool {
        self.options
            .iter()
            .any(|option| matches!(option.as_str(), "bind" | "rbind"))
    }

    /// Writes addresses in the place of hosts' names: the kernel looks nothing up. What mount.nfs(8) and mount.cifs(8)
    /// would do is done here.
    pub(super) fn resolve(
        mut self,
        look_up: impl Fn(&str) -> std::io::Result<IpAddr>,
    ) -> Result<Self, String> {
        if !matches!(self.kind.as_str(), "cifs" | "nfs" | "nfs4" | "smb3") || self.is_bind() {
            return Ok(self);
        }
        let find = |host: &str| {
            look_up(host)
                .map_err(|error| format!("error resolving passed in network volume address: {error}"))
        };
        if let Some(option) = self.options.iter_mut().find(|option| option.starts_with("addr=")) {
            let host = option["addr=".len()..].to_owned();
            *option = format!("addr={}", find(&host)?);
        } else if let Some(host) = host_of(&self.kind, &self.device) {
            let address = find(&host)?;
            self.options.push(format!("addr={address}"));
        }
        Ok(self)
    }

    /// Says what is mounted, without the password that may be among its options.
    pub(super) fn describe(&self) -> String {
        let shown: Vec<&str> = self
            .options
            .iter()
            .map(|option| {
                if option.starts_with("password=") || option.starts_with("pass=") {
                    "password=********"
                } else {
                    option
                }
            })
            .collect();
        format!(
            "{} (type '{}', options '{}')",
            self.device,
            self.kind,
            shown.join(",")
        )
    }
}

/// Looks a host up.
pub(super) fn look_up(host: &str) -> std::io::Result<IpAddr> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    // Of the two kinds, the older one is what a file server surely listens on.
    (host, 0_u16)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .min_by_key(IpAddr::is_ipv6)
        .ok_or_else(|| std::io::Error::other(format!("no address for '{host}'")))
}

/// Returns the host in `host:/path` and `//host/share`.
fn host_of(kind: &str, device: &str) -> Option<String> {
    let host = if kind.starts_with("nfs") {
        let (host, _) = device.split_once(":/")?;
        host.trim_start_matches('[').trim_end_matches(']')
    } else {
        let rest = device
            .strip_prefix("//")
            .or_else(|| device.strip_prefix("\\\\"))?;
        rest.split(['/', '\\']).next()?
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|option| {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                (key.to_owned(), value.to_owned())
            })
            .collect()
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        for (options, expected) in [
            ("", ""),
            ("size=0", ""),
            ("type=tmpfs device=tmpfs", ""),
            ("type=nfs device=:/x o=addr=1.2.3.4,rw", ""),
            ("foo=x", "create it: invalid option: \"foo\""),
            ("size=1g", "create it: quota size requested but no quota support"),
            ("type=tmpfs", "create it: missing required option: \"device\""),
            ("device=/x", "create it: missing required option: \"type\""),
            ("o=bind", "create it: missing required option: \"device\""),
            ("o=bind device=/x", "create it: missing required option: \"type\""),
            (
                "type=none device= o=bind",
                "create it: missing device in volume options",
            ),
        ] {
            let found = check("it", &map(options)).err().map(|error| error.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{options}");
        }
    }

    #[test]
    fn names_become_addresses() {
        let look_up = |host: &str| match host {
            "files" => Ok(IpAddr::from([10, 0, 0, 7])),
            "10.0.0.1" => Ok(IpAddr::from([10, 0, 0, 1])),
            _ => Err(std::io::Error::other("no such host")),
        };
        for (options, expected) in [
            ("type=nfs device=:/x o=addr=files,rw", Some("addr=10.0.0.7,rw")),
            ("type=nfs device=:/x o=addr=10.0.0.1", Some("addr=10.0.0.1")),
            ("type=nfs4 device=files:/x o=rw", Some("rw,addr=10.0.0.7")),
            (
                "type=cifs device=//files/share o=username=u",
                Some("username=u,addr=10.0.0.7"),
            ),
            ("type=nfs device=:/x o=addr=nobody", None),
            ("type=ext4 device=/dev/x o=addr=nobody", Some("addr=nobody")),
        ] {
            let resolved = recipe(&map(options)).unwrap().resolve(look_up);
            assert_eq!(
                resolved.ok().map(|recipe| recipe.options.join(",")).as_deref(),
                expected,
                "{options}"
            );
        }
    }

    #[test]
    fn passwords_are_not_told() {
        let recipe = recipe(&map("type=cifs device=//h/s o=username=u,password=secret")).unwrap();
        assert!(!recipe.describe().contains("secret"), "{}", recipe.describe());
    }
}
