//! Images as files: ours read by others' tools, and theirs by us.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar, gzip};
use oci::{ImageConfig, Reference};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Image, NewImage, StoreError, Times};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// An image with a layer that was made here and one that came from elsewhere.
fn image(fixture: &Fixture, tags: &[Reference]) -> Image {
    let lease = fixture.store.lease().unwrap();
    let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
    std::fs::create_dir(snapshot.upper.join("bin")).unwrap();
    std::fs::write(snapshot.upper.join("bin/program"), "program".repeat(20_000)).unwrap();
    let made = fixture
        .store
        .commit_snapshot(&lease, snapshot, Times::Exactly(1_000_000_000))
        .unwrap();
    let came = Tar::default()
        .file("z", "z")
        .file("a", "a")
        .file("bin/.wh.old", "")
        .finish();
    let packed = gzip(&came);
    let blob = fixture::descriptor(fixture::LAYER_GZIP, &packed);
    let came = fixture
        .store
        .unpack_layer(&lease, &blob, &fixture::sha256(&came), &mut || {
            Ok(Box::new(Cursor::new(packed.clone())))
        })
        .unwrap();
    let mut config = ImageConfig {
        architecture: oci::Platform::host().architecture,
        os: "linux".into(),
        ..ImageConfig::default()
    };
    config.config.cmd = vec!["/bin/program".into()];
    config.rootfs.diff_ids = vec![made.diff_id, came.diff_id];
    fixture
        .store
        .record_image(&NewImage {
            raw_config: &serde_json::to_vec(&config).unwrap(),
            manifest: None,
            layers: &[made.id, came.id],
            parent: None,
            tags,
            repository_digest: None,
        })
        .unwrap()
}

fn save(fixture: &Fixture, image: &Image, tags: &[Reference]) -> Vec<u8> {
    let mut archive = Vec::new();
    fixture
        .store
        .save(&[(image.clone(), tags.to_vec())], &mut archive)
        .unwrap();
    archive
}

/// An image out of an archive, which holds images alone.
#[derive(Debug)]
struct Loaded {
    image: Image,
    tags: Vec<Reference>,
}

fn load(fixture: &Fixture, archive: &[u8]) -> Result<Vec<Loaded>, StoreError> {
    let loaded = fixture.store.load(&mut &archive[..], &[])?;
    Ok(loaded
        .into_iter()
        .map(|loaded| Loaded {
            image: loaded.image.expect("it is an image"),
            tags: loaded.tags,
        })
        .collect())
}

#[test]
fn what_is_saved_is_loaded_and_saved_again_as_the_same_bytes() {
    let fixture = Fixture::new();
    let tags = [reference("app:1"), reference("example.com:5000/team/app")];
    let image = image(&fixture, &tags);
    let archive = save(&fixture, &image, &tags);
    assert_eq!(save(&fixture, &image, &tags), archive);
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&archive).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&archive).unwrap();
    for packed in [
        archive.clone(),
        gzip(&archive),
        zstd::encode_all(&archive[..], 1).unwrap(),
        xz.finish().unwrap(),
        bzip2.finish().unwrap(),
    ] {
        let second = Fixture::new();
        let loaded = load(&second, &packed).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].image.id, image.id);
        assert_eq!(loaded[0].image.tags, tags);
        assert_eq!(save(&second, &loaded[0].image, &tags), archive);
        assert!(second.store.image_by_reference(&tags[1]).unwrap().is_some());
    }
}

#[test]
fn without_its_docker_half_an_archive_is_an_oci_layout() {
    let fixture = Fixture::new();
    let tags = [reference("app:1")];
    let image = image(&fixture, &tags);
    let work = tempfile::tempdir().unwrap();
    let (archive, layout) = (work.path().join("archive.tar"), work.path().join("layout.tar"));
    std::fs::write(&archive, save(&fixture, &image, &tags)).unwrap();
    output(
        Command::new("tar")
            .arg("-C")
            .arg(work.path())
            .arg("-xf")
            .arg(&archive),
    );
    let members = ["index.json", "blobs", "oci-layout"];
    output(
        Command::new("tar")
            .arg("-C")
            .arg(work.path())
            .arg("-cf")
            .arg(&layout)
            .args(members),
    );
    let second = Fixture::new();
    let loaded = load(&second, &std::fs::read(&layout).unwrap()).unwrap();
    assert_eq!(
        (loaded[0].image.id, &loaded[0].image.tags[..]),
        (image.id, &tags[..])
    );
    let manifest = loaded[0].image.manifest.unwrap();
    assert!(second.store.open_blob(&manifest).unwrap().is_some());
}

