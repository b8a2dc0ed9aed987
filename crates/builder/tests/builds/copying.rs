//! Where `COPY` and `ADD` put what.

use crate::workshop::Workshop;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

fn shop() -> Workshop {
    let shop = Workshop::new();
    shop.file("a.txt", "a");
    shop.file("b.txt", "b");
    shop.file("c.md", "c");
    shop.file("dir/x", "x");
    shop.file("dir/sub/y", "y");
    shop.file("space file", "s");
    symlink("a.txt", shop.context.join("link")).unwrap();
    symlink("x", shop.context.join("dir/inner")).unwrap();
    symlink("/etc/passwd", shop.context.join("away")).unwrap();
    std::fs::set_permissions(
        shop.context.join("dir/sub"),
        std::fs::Permissions::from_mode(0o750),
    )
    .unwrap();
    std::fs::set_permissions(shop.context.join("b.txt"), std::fs::Permissions::from_mode(0o755)).unwrap();
    shop
}

#[test]
fn files_land_where_docker_puts_them() {
    let shop = shop();
    let tree = |prefix: &str, mode: &str| {
        vec![
            format!("{prefix}/inner 0:0 -> x"),
            format!("{prefix}/sub 750 0:0 dir"),
            format!("{prefix}/sub/y 644 0:0 \"y\""),
            format!("{prefix}/x {mode} 0:0 \"x\""),
        ]
    };
    let mut in_new = vec!["/new 755 0:0 dir".to_owned()];
    in_new.extend(tree("/new", "644"));
    let mut in_deep = vec!["/p 755 0:0 dir".to_owned(), "/p/q 755 0:0 dir".to_owned()];
    in_deep.extend(tree("/p/q", "644"));
    let strings = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for (instruction, expected) in [
        ("COPY a.txt /n", strings(&["/n 644 0:0 \"a\""])),
        ("COPY b.txt /n", strings(&["/n 755 0:0 \"b\""])),
        (
            "COPY a.txt /d/",
            strings(&["/d 755 0:0 dir", "/d/a.txt 644 0:0 \"a\""]),
        ),
        (
            "COPY a.txt /d/n",
            strings(&["/d 755 0:0 dir", "/d/n 644 0:0 \"a\""]),
        ),
        (
            "COPY a.txt /tmp",
            strings(&["/tmp 755 0:0 dir", "/tmp/a.txt 644 0:0 \"a\""]),
        ),
        ("COPY /a.txt n", strings(&["/n 644 0:0 \"a\""])),
        ("COPY ./dir/../a.txt n", strings(&["/n 644 0:0 \"a\""])),
        (
            "WORKDIR /w\nCOPY a.txt .",
            strings(&["/w 755 0:0 dir", "/w/a.txt 644 0:0 \"a\""]),
        ),
        (
            "WORKDIR /w\nCOPY a.txt ./",
            strings(&["/w 755 0:0 dir", "/w/a.txt 644 0:0 \"a\""]),
        ),
        (
            "WORKDIR /w\nCOPY a.txt n",
            strings(&["/w 755 0:0 dir", "/w/n 644 0:0 \"a\""]),
        ),
        (
            "WORKDIR /w\nCOPY a.txt ../n",
            strings(&["/n 644 0:0 \"a\"", "/w 755 0:0 dir"]),
        ),
        ("COPY dir /new", in_new.clone()),
        ("COPY dir/ /new/", in_new),
        ("COPY dir /p/q", in_deep),
        (
            "COPY a.txt c.md /d/",
            strings(&[
                "/d 755 0:0 dir",
                "/d/a.txt 644 0:0 \"a\"",
                "/d/c.md 644 0:0 \"c\"",
            ]),
        ),
        (
            "COPY *.txt /d/",
            strings(&[
                "/d 755 0:0 dir",
                "/d/a.txt 644 0:0 \"a\"",
                "/d/b.txt 755 0:0 \"b\"",
            ]),
        ),
        (
            "COPY a.* none* /d/",
            strings(&["/d 755 0:0 dir", "/d/a.txt 644 0:0 \"a\""]),
        ),
        ("COPY ?.md /n", strings(&["/n 644 0:0 \"c\""])),
        (
            "COPY [ab].txt /d/",
            strings(&[
                "/d 755 0:0 dir",
                "/d/a.txt 644 0:0 \"a\"",
                "/d/b.txt 755 0:0 \"b\"",
            ]),
        ),
        ("COPY d*/x /n", strings(&["/n 644 0:0 \"x\""])),
        ("COPY [\"space file\", \"/n\"]", strings(&["/n 644 0:0 \"s\""])),
        ("COPY link /n", strings(&["/n 644 0:0 \"a\""])),
        (
            "COPY link /d/",
            strings(&["/d 755 0:0 dir", "/d/link 644 0:0 \"a\""]),
        ),
        ("COPY --chmod=600 a.txt /n", strings(&["/n 600 0:0 \"a\""])),
        ("COPY --chmod=u+x,go= a.txt /n", strings(&["/n 700 0:0 \"a\""])),
        ("COPY --chown=5 a.txt /n", strings(&["/n 644 5:5 \"a\""])),
        (
            "COPY --chown=5:6 a.txt /d/",
            strings(&["/d 755 5:6 dir", "/d/a.txt 644 5:6 \"a\""]),
        ),
        ("COPY --chown=app a.txt /n", strings(&["/n 644 1000:1001 \"a\""])),
        (
            "COPY --chown=app:staff a.txt /n",
            strings(&["/n 644 1000:50 \"a\""]),
        ),
        (
            "ARG o=7\nCOPY --chown=$o a.txt /n",
            strings(&["/n 644 7:7 \"a\""]),
        ),
        // Links in the destination are followed inside the root.
        (
            "COPY a.txt /lib/n",
            strings(&[
                "/usr 755 0:0 dir",
                "/usr/lib 755 0:0 dir",
                "/usr/lib/n 644 0:0 \"a\"",
            ]),
        ),
        (
            "COPY a.txt /lib",
            strings(&[
                "/usr 755 0:0 dir",
                "/usr/lib 755 0:0 dir",
                "/usr/lib/a.txt 644 0:0 \"a\"",
            ]),
        ),
        (
            "COPY a.txt /outward/n",
            strings(&["/etc 755 0:0 dir", "/etc/n 644 0:0 \"a\""]),
        ),
        ("COPY a.txt /../../n", strings(&["/n 644 0:0 \"a\""])),
        ("COPY dir/inner /n", strings(&["/n 644 0:0 \"x\""])),
        (
            "ENV n=/v\nCOPY ${n#/}*none a.txt $n/",
            strings(&["/v 755 0:0 dir", "/v/a.txt 644 0:0 \"a\""]),
        ),
        ("ADD a.txt /n", strings(&["/n 644 0:0 \"a\""])),
    ] {
        let image = shop.make(&format!("FROM base\n{instruction}\n"));
        assert_eq!(shop.files(&image, 1), expected, "{instruction}");
    }
    // Nothing was followed out of the root.
    assert!(!std::path::Path::new("/etc/n").exists());
}

