use crate::kit::{Root, shell};
use engine::Kind;
use engine::containers::record::ContainerId;
use engine::containers::request::{CreateContainer, NetworkAttachment, NetworkMode, PublishRequest};
use engine::containers::start::StartRequest;
use engine::networks::request::{CreateNetwork, Pool};
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
    (
        "networks::a_network_is_made_listed_and_removed",
        a_network_is_made_listed_and_removed,
    ),
    (
        "networks::names_are_resolved_and_follow_at_once",
        names_are_resolved_and_follow_at_once,
    ),
    (
        "networks::a_running_container_is_connected_and_disconnected",
        a_running_container_is_connected_and_disconnected,
    ),
    (
        "networks::a_container_is_on_several_networks",
        a_container_is_on_several_networks,
    ),
    (
        "networks::a_link_on_the_bridge_is_a_line_and_variables",
        a_link_on_the_bridge_is_a_line_and_variables,
    ),
    (
        "networks::rules_that_were_taken_away_come_back",
        rules_that_were_taken_away_come_back,
    ),
    (
        "networks::what_a_dead_maker_left_goes",
        what_a_dead_maker_left_goes,
    ),
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

fn named(name: &str) -> CreateNetwork {
    CreateNetwork {
        name: name.into(),
        ..CreateNetwork::default()
    }
}

fn on(networks: &[&str], name: &str, script: &str) -> CreateContainer {
    CreateContainer {
        name: Some(name.into()),
        network: NetworkMode::Named(networks[0].into()),
        attachments: networks.iter().map(|network| attachment(network)).collect(),
        ..shell(script)
    }
}

fn attachment(network: &str) -> NetworkAttachment {
    NetworkAttachment {
        network: network.into(),
        ..NetworkAttachment::default()
    }
}

fn resolves(root: &Root, id: &ContainerId, name: &str) -> Option<String> {
    let output = root.exec(id, &["nslookup", name, "127.0.0.11"]);
    let lines = output
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Name:"));
    lines
        .filter_map(|line| line.strip_prefix("Address:"))
        .map(|address| address.trim().to_owned())
        .next()
}

fn address_of(root: &Root, id: &ContainerId, network: &str) -> String {
    let container = root.containers().inspect(id, false).unwrap();
    let endpoint = container
        .status
        .endpoints
        .iter()
        .find(|endpoint| endpoint.network == network);
    endpoint.unwrap().endpoint.address.to_string()
}

fn a_network_is_made_listed_and_removed() {
    let root = Root::new();
    let networks = root.networks();
    let made = networks
        .create(&CreateNetwork {
            pools: vec![Pool {
                subnet: Some("10.211.0.0/24".parse().unwrap()),
                ..Pool::default()
            }],
            labels: [("a".to_owned(), "1".to_owned())].into(),
            ..named("net")
        })
        .unwrap();
    assert_eq!(made.driver, "bridge");
    assert_eq!(made.pools[0].gateway, Some("10.211.0.1".parse().unwrap()));
    let link = format!("/sys/class/net/co-{}", &made.id[..12]);
    assert!(std::path::Path::new(&link).exists());
    assert_eq!(networks.inspect("net").unwrap(), made);
    assert_eq!(networks.inspect(&made.id[..6]).unwrap().id, made.id);
    let mut names: Vec<String> = networks
        .list()
        .unwrap()
        .into_iter()
        .map(|network| network.name)
        .collect();
    names.sort();
    assert_eq!(names, ["bridge", "host", "net", "none"]);
    let refusals = [
        (
            networks.create(&named("net")).unwrap_err(),
            Kind::Conflict,
            "network with name net already exists".to_owned(),
        ),
        (
            networks
                .create(&CreateNetwork {
                    pools: made.pools.clone(),
                    ..named("other")
                })
                .unwrap_err(),
            Kind::Forbidden,
            "invalid pool request: Pool overlaps with other one on this address space".to_owned(),
        ),
        (
            networks.remove("bridge").unwrap_err(),
            Kind::Forbidden,
            "bridge is a pre-defined network and cannot be removed".to_owned(),
        ),
        (
            networks.remove("nope").unwrap_err(),
            Kind::NotFound,
            "network nope not found".to_owned(),
        ),
        (
            root.try_create(on(&["nope"], "c0", "true")).unwrap_err(),
            Kind::NotFound,
            "network nope not found".to_owned(),
        ),
    ];
    for (error, kind, message) in refusals {
        assert_eq!((error.kind(), error.to_string()), (kind, message));
    }
    let id = root.create(on(&["net"], "c1", "sleep 1000"));
    root.start(&id);
    let error = networks.remove("net").unwrap_err();
    let expected = "error while removing network: network net has active endpoints (name:\"c1\" id:\"";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(networks.inspect("net").unwrap().members[0].name, "c1");
    assert!(networks.prune(&[]).unwrap().is_empty());
    root.containers().remove(&id, true, false).unwrap();
    networks.remove("net").unwrap();
    assert!(!std::path::Path::new(&link).exists());
    networks.create(&named("idle")).unwrap();
    assert_eq!(networks.prune(&[]).unwrap(), ["idle"]);
    let told: Vec<String> = root
        .events(None, None)
        .unwrap()
        .into_iter()
        .filter(|event| event.kind == "network")
        .map(|event| event.action)
        .collect();
    let expected = "create connect disconnect destroy create destroy";
    let told: Vec<String> = told.into_iter().filter(|action| action != "prune").collect();
    assert_eq!(told.join(" "), expected);
}

