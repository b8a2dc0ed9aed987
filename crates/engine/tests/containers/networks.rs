use crate::kit::{Root, shell};
use engine::Kind;
use engine::containers::request::{CreateContainer, NetworkMode, PublishRequest};
use engine::containers::start::StartRequest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[crate::Test] = &[
    (
        "networks::containers_on_the_bridge_reach_each_other",
        containers_on_the_bridge_reach_each_other,
    ),
    (
        "networks::a_published_port_leads_inside_and_is_given_back",
        a_published_port_leads_inside_and_is_given_back,
    ),
    ("networks::a_network_can_be_shared", a_network_can_be_shared),
];

fn on_bridge(script: &str) -> CreateContainer {
    CreateContainer {
        network: NetworkMode::Bridge,
        ..shell(script)
    }
}

fn containers_on_the_bridge_reach_each_other() {
    let root = Root::new();
    let id = root.create(on_bridge("echo hello | nc -l -p 99"));
    root.start(&id);
    let endpoint = root
        .containers()
        .inspect(&id, false)
        .unwrap()
        .status
        .endpoints
        .remove(0);
    let address = endpoint.endpoint.address;
    let output = root.run(on_bridge(&format!(
        "for i in $(seq 50); do nc {address} 99 && break; sleep 0.05; done; cat /etc/hosts; ip addr show eth0"
    )));
    assert!(
        output.stdout.starts_with("hello\n"),
        "{}{}",
        output.stdout,
        output.stderr
    );
    assert!(output.stdout.contains("ip6-localhost"), "{}", output.stdout);
    root.containers().wait(&id).unwrap();
    assert!(
        root.containers()
            .inspect(&id, false)
            .unwrap()
            .status
            .endpoints
            .is_empty()
    );
}

fn publish(port: u16) -> CreateContainer {
    CreateContainer {
        publish: vec![PublishRequest {
            host: None,
            host_ports: port..=port,
            port: 80,
            protocol: network::Protocol::Tcp,
        }],
        ..on_bridge("while :; do echo served | nc -l -p 80; done")
    }
}

fn a_published_port_leads_inside_and_is_given_back() {
    let root = Root::new();
    let id = root.create(CreateContainer {
        name: Some("web".into()),
        ..publish(0)
    });
    root.start(&id);
    let ports = root
        .containers()
        .inspect(&id, false)
        .unwrap()
        .status
        .endpoints
        .remove(0)
        .endpoint
        .ports;
    let port = ports[0].host_port;
    let start = Instant::now();
    let text = loop {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"\n").ok();
            stream.read_to_string(&mut text).ok();
        }
        if !text.is_empty() || start.elapsed() > Duration::from_secs(10) {
            break text;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(text, "served\n");
    let second = root.create(publish(port));
    let error = root
        .containers()
        .start(&second, StartRequest::default())
        .unwrap_err();
    assert!(
        error.to_string().ends_with(&format!(
            "Bind for 0.0.0.0:{port} failed: port is already allocated"
        )),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("\"web\""));
    assert_eq!(error.kind(), Kind::Conflict);
    root.containers().remove(&id, true, false).unwrap();
    root.start(&second);
    root.containers().remove(&second, true, false).unwrap();
}

fn a_network_can_be_shared() {
    let root = Root::new();
    let id = root.create(on_bridge("sleep 1000"));
    root.start(&id);
    let output = root.run(CreateContainer {
        network: NetworkMode::Container(id.as_str().into()),
        ..shell("ip addr show eth0 | grep -c inet; hostname")
    });
    assert_eq!(output.stdout, format!("1\n{}\n", id.short()));
    let output = root.run(CreateContainer {
        network: NetworkMode::Host,
        ..shell("ls /sys/class/net")
    });
    let host: Vec<_> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    for link in host {
        assert!(
            output.stdout.contains(&*link.to_string_lossy()),
            "{}",
            output.stdout
        );
    }
}
