//! What networks a container asks for, resolved when it is made.
use super::request::{CreateContainer, NetworkAttachment, NetworkMode};
use super::{Containers, invalid, not_found};
use crate::EngineError;
use crate::networks::{DEFAULT, joining, rows};

impl Containers<'_> {
    /// Puts the networks' names in the place of what they were called, and sees to it that each can be had as it is
    /// asked for. A container on the default bridge of which nothing more is said has no list.
    pub(super) fn resolve_networks(self, request: &mut CreateContainer) -> Result<(), EngineError> {
        if let NetworkMode::Named(name) = &request.network
            && matches!(name.as_str(), DEFAULT | "default")
        {
            request.network = NetworkMode::Bridge;
        }
        let mode = match &request.network {
            NetworkMode::Bridge => DEFAULT,
            NetworkMode::Container(_) => "container",
            NetworkMode::Host => "host",
            NetworkMode::Named(name) => name,
            NetworkMode::None => "none",
        };
        let has_own = matches!(request.network, NetworkMode::Bridge | NetworkMode::Named(_));
        let mut asked = std::mem::take(&mut request.attachments);
        if asked.is_empty() && has_own {
            asked.push(NetworkAttachment {
                network: mode.to_owned(),
                ..NetworkAttachment::default()
            });
        }
        if !has_own {
            // That it is on this network says no more than its mode.
            asked.retain(|there| there.network != mode);
        }
        let is_shared = |name: &str| matches!(name, "host" | "none") || name.starts_with("container:");
        if (!has_own && !asked.is_empty()) || asked.iter().any(|there| is_shared(&there.network)) {
            return Err(invalid(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ));
        }
        if !has_own {
            return Ok(());
        }
        let plain = |attachment: &NetworkAttachment| {
            *attachment
                == NetworkAttachment {
                    network: attachment.network.clone(),
                    ..NetworkAttachment::default()
                }
        };
        if request.links.is_empty()
            && asked.len() == 1
            && matches!(asked[0].network.as_str(), DEFAULT | "default")
            && plain(&asked[0])
        {
            return Ok(());
        }
        let mut resolved: Vec<NetworkAttachment> = Vec::with_capacity(asked.len());
        self.engine.database.read(|connection| {
            for mut attachment in asked {
                let known = match attachment.network.as_str() {
                    DEFAULT | "default" => None,
                    name => Some(
                        rows::find(connection, name)?
                            .ok_or_else(|| EngineError::NoNetwork(name.to_owned()))?,
                    ),
                };
                joining::check(known.as_ref(), &attachment).map_err(|error| match error {
                    EngineError::Invalid { message, hint } => EngineError::Invalid {
                        message: format!("invalid config for network {}: {message}", attachment.network),
                        hint,
                    },
                    other => other,
                })?;
                attachment.network = known.map_or_else(|| DEFAULT.to_owned(), |known| known.name);
                if resolved.iter().any(|there| there.network == attachment.network) {
                    return Err(invalid(format!(
                        "network \"{}\" is specified multiple times",
                        attachment.network
                    )));
                }
                resolved.push(attachment);
            }
            let asked = request.links.iter();
            for link in asked.chain(resolved.iter().flat_map(|there| &there.links)) {
                let (name, _) = joining::split_link(link);
                if joining::linked(connection, name)?.is_none() {
                    return Err(invalid(format!(
                        "could not get container for {name}: {}",
                        not_found(name)
                    )));
                }
            }
            Ok(())
        })?;
        request.attachments = resolved;
        Ok(())
    }
}
