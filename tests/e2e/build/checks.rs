//! The build checks, and what else can be said of a Dockerfile without building it.

use super::build;
use crate::sandbox;

const DUBIOUS: &str = "FROM busybox as Stage\nENV name value\nCOPY $nmae /x\n";

#[test]
fn check_finds_and_fails() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", DUBIOUS);
    let outcome = build(&coracle, &["--check"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let report = outcome.stdout;
    assert!(
        report.starts_with("Check complete, 4 warnings have been found!\n"),
        "{report}"
    );
    for expected in [
        "WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n'as' and 'FROM' keywords' casing do not match\nDockerfile:1\n",
        "WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\nStage name 'Stage' should be lowercase\n",
        "WARNING: LegacyKeyValueFormat",
        "Usage of undefined variable '$nmae'",
        "   2 | >>> ENV name value\n",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
    coracle.write("context/Dockerfile", "FROM busybox\nCMD [\"x\"]\n");
    let clean = build(&coracle, &["--check"]).ok();
    assert_eq!(clean, "Check complete, no warnings found.\n");
    let json = build(&coracle, &["--call", "check,format=json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["warnings"], serde_json::json!([]));
}

#[test]
fn a_build_warns_and_the_directive_decides() {
    let coracle = sandbox();
    let dockerfile = "FROM busybox\nENV name value\n";
    coracle.write("context/Dockerfile", dockerfile);
    let log = build(&coracle, &[]).stderr;
    assert!(
        log.contains("LegacyKeyValueFormat: \"ENV key=value\" should be used"),
        "{log}"
    );
    coracle.write(
        "context/Dockerfile",
        &format!("# check=skip=LegacyKeyValueFormat\n{dockerfile}"),
    );
    let log = build(&coracle, &[]).stderr;
    assert!(!log.contains("LegacyKeyValueFormat:"), "{log}");
    coracle.write("context/Dockerfile", &format!("# check=error=true\n{dockerfile}"));
    let log = build(&coracle, &[]).fails(1);
    assert!(log.contains("lint violation found"), "{log}");
    let log = build(&coracle, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"]);
    log.ok();
}

#[test]
fn targets_and_arguments_are_listed() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "# VERSION which version\nARG VERSION=1\n# base is what all stand on\nFROM busybox AS base\nARG WHO\n\
         RUN --mount=type=secret,id=pw,required --mount=type=ssh true\nFROM base\nRUN x\n",
    );
    assert_eq!(
        build(&coracle, &["--call", "targets"]).ok(),
        "TARGET      DESCRIPTION\nbase        is what all stand on\n(default)\n"
    );
    assert_eq!(
        build(&coracle, &["--call", "outline", "--target", "base"]).ok(),
        "TARGET:      base\nDESCRIPTION: is what all stand on\n\nBUILD ARG   VALUE   DESCRIPTION\nVERSION     1       which version\n\
         WHO\n\nSECRET   REQUIRED\npw       true\n\nSSH       REQUIRED\ndefault\n"
    );
}
