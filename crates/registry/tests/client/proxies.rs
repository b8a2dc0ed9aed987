//! Through proxies to a registry that cannot be reached otherwise: its name has no address here.

use super::connections::tls;
use super::push::{noise, push};
use super::support::{alone, read, reference, resolve, tuning};
use registry::{Client, Landed, RegistryConfig, Tuning};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::registry::AUTHORITY;

/// Where the registry is, for the process that is the client.
const NAME: &str = "REGISTRY_TEST_NAME";

/// Reads what a client wants, and returns the name and port that it asks for.
type Greeting = fn(&mut TcpStream) -> (String, u16);

/// A proxy: its address, and how many connections it has made.
struct Proxy {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(greet: Greeting) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || {
                    let mut client = client.unwrap();
                    let (host, port) = greet(&mut client);
                    assert_eq!(host, "registry.test");
                    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    counted.fetch_add(1, Ordering::SeqCst);
                    splice(client, server);
                });
            }
        });
        Self { address, connections }
    }
}

/// Carries bytes both ways until both ends have said their last.
fn splice(client: TcpStream, server: TcpStream) {
    let carry = |mut from: TcpStream, mut to: TcpStream| {
        std::thread::spawn(move || {
            // Either end may go at any time.
            std::io::copy(&mut from, &mut to).unwrap_or_default();
            to.shutdown(Shutdown::Write).unwrap_or_default();
        })
    };
    let there = carry(client.try_clone().unwrap(), server.try_clone().unwrap());
    let back = carry(server, client);
    there.join().unwrap();
    back.join().unwrap();
}

/// RFC 1928, with a name and without a password.
fn socks(client: &mut TcpStream) -> (String, u16) {
    fn take<const N: usize>(client: &mut TcpStream) -> [u8; N] {
        let mut bytes = [0; N];
        client.read_exact(&mut bytes).unwrap();
        bytes
    }
    let [version, methods] = take(client);
    assert_eq!(version, 5);
    let mut offered = vec![0; usize::from(methods)];
    client.read_exact(&mut offered).unwrap();
    assert!(offered.contains(&0));
    client.write_all(&[5, 0]).unwrap();
    let [_, command, _, kind] = take(client);
    assert_eq!((command, kind), (1, 3), "a connection to a name");
    let [length] = take(client);
    let mut name = vec![0; usize::from(length)];
    client.read_exact(&mut name).unwrap();
    let port = u16::from_be_bytes(take(client));
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    (String::from_utf8(name).unwrap(), port)
}

/// RFC 9110 §9.3.6.
fn connect(client: &mut TcpStream) -> (String, u16) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let request = String::from_utf8(request).unwrap();
    let mut words = request.split_whitespace();
    assert_eq!(words.next(), Some("CONNECT"));
    let (host, port) = words.next().unwrap().split_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

/// Pulls and pushes through a proxy.
fn through(test: &str, variable: &str, scheme: &str, greet: Greeting) {
    let (registry, name) = tls();
    let proxy = Proxy::start(greet);
    let address = format!("{scheme}://{}", proxy.address);
    if !alone(test, &[(variable, &address), (NAME, &name)]) {
        assert!(
            proxy.connections.load(Ordering::SeqCst) > 0,
            "not through the proxy"
        );
        assert!(registry.count("/blobs/uploads/") > 0, "nothing was pushed");
        return;
    }
    let name = std::env::var(NAME).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let own = directory.path().join(name.split('/').next().unwrap());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), AUTHORITY).unwrap();
    let config = RegistryConfig {
        certificates: vec![directory.path().to_owned()],
        ..RegistryConfig::default()
    };
    let tuning = Tuning {
        no_proxy: false,
        ..tuning()
    };
    let client = Client::with_tuning(config, tuning).unwrap();
    let image = resolve(&client, &name).unwrap();
    read(&client, &name, &image, &image.layers[0]).unwrap();
    let target = client.target(&reference(&name), Vec::new());
    let landed = push(&client, &target, &noise(300_000)).unwrap();
    assert_eq!(landed, Landed::Uploaded);
}

#[test]
fn a_socks_proxy_carries_pulls_and_pushes() {
    through(
        "proxies::a_socks_proxy_carries_pulls_and_pushes",
        "ALL_PROXY",
        "socks5h",
        socks,
    );
}

#[test]
fn an_http_proxy_carries_pulls_and_pushes() {
    through(
        "proxies::an_http_proxy_carries_pulls_and_pushes",
        "HTTPS_PROXY",
        "http",
        connect,
    );
}