#[test]
fn existing_files_are_replaced_and_directories_merged() {
    let shop = shop();
    let image = shop
        .make("FROM base\nCOPY dir /d\nCOPY b.txt /d/x\nCOPY c.md /d/inner\nRUN write /d/z z\nCOPY dir /d\n");
    assert_eq!(
        shop.files(&image, 1),
        [
            "/d 755 0:0 dir",
            "/d/inner 0:0 -> x",
            "/d/sub 750 0:0 dir",
            "/d/sub/y 644 0:0 \"y\"",
            "/d/x 644 0:0 \"x\"",
            "/d/z 644 0:0 \"z\"",
        ]
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY a.txt /n\nCOPY dir /n\n"),
        "COPY dir /n: cannot copy to non-directory: /n"
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY a.txt /n\nCOPY a.txt /n/m\n"),
        "COPY a.txt /n/m: cannot copy to non-directory: /n"
    );
    std::fs::create_dir_all(shop.context.join("clash/x")).unwrap();
    shop.file("clash/x/f", "f");
    assert_eq!(
        shop.fail("FROM base\nCOPY dir /d\nCOPY clash /d\n"),
        "COPY clash /d: cannot copy to non-directory: /d/x"
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY clash /d\nCOPY dir /d\n"),
        "COPY dir /d: cannot replace the directory /d/x with a file"
    );
}

