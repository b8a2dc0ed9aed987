//! Checking a name and a password with a registry, before anybody keeps them.

use crate::credentials::{Credentials, Secret};
use crate::endpoint::{Access, Endpoint, Scheme};
use crate::retry::Failed;
use crate::session::Session;
use crate::transport::{Answer, Ask};
use crate::{RegistryError, challenge, token};
use reqwest::Method;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

/// Shows credentials to the registry; returns what is to be kept: they themselves, or the refresh token that the
/// registry's token server gives for them.
pub(crate) async fn check(
    session: &Session,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<Credentials, RegistryError> {
    debug_assert!(
        endpoint.access == Access::Login,
        "nothing is asked for but who we are"
    );
    let (url, answer) = ping(session, endpoint).await.map_err(|failed| failed.error)?;
    if answer.status().is_success() {
        // Everybody may.
        return Ok(credentials.clone());
    }
    if answer.status().as_u16() != 401 {
        return Err(Failed::by_status(answer.complaint().await).error);
    }
    let challenges: Vec<challenge::Challenge> = answer
        .response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .collect();
    drop(answer.complaint().await);
    let with = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let refused = || RegistryError::LoginRefused {
        host: endpoint.registry.clone(),
    };
    let mut kept = credentials.clone();
    let authorization = if let Some(bearer) = with("bearer") {
        let fetched = token::fetch(
            &session.transport,
            &session.config,
            endpoint,
            bearer,
            Some(credentials),
        )
        .await
        .map_err(|failed| match failed.error {
            RegistryError::CredentialsRefused { .. } => refused(),
            error => error,
        })?
        .ok_or_else(refused)?;
        if let Some(refresh) = fetched.refresh {
            kept = Credentials::Identity(refresh);
        }
        fetched.header
    } else {
        let Credentials::Password { user, password } = credentials else {
            return Err(refused());
        };
        token::basic(&endpoint.host, user, password)?
    };
    let mut ask = ask(url);
    ask.authorization = Some(authorization);
    let answer = session.transport.send(ask).await?;
    match answer.status().as_u16() {
        status if (200..300).contains(&status) => Ok(kept),
        401 | 403 => Err(refused()),
        _ => Err(Failed::by_status(answer.complaint().await).error),
    }
}

/// Asks whether there is a registry, over whichever scheme it speaks.
async fn ping(session: &Session, endpoint: &Endpoint) -> Result<(Url, Answer), Failed> {
    let mut failure = None;
    for scheme in &endpoint.schemes {
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let url = Url::parse(&format!("{scheme}://{}/v2/", endpoint.host)).map_err(|source| {
            RegistryError::Connection {
                host: endpoint.host.clone(),
                source: Box::new(source),
            }
        })?;
        match session.transport.send(ask(url.clone())).await {
            Ok(answer) => return Ok((url, answer)),
            Err(error) if error.is_unreachable() => failure = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(failure
        .unwrap_or_else(|| RegistryError::Response {
            host: endpoint.host.clone(),
            why: "there is no way to talk to it".to_owned(),
        })
        .into())
}

fn ask(url: Url) -> Ask {
    Ask {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        authorization: None,
        pinned: false,
        form: None,
        body: None,
    }
}

/// Makes credentials of what a user typed.
pub(crate) fn typed(user: &str, password: &str) -> Credentials {
    Credentials::Password {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    }
}
