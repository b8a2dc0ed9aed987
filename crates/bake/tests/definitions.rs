//! Definitions as people write them, and the targets that come of them.
#![cfg(test)]

use bake::{BakeError, File, Plan, Surroundings, parse};
use std::collections::BTreeMap;

fn files(texts: &[(&str, &str)]) -> Vec<File> {
    texts
        .iter()
        .map(|(name, text)| File {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        })
        .collect()
}

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let mut surroundings = Surroundings::default();
    surroundings.environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    surroundings.builtins = BTreeMap::from([("BAKE_LOCAL_PLATFORM".to_owned(), "linux/amd64".to_owned())]);
    surroundings
}

fn planned(
    texts: &[(&str, &str)],
    variables: &[(&str, &str)],
    targets: &[&str],
    overrides: &[&str],
) -> Result<Plan, BakeError> {
    let owned = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    parse(&files(texts), &around(variables))?.resolve(&owned(targets), &owned(overrides))
}

/// The plan of one HCL file as JSON without spaces.
fn json(text: &str, variables: &[(&str, &str)], targets: &[&str], overrides: &[&str]) -> serde_json::Value {
    match planned(&[("docker-bake.hcl", text)], variables, targets, overrides) {
        Ok(plan) => serde_json::from_str(&plan.json()).unwrap(),
        Err(error) => format!("ERROR {error}").into(),
    }
}

#[test]
fn what_is_printed_has_docker_s_order() {
    let text = r#"
        target "webapp" {
          tags = ["docker.io/username/webapp"]
          dockerfile = "Dockerfile.webapp"
          args = { N = add(1, 2), B = true, GONE = null }
          output = ["type=registry", { type = "local", dest = "out" }]
          no-cache = true
        }"#;
    let plan = planned(&[("docker-bake.hcl", text)], &[], &["webapp"], &[]).unwrap();
    assert_eq!(
        plan.json(),
        r#"{
  "group": {
    "default": {
      "targets": [
        "webapp"
      ]
    }
  },
  "target": {
    "webapp": {
      "context": ".",
      "dockerfile": "Dockerfile.webapp",
      "args": {
        "B": "true",
        "N": "3"
      },
      "tags": [
        "docker.io/username/webapp"
      ],
      "output": [
        {
          "type": "registry"
        },
        {
          "dest": "out",
          "type": "local"
        }
      ],
      "no-cache": true
    }
  }
}"#
    );
}

#[test]
fn groups_inherits_and_matrix() {
    let text = r#"
        variable "TAG" { default = "latest" }
        group "default" { targets = ["inner", "_hidden"] }
        group "inner" { targets = ["app"] }
        target "_common" {
          args = { A = "1", B = "1" }
          platforms = ["linux/amd64"]
          labels = { l = "x" }
        }
        target "_hidden" { inherits = ["_common"] }
        target "app" {
          inherits = ["_common"]
          name = "app-${item.tgt}-${replace(v, ".", "-")}"
          matrix = { item = [{tgt = "foo"}, {tgt = "bar"}], v = ["1.0"] }
          target = item.tgt
          args = { B = v }
          tags = ["me/app:${TAG}"]
        }"#;
    let plan = json(text, &[("TAG", "dev")], &["default"], &[]);
    assert_eq!(
        plan["group"]["app"]["targets"],
        serde_json::json!(["app-foo-1-0", "app-bar-1-0"])
    );
    assert_eq!(
        plan["group"]["default"]["targets"],
        serde_json::json!(["_hidden", "inner"])
    );
    let foo = &plan["target"]["app-foo-1-0"];
    assert_eq!(foo["args"], serde_json::json!({"A": "1", "B": "1.0"}));
    assert_eq!(foo["target"], "foo");
    assert_eq!(foo["tags"][0], "me/app:dev");
    assert_eq!(plan["target"].as_object().unwrap().len(), 3);
    let list = parse(&files(&[("a.hcl", text)]), &around(&[])).unwrap().list();
    let names: Vec<&str> = list.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["app", "app-bar-1-0", "app-foo-1-0", "default", "inner"]);
}

#[test]
fn targets_refer_to_each_other() {
    let text = r#"
        target "a" {
          tags = ["x:1", "x:2"]
          args = { V = "7" }
        }
        target "b" {
          tags = [for t in target.a.tags : "${t}-b"]
          args = { V = target.a.args.V, N = target.c.name }
          dockerfile = target.a.dockerfile
        }
        target "c" { description = "d" }"#;
    let plan = json(text, &[], &["b"], &[]);
    assert_eq!(
        plan["target"]["b"]["tags"],
        serde_json::json!(["x:1-b", "x:2-b"]),
        "{plan}"
    );
    assert_eq!(
        plan["target"]["b"]["args"],
        serde_json::json!({"V": "7", "N": "c"})
    );
    let cycle = "target \"a\" {\n tags = target.b.tags\n}\ntarget \"b\" {\n tags = target.a.tags\n}\n";
    let error = json(cycle, &[], &["a"], &[]);
    assert!(error.as_str().unwrap().contains("needs itself"), "{error}");
}

