//! Uploads to a registry that breaks off, stalls, forgets, lies and refuses.

use super::support::{client, reference, told, tuning};
use oci::Digest;
use registry::{Client, Content, Landed, RegistryConfig, RegistryError, Target};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use testkit::registry::{Access, FakeRegistry, Fault, TokenServer, digest_of};

/// Large enough that it does not go in one request.
const SIZE: usize = 700_000;

/// Bytes of which some are there and the others come later.
struct Pieces {
    bytes: Vec<u8>,
    there: Mutex<usize>,
    more: Condvar,
    sent: AtomicU64,
}

impl Pieces {
    fn whole(bytes: Vec<u8>) -> Arc<Self> {
        let there = bytes.len();
        Self::growing(bytes, there)
    }

    fn growing(bytes: Vec<u8>, there: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            there: Mutex::new(there),
            more: Condvar::new(),
            sent: AtomicU64::new(0),
        })
    }

    fn grow(&self, count: usize) {
        let mut there = self.there.lock().unwrap();
        *there = (*there + count).min(self.bytes.len());
        self.more.notify_all();
    }
}

impl Content for Pieces {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let mut there = self.there.lock().unwrap();
        while *there <= offset && *there < self.bytes.len() {
            there = self.more.wait(there).unwrap();
        }
        let count = buffer.len().min(*there - offset);
        buffer[..count].copy_from_slice(&self.bytes[offset..offset + count]);
        Ok(count)
    }

    fn known(&self) -> Option<(Digest, u64)> {
        let there = *self.there.lock().unwrap();
        (there == self.bytes.len()).then(|| (digest_of(&self.bytes), there as u64))
    }

    fn finish(&self) -> io::Result<(Digest, u64)> {
        let mut there = self.there.lock().unwrap();
        while *there < self.bytes.len() {
            there = self.more.wait(there).unwrap();
        }
        Ok((digest_of(&self.bytes), *there as u64))
    }

    fn sent(&self, count: u64) {
        self.sent.store(count, Ordering::Relaxed);
    }
}

pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 11_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn setting() -> (FakeRegistry, Client, Target) {
    let registry = FakeRegistry::start();
    let client = client(RegistryConfig::default());
    let target = target(&client, &registry);
    (registry, client, target)
}

fn target(client: &Client, registry: &FakeRegistry) -> Target {
    client.target(&reference(&format!("{}/app:1", registry.host())), Vec::new())
}

pub(crate) fn push(client: &Client, target: &Target, bytes: &[u8]) -> Result<Landed, RegistryError> {
    client.push_blob(target, Pieces::whole(bytes.to_vec()), Vec::new())
}

fn there(registry: &FakeRegistry, bytes: &[u8]) -> bool {
    let path = format!("/v2/app/blobs/{}", digest_of(bytes));
    registry.object(&path).as_deref() == Some(bytes)
}

