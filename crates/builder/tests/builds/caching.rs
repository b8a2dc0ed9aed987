//! What is done again and what is not.

use crate::workshop::Workshop;
use std::os::unix::fs::PermissionsExt;

const PIPELINE: &str = "FROM base\nRUN write /deps pandas\nWORKDIR /app\nCOPY pipeline.py pipeline.py\nENTRYPOINT [\"python\", \"pipeline.py\"]\n";

#[test]
fn only_what_follows_a_change_is_done_again() {
    let mut shop = Workshop::new();
    shop.build.tags = vec!["test:pandas".parse().unwrap()];
    shop.file("pipeline.py", "print(1)");
    let first = shop.run(PIPELINE);
    assert_eq!(
        first.steps(),
        [
            "[internal] load build definition from Dockerfile",
            "[internal] load metadata for docker.io/library/base:latest",
            "[internal] load .dockerignore",
            "[1/4] FROM docker.io/library/base:latest",
            "[2/4] RUN write /deps pandas",
            "[3/4] WORKDIR /app",
            "[4/4] COPY pipeline.py pipeline.py",
            "exporting to image",
        ]
    );
    let second = shop.run(PIPELINE);
    assert_eq!(second.id(), first.id());
    assert!(shop.ran().is_empty());
    let cached: Vec<String> = second.steps()[4..7].to_vec();
    assert!(cached.iter().all(|step| step.ends_with("CACHED")), "{cached:?}");

    shop.file("pipeline.py", "print(2)");
    let third = shop.run(PIPELINE);
    assert_ne!(third.id(), first.id());
    assert!(shop.ran().is_empty(), "the RUN before it is still good");
    assert_eq!(
        third.steps()[5..7],
        ["[3/4] WORKDIR /app CACHED", "[4/4] COPY pipeline.py pipeline.py"]
    );

    shop.file("pipeline.py", "print(1)");
    assert_eq!(
        shop.run(PIPELINE).id(),
        first.id(),
        "back to the old content is back to the old image"
    );
}

#[test]
fn a_step_is_on_record_with_its_inputs_and_its_last_use() {
    let shop = Workshop::new();
    let dockerfile = "FROM base\nRUN write /x 1\n";
    let row = || {
        shop.database
            .read(|c| {
                let sql = "SELECT summary, inputs, layer, created, last_used FROM build_steps";
                Ok::<(String, String, String, i64, i64), state::StateError>(c.query_row(sql, [], |r| {
                    Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))
                })?)
            })
            .unwrap()
    };
    let image = shop.make(dockerfile);
    let (summary, inputs, layer, created, used) = row();
    assert_eq!(summary, "RUN write /x 1");
    let inputs: serde_json::Value = serde_json::from_str(&inputs).unwrap();
    assert_eq!(inputs["operation"], "RUN write /x 1");
    assert_eq!(layer, image.layers[1].id.as_str());
    assert_eq!(used, created);
    shop.make(dockerfile);
    let (.., created_again, used) = row();
    assert_eq!(created_again, created);
    assert!(used > created);
    // Garbage collection leaves the cache alone.
    shop.store.remove_image(&image.id).unwrap();
    shop.store.collect_garbage().unwrap();
    assert_eq!(shop.make(dockerfile).id, image.id);
    assert!(shop.ran().is_empty());
}

