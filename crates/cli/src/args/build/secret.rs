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

/// Reads `default` or `ID=SOCKET`.
pub(super) fn agent(text: &str) -> Result<(String, PathBuf), Invalid> {
    use std::os::unix::fs::FileTypeExt;
    let (id, path) = match text.split_once('=') {
        Some((id, path)) => (id, Some(path)),
        None => (text, None),
    };
    let id = if id.is_empty() { "default" } else { id };
    let path = match path.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => return invalid("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"),
        },
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok((id.to_owned(), path)),
        Ok(_) => invalid(format!(
            "--ssh {id}={}: keys in files are not supported yet: add the key to an agent with ssh-add, and give its socket",
            path.display()
        )),
        Err(error) => invalid(format!(
            "failed to stat {}: {}",
            path.display(),
            crate::args::environment::reason(&error)
        )),
    }
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
        assert!(
            agent(&format!("default={path}"))
                .unwrap_err()
                .0
                .contains("ssh-add")
        );
        assert!(agent("x=/no/such/socket").is_err());
    }
}
