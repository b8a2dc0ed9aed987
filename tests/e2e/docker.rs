//! Called as `docker`, and what scripts written for Docker ask of their surroundings.

use crate::sandbox;
use testkit::{Sandbox, sandbox::Outcome};

/// Runs the program through a link of that name, with variables set.
fn docker(coracle: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let link = coracle.path().join("docker");
    let template = coracle.command(["x"]);
    if !link.exists() {
        std::os::unix::fs::symlink(template.get_program(), &link).unwrap();
    }
    let mut command = std::process::Command::new(link);
    command.args(arguments).envs(variables.iter().copied());
    for (name, value) in template.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    testkit::sandbox::outcome(&command.output().unwrap())
}

#[test]
fn a_link_answers_by_its_name() {
    let coracle = sandbox();
    let help = docker(&coracle, &["run", "--help"], &[]).ok();
    assert!(help.starts_with("Usage:  docker run [OPTIONS] IMAGE"), "{help}");
    assert!(!help.contains("coracle"), "{help}");
    let error = docker(&coracle, &["run"], &[]).fails(1);
    assert!(
        error.starts_with("docker: 'docker run' requires at least 1 argument"),
        "{error}"
    );
    let absent = docker(&coracle, &["swarm", "init"], &[]).fails(1);
    assert!(
        absent.contains("'docker swarm init' is not part of this engine"),
        "{absent}"
    );
    let hint = docker(&coracle, &["rmi", "busybox"], &[]);
    assert_eq!(hint.code, 0, "{hint:?}");
}

#[test]
fn another_daemon_is_not_taken_for_us() {
    let coracle = sandbox();
    let far = [("DOCKER_HOST", "tcp://far.example:2375")];
    let refused = docker(&coracle, &["ps"], &far).fails(1);
    assert!(
        refused.contains("cannot connect to tcp://far.example:2375") && refused.contains("unset DOCKER_HOST"),
        "{refused}"
    );
    let near = [("DOCKER_HOST", "unix:///var/run/docker.sock")];
    let said = docker(&coracle, &["ps"], &near);
    assert_eq!(said.code, 0);
    assert!(said.stderr.contains("is not used"), "{said:?}");
    let context = docker(&coracle, &["ps"], &[("DOCKER_CONTEXT", "far")]).fails(1);
    assert!(context.contains("context \"far\" does not exist"), "{context}");
    // Under our own name, what is meant for Docker's client is no business of ours.
    let mut command = coracle.command(["ps"]);
    command.env("DOCKER_HOST", "tcp://far.example:2375");
    testkit::sandbox::outcome(&command.output().unwrap()).ok();
    coracle.run(["-H", "ssh://far", "ps"]).fails(1);
}

#[test]
fn the_users_configuration_is_read() {
    let coracle = sandbox();
    coracle.write(
        "docker-config/config.json",
        r#"{"psFormat": "table {{.Names}}", "imagesFormat": "{{.Repository}}", "HttpHeaders": {"a": "b"},
            "pruneFilters": ["label!=keep"], "auths": {}, "proxies": {"default": {"httpProxy": "http://p:3128"}}}"#,
    );
    coracle
        .run(["create", "--name", "kept", "--label", "keep=1", "busybox"])
        .ok();
    coracle.run(["create", "--name", "plain", "busybox"]).ok();
    assert_eq!(coracle.run(["images"]).ok(), "busybox\n");
    assert_eq!(coracle.run(["images", "--format", "{{.Tag}}"]).ok(), "latest\n");
    assert_eq!(coracle.run(["ps", "-a"]).ok(), "NAMES\nplain\nkept\n");
    coracle.run(["container", "prune", "-f"]).ok();
    assert_eq!(coracle.run(["ps", "-a", "--format", "{{.Names}}"]).ok(), "kept\n");
    coracle.run(["rm", "kept"]).ok();
}

#[test]
fn a_default_platform_is_one() {
    let coracle = sandbox();
    let mut command = coracle.command(["run", "--rm", "--pull", "never", "busybox", "true"]);
    command.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    let refused = testkit::sandbox::outcome(&command.output().unwrap()).fails(125);
    assert!(refused.contains("busybox"), "{refused}");
    let mut command = coracle.command(["create", "busybox"]);
    command.env("DOCKER_DEFAULT_PLATFORM", "not/a/real/platform");
    testkit::sandbox::outcome(&command.output().unwrap()).fails(1);
}

#[test]
fn scripts_find_their_context_and_builder() {
    let coracle = sandbox();
    assert_eq!(coracle.run(["context", "show"]).ok(), "default\n");
    assert_eq!(coracle.run(["context", "ls", "-q"]).ok(), "default\n");
    assert!(coracle.run(["context", "ls"]).ok().contains("default *"));
    coracle.run(["context", "use", "default"]).ok();
    let error = coracle.run(["context", "use", "far"]).fails(1);
    assert!(error.contains("context \"far\" does not exist"), "{error}");
    let host = coracle
        .run(["context", "inspect", "-f", "{{.Endpoints.docker.Host}}"])
        .ok();
    let socket = coracle.path().join("run/docker.sock");
    assert_eq!(host, format!("unix://{}\n", socket.display()));
    assert_eq!(
        coracle
            .run([
                "buildx",
                "create",
                "--use",
                "--name",
                "mine",
                "--driver",
                "docker-container"
            ])
            .ok(),
        "mine\n"
    );
    coracle.run(["buildx", "use", "mine"]).ok();
    coracle.run(["buildx", "inspect", "--bootstrap"]).ok();
    assert!(coracle.run(["buildx", "ls"]).ok().starts_with("NAME/NODE"));
    assert!(coracle.run(["buildx", "du"]).ok().contains("Total:"));
    coracle.run(["buildx", "prune", "-f"]).ok();
    coracle.run(["buildx", "rm", "mine"]).ok();
}

#[test]
fn what_is_no_part_of_this_engine_says_so() {
    let coracle = sandbox();
    for words in [
        &["swarm", "init"][..],
        &["node", "ls"],
        &["service", "create", "--name", "x", "busybox"],
        &["stack", "deploy", "-c", "x", "y"],
        &["secret", "ls"],
        &["config", "ls"],
        &["plugin", "install", "x"],
        &["checkpoint", "create", "a", "b"],
        &["trust", "sign", "x"],
        &["swarm", "--help"],
        &["swarm"],
    ] {
        let said = coracle.run(words).fails(1);
        assert!(
            said.contains("is not part of this engine: ") && said.contains("\nhint: "),
            "{words:?}: {said}"
        );
        assert_eq!(said.lines().count(), 2, "{words:?}: {said}");
    }
}
