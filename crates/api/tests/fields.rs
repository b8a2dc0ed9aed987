//! Field by field against the description of Docker's Engine API, version 1.56: `fields/*.txt` are the paths of each
//! object and the type of JSON that stands there, `*` for every item of a list and every value of a map, `?` behind
//! what may be left out. Not in the lists is what belongs to other systems, to swarm mode and to another image store.
#![cfg(test)]

use api::wire::{ContainerInspect, ImageInspect, NetworkInspect, VolumeInspect};
use engine::containers::record::{
    Activity, Check, Container, ContainerMount, EndpointRecord, Health, HealthStatus, Settings, Status,
};
use engine::containers::request::{
    Below, CreateContainer, DeviceRequest, GpuRequest, Limits, MountRequest, MountSource, NetworkAttachment,
    NetworkMode, PublishRequest, Ulimit,
};
use engine::network::{Endpoint, Protocol, PublishedPort};
use engine::networks::record::{Member, Network};
use engine::networks::request::Pool;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn list<const N: usize>(items: [&str; N]) -> Vec<String> {
    items.map(str::to_owned).to_vec()
}

fn request() -> CreateContainer {
    let device = || vec![("/dev/sda".into(), 1000)];
    CreateContainer {
        mounts: vec![
            MountRequest {
                target: "/bound".into(),
                long: false,
                mode: String::new(),
                read_only: true,
                source: MountSource::Bind {
                    path: "/src".into(),
                    create: true,
                    propagation: Some("rslave".into()),
                    recursive: true,
                    below: Below::default(),
                },
            },
            MountRequest {
                target: "/mounted".into(),
                long: true,
                mode: String::new(),
                read_only: true,
                source: MountSource::Bind {
                    path: "/src".into(),
                    create: false,
                    propagation: Some("rslave".into()),
                    recursive: false,
                    below: Below::default(),
                },
            },
            MountRequest {
                target: "/tmpfs".into(),
                long: false,
                mode: String::new(),
                read_only: false,
                source: MountSource::Tmpfs {
                    size: Some(1024),
                    mode: Some(0o700),
                    options: list(["exec"]),
                },
            },
        ],
        volumes_from: list(["other:ro"]),
        publish: vec![PublishRequest {
            host: Some(Ipv4Addr::LOCALHOST.into()),
            host_ports: 8080..=8080,
            port: 80,
            protocol: Protocol::Tcp,
        }],
        extra_hosts: vec![("a".into(), "1.2.3.4".into())],
        dns: vec![Ipv4Addr::LOCALHOST.into()],
        dns_search: list(["example.com"]),
        dns_options: list(["ndots:2"]),
        capabilities_add: list(["NET_ADMIN"]),
        capabilities_drop: list(["MKNOD"]),
        groups: list(["audio"]),
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 1,
            hard: 2,
        }],
        devices: vec![DeviceRequest {
            source: "/dev/null".into(),
            target: "/dev/nil".into(),
            permissions: "rwm".into(),
        }],
        gpus: vec![GpuRequest {
            driver: Some("nvidia".into()),
            count: Some(-1),
            devices: list(["0"]),
            capabilities: list(["compute"]),
            options: map([("a", "b")]),
        }],
        device_rules: list(["c 1:3 rwm"]),
        annotations: map([("a", "b")]),
        storage_options: map([("size", "1g")]),
        sysctls: map([("net.core.somaxconn", "9")]),
        init: true,
        stop_timeout: Some(std::time::Duration::from_secs(3)),
        stop_signal: Some("SIGINT".into()),
        limits: Limits {
            blkio_weight_devices: vec![("/dev/sda".into(), 100)],
            device_read_bps: device(),
            device_write_bps: device(),
            device_read_iops: device(),
            device_write_iops: device(),
            memory_swappiness: Some(10),
            pids: Some(9),
            ..Limits::default()
        },
        ..CreateContainer::default()
    }
}

