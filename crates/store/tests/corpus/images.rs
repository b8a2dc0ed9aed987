//! Archives of images, in Docker's form and in OCI's, with documents that lie.

use super::fixture::{self, LAYER, LAYER_GZIP, Tar};
use super::numbers::Numbers;
use serde_json::{Value, json};

/// Returns a docker-archive.
pub(crate) fn docker(numbers: &mut Numbers, outside: &str) -> Vec<u8> {
    let layer = layer(numbers);
    let config = config(numbers, &layer);
    let other = |numbers: &mut Numbers, honest: &str| hostile_name(numbers, honest, outside);
    let mut manifest = json!([{
        "Config": other(numbers, "config.json"),
        "Layers": [other(numbers, "one/layer.tar")],
        "RepoTags": [hostile_tag(numbers)],
    }]);
    if numbers.one_in(3) {
        distort(&mut manifest, numbers, 0);
    }
    let mut tar = Tar::default();
    if numbers.one_in(4) {
        // The layer is a link to what only looks like one.
        let target = hostile_name(numbers, "two/layer.tar", outside);
        tar = long_link(tar, "one/layer.tar", &target).raw(b'0', b"two/layer.tar", b"", 0o644, &layer);
    } else {
        tar = tar.raw(b'0', b"one/layer.tar", b"", 0o644, &layer);
    }
    tar = match numbers.below(6) {
        0 => long_link(tar, "config.json", &format!("{outside}/etc/passwd")),
        1 => tar,
        _ => tar.file("config.json", &config),
    };
    if numbers.one_in(8) {
        tar = tar.file("../outside", "x");
    }
    tar = tar.file("manifest.json", &manifest.to_string());
    if numbers.one_in(8) {
        tar = tar.file("manifest.json", "[]");
    }
    packed(tar.finish(), numbers)
}

/// Returns an archive of an OCI image layout.
pub(crate) fn layout(numbers: &mut Numbers) -> Vec<u8> {
    let layer = layer(numbers);
    let is_packed = numbers.one_in(2);
    let blob = if is_packed {
        fixture::gzip(&layer)
    } else {
        layer.clone()
    };
    let config = config(numbers, &layer);
    let mut descriptor_of = |media_type: &str, content: &[u8]| {
        let digest = hostile_digest(numbers, &fixture::sha256(content).to_string());
        let size = match numbers.below(40) {
            0 => json!(content.len() + 1),
            1 => json!(-1),
            2 => json!(u64::MAX),
            3 => json!("5"),
            4 => json!(0),
            _ => json!(content.len()),
        };
        let media_type = match numbers.below(40) {
            0 => "application/vnd.oci.image.index.v1+json",
            1 => "application/vnd.oci.image.manifest.v1+json",
            2 => "text/plain",
            3 => "application/vnd.oci.image.layer.v1.tar+zstd",
            4 => "",
            _ => media_type,
        };
        json!({"mediaType": media_type, "digest": digest, "size": size})
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor_of("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor_of(if is_packed { LAYER_GZIP } else { LAYER }, &blob)],
    });
    if numbers.one_in(6) {
        // One document, two readings (CVE-2021-41190).
        manifest["manifests"] = json!([]);
    }
    if numbers.one_in(4) {
        distort(&mut manifest, numbers, 0);
    }
    let manifest = manifest.to_string();
    let mut entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": hostile_digest(numbers, &fixture::sha256(manifest.as_bytes()).to_string()),
        "size": manifest.len(),
        "platform": {"os": "linux", "architecture": numbers.word(&["amd64", "../..", "", "arm64"])},
        "annotations": {
            "org.opencontainers.image.ref.name": hostile_tag(numbers),
            "io.containerd.image.name": hostile_tag(numbers),
        },
    });
    if numbers.one_in(6) {
        distort(&mut entry, numbers, 0);
    }
    let mut index = json!({"schemaVersion": 2, "manifests": [entry]});
    if numbers.one_in(6) {
        distort(&mut index, numbers, 0);
    }
    let name = |content: &[u8]| format!("blobs/sha256/{}", fixture::sha256(content).hex());
    let mut tar = Tar::default();
    if !numbers.one_in(10) {
        tar = tar.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    }
    tar = tar.file(&name(config.as_bytes()), &config);
    tar = tar.file(&name(manifest.as_bytes()), &manifest);
    let content = if numbers.one_in(6) { b"other" } else { &blob[..] };
    tar = tar.raw(b'0', name(&blob).as_bytes(), b"", 0o644, content);
    tar = tar.file("index.json", &index.to_string());
    packed(tar.finish(), numbers)
}

