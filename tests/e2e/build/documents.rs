//! Here-documents.

mod both {
    use super::super::{built, inside};
    use crate::both;

    #[test]
    fn scripts_stand_in_the_dockerfile() {
        let coracle = both();
        built(
            &coracle,
            "FROM busybox\nARG WHO=me\nRUN <<EOF\necho $WHO \"quoted\" > /plain\n\n# a comment is the shell's\necho two >> /plain\nEOF\n\
             RUN <<-TABS\n\techo tabs > /tabs\n\tTABS\n\
             RUN <<PY\n#!/bin/cat\nfirst $WHO\nPY\n\
             RUN cat <<A <<B > /both; cat <<'Q' > /quoted\none\nA\ntwo $WHO\nB\n$WHO\nQ\n",
            &[],
        );
        assert_eq!(inside(&coracle, "cat /plain"), "me quoted\ntwo\n");
        assert_eq!(inside(&coracle, "cat /tabs"), "tabs\n");
        // The shell reads the last of two.
        assert_eq!(inside(&coracle, "cat /both"), "two me\n");
        assert_eq!(inside(&coracle, "cat /quoted"), "$WHO\n");
    }

    #[test]
    fn a_script_that_names_its_interpreter_is_run_by_it() {
        let coracle = both();
        let log = built(
            &coracle,
            "FROM busybox\nRUN <<EOF\n#!/bin/sh\necho \"by $0\" | sed 's/.*pipes/pipes/' > /name\nEOF\n",
            &[],
        )
        .stderr;
        assert!(log.contains("RUN <<EOF"), "{log}");
        assert_eq!(
            inside(
                &coracle,
                "cat /name; ls -d /dev/pipes 2>&1 | wc -l; ls /etc | grep -c pipes; true"
            ),
            "pipes/EOF\n1\n0\n"
        );
    }

    #[test]
    fn files_stand_in_the_dockerfile() {
        let coracle = both();
        built(
            &coracle,
            "FROM busybox\nENV WHO=me\nCOPY <<a.txt <<\"b.txt\" /to/\nhello $WHO ${NONE:-none} 'x'\na.txt\nhello $WHO\nb.txt\n\
             COPY --chmod=755 <<-run /bin/said\n\t#!/bin/sh\n\techo said\n\trun\n\
             ADD <<EOF /added\nadded\nEOF\nRUN said > /said\n",
            &[],
        );
        assert_eq!(inside(&coracle, "cat /to/a.txt"), "hello me none 'x'\n");
        assert_eq!(inside(&coracle, "cat /to/b.txt"), "hello $WHO\n");
        assert_eq!(inside(&coracle, "cat /said /added"), "said\nadded\n");
        assert_eq!(
            inside(&coracle, "stat -c '%a %u:%g' /to/a.txt /bin/said"),
            "644 0:0\n755 0:0\n"
        );
    }

    #[test]
    fn triggers_may_have_them() {
        let coracle = both();
        built(
            &coracle,
            "FROM busybox\nONBUILD RUN <<EOF\necho triggered > /by\nEOF\nONBUILD COPY <<F /f\nfile\nF\n",
            &[],
        );
        coracle.run(["tag", "t", "parent"]).ok();
        built(&coracle, "FROM parent\nRUN cat /by /f > /all\n", &[]);
        assert_eq!(inside(&coracle, "cat /all"), "triggered\nfile\n");
    }
}

use super::{build, built};
use crate::sandbox;

#[test]
fn a_changed_document_is_built_again_and_an_unchanged_one_is_not() {
    let coracle = sandbox();
    let text =
        |line: &str| format!("FROM busybox\nRUN <<EOF\necho {line} > /x\nEOF\nCOPY <<F /f\n{line}\nF\n");
    built(&coracle, &text("one"), &[]);
    assert_eq!(
        built(&coracle, &text("one"), &[])
            .stderr
            .matches("CACHED")
            .count(),
        2
    );
    assert_eq!(
        built(&coracle, &text("two"), &[])
            .stderr
            .matches("CACHED")
            .count(),
        0
    );
}

#[test]
fn a_failing_document_is_shown_whole() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN <<EOF\ntrue\nexit 7\nEOF\nCMD [\"x\"]\n",
    );
    let failed = build(&coracle, &[]).fails(1);
    assert!(
        failed.contains("Dockerfile:2-5") && failed.contains(">>> exit 7"),
        "{failed}"
    );
    assert!(failed.contains("exit code: 7"), "{failed}");
}
