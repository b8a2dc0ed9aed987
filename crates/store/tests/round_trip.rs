//! A layer is the same before and after its journey as a tar, whatever is in it.

#![cfg(test)]

mod fixture;

use fixture::Fixture;
use proptest::prelude::*;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use store::Times;

/// Something to put into a layer.
#[derive(Debug, Clone)]
enum Thing {
    Directory,
    Fifo,
    File(Vec<u8>),
    HardLink(usize),
    Opaque,
    Sparse(u64),
    Symlink(String),
    Whiteout,
    Xattr(Vec<u8>),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-c]",
        2 => "[ -.0-~]{1,20}".prop_filter("not a name", |name| !matches!(name.as_str(), "." | "..") && !name.starts_with(".wh.")),
        1 => "[a-zä€]{80,120}".prop_filter("too long", |name| name.len() < 255),
    ]
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => Just(Thing::Directory),
        1 => Just(Thing::Fifo),
        4 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(Thing::File),
        2 => (0..20_usize).prop_map(Thing::HardLink),
        1 => Just(Thing::Opaque),
        1 => (0..3_000_000_u64).prop_map(Thing::Sparse),
        2 => "[a-z/.]{1,150}".prop_map(Thing::Symlink),
        2 => Just(Thing::Whiteout),
        1 => prop::collection::vec(any::<u8>(), 1..200).prop_map(Thing::Xattr),
    ]
}

type Member = (Vec<String>, Thing, u32, u32, i32);

fn place(
    root: &Path,
    (path, thing, mode, owner, time): &Member,
    made: &mut Vec<std::path::PathBuf>,
) -> std::io::Result<()> {
    let path = path.iter().fold(root.to_owned(), |path, name| path.join(name));
    std::fs::create_dir_all(path.parent().unwrap())?;
    let tree = sys::path::Tree::open(root).unwrap();
    let inside = path.strip_prefix(root).unwrap();
    match thing {
        Thing::Directory => std::fs::create_dir(&path)?,
        Thing::Fifo => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR)?,
        Thing::File(content) if !path.exists() => std::fs::write(&path, content)?,
        Thing::HardLink(of) if !made.is_empty() => std::fs::hard_link(&made[of % made.len()], &path)?,
        Thing::Opaque => {
            std::fs::create_dir(&path)?;
            tree.set_xattr(inside, "trusted.overlay.opaque".as_ref(), b"y")
                .unwrap();
        }
        Thing::Sparse(size) if !path.exists() => std::fs::File::create(&path)?.set_len(*size)?,
        Thing::Symlink(target) => std::os::unix::fs::symlink(target, &path)?,
        Thing::Whiteout => {
            let kind = rustix::fs::FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::empty(), 0)?;
            return Ok(());
        }
        Thing::Xattr(value) => {
            std::fs::write(&path, "x")?;
            tree.set_xattr(inside, "user.mark".as_ref(), value)
                .map_err(|error| std::io::Error::from(error.errno))?;
        }
        _ => return Ok(()),
    }
    tree.set_owner(inside, (owner * 700_000, *owner)).unwrap();
    if !matches!(thing, Thing::Symlink(_)) && !path.is_symlink() {
        tree.set_mode(inside, rustix::fs::Mode::from_raw_mode(mode & 0o7777))
            .unwrap();
    }
    let time = rustix::fs::Timespec {
        tv_sec: (*time).into(),
        tv_nsec: 0,
    };
    tree.set_times(
        inside,
        &rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        },
    )
    .unwrap();
    if path.is_file() && !path.is_symlink() {
        made.push(path);
    }
    Ok(())
}

