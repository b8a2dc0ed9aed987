//! What the Tab key does, in the shells themselves.

use crate::sandbox;
use crate::terminal::Seat;
use std::process::Command;
use testkit::Sandbox;

/// Containers, images and a volume whose names have what shells stumble over.
fn furnished() -> Sandbox {
    let coracle = sandbox();
    coracle.run(["tag", "busybox", "example.com/team/app:1.2"]).ok();
    coracle.run(["volume", "create", "data-one"]).ok();
    coracle.run(["create", "--name", "web-one", "busybox"]).ok();
    // Called through a link named docker, too.
    std::fs::create_dir(coracle.path().join("bin")).unwrap();
    let program = coracle.command(["x"]).get_program().to_owned();
    for name in ["coracle", "docker"] {
        std::os::unix::fs::symlink(&program, coracle.path().join("bin").join(name)).unwrap();
    }
    coracle
}

fn shell(coracle: &Sandbox, program: &str, arguments: &[&str], source: &str) -> Seat {
    let template = coracle.command(["x"]);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(coracle.path());
    for (name, value) in template.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}/bin:{path}", coracle.path().display()))
        .env("HOME", coracle.path())
        .env("XDG_CONFIG_HOME", coracle.path())
        .env("TERM", "xterm");
    let mut seat = Seat::at(&command);
    seat.types(source);
    seat
}

/// What is typed before the Tab key, and how the line ends after it. The shell is made to print the line as it would
/// run it, by `echo` in front.
const LINES: &[(&str, &str)] = &[
    ("docker rm web-", "docker rm web-one"),
    ("docker container inspect w", "docker container inspect web-one"),
    (
        "coracle rmi example.com/team/a",
        "coracle rmi example.com/team/app:1.2",
    ),
    (
        "coracle rmi example.com/team/app:",
        "coracle rmi example.com/team/app:1.2",
    ),
    ("docker volume rm da", "docker volume rm data-one"),
    ("docker network inspect br", "docker network inspect bridge"),
    ("docker run --network=br", "docker run --network=bridge"),
    ("docker run --pull al", "docker run --pull always"),
    ("docker run --volumes-from w", "docker run --volumes-from web-one"),
    ("coracle ps --filter stat", "coracle ps --filter status="),
    (
        "coracle ps --filter status=ru",
        "coracle ps --filter status=running",
    ),
    ("coracle ps --filter name=w", "coracle ps --filter name=web-one"),
    ("docker --log-level deb", "docker --log-level debug"),
    ("docker system pru", "docker system prune"),
    ("docker run --env-file a-fi", "docker run --env-file a-file"),
];

fn press_tab(mut seat: Seat, prefix: &str, after: &str) {
    for (typed, expected) in LINES {
        seat.types(&format!("{prefix}{typed}\t"));
        seat.shows(expected);
        // The line is given up.
        seat.types(after);
    }
    seat.types("exit\n");
    seat.ends();
}

#[test]
fn bash() {
    let coracle = furnished();
    coracle.write("a-file", "");
    let source =
        "PS1='> '; source <(docker completion bash); source <(coracle completion bash); echo rea''dy\n";
    let mut seat = shell(&coracle, "bash", &["--norc", "--noprofile", "-i"], source);
    seat.shows("ready");
    press_tab(seat, "", "\x15\x0b");
}

#[test]
fn zsh() {
    let coracle = furnished();
    coracle.write("a-file", "");
    let source = "PS1='> '; autoload -U compinit; compinit -u -D; source <(docker completion zsh); source <(coracle completion zsh); echo rea''dy\n";
    let mut seat = shell(&coracle, "zsh", &["-f", "-i"], source);
    seat.shows("ready");
    press_tab(seat, "", "\x15\x0b");
}

#[test]
fn fish() {
    let coracle = furnished();
    coracle.write("a-file", "");
    let source = "docker completion fish | source; coracle completion fish | source; echo rea''dy\n";
    let mut seat = shell(&coracle, "fish", &["--no-config", "-i"], source);
    seat.shows("ready");
    press_tab(seat, "", "\x15\x0b");
}
