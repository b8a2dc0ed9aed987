//! Noticing that rules were taken away, and putting them back, many at once.

use crate::bed::{Bed, endpoint, tcp};
use network::{Ensured, FirewallWatch, Segment};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn is_woken(watch: &FirewallWatch, milliseconds: i64) -> bool {
    let mut waiting = [PollFd::new(watch, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: milliseconds / 1000,
        tv_nsec: (milliseconds % 1000) * 1_000_000,
    };
    poll(&mut waiting, Some(&limit)).unwrap() > 0
}

#[test]
fn rules_that_are_taken_away_are_noticed() {
    let bed = Bed::dual();
    bed.ensure();
    let mut watch = bed.host.inside(FirewallWatch::open).unwrap();
    assert!(!watch.changed());
    bed.host
        .sh("nft add table inet others; nft add chain inet others x");
    assert!(!watch.changed(), "what is added takes nothing away");
    for harm in [
        "nft flush ruleset",
        "nft delete table inet cora-test",
        "nft flush chain inet cora-test forward",
        "nft delete rule inet cora-test guard handle $(nft -a list chain inet cora-test guard | sed -n 's/.*drop # handle //p' | tail -1)",
        "nft 'add table inet cora-test; delete table inet cora-test; add table inet cora-test'",
    ] {
        bed.host.sh(harm);
        assert!(is_woken(&watch, 10_000), "{harm}");
        assert!(watch.changed(), "{harm}");
        assert!(!is_woken(&watch, 0), "{harm}");
        bed.ensure();
        assert_eq!(bed.ensure(), Ensured::Unchanged, "{harm}");
        watch.changed();
    }
}

/// Hundreds of monitors listen; they must sleep while containers come and go.
#[test]
fn containers_that_come_and_go_wake_nobody() {
    let bed = Bed::dual();
    bed.ensure();
    let mut watch = bed.host.inside(FirewallWatch::open).unwrap();
    for number in 2..22 {
        let port = 8000 + u16::from(number);
        let ports = [
            tcp("0.0.0.0", port, 80),
            tcp("::", port, 80),
            tcp("127.0.0.1", port + 100, 80),
        ];
        let (_container, endpoint) = bed.container(number, &ports);
        bed.ensure();
        assert!(!is_woken(&watch, 0), "{number} came");
        bed.host.inside(|| bed.bridge.detach(&endpoint)).unwrap();
        assert!(!is_woken(&watch, 0), "{number} went");
    }
    // Nor does another network that comes, and goes while there is one left.
    let mut other = bed.bridge.clone();
    other.name = "cora1".to_owned();
    other.subnet = "172.18.0.0/16".parse().unwrap();
    other.gateway = "172.18.0.1".parse().unwrap();
    other.ipv6 = None;
    bed.host.inside(|| other.ensure()).unwrap();
    bed.host.inside(|| other.remove()).unwrap();
    assert!(!is_woken(&watch, 100));
    assert!(!watch.changed());
}

/// After a flush every monitor puts back what is its own, all at the same time.
#[test]
fn many_monitors_put_everything_back_together() {
    const MONITORS: u8 = 40;
    let bed = Bed::dual();
    bed.ensure();
    let mut second = bed.bridge.clone();
    second.name = "cora1".to_owned();
    second.subnet = "172.18.0.0/16".parse().unwrap();
    second.gateway = "172.18.0.1".parse().unwrap();
    second.ipv6 = None;
    bed.host.inside(|| second.ensure()).unwrap();
    let good = bed.rules();
    let segments = [
        Segment::Bridge(bed.bridge.clone()),
        Segment::Bridge(second.clone()),
    ];
    let (start, done) = (Barrier::new(usize::from(MONITORS) + 1), AtomicBool::new(false));
    let (restored, woken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rules = std::thread::scope(|scope| {
        for number in 0..MONITORS {
            let (segments, start, done) = (&segments, &start, &done);
            let (restored, woken, host) = (&restored, &woken, &bed.host);
            scope.spawn(move || {
                let segment = &segments[usize::from(number % 2)];
                let port = 8000 + u16::from(number);
                let mut ports = vec![tcp("0.0.0.0", port, 80)];
                if number % 2 == 0 {
                    ports.push(tcp("::", port, 80));
                }
                let own = endpoint(segment.bridge().unwrap(), number + 2, &ports);
                host.inside(|| {
                    let mut watch = FirewallWatch::open().unwrap();
                    segment.publish(&own).unwrap();
                    start.wait();
                    while !done.load(Ordering::Relaxed) {
                        if !is_woken(&watch, 50) {
                            continue;
                        }
                        woken.fetch_add(1, Ordering::Relaxed);
                        if watch.changed() {
                            segment.ensure().unwrap();
                            segment.publish(&own).unwrap();
                            restored.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            });
        }
        start.wait();
        let whole = bed.rules();
        for _ in 0..5 {
            let before = restored.load(Ordering::Relaxed);
            bed.host.sh("nft flush ruleset");
            let mut quiet = 0;
            while quiet < 10 || restored.load(Ordering::Relaxed) < before + usize::from(MONITORS) {
                let seen = restored.load(Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(20));
                quiet = if restored.load(Ordering::Relaxed) == seen {
                    quiet + 1
                } else {
                    0
                };
            }
            assert_eq!(sorted(&bed.rules()), sorted(&whole));
        }
        done.store(true, Ordering::Relaxed);
        whole
    });
    // They do not wake each other round and round.
    let woken = woken.load(Ordering::Relaxed);
    assert!(woken < 5 * usize::from(MONITORS) * 6, "{woken}");
    assert_ne!(rules, good);
    bed.host.inside(|| {
        assert_eq!(bed.bridge.published().unwrap().len(), usize::from(MONITORS));
        assert_eq!(second.published().unwrap().len(), usize::from(MONITORS / 2));
        assert_eq!(second.ensure().unwrap(), Ensured::Unchanged);
    });
}

/// A set's elements are in no order.
fn sorted(rules: &str) -> Vec<String> {
    let mut words: Vec<_> = rules
        .split([',', '\n'])
        .map(|line| {
            line.trim()
                .trim_start_matches("elements = { ")
                .trim_end_matches(" }")
                .to_owned()
        })
        .collect();
    words.sort_unstable();
    words
}
