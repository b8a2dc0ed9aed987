//! `attach`.

use crate::sandbox;
use std::io::Write;

#[test]
fn a_second_client_sees_and_speaks() {
    let coracle = sandbox();
    let script = "while read line; do echo got $line; done";
    coracle
        .run(["run", "-di", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let mut child = coracle.start(["attach", "it"]);
    child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut line = [0; 10];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"got hello\n");
    // A client that dies takes nothing with it.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Running}}", "it"]).ok(),
        "true\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
    let dead = coracle.run(["attach", "it"]).fails(1);
    assert!(dead.contains("No such container: it"), "{dead}");
}
