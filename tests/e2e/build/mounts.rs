//! `RUN --mount`.

mod both {
    use super::super::{build, built, inside};
    use crate::both;

    #[test]
    fn the_context_and_stages_are_bound_and_leave_no_trace() {
        let coracle = both();
        coracle.write("context/src/a.txt", "from the context\n");
        coracle.write("context/src/skip.log", "log\n");
        coracle.write("context/.dockerignore", "**/*.log\n");
        built(
            &coracle,
            "FROM busybox AS first\nRUN mkdir /out && echo staged > /out/s\n\
             FROM busybox\nWORKDIR /work\n\
             RUN --mount=type=bind,source=src,target=in cat in/a.txt > /copied && ls in > /listed\n\
             RUN --mount=target=/ctx,rw echo changed > /ctx/src/a.txt && cat /ctx/src/a.txt >> /copied && rm -r /ctx/src\n\
             RUN --mount=from=first,source=/out,target=/deep/er/out cat /deep/er/out/s >> /copied && ! touch /deep/er/out/x\n\
             RUN --mount=from=first,target=/all,rw echo more > /all/out/s && cat /all/out/s >> /copied\n\
             RUN --mount=from=busybox,source=/bin/busybox,target=/bb test -x /bb && ls / > /listing\n",
            &[],
        );
        assert_eq!(
            inside(&coracle, "cat /copied"),
            "from the context\nchanged\nstaged\nmore\n"
        );
        assert_eq!(inside(&coracle, "cat /listed"), "a.txt\n");
        // No place of a mount is left.
        assert_eq!(
            inside(&coracle, "ls -d /ctx /deep /all /bb /work/in 2>/dev/null | wc -l"),
            "0\n"
        );
        // Nor has the context changed.
        assert_eq!(
            std::fs::read_to_string(coracle.path().join("context/src/a.txt")).unwrap(),
            "from the context\n"
        );
    }

    #[test]
    fn a_changed_file_behind_a_bind_is_noticed() {
        let coracle = both();
        let dockerfile = "FROM busybox\nRUN --mount=source=dir,target=/d cat /d/f > /f\n";
        coracle.write("context/dir/f", "one");
        coracle.write("context/other", "1");
        built(&coracle, dockerfile, &[]);
        coracle.write("context/other", "2");
        let again = built(&coracle, dockerfile, &[]).stderr;
        assert!(again.contains("CACHED"), "{again}");
        coracle.write("context/dir/f", "two");
        built(&coracle, dockerfile, &[]);
        assert_eq!(inside(&coracle, "cat /f"), "two");
    }

    #[test]
    fn caches_outlive_builds_and_are_in_no_image() {
        let coracle = both();
        let dockerfile = |say: &str| {
            format!(
                "FROM busybox\nRUN --mount=type=cache,id=test-{}-outlives,target=/cache,uid=7,gid=8,mode=0750 \
                 echo {say} >> /cache/log && cp /cache/log /log && stat -c '%u:%g %a' /cache > /stat\n",
                std::process::id()
            )
        };
        built(&coracle, &dockerfile("one"), &[]);
        built(&coracle, &dockerfile("two"), &[]);
        assert_eq!(
            inside(&coracle, "cat /log; ls /cache 2>&1 | grep -c log; cat /stat"),
            "one\ntwo\n0\n7:8 750\n"
        );
    }

    #[test]
    fn caches_have_namespaces() {
        let coracle = both();
        let build = |namespace: &str, say: &str| {
            let argument = format!("BUILDKIT_CACHE_MOUNT_NS={namespace}");
            let line = format!("RUN --mount=type=cache,id=spaced,target=/c echo {say} >> /c/f && cp /c/f /f");
            built(
                &coracle,
                &format!("FROM busybox\n{line}\n"),
                &["--build-arg", &argument],
            );
            inside(&coracle, "cat /f")
        };
        assert_eq!(build("one", "a"), "a\n");
        assert_eq!(build("two", "b"), "b\n");
        assert_eq!(build("one", "c"), "a\nc\n");
    }

    #[test]
    fn memory_is_empty_and_has_its_size() {
        let coracle = both();
        built(
            &coracle,
            "FROM busybox\nRUN echo there > /etc/note && mkdir /t && touch /t/hidden\n\
             RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | awk '{print $2}' > /size; ls /t | wc -l > /count; touch /t/x\n",
            &[],
        );
        assert_eq!(inside(&coracle, "cat /size /count; ls /t"), "1024\n0\nhidden\n");
    }

