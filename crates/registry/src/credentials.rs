//! Who we are at a registry: Docker's `config.json` and its credential helpers.

use crate::RegistryError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The name under which Docker has always kept the Hub's credentials.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";
/// A configuration file or a helper's answer beyond this is none.
const LONGEST: u64 = 4 << 20;
/// A helper may have to ask its user; but not for ever.
const HELPER_PATIENCE: Duration = Duration::from_mins(1);

/// A password or token; shown to nobody.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, to put it on the wire.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

/// What a user has at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A name and a password.
    Password { user: String, password: Secret },
    /// A refresh token for the registry's token server (`OAuth2`).
    Identity(Secret),
    /// A bearer token for the registry itself.
    Bearer(Secret),
}

#[derive(Debug, Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: HashMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

/// What somebody has at one registry, as Docker's `config.json` and its API write it. Of several ways the strongest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Auth {
    #[serde(default, rename = "auth")]
    encoded: Secret,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: Secret,
    #[serde(default)]
    identitytoken: Secret,
    #[serde(default)]
    registrytoken: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: Secret,
}

/// Finds what somebody has brought along for a registry.
pub(crate) fn given(
    auths: &HashMap<String, Auth>,
    registry: &str,
) -> Result<Option<Credentials>, RegistryError> {
    let Some(auth) = best(auths, registry) else {
        return Ok(None);
    };
    auth.credentials().map_err(|why| RegistryError::Credentials {
        host: registry.to_owned(),
        why,
    })
}

/// Looks up the credentials for a registry (`docker.io`, `ghcr.io`, `host:port`). May run a program and wait for it.
pub(crate) fn look_up(file: &Path, registry: &str) -> Result<Option<Credentials>, RegistryError> {
    let wrong = |source| RegistryError::CredentialFile {
        path: file.to_owned(),
        source,
    };
    let mut text = Vec::new();
    match File::open(file) {
        Ok(opened) => {
            opened
                .take(LONGEST)
                .read_to_end(&mut text)
                .map_err(|e| wrong(e.into()))?;
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(wrong(error.into())),
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // serde_json's errors name the place and not the text, so no secret is in them.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|e| wrong(e.into()))?;
    config.find(file, registry)
}

impl DockerConfig {
    fn find(&self, file: &Path, registry: &str) -> Result<Option<Credentials>, RegistryError> {
        let key = if registry == oci::DEFAULT_REGISTRY {
            HUB_KEY
        } else {
            registry
        };
        if let Some(helper) = helper_for(&self.helpers, &self.store, registry)
            && let Some(found) = ask_helper(helper, key, registry)?
        {
            return Ok(Some(found));
        }
        let Some(auth) = best(&self.auths, registry) else {
            return Ok(None);
        };
        auth.credentials().map_err(|why| RegistryError::CredentialFile {
            path: file.to_owned(),
            source: format!("the entry for {registry} {why}").into(),
        })
    }
}

/// Returns the helper that has a registry's credentials: its own, or the one for all.
pub(crate) fn helper_for<'a>(
    helpers: &'a HashMap<String, String>,
    store: &'a str,
    registry: &str,
) -> Option<&'a str> {
    best(helpers, registry)
        .map(String::as_str)
        .or(Some(store))
        .filter(|name| !name.is_empty())
}

/// Finds a registry's entry: by its own name, or by one of the spellings that people and programs have used.
fn best<'a, T>(entries: &'a HashMap<String, T>, registry: &str) -> Option<&'a T> {
    if registry == oci::DEFAULT_REGISTRY
        && let Some(found) = entries.get(HUB_KEY)
    {
        return Some(found);
    }
    entries.get(registry).or_else(|| {
        let mut alike: Vec<&String> = entries.keys().filter(|key| host_of(key) == registry).collect();
        alike.sort();
        alike.first().and_then(|key| entries.get(*key))
    })
}

/// Reduces a key to the registry that it means.
pub(crate) fn host_of(key: &str) -> &str {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = bare.split('/').next().unwrap_or(bare);
    match host {
        "index.docker.io" | "registry-1.docker.io" => oci::DEFAULT_REGISTRY,
        host => host,
    }
}

impl Auth {
    /// Makes it of a name and a password.
    pub fn password(user: &str, password: &str) -> Self {
        Self {
            username: user.to_owned(),
            password: Secret::new(password.to_owned()),
            ..Self::default()
        }
    }

    /// Adds name and password in base64, with a colon between them.
    #[must_use]
    pub fn with_encoded(self, text: &str) -> Self {
        Self {
            encoded: Secret::new(text.to_owned()),
            ..self
        }
    }

    /// Adds a refresh token for the registry's token server.
    #[must_use]
    pub fn with_identity(self, token: &str) -> Self {
        Self {
            identitytoken: Secret::new(token.to_owned()),
            ..self
        }
    }

    /// Adds a bearer token for the registry itself.
    #[must_use]
    pub fn with_bearer(self, token: &str) -> Self {
        Self {
            registrytoken: Secret::new(token.to_owned()),
            ..self
        }
    }

    /// Says whether there is nothing in it, as `docker login` with a credential store leaves behind.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what counts of it; `None` if that is nothing.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::Identity(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::Bearer(self.registrytoken.clone())));
        }
        if !self.encoded.is_empty() {
            let decoded = STANDARD
                .decode(self.encoded.reveal().trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("has an 'auth' that is no base64 of text")?;
            let (user, password) = decoded
                .split_once(':')
                .ok_or("has an 'auth' without a colon between user and password")?;
            return Ok(Some(Credentials::Password {
                user: user.to_owned(),
                // Docker has written a NUL behind the password.
                password: Secret::new(password.trim_end_matches('\0').to_owned()),
            }));
        }
        if self.username.is_empty() {
            // `docker login` with a credential store leaves `{}` behind.
            return Ok(None);
        }
        Ok(Some(Credentials::Password {
            user: self.username.clone(),
            password: self.password.clone(),
        }))
    }
}

