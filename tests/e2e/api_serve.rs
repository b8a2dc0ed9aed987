//! `serve`: where it listens, for whom, and how it begins and ends.

use crate::empty;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::Sandbox;

#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it does not come about"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server that is ended when this is dropped.
struct Serving(Child);

impl Serving {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self(sandbox.start(["serve"].iter().chain(arguments)))
    }

    /// Asks it to end; returns what it wrote.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn ping(mut stream: impl Read + Write) -> String {
    let request = b"GET /_ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_socket_is_roots_and_goes_with_the_server() {
    let sandbox = empty();
    let socket = sandbox.path().join("run/docker.sock");
    let server = Serving::start(&sandbox, &[]);
    until(|| UnixStream::connect(&socket).is_ok());
    let metadata = socket.metadata().unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, 0));
    assert!(ping(UnixStream::connect(&socket).unwrap()).ends_with("OK"));

    let second = sandbox.run(["serve"]).fails(1);
    let expected = format!("another server listens on {} already", socket.display());
    assert!(second.contains(&expected), "{second}");
    assert!(ping(UnixStream::connect(&socket).unwrap()).ends_with("OK"));

    let inspected = sandbox
        .run(["context", "inspect", "-f", "{{.Endpoints.docker.Host}}"])
        .ok();
    assert_eq!(inspected.trim(), format!("unix://{}", socket.display()));
    assert!(
        server
            .end()
            .contains(&format!("API listen on {}", socket.display()))
    );
    assert!(!socket.exists());
}