#[test]
fn a_blob_is_sent_once() {
    let (registry, client, target) = setting();
    for size in [0, 10, SIZE] {
        let bytes = noise(size);
        assert_eq!(
            push(&client, &target, &bytes).unwrap(),
            Landed::Uploaded,
            "{size}"
        );
        assert!(there(&registry, &bytes), "{size}");
        assert_eq!(push(&client, &target, &bytes).unwrap(), Landed::Existed, "{size}");
    }
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn what_is_still_being_made_is_sent_as_it_comes() {
    let (registry, client, target) = setting();
    let bytes = noise(SIZE);
    let content = Pieces::growing(bytes.clone(), 100);
    let maker = std::thread::spawn({
        let content = Arc::clone(&content);
        move || {
            while content.known().is_none() {
                std::thread::sleep(Duration::from_millis(1));
                content.grow(50_000);
            }
        }
    });
    let landed = client.push_blob(&target, content, Vec::new()).unwrap();
    maker.join().unwrap();
    assert_eq!(landed, Landed::Uploaded);
    assert!(there(&registry, &bytes));
}

#[test]
fn a_cut_upload_goes_on_where_it_broke() {
    let (registry, client, target) = setting();
    let bytes = noise(SIZE);
    registry.script(
        "/uploads/1",
        [Fault::CutAfter(200_000), Fault::None, Fault::CutAfter(300_000)],
    );
    assert_eq!(push(&client, &target, &bytes).unwrap(), Landed::Uploaded);
    assert!(there(&registry, &bytes));
    let requests = registry.requests();
    let ranges: Vec<&str> = requests
        .iter()
        .filter(|request| request.method == "PATCH")
        .filter_map(|request| request.headers.get("content-range"))
        .map(String::as_str)
        .collect();
    assert_eq!(ranges, ["200000-699999", "500000-699999"]);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn cuts_anywhere_end_well() {
    let bytes = noise(SIZE);
    for at in (0..SIZE).step_by(SIZE / 40) {
        let (registry, client, target) = setting();
        registry.script("/uploads/1", [Fault::CutAfter(at)]);
        assert_eq!(push(&client, &target, &bytes).unwrap(), Landed::Uploaded, "{at}");
        assert!(there(&registry, &bytes), "{at}");
    }
}

#[test]
fn a_registry_that_forgot_the_upload_gets_it_from_the_beginning() {
    let (registry, client, target) = setting();
    let bytes = noise(SIZE);
    registry.script(
        "/uploads/1",
        [
            Fault::CutAfter(300_000),
            Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "gone"),
        ],
    );
    assert_eq!(push(&client, &target, &bytes).unwrap(), Landed::Uploaded);
    assert!(there(&registry, &bytes));
}

#[test]
fn passing_trouble_is_waited_out() {
    for fault in [
        Fault::status(500),
        Fault::status(503),
        Fault::status(429),
        Fault::Close,
        Fault::StallAfter(1000),
    ] {
        for part in ["/uploads/", "/uploads/1"] {
            let (registry, client, target) = setting();
            let bytes = noise(SIZE);
            registry.script(part, [fault.clone()]);
            let landed = push(&client, &target, &bytes);
            // An upload that is opened has no body to stall in; that one is the registry's silence.
            if let Err(error) = landed {
                panic!("{fault:?} {part}: {}", told(&error));
            }
            assert!(there(&registry, &bytes), "{fault:?} {part}");
        }
    }
}

#[test]
fn lasting_trouble_is_told_and_the_upload_is_taken_back() {
    for (fault, says) in [
        (Fault::status(500), "failed with HTTP status 500"),
        (Fault::error(403, "DENIED", "no"), "push access denied for"),
        (
            Fault::error(413, "SIZE_INVALID", "too much"),
            "refused blob sha256:",
        ),
        (Fault::error(405, "UNSUPPORTED", ""), "takes no pushes"),
        (Fault::Close, "connection"),
    ] {
        let (registry, client, target) = setting();
        registry.always("/uploads/", fault.clone());
        let error = push(&client, &target, &noise(SIZE)).unwrap_err();
        assert!(told(&error).contains(says), "{fault:?}: {}", told(&error));
    }
    let (registry, client, target) = setting();
    registry.always(
        "/v2/app/blobs/uploads/",
        Fault::Redirect(format!("http://{}/v2/app/blobs/uploads/", registry.host())),
    );
    let error = push(&client, &target, &noise(10)).unwrap_err();
    assert!(told(&error).contains("eleventh"), "{}", told(&error));
}

#[test]
fn another_digest_than_ours_is_an_error() {
    let (registry, client, target) = setting();
    let other = digest_of(b"other").to_string();
    registry.always(
        "/uploads/1",
        Fault::Header("docker-content-digest".into(), other.clone()),
    );
    let error = push(&client, &target, &noise(10)).unwrap_err();
    assert!(told(&error).contains(&other), "{}", told(&error));
}

#[test]
fn a_token_that_runs_out_is_renewed_on_the_way() {
    let (registry, client, target) = setting();
    registry.require(Access::Bearer(TokenServer::default()));
    // To the upload itself, when the question and the opening were answered: the token is of no use any more.
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"test\"",
        registry.host()
    );
    let refusal = Fault::Status(401, vec![("www-authenticate".into(), challenge)], String::new());
    registry.script("/uploads/1", [refusal.clone(), Fault::None, refusal]);
    let bytes = noise(SIZE);
    assert_eq!(push(&client, &target, &bytes).unwrap(), Landed::Uploaded);
    assert!(there(&registry, &bytes));
    let requests = registry.requests();
    let queries: Vec<&str> = requests
        .iter()
        .filter(|request| request.path == "/token")
        .map(|request| request.query.as_str())
        .collect();
    // Who refuses a body before it is there may break the connection; then the next question renews the token.
    assert!(!queries.is_empty());
    for query in queries {
        assert_eq!(query, "service=test&scope=repository%3Aapp%3Apull%2Cpush");
    }
}

