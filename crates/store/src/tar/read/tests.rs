use super::*;
use crate::tar::{Member, MemberKind, Writer};
use Kind::{Character, Directory, File, HardLink, Symlink};
use std::io::BufReader;

/// Reads all of an archive, its input coming in pieces of `piece` bytes.
fn read(archive: &[u8], piece: usize) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(BufReader::with_capacity(piece, archive));
    let mut members = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        loop {
            let found = reader.data()?;
            if found.is_empty() {
                break;
            }
            data.extend_from_slice(found);
            let length = found.len();
            reader.consume(length);
        }
        members.push((entry, data));
    }
    Ok(members)
}

fn write(members: &[(Member<'_>, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (member, data) in members {
        writer.append(member, &mut &data[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn member<'a>(path: &'a [u8], kind: MemberKind<'a>) -> Member<'a> {
    Member {
        path,
        kind,
        mode: 0o4755,
        uid: 1,
        gid: 2,
        mtime: 3,
        xattrs: &[],
    }
}

#[test]
fn what_is_written_is_read_in_pieces_of_any_size() {
    let long = b"long/".repeat(300);
    let long = &long[..long.len() - 1];
    let attributes = [
        (b"user.a".to_vec(), b"1\n2=\0".to_vec()),
        (b"user.b".to_vec(), Vec::new()),
    ];
    let first = Member {
        uid: 3_000_000_000,
        gid: 2_097_152,
        mtime: -5,
        xattrs: &attributes[..1],
        ..member(long, MemberKind::File(5))
    };
    let archive = write(&[
        (first, b"12345"),
        (member(b"h", MemberKind::HardLink(long)), b""),
        (member(b"s", MemberKind::Symlink(b"../t")), b""),
        (member(b"c", MemberKind::Character(300, 70_000)), b""),
        (member(b"d", MemberKind::Directory), b""),
        (member(b"last", MemberKind::File(513)), &[7; 513]),
    ]);
    for piece in [1, 7, 511, 512, 513, 100_000] {
        let members = read(&archive, piece).unwrap();
        let kinds: Vec<Kind> = members.iter().map(|(entry, _)| entry.kind).collect();
        assert_eq!(kinds, [File, HardLink, Symlink, Character, Directory, File]);
        let (entry, data) = &members[0];
        assert_eq!((entry.path.as_slice(), data.as_slice()), (long, &b"12345"[..]));
        assert_eq!(
            (entry.uid, entry.gid, entry.mtime, entry.mode),
            (3_000_000_000, 2_097_152, (-5, 0), 0o4755)
        );
        assert_eq!(entry.xattrs, attributes[..1]);
        assert_eq!(members[1].0.link, long);
        assert_eq!(members[3].0.device, (300, 70_000));
        assert_eq!(members[4].0.path, b"d/");
        assert_eq!(members[5].1, [7; 513]);
    }
}

#[test]
fn the_end_is_two_blocks_of_zeros_or_the_end() {
    let archive = write(&[(member(b"f", MemberKind::File(1)), b"x")]);
    for (what, bytes, count) in [
        ("as it is", archive.clone(), Some(1)),
        ("no mark", archive[..1024].to_vec(), Some(1)),
        ("half a mark", archive[..1536].to_vec(), Some(1)),
        ("garbage behind", [&archive[..], b"garbage"].concat(), Some(1)),
        (
            "another archive behind",
            [&archive[..], &archive[..]].concat(),
            Some(1),
        ),
        (
            "half a mark in the middle",
            [&archive[..1536], &archive[..]].concat(),
            None,
        ),
        (
            "half a header",
            [&archive[..1024], &archive[..100]].concat(),
            None,
        ),
        ("nothing", Vec::new(), Some(0)),
    ] {
        assert_eq!(
            read(&bytes, 4096).ok().map(|members| members.len()),
            count,
            "{what}"
        );
    }
}

#[test]
fn sparse_maps_must_fit_the_file() {
    for (pieces, size, stored, fits) in [
        (&[(0, 5), (10, 5)][..], 20, 10, true),
        (&[], 20, 0, true),
        (&[(20, 0)], 20, 0, true),
        (&[(0, 5), (10, 5)], 20, 11, false),
        (&[(0, 5), (4, 5)], 20, 10, false),
        (&[(10, 5), (0, 5)], 20, 10, false),
        (&[(16, 5)], 20, 5, false),
        (&[(u64::MAX, 5)], u64::MAX, 5, false),
    ] {
        assert_eq!(extents(pieces, size, stored).is_ok(), fits, "{pieces:?}");
    }
}

#[test]
fn large_sizes_are_told_by_an_extension_alone() {
    let huge = 9 << 30;
    let mut writer = Writer::new(Vec::new());
    // Its data does not come: the header is all that is looked at.
    writer
        .append(&member(b"huge", MemberKind::File(huge)), &mut std::io::empty())
        .expect_err("the data is missing");
    let header_only = writer.finish().unwrap();
    let mut reader = Reader::new(&header_only[..]);
    let entry = reader.next().unwrap().unwrap();
    assert_eq!(entry.size, huge);
    assert!(matches!(reader.next(), Err(TarError::Truncated(_))));
}
