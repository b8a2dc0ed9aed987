//! Files at trusted host paths: the store's, the state's, the user's. Errors name the path.

use crate::SysError;
use crate::path::Tree;
use rustix::fs::{
    Mode, OFlags, RenameFlags, fchmod, fstat, fsync, open, rename, renameat_with, syncfs, unlink,
};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `content` to `path` so that a reader sees the old content or the new, never half: a temporary file in the
/// same directory, mode `mode`, fsynced, renamed over `path`, and the directory fsynced.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), SysError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::on("write", path)(Errno::INVAL));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}.{number}.tmp", std::process::id()));
    let temporary = directory.join(temporary);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = open(&temporary, flags, Mode::RUSR | Mode::WUSR).map_err(SysError::on("make", &temporary))?;
    let mut file = File::from(file);
    let written = (|| {
        file.write_all(content)
            .map_err(|error| SysError::io("write", &temporary, &error))?;
        fchmod(&file, Mode::from_raw_mode(mode)).map_err(SysError::on("set the mode of", &temporary))?;
        fsync(&file).map_err(SysError::on("sync", &temporary))?;
        rename(&temporary, path).map_err(SysError::on("rename a new file over", path))
    })();
    if written.is_err() {
        // The first failure is the one to report; a leftover is overwritten by the next writer with this name.
        unlink(&temporary).unwrap_or_default();
        return written;
    }
    sync_directory(if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    })
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SysError> {
    let file =
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(SysError::on("open", path))?;
    read_limited(file, limit, path)
}

/// Reads what is left of an open file, an error if it is more than `limit` bytes.
pub(crate) fn read_limited(file: OwnedFd, limit: u64, path: &Path) -> Result<Vec<u8>, SysError> {
    let size = fstat(&file).map_err(SysError::on("look at", path))?.st_size;
    let size = u64::try_from(size).unwrap_or(0).min(limit);
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    File::from(file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| SysError::io("read", path, &error))?;
    if content.len() as u64 > limit {
        return Err(SysError::on("read", path)(Errno::FBIG));
    }
    Ok(content)
}

/// Makes a directory and what is missing above it, each with `mode`; what is there stays as it is.
pub fn create_directories(path: &Path, mode: u32) -> Result<(), SysError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| SysError::io("make the directory", path, &error))
}

/// Removes a file or a directory with all that is in it; that it is not there is no error.
pub fn remove_all(path: &Path) -> Result<(), SysError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::on("remove", path)(Errno::INVAL));
    };
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    match Tree::open(directory) {
        Ok(tree) => tree.remove_all(Path::new(name)),
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        Err(error) => Err(error),
    }
}

/// Renames a file or directory to a name that must be free; the error is `EEXIST` if it is not.
pub fn rename_to_new(from: &Path, to: &Path) -> Result<(), SysError> {
    let cwd = rustix::fs::CWD;
    match renameat_with(cwd, from, cwd, to, RenameFlags::NOREPLACE) {
        // Some filesystems do not know the flag. Renaming a directory then fails on a directory that is not empty.
        Err(Errno::INVAL) => match rustix::fs::lstat(to) {
            Err(Errno::NOENT) => rename(from, to),
            Ok(_) => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        },
        result => result,
    }
    .map_err(SysError::on("rename something to", to))
}

/// Returns once the disk has the directory's entries.
pub fn sync_directory(path: &Path) -> Result<(), SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty()).map_err(SysError::on("open", path))?;
    fsync(directory).map_err(SysError::on("sync", path))
}

/// Returns once the disk has everything that was written to the filesystem that `path` is on.
pub fn sync_filesystem(path: &Path) -> Result<(), SysError> {
    let file =
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(SysError::on("open", path))?;
    syncfs(file).map_err(SysError::on("sync the filesystem of", path))
}

/// Starts writing what is in a file's cached pages and not on the disk yet, and waits until it is written; the disk's own
/// cache is not asked. From then on whoever writes into the file by a mapping of it changes its ctime again
/// (`sync_file_range(2)`).
pub fn write_out(file: BorrowedFd<'_>) -> Result<(), SysError> {
    let flags =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: it takes numbers only, the descriptor is open as long as it is borrowed, and no memory is touched.
    let answer = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) };
    if answer == 0 {
        Ok(())
    } else {
        Err(SysError::of("write a file's pages to the disk")(
            crate::process::last_errno(),
        ))
    }
}

/// Gives the calling thread a umask of its own, and clears it, so that files get exactly the modes that are asked
/// for. Call it on threads made for the purpose: it also parts the thread's working directory from the others'.
pub fn clear_own_umask() -> Result<(), SysError> {
    // SAFETY: CLONE_FS only parts this thread's umask, working directory and root from the other threads'; no
    // descriptor, memory or identity that other code relies on is touched (unshare(2)).
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }
        .map_err(SysError::of("give a thread its own umask"))?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// Returns this boot's id from `/proc/sys/kernel/random/boot_id`, 36 characters.
pub fn boot_id() -> Result<String, SysError> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let path = PathBuf::from("/proc/sys/kernel/random/boot_id");
    let content = read(&path, 64)?;
    let boot = String::from_utf8_lossy(&content).trim().to_owned();
    if boot.len() != 36 {
        return Err(SysError::on("make sense of", path)(Errno::INVAL));
    }
    Ok(BOOT.get_or_init(|| boot).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn writing_replaces_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomically(&path, b"old", 0o644).unwrap();
        write_atomically(&path, b"new", 0o600).unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"new");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::create_dir(&path).unwrap();
        assert!(write_atomically(&path, b"new", 0o600).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomically(&path, b"1234", 0o600).unwrap();
        assert_eq!(read(&path, 3).unwrap_err().errno, Errno::FBIG);
        assert_eq!(
            read(Path::new("/proc/self/status"), 1 << 20).unwrap().first(),
            Some(&b'N')
        );
    }

    #[test]
    fn renaming_does_not_replace() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        assert_eq!(rename_to_new(&a, &b).unwrap_err().errno, Errno::EXIST);
        remove_all(&b).unwrap();
        remove_all(&b).unwrap();
        rename_to_new(&a, &b).unwrap();
    }

    #[test]
    fn a_boot_has_an_id() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