#[test]
fn without_a_right_nothing_is_sent() {
    let (registry, client, target) = setting();
    registry.require(Access::Bearer(TokenServer {
        login: Some(("ada".into(), "secret".into())),
        ..TokenServer::default()
    }));
    let error = push(&client, &target, &noise(SIZE)).unwrap_err();
    assert!(matches!(error, RegistryError::PushDenied(_)), "{}", told(&error));
    assert_eq!(registry.count("/uploads/"), 0);
}

#[test]
fn a_blob_is_mounted_where_the_registry_has_it() {
    let (registry, client, _) = setting();
    let bytes = noise(SIZE);
    registry.put_blob("other", &bytes);
    registry.require(Access::Bearer(TokenServer::default()));
    let name = reference(&format!("{}/app:1", registry.host()));
    let target = client.target(&name, vec!["other".into()]);
    let sources = vec!["nowhere".to_owned(), "other".to_owned()];
    let landed = client
        .push_blob(&target, Pieces::whole(bytes.clone()), sources)
        .unwrap();
    assert_eq!(landed, Landed::Mounted("other".into()));
    assert!(there(&registry, &bytes));
    assert_eq!(registry.open_uploads(), 0, "what began as a mount is taken back");
    let requests = registry.requests();
    let token = requests.iter().find(|request| request.path == "/token").unwrap();
    assert!(
        token
            .query
            .ends_with("scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Aother%3Apull"),
        "{}",
        token.query
    );
}

#[test]
fn an_upload_that_is_led_elsewhere_gets_no_password_there() {
    let (registry, client, target) = setting();
    let elsewhere = FakeRegistry::start();
    elsewhere.require(Access::Basic("ada".into(), "secret".into()));
    registry.require(Access::Bearer(TokenServer::default()));
    let location = format!("http://{}/v2/app/blobs/uploads/7", elsewhere.host());
    registry.script(
        "/uploads/",
        [Fault::Status(
            202,
            vec![("location".into(), location)],
            String::new(),
        )],
    );
    push(&client, &target, &noise(10)).unwrap_err();
    let requests = elsewhere.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert!(!request.headers.contains_key("authorization"), "{request:?}");
    }
    assert_eq!(elsewhere.count("/token"), 0);
}

