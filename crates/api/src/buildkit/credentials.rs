//! Who the user is at the registries that a build asks: the client has that, and tells it for one registry at a time.

use super::SolveError;
use super::sessions::Session;
use super::wire::auth::CredentialsRequest;
use engine::login::Auth;
use std::collections::{BTreeSet, HashMap};

const METHOD: &str = "/moby.filesync.v1.Auth/Credentials";
/// Docker Hub, as clients know it: the host that it is asked at.
const HUB: &str = "registry-1.docker.io";

/// What registries are shown, by registry.
pub(crate) type Credentials = HashMap<String, Auth>;

/// Asks the client for what it has for some registries.
pub(super) async fn ask(session: &Session, registries: &BTreeSet<String>) -> Result<Credentials, SolveError> {
    let mut found = Credentials::new();
    if !session.supports(METHOD) {
        return Ok(found);
    }
    for registry in registries {
        let host = if registry == oci::DEFAULT_REGISTRY {
            HUB
        } else {
            registry
        };
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        // A client that cannot tell has nothing, and the registry says whether it wants something.
        let Ok(answer) = session.auth().credentials(request).await else {
            continue;
        };
        let answer = answer.into_inner();
        if answer.secret.is_empty() {
            continue;
        }
        let shown = if answer.username.is_empty() {
            // Without a name it is a token for the registry's token server.
            Auth::default().with_identity(&answer.secret)
        } else {
            Auth::password(&answer.username, &answer.secret)
        };
        found.insert(registry.clone(), shown);
    }
    Ok(found)
}
