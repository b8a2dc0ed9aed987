use crate::kit::{Root, command, shell, words};
use engine::containers::record::Activity;
use engine::containers::request::{
    CreateContainer, ExecRequest, ListContainers, MountRequest, MountSource, RestartPolicy,
};
use engine::containers::start::StartRequest;
use engine::{EngineError, Kind};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "lifecycle::exit_codes_are_the_commands",
        exit_codes_are_the_commands,
    ),
    (
        "lifecycle::what_cannot_be_started_says_so",
        what_cannot_be_started_says_so,
    ),
    (
        "lifecycle::a_container_starts_again_with_its_files",
        a_container_starts_again_with_its_files,
    ),
    (
        "lifecycle::names_are_unique_and_may_change",
        names_are_unique_and_may_change,
    ),
    ("lifecycle::stop_asks_and_then_kills", stop_asks_and_then_kills),
    (
        "lifecycle::a_running_container_is_removed_by_force_only",
        a_running_container_is_removed_by_force_only,
    ),
    ("lifecycle::restart_policies_hold", restart_policies_hold),
    (
        "lifecycle::a_paused_container_does_nothing",
        a_paused_container_does_nothing,
    ),
    (
        "lifecycle::many_at_once_leave_nothing",
        many_at_once_leave_nothing,
    ),
    (
        "lifecycle::volumes_get_the_images_content",
        volumes_get_the_images_content,
    ),
    ("lifecycle::exec_joins_the_container", exec_joins_the_container),
    ("lifecycle::filters_choose", filters_choose),
];

fn exit_codes_are_the_commands() {
    let root = Root::new();
    let output = root.run(shell("echo out; echo err >&2; exit 7"));
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(output.exit.code, 7);
    assert_eq!(
        root.run(shell("kill -9 $$; true")).exit.code,
        0,
        "process 1 is deaf to its own signals"
    );
    let id = root.create(shell("exit 3"));
    root.start(&id);
    assert_eq!(root.containers().wait(&id).unwrap().code, 3);
    let container = root.containers().inspect(&id, true).unwrap();
    assert_eq!(container.activity, Activity::Exited);
    assert_eq!(container.status.exit.unwrap().code, 3);
}

fn what_cannot_be_started_says_so() {
    let root = Root::new();
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let id = root.create(command(&[program]));
        let error = root.containers().start(&id, StartRequest::default()).unwrap_err();
        assert!(matches!(error, EngineError::Start(_)), "{error}");
        let container = root.containers().inspect(&id, false).unwrap();
        assert_eq!(container.activity, Activity::Created);
        assert_eq!(container.status.exit.unwrap().code, code, "{program}");
    }
    let request = CreateContainer {
        remove_when_done: true,
        ..command(&["no-such-program"])
    };
    let id = root.create(request);
    root.containers().start(&id, StartRequest::default()).unwrap_err();
    assert_eq!(
        root.containers().inspect(&id, false).unwrap_err().kind(),
        Kind::NotFound
    );
}

fn a_container_starts_again_with_its_files() {
    let root = Root::new();
    let id = root.create(shell(
        "cat /note 2>/dev/null; echo there > /note; mount | grep -c /proc; hostname",
    ));
    root.start(&id);
    root.containers().wait(&id).unwrap();
    root.start(&id);
    root.containers().wait(&id).unwrap();
    let log = root.logs(&id);
    assert!(log.contains("there\n"), "{log}");
    assert!(log.contains(id.short()), "{log}");
}

fn names_are_unique_and_may_change() {
    let root = Root::new();
    let named = |name: &str| CreateContainer {
        name: Some(name.into()),
        ..command(&["true"])
    };
    let first = root.create(named("one"));
    let second = root.create(named("two"));
    let error = root.try_create(named("one")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Conflict. The container name \"/one\" is already in use by container \"{first}\". You have to remove (or rename) that container to be able to reuse that name."
        )
    );
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(root.containers().rename(&second, "one").is_err());
    root.containers().rename(&second, "three").unwrap();
    assert_eq!(root.containers().find("three").unwrap(), second);
    assert_eq!(root.containers().find(first.short()).unwrap(), first);
    assert_eq!(
        root.containers().find("nobody").unwrap_err().to_string(),
        "No such container: nobody"
    );
}

