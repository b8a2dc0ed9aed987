//! Keeping credentials and forgetting them: in Docker's `config.json`, or with the helper that it names.
//!
//! The file is shared with Docker and other programs: keys that we do not know stay as they are, and nobody ever sees
//! half a file.

use crate::RegistryError;
use crate::credentials::{Credentials, HUB_KEY, ask_helper, helper_for, host_of, run_helper};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where credentials have been kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In this file, where whoever can read it can read them.
    File(PathBuf),
    /// With this helper program.
    Helper(String),
}

/// Keeps credentials.
pub(crate) fn keep(file: &Path, registry: &str, credentials: &Credentials) -> Result<Kept, RegistryError> {
    let _guard = lock(file)?;
    let (mut config, path) = read(file)?;
    let key = key(registry);
    let helper = helper_of(&config, registry);
    let entry = match &helper {
        Some(helper) => {
            let (user, secret) = match credentials {
                Credentials::Password { user, password } => (user.as_str(), password),
                Credentials::Identity(token) | Credentials::Bearer(token) => ("<token>", token),
            };
            let request = json!({ "ServerURL": key, "Username": user, "Secret": secret.reveal() });
            run_helper(helper, "store", &request.to_string(), registry)?;
            json!({})
        }
        None => entry(credentials),
    };
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return Err(wrong(&path, "its 'auths' are no object".into()));
    };
    auths.insert(key.to_owned(), entry);
    write(&path, &config)?;
    Ok(helper.map_or(Kept::File(path), Kept::Helper))
}

/// Forgets credentials; returns whether there were any.
pub(crate) fn forget(file: &Path, registry: &str) -> Result<bool, RegistryError> {
    let _guard = lock(file)?;
    let (mut config, path) = read(file)?;
    let mut found = false;
    let helper = helper_of(&config, registry);
    if let Some(helper) = &helper
        && ask_helper(helper, key(registry), registry)?.is_some()
    {
        run_helper(helper, "erase", key(registry), registry)?;
        found = true;
    }
    if let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) {
        let before = auths.len();
        // Under every spelling under which they would be found.
        auths.retain(|key, _| host_of(key) != registry);
        if auths.len() != before {
            found = true;
            write(&path, &config)?;
        }
    }
    Ok(found)
}

fn key(registry: &str) -> &str {
    if registry == oci::DEFAULT_REGISTRY {
        HUB_KEY
    } else {
        registry
    }
}

fn entry(credentials: &Credentials) -> Value {
    let auth = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    match credentials {
        Credentials::Password { user, password } => json!({ "auth": auth(user, password.reveal()) }),
        Credentials::Identity(token) => {
            json!({ "auth": auth("<token>", ""), "identitytoken": token.reveal() })
        }
        Credentials::Bearer(token) => json!({ "registrytoken": token.reveal() }),
    }
}

fn helper_of(config: &Map<String, Value>, registry: &str) -> Option<String> {
    let helpers = config.get("credHelpers").and_then(Value::as_object);
    let helpers = helpers
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let store = config
        .get("credsStore")
        .and_then(Value::as_str)
        .unwrap_or_default();
    helper_for(&helpers, store, registry).map(str::to_owned)
}

/// Keeps two logins at once from losing one of them. Docker knows nothing of it, but renames as we do.
fn lock(file: &Path) -> Result<File, RegistryError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let failed = |error: io::Error| wrong(file, error.into());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let opened = File::open(directory).map_err(failed)?;
    opened.lock().map_err(failed)?;
    Ok(opened)
}

/// Reads the file, and where it really is: it may be a link to one that is kept elsewhere.
fn read(file: &Path) -> Result<(Map<String, Value>, PathBuf), RegistryError> {
    let path = match std::fs::canonicalize(file) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(wrong(file, error.into())),
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(wrong(file, error.into())),
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok((Map::new(), path));
    }
    // serde_json's errors name the place and not the text, so no secret is in them.
    let config = serde_json::from_slice(&text).map_err(|error| wrong(file, error.into()))?;
    Ok((config, path))
}

fn write(path: &Path, config: &Map<String, Value>) -> Result<(), RegistryError> {
    let failed = |error: io::Error| RegistryError::CredentialsNotKept {
        path: path.to_owned(),
        source: error,
    };
    let mut text = Vec::new();
    // Docker indents by tabs.
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(config, &mut serializer).map_err(|error| failed(error.into()))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut opened| {
            // One that an earlier process with our number left may be anybody's to read.
            opened.set_permissions(Permissions::from_mode(0o600))?;
            opened.write_all(&text)?;
            opened.sync_all()
        })
        .and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        // The first failure is the one to tell.
        std::fs::remove_file(&part).unwrap_or_default();
        failed(error)
    })
}

fn wrong(path: &Path, source: crate::error::Cause) -> RegistryError {
    RegistryError::CredentialFile {
        path: path.to_owned(),
        source,
    }
}

/// Says what a registry is called that a user names: `https://r.example/v2/` is `r.example`, and nothing at all, or
/// any of the Hub's names, is `docker.io`.
pub fn registry_of(server: &str) -> &str {
    if server.is_empty() {
        return oci::DEFAULT_REGISTRY;
    }
    host_of(server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Secret, look_up};

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_forgotten_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/config.json");
        for (registry, credentials) in [
            ("docker.io", password("ada", "a:b")),
            ("r.example:5000", password("ada", "x")),
            ("i.example", Credentials::Identity(Secret::new("t".to_owned()))),
        ] {
            assert_eq!(
                keep(&file, registry, &credentials).unwrap(),
                Kept::File(file.clone())
            );
            assert_eq!(look_up(&file, registry).unwrap(), Some(credentials), "{registry}");
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"https://index.docker.io/v1/\""), "{text}");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(forget(&file, "docker.io").unwrap());
        assert!(!forget(&file, "docker.io").unwrap());
        assert_eq!(look_up(&file, "docker.io").unwrap(), None);
        assert!(look_up(&file, "i.example").unwrap().is_some());
        let left = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "only the file is there");
    }

    #[test]
    fn other_keys_stay_and_links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, real) = (
            directory.path().join("config.json"),
            directory.path().join("real.json"),
        );
        std::fs::write(
            &real,
            r#"{"psFormat":"x","auths":{"o.example":{"auth":"dTpw","more":1}}}"#,
        )
        .unwrap();
        std::os::unix::fs::symlink("real.json", &file).unwrap();
        keep(&file, "r.example", &password("u", "p")).unwrap();
        forget(&file, "r.example").unwrap();
        assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink());
        let config: Value = serde_json::from_slice(&std::fs::read(&real).unwrap()).unwrap();
        assert_eq!(
            config,
            json!({"psFormat": "x", "auths": {"o.example": {"auth": "dTpw", "more": 1}}})
        );
        std::fs::write(&real, "{ no json").unwrap();
        assert!(keep(&file, "r.example", &password("u", "p")).is_err());
        assert_eq!(std::fs::read(&real).unwrap(), b"{ no json");
    }

    #[test]
    fn servers_are_named_in_many_ways() {
        for (server, registry) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://r.example:5000/v2/", "r.example:5000"),
            ("r.example", "r.example"),
        ] {
            assert_eq!(registry_of(server), registry, "{server}");
        }
    }
}