fn layer(numbers: &mut Numbers) -> Vec<u8> {
    match numbers.below(8) {
        0 => super::layers::odd(numbers),
        1 => super::layers::whiteouts(numbers),
        _ => Tar::default().directory("d").file("d/f", "content").finish(),
    }
}

fn config(numbers: &mut Numbers, layer: &[u8]) -> String {
    let diff_id = hostile_digest(numbers, &fixture::sha256(layer).to_string());
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["SECRET", "A=b"], "WorkingDir": "../../..", "Volumes": {"/../../x": {}}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "x"}],
    });
    if numbers.one_in(5) {
        distort(&mut config, numbers, 0);
    }
    let text = config.to_string();
    if numbers.one_in(12) {
        // Deeper than any reader should go.
        return format!("{}{}", "[".repeat(20_000), text);
    }
    text
}

fn hostile_name(numbers: &mut Numbers, honest: &str, outside: &str) -> String {
    match numbers.below(24) {
        0 => format!("{outside}/etc/passwd"),
        1 => format!("{}{outside}/etc/passwd", "../".repeat(20)),
        2 => "..".to_owned(),
        3 => String::new(),
        4 => format!("./x/../{honest}"),
        _ => honest.to_owned(),
    }
}

fn hostile_tag(numbers: &mut Numbers) -> &'static str {
    numbers.word(&[
        "name:1",
        "name:2",
        "name:3",
        "name",
        "a/b",
        "registry.example/x",
        "registry.example:5000/x:y",
        "registry.example/a/b:tag",
        "../../x:1",
        "/abs:1",
        "UPPER:1",
        "name@sha256:0",
        "",
        "a:b:c:d",
        "name:../../x",
        "a\u{0}b",
    ])
}

fn hostile_digest(numbers: &mut Numbers, honest: &str) -> String {
    match numbers.below(40) {
        0 => "sha256:../../../../etc/passwd".to_owned(),
        1 => honest.to_uppercase(),
        2 => honest[..honest.len() - 1].to_owned(),
        3 => format!("sha512:{}", &honest[7..]),
        4 => honest.replace('a', "b"),
        5 => String::new(),
        _ => honest.to_owned(),
    }
}

/// Puts something else in some places of a document.
fn distort(value: &mut Value, numbers: &mut Numbers, depth: usize) {
    if depth > 0 && numbers.one_in(4) {
        *value = match numbers.below(8) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => json!(-1),
            4 => json!(1e300),
            5 => json!("../../x"),
            6 => json!([[[[[[null]]]]]]),
            _ => json!(true),
        };
        return;
    }
    match value {
        Value::Array(list) => list.iter_mut().for_each(|each| distort(each, numbers, depth + 1)),
        Value::Object(object) => object
            .values_mut()
            .for_each(|each| distort(each, numbers, depth + 1)),
        _ => {}
    }
}

fn long_link(tar: Tar, path: &str, target: &str) -> Tar {
    tar.pax(&[("linkpath", target.as_bytes())])
        .raw(b'2', path.as_bytes(), b"x", 0o777, b"")
}

/// Compresses an archive in one of the ways that are understood, sometimes badly.
pub(crate) fn packed(bytes: Vec<u8>, numbers: &mut Numbers) -> Vec<u8> {
    let mut packed = match numbers.below(8) {
        0 => fixture::gzip(&bytes),
        1 => zstd::encode_all(&bytes[..], 1).unwrap(),
        // Several members, one after the other.
        2 => {
            let (one, two) = bytes.split_at(bytes.len() / 2);
            [fixture::gzip(one), fixture::gzip(two)].concat()
        }
        3 => [fixture::gzip(&bytes), b"trailing".to_vec()].concat(),
        4 => fixture::gzip(&fixture::gzip(&bytes)),
        _ => return bytes,
    };
    match numbers.below(6) {
        0 => packed.truncate(numbers.below(packed.len())),
        1 => {
            let at = numbers.below(packed.len());
            packed[at] ^= 1 << numbers.below(8);
        }
        _ => {}
    }
    packed
}
