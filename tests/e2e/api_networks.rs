//! Networks over the Engine API.

use crate::sandbox;
use serde_json::{Value, json};

#[test]
fn a_network_is_made_looked_at_and_removed() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let asked = json!({
        "Name": "lan", "CheckDuplicate": true, "Driver": "bridge", "EnableIPv6": false, "Internal": true, "Ingress": false,
        "IPAM": {"Driver": "default", "Options": null, "Config": [
            {"Subnet": "10.213.7.0/24", "IPRange": "10.213.7.128/25", "Gateway": "10.213.7.1", "AuxiliaryAddresses": {"printer": "10.213.7.130"}},
        ]},
        "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}, "Labels": {"use": "db"},
    });
    let made = api.post("/networks/create", &asked).is(201);
    let id = made["Id"].as_str().unwrap().to_owned();
    // Docker takes options that it does not know; we do, and say that they do nothing.
    assert!(
        made["Warning"].as_str().unwrap().contains("inhibit_ipv4"),
        "{made}"
    );
    let network = api.get("/networks/lan").is(200);
    assert_eq!(network["Id"], id.as_str());
    assert_eq!(
        (&network["Internal"], &network["EnableIPv4"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "10.213.7.0/24");
    assert_eq!(
        network["Options"]["com.docker.network.bridge.inhibit_ipv4"],
        "true"
    );
    let status = &network["Status"]["IPAM"]["Subnets"]["10.213.7.0/24"];
    // The network's and the broadcast address, the gateway's and the printer's; the latter and the broadcast lie in the range.
    assert_eq!(
        (&status["IPsInUse"], &status["DynamicIPsAvailable"]),
        (&json!(4), &json!(126))
    );
    let old = api.get(&format!("/v1.44/networks/{}", &id[..12])).is(200);
    assert!(old.get("Status").is_none() && old.get("EnableIPv4").is_none());
    let twice = api.post("/networks/create", &asked).is(409);
    assert_eq!(twice["message"], "network with name lan already exists");
    let overlay = api
        .post("/networks/create", &json!({"Name": "o", "Scope": "swarm"}))
        .is(403);
    assert!(
        overlay["message"]
            .as_str()
            .unwrap()
            .contains("not a swarm manager"),
        "{overlay}"
    );
    for bad in [
        json!({"Name": "x", "IPAM": {"Config": [{"Subnet": "foo"}]}}),
        json!({"Name": ""}),
        json!({"Name": "x", "Driver": "nosuch"}),
        json!(["x"]),
    ] {
        api.post("/networks/create", &bad).is(400);
    }
    api.post("/networks/create", &json!({"Name": "bridge"})).is(403);
    api.delete("/networks/host").is(403);
    api.delete("/networks/lan").is(204);
    let gone = api.get("/networks/lan").is(404);
    assert_eq!(gone["message"], "network lan not found");
    assert_eq!(
        api.delete("/networks/lan").is(404)["message"],
        "network lan not found"
    );
}

#[test]
fn lists_are_filtered_and_pruned() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    api.post("/networks/create", &json!({"Name": "mine", "Labels": {"a": "1"}}))
        .is(201);
    let names = |path: &str| -> Vec<String> {
        let list = api.get(path).is(200);
        let networks = list.as_array().unwrap();
        networks
            .iter()
            .map(|network| network["Name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/networks"), ["bridge", "host", "mine", "none"]);
    assert_eq!(
        names("/networks/?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D"),
        ["mine"]
    );
    assert_eq!(
        names("/v1.24/networks?filters=%7B%22label%22%3A%7B%22a%3D1%22%3Atrue%7D%7D"),
        ["mine"]
    );
    api.get("/networks?filters=%7B%22type%22%3A%5B%22odd%22%5D%7D")
        .is(400);
    let pruned = api.post("/networks/prune", &Value::Null).is(200);
    assert_eq!(pruned, json!({"NetworksDeleted": ["mine"]}));
    let pruned = api.post("/networks/prune", &Value::Null).is(200);
    assert_eq!(pruned, json!({"NetworksDeleted": null}));
}

#[test]
fn a_running_container_joins_and_leaves() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let subnet = json!({"Config": [{"Subnet": "10.213.9.0/24"}]});
    api.post("/networks/create", &json!({"Name": "lan", "IPAM": subnet}))
        .is(201);
    sandbox
        .run(["run", "-d", "--name", "web", "busybox", "sleep", "600"])
        .ok();
    let joined = json!({
        "Container": "web",
        "EndpointConfig": {
            "IPAMConfig": {"IPv4Address": "10.213.9.77"}, "Aliases": ["db"], "Links": null,
            "MacAddress": "02:42:0a:d5:09:4d", "GwPriority": 0,
        },
    });
    api.post("/networks/lan/connect", &joined).is(200);
    let inside = sandbox.run(["exec", "web", "ip", "address", "show", "eth1"]).ok();
    assert!(
        inside.contains("10.213.9.77/24") && inside.contains("02:42:0a:d5:09:4d"),
        "{inside}"
    );
    let network = api.get("/networks/lan").is(200);
    let members = network["Containers"].as_object().unwrap();
    let member = members.values().next().unwrap();
    assert_eq!(
        (&member["Name"], &member["IPv4Address"]),
        (&json!("web"), &json!("10.213.9.77/24"))
    );
    assert_eq!(
        network["Status"]["IPAM"]["Subnets"]["10.213.9.0/24"]["IPsInUse"],
        4
    );
    let active = api.delete("/networks/lan").is(403);
    assert!(
        active["message"]
            .as_str()
            .unwrap()
            .contains("has active endpoints"),
        "{active}"
    );
    let bad = json!({"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "x"}}});
    api.post("/networks/lan/connect", &bad).is(400);
    api.post("/networks/nosuch/connect", &json!({"Container": "web"}))
        .is(404);
    api.post("/networks/lan/connect", &json!({"Container": "nobody"}))
        .is(404);
    api.post("/networks/lan/disconnect", &json!({"Container": "web"}))
        .is(200);
    api.post(
        "/networks/lan/disconnect",
        &json!({"Container": "gone", "Force": true}),
    )
    .is(200);
    api.post("/networks/lan/disconnect", &json!({"Container": "gone"}))
        .is(404);
    let inside = sandbox.run(["exec", "web", "ip", "address"]).ok();
    assert!(!inside.contains("10.213.9.77"), "{inside}");
    api.delete("/networks/lan").is(204);
}
