//! Requests in the specification's JSON against the files and values that they become.

use super::*;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

fn written(settings: Vec<Setting>) -> Vec<String> {
    settings
        .into_iter()
        .map(|setting| {
            let choices: Vec<_> = setting
                .choices
                .iter()
                .map(|(file, value)| format!("{file}={value}"))
                .collect();
            choices.join(" or ")
        })
        .collect()
}

fn one(json: &str) -> Vec<String> {
    written(version_1(&resources(json), None).unwrap())
}

fn two(json: &str) -> Vec<String> {
    written(version_2(&resources(json)).unwrap())
}

#[test]
fn the_order_of_memory_and_swap_follows_the_direction() {
    let (limit, swap) = ("memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=200");
    let request = resources(r#"{"memory":{"limit":100,"swap":200}}"#);
    for (current, expected) in [
        (None, [limit, swap]),
        (Some(300), [limit, swap]),
        (Some(200), [limit, swap]),
        (Some(150), [swap, limit]),
    ] {
        assert_eq!(
            written(version_1(&request, current).unwrap()),
            expected,
            "from {current:?}"
        );
    }
    assert_eq!(
        one(r#"{"memory":{"limit":-1}}"#),
        ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"]
    );
    assert_eq!(one(r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#), [""; 0]);
}

#[test]
fn memory_of_version_2() {
    let cases: [(&str, &[&str]); 7] = [
        (
            r#"{"limit":100,"swap":300}"#,
            &["memory.swap.max=200", "memory.max=100"],
        ),
        (
            r#"{"limit":100,"swap":100}"#,
            &["memory.swap.max=0", "memory.max=100"],
        ),
        (
            r#"{"limit":100,"swap":-1}"#,
            &["memory.swap.max=max", "memory.max=100"],
        ),
        (r#"{"limit":-1}"#, &["memory.swap.max=max", "memory.max=max"]),
        (r#"{"limit":100}"#, &["memory.max=100"]),
        (r#"{"reservation":50}"#, &["memory.low=50"]),
        (r#"{"limit":0,"swap":0}"#, &[]),
    ];
    for (memory, expected) in cases {
        assert_eq!(two(&format!(r#"{{"memory":{memory}}}"#)), expected, "{memory}");
    }
    for refused in [
        r#"{"swap":100}"#,
        r#"{"limit":-1,"swap":100}"#,
        r#"{"limit":100,"swap":99}"#,
    ] {
        let request = resources(&format!(r#"{{"memory":{refused}}}"#));
        assert_eq!(version_2(&request).unwrap_err().errno, Errno::INVAL, "{refused}");
    }
}

#[test]
fn what_version_2_has_no_file_for_is_a_warning() {
    let request =
        resources(r#"{"memory":{"swappiness":10,"disableOOMKiller":true},"network":{"classID":5}}"#);
    let settings = version_2(&request).unwrap();
    let missing: Vec<_> = settings.iter().map(|each| each.missing).collect();
    assert_eq!(missing, [SWAPPINESS, OOM, CLASS]);
    assert!(settings.iter().all(|each| each.choices.is_empty()));
}

#[test]
fn shares_become_weights_as_with_runc() {
    for (shares, weight) in [
        (1, 1),
        (2, 1),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (10_240, 639),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
}

#[test]
fn block_weights_become_io_weights() {
    for (weight, expected) in [(10, 1), (500, 4950), (1000, 10_000)] {
        assert_eq!(weight_of_block_weight(weight), expected);
    }
}

#[test]
fn processor_time() {
    let request = r#"{"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0-1","mems":"0"}}"#;
    let cpuset = ["cpuset.cpus=0-1", "cpuset.mems=0"];
    let first = [
        "cpu.shares=512",
        "cpu.cfs_period_us=100000",
        "cpu.cfs_quota_us=50000",
    ];
    assert_eq!(one(request), [&first[..], &cpuset].concat());
    assert_eq!(
        two(request),
        [&["cpu.weight=59", "cpu.max=50000 100000"][..], &cpuset].concat()
    );
    assert_eq!(two(r#"{"cpu":{"quota":-1}}"#), ["cpu.max=max"]);
    assert_eq!(two(r#"{"cpu":{"period":5000}}"#), ["cpu.max=max 5000"]);
    assert_eq!(
        two(r#"{"cpu":{"quota":0,"period":0,"shares":0,"cpus":""}}"#),
        [""; 0]
    );
    assert_eq!(two(r#"{"cpu":{"idle":1,"shares":512}}"#), ["cpu.idle=1"]);
    assert_eq!(
        two(r#"{"cpu":{"idle":0,"shares":1024}}"#),
        ["cpu.idle=0", "cpu.weight=100"]
    );
}

#[test]
fn pids() {
    for (limit, value) in [(5, "pids.max=5"), (0, "pids.max=max"), (-1, "pids.max=max")] {
        let request = format!(r#"{{"pids":{{"limit":{limit}}}}}"#);
        assert_eq!(one(&request), [value]);
        assert_eq!(two(&request), [value]);
    }
}

#[test]
fn block_devices() {
    let request = r#"{"blockIO":{"weight":500,
        "weightDevice":[{"major":8,"minor":0,"weight":10}],
        "throttleReadBpsDevice":[{"major":8,"minor":1,"rate":7}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":2,"rate":0}]}}"#;
    assert_eq!(
        one(request),
        [
            "blkio.weight=500 or blkio.bfq.weight=500",
            "blkio.weight_device=8:0 10 or blkio.bfq.weight_device=8:0 10",
            "blkio.throttle.read_bps_device=8:1 7",
            "blkio.throttle.write_iops_device=8:2 0",
        ]
    );
    assert_eq!(
        two(request),
        [
            "io.bfq.weight=500 or io.weight=4950",
            "io.bfq.weight=8:0 10 or io.weight=8:0 1",
            "io.max=8:1 rbps=7",
            "io.max=8:2 wiops=max",
        ]
    );
}

#[test]
fn huge_pages() {
    let request = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
    assert_eq!(
        one(request),
        [
            "hugetlb.2MB.limit_in_bytes=4194304",
            "hugetlb.2MB.rsvd.limit_in_bytes=4194304"
        ]
    );
    assert_eq!(
        two(request),
        ["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"]
    );
    let escape = resources(r#"{"hugepageLimits":[{"pageSize":"/../x","limit":1}]}"#);
    assert!(version_1(&escape, None).is_err());
    assert!(version_2(&escape).is_err());
}

#[test]
fn unified_values_are_for_version_2() {
    let request = r#"{"unified":{"memory.high":"100","io.max":"8:0 rbps=1\n8:1 rbps=2"}}"#;
    assert_eq!(
        two(request),
        ["io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=100"]
    );
    assert_eq!(
        version_1(&resources(request), None).unwrap_err().errno,
        Errno::OPNOTSUPP
    );
    for name in ["../memory.max", "memory"] {
        assert!(version_2(&resources(&format!(r#"{{"unified":{{"{name}":"1"}}}}"#))).is_err());
    }
}

#[test]
fn further_controllers_are_only_those_asked_for() {
    assert_eq!(further_controllers(&resources("{}")), [""; 0]);
    assert_eq!(
        further_controllers(&resources(r#"{"cpu":{"shares":5,"cpus":"","mems":""}}"#)),
        [""; 0]
    );
    let all = r#"{"cpu":{"mems":"0"},"hugepageLimits":[{"pageSize":"2MB","limit":1}],
        "rdma":{"mlx5":{"hcaHandles":3}},
        "network":{"classID":1,"priorities":[{"name":"eth0","priority":1}]}}"#;
    assert_eq!(
        further_controllers(&resources(all)),
        ["cpuset", "hugetlb", "rdma", "net_cls", "net_prio"]
    );
    assert!(one(all).contains(&"rdma.max=mlx5 hca_handle=3".to_owned()));
    assert!(one(all).contains(&"net_prio.ifpriomap=eth0 1".to_owned()));
}
