//! PostgreSQL in a container, on a volume and a network, filled by a pipeline in another container.

use crate::empty;
use std::path::Path;
use std::process::Command;

#[test]
fn the_demo_with_a_database_plays_to_its_end() {
    // Shares the host's lock with the other tests and checks for leaks at the end; the demo brings its own root.
    let coracle = empty();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/taxi");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let output = Command::new(examples.join("demo"))
        .arg(env!("CARGO_BIN_EXE_coracle"))
        .env("TMPDIR", coracle.path())
        .env("CORACLE_DEMO_ROWS", "30000")
        .env("CORACLE_DEMO_PORT", port.to_string())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for expected in [
        "job finished successfully: 30000 rows added to trips,",
        "job finished successfully: 0 rows added to trips_again, 30000 were there already",
        "the database kept what it was given",
    ] {
        assert!(
            stdout.contains(expected),
            "{expected:?} is not in: {stdout}\n{stderr}"
        );
    }
}
