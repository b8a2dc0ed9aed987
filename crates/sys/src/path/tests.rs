use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn tree() -> (tempfile::TempDir, Tree, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(directory.path().join("canary"), "outside").unwrap();
    let tree = Tree::open(&root).unwrap();
    (directory, tree, root)
}

#[test]
fn links_and_dots_stay_inside() {
    let (_directory, tree, root) = tree();
    std::fs::write(root.join("canary"), "inside").unwrap();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    symlink("../../../../canary", root.join("a/up")).unwrap();
    symlink("/canary", root.join("a/absolute")).unwrap();
    symlink("/", root.join("top")).unwrap();
    for path in [
        "a/up",
        "/a/absolute",
        "top/canary",
        "../canary",
        "a/b/../../../../canary",
        "//canary",
        "top/a/up",
    ] {
        assert_eq!(tree.read(Path::new(path), 10).unwrap(), b"inside", "{path}");
        assert_eq!(
            tree.resolve(Path::new(path)).unwrap(),
            Path::new("/canary"),
            "{path}"
        );
    }
}

#[test]
fn magic_links_are_not_followed() {
    let tree = Tree::open(Path::new(&format!("/proc/{}", std::process::id()))).unwrap();
    let error = tree
        .open_at(Path::new("exe"), OFlags::RDONLY, Mode::empty())
        .unwrap_err();
    assert_eq!(error.errno, Errno::LOOP);
}

