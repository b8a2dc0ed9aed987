use super::*;

fn one_operation(line: &str) -> Operation {
    let text = format!("FROM a\n{line}\n");
    let dockerfile = parse("Dockerfile", &text).unwrap_or_else(|error| panic!("{line}: {error}"));
    dockerfile.stages[0].instructions[0].operation.clone()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn shell(text: &str) -> Command {
    Command::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(strings(words))
}

fn files(sources: &[&str], destination: &str) -> CopyFiles {
    CopyFiles {
        sources: strings(sources),
        destination: destination.to_owned(),
        ..CopyFiles::default()
    }
}

fn run_of(command: Command) -> Operation {
    Operation::Run(run_default(command))
}

fn run_default(command: Command) -> Run {
    Run {
        command,
        network: None,
        security: RunSecurity::Sandbox,
        mounts: Vec::new(),
        script: None,
    }
}

fn key_values(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn argument(name: &str, default: Option<&str>) -> Argument {
    Argument {
        name: name.to_owned(),
        default: default.map(str::to_owned),
    }
}

#[test]
fn every_instruction_is_read() {
    let cases = vec![
        ("RUN a b", run_of(shell("a b"))),
        ("run a", run_of(shell("a"))),
        (r#"RUN ["a", "b c"]"#, run_of(exec(&["a", "b c"]))),
        ("RUN ['a']", run_of(shell("['a']"))),
        ("RUN [ -f x ] && y", run_of(shell("[ -f x ] && y"))),
        ("RUN a \\\n  && b", run_of(shell("a   && b"))),
        ("RUN echo '$x' \"$y\"", run_of(shell("echo '$x' \"$y\""))),
        ("RUN cat <<<x", run_of(shell("cat <<<x"))),
        ("RUN -- --flag", run_of(shell("--flag"))),
        (
            "RUN --network=none a",
            Operation::Run(Run {
                network: Some(RunNetwork::None),
                ..run_default(shell("a"))
            }),
        ),
        ("RUN --security=sandbox a", run_of(shell("a"))),
        ("CMD a", Operation::Cmd(shell("a"))),
        (r#"CMD ["a"]"#, Operation::Cmd(exec(&["a"]))),
        ("CMD []", Operation::Cmd(exec(&[]))),
        ("CMD", Operation::Cmd(exec(&[]))),
        (
            "ENTRYPOINT [\"a\",\t\"b\"]",
            Operation::Entrypoint(exec(&["a", "b"])),
        ),
        ("ENTRYPOINT a b", Operation::Entrypoint(shell("a b"))),
        ("COPY a b", Operation::Copy(files(&["a"], "b"))),
        ("COPY a b c/", Operation::Copy(files(&["a", "b"], "c/"))),
        (r#"COPY ["a b", "c"]"#, Operation::Copy(files(&["a b"], "c"))),
        (
            "COPY --from=0 --chown=1:2 --chmod=0755 a b",
            Operation::Copy(CopyFiles {
                from: Some("0".into()),
                owner: Some("1:2".into()),
                mode: Some("0755".into()),
                ..files(&["a"], "b")
            }),
        ),
        (
            "COPY --chown=\"a b\" a b",
            Operation::Copy(CopyFiles {
                owner: Some("a b".into()),
                ..files(&["a"], "b")
            }),
        ),
        ("COPY --link=false a b", Operation::Copy(files(&["a"], "b"))),
        ("ADD a b", Operation::Add(files(&["a"], "b"), AddFlags::default())),
        (
            "ADD --unpack=false a b",
            Operation::Add(
                files(&["a"], "b"),
                AddFlags {
                    unpack: Some(false),
                    ..AddFlags::default()
                },
            ),
        ),
        ("WORKDIR /a b", Operation::Workdir("/a b".into())),
        ("USER a:b", Operation::User("a:b".into())),
        ("STOPSIGNAL SIGINT", Operation::Stopsignal("SIGINT".into())),
        ("MAINTAINER me <me@x>", Operation::Maintainer("me <me@x>".into())),
        (
            "ENV a=1 b=\"2 3\"",
            Operation::Env(key_values(&[("a", "1"), ("b", "\"2 3\"")])),
        ),
        ("ENV a 1 2", Operation::Env(key_values(&[("a", "1 2")]))),
        ("ENV a=", Operation::Env(key_values(&[("a", "")]))),
        ("ENV a=b=c", Operation::Env(key_values(&[("a", "b=c")]))),
        (
            "LABEL \"a b\"=c",
            Operation::Label(key_values(&[("\"a b\"", "c")])),
        ),
        ("ARG a", Operation::Arg(vec![argument("a", None)])),
        (
            "ARG a=1 b c=\"x y\"",
            Operation::Arg(vec![
                argument("a", Some("1")),
                argument("b", None),
                argument("c", Some("\"x y\"")),
            ]),
        ),
        ("EXPOSE 80 90/udp", Operation::Expose(strings(&["80", "90/udp"]))),
        ("VOLUME /a /b", Operation::Volume(strings(&["/a", "/b"]))),
        (r#"VOLUME ["/a b"]"#, Operation::Volume(strings(&["/a b"]))),
        (
            r#"SHELL ["bash", "-c"]"#,
            Operation::Shell(strings(&["bash", "-c"])),
        ),
        ("ONBUILD RUN a --b", Operation::Onbuild("RUN a --b".into())),
        (
            "onbuild copy --from=0 a b",
            Operation::Onbuild("copy --from=0 a b".into()),
        ),
        (
            "HEALTHCHECK NONE",
            Operation::Healthcheck(Healthcheck {
                test: strings(&["NONE"]),
                ..Healthcheck::default()
            }),
        ),
        (
            "HEALTHCHECK --interval=1m --timeout=3s --start-period=1s --start-interval=0 --retries=3 CMD a b",
            Operation::Healthcheck(Healthcheck {
                test: strings(&["CMD-SHELL", "a b"]),
                interval: 60_000_000_000,
                timeout: 3_000_000_000,
                start_period: 1_000_000_000,
                start_interval: 0,
                retries: 3,
            }),
        ),
        (
            r#"HEALTHCHECK cmd ["a", "b"]"#,
            Operation::Healthcheck(Healthcheck {
                test: strings(&["CMD", "a", "b"]),
                ..Healthcheck::default()
            }),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(one_operation(line), expected, "{line}");
    }
}

#[test]
fn stages_arguments_and_lines_are_kept() {
    let text = "# syntax=docker/dockerfile:1\nARG v=1\nFROM --platform=linux/amd64 a:$v AS Build\nRUN x \\\n  # why\n  y\n\nFROM scratch\nCOPY --from=build /x /\n";
    let dockerfile = parse("Dockerfile", text).unwrap();
    assert_eq!(dockerfile.arguments.len(), 1);
    let [build, last] = &dockerfile.stages[..] else {
        panic!("two stages")
    };
    assert_eq!(
        build.from,
        From {
            platform: Some("linux/amd64".into()),
            base: "a:$v".into(),
            name: Some("build".into()),
        }
    );
    assert_eq!(build.instructions[0].lines, Lines { first: 4, last: 6 });
    assert_eq!(build.instructions[0].source, "RUN x \\\n  # why\n  y");
    assert_eq!(build.instructions[0].text, "RUN x   y");
    assert_eq!(last.from.name, None);
    assert_eq!(last.instruction.lines, Lines { first: 8, last: 8 });
}

#[test]
fn mistakes_are_answered_in_dockers_words() {
    let at_line_2 = [
        ("RNU a", "unknown instruction: RNU (did you mean RUN?)"),
        ("CPOY a b", "unknown instruction: CPOY (did you mean COPY?)"),
        ("FOO", "unknown instruction: FOO"),
        ("FORM a", "unknown instruction: FORM (did you mean FROM?)"),
        ("apt-get install x", "unknown instruction: apt-get"),
        ("&& b", "unknown instruction: &&"),
        ("{}", "unknown instruction: {}"),
        (
            "ENTRYPOIN [\"a\"]",
            "unknown instruction: ENTRYPOIN (did you mean ENTRYPOINT?)",
        ),
        ("RUN", "RUN requires at least one argument"),
        ("RUN []", "RUN requires at least one argument"),
        (
            "RUN [1]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "CMD [\"a\", 1]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "RUN --network=lan a",
            "invalid network mode: \"lan\" (use default, none or host)",
        ),
        ("RUN --network a", "missing a value on flag: --network"),
        (
            "RUN --netwrok=none a",
            "unknown flag: --netwrok (did you mean --network?)",
        ),
        (
            "RUN --network=none --network=none a",
            "duplicate flag specified: --network",
        ),
        ("CMD --x a", "unknown flag: --x"),
        ("ENTRYPOINT --x a", "unknown flag: --x"),
        ("COPY", "COPY requires at least one argument"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        (
            "ADD a",
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("ADD", "ADD requires at least one argument"),
        (
            "COPY [\"a\", 2]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "COPY --chwon=1 a b",
            "unknown flag: --chwon (did you mean --chown?)",
        ),
        ("COPY --chown a b", "missing a value on flag: --chown"),
        ("COPY --from=a --from=b a b", "duplicate flag specified: --from"),
        (
            "COPY --link=maybe a b",
            "expecting boolean value for flag --link, not: maybe",
        ),
        ("ADD --from=x a b", "unknown flag: --from (COPY has it)"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS", "FROM requires either one or three arguments"),
        ("FROM a IS b", "FROM requires either one or three arguments"),
        ("FROM a AS b c", "FROM requires either one or three arguments"),
        (
            "FROM --plattform=x a",
            "unknown flag: --plattform (did you mean --platform?)",
        ),
        ("FROM --platform a", "missing a value on flag: --platform"),
        (
            "FROM a AS 1",
            "invalid name for build stage: \"1\", name can't start with a number or contain symbols",
        ),
        (
            "FROM a AS b/c",
            "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols",
        ),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV =a", "ENV names can not be blank"),
        (
            "ENV a=b c",
            "Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("ENV --x=1 a=b", "unknown flag: --x"),
        ("LABEL", "LABEL requires at least one argument"),
        ("LABEL a", "LABEL must have two arguments"),
        (
            "LABEL a=b c",
            "Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("LABEL =x", "LABEL names can not be blank"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
        ("VOLUME [\" \"]", "VOLUME specified can not be an empty string"),
        ("SHELL", "SHELL requires at least one argument"),
        ("SHELL []", "SHELL requires at least one argument"),
        (
            "SHELL bash -c",
            "SHELL requires the arguments to be in JSON form, as in SHELL [\"/bin/sh\", \"-c\"]",
        ),
        (
            "SHELL [true]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        (
            "ONBUILD ONBUILD RUN a",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        (
            "ONBUILD MAINTAINER a",
            "MAINTAINER isn't allowed as an ONBUILD trigger",
        ),
        ("ONBUILD RNU a", "unknown instruction: RNU (did you mean RUN?)"),
        (
            "ONBUILD COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
        (
            "HEALTHCHECK curl x",
            "Unknown type \"CURL\" in HEALTHCHECK (try CMD)",
        ),
        (
            "HEALTHCHECK --interval=30 CMD a",
            "time: invalid duration \"30\" for --interval: write a number with its unit, for example 30s or 1m30s",
        ),
        (
            "HEALTHCHECK --timeout=1us CMD a",
            "Interval \"timeout\" cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --timeout=-1s CMD a",
            "Interval \"timeout\" cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --retries=x CMD a",
            "--retries: \"x\" is not a number",
        ),
        (
            "HEALTHCHECK --retries=-1 CMD a",
            "--retries cannot be negative (-1)",
        ),
        (
            "HEALTHCHECK --retrys=1 CMD a",
            "unknown flag: --retrys (did you mean --retries?)",
        ),
        (
            "HEALTHCHECK --interval=1s --interval=2s CMD a",
            "duplicate flag specified: --interval",
        ),
    ];
    for (line, expected) in at_line_2 {
        let error = parse("Dockerfile", &format!("FROM a\n{line}\n")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("dockerfile parse error on line 2: {expected}"),
            "{line}"
        );
        assert_eq!(error.text, line);
    }
}

#[test]
fn documents_follow_their_instruction() {
    let run = |text: &str| match one_operation(text) {
        Operation::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("RUN <<EOF\na\n  b # c\nEOF").command, shell("a\n  b # c\n"));
    assert_eq!(run("RUN <<-EOF\n\ta\n\tEOF").command, shell("a\n"));
    assert_eq!(
        run("RUN cat <<A >x \\\n - <<-'B'\n1\nA\n\t2\n\tB").command,
        shell("cat <<A >x  - <<-'B'\n1\nA\n\t2\nB")
    );
    assert_eq!(
        run("RUN python3 3<<E\nprint()\nE").command,
        shell("python3 3<<E\nprint()\nE")
    );
    let script = run("RUN <<-go\n\t#!/bin/cat\n\tx\n\tgo");
    assert_eq!(script.command, exec(&["/dev/pipes/go"]));
    assert_eq!(script.script.unwrap().text(), "#!/bin/cat\nx\n");
    // What only looks like one is left to the shell.
    assert_eq!(run("RUN cat <<<word").command, shell("cat <<<word"));
    let Operation::Copy(files) = one_operation("COPY a <<b.txt <<\"c\" /to/\n$x\nb.txt\n$y\nc") else {
        panic!("a COPY")
    };
    assert_eq!(files.sources, ["a"]);
    let documents: Vec<_> = files
        .documents
        .iter()
        .map(|document| {
            (
                document.name.as_str(),
                document.content.as_str(),
                document.expands,
            )
        })
        .collect();
    assert_eq!(documents, [("b.txt", "$x\n", true), ("c", "$y\n", false)]);
    let trigger = one_operation("ONBUILD RUN <<E\nx\nE");
    assert_eq!(trigger, Operation::Onbuild("RUN <<E\nx\nE".into()));
    let text = "FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\n# note\nENV a=b\n";
    let stage = parse("Dockerfile", text).unwrap().stages.remove(0);
    assert_eq!(stage.instructions[0].text, "RUN <<EOF (echo 1...)");
    assert_eq!(stage.instructions[0].lines, Lines { first: 2, last: 5 });
    assert_eq!(stage.instructions[1].lines, Lines { first: 7, last: 7 });
    assert_eq!(stage.instructions[1].comments, ["note"]);
    for (text, expected) in [
        (
            "RUN <<EOF\nx\n EOF",
            "dockerfile parse error on line 2: unterminated heredoc: no line below it is \"EOF\" alone",
        ),
        (
            "COPY a <<EOF\nx\nEOF",
            "dockerfile parse error on line 2: COPY cannot accept a heredoc as a destination",
        ),
    ] {
        let error = parse("Dockerfile", &format!("FROM a\n{text}\n")).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn flags_of_run_copy_and_add_are_read() {
    let Operation::Run(run) =
        one_operation("RUN --mount=type=cache,target=/c --mount=target=/b --security=insecure a")
    else {
        panic!("a RUN")
    };
    assert_eq!(run.mounts.len(), 2);
    assert_eq!(run.security, RunSecurity::Insecure);
    assert_eq!(
        one_operation("COPY --link --parents --exclude=*.o --exclude=b/ a b"),
        Operation::Copy(CopyFiles {
            link: true,
            parents: true,
            exclude: strings(&["*.o", "b/"]),
            ..files(&["a"], "b")
        })
    );
    assert_eq!(
        one_operation("ADD --checksum=sha256:0 --keep-git-dir=true --link https://example.com/a b"),
        Operation::Add(
            CopyFiles {
                link: true,
                ..files(&["https://example.com/a"], "b")
            },
            AddFlags {
                checksum: Some("sha256:0".into()),
                keep_git_directory: Some(true),
                unpack: None,
            }
        )
    );
}

#[test]
fn directives_configure_the_checks() {
    let checks = |text: &str| parse("Dockerfile", &format!("{text}\nFROM a\n")).map(|file| file.checks);
    let options = checks("# check=skip=A,B;error=true").unwrap();
    assert_eq!(options.skip, ["A", "B"]);
    assert!(options.error && !options.skip_all);
    assert!(
        checks("# syntax=docker/dockerfile:1\n# check=skip=all")
            .unwrap()
            .skip_all
    );
    assert!(checks("# check=experimental=all").unwrap().experimental_all);
    for text in ["# check=frown=all", "# check=error=perhaps", "# check=skip"] {
        assert!(checks(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_not_supported_is_refused_with_its_line() {
    let error = parse("app/Dockerfile", "FROM a\n\nRUN --device=gpu a\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "app/Dockerfile:3: RUN --device is not supported yet"
    );
    let error = parse("Dockerfile", "# syntax=me/mine:1\nFROM a").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Dockerfile:1: the syntax 'me/mine:1' is not supported")
    );
}

#[test]
fn a_file_as_a_whole_can_be_wrong() {
    for (text, expected) in [
        ("", "failed to read Dockerfile: file with no instructions"),
        (
            "\n# only\n\n",
            "failed to read Dockerfile: file with no instructions",
        ),
        (
            "ARG a",
            "failed to read Dockerfile: no build stage in current context",
        ),
        (
            "RUN a",
            "dockerfile parse error on line 1: no build stage in current context",
        ),
        (
            "ARG a\nENV b=c",
            "dockerfile parse error on line 2: no build stage in current context",
        ),
        (
            "# escape=x\nFROM a",
            "dockerfile parse error on line 1: invalid ESCAPE 'x' does not match ` or \\",
        ),
        (
            "# escape=`\n# escape=`\nFROM a",
            "dockerfile parse error on line 2: only one escape parser directive can be used",
        ),
    ] {
        assert_eq!(
            parse("Dockerfile", text).unwrap_err().to_string(),
            expected,
            "{text:?}"
        );
    }
    let error = parse("Dockerfile", "FROM a\nENV a=b \\\n  c\n").unwrap_err();
    assert_eq!(error.lines, Some(Lines { first: 2, last: 3 }));
    assert_eq!(error.text, "ENV a=b \\\n  c");
}

#[test]
fn triggers_are_instructions_of_their_own() {
    let dockerfile = parse("Dockerfile", "FROM a").unwrap();
    let from = &dockerfile.stages[0].instruction;
    let trigger = parse_trigger("a", "COPY . /app", from).unwrap();
    assert_eq!(trigger.operation, Operation::Copy(files(&["."], "/app")));
    assert_eq!(trigger.lines, from.lines);
    assert_eq!(
        parse_trigger("a", "FROM b", from).unwrap_err().to_string(),
        "dockerfile parse error on line 1: FROM isn't allowed as an ONBUILD trigger"
    );
}