#[test]
fn a_dead_servers_socket_is_replaced_and_anothers_is_not_removed() {
    let sandbox = empty();
    let socket = sandbox.path().join("api.sock");
    let host = format!("unix://{}", socket.display());
    let mut killed = Serving::start(&sandbox, &["-H", &host]);
    until(|| UnixStream::connect(&socket).is_ok());
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(socket.exists());

    let server = Serving::start(&sandbox, &["-H", &host]);
    until(|| UnixStream::connect(&socket).is_ok());
    std::fs::remove_file(&socket).unwrap();
    let _anothers = UnixListener::bind(&socket).unwrap();
    server.end();
    assert!(socket.exists());
    std::fs::remove_file(&socket).unwrap();

    std::fs::write(&socket, "a letter").unwrap();
    let refused = sandbox.run(["serve", "-H", &host]).fails(1);
    assert!(refused.contains("something else than a socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "a letter");
}

#[test]
fn a_group_may_be_let_in() {
    let sandbox = empty();
    std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = sandbox.path().join("api.sock");
    let hidden = sandbox.path().join("run/docker.sock");
    let host = format!("unix://{}", socket.display());
    let server = Serving::start(&sandbox, &["-H", &host, "-H", "unix://", "--group", "daemon"]);
    until(|| UnixStream::connect(&hidden).is_ok());
    let metadata = socket.metadata().unwrap();
    assert_eq!(
        (metadata.mode() & 0o777, metadata.uid(), metadata.gid()),
        (0o660, 0, 1)
    );
    let said = server.end();
    let warning = format!("cannot reach {}", hidden.display());
    assert_eq!(said.matches("cannot reach").count(), 1, "{said}");
    assert!(said.contains(&warning), "{said}");
    assert!(!socket.exists() && !hidden.exists());
    let unknown = sandbox.run(["serve", "--group", "nobody-knows"]).fails(1);
    assert!(unknown.contains("there is no group 'nobody-knows'"), "{unknown}");
}

#[test]
fn the_service_manager_hands_over_sockets_and_is_told() {
    let sandbox = empty();
    let socket = sandbox.path().join("handed.sock");
    let told = sandbox.path().join("notify");
    let manager = UnixDatagram::bind(&told).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let script = "import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=sys.argv[2])
os.execv(sys.argv[3], [sys.argv[3], 'serve', '-H', 'fd://'])";
    let prepared = sandbox.command(["serve"]);
    let mut command = Command::new("python3");
    for (name, value) in prepared.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let child = command
        .arg("-c")
        .arg(script)
        .args([&socket, &told, sandbox.program()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let server = Serving(child);
    let mut word = [0; 64];
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"READY=1");
    assert!(ping(UnixStream::connect(&socket).unwrap()).ends_with("OK"));
    server.end();
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"STOPPING=1");
    assert!(socket.exists(), "it is the manager's");

    let nothing = sandbox.run(["serve", "-H", "fd://"]).fails(1);
    assert!(nothing.contains("no socket was handed over"), "{nothing}");
}

#[test]
fn tcp_without_tls_takes_a_flag_and_a_loopback_address() {
    let sandbox = empty();
    let refused = sandbox.run(["serve", "-H", "tcp://127.0.0.1:0"]).fails(1);
    assert!(
        refused.contains("TCP without TLS would make everybody root"),
        "{refused}"
    );
    let refused = sandbox
        .run(["serve", "-H", "tcp://0.0.0.0:0", "--insecure-tcp"])
        .fails(1);
    assert!(refused.contains("it is no loopback address"), "{refused}");

    let mut server = Serving::start(&sandbox, &["-H", "tcp://127.0.0.1:0", "--insecure-tcp"]);
    let address = listening(&mut server);
    assert!(ping(TcpStream::connect(&address).unwrap()).ends_with("OK"));
    let mut stream = TcpStream::connect(&address).unwrap();
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

/// Reads up to where the server says that it listens.
fn listening(server: &mut Serving) -> String {
    let mut text = String::new();
    let stderr = server.0.stderr.as_mut().unwrap();
    loop {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{text}");
        text.push(char::from(byte[0]));
        if byte[0] == b'\n'
            && let Some((_, address)) = text.split_once("API listen on tcp://")
        {
            return address.trim().to_owned();
        }
    }
}

fn openssl(directory: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tls_takes_clients_with_a_certificate_alone() {
    let sandbox = empty();
    let there = sandbox.path();
    openssl(
        there,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
    );
    openssl(
        there,
        "req -x509 -newkey rsa:2048 -nodes -keyout foreign.key -out foreign.pem -subj /CN=foreigner -days 2",
    );
    sandbox.write(
        "server.ext",
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    );
    sandbox.write("client.ext", "extendedKeyUsage=clientAuth\n");
    for name in ["server", "client"] {
        openssl(
            there,
            &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        );
        openssl(
            there,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
            ),
        );
    }
    let files = [
        "--tlscacert",
        "ca.pem",
        "--tlscert",
        "server.pem",
        "--tlskey",
        "server.key",
    ];
    let half = sandbox.run([
        "serve",
        "-H",
        "tcp://127.0.0.1:0",
        "--tlsverify",
        "--tlscacert",
        "ca.pem",
    ]);
    assert!(
        half.fails(1)
            .contains("needs --tlscacert, --tlscert and --tlskey")
    );
    let mut arguments = vec!["-H", "tcp://127.0.0.1:0", "--tlsverify"];
    arguments.extend(files);
    let mut server = Serving::start(&sandbox, &arguments);
    let address = listening(&mut server);
    let ask = |more: &[&str]| {
        Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert", "ca.pem"])
            .args(more)
            .arg(format!("https://{address}/_ping"))
            .current_dir(there)
            .output()
            .unwrap()
    };
    let known = ask(&["--cert", "client.pem", "--key", "client.key"]);
    assert_eq!(
        String::from_utf8_lossy(&known.stdout),
        "OK",
        "{}",
        String::from_utf8_lossy(&known.stderr)
    );
    assert!(!ask(&[]).status.success());
    assert!(
        !ask(&["--cert", "foreign.pem", "--key", "foreign.key"])
            .status
            .success()
    );
    let page = ask(&[
        "--cert",
        "client.pem",
        "--key",
        "client.key",
        "-H",
        "Origin: https://evil.example",
    ]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("web page"));
    server.end();
}
