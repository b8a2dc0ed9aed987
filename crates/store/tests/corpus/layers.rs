//! Layers that try to get out: every kind of member by every way out, then ways and kinds at random, with headers that
//! disagree with themselves.

use super::fixture::{self, Tar};
use super::numbers::Numbers;

/// Ways to make a path lead out; the path then is [`Way::path`] of the victim's.
const WAYS: [Way; 14] = [
    Way::Absolute,
    Way::Up,
    Way::InnerUp,
    Way::Link,
    Way::LinkUp,
    Way::LinkToLink,
    Way::LinkToItself,
    Way::DirectoryThenLink,
    Way::LinkThenDirectory,
    Way::LastIsLink,
    Way::LastIsHardLink,
    Way::HardLinkToLink,
    Way::DotsAndSlashes,
    Way::LinkInLink,
];

#[derive(Debug, Clone, Copy)]
enum Way {
    Absolute,
    Up,
    InnerUp,
    Link,
    LinkUp,
    LinkToLink,
    LinkToItself,
    DirectoryThenLink,
    LinkThenDirectory,
    LastIsLink,
    LastIsHardLink,
    HardLinkToLink,
    DotsAndSlashes,
    LinkInLink,
}

/// What comes at that path.
const KINDS: [Kind; 13] = [
    Kind::File,
    Kind::EmptyFile,
    Kind::Setuid,
    Kind::Directory,
    Kind::Symlink,
    Kind::HardLink,
    Kind::HardLinkOutAndFile,
    Kind::Fifo,
    Kind::Character,
    Kind::Block,
    Kind::Whiteout,
    Kind::Opaque,
    Kind::Attributes,
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    File,
    EmptyFile,
    Setuid,
    Directory,
    Symlink,
    HardLink,
    HardLinkOutAndFile,
    Fifo,
    Character,
    Block,
    Whiteout,
    Opaque,
    Attributes,
}

/// How a path that a header has no room for, or any other, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Header,
    Pax,
    Gnu,
}

/// Things of the canary directory that somebody would like to have.
const VICTIMS: [&str; 5] = ["etc/passwd", "etc/new", "setuid", "fifo", "etc"];

/// So many archives are there of each kind by each way to each victim, in each spelling.
pub(crate) const MATRIX: usize = WAYS.len() * KINDS.len() * VICTIMS.len() * 3;

/// Returns one of the matrix.
pub(crate) fn matrix(number: usize, outside: &str) -> Vec<u8> {
    let number = number % MATRIX;
    let spelling = [Spelling::Header, Spelling::Pax, Spelling::Gnu][number % 3];
    let number = number / 3;
    let victim = VICTIMS[number % VICTIMS.len()];
    let number = number / VICTIMS.len();
    attack(
        Tar::default(),
        WAYS[number % WAYS.len()],
        KINDS[number / WAYS.len() % KINDS.len()],
        victim,
        spelling,
        outside,
        "",
    )
    .finish()
}

/// Returns several attacks in one layer, one on top of the other, often damaged afterwards.
pub(crate) fn composed(numbers: &mut Numbers, outside: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    for _ in 0..=numbers.below(5) {
        let way = WAYS[numbers.below(WAYS.len())];
        let kind = KINDS[numbers.below(KINDS.len())];
        let spelling = [Spelling::Header, Spelling::Pax, Spelling::Gnu][numbers.below(3)];
        let victim = VICTIMS[numbers.below(VICTIMS.len())];
        // The same names for all, or names of their own.
        let suffix = numbers.word(&["", "", "1", "2"]);
        tar = attack(tar, way, kind, victim, spelling, outside, suffix);
        tar = match numbers.below(8) {
            0 => tar.file("own", "x"),
            1 => tar.directory("a/b/c"),
            2 => tar.symlink("a/b", ".."),
            3 => odd_member(tar, numbers),
            _ => tar,
        };
    }
    let mut bytes = tar.finish();
    damage(&mut bytes, numbers);
    bytes
}

/// Returns a layer of members that disagree with themselves, or are too much of something.
pub(crate) fn odd(numbers: &mut Numbers) -> Vec<u8> {
    let mut tar = Tar::default().directory("d").file("d/f", "content");
    for _ in 0..=numbers.below(4) {
        tar = odd_member(tar, numbers);
    }
    let mut bytes = tar.finish();
    damage(&mut bytes, numbers);
    if numbers.one_in(6) {
        bytes.truncate(numbers.below(bytes.len()));
    }
    bytes
}

