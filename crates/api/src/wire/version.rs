//! Who we are, as `docker version` shows the server.

use crate::server::ApiVersion;
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /version`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SystemVersion {
    platform: PlatformName,
    components: [Component; 1],
    version: &'static str,
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    minimum: String,
    git_commit: &'static str,
    go_version: &'static str,
    os: &'static str,
    arch: String,
    kernel_version: String,
    build_time: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlatformName {
    name: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: &'static str,
    version: &'static str,
    details: BTreeMap<&'static str, String>,
}

impl SystemVersion {
    /// Looks at this program and the kernel below it.
    pub fn new() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("CORACLE_BUILD").unwrap_or("unknown");
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let arch = oci::Platform::host().architecture;
        let details = [
            ("ApiVersion", ApiVersion::NEWEST.to_string()),
            ("Arch", arch.clone()),
            ("BuildTime", String::new()),
            ("Experimental", "false".into()),
            ("GitCommit", commit.into()),
            ("GoVersion", String::new()),
            ("KernelVersion", kernel.clone()),
            ("MinAPIVersion", ApiVersion::OLDEST.to_string()),
            ("Os", "linux".into()),
        ];
        Self {
            platform: PlatformName { name: "Coracle" },
            components: [Component {
                name: "Engine",
                version,
                details: details.into(),
            }],
            version,
            api_version: ApiVersion::NEWEST.to_string(),
            minimum: ApiVersion::OLDEST.to_string(),
            git_commit: commit,
            go_version: "",
            os: "linux",
            arch,
            kernel_version: kernel,
            build_time: "",
        }
    }
}

impl Default for SystemVersion {
    fn default() -> Self {
        Self::new()
    }
}
