//! The Container Device Interface: what a device's vendor says that a container needs for it.
//!
//! ```text
//! /etc/cdi/*.json, *.yaml          written by administrators and by tools such as nvidia-ctk
//! /var/run/cdi/*.json, *.yaml      written at run time; of two that name one device this one counts
//!     kind: nvidia.com/gpu
//!     devices: [{ name: all, containerEdits: { deviceNodes, mounts, env, hooks, … } }, …]
//!     containerEdits: what any of its devices needs
//! ```
//!
//! The files are the host's, and are believed. Their hooks are not run: see [`hooks`].

mod gpus;
mod hooks;
mod specification;
mod yaml;

pub(crate) use gpus::names as gpu_names;
use runtime::Link;
pub(crate) use specification::{DeviceNode, Mount};
use specification::{Edits as SpecEdits, Specification};
use std::path::{Path, PathBuf};

/// Where specifications are unless the configuration says otherwise; a later directory counts more.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// No specification is larger.
const LARGEST: u64 = 4 << 20;

/// Why devices cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CdiError {
    /// No specification has them.
    #[error("CDI device injection failed: unresolvable CDI devices {}", devices.join(", "))]
    Unresolvable {
        /// Their names.
        devices: Vec<String>,
        /// What was wrong with files that may have had them.
        complaints: Vec<String>,
    },
    /// Two specifications in one directory have it.
    #[error("CDI device injection failed: the device {device} is in both '{first}' and '{second}'")]
    Ambiguous {
        /// Its name.
        device: String,
        /// A file that has it.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A hook that we can neither run nor do the work of.
    #[error("CDI device injection failed: the hook '{hook}' of {kind} is not supported")]
    Hook {
        /// Its command.
        hook: String,
        /// The specification's kind.
        kind: String,
    },
    /// There are no graphics processors, or none of that vendor's.
    #[error("could not select device driver \"{driver}\" with capabilities: [[{capabilities}]]")]
    NoDriver {
        /// As it was asked for.
        driver: String,
        /// As they were asked for.
        capabilities: String,
    },
    /// A request that makes no sense.
    #[error("{0}")]
    Request(&'static str),
}

impl CdiError {
    /// Says what to do about it.
    pub(crate) fn hint(&self, directories: &[PathBuf]) -> String {
        let places: Vec<String> = directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        let places = places.join(" and ");
        match self {
            Self::Unresolvable { complaints, .. } if !complaints.is_empty() => complaints.join("; "),
            Self::Unresolvable { .. } => {
                format!("specifications are looked for in {places}; each lists its devices under 'kind' and 'name'")
            }
            Self::Ambiguous { .. } => "remove one of the two, or the device from one".into(),
            Self::Hook { .. } => {
                "hooks are programs of the host's that would run in the container's namespaces as root, and are not run: leave the hook out of the specification"
                    .into()
            }
            Self::NoDriver { .. } => format!(
                "GPUs are given by the Container Device Interface, and there is no specification of them in {places}: install the NVIDIA Container Toolkit and run 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'"
            ),
            Self::Request(_) => "write --gpus all, --gpus 2 or --gpus device=0".into(),
        }
    }
}

/// What a container gets for its devices.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Edits {
    /// `NAME=value`.
    pub(crate) environment: Vec<String>,
    /// Device nodes.
    pub(crate) devices: Vec<DeviceNode>,
    /// Mounts, not sorted.
    pub(crate) mounts: Vec<Mount>,
    /// Groups by number.
    pub(crate) groups: Vec<u32>,
    /// Links that programs look for libraries by.
    pub(crate) links: Vec<Link>,
    /// Directories with libraries that the image's loader does not know.
    pub(crate) libraries: Vec<String>,
    /// What of the specification is not done.
    pub(crate) remarks: Vec<String>,
}

/// Specifications that were found, and what was wrong with others.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The later ones count more; those of one directory count the same.
    found: Vec<(usize, PathBuf, Specification)>,
    complaints: Vec<String>,
}