#[test]
fn manifests_are_stored_byte_for_byte_and_refusals_are_told() {
    let (registry, client, target) = setting();
    let config = noise(20);
    push(&client, &target, &config).unwrap();
    let digest = digest_of(&config);
    let raw = format!(
        r#"{{ "schemaVersion":2,  "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":20}},"layers":[]}}"#
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.script("/manifests/", [Fault::status(502)]);
    let stored = client
        .push_manifest(&target, "1", media_type, raw.as_bytes())
        .unwrap();
    assert_eq!(stored, digest_of(raw.as_bytes()));
    assert_eq!(
        registry.object("/v2/app/manifests/1").as_deref(),
        Some(raw.as_bytes())
    );
    let absent = raw.replace(&digest.to_string(), &digest_of(b"absent").to_string());
    let error = client
        .push_manifest(&target, "2", media_type, absent.as_bytes())
        .unwrap_err();
    assert!(
        told(&error).contains("refused the manifest of") && told(&error).contains("manifest blob unknown"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_registry_that_says_to_wait_is_waited_for() {
    let (registry, client, target) = setting();
    registry.script(
        "/uploads/",
        [Fault::Status(
            429,
            vec![("retry-after".into(), "1".into())],
            String::new(),
        )],
    );
    let start = Instant::now();
    push(&client, &target, &noise(10)).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        tuning().backoff,
        Duration::from_millis(1),
        "our own wait is shorter"
    );
}

#[test]
fn referrers_are_listed_page_by_page_or_by_their_tag() {
    let (registry, client, _) = setting();
    let name = reference(&format!("{}/app:1", registry.host()));
    let subject = digest_of(b"subject");
    let entry = |letter: char| {
        let digest = letter.to_string().repeat(64);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{digest}","size":1,"artifactType":"x/{letter}"}}"#
        )
    };
    let index = |entries: &[String]| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
            entries.join(",")
        )
    };
    let kinds = || {
        let found = client.referrers(&name, &subject).unwrap();
        let kinds = found
            .iter()
            .map(|found| found.artifact_type().clone().unwrap().to_string());
        kinds.collect::<Vec<_>>()
    };
    let media_type = "application/vnd.oci.image.index.v1+json";
    assert!(kinds().is_empty());
    let tag = format!("/v2/app/manifests/sha256-{}", subject.hex());
    registry.put_at(&tag, media_type, index(&[entry('c')]).as_bytes());
    assert_eq!(kinds(), ["x/c"]);
    let path = format!("/v2/app/referrers/{subject}");
    registry.put_at(&path, media_type, index(&[entry('a')]).as_bytes());
    registry.script(
        &path,
        [
            Fault::Header("link".into(), format!("<{path}?last=a>; rel=\"next\"")),
            Fault::Body(index(&[entry('b')]).into_bytes()),
        ],
    );
    assert_eq!(kinds(), ["x/a", "x/b"]);
    registry.always(&path, Fault::error(403, "DENIED", "x"));
    client.referrers(&name, &subject).unwrap_err();
}

#[test]
fn tags_are_listed_page_by_page() {
    let (registry, client, _) = setting();
    let name = reference(&format!("{}/app", registry.host()));
    let list = "/v2/app/tags/list";
    let link = |target: &str| vec![("link".to_owned(), format!("<{target}>; rel=\"next\""))];
    registry.script(
        list,
        [
            Fault::Status(
                200,
                link(&format!("{list}?n=2&last=b")),
                r#"{"tags":["a","b"]}"#.into(),
            ),
            Fault::status(503),
            Fault::Status(200, Vec::new(), r#"{"name":"app","tags":["c","../d"]}"#.into()),
        ],
    );
    assert_eq!(client.tags(&name).unwrap(), ["a", "b", "c"]);
    let requests = registry.requests();
    let queries: Vec<&str> = requests.iter().map(|request| request.query.as_str()).collect();
    assert_eq!(queries, ["n=1000", "n=2&last=b", "n=2&last=b"]);
    // A page that leads to itself, and one that leads elsewhere.
    registry.reset();
    registry.always(list, Fault::Status(200, link(list), r#"{"tags":["a"]}"#.into()));
    assert!(told(&client.tags(&name).unwrap_err()).contains("has no end"));
    registry.reset();
    registry.always(
        list,
        Fault::Status(200, link("http://127.0.0.1:1/v2/"), r#"{"tags":null}"#.into()),
    );
    assert!(client.tags(&name).unwrap().is_empty());
    registry.reset();
    assert!(told(&client.tags(&name).unwrap_err()).contains("not found"));
}
