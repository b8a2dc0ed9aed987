//! Devices: `--device`, `--device-cgroup-rule`, `--gpus`, and names in the Container Device Interface.

use crate::sandbox;
use std::path::PathBuf;
use testkit::Sandbox;
use testkit::sandbox::Outcome;

fn run(engine: &Sandbox, flags: &[&str], script: &str) -> Outcome {
    engine.run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

mod both {
    use super::run;
    use crate::both;

    #[test]
    fn a_device_under_its_own_name_and_another() {
        let engine = both();
        let script =
            "stat -c '%t:%T' /dev/other; head -c 3 /dev/other | wc -c; echo x > /dev/other && echo written";
        let outcome = run(&engine, &["--device", "/dev/zero:/dev/other:r"], script);
        assert_eq!(outcome.stdout.lines().take(2).collect::<Vec<_>>(), ["1:5", "3"]);
        let open = |flags: &[&str]| run(&engine, flags, "head -c 0 /dev/loop-control && echo open").stdout;
        assert_eq!(open(&["--device", "/dev/loop-control"]), "open\n");
        assert_eq!(open(&["--device", "/dev/loop-control:/dev/loop-control:w"]), "");
        assert_eq!(open(&[]), "");
    }

    #[test]
    fn a_rule_lets_a_node_be_used() {
        let engine = both();
        let script = "mknod /dev/mine c 10 237 && head -c 0 /dev/mine && echo open";
        assert_eq!(run(&engine, &[], script).stdout, "");
        assert_eq!(
            run(&engine, &["--device-cgroup-rule", "c 10:237 r"], script).ok(),
            "open\n"
        );
        assert_eq!(
            run(&engine, &["--device-cgroup-rule", "c 10:* rwm"], script).ok(),
            "open\n"
        );
    }

    #[test]
    fn wrong_devices_in_dockers_words() {
        let engine = both();
        for (flags, message) in [
            (
                &["--device", "/dev/nosuch"][..],
                "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory",
            ),
            (&["--device", "/dev/null:/x:z"], "bad mode specified: z"),
            (
                &["--device-cgroup-rule", "c 1:3"],
                "invalid device cgroup format 'c 1:3'",
            ),
        ] {
            let outcome = run(&engine, flags, "true");
            // Docker's client takes each "no such file or directory" for a missing command.
            let error = outcome.clone().fails(if outcome.code == 127 { 127 } else { 125 });
            assert!(error.contains(message), "{flags:?}: {error}");
        }
    }

    #[test]
    fn devices_are_shown() {
        let engine = both();
        engine
            .run([
                "create",
                "--name",
                "looked-at",
                "--device",
                "/dev/null:/dev/x:r",
                "--device-cgroup-rule",
                "c 1:3 r",
                "busybox",
            ])
            .ok();
        let show = |format: &str| {
            engine
                .run(["inspect", "-f", format, "looked-at"])
                .ok()
                .trim()
                .to_owned()
        };
        assert_eq!(
            show(
                "{{range .HostConfig.Devices}}{{.PathOnHost}} {{.PathInContainer}} {{.CgroupPermissions}}{{end}}"
            ),
            "/dev/null /dev/x r"
        );
        assert_eq!(show("{{json .HostConfig.DeviceCgroupRules}}"), "[\"c 1:3 r\"]");
        engine.run(["rm", "looked-at"]).ok();
    }
}

#[test]
fn a_directory_and_a_link() {
    let engine = sandbox();
    let directory = engine.path().join("nodes/below");
    std::fs::create_dir_all(&directory).unwrap();
    let made = std::process::Command::new("mknod")
        .arg(directory.join("zero"))
        .args(["c", "1", "5"])
        .status()
        .unwrap();
    assert!(made.success());
    let nodes = engine.path().join("nodes");
    let flag = format!("{}:/dev/nodes", nodes.display());
    assert_eq!(
        run(
            &engine,
            &["--device", &flag],
            "head -c 2 /dev/nodes/below/zero | wc -c"
        )
        .ok(),
        "2\n"
    );
    let link = engine.path().join("by-name");
    std::os::unix::fs::symlink(directory.join("zero"), &link).unwrap();
    let flag = format!("{}:/dev/named", link.display());
    assert_eq!(
        run(&engine, &["--device", &flag], "head -c 2 /dev/named | wc -c").ok(),
        "2\n"
    );
}

/// A directory of specifications, and the configuration that names it.
fn with_specifications(engine: &Sandbox, files: &[(&str, &str)]) -> PathBuf {
    for (name, content) in files {
        engine.write(&format!("cdi/{name}"), content);
    }
    let directory = engine.path().join("cdi");
    std::fs::create_dir_all(&directory).unwrap();
    engine.write(
        "config.toml",
        &format!("cdi_directories = ['{}']\n", directory.display()),
    )
}

fn run_with(engine: &Sandbox, config: &std::path::Path, flags: &[&str], script: &str) -> Outcome {
    let config = config.to_str().unwrap();
    let words = [
        &["--config-file", config, "run", "--rm"],
        flags,
        &["busybox", "sh", "-c", script],
    ]
    .concat();
    engine.run(words)
}

#[test]
fn a_name_in_the_device_interface_brings_all_that_the_device_needs() {
    let engine = sandbox();
    let library = engine.write("lib/libthing.so.1", "library\n");
    let specification = format!(
        r#"
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      hostPath: /dev/zero
      permissions: r
    additionalGids: [4242]
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      hostPath: /dev/zero
    - path: /dev/nvidia1
      hostPath: /dev/full
containerEdits:
  env: [THING=yes]
  mounts:
  - hostPath: {library}
    containerPath: /usr/lib/thing/libthing.so.1
    options: [ro, nosuid, nodev, bind]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-ctk
    args: [nvidia-ctk, hook, create-symlinks, --link, "libthing.so.1::/usr/lib/thing/libthing.so"]
  - hookName: createContainer
    path: /usr/bin/nvidia-ctk
    args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib/thing]
"#,
        library = library.display()
    );
    let config = with_specifications(&engine, &[("nvidia.yaml", &specification)]);
    let script = "head -c 2 /dev/nvidia0 | wc -c; echo $THING; cat /usr/lib/thing/libthing.so; echo $LD_LIBRARY_PATH; id -G | grep -o 4242; ls /dev/nvidia1 2>/dev/null";
    let expected = "2\nyes\nlibrary\n/usr/lib/thing\n4242\n";
    for flags in [
        &["--device", "nvidia.com/gpu=0"][..],
        &["--gpus", "1"],
        &["--gpus", "device=0"],
    ] {
        assert_eq!(
            run_with(&engine, &config, flags, script).stdout,
            expected,
            "{flags:?}"
        );
    }
    let both = run_with(
        &engine,
        &config,
        &["--gpus", "all"],
        "ls /dev/nvidia0 /dev/nvidia1",
    )
    .ok();
    assert_eq!(both, "/dev/nvidia0\n/dev/nvidia1\n");
    let words = ["create", "--name", "looked-at", "--gpus", "all", "busybox"];
    engine.run(words).ok();
    let shown = engine
        .run([
            "inspect",
            "-f",
            "{{json .HostConfig.DeviceRequests}}",
            "looked-at",
        ])
        .ok();
    assert_eq!(
        shown.trim(),
        r#"[{"Capabilities":[["gpu"]],"Count":-1,"DeviceIDs":null,"Driver":"","Options":{}}]"#
    );
}