#[test]
fn variables_types_validations_and_the_environment() {
    let text = r#"
        variable "PORTS" {
          type = list(number)
          default = [1]
          validation {
            condition = length(PORTS) < 3
            error_message = "at most two ports, not ${length(PORTS)}"
          }
        }
        variable "ON" { default = false }
        variable "MAP" { type = map(string) }
        variable "BASE" { default = "x" }
        variable "FULL" { default = upper("${BASE}-${BAKE_LOCAL_PLATFORM}") }
        function "join2" {
          params = [sep]
          variadic_param = words
          result = join(sep, words)
        }
        target "a" {
          args = {
            P = join("+", PORTS)
            ON = ON ? "yes" : "no"
            M = MAP == null ? "none" : MAP.k
            F = FULL
            J = join2("/", "a", "b")
          }
        }"#;
    let args = |variables: &[(&str, &str)]| {
        let plan = json(text, variables, &["a"], &[]);
        plan.get("target")
            .map_or_else(|| plan.clone(), |targets| targets["a"]["args"].clone())
    };
    assert_eq!(
        args(&[]),
        serde_json::json!({"P": "1", "ON": "no", "M": "none", "F": "X-LINUX/AMD64", "J": "a/b"})
    );
    let set = args(&[("PORTS", "80,443"), ("ON", "1"), ("MAP", "k:v"), ("BASE", "y")]);
    assert_eq!(
        set,
        serde_json::json!({"P": "80+443", "ON": "yes", "M": "v", "F": "Y-LINUX/AMD64", "J": "a/b"})
    );
    assert_eq!(args(&[("PORTS_JSON", "[5]")])["P"], "5");
    for (variables, why) in [
        (("PORTS", "a"), "the variable PORTS: \"a\" is no number"),
        (
            ("PORTS", "1,2,3"),
            "the variable \"PORTS\" is not valid: at most two ports, not 3",
        ),
        (
            ("ON", "maybe"),
            "the variable ON: \"maybe\" is neither true nor false",
        ),
        (("PORTS_JSON", "{"), "PORTS_JSON is not JSON"),
    ] {
        let error = args(&[variables]);
        assert!(error.as_str().unwrap().contains(why), "{variables:?}: {error}");
    }
}

#[test]
fn overrides() {
    let text = r#"
        target "app" {
          tags = ["a"]
          output = ["type=docker"]
          secret = ["id=s,src=f"]
        }
        target "db" {}
        "#;
    let plan = json(
        text,
        &[],
        &["app", "db"],
        &[
            "*.args.V=1",
            "app.tags+=b",
            "db.tags=c",
            "*.platform=linux/arm64",
            "app.output=type=local,dest=x",
            "app.secret.s=env=S",
            "a*.no-cache=true",
            "db.contexts.base=target:app",
            "db.labels.a.b=c",
        ],
    );
    let app = &plan["target"]["app"];
    assert_eq!(app["tags"], serde_json::json!(["a", "b"]), "{plan}");
    assert_eq!(app["output"], serde_json::json!([{"dest": "x", "type": "local"}]));
    assert_eq!(app["secret"], serde_json::json!([{"id": "s", "env": "S"}]));
    assert_eq!(app["no-cache"], true);
    let db = &plan["target"]["db"];
    assert_eq!(
        (&db["args"]["V"], &db["tags"][0], &db["labels"]["a.b"]),
        (&"1".into(), &"c".into(), &"c".into())
    );
    let pushed = json(text, &[], &["app"], &["*.push=true"]);
    assert_eq!(
        pushed["target"]["app"]["output"],
        serde_json::json!([{"type": "docker"}, {"push": "true", "type": "image"}])
    );
    for (set, why) in [
        ("app=1", "expected target.name"),
        ("app.nosuch=1", "there is no key for --set \"nosuch\""),
        ("ap.tags=1", "there is no target \"ap\""),
        ("x*.tags=1", "could not find any target matching"),
        ("app.args=1", "args requires name"),
        ("app.pull=maybe", "neither true nor false"),
        ("app.secret.t=env=S", "must be declared"),
        ("app.tags", "expected target.name=value"),
    ] {
        let error = json(text, &[], &["app"], &[set]);
        assert!(error.as_str().unwrap().contains(why), "{set}: {error}");
    }
}

