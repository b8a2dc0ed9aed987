use super::*;
use engine::containers::request::{Below, MountSource, NetworkMode, PublishRequest, RestartPolicy, Seccomp};
use engine::network::Protocol;
use serde_json::{Value, json};

fn read(body: Value) -> Result<CreateContainer, String> {
    let mut body = Object::new(body).map_err(|failure| failure.message)?;
    request(&mut body, ApiVersion::NEWEST)
        .map(|(request, _)| request)
        .map_err(|failure| failure.message)
}

#[expect(clippy::needless_pass_by_value, reason = "what json! makes is handed on")]
fn with_host(host: Value) -> Result<CreateContainer, String> {
    read(json!({ "Image": "i", "HostConfig": host }))
}

#[test]
fn what_the_docker_command_line_sends_for_nothing_is_nothing() {
    let host: Value = serde_json::from_str(
        r#"{
        "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default",
        "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": false,
        "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [24, 80], "CapAdd": null, "CapDrop": null,
        "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null, "GroupAdd": null,
        "IpcMode": "", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "", "Privileged": false,
        "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "",
        "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
        "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0,
        "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
        "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0, "MemorySwap": 0,
        "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0, "Ulimits": [], "CpuCount": 0,
        "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "MaskedPaths": null, "ReadonlyPaths": null}"#,
    )
    .unwrap();
    let body = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": true,
        "AttachStderr": true, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null,
        "Image": "i", "Volumes": {}, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": {},
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": {"default": {
            "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null,
            "GwPriority": 0, "NetworkID": "", "EndpointID": "", "IPAddress": "", "IPPrefixLen": 0,
        }}},
    });
    let expected = CreateContainer {
        image: "i".into(),
        pull: PullPolicy::Never,
        attach: Attach {
            stdin: false,
            stdout: true,
            stderr: true,
        },
        ..CreateContainer::default()
    };
    assert_eq!(read(body), Ok(expected));
}

#[test]
fn entry_points_may_be_words_or_nothing() {
    for (body, expected) in [
        (json!({"Image": "i", "Entrypoint": "/e"}), Some(vec!["/e"])),
        (
            json!({"Image": "i", "Entrypoint": ["/e", "-x"]}),
            Some(vec!["/e", "-x"]),
        ),
        (json!({"Image": "i", "Entrypoint": []}), Some(vec![])),
        (json!({"Image": "i", "Entrypoint": [""]}), Some(vec![""])),
        (json!({"Image": "i", "Entrypoint": null}), None),
    ] {
        let expected = expected.map(|words: Vec<&str>| words.into_iter().map(str::to_owned).collect());
        assert_eq!(read(body).unwrap().entrypoint, expected);
    }
}

#[test]
fn mounts_come_from_four_places() {
    let request = read(json!({
        "Image": "i",
        "Volumes": {"/anonymous": {}, "/bound/": {}},
        "HostConfig": {
            "Binds": ["/host:/bound:ro,z", "named:/named"],
            "Tmpfs": {"/t": "size=1m,mode=700,exec"},
            "Mounts": [
                {"Type": "bind", "Source": "/host", "Target": "/b", "ReadOnly": true, "Consistency": "cached",
                 "BindOptions": {"Propagation": "rslave", "NonRecursive": true, "CreateMountpoint": true,
                                 "ReadOnlyNonRecursive": true}},
                {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"NoCopy": true, "Subpath": "s",
                 "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}}}},
                {"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 448,
                 "Options": [["exec"], ["uid", "9"]]}, "BindOptions": null},
                {"Type": "image", "Source": "busybox", "Target": "/i", "ImageOptions": {"Subpath": "bin"}},
            ],
        },
    }))
    .unwrap();
    let targets: Vec<&str> = request.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(
        targets,
        ["/bound", "/named", "/b", "/v", "/m", "/i", "/t", "/anonymous"]
    );
    assert_eq!(request.mounts[0].mode, "ro,z");
    assert_eq!(
        request.mounts[2].source,
        MountSource::Bind {
            path: "/host".into(),
            create: true,
            propagation: Some("rslave".into()),
            recursive: false,
            below: Below::AsItIs,
        }
    );
    let MountSource::Tmpfs { size, mode, options } = &request.mounts[4].source else {
        panic!("{:?}", request.mounts[4]);
    };
    assert_eq!((*size, *mode), (Some(4096), Some(0o700)));
    assert_eq!(options, &["exec", "uid=9"]);
}

