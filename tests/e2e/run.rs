//! `run`.

use crate::sandbox;

#[test]
fn output_goes_where_it_was_written() {
    let coracle = sandbox();
    let outcome = coracle.run(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (0, "out\n", "err\n")
    );
}

#[test]
fn exit_codes_are_dockers() {
    let coracle = sandbox();
    let code = |arguments: &[&str]| coracle.run([&["run", "--rm"], arguments].concat()).code;
    assert_eq!(code(&["busybox", "true"]), 0);
    assert_eq!(code(&["busybox", "sh", "-c", "exit 42"]), 42);
    assert_eq!(code(&["busybox", "sh", "-c", "sh -c 'kill -9 $$'"]), 137);
    assert_eq!(code(&["busybox", "nosuchcommand"]), 127);
    assert_eq!(code(&["busybox", "/nosuch/command"]), 127);
    assert_eq!(code(&["busybox", "/etc/passwd"]), 126);
    assert_eq!(code(&["busybox", "/etc"]), 126);
    assert_eq!(code(&["--nosuchflag", "busybox", "true"]), 125);
    assert_eq!(code(&["--pull", "never", "nosuchimage", "true"]), 125);
}

#[test]
fn standard_input_reaches_the_command_and_ends() {
    let coracle = sandbox();
    let outcome = coracle.run_with_input(["run", "-i", "--rm", "busybox", "wc", "-c"], &vec![b'x'; 300_000]);
    assert_eq!(outcome.ok().trim(), "300000");
    // Without -i there is nothing to read.
    let outcome = coracle.run_with_input(["run", "--rm", "busybox", "wc", "-c"], b"hello");
    assert_eq!(outcome.ok().trim(), "0");
}

#[test]
fn output_of_any_size_arrives_whole() {
    let coracle = sandbox();
    let outcome = coracle.run([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "yes 0123456789abcde | head -c 8000000",
    ]);
    let output = outcome.ok();
    assert_eq!(output.len(), 8_000_000);
    assert!(
        output
            .as_bytes()
            .chunks_exact(16)
            .all(|line| line == b"0123456789abcde\n")
    );
}

#[test]
fn containers_are_stateless() {
    let coracle = sandbox();
    coracle
        .run(["run", "busybox", "sh", "-c", "echo data > /note; cat /note"])
        .ok();
    let outcome = coracle.run(["run", "--rm", "busybox", "cat", "/note"]);
    assert!(outcome.fails(1).contains("No such file"));
}

#[test]
fn a_stopped_container_keeps_its_files() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--name",
            "keeper",
            "busybox",
            "sh",
            "-c",
            "cat /note 2>/dev/null; echo data >> /note",
        ])
        .ok();
    assert_eq!(coracle.run(["start", "-a", "keeper"]).ok(), "data\n");
    assert_eq!(coracle.run(["start", "-a", "keeper"]).ok(), "data\ndata\n");
}

#[test]
fn environment_user_directory_and_host_name() {
    let coracle = sandbox();
    let run = |flags: &[&str], script: &str| {
        coracle
            .run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
            .ok()
    };
    assert_eq!(run(&["-e", "A=1", "-e", "B=x y"], "echo $A $B"), "1 x y\n");
    let file = coracle.write("vars", "# a comment\nC=3\nD=\"quoted\"\n");
    assert_eq!(
        run(&["--env-file", file.to_str().unwrap()], "echo $C $D"),
        "3 \"quoted\"\n"
    );
    assert_eq!(
        run(&["-u", "app"], "id -u; id -g; id -G; echo $HOME"),
        "1000\n1000\n1000 50\n/home/app\n"
    );
    assert_eq!(
        run(&["-u", "1234:5678"], "id -u; id -g; id -G"),
        "1234\n5678\n5678\n"
    );
    assert_eq!(
        run(
            &["-u", "app", "--group-add", "staff", "--group-add", "7"],
            "id -G"
        ),
        "1000 7 50\n"
    );
    assert_eq!(run(&["-w", "/made/for/it"], "pwd"), "/made/for/it\n");
    assert_eq!(
        run(&["-h", "pipeline"], "hostname; cat /etc/hostname"),
        "pipeline\npipeline\n"
    );
    let hosts = run(&["--add-host", "db:10.1.2.3"], "cat /etc/hosts");
    assert!(hosts.contains("10.1.2.3\tdb\n"), "{hosts}");
}

