//! Requests that a web page makes in somebody's browser are refused.
//!
//! A page can have a browser send requests to this host: from its own origin (CSRF), or, after its name has come to mean
//! our address, even as to its own server (DNS rebinding). Browsers tell in `Origin` and `Sec-Fetch-Site` who asks, and
//! in `Host` for whom they take us. No client of Docker's sends the former, but for websockets, where the origin is the
//! server itself.

use super::Failure;
use hyper::header::{HOST, ORIGIN};
use hyper::{HeaderMap, StatusCode, Uri};
use std::net::IpAddr;

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a unix socket. What stands in `Host` means nothing.
    Unix,
    /// By TCP on a loopback address, in the clear: every program on this host can, browsers too.
    Loopback,
    /// By TLS, with a certificate. That the name is ours, the client has checked.
    Secured,
}

/// Refuses what comes from a web page.
pub(super) fn check(way: Way, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    if hosts.next().is_some() {
        return Err(Failure::bad_request("the request has more than one Host header"));
    }
    let named = uri.authority().map(hyper::http::uri::Authority::as_str);
    if way == Way::Loopback
        && let Some(foreign) = host.into_iter().chain(named).find(|host| !is_this_host(host))
    {
        return Err(refused(&format!(
            "it was made for the host '{foreign}', which is no name of the loopback address"
        )));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let from = origin.split_once("://").map(|(_, from)| from);
        let ours = from.is_some() && from == host;
        if !ours || (way != Way::Secured && !host.is_some_and(is_this_host)) {
            return Err(refused(&format!("it comes from a web page of '{origin}'")));
        }
    }
    let site = headers
        .get("sec-fetch-site")
        .map(hyper::http::HeaderValue::as_bytes);
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        return Err(refused("it comes from a web page of another site"));
    }
    Ok(())
}

fn refused(why: &str) -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        format!("the request is refused: {why}, and web pages have no say here"),
    )
}

/// Says whether a `Host` can only mean the loopback address (RFC 6761, section 6.3, for `localhost`).
fn is_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn status(way: Way, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        check(way, &uri.parse().unwrap(), &map).map_or_else(|failure| failure.status.as_u16(), |()| 200)
    }

    #[test]
    fn clients_pass_and_pages_do_not() {
        type Case<'c> = (Way, &'c [(&'c str, &'c str)], u16);
        use Way::{Loopback, Secured, Unix};
        let cases: &[Case<'_>] = &[
            (Unix, &[("host", "api.moby.localhost")], 200),
            (Unix, &[("host", "docker")], 200),
            (Unix, &[("host", "%2Frun%2Fdocker.sock")], 200),
            (Unix, &[], 200),
            (
                Unix,
                &[("host", "evil.example"), ("origin", "http://evil.example")],
                403,
            ),
            (
                Unix,
                &[("host", "localhost"), ("origin", "http://localhost")],
                200,
            ),
            (Loopback, &[("host", "127.0.0.1:2375")], 200),
            (Loopback, &[("host", "[::1]:2375")], 200),
            (Loopback, &[("host", "LocalHost:2375")], 200),
            (Loopback, &[], 200),
            (Loopback, &[("host", "evil.example:2375")], 403),
            (Loopback, &[("host", "127.0.0.1.evil.example:2375")], 403),
            (Loopback, &[("host", "127.0.0.1"), ("host", "evil.example")], 400),
            (
                Loopback,
                &[("host", "127.0.0.1:2375"), ("origin", "http://evil.example")],
                403,
            ),
            (Loopback, &[("host", "127.0.0.1:2375"), ("origin", "null")], 403),
            (
                Loopback,
                &[("host", "127.0.0.1:2375"), ("origin", "http://127.0.0.1:8000")],
                403,
            ),
            (
                Loopback,
                &[("host", "127.0.0.1:2375"), ("origin", "http://127.0.0.1:2375")],
                200,
            ),
            (
                Loopback,
                &[("host", "127.0.0.1:2375"), ("sec-fetch-site", "cross-site")],
                403,
            ),
            (
                Loopback,
                &[("host", "127.0.0.1:2375"), ("sec-fetch-site", "none")],
                200,
            ),
            (Secured, &[("host", "build.example:2376")], 200),
            (
                Secured,
                &[
                    ("host", "build.example:2376"),
                    ("origin", "https://build.example:2376"),
                ],
                200,
            ),
            (
                Secured,
                &[("host", "build.example:2376"), ("origin", "https://evil.example")],
                403,
            ),
        ];
        for (way, headers, expected) in cases {
            assert_eq!(status(*way, "/info", headers), *expected, "{way:?} {headers:?}");
        }
        assert_eq!(status(Loopback, "http://evil.example/info", &[]), 403);
    }
}
