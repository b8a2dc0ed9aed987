//! Against the distribution project's own registry (`docker-registry`), filled by skopeo: programs that are not ours.

use super::support::{amd64, client, read, reference, resolve};
use base64::Engine;
use registry::{RegistryConfig, RegistryError};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::registry::{Put, TestImage};

struct Registry {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Registry {
    fn start(login: Option<(&str, &str)>) -> Self {
        let directory = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}/data\nhttp:\n  addr: 127.0.0.1:{port}\n",
            directory.path().display()
        );
        if let Some((user, password)) = login {
            let entry = Command::new("htpasswd")
                .args(["-Bbn", user, password])
                .output()
                .unwrap();
            std::fs::write(directory.path().join("htpasswd"), entry.stdout).unwrap();
            config.push_str("auth:\n  htpasswd:\n    realm: test\n    path: ");
            config.push_str(&directory.path().join("htpasswd").to_string_lossy());
            config.push('\n');
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            port,
            directory,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn push(&self, image: &Put, name: &str, options: &[&str]) {
        let layout = self.directory.path().join("layout");
        image.write_layout(&layout, "x").unwrap();
        let output = Command::new("skopeo")
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false"])
            .args(options)
            .arg(format!("oci:{}:x", layout.display()))
            .arg(format!("docker://{}/{name}", self.host()))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::remove_dir_all(layout).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn image() -> Put {
    let mut state = 1_u32;
    let noise = (0..3_000_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    TestImage {
        layers: vec![
            vec![
                ("etc/".to_owned(), Vec::new()),
                ("etc/name".to_owned(), b"one".to_vec()),
            ],
            vec![("noise".to_owned(), noise)],
        ],
        ..TestImage::default()
    }
    .put()
}

fn login(directory: &Path, host: &str, user: &str, password: &str) -> RegistryConfig {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let file = directory.join("docker.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#)).unwrap();
    RegistryConfig {
        docker_config: Some(file),
        ..RegistryConfig::default()
    }
}

#[test]
fn an_image_comes_back_as_it_was_pushed() {
    let registry = Registry::start(None);
    let put = image();
    registry.push(&put, "team/app:1", &[]);
    let client = client(RegistryConfig::default());
    let name = format!("{}/team/app:1", registry.host());
    let image = resolve(&client, &name).unwrap();
    assert_eq!(image.raw_config, put.config);
    assert!(image.index.is_none());
    assert_eq!(image.digest, image.manifest_digest);
    assert_eq!(image.layers.len(), 2);
    for (layer, expected) in image.layers.iter().zip(&put.layers) {
        assert_eq!(read(&client, &name, &image, layer).unwrap(), *expected);
    }
    let by_digest = format!("{}/team/app@{}", registry.host(), image.digest);
    assert_eq!(
        resolve(&client, &by_digest).unwrap().raw_manifest,
        image.raw_manifest
    );
}

#[test]
fn dockers_own_manifest_format_is_read() {
    let registry = Registry::start(None);
    let put = image();
    registry.push(&put, "app", &["--format", "v2s2"]);
    let client = client(RegistryConfig::default());
    let name = format!("{}/app", registry.host());
    let image = resolve(&client, &name).unwrap();
    let text = String::from_utf8(image.raw_manifest.clone()).unwrap();
    assert!(
        text.contains("application/vnd.docker.distribution.manifest.v2+json"),
        "{text}"
    );
    assert_eq!(
        read(&client, &name, &image, &image.layers[0]).unwrap(),
        put.layers[0]
    );
}

#[test]
fn what_is_not_there_is_told_in_dockers_words() {
    let registry = Registry::start(None);
    registry.push(&image(), "app:1", &[]);
    let client = client(RegistryConfig::default());
    for name in ["app:2", "other:1"] {
        let name = format!("{}/{name}", registry.host());
        assert_eq!(
            resolve(&client, &name).unwrap_err().to_string(),
            format!("manifest for {name} not found: manifest unknown: manifest unknown")
        );
    }
}

#[test]
fn a_password_is_needed_and_is_enough() {
    let registry = Registry::start(Some(("ada", "hunter2")));
    let put = image();
    registry.push(&put, "app:1", &["--dest-creds", "ada:hunter2"]);
    let directory = TempDir::new().unwrap();
    let name = format!("{}/app:1", registry.host());

    let stranger = client(RegistryConfig::default());
    let error = resolve(&stranger, &name).unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)));
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {}/app, repository does not exist or may require 'docker login': denied: \
             requested access to the resource is denied",
            registry.host()
        )
    );

    let friend = client(login(directory.path(), &registry.host(), "ada", "hunter2"));
    let image = friend.resolve(&reference(&name), &amd64()).unwrap();
    assert_eq!(
        read(&friend, &name, &image, &image.layers[1]).unwrap(),
        put.layers[1]
    );
    assert!(!format!("{friend:?}").contains("hunter2"));

    let forger = client(login(directory.path(), &registry.host(), "ada", "wrong-pw"));
    let error = resolve(&forger, &name).unwrap_err();
    assert!(
        matches!(error, RegistryError::CredentialsRefused { .. }),
        "{error}"
    );
    assert!(!format!("{error} {error:?} {forger:?}").contains("wrong-pw"));
}