#[test]
fn without_a_specification_it_is_said_what_to_do() {
    let engine = sandbox();
    let config = with_specifications(&engine, &[]);
    let error = run_with(&engine, &config, &["--gpus", "all"], "true").fails(125);
    assert!(
        error.contains("could not select device driver \"\" with capabilities: [[gpu]]")
            && error.contains("nvidia-ctk cdi generate"),
        "{error}"
    );
    let error = run_with(&engine, &config, &["--device", "vendor.com/thing=x"], "true").fails(125);
    assert!(
        error.contains("unresolvable CDI devices vendor.com/thing=x"),
        "{error}"
    );
}

#[test]
fn a_hook_of_anybodys_is_refused() {
    let engine = sandbox();
    let marker = engine.path().join("ran");
    let specification = format!(
        r#"{{"cdiVersion":"0.5.0","kind":"vendor.com/thing","devices":[{{"name":"x","containerEdits":{{
            "hooks":[{{"hookName":"createContainer","path":"/usr/bin/touch","args":["touch","{}"]}}]}}}}]}}"#,
        marker.display()
    );
    let config = with_specifications(&engine, &[("thing.json", &specification)]);
    let error = run_with(&engine, &config, &["--device", "vendor.com/thing=x"], "true").fails(125);
    assert!(error.contains("is not supported"), "{error}");
    assert!(!marker.exists());
}
