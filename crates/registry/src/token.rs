//! Answering a 401: Basic, and Docker's token servers.
//!
//! Tokens are kept per origin, repository and access while the client lives. Credentials belong to the registry that they
//! were stored for: they go to its own origin and to the token server that it names, over TLS.

use crate::challenge::{self, Challenge};
use crate::credentials::{self, Credentials, Secret};
use crate::endpoint::{Access, Endpoint, is_insecure, is_loopback};
use crate::retry::Failed;
use crate::transport::{Answer, Ask, Transport, host_and_port};
use crate::{RegistryConfig, RegistryError, worker};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// A token server's answer beyond this is none.
const LONGEST_ANSWER: u64 = 1 << 20;
/// What a token that does not say how long it lives does (distribution spec, token authentication).
const DEFAULT_LIFE: u64 = 60;
/// Renewed so long before it ends, that it does not end under way.
const MARGIN: Duration = Duration::from_secs(5);

/// What proves who we are, for one repository at one origin.
type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// Remembers tokens and credentials.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    slots: Mutex<HashMap<(String, String, Access), Slot>>,
    credentials: tokio::sync::Mutex<HashMap<String, Option<Credentials>>>,
}

/// A token, or a password as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) header: HeaderValue,
    until: Option<Instant>,
    /// What a token server gives at a login, to be kept in place of the password.
    pub(crate) refresh: Option<Secret>,
}

impl Held {
    fn is_valid(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// What became of a challenge.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Ask again with this.
    Retry {
        /// The header's value.
        header: HeaderValue,
        /// Whether it is the stored password itself, so that another 401 means that it is wrong.
        password: bool,
    },
    /// There is nothing to show.
    Nothing,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
    #[serde(default)]
    refresh_token: Secret,
    expires_in: Option<u64>,
}

impl Tokens {
    fn slot(&self, origin: &Url, endpoint: &Endpoint) -> Slot {
        let key = (
            origin.origin().ascii_serialization(),
            endpoint.repository.clone(),
            endpoint.access.clone(),
        );
        // Nothing is left half done under this lock.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(key).or_default().clone()
    }

    /// Returns what is still valid from before.
    pub(crate) async fn held(&self, url: &Url, endpoint: &Endpoint) -> Option<HeaderValue> {
        let slot = self.slot(url, endpoint);
        let held = slot.lock().await;
        held.as_ref()
            .filter(|held| held.is_valid())
            .map(|held| held.header.clone())
    }

    /// Finds what answers a 401. `refused` is what was shown and not good enough.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        config: &RegistryConfig,
        endpoint: &Endpoint,
        asked: (&Url, Option<HeaderValue>),
        answer: &Answer,
    ) -> Result<Reply, Failed> {
        let (url, refused) = asked;
        let challenges: Vec<Challenge> = answer
            .response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let slot = self.slot(url, endpoint);
        // Held until the token is there, so that many transfers fetch one.
        let mut held = slot.lock().await;
        if let Some(held) = held.as_ref()
            && held.is_valid()
            && Some(&held.header) != refused.as_ref()
        {
            return Ok(Reply::Retry {
                header: held.header.clone(),
                password: false,
            });
        }
        *held = None;
        let with = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if with("bearer").is_none() && with("basic").is_none() {
            return Ok(Reply::Nothing);
        }
        let credentials = self.credentials(config, &endpoint.registry).await?;
        if let Some(bearer) = with("bearer") {
            let found = fetch(transport, config, endpoint, bearer, credentials.as_ref()).await?;
            held.clone_from(&found);
            return Ok(found.map_or(Reply::Nothing, |held| Reply::Retry {
                header: held.header,
                password: false,
            }));
        }
        let Some(Credentials::Password { user, password }) = credentials else {
            return Ok(Reply::Nothing);
        };
        let header = basic(&endpoint.host, &user, &password)?;
        *held = Some(Held {
            header: header.clone(),
            until: None,
            refresh: None,
        });
        Ok(Reply::Retry {
            header,
            password: true,
        })
    }

