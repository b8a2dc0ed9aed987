//! `search`, of a stand-in for Docker Hub's search and of a registry that has none; `image referrers`.

use crate::empty;
use serde_json::{Value, json};
use testkit::registry::{FakeRegistry, Fault, TestImage, digest_of};

fn searchable() -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.put_search(&json!([
        {"name": "team/nginx-tools", "description": "nginx\nwith tools", "star_count": 7, "is_official": false},
        {"name": "nginx", "description": "Official build of Nginx, with a description that is longer than the column is wide.",
         "star_count": 20123, "is_official": true, "is_automated": false},
        {"name": "other/nginx", "description": null, "star_count": 0, "is_official": false, "is_automated": true},
        {"name": "busybox", "description": "Busybox base image.", "star_count": 3000, "is_official": true},
    ]));
    registry
}

#[test]
fn what_is_found_is_shown_the_most_liked_first() {
    let (coracle, registry) = (empty(), searchable());
    let host = registry.host();
    let table = coracle.run(["search", &format!("{host}/nginx")]).ok();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(lines[0], ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    let names: Vec<String> = ["nginx", "team/nginx-tools", "other/nginx"]
        .iter()
        .map(|name| format!("{host}/{name}"))
        .collect();
    assert_eq!(
        lines[1],
        [
            names[0].as_str(),
            "Official build of Nginx, with a description …",
            "20123",
            "[OK]"
        ]
    );
    assert_eq!(lines[2], [names[1].as_str(), "nginx with tools", "7"]);
    assert_eq!(lines[3], [names[2].as_str(), "0"]);
    let request = &registry.requests()[0];
    assert_eq!(
        (request.path.as_str(), request.query.as_str()),
        ("/v1/search", "q=nginx&n=25")
    );
    let whole = coracle
        .run([
            "search",
            "--no-trunc",
            "--limit",
            "1",
            "--format",
            "{{.Name}}|{{.Description}}|{{.StarCount}}|{{.IsOfficial}}|{{.IsAutomated}}",
            &format!("{host}/busybox"),
        ])
        .ok();
    assert_eq!(whole, format!("{host}/busybox|Busybox base image.|3000|[OK]|\n"));
    let text = coracle
        .run(["search", "--format", "json", &format!("{host}/busybox")])
        .ok();
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        object,
        json!({"Name": format!("{host}/busybox"), "Description": "Busybox base image.", "StarCount": "3000",
               "IsOfficial": "true", "IsAutomated": "false"})
    );
}

#[test]
fn filters_choose_and_limits_count() {
    let (coracle, registry) = (empty(), searchable());
    let term = format!("{}/nginx", registry.host());
    let names = |flags: &[&str]| {
        let mut arguments = vec!["search", "--format", "{{.Name}}"];
        arguments.extend(flags);
        arguments.push(&term);
        let text = coracle.run(arguments).ok();
        let host = format!("{}/", registry.host());
        text.lines()
            .map(|line| line.strip_prefix(&host).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["--filter", "stars=7"]), ["nginx", "team/nginx-tools"]);
    assert_eq!(names(&["--filter", "is-official=true"]), ["nginx"]);
    assert_eq!(
        names(&["-f", "is-official=false", "-f", "stars=1"]),
        ["team/nginx-tools"]
    );
    assert_eq!(names(&["--filter", "is-automated=true"]), ["other/nginx"]);
    assert_eq!(names(&["--limit", "2"]), ["nginx", "team/nginx-tools"]);
    for (flags, said) in [
        (
            &["--limit", "101"][..],
            "limit 101 is outside the range of [1, 100]",
        ),
        (&["--filter", "stars=many"], "invalid filter 'stars=many'"),
        (
            &["--filter", "is-official=maybe"],
            "invalid filter 'is-official=maybe'",
        ),
        (&["--filter", "color=red"], "invalid filter 'color'"),
    ] {
        let refused = coracle
            .run(["search"].iter().chain(flags).chain([&term.as_str()]))
            .fails(1);
        assert!(refused.contains(said), "{refused}");
    }
    let refused = coracle.run(["search", "https://registry.example/x"]).fails(1);
    assert!(refused.contains("invalid repository name"), "{refused}");
}

