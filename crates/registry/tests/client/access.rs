//! Who is told what: challenges, tokens, redirects, credential helpers.

use super::support::{alone, client, read, resolve, told};
use base64::Engine;
use registry::{RegistryConfig, RegistryError};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use testkit::registry::{Access, FakeRegistry, Fault, Put, TestImage, TokenServer};

fn registry() -> (FakeRegistry, Put, String) {
    let registry = FakeRegistry::start();
    let put = registry.put_image("app", Some("1"), &TestImage::with_file("a", b"content"));
    let name = format!("{}/app:1", registry.host());
    (registry, put, name)
}

fn with_config(json: &str) -> (RegistryConfig, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, json).unwrap();
    let config = RegistryConfig {
        docker_config: Some(file),
        ..RegistryConfig::default()
    };
    (config, directory)
}

fn password(host: &str, user: &str, password: &str) -> (RegistryConfig, TempDir) {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    with_config(&format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#))
}

fn login() -> (String, String) {
    ("ada".to_owned(), "hunter2".to_owned())
}

#[test]
fn an_anonymous_token_is_fetched_once_and_used_for_all() {
    let (registry, put, name) = registry();
    registry.require(Access::Bearer(TokenServer::default()));
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    assert_eq!(
        read(&client, &name, &image, &image.layers[0]).unwrap(),
        put.layers[0]
    );
    let requests = registry.requests();
    let token: Vec<_> = requests
        .iter()
        .filter(|request| request.path == "/token")
        .collect();
    assert_eq!(token.len(), 1);
    assert_eq!(token[0].query, "service=test&scope=repository%3Aapp%3Apull");
    assert!(!token[0].headers.contains_key("authorization"));
    // One manifest without and one with the token, configuration and layer at once with it.
    assert_eq!((registry.count("/manifests/"), registry.count("/blobs/")), (2, 2));
}

#[test]
fn a_password_goes_to_the_token_server_and_nowhere_else() {
    let (registry, _, name) = registry();
    registry.require(Access::Bearer(TokenServer {
        login: Some(login()),
        ..TokenServer::default()
    }));
    let (config, _directory) = password(&registry.host(), "ada", "hunter2");
    let client = client(config);
    resolve(&client, &name).unwrap();
    for request in registry.requests() {
        let shown = request.headers.get("authorization").map_or("", String::as_str);
        assert_eq!(
            shown.starts_with("Basic "),
            request.path == "/token",
            "{request:?}"
        );
    }
    assert!(
        registry
            .requests()
            .iter()
            .any(|request| request.query.ends_with("&account=ada"))
    );
}

#[test]
fn a_token_that_ran_out_is_renewed_once() {
    let (registry, _, name) = registry();
    registry.require(Access::Bearer(TokenServer {
        uses: Some(1),
        ..TokenServer::default()
    }));
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    read(&client, &name, &image, &image.layers[0]).unwrap();
    assert_eq!(registry.count("/token"), 3);
}

#[test]
fn a_registry_that_is_never_content_is_left() {
    let (registry, _, name) = registry();
    registry.require(Access::Bearer(TokenServer {
        useless: true,
        ..TokenServer::default()
    }));
    let error = resolve(&client(RegistryConfig::default()), &name).unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)), "{error}");
    assert_eq!((registry.count("/token"), registry.count("/manifests/")), (1, 2));
}

#[test]
fn a_refused_password_is_said_to_be_refused() {
    let (registry, _, name) = registry();
    registry.require(Access::Bearer(TokenServer {
        login: Some(login()),
        ..TokenServer::default()
    }));
    let (config, _directory) = password(&registry.host(), "ada", "wrong-pw");
    let error = resolve(&client(config), &name).unwrap_err();
    let host = registry.host();
    assert_eq!(
        told(&error),
        format!(
            "unauthorized: registry {host} did not accept the stored credentials: log in to {host} again"
        )
    );
    let error = resolve(&client(RegistryConfig::default()), &name).unwrap_err();
    assert!(told(&error).starts_with(&format!("pull access denied for {host}/app,")));
}

#[test]
fn a_refresh_token_is_posted() {
    let (registry, _, name) = registry();
    registry.require(Access::Bearer(TokenServer {
        refresh_token: Some("refresh-me".into()),
        ..TokenServer::default()
    }));
    let json = format!(
        r#"{{"auths":{{"{}":{{"identitytoken":"refresh-me"}}}}}}"#,
        registry.host()
    );
    let (config, _directory) = with_config(&json);
    resolve(&client(config), &name).unwrap();
    let requests = registry.requests();
    let token = requests.iter().find(|request| request.path == "/token").unwrap();
    assert_eq!((token.method.as_str(), token.query.as_str()), ("POST", ""));
    assert!(token.body.contains("grant_type=refresh_token"));
}

#[test]
fn a_token_server_without_tls_is_not_asked() {
    let (registry, _, name) = registry();
    let (config, _directory) = password(&registry.host(), "ada", "hunter2");
    registry.require(Access::Bearer(TokenServer {
        realm: Some("http://tokens.example/token".into()),
        ..TokenServer::default()
    }));
    let error = resolve(&client(config), &name).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "registry {} names a token server that is not used: its address is not https",
            registry.host()
        )
    );
}