fn names_are_resolved_and_follow_at_once() {
    let root = Root::new();
    root.networks().create(&named("net")).unwrap();
    let db = root.create(CreateContainer {
        attachments: vec![NetworkAttachment {
            aliases: vec!["store".into()],
            ..attachment("net")
        }],
        ..on(&["net"], "db", "sleep 1000")
    });
    let app = root.create(on(&["net"], "app", "sleep 1000"));
    root.start(&app);
    assert_eq!(resolves(&root, &app, "db"), None);
    root.start(&db);
    let address = address_of(&root, &db, "net");
    for name in ["db", "DB", "store", "db.net", db.short()] {
        assert_eq!(resolves(&root, &app, name), Some(address.clone()), "{name}");
    }
    let back = root.exec(&app, &["nslookup", &address, "127.0.0.11"]);
    assert!(back.stdout.contains("db.net"), "{}", back.stdout);
    let file = root.exec(&app, &["cat", "/etc/resolv.conf"]).stdout;
    assert!(file.starts_with("nameserver 127.0.0.11\n"), "{file}");
    assert!(file.contains("ndots:0"), "{file}");
    root.containers().rename(&db, "pg").unwrap();
    assert_eq!(resolves(&root, &app, "pg"), Some(address.clone()));
    assert_eq!(resolves(&root, &app, "db"), None);
    root.containers().remove(&db, true, false).unwrap();
    assert_eq!(resolves(&root, &app, "pg"), None);
    root.containers().remove(&app, true, false).unwrap();
    root.networks().remove("net").unwrap();
}