    #[test]
    fn secrets_are_files_or_variables() {
        let coracle = both();
        let file = coracle.path().join("secret");
        std::fs::write(&file, "s3cr3t").unwrap();
        let secret = format!("id=pw,src={}", file.display());
        built(
            &coracle,
            "FROM busybox\n\
             RUN --mount=type=secret,id=pw stat -c '%a %u:%g' /run/secrets/pw > /stat && cat /run/secrets/pw | wc -c > /count\n\
             RUN --mount=type=secret,id=pw,target=/deep/pw,mode=0444,uid=5 stat -c '%a %u' /deep/pw >> /stat\n\
             RUN --mount=type=secret,id=pw,env=PW test \"$PW\" = s3cr3t && echo variable >> /stat; ls /run/secrets 2>&1 | grep -c pw >> /stat; true\n\
             RUN --mount=type=secret,id=other ls /run/secrets/other 2>/dev/null | wc -l >> /stat\n",
            &["--secret", &secret],
        );
        assert_eq!(
            inside(
                &coracle,
                "cat /count /stat; ls -d /run/secrets /deep 2>/dev/null | wc -l"
            ),
            "6\n400 0:0\n444 5\nvariable\n0\n0\n0\n"
        );
    }

    #[test]
    fn a_secret_that_must_be_there_is_asked_for() {
        let coracle = both();
        coracle.write(
            "context/Dockerfile",
            "FROM busybox\nRUN --mount=type=secret,id=pw,required=true true\n",
        );
        let failed = build(&coracle, &[]).fails(1);
        assert!(failed.contains("pw: not found"), "{failed}");
    }

    #[test]
    fn rights_must_be_allowed() {
        let coracle = both();
        coracle.write(
            "context/Dockerfile",
            "FROM busybox\nRUN echo early\nRUN --security=insecure id\n",
        );
        let failed = build(&coracle, &[]).fails(1);
        assert!(
            failed.contains("security.insecure") && failed.contains("not allowed"),
            "{failed}"
        );
    }
}

use super::{build, built, inside};
use crate::sandbox;
use std::os::unix::net::UnixListener;

#[test]
fn a_refused_right_is_refused_before_anything_runs() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN echo ran early | tr e E\nRUN --security=insecure id\n",
    );
    let failed = build(&coracle, &[]).fails(1);
    assert!(!failed.contains("ran Early"), "{failed}");
    assert!(failed.contains("--allow security.insecure"), "{failed}");
    built(
        &coracle,
        "FROM busybox\nRUN grep CapEff /proc/self/status > /plain\nRUN --security=insecure grep CapEff /proc/self/status > /all\n",
        &["--allow", "security.insecure"],
    );
    let rights = inside(&coracle, "cat /plain /all");
    let (plain, all) = rights.trim().split_once('\n').unwrap();
    assert!(plain < all, "{rights}");
}

#[test]
fn networks_are_as_asked() {
    let coracle = sandbox();
    built(
        &coracle,
        "FROM busybox\nRUN ls /sys/class/net | wc -l > /n\nRUN --network=none ls /sys/class/net | wc -l >> /n\n\
         RUN --network=host cat /sys/class/net/lo/ifindex >> /n\n",
        &["--allow", "network.host"],
    );
    assert_eq!(inside(&coracle, "cat /n"), "2\n1\n1\n");
}

#[test]
fn caches_are_listed_and_pruned() {
    let coracle = sandbox();
    built(
        &coracle,
        "FROM busybox\nRUN --mount=type=cache,target=/root/.cache dd if=/dev/zero of=/root/.cache/big bs=1k count=300\n\
         RUN --mount=type=cache,target=/p,sharing=private touch /p/x\nRUN --mount=type=cache,target=/p,sharing=locked,ro ls /p/x\n",
        &[],
    );
    let listed = coracle
        .run([
            "buildx",
            "du",
            "--format",
            "{{.CacheType}} {{.Description}} {{.Size}}",
        ])
        .ok();
    assert!(
        listed.contains("exec.cachemount cached mount /root/.cache 3"),
        "{listed}"
    );
    coracle
        .run(["builder", "prune", "-f", "--filter", "type=exec.cachemount"])
        .ok();
    let listed = coracle.run(["buildx", "du", "--format", "{{.CacheType}}"]).ok();
    assert!(
        !listed.contains("cachemount") && listed.contains("regular"),
        "{listed}"
    );
    let directory = coracle.path().join("root/cache");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
}

#[test]
fn a_cache_can_begin_with_files() {
    let coracle = sandbox();
    built(
        &coracle,
        "FROM busybox AS seed\nRUN mkdir /seed && echo seeded > /seed/f\nFROM busybox\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/seed cat /c/f > /f && echo more >> /c/f\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/seed cat /c/f >> /f\n",
        &[],
    );
    assert_eq!(inside(&coracle, "cat /f"), "seeded\nseeded\nmore\n");
}