fn stop_asks_and_then_kills() {
    let root = Root::new();
    let willing = root.run_detached("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let deaf = root.run_detached("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    for id in [&willing, &deaf] {
        while !root.logs(id).contains("ready") {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    root.containers()
        .stop(&willing, None, Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(root.containers().wait(&willing).unwrap().code, 5);
    root.containers()
        .stop(&deaf, None, Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(root.containers().wait(&deaf).unwrap().code, 137);
    root.containers().stop(&deaf, None, None).unwrap();
    let error = root.containers().kill(&deaf, "TERM").unwrap_err();
    assert!(error.to_string().contains("is not running"), "{error}");
}

fn a_running_container_is_removed_by_force_only() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        name: Some("busy".into()),
        ..shell("sleep 1000")
    });
    root.start(&id);
    let error = root.containers().remove(&id, false, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot remove container \"/busy\": container is running: stop the container before removing or force remove"
    );
    root.containers().remove(&id, true, false).unwrap();
    assert_eq!(
        root.containers().inspect(&id, false).unwrap_err().kind(),
        Kind::NotFound
    );
}

fn restart_policies_hold() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        restart: RestartPolicy::OnFailure(2),
        ..shell("echo run; exit 4")
    });
    root.start(&id);
    assert_eq!(root.containers().wait(&id).unwrap().code, 4);
    assert_eq!(root.logs(&id), "run\nrun\nrun\n");
    assert_eq!(root.containers().inspect(&id, false).unwrap().status.restarts, 2);

    let id = root.create(CreateContainer {
        restart: RestartPolicy::Always,
        ..shell("echo run; exit 0")
    });
    root.start(&id);
    while root.logs(&id).lines().count() < 3 {
        std::thread::sleep(Duration::from_millis(10));
    }
    root.containers().stop(&id, None, None).unwrap();
    let container = root.containers().inspect(&id, false).unwrap();
    assert_eq!(container.activity, Activity::Exited);
    assert!(container.status.stopped_by_user);
}

fn a_paused_container_does_nothing() {
    let root = Root::new();
    let id = root.run_detached("while :; do echo tick; sleep 0.01; done");
    root.containers().pause(&id).unwrap();
    assert_eq!(
        root.containers().inspect(&id, false).unwrap().activity,
        Activity::Paused
    );
    let ticks = root.logs(&id).len();
    std::thread::sleep(Duration::from_millis(100));
    let later = root.logs(&id).len();
    assert!(later - ticks < 20, "it ticked {ticks} -> {later}");
    assert!(
        root.containers()
            .exec(
                &id,
                &ExecRequest {
                    command: words(&["true"]),
                    ..Default::default()
                }
            )
            .is_err()
    );
    root.containers().unpause(&id).unwrap();
    assert_eq!(
        root.containers().inspect(&id, false).unwrap().activity,
        Activity::Running
    );
    root.containers().pause(&id).unwrap();
    root.containers().remove(&id, true, false).unwrap();
}