#[test]
fn wrong_mounts_in_dockers_words() {
    let mount = |mount: Value| with_host(json!({ "Mounts": [mount] })).unwrap_err();
    for (given, message) in [
        (
            json!({"Type": "bind", "Target": "/x"}),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            json!({"Type": "bind", "Source": "/x"}),
            "invalid mount config for type \"bind\": field Target must not be empty",
        ),
        (
            json!({"Type": "foo", "Target": "/x"}),
            "invalid mount config for type \"foo\": mount type unknown",
        ),
        (
            json!({"Type": "tmpfs", "Source": "x", "Target": "/x"}),
            "invalid mount config for type \"tmpfs\": field Source must not be specified",
        ),
        (
            json!({"Type": "bind", "Source": "/x", "Target": "/x", "VolumeOptions": {"NoCopy": true}}),
            "invalid mount config for type \"bind\": field VolumeOptions must not be specified",
        ),
    ] {
        assert_eq!(mount(given), message);
    }
    let twice = with_host(json!({"Binds": ["/a:/x"], "Tmpfs": {"/x/": ""}}));
    assert_eq!(twice.unwrap_err(), "Duplicate mount point: /x/");
    assert_eq!(
        with_host(json!({"Binds": ["/a:/x:foo"]})).unwrap_err(),
        "invalid mode: foo"
    );
}

#[test]
fn ports() {
    let request = read(json!({
        "Image": "i",
        "ExposedPorts": {"53/udp": {}, "8000-8001/tcp": {}, "80": {}},
        "HostConfig": {"PublishAllPorts": true, "PortBindings": {
            "53/udp": null,
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": "9000-9009"}],
            "443": [{"HostPort": ""}],
        }},
    }))
    .unwrap();
    assert_eq!(request.expose, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
    let publish = |host: Option<&str>, host_ports, port, protocol| PublishRequest {
        host: host.map(|host| host.parse().unwrap()),
        host_ports,
        port,
        protocol,
    };
    assert_eq!(
        request.publish,
        [
            publish(None, 0..=0, 443, Protocol::Tcp),
            publish(None, 0..=0, 53, Protocol::Udp),
            publish(Some("127.0.0.1"), 8080..=8080, 80, Protocol::Tcp),
            publish(None, 9000..=9009, 80, Protocol::Tcp),
        ]
    );
    assert!(request.publish_all);
    for wrong in [
        json!({"x/tcp": []}),
        json!({"80/foo": []}),
        json!({"0/tcp": []}),
        json!({"80/tcp": [{"HostPort": "99999"}]}),
        json!({"80/tcp": [{"HostIp": "x"}]}),
    ] {
        assert!(with_host(json!({ "PortBindings": wrong })).is_err(), "{wrong}");
    }
}

#[test]
fn the_first_network_is_the_mode_or_an_endpoint() {
    let networks = |mode: &str, endpoints: Value| {
        let body = json!({"Image": "i", "HostConfig": {"NetworkMode": mode},
                          "NetworkingConfig": {"EndpointsConfig": endpoints}});
        read(body).map(|request| {
            let names = request.attachments.iter().map(|one| one.network.clone());
            (request.network, names.collect::<Vec<_>>().join(" "))
        })
    };
    let lan = || NetworkMode::Named("lan".into());
    for (mode, endpoints, expected) in [
        ("", json!(null), (NetworkMode::Bridge, "")),
        ("lan", json!({}), (lan(), "")),
        ("lan", json!({"lan": null}), (lan(), "")),
        ("lan", json!({"lan": {"Aliases": ["db"]}}), (lan(), "lan")),
        ("default", json!({"lan": {}}), (lan(), "")),
        ("lan", json!({"aaa": {}, "lan": {}}), (lan(), "lan aaa")),
        ("lan", json!({"wan": {}}), (lan(), "lan wan")),
        ("host", json!({"host": {}}), (NetworkMode::Host, "")),
        (
            "bridge",
            json!({"bridge": {"MacAddress": "02:00:00:00:00:09"}}),
            (NetworkMode::Bridge, ""),
        ),
        (
            "container:db",
            json!({}),
            (NetworkMode::Container("db".into()), ""),
        ),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(
            networks(mode, endpoints.clone()),
            Ok(expected),
            "{mode} {endpoints}"
        );
    }
    for (mode, endpoints) in [
        ("host", json!({"lan": {}})),
        ("none", json!({"lan": {}})),
        ("container:db", json!({"lan": {}})),
        ("bridge", json!({"bridge": {"Aliases": ["x"]}})),
        ("lan", json!({"lan": {"IPAMConfig": {"IPv4Address": "x"}}})),
    ] {
        assert!(networks(mode, endpoints.clone()).is_err(), "{mode} {endpoints}");
    }
    let old = json!({"Image": "i", "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}});
    let mut old = Object::new(old).unwrap();
    let error = request(&mut old, ApiVersion::new(43)).unwrap_err();
    assert!(
        error.message.contains("multiple network endpoints: a, b"),
        "{}",
        error.message
    );
}

#[test]
fn an_endpoint_says_it_all() {
    let request = read(json!({
        "Image": "i", "MacAddress": "02:00:00:00:00:01",
        "HostConfig": {"NetworkMode": "lan", "Links": ["db:store"]},
        "NetworkingConfig": {"EndpointsConfig": {"lan": {
            "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.1.9"]},
            "Aliases": ["a"], "Links": ["db:store"], "DriverOpts": {"x": "y"}, "GwPriority": 7,
        }}},
    }))
    .unwrap();
    let [lan] = request.attachments.as_slice() else {
        panic!("{:?}", request.attachments);
    };
    assert_eq!(lan.address.unwrap().to_string(), "10.0.0.9");
    assert_eq!(lan.address6.unwrap().to_string(), "fd00::9");
    assert_eq!((lan.gateway_priority, lan.link_local.len()), (7, 1));
    assert_eq!(lan.mac, Some([2, 0, 0, 0, 0, 1]));
    assert!(lan.links.is_empty());
    assert_eq!(request.links, ["db:store"]);
}

#[test]
fn limits_and_devices() {
    let request = with_host(json!({
        "Memory": 67_108_864, "MemorySwap": -1, "PidsLimit": -5, "NanoCpus": 1_500_000_000, "MemorySwappiness": 0,
        "BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 200}],
        "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1024}],
        "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"},
                    {"PathOnHost": "/dev/zero"}],
        "DeviceCgroupRules": ["c 1:3 rwm"],
        "DeviceRequests": [{"Driver": "", "Count": -1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}},
                           {"Driver": "cdi", "DeviceIDs": ["vendor.com/class=a"]}],
    }))
    .unwrap();
    let limits = &request.limits;
    assert_eq!((limits.memory, limits.memory_swap), (Some(64 << 20), Some(-1)));
    assert_eq!((limits.pids, limits.memory_swappiness), (Some(-1), Some(0)));
    assert_eq!(limits.blkio_weight_devices, [("/dev/null".into(), 200)]);
    assert_eq!(limits.device_read_bps, [("/dev/null".into(), 1024)]);
    assert_eq!(request.ulimits[0].hard, 2048);
    let devices: Vec<String> = request
        .devices
        .iter()
        .map(|device| format!("{}:{}", device.target.display(), device.permissions))
        .collect();
    assert_eq!(devices, ["/dev/x:rw", "/dev/zero:rwm"]);
    assert_eq!(request.gpus[0].count, Some(-1));
    assert_eq!(request.cdi_devices, ["vendor.com/class=a"]);
}

