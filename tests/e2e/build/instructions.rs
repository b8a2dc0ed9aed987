//! Instructions that change the configuration, variables and directives.

mod both {
    use super::super::{build, built, inside};
    use crate::both;

    fn config(coracle: &testkit::Sandbox, format: &str) -> String {
        coracle
            .run(["image", "inspect", "-f", format, "t"])
            .ok()
            .trim()
            .to_owned()
    }

    #[test]
    fn all_forms_of_substitution() {
        let coracle = both();
        built(
            &coracle,
            "# syntax=docker/dockerfile:1\nFROM busybox\nARG f=foobarbaz\nARG e=\n\
             ENV a=${f#foo} b=${f##*b} c=${f%baz} d=${f%%b*} g=${f/ba/BA} h=${f//ba/BA}\n\
             ENV i=${none:-word} j=${none-word} k=${e:-word} l=${e-word} m=${f:+set} n=${e:+set} o=${e+set} p=\\$f q='$f' r=${none:-${f}}\n\
             ENV x=1\nENV x=2 y=$x\n",
            &[],
        );
        assert_eq!(
            inside(
                &coracle,
                "echo \"$a|$b|$c|$d|$g|$h|$i|$j|$k|$l|$m|$n|$o|$p|$q|$r|$x|$y\""
            ),
            "barbaz|az|foobar|foo|fooBArbaz|fooBArBAz|word|word|word||set||set|$f|$f|foobarbaz|2|1\n"
        );
    }

    #[test]
    fn a_variable_that_must_be_there() {
        let coracle = both();
        coracle.write(
            "context/Dockerfile",
            "# syntax=docker/dockerfile:1\nFROM busybox\nENV a=\"${WHO:?must be given}\"\n",
        );
        let failed = build(&coracle, &[]).fails(1);
        assert!(
            failed.contains("WHO: must be given") && failed.contains("Dockerfile:3"),
            "{failed}"
        );
    }

    #[test]
    fn another_escape_character() {
        let coracle = both();
        built(
            &coracle,
            "# escape=`\nFROM busybox\nENV a=C:\\dir`\n b=`$a\nRUN echo one ` \n && echo two > /two\n",
            &[],
        );
        assert_eq!(
            config(&coracle, "{{range .Config.Env}}{{println .}}{{end}}")
                .lines()
                .skip(1)
                .collect::<Vec<_>>(),
            ["a=C:\\dir", "b=$a", ""][..2]
        );
    }

    #[test]
    fn arguments_have_scopes() {
        let coracle = both();
        built(
            &coracle,
            "ARG BASE=busybox\nARG G=global\nFROM $BASE AS one\nARG A=one\nRUN echo \"$A|$G\" > /one\n\
             FROM one AS two\nARG G\nRUN echo \"$A|$G|$TARGETARCH\" > /two\nARG TARGETARCH TARGETOS\nRUN echo \"$TARGETOS\" >> /two\n\
             FROM busybox\nARG A\nCOPY --from=two /one /two /\nRUN echo \"$A\" > /three\nENV A=env\nARG A=arg\nRUN echo $A >> /three\n",
            &["--build-arg", "A=given"],
        );
        assert_eq!(
            inside(&coracle, "cat /one /two /three"),
            "given|\ngiven|global|\nlinux\ngiven\nenv\n"
        );
    }

    #[test]
    fn proxies_are_not_in_the_key_or_the_image() {
        let coracle = both();
        let dockerfile = "FROM busybox\nRUN test -n \"$http_proxy\" && echo ran > /x\n";
        built(
            &coracle,
            dockerfile,
            &["--build-arg", "http_proxy=http://one.invalid:1"],
        );
        let log = built(
            &coracle,
            dockerfile,
            &["--build-arg", "http_proxy=http://two.invalid:1"],
        )
        .stderr;
        assert!(log.contains("CACHED"), "{log}");
        let all = format!(
            "{}{}",
            config(&coracle, "{{json .Config}}"),
            coracle.run(["history", "--no-trunc", "t"]).ok()
        );
        assert!(!all.contains(".invalid"), "{all}");
    }

