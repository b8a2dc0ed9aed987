//! `--log-driver` and `--log-opt`.

use crate::sandbox;
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::Sandbox;

mod both {
    use crate::both;

    #[test]
    fn json_file_is_what_other_programs_read() {
        let docker = both();
        let script = "echo '<one>'; sleep 0.1; echo two >&2; sleep 0.1; printf three";
        docker
            .run(["run", "--name", "it", "busybox", "sh", "-c", script])
            .ok();
        let id = docker.run(["inspect", "-f", "{{.Id}}", "it"]).ok();
        let path = docker.run(["inspect", "-f", "{{.LogPath}}", "it"]).ok();
        assert!(
            path.trim().ends_with(&format!("/{0}/{0}-json.log", id.trim())),
            "{path}"
        );
        let text = std::fs::read_to_string(path.trim()).unwrap();
        let parts: Vec<&str> = text
            .lines()
            .map(|line| line.rsplit_once(",\"time\":\"").unwrap().0)
            .collect();
        assert_eq!(
            parts,
            [
                r#"{"log":"\u003cone\u003e\n","stream":"stdout""#,
                r#"{"log":"two\n","stream":"stderr""#,
                r#"{"log":"three","stream":"stdout""#
            ]
        );
    }

    #[test]
    fn labels_variables_and_a_tag_stand_beside_each_line() {
        let docker = both();
        let options = [
            "labels=tier,absent",
            "labels-regex=^com\\.",
            "env=COLOUR",
            "env-regex=^SIZ",
            "tag={{.Name}}/{{upper .ImageName}}",
        ];
        let options: Vec<&str> = options.iter().flat_map(|it| ["--log-opt", it]).collect();
        let more = [
            "-l",
            "tier=front end",
            "-l",
            "com.example=x",
            "-l",
            "other=y",
            "-e",
            "COLOUR=red",
            "-e",
            "SIZE=a/b",
            "-e",
            "REST=z",
        ];
        docker
            .run(
                [
                    &["run", "--name", "it"],
                    &options[..],
                    &more[..],
                    &["busybox", "echo", "hi"],
                ]
                .concat(),
            )
            .ok();
        assert_eq!(
            docker.run(["logs", "--details", "it"]).ok(),
            "COLOUR=red,SIZE=a%2Fb,com.example=x,tag=it%2FBUSYBOX,tier=front+end hi\n"
        );
        let stamped = docker.run(["logs", "--details", "-t", "it"]).ok();
        assert!(stamped.contains("Z COLOUR=red,SIZE"), "{stamped}");
        let path = docker.run(["inspect", "-f", "{{.LogPath}}", "it"]).ok();
        let text = std::fs::read_to_string(path.trim()).unwrap();
        let attributes = r#""attrs":{"COLOUR":"red","SIZE":"a/b","com.example":"x","tag":"it/BUSYBOX","tier":"front end"}"#;
        assert!(text.contains(attributes), "{text}");
    }

    #[test]
    fn without_details_there_is_a_blank() {
        let docker = both();
        docker.run(["run", "--name", "it", "busybox", "echo", "hi"]).ok();
        assert_eq!(docker.run(["logs", "--details", "it"]).ok(), " hi\n");
    }

