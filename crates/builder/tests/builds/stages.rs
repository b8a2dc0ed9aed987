//! Several stages: which are built, what they share, what goes from one to another.

use crate::workshop::Workshop;
use oci::Config;
use std::sync::atomic::Ordering;

#[test]
fn only_needed_stages_are_built() {
    let mut shop = Workshop::new();
    let dockerfile = "FROM base AS unused\nRUN write /u 1\nFROM base AS Build\nRUN write /b out\nFROM base AS test\nRUN write /t 1\nFROM scratch\nCOPY --from=BUILD /b /\nCOPY --from=1 /b /again\n";
    let outcome = shop.run(dockerfile);
    let image = shop.find(&outcome.id());
    assert_eq!(shop.ran(), ["/bin/sh -c write /b out"]);
    assert_eq!(
        shop.files(&image, 0),
        ["/again 644 0:0 \"out\"", "/b 644 0:0 \"out\""]
    );
    let steps = outcome.steps();
    assert!(
        steps.contains(&"[build 2/2] RUN write /b out".to_owned()),
        "{steps:?}"
    );
    assert!(
        steps.contains(&"[stage-3 1/2] COPY --from=BUILD /b /".to_owned()),
        "{steps:?}"
    );
    assert_eq!(
        image.config.config.env,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    );

    shop.build.target = Some("test".into());
    shop.run(dockerfile).id();
    assert_eq!(shop.ran(), ["/bin/sh -c write /t 1"]);
    shop.build.target = Some("0".into());
    shop.run(dockerfile).id();
    assert_eq!(shop.ran(), ["/bin/sh -c write /u 1"]);
    shop.build.target = Some("tests".into());
    assert_eq!(
        shop.fail(dockerfile),
        "target stage \"tests\" could not be found (did you mean test?)"
    );
}

#[test]
fn independent_stages_run_at_once_and_equal_steps_once() {
    let shop = Workshop::new();
    let dockerfile = "FROM base AS a\nRUN wait 300;write /a 1\nFROM base AS b\nRUN wait 300;write /b 1\nFROM base AS c\nRUN wait 300;write /a 1\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /a /c\n";
    shop.run(dockerfile).id();
    assert_eq!(shop.services.most_running.load(Ordering::SeqCst), 2);
    assert_eq!(shop.ran().len(), 2, "a and c are the same step");
}

#[test]
fn a_stage_that_makes_the_same_files_again_changes_nothing_above() {
    let shop = Workshop::new();
    let dockerfile = |comment: &str| {
        format!(
            "FROM base AS a\nRUN write /out same;write /log {comment}\nFROM base\nCOPY --from=a /out /\nRUN write /x 1\n"
        )
    };
    let first = shop.run(&dockerfile("one")).id();
    let outcome = shop.run(&dockerfile("two"));
    assert_eq!(outcome.id(), first);
    assert_eq!(shop.ran(), ["/bin/sh -c write /out same;write /log two"]);
    let outcome = shop.run(&dockerfile("two"));
    assert_eq!(outcome.id(), first);
    assert!(shop.ran().is_empty());
}

#[test]
fn stages_build_on_stages() {
    let shop = Workshop::new();
    let image = shop.make(
        "ARG v=1\nFROM base AS a\nARG v\nARG own=x\nENV e=$v\nCMD [\"old\"]\nFROM a\nRUN write /$own $e\nENTRYPOINT [\"new\"]\n",
    );
    let seen = shop.services.environments.lock().unwrap()[0].clone();
    assert!(
        seen.contains(&"own=x".to_owned()) && seen.contains(&"e=1".to_owned()),
        "{seen:?}"
    );
    assert!(image.config.config.cmd.is_empty());
    assert_eq!(image.config.config.entrypoint, ["new"]);
    assert_eq!(
        image.parent,
        Some(
            shop.store
                .image_by_reference(&"base".parse().unwrap())
                .unwrap()
                .unwrap()
                .id
        )
    );
}

#[test]
fn other_images_can_be_copied_from_and_owners_are_kept() {
    let shop = Workshop::new();
    shop.image("tools:1", Config::default(), |root| {
        std::fs::create_dir(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/tool"), "t").unwrap();
        std::os::unix::fs::chown(root.join("bin/tool"), Some(7), Some(8)).unwrap();
    });
    let image = shop.make("FROM base\nCOPY --from=tools:1 /bin/tool /bin/\n");
    assert_eq!(
        shop.files(&image, 1),
        ["/bin 755 0:0 dir", "/bin/tool 644 7:8 \"t\""]
    );
    let image = shop.make("FROM base\nCOPY --from=tools:1 --chown=1 /bin/tool /bin/\n");
    assert_eq!(
        shop.files(&image, 1),
        ["/bin 755 0:0 dir", "/bin/tool 644 1:1 \"t\""]
    );
    for (line, expected) in [
        (
            "COPY --from=5 /x /",
            "COPY --from=5 /x /: invalid stage index 5: COPY --from takes the number or name of an earlier stage, or an image",
        ),
        (
            "COPY --from=none /x /",
            "COPY --from=none /x /: none:latest: not found",
        ),
        (
            "COPY --from=$x /x /",
            "COPY --from=$x /x /: 'from' doesn't support variable expansion, define alias stage instead",
        ),
        (
            "COPY --from=tools:1 /bin/tol /",
            "COPY --from=tools:1 /bin/tol /: \"bin/tol\" is not in the image tools:1 | did you mean \"bin/tool\"?",
        ),
    ] {
        assert_eq!(shop.fail(&format!("FROM base\n{line}\n")), expected);
    }
    let empty = shop.fail("FROM scratch AS e\nFROM base\nCOPY --from=e /x /\n");
    assert_eq!(empty, "COPY --from=e /x /: \"x\" is not in stage e");
}

#[test]
fn onbuild_triggers_run_in_the_next_build() {
    let shop = Workshop::new();
    shop.file("app.py", "1");
    let parent =
        shop.run("FROM base\nONBUILD WORKDIR /app\nONBUILD COPY app.py .\nONBUILD RUN write /ran 1\n");
    let parent_image = shop.find(&parent.id());
    assert_eq!(parent_image.config.config.on_build.len(), 3);
    assert!(shop.ran().is_empty());
    shop.publish("parent", &parent.id());
    let outcome = shop.run("FROM parent\nENV a=1\n");
    let image = shop.find(&outcome.id());
    assert!(image.config.config.on_build.is_empty());
    assert_eq!(shop.ran(), ["/bin/sh -c write /ran 1"]);
    assert_eq!(
        shop.files(&image, 1),
        [
            "/app 755 0:0 dir",
            "/app/app.py 644 0:0 \"1\"",
            "/ran 644 0:0 \"1\""
        ]
    );
    assert!(
        outcome.steps().contains(&"[3/4] COPY app.py .".to_owned()),
        "{:?}",
        outcome.steps()
    );
}