/// Asks `docker-credential-<name>`, which reads the server's name and writes JSON.
pub(crate) fn ask_helper(
    name: &str,
    key: &str,
    registry: &str,
) -> Result<Option<Credentials>, RegistryError> {
    let Some(output) = run_helper(name, "get", key, registry)? else {
        return Ok(None);
    };
    let answer: HelperAnswer = serde_json::from_slice(&output).map_err(|error: serde_json::Error| {
        RegistryError::CredentialHelper {
            helper: format!("docker-credential-{name}"),
            action: "gave no credentials for",
            host: registry.to_owned(),
            why: format!("its answer is no JSON ({:?})", error.classify()),
        }
    })?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if answer.username == "<token>" {
        Credentials::Identity(answer.secret)
    } else {
        Credentials::Password {
            user: answer.username,
            password: answer.secret,
        }
    }))
}

/// Runs `docker-credential-<name>` with an action of its protocol; returns what it wrote, `None` if it has no such
/// credentials.
pub(crate) fn run_helper(
    name: &str,
    action: &'static str,
    input: &str,
    registry: &str,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let helper = format!("docker-credential-{name}");
    let failed = |why: String| RegistryError::CredentialHelper {
        helper: helper.clone(),
        action: match action {
            "store" => "did not keep the credentials for",
            "erase" => "did not forget the credentials for",
            _ => "gave no credentials for",
        },
        host: registry.to_owned(),
        why,
    };
    if name.contains('/') {
        return Err(failed("its name in config.json is a path".to_owned()));
    }
    let mut child = Command::new(&helper)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let outcome = talk(&mut child, input);
    if outcome.is_err() {
        // Both fail only if it has ended by itself.
        child.kill().unwrap_or_default();
        child.wait().map(drop).unwrap_or_default();
    }
    let (success, output) = outcome.map_err(|error| failed(error.to_string()))?;
    if success {
        return Ok(Some(output));
    }
    let said = String::from_utf8_lossy(&output);
    // The protocol has no code for this, only these words.
    if said.contains("credentials not found") {
        return Ok(None);
    }
    Err(failed(crate::error::printable(&said)))
}

fn talk(child: &mut std::process::Child, key: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(key.as_bytes()) {
            // It may answer without reading.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
    }
    let output = child.stdout.take();
    let reader = std::thread::Builder::new().name("credentials".to_owned()).spawn(
        move || -> io::Result<Vec<u8>> {
            let mut text = Vec::new();
            if let Some(output) = output {
                output.take(LONGEST).read_to_end(&mut text)?;
            }
            Ok(text)
        },
    )?;
    let deadline = Instant::now() + HELPER_PATIENCE;
    while !reader.is_finished() {
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it did not answer within a minute",
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = reader
        .join()
        .map_err(|_panic| io::Error::other("reading its answer failed"))??;
    Ok((child.wait()?.success(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, registry: &str) -> Option<Credentials> {
        let config: DockerConfig = serde_json::from_str(json).unwrap();
        config.find(Path::new("/config.json"), registry).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "stands beside what a look-up gives")]
    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password {
            user: user.into(),
            password: Secret::new(password.into()),
        })
    }

    #[test]
    fn entries_are_found_by_every_spelling() {
        // dTpw is u:p.
        for key in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "https://docker.io",
            "registry-1.docker.io",
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(found(&json, "docker.io"), password("u", "p"), "{key}");
            assert_eq!(found(&json, "ghcr.io"), None, "{key}");
        }
        for key in [
            "r.example:5000",
            "https://r.example:5000",
            "http://r.example:5000/v2/",
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(found(&json, "r.example:5000"), password("u", "p"), "{key}");
            assert_eq!(found(&json, "r.example"), None, "{key}");
            assert_eq!(found(&json, "evil-r.example:5000"), None, "{key}");
        }
    }

    #[test]
    fn every_form_of_entry_is_read() {
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnc="}"#, password("u", "p:w")),
            (r#"{"username":"a","password":"b"}"#, password("a", "b")),
            (
                r#"{"auth":"dTpw","identitytoken":"t"}"#,
                Some(Credentials::Identity(Secret::new("t".into()))),
            ),
            (
                r#"{"registrytoken":"t"}"#,
                Some(Credentials::Bearer(Secret::new("t".into()))),
            ),
            ("{}", None),
        ] {
            let json = format!(r#"{{"auths":{{"r.example":{entry}}},"HttpHeaders":{{}}}}"#);
            assert_eq!(found(&json, "r.example"), expected, "{entry}");
        }
        for entry in [r#"{"auth":"%%%"}"#, r#"{"auth":"dXA="}"#] {
            let json = format!(r#"{{"auths":{{"r.example":{entry}}}}}"#);
            let config: DockerConfig = serde_json::from_str(&json).unwrap();
            assert!(config.find(Path::new("/c"), "r.example").is_err(), "{entry}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let json = r#"{"auths":{"r.example":{"username":"u","password":"hunter2"}}}"#;
        let config: DockerConfig = serde_json::from_str(json).unwrap();
        assert!(!format!("{config:?} {:?}", found(json, "r.example")).contains("hunter2"));
    }

    #[test]
    fn a_helpers_name_is_no_path() {
        let json = r#"{"credsStore":"../../tmp/evil"}"#;
        let config: DockerConfig = serde_json::from_str(json).unwrap();
        let error = config.find(Path::new("/c"), "r.example").unwrap_err();
        assert!(error.to_string().contains("is a path"), "{error}");
    }
}
