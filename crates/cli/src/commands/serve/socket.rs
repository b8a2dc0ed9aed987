//! The unix socket's file: who may open it, whose it is, and that it goes with its server.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The file of a socket on which we listen. It is removed with this, unless another server has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(_turn) = turn(&self.path) else { return };
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // What cannot be removed is found dead by the next server.
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Two servers that start at the same time look at the path one after the other.
fn turn(path: &Path) -> std::io::Result<OwnedFd> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// Listens for root alone, or for a group as well. A socket that nobody serves any more is replaced.
pub(super) fn listen(path: &Path, group: Option<u32>) -> Result<(UnixListener, SocketFile), Failure> {
    let failed = |error| Failure::file("cannot listen on", path, &error);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let _turn = turn(path).map_err(failed)?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(Failure::new(format!(
                "cannot listen on {}: there is something else than a socket",
                path.display()
            )));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(
                Failure::new(format!("another server listens on {} already", path.display()))
                    .with_hint("use that one, or name another socket with --host"),
            );
        }
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
    }
    // Nobody may slip in between bind and chmod: until then not even root's group can.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path).map_err(failed)?,
    };
    if let Some(group) = group {
        rustix::fs::chown(path, Some(Uid::ROOT), Some(Gid::from_raw(group)))
            .map_err(|errno| failed(errno.into()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        warn_of_barred_way(path, group);
    }
    Ok((listener, file))
}

/// Says so if the group cannot get to the socket.
fn warn_of_barred_way(path: &Path, group: u32) {
    let barred = path.ancestors().skip(1).find(|directory| {
        std::fs::metadata(directory).is_ok_and(|metadata| {
            let wanted = if metadata.gid() == group { 0o011 } else { 0o001 };
            metadata.mode() & wanted == 0
        })
    });
    if let Some(directory) = barred {
        crate::output::warning(&format!(
            "members of the group cannot reach {}: {} is closed to them; name another place with --host, such as unix:///run/coracle.sock",
            path.display(),
            directory.display()
        ));
    }
}

/// Finds a group by its name or number, in the host's own file.
pub(super) fn group_id(name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let path = Path::new("/etc/group");
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("cannot read", path, &error))?;
    find_group(&text, name).ok_or_else(|| {
        Failure::new(format!("there is no group '{name}' on this host"))
            .with_hint(format!("make it with: groupadd --system {name}"))
    })
}

fn find_group(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found() {
        let text = "root:x:0:\ndocker:x:998:anna,bert\nbroken\n";
        assert_eq!(find_group(text, "docker"), Some(998));
        assert_eq!(find_group(text, "dock"), None);
        assert_eq!(find_group(text, "broken"), None);
        assert_eq!(group_id("12").unwrap(), 12);
    }
}
