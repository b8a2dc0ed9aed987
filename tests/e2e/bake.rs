//! `buildx bake`.

use crate::sandbox;
use serde_json::{Value, json};
use std::path::Path;
use testkit::{Outcome, Sandbox, outcome};

/// Runs bake in the sandbox's directory, with variables.
fn bake_with(coracle: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let words = [&["buildx", "bake"], arguments].concat();
    let output = coracle
        .command(words)
        .current_dir(coracle.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    outcome(&output)
}

fn bake(coracle: &Sandbox, arguments: &[&str]) -> Outcome {
    bake_with(coracle, &[], arguments)
}

fn printed(coracle: &Sandbox, arguments: &[&str]) -> Value {
    let text = bake(coracle, &[&["--print"], arguments].concat()).ok();
    serde_json::from_str(&text).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A definition with two targets of which one stands on the other.
const LINKED: &str = r#"
variable "WHO" { default = "world" }
group "default" { targets = ["app", "files"] }
target "base" {
  dockerfile-inline = <<EOT
    FROM busybox
    RUN echo base > /base
  EOT
}
target "app" {
  contexts = { base = "target:base", data = "data" }
  dockerfile-inline = "FROM base\nARG WHO\nRUN echo hello $WHO > /hello\nCOPY --from=data d.txt /\nCOPY --from=base /base /copied\n"
  args = { WHO = WHO }
  tags = ["baked:app"]
  labels = { made = "by-bake" }
}
target "files" {
  context = "sub"
  dockerfile = "other.Dockerfile"
  output = ["type=local,dest=out"]
}
"#;

fn linked(coracle: &Sandbox) {
    coracle.write("docker-bake.hcl", LINKED);
    coracle.write("data/d.txt", "data\n");
    coracle.write("sub/other.Dockerfile", "FROM scratch\nCOPY s.txt /s.txt\n");
    coracle.write("sub/s.txt", "sub\n");
}

#[test]
fn targets_are_built_behind_what_they_stand_on() {
    let coracle = sandbox();
    linked(&coracle);
    let outcome = bake_with(
        &coracle,
        &[("WHO", "bakers")],
        &["--metadata-file", "meta.json", "--progress", "plain"],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let hello = coracle
        .run(["run", "--rm", "baked:app", "cat", "/hello", "/d.txt", "/copied"])
        .ok();
    assert_eq!(hello, "hello bakers\ndata\nbase\n");
    assert_eq!(read(&coracle.path().join("out/s.txt")), "sub\n");
    let label = coracle
        .run(["image", "inspect", "-f", "{{.Config.Labels.made}}", "baked:app"])
        .ok();
    assert_eq!(label, "by-bake\n");
    let metadata: Value = serde_json::from_str(&read(&coracle.path().join("meta.json"))).unwrap();
    assert_eq!(metadata["app"]["image.name"], "docker.io/library/baked:app");
    assert!(metadata["files"]["containerimage.config.digest"].is_string());
    // Nobody asked for the base by itself: there is no image without a name.
    let dangling = coracle.run(["images", "-q", "--filter", "dangling=true"]).ok();
    assert_eq!(dangling, "");
    // The second time everything is cached, its layers, too.
    let again = bake_with(&coracle, &[("WHO", "bakers")], &["--progress", "plain", "app"]);
    assert!(again.stderr.matches("CACHED").count() >= 3, "{}", again.stderr);
}

#[test]
fn targets_are_built_side_by_side_and_share_their_steps() {
    let coracle = sandbox();
    // Each waits for the other, and what both begin with is made once.
    coracle.write(
        "Dockerfile",
        "FROM busybox AS shared\nRUN cat /proc/sys/kernel/random/uuid > /id && sleep 1\n\
         FROM shared AS one\nRUN --mount=type=cache,target=/c touch /c/one; i=0; until [ -e /c/two ]; do sleep 0.1; i=$((i+1)); [ $i -lt 200 ]; done\n\
         FROM shared AS two\nRUN --mount=type=cache,target=/c touch /c/two; i=0; until [ -e /c/one ]; do sleep 0.1; i=$((i+1)); [ $i -lt 200 ]; done\n",
    );
    coracle.write(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"one\", \"two\"] }\n\
         target \"one\" {\n  target = \"one\"\n  tags = [\"side:one\"]\n}\n\
         target \"two\" {\n  target = \"two\"\n  tags = [\"side:two\"]\n}\n",
    );
    let outcome = bake(&coracle, &["--progress", "plain"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("[one shared "), "{}", outcome.stderr);
    let id = |tag: &str| coracle.run(["run", "--rm", tag, "cat", "/id"]).ok();
    assert_eq!(id("side:one"), id("side:two"));
}

#[test]
fn the_first_failure_stops_the_other_targets() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"bad\", \"slow\"] }\n\
         target \"bad\" {\n  dockerfile-inline = \"FROM busybox\\nRUN sleep 1; false\\n\"\n}\n\
         target \"slow\" {\n  dockerfile-inline = \"FROM busybox\\nRUN sleep 1000\\n\"\n}\n",
    );
    let error = bake(&coracle, &["--progress", "plain"]).fails(1);
    assert!(error.contains("ERROR: target bad: failed to solve"), "{error}");
}

#[test]
fn a_failed_target_is_named_and_nothing_is_left_behind() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "target \"a\" {\n  dockerfile-inline = \"FROM busybox\\nRUN true\\n\"\n}\n\
         target \"b\" {\n  contexts = { a = \"target:a\" }\n  dockerfile-inline = \"FROM a\\nRUN false\\n\"\n}\n",
    );
    let error = bake(&coracle, &["--progress", "plain", "b"]).fails(1);
    assert!(error.contains("ERROR: target b: failed to solve"), "{error}");
    assert!(error.contains(">>> RUN false"), "{error}");
    assert_eq!(
        coracle.run(["images", "-aq", "--filter", "dangling=true"]).ok(),
        ""
    );
}

