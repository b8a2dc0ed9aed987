//! `stats`.

use crate::sandbox;
use serde_json::Value;

mod both {
    use crate::both;
    use serde_json::Value;

    #[test]
    fn one_look_at_what_containers_use() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "busy",
                "-m",
                "64m",
                "busybox",
                "sh",
                "-c",
                "while :; do :; done",
            ])
            .ok();
        coracle
            .run(["run", "-d", "--name", "idle", "busybox", "sleep", "1000"])
            .ok();
        let table = coracle.run(["stats", "--no-stream"]).ok();
        let header = table.lines().next().unwrap();
        assert_eq!(
            header
                .split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect::<Vec<_>>(),
            [
                "CONTAINER ID",
                "NAME",
                "CPU %",
                "MEM USAGE / LIMIT",
                "MEM %",
                "NET I/O",
                "BLOCK I/O",
                "PIDS"
            ]
        );
        assert_eq!(table.lines().count(), 3);
        let format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}} {{.Container}}";
        let busy = coracle
            .run(["stats", "--no-stream", "--format", format, "busy"])
            .ok();
        let words: Vec<&str> = busy.split_whitespace().collect();
        assert_eq!(
            (words[0], words[4], words[5], words[6]),
            ("busy", "64MiB", "1", "busy")
        );
        let used: f64 = words[1].trim_end_matches('%').parse().unwrap();
        // One busy loop; how much it gets depends on who else is there.
        assert!((3.0..=130.0).contains(&used), "{busy}");
        coracle.run(["rm", "-f", "busy", "idle"]).ok();
    }

    #[test]
    fn stopped_containers_use_nothing_and_are_shown_on_demand() {
        let coracle = both();
        coracle.run(["create", "--name", "it", "busybox", "true"]).ok();
        assert_eq!(coracle.run(["stats", "--no-stream", "--format", "json"]).ok(), "");
        for arguments in [&["-a"][..], &["it"]] {
            let line = coracle
                .run(
                    ["stats", "--no-stream", "--no-trunc", "--format", "json"]
                        .iter()
                        .chain(arguments),
                )
                .ok();
            let row: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(row["Name"], "it");
            assert_eq!(
                (&row["CPUPerc"], &row["MemPerc"]),
                (&"0.00%".into(), &"0.00%".into())
            );
            assert_eq!(
                (&row["MemUsage"], &row["NetIO"]),
                (&"0B / 0B".into(), &"0B / 0B".into())
            );
            assert_eq!(row["ID"].as_str().unwrap().len(), 64);
        }
        let missing = coracle.run(["stats", "--no-stream", "nosuch"]).fails(1);
        assert!(missing.contains("No such container: nosuch"), "{missing}");
    }

    #[test]
    fn what_goes_through_the_network_is_counted() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        let sent = || {
            let line = coracle
                .run(["stats", "--no-stream", "--format", "{{.NetIO}}", "it"])
                .ok();
            line.trim().rsplit(" / ").next().unwrap().to_owned()
        };
        let before = sent();
        // To the gateway, whatever it answers.
        let gateway = coracle
            .run([
                "inspect",
                "-f",
                "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}",
                "it",
            ])
            .ok();
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8; do ping -c 1 -W 1 -s 1400 {}; done",
            gateway.trim()
        );
        coracle.run(["exec", "it", "sh", "-c", &script]);
        assert_ne!(sent(), before);
        coracle.run(["rm", "-f", "it"]).ok();
    }
}

#[test]
fn without_a_terminal_each_table_follows_the_other() {
    use std::io::Read;
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    let mut child = coracle.start(["stats", "--format", "{{.Name}}"]);
    let mut read = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"it\nit\n");
    child.kill().unwrap();
    child.wait().unwrap();
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn past_runs_are_told_also_of_containers_that_are_gone() {
    let coracle = sandbox();
    let eats = "head -c 20000000 /dev/zero | tail -c 10000000 | wc -c; exit 3";
    coracle
        .run(["run", "--rm", "--name", "gone", "busybox", "sh", "-c", eats])
        .fails(3);
    coracle
        .run(["run", "-d", "--name", "there", "busybox", "sleep", "1000"])
        .ok();
    let table = coracle.run(["stats", "--history"]).ok();
    let header: Vec<&str> = table
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect();
    assert_eq!(
        header,
        [
            "CONTAINER ID",
            "NAME",
            "STARTED",
            "DURATION",
            "EXIT",
            "CAUSE",
            "CPU",
            "PEAK MEMORY",
            "READ / WRITTEN"
        ]
    );
    assert_eq!(table.lines().count(), 3, "{table}");
    let line = coracle
        .run(["stats", "--history", "--format", "json", "gone"])
        .ok();
    let run: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&run["Name"], &run["Exit"], &run["Image"]),
        (&"gone".into(), &"3".into(), &"busybox".into())
    );
    // `tail` holds ten million bytes.
    let peak = run["MemPeak"].as_str().unwrap();
    assert!(peak.ends_with("MiB") && !peak.starts_with("0."), "{run}");
    assert_ne!(run["CPU"], "--");
    let running = coracle
        .run(["stats", "--history", "--format", "{{.Name}} {{.Exit}}", "there"])
        .ok();
    assert_eq!(running, "there running\n");
    let missing = coracle.run(["stats", "--history", "nosuch"]).fails(1);
    assert!(missing.contains("No such container: nosuch"), "{missing}");
    coracle.run(["rm", "-f", "there"]).ok();
}
