//! PostgreSQL in a container: on a volume and a network, filled by a pipeline in another container; and versions of its
//! volume, taken while it works.

use crate::{empty, sandbox};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::Sandbox;

/// Against hangs.
const LONG: Duration = Duration::from_mins(2);

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn the_demo_with_a_database_plays_to_its_end() {
    // Shares the host's lock with the other tests and checks for leaks at the end; the demo brings its own root.
    let coracle = empty();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let output = Command::new(examples().join("taxi/demo"))
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

/// Notes each number that the database has acknowledged.
const WRITER: &str = "\
    n=0; while psql -qU postgres -c \"INSERT INTO ledger VALUES ($((n + 1)))\"; do \
      n=$((n + 1)); echo $n >/tmp/acknowledged.new; mv /tmp/acknowledged.new /tmp/acknowledged; \
    done";

#[test]
fn a_version_of_a_working_database_has_every_committed_row() {
    let coracle = sandbox();
    with_image(&coracle);
    start(&coracle, "db", "pg");
    sql(&coracle, "db", "CREATE TABLE ledger (n bigint PRIMARY KEY)");
    let bench = [
        "exec", "db", "pgbench", "-q", "-i", "-s", "3", "-U", "postgres", "postgres",
    ];
    coracle.run(bench).ok();
    coracle.run(["exec", "-d", "db", "bash", "-c", WRITER]).ok();
    coracle
        .run([
            "exec", "-d", "db", "pgbench", "-n", "-c", "4", "-T", "600", "-U", "postgres", "postgres",
        ])
        .ok();
    wait_for("some rows", || acknowledged(&coracle) >= 20);

    let before = acknowledged(&coracle);
    coracle.run(["volume", "snapshot", "pg", "busy"]).ok();
    let after = acknowledged(&coracle);
    // It goes on.
    wait_for("more rows", || acknowledged(&coracle) > after + 5);
    coracle.run(["volume", "clone", "pg:busy", "copy"]).ok();
    start(&coracle, "clone", "copy");
    // One more may have been committed whose acknowledgement was still on its way.
    let rows = check(&coracle, "clone");
    assert!(
        (before..=after + 1).contains(&rows),
        "{before} <= {rows} <= {after} + 1"
    );

    // The same, put back in the place of what has gone on since.
    coracle.run(["rm", "-f", "db"]).ok();
    coracle.run(["volume", "restore", "--discard", "pg", "busy"]).ok();
    start(&coracle, "db", "pg");
    assert_eq!(check(&coracle, "db"), rows);
    coracle.run(["rm", "-f", "db", "clone"]).ok();
}

/// Builds examples/postgres on a Debian that is made here.
fn with_image(coracle: &Sandbox) {
    let base = Command::new(examples().join("pipeline/base"))
        .arg(coracle.program())
        .arg("/var/cache/coracle-demo")
        .env("CORACLE_ROOT", coracle.path().join("root"))
        .env("CORACLE_RUN_ROOT", coracle.path().join("run"))
        .output()
        .unwrap();
    assert!(base.status.success(), "{base:?}");
    let context = examples().join("postgres");
    coracle
        .run(["build", "-q", "-t", "postgres", context.to_str().unwrap()])
        .ok();
}

fn start(coracle: &Sandbox, name: &str, volume: &str) {
    let mount = format!("{volume}:/var/lib/postgresql/data");
    coracle
        .run([
            "run",
            "-d",
            "--name",
            name,
            "-v",
            &mount,
            "-e",
            "POSTGRES_PASSWORD=secret",
            "postgres",
        ])
        .ok();
    let form = ["inspect", "--format", "{{.State.Health.Status}}", name];
    wait_for("a healthy database", || {
        coracle.run(form).stdout.trim() == "healthy"
    });
}

fn sql(coracle: &Sandbox, container: &str, query: &str) -> String {
    let output = coracle
        .run(["exec", container, "psql", "-AtU", "postgres", "-c", query])
        .ok();
    output.trim().to_owned()
}

fn acknowledged(coracle: &Sandbox) -> u64 {
    let said = coracle.run(["exec", "db", "cat", "/tmp/acknowledged"]);
    said.stdout.trim().parse().unwrap_or(0)
}

/// Checks that nothing is missing in between, and that pgbench's sums agree. Returns how many rows the ledger has.
fn check(coracle: &Sandbox, container: &str) -> u64 {
    let ledger = sql(coracle, container, "SELECT count(*), max(n) FROM ledger");
    let (count, last) = ledger.split_once('|').unwrap();
    assert_eq!(count, last, "a committed row is missing");
    let sums = sql(
        coracle,
        container,
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
                (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)",
    );
    let sums: Vec<&str> = sums.split('|').collect();
    assert!(
        sums.iter().all(|sum| sum == &sums[0] && !sum.is_empty()),
        "{sums:?}"
    );
    count.parse().unwrap()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
