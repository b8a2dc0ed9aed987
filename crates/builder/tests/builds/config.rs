//! The image's configuration and history.

use crate::workshop::Workshop;
use oci::Config;

#[test]
fn every_instruction_reaches_the_configuration() {
    let mut shop = Workshop::new();
    shop.build.labels.insert("from".into(), "outside".into());
    let image = shop.make(
        "FROM base\nMAINTAINER me\nENV A=1 B=\"two words\"\nENV A=2 C=$A\nLABEL a=$B\nWORKDIR /app\nWORKDIR sub\n\
         USER app\nEXPOSE 80 $A\nVOLUME /data\nSTOPSIGNAL SIGINT\nSHELL [\"bash\", \"-c\"]\nCMD run me\n\
         HEALTHCHECK --interval=5s CMD [\"ok\"]\nONBUILD RUN x\n",
    );
    let config = &image.config.config;
    assert_eq!(config.env, ["A=2", "B=two words", "C=1"]);
    assert_eq!(config.labels["a"], "two words");
    assert_eq!(config.labels["from"], "outside");
    assert_eq!(config.working_dir, "/app/sub");
    assert_eq!(config.user, "app");
    assert_eq!(
        config.exposed_ports.keys().collect::<Vec<_>>(),
        ["2/tcp", "80/tcp"]
    );
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/data"]);
    assert_eq!(config.stop_signal, "SIGINT");
    assert_eq!(config.shell, ["bash", "-c"]);
    assert_eq!(config.cmd, ["bash", "-c", "run me"]);
    assert_eq!(config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
    assert_eq!(config.on_build, ["RUN x"]);
    assert_eq!(image.config.author, "me");
    let layers = image
        .config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .count();
    assert_eq!(layers + 1, image.layers.len(), "the base's layer has no history");
    assert_eq!(image.config.rootfs.diff_ids.len(), image.layers.len());
}

#[test]
fn history_reads_like_dockers() {
    let mut shop = Workshop::new();
    shop.build.arguments.insert("V".into(), "3".into());
    shop.file("pipeline.py", "1");
    let image = shop.make(
        "FROM base\nARG V\nRUN write /x 1\nWORKDIR /app\nCOPY --chown=1 pipeline.py pipeline.py\nENV A=1\nENTRYPOINT [\"python\", \"pipeline.py\"]\nCMD x\nEXPOSE 80\nUSER app\n",
    );
    let lines: Vec<_> = image
        .config
        .history
        .iter()
        .map(|entry| (entry.created_by.as_str(), entry.empty_layer))
        .collect();
    assert_eq!(
        lines,
        [
            ("ARG V=3", true),
            ("RUN |1 V=3 /bin/sh -c write /x 1", false),
            ("WORKDIR /app", false),
            ("COPY --chown=1 pipeline.py pipeline.py", false),
            ("ENV A=1", true),
            ("ENTRYPOINT [\"python\" \"pipeline.py\"]", true),
            ("CMD [\"/bin/sh\" \"-c\" \"x\"]", true),
            ("EXPOSE [80/tcp]", true),
            ("USER app", true),
        ]
    );
    assert!(
        image
            .config
            .history
            .iter()
            .all(|entry| entry.comment == "coracle.dockerfile.v0")
    );
}

#[test]
fn arguments_are_seen_where_they_are_declared() {
    let mut shop = Workshop::new();
    shop.build.arguments.insert("given".into(), "outside".into());
    shop.build.arguments.insert("typo".into(), "1".into());
    shop.build
        .arguments
        .insert("https_proxy".into(), "http://p".into());
    let label = |dockerfile: &str| {
        let image = shop.make(dockerfile);
        image.config.config.labels.get("x").cloned().unwrap_or_default()
    };
    for (dockerfile, expected) in [
        ("ARG g=1\nFROM base\nLABEL x=[$g]\n", "[]"),
        ("ARG g=1\nFROM base\nARG g\nLABEL x=[$g]\n", "[1]"),
        ("ARG g=1\nFROM base\nARG g=2\nLABEL x=[$g]\n", "[2]"),
        ("ARG g=1\nARG h=$g$g\nFROM base\nARG h\nLABEL x=$h\n", "11"),
        ("FROM base\nARG given\nLABEL x=$given\n", "outside"),
        ("FROM base\nARG given=inside\nLABEL x=$given\n", "outside"),
        ("FROM base\nLABEL x=[$given]\nARG given\n", "[]"),
        ("FROM base\nARG a=1\nENV a=2\nLABEL x=$a\n", "2"),
        ("FROM base\nENV a=2\nARG a=1\nLABEL x=$a\n", "2"),
        ("FROM base\nARG a=1 b=$a\nLABEL x=[$b]\n", "[]"),
        ("FROM base\nARG a=1\nARG b=$a\nLABEL x=[$b]\n", "[1]"),
        ("FROM base\nARG TARGETOS\nLABEL x=$TARGETOS\n", "linux"),
        ("FROM base\nLABEL x=[$TARGETOS]\n", "[]"),
        ("ARG i=base\nFROM $i\nLABEL x=ok\n", "ok"),
        ("ARG i\nFROM ${i:-base}\nLABEL x=ok\n", "ok"),
        ("FROM --platform=$BUILDPLATFORM base\nLABEL x=ok\n", "ok"),
    ] {
        assert_eq!(label(dockerfile), expected, "{dockerfile}");
    }
    let outcome = shop.run("FROM base\nARG given\nRUN true\n");
    outcome.id();
    assert_eq!(
        outcome.warnings(),
        ["One or more build-args [typo] were not consumed"]
    );
    let seen = shop.services.environments.lock().unwrap()[0].clone();
    assert!(seen.contains(&"given=outside".to_owned()));
    assert!(seen.contains(&"https_proxy=http://p".to_owned()));
    assert!(seen.iter().any(|entry| entry.starts_with("PATH=/usr/local/sbin")));
    assert!(!seen.iter().any(|entry| entry.starts_with("typo")));
}

#[test]
fn a_working_directory_belongs_to_the_user_and_is_made_once() {
    let shop = Workshop::new();
    let image =
        shop.make("FROM base\nUSER app\nWORKDIR /home/app\nWORKDIR /etc\nWORKDIR /\nWORKDIR /lib/deep\n");
    assert_eq!(
        shop.files(&image, 1),
        [
            "/home 755 1000:1001 dir",
            "/home/app 755 1000:1001 dir",
            "/usr 755 0:0 dir",
            "/usr/lib 755 0:0 dir",
            "/usr/lib/deep 755 1000:1001 dir",
        ]
    );
    assert_eq!(image.layers.len(), 3, "/etc and / were there");
    assert_eq!(
        shop.fail("FROM base\nWORKDIR /etc/passwd\n"),
        "WORKDIR /etc/passwd: /etc/passwd is not a directory"
    );
}

#[test]
fn inherited_history_and_settings_are_kept() {
    let shop = Workshop::new();
    let config = Config {
        env: vec!["PATH=/own".into()],
        cmd: vec!["old".into()],
        ..Config::default()
    };
    shop.image("configured", config, |root| {
        std::fs::write(root.join("f"), "1").unwrap();
    });
    let image = shop.make("FROM configured\nRUN true\n");
    assert_eq!(image.config.config.cmd, ["old"]);
    assert_eq!(image.config.config.env, ["PATH=/own"]);
    assert!(shop.services.environments.lock().unwrap()[0].contains(&"PATH=/own".to_owned()));
}
