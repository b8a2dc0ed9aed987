//! Files from anywhere on the web: what `ADD` of a URL fetches.

use crate::error::printable;
use crate::session::Session;
use crate::transport::Ask;
use crate::{Client, RegistryError};
use reqwest::Method;
use reqwest::header::{CONTENT_DISPOSITION, HeaderMap, HeaderValue, LAST_MODIFIED};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use url::Url;

/// What is known of a file that came from the web.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Downloaded {
    /// When it was changed last, in seconds since 1970, if the server says so.
    pub last_modified: Option<i64>,
    /// What the server would call it, without directories.
    pub file_name: Option<String>,
}

impl Client {
    /// Writes what is at `url` (http or https) into a file. `authorization` is the value of that header; it goes to the
    /// URL's own origin only, and no credentials of registries go with it.
    pub fn download(
        &self,
        url: &str,
        authorization: Option<&str>,
        into: File,
    ) -> Result<Downloaded, RegistryError> {
        let wrong = || RegistryError::Url(printable(url));
        let url: Url = url.parse().map_err(|_no_url| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong());
        }
        let authorization = authorization
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(|_invalid| RegistryError::Url("the authorization header".to_owned()))?;
        let session = self.session.clone();
        self.worker()?
            .run(async move { fetch(&session, url, authorization, into).await })
    }
}

async fn fetch(
    session: &Arc<Session>,
    url: Url,
    authorization: Option<HeaderValue>,
    mut into: File,
) -> Result<Downloaded, RegistryError> {
    let shown = printable(url.as_str());
    let mut answer = session
        .send(Ask {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            authorization,
            pinned: false,
            form: None,
            body: None,
        })
        .await?;
    if !answer.status().is_success() {
        return Err(RegistryError::Status {
            url: shown,
            status: answer.status().as_u16(),
        });
    }
    let announced = answer.response.content_length();
    let downloaded = Downloaded {
        last_modified: answer.header(LAST_MODIFIED.as_str()).and_then(seconds),
        file_name: answer.header(CONTENT_DISPOSITION.as_str()).and_then(file_name),
    };
    let mut received = 0;
    while let Some(chunk) = answer.chunk().await? {
        received += chunk.len() as u64;
        into.write_all(&chunk).map_err(|source| RegistryError::Save {
            url: shown.clone(),
            source,
        })?;
    }
    if let Some(expected) = announced.filter(|expected| *expected != received) {
        return Err(RegistryError::Truncated {
            what: shown,
            host: answer.host.clone(),
            received,
            expected,
            source: None,
        });
    }
    Ok(downloaded)
}

fn seconds(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Reads `attachment; filename="name"`. A name with directories in it is none.
fn file_name(text: &str) -> Option<String> {
    let value = text.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case("filename").then(|| value.trim())
    })?;
    let name = value.trim_matches('"');
    (!name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..")
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_directories() {
        for (text, expected) in [
            ("attachment; filename=\"a b.txt\"", Some("a b.txt")),
            ("inline; FileName=x.tar.gz", Some("x.tar.gz")),
            ("attachment; filename=\"../../etc/passwd\"", None),
            ("attachment; filename=\"..\"", None),
            ("attachment", None),
        ] {
            assert_eq!(file_name(text).as_deref(), expected, "{text}");
        }
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("yesterday"), None);
    }
}
