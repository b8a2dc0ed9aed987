use super::*;
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn owners_modes_and_links_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::create_dir(&target).unwrap();
    std::fs::write(source.join("deep/file"), b"content").unwrap();
    std::fs::hard_link(source.join("deep/file"), source.join("twin")).unwrap();
    symlink("/etc/shadow", source.join("link")).unwrap();
    std::os::unix::fs::chown(source.join("deep/file"), Some(1000), Some(1001)).unwrap();
    std::fs::set_permissions(source.join("deep/file"), PermissionsExt::from_mode(0o4711)).unwrap();
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&source, Some(7), Some(8)).unwrap();
    let opened = std::fs::File::open(&source).unwrap();
    copy_tree(opened.as_fd(), &target).unwrap();
    let file = std::fs::metadata(target.join("deep/file")).unwrap();
    assert_eq!(
        (file.uid(), file.gid(), file.mode() & 0o7777),
        (1000, 1001, 0o4711)
    );
    assert_eq!(std::fs::read(target.join("deep/file")).unwrap(), b"content");
    assert_eq!(std::fs::metadata(target.join("twin")).unwrap().ino(), file.ino());
    assert_eq!(
        std::fs::read_link(target.join("link")).unwrap(),
        Path::new("/etc/shadow")
    );
    let top = std::fs::metadata(&target).unwrap();
    assert_eq!((top.uid(), top.gid(), top.mode() & 0o777), (7, 8, 0o700));
    assert!(target.join("deep/er").is_dir());
}

fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&target).unwrap();
    (directory, source, target)
}

