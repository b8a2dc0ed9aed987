//! Layers that try to get out, or to leave something behind.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, LAYER_GZIP, Tar, descriptor, gzip, sha256};
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use store::{ExtractError, Limits, StoreError};

/// Puts something into the tar that a later path may lead over.
type Prepare = Box<dyn Fn(Tar) -> Tar>;
/// Adds a member at a path.
type Add = Box<dyn Fn(Tar, &str) -> Tar>;

/// Things outside the layer that must stay as they are.
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
        let before = Self::look(&directory);
        Self { directory, before }
    }

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
                "{path:?} {:o} {} {} {:?} {} {content:?}",
                about.mode(),
                about.uid(),
                about.nlink(),
                about.modified().unwrap(),
                about.ctime_nsec(),
            ));
            if about.is_dir() {
                seen.extend(Self::look(&path));
            }
        }
        seen.sort();
        seen
    }

    fn check(&self, what: &str) {
        assert_eq!(Self::look(&self.directory), self.before, "{what} reached outside");
    }
}

#[test]
fn no_kind_of_member_gets_out_by_any_way() {
    let fixture = Fixture::new();
    let canaries = Canaries::plant(fixture.root());
    let outside = canaries.directory.to_str().unwrap().to_owned();
    let up = "../".repeat(20);
    let ways: Vec<(&str, Prepare, String)> = vec![
        ("absolute path", Box::new(|tar| tar), format!("{outside}/etc/new")),
        (
            "path over ..",
            Box::new(|tar| tar),
            format!("{up}{outside}/etc/new"),
        ),
        (
            "inner ..",
            Box::new(|tar: Tar| tar.directory("a")),
            format!("a/{up}{outside}/etc/passwd"),
        ),
        (
            "absolute link",
            Box::new({
                let o = outside.clone();
                move |tar: Tar| tar.symlink("l", &o)
            }),
            "l/etc/passwd".into(),
        ),
        (
            "relative link",
            Box::new({
                let o = format!("{up}{outside}");
                move |tar: Tar| tar.symlink("l", &o[o.len().saturating_sub(99)..])
            }),
            "l/etc/passwd".into(),
        ),
        (
            "link to a link",
            Box::new({
                let o = outside.clone();
                move |tar: Tar| tar.symlink("a", &o).symlink("b", "a").symlink("l", "b/etc")
            }),
            "l/passwd".into(),
        ),
        (
            "directory replaced by a link",
            Box::new({
                let o = outside.clone();
                move |tar: Tar| {
                    tar.directory("l")
                        .directory("l/etc")
                        .file("l/etc/x", "")
                        .symlink("l", &o)
                }
            }),
            "l/etc/passwd".into(),
        ),
        (
            "last name is a link",
            Box::new({
                let o = format!("{outside}/etc/passwd");
                move |tar: Tar| tar.symlink("l", &o)
            }),
            "l".into(),
        ),
        (
            "last name is a link to a directory",
            Box::new({
                let o = outside.clone();
                move |tar: Tar| tar.symlink("l", &o)
            }),
            "l".into(),
        ),
        (
            "hard link to a link",
            Box::new({
                let o = format!("{outside}/etc/passwd");
                move |tar: Tar| tar.symlink("a", &o).hard_link("l", "a")
            }),
            "l".into(),
        ),
    ];
    let kinds: Vec<(&str, Add)> = vec![
        ("file", Box::new(|tar, path| tar.file(path, "owned"))),
        (
            "directory",
            Box::new(|tar: Tar, path: &str| tar.raw(b'5', path.as_bytes(), b"", 0o777, b"")),
        ),
        ("symlink", Box::new(|tar, path| tar.symlink(path, "/owned"))),
        (
            "hard link",
            Box::new(|tar: Tar, path: &str| tar.file("own", "owned").hard_link(path, "own")),
        ),
        (
            "hard link and write",
            Box::new({
                let o = outside.clone();
                move |tar: Tar, path: &str| {
                    tar.hard_link(path, &format!("{o}/etc/passwd"))
                        .file(path, "owned")
                }
            }),
        ),
        ("fifo", Box::new(|tar, path| tar.node(b'6', path, (0, 0)))),
        (
            "character device",
            Box::new(|tar, path| tar.node(b'3', path, (1, 3))),
        ),
        (
            "block device",
            Box::new(|tar, path| tar.node(b'4', path, (7, 200))),
        ),
        (
            "whiteout",
            Box::new(|tar: Tar, path: &str| {
                let (above, name) = path
                    .rsplit_once('/')
                    .map_or((String::new(), path), |(a, n)| (format!("{a}/"), n));
                tar.file(&format!("{above}.wh.{name}"), "")
            }),
        ),
        (
            "opaque mark",
            Box::new(|tar: Tar, path: &str| {
                let above = path
                    .rsplit_once('/')
                    .map_or(String::new(), |(above, _)| format!("{above}/"));
                tar.file(&format!("{above}.wh..wh..opq"), "")
            }),
        ),
        (
            "setuid and attributes",
            Box::new(|tar: Tar, path: &str| {
                tar.pax(&[("SCHILY.xattr.user.owned", b"1"), ("mtime", b"1")])
                    .raw(b'0', path.as_bytes(), b"", 0o6777, b"owned")
            }),
        ),
    ];
    let mut tried = 0;
    for (way, prepare, path) in &ways {
        for (kind, add) in &kinds {
            if path.len() > 99 {
                // A header's name field holds no more; the same way with a PAX path.
                let lease = fixture.store.lease().unwrap();
                let tar = add(prepare(Tar::default()).pax(&[("path", path.as_bytes())]), "short").finish();
                let outcome = fixture.unpack(&lease, &tar);
                canaries.check(&format!("{kind} by {way}: {outcome:?}"));
                tried += 1;
                continue;
            }
            let lease = fixture.store.lease().unwrap();
            let tar = add(prepare(Tar::default()), path).finish();
            let outcome = fixture.unpack(&lease, &tar);
            canaries.check(&format!("{kind} by {way}: {outcome:?}"));
            tried += 1;
        }
    }
    assert_eq!(tried, ways.len() * kinds.len());
    fixture.store.collect_garbage().unwrap();
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_in_the_way_is_replaced_and_not_written_through() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = Tar::default()
        .file("target", "kept")
        .symlink("link", "target")
        .file("link", "new")
        .node(b'6', "fifo", (0, 0))
        .file("fifo", "file now")
        .hard_link("second", "target")
        .file("second", "apart")
        .directory("directory")
        .file("directory/inside", "")
        .file("directory", "file now")
        .file("was-file", "")
        .directory("was-file")
        .file("was-file/inside", "x")
        .finish();
    let layer = fixture.unpack(&lease, &tar).unwrap();
    let read = |name: &str| std::fs::read_to_string(fixture.layer(&layer).join(name)).unwrap();
    assert_eq!(read("target"), "kept");
    assert_eq!(read("link"), "new");
    assert_eq!(read("fifo"), "file now");
    assert_eq!(read("second"), "apart");
    assert_eq!(read("directory"), "file now");
    assert_eq!(read("was-file/inside"), "x");
}

