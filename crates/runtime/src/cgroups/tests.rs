//! Version 1 on the machine's own hierarchies; version 2 on directories that look like one.

use super::*;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// A path of our own, removed with all that is in it even when a test fails.
struct Name(PathBuf);

impl Name {
    fn new(test: &str) -> Self {
        Self(PathBuf::from(format!(
            "/coracle-test-{}-{test}/inner",
            std::process::id()
        )))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(self.0.parent().unwrap()) {
            cgroup.kill().unwrap();
            cgroup.remove(Duration::from_secs(10)).unwrap();
        }
    }
}

/// Starts a shell that waits for a line, then enters the cgroup as a container's process does and runs `script`.
fn enter(cgroup: &Cgroup, script: &str) -> Child {
    let files: Vec<_> = cgroup
        .members
        .iter()
        .filter(|member| member.hierarchy.version == Version::One)
        .map(|member| member.directory.path().join("tasks").display().to_string())
        .collect();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "for file; do echo 0 > $file || exit 9; done; echo in; {script}"
        ))
        .arg("sh")
        .args(files)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child
}

fn read(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    let member = cgroup.with_controller(controller).unwrap();
    member.directory.read(file).unwrap().trim().to_owned()
}

#[test]
fn limits_are_written() {
    let name = Name::new("limits");
    let request = r#"{
        "memory":{"limit":67108864,"swap":134217728,"reservation":33554432},
        "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0","mems":"0"},
        "pids":{"limit":17},
        "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"}]}"#;
    let (cgroup, warnings) = Cgroup::create(&name.0, Some(&resources(request))).unwrap();
    assert_eq!(read(&cgroup, "memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(read(&cgroup, "memory", "memory.soft_limit_in_bytes"), "33554432");
    assert_eq!(read(&cgroup, "cpu", "cpu.shares"), "512");
    assert_eq!(read(&cgroup, "cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(&cgroup, "cpuset", "cpuset.cpus"), "0");
    assert_eq!(read(&cgroup, "pids", "pids.max"), "17");
    let devices = read(&cgroup, "devices", "devices.list");
    assert!(devices.contains("c 10:200 rw\n"), "{devices}");
    assert!(devices.contains("c 1:3 rwm"), "{devices}");
    assert!(!devices.contains("a *:* rwm"), "{devices}");
    let has_swap = cgroup
        .with_controller("memory")
        .unwrap()
        .directory
        .read_existing("memory.memsw.limit_in_bytes")
        .unwrap()
        .is_some();
    let swap = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited \
                without swap.";
    assert_eq!(warnings, if has_swap { vec![] } else { vec![swap.to_owned()] });
    cgroup.remove(Duration::ZERO).unwrap();
    for member in &cgroup.members {
        assert!(!member.directory.path().exists());
    }
}

#[test]
fn device_rules_bind() {
    let name = Name::new("devices");
    let request = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;
    let (cgroup, warnings) = Cgroup::create(&name.0, Some(&resources(request))).unwrap();
    assert_eq!(warnings, [""; 0]);
    let script =
        "head -c1 /dev/zero >/dev/null || exit 1; ! head -c1 /dev/kmsg 2>/dev/null || exit 2; exit 42";
    assert_eq!(enter(&cgroup, script).wait().unwrap().code(), Some(42));
}

#[test]
fn a_refused_limit_leaves_nothing() {
    let name = Name::new("refused");
    let error = Cgroup::create(&name.0, Some(&resources(r#"{"cpu":{"cpus":"0-100000"}}"#))).unwrap_err();
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    assert_eq!(Cgroup::open(&name.0).unwrap_err().errno, Errno::NOENT);
}

#[test]
fn processes_are_counted_frozen_and_killed() {
    let name = Name::new("kill");
    let (cgroup, _) = Cgroup::create(&name.0, None).unwrap();
    let mut child = enter(&cgroup, "sleep 1000 & sleep 1000");
    let pid = child.id();
    let again = Cgroup::open(&name.0).unwrap();
    while again.usage().unwrap().pids < 3 {
        std::thread::yield_now();
    }
    let usage = again.usage().unwrap();
    assert!(
        usage.memory > 0 && usage.cpu > 0 && usage.oom_kills == 0,
        "{usage:?}"
    );
    assert!(usage.memory_peak.unwrap() >= usage.memory);

    again.freeze(true).unwrap();
    assert_eq!(read(&again, "freezer", "freezer.state"), "FROZEN");
    again.freeze(false).unwrap();
    assert_eq!(read(&again, "freezer", "freezer.state"), "THAWED");

    assert_eq!(again.remove(Duration::ZERO).unwrap_err().errno, Errno::BUSY);
    // Killing thaws what was paused.
    again.freeze(true).unwrap();
    again.kill().unwrap();
    again.remove(Duration::from_secs(10)).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(Cgroup::open(&name.0).unwrap_err().errno, Errno::NOENT);
}

#[test]
fn a_fork_bomb_does_not_outrun_kill() {
    let name = Name::new("bomb");
    let limit = resources(r#"{"pids":{"limit":64}}"#);
    let (cgroup, _) = Cgroup::create(&name.0, Some(&limit)).unwrap();
    let mut child = enter(&cgroup, "bomb() { bomb | bomb & }; exec 2>/dev/null; bomb; wait");
    cgroup.kill().unwrap();
    cgroup.remove(Duration::from_secs(10)).unwrap();
    child.wait().unwrap();
}

#[test]
fn remove_goes_below_and_waits() {
    let name = Name::new("below");
    let (cgroup, _) = Cgroup::create(&name.0, None).unwrap();
    for member in &cgroup.members {
        std::fs::create_dir_all(member.directory.path().join("a/b")).unwrap();
    }
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    // Only here, to have it in the lowest cgroup.
    let lowest = cgroup
        .with_controller("pids")
        .unwrap()
        .directory
        .path()
        .join("a/b");
    std::fs::write(lowest.join("cgroup.procs"), child.id().to_string()).unwrap();
    let thread = std::thread::spawn(move || {
        child.stdin.take().unwrap().write_all(b"x").unwrap();
        child.wait().unwrap();
    });
    cgroup.remove(Duration::from_secs(10)).unwrap();
    thread.join().unwrap();
    assert!(!lowest.exists());
}

#[test]
fn what_is_empty_is_replaced_and_what_is_not_is_refused() {
    let name = Name::new("twice");
    let limit = resources(r#"{"pids":{"limit":5}}"#);
    let (first, _) = Cgroup::create(&name.0, Some(&limit)).unwrap();
    let (second, _) = Cgroup::create(&name.0, None).unwrap();
    assert_eq!(read(&second, "pids", "pids.max"), "max");
    assert!(first.usage().is_err() || first.usage().unwrap().pids == 0);
    let mut child = enter(&second, "exec sleep 1000");
    assert_eq!(Cgroup::create(&name.0, None).unwrap_err().errno, Errno::EXIST);
    assert_eq!(second.usage().unwrap().pids, 1);
    second.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn limits_change_in_either_direction() {
    let name = Name::new("update");
    let megabytes = |limit: u64, swap: u64| {
        resources(&format!(
            r#"{{"memory":{{"limit":{},"swap":{}}}}}"#,
            limit << 20,
            swap << 20
        ))
    };
    let (cgroup, _) = Cgroup::create(&name.0, Some(&megabytes(64, 64))).unwrap();
    for (limit, swap) in [(128, 256), (32, 32), (512, 512), (32, 64)] {
        cgroup.update(&megabytes(limit, swap)).unwrap();
        assert_eq!(
            read(&cgroup, "memory", "memory.limit_in_bytes"),
            (limit << 20).to_string()
        );
    }
    cgroup.update(&resources(r#"{"memory":{"limit":-1}}"#)).unwrap();
    // A period beyond the old quota's reach goes with the new quota.
    for (quota, period) in [(1000, 1000), (1_000_000, 1_000_000), (1000, 1000)] {
        let cpu = format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
        cgroup.update(&resources(&cpu)).unwrap();
        assert_eq!(read(&cgroup, "cpu", "cpu.cfs_period_us"), period.to_string());
        assert_eq!(read(&cgroup, "cpu", "cpu.cfs_quota_us"), quota.to_string());
    }
}

#[test]
fn a_cpuset_can_come_later() {
    let name = Name::new("cpuset");
    let (cgroup, _) = Cgroup::create(&name.0, None).unwrap();
    let mut child = enter(&cgroup, "exec sleep 1000");
    assert!(cgroup.with_controller("cpuset").is_none());
    assert_eq!(
        cgroup.update(&resources(r#"{"cpu":{"cpus":"0"}}"#)).unwrap(),
        [""; 0]
    );
    let again = Cgroup::open(&name.0).unwrap();
    assert_eq!(read(&again, "cpuset", "cpuset.cpus"), "0");
    assert_eq!(read(&again, "cpuset", "cgroup.procs"), child.id().to_string());
    // And a refused one leaves no trace.
    again.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_failure_in_one_hierarchy_undoes_the_others() {
    let name = Name::new("undo");
    let mut layout = Layout::detect().unwrap();
    layout.hierarchies.push(Hierarchy {
        version: Version::One,
        mount: PathBuf::from("/nonexistent"),
        controllers: vec!["rdma".to_owned()],
    });
    let request = resources(r#"{"rdma":{"mlx":{"hcaHandles":1}}}"#);
    let error = Cgroup::create_in(&layout, &name.0, Some(&request)).unwrap_err();
    assert_eq!(error.errno, Errno::NOENT);
    assert_eq!(Cgroup::open(&name.0).unwrap_err().errno, Errno::NOENT);
}

#[test]
fn parents_may_be_made_by_many_at_once() {
    let name = Name::new("many");
    let request = resources(r#"{"cpu":{"cpus":"0"}}"#);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = name.0.join(format!("parent/{number}"));
            let request = &request;
            scope.spawn(move || {
                let (cgroup, _) = Cgroup::create(&path, Some(request)).unwrap();
                assert_eq!(read(&cgroup, "cpuset", "cpuset.cpus"), "0");
                cgroup.remove(Duration::ZERO).unwrap();
            });
        }
    });
}

#[test]
fn in_a_mixture_each_controller_is_where_it_is() {
    let (root, mut layout) = fake(
        "hugetlb",
        &[
            ("a/hugetlb.2MB.max", "max\n"),
            ("a/cgroup.freeze", "0\n"),
            ("v1/a/tasks", ""),
            ("v1/a/pids.max", "max\n"),
        ],
    );
    layout.hierarchies.push(Hierarchy {
        version: Version::One,
        mount: root.path().join("v1"),
        controllers: vec!["pids".to_owned()],
    });
    let cgroup = Cgroup::open_in(&layout, Path::new("a")).unwrap();
    assert!(cgroup.clone_into().is_some() && cgroup.tasks_files().len() == 1);
    let request = resources(r#"{"pids":{"limit":5},"hugepageLimits":[{"pageSize":"2MB","limit":7}]}"#);
    assert_eq!(cgroup.apply(&request, None).unwrap(), [""; 0]);
    let value = |file: &str| std::fs::read_to_string(root.path().join(file)).unwrap();
    assert_eq!(
        (value("a/hugetlb.2MB.max"), value("v1/a/pids.max")),
        ("7".to_owned(), "5".to_owned())
    );
    // Freezing version 2 would not stop those who are in version 1 alone.
    assert_eq!(cgroup.freeze(true).unwrap_err().errno, Errno::OPNOTSUPP);
}

#[test]
fn paths_stay_below_the_hierarchy() {
    for path in ["", "/", ".", "..", "/a/../b", "../a"] {
        assert_eq!(
            relative(Path::new(path)).unwrap_err().errno,
            Errno::INVAL,
            "{path}"
        );
    }
    assert_eq!(relative(Path::new("/a//b/./c")).unwrap(), Path::new("a/b/c"));
}

/// A directory that looks like version 2: `files` by path.
fn fake(controllers: &str, files: &[(&str, &str)]) -> (TempDir, Layout) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let layout = Layout {
        hierarchies: vec![Hierarchy {
            version: Version::Two,
            mount: root.path().to_owned(),
            controllers: controllers.split(' ').map(str::to_owned).collect(),
        }],
    };
    (root, layout)
}

#[test]
fn version_2_enables_controllers_on_the_way_down() {
    let (root, layout) = fake(
        "cpuset cpu io memory hugetlb pids rdma misc",
        &[
            ("cgroup.subtree_control", "memory pids\n"),
            ("a/cgroup.subtree_control", ""),
        ],
    );
    let request = resources(r#"{"cpu":{"cpus":"0"}}"#);
    let (cgroup, warnings) = Cgroup::create_in(&layout, Path::new("/a/b"), Some(&request)).unwrap();
    let control = |path: &str| std::fs::read_to_string(root.path().join(path)).unwrap();
    // Only what was missing, and below everything.
    assert_eq!(control("cgroup.subtree_control"), "+cpu +io +cpuset");
    assert_eq!(
        control("a/cgroup.subtree_control"),
        "+memory +cpu +pids +io +cpuset"
    );
    assert!(cgroup.clone_into().is_some());
    assert!(cgroup.tasks_files().is_empty());
    // The fake leaf has no files, so that the limit has nowhere to go.
    assert_eq!(
        warnings,
        ["Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."]
    );
    cgroup.remove(Duration::ZERO).unwrap();
    assert!(!root.path().join("a/b").exists());
}

#[test]
fn version_2_says_which_controller_cannot_be_enabled() {
    let (root, layout) = fake("cpu memory", &[("cgroup.subtree_control", "")]);
    // Stands for a parent that has processes: nothing can be written.
    let file = root.path().join("cgroup.subtree_control");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/proc/version", &file).unwrap();
    let hierarchy = &layout.hierarchies[0];
    let error = enable(hierarchy, Path::new("a"), &["memory"]).unwrap_err();
    assert_eq!(error.errno, Errno::LOOP);
    let refused = [
        ("memory", PathBuf::from("/x"), Errno::BUSY),
        ("cpu", PathBuf::from("/x"), Errno::BUSY),
    ];
    let warnings = refused_warnings(&refused, &resources(r#"{"memory":{"limit":5}}"#)).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("The cgroup controller 'memory' cannot be enabled in '/x': "),
        "{warnings:?}"
    );
}

#[test]
fn version_2_limits_go_to_its_files() {
    let (root, layout) = fake(
        "cpu memory pids",
        &[
            ("a/memory.max", "max\n"),
            ("a/memory.swap.max", "max\n"),
            ("a/cpu.weight", "100\n"),
            ("a/pids.max", "max\n"),
            ("a/io.weight", "default 100\n"),
            ("a/memory.high", "max\n"),
        ],
    );
    let cgroup = Cgroup::open_in(&layout, Path::new("a")).unwrap();
    let request = resources(
        r#"{"memory":{"limit":100,"swap":300,"swappiness":5},"cpu":{"shares":1024,"quota":5},
            "pids":{"limit":5},"blockIO":{"weight":1000},"unified":{"memory.high":"7"}}"#,
    );
    let warnings = cgroup.apply(&request, None).unwrap();
    let value = |file: &str| std::fs::read_to_string(root.path().join("a").join(file)).unwrap();
    assert_eq!(value("memory.max"), "100");
    assert_eq!(value("memory.swap.max"), "200");
    assert_eq!(value("cpu.weight"), "100");
    assert_eq!(value("pids.max"), "5");
    assert_eq!(value("io.weight"), "10000");
    assert_eq!(value("memory.high"), "7");
    assert_eq!(
        warnings,
        [
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory \
             swappiness discarded.",
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
        ]
    );
    let unknown = resources(r#"{"unified":{"memory.nothing":"7"}}"#);
    assert_eq!(cgroup.apply(&unknown, None).unwrap_err().errno, Errno::NOENT);
}

/// A version 2 cgroup for the program, in the tree that a mixture has too.
struct Unified(Directory);

impl Drop for Unified {
    fn drop(&mut self) {
        self.0.remove().unwrap();
    }
}

#[test]
fn the_kernel_takes_the_device_program() {
    let layout = Layout::detect().unwrap();
    let tree = layout
        .hierarchies
        .iter()
        .find(|each| each.version == Version::Two)
        .unwrap();
    let name = PathBuf::from(format!("coracle-test-{}-bpf", std::process::id()));
    let directory = Unified(Directory::make(&tree.mount, &name).unwrap());
    let only = Layout {
        hierarchies: vec![tree.clone()],
    };
    let cgroup = Cgroup::open_in(&only, &name).unwrap();
    let rules = |json: &str| {
        let list: Vec<oci_spec::runtime::LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        Rules::read(&list).unwrap()
    };
    let attached = || sys::bpf::attached_device_programs(&directory.0).unwrap().len();
    let deny = rules(r#"[{"allow":false,"access":"rwm"}]"#);
    for _again in 0..2 {
        assert_eq!(cgroup.apply_device_program(&deny).unwrap(), None);
        assert_eq!(attached(), 1);
    }
    let script = "echo 0 > $1/cgroup.procs || exit 1; head -c1 /dev/zero >/dev/null || exit 2;
                  ! head -c1 /dev/kmsg 2>/dev/null || exit 3; exit 42";
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(directory.0.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(42));
    cgroup
        .apply_device_program(&rules(r#"[{"allow":true,"access":"rwm"}]"#))
        .unwrap();
    assert_eq!(attached(), 0);
}