    async fn credentials(
        &self,
        config: &RegistryConfig,
        registry: &str,
    ) -> Result<Option<Credentials>, RegistryError> {
        if let Some(auths) = &config.credentials {
            return credentials::given(auths, registry);
        }
        let Some(file) = config.docker_config.clone() else {
            return Ok(None);
        };
        let mut known = self.credentials.lock().await;
        if let Some(found) = known.get(registry) {
            return Ok(found.clone());
        }
        let name = registry.to_owned();
        // A helper is a program that may take its time.
        let found = tokio::task::spawn_blocking(move || credentials::look_up(&file, &name))
            .await
            .map_err(|_cancelled| worker::gone())??;
        known.insert(registry.to_owned(), found.clone());
        Ok(found)
    }
}

/// Fetches a token; `None` if the token server has none for somebody without credentials.
pub(crate) async fn fetch(
    transport: &Transport,
    config: &RegistryConfig,
    endpoint: &Endpoint,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
) -> Result<Option<Held>, Failed> {
    let mut ask = Ask {
        method: Method::GET,
        url: realm(config, endpoint, challenge)?,
        headers: HeaderMap::new(),
        authorization: None,
        pinned: false,
        form: None,
        body: None,
    };
    let scopes = scopes(endpoint, challenge.parameters.get("scope").map(String::as_str));
    let service = challenge.parameters.get("service").map(String::as_str);
    match credentials {
        Some(Credentials::Bearer(token)) => {
            return Ok(Some(Held {
                header: bearer(&endpoint.host, token)?,
                until: None,
                refresh: None,
            }));
        }
        Some(Credentials::Identity(token)) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "coracle")
                .append_pair("refresh_token", token.reveal());
            if !scopes.is_empty() {
                form.append_pair("scope", &scopes.join(" "));
            }
            if let Some(service) = service {
                form.append_pair("service", service);
            }
            ask.method = Method::POST;
            ask.form = Some(form.finish());
        }
        Some(Credentials::Password { .. }) | None => {
            let mut query = ask.url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in &scopes {
                query.append_pair("scope", scope);
            }
            if let Some(Credentials::Password { user, password }) = credentials {
                query.append_pair("account", user);
                if endpoint.access == Access::Login {
                    query
                        .append_pair("client_id", "coracle")
                        .append_pair("offline_token", "true");
                }
                drop(query);
                ask.authorization = Some(basic(&endpoint.host, user, password)?);
            }
        }
    }
    let mut answer = transport.send(ask).await?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 if credentials.is_none() => return Ok(None),
        // 400 is how several servers refuse a refresh token (RFC 6749 §5.2).
        400 | 401 | 403 if credentials.is_some() => {
            return Err(RegistryError::CredentialsRefused {
                host: endpoint.registry.clone(),
            }
            .into());
        }
        _ => return Err(Failed::by_status(answer.complaint().await)),
    }
    let body = answer.body("the token", LONGEST_ANSWER).await?;
    // Of the JSON error only the class is kept: its text could quote the token.
    let token: TokenAnswer = serde_json::from_slice(&body).map_err(|error| {
        let why = format!("the token server's answer is no JSON ({:?})", error.classify());
        nonsense(&answer.host, &why)
    })?;
    let text = [token.token, token.access_token]
        .into_iter()
        .find(|token| !token.reveal().is_empty())
        .ok_or_else(|| nonsense(&answer.host, "the token server's answer has no token"))?;
    let life = Duration::from_secs(token.expires_in.unwrap_or(DEFAULT_LIFE)).saturating_sub(MARGIN);
    Ok(Some(Held {
        header: bearer(&endpoint.host, &text)?,
        // Too far ahead for the clock is as good as for ever.
        until: Instant::now().checked_add(life),
        refresh: Some(token.refresh_token)
            .filter(|token| !token.reveal().is_empty() && endpoint.access == Access::Login),
    }))
}

/// Where tokens are: by TLS, unless it is this machine or a host that the user listed.
fn realm(config: &RegistryConfig, endpoint: &Endpoint, challenge: &Challenge) -> Result<Url, RegistryError> {
    let refuse = |why| RegistryError::TokenServer {
        host: endpoint.host.clone(),
        why,
    };
    let text = challenge
        .parameters
        .get("realm")
        .ok_or_else(|| refuse("the challenge names none"))?;
    let url = Url::parse(text).map_err(|_not_url| refuse("its address is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("its address contains a user or a password"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if url.host_str().is_some_and(is_loopback) || is_insecure(config, &host_and_port(&url)) => {
            Ok(url)
        }
        "http" => Err(refuse("its address is not https")),
        _ => Err(refuse("its address is not http")),
    }
}

