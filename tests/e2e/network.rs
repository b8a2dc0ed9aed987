//! Networks: the default ones, and those that users make. Ports are in `ports`, names in `names`.

use crate::elsewhere::{
    Elsewhere, THERE, address, eventually, host, inside, reaches, say, server, sleeper, told,
};
use crate::sandbox;

const SERVER: &str = "while :; do echo served | nc -l -p 8080; done";

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
    eventually("the server", || {
        crate::elsewhere::fetch(&format!("{address}:8080"))
    });
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

mod both {
    use super::*;
    use crate::both;

    #[test]
    fn networks_are_made_listed_inspected_and_removed() {
        let coracle = both();
        let id = told(
            &coracle,
            "network create --subnet 10.213.1.0/24 --gateway 10.213.1.9 --ip-range 10.213.1.128/25 \
             --aux-address printer=10.213.1.5 --label use=test --opt com.docker.network.driver.mtu=1300 lan",
        );
        assert!(
            id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
        let format = "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Label \"use\"}}";
        let filters = [
            "--filter",
            "type=custom",
            "--filter",
            "label=use=test",
            "--format",
            format,
        ];
        let listed = coracle.run(["network", "ls"].into_iter().chain(filters)).ok();
        assert_eq!(listed, "lan bridge local false test\n");
        assert_eq!(told(&coracle, "network ls -q -f name=^lan$"), id[..12]);
        assert_eq!(told(&coracle, "network ls -q --no-trunc -f name=lan"), id);
        assert_eq!(told(&coracle, "network ls -q -f dangling=true"), id[..12]);
        let names = told(&coracle, "network ls --format {{.Name}}");
        assert_eq!(
            names.lines().collect::<Vec<_>>(),
            ["bridge", "host", "lan", "none"]
        );
        let table = told(&coracle, "network ls");
        assert!(
            table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"),
            "{table}"
        );
        let inspected: serde_json::Value =
            serde_json::from_str(&told(&coracle, &format!("network inspect {}", &id[..7]))).unwrap();
        for (path, expected) in [
            ("/0/Name", serde_json::json!("lan")),
            ("/0/Id", id.clone().into()),
            ("/0/Scope", "local".into()),
            ("/0/Driver", "bridge".into()),
            ("/0/EnableIPv6", false.into()),
            ("/0/Internal", false.into()),
            ("/0/Attachable", false.into()),
            ("/0/Labels/use", "test".into()),
            ("/0/IPAM/Driver", "default".into()),
            ("/0/IPAM/Config/0/Subnet", "10.213.1.0/24".into()),
            ("/0/IPAM/Config/0/Gateway", "10.213.1.9".into()),
            ("/0/IPAM/Config/0/IPRange", "10.213.1.128/25".into()),
            ("/0/IPAM/Config/0/AuxiliaryAddresses/printer", "10.213.1.5".into()),
            ("/0/Options/com.docker.network.driver.mtu", "1300".into()),
        ] {
            assert_eq!(inspected.pointer(path), Some(&expected), "{path}");
        }
        assert_eq!(told(&coracle, "network rm lan"), "lan");
        let gone = say(&coracle, "network inspect lan");
        assert_eq!((gone.code, gone.stdout.as_str()), (1, "[]\n"));
        assert!(gone.stderr.contains("network lan not found"), "{}", gone.stderr);
        let refused = say(&coracle, "network rm lan").fails(1);
        assert!(refused.contains("network lan not found"), "{refused}");
        say(&coracle, "network rm -f lan").ok();
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let coracle = both();
        say(&coracle, "network create --subnet 10.213.2.0/24 lan").ok();
        for (line, expected) in [
            ("network create lan", "network with name lan already exists"),
            (
                "network create bridge",
                "operation is not permitted on predefined bridge network",
            ),
            (
                "network create --subnet 10.213.2.128/25 other",
                "Pool overlaps with other one on this address space",
            ),
            (
                "network create --subnet 10.213.3.0/24 --gateway 10.213.4.1 other",
                "no matching subnet for gateway 10.213.4.1",
            ),
            (
                "network create --subnet 10.213.3.0/24 --ip-range 10.213.4.0/25 other",
                "no matching subnet for range 10.213.4.0/25",
            ),
            (
                "network create --gateway 10.213.3.1 other",
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                "network create --subnet 10.213.0.0/16 --subnet 10.213.3.0/24 other",
                "multiple overlapping subnet configuration is not supported",
            ),
            ("network create -d nosuch other", "nosuch"),
            (
                "network rm bridge",
                "bridge is a pre-defined network and cannot be removed",
            ),
            ("network connect nosuch nobody", "nobody"),
            ("network ls --filter color=red", "invalid filter 'color'"),
        ] {
            let refused = say(&coracle, line).fails(1);
            assert!(refused.contains(expected), "{line}: {refused}");
        }
        let names = told(&coracle, "network ls -f type=custom --format {{.Name}}");
        assert_eq!(names, "lan");
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn one_that_is_used_is_not_removed() {
        let coracle = both();
        for name in ["used", "unused", "kept"] {
            let label = if name == "kept" { "keep=1" } else { "keep!=1" };
            say(&coracle, &format!("network create --label {label} {name}")).ok();
        }
        sleeper(&coracle, "web", "--network used");
        let refused = say(&coracle, "network rm used unused").fails(1);
        assert!(refused.contains("has active endpoints"), "{refused}");
        let left = told(&coracle, "network ls -f type=custom --format {{.Name}}");
        assert_eq!(left.lines().collect::<Vec<_>>(), ["kept", "used"]);
        let members = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}";
        let member = coracle.run(["network", "inspect", "-f", members, "used"]).ok();
        let its_own = address(&coracle, "web", "used");
        assert!(member.starts_with(&format!("web {its_own}/")), "{member}");
        assert_eq!(told(&coracle, "network prune -f --filter label!=keep=1"), "");
        say(&coracle, "rm -f web").ok();
        let pruned = say(&coracle, "network prune -f --filter label!=keep=1").ok();
        assert_eq!(pruned, "Deleted Networks:\nused\n\n");
        assert_eq!(
            say(&coracle, "network prune -f").ok(),
            "Deleted Networks:\nkept\n\n"
        );
        assert_eq!(told(&coracle, "network ls -q -f type=custom"), "");
    }

    #[test]
    fn a_container_gets_what_it_asks_for() {
        let coracle = both();
        say(&coracle, "network create --subnet 10.213.5.0/24 lan").ok();
        sleeper(
            &coracle,
            "web",
            "--network lan --ip 10.213.5.77 --mac-address 02:42:0a:00:00:77 --network-alias shop",
        );
        let inspect = |format: &str| {
            let format = format!("{{{{with .NetworkSettings.Networks.lan}}}}{format}{{{{end}}}}");
            let shown = coracle.run(["inspect", "-f", &format, "web"]).ok();
            shown.trim_end().to_owned()
        };
        let addresses = "{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}}";
        assert_eq!(inspect(addresses), "10.213.5.77/24 10.213.5.1 02:42:0a:00:00:77");
        assert_eq!(
            inspect("{{.IPAMConfig.IPv4Address}} {{json .Aliases}}"),
            "10.213.5.77 [\"shop\"]"
        );
        let inner = inside(
            &coracle,
            "web",
            "cat /sys/class/net/eth0/address; ip -4 addr show eth0",
        );
        let inner = inner.unwrap();
        assert!(
            inner.starts_with("02:42:0a:00:00:77\n") && inner.contains("inet 10.213.5.77/24"),
            "{inner}"
        );
        let taken = say(&coracle, "run --rm --network lan --ip 10.213.5.77 busybox true").fails(125);
        assert!(taken.contains("Address already in use"), "{taken}");
        let outside = say(&coracle, "run --rm --network lan --ip 10.99.0.1 busybox true").fails(125);
        assert!(!outside.is_empty());
        // The address is kept through a restart, and shown while the container does not run.
        say(&coracle, "stop -t 0 web").ok();
        assert_eq!(
            inspect("{{.IPAMConfig.IPv4Address}} {{.IPAddress}}"),
            "10.213.5.77"
        );
        say(&coracle, "start web").ok();
        assert_eq!(address(&coracle, "web", "lan"), "10.213.5.77");
        say(&coracle, "rm -f web").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn containers_of_one_network_reach_each_other_and_those_of_another_do_not() {
        let coracle = both();
        say(&coracle, "network create one").ok();
        say(&coracle, "network create two").ok();
        server(&coracle, "web", "--network one");
        sleeper(&coracle, "near", "--network one");
        sleeper(&coracle, "far", "--network two");
        sleeper(&coracle, "default", "");
        let web = address(&coracle, "web", "one");
        assert!(reaches(&coracle, "near", &web));
        assert!(reaches(&coracle, "near", "web"));
        assert!(!reaches(&coracle, "far", &web));
        assert!(!reaches(&coracle, "default", &web));
        say(&coracle, "rm -f web near far default").ok();
        say(&coracle, "network rm one two").ok();
    }

    #[test]
    fn networks_come_and_go_while_a_container_runs() {
        let coracle = both();
        say(&coracle, "network create one").ok();
        say(&coracle, "network create --subnet 10.213.6.0/24 two").ok();
        server(&coracle, "web", "--network one");
        sleeper(&coracle, "far", "--network two");
        assert_eq!(
            say(&coracle, "network connect --ip 10.213.6.9 --alias shop two web").ok(),
            ""
        );
        assert_eq!(address(&coracle, "web", "two"), "10.213.6.9");
        let links = inside(&coracle, "web", "ls /sys/class/net").unwrap();
        assert_eq!(
            links.split_whitespace().collect::<Vec<_>>(),
            ["eth0", "eth1", "lo"]
        );
        assert!(reaches(&coracle, "far", "10.213.6.9"));
        assert!(reaches(&coracle, "far", "shop"));
        let twice = say(&coracle, "network connect two web").fails(1);
        assert!(twice.contains("already exists in network two"), "{twice}");
        let members = "{{len .Containers}}";
        assert_eq!(
            coracle.run(["network", "inspect", "-f", members, "two"]).ok(),
            "2\n"
        );
        assert_eq!(
            told(&coracle, "ps --filter network=two --format {{.Names}}"),
            "far\nweb"
        );
        let networks = told(&coracle, "ps --filter name=web --format {{.Networks}}");
        let mut networks: Vec<&str> = networks.split(',').collect();
        networks.sort_unstable();
        assert_eq!(networks, ["one", "two"]);
        assert_eq!(say(&coracle, "network disconnect two web").ok(), "");
        assert!(!reaches(&coracle, "far", "10.213.6.9"));
        let links = inside(&coracle, "web", "ls /sys/class/net").unwrap();
        assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
        let twice = say(&coracle, "network disconnect two web").fails(1);
        assert!(twice.contains("is not connected to"), "{twice}");
        say(&coracle, "rm -f web far").ok();
        say(&coracle, "network rm one two").ok();
    }

    #[test]
    fn networks_come_and_go_while_a_container_does_not_run() {
        let coracle = both();
        say(&coracle, "network create one").ok();
        say(&coracle, "network create two").ok();
        say(&coracle, "create --name web --network one busybox sleep 1000").ok();
        say(&coracle, "network connect two web").ok();
        say(&coracle, "network disconnect one web").ok();
        let names = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        assert_eq!(coracle.run(["inspect", "-f", names, "web"]).ok(), "two \n");
        say(&coracle, "start web").ok();
        assert_eq!(told(&coracle, "ps --format {{.Networks}}"), "two");
        assert!(!address(&coracle, "web", "two").is_empty());
        say(&coracle, "restart -t 0 web").ok();
        assert_eq!(told(&coracle, "ps --format {{.Networks}}"), "two");
        say(&coracle, "rm -f web").ok();
        say(&coracle, "network rm one two").ok();
    }

    #[test]
    fn an_internal_network_has_no_way_out() {
        let coracle = both();
        let elsewhere = Elsewhere::new();
        say(&coracle, "network create --internal closed").ok();
        say(&coracle, "network create open").ok();
        server(&coracle, "web", "--network closed");
        sleeper(&coracle, "in", "--network closed");
        sleeper(&coracle, "out", "--network open");
        assert!(reaches(&coracle, "in", "web"));
        let ping = format!("ping -c 1 -W 1 {THERE}");
        assert!(inside(&coracle, "out", &ping).is_some());
        assert!(inside(&coracle, "in", &ping).is_none());
        let routes = inside(&coracle, "in", "ip route").unwrap();
        assert!(!routes.contains("default"), "{routes}");
        let web = address(&coracle, "web", "closed");
        elsewhere.sh(&format!("ip route replace {web} via {}", crate::elsewhere::HOST));
        assert_eq!(elsewhere.fetch(&format!("{web}:8080")), None);
        assert!(!reaches(&coracle, "out", &web));
        say(&coracle, "rm -f web in out").ok();
        say(&coracle, "network rm closed open").ok();
    }

    #[test]
    fn options_of_the_bridge() {
        let coracle = both();
        say(
            &coracle,
            "network create -o com.docker.network.driver.mtu=1300 -o com.docker.network.bridge.enable_icc=false \
             -o com.docker.network.bridge.name=cortest0 lan",
        )
        .ok();
        server(&coracle, "web", "--network lan");
        sleeper(&coracle, "other", "--network lan");
        assert_eq!(
            inside(&coracle, "web", "cat /sys/class/net/eth0/mtu").unwrap(),
            "1300"
        );
        let bridge = host("ip -o link show cortest0");
        assert!(bridge.contains("mtu 1300"), "{bridge}");
        let web = address(&coracle, "web", "lan");
        assert!(!reaches(&coracle, "other", &web));
        assert!(crate::elsewhere::fetch(&format!("{web}:8080")).is_some());
        say(&coracle, "rm -f web other").ok();
        say(&coracle, "network rm lan").ok();
        host("! ip link show cortest0 2>/dev/null");
    }

    #[test]
    fn both_families() {
        let coracle = both();
        say(
            &coracle,
            "network create --ipv6 --subnet 10.213.7.0/24 --subnet fd00:213:7::/64 lan",
        )
        .ok();
        server(&coracle, "web", "--network lan --ip6 fd00:213:7::9");
        sleeper(&coracle, "other", "--network lan");
        let format = "{{with .NetworkSettings.Networks.lan}}{{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} \
                      {{.IPv6Gateway}} {{.IPAMConfig.IPv6Address}}{{end}}";
        let shown = coracle.run(["inspect", "-f", format, "web"]).ok();
        assert_eq!(shown, "fd00:213:7::9/64 fd00:213:7::1 fd00:213:7::9\n");
        // Duplicate address detection would make the first second one of silence.
        assert!(reaches(&coracle, "other", "fd00:213:7::9"));
        assert!(reaches(&coracle, "other", &address(&coracle, "web", "lan")));
        let answer = inside(&coracle, "other", "nslookup -type=aaaa web").unwrap();
        assert!(answer.contains("fd00:213:7::9"), "{answer}");
        let routes = inside(&coracle, "web", "ip -6 route").unwrap();
        assert!(routes.contains("default via fd00:213:7::1"), "{routes}");
        assert!(inside(&coracle, "web", "ping -6 -c 1 -W 2 fd00:213:7::1").is_some());
        say(&coracle, "rm -f web other").ok();
        say(&coracle, "network rm lan").ok();
    }

    #[test]
    fn macvlan_and_ipvlan_are_on_the_hosts_own_network() {
        let coracle = both();
        host("ip link add corparent0 type veth peer name corparent1");
        host("ip link set corparent0 up && ip link set corparent1 up");
        let _parent = Parent;
        for driver in ["macvlan", "ipvlan"] {
            say(
                &coracle,
                &format!("network create -d {driver} --subnet 10.213.8.0/24 -o parent=corparent0 lan"),
            )
            .ok();
            if !kernel_has(driver) {
                let refused = say(&coracle, "run --rm --network lan busybox true").fails(125);
                assert!(refused.contains(driver), "{refused}");
                say(&coracle, "network rm lan").ok();
                continue;
            }
            server(&coracle, "web", "--network lan --ip 10.213.8.7");
            sleeper(&coracle, "other", "--network lan");
            assert_eq!(told(&coracle, "network inspect -f {{.Driver}} lan"), driver);
            assert!(reaches(&coracle, "other", "10.213.8.7"), "{driver}");
            assert!(reaches(&coracle, "other", "web"), "{driver}");
            let link = inside(&coracle, "web", "ip link show eth0").unwrap();
            assert!(link.contains("eth0@"), "{link}");
            say(&coracle, "rm -f web other").ok();
            say(&coracle, "network rm lan").ok();
        }
    }

    #[test]
    fn modes_that_do_not_go_together() {
        let coracle = both();
        say(&coracle, "network create lan").ok();
        for (flags, expected) in [
            (
                "--network lan --network host",
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                "--network name=lan,alias=a --network-alias b",
                "conflicting options: cannot specify both --network-alias and per-network alias",
            ),
            (
                "--network name=lan,ip=10.1.1.1 --ip 10.1.1.2",
                "conflicting options: cannot specify both --ip and per-network IPv4 address",
            ),
            (
                "--network lan --network lan",
                "network \"lan\" is specified multiple times",
            ),
            ("--network name=lan,color=red", "invalid field key color"),
            ("--link a:b:c", "bad format for links: a:b:c"),
        ] {
            let refused = say(&coracle, &format!("create {flags} busybox"));
            assert_ne!(refused.code, 0, "{flags}");
            assert!(refused.stderr.contains(expected), "{flags}: {}", refused.stderr);
        }
        say(&coracle, "network rm lan").ok();
    }
}

/// Says whether the kernel makes links of this kind: that of some hosts does without.
fn kernel_has(kind: &str) -> bool {
    let script = format!("ip link add corprobe link corparent0 type {kind} && ip link del corprobe");
    std::process::Command::new("sh")
        .args(["-c", &script])
        .status()
        .unwrap()
        .success()
}

/// A link for macvlan, taken away at the end.
struct Parent;

impl Drop for Parent {
    fn drop(&mut self) {
        host("ip link del corparent0");
    }
}

#[test]
fn the_highest_priority_has_the_default_route() {
    let coracle = sandbox();
    say(&coracle, "network create --subnet 10.213.11.0/24 one").ok();
    say(&coracle, "network create --subnet 10.213.12.0/24 two").ok();
    say(&coracle, "network create --subnet 10.213.13.0/24 three").ok();
    sleeper(&coracle, "web", "--network one --network name=two,gw-priority=5");
    let route = || inside(&coracle, "web", "ip route show default").unwrap();
    assert!(route().contains("via 10.213.12.1 "), "{}", route());
    say(&coracle, "network connect --gw-priority 9 three web").ok();
    assert!(route().contains("via 10.213.13.1 "), "{}", route());
    say(&coracle, "network disconnect three web").ok();
    assert!(route().contains("via 10.213.12.1 "), "{}", route());
    say(&coracle, "network disconnect two web").ok();
    assert!(route().contains("via 10.213.11.1 "), "{}", route());
    let format = "{{range .NetworkSettings.Networks}}{{.GwPriority}} {{end}}";
    say(&coracle, "network connect --gw-priority -3 two web").ok();
    assert!(route().contains("via 10.213.11.1 "), "{}", route());
    assert_eq!(coracle.run(["inspect", "-f", format, "web"]).ok(), "0 -3 \n");
    say(&coracle, "rm -f web").ok();
}

#[test]
fn what_is_of_swarm_mode_or_of_no_use_says_so() {
    let coracle = sandbox();
    for (line, expected) in [
        (
            "network create --scope swarm x",
            "'--scope swarm' is of swarm mode",
        ),
        ("network create --ingress x", "'--ingress' is of swarm mode"),
        (
            "network create --config-only x",
            "settings of others are not there",
        ),
        (
            "network create --config-from y x",
            "settings of others are not there",
        ),
        ("network create -d overlay x", "overlay"),
        ("network create --ipv4=false x", "IPv4"),
        ("network create --ipam-driver dhcp x", "dhcp"),
        ("network create --subnet 10.213.3.9/24 x", "10.213.3.0/24"),
        ("network create --subnet foo x", "invalid subnet foo"),
    ] {
        let refused = say(&coracle, line).fails(1);
        assert!(refused.contains(expected), "{line}: {refused}");
    }
    assert_eq!(told(&coracle, "network ls -q -f type=custom"), "");
}

#[test]
fn the_default_networks_have_the_docker_look() {
    let coracle = sandbox();
    sleeper(&coracle, "web", "");
    sleeper(&coracle, "bare", "--network none");
    let subnet = coracle
        .run([
            "network",
            "inspect",
            "-f",
            "{{(index .IPAM.Config 0).Subnet}}",
            "bridge",
        ])
        .ok();
    assert!(subnet.contains('/'), "{subnet}");
    let names = "{{range .Containers}}{{.Name}}{{end}}";
    assert_eq!(
        coracle.run(["network", "inspect", "-f", names, "bridge"]).ok(),
        "web\n"
    );
    assert_eq!(
        coracle.run(["network", "inspect", "-f", names, "none"]).ok(),
        "bare\n"
    );
    let drivers = told(
        &coracle,
        "network inspect -f {{.Name}}:{{.Driver}} bridge host none",
    );
    assert_eq!(drivers, "bridge:bridge\nhost:host\nnone:null");
    assert_eq!(
        told(&coracle, "ps -a --filter network=none --format {{.Names}}"),
        "bare"
    );
    say(&coracle, "rm -f web bare").ok();
}