#[test]
fn links_inside_a_layer_are_followed_inside_it() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = Tar::default()
        .directory("usr")
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/one", "1")
        .symlink("var", "/usr")
        .file("var/lib/two", "2")
        .file("lib/deep/er/three", "3")
        .finish();
    let layer = fixture.unpack(&lease, &tar).unwrap();
    for (name, content) in [("one", "1"), ("two", "2"), ("deep/er/three", "3")] {
        let path = fixture.layer(&layer).join("usr/lib").join(name);
        assert_eq!(std::fs::read_to_string(path).unwrap(), content);
    }
}

#[test]
fn refused_members_leave_nothing() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let long = "x".repeat(300);
    for (what, tar) in [
        ("nameless whiteout", Tar::default().file("a/.wh.", "")),
        ("whiteout of .", Tar::default().file("a/.wh..", "")),
        ("whiteout of ..", Tar::default().file("a/.wh...", "")),
        ("below a whiteout", Tar::default().file(".wh.a/b", "")),
        ("whiteout device", Tar::default().node(b'3', "a", (0, 0))),
        ("out", Tar::default().file("../a", "")),
        ("hard link out", Tar::default().hard_link("a", "../b")),
        (
            "hard link to a directory",
            Tar::default().directory("b").hard_link("a", "b"),
        ),
        ("hard link to the root", Tar::default().hard_link("a", "/")),
        (
            "root is a file",
            Tar::default()
                .file("/", "")
                .file("a", "")
                .raw(b'2', b"./", b"x", 0o777, b""),
        ),
        ("file above", Tar::default().file("a", "").file("a/b", "")),
        (
            "long name",
            Tar::default().pax(&[("path", long.as_bytes())]).file("x", ""),
        ),
        ("unknown kind", Tar::default().raw(b'Z', b"a", b"", 0o644, b"")),
        ("empty link", Tar::default().symlink("a", "")),
        (
            "two sizes",
            Tar::default().pax(&[("size", b"0")]).file("a", "some"),
        ),
        (
            "NUL in a path",
            Tar::default().pax(&[("path", b"a\0b")]).file("x", ""),
        ),
        ("extension before nothing", Tar::default().pax(&[("path", b"a")])),
        (
            "two extensions",
            Tar::default()
                .pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("x", ""),
        ),
        (
            "global path",
            Tar::default()
                .raw(b'g', b"g", b"", 0o644, b"9 path=a\n")
                .file("x", ""),
        ),
        (
            "directory with data",
            Tar::default().raw(b'5', b"a", b"", 0o755, b"hidden"),
        ),
    ] {
        let tar = Tar::default()
            .file("before", "x")
            .0
            .into_iter()
            .chain(tar.finish())
            .collect::<Vec<u8>>();
        let error = fixture.unpack(&lease, &tar).expect_err(what);
        assert!(matches!(error, StoreError::Extract { .. }), "{what}: {error:?}");
        assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "{what}");
    }
}

