//! Dockerfiles that cannot be built: each file in `bad/` with what is said of it beside it.
//!
//! `CORACLE_GOLDEN=write` writes the messages anew, to be looked at before they are committed.

use super::build;
use crate::sandbox;
use std::path::Path;

#[test]
fn every_mistake_has_its_message() {
    let coracle = sandbox();
    coracle.write("context/.dockerignore", "*.log\n");
    coracle.write("context/file.txt", "file\n");
    coracle.write("context/other.txt", "other\n");
    coracle.write("context/ignored.log", "log\n");
    coracle.write("context/dir/inner.txt", "inner\n");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/build/bad");
    let write = std::env::var("CORACLE_GOLDEN").is_ok_and(|value| value == "write");
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "dockerfile")
        })
        .collect();
    names.sort();
    assert!(names.len() >= 300, "{}", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        coracle.write("context/Dockerfile", &text);
        let outcome = build(&coracle, &["-t", "never"]);
        let said = message(&outcome.stderr);
        let golden = path.with_extension("message");
        if write {
            std::fs::write(&golden, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if outcome.code != 1 || said != expected {
            wrong.push(format!(
                "{} ended with {} and said\n{said}instead of\n{expected}",
                path.display(),
                outcome.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!coracle.run(["images"]).ok().contains("never"));
}

/// What is said at the end: without the log of steps, and without times.
fn message(stderr: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in stderr.lines() {
        let line = line.trim_end();
        let timed = line.split_once(' ').map_or(line, |(time, rest)| {
            if time.contains('.') && time.parse::<f64>().is_ok() {
                rest
            } else {
                line
            }
        });
        if !line.starts_with('#') && !line.is_empty() {
            lines.push(timed);
        }
    }
    lines.push("");
    lines.join("\n")
}
