use crate::kit::{Root, command, shell, until};
use crate::recovery::{kill_monitor, monitor_of};
use engine::containers::record::{Activity, Cause, Container, ContainerId};
use engine::containers::request::{CreateContainer, Limits, RestartPolicy};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "monitor::runs_are_remembered_when_their_container_is_gone",
        runs_are_remembered_when_their_container_is_gone,
    ),
    ("monitor::every_restart_is_a_run", every_restart_is_a_run),
    (
        "monitor::a_lack_of_memory_is_told_with_its_victim",
        a_lack_of_memory_is_told_with_its_victim,
    ),
    (
        "monitor::a_child_killed_for_memory_is_noted_while_the_container_lives",
        a_child_killed_for_memory_is_noted_while_the_container_lives,
    ),
    ("monitor::a_signal_is_told", a_signal_is_told),
    ("monitor::time_runs_out", time_runs_out),
    (
        "monitor::a_restart_policy_changes_while_it_runs",
        a_restart_policy_changes_while_it_runs,
    ),
    (
        "monitor::a_monitor_told_to_end_ends_its_container",
        a_monitor_told_to_end_ends_its_container,
    ),
    (
        "monitor::what_a_reboot_ended_comes_back",
        what_a_reboot_ended_comes_back,
    ),
    (
        "monitor::leaving_all_and_starting_all",
        leaving_all_and_starting_all,
    ),
    (
        "monitor::a_container_is_born_without_blocked_signals",
        a_container_is_born_without_blocked_signals,
    ),
];

/// More than the limit of [`tight`].
const EATER: &str = "dd if=/dev/zero of=/dev/null bs=64M count=1";

fn tight() -> Limits {
    Limits {
        memory: Some(16 << 20),
        memory_swap: Some(16 << 20),
        ..Limits::default()
    }
}

fn look(root: &Root, id: &ContainerId) -> Container {
    root.containers().inspect(id, false).unwrap()
}

fn runs_are_remembered_when_their_container_is_gone() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        name: Some("again".into()),
        ..shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3")
    });
    root.start(&id);
    root.containers().wait(&id).unwrap();
    root.start(&id);
    let open = &root.containers().runs(Some(&id)).unwrap()[0];
    assert!(open.exit.is_none());
    root.containers().wait(&id).unwrap();
    root.containers().remove(&id, false, false).unwrap();
    let passing = root.run(CreateContainer {
        remove_when_done: true,
        ..shell("exit 4")
    });
    assert_eq!(passing.exit.code, 4);
    let runs = root.containers().runs(None).unwrap();
    let codes: Vec<_> = runs.iter().map(|run| run.exit.as_ref().unwrap().code).collect();
    assert_eq!(codes, [4, 3, 3]);
    assert_eq!(
        (runs[1].name.as_str(), runs[1].image.as_str()),
        ("again", "busybox")
    );
    assert!(runs[1].command.starts_with("sh -c i=0;"), "{}", runs[1].command);
    let used = &runs[1].exit.as_ref().unwrap().usage;
    assert!(
        used.cpu.unwrap() > 1_000_000 && used.memory_peak.unwrap() > 4096,
        "{used:?}"
    );
    assert!(runs[2].started < runs[1].started);
    assert_eq!(root.containers().runs(Some(&id)).unwrap().len(), 2);
}

fn every_restart_is_a_run() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        restart: RestartPolicy::OnFailure(2),
        ..shell("exit 4")
    });
    root.start(&id);
    root.containers().wait(&id).unwrap();
    let runs = root.containers().runs(Some(&id)).unwrap();
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run.exit.as_ref().unwrap().code == 4));
    assert_eq!(
        root.actions(&id),
        ["create", "start", "die", "start", "die", "start", "die"]
    );
    // Between two runs it is one that recovery looks after, and its end is the true one.
    let id = root.create(CreateContainer {
        restart: RestartPolicy::Always,
        ..shell("exit 5")
    });
    root.start(&id);
    until("a long pause", || {
        let it = look(&root, &id);
        it.activity == Activity::Restarting && it.status.restarts >= 3
    });
    assert!(root.containers().runs(Some(&id)).unwrap()[0].exit.is_some());
    root.containers().stop(&id, None, None).unwrap();
    assert_eq!(look(&root, &id).status.exit.unwrap().code, 5);
}

