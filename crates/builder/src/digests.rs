//! Digests of context files, remembered by what stat(2) says of them.
//!
//! A file that was changed less than two seconds before the look could be changed again without its times telling
//! (their grain may be coarse, and clocks differ); such a digest is used but not remembered, as git does it.

use crate::error::Failure;
use crate::source::{Item, Kind};
use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};
use state::{Database, StateError};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use sys::SysError;
use sys::path::Tree;

const RACY: i64 = 2_000_000_000;
/// From this many files on, one scan over a range of inodes is cheaper than a look-up for each.
const SCAN_FROM: usize = 256;

/// Fills in the digests of all regular files. `base` is where the items lie in the tree. With a database, digests
/// are taken from it and added to it.
pub(crate) fn fill(
    tree: &Tree,
    base: &Path,
    items: &mut [Item],
    database: Option<&Database>,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<(), Failure> {
    let now = crate::cache::now();
    if let Some(database) = database {
        recall(database, items)?;
    }
    let missing: Vec<usize> = (0..items.len())
        .filter(|&index| items[index].kind == Kind::File && items[index].digest.is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let digests = hash_all(tree, base, items, &missing, cancelled)?;
    for (index, digest) in missing.iter().zip(&digests) {
        let item = &mut items[*index];
        item.digest = Some(*digest);
        item.unsettled = item.mtime.max(item.ctime) >= now - RACY;
    }
    if let Some(database) = database {
        let fresh: Vec<&Item> = missing
            .iter()
            .map(|&index| &items[index])
            .filter(|item| !item.unsettled)
            .collect();
        remember(database, &fresh, now)?;
    }
    Ok(())
}

fn recall(database: &Database, items: &mut [Item]) -> Result<(), StateError> {
    let wanted: Vec<usize> = (0..items.len())
        .filter(|&index| items[index].kind == Kind::File)
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    database.read(|connection| {
        if wanted.len() < SCAN_FROM {
            let mut query = connection.prepare_cached(
                "SELECT size, mtime, ctime, digest FROM file_digests WHERE device = ?1 AND inode = ?2",
            )?;
            for index in wanted {
                let item = &mut items[index];
                let mut rows = query.query((item.device.cast_signed(), item.inode.cast_signed()))?;
                if let Some(row) = rows.next()? {
                    take(item, row, 0)?;
                }
            }
            return Ok(());
        }
        // Rows come in the order of the key; the files are brought into the same order and met in one pass.
        let mut files: Vec<(i64, i64, usize)> = wanted
            .into_iter()
            .map(|index| {
                let item = &items[index];
                (item.device.cast_signed(), item.inode.cast_signed(), index)
            })
            .collect();
        files.sort_unstable();
        let mut scan = connection.prepare_cached(
            "SELECT inode, size, mtime, ctime, digest FROM file_digests
             WHERE device = ?1 AND inode BETWEEN ?2 AND ?3 ORDER BY inode",
        )?;
        for files in files.chunk_by(|a, b| a.0 == b.0) {
            let (Some(first), Some(last)) = (files.first(), files.last()) else {
                continue;
            };
            let mut rows = scan.query((first.0, first.1, last.1))?;
            let mut files = files.iter().peekable();
            while let Some(row) = rows.next()? {
                let found: i64 = row.get(0)?;
                while files.next_if(|file| file.1 < found).is_some() {}
                while let Some(file) = files.next_if(|file| file.1 == found) {
                    take(&mut items[file.2], row, 1)?;
                }
                if files.peek().is_none() {
                    break;
                }
            }
        }
        Ok(())
    })
}

/// Takes a remembered digest if the file is still the one that it was computed of.
fn take(item: &mut Item, row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<()> {
    let known = (row.get(first)?, row.get(first + 1)?, row.get(first + 2)?);
    if known == (item.size.cast_signed(), item.mtime, item.ctime)
        && let Ok(digest) = row.get_ref(first + 3)?.as_blob()?.try_into()
    {
        item.digest = Some(digest);
    }
    Ok(())
}

fn remember(database: &Database, items: &[&Item], now: i64) -> Result<(), StateError> {
    if items.is_empty() {
        return Ok(());
    }
    database.write(|transaction| {
        let mut insert = transaction.prepare_cached(
            "INSERT OR REPLACE INTO file_digests (device, inode, size, mtime, ctime, digest, used)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for item in items {
            let digest: &[u8] = item.digest.as_ref().map_or(&[], |digest| digest);
            insert.execute((
                item.device.cast_signed(),
                item.inode.cast_signed(),
                item.size.cast_signed(),
                item.mtime,
                item.ctime,
                digest,
                now,
            ))?;
        }
        Ok(())
    })
}

/// Hashes files on as many threads as there are processors.
fn hash_all(
    tree: &Tree,
    base: &Path,
    items: &[Item],
    wanted: &[usize],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<[u8; 32]>, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let digests = Mutex::new(vec![[0; 32]; wanted.len()]);
    let work = || -> Result<(), Failure> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(&index) = wanted.get(position) else {
                return Ok(());
            };
            if cancelled() {
                return Err(Failure::Cancelled);
            }
            let path = items[index].below(base);
            let digest = hash(open(tree, &path)?, &path, &mut buffer, cancelled)?;
            digests.lock().unwrap_or_else(PoisonError::into_inner)[position] = digest;
        }
    };
    if wanted.len() < 8 {
        work()?;
    } else {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            others
                .into_iter()
                .map(|other| other.join().unwrap_or(Err(Failure::Elsewhere)))
                .fold(own, Result::and)
        })?;
    }
    Ok(digests.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Hashes one file.
pub(crate) fn of_file(tree: &Tree, path: &Path, cancelled: &dyn Fn() -> bool) -> Result<[u8; 32], Failure> {
    hash(open(tree, path)?, path, &mut vec![0; 128 * 1024], cancelled)
}

/// Opens a source file for reading; never waits on a FIFO that has taken its place.
pub(crate) fn open(tree: &Tree, path: &Path) -> Result<OwnedFd, SysError> {
    tree.open_at(
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
    )
}

fn hash(
    file: OwnedFd,
    path: &Path,
    buffer: &mut [u8],
    cancelled: &dyn Fn() -> bool,
) -> Result<[u8; 32], Failure> {
    let mut file = File::from(file);
    let mut context = Context::new(&SHA256);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(*crate::cache::finish(context).as_bytes()),
            Ok(length) => context.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SysError::io("read", path, &error).into()),
        }
        if cancelled() {
            return Err(Failure::Cancelled);
        }
    }
}
