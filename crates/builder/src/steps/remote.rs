//! `ADD` of what lies elsewhere: files on the web, Git repositories.

use crate::error::{Failure, StepError};
use crate::git::{self, Fetch};
use crate::progress::Step;
use crate::scratch::Scratch;
use crate::stage::StageRun;
use crate::{Secret, digests, lock};
use dockerfile::AddFlags;
use rustix::fs::Mode;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use sys::path::Tree;

/// What was fetched, in a directory that goes with it.
pub(crate) struct Fetched<'a> {
    pub(crate) tree: Tree,
    /// What it is called in messages.
    pub(crate) name: String,
    /// It is a whole tree, of which the content is copied; else there is one file in it.
    pub(crate) is_tree: bool,
    _scratch: Scratch<'a>,
}

/// Fetches a source.
pub(crate) fn fetch<'a>(
    run: &StageRun<'a>,
    source: &str,
    flags: &AddFlags,
    named: bool,
    step: &Step<'_>,
) -> Result<Fetched<'a>, Failure> {
    let job = run.job;
    let checksum = flags
        .checksum
        .as_ref()
        .map(|checksum| run.word(checksum))
        .transpose()?;
    let wrong = |message| StepError::Git {
        remote: source.to_owned(),
        message,
    };
    let scratch = Scratch::new(job.store, &job.lease()?)?;
    if let Some(mut repository) = git::parse(source).map_err(wrong)? {
        if flags.keep_git_directory.is_some() {
            repository.keep_git_directory = flags.keep_git_directory;
        }
        if checksum.is_some() {
            repository.checksum = checksum;
        }
        if let Some((file, lock)) = &job.request.lock
            && !repository.is_pinned()
        {
            let commit = lock.commit(source).ok_or_else(|| lock::unknown(source, file))?;
            repository.reference = Some(commit.to_owned());
        }
        let authorization = git_authorization(&job.request.secrets, &repository.remote)?;
        let fetch = Fetch {
            source: &repository,
            into: scratch.directory(),
            aside: scratch.aside(),
            authorization: authorization.as_deref(),
            cancelled: &|| job.stopped(),
        };
        let (path, commit) = fetch.run()?;
        step.note(&format!("{} is at {commit}", repository.remote));
        return Ok(Fetched {
            tree: Tree::open(&scratch.directory().join(path))?,
            name: repository.remote,
            is_tree: true,
            _scratch: scratch,
        });
    }
    if flags.keep_git_directory == Some(true) {
        return Err(StepError::KeepGitDirectory(source.to_owned()).into());
    }
    if !source.starts_with("http://") && !source.starts_with("https://") {
        return Err(StepError::Scheme(source.to_owned()).into());
    }
    if let Some(text) = &checksum {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(StepError::ChecksumForm(text.clone()).into());
        }
    }
    // What the lock file does not know is not fetched.
    let locked = match &job.request.lock {
        Some((file, lock)) if checksum.is_none() => Some((
            file,
            *lock.url(source).ok_or_else(|| lock::unknown(source, file))?,
        )),
        _ => None,
    };
    let tree = Tree::open(scratch.directory())?;
    let path = Path::new("download");
    let file = File::from(tree.create_file(path, Mode::from_raw_mode(0o600))?);
    let authorization = web_authorization(&job.request.secrets, source)?;
    let downloaded = job.services.download(source, authorization.as_deref(), file);
    if job.stopped() {
        return Err(Failure::Cancelled);
    }
    let downloaded = downloaded?;
    if let Some(expected) = checksum {
        let found = digests::of_file(&tree, path, &|| job.stopped())?;
        let found = format!("sha256:{}", oci::Digest::from_sha256(found).hex());
        if !expected.eq_ignore_ascii_case(&found) {
            return Err(StepError::Checksum {
                source_text: source.to_owned(),
                expected,
                found,
            }
            .into());
        }
    } else if let Some((file, expected)) = locked {
        let found = oci::Digest::from_sha256(digests::of_file(&tree, path, &|| job.stopped())?);
        if found != expected {
            return Err(StepError::Locked {
                address: source.to_owned(),
                file: file.display().to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            }
            .into());
        }
    }
    let name = match file_name(source).or(downloaded.file_name) {
        Some(name) => name,
        None if named => return Err(StepError::NoFileName(source.to_owned()).into()),
        None => "download".to_owned(),
    };
    tree.rename(path, Path::new(&name))?;
    Ok(Fetched {
        tree,
        name: source.to_owned(),
        is_tree: false,
        _scratch: scratch,
    })
}

/// Returns the last part of a URL's path.
fn file_name(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let path = rest.split(['?', '#']).next()?.split_once('/')?.1;
    let name = path.rsplit('/').next()?;
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

/// Returns the host of an address, without user and port.
fn host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit('@').next().unwrap_or_default();
    rest.split(':').next().unwrap_or_default().to_owned()
}

type Secrets = BTreeMap<String, Secret>;

/// Returns the value of the `Authorization` header for a repository.
pub(crate) fn git_authorization(secrets: &Secrets, remote: &str) -> Result<Option<String>, StepError> {
    let host = host(remote);
    let basic = |token: String| format!("basic {}", base64(format!("x-access-token:{token}").as_bytes()));
    let header = secret(secrets, "GIT_AUTH_HEADER", &host)?;
    Ok(header.or(secret(secrets, "GIT_AUTH_TOKEN", &host)?.map(basic)))
}

/// Returns the value of the `Authorization` header for a file on the web.
pub(crate) fn web_authorization(secrets: &Secrets, url: &str) -> Result<Option<String>, StepError> {
    let host = host(url);
    let header = secret(secrets, "HTTP_AUTH_HEADER", &host)?;
    let token = secret(secrets, "HTTP_AUTH_TOKEN", &host)?;
    Ok(header.or(token.map(|token| format!("Bearer {token}"))))
}

/// Returns what a secret says for this host: `NAME.host`, `NAME_host`, or, for repositories, `NAME` for all.
fn secret(secrets: &Secrets, name: &str, host: &str) -> Result<Option<String>, StepError> {
    let found = secrets
        .get(&format!("{name}.{host}"))
        .or_else(|| secrets.get(&format!("{name}_{host}")))
        .or_else(|| name.starts_with("GIT").then(|| secrets.get(name)).flatten());
    let value = match found {
        None => return Ok(None),
        Some(Secret::Value(value)) => value.clone(),
        Some(Secret::File(path)) => std::fs::read(path).map_err(|error| StepError::SecretFile {
            id: host.to_owned(),
            source: sys::SysError::io("read", path, &error),
        })?,
    };
    Ok(Some(String::from_utf8_lossy(&value).trim().to_owned()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(LETTERS[(number >> (18 - 6 * place) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_hosts_and_files() {
        for (url, at, name) in [
            (
                "https://me@example.com:8080/a/b.txt?x=1#y",
                "example.com",
                Some("b.txt"),
            ),
            ("http://example.com", "example.com", None),
            ("http://example.com/a/", "example.com", None),
            ("git@example.com:x/y", "example.com", None),
        ] {
            assert_eq!(
                (host(url).as_str(), file_name(url).as_deref()),
                (at, name),
                "{url}"
            );
        }
        for (text, expected) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("abc", "YWJj"),
            ("x-access-token:t", "eC1hY2Nlc3MtdG9rZW46dA=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
