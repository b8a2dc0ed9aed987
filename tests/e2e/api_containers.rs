//! The life of containers over the API.

use crate::sandbox;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};
use testkit::api::{ApiServer, send};

fn create(api: &ApiServer, name: &str, mut body: Value, command: &[&str]) -> String {
    body["Image"] = json!("busybox");
    body["Cmd"] = json!(command);
    let created = api
        .post(&format!("/containers/create?name={name}"), &body)
        .is(201);
    created["Id"].as_str().unwrap().to_owned()
}

fn status(api: &ApiServer, name: &str) -> String {
    let it = api.get(&format!("/containers/{name}/json")).is(200);
    it["State"]["Status"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one["Names"][0].as_str().unwrap()).collect()
}

#[test]
fn a_life_as_clients_lead_it() {
    let coracle = sandbox();
    let api = coracle.serve();
    let post = |path: &str, status| api.post(&format!("/containers/{path}"), &Value::Null).is(status);
    let id = create(&api, "it", json!({}), &["sleep", "1000"]);
    assert_eq!(status(&api, "it"), "created");
    post("it/stop", 304);
    let stopped = post("it/kill", 409)["message"].as_str().unwrap().to_owned();
    assert_eq!(
        stopped,
        format!("cannot kill container: it: container {id} is not running")
    );
    post("it/start", 204);
    post("it/start", 304);
    assert_eq!(status(&api, "it"), "running");
    post("it/pause", 204);
    assert_eq!(status(&api, "it"), "paused");
    post("it/pause", 409);
    assert_eq!(
        post("it/start", 409)["message"],
        "cannot start a paused container, try unpause instead"
    );
    post("it/unpause", 204);
    post("it/unpause", 409);
    let before = api.get("/containers/it/json").is(200)["State"]["Pid"].clone();
    post("it/restart?t=0", 204);
    let after = api.get("/containers/it/json").is(200)["State"]["Pid"].clone();
    assert_ne!(before, after);
    let running = api.delete("/containers/it").is(409)["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        running.starts_with("cannot remove container \"/it\": container is running"),
        "{running}"
    );
    post("it/rename?name=that", 204);
    assert_eq!(post("it/rename?name=x", 404)["message"], "No such container: it");
    post("that/rename?name=-", 400);
    post("that/kill?signal=TERM", 204);
    post("that/kill?signal=nothing", 400);
    post("that/stop?t=0", 204);
    assert_eq!(status(&api, "that"), "exited");
    assert_eq!(api.get("/containers/that/json").is(200)["State"]["ExitCode"], 137);
    assert_eq!(api.delete("/containers/that?v=1").status, 204);
    assert_eq!(
        api.delete("/containers/that").is(404)["message"],
        "No such container: that"
    );
    let id = create(&api, "forced", json!({}), &["sleep", "1000"]);
    post("forced/start", 204);
    assert_eq!(api.delete(&format!("/containers/{id}?force=1")).status, 204);
    for path in ["start", "stop", "restart", "kill", "pause", "unpause"] {
        post(&format!("nothing/{path}"), 404);
    }
}

#[test]
fn a_command_that_is_not_there_is_a_bad_request() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&api, "it", json!({}), &["/nothing"]);
    let failed = api.post("/containers/it/start", &Value::Null).is(400);
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.starts_with("failed to ") && message.contains("no such file or directory"),
        "{message}"
    );
    assert_eq!(api.get("/containers/it/json").is(200)["State"]["ExitCode"], 127);
}

