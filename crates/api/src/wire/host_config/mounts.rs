//! Mounts, in the three places where Docker has them: `Binds` for `-v`, `Tmpfs` for `--tmpfs`, `Mounts` for `--mount`.

use engine::containers::request::{MountRequest, MountSource};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_options: Option<VolumeOptions>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    propagation: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    non_recursive: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_copy: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    subpath: String,
}

/// The mounts that `-v` makes with a source; Docker shows those as binds, whatever they are.
pub(super) fn bind(mount: &MountRequest) -> Option<String> {
    let (source, option) = match &mount.source {
        MountSource::Bind {
            path,
            create: true,
            propagation,
            ..
        } => (path.display().to_string(), propagation.clone()),
        MountSource::Volume {
            name: Some(name),
            no_copy,
            subpath: None,
        } => (name.clone(), no_copy.then(|| "nocopy".to_owned())),
        _ => return None,
    };
    let options: Vec<String> = mount
        .read_only
        .then(|| "ro".to_owned())
        .into_iter()
        .chain(option)
        .collect();
    Some(if options.is_empty() {
        format!("{source}:{}", mount.target)
    } else {
        format!("{source}:{}:{}", mount.target, options.join(","))
    })
}

pub(super) fn tmpfs(mount: &MountRequest) -> Option<(String, String)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else {
        return None;
    };
    let mut all = options.clone();
    all.extend(size.map(|size| format!("size={size}")));
    all.extend(mode.map(|mode| format!("mode={mode:o}")));
    if mount.read_only {
        all.push("ro".into());
    }
    Some((mount.target.clone(), all.join(",")))
}

pub(super) fn mount(mount: &MountRequest) -> Option<Mount> {
    let made = |kind, source, bind_options, volume_options| {
        Some(Mount {
            kind,
            source,
            target: mount.target.clone(),
            read_only: mount.read_only,
            bind_options,
            volume_options,
        })
    };
    match &mount.source {
        MountSource::Bind {
            path,
            create: false,
            propagation,
            recursive,
        } => {
            let options = BindOptions {
                propagation: propagation.clone(),
                non_recursive: !recursive,
            };
            let has_any = options.propagation.is_some() || options.non_recursive;
            made(
                "bind",
                path.display().to_string(),
                has_any.then_some(options),
                None,
            )
        }
        MountSource::Volume {
            name: Some(name),
            no_copy,
            subpath: Some(subpath),
        } => {
            let options = VolumeOptions {
                no_copy: *no_copy,
                subpath: subpath.clone(),
            };
            made("volume", name.clone(), None, Some(options))
        }
        _ => None,
    }
}
