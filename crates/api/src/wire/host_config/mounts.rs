//! Mounts, in the three places where Docker has them: `Binds` for `-v`, `Tmpfs` for `--tmpfs`, `Mounts` for `--mount`.

use engine::containers::request::{Below, MountRequest, MountSource};
use serde::Serialize;
use std::collections::BTreeMap;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmpfs_options: Option<TmpfsOptions>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    propagation: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    non_recursive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    create_mountpoint: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_force_recursive: bool,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_copy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_config: Option<DriverConfig>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DriverConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageOptions {
    subpath: String,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TmpfsOptions {
    size_bytes: u64,
    mode: u32,
}

/// The mounts that `-v` makes with a source; Docker shows those as binds, whatever they are.
pub(super) fn bind(mount: &MountRequest) -> Option<String> {
    if mount.long {
        return None;
    }
    let source = match &mount.source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Volume { name: Some(name), .. } => name.clone(),
        _ => return None,
    };
    let mut text = format!("{source}:{}", mount.target);
    // A container made by an earlier version has its options in fields alone.
    let mode = if mount.mode.is_empty() && mount.read_only {
        "ro"
    } else {
        &mount.mode
    };
    if !mode.is_empty() {
        text.push(':');
        text.push_str(mode);
    }
    Some(text)
}

pub(super) fn tmpfs(mount: &MountRequest) -> Option<(String, String)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else {
        return None;
    };
    if mount.long {
        return None;
    }
    let mut all = options.clone();
    all.extend(size.map(|size| format!("size={size}")));
    all.extend(mode.map(|mode| format!("mode={mode:o}")));
    if mount.read_only {
        all.push("ro".into());
    }
    Some((mount.target.clone(), all.join(",")))
}

/// What came by `--mount`.
pub(super) fn mount(mount: &MountRequest) -> Option<Mount> {
    if !mount.long {
        return None;
    }
    let mut shown = Mount {
        kind: "volume",
        source: String::new(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        bind_options: None,
        volume_options: None,
        image_options: None,
        tmpfs_options: None,
    };
    match &mount.source {
        MountSource::Bind {
            path,
            create,
            propagation,
            recursive,
            below,
        } => {
            shown.kind = "bind";
            shown.source = path.display().to_string();
            let options = BindOptions {
                propagation: propagation.clone().unwrap_or_default(),
                non_recursive: !recursive,
                create_mountpoint: *create,
                read_only_non_recursive: *below == Below::AsItIs,
                read_only_force_recursive: *below == Below::ReadOnlyByName,
            };
            shown.bind_options = (options != BindOptions::default()).then_some(options);
        }
        MountSource::Image { reference, subpath } => {
            shown.kind = "image";
            shown.source.clone_from(reference);
            shown.image_options = subpath.clone().map(|subpath| ImageOptions { subpath });
        }
        MountSource::Tmpfs { size, mode, .. } => {
            shown.kind = "tmpfs";
            let options = TmpfsOptions {
                size_bytes: size.unwrap_or(0),
                mode: mode.unwrap_or(0),
            };
            shown.tmpfs_options = (options != TmpfsOptions::default()).then_some(options);
        }
        MountSource::Volume {
            name,
            no_copy,
            subpath,
            labels,
            driver,
            options: of_driver,
        } => {
            shown.source = name.clone().unwrap_or_default();
            let options = VolumeOptions {
                no_copy: *no_copy,
                labels: labels.clone(),
                subpath: subpath.clone().unwrap_or_default(),
                driver_config: (driver.is_some() || !of_driver.is_empty()).then(|| DriverConfig {
                    name: driver.clone().unwrap_or_default(),
                    options: of_driver.clone(),
                }),
            };
            shown.volume_options = (options != VolumeOptions::default()).then_some(options);
        }
    }
    Some(shown)
}