#[test]
fn only_regular_files_of_the_right_size_are_read() {
    let (_directory, tree, root) = tree();
    tree.make_node(Path::new("fifo"), FileType::Fifo, Mode::RUSR, 0)
        .unwrap();
    tree.make_node(
        Path::new("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    std::fs::write(root.join("big"), [0; 11]).unwrap();
    std::fs::create_dir(root.join("directory")).unwrap();
    for (path, errno) in [
        ("fifo", Errno::INVAL),
        ("null", Errno::INVAL),
        ("big", Errno::FBIG),
        ("directory", Errno::ISDIR),
        ("nothing", Errno::NOENT),
    ] {
        assert_eq!(tree.read(Path::new(path), 10).unwrap_err().errno, errno, "{path}");
    }
}

#[test]
fn parents() {
    let (_directory, tree, root) = tree();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    symlink("a/b", root.join("link")).unwrap();
    for (path, name) in [
        ("x", "x"),
        ("/x", "x"),
        ("a/x", "x"),
        ("/link/x", "x"),
        ("link", "link"),
        ("../x", "x"),
    ] {
        assert_eq!(
            tree.parent(Path::new(path)).unwrap().1,
            OsStr::new(name),
            "{path}"
        );
    }
    for path in ["", "/", "a/", "a/.", "a/..", ".", ".."] {
        assert_eq!(
            tree.parent(Path::new(path)).unwrap_err().errno,
            Errno::INVAL,
            "{path}"
        );
    }
    assert_eq!(
        tree.parent(Path::new("nothing/x")).unwrap_err().errno,
        Errno::NOENT
    );
}

#[test]
fn directories_are_made_inside_with_mode_and_owner() {
    let (directory, tree, root) = tree();
    symlink("/made/by/../link", root.join("absolute")).unwrap();
    symlink("../../../../up", root.join("up")).unwrap();
    let mode = Mode::from_raw_mode(0o2775);
    for (path, made) in [
        ("x/y/z", "x/y/z"),
        ("x/y/z", "x/y/z"),
        ("absolute/q", "made/link/q"),
        ("up/w", "up_target"),
        ("/", ""),
    ] {
        let made_path = if path == "up/w" {
            root.join("up")
        } else {
            root.join(made)
        };
        if path == "up/w" {
            // The link leads to itself when `..` stops at the root.
            assert_eq!(
                tree.create_dir_all(Path::new(path), mode, (7, 8))
                    .unwrap_err()
                    .errno,
                Errno::LOOP
            );
            continue;
        }
        let made = tree.create_dir_all(Path::new(path), mode, (7, 8)).unwrap();
        let (by_fd, by_path) = (fstat(made).unwrap(), std::fs::metadata(&made_path).unwrap());
        assert_eq!(
            (by_fd.st_dev, by_fd.st_ino),
            (by_path.dev(), by_path.ino()),
            "{path}"
        );
        if path != "/" {
            assert_eq!(
                (by_path.uid(), by_path.gid(), by_path.mode() & 0o7777),
                (7, 8, 0o2775),
                "{path}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        2,
        "something was made outside"
    );
    std::fs::write(root.join("file"), "").unwrap();
    assert_eq!(
        tree.create_dir_all(Path::new("file/x"), mode, (0, 0))
            .unwrap_err()
            .errno,
        Errno::NOTDIR
    );
}

#[test]
fn resolving_keeps_what_is_missing() {
    let (_directory, tree, root) = tree();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    symlink("a/b", root.join("link")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("gone/away", root.join("dangling")).unwrap();
    for (path, leads) in [
        ("", "/"),
        ("/", "/"),
        ("link/x/y", "/a/b/x/y"),
        ("link/x/../y", "/a/b/y"),
        ("link/x/../../y", "/a/y"),
        ("dangling/x", "/gone/away/x"),
        ("link/..", "/a"),
    ] {
        assert_eq!(tree.resolve(Path::new(path)).unwrap(), Path::new(leads), "{path}");
    }
    assert_eq!(tree.resolve(Path::new("loop")).unwrap_err().errno, Errno::LOOP);
}

#[test]
fn removing_follows_no_link_and_minds_no_depth() {
    let (directory, tree, root) = tree();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "").unwrap();
    std::fs::create_dir_all(root.join("top/wide")).unwrap();
    symlink(&outside, root.join("top/link")).unwrap();
    symlink("../../outside", root.join("top/wide/link")).unwrap();
    for number in 0..300 {
        std::fs::write(root.join(format!("top/wide/{number}")), "").unwrap();
        std::fs::create_dir(root.join(format!("top/wide/d{number}"))).unwrap();
    }
    // Deeper than a path can say and than descriptors may be open.
    let mut here = tree
        .create_dir_all(Path::new("top/deep"), Mode::RWXU, (0, 0))
        .unwrap();
    for _ in 0..3000 {
        mkdirat(&here, "deep", Mode::RWXU).unwrap();
        here = openat(
            &here,
            "deep",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
    }
    tree.remove_all(Path::new("top")).unwrap();
    tree.remove_all(Path::new("top")).unwrap();
    tree.remove_all(Path::new("nothing/at/all")).unwrap();
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    assert!(outside.join("file").exists());
}

#[test]
fn removing_does_not_cross_into_a_mount() {
    let (directory, tree, root) = tree();
    let outside = directory.path().join("outside");
    std::fs::create_dir_all(root.join("top/mount")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "").unwrap();
    rustix::mount::mount_bind(&outside, root.join("top/mount")).unwrap();
    let outcome = tree.remove_all(Path::new("top"));
    rustix::mount::unmount(root.join("top/mount"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(outcome.unwrap_err().errno, Errno::XDEV);
    assert!(outside.join("file").exists());
}

#[test]
fn what_is_set_is_set_on_the_link_itself() {
    let (directory, tree, _root) = tree();
    let canary = directory.path().join("canary");
    let before = std::fs::metadata(&canary).unwrap();
    let link = Path::new("link");
    tree.symlink(canary.as_os_str(), link).unwrap();
    assert_eq!(tree.read_link(link).unwrap(), canary.as_os_str());
    tree.set_owner(link, (5, 6)).unwrap();
    let time = rustix::fs::Timespec {
        tv_sec: 77,
        tv_nsec: 5,
    };
    tree.set_times(
        link,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )
    .unwrap();
    tree.set_mode(link, Mode::RWXU).unwrap_err();
    tree.set_xattr(link, OsStr::new("trusted.mark"), b"1").unwrap();
    assert_eq!(
        tree.xattrs(link).unwrap(),
        [(OsString::from("trusted.mark"), b"1".to_vec())]
    );
    let stat = tree.stat(link, false).unwrap();
    assert_eq!(
        (stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec),
        (5, 6, 77, 5)
    );
    let after = std::fs::metadata(&canary).unwrap();
    assert_eq!(
        (before.uid(), before.mtime_nsec(), before.mode()),
        (after.uid(), after.mtime_nsec(), after.mode())
    );
}

#[test]
fn files_are_made_only_where_nothing_is() {
    let (_directory, tree, root) = tree();
    symlink("target", root.join("link")).unwrap();
    assert_eq!(
        tree.create_file(Path::new("link"), Mode::RUSR).unwrap_err().errno,
        Errno::EXIST
    );
    tree.create_file(Path::new("file"), Mode::from_raw_mode(0o4666))
        .unwrap();
    assert_eq!(
        std::fs::metadata(root.join("file")).unwrap().permissions().mode() & 0o7777,
        0o4666
    );
    tree.hard_link(Path::new("file"), Path::new("second")).unwrap();
    tree.rename(Path::new("second"), Path::new("third")).unwrap();
    let names: Vec<_> = tree
        .entries(Path::new("/"))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["file", "link", "third"]);
}