impl Registry {
    /// Reads what there is in these directories. A file that is wrong costs nobody but those who ask for what it has.
    pub(crate) fn read(directories: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for (rank, directory) in directories.iter().enumerate() {
            // Most hosts have neither.
            let Ok(entries) = std::fs::read_dir(directory) else {
                continue;
            };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in files {
                match read(&file) {
                    None => {}
                    Some(Ok(specification)) => registry.found.push((rank, file, specification)),
                    Some(Err(why)) => registry.complaints.push(format!("'{}' {why}", file.display())),
                }
            }
        }
        registry
    }

    /// Says whether any device of a kind is there.
    pub(crate) fn has_kind(&self, kind: &str) -> bool {
        self.found
            .iter()
            .any(|(_, _, specification)| specification.kind == kind)
    }

    /// Finds devices by their names, `vendor.com/class=name`, and collects what they need.
    pub(crate) fn resolve(&self, names: &[String]) -> Result<Edits, CdiError> {
        let mut edits = Edits::default();
        let mut missing = Vec::new();
        // What all devices of a file need is needed once.
        let mut files: Vec<&PathBuf> = Vec::new();
        for name in names {
            let Some((file, specification, of_device)) = self.find(name)? else {
                missing.push(name.clone());
                continue;
            };
            if !files.contains(&file) {
                files.push(file);
                add(&mut edits, &specification.container_edits, &specification.kind)?;
            }
            add(&mut edits, of_device, &specification.kind)?;
        }
        if missing.is_empty() {
            return Ok(edits);
        }
        Err(CdiError::Unresolvable {
            devices: missing,
            complaints: self.complaints.clone(),
        })
    }

    fn find(&self, name: &str) -> Result<Option<(&PathBuf, &Specification, &SpecEdits)>, CdiError> {
        let Some((kind, device)) = name.split_once('=') else {
            return Ok(None);
        };
        let mut best: Option<(usize, &PathBuf, &Specification, &SpecEdits)> = None;
        for (rank, file, specification) in &self.found {
            let Some(found) = specification.device(kind, device) else {
                continue;
            };
            if let Some((other_rank, other, ..)) = &best
                && other_rank == rank
            {
                return Err(CdiError::Ambiguous {
                    device: name.to_owned(),
                    first: (*other).clone(),
                    second: file.clone(),
                });
            }
            best = Some((*rank, file, specification, found));
        }
        Ok(best.map(|(_, file, specification, edits)| (file, specification, edits)))
    }
}

/// Reads a file; `None` if it is no specification by its name.
fn read(file: &Path) -> Option<Result<Specification, String>> {
    let extension = file.extension()?.to_str()?;
    if !matches!(extension, "json" | "yaml" | "yml") {
        return None;
    }
    let text = match sys::fs::read(file, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) => {
            return Some(Err(format!(
                "cannot be read: {}",
                std::io::Error::from(error.errno)
            )));
        }
    };
    Some(match String::from_utf8(text) {
        Err(_) => Err("is not UTF-8".to_owned()),
        // JSON is read by its own reader: it is quicker, and its errors are better.
        Ok(text) if extension == "json" => Specification::parse_json(&text),
        Ok(text) => yaml::parse(&text).and_then(Specification::from_value),
    })
}

