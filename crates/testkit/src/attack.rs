//! What attacks are made with: things outside that nobody may touch, and somebody who swaps one path for another.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use std::fs;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// How often a race is tried; `make attacks` asks for more than continuous integration has time for.
const ROUNDS: &str = "CORACLE_ATTACK_ROUNDS";
/// A file to which each race adds the number of its swaps.
const TALLY: &str = "CORACLE_ATTACK_TALLY";
/// A race that was swapped less often than this was none.
const LEAST_SWAPS: u64 = 2000;

/// What is in the canary that an attack might read.
pub const SECRET: &str = "the canary's secret";

/// Returns how often a race is to be tried.
pub fn rounds() -> u32 {
    let asked = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(15)
}

/// A directory outside of every container: files, a FIFO, a setuid program. Whoever reads, changes, adds or removes
/// anything there has broken out.
#[derive(Debug)]
pub struct Canaries {
    directory: PathBuf,
    before: Vec<String>,
    watch: OwnedFd,
}

impl Canaries {
    /// Makes the directory and starts to watch it.
    pub fn plant(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        fs::create_dir_all(directory.join("etc")).expect("the canaries' directory is made");
        fs::create_dir(directory.join("empty")).expect("a directory is made");
        for (name, content, mode) in [
            ("secret", SECRET, 0o600),
            ("etc/passwd", "intruder:x:0:0::/:/bin/sh\n", 0o644),
            ("setuid", "#!/bin/false\n", 0o4755),
        ] {
            fs::write(directory.join(name), content).expect("a canary is written");
            fs::set_permissions(directory.join(name), PermissionsExt::from_mode(mode))
                .expect("it has its mode");
        }
        let fifo = directory.join("fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a FIFO is made");
        let before = Self::look(&directory);
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify works");
        let flags = WatchFlags::ACCESS
            | WatchFlags::OPEN
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE;
        for place in [&directory, &directory.join("etc"), &directory.join("empty")] {
            inotify::add_watch(&watch, place, flags).expect("a canary is watched");
        }
        Self {
            directory,
            before,
            watch,
        }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Panics if anything of it was read, changed, added or removed since the last time.
    #[track_caller]
    pub fn assert_untouched(&self, what: &str) {
        let events = self.events();
        assert!(events.is_empty(), "{what} was at the canaries: {events:?}");
        assert_eq!(
            Self::look(&self.directory),
            self.before,
            "{what} changed the canaries"
        );
        // What this look has caused itself.
        self.events();
    }

    /// Takes what has happened since the last time.
    fn events(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        let mut events = Vec::new();
        loop {
            let next = reader.next();
            if matches!(next, Err(Errno::AGAIN)) {
                return events;
            }
            let event = next.expect("inotify works");
            if !event.events().contains(ReadFlags::IGNORED) {
                events.push(format!("{:?} {:?}", event.file_name(), event.events()));
            }
        }
    }

    fn look(directory: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        for entry in fs::read_dir(directory)
            .expect("the canaries are listed")
            .flatten()
        {
            let path = entry.path();
            let about = fs::symlink_metadata(&path).expect("a canary is there");
            let content = if about.is_file() {
                fs::read(&path).expect("a canary is read")
            } else {
                Vec::new()
            };
            seen.push(format!(
                "{} {:o} {}:{} {} {}.{} {content:?}",
                path.display(),
                about.mode(),
                about.uid(),
                about.gid(),
                about.nlink(),
                about.ctime(),
                about.ctime_nsec(),
            ));
            if about.is_dir() {
                seen.extend(Self::look(&path));
            }
        }
        seen.sort();
        seen
    }
}

/// Swaps two paths for one another as fast as it can, until dropped.
#[derive(Debug)]
pub struct Swapper {
    done: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    /// Starts.
    pub fn start(one: impl Into<PathBuf>, other: impl Into<PathBuf>) -> Self {
        let (one, other) = (one.into(), other.into());
        let done = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (done, count) = (Arc::clone(&done), Arc::clone(&count));
            move || {
                while !done.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) < LEAST_SWAPS {
                    // What is attacked may be taken away meanwhile, by its test or its engine.
                    if rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self {
            done,
            count,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the swapping ends");
        }
        let count = self.count.load(Ordering::Relaxed);
        if let Some(tally) = std::env::var_os(TALLY) {
            let file = fs::OpenOptions::new().append(true).create(true).open(tally);
            writeln!(file.expect("the tally is opened"), "{count}").expect("the tally is written");
        }
        if !std::thread::panicking() {
            assert!(count >= LEAST_SWAPS, "only {count} swaps: that was no race");
        }
    }
}