#[test]
fn an_agent_is_offered_to_those_who_may_use_it() {
    let coracle = sandbox();
    let socket = coracle.path().join("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    let ssh = format!("default={}", socket.display());
    built(
        &coracle,
        "FROM busybox\n\
         RUN --mount=type=ssh,required echo $SSH_AUTH_SOCK > /s && test -S $SSH_AUTH_SOCK && stat -c '%a %u' $SSH_AUTH_SOCK >> /s\n\
         RUN --mount=type=ssh,target=/agent,mode=0666,uid=5 echo $SSH_AUTH_SOCK >> /s && stat -c '%a %u' /agent >> /s\n",
        &["--ssh", &ssh],
    );
    assert_eq!(
        inside(&coracle, "cat /s; ls -d /run/buildkit /agent 2>/dev/null; true"),
        "/run/buildkit/ssh_agent.0\n600 0\n/agent\n666 5\n"
    );
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nRUN --mount=type=ssh,required true\n",
    );
    let failed = build(&coracle, &[]).fails(1);
    assert!(failed.contains("unset ssh forward key default"), "{failed}");
}

#[test]
fn a_secret_is_found_nowhere_in_the_store() {
    let coracle = sandbox();
    let token = format!("tok{:x}en{:x}", std::process::id() * 7_919, std::process::id());
    let file = coracle.path().join("token");
    std::fs::write(&file, &token).unwrap();
    let secret = format!("id=token,src={}", file.display());
    let log = built(
        &coracle,
        "FROM busybox\nRUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token,target=/x/y wc -c < /x/y > /n; test -n \"$TOKEN\"\n\
         RUN --mount=type=secret,id=token cat /run/secrets/token | md5sum > /m\n",
        &["--secret", &secret],
    );
    std::fs::remove_file(&file).unwrap();
    assert!(
        !log.stderr.contains(&token) && !log.stdout.contains(&token),
        "{}",
        log.stderr
    );
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "-a", &token])
        .arg(coracle.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let history = coracle.run(["history", "--no-trunc", "t"]).ok();
    assert!(!history.contains(&token), "{history}");
}

#[test]
fn limits_reach_the_steps() {
    let coracle = sandbox();
    built(
        &coracle,
        "FROM busybox\nRUN ulimit -n > /l; df -k /dev/shm | tail -1 | awk '{print $2}' >> /l; grep one /etc/hosts | wc -l >> /l\n",
        &[
            "--ulimit",
            "nofile=123:456",
            "--shm-size",
            "2m",
            "--add-host",
            "one:10.0.0.1",
        ],
    );
    assert_eq!(inside(&coracle, "cat /l"), "123\n2048\n1\n");
}

#[test]
fn locked_caches_are_used_by_one_step_at_a_time() {
    let coracle = sandbox();
    let mut dockerfile = String::new();
    let mut last = "FROM busybox\n".to_owned();
    for stage in 0..6 {
        dockerfile.extend([format!(
            "FROM busybox AS s{stage}\nRUN --mount=type=cache,id=b,target=/b,sharing=locked --mount=type=cache,id=a,target=/a,sharing=locked \
             n=$(cat /a/n || echo 0); sleep 0.1; echo $((n+1)) > /a/n; cp /a/n /n; : {stage}\n"
        )]);
        last.extend([format!("COPY --from=s{stage} /n /n{stage}\n")]);
    }
    built(&coracle, &(dockerfile + &last), &[]);
    assert_eq!(inside(&coracle, "cat /n? | sort | tr '\\n' ' '"), "1 2 3 4 5 6 ");
}

#[test]
fn keys_in_files_are_offered_by_an_agent_for_the_build_alone() {
    let coracle = sandbox();
    let key = coracle.path().join("id_ed25519");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let ssh = format!("default={}", key.display());
    built(
        &coracle,
        "FROM busybox\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK && echo there > /s\n",
        &["--ssh", &ssh],
    );
    assert_eq!(inside(&coracle, "cat /s"), "there\n");
    let wrong = coracle.write("context/no-key", "no key\n");
    let ssh = format!("default={}", wrong.display());
    let failed = build(&coracle, &["--ssh", &ssh]).fails(1);
    assert!(
        failed.contains("no-key cannot be used") && failed.contains("private key"),
        "{failed}"
    );
}

#[test]
fn a_prune_takes_nothing_from_a_running_build() {
    let coracle = sandbox();
    coracle.write("context/file", "file\n");
    coracle.write(
        "context/Dockerfile",
        "FROM busybox AS first\nRUN echo one > /one\n\
         FROM busybox\nRUN --mount=type=cache,target=/c echo kept > /c/f && sleep 3 && cp /c/f /kept\n\
         COPY --from=first /one /one\nRUN echo two > /two\nCOPY file /file\n",
    );
    let context = coracle.path().join("context");
    let mut child = coracle.start([
        "build",
        "--progress",
        "plain",
        "-t",
        "t",
        context.to_str().unwrap(),
    ]);
    while child.try_wait().unwrap().is_none() {
        coracle.run(["builder", "prune", "-af"]).ok();
    }
    testkit::sandbox::outcome(&child.wait_with_output().unwrap()).ok();
    assert_eq!(
        inside(&coracle, "cat /kept /one /two /file"),
        "kept\none\ntwo\nfile\n"
    );
}