    #[test]
    fn local_keeps_every_byte_and_is_read_again() {
        let docker = both();
        let script = r"printf 'a\303\251b\n'; seq 1 1000; echo end";
        docker
            .run([
                "run",
                "--name",
                "it",
                "--log-driver",
                "local",
                "busybox",
                "sh",
                "-c",
                script,
            ])
            .ok();
        let logs = docker.run(["logs", "it"]).ok();
        assert!(
            logs.starts_with("a\u{e9}b\n1\n2\n") && logs.ends_with("999\n1000\nend\n"),
            "{logs}"
        );
        assert_eq!(docker.run(["logs", "--tail", "2", "it"]).ok(), "1000\nend\n");
        assert_eq!(docker.run(["inspect", "-f", "{{.LogPath}}", "it"]).ok(), "\n");
        assert_eq!(
            docker
                .run(["inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "it"])
                .ok(),
            "local\n"
        );
    }

    #[test]
    fn no_driver_no_logs() {
        let docker = both();
        assert_eq!(
            docker
                .run([
                    "run",
                    "--name",
                    "it",
                    "--log-driver",
                    "none",
                    "busybox",
                    "echo",
                    "hi"
                ])
                .ok(),
            "hi\n"
        );
        let refused = docker.run(["logs", "it"]).fails(1);
        assert!(
            refused.contains("configured logging driver does not support reading"),
            "{refused}"
        );
    }

    #[test]
    fn without_waiting_what_fits_is_written() {
        let docker = both();
        let options = [
            "--log-opt",
            "mode=non-blocking",
            "--log-opt",
            "max-buffer-size=4m",
        ];
        let script = ["busybox", "sh", "-c", "seq 1 5000; echo err >&2"];
        docker
            .run([&["run", "--name", "it"], &options[..], &script[..]].concat())
            .ok();
        let logs = docker.run(["logs", "it"]);
        assert!(logs.stdout.ends_with("4999\n5000\n") && logs.stdout.lines().count() == 5000);
        assert_eq!(logs.stderr, "err\n");
        // Again, for the thread is another one.
        docker.run(["start", "-a", "it"]).ok();
        assert_eq!(docker.run(["logs", "it"]).stdout.lines().count(), 10_000);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let docker = both();
        for (options, expected) in [
            (
                &["--log-opt", "maxsize=1m"][..],
                "unknown log opt 'maxsize' for json-file log driver",
            ),
            (
                &["--log-driver", "bogus"],
                "no log driver named 'bogus' is registered",
            ),
            (
                &["--log-driver", "none", "--log-opt", "max-size=1m"],
                "invalid logging opts for driver none",
            ),
            (
                &["--log-opt", "mode=lazy"],
                "logger: logging mode not supported: lazy",
            ),
            (
                &["--log-opt", "max-buffer-size=1m"],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (&["--log-opt", "max-size=0"], "max-size must be a positive number"),
            (&["--log-opt", "max-size=huge"], "invalid size: 'huge'"),
            (&["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
            (
                &[
                    "--log-opt",
                    "compress=true",
                    "--log-opt",
                    "max-size=1m",
                    "--log-opt",
                    "max-file=1",
                ],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
        ] {
            let refused = docker
                .run([&["run", "--rm"], options, &["busybox", "true"]].concat())
                .fails(125);
            assert!(refused.contains(expected), "{options:?}: {refused}");
        }
    }
}

#[test]
fn drivers_of_other_services_are_named_as_absent() {
    let coracle = sandbox();
    for driver in [
        "syslog", "fluentd", "awslogs", "gelf", "splunk", "gcplogs", "etwlogs",
    ] {
        let refused = coracle
            .run(["run", "--log-driver", driver, "busybox", "true"])
            .fails(125);
        assert!(refused.contains(&format!("'{driver}'")), "{refused}");
        assert!(
            refused.contains("json-file, local, journald and none"),
            "{refused}"
        );
    }
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
}

#[test]
fn a_limit_is_in_force_unless_it_is_taken_away() {
    let coracle = sandbox();
    let options = |name: &str, more: &[&str]| {
        coracle
            .run([&["create", "--name", name], more, &["busybox"]].concat())
            .ok();
        let format = "{{json .HostConfig.LogConfig.Config}}";
        coracle.run(["inspect", "-f", format, name]).ok()
    };
    assert_eq!(options("one", &[]), "{\"max-file\":\"3\",\"max-size\":\"10m\"}\n");
    assert_eq!(
        options("two", &["--log-opt", "max-size=-1"]),
        "{\"max-file\":\"3\",\"max-size\":\"-1\"}\n"
    );
    let config = coracle.write(
        "config.toml",
        "log_driver = 'local'\n[log_options]\nmax-size = '5m'\nmax-file = 2\ncompress = false\n",
    );
    coracle
        .run([
            "--config-file",
            config.to_str().unwrap(),
            "create",
            "--name",
            "three",
            "busybox",
        ])
        .ok();
    let format = "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}";
    assert_eq!(
        coracle.run(["inspect", "-f", format, "three"]).ok(),
        "local {\"compress\":\"false\",\"max-file\":\"2\",\"max-size\":\"5m\"}\n"
    );
}

/// A journal that listens below the sandbox, and the configuration that names it.
fn journal(coracle: &Sandbox) -> (UnixDatagram, String) {
    let socket = coracle.path().join("journal");
    let config = coracle.write(
        "config.toml",
        &format!("journal_socket = '{}'\n", socket.display()),
    );
    let journal = UnixDatagram::bind(socket).unwrap();
    journal.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    (journal, config.to_str().unwrap().to_owned())
}

/// Reads an entry whose values have no newlines.
fn entry(journal: &UnixDatagram) -> BTreeMap<String, String> {
    let mut buffer = vec![0; 256 << 10];
    let count = journal.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec())
        .unwrap()
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_journal_gets_dockers_fields_and_logs_reads_a_copy() {
    let coracle = sandbox();
    let (journal, config) = journal(&coracle);
    let script = "echo out; sleep 0.1; echo err >&2; sleep 0.1; head -c 20000 /dev/zero | tr '\\0' x; echo";
    let options = [
        "--log-driver",
        "journald",
        "--log-opt",
        "labels=tier",
        "-l",
        "tier=front",
    ];
    coracle
        .run(
            [
                &["--config-file", &config, "run", "--name", "it"],
                &options[..],
                &["busybox", "sh", "-c", script],
            ]
            .concat(),
        )
        .ok();
    let id = coracle.run(["inspect", "-f", "{{.Id}}", "it"]).ok();
    let (out, err, long, rest) = (entry(&journal), entry(&journal), entry(&journal), entry(&journal));
    for (name, expected) in [
        ("MESSAGE", "out"),
        ("PRIORITY", "6"),
        ("CONTAINER_ID", &id[..12]),
        ("CONTAINER_ID_FULL", id.trim()),
        ("CONTAINER_NAME", "it"),
        ("CONTAINER_TAG", &id[..12]),
        ("SYSLOG_IDENTIFIER", &id[..12]),
        ("IMAGE_NAME", "busybox"),
        ("TIER", "front"),
        ("CONTAINER_LOG_ORDINAL", "1"),
    ] {
        assert_eq!(out[name], expected, "{name}");
    }
    assert!(!out.contains_key("CONTAINER_PARTIAL_MESSAGE"));
    assert_eq!((err["MESSAGE"].as_str(), err["PRIORITY"].as_str()), ("err", "3"));
    assert_eq!(long["MESSAGE"].len(), 16 << 10);
    assert_eq!(long["CONTAINER_PARTIAL_MESSAGE"], "true");
    assert_eq!(rest["CONTAINER_PARTIAL_LAST"], "true");
    assert_eq!(rest["CONTAINER_PARTIAL_ID"], long["CONTAINER_PARTIAL_ID"]);
    assert_eq!(long["MESSAGE"].len() + rest["MESSAGE"].len(), 20_000);
    let logs = coracle.run(["logs", "it"]);
    assert_eq!(logs.stdout, format!("out\n{}\n", "x".repeat(20_000)));
    assert_eq!(logs.stderr, "err\n");
}

#[test]
fn a_journal_that_does_not_read_slows_its_container_and_stops_nobody() {
    let coracle = sandbox();
    let (journal, config) = journal(&coracle);
    let options = [
        "--config-file",
        &config,
        "run",
        "-d",
        "--name",
        "it",
        "--log-driver",
        "journald",
        "--log-opt",
        "cache-disabled=true",
    ];
    coracle
        .run([&options[..], &["busybox", "sh", "-c", "seq 1 5000; sleep 1000"]].concat())
        .ok();
    let refused = coracle.run(["logs", "it"]).fails(1);
    assert!(refused.contains("does not support reading"), "{refused}");
    for number in 1..=5000 {
        assert_eq!(entry(&journal)["MESSAGE"], number.to_string());
    }
    // A journal that is gone holds nobody up.
    drop(journal);
    coracle.run(["stop", "-t", "1", "it"]).ok();
}

#[test]
fn without_a_journal_there_is_no_such_driver() {
    let coracle = sandbox();
    let config = coracle.write("config.toml", "journal_socket = '/nonexistent/socket'\n");
    let refused = coracle
        .run([
            "--config-file",
            config.to_str().unwrap(),
            "run",
            "--log-driver",
            "journald",
            "busybox",
            "true",
        ])
        .fails(125);
    assert!(
        refused.contains("failed to initialize logging driver: journald is not enabled on this host"),
        "{refused}"
    );
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
}

/// A small filesystem of its own, as long as this lives.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, c"size=2m").unwrap();
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_costs_lines_and_says_so_and_the_container_lives() {
    let coracle = sandbox();
    let script = "yes | head -c 1000000; touch /flooded; until [ -e /go ]; do sleep 0.1; done; echo after";
    let created = coracle.run([
        "create",
        "--name",
        "it",
        "--log-driver",
        "local",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let id = created.ok();
    let directory = coracle
        .path()
        .join("root/containers")
        .join(id.trim())
        .join("local-logs");
    std::fs::create_dir(&directory).unwrap();
    let disk = SmallDisk::mount(&directory);
    // When it goes there is room for all that may still be in the pipe, and for more.
    std::fs::write(directory.join("ballast"), vec![0; 3 << 19]).unwrap();
    coracle.run(["start", "it"]).ok();
    let begun = Instant::now();
    while coracle.run(["exec", "it", "test", "-e", "/flooded"]).code != 0 {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "the container is held up"
        );
    }
    std::fs::remove_file(directory.join("ballast")).unwrap();
    coracle.run(["exec", "it", "touch", "/go"]).ok();
    assert_eq!(coracle.run(["wait", "it"]).ok(), "0\n");
    let logs = coracle.run(["logs", "it"]);
    assert!(logs.stdout.ends_with("y\nafter\n"), "{}", logs.stdout.len());
    assert_eq!(logs.stderr.lines().count(), 1, "{}", logs.stderr);
    let lost: usize = logs
        .stderr
        .strip_prefix('[')
        .and_then(|text| text.split_once(' '))
        .map(|(number, _)| number.parse().unwrap())
        .unwrap();
    assert!(logs.stderr.contains("No space left on device"), "{}", logs.stderr);
    assert_eq!(
        logs.stdout.lines().count() - 1 + lost,
        500_000,
        "every line is counted"
    );
    drop(disk);
}

/// Kilobytes of memory of the monitor of the container `it`, of one kind.
fn memory_of_monitor(coracle: &Sandbox, kind: &str) -> u64 {
    let field = |pid: &str, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let pid = coracle.run(["inspect", "-f", "{{.State.Pid}}", "it"]).ok();
    let monitor = field(pid.trim(), "PPid:");
    field(&monitor, kind).parse().unwrap()
}

#[test]
fn a_flood_needs_little_memory_and_leaves_less() {
    let coracle = sandbox();
    let script = "yes 'a line that says little' | head -c 30000000; touch /flooded; sleep 1000";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    while coracle.run(["exec", "it", "test", "-e", "/flooded"]).code != 0 {
        assert!(memory_of_monitor(&coracle, "VmRSS:") < 32 << 10);
        // Others get their turn.
        coracle.run(["ps", "-a"]).ok();
    }
    let begun = Instant::now();
    while memory_of_monitor(&coracle, "RssAnon:") > 700 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{} kB are kept",
            memory_of_monitor(&coracle, "RssAnon:")
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    coracle.run(["rm", "-f", "it"]).ok();
}