#[test]
fn rights_and_modes() {
    let request = with_host(json!({
        "SecurityOpt": ["no-new-privileges", "seccomp={\"defaultAction\": \"SCMP_ACT_ALLOW\"}", "label=disable"],
        "MaskedPaths": [], "ReadonlyPaths": ["/proc/sys"], "PidMode": "container:db", "UTSMode": "host",
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    }))
    .unwrap();
    assert!(request.security.no_new_privileges);
    assert_eq!(
        request.security.seccomp,
        Seccomp::Profile("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}".into())
    );
    assert_eq!(request.security.masked_paths.as_deref(), Some([].as_slice()));
    assert_eq!(request.restart, RestartPolicy::OnFailure(3));
    let open = with_host(json!({"MaskedPaths": [], "ReadonlyPaths": []})).unwrap();
    assert!(open.security.system_paths_unconfined);
    for (host, message) in [
        (
            json!({"SecurityOpt": ["foo=bar"]}),
            "invalid --security-opt: \"foo=bar\"",
        ),
        (json!({"IpcMode": "x"}), "invalid IPC mode: x"),
        (
            json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (json!({"Ulimits": [{"Name": "x"}]}), "invalid ulimit type: x"),
        (json!({"ExtraHosts": ["x"]}), "bad format for add-host: \"x\""),
        (json!({"Memory": "x"}), ""),
    ] {
        let error = with_host(host).unwrap_err();
        assert!(error.starts_with(message) && !error.is_empty(), "{error}");
    }
}

#[test]
fn health_checks_have_nanoseconds() {
    let health =
        |check: Value| read(json!({"Image": "i", "Healthcheck": check})).map(|request| request.health);
    let request = health(json!({
        "Test": ["CMD-SHELL", "true"], "Interval": 2_000_000_000_u64, "Timeout": 0, "Retries": 3,
        "StartPeriod": 1_000_000,
    }))
    .unwrap();
    assert_eq!(request.interval, Some(Duration::from_secs(2)));
    assert_eq!((request.timeout, request.retries), (None, Some(3)));
    assert_eq!(request.start_period, Some(Duration::from_millis(1)));
    assert!(health(json!({"Test": ["NONE"]})).unwrap().none);
    assert!(health(json!({"Test": ["CMD", "x"], "Retries": -1})).is_err());
    assert_eq!(health(json!({"Test": []})).unwrap(), HealthRequest::default());
}
