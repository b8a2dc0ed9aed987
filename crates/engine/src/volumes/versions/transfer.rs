//! Volumes out of volumes and versions, and in and out of archives.

use super::super::tree_copy::Copier;
use super::super::{Volume, VolumeSettings, Volumes, insert_at, options};
use super::capture::copied;
use super::staging::Stage;
use super::{Copied, Source, open_directory};
use crate::containers::validate;
use crate::{EngineError, events};
use rustix::fs::{CWD, renameat};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use sys::{SysError, failpoint};

impl Volumes<'_> {
    /// Makes the volume `name` with what another one, or a version, holds. Unless `live`, containers that run with the
    /// other one stand still meanwhile.
    pub fn clone_to(
        &self,
        source: &Source,
        name: &str,
        live: bool,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Volume, Copied), EngineError> {
        validate::volume_name(name)?;
        self.inspect(&source.volume)?;
        self.refuse_if_there(name)?;
        let created = events::now();
        let stage = Stage::begin_volume(&self.engine.locations, name, created)?;
        let copied = if source.tag.is_none() {
            self.capture(&source.volume, &stage.data(), None, live, cancelled)?
                .copied
        } else {
            let (tree, _opened) = self.open_source(source)?;
            let tree = open_directory(&tree)?;
            copied(Copier::new(&stage.data(), None, cancelled).pass(tree.as_fd())?)
        };
        Ok((
            self.settle(stage, name, created, "clone", &source.volume)?,
            copied,
        ))
    }

    /// Writes a volume, or a version, as a tar: the same tree gives the same bytes. Unless `live`, a volume that
    /// containers run with is copied first, while they stand still.
    pub fn export(
        &self,
        source: &Source,
        live: bool,
        into: &mut dyn Write,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), EngineError> {
        self.inspect(&source.volume)?;
        if source.tag.is_none() && !live && !self.users_alive(&source.volume)?.is_empty() {
            // Not for long: with the stage it goes.
            let stage = Stage::begin(&self.engine.locations, &source.volume)?;
            self.capture(&source.volume, &stage.tree(), None, false, cancelled)?;
            return Ok(store::write_alone(open_directory(&stage.tree())?.as_fd(), into)?);
        }
        let (tree, _opened) = self.open_source(source)?;
        Ok(store::write_alone(open_directory(&tree)?.as_fd(), into)?)
    }

    /// Makes the volume `name` of a tar, which may be compressed. If there is one it must be empty.
    pub fn import(&self, name: &str, tar: &mut dyn Read) -> Result<Volume, EngineError> {
        validate::volume_name(name)?;
        let there = match self.inspect(name) {
            Ok(there) => Some(there),
            Err(EngineError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(there) = &there {
            self.refuse_unless_fillable(there)?;
        }
        let created = events::now();
        let stage = Stage::begin_volume(&self.engine.locations, name, created)?;
        store::unpack_tree(open_directory(&stage.data())?, tar)?;
        let Some(there) = there else {
            return self.settle(stage, name, created, "import", name);
        };
        sys::fs::sync_filesystem(&stage.data())?;
        super::super::make(&self.engine.locations, name)?;
        // Only an empty directory gives way to a rename.
        renameat(CWD, stage.data(), CWD, &there.mountpoint).map_err(|errno| match errno {
            Errno::EXIST | Errno::NOTEMPTY => not_empty(name),
            errno => SysError::on("fill the volume", &there.mountpoint)(errno).into(),
        })?;
        stage.finish()?;
        self.engine.database.write(|transaction| {
            Ok::<_, EngineError>(events::record(
                transaction,
                "volume",
                "import",
                name,
                &[("driver", "local")],
            )?)
        })?;
        self.inspect(name)
    }

    /// Records a volume whose content is ready.
    fn settle(
        self,
        stage: Stage,
        name: &str,
        created: i64,
        action: &str,
        from: &str,
    ) -> Result<Volume, EngineError> {
        let locations = &self.engine.locations;
        sys::fs::sync_filesystem(&stage.data())?;
        failpoint::reach("volume.ready")?;
        self.engine.database.write(|transaction| {
            if !insert_at(transaction, name, false, &VolumeSettings::default(), created)? {
                return Err(is_there(name));
            }
            let attributes = [("driver", "local"), ("from", from)];
            events::record(transaction, "volume", action, name, &attributes)?;
            // What a dead process has left there is nobody's.
            sys::fs::remove_all(&locations.volume_directory(name))?;
            stage.place_volume(locations)?;
            failpoint::reach("volume.placed")?;
            Ok(())
        })?;
        failpoint::pass("volume.settled");
        stage.finish()?;
        self.inspect(name)
    }

    fn refuse_if_there(self, name: &str) -> Result<(), EngineError> {
        match self.inspect(name) {
            Ok(_there) => Err(is_there(name)),
            Err(EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn refuse_unless_fillable(self, there: &Volume) -> Result<(), EngineError> {
        if options::recipe(&there.options).is_some() {
            return Err(EngineError::Conflict {
                message: format!(
                    "cannot import into {}: its content is elsewhere, where its options say",
                    there.name
                ),
                hint: Some("import into a new volume".into()),
            });
        }
        if let Some(user) = self.users_alive(&there.name)?.first() {
            return Err(EngineError::Conflict {
                message: format!(
                    "cannot import into {}: the container {} runs with it",
                    there.name, user.name
                ),
                hint: Some("import into a new volume".into()),
            });
        }
        let mut entries = match std::fs::read_dir(&there.mountpoint) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => {
                entries.map_err(|error| SysError::io("read the directory", &there.mountpoint, &error))?
            }
        };
        if entries.next().is_some() {
            return Err(not_empty(&there.name));
        }
        Ok(())
    }
}

fn is_there(name: &str) -> EngineError {
    EngineError::Conflict {
        message: format!("there is a volume {name} already"),
        hint: Some(format!(
            "choose another name, or remove it first: 'volume rm {name}'"
        )),
    }
}

fn not_empty(name: &str) -> EngineError {
    EngineError::Conflict {
        message: format!("cannot import into {name}: there is something in it"),
        hint: Some("import into a new volume".into()),
    }
}