#[test]
fn ignored_files_are_not_in_the_context() {
    let mut shop = shop();
    shop.build.ignore = Some((
        ".dockerignore".into(),
        "# none\n*\n!dir\n!a.txt\ndir/sub\n!dir/sub/y\n".into(),
    ));
    shop.file("dir/sub/secret", "s");
    let image = shop.make("FROM base\nCOPY . /d\n");
    assert_eq!(
        shop.files(&image, 1),
        [
            "/d 755 0:0 dir",
            "/d/a.txt 644 0:0 \"a\"",
            "/d/dir 755 0:0 dir",
            "/d/dir/inner 0:0 -> x",
            "/d/dir/sub 750 0:0 dir",
            "/d/dir/sub/y 644 0:0 \"y\"",
            "/d/dir/x 644 0:0 \"x\"",
        ]
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY b.txt /d\n"),
        "COPY b.txt /d: \"b.txt\" is not in the build context: excluded by the rule \"*\" in .dockerignore, line 2 | add the line !b.txt below that rule in .dockerignore, or take the rule out"
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY dir/sub/secret /d\n"),
        "COPY dir/sub/secret /d: \"dir/sub/secret\" is not in the build context: excluded by the rule \"dir/sub\" in .dockerignore, line 5 | add the line !dir/sub/secret below that rule in .dockerignore, or take the rule out"
    );
    // A link is in the context, what it leads to is not.
    shop.build.ignore = Some((".dockerignore".into(), "a.txt\n".into()));
    assert!(
        shop.fail("FROM base\nCOPY link /d\n")
            .contains("is not in the build context")
    );
}

#[test]
fn links_do_not_lead_out_of_the_context() {
    let shop = shop();
    let message = shop.fail("FROM base\nCOPY away /n\n");
    assert!(
        message.contains("\"away\" is not in the build context"),
        "{message}"
    );
    symlink("../../../../../../etc", shop.context.join("up")).unwrap();
    let message = shop.fail("FROM base\nCOPY up/passwd /n\n");
    assert!(
        message.contains("\"up/passwd\" is not in the build context"),
        "{message}"
    );
    assert_eq!(
        shop.fail("FROM base\nCOPY ../a.tx /n\n"),
        "COPY ../a.tx /n: \"a.tx\" is not in the build context | files outside the build context cannot be copied: give a larger context, or copy them into it"
    );
}

#[test]
fn missing_sources_name_what_was_probably_meant() {
    let shop = shop();
    for (source, expected) in [
        (
            "a.tx",
            "\"a.tx\" is not in the build context | did you mean \"a.txt\"?",
        ),
        (
            "dir/sub/yy",
            "\"dir/sub/yy\" is not in the build context | did you mean \"dir/sub/y\"?",
        ),
        (
            "dri/x",
            "\"dri/x\" is not in the build context | did you mean \"dir\"?",
        ),
        (
            "nothing-like-it",
            "\"nothing-like-it\" is not in the build context",
        ),
        ("a.txt/x", "\"a.txt/x\" is not in the build context"),
    ] {
        let message = shop.fail(&format!("FROM base\nCOPY {source} /n\n"));
        assert_eq!(message, format!("COPY {source} /n: {expected}"));
    }
}

