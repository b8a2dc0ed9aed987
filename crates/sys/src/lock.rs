//! Advisory locks (flock(2)) on files: they die with the last descriptor, so a killed process holds none.
//!
//! A lock's file may be unlinked by whoever holds its lock exclusively: a taker that waited on the unlinked file
//! notices and takes the new one instead.

use crate::SysError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How often a busy lock is tried again, so that somebody who merely looked ([`Lock::is_held`] takes the lock for
/// the blink of an eye) is not mistaken for a holder.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_micros(500);

/// An exclusive or shared flock, released when dropped. A child that inherits the descriptor shares the lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits until nobody else holds the file's lock. The file is made if it is not there.
    pub fn exclusive(path: &Path) -> Result<Self, SysError> {
        Self::wait(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody holds the file's lock exclusively.
    pub fn shared(path: &Path) -> Result<Self, SysError> {
        Self::wait(path, FlockOperation::LockShared)
    }

    /// Takes the lock if it is free; `None` if somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, SysError> {
        Self::attempt(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock if nobody holds it exclusively, else `None`.
    pub fn try_shared(path: &Path) -> Result<Option<Self>, SysError> {
        Self::attempt(path, FlockOperation::NonBlockingLockShared)
    }

    fn attempt(path: &Path, operation: FlockOperation) -> Result<Option<Self>, SysError> {
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let file = open_for_locking(path)?;
            match without_interrupts(&file, operation) {
                Ok(()) if is_still(&file, path)? => return Ok(Some(Self { file: file.into() })),
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(SysError::on("lock", path)(errno)),
            }
        }
        Ok(None)
    }

    /// Says whether somebody holds the lock of `path` exclusively; a file that is not there is not locked.
    pub fn is_held(path: &Path) -> Result<bool, SysError> {
        let file = match open(
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(SysError::on("open the lock", path)(errno)),
        };
        // Shared, so that two who look at once do not see each other.
        match without_interrupts(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(SysError::on("lock", path)(errno)),
        }
    }

    /// Returns the descriptor that carries the lock, to hand it to a child.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn wait(path: &Path, operation: FlockOperation) -> Result<Self, SysError> {
        loop {
            let file = open_for_locking(path)?;
            without_interrupts(&file, operation).map_err(SysError::on("lock", path))?;
            if is_still(&file, path)? {
                return Ok(Self { file: file.into() });
            }
        }
    }
}

fn open_for_locking(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open(path, flags, Mode::RUSR | Mode::WUSR).map_err(SysError::on("open the lock", path))
}

fn without_interrupts(file: &OwnedFd, operation: FlockOperation) -> rustix::io::Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Says whether `path` still names the locked file.
fn is_still(file: &OwnedFd, path: &Path) -> Result<bool, SysError> {
    let held = fstat(file).map_err(SysError::on("look at", path))?;
    match stat(path) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(SysError::on("look at", path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn one_holder_at_a_time_and_the_lock_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!Lock::is_held(&path).unwrap());
        let held = Lock::exclusive(&path).unwrap();
        assert!(Lock::is_held(&path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(!Lock::is_held(&path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn shared_holders_keep_an_exclusive_one_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let (first, second) = (Lock::shared(&path).unwrap(), Lock::shared(&path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop((first, second));
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn a_holder_may_unlink_the_file_while_others_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = Lock::exclusive(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                        inside.fetch_sub(1, Ordering::SeqCst);
                        // From here on others take the next file, while this one is still locked.
                        std::fs::remove_file(&path).unwrap();
                        drop(lock);
                    }
                });
            }
        });
    }

    #[test]
    fn looking_does_not_get_in_the_way_of_taking() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        drop(Lock::exclusive(&path).unwrap());
        for _ in 0..200 {
            assert!(!Lock::is_held(&path).unwrap());
            assert!(Lock::try_exclusive(&path).unwrap().is_some());
        }
    }
}
