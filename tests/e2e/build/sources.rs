//! Where files come from: contexts of all kinds, and `ADD` of what lies elsewhere.

use super::{build, built, inside};
use crate::sandbox;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{Outcome, Sandbox};

/// Serves the files of a directory until the test ends, and returns its address.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            let mut authorization = String::new();
            for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(value) = line.to_lowercase().strip_prefix("authorization: ") {
                    value.clone_into(&mut authorization);
                }
            }
            let path = request
                .split(' ')
                .nth(1)
                .unwrap()
                .split('?')
                .next()
                .unwrap()
                .to_owned();
            let content = match path.as_str() {
                "/private" if authorization != "bearer t0ken" => None,
                "/private" => Some(b"private\n".to_vec()),
                path => std::fs::read(directory.join(path.trim_start_matches('/'))).ok(),
            };
            let (status, content) = match content {
                Some(content) => ("200 OK", content),
                None => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            // A client that has gone has what it wanted.
            drop(
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&content)),
            );
        }
    });
    address
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=me",
            "-c",
            "user.email=me@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a repository with two commits, served without a git server; returns its address and the first commit.
fn repository(coracle: &Sandbox) -> (String, String) {
    let work = coracle.path().join("work");
    coracle.write("work/Dockerfile", "FROM busybox\nCOPY file /from-git\n");
    coracle.write("work/file", "first\n");
    coracle.write("work/sub/Dockerfile", "FROM busybox\nCOPY . /sub\n");
    coracle.write("work/sub/inner", "inner\n");
    std::os::unix::fs::symlink("/etc", work.join("link")).unwrap();
    git(&work, &["init", "-q"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "one"]);
    git(&work, &["tag", "v1"]);
    let first = git(&work, &["rev-parse", "HEAD"]);
    coracle.write("work/file", "second\n");
    git(&work, &["commit", "-q", "-a", "-m", "two"]);
    let served = coracle.path().join("served");
    std::fs::create_dir(&served).unwrap();
    git(coracle.path(), &["clone", "-q", "--bare", "work", "served/x.git"]);
    git(&served.join("x.git"), &["update-server-info"]);
    (serve(served) + "/x.git", first)
}

