//! `POST /containers/create`: the same containers as by the command line's flags.

use crate::sandbox;
use serde_json::{Value, json};
use testkit::Sandbox;
use testkit::api::ApiServer;

/// Takes out of what `inspect` shows all that differs between two containers of the same settings.
fn comparable(value: &mut Value) {
    match value {
        Value::String(text) => {
            let mut hidden = String::new();
            let mut run = String::new();
            for c in text.chars().chain(['\0']) {
                if c.is_ascii_hexdigit() {
                    run.push(c);
                    continue;
                }
                // Ids of containers, volumes and networks, whole or short.
                hidden.push_str(if matches!(run.len(), 12 | 64) { "ID" } else { &run });
                run.clear();
                hidden.push(c);
            }
            *text = hidden;
        }
        Value::Array(values) => values.iter_mut().for_each(comparable),
        Value::Object(fields) => {
            fields.remove("Created");
            fields.values_mut().for_each(comparable);
        }
        _ => {}
    }
}

fn inspected(coracle: &Sandbox) -> Value {
    let text = coracle.run(["inspect", "it"]).ok();
    let mut found: Value = serde_json::from_str(&text).unwrap();
    comparable(&mut found);
    coracle.run(["rm", "-v", "it"]).ok();
    found[0].take()
}

/// Puts the fields of `over` over those of `under`, objects into objects.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Makes one container by flags and one by a body, and returns where they differ.
fn differences(coracle: &Sandbox, api: &ApiServer, flags: &str, body: &Value) -> Vec<String> {
    let arguments = ["create", "--name", "it"];
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let (flags, words) = match flags.iter().position(|flag| *flag == "|") {
        Some(at) => (&flags[..at], &flags[at + 1..]),
        None => (&flags[..], &[][..]),
    };
    let mut all: Vec<&str> = arguments.to_vec();
    all.extend(flags);
    all.push("busybox");
    all.extend(words);
    coracle.run(all).ok();
    let by_flags = inspected(coracle);
    let mut whole = json!({"Image": "busybox", "AttachStdout": true, "AttachStderr": true});
    merge(&mut whole, body.clone());
    api.post("/containers/create?name=it", &whole).is(201);
    let by_body = inspected(coracle);
    let mut found = Vec::new();
    compare("", &by_flags, &by_body, &mut found);
    found
}

fn compare(place: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    if let (Value::Object(fields), Value::Object(others)) = (one, other) {
        let names: std::collections::BTreeSet<&String> = fields.keys().chain(others.keys()).collect();
        for name in names {
            compare(&format!("{place}.{name}"), &one[name], &other[name], found);
        }
    } else if one != other {
        found.push(format!("{place}: {one} by flags, {other} by the body"));
    }
}

fn host(host: Value) -> Value {
    json!({ "HostConfig": host })
}