#[test]
fn a_redirect_carries_no_credentials_away() {
    let (registry, put, name) = registry();
    let storage = FakeRegistry::start();
    storage.put_image("app", None, &TestImage::with_file("a", b"content"));
    registry.require(Access::Basic("ada".into(), "hunter2".into()));
    let (config, _directory) = password(&registry.host(), "ada", "hunter2");
    let client = client(config);
    let image = resolve(&client, &name).unwrap();
    let layer = image.layers[0].digest();
    let to = format!(
        "http://ada:hunter2@{}/v2/app/blobs/{layer}?signature=secret",
        storage.host()
    );
    registry.always("/blobs/", Fault::Redirect(to));
    assert_eq!(
        read(&client, &name, &image, &image.layers[0]).unwrap(),
        put.layers[0]
    );
    let requests = storage.requests();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].headers.contains_key("authorization"), "{requests:?}");

    // A challenge from there is not answered, and what it says quotes no signature.
    storage.require(Access::Basic("ada".into(), "hunter2".into()));
    let error = read(&client, &name, &image, &image.layers[0]).unwrap_err();
    assert!(told(&error).contains("failed with HTTP status 401"), "{error}");
    assert!(
        !format!("{error:?} {}", told(&error)).contains("secret"),
        "{error:?}"
    );
    assert!(
        storage
            .requests()
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
}

#[test]
fn a_redirect_that_comes_back_brings_no_credentials() {
    let (registry, _, name) = registry();
    let other = FakeRegistry::start();
    registry.require(Access::Basic("ada".into(), "hunter2".into()));
    let (config, _directory) = password(&registry.host(), "ada", "hunter2");
    let client = client(config);
    let image = resolve(&client, &name).unwrap();
    registry.reset();
    registry.script(
        "/blobs/",
        [Fault::Redirect(format!("http://{}/away", other.host()))],
    );
    other.always(
        "/away",
        Fault::Redirect(format!("http://{}/v2/chosen", registry.host())),
    );
    read(&client, &name, &image, &image.layers[0]).unwrap_err();
    let requests = registry.requests();
    let back = requests
        .iter()
        .find(|request| request.path == "/v2/chosen")
        .unwrap();
    assert!(!back.headers.contains_key("authorization"));
}

#[test]
fn redirects_end() {
    let (registry, _, name) = registry();
    let client = client(RegistryConfig::default());
    let host = registry.host();
    registry.always(
        "/manifests/",
        Fault::Redirect(format!("http://{host}/v2/app/manifests/1")),
    );
    let error = resolve(&client, &name).unwrap_err();
    assert_eq!(
        told(&error),
        format!("registry {host} sent a redirect that is not followed: it is the eleventh in a row")
    );
    assert_eq!(registry.count("/manifests/"), 11);
    registry.reset();
    registry.always("/manifests/", Fault::Redirect("file:///etc/passwd".into()));
    let error = resolve(&client, &name).unwrap_err();
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
    assert_eq!(registry.count("/manifests/"), 1);
}

#[test]
fn many_transfers_fetch_one_token() {
    let registry = FakeRegistry::start();
    let layers = (0..8_u8).map(|n| vec![(format!("f{n}"), vec![n; 1000])]);
    let image = TestImage {
        layers: layers.collect(),
        ..TestImage::default()
    };
    registry.put_image("app", Some("1"), &image);
    let name = format!("{}/app:1", registry.host());
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    // Only now, so that all of them begin without one.
    registry.require(Access::Bearer(TokenServer::default()));
    std::thread::scope(|scope| {
        for layer in &image.layers {
            scope.spawn(|| read(&client, &name, &image, layer).unwrap());
        }
    });
    assert_eq!(registry.count("/token"), 1);
}

#[test]
fn credential_helpers_are_asked() {
    let bin = TempDir::new().unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let variables = [
        ("PATH", path.as_str()),
        ("TEST_BIN", bin.path().to_str().unwrap()),
    ];
    if !alone("access::credential_helpers_are_asked", &variables) {
        return;
    }
    let bin = std::env::var("TEST_BIN").unwrap();
    let (registry, _, name) = registry();
    registry.require(Access::Basic("ada".into(), "hunter2".into()));
    let host = registry.host();
    let script = |name: &str, text: &str| {
        let file = format!("{bin}/docker-credential-{name}");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let answer = r#"{"ServerURL":"x","Username":"ada","Secret":"hunter2"}"#;
    script(
        "good",
        &format!(r#"read server; test "$1 $server" = "get {host}" && echo '{answer}'"#),
    );
    script("empty", "echo credentials not found in native keychain; exit 1");
    script("broken", "echo the keyring is locked; exit 1");
    for (json, outcome) in [
        (r#"{"credsStore":"good"}"#.to_owned(), ""),
        (
            format!(r#"{{"credHelpers":{{"{host}":"good"}},"credsStore":"broken"}}"#),
            "",
        ),
        (r#"{"credsStore":"empty"}"#.to_owned(), "pull access denied"),
        (
            r#"{"credsStore":"broken"}"#.to_owned(),
            "credential helper docker-credential-broken gave no credentials for",
        ),
        (r#"{"credsStore":"broken"}"#.to_owned(), ": the keyring is locked"),
        (r#"{"credsStore":"absent"}"#.to_owned(), "No such file"),
        ("{\"auths\":".to_owned(), "cannot read credentials from"),
    ] {
        let (config, _directory) = with_config(&json);
        let message = resolve(&client(config), &name).map_or_else(|error| told(&error), |_| String::new());
        assert!(
            message.contains(outcome) && message.is_empty() == outcome.is_empty(),
            "{json}: {message}"
        );
    }
}
