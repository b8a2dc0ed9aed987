use crate::kit::{Root, shell};
use engine::Kind;
use engine::containers::record::{Activity, ContainerId};
use engine::containers::request::{CreateContainer, NetworkMode};
use std::path::PathBuf;

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "recovery::a_dead_monitor_is_noticed_and_cleared_away",
        a_dead_monitor_is_noticed_and_cleared_away,
    ),
    (
        "recovery::a_dead_monitor_of_a_passing_container_takes_it_along",
        a_dead_monitor_of_a_passing_container_takes_it_along,
    ),
];

/// Finds the monitor of a container: the parent of its first process.
pub(crate) fn monitor_of(root: &Root, id: &ContainerId) -> i32 {
    let pid = root.containers().inspect(id, false).unwrap().pid.unwrap();
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

pub(crate) fn kill_monitor(root: &Root, id: &ContainerId) {
    let monitor = rustix::process::Pid::from_raw(monitor_of(root, id)).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    while root.containers().inspect(id, false).unwrap().activity == Activity::Running {
        std::thread::yield_now();
    }
}

fn a_dead_monitor_is_noticed_and_cleared_away() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        network: NetworkMode::Bridge,
        ..shell("sleep 1000")
    });
    root.start(&id);
    kill_monitor(&root, &id);
    let engine = root.again();
    let container = engine.containers().inspect(&id, false).unwrap();
    assert_eq!(container.activity, Activity::Exited);
    assert_eq!(container.status.exit.unwrap().code, 137);
    assert!(container.status.endpoint.is_none());
    engine
        .containers()
        .start(&id, engine::containers::start::StartRequest::default())
        .unwrap();
    assert_eq!(
        engine.containers().inspect(&id, false).unwrap().activity,
        Activity::Running
    );
}

fn a_dead_monitor_of_a_passing_container_takes_it_along() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        remove_when_done: true,
        ..shell("sleep 1000")
    });
    root.start(&id);
    kill_monitor(&root, &id);
    let engine = root.again();
    assert_eq!(
        engine.containers().inspect(&id, false).unwrap_err().kind(),
        Kind::NotFound
    );
}