/// Skopeo's policy file may be missing on a machine; ours trusts everything.
fn skopeo(work: &Path) -> Command {
    let policy = work.join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let mut command = Command::new("skopeo");
    command.arg("--policy").arg(policy).arg("--tmpdir").arg(work);
    command
}

#[test]
fn skopeo_reads_ours_both_ways_and_we_read_its() {
    let fixture = Fixture::new();
    let tags = [reference("example.com/app:1")];
    let image = image(&fixture, &tags);
    let work = tempfile::tempdir().unwrap();
    let ours = work.path().join("ours.tar");
    std::fs::write(&ours, save(&fixture, &image, &tags)).unwrap();
    for (kind, file) in [
        ("docker-archive", "docker.tar"),
        ("oci-archive", "oci.tar"),
        ("dir", "dir"),
    ] {
        let from = format!("docker-archive:{}", ours.display());
        let to = format!(
            "{kind}:{}{}",
            work.path().join(file).display(),
            if kind == "dir" { "" } else { ":example.com/app:1" }
        );
        output(skopeo(work.path()).args(["copy", &from, &to]));
        if kind == "dir" {
            continue;
        }
        let second = Fixture::new();
        let loaded = load(&second, &std::fs::read(work.path().join(file)).unwrap()).unwrap();
        let loaded = &loaded[0].image;
        assert_eq!(loaded.tags, tags, "{kind}");
        assert_eq!(loaded.config.rootfs, image.config.rootfs, "{kind}");
        let read = |layer: &store::Layer, name: &str| {
            std::fs::read_to_string(second.layer(layer).join(name)).unwrap()
        };
        assert_eq!(read(&loaded.layers[0], "bin/program"), "program".repeat(20_000));
        assert_eq!(read(&loaded.layers[1], "z"), "z");
    }
    // The same file as an OCI layout.
    let config =
        output(skopeo(work.path()).args(["inspect", "--config", &format!("oci-archive:{}", ours.display())]));
    assert!(config.contains("/bin/program"));
    let inspected =
        output(skopeo(work.path()).args(["inspect", "--raw", &format!("docker-archive:{}", ours.display())]));
    assert!(
        inspected.contains(&image.id.to_string()),
        "the image keeps its id"
    );
}

#[test]
fn podman_loads_ours_and_we_load_its() {
    let fixture = Fixture::new();
    let tags = [reference("example.com/app:1")];
    let image = image(&fixture, &tags);
    let work = tempfile::tempdir().unwrap();
    let ours = work.path().join("ours.tar");
    std::fs::write(&ours, save(&fixture, &image, &tags)).unwrap();
    let podman = || {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(work.path().join("storage"))
            .arg("--runroot")
            .arg(work.path().join("run"))
            .args([
                "--storage-driver",
                "vfs",
                "--runtime",
                "runc",
                "--cgroup-manager",
                "cgroupfs",
            ]);
        command
    };
    output(podman().args(["load", "-i"]).arg(&ours));
    let id = output(podman().args(["image", "inspect", "--format", "{{.Id}}", "example.com/app:1"]));
    assert_eq!(id.trim(), image.id.hex());
    for format in ["docker-archive", "oci-archive"] {
        let theirs = work.path().join(format);
        output(
            podman()
                .args(["save", "--format", format, "-o"])
                .arg(&theirs)
                .arg("example.com/app:1"),
        );
        let second = Fixture::new();
        let loaded = load(&second, &std::fs::read(&theirs).unwrap()).unwrap();
        assert_eq!(loaded[0].image.config.rootfs, image.config.rootfs, "{format}");
        assert_eq!(loaded[0].image.config.config.cmd, ["/bin/program"], "{format}");
    }
}

