//! Debian's `docker-registry` on loopback.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A registry that lives as long as the value.
pub(crate) struct Registry {
    process: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Registry {
    /// Starts one that keeps its things below `directory`.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, "")
    }

    /// Starts one with more of a configuration.
    pub(crate) fn start_with(directory: &Path, more: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let config = directory.join(format!("registry-{port}.yml"));
        let storage = directory.join(format!("registry-{port}"));
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n{more}",
                storage.display()
            ),
        )
        .unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, address }
    }

    /// Puts an archive's image into it with another program than ours.
    pub(crate) fn push(&self, archive: &Path, name: &str) {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Returns what another program than ours makes of an image's raw manifest.
    pub(crate) fn manifest(&self, name: &str) -> String {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "inspect", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("a manifest is text")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().expect("the registry is killed");
        self.process.wait().expect("the registry is reaped");
    }
}
