//! This very program, as a descriptor that no container can write through.

use crate::SysError;
use crate::mount::{self, Attributes, MountAttrFlags, Propagation};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::OpenTreeFlags;
use std::os::fd::{AsFd, OwnedFd};

const OWN_PROGRAM: &str = "/proc/self/exe";

/// Opens the running program so that whoever executes it by this descriptor cannot be used to overwrite it
/// (CVE-2019-5736): a detached read-only mount of the file, or a sealed memfd copy where that is not allowed.
pub fn open_sealed() -> Result<OwnedFd, SysError> {
    match read_only_mount() {
        Ok(program) => Ok(program),
        // Not root, an older or confined kernel, or a program that itself was started from a detached mount.
        Err(_) => sealed_copy(),
    }
}

/// `/proc/self/exe` is a magic link, so the copy is of the very file that runs, whatever has become of its name. The
/// read-only flag belongs to the detached mount, which no mount namespace holds, so nobody can remount it.
fn read_only_mount() -> Result<OwnedFd, SysError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy =
        rustix::mount::open_tree(CWD, OWN_PROGRAM, flags).map_err(SysError::on("copy mount", OWN_PROGRAM))?;
    let attributes = Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
        propagation: Some(Propagation::Private),
        ..Attributes::default()
    };
    mount::set_attributes(copy.as_fd(), attributes, false)?;
    // The descriptor of open_tree(2) is O_PATH; execveat(2) takes it as it is.
    Ok(copy)
}

fn sealed_copy() -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let program =
        rustix::fs::open(OWN_PROGRAM, flags, Mode::empty()).map_err(SysError::on("open", OWN_PROGRAM))?;
    let size = rustix::fs::fstat(&program)
        .map_err(SysError::on("stat", OWN_PROGRAM))?
        .st_size;
    let copy = executable_memfd()?;
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    while left > 0 {
        match rustix::fs::sendfile(&copy, &program, None, left).map_err(SysError::on("copy", OWN_PROGRAM))? {
            0 => break,
            written => left = left.saturating_sub(written),
        }
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(SysError::of("seal copy of the program"))?;
    Ok(copy)
}

/// Kernels since 6.3 want to hear that a memfd will be executed (`vm.memfd_noexec`); older ones do not know the flag.
fn executable_memfd() -> Result<OwnedFd, SysError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create(c"program", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(c"program", flags))
        .map_err(SysError::of("make memfd"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::descriptor_path;
    use rustix::io::Errno;

    /// Opening for writing what runs from the descriptor must fail, and it must be this program.
    fn check(program: &OwnedFd) {
        let path = descriptor_path(program.as_fd());
        let own = std::fs::read(OWN_PROGRAM).unwrap();
        assert!(std::fs::read(&path).unwrap() == own);
        let refused = rustix::fs::open(&path, OFlags::WRONLY, Mode::empty());
        match refused {
            Err(errno) => assert!([Errno::ROFS, Errno::TXTBSY].contains(&errno), "{errno}"),
            Ok(file) => assert_eq!(rustix::io::write(file, b"x"), Err(Errno::PERM)),
        }
    }

    #[test]
    fn privileged_mount_of_the_program_is_read_only() {
        let program = read_only_mount().unwrap();
        check(&program);
        // A file that runs cannot be written anyway; this is for when it no longer does.
        let flags = rustix::fs::fstatvfs(&program).unwrap().f_flag;
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    }

    #[test]
    fn copy_of_the_program_is_sealed() {
        check(&sealed_copy().unwrap());
    }
}
