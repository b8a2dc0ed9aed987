//! `diff`.

use crate::sandbox;

mod both {
    use crate::both;
    use testkit::Sandbox;

    fn changes(coracle: &Sandbox, name: &str) -> Vec<String> {
        let mut lines: Vec<String> = coracle
            .run(["diff", name])
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        // Docker's order is its daemon's of the moment.
        lines.sort_by(|one, other| one[2..].cmp(&other[2..]));
        lines
    }

    #[test]
    fn changes_of_a_running_and_of_a_stopped_container() {
        let coracle = both();
        let script = "echo x >/etc/new; mkdir -p /q/r/s; echo y >/q/r/f; rm /bin/ls; chmod 700 /home; \
                      rm -rf /usr; mkdir /usr; ln -s a /l; mkfifo /fifo; touch /tmp/t; rm -rf /var; echo file >/var; \
                      mv /root /root2; : >>/etc/group; echo ready; sleep 1000";
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
            .ok();
        while !coracle.run(["logs", "it"]).ok().contains("ready") {}
        let expected = [
            "C /bin",
            "D /bin/ls",
            "C /etc",
            "A /etc/new",
            "A /fifo",
            "C /home",
            "A /l",
            "A /q",
            "A /q/r",
            "A /q/r/f",
            "A /q/r/s",
            "D /root",
            "A /root2",
            "C /tmp",
            "A /tmp/t",
            "C /usr",
            "D /usr/bin",
            "C /var",
        ];
        assert_eq!(changes(&coracle, "it"), expected);
        coracle.run(["kill", "it"]).ok();
        assert_eq!(changes(&coracle, "it"), expected);
    }

    #[test]
    fn what_was_never_started_has_changed_nothing() {
        let coracle = both();
        coracle.run(["create", "--name", "it", "busybox", "true"]).ok();
        assert_eq!(changes(&coracle, "it"), [""; 0]);
        // Nor does the start itself leave a trace.
        coracle.run(["start", "-a", "it"]).ok();
        assert_eq!(changes(&coracle, "it"), [""; 0]);
        let missing = coracle.run(["diff", "nosuch"]).fails(1);
        assert!(missing.contains("No such container: nosuch"), "{missing}");
    }

    #[test]
    fn mount_points_are_changes_and_what_is_mounted_is_not() {
        let coracle = both();
        let command = "echo x >/deep/er/file; echo x >/home/file";
        coracle
            .run([
                "run", "--name", "it", "-v", "/deep/er", "--tmpfs", "/home", "busybox", "sh", "-c", command,
            ])
            .ok();
        assert_eq!(changes(&coracle, "it"), ["A /deep", "A /deep/er"]);
        coracle.run(["rm", "-v", "it"]).ok();
    }
}

#[test]
fn changes_come_sorted() {
    let coracle = sandbox();
    let script = "mkdir /b /a; touch /b/2 /b/1 /a/x; rm /bin/ls /bin/cat";
    coracle
        .run(["run", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    assert_eq!(
        coracle.run(["diff", "it"]).ok(),
        "A /a\nA /a/x\nA /b\nA /b/1\nA /b/2\nC /bin\nD /bin/cat\nD /bin/ls\n"
    );
}