#[test]
fn where_there_is_no_search_the_names_are_looked_through() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let pages: Vec<String> = vec![
        r#"{"repositories":["team/app","team/base"]}"#.into(),
        r#"{"repositories":["zoo/app"]}"#.into(),
    ];
    registry.put_at("/v2/_catalog", "application/json", pages[0].as_bytes());
    let term = format!("{}/app", registry.host());
    // The second page is another answer to the same path.
    registry.script(
        "/v2/_catalog",
        [
            Fault::Header("link".into(), "</v2/_catalog?n=1000&last=x>; rel=\"next\"".into()),
            Fault::Body(pages[1].clone().into_bytes()),
        ],
    );
    let found = coracle.run(["search", "--format", "{{.Name}}", &term]).ok();
    let host = registry.host();
    assert_eq!(found, format!("{host}/team/app\n{host}/zoo/app\n"));
    registry.remove("_catalog");
    let refused = coracle.run(["search", &term]).fails(1);
    assert!(
        refused.contains(&format!("the registry {host} cannot be searched")),
        "{refused}"
    );
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let coracle = empty();
    let refused = coracle.run(["search", "127.0.0.1:1/app"]).fails(1);
    assert!(
        refused.contains("127.0.0.1:1") && refused.to_lowercase().contains("refused"),
        "{refused}"
    );
}

/// Puts a signature on an image into the registry, which lists it by its API or not at all.
fn signature(registry: &FakeRegistry, of: &[u8]) -> Vec<u8> {
    let entry = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()});
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    registry.put_blob("app", b"{}");
    registry.put_blob("app", b"signature");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "artifactType": "application/vnd.example.signature",
        "config": entry("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [entry("application/vnd.example.signature.layer", b"signature")],
        "subject": entry(manifest_type, of),
    });
    let manifest = manifest.to_string().into_bytes();
    registry.put_manifest("app", Some("signature"), manifest_type, &manifest);
    manifest
}

#[test]
fn signatures_are_pushed_so_that_they_are_found() {
    let (coracle, registry, other) = (empty(), FakeRegistry::start(), FakeRegistry::start());
    let put = registry.put_image("app", Some("1"), &TestImage::with_file("a", b"a"));
    let manifest = signature(&registry, &put.manifest);
    let name = format!("{}/app:1", registry.host());
    assert_eq!(coracle.run(["image", "referrers", &name]).ok().lines().count(), 1);
    // As the API lists it.
    let mut listed = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(&manifest), "size": manifest.len()});
    listed["artifactType"] = json!("application/vnd.example.signature");
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed]});
    registry.put_at(
        &format!("/v2/app/referrers/{}", digest_of(&put.manifest)),
        "application/vnd.oci.image.index.v1+json",
        index.to_string().as_bytes(),
    );
    let format = "{{.Digest}} {{.ArtifactType}}";
    let expected = format!("{} application/vnd.example.signature\n", digest_of(&manifest));
    assert_eq!(
        coracle
            .run(["image", "referrers", "--format", format, &name])
            .ok(),
        expected
    );
    let none = coracle
        .run([
            "image",
            "referrers",
            "--artifact-type",
            "x",
            "--format",
            format,
            &name,
        ])
        .ok();
    assert_eq!(none, "");
    // Elsewhere, where there is no such API, the tag that stands in for it leads there.
    let source = format!("{}/app:signature", registry.host());
    coracle.run(["pull", "-q", &source]).ok();
    coracle.run(["pull", "-q", &name]).ok();
    for (from, tag) in [(&name, "1"), (&source, "signature")] {
        let target = format!("{}/copy:{tag}", other.host());
        coracle.run(["tag", from, &target]).ok();
        coracle.run(["push", "-q", &target]).ok();
    }
    let target = format!("{}/copy:1", other.host());
    assert_eq!(
        coracle
            .run(["image", "referrers", "--format", format, &target])
            .ok(),
        expected
    );
    // Once is enough.
    coracle
        .run(["push", "-q", &format!("{}/copy:signature", other.host())])
        .ok();
    assert_eq!(
        coracle
            .run(["image", "referrers", "--format", format, &target])
            .ok(),
        expected
    );
}
