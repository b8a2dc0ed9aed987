//! A corpus of archives that attack who unpacks them: layers, and archives of images in both forms. Every one is made
//! from its number alone, so that a failure can be looked at again: `CORACLE_CORPUS_FROM=NUMBER CORACLE_CORPUS=1`.
//!
//! Whatever comes of an archive, what lies around the store stays as it is, a refusal leaves nothing in the store, and
//! neither time nor memory runs away. `make corpus` goes through more of them than a change has time for.

#![cfg(test)]

#[path = "corpus/images.rs"]
mod images;
#[path = "corpus/layers.rs"]
mod layers;
#[path = "corpus/numbers.rs"]
mod numbers;

mod fixture;

use fixture::{Fixture, LAYER, LAYER_GZIP, descriptor, sha256};
use numbers::Numbers;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use store::{Limits, Store, StoreError};

const SEED: u64 = 0xC0AC_1E00;
/// No archive of this size may take longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kilobytes that the whole process may ever have in memory.
const MOST_MEMORY: u64 = 128 << 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What must stay as it is.
struct Canaries {
    directory: PathBuf,
    before: Vec<String>,
}

impl Canaries {
    fn plant(above: &Path) -> Self {
        let directory = above.join("canaries");
        std::fs::create_dir_all(directory.join("etc")).unwrap();
        std::fs::write(directory.join("etc/passwd"), "root").unwrap();
        std::fs::write(directory.join("setuid"), "program").unwrap();
        std::fs::set_permissions(directory.join("setuid"), PermissionsExt::from_mode(0o4755)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let before = look(above);
        Self { directory, before }
    }
}

/// Everything about the files below a directory.
fn look(directory: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let about = std::fs::symlink_metadata(&path).unwrap();
        let content = if about.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        seen.push(format!(
            "{path:?} {:o} {}:{} {} {:?} {} {content:?}",
            about.mode(),
            about.uid(),
            about.gid(),
            about.nlink(),
            about.modified().unwrap(),
            about.ctime_nsec(),
        ));
        if about.is_dir() {
            seen.extend(look(&path));
        }
    }
    seen.sort();
    seen
}

enum Archive {
    Layer(Vec<u8>),
    Images(Vec<u8>),
}

fn archive(number: u64, outside: &str) -> Archive {
    let mut numbers = Numbers::of(SEED, number);
    let matrix = usize::try_from(number / 6).unwrap();
    match number % 6 {
        0 => Archive::Layer(layers::matrix(matrix, outside)),
        1 => Archive::Layer(layers::composed(&mut numbers, outside)),
        2 => Archive::Layer(layers::odd(&mut numbers)),
        3 => Archive::Layer(layers::whiteouts(&mut numbers)),
        4 => Archive::Images(images::docker(&mut numbers, outside)),
        _ => Archive::Images(images::layout(&mut numbers)),
    }
}

/// The most memory that this process has had, in kilobytes.
fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn play(store: &Store, archive: Archive, numbers: &mut Numbers) -> Result<(), StoreError> {
    match archive {
        Archive::Layer(tar) => {
            let lease = store.lease()?;
            let blob = images::packed(tar.clone(), numbers);
            let media_type = if blob.starts_with(&[0x1f, 0x8b]) {
                LAYER_GZIP
            } else {
                LAYER
            };
            let blob_descriptor = descriptor(media_type, &blob);
            store
                .unpack_layer(&lease, &blob_descriptor, &sha256(&tar), &mut || {
                    Ok(Box::new(Cursor::new(blob.clone())))
                })
                .map(|_layer| ())
        }
        Archive::Images(bytes) => store.load(&mut &bytes[..], &[]).map(|_loaded| ()),
    }
}

#[test]
fn no_archive_of_the_corpus_gets_out() {
    let above = tempfile::tempdir().unwrap();
    let canaries = Canaries::plant(above.path());
    let outside = canaries.directory.to_str().unwrap().to_owned();
    let fixture = Fixture::new();
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(fixture.root()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let names_before = names();
    // As strict as a corpus of small archives can bear, so that a bomb is seen as one.
    let store = fixture::open(fixture.root()).with_limits(Limits {
        members: 10_000,
        bytes: 64 << 20,
        ratio: 200,
        free_of_ratio: 8 << 20,
    });
    let (from, count) = (number("CORACLE_CORPUS_FROM", 0), number("CORACLE_CORPUS", 3000));
    let (mut taken, mut refused) = ([0_u64; 6], [0_u64; 6]);
    for archive_number in from..from + count {
        let mut numbers = Numbers::of(SEED ^ 1, archive_number);
        let family = usize::try_from(archive_number % 6).unwrap();
        let before = fixture.leftovers();
        let began = Instant::now();
        let outcome = play(&store, archive(archive_number, &outside), &mut numbers);
        let took = began.elapsed();
        let context = format!("archive {archive_number}: {outcome:?}");
        assert!(took < PATIENCE, "{context} after {took:?}");
        assert_eq!(look(above.path()), canaries.before, "{context} reached outside");
        match outcome {
            Ok(()) => taken[family] += 1,
            // Its blob is kept for the next attempt.
            Err(StoreError::NeedsParents { .. }) => refused[family] += 1,
            Err(error) => {
                assert!(error.to_string().len() > 10, "{context}: no reason");
                refused[family] += 1;
                let new = |path: &PathBuf| !before.contains(path);
                let left: Vec<_> = fixture.leftovers().into_iter().filter(new).collect();
                assert_eq!(left, Vec::<PathBuf>::new(), "{context}");
            }
        }
        if archive_number % 32 == 31 {
            sweep(&store, &fixture, &context);
        }
    }
    sweep(&store, &fixture, "the end");
    assert_eq!(names(), names_before);
    let peak = high_water();
    println!(
        "{count} archives from {from}: taken {taken:?}, refused {refused:?}, at most {peak} KB in memory"
    );
    assert!(peak < MOST_MEMORY, "{peak} KB");
    if count >= 600 {
        // A corpus that is all refused, or all taken, tries nothing.
        for family in 0..6 {
            assert!(taken[family] > 0 && refused[family] > 0, "family {family}");
        }
    }
}

/// Removes all images; then nothing may be left.
fn sweep(store: &Store, fixture: &Fixture, context: &str) {
    for image in store.images().unwrap() {
        store.remove_image(&image.id).unwrap();
    }
    for artifact in store.artifacts().unwrap() {
        store.remove_artifact(&artifact.digest).unwrap();
    }
    store.collect_garbage().unwrap();
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "{context}");
}

/// The corpus is worth something: who unpacks by path, as archivers may be told to, changes what lies around.
#[test]
fn an_archiver_that_follows_paths_is_caught() {
    let mut caught = 0;
    for number in (0..2400).step_by(6) {
        let above = tempfile::tempdir().unwrap();
        let canaries = Canaries::plant(above.path());
        let outside = canaries.directory.to_str().unwrap().to_owned();
        let Archive::Layer(tar) = archive(number, &outside) else {
            continue;
        };
        let into = above.path().join("store");
        std::fs::create_dir(&into).unwrap();
        let path = into.join("archive.tar");
        std::fs::write(&path, tar).unwrap();
        Command::new("tar")
            .args(["--extract", "--absolute-names", "--overwrite", "--file"])
            .arg(&path)
            .current_dir(&into)
            .output()
            .unwrap();
        caught += u32::from(look(above.path()) != canaries.before);
    }
    assert!(caught > 50, "only {caught} of 400");
}