#[test]
fn the_list_is_filtered_and_has_dockers_fields() {
    let coracle = sandbox();
    let api = coracle.serve();
    let labels = json!({"Labels": {"a": "1"}, "HostConfig": {"Binds": ["vol:/data"],
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}, "ExposedPorts": {"53/udp": {}}});
    let id = create(&api, "one", labels, &["sleep", "1000 0"]);
    api.post("/containers/one/start", &Value::Null);
    create(&api, "two", json!({"Labels": {"a": "2"}}), &["true"]);
    let list = |query: &str| api.get(&format!("/containers/json{query}")).is(200);
    assert_eq!(names(&list("")), ["/one"]);
    assert_eq!(names(&list("?all=1")), ["/two", "/one"]);
    assert_eq!(names(&list("?limit=1")), ["/two"]);
    assert_eq!(names(&list("?limit=-1&all=true")), ["/two", "/one"]);
    let filtered = |filters: Value| {
        let text: String = filters
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        list(&format!("?all=1&filters={text}"))
    };
    assert_eq!(names(&filtered(json!({"label": ["a=2"]}))), ["/two"]);
    assert_eq!(names(&filtered(json!({"label": {"a": true}}))), ["/two", "/one"]);
    assert_eq!(
        names(&filtered(json!({"status": ["running"], "volume": ["vol"]}))),
        ["/one"]
    );
    assert_eq!(names(&filtered(json!({"id": [&id[..12]]}))), ["/one"]);
    assert_eq!(
        names(&filtered(json!({"name": ["tw"], "ancestor": ["busybox"]}))),
        ["/two"]
    );
    assert_eq!(
        api.get("/containers/json?filters=%7B%22foo%22%3A%5B%22x%22%5D%7D")
            .is(400)["message"],
        "invalid filter 'foo'"
    );
    let one = filtered(json!({"name": ["^/one$"]}))[0].clone();
    assert_eq!(one["Id"], id);
    assert_eq!(
        (&one["Image"], &one["State"]),
        (&json!("busybox"), &json!("running"))
    );
    assert!(one["ImageID"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(one["Command"], "sleep '1000 0'");
    assert!(one["Status"].as_str().unwrap().starts_with("Up "), "{one}");
    assert!(one["Created"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(one["Ports"][0], json!({"PrivatePort": 53, "Type": "udp"}));
    assert_eq!(one["Ports"][1]["IP"], "127.0.0.1");
    assert!(one["Ports"][1]["PublicPort"].as_u64().unwrap() > 0);
    assert_eq!(one["HostConfig"], json!({"NetworkMode": "bridge"}));
    assert_eq!(one["Mounts"][0]["Name"], "vol");
    assert!(one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].is_string());
    assert_eq!(one["Health"], json!({"Status": "none", "FailingStreak": 0}));
    assert!(one.get("SizeRw").is_none());
    let old = api.get("/v1.51/containers/json?size=1").is(200);
    assert!(
        old[0].get("Health").is_none() && old[0]["SizeRootFs"].as_u64().unwrap() > 0,
        "{old}"
    );
    api.delete("/containers/one?force=1&v=1");
}

#[test]
fn inspect_has_the_fields_of_its_version() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(
        &api,
        "it",
        json!({"MacAddress": "02:00:00:00:00:09"}),
        &["sleep", "1000"],
    );
    api.post("/containers/it/start", &Value::Null);
    let of = |version: &str| api.get(&format!("/v{version}/containers/it/json")).is(200);
    let (old, middle, new) = (of("1.43"), of("1.51"), of("1.52"));
    assert_eq!(old["Config"]["MacAddress"], "02:00:00:00:00:09");
    assert!(middle["Config"].get("MacAddress").is_none());
    let address = &middle["NetworkSettings"]["Networks"]["bridge"]["IPAddress"];
    assert!(address.as_str().is_some_and(|address| !address.is_empty()));
    assert_eq!(&middle["NetworkSettings"]["IPAddress"], address);
    for gone in [
        "Bridge",
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "HairpinMode",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "LinkLocalIPv6Address",
        "LinkLocalIPv6PrefixLen",
        "MacAddress",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
    ] {
        assert!(middle["NetworkSettings"].get(gone).is_some(), "{gone}");
        assert!(new["NetworkSettings"].get(gone).is_none(), "{gone}");
    }
    assert_eq!(
        new["NetworkSettings"]["Networks"],
        middle["NetworkSettings"]["Networks"]
    );
    assert!(api.get("/containers/it/json?size=1").is(200)["SizeRw"].is_u64());
    api.delete("/containers/it?force=1");
}

#[test]
fn limits_are_updated() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&api, "it", json!({}), &["true"]);
    let update = |body: Value, status| api.post("/containers/it/update", &body).is(status);
    let body =
        json!({"Memory": 64 << 20, "MemorySwap": -1, "CpuShares": 0, "RestartPolicy": {"Name": "always"}});
    assert_eq!(update(body, 200)["Warnings"], json!([]));
    let host = api.get("/containers/it/json").is(200)["HostConfig"].clone();
    assert_eq!(
        (&host["Memory"], &host["MemorySwap"]),
        (&json!(64 << 20), &json!(-1))
    );
    assert_eq!(host["RestartPolicy"]["Name"], "always");
    update(json!({"Memory": 1}), 400);
    assert_eq!(api.get("/containers/it/json").is(200)["HostConfig"], host);
    // A policy that is not named stays.
    update(json!({"CpuShares": 7}), 200);
    let host = api.get("/containers/it/json").is(200)["HostConfig"].clone();
    assert_eq!(
        (&host["CpuShares"], &host["RestartPolicy"]["Name"]),
        (&json!(7), &json!("always"))
    );
}

#[test]
fn processes_and_changes() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(
        &api,
        "it",
        json!({}),
        &["sh", "-c", "echo x > /tmp/new; rm /bin/vi; sleep 1000"],
    );
    assert_eq!(api.get("/containers/it/top").status, 409);
    api.post("/containers/it/start", &Value::Null);
    let top = api.get("/containers/it/top").is(200);
    assert_eq!(top["Titles"][0], "UID");
    let own = api.get("/containers/it/top?ps_args=-o%20pid,comm").is(200);
    assert_eq!(own["Titles"], json!(["PID", "COMMAND"]));
    assert!(!own["Processes"].as_array().unwrap().is_empty());
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let changes = api.get("/containers/it/changes").is(200);
        let has = |path: &str, kind| {
            let change = json!({"Path": path, "Kind": kind});
            changes.as_array().unwrap().contains(&change)
        };
        if has("/tmp", 0) && has("/tmp/new", 1) {
            break;
        }
        assert!(Instant::now() < deadline, "{changes}");
    }
    api.delete("/containers/it?force=1");
}

