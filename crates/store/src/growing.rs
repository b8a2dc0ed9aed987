//! A layer's blob while it is made: one writes, others read what is there already.

use crate::blobs::create;
use crate::root::Temporary;
use crate::tree_tar::Hashed;
use crate::{Gzip, Layer, Lease, Store, StoreError, TarError};
use oci::Digest;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use sys::SysError;

/// The type of the blobs that are made here.
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Readers are told of so many new bytes at once.
const STEP: usize = 128 << 10;

/// A file that becomes a blob. Readers wait for what is not there yet.
#[derive(Debug)]
pub struct Growing {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
    /// Removed with the value, unless it has become the blob.
    path: Temporary,
}

#[derive(Debug, Default)]
struct State {
    length: u64,
    end: Option<End>,
}

#[derive(Debug, Clone)]
enum End {
    Whole(Digest),
    /// Why there is no more.
    Broken(String),
}

impl Growing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Reads from a place, and waits until there is something; 0 is the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let available = loop {
            match &state.end {
                Some(End::Broken(why)) => return Err(io::Error::other(why.clone())),
                _ if state.length > offset => break state.length - offset,
                Some(End::Whole(_)) => return Ok(0),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        let count = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        self.file.read_at(&mut buffer[..count], offset)
    }

    /// Returns digest and size if it is whole.
    pub fn known(&self) -> Option<(Digest, u64)> {
        let state = self.state();
        match state.end {
            Some(End::Whole(digest)) => Some((digest, state.length)),
            _ => None,
        }
    }

    /// Waits until it is whole.
    pub fn finish(&self) -> io::Result<(Digest, u64)> {
        let mut state = self.state();
        loop {
            match &state.end {
                Some(End::Whole(digest)) => return Ok((*digest, state.length)),
                Some(End::Broken(why)) => return Err(io::Error::other(why.clone())),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Ends it early: nobody wants it any more. Who makes it notices.
    pub fn give_up(&self) {
        self.end(End::Broken("it was given up".to_owned()));
    }
}

/// The writing end.
struct Grow<'a> {
    growing: &'a Growing,
    waiting: Vec<u8>,
}

impl Write for Grow<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(data);
        if self.waiting.len() >= STEP {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.growing.file).write_all(&self.waiting)?;
        let mut state = self.growing.state();
        if let Some(End::Broken(why)) = &state.end {
            return Err(io::Error::other(why.clone()));
        }
        state.length += self.waiting.len() as u64;
        drop(state);
        self.growing.changed.notify_all();
        self.waiting.clear();
        Ok(())
    }
}

impl Store {
    /// Begins a blob for [`Store::compress_layer`].
    pub fn begin_layer_blob(&self, lease: &Lease) -> Result<Growing, StoreError> {
        let path = lease.temporary()?;
        Ok(Growing {
            file: create(&path.0)?,
            state: Mutex::default(),
            changed: Condvar::new(),
            path,
        })
    }

    /// Compresses a layer's tar into `growing` and keeps it as a blob of the layer, of the type [`LAYER_TYPE`]. Its
    /// readers are told how that ended.
    pub fn compress_layer(
        &self,
        lease: &Lease,
        layer: &Layer,
        growing: &Growing,
        gzip: &Gzip,
    ) -> Result<(Digest, u64), StoreError> {
        let made = self.compress(lease, layer, growing, gzip);
        growing.end(match &made {
            Ok((digest, _)) => End::Whole(*digest),
            Err(error) => End::Broken(error.to_string()),
        });
        made
    }

    fn compress(
        &self,
        lease: &Lease,
        layer: &Layer,
        growing: &Growing,
        gzip: &Gzip,
    ) -> Result<(Digest, u64), StoreError> {
        let path = &growing.path.0;
        let failed = |error: io::Error| SysError::io("write", path, &error);
        let into = Hashed::new(Grow {
            growing,
            waiting: Vec::with_capacity(2 * STEP),
        });
        let mut stream = gzip.stream(into).map_err(failed)?;
        self.write_layer_tar(layer, &mut stream)?;
        let mut hashed = stream
            .finish()
            .map_err(|error| StoreError::Tar(TarError::Write(error)))?;
        hashed.flush().map_err(failed)?;
        let digest = hashed.digest();
        let size = growing.state().length;
        sys::failpoint::reach("push.compressed")?;
        self.keep_layer_blob(lease, layer, path, (&digest, size), LAYER_TYPE)?;
        Ok((digest, size))
    }
}
