//! Whatever is typed, the parsers of mounts and devices answer, and what they let through is what the engine may rely on.

use super::{device, mount, publish, tmpfs, ulimit, volume};
use engine::containers::request::{MountRequest, MountSource};
use proptest::prelude::*;

/// Text that is nearly right: the words and separators of the languages, and some that are in none.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("type=bind"),
        Just("type=volume"),
        Just("type=tmpfs"),
        Just("source="),
        Just("src"),
        Just("target=/x"),
        Just("dst="),
        Just("readonly"),
        Just("ro"),
        Just("rw"),
        Just("z"),
        Just("nocopy"),
        Just("rshared"),
        Just("bind-propagation=shared"),
        Just("volume-nocopy"),
        Just("volume-subpath=../.."),
        Just("tmpfs-size=1m"),
        Just("tmpfs-mode=1777"),
        Just("size=18446744073709551616k"),
        Just("/"),
        Just("/.."),
        Just(".."),
        Just("./x"),
        Just("/proc"),
        Just("data"),
        Just("nofile"),
        Just("80"),
        Just("65536"),
        Just("-1"),
        Just("tcp"),
        Just("rwm"),
        Just("\""),
        Just("\0"),
        Just("\u{202e}"),
        Just("é"),
    ];
    let separator = prop_oneof![
        Just(":"),
        Just(","),
        Just("="),
        Just("/"),
        Just("-"),
        Just(""),
        Just(" ")
    ];
    proptest::collection::vec((word, separator), 0..8).prop_map(|parts| {
        let both = |(word, separator): (&'static str, &'static str)| [word, separator];
        parts.into_iter().flat_map(both).collect()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![nearly(), any::<String>(), "[a-z/:=,.\"-]{0,40}"]
}

/// What the engine takes as decided: a source that is a path is absolute, and a name is nothing but a name.
fn check(request: &MountRequest) {
    match &request.source {
        MountSource::Bind { path, .. } => assert!(path.is_absolute(), "{request:?}"),
        MountSource::Volume { name: Some(name), .. } => {
            assert!(
                !name.contains(['/', '\0']) && !name.starts_with('.'),
                "{request:?}"
            );
        }
        MountSource::Image { .. } | MountSource::Tmpfs { .. } | MountSource::Volume { .. } => {}
    }
    assert!(request.target.starts_with('/'), "{request:?}");
}

proptest! {
    #[test]
    fn volumes(text in text()) {
        if let Ok(request) = volume::parse(&text) {
            check(&request);
        }
    }

    #[test]
    fn mounts(text in text()) {
        if let Ok(request) = mount::parse(&text) {
            check(&request);
        }
    }

    #[test]
    fn temporary_filesystems(text in text()) {
        if let Ok(request) = tmpfs::parse(&text) {
            check(&request);
        }
    }

    #[test]
    fn devices_limits_and_ports_answer(text in text()) {
        // An answer of either kind; that there is one is what is tried.
        drop(device::parse(&text));
        drop(ulimit::parse(&text));
        drop(publish::parse(&text));
    }
}
