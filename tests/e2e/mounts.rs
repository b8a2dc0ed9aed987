//! What is mounted: parts of volumes and images, other containers' volumes, read-only all the way down.

use crate::sandbox;
use testkit::Sandbox;
use testkit::sandbox::Outcome;

fn run(engine: &Sandbox, flags: &[&str], script: &str) -> Outcome {
    engine.run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

mod both {
    use super::run;
    use crate::both;

    #[test]
    fn another_containers_volumes() {
        let engine = both();
        let directory = engine.path().join("bound");
        std::fs::create_dir(&directory).unwrap();
        let bind = format!("{}:/bound", directory.display());
        engine
            .run([
                "run",
                "--name",
                "first",
                "-v",
                "named:/named",
                "-v",
                "/anonymous",
                "-v",
                &bind,
                "--tmpfs",
                "/memory",
                "busybox",
                "sh",
                "-c",
                "echo a > /named/f; echo b > /anonymous/f; echo c > /bound/f",
            ])
            .ok();
        let from = ["--volumes-from", "first"];
        assert_eq!(
            run(
                &engine,
                &from,
                "cat /named/f /anonymous/f /bound/f; echo d > /bound/g"
            )
            .ok(),
            "a\nb\nc\n"
        );
        assert!(directory.join("g").exists());
        let outcome = run(
            &engine,
            &["--volumes-from", "first:ro"],
            "cat /named/f; touch /named/x",
        );
        assert_eq!(outcome.stdout, "a\n");
        assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
        // What is asked for goes before what is inherited.
        assert_eq!(
            run(
                &engine,
                &["--volumes-from", "first", "-v", "other:/named"],
                "ls /named"
            )
            .ok(),
            ""
        );
        assert!(
            run(&engine, &["--volumes-from", "nobody"], "true")
                .fails(125)
                .contains("No such container: nobody")
        );
        assert!(
            run(&engine, &["--volumes-from", "first:x"], "true")
                .fails(125)
                .contains("invalid mode: x")
        );
        engine.run(["rm", "-v", "first"]).ok();
    }

    #[test]
    fn a_read_only_bind_can_not_be_written_and_its_file_is_the_hosts() {
        let engine = both();
        let file = engine.write("bound/f", "host\n");
        let bind = format!("type=bind,src={},dst=/f,readonly", file.display());
        let outcome = run(&engine, &["--mount", &bind], "cat /f; echo x > /f");
        assert_eq!(outcome.stdout, "host\n");
        assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
    }

    #[test]
    fn wrong_mounts_in_dockers_words() {
        let engine = both();
        for (mount, message) in [
            (
                "type=bind,src=/nosuch,dst=/x",
                "bind source path does not exist: /nosuch",
            ),
            ("type=volume,src=v1,dst=x", "mount path must be absolute"),
            ("type=tmpfs,dst=/x,volume-nocopy", "cannot mix"),
            ("type=bind,dst=/x", "field Source must not be empty"),
            ("type=nosuch,dst=/x", "mount type unknown"),
        ] {
            let error = run(&engine, &["--mount", mount], "true").fails(125);
            assert!(error.contains(message), "{mount}: {error}");
        }
    }

    #[test]
    fn labels_out_of_files_and_exposed_ranges() {
        let engine = both();
        let file = engine.write("labels", "# note\na=1\nb\n");
        engine
            .run([
                "create",
                "--name",
                "labelled",
                "--label-file",
                file.to_str().unwrap(),
                "--label",
                "c=3",
                "--expose",
                "8000-8001/udp",
                "--expose",
                "90",
                "busybox",
            ])
            .ok();
        let show = |format: &str| {
            engine
                .run(["inspect", "-f", format, "labelled"])
                .ok()
                .trim()
                .to_owned()
        };
        // A key alone is left out by Docker's client, and is an empty label here.
        assert_eq!(
            show("{{.Config.Labels.a}} {{.Config.Labels.c}} {{len .Config.ExposedPorts}}"),
            "1 3 3"
        );
        assert_eq!(
            show("{{json .Config.ExposedPorts}}"),
            r#"{"8000/udp":{},"8001/udp":{},"90/tcp":{}}"#
        );
        engine.run(["rm", "labelled"]).ok();
    }
}

#[test]
fn a_part_of_a_volume() {
    let engine = sandbox();
    run(
        &engine,
        &["-v", "data:/d"],
        "mkdir -p /d/a/b; echo in > /d/a/b/f; ln -s /etc /d/out; ln -s a /d/in",
    )
    .ok();
    let part = |subpath: &str| format!("type=volume,src=data,dst=/x,volume-subpath={subpath}");
    assert_eq!(run(&engine, &["--mount", &part("a/b")], "cat /x/f").ok(), "in\n");
    assert_eq!(run(&engine, &["--mount", &part("a/b/f")], "cat /x").ok(), "in\n");
    // A link leads inside the volume or nowhere.
    assert_eq!(run(&engine, &["--mount", &part("in")], "cat /x/b/f").ok(), "in\n");
    let error = run(&engine, &["--mount", &part("out")], "cat /x/passwd").fails(125);
    assert!(error.contains("no such file or directory"), "{error}");
    let error = run(&engine, &["--mount", &part("nosuch")], "true").fails(125);
    assert!(error.contains("cannot access path 'nosuch'"), "{error}");
    let error = run(&engine, &["--mount", &part("../x")], "true").fails(125);
    assert!(
        error.contains("subpath must be a relative path within the volume"),
        "{error}"
    );
    let error = run(
        &engine,
        &["--mount", "type=volume,dst=/x,volume-subpath=a"],
        "true",
    )
    .fails(125);
    assert!(
        error.contains("must not set Subpath when using anonymous volumes"),
        "{error}"
    );
}

#[test]
fn an_images_files() {
    let engine = sandbox();
    let mount = "type=image,src=busybox,dst=/image";
    let outcome = run(
        &engine,
        &["--mount", mount],
        "[ \"$(cat /image/etc/passwd)\" = \"$(cat /etc/passwd)\" ] && echo same; touch /image/x",
    );
    assert_eq!(outcome.stdout, "same\n");
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
    let part = "type=image,src=busybox,dst=/image,image-subpath=etc";
    assert_eq!(
        run(
            &engine,
            &["--mount", part],
            "[ \"$(cat /image/passwd)\" = \"$(cat /etc/passwd)\" ] && echo same"
        )
        .ok(),
        "same\n"
    );
    // It is kept as long as a container has it, also when its name leads elsewhere.
    let layered = engine.path().join("context");
    std::fs::create_dir(&layered).unwrap();
    std::fs::write(
        layered.join("Dockerfile"),
        "FROM busybox\nRUN mkdir /made && echo one > /made/f\nRUN echo two > /made/g\n",
    )
    .unwrap();
    engine
        .run(["build", "-q", "-t", "tools", layered.to_str().unwrap()])
        .ok();
    engine
        .run([
            "create",
            "--name",
            "user",
            "--mount",
            "type=image,src=tools,dst=/t,image-subpath=made",
            "busybox",
            "sh",
            "-c",
            "cat /t/f /t/g; grep -c ' /t ' /proc/mounts",
        ])
        .ok();
    engine.run(["image", "rm", "-f", "tools"]).ok();
    engine.run(["builder", "prune", "-af"]);
    engine.run(["image", "prune", "-af"]).ok();
    assert_eq!(engine.run(["start", "-a", "user"]).ok(), "one\ntwo\n1\n");
    let shown = engine
        .run(["inspect", "-f", "{{json .HostConfig.Mounts}}", "user"])
        .ok();
    for part in [
        r#""Type":"image""#,
        r#""Source":"tools""#,
        r#""Target":"/t""#,
        r#""Subpath":"made""#,
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn read_only_goes_all_the_way_down_unless_told_otherwise() {
    let engine = sandbox();
    let top = engine.path().join("top");
    let below = top.join("below");
    std::fs::create_dir_all(&below).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(&below)
        .status()
        .unwrap();
    assert!(mounted.success());
    let write = |options: &str| {
        let mount = format!("type=bind,src={},dst=/x,readonly{options}", top.display());
        run(
            &engine,
            &["--mount", &mount],
            "touch /x/below/f && echo written; touch /x/f && echo top",
        )
    };
    let results = [
        ("", write("")),
        (
            "readonly",
            write(",bind-recursive=readonly,bind-propagation=rprivate"),
        ),
        ("writable", write(",bind-recursive=writable")),
        ("disabled", write(",bind-recursive=disabled")),
    ];
    let unmounted = std::process::Command::new("umount").arg(&below).status().unwrap();
    assert!(unmounted.success());
    for (name, outcome) in results {
        let expected = if name == "writable" { "written\n" } else { "" };
        assert_eq!(outcome.stdout, expected, "{name}: {outcome:?}");
    }
}

#[test]
fn mounts_are_shown_as_they_were_written() {
    let engine = sandbox();
    let directory = engine.path().join("bound");
    std::fs::create_dir(&directory).unwrap();
    let short = format!("{}:/short:ro,z", directory.display());
    let long = format!("type=bind,src={},dst=/long,readonly", directory.display());
    engine
        .run([
            "create",
            "--name",
            "shown",
            "-v",
            &short,
            "--mount",
            &long,
            "-v",
            "vol1:/vol",
            "--mount",
            "type=volume,src=vol2,dst=/vol2,volume-label=a=b",
            "--tmpfs",
            "/t:size=1m",
            "busybox",
        ])
        .ok();
    let show = |format: &str| {
        engine
            .run(["inspect", "-f", format, "shown"])
            .ok()
            .trim()
            .to_owned()
    };
    assert_eq!(
        show("{{json .HostConfig.Binds}}"),
        format!("[\"{short}\",\"vol1:/vol\"]")
    );
    let mounts = show("{{json .HostConfig.Mounts}}");
    for part in [
        r#""Target":"/long""#,
        r#""ReadOnly":true"#,
        r#""Labels":{"a":"b"}"#,
    ] {
        assert!(mounts.contains(part), "{mounts}");
    }
    assert_eq!(show("{{json .HostConfig.Tmpfs}}"), r#"{"/t":"size=1048576"}"#);
    assert_eq!(
        engine
            .run(["volume", "inspect", "-f", "{{.Labels.a}}", "vol2"])
            .ok(),
        "b\n"
    );
}

#[test]
fn a_missing_source_is_made_if_asked_for() {
    let engine = sandbox();
    let source = engine.path().join("made/here");
    let mount = format!("type=bind,src={},dst=/x,bind-create-src", source.display());
    run(&engine, &["--mount", &mount], "echo in > /x/f").ok();
    assert_eq!(std::fs::read_to_string(source.join("f")).unwrap(), "in\n");
    let file = engine.write("file", "it is one\n");
    let mount = format!("type=bind,src={},dst=/x,bind-create-src", file.display());
    assert_eq!(run(&engine, &["--mount", &mount], "cat /x").ok(), "it is one\n");
}

/// What the host mounts later comes in with `rslave`, and what it has mounted read-only stays so.
#[test]
fn what_the_host_mounts_is_seen_as_the_propagation_says() {
    let engine = sandbox();
    let top = engine.path().join("top");
    let (below, later) = (top.join("below"), top.join("later"));
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&later).unwrap();
    let mount = |arguments: &[&str], place: &std::path::Path| {
        let status = std::process::Command::new("mount")
            .args(arguments)
            .arg(place)
            .status()
            .unwrap();
        assert!(status.success());
    };
    mount(&["--bind", top.to_str().unwrap()], &top);
    mount(&["--make-rshared"], &top);
    mount(&["-t", "tmpfs", "-o", "ro", "tmpfs"], &below);
    let private = format!("type=bind,src={},dst=/x", top.display());
    let slave = format!("{private},bind-propagation=rslave");
    for (name, bind) in [("private", &private), ("slave", &slave)] {
        engine
            .run([
                "run", "-d", "--name", name, "--mount", bind, "busybox", "sleep", "1000",
            ])
            .ok();
    }
    mount(&["-t", "tmpfs", "tmpfs"], &later);
    std::fs::write(later.join("seen"), "seen\n").unwrap();
    let looks: Vec<Outcome> = ["private", "slave"]
        .into_iter()
        .map(|name| engine.run(["exec", name, "sh", "-c", "cat /x/later/seen; touch /x/below/f"]))
        .collect();
    engine.run(["rm", "-f", "private", "slave"]).ok();
    for place in [&later, &below, &top] {
        let status = std::process::Command::new("umount").arg(place).status().unwrap();
        assert!(status.success());
    }
    assert_eq!(looks[0].stdout, "");
    assert_eq!(looks[1].stdout, "seen\n");
    for look in &looks {
        assert!(look.stderr.contains("Read-only"), "{look:?}");
    }
}

#[test]
fn memory_of_a_size_and_mode() {
    let engine = sandbox();
    let mount = "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700";
    let seen = run(
        &engine,
        &["--mount", mount],
        "grep ' /t ' /proc/mounts; stat -c %a /t",
    )
    .ok();
    assert!(seen.contains("size=2048k") && seen.ends_with("\n700\n"), "{seen}");
    let refused = run(&engine, &["--mount", "type=tmpfs,dst=/t,src=x"], "true").fails(125);
    assert!(
        refused.contains("field Source must not be specified"),
        "{refused}"
    );
}

/// What an image has at a volume's place is there with all that belongs to it, unless it is not wanted.
#[test]
fn what_is_copied_into_a_volume_is_whole() {
    let engine = sandbox();
    engine.write(
        "context/Dockerfile",
        "FROM busybox\n\
         RUN mkdir -p /full/dir && echo one > /full/dir/f && ln /full/dir/f /full/twin && ln -s dir /full/link \
         && chown 70:71 /full/dir/f && chmod 2750 /full/dir && touch -d '2001-02-03 04:05:06' /full/dir/f \
         && mkfifo /full/fifo && chown 5:6 /full && chmod 711 /full\n\
         VOLUME /full\n",
    );
    let context = engine.path().join("context");
    engine
        .run(["build", "-q", "-t", "full", context.to_str().unwrap()])
        .ok();
    let look = "cd /full; stat -c '%n %u:%g %a %F %h' . dir dir/f link fifo; stat -c %y dir/f | cut -c1-19; \
                [ dir/f -ef twin ] && echo twins; readlink link";
    let expected = run_image(&engine, "full", &["--tmpfs", "/other"], look);
    assert!(
        expected.contains("dir/f 70:71") && expected.contains("2001-02-03 04:05:06\ntwins\ndir\n"),
        "{expected}"
    );
    assert_eq!(run_image(&engine, "full", &["-v", "named:/full"], look), expected);
    assert_eq!(
        run_image(
            &engine,
            "full",
            &["--mount", "type=volume,src=other,dst=/full"],
            look
        ),
        expected
    );
    // A second time it is as it was left.
    run_image(
        &engine,
        "full",
        &["-v", "named:/full"],
        "rm -r /full/*; touch /full/kept",
    );
    assert_eq!(
        run_image(&engine, "full", &["-v", "named:/full"], "ls /full"),
        "kept\n"
    );
    for nothing in [
        "type=volume,src=bare,dst=/full,volume-nocopy",
        "type=volume,dst=/full,volume-nocopy=1",
    ] {
        assert_eq!(
            run_image(&engine, "full", &["--mount", nothing], "ls /full"),
            "",
            "{nothing}"
        );
    }
    let mount = format!(
        "type=bind,src={},dst=/full",
        engine.path().join("context").display()
    );
    assert_eq!(
        run_image(&engine, "full", &["--mount", &mount], "ls /full"),
        "Dockerfile\n"
    );
    assert_eq!(
        engine.run(["volume", "ls", "-q"]).ok(),
        "bare\nnamed\nother\n",
        "those without a name have gone with their containers"
    );
}

fn run_image(engine: &Sandbox, image: &str, flags: &[&str], script: &str) -> String {
    engine
        .run([&["run", "--rm"], flags, &[image, "sh", "-c", script]].concat())
        .ok()
}