#[test]
fn cut_short_or_damaged_archives_leave_nothing() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = Tar::default()
        .directory("d")
        .file("d/f", &"content".repeat(300))
        .finish();
    for length in [1, 511, 512, 513, 1000, 1024, 1500, 2048, 2500, 3000] {
        if length % 512 == 0 && (length == 512 || length == tar.len()) {
            // Exactly between members: the end mark is missing, which is allowed.
            continue;
        }
        fixture.unpack(&lease, &tar[..length]).expect_err("cut short");
    }
    for at in [0, 100, 124, 148, 156, 257, 600] {
        let mut damaged = tar.clone();
        damaged[at] ^= 0x55;
        fixture.unpack(&lease, &damaged).expect_err("damaged header");
    }
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_blob_must_be_what_it_is_announced_as() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = Tar::default().file("f", &"content".repeat(5000)).finish();
    let packed = gzip(&tar);
    let good = descriptor(LAYER_GZIP, &packed);
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let other = Tar::default().file("g", "").finish();
    let unpack = |blob: &oci::Descriptor, diff_id: &oci::Digest, content: &[u8]| {
        let content = content.to_vec();
        fixture.store.unpack_layer(&lease, blob, diff_id, &mut || {
            Ok(Box::new(Cursor::new(content.clone())))
        })
    };
    let diff_id = sha256(&tar);
    for (what, outcome) in [
        ("one bit flipped", unpack(&good, &diff_id, &damaged)),
        ("cut short", unpack(&good, &diff_id, &packed[..packed.len() - 20])),
        (
            "too long",
            unpack(&good, &diff_id, &[&packed[..], &packed[..]].concat()),
        ),
        ("another blob", unpack(&good, &diff_id, &gzip(&other))),
        ("another tar", unpack(&good, &sha256(&other), &packed)),
    ] {
        outcome.expect_err(what);
        assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "{what}");
    }
    unpack(&good, &diff_id, &packed).unwrap();
    let wrong_type = descriptor("application/vnd.in-toto+json", &packed);
    assert!(matches!(
        unpack(&wrong_type, &sha256(&other), &packed),
        Err(StoreError::MediaType(_))
    ));
}

#[test]
fn bombs_are_stopped() {
    let fixture = Fixture::new();
    let store = fixture::open(fixture.root()).with_limits(Limits {
        members: 100,
        bytes: 1 << 20,
        ratio: 50,
        free_of_ratio: 64 << 10,
    });
    let lease = store.lease().unwrap();
    let mut many = Tar::default();
    for number in 0..101 {
        many = many.file(&number.to_string(), "");
    }
    let zeros = "\0".repeat(1 << 20);
    for (what, tar) in [
        ("members", many.finish()),
        ("ratio", Tar::default().file("zeros", &zeros).finish()),
    ] {
        let packed = gzip(&tar);
        let outcome = store.unpack_layer(
            &lease,
            &descriptor(LAYER_GZIP, &packed),
            &sha256(&tar),
            &mut || Ok(Box::new(Cursor::new(packed.clone()))),
        );
        match outcome {
            Err(StoreError::Extract {
                source: ExtractError::Limit { .. },
                ..
            }) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "{what}");
    }
    let bytes = Tar::default().file("zeros", &zeros).file("more", "x").finish();
    assert!(matches!(
        fixture::unpack(&store, &lease, &bytes),
        Err(StoreError::Extract {
            source: ExtractError::Limit { .. },
            ..
        })
    ));
}

#[test]
fn modes_owners_attributes_and_devices_are_kept() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let owner: &[(&str, &[u8])] = &[("uid", b"3000000"), ("gid", b"12"), ("mtime", b"1234567890.125")];
    let tar = Tar::default()
        .pax(owner)
        .raw(b'5', b"d", b"", 0o3775, b"")
        .pax(owner)
        .raw(b'0', b"d/setuid", b"", 0o4755, b"x")
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.kept", b"yes"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ])
        .raw(b'0', b"ping", b"", 0o755, b"x")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .directory("e")
        .node(b'3', "null", (1, 3))
        .pax(owner)
        .symlink("link", "nowhere")
        .finish();
    let layer = fixture.unpack(&lease, &tar).unwrap();
    let about = |name: &str| std::fs::symlink_metadata(fixture.layer(&layer).join(name)).unwrap();
    for (name, mode) in [("d", 0o3775), ("d/setuid", 0o4755)] {
        let about = about(name);
        assert_eq!(
            (about.uid(), about.gid(), about.mode() & 0o7777),
            (3_000_000, 12, mode),
            "{name}"
        );
        assert_eq!(
            (about.mtime(), about.mtime_nsec()),
            (1_234_567_890, 125_000_000),
            "{name}"
        );
    }
    assert_eq!(about("link").uid(), 3_000_000);
    assert!(about("null").file_type().is_char_device());
    let tree = sys::path::Tree::open(&fixture.layer(&layer)).unwrap();
    let names = |path: &str| -> Vec<String> {
        let list = tree.xattrs(Path::new(path)).unwrap();
        list.into_iter()
            .map(|(name, _)| name.into_string().unwrap())
            .collect()
    };
    assert_eq!(names("ping"), ["security.capability", "user.kept"]);
    assert_eq!(names("e"), Vec::<String>::new());
}
