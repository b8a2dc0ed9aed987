//! `manifest …` and `buildx imagetools …`: indexes, made of images in Debian's `docker-registry`.

use crate::registry::Registry;
use testkit::Sandbox;

/// Puts an image for each of two processors into a registry and returns the repository's name.
fn two_platforms(coracle: &Sandbox, registry: &Registry) -> String {
    let name = format!("{}/app", registry.address);
    coracle.write("tree/file", "content");
    let archive = coracle.path().join("tree.tar");
    let tar = std::process::Command::new("tar")
        .args(["-C", coracle.path().join("tree").to_str().unwrap(), "-cf"])
        .args([archive.to_str().unwrap(), "file"])
        .status()
        .unwrap();
    assert!(tar.success());
    for architecture in ["amd64", "arm64"] {
        let tagged = format!("{name}:{architecture}");
        let platform = format!("linux/{architecture}");
        coracle
            .run([
                "import",
                "--platform",
                &platform,
                archive.to_str().unwrap(),
                &tagged,
            ])
            .ok();
        coracle.run(["push", "-q", &tagged]).ok();
        coracle.run(["rmi", &tagged]).ok();
    }
    name
}

mod both {
    use super::*;

    #[test]
    fn a_list_is_made_annotated_pushed_and_pulled() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let app = two_platforms(&coracle, &registry);
        let (list, amd, arm) = (format!("{app}:1"), format!("{app}:amd64"), format!("{app}:arm64"));
        let created = coracle
            .run(["manifest", "create", "--insecure", &list, &amd, &arm])
            .ok();
        assert_eq!(created, format!("Created manifest list {list}\n"));
        let again = coracle
            .run(["manifest", "create", "--insecure", &list, &amd])
            .fails(1);
        assert!(again.contains("--amend"), "{again}");
        coracle
            .run(["manifest", "annotate", "--variant", "v8", &list, &arm])
            .ok();
        let shown = coracle.run(["manifest", "inspect", &list]).ok();
        for part in ["\"amd64\"", "\"arm64\"", "\"v8\"", "\"schemaVersion\": 2"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let pushed = coracle.run(["manifest", "push", "--insecure", "-p", &list]).ok();
        assert!(pushed.contains("sha256:"), "{pushed}");
        let there = registry.manifest("app:1");
        assert!(there.contains("arm64") && there.contains("v8"), "{there}");
        let gone = coracle.run(["manifest", "rm", &list]).fails(1);
        assert!(gone.to_lowercase().contains("no such manifest"), "{gone}");
        coracle
            .run(["pull", "-q", "--platform", "linux/arm64", &list])
            .ok();
        assert_eq!(
            coracle
                .run(["image", "inspect", "-f", "{{.Architecture}}", &list])
                .ok(),
            "arm64\n"
        );
    }
}

#[test]
fn imagetools_show_and_copy_within_a_registry() {
    let coracle = crate::sandbox();
    let registry = Registry::start(coracle.path());
    let app = two_platforms(&coracle, &registry);
    let other = format!("{}/team/other:2", registry.address);
    let (amd, arm) = (format!("{app}:amd64"), format!("{app}:arm64"));
    coracle
        .run(["buildx", "imagetools", "create", "-t", &other, &amd, &arm])
        .ok();
    let shown = coracle.run(["buildx", "imagetools", "inspect", &other]).ok();
    assert!(shown.starts_with(&format!("Name:      {other}\n")), "{shown}");
    assert!(
        shown.contains("Platform:  linux/amd64") && shown.contains("Platform:  linux/arm64"),
        "{shown}"
    );
    let raw = coracle
        .run(["buildx", "imagetools", "inspect", "--raw", &other])
        .ok();
    assert_eq!(raw, registry.manifest("team/other:2"));
    // It is whole there, although nothing was sent.
    coracle.run(["pull", "-q", &other]).ok();
    let elsewhere = coracle
        .run(["buildx", "imagetools", "create", "-t", "127.0.0.1:1/x:1", &amd])
        .fails(1);
    assert!(elsewhere.contains("is at another registry than"), "{elsewhere}");
    let absent = coracle
        .run(["manifest", "inspect", &format!("{app}:absent")])
        .fails(1);
    assert!(absent.contains("not found"), "{absent}");
}