fn piped(coracle: &Sandbox, arguments: &[&str], input: &[u8]) -> Outcome {
    let mut child = coracle
        .command([&["build", "--progress", "plain", "-t", "t"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    testkit::sandbox::outcome(&output)
}

fn tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut child = Command::new("tar")
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    bytes
}

#[test]
fn a_context_can_be_piped_in() {
    let coracle = sandbox();
    piped(&coracle, &["-"], b"FROM busybox\nRUN echo alone > /x\n").ok();
    assert_eq!(inside(&coracle, "cat /x"), "alone\n");
    coracle.write("tree/Dockerfile", "FROM busybox\nCOPY . /all\n");
    coracle.write("tree/.dockerignore", "*.log\n");
    coracle.write("tree/a", "a\n");
    coracle.write("tree/b.log", "b\n");
    coracle.write("tree/other", "FROM busybox\nCOPY a /other\n");
    let tree = coracle.path().join("tree");
    for arguments in [["-c", "."], ["-cz", "."], ["-cJ", "."]] {
        piped(&coracle, &["-"], &tar(&tree, &arguments)).ok();
        assert_eq!(
            inside(&coracle, "cat /all/a; ls /all"),
            "a\nDockerfile\na\nother\n"
        );
    }
    piped(&coracle, &["-f", "other", "-"], &tar(&tree, &["-c", "."])).ok();
    assert_eq!(inside(&coracle, "cat /other"), "a\n");
    let context = tree.to_str().unwrap();
    piped(&coracle, &["-f", "-", context], b"FROM busybox\nCOPY a /piped\n").ok();
    assert_eq!(inside(&coracle, "cat /piped"), "a\n");
    let failed = piped(&coracle, &["-f", "-", "-"], b"").fails(1);
    assert!(failed.contains("can't use stdin for both"), "{failed}");
    let failed = piped(&coracle, &["-f", "nosuch", "-"], &tar(&tree, &["-c", "."])).fails(1);
    assert!(failed.contains("open nosuch"), "{failed}");
}

#[test]
fn a_context_can_be_a_repository() {
    let coracle = sandbox();
    let (address, first) = repository(&coracle);
    let at = |fragment: &str| {
        coracle.run([
            "build",
            "--progress",
            "plain",
            "-t",
            "t",
            &format!("{address}{fragment}"),
        ])
    };
    at("").ok();
    assert_eq!(inside(&coracle, "cat /from-git"), "second\n");
    at("#v1").ok();
    assert_eq!(inside(&coracle, "cat /from-git"), "first\n");
    at(&format!("#{first}")).ok();
    assert_eq!(inside(&coracle, "cat /from-git"), "first\n");
    at("#main:sub").ok();
    assert_eq!(
        inside(&coracle, "ls -A /sub; stat -c %a /sub/inner"),
        "Dockerfile\ninner\n644\n"
    );
    let failed = at("#main:link").fails(1);
    assert!(failed.contains("no directory 'link'"), "{failed}");
    let failed = at("#nosuch").fails(1);
    assert!(failed.contains("cannot fetch"), "{failed}");
    let failed = at("?checksum=0000000").fails(1);
    assert!(failed.contains("expected the commit 0000000"), "{failed}");
}

#[test]
fn add_fetches_files_and_repositories() {
    let coracle = sandbox();
    let (address, first) = repository(&coracle);
    let served = coracle.path().join("served");
    std::fs::write(served.join("file.txt"), "from the web\n").unwrap();
    let tree = coracle.path().join("work/sub");
    std::fs::write(served.join("tree.tar.gz"), tar(&tree, &["-cz", "."])).unwrap();
    let web = address.trim_end_matches("/x.git").to_owned();
    let digest = Command::new("sha256sum")
        .arg(served.join("file.txt"))
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap()[..64].to_owned();
    built(
        &coracle,
        &format!(
            "FROM busybox\nARG SUM={digest}\nADD --checksum=sha256:$SUM {web}/file.txt /one\nADD --chmod=644 {web}/file.txt?x=1 /dir/\n\
             ADD {web}/tree.tar.gz /kept/\nADD --unpack=true {web}/tree.tar.gz /unpacked/\n\
             ADD {address}#v1 /repo\nADD --keep-git-dir=true {address}?branch=main&subdir=. /with\nADD --checksum={first} {address}#v1:sub /part/\n"
        ),
        &[],
    );
    assert_eq!(
        inside(
            &coracle,
            "cat /one /dir/file.txt; stat -c %a /one /dir/file.txt; ls /kept; cat /unpacked/inner /repo/file /with/file /part/inner; ls -d /repo/.git /with/.git 2>/dev/null; true"
        ),
        "from the web\nfrom the web\n600\n644\ntree.tar.gz\ninner\nfirst\nsecond\ninner\n/with/.git\n"
    );
    let fails = |line: &str| {
        coracle.write("context/Dockerfile", &format!("FROM busybox\n{line}\n"));
        build(&coracle, &[]).fails(1)
    };
    let failed = fails(&format!(
        "ADD --checksum=sha256:{first}000000000000000000000000 {web}/file.txt /x"
    ));
    assert!(
        failed.contains("digest mismatch") && failed.contains(&digest),
        "{failed}"
    );
    let failed = fails(&format!("ADD {web}/nosuch /x"));
    assert!(failed.contains("status 404"), "{failed}");
    // What changes on the web is noticed, what does not is not fetched into a new layer.
    let dockerfile = format!("FROM busybox\nADD {web}/file.txt /x\n");
    assert!(!built(&coracle, &dockerfile, &[]).stderr.contains("CACHED"));
    assert!(built(&coracle, &dockerfile, &[]).stderr.contains("CACHED"));
    std::fs::write(served.join("file.txt"), "changed\n").unwrap();
    built(&coracle, &dockerfile, &[]);
    assert_eq!(inside(&coracle, "cat /x"), "changed\n");
    let private = format!("FROM busybox\nADD {web}/private /private\n");
    std::fs::write(coracle.path().join("token"), "t0ken\n").unwrap();
    let token = format!(
        "id=HTTP_AUTH_TOKEN_127.0.0.1,src={}",
        coracle.path().join("token").display()
    );
    built(&coracle, &private, &["--secret", &token]);
    assert_eq!(inside(&coracle, "cat /private"), "private\n");
}

#[test]
fn a_context_can_be_an_archive_on_the_web() {
    let coracle = sandbox();
    coracle.write("tree/Dockerfile", "FROM busybox\nCOPY a /a\n");
    coracle.write("tree/a", "a\n");
    let served = coracle.path().join("served");
    std::fs::create_dir(&served).unwrap();
    std::fs::write(
        served.join("x.tar.gz"),
        tar(&coracle.path().join("tree"), &["-cz", "."]),
    )
    .unwrap();
    std::fs::write(served.join("Dockerfile"), "FROM busybox\nRUN echo web > /web\n").unwrap();
    let web = serve(served);
    coracle.run(["build", "-t", "t", &format!("{web}/x.tar.gz")]).ok();
    assert_eq!(inside(&coracle, "cat /a"), "a\n");
    coracle
        .run(["build", "-t", "t", &format!("{web}/Dockerfile")])
        .ok();
    assert_eq!(inside(&coracle, "cat /web"), "web\n");
}

#[test]
fn a_named_context_can_be_fetched() {
    let coracle = sandbox();
    let (address, _) = repository(&coracle);
    let more = format!("more={address}#v1:sub");
    built(
        &coracle,
        "FROM busybox\nCOPY --from=more inner /inner\n",
        &["--build-context", &more],
    );
    assert_eq!(inside(&coracle, "cat /inner"), "inner\n");
}

#[test]
fn progress_can_be_json() {
    let coracle = sandbox();
    coracle.write("context/Dockerfile", "FROM busybox\nRUN echo hello\n");
    let context = coracle.path().join("context");
    let outcome = coracle.run(["build", "--progress", "rawjson", context.to_str().unwrap()]);
    let lines: Vec<serde_json::Value> = outcome
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let has = |key: &str, wanted: &str| lines.iter().any(|line| line[key].to_string().contains(wanted));
    assert!(
        has("vertexes", "RUN echo hello") && has("logs", "aGVsbG8K"),
        "{}",
        outcome.stderr
    );
    outcome.ok();
}

#[test]
fn waiting_for_a_context_can_be_interrupted() {
    let coracle = sandbox();
    let mut child = coracle
        .command(["build", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _open = child.stdin.take().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn metadata_is_written() {
    let coracle = sandbox();
    let file = coracle.path().join("metadata.json");
    built(
        &coracle,
        "FROM busybox\n",
        &["--metadata-file", file.to_str().unwrap()],
    );
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let id = coracle.run(["images", "-q", "--no-trunc", "t"]).ok();
    assert_eq!(value["containerimage.config.digest"], id.trim());
    assert_eq!(value["image.name"], "docker.io/library/t:latest");
}

#[test]
fn a_lock_file_pins_files_and_repositories() {
    let coracle = sandbox();
    let (address, _) = repository(&coracle);
    let served = coracle.path().join("served");
    std::fs::write(served.join("file.txt"), "as locked\n").unwrap();
    let web = address.trim_end_matches("/x.git").to_owned();
    let context = coracle.path().join("context");
    let context = context.to_str().unwrap();
    coracle.write(
        "context/Dockerfile",
        &format!(
            "ARG WEB={web}\nFROM busybox AS base\nARG WEB\nENV AT=$WEB/file.txt\n\
             FROM base\nADD $AT /one\nADD {address}#main /repo\nCOPY --from=more /inner /inner\n"
        ),
    );
    let more = format!("more={address}#main:sub");
    let update = || {
        let words = ["lock", "update", "--build-context", &more, context];
        coracle.run(words).ok();
        std::fs::read_to_string(format!("{context}/Dockerfile.lock")).unwrap()
    };
    let locked = || build(&coracle, &["--locked", "-t", "t", "--build-context", &more]);
    let commit = git(&coracle.path().join("work"), &["rev-parse", "HEAD"]);
    let lock = update();
    assert!(
        lock.contains(&format!("\"{web}/file.txt\": \"sha256:")) && lock.matches(&commit).count() == 2,
        "{lock}"
    );
    locked().ok();
    // The branch moves on: the build does not.
    coracle.write("work/file", "third\n");
    let work = coracle.path().join("work");
    git(&work, &["commit", "-q", "-a", "-m", "three"]);
    git(&work, &["push", "-q", "../served/x.git", "HEAD:main"]);
    git(&served.join("x.git"), &["update-server-info"]);
    locked().ok();
    assert_eq!(
        inside(&coracle, "cat /one /repo/file /inner"),
        "as locked\nsecond\ninner\n"
    );
    // A file that has changed is refused.
    std::fs::write(served.join("file.txt"), "other\n").unwrap();
    let failed = locked().fails(1);
    assert!(
        failed.contains("file.txt is sha256:") && failed.contains("'lock update' takes what is there"),
        "{failed}"
    );
    assert_ne!(update(), lock);
    locked().ok();
    assert_eq!(inside(&coracle, "cat /one /repo/file"), "other\nthird\n");
    coracle.write(
        "context/Dockerfile",
        &format!("FROM busybox\nADD {web}/unknown /one\n"),
    );
    let failed = build(&coracle, &["--locked"]).fails(1);
    assert!(
        failed.contains(&format!("Dockerfile.lock does not say what {web}/unknown is")),
        "{failed}"
    );
}

#[test]
fn a_layout_can_be_a_named_context() {
    let coracle = sandbox();
    let layout = coracle.path().join("layout");
    coracle.write("context/Dockerfile", "FROM busybox\nRUN echo laid > /out\n");
    let output = format!("type=oci,tar=false,name=some:one,dest={}", layout.display());
    build(&coracle, &["-o", &output]).ok();
    let named = |suffix: &str| format!("base:1=oci-layout://{}{suffix}", layout.display());
    let dockerfile = "FROM base:1\nCOPY --from=base:1 /out /copied\n";
    for suffix in ["", ":one"] {
        built(&coracle, dockerfile, &["--build-context", &named(suffix)]);
        assert_eq!(inside(&coracle, "cat /out /copied"), "laid\nlaid\n");
    }
    // It was lent to the builds.
    assert_eq!(
        coracle.run(["images", "-aq", "--filter", "dangling=true"]).ok(),
        ""
    );
    let failed = build(&coracle, &["--build-context", &named(":two")]).fails(1);
    assert!(
        failed.contains("it has no image 'two'") && failed.contains("one"),
        "{failed}"
    );
    std::fs::remove_file(layout.join("index.json")).unwrap();
    let failed = build(&coracle, &["--build-context", &named("")]).fails(1);
    assert!(failed.contains("it has no member 'index.json'"), "{failed}");
}

#[test]
fn git_directories_are_kept_where_that_is_asked_for() {
    let coracle = sandbox();
    let (address, _) = repository(&coracle);
    let address = format!("{address}#main:sub?");
    let address = address.trim_end_matches('?').replace(":sub", "");
    coracle.write("dockerfile", "FROM busybox\nCOPY . /all\n");
    for (argument, kept) in [("0", "gone"), ("1", "kept")] {
        let argument = format!("BUILDKIT_CONTEXT_KEEP_GIT_DIR={argument}");
        let dockerfile = std::fs::read(coracle.path().join("dockerfile")).unwrap();
        piped(
            &coracle,
            &["--build-arg", &argument, "-f", "-", &address],
            &dockerfile,
        )
        .ok();
        assert_eq!(
            inside(&coracle, "test -d /all/.git && echo kept || echo gone").trim(),
            kept
        );
    }
}
