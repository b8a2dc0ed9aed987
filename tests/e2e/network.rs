//! The default bridge, published ports, `--network none|host|container:…`.

use crate::sandbox;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SERVER: &str = "while :; do echo served | nc -l -p 8080; done";

fn fetch(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"hello\n").ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn eventually(address: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match fetch(address) {
            Some(text) if !text.is_empty() => return text,
            _ => assert!(Instant::now() < deadline, "nothing answers at {address}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_published_port_is_reached_from_the_host() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1:0:8080",
            "busybox",
            "sh",
            "-c",
            SERVER,
        ])
        .ok();
    let port = coracle.run(["port", "web", "8080"]).ok();
    let address = port.trim();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert_eq!(eventually(address), "served\n");
    let listed = coracle.run(["ps", "--format", "{{.Ports}}"]).ok();
    assert_eq!(listed, format!("{address}->8080/tcp\n"));
    let taken = coracle
        .run([
            "run",
            "--name",
            "second",
            "-p",
            &format!("{address}:80"),
            "busybox",
            "true",
        ])
        .fails(125);
    assert!(
        taken.contains("port is already allocated") && taken.contains("web"),
        "{taken}"
    );
    coracle.run(["rm", "-f", "web", "second"]).ok();
    assert!(fetch(address).is_none());
}

#[test]
fn a_port_that_another_program_holds_is_refused() {
    let coracle = sandbox();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = coracle
        .run([
            "run",
            "--rm",
            "-p",
            &format!("127.0.0.1:{port}:80"),
            "busybox",
            "true",
        ])
        .fails(125);
    assert!(refused.contains(&port.to_string()), "{refused}");
}

#[test]
fn containers_on_the_bridge_reach_each_other() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "web", "busybox", "sh", "-c", SERVER])
        .ok();
    let address = coracle
        .run(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"])
        .ok();
    let address = address.trim();
    assert_eq!(eventually(&format!("{address}:8080")), "served\n");
    let script = format!("for i in 1 2 3 4 5; do echo hi | nc -w 2 {address} 8080 && break; sleep 0.2; done");
    assert_eq!(
        coracle.run(["run", "--rm", "busybox", "sh", "-c", &script]).ok(),
        "served\n"
    );
    let joined = coracle
        .run([
            "run",
            "--rm",
            "--network",
            "container:web",
            "busybox",
            "ip",
            "-4",
            "addr",
            "show",
            "eth0",
        ])
        .ok();
    assert!(joined.contains(address), "{joined}");
    coracle.run(["rm", "-f", "web"]).ok();
}

#[test]
fn none_has_only_itself_and_host_has_everything() {
    let coracle = sandbox();
    let links = |mode: &str| {
        let output = coracle
            .run([
                "run",
                "--rm",
                "--network",
                mode,
                "busybox",
                "ls",
                "/sys/class/net",
            ])
            .ok();
        output.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(links("none"), ["lo"]);
    assert_eq!(links("bridge"), ["eth0", "lo"]);
    let mut ours: Vec<_> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    ours.sort();
    let mut host = links("host");
    host.sort();
    assert_eq!(host, ours);
}

#[test]
fn names_are_resolved_by_the_hosts_servers_or_those_given() {
    let coracle = sandbox();
    let file = coracle
        .run([
            "run",
            "--rm",
            "--dns",
            "10.9.8.7",
            "--dns-search",
            "example.test",
            "busybox",
            "cat",
            "/etc/resolv.conf",
        ])
        .ok();
    assert!(
        file.contains("nameserver 10.9.8.7\n") && file.contains("search example.test\n"),
        "{file}"
    );
    let uplink = coracle
        .run(["run", "--rm", "busybox", "cat", "/sys/class/net/eth0/mtu"])
        .ok();
    let route = std::fs::read_to_string("/proc/net/route").unwrap();
    let link = route
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some("00000000"));
    if let Some(link) = link.and_then(|line| line.split_whitespace().next()) {
        assert_eq!(
            uplink,
            std::fs::read_to_string(format!("/sys/class/net/{link}/mtu")).unwrap()
        );
    }
}
