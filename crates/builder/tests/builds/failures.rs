//! How builds fail, and that they leave nothing behind.

use crate::workshop::Workshop;
use builder::{BuildError, BuildEvent};
use std::sync::atomic::Ordering;

#[test]
fn a_failing_command_is_shown_with_its_place_and_output() {
    let mut shop = Workshop::new();
    shop.build.tags = vec!["mine".parse().unwrap()];
    let before = shop.run("FROM base\nRUN write /x 1\n").id();
    let outcome = shop.run("FROM base\nRUN write /y 1\nRUN \\\n  say hello;exit 3\n");
    let error = outcome.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "process \"/bin/sh -c say hello;exit 3\" did not complete successfully: exit code: 3"
    );
    let (file, lines, text) = error.location().unwrap();
    assert_eq!((file, lines.first, lines.last), ("Dockerfile", 3, 4));
    assert_eq!(text, "RUN \\\n  say hello;exit 3");
    let BuildError::Command(failure) = &error else {
        panic!("{error}")
    };
    assert_eq!(failure.output, ["hello"]);
    assert_eq!(failure.step, "[3/3] RUN   say hello;exit 3");
    assert!(
        outcome
            .events
            .iter()
            .any(|event| matches!(event, BuildEvent::Failed { .. }))
    );
    // The tag is where it was, and the step before the failure need not be done again.
    let tagged = shop
        .store
        .image_by_reference(&"mine".parse().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(tagged.id, before);
    shop.run("FROM base\nRUN write /y 1\nRUN true\n").id();
    assert_eq!(shop.ran(), ["/bin/sh -c true"]);
}

#[test]
fn cancelling_stops_and_leaves_nothing() {
    let shop = Workshop::new();
    let dockerfile = "FROM base\nRUN write /y 1\nRUN write /z 1;cancel\nRUN write /never 1\n";
    let outcome = shop.run(dockerfile);
    assert!(matches!(outcome.result, Err(BuildError::Cancelled)));
    assert_eq!(shop.ran().len(), 2);
    shop.services.cancelled.store(false, Ordering::SeqCst);
    shop.run("FROM base\nRUN write /y 1\nRUN write /z 1\n").id();
    assert_eq!(shop.ran(), ["/bin/sh -c write /z 1"]);
}

#[test]
fn one_failing_stage_ends_the_build_with_its_error() {
    let shop = Workshop::new();
    let outcome = shop.run(
        "FROM base AS a\nRUN wait 100;exit 4\nFROM base AS b\nRUN hang\nRUN write /c 1\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
    );
    let message = crate::workshop::explain(&outcome.result.unwrap_err());
    assert!(message.ends_with("exit code: 4"), "{message}");
    let cancelled = |event: &&BuildEvent| matches!(event, BuildEvent::Cancelled { .. });
    assert_eq!(outcome.events.iter().filter(cancelled).count(), 1);
    assert!(!shop.ran().contains(&"/bin/sh -c write /c 1".to_owned()));
}

#[test]
fn every_failure_says_what_and_where() {
    let shop = Workshop::new();
    shop.file("a", "1");
    shop.file("b", "1");
    for (line, expected) in [
        (
            "COPY a b /d",
            "COPY a b /d: When using COPY with more than one source file, the destination must be a directory and end with a / | end the destination with a /",
        ),
        (
            "COPY [ab] /d",
            "COPY [ab] /d: When using COPY with more than one source file, the destination must be a directory and end with a / | end the destination with a /",
        ),
        (
            "ADD a b /d",
            "ADD a b /d: When using ADD with more than one source file, the destination must be a directory and end with a / | end the destination with a /",
        ),
        (
            "COPY --chmod=x a /d",
            "COPY --chmod=x a /d: invalid chmod parameter: 'x': use an octal mode such as 0755, or a symbolic one such as u=rwX,go=rX",
        ),
        (
            "COPY --chown=who a /d",
            "COPY --chown=who a /d: there is no user \"who\" in the image's /etc/passwd | make the user in a RUN step before, or write its number",
        ),
        (
            "COPY --chown=app:who a /d",
            "COPY --chown=app:who a /d: there is no group \"who\" in the image's /etc/group | make the group in a RUN step before, or write its number",
        ),
        ("COPY [z-a /d", "COPY [z-a /d: syntax error in pattern \"[z-a\""),
        (
            "ENV u=ftp://x/y\nADD $u /d",
            "ADD $u /d: ftp://x/y can be fetched by neither http, https nor git",
        ),
        (
            "ADD https://x/ /d/",
            "ADD https://x/ /d/: cannot determine filename for source https://x/ | end the destination with the file's name",
        ),
        (
            "ADD git://x#--upload-pack=touch /d/",
            "ADD git://x#--upload-pack=touch /d/: cannot fetch git://x#--upload-pack=touch: '--upload-pack=touch' is no name of a branch, tag or commit",
        ),
        (
            "ADD --keep-git-dir https://x/y /d/",
            "ADD --keep-git-dir https://x/y /d/: --keep-git-dir is for Git repositories, and https://x/y is none",
        ),
        (
            "ENV a=\"${b:?must be set}\"",
            "ENV a=\"${b:?must be set}\": failed to process \"\"${b:?must be set}\"\": b: must be set",
        ),
        (
            "EXPOSE http",
            "EXPOSE http: invalid containerPort: http | write a port up to 65535 or a range such as 8000-8010, and perhaps /tcp, /udp or /sctp",
        ),
        (
            "STOPSIGNAL SIGNOT",
            "STOPSIGNAL SIGNOT: invalid signal: SIGNOT | write a signal's name such as SIGTERM, or its number from 1 to 64",
        ),
        (
            "RUN --network=host true",
            "RUN --network=host true: the host's network is not allowed in this build | give the build --allow network.host, or --network host, to allow it",
        ),
        ("FROM none", "FROM none: none:latest: not found"),
        ("FROM $x", "FROM $x: base name ($x) should not be blank"),
        (
            "FROM Base",
            "FROM Base: invalid reference format: repository name 'Base' must be lowercase",
        ),
        (
            "FROM --platform=a/b/c/d base",
            "FROM --platform=a/b/c/d base: 'a/b/c/d' is no platform: write os/architecture[/variant], for example linux/amd64 or linux/arm64/v8",
        ),
    ] {
        let outcome = shop.run(&format!("FROM base\n{line}\n"));
        let error = outcome.result.unwrap_err();
        let message = crate::workshop::explain(&error);
        assert!(
            message == expected || message.replace("library/", "") == expected,
            "{line}: {message}"
        );
        let (_, lines, _) = error.location().unwrap();
        assert_eq!(lines.last, 1 + line.lines().count(), "{line}");
    }
    let outcome = shop.run("FROM base\nRNU x\n");
    let error = outcome.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)"
    );
    assert_eq!(error.location().unwrap().2, "RNU x");
}

#[test]
fn bad_surroundings_are_named() {
    let mut shop = Workshop::new();
    shop.build.ignore = Some((".dockerignore".into(), "a\n[\n".into()));
    assert_eq!(
        shop.fail("FROM base\n"),
        "cannot understand .dockerignore: line 2: syntax error in pattern \"[\""
    );
    shop.build.ignore = None;
    shop.build.context = shop.context.join("none");
    let message = shop.fail("FROM base\n");
    assert!(
        message.starts_with("cannot read the build context: cannot open the directory '"),
        "{message}"
    );
}
