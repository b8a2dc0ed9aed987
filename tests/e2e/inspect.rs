//! `inspect`, `info`, `version`: what tools read.

use crate::sandbox;
use serde_json::Value;

#[test]
fn a_container_has_dockers_shape() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-m",
            "64m",
            "-v",
            "vol:/data",
            "-p",
            "127.0.0.1:0:80",
            "busybox",
            "sleep",
            "100",
        ])
        .ok();
    let document: Value = serde_json::from_str(&coracle.run(["inspect", "it"]).ok()).unwrap();
    let it = &document[0];
    assert_eq!(it["Name"], "/it");
    assert_eq!(it["Path"], "sleep");
    assert_eq!(it["Args"][0], "100");
    assert_eq!(it["State"]["Status"], "running");
    assert!(it["State"]["Pid"].as_i64().unwrap() > 1);
    assert_eq!(it["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(it["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(it["Config"]["Image"], "busybox");
    assert_eq!(it["Mounts"][0]["Type"], "volume");
    assert_eq!(it["Mounts"][0]["Name"], "vol");
    assert_eq!(it["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"], "127.0.0.1");
    let address = it["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .unwrap();
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(
        coracle
            .run(["inspect", "-f", "{{.State.Running}} {{json .Config.Cmd}}", "it"])
            .ok(),
        "true [\"sleep\",\"100\"]\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn an_image_has_dockers_shape() {
    let coracle = sandbox();
    let document: Value = serde_json::from_str(&coracle.run(["image", "inspect", "busybox"]).ok()).unwrap();
    let image = &document[0];
    assert!(image["Id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(image["RepoTags"][0], "busybox:latest");
    assert_eq!(image["Os"], "linux");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(image["Config"]["Cmd"][0], "sh");
}

#[test]
fn version_and_info_speak() {
    let coracle = sandbox();
    assert!(coracle.run(["version"]).ok().contains("Coracle"));
    assert!(
        coracle
            .run(["--version"])
            .ok()
            .contains(env!("CARGO_PKG_VERSION"))
    );
    let info = coracle.run(["info"]).ok();
    assert!(
        info.contains("Images: 1") && info.contains("Kernel Version"),
        "{info}"
    );
}

mod both {
    use crate::both;

    #[test]
    fn templates_and_what_is_missing() {
        let docker = both();
        docker
            .run(["create", "--name", "it", "-l", "a=b", "busybox", "sleep", "1"])
            .ok();
        for (template, expected) in [
            ("{{.Name}} {{.State.Status}}", "/it created\n"),
            (
                "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
                "none\n",
            ),
            (
                "{{range $i, $e := .Config.Cmd}}{{$i}}={{$e}} {{end}}",
                "0=sleep 1=1 \n",
            ),
            ("{{index .Config.Labels \"a\"}}", "b\n"),
            ("{{json .Config.Cmd}}", "[\"sleep\",\"1\"]\n"),
            (
                "{{.HostConfig.NetworkMode}} {{len .Mounts}} {{.RestartCount}}",
                "bridge 0 0\n",
            ),
            (
                "{{with .HostConfig}}{{.Privileged}} {{.Memory}}{{end}}",
                "false 0\n",
            ),
        ] {
            assert_eq!(
                docker.run(["inspect", "-f", template, "it"]).ok(),
                expected,
                "{template}"
            );
        }
        let wrong = docker.run(["inspect", "-f", "{{.Nosuch}}", "it"]).fails(1);
        assert!(
            wrong.contains("template parsing error: ")
                && wrong.contains("map has no entry for key \"Nosuch\""),
            "{wrong}"
        );
        let missing = docker.run(["inspect", "nosuch"]);
        assert_eq!((missing.code, missing.stdout.as_str()), (1, "[]\n"));
        let some = docker.run(["inspect", "-f", "{{.Name}}", "nosuch", "it"]);
        assert_eq!((some.code, some.stdout.as_str()), (1, "/it\n"));
        assert_eq!(docker.run(["inspect", "--type", "image", "it"]).code, 1);
        let sized = docker.run(["inspect", "-s", "-f", "{{.SizeRw}}", "it"]).ok();
        assert!(sized.trim().parse::<u64>().is_ok(), "{sized}");
        docker.run(["rm", "it"]).ok();
    }
}

#[test]
fn tools_find_what_they_look_for() {
    let coracle = sandbox();
    for (arguments, expected) in [
        (
            &["version", "--format", "{{.Server.Version}}"][..],
            env!("CARGO_PKG_VERSION"),
        ),
        (&["version", "--format", "{{.Client.APIVersion}}"], "1.56"),
        (&["version", "--format", "{{.Server.Os}}"], "linux"),
        (
            &["info", "--format", "{{.ServerVersion}}"],
            env!("CARGO_PKG_VERSION"),
        ),
        (&["info", "--format", "{{.Driver}}"], "overlay2"),
        (
            &["info", "--format", "{{.OSType}}/{{.Swarm.LocalNodeState}}"],
            "linux/inactive",
        ),
        (&["info", "--format", "{{.Images}}"], "1"),
        (&["info", "--format", "{{.ClientInfo.Context}}"], "default"),
    ] {
        assert_eq!(coracle.run(arguments).ok().trim_end(), expected, "{arguments:?}");
    }
    let info: Value = serde_json::from_str(&coracle.run(["info", "--format", "{{json .}}"]).ok()).unwrap();
    for field in [
        "ID",
        "CgroupDriver",
        "CgroupVersion",
        "KernelVersion",
        "NCPU",
        "MemTotal",
        "Plugins",
        "Runtimes",
    ] {
        assert!(!info[field].is_null(), "{field}");
    }
}