#[test]
fn the_variable_of_the_caller_is_taken_by_name() {
    let coracle = sandbox();
    let mut command = coracle.command(["run", "--rm", "-e", "FROM_CALLER", "busybox", "env"]);
    let output = testkit::sandbox::outcome(&command.env("FROM_CALLER", "yes").output().unwrap());
    assert!(output.ok().contains("FROM_CALLER=yes\n"));
    let output = coracle
        .run(["run", "--rm", "-e", "NOT_SET_ANYWHERE", "busybox", "env"])
        .ok();
    assert!(!output.contains("NOT_SET_ANYWHERE"));
}

#[test]
fn entrypoint_replaces_the_images() {
    let coracle = sandbox();
    assert_eq!(
        coracle
            .run(["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"])
            .ok(),
        "a b\n"
    );
}

#[test]
fn cidfile_and_name_and_labels() {
    let coracle = sandbox();
    let file = coracle.path().join("cid");
    let id = coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-l",
            "team=data",
            "--cidfile",
            file.to_str().unwrap(),
            "busybox",
            "true",
        ])
        .ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id.trim());
    assert_eq!(id.trim().len(), 64);
    coracle.run(["wait", "it"]).ok();
    let label = coracle
        .run(["inspect", "-f", "{{.Config.Labels.team}}", "it"])
        .ok();
    assert_eq!(label, "data\n");
    let again = coracle
        .run(["run", "--cidfile", file.to_str().unwrap(), "busybox", "true"])
        .fails(125);
    assert!(again.contains("container ID file found"), "{again}");
}

#[test]
fn read_only_means_read_only() {
    let coracle = sandbox();
    let script =
        "touch /x 2>/dev/null && echo written; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm";
    let outcome = coracle.run([
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(outcome.ok(), "tmp\nshm\n");
}

#[test]
fn limits_are_in_force() {
    let coracle = sandbox();
    let oom = coracle.run([
        "run",
        "--name",
        "big",
        "-m",
        "20m",
        "busybox",
        "sh",
        "-c",
        "x=$(yes | head -c 100000000); echo survived",
    ]);
    assert_ne!(oom.code, 0);
    assert!(!oom.stdout.contains("survived"));
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.OOMKilled}}", "big"]).ok(),
        "true\n"
    );
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done 2>&1; wait";
    let pids = coracle.run(["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", forks]);
    assert!(
        pids.stdout.contains("can't fork") || pids.stderr.contains("can't fork"),
        "{pids:?}"
    );
    let limit = coracle.run([
        "run",
        "--rm",
        "--ulimit",
        "nofile=123:456",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -Hn",
    ]);
    assert_eq!(limit.ok(), "123\n456\n");
    let quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max";
    assert_eq!(
        coracle
            .run(["run", "--rm", "--cpus", "0.5", "busybox", "sh", "-c", quota])
            .ok(),
        "50000\n"
    );
}

#[test]
fn init_reaps_and_forwards() {
    let coracle = sandbox();
    let script = "cat /proc/1/comm; (sleep 0.1 &) ; sleep 0.3; grep -l ') Z ' /proc/[0-9]*/stat | wc -l";
    let output = coracle
        .run(["run", "--rm", "--init", "busybox", "sh", "-c", script])
        .ok();
    assert!(output.ends_with("0\n") && !output.starts_with("sh\n"), "{output}");
    assert_eq!(
        coracle
            .run(["run", "--rm", "--init", "busybox", "sh", "-c", "exit 9"])
            .code,
        9
    );
}

#[test]
fn restart_policy_tries_again() {
    let coracle = sandbox();
    let script = "echo x >> /tries; test $(wc -l < /tries) -ge 3";
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "on-failure:5",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let state = || {
        coracle
            .run([
                "inspect",
                "-f",
                "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
                "again",
            ])
            .ok()
    };
    while state() != "exited 2 0\n" {
        assert!(std::time::Instant::now() < deadline, "{}", state());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn signals_are_forwarded() {
    let coracle = sandbox();
    let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = coracle.start(["run", "--rm", "busybox", "sh", "-c", script]);
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let outcome = testkit::sandbox::outcome(&child.wait_with_output().unwrap());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (7, "caught\n"));
}

#[test]
fn detached_containers_go_on_alone() {
    let coracle = sandbox();
    let id = coracle.run(["run", "-d", "busybox", "sleep", "100"]).ok();
    let running = coracle.run(["ps", "-q", "--no-trunc"]).ok();
    assert_eq!(running, id);
    assert_eq!(coracle.run(["rm", "-f", id.trim()]).ok(), id);
}
