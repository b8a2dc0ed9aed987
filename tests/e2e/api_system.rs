//! The engine as a whole over the Engine API: version, info, what is stored, and what is not there.

use crate::{empty, sandbox};
use serde_json::{Value, json};
use testkit::registry::{Access, FakeRegistry, TokenServer};

#[test]
fn version_and_info_describe_the_server() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let version = api.get("/version").is(200);
    assert_eq!(version["Platform"]["Name"], "Coracle");
    assert_eq!(
        (&version["ApiVersion"], &version["MinAPIVersion"]),
        (&json!("1.56"), &json!("1.24"))
    );
    assert_eq!(
        (&version["Os"], &version["Components"][0]["Name"]),
        (&json!("linux"), &json!("Engine"))
    );
    assert_eq!(version["Components"][0]["Details"]["ApiVersion"], "1.56");
    sandbox.run(["create", "busybox"]).ok();
    let info = api.get("/info").is(200);
    assert_eq!(
        (&info["Containers"], &info["ContainersStopped"], &info["Images"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (&info["OSType"], &info["Swarm"]["LocalNodeState"]),
        (&json!("linux"), &json!("inactive"))
    );
    assert!(info["NCPU"].as_u64() > Some(0) && info["MemTotal"].as_u64() > Some(0));
    assert_eq!(info["ServerVersion"], version["Version"]);
    assert!(info["FirewallBackend"]["Driver"].is_string() && info.get("BridgeNfIptables").is_none());
    let old = api.get("/v1.41/info").is(200);
    assert!(old.get("FirewallBackend").is_none());
    assert_eq!(
        (&old["BridgeNfIptables"], &old["KernelMemory"]),
        (&json!(false), &json!(false))
    );
    assert!(old["RuncCommit"].get("Expected").is_some());
}

#[test]
fn what_is_stored_has_the_shape_of_the_clients_version() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    sandbox
        .run([
            "run",
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            "echo hello > /data/x; echo more > /y",
        ])
        .ok();
    let old = api.get("/v1.44/system/df").is(200);
    assert!(old["LayersSize"].as_u64() > Some(0));
    assert_eq!(
        (&old["Images"][0]["Containers"], &old["Images"][0]["SharedSize"]),
        (&json!(1), &json!(0))
    );
    assert!(old["Containers"][0]["SizeRw"].as_u64() > Some(0) && old["Containers"][0]["State"] == "exited");
    let volume = &old["Volumes"][0];
    assert_eq!(
        (&volume["Name"], &volume["UsageData"]["RefCount"]),
        (&json!("data"), &json!(1))
    );
    assert!(volume["UsageData"]["Size"].as_u64() > Some(0));
    assert!(old["BuildCache"].is_array() && old.get("ImageUsage").is_none());
    assert!(api.get("/v1.41/system/df").is(200)["BuilderSize"].is_u64());
    let both = api.get("/v1.52/system/df").is(200);
    assert!(both["Images"].is_array() && both["ImageUsage"]["TotalCount"] == 1);
    let new = api.get("/system/df").is(200);
    assert!(new.get("Images").is_none() && new["ImageUsage"].get("Items").is_none());
    assert_eq!(
        (
            &new["ContainerUsage"]["TotalCount"],
            &new["ContainerUsage"]["ActiveCount"],
            &new["VolumeUsage"]["ActiveCount"]
        ),
        (&json!(1), &json!(0), &json!(1))
    );
    let some = api.get("/system/df?type=volume&type=image&verbose=true").is(200);
    assert_eq!(some["VolumeUsage"]["Items"][0]["Name"], "data");
    assert!(some["ImageUsage"]["Items"][0]["Id"].is_string() && some.get("ContainerUsage").is_none());
    let wrong = api.get("/system/df?type=moon").is(400);
    assert_eq!(wrong["message"], "unknown object type: moon");
}

#[test]
fn a_login_is_checked_with_the_registry() {
    let sandbox = empty();
    let api = sandbox.serve();
    let registry = FakeRegistry::start();
    registry.require(Access::Basic("ada".into(), "hunter2".into()));
    let with = |password: &str| json!({"username": "ada", "password": password, "email": null, "serveraddress": registry.host()});
    let right = api.post("/auth", &with("hunter2")).is(200);
    assert_eq!(right, json!({"Status": "Login Succeeded", "IdentityToken": ""}));
    let wrong = api.post("/auth", &with("wrong")).is(401);
    assert!(
        wrong["message"].as_str().unwrap().contains("unauthorized"),
        "{wrong}"
    );
    registry.require(Access::Bearer(TokenServer {
        login: Some(("ada".into(), "hunter2".into())),
        refresh_token: Some("refresh-me".into()),
        ..TokenServer::default()
    }));
    let token = api.post("/auth", &with("hunter2")).is(200);
    assert_eq!(token["IdentityToken"], "refresh-me");
    api.post(
        "/auth",
        &json!({"serveraddress": "127.0.0.1:1", "username": "a", "password": "b"}),
    )
    .is(500);
    api.post("/auth", &json!({"serveraddress": "no registry"}))
        .is(400);
    // Nobody keeps it: that is the client's affair.
    assert!(!sandbox.path().join("docker-config/config.json").exists());
}

#[test]
fn there_are_no_swarms_and_no_plugins() {
    let sandbox = empty();
    let api = sandbox.serve();
    let words = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    for path in [
        "/swarm",
        "/nodes",
        "/services",
        "/tasks",
        "/secrets",
        "/configs",
        "/v1.40/nodes/x",
        "/services/x/logs",
    ] {
        assert_eq!(api.get(path).is(503)["message"], words, "{path}");
    }
    for path in [
        "/services/create",
        "/secrets/create",
        "/configs/x/update",
        "/swarm/update",
    ] {
        assert_eq!(api.post(path, &json!({})).is(503)["message"], words, "{path}");
    }
    assert_eq!(
        api.post("/swarm/leave", &Value::Null).is(503)["message"],
        "This node is not part of a swarm"
    );
    api.post("/swarm/init", &json!({})).is(501);
    assert_eq!(api.get("/plugins").is(200), json!([]));
    assert_eq!(
        api.get("/plugins/a/b:c/json").is(404)["message"],
        "plugin \"a/b:c\" not found"
    );
    api.delete("/plugins/x").is(404);
    api.post("/plugins/pull?remote=x", &json!([])).is(501);
}
