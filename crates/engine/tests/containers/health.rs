use crate::kit::{Root, shell, until};
use engine::containers::record::{Activity, Cause, Container, ContainerId, Health, HealthStatus};
use engine::containers::request::{
    CreateContainer, HealthRequest, ListContainers, OnUnhealthy, RestartPolicy,
};
use std::time::Duration;

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "health::a_container_becomes_healthy_and_unhealthy",
        a_container_becomes_healthy_and_unhealthy,
    ),
    (
        "health::a_check_that_hangs_dies_with_its_children",
        a_check_that_hangs_dies_with_its_children,
    ),
    (
        "health::what_is_paused_is_not_checked",
        what_is_paused_is_not_checked,
    ),
    ("health::a_start_period_forgives", a_start_period_forgives),
    (
        "health::the_unhealthy_are_dealt_with",
        the_unhealthy_are_dealt_with,
    ),
    (
        "health::a_check_that_cannot_be_started_has_failed",
        a_check_that_cannot_be_started_has_failed,
    ),
];

const SOON: Duration = Duration::from_millis(100);

fn check(test: &str) -> HealthRequest {
    HealthRequest {
        test: Some(vec!["CMD-SHELL".into(), test.into()]),
        interval: Some(SOON),
        retries: Some(2),
        ..HealthRequest::default()
    }
}

fn start(root: &Root, health: HealthRequest) -> ContainerId {
    let id = root.create(CreateContainer {
        health,
        ..shell("sleep 1000")
    });
    root.start(&id);
    id
}

fn look(root: &Root, id: &ContainerId) -> Container {
    root.containers().inspect(id, false).unwrap()
}

fn health(root: &Root, id: &ContainerId) -> Health {
    look(root, id).health.unwrap()
}

fn a_container_becomes_healthy_and_unhealthy() {
    let root = Root::new();
    let id = start(&root, check("echo seen; echo it >&2; [ -e /well ]"));
    assert_eq!(health(&root, &id).status, HealthStatus::Starting);
    until("unhealthy", || {
        health(&root, &id).status == HealthStatus::Unhealthy
    });
    root.exec(&id, &["touch", "/well"]);
    until("healthy", || health(&root, &id).status == HealthStatus::Healthy);
    let found = health(&root, &id);
    assert_eq!(found.failing_streak, 0);
    assert!((3..=5).contains(&found.log.len()));
    let last = found.log.last().unwrap();
    assert_eq!((last.code, last.output.as_str()), (0, "seen\nit\n"));
    assert!(last.finished >= last.started && found.log[0].started < last.started);
    let listed = |value: &str| {
        let request = ListContainers {
            filters: vec![("health".into(), value.into())],
            ..ListContainers::default()
        };
        root.containers().list(&request).unwrap().len()
    };
    assert_eq!(
        (listed("healthy"), listed("unhealthy"), listed("none")),
        (1, 0, 0)
    );
    root.containers().stop(&id, None, Some(Duration::ZERO)).unwrap();
    let actions = root.actions(&id);
    let verdicts: Vec<_> = actions
        .iter()
        .filter(|action| action.starts_with("health"))
        .collect();
    assert_eq!(verdicts, ["health_status: unhealthy", "health_status: healthy"]);
    // As with Docker, what does not run is not healthy; what was found is kept.
    let found = health(&root, &id);
    assert_eq!(found.status, HealthStatus::Unhealthy);
    assert_eq!(found.log.last().unwrap().code, 0);
    root.start(&id);
    assert_eq!(health(&root, &id).status, HealthStatus::Starting);
}

