//! Getting to a registry at all: names, ports, certificates, proxies.

use super::support::{alone, client, read, resolve, told, tuning};
use registry::{Client, RegistryConfig, RegistryError, Tuning};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;
use testkit::registry::{
    AUTHORITY, CLIENT_CERTIFICATE, CLIENT_KEY, FakeRegistry, SERVER_CERTIFICATE, SERVER_KEY, TestImage,
};

pub(crate) fn named(names: &[&str]) -> Tuning {
    Tuning {
        hosts: names
            .iter()
            .map(|name| ((*name).to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST)))
            .collect(),
        ..tuning()
    }
}

pub(crate) fn tls() -> (FakeRegistry, String) {
    let registry = FakeRegistry::start_tls();
    registry.put_image("app", Some("1"), &TestImage::with_file("a", b"b"));
    let name = format!("registry.test:{}/app:1", registry.address().port());
    (registry, name)
}

#[test]
fn an_unknown_authority_is_explained() {
    let (registry, name) = tls();
    let client = Client::with_tuning(RegistryConfig::default(), named(&["registry.test"])).unwrap();
    let message = told(&resolve(&client, &name).unwrap_err());
    let expected = format!(
        "no secure connection to registry registry.test:{}: its certificate was signed by an authority that this host does \
         not know; add the authority to the host's trust store",
        registry.address().port()
    );
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("UnknownIssuer"), "{message}");
    assert!(registry.requests().is_empty());
}

#[test]
fn an_authority_that_was_put_down_for_a_registry_is_trusted_there() {
    let (registry, name) = tls();
    let directory = tempfile::TempDir::new().unwrap();
    let own = directory
        .path()
        .join(format!("registry.test:{}", registry.address().port()));
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), AUTHORITY).unwrap();
    let config = RegistryConfig {
        certificates: vec!["/nonexistent".into(), directory.path().to_owned()],
        ..RegistryConfig::default()
    };
    let client = Client::with_tuning(config.clone(), named(&["registry.test"])).unwrap();
    resolve(&client, &name).unwrap();
    for (file, says) in [
        ("client.cert", "client.key is missing"),
        ("other.key", "with .cert at its end, is missing"),
    ] {
        std::fs::write(own.join(file), AUTHORITY).unwrap();
        let client = Client::with_tuning(config.clone(), named(&["registry.test"])).unwrap();
        let message = told(&resolve(&client, &name).unwrap_err());
        assert!(message.contains(says) && message.contains(file), "{message}");
        std::fs::remove_file(own.join(file)).unwrap();
    }
    std::fs::write(own.join("ca.crt"), "no certificate").unwrap();
    let client = Client::with_tuning(config, named(&["registry.test"])).unwrap();
    assert!(
        resolve(&client, &name).is_err(),
        "it does not trust anybody for lack of one"
    );
}

#[test]
fn our_own_certificate_is_shown_where_one_was_put_down() {
    let registry = FakeRegistry::start_mutual_tls();
    registry.put_image("app", Some("1"), &TestImage::with_file("a", b"b"));
    let name = format!("registry.test:{}/app:1", registry.address().port());
    let directory = tempfile::TempDir::new().unwrap();
    let own = directory
        .path()
        .join(format!("registry.test:{}", registry.address().port()));
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), AUTHORITY).unwrap();
    let config = RegistryConfig {
        certificates: vec![directory.path().to_owned()],
        ..RegistryConfig::default()
    };
    let client = || Client::with_tuning(config.clone(), named(&["registry.test"])).unwrap();
    resolve(&client(), &name).unwrap_err();
    assert!(registry.requests().is_empty());
    std::fs::write(own.join("client.cert"), CLIENT_CERTIFICATE).unwrap();
    std::fs::write(own.join("client.key"), CLIENT_KEY).unwrap();
    let known = client();
    let image = resolve(&known, &name).unwrap();
    read(&known, &name, &image, &image.layers[0]).unwrap();
    // One that another authority made is none.
    std::fs::write(own.join("client.cert"), SERVER_CERTIFICATE).unwrap();
    std::fs::write(own.join("client.key"), SERVER_KEY).unwrap();
    resolve(&client(), &name).unwrap_err();
}

#[test]
fn the_hosts_authorities_are_trusted() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, AUTHORITY).unwrap();
    let variables = [
        ("SSL_CERT_FILE", file.to_str().unwrap()),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    if !alone("connections::the_hosts_authorities_are_trusted", &variables) {
        return;
    }
    let (registry, name) = tls();
    let client =
        Client::with_tuning(RegistryConfig::default(), named(&["registry.test", "wrong.test"])).unwrap();
    resolve(&client, &name).unwrap();
    assert_eq!(registry.count("/manifests/"), 1);
    let message = told(&resolve(&client, &name.replace("registry.test", "wrong.test")).unwrap_err());
    assert!(
        message.contains("its certificate is for another name"),
        "{message}"
    );
}

