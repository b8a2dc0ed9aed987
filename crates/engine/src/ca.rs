//! The host's own CA certificates, lent to containers.
//!
//! Behind a company's proxy, TLS is signed by a CA that only the host's trust store knows, and `pip install` fails in
//! every container. Where the host has such extra certificates, its bundle is bind-mounted read-only into containers
//! and `RUN` steps, below `/dev` (which is a tmpfs of the container's own, so that no layer ever sees the path), and
//! announced by the variables that TLS libraries and tools look for. Neither is recorded anywhere: not in the image,
//! not in the container's settings.

use crate::{Engine, HostCa};
use oci_spec::runtime::{Mount, MountBuilder};
use std::path::{Path, PathBuf};

/// Where the bundle lies inside.
const TARGET: &str = "/dev/coracle/host-ca.pem";

/// Variables that name a bundle file, by who reads them: OpenSSL (Python, Ruby, …), pip, requests, curl, Git, the AWS
/// tools, Node, gRPC, Cargo.
const VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
];

/// Bundles of the whole trust store: Debian and its kin, Fedora and its kin, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where an administrator puts certificates of the host's own.
const EXTRAS: [&str; 4] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
    "/usr/share/pki/trust/anchors",
];

/// What a container gets so that it trusts what the host trusts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Injection {
    /// The bundle, read-only.
    pub(crate) mounts: Vec<Mount>,
    /// `NAME=value`, to be added for names that nobody has set.
    pub(crate) environment: Vec<String>,
}

/// Returns what to inject; `None` where the host has no certificates of its own or it is switched off. `wanted` is
/// what the request says, over the configuration.
pub(crate) fn for_container(engine: &Engine, wanted: Option<bool>) -> Option<Injection> {
    if !wanted.unwrap_or(engine.config().host_ca == HostCa::Auto) {
        return None;
    }
    let bundle = host_bundle(Path::new("/"))?;
    injection(&bundle)
}

fn injection(bundle: &Path) -> Option<Injection> {
    let options = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
    let mount = MountBuilder::default()
        .destination(TARGET)
        .typ("bind")
        .source(bundle)
        .options(options.map(str::to_owned).to_vec())
        .build()
        .ok()?;
    let environment = VARIABLES.iter().map(|name| format!("{name}={TARGET}")).collect();
    Some(Injection {
        mounts: vec![mount],
        environment,
    })
}

/// Finds the host's bundle, if the host has certificates beyond its distribution's.
fn host_bundle(root: &Path) -> Option<PathBuf> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    if !EXTRAS.iter().any(|directory| has_certificates(&below(directory))) {
        return None;
    }
    BUNDLES.iter().map(|path| below(path)).find(|path| path.is_file())
}

/// Says whether a directory, or one right below it, holds certificate files.
fn has_certificates(directory: &Path) -> bool {
    let is_certificate = |path: &Path| {
        matches!(
            path.extension().and_then(|extension| extension.to_str()),
            Some("cer" | "crt" | "pem" | "p11-kit")
        )
    };
    let entries = |directory: &Path| std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries(directory).any(|entry| {
        let path = entry.path();
        is_certificate(&path) || entries(&path).any(|entry| is_certificate(&entry.path()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_with_certificates_of_its_own_lends_its_bundle() {
        let root = tempfile::tempdir().unwrap();
        let bundle = root.path().join("etc/ssl/certs/ca-certificates.crt");
        std::fs::create_dir_all(bundle.parent().unwrap()).unwrap();
        std::fs::write(&bundle, "certificates").unwrap();
        let extras = root.path().join("usr/local/share/ca-certificates");
        std::fs::create_dir_all(&extras).unwrap();
        assert_eq!(host_bundle(root.path()), None);
        std::fs::write(extras.join("readme.txt"), "").unwrap();
        assert_eq!(host_bundle(root.path()), None);
        std::fs::write(extras.join("company.crt"), "").unwrap();
        assert_eq!(host_bundle(root.path()), Some(bundle));
    }

    #[test]
    fn the_bundle_is_read_only_and_below_dev() {
        let injection = injection(Path::new("/bundle")).unwrap();
        let mount = &injection.mounts[0];
        assert!(mount.destination().starts_with("/dev"));
        assert!(
            mount
                .options()
                .as_ref()
                .unwrap()
                .iter()
                .any(|option| option == "ro")
        );
        assert!(
            injection
                .environment
                .iter()
                .any(|variable| variable.starts_with("PIP_CERT=/dev/"))
        );
    }
}
