//! `COPY` and `ADD`.

mod both {
    use super::super::{built, inside};
    use crate::both;

    #[test]
    fn parents_are_kept_from_the_pivot_on() {
        let coracle = both();
        for path in ["x/a.txt", "x/b.md", "y/deep/er/c.txt", "y/d.txt"] {
            coracle.write(&format!("context/{path}"), path);
        }
        built(
            &coracle,
            "# syntax=docker/dockerfile:1\nFROM busybox\nCOPY --parents ./x/a.txt ./y/d.txt /plain/\nCOPY --parents ./y/./deep/*/c.txt /pivot/\n\
             COPY --parents **/*.txt /all/\n",
            &[],
        );
        assert_eq!(
            inside(&coracle, "cd /; find plain pivot all -type f | sort"),
            "all/x/a.txt\nall/y/d.txt\nall/y/deep/er/c.txt\npivot/deep/er/c.txt\nplain/x/a.txt\nplain/y/d.txt\n"
        );
    }

    #[test]
    fn what_is_excluded_is_left_out() {
        let coracle = both();
        for path in [
            "src/a.txt",
            "src/b.md",
            "src/sub/c.md",
            "src/sub/d.txt",
            "home.txt",
            "home.md",
        ] {
            coracle.write(&format!("context/{path}"), path);
        }
        built(
            &coracle,
            "# syntax=docker/dockerfile:1\nFROM busybox\nCOPY --exclude=*.md hom* /one/\nCOPY --exclude=**/*.md src /two/\n",
            &[],
        );
        assert_eq!(
            inside(&coracle, "cd /; find one two -type f | sort"),
            "one/home.txt\ntwo/a.txt\ntwo/sub/d.txt\n"
        );
    }

    #[test]
    fn add_links_and_leaves_out_as_copy_does() {
        let coracle = both();
        for name in ["a.txt", "b.log", "sub/c.log", "sub/d.txt"] {
            coracle.write(&format!("context/tree/{name}"), name);
        }
        built(
            &coracle,
            "# syntax=docker/dockerfile:1\nFROM busybox\nADD --link --exclude=**/*.log tree /linked/\n\
             ADD --exclude=*.txt tree /plain/\n",
            &[],
        );
        assert_eq!(
            inside(&coracle, "cd /; find linked plain -type f | sort"),
            "linked/a.txt\nlinked/sub/d.txt\nplain/b.log\nplain/sub/c.log\nplain/sub/d.txt\n"
        );
    }

    #[test]
    fn modes_are_octal_or_symbolic_and_owners_names() {
        let coracle = both();
        coracle.write("context/f", "f");
        coracle.write("context/d/g", "g");
        built(
            &coracle,
            "# syntax=docker/dockerfile:1\nFROM busybox\nRUN echo 'worker:x:1234:1234::/:/bin/sh' >> /etc/passwd\nARG MODE=0640\nCOPY --chmod=$MODE f /octal\nCOPY --chmod=u=rwX,go=rX d /symbolic\n\
             COPY --chown=worker:0 f /owned\nCOPY --chown=55 f /number\nCOPY --link --chown=worker f /linked/f\n",
            &[],
        );
        assert_eq!(
            inside(
                &coracle,
                "stat -c '%n %a %u:%g' /octal /symbolic/g /owned /number /linked/f"
            ),
            "/octal 640 0:0\n/symbolic/g 644 0:0\n/owned 644 1234:0\n/number 644 55:55\n/linked/f 644 1234:1234\n"
        );
    }
}

use super::{build, built, inside};
use crate::sandbox;

#[test]
fn linked_layers_do_not_depend_on_what_is_below() {
    let coracle = sandbox();
    coracle.write("context/f", "f");
    let dockerfile = |below: &str| {
        format!("FROM busybox\nRUN echo {below} > /below\nCOPY --link f /to/f\nCOPY f /too/f\n")
    };
    built(&coracle, &dockerfile("one"), &[]);
    let log = built(&coracle, &dockerfile("two"), &[]).stderr;
    let cached = |step: &str| {
        let number = log
            .lines()
            .find(|line| line.contains(step))
            .and_then(|line| line.split(' ').next())
            .unwrap();
        log.contains(&format!("{number} CACHED"))
    };
    assert!(cached("COPY --link f"), "{log}");
    assert!(!cached("COPY f /too"), "{log}");
    assert_eq!(inside(&coracle, "cat /to/f /too/f /below"), "fftwo\n");
}

#[test]
fn named_contexts_are_directories_and_images() {
    let coracle = sandbox();
    coracle.write("more/file", "named\n");
    coracle.write("more/.dockerignore", "hidden\n");
    coracle.write("more/hidden", "x");
    let more = format!("more={}", coracle.path().join("more").display());
    coracle.write("context/own", "own\n");
    let arguments = [
        "--build-context",
        &more,
        "--build-context",
        "alpine=docker-image://busybox",
    ];
    built(
        &coracle,
        "FROM alpine\nCOPY --from=more . /more/\nCOPY own /own\nRUN --mount=from=more,target=/m cat /m/file > /f; ls -A /m >> /f\n",
        &arguments,
    );
    assert_eq!(
        inside(&coracle, "cat /f; ls -A /more"),
        "named\n.dockerignore\nfile\n.dockerignore\nfile\n"
    );
    built(
        &coracle,
        "FROM more AS files\nFROM busybox\nCOPY --from=files / /all/\n",
        &arguments,
    );
    assert_eq!(inside(&coracle, "ls -A /all"), ".dockerignore\nfile\n");
    coracle.write("context/Dockerfile", "FROM alpine\nCOPY --from=more nosuch /\n");
    let failed = build(&coracle, &arguments).fails(1);
    assert!(
        failed.contains("\"nosuch\" is not in the context more"),
        "{failed}"
    );
}

#[test]
fn stages_can_be_built_anew() {
    let coracle = sandbox();
    let dockerfile =
        "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox\nRUN echo 2 > /2\nCOPY --from=one /1 /1\n";
    built(&coracle, dockerfile, &[]);
    assert_eq!(
        built(&coracle, dockerfile, &[]).stderr.matches("CACHED").count(),
        3
    );
    let log = built(&coracle, dockerfile, &["--no-cache-filter", "one"]).stderr;
    assert_eq!(log.matches("CACHED").count(), 2, "{log}");
}