fn container() -> Container {
    let mut request = request();
    request.security.no_new_privileges = true;
    let endpoint = EndpointRecord {
        network: "bridge".into(),
        network_id: "ab".repeat(32),
        id: "ef".repeat(32),
        endpoint: Endpoint {
            host_link: "ve0".into(),
            link: "eth0".into(),
            default_route: true,
            address: Ipv4Addr::new(172, 17, 0, 2),
            address6: None,
            mac: [2, 0x42, 172, 17, 0, 2],
            ports: vec![PublishedPort {
                host: Ipv4Addr::LOCALHOST.into(),
                host_port: 8080,
                port: 80,
                protocol: Protocol::Tcp,
            }],
        },
        gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
        prefix: 16,
        ipv6: None,
        names: Vec::new(),
    };
    Container {
        id: serde_json::from_value("0123456789abcdef".repeat(4).into()).unwrap(),
        name: "it".into(),
        image: format!("sha256:{}", "cd".repeat(32)).parse().unwrap(),
        execs: Vec::new(),
        created: 1,
        settings: Settings {
            request,
            image_name: "busybox".into(),
            entrypoint: list(["sh"]),
            command: list(["-c", "true"]),
            environment: list(["A=1"]),
            labels: map([("a", "b")]),
            exposed: list(["80/tcp"]),
            mounts: vec![ContainerMount {
                kind: "volume".into(),
                name: Some("data".into()),
                source: "/v/data".into(),
                target: "/data".into(),
                writable: true,
                propagation: String::new(),
                options: Vec::new(),
                below: Below::default(),
                mode: String::new(),
                mounted: false,
                subpath: None,
            }],
            log_driver: "json-file".into(),
            log_options: map([("max-size", "1m")]),
            healthcheck: serde_json::from_value(serde_json::json!({"Test": ["CMD", "true"]})).unwrap(),
            ..Settings::default()
        },
        status: Status {
            started: Some(2),
            endpoints: vec![endpoint],
            ..Status::default()
        },
        activity: Activity::Running,
        pid: Some(42),
        health: Some(Health {
            status: HealthStatus::Healthy,
            failing_streak: 0,
            log: vec![Check::default()],
        }),
        oom_killed: false,
        size_rw: Some(1),
        size_root: Some(2),
    }
}

/// The values at a path; `None` for each that is not there.
fn at<'v>(value: &'v Value, path: &[&str]) -> Vec<Option<&'v Value>> {
    let Some((first, rest)) = path.split_first() else {
        return vec![Some(value)];
    };
    match (value, *first) {
        (Value::Array(items), "*") => items.iter().flat_map(|item| at(item, rest)).collect(),
        (Value::Object(map), "*") => map.values().flat_map(|item| at(item, rest)).collect(),
        // Nothing can be said of what is in a list or map that was never made.
        (Value::Null, _) => Vec::new(),
        (value, name) => match value.get(name) {
            Some(found) => at(found, rest),
            None if rest.is_empty() => vec![None],
            None => Vec::new(),
        },
    }
}

