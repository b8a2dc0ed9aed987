//! Names: what a container calls the others, who answers, and what is asked outside.

use crate::elsewhere::{
    Elsewhere, HOST, THERE, address, addresses_of, eventually, inside, reaches, say, server, sleeper, told,
};
use crate::sandbox;

mod both {
    use super::*;
    use crate::both;

    #[test]
    fn a_container_is_found_by_its_names_on_its_networks_alone() {
        let coracle = both();
        say(&coracle, "network create one").ok();
        say(&coracle, "network create two").ok();
        sleeper(
            &coracle,
            "web",
            "--network one --network-alias shop --hostname storefront",
        );
        sleeper(&coracle, "near", "--network one");
        sleeper(&coracle, "far", "--network two");
        let web = address(&coracle, "web", "one");
        let id = told(&coracle, "ps -q --filter name=web");
        for name in ["web", "WEB", "web.one", "shop", "shop.one", &id] {
            assert_eq!(addresses_of(&coracle, "near", name), [web.as_str()], "{name}");
            assert_eq!(addresses_of(&coracle, "far", name), [] as [&str; 0], "{name}");
        }
        assert_eq!(addresses_of(&coracle, "web", "web"), [web.as_str()]);
        let reverse = inside(&coracle, "near", &format!("nslookup {web}")).unwrap();
        assert!(reverse.contains("name = web.one"), "{reverse}");
        let file = inside(&coracle, "near", "cat /etc/resolv.conf").unwrap();
        assert!(file.contains("nameserver 127.0.0.11"), "{file}");
        say(&coracle, "rm -f web near far").ok();
        say(&coracle, "network rm one two").ok();
    }

    #[test]
    fn an_alias_of_several_stands_for_all_of_them() {
        let coracle = both();
        say(&coracle, "network create lan").ok();
        let flags = "--network lan --network-alias pool";
        for name in ["one", "two", "three"] {
            server(&coracle, name, flags);
        }
        sleeper(&coracle, "client", "--network lan");
        let mut all: Vec<String> = ["one", "two", "three"]
            .map(|name| address(&coracle, name, "lan"))
            .to_vec();
        all.sort();
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let found = addresses_of(&coracle, "client", "pool");
            firsts.insert(found[0].clone());
            let mut sorted = found;
            sorted.sort();
            assert_eq!(sorted, all);
            if firsts.len() == 3 {
                break;
            }
        }
        assert!(firsts.len() > 1, "always the same comes first: {firsts:?}");
        say(&coracle, "stop -t 0 one two").ok();
        assert_eq!(
            addresses_of(&coracle, "client", "pool"),
            [address(&coracle, "three", "lan")]
        );
        assert!(reaches(&coracle, "client", "pool"));
        say(&coracle, "rm -f one two three client").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn names_follow_at_once() {
        let coracle = both();
        say(&coracle, "network create lan").ok();
        say(&coracle, "network create other").ok();
        sleeper(&coracle, "client", "--network lan");
        sleeper(&coracle, "web", "--network lan");
        let found = |name: &str| addresses_of(&coracle, "client", name);
        let nothing: [&str; 0] = [];
        assert_eq!(found("web"), [address(&coracle, "web", "lan")]);
        say(&coracle, "rename web shop").ok();
        assert_eq!(found("web"), nothing);
        assert_eq!(found("shop"), [address(&coracle, "shop", "lan")]);
        say(&coracle, "stop -t 0 shop").ok();
        assert_eq!(found("shop"), nothing);
        // Whoever comes meanwhile takes the address that has become free.
        sleeper(&coracle, "squatter", "--network lan");
        say(&coracle, "start shop").ok();
        assert_eq!(found("shop"), [address(&coracle, "shop", "lan")]);
        say(&coracle, "restart -t 0 shop").ok();
        assert_eq!(found("shop"), [address(&coracle, "shop", "lan")]);
        say(&coracle, "network disconnect lan shop").ok();
        assert_eq!(found("shop"), nothing);
        say(&coracle, "network connect --alias depot lan shop").ok();
        assert_eq!(found("depot"), [address(&coracle, "shop", "lan")]);
        // It is the one that looks who comes to another network, too.
        sleeper(&coracle, "db", "--network other");
        assert_eq!(found("db"), nothing);
        say(&coracle, "network connect other client").ok();
        assert_eq!(found("db"), [address(&coracle, "db", "other")]);
        say(&coracle, "network disconnect other client").ok();
        assert_eq!(found("db"), nothing);
        say(&coracle, "rm -f client shop squatter db").ok();
        say(&coracle, "network rm lan other").ok();
    }

