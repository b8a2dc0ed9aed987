//! The four places where a body says what is mounted: `Binds`, `Mounts`, `Tmpfs`, and `Volumes` of the configuration.

use super::refused;
use crate::operations::object::Object;
use crate::server::Failure;
use engine::containers::notation::{check_targets, same_target, tmpfs, volume};
use engine::containers::request::{Below, CreateContainer, MountRequest, MountSource};
use std::collections::BTreeMap;

pub(super) fn read(
    body: &mut Object,
    host: &mut Object,
    request: &mut CreateContainer,
) -> Result<(), Failure> {
    let mut mounts = Vec::new();
    for text in host.take::<Vec<String>>("Binds")? {
        mounts.push(volume::parse(&text).map_err(refused)?);
    }
    for mut one in host.objects("Mounts")? {
        mounts.push(mount(&mut one)?);
    }
    for (target, options) in host.take::<BTreeMap<String, String>>("Tmpfs")? {
        mounts.push(tmpfs::parse(&format!("{target}:{options}")).map_err(refused)?);
    }
    check_targets(&mounts).map_err(refused)?;
    for target in body.keys("Volumes")? {
        if target.contains(':') {
            return Err(Failure::bad_request(format!(
                "invalid volume specification: '{target}'"
            )));
        }
        let anonymous = volume::parse(&target).map_err(refused)?;
        // Many clients name each target here once more.
        if !mounts.iter().any(|there| same_target(there, &anonymous)) {
            mounts.push(anonymous);
        }
    }
    request.mounts = mounts;
    request.volumes_from = host.take("VolumesFrom")?;
    Ok(())
}

fn mount(mount: &mut Object) -> Result<MountRequest, Failure> {
    let kind: String = mount.take("Type")?;
    let source: String = mount.take("Source")?;
    let target: String = mount.take("Target")?;
    let refuse = |why: &str| Failure::bad_request(format!("invalid mount config for type \"{kind}\": {why}"));
    if target.is_empty() {
        return Err(refuse("field Target must not be empty"));
    }
    let options = |kind: &str| match kind {
        "bind" => "BindOptions",
        "volume" => "VolumeOptions",
        "tmpfs" => "TmpfsOptions",
        _ => "ImageOptions",
    };
    for other in ["bind", "volume", "tmpfs", "image"] {
        if other != kind && mount.has(options(other)) && !mount.object(options(other))?.is_empty() {
            return Err(refuse(&format!("field {} must not be specified", options(other))));
        }
    }
    let mut options = mount.object(options(&kind))?;
    let needs_source = || {
        if source.is_empty() {
            return Err(refuse("field Source must not be empty"));
        }
        Ok(source.clone())
    };
    let of_kind = match kind.as_str() {
        "bind" => MountSource::Bind {
            path: needs_source()?.into(),
            create: options.take("CreateMountpoint")?,
            propagation: options.text("Propagation")?,
            recursive: !options.take::<bool>("NonRecursive")?,
            below: match (
                options.take("ReadOnlyNonRecursive")?,
                options.take("ReadOnlyForceRecursive")?,
            ) {
                (false, false) => Below::ReadOnly,
                (true, false) => Below::AsItIs,
                (false, true) => Below::ReadOnlyByName,
                (true, true) => {
                    return Err(refuse(
                        "ReadOnlyNonRecursive and ReadOnlyForceRecursive must not be specified together",
                    ));
                }
            },
        },
        "volume" => {
            let mut driver = options.object("DriverConfig")?;
            MountSource::Volume {
                name: Some(source).filter(|name| !name.is_empty()),
                no_copy: options.take("NoCopy")?,
                subpath: options.text("Subpath")?,
                labels: options.take("Labels")?,
                driver: driver.text("Name")?,
                options: driver.take("Options")?,
            }
        }
        "tmpfs" => {
            if !source.is_empty() {
                return Err(refuse("field Source must not be specified"));
            }
            let further: Vec<Vec<String>> = options.take("Options")?;
            MountSource::Tmpfs {
                size: options.count("SizeBytes")?,
                mode: options.take::<Option<u32>>("Mode")?.filter(|mode| *mode != 0),
                options: further.into_iter().map(|words| words.join("=")).collect(),
            }
        }
        "image" => MountSource::Image {
            reference: needs_source()?,
            subpath: options.text("Subpath")?,
        },
        "cluster" => return Err(refuse("it is for a swarm, which is not there")),
        "npipe" => return Err(refuse("it is for Windows containers")),
        _ => return Err(refuse("mount type unknown")),
    };
    Ok(MountRequest {
        target,
        read_only: mount.take("ReadOnly")?,
        source: of_kind,
        long: true,
        mode: String::new(),
    })
}
