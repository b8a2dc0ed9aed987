//! Blobs of servers that are slow on each connection.

use super::support::{read, reference, resolve, tuning};
use registry::{Client, RegistryConfig, RemoteImage, Slow};
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;
use testkit::registry::{FakeRegistry, Fault, Put, TestImage};

const SEGMENT: usize = 64 << 10;
const SIZE: usize = 40 * SEGMENT + 4321;

struct Setting {
    registry: FakeRegistry,
    client: Client,
    image: RemoteImage,
    put: Put,
    name: String,
}

impl Setting {
    fn new() -> Self {
        let registry = FakeRegistry::start();
        let mut state = 7_u32;
        let noise: Vec<u8> = (0..SIZE)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let put = registry.put_image("app", Some("1"), &TestImage::with_file("noise", &noise));
        let slow = Slow {
            after: Duration::from_millis(50),
            rate: 64 << 20,
            rest: Duration::from_millis(100),
            segment: SEGMENT as u64,
        };
        let tuning = registry::Tuning { slow, ..tuning() };
        let client = Client::with_tuning(RegistryConfig::default(), tuning).unwrap();
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

    fn layer(&self) -> std::io::Result<Vec<u8>> {
        read(&self.client, &self.name, &self.image, &self.image.layers[0])
    }

    fn assert_whole(&self, context: &str) {
        let bytes = self.layer().unwrap();
        assert!(bytes == self.put.layers[0], "{context}: {} bytes", bytes.len());
    }

    /// The ranges that were asked for; none for the whole.
    fn ranges(&self) -> Vec<String> {
        let requests = self.registry.requests();
        let blobs = requests.iter().filter(|request| request.path.contains("/blobs/"));
        blobs
            .map(|request| request.headers.get("range").cloned().unwrap_or_default())
            .collect()
    }
}

#[test]
fn a_slow_server_is_asked_on_several_connections() {
    let setting = Setting::new();
    setting.registry.always("/blobs/", Fault::Slow(1 << 20));
    let blob = &setting.image.layers[0];
    let mut reader = setting
        .client
        .blob(&reference(&setting.name), &setting.image, blob)
        .unwrap();
    let (mut bytes, mut most) = (Vec::new(), 0);
    let mut piece = vec![0; SEGMENT];
    loop {
        let length = reader.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..length]);
        most = most.max(setting.registry.connections());
    }
    assert!(bytes == setting.put.layers[0]);
    // Each step doubles the rate here, so that a second one is made.
    assert!(most >= 4, "{most} connections at most");
    let ranges = setting.ranges();
    assert_eq!(ranges[0], "");
    let parts: BTreeSet<_> = ranges[1..].iter().collect();
    assert_eq!(
        parts.len(),
        ranges.len() - 1,
        "nothing is asked for twice: {ranges:?}"
    );
    assert!(parts.len() > 20, "{ranges:?}");
}

#[test]
fn a_fast_server_is_asked_once() {
    let setting = Setting::new();
    setting.assert_whole("fast");
    assert_eq!(setting.ranges(), [""]);
}

#[test]
fn a_slow_reader_makes_no_server_slow() {
    let setting = Setting::new();
    let blob = &setting.image.layers[0];
    let mut reader = setting
        .client
        .blob(&reference(&setting.name), &setting.image, blob)
        .unwrap();
    let mut bytes = Vec::new();
    let mut piece = vec![0; SEGMENT];
    loop {
        let length = reader.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..length]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(bytes == setting.put.layers[0]);
    assert_eq!(setting.ranges(), [""]);
}

#[test]
fn who_does_not_help_is_not_needed() {
    for (what, fault) in [
        ("no ranges", Fault::IgnoreRange),
        ("no more", Fault::status(429)),
        ("broken", Fault::status(500)),
        ("gone", Fault::Close),
        (
            "another range",
            Fault::Header("content-range".into(), "bytes 0-9/10".into()),
        ),
    ] {
        let setting = Setting::new();
        // The first is slow; whatever is asked beside it is answered like this.
        let mut faults = vec![Fault::Slow(1 << 20)];
        faults.extend(std::iter::repeat_n(fault, 40));
        setting.registry.script("/blobs/", faults);
        setting.assert_whole(what);
        let ranges = setting.ranges();
        assert_eq!(
            ranges.iter().filter(|range| range.is_empty()).count(),
            1,
            "{what}: {ranges:?}"
        );
    }
}

/// Whatever happens to the connections, the bytes are right.
#[test]
fn cuts_on_any_of_the_connections_are_survived() {
    let setting = Setting::new();
    let mut state = 42_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..12 {
        setting.registry.reset();
        setting.registry.always("/blobs/", Fault::Slow(2 << 20));
        let mut faults = vec![Fault::Slow(2 << 20)];
        for _ in 0..2 {
            faults.extend(std::iter::repeat_n(Fault::Slow(2 << 20), 1 + random(12)));
            faults.push(match random(3) {
                0 => Fault::Close,
                1 => Fault::status(503),
                _ => Fault::CutAfter(random(SEGMENT)),
            });
        }
        setting.registry.script("/blobs/", faults.clone());
        setting.assert_whole(&format!("round {round}: {faults:?}"));
    }
}
