//! `login` and `logout`, to Debian's `docker-registry` with a password, and the flow of a cloud's credential helper.

use crate::registry::Registry;
use crate::sandbox;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use testkit::Sandbox;
use testkit::registry::{Access, FakeRegistry, TokenServer};

/// bcrypt of `hunter2`.
const PASSWORDS: &str = "ada:$2y$05$.wos13g8lp2nffwyQNo8f.Dy78WnNy9OndFNIaiIFAtY4yYS4ZbBS\n";
/// base64 of `ada:hunter2`.
const SECRET: &str = "YWRhOmh1bnRlcjI=";

fn with_password(coracle: &Sandbox) -> Registry {
    let passwords = coracle.write("htpasswd", PASSWORDS);
    Registry::start_with(
        coracle.path(),
        &format!(
            "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            passwords.display()
        ),
    )
}

fn config(coracle: &Sandbox) -> Value {
    let path = coracle.path().join("docker-config/config.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

mod both {
    use super::*;

    #[test]
    fn a_login_lets_push_and_a_logout_does_not() {
        let coracle = crate::both();
        let registry = with_password(&coracle);
        let address = registry.address.as_str();
        let name = format!("{address}/tools:1");
        coracle.run(["tag", "busybox", &name]).ok();
        coracle.run(["push", &name]).fails(1);
        let arguments = ["login", "-u", "ada", "--password-stdin", address];
        let wrong = coracle.run_with_input(arguments, b"wrong\n").fails(1);
        assert!(wrong.contains("unauthorized"), "{wrong}");
        let right = coracle.run_with_input(arguments, b"hunter2\n");
        assert!(
            right.stderr.contains("unencrypted") && right.stderr.contains("config.json"),
            "{}",
            right.stderr
        );
        assert!(right.ok().contains("Login Succeeded"));
        assert_eq!(config(&coracle)["auths"][address]["auth"], SECRET);
        let file = coracle.path().join("docker-config/config.json");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        coracle.run(["push", "-q", &name]).ok();
        let again = coracle.run(["login", address]).ok();
        assert!(
            again.contains("Authenticating with existing credentials...")
                && again.contains("Login Succeeded"),
            "{again}"
        );
        let out = coracle.run(["logout", address]).ok();
        assert_eq!(out, format!("Removing login credentials for {address}\n"));
        assert!(config(&coracle)["auths"].get(address).is_none());
        coracle.run(["push", &name]).fails(1);
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        let coracle = crate::both();
        let both = coracle
            .run(["login", "-u", "a", "-p", "b", "--password-stdin", "127.0.0.1:1"])
            .fails(1);
        assert!(both.contains("--password and --password-stdin"), "{both}");
        let nobody = coracle.run(["login", "--password-stdin", "127.0.0.1:1"]).fails(1);
        assert!(
            nobody.contains("--username") && nobody.contains("--password-stdin"),
            "{nobody}"
        );
        let silent = coracle.run(["login", "-u", "a", "127.0.0.1:1"]).fails(1);
        assert!(silent.to_lowercase().contains("non tty device"), "{silent}");
        let told = coracle
            .run(["login", "-u", "a", "-p", "b", "127.0.0.1:1"])
            .fails(1);
        assert!(
            told.contains("Using --password via the CLI is insecure. Use --password-stdin."),
            "{told}"
        );
    }
}

#[test]
fn keys_of_others_stay() {
    let coracle = sandbox();
    let registry = with_password(&coracle);
    let address = registry.address.as_str();
    coracle.write(
        "docker-config/config.json",
        r#"{"psFormat":"{{.ID}}","unknown":{"a":[1]},"auths":{"o.example":{"auth":"dTpw"}}}"#,
    );
    let arguments = ["login", "-u", "ada", "--password-stdin", address];
    coracle.run_with_input(arguments, b"hunter2").ok();
    coracle.run(["logout", address]).ok();
    assert_eq!(
        config(&coracle),
        serde_json::json!({
            "psFormat": "{{.ID}}", "unknown": {"a": [1]}, "auths": {"o.example": {"auth": "dTpw"}},
        })
    );
    let left = std::fs::read_dir(coracle.path().join("docker-config"))
        .unwrap()
        .count();
    assert_eq!(left, 1);
}

#[test]
fn a_token_servers_refresh_token_is_kept_in_place_of_the_password() {
    let coracle = sandbox();
    let registry = FakeRegistry::start();
    registry.require(Access::Bearer(TokenServer {
        login: Some(("ada".into(), "hunter2".into())),
        refresh_token: Some("refresh-me".into()),
        ..TokenServer::default()
    }));
    let host = registry.host();
    let arguments = ["login", "-u", "ada", "--password-stdin", &host];
    coracle.run_with_input(arguments, b"hunter2").ok();
    assert_eq!(config(&coracle)["auths"][&host]["identitytoken"], "refresh-me");
    let name = format!("{host}/tools:1");
    coracle.run(["tag", "busybox", &name]).ok();
    coracle.run(["push", "-q", &name]).ok();
    assert!(registry.object("/v2/tools/manifests/1").is_some());
    let text = std::fs::read_to_string(coracle.path().join("docker-config/config.json")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(SECRET), "{text}");
}

/// What `docker-credential-ecr-login` and its like do: they have credentials by themselves, and only `get`.
#[test]
fn a_clouds_helper_is_all_that_push_and_pull_need() {
    let coracle = sandbox();
    let registry = with_password(&coracle);
    let address = registry.address.as_str();
    let helper = coracle.write(
        "bin/docker-credential-cloud",
        "#!/bin/sh\necho \"$1\" >> \"$CLOUD_LOG\"\n[ \"$1\" = get ] || exit 1\nread -r server\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"ada\",\"Secret\":\"hunter2\"}' \"$server\"\n",
    );
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    coracle.write(
        "docker-config/config.json",
        &format!(r#"{{"credHelpers":{{"{address}":"cloud"}}}}"#),
    );
    let log = coracle.path().join("cloud.log");
    let path = format!(
        "{}:{}",
        helper.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |arguments: &[&str]| {
        let output = coracle
            .command(arguments)
            .env("PATH", &path)
            .env("CLOUD_LOG", &log)
            .output()
            .unwrap();
        testkit::sandbox::outcome(&output).ok()
    };
    let name = format!("{address}/team/tools:1");
    run(&["tag", "busybox", &name]);
    run(&["push", "-q", &name]);
    run(&["rmi", &name]);
    run(&["pull", "-q", &name]);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "get\nget\n");
    // Without the helper it is said which one is missing.
    let missing = coracle.run(["pull", &name]).fails(1);
    assert!(missing.contains("docker-credential-cloud"), "{missing}");
}

/// What `docker-credential-pass` and its like do: they keep what they are given.
#[test]
fn a_store_gets_the_password_and_the_file_does_not() {
    let coracle = sandbox();
    let registry = with_password(&coracle);
    let address = registry.address.as_str();
    let helper = coracle.write(
        "bin/docker-credential-box",
        "#!/bin/sh\ncase $1 in\nstore) cat > \"$BOX\";;\nget) cat \"$BOX\" 2>/dev/null || { echo credentials not found in native keychain; exit 1; };;\nerase) rm \"$BOX\";;\nesac\n",
    );
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    coracle.write("docker-config/config.json", r#"{"credsStore":"box"}"#);
    let stored = coracle.path().join("box");
    let path = format!(
        "{}:{}",
        helper.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |arguments: &[&str]| {
        let output = coracle
            .command(arguments)
            .env("PATH", &path)
            .env("BOX", &stored)
            .output()
            .unwrap();
        testkit::sandbox::outcome(&output)
    };
    let login = run(&["login", "-u", "ada", "-p", "hunter2", address]);
    assert!(!login.stderr.contains("unencrypted"), "{}", login.stderr);
    login.ok();
    assert_eq!(config(&coracle)["auths"][address], serde_json::json!({}));
    let kept: Value = serde_json::from_slice(&std::fs::read(&stored).unwrap()).unwrap();
    assert_eq!(
        kept,
        serde_json::json!({"ServerURL": address, "Username": "ada", "Secret": "hunter2"})
    );
    let name = format!("{address}/tools:1");
    run(&["tag", "busybox", &name]).ok();
    run(&["push", "-q", &name]).ok();
    run(&["logout", address]).ok();
    assert!(!stored.exists());
    run(&["push", "-q", &name]).fails(1);
}