fn a_check_that_hangs_dies_with_its_children() {
    let root = Root::new();
    let id = start(
        &root,
        HealthRequest {
            timeout: Some(Duration::from_millis(300)),
            interval: Some(Duration::from_millis(200)),
            ..check("echo well; sleep 777 & (sleep 778 &) ; (setsid sleep 779 &) ; sleep 780")
        },
    );
    until("the first check", || !health(&root, &id).log.is_empty());
    let found = health(&root, &id).log.remove(0);
    assert_eq!(
        (found.code, found.output.as_str()),
        (-1, "Health check exceeded timeout (300ms): well\n")
    );
    root.containers().pause(&id).unwrap();
    root.containers().unpause(&id).unwrap();
    // At most one check at a time: whatever sleeps is of the last one.
    let sleepers = root.exec(&id, &["sh", "-c", "ps | grep -c '[s]leep 77'"]);
    let count: u32 = sleepers.stdout.trim().parse().unwrap();
    assert!(count <= 3, "{count} are left over");
    until("the last one is done", || {
        root.exec(&id, &["sh", "-c", "ps | grep -c '[s]leep 7[78]'"])
            .stdout
            .trim()
            == "0"
    });
}

fn what_is_paused_is_not_checked() {
    let root = Root::new();
    let id = start(&root, check("true"));
    until("healthy", || health(&root, &id).status == HealthStatus::Healthy);
    root.containers().pause(&id).unwrap();
    std::thread::sleep(SOON * 3);
    let before = health(&root, &id).log;
    std::thread::sleep(SOON * 6);
    assert_eq!(health(&root, &id).log, before);
    assert_eq!(look(&root, &id).activity, Activity::Paused);
    root.containers().unpause(&id).unwrap();
    until("another check", || health(&root, &id).log != before);
    assert_eq!(health(&root, &id).status, HealthStatus::Healthy);
}

fn a_start_period_forgives() {
    let root = Root::new();
    let id = start(
        &root,
        HealthRequest {
            start_period: Some(Duration::from_mins(10)),
            start_interval: Some(SOON),
            interval: Some(Duration::from_mins(10)),
            ..check("[ -e /well ]")
        },
    );
    until("some checks", || health(&root, &id).log.len() >= 4);
    let found = health(&root, &id);
    assert_eq!((found.status, found.failing_streak), (HealthStatus::Starting, 0));
    root.exec(&id, &["touch", "/well"]);
    until("healthy", || health(&root, &id).status == HealthStatus::Healthy);
}

fn the_unhealthy_are_dealt_with() {
    let root = Root::new();
    let act = |on_failure, restart, script: &str| {
        let id = root.create(CreateContainer {
            health: HealthRequest {
                on_failure,
                ..check("echo it is ill; false")
            },
            restart,
            ..shell(script)
        });
        root.start(&id);
        id
    };
    let polite = "trap 'exit 9' TERM; while :; do sleep 0.05; done";
    let id = act(OnUnhealthy::Kill, RestartPolicy::No, polite);
    let exit = root.containers().wait(&id).unwrap();
    assert_eq!(exit.signal, Some(9));
    let ill = Cause::Unhealthy {
        output: "it is ill".into(),
    };
    assert_eq!(exit.cause, Some(ill.clone()));
    let id = act(OnUnhealthy::Stop, RestartPolicy::Always, polite);
    let exit = root.containers().wait(&id).unwrap();
    assert_eq!((exit.code, exit.cause), (9, Some(ill.clone())));
    assert!(look(&root, &id).status.stopped_by_user);
    let id = act(OnUnhealthy::Restart, RestartPolicy::No, polite);
    until("two restarts", || look(&root, &id).status.restarts >= 2);
    let exit = look(&root, &id).status.exit.unwrap();
    assert_eq!((exit.code, exit.cause), (9, Some(ill)));
    root.containers().stop(&id, None, None).unwrap();
    assert_eq!(look(&root, &id).activity, Activity::Exited);
}

fn a_check_that_cannot_be_started_has_failed() {
    let root = Root::new();
    let id = start(
        &root,
        HealthRequest {
            test: Some(vec!["CMD".into(), "no-such-program".into()]),
            ..check("")
        },
    );
    until("unhealthy", || {
        health(&root, &id).status == HealthStatus::Unhealthy
    });
    let last = health(&root, &id).log.pop().unwrap();
    assert_eq!(last.code, -1);
    assert!(last.output.contains("no-such-program"), "{}", last.output);
    assert_eq!(look(&root, &id).activity, Activity::Running);
}