fn many_at_once_leave_nothing() {
    let root = Root::new();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let root = &root;
            scope.spawn(move || {
                let request = CreateContainer {
                    remove_when_done: true,
                    ..shell(&format!("echo {number}; exit {}", number % 3))
                };
                let output = root.run(request);
                assert_eq!(output.stdout, format!("{number}\n"));
                assert_eq!(output.exit.code, number % 3);
            });
        }
    });
    let all = ListContainers {
        all: true,
        ..ListContainers::default()
    };
    assert!(root.containers().list(&all).unwrap().is_empty());
    let directory = root.path().join("root/containers");
    let start = Instant::now();
    loop {
        let left = std::fs::read_dir(directory.join(".removed")).unwrap().count();
        // The lock is what stays.
        if left == 1 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{left} left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn volumes_get_the_images_content() {
    let root = Root::new();
    let volume = |name: &str, target: &str, no_copy: bool| MountRequest {
        target: target.into(),
        read_only: false,
        source: MountSource::Volume {
            name: Some(name.into()),
            no_copy,
            subpath: None,
            labels: std::collections::BTreeMap::new(),
            driver: None,
            options: std::collections::BTreeMap::new(),
        },
        ..MountRequest::default()
    };
    let output = root.run(CreateContainer {
        mounts: vec![volume("full", "/etc", false), volume("empty", "/home", true)],
        ..shell("ls /etc /home; echo more > /etc/added; stat -c %a /tmp")
    });
    assert!(
        output.stdout.contains("passwd") && !output.stdout.contains("app"),
        "{}",
        output.stdout
    );
    let output = root.run(CreateContainer {
        mounts: vec![volume("full", "/mnt", false)],
        ..shell("cat /mnt/added /mnt/group")
    });
    assert!(
        output.stdout.starts_with("more\n") && output.stdout.contains("staff"),
        "{}",
        output.stdout
    );
    assert_eq!(root.volumes().list().unwrap().len(), 2);
    assert!(
        root.volumes()
            .remove("full", false, false)
            .unwrap_err()
            .to_string()
            .contains("volume is in use")
    );
    let error = root.try_create(CreateContainer {
        mounts: vec![volume("x1", "/a", false), volume("x2", "/a/", false)],
        ..command(&["true"])
    });
    assert_eq!(error.unwrap_err().to_string(), "Duplicate mount point: /a");
}

fn exec_joins_the_container() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        environment: vec!["A=container".into(), "B=container".into()],
        user: Some("app".into()),
        ..shell("sleep 1000")
    });
    root.start(&id);
    let output = root.exec(
        &id,
        &[
            "sh",
            "-c",
            "id -u; echo $A; hostname; ls /proc | grep -c '^[0-9]'; exit 9",
        ],
    );
    assert!(
        output
            .stdout
            .starts_with(&format!("1000\ncontainer\n{}\n", id.short())),
        "{}",
        output.stdout
    );
    assert_eq!(output.exit.code, 9);
    let request = ExecRequest {
        command: words(&["sh", "-c", "id -u; echo $B; pwd"]),
        environment: vec!["B=exec".into()],
        user: Some("0".into()),
        working_directory: Some("/tmp".into()),
        ..ExecRequest::default()
    };
    let output = crate::kit::collect(&mut root.containers().exec(&id, &request).unwrap().unwrap());
    assert_eq!(output.stdout, "0\nexec\n/tmp\n");
    root.containers().kill(&id, "KILL").unwrap();
    let error = root.containers().exec(&id, &request).unwrap_err();
    assert_eq!(error.to_string(), format!("container {id} is not running"));
    assert_eq!(error.kind(), Kind::Conflict);
}

fn filters_choose() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        name: Some("labelled".into()),
        labels: [("team".to_owned(), "data".to_owned())].into(),
        ..shell("exit 3")
    });
    root.create(command(&["true"]));
    root.start(&id);
    root.containers().wait(&id).unwrap();
    for (key, value, count) in [
        ("label", "team", 1),
        ("label", "team=data", 1),
        ("label", "team=x", 0),
        ("name", "label", 1),
        ("status", "created", 1),
        ("exited", "3", 1),
        ("ancestor", "busybox", 2),
        ("id", id.short(), 1),
    ] {
        let request = ListContainers {
            all: true,
            filters: vec![(key.into(), value.into())],
            ..ListContainers::default()
        };
        assert_eq!(
            root.containers().list(&request).unwrap().len(),
            count,
            "{key}={value}"
        );
    }
    let request = ListContainers {
        filters: vec![("colour".into(), "red".into())],
        ..ListContainers::default()
    };
    assert_eq!(
        root.containers().list(&request).unwrap_err().to_string(),
        "invalid filter 'colour'"
    );
}