fn open(path: &Path) -> std::fs::File {
    std::fs::File::open(path).unwrap()
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn holes_attributes_fifos_and_odd_names_are_kept_and_sockets_counted() {
    let (_directory, source, target) = pair();
    let file = std::fs::File::create(source.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 32 << 20).unwrap();
    fsetxattr(&file, "user.note", b"kept", XattrFlags::empty()).unwrap();
    let odd = OsStr::from_bytes(b"odd\xff\nname");
    std::fs::write(source.join(odd), b"odd").unwrap();
    mknodat(
        CWD,
        source.join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let report = copy_tree(open(&source).as_fd(), &target).unwrap();
    drop(socket);
    assert_eq!((report.files, report.sockets), (2, 1));
    let sparse = std::fs::metadata(target.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 64 << 20);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    let read = std::fs::read(target.join("sparse")).unwrap();
    assert_eq!(&read[32 << 20..][..6], b"middle");
    let mut value = [0; 8];
    let copy = open(&target.join("sparse"));
    assert_eq!(fgetxattr(&copy, "user.note", &mut value[..]).unwrap(), 4);
    assert_eq!(std::fs::read(target.join(odd)).unwrap(), b"odd");
    let fifo = std::fs::symlink_metadata(target.join("fifo")).unwrap();
    assert_eq!(fifo.mode(), 0o010_640);
    assert!(!target.join("socket").exists());
}

#[test]
fn a_second_pass_does_over_what_has_changed() {
    let (_directory, source, target) = pair();
    std::fs::create_dir_all(source.join("d/e")).unwrap();
    for name in ["kept", "same", "changed", "gone", "d/moved", "becomes-directory"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    symlink("one", source.join("link")).unwrap();
    // Nothing that is so new would be trusted.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut copier = Copier::new(&target, None, &|| false);
    let first = copier.first_pass(open(&source).as_fd()).unwrap();
    assert_eq!(first.files, 6);
    let before = inode(&target.join("kept"));
    // Of the same size, and with its old time.
    let changed = source.join("changed");
    let modified = std::fs::metadata(&changed).unwrap().modified().unwrap();
    std::fs::write(&changed, "CHANGED").unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&changed).unwrap();
    file.set_modified(modified).unwrap();
    std::fs::remove_file(source.join("gone")).unwrap();
    std::fs::rename(source.join("d/moved"), source.join("d/e/moved")).unwrap();
    std::fs::remove_file(source.join("becomes-directory")).unwrap();
    std::fs::create_dir(source.join("becomes-directory")).unwrap();
    std::fs::remove_file(source.join("link")).unwrap();
    symlink("two", source.join("link")).unwrap();
    std::fs::write(source.join("new"), "new").unwrap();
    std::fs::hard_link(source.join("same"), source.join("twin")).unwrap();
    let second = copier.pass(open(&source).as_fd()).unwrap();
    assert_eq!(second.files, 5, "a further name is no further file");
    assert_eq!(inode(&target.join("kept")), before, "it was copied once more");
    assert_eq!(std::fs::read(target.join("changed")).unwrap(), b"CHANGED");
    assert!(!target.join("gone").exists() && !target.join("d/moved").exists());
    assert_eq!(std::fs::read(target.join("d/e/moved")).unwrap(), b"d/moved");
    assert!(target.join("becomes-directory").is_dir());
    assert_eq!(std::fs::read_link(target.join("link")).unwrap(), Path::new("two"));
    assert_eq!(std::fs::read(target.join("new")).unwrap(), b"new");
    assert_eq!(inode(&target.join("twin")), inode(&target.join("same")));
    assert_eq!(std::fs::read(target.join("same")).unwrap(), b"same");
}

/// A page that is dirty already can be written to without a change of the file's times.
#[test]
fn what_a_program_writes_through_a_mapping_is_seen() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&target).unwrap();
    assert!(
        tells_changes(open(&source).as_fd()),
        "/var/tmp is to be on ext4 or one of its kind"
    );
    std::fs::write(source.join("mapped"), vec![b'0'; 8192]).unwrap();
    let script = "import mmap, sys\n\
                  f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0)\n\
                  for i in b'12':\n\
                  \x20 m[0] = i; print(flush=True); sys.stdin.readline()\n";
    let mut program = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(source.join("mapped"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = std::io::BufReader::new(program.stdout.take().unwrap()).lines();
    let mut tell = program.stdin.take().unwrap();
    told.next().unwrap().unwrap();
    // Until its time is one to be trusted.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut copier = Copier::new(&target, None, &|| false);
    copier.first_pass(open(&source).as_fd()).unwrap();
    assert_eq!(std::fs::read(target.join("mapped")).unwrap()[0], b'1');
    tell.write_all(b"\n").unwrap();
    told.next().unwrap().unwrap();
    copier.pass(open(&source).as_fd()).unwrap();
    assert_eq!(std::fs::read(target.join("mapped")).unwrap()[0], b'2');
    drop(tell);
    program.wait().unwrap();
}

#[test]
fn what_is_the_same_in_the_previous_copy_is_shared_and_nothing_else() {
    let (directory, source, target) = pair();
    for name in ["same", "other-content", "other-mode", "other-attribute"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    std::fs::write(source.join("one"), "one").unwrap();
    std::fs::hard_link(source.join("one"), source.join("two")).unwrap();
    copy_tree(open(&source).as_fd(), &target).unwrap();
    let path = source.join("other-content");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "OTHER-CONTENT").unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    std::fs::set_permissions(source.join("other-mode"), PermissionsExt::from_mode(0o600)).unwrap();
    let file = open(&source.join("other-attribute"));
    fsetxattr(&file, "user.note", b"new", XattrFlags::empty()).unwrap();
    // Two names of one file become two files with the same content and times.
    let modified = std::fs::metadata(source.join("two")).unwrap().modified().unwrap();
    std::fs::remove_file(source.join("two")).unwrap();
    std::fs::write(source.join("two"), "one").unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(source.join("two"))
        .unwrap();
    file.set_modified(modified).unwrap();
    let next = directory.path().join("next");
    std::fs::create_dir(&next).unwrap();
    let mut copier = Copier::new(&next, Some(&target), &|| false);
    // As where blocks cannot be shared.
    copier.reflinks = false;
    let report = copier.pass(open(&source).as_fd()).unwrap();
    let shared = |name: &str| inode(&next.join(name)) == inode(&target.join(name));
    assert!(shared("same"));
    for name in ["other-content", "other-mode", "other-attribute"] {
        assert!(!shared(name), "{name}");
    }
    assert_ne!(inode(&next.join("one")), inode(&next.join("two")));
    assert_eq!(report.shared, 4 + 3);
    assert_eq!(
        std::fs::read(next.join("other-content")).unwrap(),
        b"OTHER-CONTENT"
    );
}
