//! `--secret` and `--ssh`: what a build's commands may see and its image never has.

use crate::args::{Invalid, csv, invalid};
use engine::builder::Secret;
use std::path::PathBuf;

/// Reads `id=ID[,src=FILE|,env=NAME]`.
pub(super) fn secret(text: &str) -> Result<(String, Secret), Invalid> {
    let (mut id, mut source, mut variable, mut kind) = (String::new(), None, None, String::new());
    for field in csv::fields(text)? {
        let Some((key, value)) = field.split_once('=') else {
            return invalid(format!("invalid field '{field}' must be a key=value pair"));
        };
        match key.to_ascii_lowercase().as_str() {
            "type" if matches!(value, "file" | "env") => value.clone_into(&mut kind),
            "type" => return invalid(format!("unsupported secret type {value:?}")),
            "id" => value.clone_into(&mut id),
            "source" | "src" => source = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            _ => return invalid(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if id.is_empty() {
        return invalid(format!(
            "a secret needs an id: --secret id=NAME,src=FILE, not {text:?}"
        ));
    }
    if kind == "env" && variable.is_none() {
        variable = source.take();
    }
    let named = |name: &str| {
        use std::os::unix::ffi::OsStringExt;
        std::env::var_os(name).map(|value| Secret::Value(value.into_vec()))
    };
    let secret = match (source, variable) {
        (_, Some(name)) => named(&name).unwrap_or(Secret::Value(Vec::new())),
        (Some(path), None) => file(&path)?,
        (None, None) => match named(&id).filter(|_| kind != "file") {
            Some(secret) => secret,
            None => file(&id)?,
        },
    };
    Ok((id, secret))
}

/// Whether a secret is there is said before the build begins.
fn file(path: &str) -> Result<Secret, Invalid> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => invalid(format!("the secret {path:?} is a directory")),
        Ok(_) => match std::path::absolute(path) {
            Ok(path) => Ok(Secret::File(path)),
            Err(error) => invalid(format!("the secret {path:?}: {error}")),
        },
        Err(error) => invalid(format!(
            "failed to stat {path}: {}",
            crate::args::environment::reason(&error)
        )),
    }
}

/// What `--ssh` offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Agent {
    /// The user's agent, by its socket.
    Socket(PathBuf),
    /// These keys, which an agent for the build alone gets.
    Keys(Vec<PathBuf>),
}

/// Reads `default`, `ID=SOCKET` or `ID=KEY[,KEY…]`.
pub(super) fn agent(text: &str) -> Result<(String, Agent), Invalid> {
    use std::os::unix::fs::FileTypeExt;
    let (id, paths) = match text.split_once('=') {
        Some((id, paths)) => (id, paths),
        None => (text, ""),
    };
    let id = if id.is_empty() { "default" } else { id };
    let mut paths: Vec<PathBuf> = paths
        .split(',')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect();
    if paths.is_empty() {
        match std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) {
            Some(path) => paths.push(path.into()),
            None => return invalid("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"),
        }
    }
    let mut keys = Vec::new();
    for path in &paths {
        let why = |error: &std::io::Error| crate::args::environment::reason(error);
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() && paths.len() > 1 => {
                return invalid(format!(
                    "--ssh {text}: invalid combination of several paths: an agent's socket stands alone"
                ));
            }
            Ok(metadata) if metadata.file_type().is_socket() => {
                return Ok((id.to_owned(), Agent::Socket(path.clone())));
            }
            Ok(metadata) if metadata.is_file() => match std::path::absolute(path) {
                Ok(path) => keys.push(path),
                Err(error) => return invalid(format!("--ssh {}: {}", path.display(), why(&error))),
            },
            Ok(_) => {
                return invalid(format!(
                    "--ssh {id}={}: it is neither an agent's socket nor a key",
                    path.display()
                ));
            }
            Err(error) => {
                return invalid(format!("failed to stat {}: {}", path.display(), why(&error)));
            }
        }
    }
    Ok((id.to_owned(), Agent::Keys(keys)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(
            secret(&format!("id=a,src={path}")).unwrap(),
            ("a".into(), Secret::File(path.into()))
        );
        let (_, from_variable) = secret("id=a,env=PATH").unwrap();
        assert!(matches!(&from_variable, Secret::Value(value) if !value.is_empty()));
        assert!(matches!(secret("type=env,id=PATH").unwrap().1, Secret::Value(_)));
        for (text, message) in [
            ("a", "invalid field 'a' must be a key=value pair"),
            ("id=a,type=vault", "unsupported secret type \"vault\""),
            ("id=a,path=x", "unexpected key 'path' in 'path=x'"),
            (
                "id=a,src=/no/such/file",
                "failed to stat /no/such/file: no such file or directory",
            ),
        ] {
            assert_eq!(secret(text).unwrap_err().0, message, "{text}");
        }
        let keys = |count| Agent::Keys(vec![path.into(); count]);
        assert_eq!(agent(&format!("x={path}")).unwrap(), ("x".into(), keys(1)));
        assert_eq!(
            agent(&format!("={path},{path}")).unwrap(),
            ("default".into(), keys(2))
        );
        assert!(agent("x=/").is_err());
        assert!(agent("x=/no/such/socket").is_err());
    }
}