/// Checks a document and returns how many values were compared.
fn compare(what: &str, document: &Value, fields: &str) -> usize {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for line in fields.lines() {
        let (path, kind) = line.split_once(' ').unwrap();
        let (kind, may_be_left_out) = match kind.strip_suffix('?') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        for found in at(document, &path.split('/').collect::<Vec<_>>()) {
            compared += 1;
            let fits = match (found, kind) {
                (Some(Value::String(_)), "string")
                | (Some(Value::Bool(_)), "boolean")
                | (Some(Value::Array(_) | Value::Null), "array")
                | (Some(Value::Object(_) | Value::Null), "object") => true,
                // Go writes a pointer to a number that was never set as null.
                (Some(Value::Null), "integer") => path.ends_with("MemorySwappiness") || may_be_left_out,
                (None | Some(Value::Null), _) => may_be_left_out,
                (Some(Value::Number(number)), "integer") => !number.is_f64(),
                _ => false,
            };
            if !fits {
                wrong.push(format!("{path}: {found:?} where {kind} belongs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    compared
}

#[test]
fn a_container_has_every_field() {
    let inspected = ContainerInspect::new(&container(), Path::new("/root"), &["/root/layers/a".into()]);
    let document = serde_json::to_value(inspected).unwrap();
    let compared = compare("container", &document, include_str!("fields/container.txt"));
    assert!(compared > 220, "{compared}");
    // One that was only just made has them, too.
    let bare = Container {
        settings: Settings::default(),
        status: Status::default(),
        activity: Activity::Created,
        pid: None,
        health: None,
        size_rw: None,
        size_root: None,
        ..container()
    };
    let document = serde_json::to_value(ContainerInspect::new(&bare, Path::new("/root"), &[])).unwrap();
    let fields: Vec<&str> = include_str!("fields/container.txt")
        .lines()
        .filter(|line| {
            // Left out where nothing was asked for, as Docker does.
            !["Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init"]
                .iter()
                .any(|name| line.starts_with(&format!("HostConfig/{name} ")))
        })
        .collect();
    compare("created container", &document, &fields.join("\n"));
}

#[test]
fn an_image_has_every_field() {
    let config: oci::ImageConfig = serde_json::from_value(serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["A=1"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": []},
    }))
    .unwrap();
    let image = engine::images::Image {
        id: format!("sha256:{}", "cd".repeat(32)).parse().unwrap(),
        config,
        raw_config: Vec::new(),
        manifest: None,
        platform: oci::Platform::host(),
        size: 1,
        created: 2,
        parent: None,
        layers: Vec::new(),
        tags: vec!["busybox".parse().unwrap()],
        variant_of: Vec::new(),
        repository_digests: Vec::new(),
    };
    let document = serde_json::to_value(ImageInspect::new(&image, &["/root/layers/a".into()])).unwrap();
    assert!(compare("image", &document, include_str!("fields/image.txt")) > 20);
}

#[test]
fn a_volume_has_every_field() {
    let volume = engine::volumes::Volume {
        name: "data".into(),
        anonymous: false,
        mountpoint: "/v/data".into(),
        labels: map([("a", "b")]),
        options: BTreeMap::new(),
        created: 1,
        containers: 0,
        versions: 0,
    };
    let document = serde_json::to_value(VolumeInspect::new(&volume)).unwrap();
    assert!(compare("volume", &document, include_str!("fields/volume.txt")) >= 7);
}

#[test]
fn a_network_has_every_field() {
    let own = Network {
        id: "ab".repeat(32),
        name: "lan".into(),
        driver: "bridge".into(),
        created: 1,
        internal: true,
        attachable: false,
        ipv6: true,
        pools: vec![
            Pool {
                subnet: Some("10.1.0.0/16".parse().unwrap()),
                range: Some("10.1.2.0/24".parse().unwrap()),
                gateway: Some("10.1.0.1".parse().unwrap()),
                auxiliary: [("printer".to_owned(), "10.1.0.9".parse().unwrap())].into(),
            },
            Pool {
                subnet: Some("fd00::/64".parse().unwrap()),
                gateway: Some("fd00::1".parse().unwrap()),
                ..Pool::default()
            },
        ],
        ipam_options: map([("a", "b")]),
        options: map([("com.docker.network.driver.mtu", "1400")]),
        labels: map([("a", "b")]),
        members: vec![Member {
            container: container().id,
            name: "it".into(),
            endpoint: container().status.endpoints.pop(),
        }],
    };
    let bare = Network {
        id: "cd".repeat(32),
        name: "none".into(),
        driver: "null".into(),
        created: 0,
        internal: false,
        ipv6: false,
        pools: Vec::new(),
        ipam_options: BTreeMap::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        members: Vec::new(),
        ..own.clone()
    };
    for (network, least) in [(own, 28), (bare, 14)] {
        let document = serde_json::to_value(NetworkInspect::new(&network)).unwrap();
        let compared = compare(&network.name, &document, include_str!("fields/network.txt"));
        assert!(compared >= least, "{}: {compared}", network.name);
    }
}

#[test]
fn a_container_shows_its_networks_whether_it_runs_or_not() {
    let mut container = container();
    container.settings.request.network = NetworkMode::Named("lan".into());
    container.settings.request.links = list(["db:store"]);
    container.settings.hostname = "it.example".into();
    container.settings.networks = vec![NetworkAttachment {
        network: "lan".into(),
        aliases: list(["web"]),
        address: Some(Ipv4Addr::new(10, 1, 0, 9)),
        address6: Some("fd00::9".parse().unwrap()),
        link_local: vec!["169.254.1.1".parse().unwrap()],
        mac: Some([2; 6]),
        driver_options: map([("a", "b")]),
        gateway_priority: 7,
        links: Vec::new(),
    }];
    let record = &mut container.status.endpoints[0];
    record.network = "lan".into();
    record.endpoint.address6 = Some("fd00::9".parse().unwrap());
    record.ipv6 = Some(("fd00::1".parse().unwrap(), 64));
    record.names = list(["it", "web"]);
    let show = |container: &Container| {
        let inspected = ContainerInspect::new(container, Path::new("/root"), &[]);
        serde_json::to_value(inspected).unwrap()
    };
    let document = show(&container);
    assert_eq!(
        document["HostConfig"]["Links"],
        serde_json::json!(["/db:/it/store"])
    );
    assert_eq!(document["HostConfig"]["NetworkMode"], "lan");
    assert_eq!(document["NetworkSettings"]["IPAddress"], "");
    let lan = document["NetworkSettings"]["Networks"]["lan"].clone();
    let expected = serde_json::json!({
        "IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.1.1"]},
        "Links": ["db:store"],
        "Aliases": ["web"],
        "MacAddress": "02:42:ac:11:00:02",
        "DriverOpts": {"a": "b"},
        "GwPriority": 7,
        "NetworkID": "ab".repeat(32),
        "EndpointID": "ef".repeat(32),
        "Gateway": "172.17.0.1",
        "IPAddress": "172.17.0.2",
        "IPPrefixLen": 16,
        "IPv6Gateway": "fd00::1",
        "GlobalIPv6Address": "fd00::9",
        "GlobalIPv6PrefixLen": 64,
        "DNSNames": ["it", "web"],
    });
    assert_eq!(lan, expected);
    container.pid = None;
    container.activity = Activity::Exited;
    let stopped = show(&container)["NetworkSettings"]["Networks"]["lan"].clone();
    for (field, expected) in [
        ("IPAMConfig", lan["IPAMConfig"].clone()),
        ("Links", lan["Links"].clone()),
        ("Aliases", lan["Aliases"].clone()),
        ("DriverOpts", lan["DriverOpts"].clone()),
        ("GwPriority", 7.into()),
        ("MacAddress", "02:02:02:02:02:02".into()),
        ("IPAddress", "".into()),
        ("EndpointID", "".into()),
        (
            "DNSNames",
            serde_json::json!(["it", "web", "0123456789ab", "it.example"]),
        ),
    ] {
        assert_eq!(stopped[field], expected, "{field}");
    }
}