fn add(edits: &mut Edits, more: &SpecEdits, kind: &str) -> Result<(), CdiError> {
    edits.environment.extend(more.env.iter().cloned());
    for device in &more.device_nodes {
        if !edits.devices.contains(device) {
            edits.devices.push(device.clone());
        }
    }
    for mount in &more.mounts {
        if !edits.mounts.contains(mount) {
            edits.mounts.push(mount.clone());
        }
    }
    edits.groups.extend(&more.additional_gids);
    for hook in &more.hooks {
        hooks::apply(hook, kind, edits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/thing","devices":[
        {"name":"a","containerEdits":{"deviceNodes":[{"path":"/dev/thing0","hostPath":"/dev/null"}]}},
        {"name":"b","containerEdits":{"env":["B=1"],"deviceNodes":[{"path":"/dev/thing1"}]}}],
        "containerEdits":{"env":["ALL=1"]}}"#;

    const YAML: &str = r#"---
cdiVersion: 0.5.0
kind: "nvidia.com/gpu"
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      major: 195
      minor: 0
      fileMode: 438
      permissions: rw
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  mounts:
  - hostPath: /usr/lib/libcuda.so.1.2
    containerPath: /usr/lib/libcuda.so.1.2
    options: [ro, nosuid, nodev, bind]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-ctk
    args: [nvidia-ctk, hook, create-symlinks, --link, "libcuda.so.1::/usr/lib/libcuda.so"]
  - hookName: createContainer
    path: /usr/bin/nvidia-ctk
    args:
    - nvidia-ctk
    - hook
    - update-ldcache
    - --folder
    - /usr/lib
"#;

    fn directories(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        let directories = ["first", "second"].map(|name| root.path().join(name)).to_vec();
        for directory in &directories {
            std::fs::create_dir(directory).unwrap();
        }
        for (name, content) in files {
            std::fs::write(root.path().join(name), content).unwrap();
        }
        (root, directories)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_device_brings_its_own_edits_and_those_of_all() {
        let (_root, directories) = directories(&[("first/v.json", JSON), ("first/notes.txt", "no")]);
        let registry = Registry::read(&directories);
        let edits = registry
            .resolve(&names(&["vendor.com/thing=a", "vendor.com/thing=b"]))
            .unwrap();
        assert_eq!(edits.environment, ["ALL=1", "B=1"]);
        let paths: Vec<_> = edits.devices.iter().map(|device| device.path.clone()).collect();
        assert_eq!(paths, [Path::new("/dev/thing0"), Path::new("/dev/thing1")]);
        let error = registry
            .resolve(&names(&["vendor.com/thing=a", "vendor.com/thing=z"]))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "CDI device injection failed: unresolvable CDI devices vendor.com/thing=z"
        );
    }

    #[test]
    fn what_nvidias_tool_writes_is_understood() {
        let (_root, directories) = directories(&[("first/nvidia.yaml", YAML)]);
        let edits = Registry::read(&directories)
            .resolve(&names(&["nvidia.com/gpu=0"]))
            .unwrap();
        assert_eq!(edits.devices[0].major, Some(195));
        assert_eq!(edits.devices[0].permissions, "rw");
        assert_eq!(edits.mounts[0].options, ["ro", "nosuid", "nodev", "bind"]);
        assert_eq!(
            edits.links,
            [Link {
                target: "libcuda.so.1".into(),
                path: "/usr/lib/libcuda.so".into()
            }]
        );
        assert_eq!(edits.libraries, ["/usr/lib"]);
    }

    #[test]
    fn a_later_directory_counts_more_and_two_files_of_one_directory_quarrel() {
        let other = JSON.replace("/dev/null", "/dev/zero");
        let (_root, first) = directories(&[("first/v.json", JSON), ("second/v.json", &other)]);
        let edits = Registry::read(&first)
            .resolve(&names(&["vendor.com/thing=a"]))
            .unwrap();
        assert_eq!(
            edits.devices[0].host_path.as_deref(),
            Some(Path::new("/dev/zero"))
        );
        let (_root, second) = directories(&[("first/v.json", JSON), ("first/w.json", &other)]);
        let error = Registry::read(&second)
            .resolve(&names(&["vendor.com/thing=a"]))
            .unwrap_err();
        assert!(matches!(error, CdiError::Ambiguous { .. }), "{error}");
    }

    #[test]
    fn a_wrong_file_is_named_to_those_who_miss_something() {
        let (_root, directories) = directories(&[("first/a.json", "{"), ("first/v.json", JSON)]);
        let registry = Registry::read(&directories);
        registry.resolve(&names(&["vendor.com/thing=a"])).unwrap();
        let error = registry.resolve(&names(&["x.com/y=z"])).unwrap_err();
        assert!(error.hint(&directories).contains("a.json"), "{error:?}");
    }
}
