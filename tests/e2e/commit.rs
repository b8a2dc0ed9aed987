//! `commit`.

use crate::sandbox;

mod both {
    use crate::both;
    use serde_json::Value;

    #[test]
    fn what_a_container_changed_is_in_the_image() {
        let coracle = both();
        let script = "echo new >/etc/new; rm /bin/ls; rm -rf /home; mkdir /home; echo v >/vol/file; ln /etc/new /etc/same; \
                      chown 7:8 /etc/same; chmod 4750 /etc/same; mkfifo /fifo; sleep 1000";
        coracle
            .run([
                "run", "-d", "--name", "it", "-v", "/vol", "busybox", "sh", "-c", script,
            ])
            .ok();
        while coracle.run(["exec", "it", "test", "-e", "/fifo"]).code != 0 {}
        let id = coracle
            .run(["commit", "-a", "somebody", "-m", "why", "it", "mine:1"])
            .ok();
        assert_eq!(id.trim().len(), "sha256:".len() + 64, "{id}");
        // The container has gone on.
        assert_eq!(
            coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
            "running\n"
        );
        let looks = "cat /etc/new; stat -c '%a %u:%g %h' /etc/same; test -p /fifo && echo fifo; \
                     test -e /vol/file && echo volume; test -d /home/app || echo empty";
        let seen = coracle.run(["run", "--rm", "mine:1", "sh", "-c", looks]).ok();
        assert_eq!(seen, "new\n4750 7:8 2\nfifo\nempty\n");
        let about = coracle
            .run([
                "inspect",
                "-f",
                "{{.Author}} {{.Comment}} {{len .RootFS.Layers}}",
                "mine:1",
            ])
            .ok();
        assert_eq!(about, "somebody why 2\n");
        let history = coracle
            .run(["history", "--format", "{{.Comment}}", "mine:1"])
            .ok();
        assert_eq!(history.lines().next(), Some("why"));
        coracle.run(["rm", "-fv", "it"]).ok();
        coracle.run(["rmi", "mine:1"]).ok();
    }

    #[test]
    fn the_configuration_is_the_containers_with_changes() {
        let coracle = both();
        coracle
            .run([
                "create",
                "--name",
                "it",
                "-e",
                "A=1",
                "-l",
                "k=v",
                "-u",
                "5",
                "-w",
                "/tmp",
                "-p",
                "18099:80",
                "--expose",
                "90",
                "--entrypoint",
                "/bin/busybox",
                "busybox",
                "echo",
                "one",
            ])
            .ok();
        let config = |arguments: &[&str]| -> Value {
            coracle
                .run(["commit"].iter().chain(arguments).chain(&["it", "mine"]))
                .ok();
            let text = coracle.run(["inspect", "-f", "{{json .Config}}", "mine"]).ok();
            coracle.run(["rmi", "mine"]).ok();
            serde_json::from_str(&text).unwrap()
        };
        let plain = config(&[]);
        assert_eq!(plain["Cmd"], serde_json::json!(["echo", "one"]));
        assert_eq!(plain["Entrypoint"], serde_json::json!(["/bin/busybox"]));
        assert!(
            plain["Env"].as_array().unwrap().contains(&"A=1".into()),
            "{plain}"
        );
        assert_eq!(
            (&plain["User"], &plain["WorkingDir"]),
            (&"5".into(), &"/tmp".into())
        );
        assert_eq!(plain["Labels"]["k"], "v");
        assert_eq!(
            plain["ExposedPorts"],
            serde_json::json!({"80/tcp": {}, "90/tcp": {}})
        );
        let changed = config(&[
            "-c",
            "CMD [\"two\"]",
            "-c",
            "ENV A=2 B=3",
            "-c",
            "LABEL k=w",
            "-c",
            "EXPOSE 99",
            "-c",
            "USER 6",
            "-c",
            "WORKDIR sub",
            "-c",
            "VOLUME /vv",
            "-c",
            "ONBUILD RUN x",
        ]);
        assert_eq!(changed["Cmd"], serde_json::json!(["two"]));
        let env = changed["Env"].as_array().unwrap();
        assert!(
            env.contains(&"A=2".into()) && env.contains(&"B=3".into()),
            "{changed}"
        );
        assert_eq!(
            (&changed["User"], &changed["WorkingDir"]),
            (&"6".into(), &"/tmp/sub".into())
        );
        assert_eq!(changed["Labels"]["k"], "w");
        assert!(changed["ExposedPorts"]["99/tcp"].is_object(), "{changed}");
        assert!(changed["Volumes"]["/vv"].is_object(), "{changed}");
        assert_eq!(changed["OnBuild"], serde_json::json!(["RUN x"]));
    }

