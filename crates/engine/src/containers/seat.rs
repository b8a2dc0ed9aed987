//! Where a container's cgroup is, and who makes what leads to it: we ourselves, or systemd.

use super::record::ContainerId;
use super::{conflict, invalid};
use crate::config::CgroupDriver;
use crate::{Config, EngineError, Locations};
use runtime::cgroups::systemd::{self, Scope};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use sys::SysError;

/// The file of a running container that says where its cgroup is, if that is not the usual place. A link, because one
/// call makes it and one reads it; it is never followed.
const LINK: &str = "cgroup";

/// A container's cgroup to be.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) cgroup: PathBuf,
    /// The unit that must be there before.
    pub(super) scope: Option<Scope>,
}

/// Says whether systemd makes the cgroups, or we do.
pub(crate) fn by_systemd(config: &Config) -> bool {
    match config.cgroup_driver {
        CgroupDriver::Auto => systemd::is_in_charge(),
        CgroupDriver::Systemd => true,
        CgroupDriver::Cgroupfs => false,
    }
}

/// Decides where a container's cgroup will be, and leaves word of it in its run directory, which must be there.
pub(super) fn assign(
    config: &Config,
    locations: &Locations,
    id: &ContainerId,
    parent: Option<&str>,
) -> Result<Seat, EngineError> {
    let link = locations.run_directory(id).join(LINK);
    let failed = |error: std::io::Error| SysError::io("make the link", &link, &error);
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    if !by_systemd(config) {
        return Ok(Seat {
            cgroup: locations.cgroup(id, parent),
            scope: None,
        });
    }
    if config.cgroup_driver == CgroupDriver::Systemd && !systemd::is_in_charge() {
        return Err(conflict(
            "cgroup_driver = \"systemd\" in the configuration needs systemd and cgroup version 2 alone; \"auto\" uses systemd where it can",
        ));
    }
    let scope = scope(id, parent)?;
    let cgroup = scope.container_cgroup();
    symlink(&cgroup, &link).map_err(failed)?;
    Ok(Seat {
        cgroup,
        scope: Some(scope),
    })
}

fn scope(id: &ContainerId, parent: Option<&str>) -> Result<Scope, EngineError> {
    Scope::new(id.as_str(), parent).ok_or_else(|| {
        invalid(format!(
            "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\", not \"{}\"",
            parent.unwrap_or_default()
        ))
    })
}

/// Refuses a `--cgroup-parent` that systemd would refuse.
pub(super) fn check_parent(config: &Config, parent: Option<&str>) -> Result<(), EngineError> {
    match parent {
        Some(_) if by_systemd(config) => scope(&ContainerId(String::new()), parent).map(drop),
        _ => Ok(()),
    }
}

/// Returns the place that [`assign`] left word of.
pub(super) fn assigned(locations: &Locations, id: &ContainerId) -> Option<PathBuf> {
    std::fs::read_link(locations.run_directory(id).join(LINK)).ok()
}
