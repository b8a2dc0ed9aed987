use crate::kit::{Root, collect, shell};
use engine::containers::logs::LogEvent;
use engine::containers::request::{CreateContainer, LogRequest};
use engine::containers::session::SessionEvent;

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "streams::input_reaches_the_process_and_ends",
        input_reaches_the_process_and_ends,
    ),
    (
        "streams::much_goes_both_ways_at_once",
        much_goes_both_ways_at_once,
    ),
    (
        "streams::several_clients_see_the_same",
        several_clients_see_the_same,
    ),
    (
        "streams::a_client_that_leaves_stops_nothing",
        a_client_that_leaves_stops_nothing,
    ),
    (
        "streams::a_slow_client_holds_nobody_up",
        a_slow_client_holds_nobody_up,
    ),
    ("streams::a_terminal_is_one", a_terminal_is_one),
    (
        "streams::logs_are_followed_to_the_end",
        logs_are_followed_to_the_end,
    ),
    ("streams::logs_rotate", logs_rotate),
];

fn interactive(script: &str) -> CreateContainer {
    CreateContainer {
        open_stdin: true,
        stdin_once: true,
        ..shell(script)
    }
}

fn input_reaches_the_process_and_ends() {
    let root = Root::new();
    let id = root.create(interactive("cat; echo end"));
    let mut session = root.attach_start(&id);
    session.send_stdin(b"hello ").unwrap();
    session.send_stdin(b"there\n").unwrap();
    session.close_stdin().unwrap();
    let output = collect(&mut session);
    assert_eq!(output.stdout, "hello there\nend\n");
}

fn much_goes_both_ways_at_once() {
    let root = Root::new();
    let id = root.create(interactive("head -c 3000000 /dev/zero | tr '\\0' x; cat | wc -c"));
    let mut session = root.attach_start(&id);
    let input = vec![b'y'; 2_000_000];
    session.send_stdin(&input).unwrap();
    session.close_stdin().unwrap();
    let output = collect(&mut session);
    assert_eq!(output.stdout.len(), 3_000_000 + "2000000\n".len());
    assert!(output.stdout.ends_with("2000000\n"));
}

fn several_clients_see_the_same() {
    let root = Root::new();
    let id = root.create(interactive("read line; echo $line; read line; echo $line"));
    let mut first = root.attach_start(&id);
    let mut second = root.containers().attach(&id).unwrap();
    assert!(matches!(second.next().unwrap(), Some(SessionEvent::Started)));
    assert!(matches!(second.next().unwrap(), Some(SessionEvent::Room)));
    first.send_stdin(b"one\n").unwrap();
    assert!(matches!(second.next().unwrap(), Some(SessionEvent::Stdout(bytes)) if bytes == b"one\n"));
    second.send_stdin(b"two\n").unwrap();
    assert_eq!(collect(&mut first).stdout, "one\ntwo\n");
    assert_eq!(collect(&mut second).stdout, "two\n");
}

fn a_client_that_leaves_stops_nothing() {
    let root = Root::new();
    let id = root.create(shell("echo a; sleep 0.3; echo b; echo c >&2; exit 6"));
    drop(root.attach_start(&id));
    assert_eq!(root.containers().wait(&id).unwrap().code, 6);
    let log = root.logs(&id);
    assert!(
        log.contains("a\n") && log.contains("b\n") && log.contains("c\n"),
        "{log}"
    );
}

fn a_slow_client_holds_nobody_up() {
    let root = Root::new();
    let id = root.create(shell(
        "sleep 0.2; head -c 20000000 /dev/zero | tr '\\0' x; exit 2",
    ));
    root.start(&id);
    // It attaches and never reads.
    let _lazy = root.containers().attach(&id).unwrap();
    assert_eq!(root.containers().wait(&id).unwrap().code, 2);
}

fn a_terminal_is_one() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        terminal: true,
        ..interactive("stty size; read line; stty size; echo \"got $line\"")
    });
    let request = engine::containers::start::StartRequest {
        attach: true,
        size: Some((24, 80)),
    };
    let mut session = root.containers().start(&id, request).unwrap().unwrap();
    let mut seen = String::new();
    while !seen.contains("24 80") {
        match session.next().unwrap().unwrap() {
            SessionEvent::Stdout(bytes) => seen.push_str(&String::from_utf8(bytes).unwrap()),
            SessionEvent::Room => {}
            other => panic!("{other:?} after {seen}"),
        }
    }
    session.resize(50, 100).unwrap();
    session.send_stdin(b"word\n").unwrap();
    let output = collect(&mut session);
    seen.push_str(&output.stdout);
    assert!(seen.contains("50 100") && seen.contains("got word"), "{seen}");
    assert_eq!(output.exit.code, 0);
}

fn logs_are_followed_to_the_end() {
    let root = Root::new();
    let id = root.run_detached("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done");
    let request = LogRequest {
        follow: true,
        stdout: true,
        stderr: true,
        ..LogRequest::default()
    };
    let mut seen = String::new();
    let each = &mut |event: LogEvent<'_>| {
        if let LogEvent::Entry(entry) = event {
            seen.push_str(&String::from_utf8_lossy(entry.bytes));
        }
        true
    };
    root.containers().logs(&id, &request, each).unwrap();
    assert_eq!(seen, "1\n2\n3\n4\n5\n");
    let request = LogRequest {
        tail: Some(2),
        stdout: true,
        ..LogRequest::default()
    };
    let mut seen = Vec::new();
    root.containers()
        .logs(&id, &request, &mut |event| {
            if let LogEvent::Entry(entry) = event {
                seen.push(entry.bytes.to_vec());
            }
            true
        })
        .unwrap();
    assert_eq!(seen, [b"4\n", b"5\n"]);
}

fn logs_rotate() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        log_options: [("max-size", "10k"), ("max-file", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..shell("for i in $(seq 1 2000); do echo line $i; done")
    });
    root.start(&id);
    root.containers().wait(&id).unwrap();
    let log = root.logs(&id);
    assert!(
        log.ends_with("line 1999\nline 2000\n"),
        "{}",
        &log[log.len().saturating_sub(100)..]
    );
    let directory = root.path().join("root/containers").join(id.as_str());
    let name = |suffix: &str| directory.join(format!("{}-json.log{suffix}", id.as_str()));
    assert!(name(".1").exists() && !name(".2").exists());
}
