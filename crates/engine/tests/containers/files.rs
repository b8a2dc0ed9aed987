use crate::kit::{Root, shell};
use engine::Kind;
use engine::containers::copy::{Clash, Owner};
use engine::containers::record::ContainerId;
use engine::containers::request::{CreateContainer, MountRequest, MountSource};
use std::process::{Command, Stdio};

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "files::they_go_in_and_out_of_running_and_stopped_containers",
        they_go_in_and_out_of_running_and_stopped_containers,
    ),
    ("files::links_stay_inside", links_stay_inside),
    ("files::an_export_is_the_whole_root", an_export_is_the_whole_root),
];

/// Lists a tar with the host's tar, as somebody else sees it.
fn list(tar: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    std::fs::write(&path, tar).unwrap();
    let output = Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn tar_of(name: &str, content: &str, compress: bool) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), content).unwrap();
    let output = Command::new("tar")
        .args([
            "--owner=1000",
            "--group=1000",
            if compress { "-czf" } else { "-cf" },
            "-",
            name,
        ])
        .current_dir(directory.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    output.stdout
}

fn copy_out(root: &Root, id: &ContainerId, path: &str) -> String {
    let mut tar = Vec::new();
    root.containers().copy_out(id, path, &mut tar).unwrap();
    list(&tar)
}

fn they_go_in_and_out_of_running_and_stopped_containers() {
    let root = Root::new();
    let volume = MountRequest {
        target: "/data".into(),
        read_only: false,
        source: MountSource::Volume {
            name: Some("data".into()),
            no_copy: false,
            subpath: None,
            labels: std::collections::BTreeMap::new(),
            driver: None,
            options: std::collections::BTreeMap::new(),
        },
        ..MountRequest::default()
    };
    let id = root.create(CreateContainer {
        mounts: vec![volume],
        ..shell("cat /tmp/before /data/before; echo x > /ready; sleep 1000")
    });
    for directory in ["/tmp", "/data"] {
        let tar = tar_of("before", "in\n", true);
        root.containers()
            .copy_in(
                &id,
                directory,
                &mut tar.as_slice(),
                Owner::Given(0, 0),
                Clash::Refuse,
            )
            .unwrap();
    }
    assert!(
        copy_out(&root, &id, "/tmp/before").contains("0/0"),
        "owned by root"
    );
    root.start(&id);
    while root.containers().stat_path(&id, "/ready").is_err() {
        std::thread::yield_now();
    }
    // The monitor writes the log in its own time.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while root.logs(&id) != "in\nin\n" {
        assert!(
            std::time::Instant::now() < deadline,
            "the log has {:?}",
            root.logs(&id)
        );
        std::thread::yield_now();
    }
    let tar = tar_of("after", "later\n", false);
    root.containers()
        .copy_in(&id, "/data", &mut tar.as_slice(), Owner::Archived, Clash::Refuse)
        .unwrap();
    assert_eq!(root.exec(&id, &["cat", "/data/after"]).stdout, "later\n");
    assert!(
        copy_out(&root, &id, "/data").contains("1000/1000"),
        "owners were kept"
    );
    let stat = root.containers().stat_path(&id, "/data/after").unwrap();
    assert_eq!((stat.name.as_str(), stat.size), ("after", 6));
    let error = root.containers().stat_path(&id, "/nowhere").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let tar = tar_of("data", "a file over a directory", false);
    assert!(
        root.containers()
            .copy_in(&id, "/", &mut tar.as_slice(), Owner::Given(0, 0), Clash::Refuse)
            .is_err()
    );
    root.containers().remove(&id, true, false).unwrap();
}

fn links_stay_inside() {
    let root = Root::new();
    let canary = root.path().join("canary");
    std::fs::write(&canary, "untouched").unwrap();
    let script = format!(
        "ln -s {} /evil; ln -s /tmp /short; ln -s ../../../../../../etc/passwd /up; echo x > /ready; sleep 1000",
        canary.parent().unwrap().display()
    );
    let id = root.run_detached(&script);
    while root.containers().stat_path(&id, "/ready").is_err() {
        std::thread::yield_now();
    }
    let tar = tar_of("canary", "overwritten", false);
    assert!(
        root.containers()
            .copy_in(
                &id,
                "/evil",
                &mut tar.as_slice(),
                Owner::Given(0, 0),
                Clash::Refuse
            )
            .is_err()
    );
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
    root.containers()
        .copy_in(
            &id,
            "/short",
            &mut tar.as_slice(),
            Owner::Given(0, 0),
            Clash::Refuse,
        )
        .unwrap();
    assert_eq!(root.exec(&id, &["cat", "/tmp/canary"]).stdout, "overwritten");
    let stat = root.containers().stat_path(&id, "/up").unwrap();
    assert_eq!(stat.link_target, "/etc/passwd");
    root.containers().remove(&id, true, false).unwrap();
}

fn an_export_is_the_whole_root() {
    let root = Root::new();
    let id = root.run_detached("echo new > /made; rm /etc/group; echo x > /ready; sleep 1000");
    while root.containers().stat_path(&id, "/ready").is_err() {
        std::thread::yield_now();
    }
    let export = || {
        let mut tar = Vec::new();
        root.containers().export(&id, &mut tar).unwrap();
        assert!(tar.len() > 1_000_000);
        list(&tar)
    };
    let running = export();
    root.containers().kill(&id, "KILL").unwrap();
    let stopped = export();
    for listing in [running, stopped] {
        assert!(
            listing.contains(" made\n") && listing.contains("bin/busybox"),
            "{listing}"
        );
        assert!(!listing.contains("etc/group"), "{listing}");
        assert!(!listing.contains("proc/1/"), "{listing}");
    }
}
