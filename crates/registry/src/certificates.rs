//! Certificates for single registries, where Docker has them: `certs.d/<host[:port]>/` with `*.crt` (authorities), and
//! `*.cert` with `*.key` (what we show of ourselves).

use crate::RegistryError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};

/// What a directory has for a registry.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// Authorities beside the host's own.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Our own chain and its key.
    pub(crate) own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// Reads what the first of `directories` that has something for a host has for it.
pub(crate) fn find(directories: &[PathBuf], host: &str) -> Result<Option<Certificates>, RegistryError> {
    for directory in directories {
        let directory = directory.join(host);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            Err(error) => return Err(wrong(&directory, Box::new(error))),
        };
        let mut files = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| wrong(&directory, Box::new(error)))?;
        files.sort();
        return read(&files).map(Some);
    }
    Ok(None)
}

fn read(files: &[PathBuf]) -> Result<Certificates, RegistryError> {
    let mut found = Certificates::default();
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.extend(chain(file)?),
            Some("cert") => {
                let key = file.with_extension("key");
                if !files.contains(&key) {
                    let why = format!(
                        "its key {} is missing; certificates of authorities end in .crt",
                        key.display()
                    );
                    return Err(wrong(file, why.into()));
                }
                let secret =
                    PrivateKeyDer::from_pem_file(&key).map_err(|error| wrong(&key, Box::new(error)))?;
                found.own = Some((chain(file)?, secret));
            }
            Some("key") if !files.contains(&file.with_extension("cert")) => {
                return Err(wrong(
                    file,
                    "its certificate, with .cert at its end, is missing".into(),
                ));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(file, Box::new(error)))
}

fn wrong(path: &Path, source: crate::error::Cause) -> RegistryError {
    RegistryError::Certificates {
        path: path.to_owned(),
        source,
    }
}