#[test]
fn checks_of_several_targets() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"good\", \"bad\"] }\n\
         target \"good\" {\n  description = \"fine\"\n  dockerfile-inline = \"FROM busybox\\n\"\n}\n\
         target \"bad\" {\n  dockerfile-inline = \"FROM busybox as x\\n\"\n}\n",
    );
    let outcome = bake(&coracle, &["--check"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with("bad\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("FromAsCasing"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("\ngood\nfine\n"), "{}", outcome.stdout);
}

#[test]
fn files_are_found_and_lie_over_each_other() {
    let coracle = sandbox();
    coracle.write(
        "compose.yaml",
        "services:\n  web:\n    image: web:${TAG:-1}\n    build: {context: ./web, args: [A=1]}\n",
    );
    coracle.write(
        "docker-bake.override.json",
        r#"{"target": {"web": {"args": {"B": "2"}}}}"#,
    );
    coracle.write(".env", "# of the project\nTAG=\"7\"\n");
    assert_eq!(
        printed(&coracle, &[]),
        json!({
            "group": {"default": {"targets": ["web"]}},
            "target": {"web": {
                "context": "web", "dockerfile": "Dockerfile", "args": {"A": "1", "B": "2"}, "tags": ["web:7"]
            }}
        })
    );
    // Named files are the only ones.
    coracle.write("x.hcl", "target \"x\" {\n  args = { H = BAKE_CMD_CONTEXT }\n}\n");
    let named = printed(&coracle, &["-f", "x.hcl", "--set", "x.tags=y", "--no-cache", "x"]);
    assert_eq!(
        named["target"],
        json!({"x": {"context": ".", "dockerfile": "Dockerfile", "args": {"H": "cwd://"}, "tags": ["y"], "no-cache": true}})
    );
    let stdin = coracle.run_with_input(
        ["buildx", "bake", "-f", "-", "--print"],
        b"target \"default\" {}\n",
    );
    assert!(stdin.ok().contains("\"context\": \".\""));
    let variables = bake_with(&coracle, &[("BUILDX_BAKE_FILE", "x.hcl")], &["--print", "x"]).ok();
    assert!(variables.contains("cwd://"), "{variables}");
}

#[test]
fn targets_and_variables_are_listed() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "variable \"V\" {\n  type = list(string)\n  default = [\"a\"]\n  description = \"what\"\n}\n\
         group \"g\" { targets = [\"t\"] }\ntarget \"t\" { description = \"builds\" }\ntarget \"_hidden\" {}\n",
    );
    let targets = bake(&coracle, &["--list", "targets"]).ok();
    let lines: Vec<Vec<&str>> = targets
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [vec!["TARGET", "DESCRIPTION"], vec!["g", "t"], vec!["t", "builds"]]
    );
    let variables = bake(&coracle, &["--list=type=variables,format=json", "--var", "V=b,c"]).ok();
    let variables: Value = serde_json::from_str(&variables).unwrap();
    assert_eq!(
        variables,
        json!([{"name": "V", "type": "list of string", "value": "[\"b\",\"c\"]", "description": "what"}])
    );
}

