//! Without systemd's help, where the configuration says so.

use crate::{cgroup, pid, start, unified};
use std::path::PathBuf;

#[test]
fn cgroups_are_made_directly_and_found_whatever_the_configuration_says() {
    let sandbox = unified();
    let config = sandbox.write("config.toml", "cgroup_driver = 'cgroupfs'\n");
    let config = config.to_str().unwrap();
    let info = sandbox.run(["--config-file", config, "info"]).ok();
    assert!(info.contains("Cgroup Driver: cgroupfs"), "{info}");
    let run = [
        "--config-file",
        config,
        "run",
        "-d",
        "--cgroup-parent",
        "/tests/inner",
        "busybox",
        "sleep",
        "1000",
    ];
    let direct = sandbox.run(run).ok();
    let direct = direct.trim();
    assert_eq!(
        cgroup(&pid(&sandbox, direct)),
        PathBuf::from("tests/inner").join(direct)
    );
    let scoped = start(&sandbox, &["-m", "64m"]);

    // Each by the configuration under which the other was started.
    sandbox.run(["exec", direct, "true"]).ok();
    sandbox.run(["pause", direct]).ok();
    sandbox.run(["unpause", direct]).ok();
    let limit = [
        "--config-file",
        config,
        "exec",
        &scoped,
        "cat",
        "/sys/fs/cgroup/memory.max",
    ];
    assert_eq!(sandbox.run(limit).ok(), "67108864\n");
    sandbox.run(["--config-file", config, "pause", &scoped]).ok();
    sandbox.run(["--config-file", config, "unpause", &scoped]).ok();
    sandbox.run(["--config-file", config, "rm", "-f", &scoped]).ok();
    sandbox.run(["rm", "-f", direct]).ok();
    for empty in ["/sys/fs/cgroup/tests/inner", "/sys/fs/cgroup/tests"] {
        std::fs::remove_dir(empty).unwrap();
    }
}

#[test]
fn a_driver_that_is_none_is_refused() {
    let sandbox = unified();
    let config = sandbox.write("config.toml", "cgroup_driver = 'docker'\n");
    let refused = sandbox
        .run(["--config-file", config.to_str().unwrap(), "info"])
        .fails(1);
    assert!(
        refused.contains("cgroup_driver") && refused.contains("cgroupfs"),
        "{refused}"
    );
}
