//! Published ports: every form of `-p`, from everywhere, and what becomes of them.

use crate::elsewhere::{
    Echo, Elsewhere, HOST, THERE, address, eventually, fetch, fetch_udp, inside, say, server, sleeper, told,
};
use crate::sandbox;
use testkit::Sandbox;

/// Where a container's port is published: the first line of `port`.
#[track_caller]
fn published(coracle: &Sandbox, container: &str, port: &str) -> String {
    let lines = told(coracle, &format!("port {container} {port}"));
    lines.lines().next().unwrap().to_owned()
}

/// The number in an address.
fn number(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

mod both {
    use super::*;
    use crate::both;

    #[test]
    fn a_port_is_reached_from_everywhere() {
        let coracle = both();
        let elsewhere = Elsewhere::new();
        say(&coracle, "network create lan").ok();
        server(&coracle, "web", "--network lan -p 8080");
        sleeper(&coracle, "near", "--network lan");
        sleeper(&coracle, "far", "");
        let shown = published(&coracle, "web", "8080");
        assert!(shown.starts_with("0.0.0.0:"), "{shown}");
        let port = number(&shown);
        let said = Some("web\n".to_owned());
        assert_eq!(elsewhere.fetch(&format!("{HOST}:{port}")), said);
        assert_eq!(fetch(&format!("127.0.0.1:{port}")), said);
        assert_eq!(fetch(&format!("{HOST}:{port}")), said);
        // A container reaches another's port by the host's address, and its own.
        for from in ["far", "near", "web"] {
            let script = format!("nc -w 2 {HOST} {port} </dev/null");
            assert_eq!(inside(&coracle, from, &script).as_deref(), Some("web"), "{from}");
        }
        let lines = told(&coracle, "port web");
        assert!(
            lines.starts_with(&format!("8080/tcp -> 0.0.0.0:{port}")),
            "{lines}"
        );
        let ports = told(&coracle, "ps --filter name=web --format {{.Ports}}");
        assert!(ports.starts_with(&format!("0.0.0.0:{port}->8080/tcp")), "{ports}");
        let none = say(&coracle, "port web 81").fails(1);
        assert!(none.to_lowercase().contains("no public port '81"), "{none}");
        say(&coracle, "stop -t 0 web").ok();
        assert_eq!(fetch(&format!("127.0.0.1:{port}")), None);
        assert_eq!(told(&coracle, "port web"), "");
        say(&coracle, "rm -f web near far").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn a_port_of_one_address_is_on_no_other() {
        let coracle = both();
        let elsewhere = Elsewhere::new();
        server(
            &coracle,
            "web",
            &format!("-p 127.0.0.1:18080:8080 -p {HOST}:18081:8080"),
        );
        let said = Some("web\n".to_owned());
        assert_eq!(fetch("127.0.0.1:18080"), said);
        assert_eq!(fetch(&format!("{HOST}:18080")), None);
        assert_eq!(elsewhere.fetch(&format!("{HOST}:18080")), None);
        assert_eq!(elsewhere.fetch(&format!("{HOST}:18081")), said);
        assert_eq!(fetch("127.0.0.1:18081"), None);
        let ports = told(&coracle, "ps --format {{.Ports}}");
        assert_eq!(
            ports,
            format!("{HOST}:18081->8080/tcp, 127.0.0.1:18080->8080/tcp")
        );
        say(&coracle, "rm -f web").ok();
    }

    #[test]
    fn ranges_protocols_and_ports_of_the_engines_choice() {
        let coracle = both();
        sleeper(
            &coracle,
            "web",
            "-p 18090-18092:8090-8092 -p 18100-18110:81 -p 127.0.0.1::82 -p 18093:8093/udp",
        );
        let echo = Echo::new(&coracle, "web", 8093);
        let lines = told(&coracle, "port web");
        for (port, expected) in [
            ("8090", "0.0.0.0:18090"),
            ("8092/tcp", "0.0.0.0:18092"),
            ("8093/udp", "0.0.0.0:18093"),
        ] {
            assert_eq!(published(&coracle, "web", port), expected, "{lines}");
        }
        let chosen: u16 = number(&published(&coracle, "web", "81")).parse().unwrap();
        assert!((18100..=18110).contains(&chosen), "{lines}");
        let free = published(&coracle, "web", "82");
        assert!(
            free.starts_with("127.0.0.1:") && number(&free).parse::<u16>().unwrap() > 1023,
            "{lines}"
        );
        let said = eventually("a datagram", || fetch_udp("127.0.0.1:18093"));
        assert_eq!(said, "hello\n");
        drop(echo);
        // The next one of the same range gets the next port of it.
        sleeper(&coracle, "second", "-p 18100-18110:81");
        assert_ne!(
            number(&published(&coracle, "second", "81"))
                .parse::<u16>()
                .unwrap(),
            chosen
        );
        say(&coracle, "rm -f web second").ok();
    }

    #[test]
    fn all_exposed_ports_are_published_at_once() {
        let coracle = both();
        server(&coracle, "web", "-P --expose 8080 --expose 9000-9001/udp");
        let lines = told(&coracle, "port web");
        for port in ["8080/tcp", "9000/udp", "9001/udp"] {
            assert!(lines.contains(&format!("{port} -> 0.0.0.0:")), "{lines}");
        }
        let port = number(&published(&coracle, "web", "8080")).to_owned();
        assert_eq!(fetch(&format!("127.0.0.1:{port}")).as_deref(), Some("web\n"));
        say(&coracle, "rm -f web").ok();
    }

    #[test]
    fn a_taken_port_is_refused() {
        let coracle = both();
        sleeper(&coracle, "first", "-p 18120:80");
        for flags in ["-p 18120:80", "-p 127.0.0.1:18120:80"] {
            let refused = say(&coracle, &format!("run --name second {flags} busybox true")).fails(125);
            assert!(
                refused.contains("port is already allocated"),
                "{flags}: {refused}"
            );
            say(&coracle, "rm -f second").ok();
        }
        // Another protocol is another port.
        say(&coracle, "run --rm -p 18120:80/udp busybox true").ok();
        say(&coracle, "rm -f first").ok();
        say(&coracle, "run --rm -p 18120:80 busybox true").ok();
    }

    #[test]
    fn wrong_ones_are_refused() {
        let coracle = both();
        for (text, expected) in [
            ("99999:80", "99999"),
            (
                "80-82:80-81",
                "nvalid ranges specified for container and host Ports",
            ),
            ("a:80", "a"),
            ("1.2.3:80:80", "1.2.3"),
            ("80:80/foo", "foo"),
        ] {
            let refused = say(&coracle, &format!("create -p {text} busybox"));
            assert_ne!(refused.code, 0, "{text}");
            assert!(refused.stderr.contains(expected), "{text}: {}", refused.stderr);
        }
    }
}

#[test]
fn a_taken_port_names_who_has_it() {
    let coracle = sandbox();
    sleeper(&coracle, "first", "-p 18130:80");
    let refused = say(&coracle, "run --rm -p 18130:80 busybox true").fails(125);
    assert!(
        refused.contains("port is already allocated") && refused.contains("first"),
        "{refused}"
    );
    say(&coracle, "rm -f first").ok();
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
fn both_families_are_published() {
    let coracle = sandbox();
    say(
        &coracle,
        "network create --ipv6 --subnet 10.213.31.0/24 --subnet fd00:213:31::/64 lan",
    )
    .ok();
    server(&coracle, "web", "--network lan -p 18140:8080 -p [::1]:18141:8080");
    let said = Some("web\n".to_owned());
    assert_eq!(fetch("127.0.0.1:18140"), said);
    assert_eq!(fetch("[fd00:213:31::1]:18140"), said);
    // Where packets of bridges pass the host's filters, the kernel drops the answers to ::1.
    let setting = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
    if setting.is_ok_and(|setting| setting.trim() == "0") {
        assert_eq!(fetch("[::1]:18140"), said);
        assert_eq!(fetch("[::1]:18141"), said);
    }
    assert_eq!(fetch("127.0.0.1:18141"), None);
    assert_eq!(fetch("[fd00:213:31::1]:18141"), None);
    let ports = told(&coracle, "ps --format {{.Ports}}");
    assert_eq!(
        ports,
        "0.0.0.0:18140->8080/tcp, [::]:18140->8080/tcp, [::1]:18141->8080/tcp"
    );
    assert_eq!(
        told(&coracle, "port web 8080"),
        "0.0.0.0:18140\n[::1]:18141\n[::]:18140"
    );
    say(&coracle, "rm -f web").ok();
}

/// The kernels of some hosts do without SCTP: then that is what is said.
#[test]
fn sctp_has_ports_too() {
    let coracle = sandbox();
    let published = say(&coracle, "run -d --name web -p 18145:80/sctp busybox sleep 1000");
    let has_sctp = std::fs::read_to_string("/proc/net/protocols")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("SCTP "));
    if has_sctp {
        published.ok();
        let lines = told(&coracle, "port web");
        assert!(lines.starts_with("80/sctp -> 0.0.0.0:18145"), "{lines}");
    } else {
        let refused = published.fails(125);
        assert!(refused.contains("this kernel has no SCTP"), "{refused}");
    }
    say(&coracle, "rm -f web").ok();
}

#[test]
fn a_port_follows_its_container_from_network_to_network() {
    let coracle = sandbox();
    say(&coracle, "network create one").ok();
    say(&coracle, "network create two").ok();
    server(&coracle, "web", "--network one -p 18150:8080");
    let said = Some("web\n".to_owned());
    assert_eq!(fetch("127.0.0.1:18150"), said);
    say(&coracle, "network connect two web").ok();
    say(&coracle, "network disconnect one web").ok();
    assert_eq!(fetch("127.0.0.1:18150"), said);
    say(&coracle, "restart -t 0 web").ok();
    eventually("the server", || fetch("127.0.0.1:18150"));
    say(&coracle, "rm -f web").ok();
}

/// The host's firewall is emptied of everything that is ours; the machine is shared, so nobody else's goes.
fn lose_the_rules(coracle: &Sandbox) {
    let table = format!("coracle-{}", coracle.residue().mark());
    crate::elsewhere::host(&format!("nft delete table inet {table}"));
}

#[test]
fn the_rules_come_back_when_the_firewall_is_emptied() {
    let coracle = sandbox();
    let elsewhere = Elsewhere::new();
    say(&coracle, "network create one").ok();
    say(&coracle, "network create two").ok();
    server(&coracle, "web", "--network one -p 18160:8080");
    sleeper(&coracle, "far", "--network two");
    let web = address(&coracle, "web", "one");
    let here = format!("{HOST}:18160");
    assert!(elsewhere.fetch(&here).is_some());
    // Nobody runs a command of the engine: `exec` would be one, so the host's own tools look.
    let pid = told(&coracle, "inspect -f {{.State.Pid}} far");
    let far_reaches = || {
        let script = format!("nsenter -t {pid} -n busybox nc -w 1 {web} 8080 </dev/null | grep -q .");
        std::process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    };
    assert!(!far_reaches());
    lose_the_rules(&coracle);
    assert_eq!(eventually("the port", || elsewhere.fetch(&here)), "web\n");
    assert!(!far_reaches());
    assert_eq!(elsewhere.inside(|| fetch(&format!("{web}:8080"))), None);
    // A command that needs the rules at once writes them at once; the ports of others follow.
    lose_the_rules(&coracle);
    sleeper(&coracle, "another", "--network two");
    assert!(!far_reaches());
    assert_eq!(eventually("the port", || elsewhere.fetch(&here)), "web\n");
    assert!(!far_reaches());
    say(&coracle, "rm -f web far another").ok();
}

#[test]
fn what_is_not_published_is_not_reached_by_its_own_address() {
    let coracle = sandbox();
    let elsewhere = Elsewhere::new();
    server(&coracle, "web", "");
    let web = address(&coracle, "web", "bridge");
    elsewhere.sh(&format!("ip route replace {web} via {HOST}"));
    assert_eq!(elsewhere.fetch(&format!("{web}:8080")), None);
    let ping = format!("ping -c 1 -W 2 {THERE}");
    assert!(inside(&coracle, "web", &ping).is_some());
    say(&coracle, "rm -f web").ok();
}
