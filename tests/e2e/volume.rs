//! Volumes, binds, tmpfs.

use crate::sandbox;

#[test]
fn a_volume_keeps_data() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--rm",
            "-v",
            "notes:/notes",
            "busybox",
            "sh",
            "-c",
            "echo data > /notes/note",
        ])
        .ok();
    assert_eq!(
        coracle
            .run([
                "run",
                "--rm",
                "-v",
                "notes:/notes:ro",
                "busybox",
                "cat",
                "/notes/note"
            ])
            .ok(),
        "data\n"
    );
    let written = coracle.run([
        "run",
        "--rm",
        "-v",
        "notes:/notes:ro",
        "busybox",
        "touch",
        "/notes/x",
    ]);
    assert!(written.fails(1).contains("Read-only"));
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "notes\n");
    assert_eq!(coracle.run(["volume", "rm", "notes"]).ok(), "notes\n");
}

#[test]
fn an_empty_volume_gets_the_images_content() {
    let coracle = sandbox();
    let listing = coracle
        .run(["run", "--rm", "-v", "home:/home", "busybox", "ls", "/home"])
        .ok();
    assert_eq!(listing, "app\n");
    coracle
        .run(["run", "--rm", "-v", "home:/home", "busybox", "rmdir", "/home/app"])
        .ok();
    let nocopy = coracle
        .run(["run", "--rm", "-v", "bare:/home:nocopy", "busybox", "ls", "/home"])
        .ok();
    assert_eq!(nocopy, "");
}

#[test]
fn binds_and_tmpfs() {
    let coracle = sandbox();
    let file = coracle.write("shared/file", "from the host\n");
    let directory = file.parent().unwrap().display().to_string();
    let bind = format!("{directory}:/shared");
    assert_eq!(
        coracle
            .run(["run", "--rm", "-v", &bind, "busybox", "cat", "/shared/file"])
            .ok(),
        "from the host\n"
    );
    coracle
        .run([
            "run",
            "--rm",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            "echo back > /shared/answer",
        ])
        .ok();
    assert_eq!(
        std::fs::read_to_string(coracle.path().join("shared/answer")).unwrap(),
        "back\n"
    );
    let mount = format!("type=bind,source={directory},target=/shared,readonly");
    assert_ne!(
        coracle
            .run(["run", "--rm", "--mount", &mount, "busybox", "touch", "/shared/x"])
            .code,
        0
    );
    let made = format!("{}/made/for/it:/x", coracle.path().display());
    coracle
        .run(["run", "--rm", "-v", &made, "busybox", "touch", "/x/y"])
        .ok();
    assert!(coracle.path().join("made/for/it/y").exists());
    let tmpfs = coracle
        .run([
            "run",
            "--rm",
            "--tmpfs",
            "/t:size=1m",
            "busybox",
            "grep",
            " /t ",
            "/proc/mounts",
        ])
        .ok();
    assert!(
        tmpfs.contains("size=1024k") && tmpfs.contains("nosuid") && tmpfs.contains("noexec"),
        "{tmpfs}"
    );
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let coracle = sandbox();
    coracle
        .run(["create", "--name", "user", "-v", "kept:/x", "busybox"])
        .ok();
    let refused = coracle.run(["volume", "rm", "kept"]).fails(1);
    assert!(refused.contains("volume is in use"), "{refused}");
    assert_eq!(
        coracle.run(["volume", "inspect", "-f", "{{.Name}}", "kept"]).ok(),
        "kept\n"
    );
    coracle.run(["volume", "create", "other"]).ok();
    assert!(coracle.run(["volume", "prune", "-af"]).ok().contains("other"));
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "kept\n");
}

mod both {
    use crate::both;
    use testkit::Sandbox;

    fn run(engine: &Sandbox, flags: &[&str], script: &str) -> testkit::sandbox::Outcome {
        engine.run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    }