fn a_lack_of_memory_is_told_with_its_victim() {
    let root = Root::new();
    let words: Vec<&str> = EATER.split(' ').collect();
    let output = root.run(CreateContainer {
        limits: tight(),
        ..command(&words)
    });
    assert_eq!((output.exit.code, output.exit.oom_killed), (137, true));
    let Some(Cause::OutOfMemory { process, limit, peak }) = output.exit.cause else {
        panic!("the cause is {:?}", output.exit.cause);
    };
    assert_eq!((process.as_deref(), limit), (Some("dd"), Some(16 << 20)));
    assert!(peak.unwrap() > 8 << 20);
    let events = root.events(None, None).unwrap();
    let die = events.iter().find(|event| event.action == "die").unwrap();
    assert_eq!(die.attributes["cause"], "out-of-memory");
    assert_eq!(die.attributes["process"], "dd");
    assert_eq!(events.iter().filter(|event| event.action == "oom").count(), 1);
    // A shell that tells of its killed child ended for the same reason; one that goes on did not.
    let told = root.run(CreateContainer {
        limits: tight(),
        ..shell(EATER)
    });
    assert!(
        matches!(told.exit.cause, Some(Cause::OutOfMemory { .. })),
        "{:?}",
        told.exit
    );
    let unmoved = root.run(CreateContainer {
        limits: tight(),
        ..shell(&format!("{EATER}; exit 0"))
    });
    assert_eq!((unmoved.exit.oom_killed, unmoved.exit.cause), (true, None));
}

fn a_child_killed_for_memory_is_noted_while_the_container_lives() {
    let root = Root::new();
    // Before the monitor has settled down to watch, and after.
    for first in ["true", "sleep 1"] {
        let id = root.create(CreateContainer {
            limits: tight(),
            stop_timeout: Some(Duration::ZERO),
            ..shell(&format!("{first}; {EATER}; sleep 1000"))
        });
        root.start(&id);
        until("the event", || {
            root.actions(&id).iter().any(|action| action == "oom")
        });
        let it = look(&root, &id);
        assert!(it.oom_killed && it.activity == Activity::Running);
        root.containers().stop(&id, None, None).unwrap();
        let it = look(&root, &id);
        let exit = it.status.exit.unwrap();
        assert!(exit.oom_killed && it.oom_killed);
        assert!(
            matches!(exit.cause, Some(Cause::Asked { signal: 9 })),
            "{:?}",
            exit.cause
        );
        let count = root.actions(&id).iter().filter(|action| *action == "oom").count();
        assert_eq!(count, 1, "it is told once");
    }
}

fn a_signal_is_told() {
    let root = Root::new();
    let id = root.run_detached("sleep 1000");
    root.containers().kill(&id, "KILL").unwrap();
    let exit = look(&root, &id).status.exit.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(exit.cause, Some(Cause::Asked { signal: 9 }));
    // From elsewhere: nobody asked us.
    let id = root.run_detached("sleep 1000");
    let pid = look(&root, &id).pid.unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let exit = root.containers().wait(&id).unwrap();
    assert_eq!((exit.signal, exit.cause), (Some(9), None));
    let events = root.events(None, None).unwrap();
    let die = events.iter().rev().find(|event| event.action == "die").unwrap();
    assert_eq!(die.attributes["signal"], "SIGKILL");
}

fn time_runs_out() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        timeout: Some(Duration::from_secs(2)),
        restart: RestartPolicy::Always,
        ..shell("trap 'exit 7' TERM; while :; do sleep 0.05; done")
    });
    root.start(&id);
    let exit = root.containers().wait(&id).unwrap();
    assert_eq!(exit.code, 7);
    assert_eq!(exit.cause, Some(Cause::Timeout { limit: 2_000_000_000 }));
    let id = root.create(CreateContainer {
        timeout: Some(Duration::from_millis(400)),
        stop_timeout: Some(Duration::from_millis(100)),
        ..shell("sleep 1000")
    });
    root.start(&id);
    // Paused or not.
    root.containers().pause(&id).unwrap();
    let exit = root.containers().wait(&id).unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert!(matches!(exit.cause, Some(Cause::Timeout { .. })));
}

fn a_restart_policy_changes_while_it_runs() {
    let root = Root::new();
    let containers = root.containers();
    let id = root.run_detached("sleep 1000");
    containers
        .set_restart_policy(&id, RestartPolicy::OnFailure(1))
        .unwrap();
    let end = |id: &ContainerId| {
        let pid = look(&root, id).pid.unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    };
    end(&id);
    until("the restart", || {
        let it = look(&root, &id);
        it.status.restarts == 1 && it.activity == Activity::Running
    });
    assert_eq!(
        look(&root, &id).settings.request.restart,
        RestartPolicy::OnFailure(1)
    );
    containers.set_restart_policy(&id, RestartPolicy::No).unwrap();
    end(&id);
    assert_eq!(containers.wait(&id).unwrap().code, 137);
    assert_eq!(look(&root, &id).activity, Activity::Exited);
    let passing = root.create(CreateContainer {
        remove_when_done: true,
        ..shell("sleep 1000")
    });
    let refused = containers
        .set_restart_policy(&passing, RestartPolicy::Always)
        .unwrap_err();
    assert!(refused.to_string().contains("AutoRemove"), "{refused}");
}