#[test]
fn targets_stand_on_others() {
    let text = r#"
        target "app" { contexts = { base = "target:base", src = "../src" } }
        target "base" { entitlements = ["network.host"] }
        "#;
    let plan = planned(&[("docker-bake.hcl", text)], &[], &["app"], &[]).unwrap();
    assert_eq!(plan.order(), ["base", "app"]);
    assert!(plan.targets["base"].linked && !plan.targets["app"].linked);
    assert_eq!(
        plan.targets["app"].entitlements.as_deref().unwrap(),
        ["network.host"]
    );
    let own = json(
        "target \"a\" { contexts = { x = \"target:a\" } }",
        &[],
        &["a"],
        &[],
    );
    assert!(own.as_str().unwrap().contains("cannot link to itself"));
    let two =
        "target \"a\" { contexts = { x = \"target:b\" } }\ntarget \"b\" { contexts = { x = \"target:a\" } }";
    assert!(
        json(two, &[], &["a"], &[])
            .as_str()
            .unwrap()
            .contains("infinite loop")
    );
}

#[test]
fn json_and_files_over_each_other() {
    let first = r#"{
        "variable": {"TAG": {"default": "latest", "type": "string"}},
        "function": {"twice": {"params": ["s"], "result": "${s}${s}"}},
        "group": {"default": {"targets": ["webapp"]}},
        "target": {"webapp": {"tags": ["x:${TAG}"], "args": {"A": "${twice(\"a\")}", "K": "k"}}}
    }"#;
    let second = r#"target "webapp" {
        tags = ["y:${TAG}"]
        args = { K = "l" }
        labels = { template = "$${TAG}" }
    }"#;
    let plan = planned(
        &[("docker-bake.json", first), ("docker-bake.override.hcl", second)],
        &[("TAG", "7")],
        &["default"],
        &[],
    )
    .unwrap();
    let webapp = &plan.targets["webapp"];
    assert_eq!(webapp.tags.as_deref().unwrap(), ["y:7"]);
    assert_eq!(
        webapp.args,
        BTreeMap::from([("A".into(), "aa".into()), ("K".into(), "l".into())])
    );
    assert!(plan.json().contains("$${TAG}"));
    // What is printed can be read again.
    let again = planned(&[("-", &plan.json())], &[], &["default"], &[]).unwrap();
    assert_eq!(again, plan);
}