fn tar(members: &[(&str, u8, &str, u32)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, content, mode) in members {
        let link = if *kind == b'2' || *kind == b'1' {
            *content
        } else {
            ""
        };
        let data = if *kind == b'0' { content.as_bytes() } else { b"" };
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        let mut field = |at: usize, text: String| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        field(100, format!("{mode:07o}\0"));
        field(108, format!("{:07o}\0", 12));
        field(116, format!("{:07o}\0", 13));
        field(124, format!("{:011o}\0", data.len()));
        field(136, format!("{:011o}\0", 1));
        field(148, "        ".to_owned());
        field(157, link.to_owned());
        field(257, "ustar\x0000".to_owned());
        block[156] = *kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&block);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn add_unpacks_archives_by_their_content() {
    let shop = shop();
    let plain = tar(&[
        ("d/", b'5', "", 0o750),
        ("d/f", b'0', "data", 0o640),
        ("d/l", b'2', "f", 0o777),
        ("d/h", b'1', "d/f", 0o640),
    ]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    std::fs::write(shop.context.join("plain"), &plain).unwrap();
    std::fs::write(shop.context.join("packed.bin"), &gzip).unwrap();
    let unpacked = [
        "/n 755 0:0 dir",
        "/n/d 750 12:13 dir",
        "/n/d/f 640 12:13 \"data\"",
        "/n/d/h 640 12:13 \"data\"",
        "/n/d/l 12:13 -> f",
    ];
    for instruction in ["ADD plain /n", "ADD packed.bin /n/"] {
        let image = shop.make(&format!("FROM base\n{instruction}\n"));
        assert_eq!(shop.files(&image, 1), unpacked, "{instruction}");
    }
    let image = shop.make("FROM base\nADD --chown=3:4 plain /n\n");
    assert!(
        shop.files(&image, 1)
            .contains(&"/n/d/f 640 3:4 \"data\"".to_owned())
    );
    // COPY never unpacks, and ADD does not when told so.
    for instruction in ["COPY packed.bin /n", "ADD --unpack=false packed.bin /n"] {
        let image = shop.make(&format!("FROM base\n{instruction}\n"));
        let top = shop.store.layer_path(&image.layers[1].id);
        assert_eq!(std::fs::read(top.join("n")).unwrap(), gzip, "{instruction}");
    }
    // What only looks like an archive is copied as it is.
    shop.file("fake.tar.gz", "no archive");
    let image = shop.make("FROM base\nADD fake.tar.gz /n\n");
    assert_eq!(shop.files(&image, 1), ["/n 644 0:0 \"no archive\""]);
    // Members cannot get out, neither by name nor through a link that was there before.
    std::fs::write(
        shop.context.join("evil"),
        tar(&[("../../x", b'0', "evil", 0o644)]),
    )
    .unwrap();
    assert_eq!(
        shop.fail("FROM base\nADD evil /n\n"),
        "ADD evil /n: evil has the member \"../../x\", whose path leads out of it"
    );
    let swap = tar(&[
        ("out", b'2', "/../../../../../../tmp", 0o777),
        ("out/coracle-canary", b'0', "evil", 0o644),
    ]);
    std::fs::write(shop.context.join("swap"), swap).unwrap();
    let image = shop.make("FROM base\nADD swap /n/\n");
    assert!(
        shop.files(&image, 1)
            .contains(&"/tmp/coracle-canary 644 0:0 \"evil\"".replace("0:0", "12:13"))
    );
    assert!(!std::path::Path::new("/tmp/coracle-canary").exists());
    // Cut short.
    std::fs::write(shop.context.join("short"), &plain[..1024 + 100]).unwrap();
    assert!(
        shop.fail("FROM base\nADD short /n\n")
            .starts_with("ADD short /n: cannot unpack short: ")
    );
}