fn a_running_container_is_connected_and_disconnected() {
    let root = Root::new();
    let networks = root.networks();
    networks.create(&named("net")).unwrap();
    let db = root.create(on(&["net"], "db", "sleep 1000"));
    root.start(&db);
    let app = root.create(CreateContainer {
        name: Some("app".into()),
        ..on_bridge("sleep 1000")
    });
    root.start(&app);
    let links = |id: &ContainerId| {
        let output = root.exec(id, &["ls", "/sys/class/net"]).stdout;
        output.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(links(&app), ["eth0", "lo"]);
    networks.connect(&app, &attachment("net")).unwrap();
    assert_eq!(links(&app), ["eth0", "eth1", "lo"]);
    assert_eq!(resolves(&root, &app, "db"), Some(address_of(&root, &db, "net")));
    assert_eq!(resolves(&root, &db, "app"), Some(address_of(&root, &app, "net")));
    let pinged = root.exec(&app, &["ping", "-c1", "-w5", "db"]);
    assert_eq!(pinged.exit.code, 0, "{}{}", pinged.stdout, pinged.stderr);
    let hosts = root.exec(&app, &["cat", "/etc/hosts"]).stdout;
    assert!(hosts.contains(&address_of(&root, &app, "net")), "{hosts}");
    let again = networks.connect(&app, &attachment("net")).unwrap_err();
    assert_eq!(
        again.to_string(),
        "endpoint with name app already exists in network net"
    );
    networks.disconnect(&app, "bridge").unwrap();
    assert_eq!(links(&app), ["eth1", "lo"]);
    let route = root.exec(&app, &["ip", "route"]).stdout;
    assert!(route.starts_with("default via "), "{route}");
    networks.disconnect(&app, "net").unwrap();
    assert_eq!(links(&app), ["lo"]);
    assert_eq!(resolves(&root, &db, "app"), None);
    let error = networks.disconnect(&app, "net").unwrap_err();
    assert!(error.to_string().contains("is not connected to"), "{error}");
    // One that does not run has only its settings changed.
    root.containers().stop(&app, None, Some(Duration::ZERO)).unwrap();
    networks.connect(&app, &attachment("net")).unwrap();
    root.start(&app);
    assert_eq!(resolves(&root, &app, "db"), Some(address_of(&root, &db, "net")));
    for id in [&app, &db] {
        root.containers().remove(id, true, false).unwrap();
    }
    networks.remove("net").unwrap();
}

fn a_container_is_on_several_networks() {
    let root = Root::new();
    let networks = root.networks();
    let pool = |subnet: &str| {
        vec![Pool {
            subnet: Some(subnet.parse().unwrap()),
            ..Pool::default()
        }]
    };
    networks
        .create(&CreateNetwork {
            pools: pool("10.212.1.0/24"),
            ..named("b")
        })
        .unwrap();
    networks
        .create(&CreateNetwork {
            pools: pool("10.212.2.0/24"),
            ..named("a")
        })
        .unwrap();
    networks
        .create(&CreateNetwork {
            internal: true,
            pools: pool("10.212.3.0/24"),
            ..named("inside")
        })
        .unwrap();
    let mut request = on(&["b", "inside", "a"], "c1", "sleep 1000");
    request.attachments[0].address = Some("10.212.1.77".parse().unwrap());
    let id = root.create(request);
    root.start(&id);
    assert_eq!(address_of(&root, &id, "b"), "10.212.1.77");
    let output = root.exec(&id, &["ip", "route"]).stdout;
    assert!(output.starts_with("default via 10.212.2.1 dev eth0"), "{output}");
    let endpoints = root.containers().inspect(&id, false).unwrap().status.endpoints;
    let order: Vec<(&str, &str)> = endpoints
        .iter()
        .map(|endpoint| (endpoint.network.as_str(), endpoint.endpoint.link.as_str()))
        .collect();
    assert_eq!(order, [("a", "eth0"), ("b", "eth1"), ("inside", "eth2")]);
    let mut second = on(&["b"], "c2", "true");
    second.attachments[0].address = Some("10.212.1.77".parse().unwrap());
    let second = root.create(second);
    let error = root
        .containers()
        .start(&second, StartRequest::default())
        .unwrap_err();
    assert_eq!(error.to_string(), "Address already in use");
    root.containers().remove(&id, true, false).unwrap();
    root.start(&second);
    root.containers().wait(&second).unwrap();
    // Of a container that is on internal networks alone nobody outside is asked.
    let lonely = root.create(on(&["inside"], "c3", "sleep 1000"));
    root.start(&lonely);
    assert_eq!(
        resolves(&root, &lonely, "c3"),
        Some(address_of(&root, &lonely, "inside"))
    );
    let route = root.exec(&lonely, &["ip", "route"]).stdout;
    assert!(!route.contains("default"), "{route}");
    root.containers().remove(&lonely, true, false).unwrap();
    assert_eq!(networks.prune(&[]).unwrap().len(), 3);
}

fn a_link_on_the_bridge_is_a_line_and_variables() {
    let root = Root::new();
    let db = root.create(CreateContainer {
        name: Some("db".into()),
        expose: vec!["5432/tcp".into()],
        ..on_bridge("sleep 1000")
    });
    let linked = || CreateContainer {
        links: vec!["db:store".into()],
        ..on_bridge("cat /etc/hosts; env")
    };
    let early = root.create(linked());
    let error = root
        .containers()
        .start(&early, StartRequest::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Cannot link to a non running container: /db AS /"),
        "{error}"
    );
    root.start(&db);
    let output = root.run(linked()).stdout;
    let address = address_of(&root, &db, "bridge");
    assert!(
        output.contains(&format!("{address}\tstore {} db\n", db.short())),
        "{output}"
    );
    assert!(
        output.contains(&format!("STORE_PORT_5432_TCP=tcp://{address}:5432\n")),
        "{output}"
    );
    root.containers().remove(&db, true, false).unwrap();
}

/// Our table alone: other tests of this host have theirs.
fn rules_that_were_taken_away_come_back() {
    let root = Root::new();
    root.networks().create(&named("net")).unwrap();
    let id = root.create(CreateContainer {
        name: Some("web".into()),
        ..publish(0)
    });
    root.start(&id);
    root.networks().connect(&id, &attachment("net")).unwrap();
    // Not before the start has settled does the monitor listen.
    let bridge = format!("co-{}", &root.networks().inspect("net").unwrap().id[..12]);
    let nft = |arguments: &[&str]| {
        let output = std::process::Command::new("nft")
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let tables = nft(&["list", "tables"]);
    let table = tables
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "))
        .find(|table| nft(&["list", "table", "inet", table]).contains(&bridge))
        .unwrap();
    let start = Instant::now();
    let before = nft(&["list", "table", "inet", table]);
    std::thread::sleep(Duration::from_secs(1));
    nft(&["delete", "table", "inet", table]);
    loop {
        let now = nft(&["list", "table", "inet", table]);
        if now.lines().count() == before.lines().count() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{before}\n{now}");
        std::thread::sleep(Duration::from_millis(50));
    }
    root.containers().remove(&id, true, false).unwrap();
    root.networks().remove("net").unwrap();
}

fn what_a_dead_maker_left_goes() {
    let root = Root::new();
    // As if `network create` had been killed before its row was there.
    let made = root.networks().create(&named("net")).unwrap();
    let directory = root.path().join("run/networks");
    let of_net = directory.join(&made.id);
    assert!(of_net.join("segment").exists());
    let link = format!("/sys/class/net/co-{}", &made.id[..12]);
    let status = std::process::Command::new("sqlite3")
        .args(["-cmd", ".timeout 20000"])
        .arg(root.path().join("root/state.db"))
        .arg("DELETE FROM networks WHERE name = 'net'")
        .status();
    assert!(status.unwrap().success());
    assert!(std::path::Path::new(&link).exists());
    drop(root.again());
    assert!(!std::path::Path::new(&link).exists());
    assert!(!of_net.exists());
}