    #[test]
    fn a_volume_is_made_listed_inspected_and_removed() {
        let engine = both();
        assert_eq!(
            engine.run(["volume", "create", "--label", "a=b", "one"]).ok(),
            "one\n"
        );
        // A second time it is the same one, whatever its labels.
        assert_eq!(
            engine.run(["volume", "create", "--label", "c=d", "one"]).ok(),
            "one\n"
        );
        let anonymous = engine.run(["volume", "create"]).ok().trim().to_owned();
        assert_eq!(anonymous.len(), 64);
        let inspect = |format: &str, name: &str| {
            let shown = engine.run(["volume", "inspect", "-f", format, name]).ok();
            shown.trim().to_owned()
        };
        assert_eq!(inspect("{{json .Labels}}", "one"), r#"{"a":"b"}"#);
        assert_eq!(inspect("{{.Driver}} {{.Scope}}", "one"), "local local");
        assert_eq!(
            inspect("{{json .Labels}}", &anonymous),
            r#"{"com.docker.volume.anonymous":""}"#
        );
        let list = |filter: &str| {
            let listed = engine.run(["volume", "ls", "-q", "--filter", filter]).ok();
            listed.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(list("name=on"), ["one"]);
        assert_eq!(list("label=a"), ["one"]);
        assert_eq!(list("label=a=b"), ["one"]);
        assert_eq!(list("label=a=x"), Vec::<String>::new());
        assert_eq!(list("driver=local").len(), 2);
        assert_eq!(list("driver=other").len(), 0);
        engine
            .run(["create", "--name", "user", "-v", "one:/x", "busybox"])
            .ok();
        assert_eq!(list("dangling=false"), ["one"]);
        assert_eq!(list("dangling=true"), [anonymous.as_str()]);
        let wrong = engine.run(["volume", "ls", "--filter", "dangling=perhaps"]);
        assert!(wrong.fails(1).contains("invalid filter"));
        let table = engine
            .run(["volume", "ls", "--format", "table {{.Name}}\t{{.Driver}}"])
            .ok();
        assert!(table.starts_with("VOLUME NAME"), "{table}");
        // One that is missing or in use does not keep the others.
        let removed = engine.run(["volume", "rm", "nosuch", "one", &anonymous]);
        assert_eq!(removed.stdout.trim(), anonymous);
        let error = removed.fails(1);
        assert!(error.to_lowercase().contains("no such volume"), "{error}");
        assert!(error.contains("volume is in use"), "{error}");
        engine.run(["volume", "rm", "-f", "nosuch"]).ok();
        engine.run(["rm", "user"]).ok();
        engine.run(["volume", "rm", "one"]).ok();
    }

    #[test]
    fn wrong_options_in_dockers_words() {
        let engine = both();
        for (words, message) in [
            (&["-o", "foo=bar"][..], "invalid option"),
            (&["-o", "type=tmpfs"], "missing required option: \"device\""),
            (&["-o", "device=/x"], "missing required option: \"type\""),
            (
                &["-d", "nosuch"],
                "error looking up volume plugin nosuch: plugin \"nosuch\" not found",
            ),
        ] {
            let error = engine
                .run([&["volume", "create"], words, &["it"]].concat())
                .fails(1);
            assert!(error.contains(message), "{words:?}: {error}");
        }
        assert_eq!(engine.run(["volume", "ls", "-q"]).ok(), "");
        let error = engine.run(["volume", "create", "a/b"]).fails(1);
        assert!(
            error.contains("includes invalid characters for a local volume name"),
            "{error}"
        );
    }

    #[test]
    fn prune_takes_what_was_asked_for() {
        let engine = both();
        engine.run(["volume", "create", "--label", "keep", "named"]).ok();
        engine.run(["volume", "create", "other"]).ok();
        let anonymous = engine.run(["volume", "create"]).ok().trim().to_owned();
        let pruned = engine.run(["volume", "prune", "-f"]).ok();
        assert!(
            pruned.contains(&anonymous) && pruned.contains("Total reclaimed space:"),
            "{pruned}"
        );
        assert!(!pruned.contains("named"), "{pruned}");
        let pruned = engine
            .run(["volume", "prune", "-af", "--filter", "label!=keep"])
            .ok();
        assert!(pruned.contains("other"), "{pruned}");
        assert_eq!(engine.run(["volume", "ls", "-q"]).ok(), "named\n");
        engine.run(["volume", "rm", "named"]).ok();
    }

    #[test]
    fn memory_is_one_for_all_who_use_it_and_gone_with_the_last() {
        let engine = both();
        let options = [
            "-o",
            "type=tmpfs",
            "-o",
            "device=tmpfs",
            "-o",
            "o=size=1m,uid=1000",
        ];
        engine
            .run([&["volume", "create"][..], &options, &["memory"]].concat())
            .ok();
        // The same once more is the same.
        engine
            .run([&["volume", "create"][..], &options, &["memory"]].concat())
            .ok();
        engine
            .run([
                "run",
                "-d",
                "--name",
                "first",
                "-v",
                "memory:/m",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        let seen = run(
            &engine,
            &["-v", "memory:/m"],
            "grep ' /m ' /proc/mounts; stat -c %u /m; echo shared > /m/f",
        )
        .ok();
        assert!(
            seen.contains("tmpfs /m tmpfs") && seen.contains("size=1024k"),
            "{seen}"
        );
        assert!(seen.ends_with("\n1000\n"), "{seen}");
        assert_eq!(engine.run(["exec", "first", "cat", "/m/f"]).ok(), "shared\n");
        let mountpoint = engine
            .run(["volume", "inspect", "-f", "{{.Mountpoint}}", "memory"])
            .ok();
        assert_eq!(
            std::fs::read_to_string(format!("{}/f", mountpoint.trim())).unwrap(),
            "shared\n"
        );
        engine.run(["rm", "-f", "first"]).ok();
        assert_eq!(run(&engine, &["-v", "memory:/m"], "ls /m").ok(), "");
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains("/memory/_data"), "{mounts}");
        engine.run(["volume", "rm", "memory"]).ok();
    }

    #[test]
    fn a_bind_as_a_volume_is_the_hosts_directory_and_outlives_the_volume() {
        let engine = both();
        let directory = engine.path().join("bound");
        std::fs::create_dir(&directory).unwrap();
        let mount = format!(
            "type=volume,src=bound,dst=/home,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={}",
            directory.display()
        );
        // What the image has there goes into it.
        let listing = run(&engine, &["--mount", &mount], "ls /home; echo written > /home/f").ok();
        assert_eq!(listing, "app\n");
        assert_eq!(std::fs::read_to_string(directory.join("f")).unwrap(), "written\n");
        let shown = engine
            .run([
                "volume",
                "inspect",
                "-f",
                "{{.Options.o}} {{.Options.device}}",
                "bound",
            ])
            .ok();
        assert_eq!(shown.trim(), format!("bind {}", directory.display()));
        engine.run(["volume", "rm", "bound"]).ok();
        assert!(directory.join("f").exists());
        let options = format!("device={}", directory.display());
        engine
            .run([
                "volume",
                "create",
                "-o",
                "type=none",
                "-o",
                "o=bind,ro",
                "-o",
                &options,
                "ro",
            ])
            .ok();
        let refused = run(&engine, &["-v", "ro:/x"], "cat /x/f; touch /x/g");
        assert_eq!(refused.stdout, "written\n");
        assert!(refused.stderr.contains("Read-only"), "{refused:?}");
        engine.run(["volume", "rm", "ro"]).ok();
    }

    #[test]
    fn what_cannot_be_mounted_is_an_error_and_leaves_nothing() {
        let engine = both();
        engine
            .run([
                "volume",
                "create",
                "-o",
                "type=none",
                "-o",
                "o=bind",
                "-o",
                "device=/nosuch/place",
                "it",
            ])
            .ok();
        let outcome = run(&engine, &["-v", "it:/x"], "true");
        // Docker's client takes each "no such file or directory" for a missing command.
        let error = outcome.clone().fails(if outcome.code == 127 { 127 } else { 125 });
        assert!(error.contains("failed to mount local volume"), "{error}");
        assert!(error.contains("/nosuch/place"), "{error}");
        engine.run(["volume", "rm", "it"]).ok();
    }
}

#[test]
fn a_stopped_container_and_cp_see_what_the_options_mount() {
    let coracle = sandbox();
    let directory = coracle.path().join("bound");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("f"), "host\n").unwrap();
    let device = format!("device={}", directory.display());
    coracle
        .run([
            "volume",
            "create",
            "-o",
            "type=none",
            "-o",
            "o=bind",
            "-o",
            &device,
            "it",
        ])
        .ok();
    coracle
        .run(["create", "--name", "stopped", "-v", "it:/x", "busybox"])
        .ok();
    let file = coracle.write("new", "copied\n");
    coracle.run(["cp", file.to_str().unwrap(), "stopped:/x/new"]).ok();
    assert_eq!(
        std::fs::read_to_string(directory.join("new")).unwrap(),
        "copied\n"
    );
    coracle.run(["cp", "stopped:/x/f", "out"]).ok();
    assert_eq!(
        std::fs::read_to_string(coracle.path().join("out")).unwrap(),
        "host\n"
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("/it/_data"), "{mounts}");
    // Other options are another volume.
    let error = coracle
        .run(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "it"])
        .fails(1);
    assert!(error.contains("already exists with other options"), "{error}");
    // What somebody has mounted there is not removed with the volume.
    coracle.run(["rm", "stopped"]).ok();
    let data = coracle.path().join("root/volumes/it/_data");
    let mount = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program)
            .args(arguments)
            .arg(&data)
            .status()
            .unwrap();
        assert!(status.success());
    };
    mount("mount", &["--bind", directory.to_str().unwrap()]);
    let refused = coracle.run(["volume", "rm", "it"]);
    mount("umount", &[]);
    assert!(refused.fails(1).contains("something is mounted on it"));
    assert!(directory.join("f").exists());
    coracle.run(["volume", "rm", "it"]).ok();
}

#[test]
fn volumes_of_killed_containers_are_unmounted_by_the_next_command() {
    let coracle = sandbox();
    coracle
        .run([
            "volume",
            "create",
            "-o",
            "type=tmpfs",
            "-o",
            "device=tmpfs",
            "memory",
        ])
        .ok();
    let id = coracle
        .run(["run", "-d", "-v", "memory:/m", "busybox", "sleep", "1000"])
        .ok();
    let is_mounted = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&format!("{}/root/volumes/memory/_data", coracle.path().display()))
    };
    assert!(is_mounted());
    let directory = coracle.path().join("run").join(id.trim());
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let holds = std::fs::read_dir(process.path().join("fd")).is_ok_and(|mut descriptors| {
            descriptors.any(|fd| {
                fd.is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == directory.join("lock")))
            })
        });
        if holds && !arguments.is_empty() {
            let pid: i32 = process.file_name().to_str().unwrap().parse().unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
    // As soon as it is dead: a command looks whether it is.
    for _ in 0..200 {
        coracle.run(["ps"]).ok();
        if !is_mounted() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!is_mounted());
    assert!(!coracle.path().join("run/volumes").exists());
}