    #[test]
    fn a_paused_container_stays_paused() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["pause", "it"]).ok();
        let id = coracle.run(["commit", "it"]).ok();
        assert_eq!(
            coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
            "paused\n"
        );
        coracle.run(["unpause", "it"]).ok();
        coracle.run(["rm", "-f", "it"]).ok();
        coracle.run(["rmi", id.trim()]).ok();
    }

    #[test]
    fn mistakes_make_no_image() {
        let coracle = both();
        coracle.run(["create", "--name", "it", "busybox", "true"]).ok();
        let before = coracle.run(["images", "-aq"]).ok();
        for (arguments, part) in [
            (&["commit", "nosuch"][..], "No such container: nosuch"),
            (&["commit", "it", "UPPER"], "must be lowercase"),
            (&["commit", "-c", "RUN true", "it"], "is not a valid change"),
        ] {
            let message = coracle.run(arguments).fails(1);
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(coracle.run(["images", "-aq"]).ok(), before);
    }
}

#[test]
fn the_same_changes_give_the_same_image() {
    let coracle = sandbox();
    coracle
        .run(["run", "--name", "it", "busybox", "sh", "-c", "echo x >/file"])
        .ok();
    let first = coracle.run(["commit", "it", "one"]).ok();
    assert_eq!(coracle.run(["commit", "it", "two"]).ok(), first);
}

#[test]
fn a_commit_that_is_killed_leaves_no_paused_container() {
    let coracle = sandbox();
    // Enough to be copied for a while.
    let script = "head -c 300000000 /dev/zero >/big; echo ready; while :; do sleep 0.1; done";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    while !coracle.run(["logs", "it"]).ok().contains("ready") {}
    let mut commit = coracle.start(["commit", "it", "never"]);
    // With the database alone, so that nothing is healed by looking.
    let paused = || {
        let run = coracle.path().join("run");
        let frozen = std::fs::read_dir(run.join("frozen")).is_ok_and(|mut entries| entries.next().is_some());
        frozen
            && std::fs::read_dir(&run)
                .unwrap()
                .flatten()
                .any(|entry| entry.path().join("paused").exists())
    };
    while !paused() {
        assert!(
            commit.try_wait().unwrap().is_none(),
            "it was over before it could be killed"
        );
    }
    commit.kill().unwrap();
    commit.wait().unwrap();
    assert!(paused());
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
        "running\n"
    );
    assert_eq!(coracle.run(["images", "-q", "never"]).ok(), "");
    coracle.run(["commit", "it", "now"]).ok();
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn ctrl_c_ends_a_commit_and_the_container_goes_on() {
    let coracle = sandbox();
    let script = "head -c 300000000 /dev/zero >/big; echo ready; while :; do sleep 0.1; done";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    while !coracle.run(["logs", "it"]).ok().contains("ready") {}
    let commit = coracle.start(["commit", "it", "never"]);
    let frozen = coracle.path().join("run/frozen");
    while !std::fs::read_dir(&frozen).is_ok_and(|mut entries| entries.next().is_some()) {}
    let pid = rustix::process::Pid::from_child(&commit);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = testkit::sandbox::outcome(&commit.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (130, ""), "{}", ended.stderr);
    assert!(std::fs::read_dir(&frozen).map_or(true, |mut entries| entries.next().is_none()));
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
        "running\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
}