/// What a token is asked for: what the registry suggests, as long as it is no more than what is to be done.
fn scopes(endpoint: &Endpoint, suggested: Option<&str>) -> Vec<String> {
    let repository = &endpoint.repository;
    let may = |actions: &str| match endpoint.access {
        Access::Pull => actions == "pull",
        // One that only suggests reading would not let us write.
        Access::Login | Access::Push { .. } => false,
    };
    let modest = |scope: &&str| {
        !scope.is_empty()
            && scope
                .split(' ')
                .all(|part| !part.contains(':') || part.rsplit(':').next().is_some_and(may))
    };
    if let Some(scope) = suggested.filter(modest) {
        return vec![scope.to_owned()];
    }
    match &endpoint.access {
        Access::Login => Vec::new(),
        Access::Pull => vec![format!("repository:{repository}:pull")],
        Access::Push { sources } => {
            let own = format!("repository:{repository}:pull,push");
            let others = sources.iter().map(|source| format!("repository:{source}:pull"));
            std::iter::once(own).chain(others).collect()
        }
    }
}

pub(crate) fn basic(host: &str, user: &str, password: &Secret) -> Result<HeaderValue, RegistryError> {
    let encoded = STANDARD.encode(format!("{user}:{}", password.reveal()));
    header(host, &format!("Basic {encoded}"))
}

fn bearer(host: &str, token: &Secret) -> Result<HeaderValue, RegistryError> {
    header(host, &format!("Bearer {}", token.reveal()))
}

fn header(host: &str, text: &str) -> Result<HeaderValue, RegistryError> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_invalid| nonsense(host, "its token has characters that no header may have"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn nonsense(host: &str, why: &str) -> RegistryError {
    RegistryError::Response {
        host: host.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(repository: &str, access: Access) -> Endpoint {
        Endpoint {
            host: "r.example".into(),
            registry: "r.example".into(),
            repository: repository.into(),
            schemes: Vec::new(),
            access,
        }
    }

    #[test]
    fn no_more_is_asked_for_than_is_to_be_done() {
        for (suggested, expected) in [
            (None, "repository:a/b:pull"),
            (Some(""), "repository:a/b:pull"),
            (Some("repository:a/b:pull"), "repository:a/b:pull"),
            (Some("repository:a/b:pull,push"), "repository:a/b:pull"),
            (Some("repository:a/b:*"), "repository:a/b:pull"),
            (
                Some("registry:catalog:* repository:a/b:pull"),
                "repository:a/b:pull",
            ),
            (Some("aws"), "aws"),
        ] {
            let endpoint = endpoint("a/b", Access::Pull);
            assert_eq!(scopes(&endpoint, suggested), [expected], "{suggested:?}");
        }
        let sources = vec!["c".to_owned()];
        for suggested in [None, Some("repository:a/b:pull"), Some("repository:a/b:*")] {
            assert_eq!(
                scopes(
                    &endpoint(
                        "a/b",
                        Access::Push {
                            sources: sources.clone()
                        }
                    ),
                    suggested
                ),
                ["repository:a/b:pull,push", "repository:c:pull"],
                "{suggested:?}"
            );
        }
    }

    #[test]
    fn tokens_come_by_tls_or_from_this_machine() {
        let config = RegistryConfig {
            insecure: vec!["listed.example".to_owned()],
            ..RegistryConfig::default()
        };
        let endpoint = endpoint("a", Access::Pull);
        for (address, allowed) in [
            ("https://auth.example/token", true),
            ("http://127.0.0.1:5001/token", true),
            ("http://localhost/token", true),
            ("http://listed.example/token", true),
            ("http://auth.example/token", false),
            ("http://127.0.0.1.evil.example/token", false),
            ("file:///etc/passwd", false),
            ("https://user:pw@auth.example/token", false),
            ("token", false),
        ] {
            let challenge = challenge::parse(&format!("Bearer realm=\"{address}\"")).remove(0);
            assert_eq!(
                realm(&config, &endpoint, &challenge).is_ok(),
                allowed,
                "{address}"
            );
        }
    }
}
