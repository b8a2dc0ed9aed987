//! `rename`, and the messages of `port`, `kill`, `pause`, `start` and `rm`.

mod both {
    use crate::both;

    #[test]
    fn a_running_container_gets_another_name() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "before", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["create", "--name", "other", "busybox", "true"]).ok();
        let hosts = coracle.run(["exec", "before", "cat", "/etc/hosts"]).ok();
        assert_eq!(coracle.run(["rename", "before", "after"]).ok(), "");
        assert_eq!(
            coracle.run(["inspect", "-f", "{{.Name}}", "after"]).ok(),
            "/after\n"
        );
        assert_eq!(coracle.run(["exec", "after", "cat", "/etc/hosts"]).ok(), hosts);
        for (from, to, part) in [
            ("before", "x1", "No such container: before"),
            (
                "after",
                "other",
                "The container name \"/other\" is already in use by container",
            ),
            (
                "after",
                "after",
                "Renaming a container with the same name as its current name",
            ),
            ("after", "a b", "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
            ("after", "", "Neither old nor new names may be empty"),
        ] {
            let message = coracle.run(["rename", from, to]).fails(1);
            assert!(message.contains(part), "{message}");
        }
        coracle.run(["rename", "after", "/before"]).ok();
        assert_eq!(
            coracle.run(["inspect", "-f", "{{.Name}}", "before"]).ok(),
            "/before\n"
        );
        coracle.run(["rm", "-f", "before"]).ok();
    }

    #[test]
    fn commands_on_several_containers_go_on_after_a_failure() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "one", "busybox", "sleep", "1000"])
            .ok();
        coracle
            .run(["run", "-d", "--name", "two", "busybox", "sleep", "1000"])
            .ok();
        for command in [
            &["pause"][..],
            &["unpause"],
            &["kill", "-s", "CONT"],
            &["restart", "-t", "0"],
            &["stop", "-t", "0"],
            &["start"],
            &["rm", "-f"],
        ] {
            let names = ["one", "nosuch", "two"];
            let outcome = coracle.run(command.iter().chain(&names));
            assert_eq!(outcome.stdout, "one\ntwo\n", "{command:?}: {}", outcome.stderr);
            assert!(
                outcome.stderr.contains("No such container: nosuch"),
                "{}",
                outcome.stderr
            );
            // With --force it is enough that it is gone.
            assert_eq!(outcome.code, i32::from(command[0] != "rm"), "{command:?}");
        }
    }

    #[test]
    fn what_a_container_does_decides_what_can_be_done() {
        let coracle = both();
        coracle.run(["create", "--name", "made", "busybox", "true"]).ok();
        coracle
            .run(["run", "-d", "--name", "held", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["pause", "held"]).ok();
        for (arguments, part) in [
            (
                &["attach", "made"][..],
                "annot attach to a stopped container, start it first",
            ),
            (
                &["attach", "held"],
                "annot attach to a paused container, unpause it first",
            ),
            (
                &["start", "held"],
                "cannot start a paused container, try unpause instead",
            ),
            (&["kill", "made"], "is not running"),
            (
                &["kill", "nosuch"],
                "cannot kill container: nosuch: No such container: nosuch",
            ),
            (&["kill", "-s", "NOSUCH", "held"], "invalid signal: NOSUCH"),
            (&["pause", "made"], "is not running"),
            (&["pause", "held"], "is already paused"),
            (&["unpause", "made"], "is not paused"),
            (&["rm", "held"], "container is paused and must be unpaused first"),
            (&["wait", "nosuch"], "No such container: nosuch"),
        ] {
            let message = coracle.run(arguments).fails(1);
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
        coracle.run(["rm", "-f", "held"]).ok();
    }

    #[test]
    fn wait_tells_of_each_in_order_also_of_one_that_is_removed() {
        let coracle = both();
        coracle
            .run(["run", "--name", "five", "busybox", "sh", "-c", "exit 5"])
            .fails(5);
        coracle
            .run([
                "run",
                "-d",
                "--rm",
                "--name",
                "six",
                "busybox",
                "sh",
                "-c",
                "sleep 1; exit 6",
            ])
            .ok();
        assert_eq!(coracle.run(["wait", "six", "five"]).ok(), "6\n5\n");
        let outcome = coracle.run(["wait", "five", "nosuch", "five"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, "5\n5\n"));
        coracle
            .run(["run", "-d", "--name", "killed", "busybox", "sleep", "1000"])
            .ok();
        let waiting = coracle.start(["wait", "killed"]);
        coracle.run(["rm", "-f", "killed"]).ok();
        let ended = testkit::sandbox::outcome(&waiting.wait_with_output().unwrap());
        // It may have come too late.
        assert!(
            ended.stdout == "137\n" || ended.stderr.contains("No such container"),
            "{ended:?}"
        );
    }
}