    #[test]
    fn configuration_is_as_written() {
        let coracle = both();
        built(
            &coracle,
            "FROM busybox\nENV old a  b \"c\"\nLABEL one=1 \"two words\"=\"x y\" three='3'\nLABEL multi=\"a\\\nb\"\n\
             EXPOSE 80 443/tcp 53/udp 7000-7002\nVOLUME [\"/a\", \"/b c\"]\nVOLUME /d /e\nSTOPSIGNAL 9\nUSER 5:6\n\
             SHELL [\"/bin/sh\", \"-ec\"]\nCMD echo $HOME\n\
             HEALTHCHECK --interval=2s --timeout=3s --start-period=4s --retries=5 CMD exit 0\n",
            &[],
        );
        assert_eq!(
            config(&coracle, "{{json .Config.Labels}}"),
            r#"{"multi":"ab","one":"1","three":"3","two words":"x y"}"#
        );
        assert_eq!(
            config(&coracle, "{{json .Config.ExposedPorts}}"),
            r#"{"443/tcp":{},"53/udp":{},"7000/tcp":{},"7001/tcp":{},"7002/tcp":{},"80/tcp":{}}"#
        );
        assert_eq!(
            config(&coracle, "{{json .Config.Volumes}}"),
            r#"{"/a":{},"/b c":{},"/d":{},"/e":{}}"#
        );
        assert_eq!(
            config(
                &coracle,
                "{{.Config.StopSignal}} {{.Config.User}} {{json .Config.Shell}} {{json .Config.Cmd}}"
            ),
            r#"9 5:6 ["/bin/sh","-ec"] ["/bin/sh","-ec","echo $HOME"]"#
        );
        assert_eq!(
            config(
                &coracle,
                "{{json .Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}}"
            ),
            r#"["CMD-SHELL","exit 0"] 5"#
        );
        assert!(config(&coracle, "{{json .Config.Env}}").contains(r#""old=a  b c""#));
    }

    #[test]
    fn triggers_run_in_the_next_build_only() {
        let coracle = both();
        coracle.write("context/f", "f\n");
        built(
            &coracle,
            "FROM busybox\nONBUILD ARG WHO=nobody\nONBUILD COPY f /f\nONBUILD RUN echo $WHO >> /f\n",
            &[],
        );
        coracle.run(["tag", "t", "parent"]).ok();
        built(&coracle, "FROM parent\n", &["--build-arg", "WHO=me"]);
        assert_eq!(inside(&coracle, "cat /f"), "f\nme\n");
        assert!(
            !config(&coracle, "{{json .Config}}").contains("ONBUILD")
                && !config(&coracle, "{{json .Config}}").contains("/f")
        );
    }

    #[test]
    fn foreign_frontends_are_refused() {
        let coracle = crate::sandbox();
        coracle.write("context/Dockerfile", "# syntax=someone/else:1\nFROM busybox\n");
        let failed = build(&coracle, &[]).fails(1);
        assert!(
            failed.contains("someone/else:1") && failed.contains("Dockerfile:1"),
            "{failed}"
        );
        coracle.write("context/Dockerfile", "FROM busybox\n");
        for own in ["dockerfile.v0", "docker/dockerfile:1.7-labs"] {
            let argument = format!("BUILDKIT_SYNTAX={own}");
            build(&coracle, &["--build-arg", &argument]).ok();
        }
        let failed = build(&coracle, &["--build-arg", "BUILDKIT_SYNTAX=someone/else:1"]).fails(1);
        assert!(
            failed.contains("BUILDKIT_SYNTAX: the syntax 'someone/else:1'"),
            "{failed}"
        );
    }

    #[test]
    fn attestations_are_asked_for_in_vain_and_never_fail_a_build() {
        let coracle = crate::sandbox();
        coracle.write("context/Dockerfile", "FROM busybox\n");
        for (flag, is_warned) in [
            ("--provenance=false", false),
            ("--provenance=0", false),
            ("--provenance=mode=max", true),
            ("--provenance=true", true),
            ("--sbom=true", true),
            ("--sbom=false", false),
            ("--attest=type=provenance,mode=min", true),
            ("--attest=type=sbom,disabled=true", false),
        ] {
            let outcome = build(&coracle, &[flag]);
            assert_eq!(outcome.code, 0, "{flag}: {}", outcome.stderr);
            let count = outcome.stderr.matches("no attestations are made").count();
            assert_eq!(count, usize::from(is_warned), "{flag}: {}", outcome.stderr);
        }
        let failed = build(&coracle, &["--attest=type=colour"]);
        assert!(
            failed.code != 0 && failed.stderr.contains("invalid attestation type \"colour\""),
            "{}",
            failed.stderr
        );
    }
}