#[test]
fn prune_removes_what_does_not_run() {
    let coracle = sandbox();
    let api = coracle.serve();
    let gone = create(&api, "gone", json!({"Labels": {"x": "y"}}), &["true"]);
    create(&api, "kept", json!({}), &["true"]);
    let pruned = api.post(
        "/containers/prune?filters=%7B%22label%22%3A%7B%22x%3Dy%22%3Atrue%7D%7D",
        &Value::Null,
    );
    let pruned = pruned.is(200);
    assert_eq!(pruned["ContainersDeleted"], json!([gone]));
    assert!(pruned["SpaceReclaimed"].is_u64());
    assert_eq!(names(&api.get("/containers/json?all=1").is(200)), ["/kept"]);
    assert_eq!(
        api.post(
            "/containers/prune?filters=%7B%22foo%22%3A%5B%22x%22%5D%7D",
            &Value::Null
        )
        .status,
        400
    );
}

#[test]
fn stats_come_once_or_every_second() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(
        &api,
        "it",
        json!({"HostConfig": {"Memory": 64 << 20, "PidsLimit": 50}}),
        &["sh", "-c", "while :; do :; done"],
    );
    let stopped = api.get("/containers/it/stats?stream=0").is(200);
    assert_eq!(
        (&stopped["name"], &stopped["read"]),
        (&json!("/it"), &json!("0001-01-01T00:00:00Z"))
    );
    assert_eq!(stopped["memory_stats"], json!({}));
    api.post("/containers/it/start", &Value::Null);
    let one = api.get("/containers/it/stats?stream=0&one-shot=1").is(200);
    assert_eq!(one["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_eq!(one["memory_stats"]["limit"], 64 << 20);
    assert_eq!(
        (&one["pids_stats"]["current"], &one["pids_stats"]["limit"]),
        (&json!(1), &json!(50))
    );
    assert!(one["networks"]["eth0"]["rx_bytes"].is_u64());
    let both = api.get("/containers/it/stats?stream=false").is(200);
    // The sum that `docker stats` does.
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{both}"));
    let used = number(&both["cpu_stats"]["cpu_usage"]["total_usage"])
        - number(&both["precpu_stats"]["cpu_usage"]["total_usage"]);
    let system =
        number(&both["cpu_stats"]["system_cpu_usage"]) - number(&both["precpu_stats"]["system_cpu_usage"]);
    let share = used / system * number(&both["cpu_stats"]["online_cpus"]) * 100.0;
    assert!(share > 1.0 && share < 150.0, "{share} {both}");
    let stats = &both["memory_stats"]["stats"];
    let inactive = stats
        .get("total_inactive_file")
        .or_else(|| stats.get("inactive_file"));
    assert!(inactive.is_some(), "{both}");
    let mut stream = api.connect();
    send(&mut stream, "GET", "/containers/it/stats", &[], b"");
    let mut reader = BufReader::new(stream);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if line.starts_with('{') {
            seen.push(serde_json::from_str::<Value>(&line).unwrap());
        }
    }
    assert_eq!(seen[1]["precpu_stats"], seen[0]["cpu_stats"]);
    assert_eq!(seen[1]["preread"], seen[0]["read"]);
    // The stream ends with the container.
    api.delete("/containers/it?force=1");
    let mut rest = String::new();
    while reader.read_line(&mut rest).unwrap() > 0 && !rest.ends_with("\n0\r\n") {}
    assert_eq!(
        api.get("/containers/it/stats").is(404)["message"],
        "No such container: it"
    );
    assert_eq!(api.get("/containers/it/stats?one-shot=1").status, 400);
}

#[test]
fn an_image_is_committed() {
    let coracle = sandbox();
    let api = coracle.serve();
    create(&api, "it", json!({}), &["sh", "-c", "echo made > /made"]);
    api.post("/containers/it/start", &Value::Null);
    coracle.run(["wait", "it"]).ok();
    let body = json!({"Cmd": ["cat", "/made"], "Env": ["A=b c"], "Labels": {"x": "y"}});
    let path = "/commit?container=it&repo=made&tag=1&comment=why&author=me&changes=USER%209";
    let committed = api.post(path, &body).is(201);
    assert!(committed["Id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(coracle.run(["run", "--rm", "made:1"]).ok(), "made\n");
    let shown = coracle
        .run([
            "inspect",
            "-f",
            "{{.Config.User}} {{json .Config.Env}} {{.Author}}",
            "made:1",
        ])
        .ok();
    assert!(
        shown.starts_with("9 ") && shown.contains("A=b c") && shown.ends_with(" me\n"),
        "{shown}"
    );
    assert_eq!(
        api.post("/commit?container=nothing", &Value::Null).is(404)["message"],
        "No such container: nothing"
    );
    coracle.run(["rmi", "-f", "made:1"]).ok();
}
