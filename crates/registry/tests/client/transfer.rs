//! Blob streams against a registry that breaks off, stalls, lies and refuses.

use super::support::{alone, client, read, reference, resolve, told};
use registry::{Client, RegistryConfig, RegistryError, RemoteImage};
use std::io::{self, Read};
use testkit::registry::{FakeRegistry, Fault, Put, TestImage};

const SIZE: usize = 200_000;

struct Setting {
    registry: FakeRegistry,
    client: Client,
    image: RemoteImage,
    put: Put,
    name: String,
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

impl Setting {
    fn new() -> Self {
        let registry = FakeRegistry::start();
        let put = registry.put_image("app", Some("1"), &TestImage::with_file("noise", &noise(SIZE)));
        let client = client(RegistryConfig::default());
        let name = format!("{}/app:1", registry.host());
        let image = resolve(&client, &name).unwrap();
        registry.reset();
        Self {
            registry,
            client,
            image,
            put,
            name,
        }
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        read(&self.client, &self.name, &self.image, &self.image.layers[0])
    }

    /// Reads the layer, which must fail, and returns the whole message.
    fn failure(&self) -> String {
        let error = self.layer().unwrap_err();
        // io::Error's own text is its content's, and so is its source.
        told(&error)
    }

    fn ranges(&self) -> Vec<String> {
        let requests = self.registry.requests();
        let blobs = requests.iter().filter(|request| request.path.contains("/blobs/"));
        blobs
            .map(|request| request.headers.get("range").cloned().unwrap_or_default())
            .collect()
    }
}

#[test]
fn a_cut_at_any_byte_is_resumed_there() {
    let setting = Setting::new();
    let expected = &setting.put.layers[0];
    let step = expected.len() / 23;
    for at in (0..expected.len()).step_by(step).chain([1, expected.len() - 1]) {
        setting.registry.reset();
        setting.registry.script("/blobs/", [Fault::CutAfter(at)]);
        assert_eq!(setting.layer().unwrap(), *expected, "cut at {at}");
        let again = if at == 0 {
            String::new()
        } else {
            format!("bytes={at}-")
        };
        assert_eq!(setting.ranges(), [String::new(), again]);
    }
}

#[test]
fn several_cuts_in_a_row_are_survived() {
    let setting = Setting::new();
    setting
        .registry
        .script("/blobs/", [10, 20, 30, 40].map(Fault::CutAfter));
    assert_eq!(setting.layer().unwrap(), setting.put.layers[0]);
    assert_eq!(
        setting.ranges(),
        ["", "bytes=10-", "bytes=30-", "bytes=60-", "bytes=100-"]
    );
}

#[test]
fn a_server_that_always_cuts_is_given_up() {
    let setting = Setting::new();
    setting.registry.always("/blobs/", Fault::CutAfter(10));
    let message = setting.failure();
    let expected = format!(
        "the transfer of blob {} from {} broke after 50 of {} bytes",
        setting.image.layers[0].digest(),
        setting.registry.host(),
        setting.put.layers[0].len()
    );
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(setting.ranges().len(), 5);
}

#[test]
fn progress_makes_good_for_failures() {
    let registry = FakeRegistry::start();
    let put = registry.put_image("app", Some("1"), &TestImage::with_file("noise", &noise(12 << 20)));
    let name = format!("{}/app:1", registry.host());
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    registry.reset();
    registry.script("/blobs/", vec![Fault::CutAfter(3 << 19); 7]);
    assert_eq!(
        read(&client, &name, &image, &image.layers[0]).unwrap(),
        put.layers[0]
    );
    assert_eq!(registry.count("/blobs/"), 8);
}

#[test]
fn a_server_without_ranges_is_read_over() {
    let setting = Setting::new();
    setting
        .registry
        .script("/blobs/", [Fault::CutAfter(70_000), Fault::IgnoreRange]);
    assert_eq!(setting.layer().unwrap(), setting.put.layers[0]);
    assert_eq!(setting.ranges(), ["", "bytes=70000-"]);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let setting = Setting::new();
    let lie = Fault::Header("content-range".into(), "bytes 5-9/10".into());
    setting.registry.script("/blobs/", [Fault::CutAfter(70_000), lie]);
    let message = setting.failure();
    assert!(message.contains("and 'bytes 5-9/10' came"), "{message}");
    assert_eq!(setting.ranges().len(), 2);
}

#[test]
fn a_stalled_connection_is_replaced() {
    let setting = Setting::new();
    setting.registry.script("/blobs/", [Fault::StallAfter(100_000)]);
    assert_eq!(setting.layer().unwrap(), setting.put.layers[0]);
    assert_eq!(setting.ranges(), ["", "bytes=100000-"]);
}

#[test]
fn a_silent_server_is_given_up() {
    let setting = Setting::new();
    setting.registry.always("/blobs/", Fault::StallAfter(0));
    let message = setting.failure();
    let expected = format!(
        "registry {} was silent for 2 s in the middle of a transfer",
        setting.registry.host()
    );
    assert_eq!(message, expected);
    assert_eq!(setting.ranges().len(), 1);
}

#[test]
fn errors_of_the_server_pass() {
    let setting = Setting::new();
    let faults = [
        Fault::status(500),
        Fault::status(502),
        Fault::Close,
        Fault::status(503),
    ];
    setting.registry.script("/blobs/", faults);
    assert_eq!(setting.layer().unwrap(), setting.put.layers[0]);
    assert_eq!(setting.ranges().len(), 5);
}

#[test]
fn errors_that_do_not_pass_are_told() {
    let setting = Setting::new();
    setting
        .registry
        .always("/blobs/", Fault::error(500, "UNKNOWN", "disk\u{7}on fire"));
    let message = setting.failure();
    let host = setting.registry.host();
    assert_eq!(message, format!("registry {host} failed with HTTP status 500"));
    assert_eq!(setting.ranges().len(), 5);
    setting.registry.reset();
    setting
        .registry
        .always("/blobs/", Fault::error(500, "UNKNOWN", "the disk is on fire"));
    assert_eq!(
        setting.failure(),
        format!("registry {host} failed with HTTP status 500: the disk is on fire")
    );
}

#[test]
fn a_missing_blob_is_named() {
    let setting = Setting::new();
    setting.registry.remove("/blobs/");
    let message = setting.failure();
    assert_eq!(
        message,
        format!(
            "blob {} of {}/app is not at the registry, although its manifest names it: push the image again",
            setting.image.layers[0].digest(),
            setting.registry.host()
        )
    );
    assert_eq!(setting.ranges().len(), 1);
}

#[test]
fn sizes_are_exact() {
    let setting = Setting::new();
    let size = setting.put.layers[0].len();
    for (fault, actual) in [
        (Fault::Body(b"short".to_vec()), "5".to_owned()),
        (Fault::Body(vec![0; size + 1]), (size + 1).to_string()),
        (Fault::Append(b"more".to_vec()), "more".to_owned()),
        (Fault::Append(vec![0; 1 << 20]), "more".to_owned()),
    ] {
        setting.registry.reset();
        setting.registry.always("/blobs/", fault);
        let message = setting.failure();
        let expected = format!("has not the promised {size} bytes, but {actual}");
        assert!(message.contains(&expected), "{message}");
        assert_eq!(setting.ranges().len(), 1);
    }
}

#[test]
fn wrong_bytes_are_the_callers_to_find() {
    let setting = Setting::new();
    setting.registry.script("/blobs/", [Fault::FlipBit(1000)]);
    assert_ne!(setting.layer().unwrap(), setting.put.layers[0]);
    assert_eq!(setting.layer().unwrap(), setting.put.layers[0]);
}

#[test]
fn the_reader_stays_failed() {
    let setting = Setting::new();
    setting.registry.always("/blobs/", Fault::CutAfter(10));
    let mut reader = setting
        .client
        .blob(
            &reference(&setting.name),
            &setting.image,
            &setting.image.layers[0],
        )
        .unwrap();
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref()),
        Some(RegistryError::Truncated { received: 50, .. })
    ));
    assert!(reader.read(&mut [0; 8]).is_err());
}

