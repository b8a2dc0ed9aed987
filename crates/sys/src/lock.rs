//! Advisory locks (flock(2)) on files: they die with the last descriptor, so a killed process holds none.

use crate::SysError;
use std::fs::File;
use std::path::Path;

/// An exclusive or shared flock, released when dropped. A child that inherits the descriptor shares the lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits until nobody else holds the file's lock. The file is made if it is not there.
    pub fn exclusive(path: &Path) -> Result<Self, SysError> {
        todo!("{path:?}")
    }

    /// Waits until nobody holds the file's lock exclusively.
    pub fn shared(path: &Path) -> Result<Self, SysError> {
        todo!("{path:?}")
    }

    /// Takes the lock if it is free; `None` if somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, SysError> {
        todo!("{path:?}")
    }

    /// Says whether somebody holds the lock of `path`; a file that is not there is not locked.
    pub fn is_held(path: &Path) -> Result<bool, SysError> {
        todo!("{path:?}")
    }

    /// Returns the descriptor that carries the lock, to hand it to a child.
    pub fn file(&self) -> &File {
        &self.file
    }
}
