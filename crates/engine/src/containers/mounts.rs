//! What a new container's mounts come to: volumes by their names, images by their layers, other containers' volumes.

use super::record::{ContainerId, ContainerMount};
use super::request::{CreateContainer, MountRequest, MountSource};
use super::{Containers, invalid, places, validate};
use crate::EngineError;
use crate::images::PullEvent;
use crate::volumes::{self, VolumeSettings};
use store::Image;

/// The mounts of a new container.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// All of them.
    pub(super) all: Vec<ContainerMount>,
    /// The volumes among them.
    pub(super) volumes: Vec<NamedVolume>,
    /// The images among them, in their order.
    pub(super) images: Vec<Image>,
}

/// A volume that a new container uses.
#[derive(Debug)]
pub(super) struct NamedVolume {
    pub(super) name: String,
    pub(super) anonymous: bool,
    /// With what it is made if it is not there.
    pub(super) settings: VolumeSettings,
    pub(super) target: String,
    /// Whether the image's content at `target` goes into it if it is empty.
    pub(super) copy: bool,
    /// Whether this request made it.
    pub(super) made: bool,
}

impl Mounts {
    fn has(&self, target: &str) -> bool {
        self.all.iter().any(|mount| mount.target == target)
    }

    /// Takes a mount in the place of one that has its target.
    fn replace(&mut self, mount: ContainerMount, volume: Option<NamedVolume>) {
        self.all.retain(|there| there.target != mount.target);
        self.volumes.retain(|there| there.target != mount.target);
        self.all.push(mount);
        self.volumes.extend(volume);
    }
}

impl Containers<'_> {
    /// Resolves the mounts asked for and the image's volumes.
    pub(super) fn mounts(
        self,
        request: &CreateContainer,
        config: &oci::Config,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Mounts, EngineError> {
        let mut mounts = Mounts::default();
        for from in &request.volumes_from {
            self.mounts_of_another(from, &mut mounts)?;
        }
        let mut own: Vec<String> = Vec::new();
        for asked in &request.mounts {
            let target = validate::mount(asked)?;
            if own.contains(&target) {
                return Err(invalid(format!("Duplicate mount point: {target}")));
            }
            own.push(target.clone());
            self.mount(asked, target, request, &mut mounts, progress)?;
        }
        for path in config.volumes.keys() {
            // Not named by an absolute path, it would be a path of ours that an image chooses.
            if !path.starts_with('/') {
                return Err(invalid(format!("invalid volume specification: '{path}'")));
            }
            let target = validate::clean(path);
            if target == "/" {
                return Err(invalid(format!(
                    "invalid volume specification: '{path}': destination can't be '/'"
                )));
            }
            if mounts.has(&target) {
                continue;
            }
            let anonymous = MountRequest {
                target: target.clone(),
                ..MountRequest::default()
            };
            self.mount(&anonymous, target, request, &mut mounts, progress)?;
        }
        Ok(mounts)
    }

    /// Takes the binds and volumes of another container: `--volumes-from NAME[:ro]`.
    fn mounts_of_another(self, from: &str, mounts: &mut Mounts) -> Result<(), EngineError> {
        let (name, mode) = from.split_once(':').unwrap_or((from, ""));
        if name.is_empty() {
            return Err(invalid("volumes-from specification cannot be an empty string"));
        }
        let modes: Vec<&str> = mode.split(',').filter(|each| !each.is_empty()).collect();
        if modes.iter().any(|each| !matches!(*each, "ro" | "rw" | "z" | "Z")) {
            return Err(invalid(format!("invalid mode: {mode}")));
        }
        let id: ContainerId = self.find(name)?;
        for mount in self.record(&id)?.settings.mounts {
            if !matches!(mount.kind.as_str(), "bind" | "volume") {
                continue;
            }
            let volume = mount.name.as_ref().map(|name| NamedVolume {
                name: name.clone(),
                // It is there; should it have gone this moment, nobody else has its name.
                anonymous: true,
                settings: VolumeSettings::default(),
                target: mount.target.clone(),
                copy: false,
                made: false,
            });
            let mount = ContainerMount {
                writable: mount.writable && !modes.contains(&"ro"),
                mode: mode.to_owned(),
                ..mount
            };
            mounts.replace(mount, volume);
        }
        Ok(())
    }

    fn mount(
        self,
        asked: &MountRequest,
        target: String,
        request: &CreateContainer,
        mounts: &mut Mounts,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<(), EngineError> {
        let mut mount = ContainerMount {
            kind: validate::kind_of(&asked.source).into(),
            target: target.clone(),
            writable: !asked.read_only,
            mode: asked.mode.clone(),
            ..ContainerMount::default()
        };
        let mut volume = None;
        match &asked.source {
            MountSource::Bind {
                path,
                create,
                propagation,
                recursive,
                below,
            } => {
                if *create && !path.exists() {
                    std::fs::create_dir_all(path)
                        .map_err(|error| sys::SysError::io("make the bind's source", path, &error))?;
                }
                mount.source.clone_from(path);
                mount.propagation = propagation.clone().unwrap_or_else(|| "rprivate".into());
                mount.below = *below;
                if !recursive {
                    mount.options.push("bind".into());
                }
            }
            MountSource::Image { reference, subpath } => {
                let images = self.engine.images();
                let image = images.ensure(reference, request.platform.as_ref(), request.pull, progress)?;
                mount.name = Some(image.id.to_string());
                mount.writable = false;
                mount.subpath.clone_from(subpath);
                mounts.images.push(image);
            }
            MountSource::Tmpfs { size, mode, options } => {
                mount.options.extend(size.map(|size| format!("size={size}")));
                mount.options.extend(mode.map(|mode| format!("mode={mode:o}")));
                mount
                    .options
                    .extend(options.iter().filter(|option| !option.is_empty()).cloned());
            }
            MountSource::Volume {
                name,
                no_copy,
                subpath,
                labels,
                driver,
                options,
            } => {
                volumes::check_driver(driver.as_deref().or(request.volume_driver.as_deref()))?;
                let (name, anonymous) = match name {
                    Some(name) => (name.clone(), false),
                    None => (places::hex(&places::random::<32>()?), true),
                };
                mount.source = volumes::data(self.engine.locations(), &name);
                mount.name = Some(name.clone());
                mount.subpath.clone_from(subpath);
                if name_is_shown_as_shared(asked, anonymous) {
                    mount.mode = "z".into();
                }
                volume = Some(NamedVolume {
                    settings: VolumeSettings::new(&name, labels.clone(), options.clone())?,
                    name,
                    anonymous,
                    target,
                    // A part of a volume is somebody's who has filled it.
                    copy: !no_copy && subpath.is_none(),
                    made: false,
                });
            }
        }
        mounts.replace(mount, volume);
        Ok(())
    }
}

/// Docker shows a named volume of `-v` without options as one that is labelled for all.
fn name_is_shown_as_shared(asked: &MountRequest, anonymous: bool) -> bool {
    !anonymous && asked.mode.is_empty()
}