#[test]
fn many_blobs_at_once_do_not_wait_for_each_other() {
    let registry = FakeRegistry::start();
    let layers = (0..6_u8).map(|n| vec![(format!("f{n}"), noise(6 << 20)), (format!("g{n}"), vec![n])]);
    let image = TestImage {
        layers: layers.collect(),
        ..TestImage::default()
    };
    let put = registry.put_image("app", Some("1"), &image);
    let name = format!("{}/app:1", registry.host());
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    let mut readers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| client.blob(&reference(&name), &image, layer).unwrap())
        .collect();
    // The client may go; its streams stay. Read backwards, so that all but one are held up.
    drop(client);
    for (reader, expected) in readers.iter_mut().zip(&put.layers).rev() {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, *expected);
    }
}

#[test]
fn the_network_thread_is_there_only_while_it_is_needed() {
    if !alone(
        "transfer::the_network_thread_is_there_only_while_it_is_needed",
        &[],
    ) {
        return;
    }
    let running = || threads().iter().any(|name| name == "registry");
    let unused = client(RegistryConfig::default());
    assert!(!running());
    let setting = Setting::new();
    assert!(running());
    setting.registry.always("/blobs/", Fault::StallAfter(10));
    let mut reader = setting
        .client
        .blob(
            &reference(&setting.name),
            &setting.image,
            &setting.image.layers[0],
        )
        .unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    drop((setting.client, unused));
    assert!(running());
    // In the middle of a stalled transfer: the thread is joined before this returns.
    drop(reader);
    assert!(!running());
}