/// Returns a layer of whiteouts and things of their names.
pub(crate) fn whiteouts(numbers: &mut Numbers) -> Vec<u8> {
    let mut tar = Tar::default();
    for _ in 0..=numbers.below(10) {
        let directory = numbers.word(&["", "a/", "a/b/", "../", "/", "./", "a/../", ".wh.a/"]);
        let name = numbers.word(&[
            ".wh.",
            ".wh..",
            ".wh...",
            ".wh.a",
            ".wh.b",
            ".wh..wh..opq",
            ".wh..wh.x",
            ".wh..wh.plnk",
            ".wh./x",
            ".wh.a/../../x",
            "a",
            "b",
        ]);
        let path = format!("{directory}{name}");
        tar = match numbers.below(7) {
            0 => tar.directory(&path),
            1 => tar.symlink(&path, numbers.word(&["a", "/", "..", ".wh.a"])),
            2 => tar.hard_link(&path, numbers.word(&["a", "b", ".wh.a", "a/b"])),
            3 => tar.node(b'3', &path, (0, 0)),
            4 => tar
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                ])
                .directory(&path),
            _ => tar.file(&path, ""),
        };
    }
    tar.finish()
}

fn attack(
    tar: Tar,
    way: Way,
    kind: Kind,
    victim: &str,
    spelling: Spelling,
    outside: &str,
    suffix: &str,
) -> Tar {
    let up = "../".repeat(20);
    let l = format!("l{suffix}");
    let below = format!("{l}/{victim}");
    let inner = outside.trim_start_matches('/');
    let (tar, path) = match way {
        Way::Absolute => (tar, format!("{outside}/{victim}")),
        Way::Up => (tar, format!("{up}{inner}/{victim}")),
        Way::InnerUp => (tar.directory("a"), format!("a/{up}{inner}/{victim}")),
        Way::Link => (symlink(tar, &l, outside, spelling), below),
        Way::LinkUp => (symlink(tar, &l, &format!("{up}{inner}"), Spelling::Pax), below),
        Way::LinkToLink => (
            symlink(tar, "a", outside, spelling)
                .symlink("b", "a")
                .symlink(&l, "b"),
            below,
        ),
        Way::LinkToItself => (tar.symlink(&l, &l), below),
        Way::DirectoryThenLink => (
            symlink(
                tar.directory(&l)
                    .directory(&format!("{l}/etc"))
                    .file(&format!("{l}/etc/x"), ""),
                &l,
                outside,
                spelling,
            ),
            below,
        ),
        Way::LinkThenDirectory => (symlink(tar, &l, outside, spelling).directory(&l), below),
        Way::LastIsLink => (symlink(tar, &l, &format!("{outside}/{victim}"), spelling), l),
        Way::LastIsHardLink => (hard_link(tar, &l, &format!("{outside}/{victim}"), spelling), l),
        Way::HardLinkToLink => (
            symlink(tar, "a", &format!("{outside}/{victim}"), spelling).hard_link(&l, "a"),
            l,
        ),
        Way::DotsAndSlashes => (tar, format!(".//./a/..//{up}/{inner}//{victim}/.")),
        Way::LinkInLink => (
            symlink(tar.symlink(&l, "."), &format!("{l}/m"), outside, spelling),
            format!("m/{l}/../{victim}"),
        ),
    };
    member(tar, kind, &path, spelling, outside)
}