    #[test]
    fn links() {
        let coracle = both();
        say(&coracle, "network create lan").ok();
        sleeper(&coracle, "db", "--network lan");
        sleeper(&coracle, "web", "--network lan --link db:store");
        assert_eq!(
            addresses_of(&coracle, "web", "store"),
            [address(&coracle, "db", "lan")]
        );
        assert_eq!(addresses_of(&coracle, "db", "store"), [] as [&str; 0]);
        let links = coracle
            .run([
                "inspect",
                "-f",
                "{{json .NetworkSettings.Networks.lan.Links}}",
                "web",
            ])
            .ok();
        assert_eq!(links, "[\"db:store\"]\n");
        say(&coracle, "rm -f db web").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn the_default_bridge_has_no_names() {
        let coracle = both();
        sleeper(&coracle, "web", "");
        sleeper(&coracle, "client", "");
        assert!(inside(&coracle, "client", "ping -c 1 -W 1 web").is_none());
        let refused = say(&coracle, "run --rm --network-alias x busybox true");
        assert_ne!(refused.code, 0);
        assert!(
            refused
                .stderr
                .contains("only supported for user-defined networks")
                || refused
                    .stderr
                    .contains("only for containers in user defined networks"),
            "{}",
            refused.stderr
        );
        say(&coracle, "rm -f web client").ok();
    }

    #[test]
    fn the_gateway_stands_for_the_host() {
        let coracle = both();
        say(&coracle, "network create --subnet 10.213.21.0/24 lan").ok();
        let flags = "--rm --network lan --add-host box:host-gateway --add-host db:10.1.2.3";
        let file = told(&coracle, &format!("run {flags} busybox cat /etc/hosts"));
        let line = |name: &str| {
            file.lines()
                .find(|line| line.ends_with(name))
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(line("db"), "10.1.2.3\tdb");
        let (address, _) = line("box")
            .split_once('\t')
            .map(|(one, two)| (one.to_owned(), two.to_owned()))
            .unwrap();
        // Docker has the default bridge's gateway here, whatever the network.
        assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{file}");
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn what_nobody_has_is_asked_outside_also_over_tcp_and_with_search_domains() {
        let coracle = both();
        let elsewhere = Elsewhere::new();
        let outside = elsewhere.name_server();
        say(&coracle, "network create lan").ok();
        let flags = format!("--network lan --dns {THERE}");
        sleeper(&coracle, "plain", &flags);
        sleeper(&coracle, "client", &format!("{flags} --dns-search example.test"));
        sleeper(&coracle, "web", "--network lan");
        assert_eq!(
            addresses_of(&coracle, "client", "some.example.test"),
            ["192.0.2.7"]
        );
        assert!(outside.asked() > 0);
        // What is known here is not asked there.
        let asked = outside.asked();
        assert_eq!(
            addresses_of(&coracle, "plain", "web"),
            [address(&coracle, "web", "lan")]
        );
        assert_eq!(outside.asked(), asked);
        // An answer that does not fit is asked for again over TCP; a name without a dot is looked for in the domain.
        let ping = |name: &str| {
            let script = format!("ping -c 1 -W 1 {name} | head -1");
            inside(&coracle, "client", &script).unwrap_or_default()
        };
        let big = ping("big.example.test");
        assert!(big.contains("(192.0.2.7)"), "{big}");
        let short = ping("short");
        assert!(short.contains("(192.0.2.7)"), "{short}");
        assert_eq!(
            addresses_of(&coracle, "client", "nosuch.example.org"),
            [] as [&str; 0]
        );
        say(&coracle, "rm -f client plain web").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn names_are_not_asked_out_of_an_internal_network() {
        let coracle = both();
        let elsewhere = Elsewhere::new();
        let canary = elsewhere.name_server();
        say(&coracle, "network create --internal closed").ok();
        say(&coracle, "network create open").ok();
        let dns = format!("--dns {THERE}");
        sleeper(&coracle, "in", &format!("--network closed {dns}"));
        sleeper(&coracle, "out", &format!("--network open {dns}"));
        sleeper(&coracle, "peer", "--network closed");
        assert_eq!(
            addresses_of(&coracle, "in", "secret.example.test"),
            [] as [&str; 0]
        );
        assert!(inside(&coracle, "in", "ping -c 1 -W 1 secret.example.test").is_none());
        assert!(inside(&coracle, "in", &format!("nslookup secret.example.test {THERE}")).is_none());
        assert_eq!(canary.asked(), 0, "a question left an internal network");
        assert_eq!(
            addresses_of(&coracle, "in", "peer"),
            [address(&coracle, "peer", "closed")]
        );
        // The canary does sing.
        assert_eq!(addresses_of(&coracle, "out", "some.example.test"), ["192.0.2.7"]);
        assert!(canary.asked() > 0);
        say(&coracle, "rm -f in out peer").ok();
        say(&coracle, "network rm closed open").ok();
    }
}

#[test]
fn a_network_that_opens_answers_again() {
    let coracle = sandbox();
    let elsewhere = Elsewhere::new();
    let outside = elsewhere.name_server();
    say(&coracle, "network create --internal closed").ok();
    say(&coracle, "network create open").ok();
    sleeper(&coracle, "it", &format!("--network closed --dns {THERE}"));
    assert_eq!(addresses_of(&coracle, "it", "some.example.test"), [] as [&str; 0]);
    assert_eq!(outside.asked(), 0);
    say(&coracle, "network connect open it").ok();
    assert_eq!(addresses_of(&coracle, "it", "some.example.test"), ["192.0.2.7"]);
    say(&coracle, "network disconnect open it").ok();
    let before = outside.asked();
    assert_eq!(addresses_of(&coracle, "it", "some.example.test"), [] as [&str; 0]);
    assert_eq!(outside.asked(), before);
    say(&coracle, "rm -f it").ok();
}

#[test]
fn names_are_known_although_nobody_runs_a_command() {
    let coracle = sandbox();
    say(&coracle, "network create lan").ok();
    sleeper(&coracle, "client", "--network lan");
    // A container that its restart policy starts again, under another address: no command has to tell.
    say(
        &coracle,
        "run -d --name again --restart always --network lan busybox sh -c sleep${IFS}1",
    )
    .ok();
    for _ in 0..3 {
        let found = eventually("the name", || addresses_of(&coracle, "client", "again").pop());
        assert!(found.parse::<std::net::Ipv4Addr>().is_ok(), "{found}");
    }
    say(&coracle, "rm -f client again").ok();
}

#[test]
fn the_host_is_reached_by_its_gateway() {
    let coracle = sandbox();
    let _cable = Elsewhere::new();
    let listener = std::net::TcpListener::bind((HOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    say(&coracle, "network create lan").ok();
    sleeper(&coracle, "client", "--network lan --add-host box:host-gateway");
    let script = format!("echo hello | nc -w 2 {HOST} {port}");
    let client = std::thread::spawn(move || drop(listener.accept().unwrap()));
    assert!(inside(&coracle, "client", &script).is_some());
    client.join().unwrap();
    let ping = inside(&coracle, "client", "ping -c 1 -W 2 box");
    assert!(ping.is_some());
    say(&coracle, "rm -f client").ok();
}