#[test]
fn flags_and_bodies_make_the_same_containers() {
    let coracle = sandbox();
    let api = coracle.serve();
    coracle.run(["network", "create", "lan"]).ok();
    coracle
        .run(["network", "create", "--subnet", "10.213.7.0/24", "wan"])
        .ok();
    coracle
        .run(["create", "--name", "other", "-v", "/of-other", "busybox"])
        .ok();
    let table = [
        ("", json!({})),
        ("| echo hi", json!({"Cmd": ["echo", "hi"]})),
        (
            "--entrypoint /bin/echo | hi",
            json!({"Entrypoint": ["/bin/echo"], "Cmd": ["hi"]}),
        ),
        ("--entrypoint= | ls", json!({"Entrypoint": [""], "Cmd": ["ls"]})),
        ("-e A=1 -e B=", json!({"Env": ["A=1", "B="]})),
        (
            "-w /tmp -u 9:9 -h box --domainname a.b",
            json!({
            "WorkingDir": "/tmp", "User": "9:9", "Hostname": "box", "Domainname": "a.b"}),
        ),
        ("-l a=b -l c", json!({"Labels": {"a": "b", "c": ""}})),
        (
            "-t -i -a stdin",
            json!({
            "Tty": true, "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": false,
            "AttachStderr": false}),
        ),
        ("--rm", host(json!({"AutoRemove": true}))),
        (
            "--restart always",
            host(json!({"RestartPolicy": {"Name": "always"}})),
        ),
        (
            "--restart on-failure:3",
            host(json!({
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}})),
        ),
        (
            "--restart unless-stopped",
            host(json!({"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}})),
        ),
        (
            "--stop-signal INT --stop-timeout 3",
            json!({"StopSignal": "INT", "StopTimeout": 3}),
        ),
        ("--stop-timeout 0", json!({"StopTimeout": 0})),
        (
            "--init --read-only",
            host(json!({"Init": true, "ReadonlyRootfs": true})),
        ),
        ("--privileged", host(json!({"Privileged": true}))),
        (
            "--cap-add NET_ADMIN --cap-drop ALL",
            host(json!({"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"]})),
        ),
        (
            "--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label=disable",
            host(json!({"SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label=disable"]})),
        ),
        ("--group-add 7", host(json!({"GroupAdd": ["7"]}))),
        (
            "-v /tmp:/host:ro,rslave",
            host(json!({"Binds": ["/tmp:/host:ro,rslave"]})),
        ),
        (
            "-v named:/named:nocopy -v /anonymous",
            json!({
            "Volumes": {"/anonymous": {}}, "HostConfig": {"Binds": ["named:/named:nocopy"]}}),
        ),
        (
            "--mount type=bind,src=/tmp,dst=/b,ro,bind-propagation=rprivate,bind-recursive=readonly",
            host(json!({
            "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/b", "ReadOnly": true,
                "BindOptions": {"Propagation": "rprivate", "ReadOnlyForceRecursive": true}}]})),
        ),
        (
            "--mount type=volume,src=vv,dst=/v,volume-nocopy,volume-label=a=b,volume-driver=local",
            host(json!({
            "Mounts": [{"Type": "volume", "Source": "vv", "Target": "/v", "VolumeOptions": {
                "NoCopy": true, "Labels": {"a": "b"}, "DriverConfig": {"Name": "local"}}}]})),
        ),
        (
            "--mount dst=/anonymous",
            host(json!({"Mounts": [{"Type": "volume", "Target": "/anonymous"}]})),
        ),
        (
            "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
            host(json!({
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}]})),
        ),
        (
            "--mount type=image,src=busybox,dst=/i,image-subpath=bin",
            host(json!({
            "Mounts": [{"Type": "image", "Source": "busybox", "Target": "/i", "ImageOptions": {"Subpath": "bin"}}]})),
        ),
        (
            "--tmpfs /t:size=1m,exec --tmpfs /u",
            host(json!({"Tmpfs": {"/t": "size=1m,exec", "/u": ""}})),
        ),
        (
            "--volumes-from other:ro",
            host(json!({"VolumesFrom": ["other:ro"]})),
        ),
        ("--volume-driver local", host(json!({"VolumeDriver": "local"}))),
        (
            "-p 8080:80 -p 127.0.0.1::53/udp --expose 7-8",
            json!({
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "7/tcp": {}, "8/tcp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}],
                "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}}),
        ),
        (
            "-p 8000-8009:80 -P",
            host(json!({
            "PublishAllPorts": true, "PortBindings": {"80/tcp": [{"HostPort": "8000-8009"}]}})),
        ),
        (
            "--add-host db:10.0.0.9 --dns 9.9.9.9 --dns-search example.com --dns-option ndots:2",
            host(json!({
            "ExtraHosts": ["db:10.0.0.9"], "Dns": ["9.9.9.9"], "DnsSearch": ["example.com"],
            "DnsOptions": ["ndots:2"]})),
        ),
        (
            "--ulimit nofile=100:200",
            host(json!({"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]})),
        ),
        (
            "-m 64m --memory-swap 128m --memory-reservation 32m --memory-swappiness 0 --oom-kill-disable",
            host(
                json!({"Memory": 64 << 20, "MemorySwap": 128 << 20, "MemoryReservation": 32 << 20,
                "MemorySwappiness": 0, "OomKillDisable": true}),
            ),
        ),
        (
            "--cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0",
            host(json!({
            "NanoCpus": 500_000_000, "CpuShares": 512, "CpusetCpus": "0", "CpusetMems": "0"})),
        ),
        (
            "--cpu-period 50000 --cpu-quota 25000",
            host(json!({"CpuPeriod": 50_000, "CpuQuota": 25_000})),
        ),
        (
            "--pids-limit 50 --blkio-weight 200 --shm-size 1m --oom-score-adj 500",
            host(json!({
            "PidsLimit": 50, "BlkioWeight": 200, "ShmSize": 1 << 20, "OomScoreAdj": 500})),
        ),
        (
            "--blkio-weight-device /dev/null:300 --device-read-bps /dev/null:1kb --device-write-bps /dev/null:2kb \
          --device-read-iops /dev/null:3 --device-write-iops /dev/null:4",
            host(json!({
            "BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 300}],
            "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1024}],
            "BlkioDeviceWriteBps": [{"Path": "/dev/null", "Rate": 2048}],
            "BlkioDeviceReadIOps": [{"Path": "/dev/null", "Rate": 3}],
            "BlkioDeviceWriteIOps": [{"Path": "/dev/null", "Rate": 4}]})),
        ),
        (
            "--device /dev/null:/dev/x:rw",
            host(json!({"Devices": [
            {"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}]})),
        ),
        (
            "--gpus device=0,driver=nvidia",
            host(json!({"DeviceRequests": [
            {"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0"], "Capabilities": [["gpu"]], "Options": {}}]})),
        ),
        (
            "--sysctl net.ipv4.ip_forward=1",
            host(json!({"Sysctls": {"net.ipv4.ip_forward": "1"}})),
        ),
        (
            "--log-driver local --log-opt max-size=1m",
            host(json!({
            "LogConfig": {"Type": "local", "Config": {"max-size": "1m"}}})),
        ),
        (
            "--cgroup-parent /here --cgroupns host --pid host --ipc shareable --uts host --userns host",
            host(
                json!({"CgroupParent": "/here", "CgroupnsMode": "host", "PidMode": "host",
                "IpcMode": "shareable", "UTSMode": "host", "UsernsMode": "host"}),
            ),
        ),
        (
            "--device-cgroup-rule=c_1:3_rwm",
            host(json!({"DeviceCgroupRules": ["c 1:3 rwm"]})),
        ),
        (
            "--annotation a=b --runtime runc --isolation default --cidfile cid",
            host(json!({
            "Annotations": {"a": "b"}, "Runtime": "runc", "Isolation": "default", "ContainerIDFile": "cid"})),
        ),
        (
            "--health-cmd true --health-interval 2s --health-retries 2 --health-timeout 3s --health-start-period 4s \
          --health-start-interval 1s",
            json!({"Healthcheck": {"Test": ["CMD-SHELL", "true"],
            "Interval": 2_000_000_000_i64, "Retries": 2, "Timeout": 3_000_000_000_i64,
            "StartPeriod": 4_000_000_000_i64, "StartInterval": 1_000_000_000}}),
        ),
        ("--no-healthcheck", json!({"Healthcheck": {"Test": ["NONE"]}})),
        ("--network host", host(json!({"NetworkMode": "host"}))),
        ("--network none", host(json!({"NetworkMode": "none"}))),
        (
            "--network container:other",
            host(json!({"NetworkMode": "container:other"})),
        ),
        (
            "--network wan --network-alias db --ip 10.213.7.9 --link other:o --mac-address 02:00:00:00:00:09",
            json!({
            "HostConfig": {"NetworkMode": "wan", "Links": ["other:o"]},
            "NetworkingConfig": {"EndpointsConfig": {"wan": {"Aliases": ["db"], "Links": ["other:o"],
                "MacAddress": "02:00:00:00:00:09", "IPAMConfig": {"IPv4Address": "10.213.7.9"}}}}}),
        ),
        (
            "--network lan --network name=wan,alias=x,gw-priority=5,driver-opt=com.docker.network.endpoint.ifname=eth9,ip=10.213.7.8",
            json!({
            "HostConfig": {"NetworkMode": "lan"},
            "NetworkingConfig": {"EndpointsConfig": {"lan": {}, "wan": {"Aliases": ["x"], "GwPriority": 5,
                "DriverOpts": {"com.docker.network.endpoint.ifname": "eth9"}, "IPAMConfig": {"IPv4Address": "10.213.7.8"}}}}}),
        ),
        ("--link other:o", host(json!({"Links": ["other:o"]}))),
    ];
    let mut wrong = Vec::new();
    for (flags, body) in &table {
        // A rule has spaces in it, and a flag ends at one.
        if flags.contains("c_1:3_rwm") {
            coracle
                .run([
                    "create",
                    "--name",
                    "it",
                    "--device-cgroup-rule",
                    "c 1:3 rwm",
                    "busybox",
                ])
                .ok();
            let by_flags = inspected(&coracle);
            let mut whole = json!({"Image": "busybox", "AttachStdout": true, "AttachStderr": true});
            merge(&mut whole, body.clone());
            api.post("/containers/create?name=it", &whole).is(201);
            compare("", &by_flags, &inspected(&coracle), &mut wrong);
            continue;
        }
        for difference in differences(&coracle, &api, flags, body) {
            wrong.push(format!("{flags}\n    {difference}"));
        }
        drop(std::fs::remove_file(coracle.path().join("cid")));
    }
    coracle.run(["rm", "-v", "other"]).ok();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_docker_py_sends_is_taken() {
    let coracle = sandbox();
    let api = coracle.serve();
    // As `client.containers.create("busybox", "sleep 5", ports={...}, volumes={...}, network="lan")` writes it.
    coracle.run(["network", "create", "lan"]).ok();
    let body = json!({
        "Hostname": null, "Domainname": null, "ExposedPorts": {"80/tcp": {}}, "User": null, "Tty": false,
        "OpenStdin": false, "StdinOnce": false, "AttachStdin": false, "AttachStdout": true, "AttachStderr": true,
        "Env": null, "Cmd": ["sleep", "5"], "Image": "busybox", "Volumes": {"/data": {}}, "NetworkDisabled": false,
        "Entrypoint": null, "WorkingDir": null, "Labels": null, "StopSignal": null, "Healthcheck": null,
        "StopTimeout": null, "Runtime": null,
        "HostConfig": {"NetworkMode": "lan", "Binds": ["/tmp:/data:rw"],
                       "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "0"}]}},
        "NetworkingConfig": {"lan": null},
    });
    let created = api.post("/v1.41/containers/create?name=it", &body).is(201);
    assert_eq!(created["Warnings"], json!([]));
    let it = api.get("/v1.41/containers/it/json").is(200);
    assert_eq!(it["Id"], created["Id"]);
    assert_eq!(it["Mounts"].as_array().unwrap().len(), 1);
    assert_eq!(it["Mounts"][0]["Type"], "bind");
    assert_eq!(it["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], "");
    assert!(it["NetworkSettings"]["Networks"]["lan"].is_object());
}

#[test]
fn refusals_are_dockers() {
    let coracle = sandbox();
    let api = coracle.serve();
    let create = |query: &str, body: Value, status| {
        let answer = api.post(&format!("/containers/create{query}"), &body).is(status);
        answer["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        create("", json!({"Image": "nothing"}), 404),
        "No such image: nothing:latest"
    );
    assert_eq!(create("", json!({"Image": "a/b:1"}), 404), "No such image: a/b:1");
    assert_eq!(
        create("", Value::Null, 400),
        "config cannot be empty in order to create a container"
    );
    let busybox = || json!({"Image": "busybox"});
    assert_eq!(
        create("?name=-x", busybox(), 400),
        "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    );
    create("?name=/it", busybox(), 201);
    let taken = create("?name=it", busybox(), 409);
    assert!(
        taken.starts_with("Conflict. The container name \"/it\" is already in use by container \""),
        "{taken}"
    );
    let host = |host: Value| json!({"Image": "busybox", "HostConfig": host});
    for (body, status, message) in [
        (
            host(json!({"Memory": 1})),
            400,
            "Minimum memory limit allowed is 6MB",
        ),
        (
            host(json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}})),
            409,
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            host(json!({"Mounts": [{"Type": "bind", "Source": "/nothing/there", "Target": "/x"}]})),
            400,
            "invalid mount config for type \"bind\": bind source path does not exist: /nothing/there",
        ),
        (
            json!({"Image": "busybox", "WorkingDir": "x"}),
            400,
            "the working directory 'x' is invalid, it needs to be an absolute path",
        ),
        (
            host(json!({"NetworkMode": "nothing"})),
            404,
            "network nothing not found",
        ),
        (
            host(json!({"Runtime": "runsc"})),
            400,
            "unknown or invalid runtime name: runsc",
        ),
    ] {
        let answer = create("", body, status);
        assert!(answer.starts_with(message), "{answer}");
    }
    let half = api.request("POST", "/containers/create", &[], b"{\"Image\":");
    assert!(half.is(400)["message"].as_str().unwrap().contains("JSON"));
    assert_eq!(
        api.get("/containers/json?all=1")
            .is(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let platform = create("?platform=linux/s390x", busybox(), 404);
    assert!(platform.contains("platform"), "{platform}");
}
