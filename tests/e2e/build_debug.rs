//! `build --debug-shell`, on a real pseudo-terminal.

use crate::sandbox;
use crate::terminal::Seat;
use testkit::Sandbox;

fn seat(coracle: &Sandbox, flags: &[&str]) -> Seat {
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    let arguments = [&["build", "--debug-shell", "-t", "t"], flags, &[context]].concat();
    Seat::at(&coracle.command(arguments))
}

#[test]
fn a_failed_step_can_be_looked_at() {
    let coracle = sandbox();
    coracle.write("token", "hush");
    coracle.write("context/data.csv", "1,2\n");
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN mkdir -p /etc; echo worker:x:77:77::/:/bin/sh >> /etc/passwd\nENV COLOUR=blue\nUSER worker\nWORKDIR /tmp\n\
         RUN --mount=type=bind,target=/src --mount=type=secret,id=token,uid=77 --mount=type=cache,target=/c,uid=77 --network=none \
         echo begun > /tmp/half; echo kept > /c/kept; exit 42\nRUN echo never\n",
    );
    let token = coracle.path().join("token");
    let secret = format!("id=token,src={}", token.display());
    for style in ["tty", "plain"] {
        let mut seat = seat(&coracle, &["--progress", style, "--secret", &secret]);
        seat.shows("failed with exit code 42");
        seat.shows("$ ");
        for (typed, shown) in [
            ("cat /tmp/half\n", "begun\r\n"),
            ("cat /src/data.csv\n", "1,2\r\n"),
            ("cat /run/secrets/token; echo\n", "hush\r\n"),
            ("cat /c/kept\n", "kept\r\n"),
            ("echo $COLOUR $(id -u) $(pwd) | tr ' ' ,\n", "blue,77,/tmp\r\n"),
            ("ls /sys/class/net | tr '\\n' ,; echo\n", "lo,\r\n"),
            // The keys that would leave a container running are keys like others.
            ("echo a\x10\x11b > /dev/null; stty size\n", "33 101\r\n"),
            ("echo mine > /tmp/mine; sleep 1000 &\n", "$ "),
        ] {
            seat.types(typed);
            seat.shows(shown);
        }
        seat.types("exit 3\n");
        seat.shows("exit code: 42");
        assert_eq!(seat.ends(), 1);
    }
    // Nothing is left of it, and the steps before it are.
    assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
    assert_eq!(coracle.run(["images", "-q", "t"]).ok(), "");
    let left = std::fs::read_dir(coracle.path().join("root/snapshots")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN mkdir -p /etc; echo worker:x:77:77::/:/bin/sh >> /etc/passwd\nRUN ls /tmp\n",
    );
    let context = coracle.path().join("context");
    let next = coracle.run(["build", "--progress", "plain", context.to_str().unwrap()]);
    assert!(
        next.stderr.contains("CACHED") && !next.stderr.contains("mine"),
        "{}",
        next.stderr
    );
    next.ok();
}

#[test]
fn one_shell_is_opened_however_many_stages_fail() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox AS one\nRUN sleep 1; false\nFROM busybox AS two\nRUN sleep 1; false\nFROM busybox AS three\nRUN sleep 1000\n\
         FROM busybox\nCOPY --from=one / /one\nCOPY --from=two / /two\nCOPY --from=three / /three\n",
    );
    let mut seat = seat(&coracle, &[]);
    seat.shows("failed with exit code 1");
    seat.shows("# ");
    seat.types("echo sum$((40+2))\n");
    seat.shows("sum42\r\n");
    seat.types("exit\n");
    seat.shows("exit code: 1");
    assert_eq!(seat.ends(), 1);
}

#[test]
fn a_step_without_a_shell_says_so_and_one_that_works_opens_none() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nSHELL [\"/bin/none\"]\nRUN [\"false\"]\n",
    );
    let mut first = seat(&coracle, &["--progress", "plain"]);
    first.shows("there was no shell in the failed step");
    first.shows("/bin/none");
    first.shows("exit code: 1");
    assert_eq!(first.ends(), 1);
    coracle.write("context/Dockerfile", "FROM busybox\nRUN true\n");
    assert_eq!(seat(&coracle, &["-q"]).ends(), 0);
}

#[test]
fn without_a_terminal_it_is_refused_before_anything_is_built() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nRUN false\n");
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    let refused = coracle.run(["build", "--debug-shell", context]).fails(1);
    assert!(
        refused.contains("--debug-shell needs a terminal") && !refused.contains("RUN"),
        "{refused}"
    );
    let both = coracle
        .run(["build", "--debug-shell", "--verify", context])
        .fails(1);
    assert!(both.contains("cannot be used with --verify"), "{both}");
}

#[test]
fn a_terminal_that_is_closed_ends_the_shell_and_the_build() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nRUN false\n");
    for signal in [1, 15] {
        let mut seat = seat(&coracle, &["--progress", "plain"]);
        seat.shows("# ");
        seat.types("trap '' HUP TERM; sleep 1000 &\n");
        seat.shows("# ");
        seat.signal(signal);
        assert_eq!(seat.ends(), 130);
    }
}
