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
    (
        "recovery::whoever_removes_what_a_monitor_left_clears_up_after_it",
        whoever_removes_what_a_monitor_left_clears_up_after_it,
    ),
    (
        "recovery::whoever_starts_what_a_monitor_left_clears_up_after_it",
        whoever_starts_what_a_monitor_left_clears_up_after_it,
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
    assert!(container.status.endpoints.is_empty());
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

/// The cgroups of a container, in all hierarchies of either version.
fn cgroups_of(root: &Root, id: &ContainerId) -> Vec<PathBuf> {
    let name = testkit::Residue::of(&root.path().join("root"), &root.path().join("run"))
        .mark()
        .to_owned();
    let top = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(&top)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    hierarchies
        .chain([top])
        .map(|hierarchy| hierarchy.join(format!("coracle-{name}")).join(id.as_str()))
        .filter(|cgroup| cgroup.is_dir())
        .collect()
}

/// The engine was open, and had healed all there was, before the monitor died.
fn whoever_removes_what_a_monitor_left_clears_up_after_it() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        network: NetworkMode::Bridge,
        ..shell("sleep 1000")
    });
    root.start(&id);
    assert!(!cgroups_of(&root, &id).is_empty());
    kill_monitor(&root, &id);
    root.containers().remove(&id, false, false).unwrap();
    assert_eq!(cgroups_of(&root, &id), Vec::<PathBuf>::new());
    let link = format!("/sys/class/net/ve{}", &id.as_str()[..11]);
    assert!(!std::path::Path::new(&link).exists(), "{link} is left");
}

/// Likewise, and it had died before it could tell which process it has.
fn whoever_starts_what_a_monitor_left_clears_up_after_it() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        network: NetworkMode::Bridge,
        ..shell("sleep 1000")
    });
    root.start(&id);
    kill_monitor(&root, &id);
    std::fs::remove_file(root.path().join("run").join(id.as_str()).join("process")).unwrap();
    root.start(&id);
    let container = root.containers().inspect(&id, false).unwrap();
    assert_eq!(container.activity, Activity::Running);
    // The first run is over, and its address with it: the second got the first free one again.
    assert_eq!(
        container.status.endpoints[0].endpoint.address.octets()[3],
        2,
        "the dead run's address is still taken"
    );
}