#[test]
fn compose_files() {
    let compose = r#"
name: shop
x-env: &env
  A: 1
services:
  webapp.api:
    image: shop/webapp:${TAG:-latest}
    environment: {FROM_SERVICE: s}
    build:
      context: ./web
      dockerfile: Dockerfile.web
      args:
        <<: *env
        FROM_SERVICE:
        FROM_ENV:
        GONE:
      labels: [a=b]
      secrets: [token, {source: file}]
      ssh: [default]
      shm_size: 64m
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
      extra_hosts: ["h:1.2.3.4", "six=::1"]
      additional_contexts: [base=service:db, img=docker-image://alpine]
      cache_from: ["shop/webapp:cache"]
      x-bake:
        tags: shop/webapp:one shop/webapp:two
        platforms: [linux/amd64, linux/arm64]
        output: type=docker
        no-cache: true
  db:
    build: ./db
  redis:
    image: redis
secrets:
  token: {environment: TOKEN}
  file: {file: ./secret.txt}
"#;
    let over = "services:\n  db:\n    build:\n      target: small\n      args: [X=1]\n";
    let plan = planned(
        &[("compose.yaml", compose), ("compose.override.yaml", over)],
        &[("FROM_ENV", "e")],
        &["default"],
        &[],
    )
    .unwrap();
    let json: serde_json::Value = serde_json::from_str(&plan.json()).unwrap();
    assert_eq!(
        json["group"]["default"]["targets"],
        serde_json::json!(["db", "webapp_api"])
    );
    assert_eq!(
        json["target"]["db"],
        serde_json::json!({"context": "db", "dockerfile": "Dockerfile", "target": "small", "args": {"X": "1"}})
    );
    assert_eq!(
        json["target"]["webapp_api"],
        serde_json::json!({
            "context": "web", "dockerfile": "Dockerfile.web",
            "contexts": {"base": "target:db", "img": "docker-image://alpine"},
            "args": {"A": "1", "FROM_SERVICE": "s", "FROM_ENV": "e"},
            "labels": {"a": "b"},
            "tags": ["shop/webapp:one", "shop/webapp:two"],
            "cache-from": [{"type": "registry", "ref": "shop/webapp:cache"}],
            "secret": [{"id": "token", "env": "TOKEN"}, {"id": "file", "src": "./secret.txt"}],
            "ssh": [{"id": "default"}],
            "platforms": ["linux/amd64", "linux/arm64"],
            "output": [{"type": "docker"}],
            "no-cache": true,
            "shm-size": "64m",
            "ulimits": ["nofile=1:2", "nproc=3:3"],
            "extra-hosts": {"h": "1.2.3.4", "six": "::1"},
        })
    );
}

#[test]
fn mistakes_say_where_and_what() {
    for (text, expected) in [
        (
            "target \"a\" {\n  tag = [\"x\"]\n}",
            "docker-bake.hcl:2,3-6: there is no attribute of a target \"tag\"",
        ),
        (
            "target \"a\" {\n  tags = \"x\"\n}",
            "docker-bake.hcl:2,10-13: tags is a list of strings, not a string",
        ),
        (
            "target \"a\" {\n  args = { A = [1] }\n}",
            "\"A\" of args is a string, not a list",
        ),
        (
            "target \"a\" {\n  tags = [NOSUCH]\n}",
            "docker-bake.hcl:2,11-17: there is no variable \"NOSUCH\"",
        ),
        (
            "target \"a\" {\n  tags = [uper(\"x\")]\n}",
            "there is no function \"uper\"",
        ),
        ("target \"a b\" {}", "has other characters than"),
        ("target \"a\" \"b\" {}", "a target has one name"),
        ("targte \"a\" {}", "there is no block type \"targte\""),
        ("target \"a\" {", "docker-bake.hcl:1,"),
        ("group \"a\" {\n  matrix = {}\n}", "a group has no matrix"),
        ("target \"a\" {\n  name = \"b\"\n}", "name needs a matrix"),
        (
            "target \"a\" {\n  matrix = { x = [1, 2] }\n}",
            "needs a name for each",
        ),
        (
            "target \"a\" {\n  name = \"b\"\n  matrix = { x = [1, 2] }\n}",
            "two targets of this matrix",
        ),
        (
            "target \"a\" {\n  matrix = { x = 1 }\n}",
            "are a number, not a list",
        ),
        (
            "target \"a\" {\n  args {\n  }\n}",
            "a target has no blocks: write args = { … }",
        ),
        (
            "target \"a\" {\n  inherits = [\"b\"]\n}",
            "target a inherits from b, and there is no target \"b\"",
        ),
        ("target \"b\" {}", "there is no target \"a\""),
        (
            "variable \"x\" {\n  type = \"string\"\n}",
            "a type is written without quotes",
        ),
        ("variable \"x\" {\n  type = strin\n}", "there is no type strin"),
        (
            "variable \"x\" {\n  defalt = 1\n}",
            "there is no attribute of a variable \"defalt\"",
        ),
        (
            "variable \"x\" {\n  default = x\n}",
            "the variable \"x\" needs itself",
        ),
        ("function \"f\" {\n  result = 1\n}", "needs params and result"),
        (
            "function \"f\" {\n  params = [\"a\"]\n  result = 1\n}",
            "a word without quotes",
        ),
        (
            "function \"f\" {\n  params = []\n  result = f()\n}\ntarget \"a\" {\n  tags = [f()]\n}",
            "calls itself",
        ),
        (
            "target \"a\" {\n  context = \"-\"\n}",
            "cannot come from standard input",
        ),
        ("target \"a\" {\n  output = [\"dest=x\"]\n}", "a type is required"),
        (
            "target \"a\" {\n  secret = [\"id=x,y=z\"]\n}",
            "unexpected key 'y'",
        ),
    ] {
        let error = json(text, &[], &["a"], &[]);
        let error = error.as_str().unwrap_or_else(|| panic!("{text}: {error}"));
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
    }
    for (text, expected) in [
        (
            "services:\n  a:\n    build:\n      contxt: .\n",
            "compose.yaml: service \"a\": build has no field \"contxt\"",
        ),
        (
            "services:\n  a:\n    build: {context: \"${X:?set it}\"}\n",
            "required variable X is missing a value: set it",
        ),
        ("include: [x]\nservices: {}\n", "include is not supported"),
        ("a: [", "not YAML"),
        ("x: 1\n", "there are no services"),
        (
            "services:\n  a:\n    build: {context: ., secrets: [s]}\n",
            "\"s\" is not among the file's secrets",
        ),
    ] {
        let error = planned(&[("compose.yaml", text)], &[], &["a"], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let error = planned(&[("a.json", "{\"target\": 1}")], &[], &["a"], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.json: \"target\" is no object"), "{error}");
}
