//! Images over the Engine API: here, and to and from registries.

use crate::registry::Registry;
use crate::{empty, sandbox};
use serde_json::{Value, json};
use std::io::{BufReader, Read};
use std::time::{Duration, Instant};
use testkit::api::{ApiServer, read, send};
use testkit::registry::{Access, FakeRegistry, Fault, TestImage, TokenServer};

/// base64 of a document.
fn encoded(document: &Value) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = document.to_string();
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let number = chunk
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(DIGITS[number >> (18 - 6 * place) & 63]));
        }
    }
    out
}

fn pull(api: &ApiServer, query: &str, headers: &[(&str, &str)]) -> testkit::api::Answer {
    api.request("POST", &format!("/images/create?{query}"), headers, b"")
}

fn statuses(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["status"].as_str()).collect()
}

#[test]
fn a_pull_tells_how_far_it_is() {
    let sandbox = empty();
    let api = sandbox.serve();
    let registry = FakeRegistry::start();
    registry.put_image("team/tools", Some("1"), &TestImage::with_file("a", b"hello"));
    let host = registry.host();
    let pulled = pull(&api, &format!("fromImage={host}/team/tools&tag=1"), &[]);
    assert_eq!(
        (pulled.status, pulled.header("content-type")),
        (200, Some("application/json"))
    );
    let lines = pulled.lines();
    let first = &lines[0];
    assert_eq!(
        (&first["id"], &first["status"]),
        (&json!("1"), &json!(format!("Pulling from {host}/team/tools")))
    );
    let layer: Vec<&Value> = lines
        .iter()
        .filter(|line| line["id"].as_str().is_some_and(|id| id.len() == 12))
        .collect();
    assert_eq!(layer[0]["status"], "Pulling fs layer");
    let downloading = layer
        .iter()
        .find(|line| line["status"] == "Downloading")
        .expect("progress");
    assert_eq!(
        downloading["progressDetail"]["current"],
        downloading["progressDetail"]["total"]
    );
    assert!(
        downloading["progress"].as_str().unwrap().starts_with("[====="),
        "{downloading}"
    );
    assert_eq!(layer.last().unwrap()["status"], "Pull complete");
    let told = statuses(&lines);
    assert!(told[told.len() - 2].starts_with("Digest: sha256:"), "{told:?}");
    assert_eq!(
        told[told.len() - 1],
        format!("Status: Downloaded newer image for {host}/team/tools:1")
    );
    let again = pull(&api, &format!("fromImage={host}/team/tools:1"), &[]).lines();
    assert_eq!(
        statuses(&again).last(),
        Some(&format!("Status: Image is up to date for {host}/team/tools:1").as_str())
    );
    // Without a tag, all of them.
    registry.put_image("team/tools", Some("2"), &TestImage::with_file("b", b"x"));
    registry.put_at(
        "/v2/team/tools/tags/list",
        "application/json",
        br#"{"name":"team/tools","tags":["1","2"]}"#,
    );
    let all = pull(&api, &format!("fromImage={host}/team/tools"), &[]).lines();
    let told = statuses(&all);
    assert!(
        told.iter().any(|line| line.ends_with("tools:1"))
            && told.iter().any(|line| line.ends_with("tools:2")),
        "{told:?}"
    );
    let list = api.get("/images/json").is(200);
    assert_eq!(list.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_pull_that_fails_before_the_first_byte_has_a_status() {
    let sandbox = empty();
    let api = sandbox.serve();
    let registry = FakeRegistry::start();
    registry.put_image("tools", Some("1"), &TestImage::with_file("a", b"hello"));
    let host = registry.host();
    let missing = pull(&api, &format!("fromImage={host}/tools&tag=nope"), &[]).is(404);
    assert!(
        missing["message"].as_str().unwrap().contains("manifest unknown"),
        "{missing}"
    );
    let platform = pull(
        &api,
        &format!("fromImage={host}/tools&tag=1&platform=a/b/c/d"),
        &[],
    )
    .is(400);
    assert!(
        platform["message"].as_str().unwrap().contains("platform"),
        "{platform}"
    );
    pull(&api, "fromImage=Not%20a%20name&tag=1", &[]).is(400);
    pull(&api, "fromImage=scratch&tag=latest", &[]).is(403);
    pull(&api, "fromImage=127.0.0.1:1/x&tag=1", &[]).is(500);
    // Later there is only the stream to say it in.
    registry.script(
        "/blobs/",
        std::iter::once(Fault::None).chain(vec![Fault::status(404); 8]),
    );
    let broken = pull(&api, &format!("fromImage={host}/tools&tag=1"), &[]);
    assert_eq!(broken.status, 200);
    let lines = broken.lines();
    let last = lines.last().unwrap();
    if last.get("errorDetail").is_some() {
        assert_eq!(last["errorDetail"]["message"], last["error"]);
    } else {
        panic!("no error in {lines:?}");
    }
    assert_eq!(api.get("/images/json").is(200), json!([]));
}

#[test]
fn credentials_count_for_one_request_alone() {
    let sandbox = empty();
    let registry = FakeRegistry::start();
    registry.put_image("tools", Some("1"), &TestImage::with_file("a", b"hello"));
    let host = registry.host();
    registry.require(Access::Basic("ada".into(), "hunter2".into()));
    // What whoever runs the server has is nobody else's.
    sandbox.write(
        "docker-config/config.json",
        &json!({"auths": {&host: {"auth": "YWRhOmh1bnRlcjI="}}}).to_string(),
    );
    let api = sandbox.serve();
    let query = format!("fromImage={host}/tools&tag=1");
    let path = format!("/distribution/{host}/tools:1/json");
    let right = encoded(&json!({"username": "ada", "password": "hunter2", "serveraddress": host}));
    let wrong = encoded(&json!({"username": "ada", "password": "wrong"}));
    let denied = pull(&api, &query, &[]).is(404);
    assert!(
        denied["message"].as_str().unwrap().contains("pull access denied"),
        "{denied}"
    );
    pull(&api, &query, &[("x-registry-auth", "e30=")]).is(404);
    pull(&api, &query, &[("x-registry-auth", &wrong)]).is(500);
    api.get(&path).is(401);
    let known = api
        .request("GET", &path, &[("x-registry-auth", &right)], b"")
        .is(200);
    assert!(
        known["Descriptor"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(
        known["Platforms"],
        json!([{"architecture": "amd64", "os": "linux"}])
    );
    pull(&api, &query, &[("x-registry-auth", &right)]).is(200);
    pull(&api, &query, &[]).is(404);
    registry.require(Access::Bearer(TokenServer {
        refresh_token: Some("refresh-me".into()),
        login: Some(("nobody".into(), "nothing".into())),
        ..TokenServer::default()
    }));
    let token = encoded(&json!({"identitytoken": "refresh-me", "username": ""}));
    pull(&api, &query, &[("x-registry-auth", &token)]).is(200);
    let missing = api.request(
        "GET",
        &format!("/distribution/{host}/nope:1/json"),
        &[("x-registry-auth", &token)],
        b"",
    );
    missing.is(404);
}

#[test]
fn a_pull_whose_client_goes_away_is_given_up() {
    let sandbox = empty();
    let mut api = sandbox.serve();
    let registry = FakeRegistry::start();
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    registry.put_image("large", Some("1"), &TestImage::with_file("a", &noise));
    registry.always("/blobs/", Fault::StallAfter(100_000));
    let mut stream = api.connect();
    send(
        &mut stream,
        "POST",
        &format!("/images/create?fromImage={}/large&tag=1", registry.host()),
        &[],
        b"",
    );
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut some = [0; 64];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    // What was being written is gone again, and nothing of it is in the list.
    let temporary = sandbox.path().join("root/tmp");
    let start = Instant::now();
    let threads = format!("/proc/{}/task", api.process().id());
    loop {
        let left = std::fs::read_dir(&temporary).map_or(0, Iterator::count);
        let working = std::fs::read_dir(&threads).unwrap().count();
        if left == 0 && working < 8 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(25),
            "{left} files and {working} threads are left"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(api.get("/images/json").is(200), json!([]));
}

#[test]
fn a_push_tells_how_far_it_is() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let registry = Registry::start(sandbox.path());
    let repository = format!("{}/team/tools", registry.address);
    api.post(
        &format!("/images/busybox/tag?repo={repository}&tag=1"),
        &Value::Null,
    )
    .is(201);
    let pushed = api.post(&format!("/images/{repository}/push?tag=1"), &Value::Null);
    assert_eq!(pushed.status, 200);
    let lines = pushed.lines();
    assert_eq!(
        lines[0]["status"],
        format!("The push refers to repository [{repository}]")
    );
    let told = statuses(&lines);
    assert!(
        told.contains(&"Preparing") && told.contains(&"Pushed"),
        "{told:?}"
    );
    let aux = &lines.last().unwrap()["aux"];
    assert_eq!(aux["Tag"], "1");
    let digest = aux["Digest"].as_str().unwrap();
    assert!(
        told.last()
            .unwrap()
            .starts_with(&format!("1: digest: {digest} size: ")),
        "{told:?}"
    );
    let again = api
        .post(&format!("/images/{repository}:1/push"), &Value::Null)
        .lines();
    assert!(statuses(&again).contains(&"Layer already exists"));
    let image = api.get(&format!("/images/{repository}@{digest}/json")).is(200);
    assert_eq!(image["RepoDigests"], json!([format!("{repository}@{digest}")]));
    let missing = api
        .post(&format!("/images/{repository}/push?tag=2"), &Value::Null)
        .is(404);
    assert!(
        missing["message"]
            .as_str()
            .unwrap()
            .contains("tag does not exist"),
        "{missing}"
    );
    api.post("/images/busybox/tag?repo=127.0.0.1:1/x&tag=1", &Value::Null)
        .is(201);
    let refused = api.post("/images/127.0.0.1:1/x/push?tag=1", &Value::Null);
    assert_eq!(refused.status, 200);
    let lines = refused.lines();
    assert!(
        lines.last().unwrap()["errorDetail"]["message"]
            .as_str()
            .unwrap()
            .contains("refused"),
        "{lines:?}"
    );
}

#[test]
fn lists_are_filtered_and_have_the_shape_of_the_clients_version() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    sandbox.run(["create", "--name", "one", "busybox"]).ok();
    sandbox.run(["tag", "busybox", "r.example/team/tools:2"]).ok();
    sandbox.run(["commit", "-c", "LABEL a=b", "one"]).ok();
    let list = |path: &str| -> Vec<Value> { api.get(path).is(200).as_array().unwrap().clone() };
    let all = list("/images/json");
    assert_eq!(all.len(), 2);
    let busybox = all
        .iter()
        .find(|image| image["RepoTags"] == json!(["busybox:latest", "r.example/team/tools:2"]));
    let busybox = busybox.unwrap_or_else(|| panic!("no busybox in {all:?}"));
    assert_eq!(
        (&busybox["Containers"], &busybox["SharedSize"]),
        (&json!(1), &json!(-1))
    );
    assert!(
        busybox["Created"].is_i64()
            && busybox["Size"].as_u64() > Some(0)
            && busybox.get("VirtualSize").is_none()
    );
    // {"label":["a=b"]}, {"reference":["r.example/team/*"]}, {"dangling":["true"]}
    let labelled = list("/images/json?filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D");
    assert_eq!((labelled.len(), &labelled[0]["RepoTags"]), (1, &json!([])));
    let named = list("/images/json?filters=%7B%22reference%22%3A%5B%22r.example%2Fteam%2F*%22%5D%7D");
    assert_eq!(
        (named.len(), &named[0]["RepoTags"]),
        (1, &json!(["r.example/team/tools:2"]))
    );
    assert_eq!(
        list("/images/json?filters=%7B%22dangling%22%3A%7B%22true%22%3Atrue%7D%7D"),
        labelled
    );
    assert_eq!(
        list("/images/json?filters=%7B%22before%22%3A%5B%22busybox%22%5D%7D"),
        [] as [Value; 0]
    );
    let old = list("/v1.42/images/json?shared-size=1");
    let dangling = old
        .iter()
        .find(|image| image["RepoTags"] == json!(["<none>:<none>"]))
        .expect("a dangling one");
    assert!(dangling["SharedSize"].as_u64() > Some(0));
    assert_eq!(
        (&dangling["VirtualSize"], &dangling["Containers"]),
        (&dangling["Size"], &json!(-1))
    );
    assert_eq!(list("/v1.24/images/json?filter=r.example/*/tools").len(), 1);
    api.get("/images/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
        .is(400);
}

#[test]
fn an_image_is_looked_at_tagged_and_removed() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let image = api.get("/images/busybox/json").is(200);
    assert_eq!(
        (&image["RepoTags"], &image["Os"]),
        (&json!(["busybox:latest"]), &json!("linux"))
    );
    assert!(image.get("Parent").is_none() && image.get("VirtualSize").is_none());
    let old = api.get("/v1.43/images/busybox/json").is(200);
    assert_eq!(
        (&old["VirtualSize"], &old["Parent"], &old["Config"]["Tty"]),
        (&old["Size"], &json!(""), &json!(false))
    );
    let id = image["Id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/images/{}/json", &id[7..19])).is(200), image);
    // {"os":"linux","architecture":"riscv64"}
    let elsewhere = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22riscv64%22%7D";
    let other = api
        .get(&format!("/images/busybox/json?platform={elsewhere}"))
        .is(404);
    assert!(
        other["message"]
            .as_str()
            .unwrap()
            .contains("does not provide the specified platform"),
        "{other}"
    );
    api.get(&format!("/images/busybox/json?platform={elsewhere}&manifests=1"))
        .is(400);
    let missing = api.get("/images/nope/json").is(404);
    assert_eq!(missing["message"], "No such image: nope:latest");
    let history = api.get("/images/busybox/history").is(200);
    assert_eq!(
        (&history[0]["Id"], &history[0]["Tags"]),
        (&json!(id), &json!(["busybox:latest"]))
    );
    assert!(history[0]["Created"].is_i64() && history[0]["Size"].is_u64());
    api.post("/images/busybox/tag?repo=r.example/a/b&tag=1", &Value::Null)
        .is(201);
    api.post("/images/busybox/tag?repo=Bad", &Value::Null).is(400);
    api.post("/images/nope/tag?repo=x", &Value::Null).is(404);
    let untagged = api.delete("/images/r.example/a/b:1").is(200);
    assert_eq!(untagged, json!([{"Untagged": "r.example/a/b:1"}]));
    sandbox.run(["create", "--name", "one", "busybox"]).ok();
    let used = api.delete("/images/busybox").is(409);
    assert!(used["message"].as_str().unwrap().contains("container"), "{used}");
    sandbox.run(["rm", "one"]).ok();
    let removed = api.delete("/images/busybox?noprune=1").is(200);
    assert_eq!(removed, json!([{"Untagged": "busybox:latest"}, {"Deleted": id}]));
    api.delete("/images/busybox").is(404);
    let pruned = api.post("/images/prune", &Value::Null).is(200);
    assert_eq!(pruned, json!({"ImagesDeleted": null, "SpaceReclaimed": 0}));
}

#[test]
fn images_travel_as_archives() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    api.post("/images/busybox/tag?repo=other&tag=2", &Value::Null)
        .is(201);
    let saved = api.get("/images/get?names=busybox&names=other:2");
    assert_eq!(
        (saved.status, saved.header("content-type")),
        (200, Some("application/x-tar"))
    );
    let one = api.get("/images/busybox/get");
    assert!(one.status == 200 && one.body.len() > 100_000);
    api.get("/images/nope/get").is(404);
    api.get("/images/get").is(400);
    let id = api.get("/images/busybox/json").is(200)["Id"].clone();
    sandbox.run(["rmi", "-f", "busybox", "other:2"]).ok();
    let loaded = api.request(
        "POST",
        "/images/load?quiet=1",
        &[("content-type", "application/x-tar")],
        &saved.body,
    );
    assert_eq!(
        (loaded.status, loaded.header("content-type")),
        (200, Some("application/json"))
    );
    let told: Vec<String> = loaded
        .lines()
        .iter()
        .map(|line| line["stream"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        told.contains(&"Loaded image: busybox:latest\n".to_owned()),
        "{told:?}"
    );
    assert!(told.contains(&"Loaded image: other:2\n".to_owned()), "{told:?}");
    assert_eq!(api.get("/images/other:2/json").is(200)["Id"], id);
    // Docker's status is 200 whatever comes of it.
    let garbage = api.request("POST", "/images/load", &[], b"this is no archive");
    assert_eq!(garbage.status, 200);
    assert!(garbage.lines()[0]["errorDetail"]["message"].is_string());
    let tar = sandbox.path().join("root.tar");
    std::fs::write(sandbox.path().join("file"), "content").unwrap();
    let status = std::process::Command::new("tar")
        .args([
            "-C",
            sandbox.path().to_str().unwrap(),
            "-cf",
            tar.to_str().unwrap(),
            "file",
        ])
        .status();
    assert!(status.unwrap().success());
    let query = "fromSrc=-&repo=made&tag=1&message=by%20hand&changes=ENV%20A%3D1&changes=CMD%20%5B%22x%22%5D";
    let imported = api.request(
        "POST",
        &format!("/images/create?{query}"),
        &[],
        &std::fs::read(&tar).unwrap(),
    );
    assert_eq!(imported.status, 200, "{}", imported.text());
    let id = imported.lines()[0]["status"].clone();
    let image = api.get("/images/made:1/json").is(200);
    assert_eq!((&image["Id"], &image["Comment"]), (&id, &json!("by hand")));
    assert_eq!(
        (&image["Config"]["Env"], &image["Config"]["Cmd"]),
        (&json!(["A=1"]), &json!(["x"]))
    );
    api.request("POST", "/images/create?fromSrc=-&repo=Bad", &[], b"")
        .is(400);
    api.request("POST", "/images/create", &[], b"").is(400);
}

#[test]
fn an_index_shows_its_manifests() {
    let sandbox = empty();
    let api = sandbox.serve();
    let registry = FakeRegistry::start();
    let of = |architecture: &str| TestImage {
        architecture: architecture.into(),
        ..TestImage::with_file("a", architecture.as_bytes())
    };
    let (here, there) = (of("amd64").put(), of("arm64").put());
    registry.put_image("many", None, &of("amd64"));
    registry.put_image("many", None, &of("arm64"));
    registry.put_index(
        "many",
        Some("1"),
        &[("linux/amd64", &here.manifest), ("linux/arm64", &there.manifest)],
    );
    let name = format!("{}/many:1", registry.host());
    let distribution = api.get(&format!("/distribution/{name}/json")).is(200);
    assert_eq!(distribution["Platforms"].as_array().map(Vec::len), Some(2));
    pull(&api, &format!("fromImage={name}"), &[]).is(200);
    let list = api.get("/images/json?manifests=1").is(200);
    let manifests = list[0]["Manifests"].as_array().expect("manifests").clone();
    let available: Vec<(&Value, &Value)> = manifests
        .iter()
        .map(|one| (&one["ImageData"]["Platform"]["architecture"], &one["Available"]))
        .collect();
    assert_eq!(
        available,
        [(&json!("amd64"), &json!(true)), (&json!("arm64"), &json!(false))]
    );
    let inspected = api.get(&format!("/images/{name}/json?manifests=1")).is(200);
    assert_eq!(inspected["Manifests"], json!(manifests));
    assert!(
        api.get(&format!("/v1.46/images/{name}/json?manifests=1"))
            .is(200)
            .get("Manifests")
            .is_none()
    );
}

/// Bytes come while the archive is still being sent: nothing is gathered first.
#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let sandbox = sandbox();
    let api = sandbox.serve();
    let archive = api.get("/images/busybox/get").body;
    sandbox.run(["rmi", "busybox"]).ok();
    let mut stream = api.connect();
    let length = archive.len().to_string();
    let head = format!("POST /images/load HTTP/1.1\r\nhost: api\r\ncontent-length: {length}\r\n\r\n");
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    std::io::Write::write_all(&mut stream, &archive[..archive.len() / 2]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = read(&mut BufReader::new(stream), true);
    assert!(
        answer.text().contains("errorDetail") || answer.status >= 400,
        "{}",
        answer.text()
    );
    assert_eq!(api.get("/images/json").is(200), json!([]));
}