fn member(tar: Tar, kind: Kind, path: &str, spelling: Spelling, outside: &str) -> Tar {
    let add = |tar: Tar, flag: u8, path: &str, mode: u32, data: &[u8]| {
        let (tar, short) = spelled(tar, path, spelling);
        tar.raw(flag, short.as_bytes(), b"", mode, data)
    };
    let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
    match kind {
        Kind::File => add(tar, b'0', path, 0o666, b"owned"),
        Kind::EmptyFile => add(tar, b'0', path, 0, b""),
        Kind::Setuid => add(tar, b'0', path, 0o6777, b"owned"),
        Kind::Directory => add(tar, b'5', path, 0o1777, b""),
        Kind::Symlink => symlink(tar, path, "/owned", spelling),
        Kind::HardLink => hard_link(tar.file("own", "owned"), path, "own", spelling),
        Kind::HardLinkOutAndFile => add(
            hard_link(tar, path, &format!("{outside}/etc/passwd"), spelling),
            b'0',
            path,
            0o644,
            b"owned",
        ),
        Kind::Fifo => add(tar, b'6', path, 0o666, b""),
        Kind::Character | Kind::Block => {
            let flag = if matches!(kind, Kind::Character) {
                b'3'
            } else {
                b'4'
            };
            let (mut tar, short) = spelled(tar, path, spelling);
            tar.0
                .extend_from_slice(&fixture::header(flag, short.as_bytes(), b"", 0o666, 0, (7, 200)));
            tar
        }
        Kind::Whiteout => add(tar, b'0', &format!("{above}/.wh.{name}"), 0o644, b""),
        Kind::Opaque => add(tar, b'0', &format!("{above}/.wh..wh..opq"), 0o644, b""),
        Kind::Attributes => {
            // One extension for all, or the path would be lost.
            tar.pax(&[
                ("path", path.as_bytes()),
                ("SCHILY.xattr.user.owned", b"1"),
                (
                    "SCHILY.xattr.security.capability",
                    &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                ),
                ("mtime", b"1"),
                ("uid", b"12345"),
            ])
            .raw(b'0', b"x", b"", 0o6777, b"owned")
        }
    }
}

fn symlink(tar: Tar, path: &str, target: &str, spelling: Spelling) -> Tar {
    link(tar, b'2', path, target, spelling)
}

fn hard_link(tar: Tar, path: &str, target: &str, spelling: Spelling) -> Tar {
    link(tar, b'1', path, target, spelling)
}

fn link(tar: Tar, flag: u8, path: &str, target: &str, spelling: Spelling) -> Tar {
    match spelling {
        Spelling::Pax => tar
            .pax(&[("path", path.as_bytes()), ("linkpath", target.as_bytes())])
            .raw(flag, b"x", b"x", 0o777, b""),
        Spelling::Header if path.len() < 100 && target.len() < 100 => {
            tar.raw(flag, path.as_bytes(), target.as_bytes(), 0o777, b"")
        }
        Spelling::Header | Spelling::Gnu => tar
            .raw(
                b'K',
                b"././@LongLink",
                b"",
                0o644,
                &[target.as_bytes(), b"\0"].concat(),
            )
            .raw(
                b'L',
                b"././@LongLink",
                b"",
                0o644,
                &[path.as_bytes(), b"\0"].concat(),
            )
            .raw(flag, b"x", b"x", 0o777, b""),
    }
}

fn spelled(tar: Tar, path: &str, spelling: Spelling) -> (Tar, String) {
    match spelling {
        Spelling::Header if path.len() < 100 => (tar, path.to_owned()),
        Spelling::Pax => (tar.pax(&[("path", path.as_bytes())]), "x".to_owned()),
        Spelling::Header | Spelling::Gnu => (
            tar.raw(
                b'L',
                b"././@LongLink",
                b"",
                0o644,
                &[path.as_bytes(), b"\0"].concat(),
            ),
            "x".to_owned(),
        ),
    }
}

