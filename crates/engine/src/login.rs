//! `login` and `logout`: what is kept about who we are at a registry.

use crate::{Engine, EngineError};
use oci::Reference;
pub use registry::{Auth, Kept, registry_of};

impl Engine {
    /// Checks a name and a password with a registry (`docker.io`, `host[:port]`) and keeps them.
    pub fn login(&self, registry: &str, user: &str, password: &str) -> Result<Kept, EngineError> {
        check_name(registry)?;
        Ok(self.registry_client()?.login(registry, user, password)?)
    }

    /// Checks credentials with a registry and keeps nothing. Returns the token that the registry gives to be used
    /// instead of the password, if it gives one.
    pub fn authenticate(&self, registry: &str, auth: &Auth) -> Result<Option<String>, EngineError> {
        check_name(registry)?;
        Ok(self.registry_client()?.authenticate(registry, auth)?)
    }

    /// Checks what is kept for a registry; `None` if that is nothing, otherwise whose it is.
    pub fn login_again(&self, registry: &str) -> Result<Option<String>, EngineError> {
        check_name(registry)?;
        Ok(self.registry_client()?.login_again(registry)?)
    }

    /// Forgets what is kept for a registry; returns whether there was anything.
    pub fn logout(&self, registry: &str) -> Result<bool, EngineError> {
        Ok(self.registry_client()?.logout(registry)?)
    }
}

/// Nothing is sent to what no reference could name.
fn check_name(registry: &str) -> Result<(), EngineError> {
    if registry == oci::DEFAULT_REGISTRY {
        return Ok(());
    }
    let named: Result<Reference, _> = format!("{registry}/x").parse();
    if named.is_ok_and(|reference| reference.registry() == registry) {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!("'{registry}' is no registry"),
        hint: Some(
            "write host[:port]; a host without a port needs a dot in its name, or to be localhost".into(),
        ),
    })
}