/// A docker-archive by hand.
fn docker_archive(manifest: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Tar::default();
    for (name, content) in members {
        tar = tar
            .pax(&[("path", name.as_bytes())])
            .raw(b'0', b"x", b"", 0o644, content);
    }
    tar.file("manifest.json", manifest).finish()
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let layer = Tar::default().file("f", "x").finish();
    let diff_id = fixture::sha256(&layer);
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let good = r#"[{"Config":"c","RepoTags":["app:1"],"Layers":["l"]}]"#;
    let both: &[(&str, &[u8])] = &[("c", config.as_bytes()), ("l", &layer)];
    let fixture = Fixture::new();
    let other = Tar::default().file("f", "y").finish();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing known", Tar::default().file("x", "").finish()),
        ("no JSON", docker_archive("{", both)),
        ("no image", docker_archive("[]", both)),
        ("missing configuration", docker_archive(good, &both[1..])),
        ("missing layer", docker_archive(good, &both[..1])),
        ("another layer", docker_archive(good, &[both[0], ("l", &other)])),
        (
            "bad tag",
            docker_archive(&good.replace("app:1", "../../etc"), both),
        ),
        (
            "too many layers",
            docker_archive(&good.replace(r#"["l"]"#, r#"["l","l"]"#), both),
        ),
        (
            "configuration outside",
            docker_archive(&good.replace(r#""c""#, r#""../../../etc/passwd""#), both),
        ),
        (
            "layer outside",
            docker_archive(&good.replace(r#"["l"]"#, r#"["/etc/../../passwd"]"#), both),
        ),
        (
            "links in a circle",
            Tar::default()
                .symlink("l", "m")
                .symlink("m", "l")
                .file("c", &config)
                .file("manifest.json", good)
                .finish(),
        ),
        (
            "member outside",
            docker_archive(good, &[both[0], both[1], ("../x", b"")]),
        ),
        ("cut short", docker_archive(good, both)[..3000].to_vec()),
        ("damaged gzip", {
            let mut packed = gzip(&docker_archive(good, both));
            let middle = packed.len() / 2;
            packed[middle] ^= 0x10;
            packed
        }),
        (
            "second image bad",
            docker_archive(
                &format!(
                    "{},{{\"Config\":\"none\",\"Layers\":[]}}]",
                    &good[..good.len() - 1]
                ),
                both,
            ),
        ),
    ];
    for (what, archive) in cases {
        assert!(load(&fixture, &archive).is_err(), "{what}");
        assert!(fixture.store.images().unwrap().is_empty(), "{what}");
        assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "{what}");
    }
    let loaded = load(&fixture, &docker_archive(good, both)).unwrap();
    assert_eq!(loaded[0].tags, [reference("app:1")]);
}

#[test]
fn linked_and_compressed_layers_of_old_archives_are_found() {
    let layer = Tar::default().file("f", "x").finish();
    let diff_id = fixture::sha256(&layer);
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#);
    let packed = gzip(&layer);
    let archive = Tar::default()
        .directory("one")
        .raw(b'0', b"one/layer.tar", b"", 0o644, &packed)
        .directory("two")
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("config.json", &config)
        .file(
            "manifest.json",
            r#"[{"Config":"./config.json","RepoTags":null,"Layers":["one/layer.tar","two/layer.tar"]}]"#,
        )
        .finish();
    let fixture = Fixture::new();
    let loaded = load(&fixture, &archive).unwrap();
    let image = &loaded[0].image;
    assert_eq!(image.layers.len(), 2);
    let mut tar = Vec::new();
    fixture.store.write_layer_tar(&image.layers[0], &mut tar).unwrap();
    assert_eq!(tar, layer);
}

#[test]
fn a_root_filesystem_becomes_an_image() {
    let fixture = Fixture::new();
    let tar = Tar::default().directory("etc").file("etc/hostname", "x").finish();
    let config = ImageConfig {
        architecture: "amd64".into(),
        os: "linux".into(),
        ..ImageConfig::default()
    };
    let name = reference("imported");
    let mut ids = Vec::new();
    for packed in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
        let image = fixture
            .store
            .import(&mut &packed[..], config.clone(), "by hand", Some(&name))
            .unwrap();
        assert_eq!(image.config.history[0].comment, "by hand");
        assert_eq!(
            std::fs::read_to_string(fixture.layer(&image.layers[0]).join("etc/hostname")).unwrap(),
            "x"
        );
        ids.push(image.id);
    }
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "the same tree is the same image"
    );
    assert!(fixture.store.import(&mut &tar[..600], config, "", None).is_err());
    let mut saved = Vec::new();
    let image = fixture.store.image_by_reference(&name).unwrap().unwrap();
    fixture.store.save(&[(image, vec![name])], &mut saved).unwrap();
    let mut reader = &saved[..];
    let mut start = [0; 5];
    reader.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"blobs");
}