fn a_monitor_told_to_end_ends_its_container() {
    let root = Root::new();
    for signal in [Signal::TERM, Signal::HUP] {
        let id = root.create(CreateContainer {
            restart: RestartPolicy::UnlessStopped,
            ..shell("trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done")
        });
        root.start(&id);
        until("the trap", || root.logs(&id) == "ready\n");
        let monitor = Pid::from_raw(monitor_of(&root, &id)).unwrap();
        kill_process(monitor, signal).unwrap();
        let exit = root.containers().wait(&id).unwrap();
        assert_eq!((exit.code, exit.cause), (6, Some(Cause::Reboot)));
        let it = look(&root, &id);
        assert_eq!(it.activity, Activity::Exited);
        assert!(it.status.interrupted && !it.status.stopped_by_user);
    }
}

/// Makes a container look as if it had been started before the last reboot, and ends it as that would.
fn reboot_under(root: &Root, id: &ContainerId) {
    let database = rusqlite::Connection::open(root.path().join("root/state.db")).unwrap();
    database
        .execute(
            "UPDATE containers SET status = json_set(status, '$.boot', 'another') WHERE id = ?1",
            [id.as_str()],
        )
        .unwrap();
    if look(root, id).activity == Activity::Running {
        kill_monitor(root, id);
    }
    std::fs::remove_dir_all(root.path().join("run").join(id.as_str())).unwrap_or_default();
}

fn what_a_reboot_ended_comes_back() {
    let root = Root::new();
    let with = |name: &str, restart| {
        root.create(CreateContainer {
            name: Some(name.into()),
            restart,
            ..shell("sleep 1000")
        })
    };
    let ids = [
        with("always", RestartPolicy::Always),
        with("unless-stopped", RestartPolicy::UnlessStopped),
        with("on-failure", RestartPolicy::OnFailure(0)),
        with("no", RestartPolicy::No),
        with("stopped", RestartPolicy::UnlessStopped),
        with("always-stopped", RestartPolicy::Always),
    ];
    with("never-started", RestartPolicy::Always);
    for id in &ids {
        root.start(id);
    }
    for id in &ids[4..] {
        root.containers().stop(id, None, Some(Duration::ZERO)).unwrap();
    }
    for id in &ids {
        reboot_under(&root, id);
    }
    let after = root.again();
    let exit = look(&root, &ids[0]).status.exit.unwrap();
    assert_eq!((exit.code, exit.cause), (255, Some(Cause::Reboot)));
    let revived = after.containers().start_all().unwrap();
    let mut names: Vec<_> = revived.iter().map(|revived| revived.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["always", "always-stopped", "on-failure", "unless-stopped"]
    );
    assert!(revived.iter().all(|revived| revived.result.is_ok()));
    assert_eq!(look(&root, &ids[0]).activity, Activity::Running);
    assert!(
        after.containers().start_all().unwrap().is_empty(),
        "once is enough"
    );
}

fn leaving_all_and_starting_all() {
    let root = Root::new();
    let polite = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let ids = [RestartPolicy::Always, RestartPolicy::No].map(|restart| {
        let id = root.create(CreateContainer {
            restart,
            ..shell(polite)
        });
        root.start(&id);
        until("the trap", || root.logs(&id) == "ready\n");
        id
    });
    assert_eq!(root.containers().leave_all().unwrap().len(), 2);
    for id in &ids {
        assert_eq!(look(&root, id).activity, Activity::Exited);
    }
    let revived = root.containers().start_all().unwrap();
    assert_eq!(revived.len(), 1);
    assert_eq!(revived[0].id, ids[0]);
    assert_eq!(look(&root, &ids[0]).activity, Activity::Running);
}

fn a_container_is_born_without_blocked_signals() {
    let root = Root::new();
    for init in [false, true] {
        let output = root.run(CreateContainer {
            init,
            ..command(&["grep", "SigBlk", "/proc/self/status"])
        });
        assert_eq!(output.stdout, "SigBlk:\t0000000000000000\n");
    }
    let id = root.run_detached("sleep 1000");
    let output = root.exec(&id, &["grep", "SigBlk", "/proc/self/status"]);
    assert_eq!(output.stdout, "SigBlk:\t0000000000000000\n");
}
