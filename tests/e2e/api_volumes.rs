//! Volumes over the Engine API.

use crate::sandbox;
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    let volumes = list["Volumes"].as_array().expect("a list of volumes");
    volumes
        .iter()
        .filter_map(|volume| volume["Name"].as_str())
        .collect()
}

#[test]
fn a_volume_is_made_looked_at_and_removed() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let asked = json!({"Name": "pg", "Driver": "local", "DriverOpts": null, "Labels": {"use": "db"}});
    let made = api.post("/volumes/create", &asked).is(201);
    assert_eq!(
        (&made["Name"], &made["Labels"]["use"], &made["Scope"]),
        (&json!("pg"), &json!("db"), &json!("local"))
    );
    assert!(made.get("UsageData").is_none());
    // Asked for again it is the same; names of fields may be written in any way, as Go reads them.
    let again = api.post("/volumes/create", &json!({"name": "pg"})).is(201);
    assert_eq!(again, made);
    assert_eq!(api.get("/volumes/pg").is(200), made);
    let anonymous = api.post("/volumes/create", &Value::Null).is(201);
    assert_eq!(anonymous["Name"].as_str().map(str::len), Some(64));
    let options = json!({"Name": "pg", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}});
    api.post("/volumes/create", &options).is(409);
    let missing = api.get("/volumes/nope").is(404);
    assert_eq!(missing["message"], "get nope: no such volume");
    assert_eq!(
        api.delete("/volumes/nope").is(404)["message"],
        "get nope: no such volume"
    );
    api.delete("/volumes/nope?force=1").is(204);
    let driver = api.post("/volumes/create", &json!({"Driver": "nfs"})).is(404);
    assert!(
        driver["message"]
            .as_str()
            .unwrap()
            .contains("plugin \"nfs\" not found"),
        "{driver}"
    );
    api.post("/volumes/create", &json!({"Name": "a/b"})).is(400);
    api.post("/volumes/create", &json!({"Name": 7})).is(400);
    let update = api.request("PUT", "/volumes/pg?version=1", &[], b"{}").is(503);
    assert!(update["message"].as_str().unwrap().contains("swarm"), "{update}");
    sandbox.run(["create", "-v", "pg:/data", "busybox"]).ok();
    let used = api.delete("/volumes/pg").is(409);
    assert!(
        used["message"]
            .as_str()
            .unwrap()
            .starts_with("remove pg: volume is in use"),
        "{used}"
    );
}

#[test]
fn lists_are_filtered_and_prune_spares_named_ones() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    for name in ["one", "two"] {
        api.post("/volumes/create", &json!({"Name": name, "Labels": {"n": name}}))
            .is(201);
    }
    let anonymous = api.post("/volumes/create", &json!({})).is(201);
    let anonymous = anonymous["Name"].as_str().unwrap();
    sandbox.run(["create", "-v", "one:/data", "busybox"]).ok();
    let list = |filters: &str| api.get(&format!("/volumes?filters={filters}")).is(200);
    assert_eq!(names(&list("")).len(), 3);
    // {"label":["n=two"]} and {"dangling":{"false":true}}
    assert_eq!(names(&list("%7B%22label%22%3A%5B%22n%3Dtwo%22%5D%7D")), ["two"]);
    assert_eq!(
        names(&list("%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D")),
        ["one"]
    );
    let wrong = api
        .get("/volumes?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
        .is(400);
    assert!(
        wrong["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid filter 'colour'"),
        "{wrong}"
    );
    let pruned = api.post("/volumes/prune", &Value::Null).is(200);
    assert_eq!(pruned["VolumesDeleted"], json!([anonymous]));
    assert!(pruned["SpaceReclaimed"].is_u64());
    // {"all":["true"]}, and each that goes on a line of its own.
    let answer = api.post(
        "/volumes/prune?stream=1&filters=%7B%22all%22%3A%5B%22true%22%5D%7D",
        &Value::Null,
    );
    assert_eq!(answer.header("content-type"), Some("application/jsonl"));
    let lines = answer.lines();
    assert_eq!(lines[0]["id"], "two");
    assert_eq!(lines[1]["aux"]["VolumesDeleted"], json!(["two"]));
    // Before version 1.42, all that nobody used went.
    api.post("/volumes/create", &json!({"Name": "three"})).is(201);
    let old = api.post("/v1.41/volumes/prune", &Value::Null).is(200);
    assert_eq!(old["VolumesDeleted"], json!(["three"]));
    assert_eq!(names(&list("")), ["one"]);
}
