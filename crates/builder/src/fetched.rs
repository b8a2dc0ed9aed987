//! Contexts that are no directories: archives, and what lies on the web.

use crate::error::{BuildError, Failure, StepError};
use crate::git::{self, Fetch};
use crate::scratch::Scratch;
use crate::{Lock, ServiceError, Services, lock, pins};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Archive, Store};

/// So much of an input decides whether it is an archive.
const START: u64 = 64 << 10;
/// No Dockerfile is larger.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// A context in a directory that goes with this.
#[derive(Debug)]
pub struct FetchedContext<'a> {
    scratch: Scratch<'a>,
    path: PathBuf,
    /// What came was no archive but a Dockerfile: its text. The context is empty.
    pub dockerfile: Option<Vec<u8>>,
}

impl FetchedContext<'_> {
    /// Returns the context's directory.
    pub fn path(&self) -> PathBuf {
        self.scratch.directory().join(&self.path)
    }
}

/// Unpacks a context that comes as a stream: a tar, whatever it is compressed with, or a Dockerfile alone.
pub fn from_stream<'a>(store: &'a Store, input: &mut dyn Read) -> Result<FetchedContext<'a>, BuildError> {
    let failed = |error: &std::io::Error| {
        BuildError::Context(sys::SysError::io("read", Path::new("standard input"), error))
    };
    let lease = Arc::new(store.lease()?);
    let scratch = Scratch::new(store, &lease).map_err(context_error)?;
    let mut start = Vec::new();
    input
        .take(START)
        .read_to_end(&mut start)
        .map_err(|error| failed(&error))?;
    let sample = scratch.aside().join("start");
    std::fs::write(&sample, &start).map_err(|error| failed(&error))?;
    let is_archive = File::open(&sample)
        .and_then(Archive::recognise)
        .map_err(|error| failed(&error))?
        .is_some();
    let mut whole = Cursor::new(start).chain(input);
    let mut dockerfile = None;
    if is_archive {
        let directory = open(scratch.directory())?;
        store::unpack_into(
            directory,
            &mut whole,
            store::Owner::Given(0, 0),
            store::Clash::Refuse,
        )?;
    } else {
        let mut text = Vec::new();
        whole
            .take(LARGEST_DOCKERFILE + 1)
            .read_to_end(&mut text)
            .map_err(|error| failed(&error))?;
        if text.len() as u64 > LARGEST_DOCKERFILE {
            return Err(failed(&std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
        }
        dockerfile = Some(text);
    }
    Ok(FetchedContext {
        scratch,
        path: PathBuf::new(),
        dockerfile,
    })
}

/// Fetches a context by its address: a Git repository, or an archive or a Dockerfile on the web. With a lock file it is
/// what that says, or nothing.
pub fn from_address<'a>(
    store: &'a Store,
    services: &dyn Services,
    address: &str,
    keep_git_directory: bool,
    lock: Option<&(PathBuf, Lock)>,
) -> Result<FetchedContext<'a>, BuildError> {
    let wrong = |message: String| {
        context_error(StepError::Git {
            remote: address.to_owned(),
            message,
        })
    };
    if let Some(mut source) = git::parse(address).map_err(wrong)? {
        if keep_git_directory {
            source.keep_git_directory.get_or_insert(true);
        }
        if let Some((file, lock)) = lock
            && !source.is_pinned()
        {
            let commit = lock.commit(address);
            let commit = commit.ok_or_else(|| context_error(lock::unknown(address, file)))?;
            source.reference = Some(commit.to_owned());
        }
        let lease = Arc::new(store.lease()?);
        let scratch = Scratch::new(store, &lease).map_err(context_error)?;
        let fetch = Fetch {
            source: &source,
            into: scratch.directory(),
            aside: scratch.aside(),
            authorization: None,
            cancelled: &|| services.cancelled(),
        };
        let (path, _) = fetch.run().map_err(|failure| match failure {
            Failure::Step(error) => context_error(error),
            _ => BuildError::Cancelled,
        })?;
        return Ok(FetchedContext {
            scratch,
            path,
            dockerfile: None,
        });
    }
    let lease = Arc::new(store.lease()?);
    let scratch = Scratch::new(store, &lease).map_err(context_error)?;
    let locked = match lock {
        Some((name, lock)) => {
            let expected = lock.url(address);
            let expected = expected.ok_or_else(|| context_error(lock::unknown(address, name)))?;
            Some((name, *expected))
        }
        None => None,
    };
    let path = scratch.aside().join("context");
    let failed = |error: &std::io::Error| BuildError::Context(sys::SysError::io("write", &path, error));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| failed(&error))?;
    let into = file.try_clone().map_err(|error| failed(&error))?;
    services
        .download(address, None, into)
        .map_err(|error: ServiceError| context_error(error.into()))?;
    if let Some((name, expected)) = locked {
        let found = pins::of_download(&scratch, "context", &|| services.cancelled())?;
        if found != expected {
            return Err(context_error(StepError::Locked {
                address: address.to_owned(),
                file: name.display().to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            }));
        }
    }
    file.rewind().map_err(|error| failed(&error))?;
    from_stream(store, &mut file)
}

pub(crate) fn context_error(error: StepError) -> BuildError {
    BuildError::RemoteContext(Box::new(error))
}

fn open(path: &Path) -> Result<std::os::fd::OwnedFd, BuildError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(|errno| BuildError::Context(sys::SysError::on("open the directory", path)(errno)))
}