/// All that a layer's tree says, but for what the walk to it changes.
fn look(root: &Path) -> Vec<String> {
    fn visit(root: &Path, path: &Path, seen: &mut Vec<String>) {
        let tree = sys::path::Tree::open(root).unwrap();
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(root).unwrap();
            let about = std::fs::symlink_metadata(&path).unwrap();
            let is_whiteout = about.file_type().is_char_device();
            let content = if about.is_file() {
                fixture::sha256(&std::fs::read(&path).unwrap()).to_string()
            } else {
                String::new()
            };
            let time = if is_whiteout { 0 } else { about.mtime() };
            let mode = if is_whiteout { 0 } else { about.mode() };
            seen.push(format!(
                "{inside:?} {mode:o} {} {} {time} {} {content} {:?} {:?}",
                if is_whiteout { 0 } else { about.uid() },
                if is_whiteout { 0 } else { about.gid() },
                if about.is_dir() { 0 } else { about.nlink() },
                std::fs::read_link(&path).ok(),
                tree.xattrs(inside).unwrap(),
            ));
            if about.is_dir() {
                visit(root, &path, seen);
            }
        }
    }
    let mut seen = Vec::new();
    visit(root, root, &mut seen);
    seen.sort();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_comes_back_as_it_went(members in prop::collection::vec(
        (prop::collection::vec(name(), 1..5), thing(), any::<u32>(), 0..5_u32, any::<i32>()), 0..40)
    ) {
        let from = Fixture::new();
        let lease = from.store.lease().unwrap();
        let snapshot = from.store.begin_snapshot(&lease, &[]).unwrap();
        let mut made = Vec::new();
        for member in &members {
            // Two members may want one name; the first has it.
            place(&snapshot.upper, member, &mut made).unwrap_or_default();
        }
        let layer = from.store.commit_snapshot(&lease, snapshot, Times::AsFound).unwrap();
        let mut tar = Vec::new();
        from.store.write_layer_tar(&layer, &mut tar).unwrap();
        prop_assert_eq!(fixture::sha256(&tar), layer.diff_id);
        prop_assert_eq!(from.store.layer_tar_size(&layer).unwrap(), tar.len() as u64);

        let to = Fixture::new();
        let lease = to.store.lease().unwrap();
        let copy = to.unpack(&lease, &tar).unwrap();
        prop_assert_eq!(copy.size, layer.size);
        prop_assert_eq!(look(&from.layer(&layer)), look(&to.layer(&copy)));

        // And once more, from the directory alone.
        let again = to.store.begin_snapshot(&lease, &[]).unwrap();
        std::fs::remove_dir(&again.upper).unwrap();
        std::fs::rename(to.layer(&copy), &again.upper).unwrap();
        let mut rewritten = Vec::new();
        let second = Fixture::new();
        let second_lease = second.store.lease().unwrap();
        let moved = second.store.begin_snapshot(&second_lease, &[]).unwrap();
        std::fs::remove_dir(&moved.upper).unwrap();
        std::fs::rename(&again.upper, &moved.upper).unwrap();
        let remade = second.store.commit_snapshot(&second_lease, moved, Times::AsFound).unwrap();
        second.store.write_layer_tar(&remade, &mut rewritten).unwrap();
        prop_assert_eq!(remade.diff_id, layer.diff_id);
        prop_assert_eq!(rewritten, tar);
    }
}

#[test]
fn times_are_set_on_disk_as_in_the_tar() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    for (times, old, new) in [(Times::NoLaterThan(5000), 1000, 5000), (Times::Exactly(7), 7, 7)] {
        let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
        std::fs::create_dir(snapshot.upper.join("d")).unwrap();
        std::fs::write(snapshot.upper.join("d/new"), format!("{times:?}")).unwrap();
        std::fs::write(snapshot.upper.join("d/old"), "").unwrap();
        let file = std::fs::File::open(snapshot.upper.join("d/old")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000))
            .unwrap();
        let layer = fixture.store.commit_snapshot(&lease, snapshot, times).unwrap();
        let time = |name: &str| {
            std::fs::metadata(fixture.layer(&layer).join(name))
                .unwrap()
                .mtime()
        };
        assert_eq!((time("d/old"), time("d/new"), time("d")), (old, new, new));
    }
}
