//! What a reference comes to, at a registry that is wrong, slow, overrun, or not the only one.

use super::support::{amd64, client, read, reference, resolve, told};
use registry::{Client, Mirror, RegistryConfig, RegistryError};
use testkit::registry::{FakeRegistry, Fault, Put, TestImage, digest_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn registry() -> (FakeRegistry, Put, String, Client) {
    let registry = FakeRegistry::start();
    let put = registry.put_image("app", Some("1"), &TestImage::with_file("a", b"content"));
    let name = format!("{}/app:1", registry.host());
    (registry, put, name, client(RegistryConfig::default()))
}

fn failure(client: &Client, name: &str) -> String {
    told(&resolve(client, name).unwrap_err())
}

fn image_for(architecture: &str) -> TestImage {
    TestImage {
        architecture: architecture.to_owned(),
        ..TestImage::with_file("arch", architecture.as_bytes())
    }
}

#[test]
fn an_index_leads_to_the_platforms_image() {
    let registry = FakeRegistry::start();
    let intel = registry.put_image("app", None, &image_for("amd64"));
    let arm = registry.put_image("app", None, &image_for("arm64"));
    let entries: [(&str, &[u8]); 2] = [
        ("linux/arm64/v8", &arm.manifest),
        ("linux/amd64", &intel.manifest),
    ];
    let index = registry.put_index("app", Some("1"), &entries);
    let name = format!("{}/app:1", registry.host());
    let client = client(RegistryConfig::default());
    for (platform, put) in [("linux/amd64", &intel), ("linux/arm64", &arm)] {
        let image = client
            .resolve(&reference(&name), &platform.parse().unwrap())
            .unwrap();
        assert_eq!(image.digest, digest_of(&index));
        assert_eq!(image.index.as_ref(), Some(&index));
        assert_eq!(image.manifest_digest, digest_of(&put.manifest));
        assert_eq!(image.raw_config, put.config);
    }
    let error = client
        .resolve(&reference(&name), &"linux/s390x".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        told(&error),
        "no matching manifest for linux/s390x in the manifest list entries; there are linux/arm64, linux/amd64"
    );
}

#[test]
fn indexes_nest_only_so_deep() {
    let (registry, put, _, client) = registry();
    let mut inner = put.manifest.clone();
    for depth in 1..=4 {
        let tag = format!("deep{depth}");
        inner = registry.put_index("app", Some(&tag), &[("linux/amd64", &inner)]);
    }
    let name = |depth: u8| format!("{}/app:deep{depth}", registry.host());
    let image = resolve(&client, &name(3)).unwrap();
    assert_eq!(image.manifest_digest, digest_of(&put.manifest));
    assert_eq!(image.digest, digest_of(image.index.as_ref().unwrap()));
    assert!(failure(&client, &name(4)).contains("is an index of indexes"));
}

#[test]
fn wrong_bytes_are_asked_for_three_times() {
    let (registry, put, _, client) = registry();
    let digest = digest_of(&put.manifest);
    let name = format!("{}/app@{digest}", registry.host());
    registry.script("/manifests/", [Fault::FlipBit(9), Fault::FlipBit(9)]);
    resolve(&client, &name).unwrap();
    registry.reset();
    registry.always("/manifests/", Fault::Body(b"{}".to_vec()));
    assert_eq!(
        failure(&client, &name),
        format!(
            "the manifest from {} does not match its digest: expected {digest}, got {}",
            registry.host(),
            digest_of(b"{}")
        )
    );
    assert_eq!(registry.count("/manifests/"), 3);
}

#[test]
fn a_registry_that_announces_what_it_sends_is_not_believed() {
    let (registry, put, name, client) = registry();
    let other = TestImage::with_file("b", b"other").put();
    let digest = digest_of(&put.manifest);
    registry.put_at(&format!("/v2/app/manifests/{digest}"), MANIFEST, &other.manifest);
    let message = failure(&client, &format!("{}/app@{digest}", registry.host()));
    let expected = format!("expected {digest}, got {}", digest_of(&other.manifest));
    assert!(message.ends_with(&expected), "{message}");
    let digest = digest_of(&put.config);
    assert_eq!(put.config.len(), other.config.len());
    registry.put_at(
        &format!("/v2/app/blobs/{digest}"),
        "application/json",
        &other.config,
    );
    let message = failure(&client, &name);
    let expected = format!("expected {digest}, got {}", digest_of(&other.config));
    assert!(message.ends_with(&expected), "{message}");
}

#[test]
fn a_tags_announced_digest_counts() {
    let (registry, put, name, client) = registry();
    let other = format!("sha256:{}", "0".repeat(64));
    registry.always(
        "/manifests/",
        Fault::Header("docker-content-digest".into(), other.clone()),
    );
    let message = failure(&client, &name);
    assert!(
        message.ends_with(&format!("expected {other}, got {}", digest_of(&put.manifest))),
        "{message}"
    );
    registry.reset();
    registry.always(
        "/manifests/",
        Fault::Header("docker-content-digest".into(), String::new()),
    );
    resolve(&client, &name).unwrap();
}

#[test]
fn wrong_configurations_are_refused() {
    let (registry, put, name, client) = registry();
    registry.always("/blobs/", Fault::FlipBit(3));
    assert!(failure(&client, &name).contains("configuration from"));
    registry.reset();
    registry.always("/blobs/", Fault::Body(b"{}".to_vec()));
    let message = failure(&client, &name);
    assert!(message.contains("has not the promised"), "{message}");
    registry.reset();
    registry.remove("/blobs/");
    let message = failure(&client, &name);
    assert!(
        message.contains(&format!("blob {}", digest_of(&put.config))),
        "{message}"
    );
    assert_eq!(registry.count("/blobs/"), 1);
}

#[test]
fn a_manifest_is_not_also_an_index() {
    let (registry, put, name, client) = registry();
    let index = "application/vnd.oci.image.index.v1+json";
    registry.always("/manifests/", Fault::Header("content-type".into(), index.into()));
    assert_eq!(
        failure(&client, &name),
        format!(
            "the manifest of {name} cannot be used: the manifest was announced as '{index}', but says of itself that \
             it is '{MANIFEST}'"
        )
    );
    registry.reset();
    let text = String::from_utf8(put.manifest).unwrap();
    for (tag, bytes, expected) in [
        (
            "both",
            text.replacen('{', r#"{"manifests":[],"#, 1),
            "both layers and manifests",
        ),
        (
            "none",
            r#"{"schemaVersion":2}"#.to_owned(),
            "neither layers nor manifests",
        ),
        ("json", "<html>".to_owned(), "the manifest cannot be read"),
        (
            "path",
            text.replacen(
                &digest_of(&put.config).to_string(),
                "sha256:../../../etc/passwd",
                1,
            ),
            "cannot be",
        ),
        (
            "chart",
            text.replacen("vnd.oci.image.config.v1", "vnd.cncf.helm.config.v1", 1),
            "is no container image: it has a configuration of type 'application/vnd.cncf.helm.config.v1+json'",
        ),
        (
            "layer",
            text.replacen("vnd.oci.image.layer.v1.tar+gzip", "vnd.in-toto+json", 1),
            "is no container image: it has a layer of type 'application/vnd.in-toto+json'",
        ),
        (
            "schema1",
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            "docker schema 1",
        ),
    ] {
        registry.put_manifest("app", Some(tag), MANIFEST, bytes.as_bytes());
        let message = failure(&client, &format!("{}/app:{tag}", registry.host()));
        assert!(message.contains(expected), "{tag}: {message}");
        assert_eq!(registry.count(&format!("/manifests/{tag}")), 1);
    }
}

#[test]
fn an_oversized_manifest_is_not_read() {
    let (registry, _, name, client) = registry();
    for fault in [
        Fault::Body(vec![b' '; 5 << 20]),
        Fault::Append(vec![b' '; 5 << 20]),
    ] {
        registry.reset();
        registry.always("/manifests/", fault);
        assert_eq!(
            failure(&client, &name),
            format!(
                "the manifest from {} is larger than the 4194304 bytes that are accepted",
                registry.host()
            )
        );
        assert_eq!(registry.count("/manifests/"), 1);
    }
}

#[test]
fn passing_trouble_is_waited_out() {
    let (registry, _, name, client) = registry();
    let soon = Fault::Status(429, vec![("retry-after".into(), "0".into())], String::new());
    registry.script(
        "/manifests/",
        [soon, Fault::status(500), Fault::Close, Fault::CutAfter(10)],
    );
    resolve(&client, &name).unwrap();
    assert_eq!(registry.count("/manifests/"), 5);
}

#[test]
fn a_rate_limit_is_explained() {
    let (registry, _, name, client) = registry();
    let host = registry.host();
    let late = Fault::Status(429, vec![("retry-after".into(), "3600".into())], String::new());
    registry.always("/manifests/", late);
    assert_eq!(
        failure(&client, &name),
        format!(
            "toomanyrequests: registry {host} limits the rate of requests and asks to wait 3600 s: log in to have a higher \
             limit, or try again later"
        )
    );
    assert_eq!(registry.count("/manifests/"), 1);
    registry.reset();
    registry.always("/manifests/", Fault::status(429));
    assert!(failure(&client, &name).starts_with("toomanyrequests: "));
    assert_eq!(registry.count("/manifests/"), 5);
}

#[test]
fn an_unknown_repository_is_told_apart() {
    let (registry, _, name, client) = registry();
    registry.always("/manifests/", Fault::error(404, "NAME_UNKNOWN", "x"));
    assert_eq!(
        failure(&client, &name),
        format!(
            "repository {}/app not found: name unknown: repository name not known to registry",
            registry.host()
        )
    );
    registry.reset();
    registry.always("/manifests/", Fault::error(403, "DENIED", "x"));
    assert!(failure(&client, &name).starts_with("pull access denied for "));
    assert_eq!(registry.count("/manifests/"), 1);
}

fn mirrored(mirror: &FakeRegistry) -> Client {
    client(RegistryConfig {
        mirrors: vec![Mirror {
            prefix: "127.0.0.1".to_owned() + ":1",
            endpoint: "unused.example".to_owned(),
        }]
        .into_iter()
        .chain([Mirror {
            prefix: "origin.test/team".to_owned(),
            endpoint: format!("http://{}/copies", mirror.host()),
        }])
        .collect(),
        ..RegistryConfig::default()
    })
}

#[test]
fn a_mirror_is_asked_first() {
    let mirror = FakeRegistry::start();
    let put = mirror.put_image("copies/app", Some("1"), &TestImage::with_file("a", b"content"));
    let client = mirrored(&mirror);
    // There is no origin.test to fall back to.
    let image = resolve(&client, "origin.test/team/app:1").unwrap();
    let layer = read(&client, "origin.test/team/app:1", &image, &image.layers[0]).unwrap();
    assert_eq!(layer, put.layers[0]);
}

#[test]
fn what_a_mirror_lacks_comes_from_the_origin() {
    let mirror = FakeRegistry::start();
    let origin = FakeRegistry::start();
    let image = TestImage::with_file("a", b"content");
    let put = origin.put_image("app", Some("1"), &image);
    let client = client(RegistryConfig {
        mirrors: vec![Mirror {
            prefix: origin.host(),
            endpoint: mirror.host(),
        }],
        ..RegistryConfig::default()
    });
    let name = format!("{}/app:1", origin.host());

    // Not there at all.
    let found = resolve(&client, &name).unwrap();
    assert_eq!(
        read(&client, &name, &found, &found.layers[0]).unwrap(),
        put.layers[0]
    );
    assert_eq!((mirror.count("/manifests/"), mirror.count("/blobs/")), (1, 0));

    // There, but a layer breaks off for good: the origin has the rest.
    mirror.put_image("app", Some("1"), &image);
    origin.reset();
    let found = resolve(&client, &name).unwrap();
    assert!(origin.requests().is_empty());
    mirror.always("/blobs/", Fault::CutAfter(3));
    assert_eq!(
        read(&client, &name, &found, &found.layers[0]).unwrap(),
        put.layers[0]
    );
    assert_eq!(origin.requests()[0].headers["range"], "bytes=15-");

    // Broken in every way.
    mirror.reset();
    origin.reset();
    mirror.always("/", Fault::status(500));
    resolve(&client, &name).unwrap();
    assert_eq!(mirror.count("/manifests/"), 5);

    // If nobody has it, the registry itself is the one to name.
    mirror.reset();
    origin.remove("/");
    mirror.remove("/");
    assert_eq!(
        failure(&client, &name),
        format!("manifest for {name} not found: manifest unknown: manifest unknown")
    );
}

#[test]
fn the_user_agent_is_sent_and_all_types_are_accepted() {
    let (registry, _, name, _) = registry();
    let client = client(RegistryConfig {
        user_agent: "coracle/1".to_owned(),
        ..RegistryConfig::default()
    });
    client.resolve(&reference(&name), &amd64()).unwrap();
    let request = &registry.requests()[0];
    assert_eq!(request.headers["user-agent"], "coracle/1");
    for kind in [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
        MANIFEST,
    ] {
        assert!(request.headers["accept"].contains(kind), "{kind}");
    }
}

#[test]
fn a_mirror_that_makes_no_sense_is_an_error() {
    let client = client(RegistryConfig {
        mirrors: vec![Mirror {
            prefix: "docker.io".to_owned(),
            endpoint: "gopher://m.example".to_owned(),
        }],
        ..RegistryConfig::default()
    });
    assert!(matches!(
        resolve(&client, "ubuntu"),
        Err(RegistryError::Mirror { .. })
    ));
}