#[test]
fn times_and_other_files_do_not_matter() {
    let mut shop = Workshop::new();
    shop.file("pipeline.py", "print(1)");
    let first = shop.run(PIPELINE).id();
    let file = std::fs::File::options()
        .write(true)
        .open(shop.context.join("pipeline.py"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    shop.file("other", "not copied");
    let second = shop.run(PIPELINE);
    assert_eq!(second.id(), first);
    assert!(second.steps()[5].ends_with("CACHED"));

    shop.build.ignore = Some((".dockerignore".into(), "logs\n".into()));
    let dockerfile = "FROM base\nCOPY . /app\n";
    shop.file("logs/a", "1");
    let first = shop.run(dockerfile).id();
    shop.file("logs/a", "2");
    shop.file("logs/b", "3");
    let again = shop.run(dockerfile);
    assert_eq!(again.id(), first);
    assert!(again.steps()[3].ends_with("CACHED"), "{:?}", again.steps());
}

#[test]
fn modes_and_names_matter() {
    let shop = Workshop::new();
    shop.file("d/a", "1");
    let dockerfile = "FROM base\nCOPY d /d\n";
    let first = shop.run(dockerfile).id();
    std::fs::set_permissions(shop.context.join("d/a"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let second = shop.run(dockerfile).id();
    assert_ne!(second, first);
    std::fs::rename(shop.context.join("d/a"), shop.context.join("d/b")).unwrap();
    assert_ne!(shop.run(dockerfile).id(), second);
}

#[test]
fn a_file_that_is_just_being_changed_is_never_mistaken() {
    let shop = Workshop::new();
    let dockerfile = "FROM base\nCOPY f /f\n";
    let mut ids = std::collections::BTreeSet::new();
    for number in 0..8 {
        // The same size each time, and times that may well be the same.
        shop.file("f", &format!("{number}"));
        ids.insert(shop.run(dockerfile).id());
    }
    assert_eq!(ids.len(), 8);
}

#[test]
fn digests_of_settled_files_are_remembered() {
    let shop = Workshop::new();
    for number in 0..300 {
        shop.file(&format!("many/{number}"), &number.to_string());
    }
    shop.file("one", "1");
    let rows = || {
        shop.database
            .read(|c| {
                Ok::<i64, state::StateError>(
                    c.query_row("SELECT count(*) FROM file_digests", [], |r| r.get(0))?,
                )
            })
            .unwrap()
    };
    shop.run("FROM base\nCOPY . /\n").id();
    assert_eq!(rows(), 0, "they were written less than two seconds ago");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let first = shop.run("FROM base\nCOPY . /\n").id();
    assert_eq!(rows(), 301);
    // A wrong digest in its place shows that it is used, by the scan and by the single look-up.
    shop.database
        .write(|t| {
            t.execute("UPDATE file_digests SET digest = zeroblob(32)", [])?;
            Ok::<_, state::StateError>(())
        })
        .unwrap();
    let all = shop.run("FROM base\nCOPY . /\n");
    assert!(!all.steps()[3].ends_with("CACHED"));
    assert_eq!(all.id(), first, "the same files are the same layer");
    shop.run("FROM base\nCOPY one /\n").id();
    shop.database
        .write(|t| {
            t.execute("DELETE FROM file_digests", [])?;
            Ok::<_, state::StateError>(())
        })
        .unwrap();
    assert!(!shop.run("FROM base\nCOPY one /\n").steps()[3].ends_with("CACHED"));
}

#[test]
fn configuration_before_a_command_matters_where_the_command_can_see_it() {
    let mut shop = Workshop::new();
    let with = |line: &str| format!("FROM base\n{line}\nRUN write /x 1\n");
    shop.run(&with("LABEL a=1")).id();
    for (line, again) in [
        ("LABEL a=2", false),
        ("EXPOSE 80", false),
        ("CMD [\"x\"]", false),
        ("ENV a=1", true),
        ("ARG a=1", true),
        ("USER app", true),
        ("SHELL [\"/bin/bash\", \"-c\"]", true),
        ("ENV a=1", false),
    ] {
        shop.run(&with(line)).id();
        // A variable is the same to a command wherever it comes from.
        let again = again && !line.starts_with("ARG");
        assert_eq!(!shop.ran().is_empty(), again, "{line}");
    }
    shop.build.proxy.insert("HTTP_PROXY".into(), "http://x".into());
    shop.run(&with("LABEL a=1")).id();
    assert!(shop.ran().is_empty(), "a proxy is no part of a key");
    shop.build.no_cache = true;
    shop.run(&with("LABEL a=1")).id();
    assert_eq!(shop.ran().len(), 1);
    let seen = shop.services.environments.lock().unwrap()[0].clone();
    assert!(seen.contains(&"HTTP_PROXY=http://x".to_owned()), "{seen:?}");
}

#[test]
fn the_same_sources_give_the_same_image_anywhere() {
    let dockerfile = "FROM base\nWORKDIR /srv/app\nCOPY --chown=app . .\nADD one /opt/\nFROM scratch\nCOPY --from=0 /srv /srv\nCMD [\"/x\"]\n";
    let mut ids = std::collections::BTreeSet::new();
    for order in [["a", "b", "c/d"], ["c/d", "b", "a"]] {
        let shop = Workshop::new();
        shop.file("one", "1");
        for name in order {
            shop.file(name, name);
        }
        // What git does not keep must not matter, nor the directories' order.
        std::fs::File::open(shop.context.join(order[0]))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let image = shop.make(dockerfile);
        assert_eq!(image.config.created.as_deref(), Some("1980-01-01T00:00:00Z"));
        ids.insert(image.id);
    }
    assert_eq!(ids.len(), 1);
}

#[test]
fn the_epoch_is_the_time_of_everything_made() {
    let mut shop = Workshop::new();
    shop.file("a", "1");
    let dockerfile = "FROM base\nCOPY a /\nRUN write /b 2\n";
    let plain = shop.make(dockerfile);
    shop.build.source_date_epoch = Some(1_700_000_000);
    let image = shop.make(dockerfile);
    assert_ne!(image.id, plain.id);
    assert_eq!(image.config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    for (layer, name) in [(1, "a"), (2, "b")] {
        let path = shop.store.layer_path(&image.layers[layer].id).join(name);
        let time = std::fs::metadata(path).unwrap().modified().unwrap();
        let seconds = time
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert_eq!(seconds, 1_700_000_000, "{name}");
    }
    assert_eq!(shop.make(dockerfile).id, image.id);
}

#[test]
fn a_source_that_changes_under_the_build_does_not_spoil_the_cache() {
    let mut shop = Workshop::new();
    // So that each build copies, and records what it copied.
    shop.build.no_cache = true;
    let contents = ["1".repeat(100_000), "2".repeat(100_000)];
    shop.file("f", &contents[0]);
    let dockerfile = "FROM base\nCOPY f /f\n";
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for content in &contents {
                    std::fs::write(shop.context.join("f"), content).unwrap();
                }
            }
        });
        for _ in 0..150 {
            shop.run(dockerfile).id();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    shop.build.no_cache = false;
    for content in &contents {
        shop.file("f", content);
        let image = shop.make(dockerfile);
        let built = std::fs::read_to_string(shop.store.layer_path(&image.layers[1].id).join("f")).unwrap();
        assert!(built == *content, "an image of other content was found");
    }
}
