//! `-u`, and the files of the image that it is looked up in.

use super::image;
use crate::sandbox;
use std::fs;
use std::os::unix::fs::symlink;
use testkit::Canaries;

/// containerd CVE-2024-40635, crun CVE-2026-30892: what is not a user must not become root by overflow or accident.
#[test]
fn whoever_is_nobody_is_an_error_and_never_root() {
    let coracle = sandbox();
    image(&coracle, "users", &[], |root| {
        let users = "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\nzero:x:4294967296:0::/:/bin/sh\n\
            minus:x:-1:-1::/:/bin/sh\nempty:x:::/:/bin/sh\n+1:x:0:0::/:/bin/sh\n";
        fs::write(root.join("etc/passwd"), users).unwrap();
    });
    coracle
        .run(["run", "-d", "--name", "it", "users", "sleep", "100"])
        .ok();
    for (user, expected) in [
        ("0", Some("0:0")),
        // Somebody is called so; a number is a number all the same.
        ("1000", Some("1000:0")),
        ("01", Some("1:0")),
        ("1:", Some("1:0")),
        ("2147483647", Some("2147483647:0")),
        ("5:6", Some("5:6")),
        ("-1", None),
        ("2147483648", None),
        ("4294967295", None),
        ("4294967296", None),
        ("18446744073709551616", None),
        ("0x0", None),
        (" 0", None),
        ("zero", None),
        ("minus", None),
        ("empty", None),
        ("nobody-of-that-name", None),
        ("1:-1", None),
        ("1:4294967296", None),
    ] {
        let user = format!("-u={user}");
        let script = "echo $(id -u):$(id -g)";
        for outcome in [
            coracle.run(["run", "--rm", &user, "users", "sh", "-c", script]),
            coracle.run(["exec", &user, "it", "sh", "-c", script]),
        ] {
            match expected {
                Some(ids) => assert_eq!(outcome.ok().trim(), ids, "{user}"),
                None => assert!(
                    outcome.code != 0 && outcome.stdout.is_empty(),
                    "{user}: {outcome:?}"
                ),
            }
        }
    }
}

/// CVE-2022-36109, CVE-2023-25173, CVE-2022-2989: a file that excludes its group must exclude a process that has set
/// aside its primary group, and no group of the host's comes along.
#[test]
fn the_primary_group_is_always_among_the_groups() {
    let coracle = sandbox();
    image(&coracle, "groups", &[], |root| {
        fs::write(root.join("secret"), "secret\n").unwrap();
        // The group may not read it, others may.
        fs::set_permissions(
            root.join("secret"),
            std::os::unix::fs::PermissionsExt::from_mode(0o604),
        )
        .unwrap();
        std::os::unix::fs::chown(root.join("secret"), Some(0), Some(1000)).unwrap();
    });
    let groups = "id -G | tr ' ' '\n' | sort -n | tr '\n' ' '; cat /secret 2>/dev/null || echo excluded";
    for (flags, expected) in [
        (&["-u", "app"][..], "50 1000 excluded\n"),
        (&["-u", "1000"], "50 1000 excluded\n"),
        (&["-u", "1000:1000"], "1000 excluded\n"),
        (&["-u", "app", "--group-add", "7"], "7 50 1000 excluded\n"),
        (&["-u", "4711:1000"], "1000 excluded\n"),
        (&["-u", "4711"], "0 secret\n"),
        (&[], "0 secret\n"),
    ] {
        let words = [&["run", "--rm"], flags, &["groups", "sh", "-c", groups]].concat();
        assert_eq!(coracle.run(words).ok(), expected, "{flags:?}");
    }
    // `id -G` adds the primary group by itself; the kernel's own list is what counts.
    let kernel = [
        "run",
        "--rm",
        "-u",
        "4711:1000",
        "groups",
        "grep",
        "Groups",
        "/proc/self/status",
    ];
    assert_eq!(coracle.run(kernel).ok().trim(), "Groups:\t1000");
}

/// containerd CVE-2026-47262, buildah CVE-2024-9676: files that never end, that block, or that are the host's.
#[test]
fn user_files_that_are_no_files_are_errors_not_hangs() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let outside = canaries.path().join("etc/passwd");
    let try_it = |name: &str, user: &str, change: &dyn Fn(&std::path::Path)| {
        image(&coracle, name, &[], |root| {
            for file in ["passwd", "group"] {
                fs::remove_file(root.join("etc").join(file)).unwrap();
            }
            change(&root.join("etc"));
        });
        let mut limited = std::process::Command::new("timeout");
        let command = coracle.command(["run", "--rm", "-u", user, name, "id", "-u"]);
        limited.arg("60").arg(coracle.program()).args(command.get_args());
        limited.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let outcome = testkit::sandbox::outcome(&limited.output().unwrap());
        assert_ne!(outcome.code, 124, "{name} hangs");
        canaries.assert_untouched(name);
        outcome
    };
    for file in ["passwd", "group"] {
        let giant = try_it(&format!("giant-{file}"), "intruder:intruder", &|etc| {
            // A layer's size counts what is in it, so the giant is sparse.
            fs::write(etc.join("passwd"), "intruder:x:0:0::/:/bin/sh\n").unwrap();
            fs::File::create(etc.join(file))
                .unwrap()
                .set_len(11 << 20)
                .unwrap();
        });
        assert!(giant.stderr.contains("cannot look up users"), "{giant:?}");
        let fifo = try_it(&format!("fifo-{file}"), "intruder:intruder", &|etc| {
            fs::write(etc.join("passwd"), "intruder:x:0:0::/:/bin/sh\n").unwrap();
            let path = etc.join(file);
            if file == "passwd" {
                fs::remove_file(&path).unwrap();
            }
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        });
        assert!(fifo.stderr.contains("cannot look up users"), "{fifo:?}");
    }
    let kcore = try_it("kcore", "intruder", &|etc| {
        symlink("/proc/kcore", etc.join("passwd")).unwrap()
    });
    assert_ne!(kcore.code, 0, "{kcore:?}");
    let endless = try_it("endless", "intruder", &|etc| {
        symlink("/dev/zero", etc.join("passwd")).unwrap()
    });
    assert_ne!(endless.code, 0, "{endless:?}");
    // The host's file has such a user, and is not asked.
    let link = try_it("link", "intruder", &|etc| {
        symlink(&outside, etc.join("passwd")).unwrap()
    });
    assert!(link.stderr.contains("unable to find user intruder"), "{link:?}");
    let up = format!("../../../../../..{}", outside.display());
    let relative = try_it("relative", "intruder", &|etc| {
        symlink(&up, etc.join("passwd")).unwrap()
    });
    assert!(
        relative.stderr.contains("unable to find user intruder"),
        "{relative:?}"
    );
}
