//! `export`.

use crate::sandbox;

mod both {
    use crate::both;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use testkit::Sandbox;

    /// Members by name, as `tar tv` shows them.
    fn members(coracle: &Sandbox, name: &str) -> BTreeMap<String, String> {
        let file = coracle.path().join("exported.tar");
        coracle.run(["export", "-o", file.to_str().unwrap(), name]).ok();
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let listed = Command::new("tar").arg("tvf").arg(&file).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace();
                let mode = words.next().unwrap().to_owned();
                (words.skip(4).collect::<Vec<_>>().join(" "), mode)
            })
            .collect()
    }

    #[test]
    fn what_is_mounted_is_an_empty_place() {
        let coracle = both();
        let script = "echo x >/vol/file; echo y >/file; ln /file /same; mkdir -m 1777 /sticky; sleep 1000";
        coracle
            .run([
                "run", "-d", "--name", "it", "-v", "/vol", "--tmpfs", "/mem", "busybox", "sh", "-c", script,
            ])
            .ok();
        while !members(&coracle, "it").contains_key("sticky/") {}
        for again in [false, true] {
            if again {
                coracle.run(["kill", "it"]).ok();
            }
            let members = members(&coracle, "it");
            for directory in ["dev/", "proc/", "sys/", "vol/", "mem/", "tmp/", "etc/"] {
                assert!(
                    members.contains_key(directory),
                    "{directory} {again}: {members:?}"
                );
            }
            for file in [
                "etc/hosts",
                "etc/hostname",
                "etc/resolv.conf",
                "file",
                "bin/busybox",
            ] {
                assert!(members[file].starts_with('-'), "{file} {again}: {members:?}");
            }
            assert!(members.contains_key("same link to file"), "{members:?}");
            assert_eq!(members["sticky/"], "drwxrwxrwt");
            for absent in ["vol/file", "proc/1/", "dev/null", "sys/kernel/"] {
                assert!(!members.contains_key(absent), "{absent}");
            }
        }
        coracle.run(["rm", "-fv", "it"]).ok();
    }

    #[test]
    fn an_export_can_be_imported() {
        let coracle = both();
        coracle
            .run(["run", "--name", "it", "busybox", "sh", "-c", "echo kept >/file"])
            .ok();
        let file = coracle.path().join("exported.tar");
        coracle.run(["export", "-o", file.to_str().unwrap(), "it"]).ok();
        coracle
            .run([
                "import",
                "-c",
                "CMD [\"cat\", \"/file\"]",
                file.to_str().unwrap(),
                "again",
            ])
            .ok();
        assert_eq!(coracle.run(["run", "--rm", "again"]).ok(), "kept\n");
        coracle.run(["rmi", "again"]).ok();
        let missing = coracle.run(["export", "nosuch"]).fails(1);
        assert!(missing.contains("No such container: nosuch"), "{missing}");
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nothing() {
    use std::io::Read;
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--name",
            "it",
            "busybox",
            "sh",
            "-c",
            "head -c 9000000 /dev/zero >/big",
        ])
        .ok();
    let mut child = coracle.start(["export", "it"]);
    let mut some = [0; 512];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert!(!child.wait().unwrap().success());
    // Whatever was locked or mounted for it is free.
    coracle.run(["start", "-a", "it"]).ok();
    let file = coracle.path().join("no/such/directory.tar");
    coracle
        .run(["export", "-o", file.to_str().unwrap(), "it"])
        .fails(1);
}