#[test]
fn what_a_definition_may_not_do_by_itself() {
    let coracle = sandbox();
    coracle.write(
        "work/docker-bake.hcl",
        "target \"net\" {\n  network = \"host\"\n  dockerfile-inline = \"FROM busybox\\n\"\n}\n\
         target \"up\" {\n  context = \"..\"\n  dockerfile-inline = \"FROM scratch\\nCOPY x /\\n\"\n}\n\
         target \"out\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY docker-bake.hcl /\\n\"\n  output = [\"../out\"]\n}\n",
    );
    coracle.write("x", "x");
    let run = |arguments: &[&str]| {
        let output = coracle
            .command([&["buildx", "bake"], arguments].concat())
            .current_dir(coracle.path().join("work"))
            .output()
            .unwrap();
        outcome(&output)
    };
    for (target, flag) in [
        ("net", "--allow=network.host"),
        ("up", "--allow=fs.read=.."),
        ("out", "--allow=fs.write=../out"),
    ] {
        let error = run(&[target]).fails(1);
        assert!(error.contains("additional privileges requested"), "{error}");
        assert!(error.contains(flag), "{error}");
        let outcome = run(&[flag, target]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    }
    assert!(coracle.path().join("out/docker-bake.hcl").exists());
}

#[test]
fn mistakes_show_the_line_and_the_nearest_name() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "target \"default\" {\n  dockerfil = \"x\"\n}\n",
    );
    let error = bake(&coracle, &[]).fails(1);
    assert!(error.contains("   2 | >>>   dockerfil = \"x\""), "{error}");
    assert!(
        error.contains("ERROR: docker-bake.hcl:2,3-12: there is no attribute of a target \"dockerfil\""),
        "{error}"
    );
    assert!(error.contains("did you mean \"dockerfile\"?"), "{error}");
    coracle.write("docker-bake.hcl", "target \"webapp\" {}\n");
    let error = bake(&coracle, &["webap"]).fails(1);
    assert!(
        error.contains("there is no target \"webap\"") && error.contains("did you mean \"webapp\"?"),
        "{error}"
    );
    for (text, expected) in [
        (
            "target \"webapp\" {\n  policy = [\"x.rego\"]\n}\n",
            "there are no policies",
        ),
        (
            "target \"webapp\" {\n  resources = { memory = \"1g\" }\n}\n",
            "resources.memory: builds have no such limits",
        ),
        (
            "target \"webapp\" {\n  ulimits = [\"nosuch=1\"]\n}\n",
            "target webapp: ",
        ),
    ] {
        coracle.write("docker-bake.hcl", text);
        let error = bake(&coracle, &["webapp"]).fails(1);
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_file(coracle.path().join("docker-bake.hcl")).unwrap();
    let error = bake(&coracle, &[]).fails(1);
    assert!(error.contains("couldn't find a bake definition"), "{error}");
}

#[test]
fn a_target_that_makes_files_can_be_stood_on() {
    let coracle = sandbox();
    coracle.write(
        "docker-bake.hcl",
        "target \"files\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY docker-bake.hcl /f\\n\"\n  tags = [\"unwanted\"]\n  output = [\"out\"]\n}\n\
         target \"app\" {\n  contexts = { files = \"target:files\" }\n  dockerfile-inline = \"FROM busybox\\nCOPY --from=files /f /g\\n\"\n  tags = [\"app\"]\n}\n",
    );
    let outcome = bake(&coracle, &["--progress", "plain", "files", "app"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(coracle.path().join("out/f").exists());
    assert!(
        coracle
            .run(["run", "--rm", "app", "cat", "/g"])
            .ok()
            .contains("dockerfile-inline")
    );
    let images = coracle.run(["images", "-a", "--format", "{{.Repository}}"]).ok();
    assert!(
        !images.contains("unwanted") && !images.contains("<none>"),
        "{images}"
    );
}

mod both {
    use super::{printed, read};
    use serde_json::json;

    #[test]
    fn the_same_definition_gives_the_same_options() {
        let coracle = crate::both();
        coracle.write("docker-bake.hcl", super::LINKED);
        let plan = printed(&coracle, &["app", "files"]);
        assert_eq!(plan["group"], json!({"default": {"targets": ["app", "files"]}}));
        assert_eq!(plan["target"]["app"]["args"], json!({"WHO": "world"}));
        assert_eq!(
            plan["target"]["app"]["contexts"],
            json!({"base": "target:base", "data": "data"})
        );
        assert_eq!(plan["target"]["files"]["context"], "sub");
        assert!(read(&coracle.path().join("docker-bake.hcl")).contains("WHO"));
    }
}