#[test]
fn loopback_and_listed_hosts_need_no_certificate() {
    let (registry, name) = tls();
    let port = registry.address().port();
    for loopback in [
        format!("127.0.0.1:{port}/app:1"),
        format!("localhost:{port}/app:1"),
    ] {
        resolve(&client(RegistryConfig::default()), &loopback).unwrap();
    }
    let config = RegistryConfig {
        insecure: vec![format!("registry.test:{port}")],
        ..RegistryConfig::default()
    };
    resolve(
        &Client::with_tuning(config, named(&["registry.test"])).unwrap(),
        &name,
    )
    .unwrap();
}

#[test]
fn plain_http_is_spoken_only_where_it_may_be() {
    let registry = FakeRegistry::start();
    registry.put_image("app", Some("1"), &TestImage::with_file("a", b"b"));
    let port = registry.address().port();
    let name = format!("registry.test:{port}/app:1");
    resolve(
        &client(RegistryConfig::default()),
        &format!("localhost:{port}/app:1"),
    )
    .unwrap();
    let strict = Client::with_tuning(RegistryConfig::default(), named(&["registry.test"])).unwrap();
    registry.reset();
    let message = told(&resolve(&strict, &name).unwrap_err());
    assert!(
        message.contains("it does not speak TLS on this port"),
        "{message}"
    );
    assert!(registry.requests().is_empty());
    let config = RegistryConfig {
        insecure: vec!["registry.test".to_owned()],
        ..RegistryConfig::default()
    };
    resolve(
        &Client::with_tuning(config, named(&["registry.test"])).unwrap(),
        &name,
    )
    .unwrap();
}

#[test]
fn a_name_without_address_is_said_to_have_none() {
    // The name is refused without asking anybody outside: RFC 6761 reserves `invalid`.
    let error = resolve(&client(RegistryConfig::default()), "registry.invalid/app").unwrap_err();
    assert!(matches!(error, RegistryError::HostNotFound { .. }), "{error:?}");
    assert!(
        told(&error).starts_with("cannot find the address of registry registry.invalid: check the name"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_refused_connection_is_said_to_be_refused() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = resolve(
        &client(RegistryConfig::default()),
        &format!("127.0.0.1:{port}/app"),
    )
    .unwrap_err();
    assert!(
        matches!(error, RegistryError::ConnectionRefused { .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("registry 127.0.0.1:{port} refused the connection")),
        "{error}"
    );
}

#[test]
fn a_server_that_never_greets_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tuning = Tuning {
        connect_timeout: Duration::from_millis(200),
        ..named(&["registry.test"])
    };
    let client = Client::with_tuning(RegistryConfig::default(), tuning).unwrap();
    let error = resolve(&client, &format!("registry.test:{port}/app")).unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::Timeout {
                doing: "while connecting",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn the_proxy_variables_are_honoured() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://user:pw@{}", listener.local_addr().unwrap());
    let variables = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("HTTP_PROXY", proxy.as_str()),
        ("NO_PROXY", "direct.test"),
    ];
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(request).unwrap()
    });
    if !alone("connections::the_proxy_variables_are_honoured", &variables) {
        let request = answering.join().unwrap();
        assert!(
            request.starts_with("CONNECT registry.test:5000 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request
                .to_lowercase()
                .contains("proxy-authorization: basic dxnlcjpwdw=="),
            "{request}"
        );
        return;
    }
    let tuning = Tuning {
        no_proxy: false,
        ..named(&["direct.test"])
    };
    let client = Client::with_tuning(RegistryConfig::default(), tuning).unwrap();
    let error = resolve(&client, "registry.test:5000/app").unwrap_err();
    let shown = proxy_address(&std::env::var("HTTPS_PROXY").unwrap());
    assert!(
        told(&error).starts_with(&format!(
            "proxy {shown} did not connect to registry registry.test:5000: check "
        )),
        "{}",
        told(&error)
    );
    assert!(!format!("{error:?}{}", told(&error)).contains("pw"), "{error:?}");
    // What is exempt goes straight to its address, and loopback always does.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = resolve(&client, &format!("direct.test:{closed}/app")).unwrap_err();
    assert!(
        matches!(error, RegistryError::ConnectionRefused { .. }),
        "{error:?}"
    );
    let registry = FakeRegistry::start();
    registry.put_image("app", Some("1"), &TestImage::with_file("a", b"b"));
    resolve(&client, &format!("{}/app:1", registry.host())).unwrap();
}

fn proxy_address(url: &str) -> String {
    format!("http://{}", url.rsplit('@').next().unwrap())
}
