//! Which limits this host's kernel has no file for: asked when a container is made, so that its maker hears of it.

use super::hierarchy::{Hierarchy, Layout, Version};
use super::settings::{self, Missing, Setting};
use oci_spec::runtime::LinuxResources;
use sys::SysError;

/// Returns a warning, in Docker's words, for each limit that cannot be set on this host.
pub fn unsupported(resources: &LinuxResources) -> Result<Vec<String>, SysError> {
    let layout = Layout::detect()?;
    let settings = if layout.is_version_2() {
        settings::version_2(resources)?
    } else {
        settings::version_1(resources, None)?
    };
    let mut warnings: Vec<String> = Vec::new();
    for setting in &settings {
        if let Missing::Warn(text) = setting.missing
            && !warnings.iter().any(|warning| warning == text)
            && !layout.hierarchies.iter().any(|hierarchy| has(hierarchy, setting))
        {
            warnings.push(text.to_owned());
        }
    }
    Ok(warnings)
}

fn has(hierarchy: &Hierarchy, setting: &Setting) -> bool {
    if !hierarchy.has_any(&[setting.controller]) || setting.choices.is_empty() {
        return false;
    }
    // The top of version 2 has no limits, and what lies below it only those that somebody has enabled.
    if hierarchy.version == Version::Two {
        return true;
    }
    let files = || setting.choices.iter().map(|(file, _)| file.as_ref());
    if files().any(|file: &str| hierarchy.mount.join(file).exists()) {
        return true;
    }
    // Some, such as the weights of bfq, the top does not have either.
    let below = std::fs::read_dir(&hierarchy.mount)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    // Where nobody is below it, it will be seen at the start.
    below.is_none_or(|directory| files().any(|file: &str| directory.path().join(file).exists()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn hierarchy(mount: &Path, controller: &str) -> Hierarchy {
        Hierarchy {
            version: Version::One,
            mount: mount.to_owned(),
            controllers: vec![controller.to_owned()],
        }
    }

    #[test]
    fn files_are_looked_for_at_the_top_and_below() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        std::fs::create_dir(top.join("child")).unwrap();
        std::fs::write(top.join("memory.limit_in_bytes"), "").unwrap();
        std::fs::write(top.join("child/memory.weight"), "").unwrap();
        let memory = hierarchy(top, "memory");
        let setting = |controller, file: &'static str| Setting {
            controller,
            choices: vec![(file.into(), "1".into())],
            missing: Missing::Warn("none"),
        };
        assert!(has(&memory, &setting("memory", "memory.limit_in_bytes")));
        assert!(has(&memory, &setting("memory", "memory.weight")));
        assert!(!has(&memory, &setting("memory", "memory.swappiness")));
        assert!(!has(&memory, &setting("blkio", "memory.limit_in_bytes")));
    }
}
