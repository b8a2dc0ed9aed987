//! Attacks by what is built: Dockerfiles, contexts and commands of steps.

use crate::sandbox;
use std::path::{Path, PathBuf};
use testkit::{Outcome, Sandbox};

fn build(coracle: &Sandbox, dockerfile: &str, arguments: &[&str]) -> Outcome {
    coracle.write("context/Dockerfile", dockerfile);
    let context = coracle.path().join("context");
    coracle.run(
        [
            &["build", "--progress", "plain", "-t", "t"],
            arguments,
            &[context.to_str().unwrap()],
        ]
        .concat(),
    )
}

/// A directory of the host that nobody may touch.
fn canary(coracle: &Sandbox) -> PathBuf {
    coracle.write("canary/file", "untouched");
    std::fs::create_dir(coracle.path().join("canary/b")).unwrap();
    coracle.path().join("canary")
}

#[track_caller]
fn is_untouched(canary: &Path) {
    assert_eq!(std::fs::read_to_string(canary.join("file")).unwrap(), "untouched");
    let mut names: Vec<_> = std::fs::read_dir(canary)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["b", "file"]);
}

/// CVE-2024-23652: what is left of a mount's place is removed through a link that the command has put above it.
#[test]
fn places_of_mounts_are_not_cleaned_up_through_links() {
    let coracle = sandbox();
    let canary = canary(&coracle);
    let outcome = build(
        &coracle,
        &format!(
            "FROM busybox\nRUN --mount=type=cache,target=/a/b --mount=type=tmpfs,target=/c/b/d mv /a /moved; rm -rf /a /c; ln -s {0} /a; ln -s {0} /c; true\n\
             RUN ls -d /a /a/b /c /moved > /seen 2>&1; true\n",
            canary.display()
        ),
        &[],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    is_untouched(&canary);
}

/// CVE-2024-23651, CVE-2024-1753: the source of a mount leads out of what is mounted.
#[test]
fn sources_of_mounts_stay_in_what_is_mounted() {
    let coracle = sandbox();
    let canary = canary(&coracle);
    std::os::unix::fs::symlink("/", {
        coracle.write("context/x", "x");
        coracle.path().join("context/link")
    })
    .unwrap();
    let shown = canary.display();
    for mount in [
        format!("type=cache,id=c,target=/m,source=link{shown}"),
        "type=cache,id=c,target=/m,source=../../../../../../etc".to_owned(),
        "type=cache,id=c,target=/m,source=/link/etc".to_owned(),
        format!("type=bind,target=/m,source=link{shown}"),
        format!("type=bind,from=evil,target=/m,source=/link{shown}"),
        format!("type=bind,from=evil,target=/m,rw,source=/link{shown}"),
    ] {
        let outcome = build(
            &coracle,
            &format!(
                "FROM busybox AS evil\nRUN ln -s / /link\nFROM busybox\nRUN --mount=type=cache,id=c,target=/m ln -sfn / /m/link\n\
                 RUN --mount={mount} touch /m/evil; rm -f /m/file; ls -a /m\n"
            ),
            &["--no-cache"],
        );
        assert!(
            !outcome.stderr.contains("untouched"),
            "{mount}: {}",
            outcome.stderr
        );
        is_untouched(&canary);
        assert!(
            !Path::new("/evil").exists() && !Path::new("/etc/evil").exists(),
            "{mount}"
        );
    }
}

/// CVE-2024-11218 and its like: an id is taken for a path.
#[test]
fn ids_of_caches_are_no_paths() {
    let coracle = sandbox();
    let canary = canary(&coracle);
    for id in [
        "../../../../../../../../tmp/x",
        "/etc",
        "..",
        "a/../../../canary",
        canary.to_str().unwrap(),
    ] {
        let outcome = build(
            &coracle,
            &format!("FROM busybox\nRUN --mount=type=cache,id={id},target=/c touch /c/evil && ls -a /c\n"),
            &["--no-cache"],
        );
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        is_untouched(&canary);
        assert!(!Path::new("/etc/evil").exists() && !Path::new("/tmp/x/evil").exists());
    }
}

/// CVE-2024-23653: rights without leave, and words that are no rights.
#[test]
fn rights_are_refused_before_anything_runs() {
    let coracle = sandbox();
    for flags in [
        "--security=insecure",
        "--security=Insecure",
        "--security=2",
        "--network=host",
    ] {
        let outcome = build(
            &coracle,
            &format!("FROM busybox\nRUN echo ran early | tr e E\nRUN {flags} id\n"),
            &[],
        );
        assert_eq!(outcome.code, 1, "{flags}");
        assert!(!outcome.stderr.contains("ran Early"), "{}", outcome.stderr);
    }
}

/// CVE-2019-13139: parts of addresses become options of git.
#[test]
fn addresses_are_no_options() {
    let coracle = sandbox();
    let canary = canary(&coracle);
    let touch = format!("touch {}/evil", canary.display());
    for address in [
        format!("git://127.0.0.1:1/x#--upload-pack={touch}"),
        format!("git://-oProxyCommand={}/x.git", touch.replace(' ', "${IFS}")),
        format!("https://127.0.0.1:1/x.git?ref=--upload-pack={touch}"),
        format!("ssh://-oProxyCommand={}/x", touch.replace(' ', "${IFS}")),
    ] {
        let outcome = coracle.run(["build", &address]);
        assert_eq!(outcome.code, 1, "{address}: {}", outcome.stderr);
        let outcome = build(
            &coracle,
            &format!(
                "FROM busybox\nADD [\"{}\", \"/x\"]\n",
                address.replace('$', "\\\\$")
            ),
            &[],
        );
        assert_eq!(outcome.code, 1, "{address}: {}", outcome.stderr);
        is_untouched(&canary);
    }
}

/// CVE-2026-33747 and -33748: traversal by destinations, names of documents, and archives.
#[test]
fn what_is_copied_stays_in_the_image() {
    let coracle = sandbox();
    let canary = canary(&coracle);
    coracle.write("context/f", "evil");
    let outcome = build(
        &coracle,
        &format!(
            "FROM busybox\nRUN ln -s {0} /out && ln -s ../../../../../../../../.. /up\nCOPY f /out/evil\nCOPY f /up{0}/evil\n\
             COPY f ../../../../../..{0}/evil2\nCOPY <<evil3 /out/\nevil\nevil3\nWORKDIR /out/evil4\nADD f /out/file\n",
            canary.display()
        ),
        &[],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    is_untouched(&canary);
    let failed = build(&coracle, "FROM busybox\nCOPY <<../evil /x/\nx\n../evil\n", &[]).fails(1);
    assert!(failed.contains("cannot be the name of a file"), "{failed}");
}

/// CVE-2024-24557: an image that differs in its configuration only is taken from the cache.
#[test]
fn the_configuration_of_the_base_is_part_of_the_key() {
    let coracle = sandbox();
    build(&coracle, "FROM busybox\nENV WHO=one\n", &[]).ok();
    coracle.run(["tag", "t", "parent"]).ok();
    build(&coracle, "FROM parent\nRUN echo $WHO > /who\n", &[]).ok();
    build(&coracle, "FROM busybox\nENV WHO=two\n", &[]).ok();
    coracle.run(["tag", "t", "parent"]).ok();
    let again = build(&coracle, "FROM parent\nRUN echo $WHO > /who\n", &[]);
    assert!(!again.stderr.contains("CACHED"), "{}", again.stderr);
    again.ok();
    assert_eq!(coracle.run(["run", "--rm", "t", "cat", "/who"]).ok(), "two\n");
}

/// Sockets of the host in the context are no way out of a step, and nothing in it is a device.
#[test]
fn a_mounted_context_shows_files_only() {
    let coracle = sandbox();
    coracle.write("context/dir/f", "f");
    let socket = coracle.path().join("context/dir/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let outcome = build(
        &coracle,
        "FROM busybox\nRUN --mount=source=dir,target=/d ls /d > /seen && ! touch /d/x && grep ' /d ' /proc/mounts | grep -c nosuid,nodev >> /seen\n",
        &[],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(coracle.run(["run", "--rm", "t", "cat", "/seen"]).ok(), "f\n1\n");
}

/// CVE-2024-23651: the source of a mount is swapped for a link while another step mounts it.
#[test]
fn a_source_that_is_swapped_leads_nowhere() {
    let coracle = sandbox();
    let mark = format!("evil-{}", std::process::id());
    let mut dockerfile =
        "FROM busybox AS swap\nRUN --mount=type=cache,id=c,target=/c i=0; while [ $i -lt 400 ]; do \
         rm -rf /c/d; ln -s / /c/d; rm /c/d; mkdir /c/d; i=$((i+1)); done\n"
            .to_owned();
    for stage in 0..8 {
        dockerfile.extend([format!(
            "FROM busybox AS use{stage}\nRUN --mount=type=cache,id=c,target=/m,source=/d : {stage}; touch /m/{mark}; true\n"
        )]);
    }
    dockerfile.push_str("FROM busybox\nCOPY --from=swap /bin/true /t\n");
    for stage in 0..8 {
        dockerfile.extend([format!("COPY --from=use{stage} /bin/true /t{stage}\n")]);
    }
    build(
        &coracle,
        "FROM busybox\nRUN --mount=type=cache,id=c,target=/c mkdir -p /c/d\n",
        &[],
    )
    .ok();
    for _ in 0..4 {
        // Whether a step finds the directory or fails is up to chance; where it leads to is not.
        build(&coracle, &dockerfile, &["--no-cache"]);
        assert!(!Path::new("/").join(&mark).exists());
    }
}

/// CVE-2020-15157's like: a server leads a build elsewhere, with what it was told in confidence, or to a file of the host.
#[test]
fn a_redirect_does_not_take_the_secret_along() {
    let coracle = sandbox();
    let (thief, heard) = server(|_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned());
    // Another name is another origin.
    let elsewhere = thief.replace("127.0.0.1", "localhost");
    let (honest, told) = server(move |path| {
        let location = match path {
            "/file" => "file:///etc/passwd".to_owned(),
            "/loop" => "/loop".to_owned(),
            _ => format!("{elsewhere}/taken"),
        };
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    coracle.write("token", "t0ken");
    let secret = format!(
        "id=HTTP_AUTH_TOKEN_{},src={}",
        honest.trim_start_matches("http://").split(':').next().unwrap(),
        coracle.path().join("token").display()
    );
    build(
        &coracle,
        &format!("FROM scratch\nADD {honest}/x /x\n"),
        &["--secret", &secret],
    )
    .ok();
    let (told, heard) = (
        || told.lock().unwrap().join("\n"),
        || heard.lock().unwrap().join("\n"),
    );
    assert!(
        told().to_lowercase().contains("authorization: bearer t0ken"),
        "{}",
        told()
    );
    assert!(
        heard().contains("/taken") && !heard().contains("t0ken"),
        "{}",
        heard()
    );
    for path in ["file", "loop"] {
        build(&coracle, &format!("FROM scratch\nADD {honest}/{path} /x\n"), &[]).fails(1);
    }
}

/// Answers requests for paths until the test ends; returns its address, and what it is asked.
fn server(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = request
                .first()
                .and_then(|line| line.split(' ').nth(1))
                .unwrap_or("/");
            let answer = answer(path);
            log.lock().unwrap().extend(request);
            // A client that has gone has what it wanted.
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (address, asked)
}
