use super::*;
use crate::containers::request::CreateContainer;

fn settings(request: CreateContainer) -> Settings {
    Settings {
        request,
        command: vec!["true".into()],
        hostname: "box".into(),
        ..Settings::default()
    }
}

fn plan_of(settings: &Settings, network: NetworkNamespace) -> Plan {
    plan(PlanInput {
        settings,
        rootfs: Overlay {
            lower: vec!["/layer".into()],
            upper: None,
            work: None,
            temporary: false,
        },
        cgroup: "/coracle-0/id".into(),
        network,
        files: Path::new("/files"),
        pids_limit: 4096,
        host_ca: None,
        mounts: Vec::new(),
        images: Vec::new(),
        edits: cdi::Edits::default(),
    })
    .unwrap()
}

#[test]
fn a_container_is_confined_as_docker_does_it() {
    let plan = plan_of(&settings(CreateContainer::default()), NetworkNamespace::Own);
    let linux = plan.spec.linux().as_ref().unwrap();
    assert!(
        linux
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/kcore".to_owned())
    );
    assert!(
        linux
            .readonly_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/sys".to_owned())
    );
    assert!(linux.seccomp().is_some());
    let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
    assert!(
        !rules[0].allow() && rules[0].major().is_none(),
        "all is denied first"
    );
    let capabilities = plan
        .spec
        .process()
        .as_ref()
        .unwrap()
        .capabilities()
        .as_ref()
        .unwrap();
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 14);
    assert!(
        capabilities
            .inheritable()
            .as_ref()
            .is_none_or(std::collections::HashSet::is_empty)
    );
    assert_eq!(
        linux.sysctl().as_ref().unwrap()["net.ipv4.ip_unprivileged_port_start"],
        "0"
    );
    let sys = plan
        .spec
        .mounts()
        .as_ref()
        .unwrap()
        .iter()
        .find(|m| m.destination() == Path::new("/sys"))
        .unwrap();
    assert!(sys.options().as_ref().unwrap().contains(&"ro".to_owned()));
}

#[test]
fn a_privileged_one_is_not() {
    let request = CreateContainer {
        privileged: true,
        ..CreateContainer::default()
    };
    let plan = plan_of(&settings(request), NetworkNamespace::Own);
    let linux = plan.spec.linux().as_ref().unwrap();
    assert!(linux.masked_paths().is_none() && linux.readonly_paths().is_none() && linux.seccomp().is_none());
    let sys = plan
        .spec
        .mounts()
        .as_ref()
        .unwrap()
        .iter()
        .find(|m| m.destination() == Path::new("/sys"))
        .unwrap();
    assert!(!sys.options().as_ref().unwrap().contains(&"ro".to_owned()));
}

#[test]
fn the_hosts_network_keeps_the_hosts_settings() {
    let plan = plan_of(&settings(CreateContainer::default()), NetworkNamespace::Host);
    let linux = plan.spec.linux().as_ref().unwrap();
    assert!(linux.sysctl().is_none());
    let own = linux
        .namespaces()
        .as_ref()
        .unwrap()
        .iter()
        .any(|n| n.typ() == LinuxNamespaceType::Network);
    assert!(!own);
}

#[test]
fn defaults_fill_only_what_nobody_has_set() {
    let mut settings = settings(CreateContainer {
        terminal: true,
        ..CreateContainer::default()
    });
    settings.environment = vec!["TERM=dumb".into(), "A=1".into()];
    assert_eq!(
        environment(&settings, None),
        [PATH, "HOSTNAME=box", "TERM=dumb", "A=1"]
    );
    settings.environment = vec![
        "PATH=/bin".into(),
        "HOSTNAME=x".into(),
        "SSL_CERT_FILE=/mine".into(),
    ];
    let injection = crate::ca::Injection {
        mounts: Vec::new(),
        environment: vec!["SSL_CERT_FILE=/host".into(), "CURL_CA_BUNDLE=/host".into()],
    };
    assert_eq!(
        environment(&settings, Some(&injection)),
        [
            "TERM=xterm",
            "PATH=/bin",
            "HOSTNAME=x",
            "SSL_CERT_FILE=/mine",
            "CURL_CA_BUNDLE=/host"
        ]
    );
}

#[test]
fn what_is_asked_for_replaces_a_default_mount_and_parents_come_first() {
    let mut settings = settings(CreateContainer::default());
    let volume = |target: &str| ContainerMount {
        kind: "volume".into(),
        name: Some("v".into()),
        source: "/v".into(),
        target: target.into(),
        writable: true,
        ..ContainerMount::default()
    };
    settings.mounts = vec![
        volume("/a/b/c"),
        volume("/dev/shm"),
        volume("/a"),
        volume("/etc/hosts"),
    ];
    let plan = plan_of(&settings, NetworkNamespace::Own);
    let targets: Vec<_> = plan
        .spec
        .mounts()
        .as_ref()
        .unwrap()
        .iter()
        .map(|m| m.destination().clone())
        .collect();
    let at = |target: &str| targets.iter().position(|t| t == Path::new(target)).unwrap();
    assert!(at("/a") < at("/a/b/c"));
    assert_eq!(targets.iter().filter(|t| *t == Path::new("/dev/shm")).count(), 1);
    assert_eq!(
        targets.iter().filter(|t| *t == Path::new("/etc/hosts")).count(),
        1
    );
}
