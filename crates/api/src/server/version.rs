//! Versions of Docker's API.

use std::fmt;
use std::str::FromStr;

/// A version of the API, `1.NN`: all that Docker has ever had begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(u16);

impl ApiVersion {
    /// The newest that is spoken here, and what calls without a version mean.
    pub const NEWEST: Self = Self(56);
    /// The oldest that is taken. Docker's own minimum is 1.40 (1.24 before version 29); docker-compose 1 asks for less.
    pub const OLDEST: Self = Self(24);

    /// Makes `1.minor`.
    pub const fn new(minor: u16) -> Self {
        Self(minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// It is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version of the API: it is written 1.NN")]
pub struct NoVersion(String);

impl FromStr for ApiVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let minor = text.strip_prefix("1.").filter(|minor| {
            !minor.is_empty() && minor.len() <= 3 && minor.bytes().all(|byte| byte.is_ascii_digit())
        });
        minor
            .and_then(|minor| minor.parse().ok())
            .map(Self)
            .ok_or_else(|| NoVersion(text.to_owned()))
    }
}

/// Takes the version off a request's path: `/v1.44/info` is `/info` in 1.44.
pub(super) fn split(path: &str) -> (Option<Result<ApiVersion, NoVersion>>, &str) {
    let Some(rest) = path.strip_prefix("/v") else {
        return (None, path);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (version, rest) = rest.split_at(end);
    // `/volumes` begins with a v, too.
    if !version.starts_with(|first: char| first.is_ascii_digit()) {
        return (None, path);
    }
    (Some(version.parse()), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24"));
        assert_eq!(version("1.41").to_string(), "1.41");
        for bad in ["", "1", "2.0", "1.", "1.x", "1.4444", "1.+4", "v1.4"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_split() {
        let newest = ApiVersion::new(44);
        assert_eq!(split("/v1.44/info"), (Some(Ok(newest)), "/info"));
        assert_eq!(split("/info"), (None, "/info"));
        assert_eq!(split("/volumes/v1.4"), (None, "/volumes/v1.4"));
        assert!(matches!(split("/v2.0/info"), (Some(Err(_)), "/info")));
        assert_eq!(split("/v1.44"), (Some(Ok(newest)), ""));
    }
}