fn threads() -> Vec<String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

#[test]
fn foreign_layers_are_not_fetched_from_elsewhere() {
    let elsewhere = FakeRegistry::start();
    let registry = FakeRegistry::start();
    let put = TestImage::with_file("a", b"b").put();
    let digest = elsewhere.put_blob("x", &put.layers[0]);
    let manifest = String::from_utf8(put.manifest).unwrap();
    let url = format!("http://{}/v2/x/blobs/{digest}", elsewhere.host());
    let manifest = manifest.replacen(
        &format!(r#""digest":"{digest}""#),
        &format!(r#""urls":["{url}"],"digest":"{digest}""#),
        1,
    );
    registry.put_blob("app", &put.config);
    registry.put_manifest(
        "app",
        Some("1"),
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    let name = format!("{}/app:1", registry.host());
    let client = client(RegistryConfig::default());
    let image = resolve(&client, &name).unwrap();
    let error = read(&client, &name, &image, &image.layers[0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "layer {digest} is not at the registry, only at foreign addresses that the manifest names, which are not visited"
        )
    );
    assert!(elsewhere.requests().is_empty());
}

/// Whatever happens, the bytes are right or there is an error; up to four failures in a row are survived.
#[test]
fn chaos_never_gives_wrong_bytes() {
    let setting = Setting::new();
    let expected = &setting.put.layers[0];
    let mut state = 42_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..400 {
        let faults: Vec<Fault> = (0..random(8))
            .map(|_| match random(7) {
                0 => Fault::Close,
                1 => Fault::status(500),
                2 => Fault::status(503),
                3 => Fault::IgnoreRange,
                4 => Fault::Status(429, vec![("retry-after".into(), "0".into())], String::new()),
                _ => Fault::CutAfter(random(SIZE)),
            })
            .collect();
        setting.registry.reset();
        setting.registry.script("/blobs/", faults.clone());
        let survivable = faults.len() <= 4;
        match setting.layer() {
            Ok(bytes) => assert!(bytes == *expected, "round {round}: {faults:?}"),
            Err(error) => assert!(!survivable, "round {round}: {faults:?}: {error}"),
        }
    }
}