/// Adds a member that no archiver writes.
fn odd_member(tar: Tar, numbers: &mut Numbers) -> Tar {
    match numbers.below(16) {
        // Sizes that the extension and the header disagree on (CVE-2026-33055).
        0 => {
            let size = numbers.word(&[
                "0",
                "1",
                "511",
                "512",
                "99999999999999999999",
                "-1",
                "+5",
                "",
                "0x10",
                "5 ",
            ]);
            tar.pax(&[("size", size.as_bytes())]).file("sized", "hello")
        }
        1 => tar.pax(&[("path", b"a\0b")]).file("x", ""),
        2 => tar.pax(&[("path", b""), ("linkpath", b"")]).symlink("x", "y"),
        // The length of a record is wrong.
        3 => {
            let record = numbers.word(&[
                "5 path=../x\n",
                "999999999 path=x\n",
                "0 path=x\n",
                "path=x\n",
                "11 path=xy",
                "-3 path=x\n",
                "18446744073709551616 a=b\n",
                "9 path=x\n9 path=y\n",
                "\n",
            ]);
            tar.raw(b'x', b"PaxHeaders/x", b"", 0o644, record.as_bytes())
                .file("recorded", "")
        }
        4 => {
            let record = numbers.word(&[
                "9 path=a\n",
                "12 size=1000\n",
                "16 linkpath=/x\n",
                "20 hdrcharset=BIN\n",
            ]);
            tar.raw(b'g', b"global", b"", 0o644, record.as_bytes())
                .file("global", "x")
        }
        // Sizes in base 256, also below zero and beyond everything.
        5 => {
            let mut header = fixture::header(b'0', b"base256", b"", 0o644, 5, (0, 0));
            let first = [0x80, 0xff, 0x81, 0xc0][numbers.below(4)];
            header[124] = first;
            for byte in &mut header[125..136] {
                *byte = u8::try_from(numbers.below(256)).unwrap();
            }
            fixture::seal(&mut header);
            let mut tar = tar;
            tar.0.extend_from_slice(&header);
            tar.data(b"hello")
        }
        // Any type flag.
        6 => {
            let flag = u8::try_from(numbers.below(256)).unwrap();
            tar.raw(flag, b"flag", b"target", 0o644, b"data")
        }
        // GNU's sparse files, with maps that overlap, go backwards, or reach beyond the end.
        7 => {
            let map = numbers.word(&[
                "0,5",
                "0,5,3,5",
                "100,5,0,5",
                "0,99999999999",
                "9223372036854775807,5",
                "-1,5",
                "0,5,",
                "",
                "1",
                "0,0,0,0,0,0,5,0",
            ]);
            let size = numbers.word(&["5", "0", "100", "1099511627776", "9223372036854775807", "-5"]);
            tar.pax(&[
                ("GNU.sparse.major", b"0"),
                ("GNU.sparse.minor", b"1"),
                ("GNU.sparse.name", b"../sparse"),
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.size", size.as_bytes()),
            ])
            .file("sparse", "hello")
        }
        8 => {
            let data = numbers.word(&[
                "1\n0\n5\n",
                "0\n",
                "99999999\n0\n5\n",
                "1\n0\n",
                "x\n",
                "2\n0\n5\n0\n5\n",
            ]);
            tar.pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"70000"),
            ])
            .file("sparse1", data)
        }
        9 => {
            let mut header = fixture::header(b'S', b"oldsparse", b"", 0o644, 512, (0, 0));
            header[257..265].copy_from_slice(b"ustar  \0");
            for byte in &mut header[386..495] {
                *byte = b'0' + u8::try_from(numbers.below(8)).unwrap();
            }
            fixture::seal(&mut header);
            let mut tar = tar;
            tar.0.extend_from_slice(&header);
            tar.data(&[1; 512])
        }
        10 => tar
            .pax(&[("path", "p/".repeat(2500).as_bytes())])
            .file("x", "deep"),
        11 => tar.pax(&[("path", "n".repeat(300).as_bytes())]).file("x", "long"),
        // Two of one name, of different kinds; a FIFO that would block who opens it (CVE-2021-20291).
        12 => tar
            .node(b'6', "twice", (0, 0))
            .file("twice", "file")
            .directory("twice")
            .node(b'6', "twice", (0, 0)),
        13 => tar.raw(b'5', b"d", b"", 0o755, b"a directory with data"),
        14 => {
            let value = vec![b'v'; numbers.below(70_000)];
            tar.pax(&[("SCHILY.xattr.user.large", &value)])
                .file("attributes", "")
        }
        _ => tar
            .pax(&[
                (
                    "uid",
                    numbers
                        .word(&["-1", "4294967295", "4294967296", "0", "x", "2147483648"])
                        .as_bytes(),
                ),
                (
                    "mtime",
                    numbers
                        .word(&["-1", "1e9", "9999999999999999999", "0.5", "1.", "."])
                        .as_bytes(),
                ),
            ])
            .file("owned", ""),
    }
}

/// Changes a few bytes, and mostly puts the checksum right, which would hide what they do.
fn damage(bytes: &mut [u8], numbers: &mut Numbers) {
    if !numbers.one_in(3) {
        return;
    }
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        bytes[at] = u8::try_from(numbers.below(256)).unwrap();
        let block = at / 512 * 512;
        if !numbers.one_in(4)
            && let Some(header) = bytes.get_mut(block..block + 512)
        {
            let header: &mut [u8; 512] = header.try_into().unwrap();
            if header[257..262] == *b"ustar" {
                fixture::seal(header);
            }
        }
    }
}
