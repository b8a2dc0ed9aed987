//! The tutorial "Docker and PostgreSQL", with real Python and a real `pip install pandas`.

use crate::empty;
use std::path::Path;
use std::process::Command;

#[test]
fn the_demo_plays_to_its_end() {
    // Shares the host's lock with the other tests and checks for leaks at the end; the demo brings its own root.
    let coracle = empty();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pipeline");
    let output = Command::new(examples.join("demo"))
        .arg(env!("CARGO_BIN_EXE_coracle"))
        .env("TMPDIR", coracle.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for expected in [
        "Hello from Coracle!",
        "pandas ",
        "job finished successfully\n",
        "['pipeline.py', '2022-02-05']\njob finished successfully for day = 2022-02-05\n",
        "the note is gone",
        "All of the tutorial ran.",
    ] {
        assert!(
            stdout.contains(expected),
            "{expected:?} is not in: {stdout}\n{stderr}"
        );
    }
}
