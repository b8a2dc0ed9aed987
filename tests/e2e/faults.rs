//! Registries that misbehave, disks that are full, many at once: never a bad file in an image, never a lost one, and the
//! next try gets it.

use crate::empty;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use testkit::Sandbox;
use testkit::registry::{FakeRegistry, Fault, TestImage, digest_of};

/// How many faults are played; `make attacks` plays more.
fn rounds() -> u64 {
    std::env::var("CORACLE_FAULTS").map_or(60, |text| text.parse().unwrap())
}

/// Numbers that are the same in each run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

/// An image of three layers that do not compress, and its files.
fn image(numbers: &mut Numbers) -> (TestImage, BTreeMap<String, Vec<u8>>) {
    image_of(numbers, [3_000, 90_000, 250_000])
}

fn image_of(numbers: &mut Numbers, sizes: [usize; 3]) -> (TestImage, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    let layers = sizes
        .into_iter()
        .enumerate()
        .map(|(number, size)| {
            let name = format!("file{number}");
            let content = numbers.bytes(size);
            files.insert(name.clone(), content.clone());
            vec![(name, content)]
        })
        .collect();
    let image = TestImage {
        layers,
        ..TestImage::default()
    };
    (image, files)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Panics if the store holds a blob that is not what its name says, or a layer's file that is not the image's.
fn check(coracle: &Sandbox, files: &BTreeMap<String, Vec<u8>>, context: &str) {
    let root = coracle.path().join("root");
    let mut blobs = Vec::new();
    walk(&root.join("blobs"), &mut blobs);
    for blob in blobs {
        let bytes = std::fs::read(&blob).unwrap();
        let name = blob.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(digest_of(&bytes).hex(), name, "{context}: a bad blob");
    }
    let mut unpacked = Vec::new();
    walk(&root.join("layers"), &mut unpacked);
    for file in unpacked {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(
            files.get(&name),
            Some(&std::fs::read(&file).unwrap()),
            "{context}: {}",
            file.display()
        );
    }
}

#[test]
fn faults_at_random_places_never_make_a_bad_image() {
    let coracle = empty();
    let registry = FakeRegistry::start();
    let seed = 0x5EED_C0DE_u64;
    let mut numbers = Numbers(seed);
    let (image, files) = image(&mut numbers);
    let put = registry.put_image("team/data", Some("1"), &image);
    let name = format!("{}/team/data:1", registry.host());
    let mut sizes: Vec<(String, usize)> = put
        .layers
        .iter()
        .chain([&put.config])
        .map(|bytes| (format!("/blobs/{}", digest_of(bytes)), bytes.len()))
        .collect();
    sizes.push(("/manifests/".to_owned(), put.manifest.len()));
    let mut failures = 0;
    for round in 0..rounds() {
        let (part, size) = &sizes[numbers.below(sizes.len())];
        let at = numbers.below(*size);
        let fault = match numbers.below(10) {
            0..=3 => Fault::CutAfter(at),
            4 => Fault::FlipBit(at),
            5 => Fault::Append(numbers.bytes(1 + at % 100)),
            6 => Fault::Body(numbers.bytes(at)),
            7 => Fault::Close,
            8 => Fault::status([500, 502, 503, 404, 403][numbers.below(5)]),
            _ => Fault::Redirect(format!("http://{}/v2/team/data{part}", registry.host())),
        };
        let context = format!("seed {seed:#x}, round {round}, {fault:?} at {part}");
        registry.reset();
        registry.script(part, [fault]);
        let pulled = coracle.run(["pull", "-q", &name]);
        check(&coracle, &files, &context);
        if pulled.code != 0 {
            failures += 1;
            assert!(
                pulled.stderr.len() > 20,
                "{context}: no reason in '{}'",
                pulled.stderr
            );
            assert_eq!(coracle.run(["images", "-q"]).ok(), "", "{context}");
            registry.reset();
            let again = coracle.run(["pull", "-q", &name]);
            assert_eq!(again.code, 0, "{context}: {}", again.stderr);
            check(&coracle, &files, &context);
        }
        let mut there = Vec::new();
        walk(&coracle.path().join("root/layers"), &mut there);
        assert_eq!(there.len(), files.len(), "{context}");
        coracle.run(["rmi", &name]).ok();
        let mut left = Vec::new();
        for directory in ["layers", "blobs", "tmp"] {
            walk(&coracle.path().join("root").join(directory), &mut left);
        }
        assert_eq!(left, Vec::<PathBuf>::new(), "{context}");
    }
    // Faults that nothing can be done about must be among them, or this has tried nothing.
    assert!(failures > 0);
}

#[test]
fn fifty_pulls_of_one_image_fetch_each_blob_once() {
    let coracle = empty();
    let registry = FakeRegistry::start();
    let (image, files) = image(&mut Numbers(7));
    let put = registry.put_image("team/data", Some("1"), &image);
    let name = format!("{}/team/data:1", registry.host());
    let pulls: Vec<_> = (0..50).map(|_| coracle.start(["pull", "-q", &name])).collect();
    for pull in pulls {
        testkit::sandbox::outcome(&pull.wait_with_output().unwrap()).ok();
    }
    check(&coracle, &files, "fifty pulls");
    for layer in &put.layers {
        let part = format!("/blobs/{}", digest_of(layer));
        let fetched = registry
            .requests()
            .iter()
            .filter(|request| request.method == "GET" && request.path.ends_with(&part))
            .count();
        assert_eq!(fetched, 1, "{part}");
    }
}

/// A small filesystem; unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path, kilobytes: u64) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
        rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(&*options),
        )
        .unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_disk_that_fills_up_anywhere_costs_nothing_but_the_pull() {
    let coracle = empty();
    let registry = FakeRegistry::start();
    let (image, files) = image_of(&mut Numbers(11), [3_000, 900_000, 2_500_000]);
    registry.put_image("team/data", Some("1"), &image);
    let name = format!("{}/team/data:1", registry.host());
    let mut outcomes = BTreeMap::new();
    for kilobytes in (4_600..9_600).step_by(310) {
        let root = coracle.path().join("root");
        let small = Small::mount(&root, kilobytes);
        // It was not full from the beginning.
        coracle.run(["volume", "create", "data"]).ok();
        let pulled = coracle.run(["pull", "-q", &name]);
        check(&coracle, &files, &format!("{kilobytes} KB"));
        *outcomes.entry(pulled.code).or_insert(0) += 1;
        if pulled.code != 0 {
            let text = pulled.stderr.to_lowercase();
            assert!(
                text.contains("no space") || text.contains("full"),
                "{kilobytes} KB: {}",
                pulled.stderr
            );
        }
        // To the last byte, as a container's output may do.
        let mut filler = std::fs::File::create(root.join("filler")).unwrap();
        while std::io::Write::write(&mut filler, &[1; 4096]).is_ok() {}
        for command in [
            &["volume", "rm", "data"][..],
            &["image", "prune", "-af"],
            &["system", "prune", "-af", "--volumes"],
        ] {
            let removed = coracle.run(command);
            assert_eq!(removed.code, 0, "{kilobytes} KB, {command:?}: {}", removed.stderr);
        }
        assert_eq!(coracle.run(["images", "-q"]).ok(), "");
        drop(small);
    }
    assert_eq!(
        outcomes.keys().copied().collect::<Vec<_>>(),
        [0, 1],
        "{outcomes:?}"
    );
}
