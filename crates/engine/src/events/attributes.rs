//! What Docker says of the things that events are about.

use super::record;
use crate::EngineError;
use crate::containers::record::{ContainerId, ContainerMount, EndpointRecord, Settings};
use crate::containers::request::NetworkMode;
use crate::images::Image;
use crate::networks::stable_id;
use rusqlite::Connection;
use state::StateError;

/// Records an event of a container: with its labels, image and name, as Docker has them, and what more there is to say.
pub(crate) fn container(
    connection: &Connection,
    action: &str,
    id: &ContainerId,
    name: &str,
    settings: &Settings,
    more: &[(&str, &str)],
) -> Result<(), StateError> {
    let labels = settings
        .labels
        .iter()
        .map(|(label, value)| (label.as_str(), value.as_str()));
    // What comes later wins: no label can pass for the container's name.
    let attributes: Vec<(&str, &str)> = labels
        .chain([("image", settings.image_name.as_str()), ("name", name)])
        .chain(more.iter().copied())
        .collect();
    record(connection, "container", action, id.as_str(), &attributes)
}

/// Records an event of an image, in a transaction of its own. `object` is what Docker shows: the id, or for `pull` the
/// reference.
pub(crate) fn image(
    engine: &crate::Engine,
    action: &str,
    object: &str,
    name: &str,
    image: Option<&Image>,
) -> Result<(), EngineError> {
    let labels = image.map(|image| &image.config.config.labels);
    let attributes: Vec<(&str, &str)> = labels
        .into_iter()
        .flatten()
        .map(|(label, value)| (label.as_str(), value.as_str()))
        .chain([("name", name)])
        .collect();
    engine
        .database
        .write(|transaction| Ok(record(transaction, "image", action, object, &attributes)?))
}

/// Records that a container that starts joins its networks.
pub(crate) fn join_networks(
    connection: &Connection,
    id: &ContainerId,
    settings: &Settings,
    endpoints: &[EndpointRecord],
) -> Result<(), StateError> {
    networks(connection, "connect", id, settings, endpoints)
}

/// Records that a container that has ended has left its networks.
pub(crate) fn leave_networks(
    connection: &Connection,
    id: &ContainerId,
    settings: &Settings,
    endpoints: &[EndpointRecord],
) -> Result<(), StateError> {
    networks(connection, "disconnect", id, settings, endpoints)
}

fn networks(
    connection: &Connection,
    action: &str,
    id: &ContainerId,
    settings: &Settings,
    endpoints: &[EndpointRecord],
) -> Result<(), StateError> {
    for endpoint in endpoints {
        network(connection, action, id, endpoint)?;
    }
    let (name, driver) = match &settings.request.network {
        NetworkMode::Host => ("host", "host"),
        NetworkMode::None => ("none", "null"),
        // It shares another's, or has been told of.
        _ => return Ok(()),
    };
    tell_of_network(connection, action, id, (&stable_id(name), name, driver))
}

/// Records that a container joins a network, or leaves it.
pub(crate) fn network(
    connection: &Connection,
    action: &str,
    id: &ContainerId,
    endpoint: &EndpointRecord,
) -> Result<(), StateError> {
    let (object, name) = (endpoint.network_id.as_str(), endpoint.network.as_str());
    let known = if name == crate::networks::DEFAULT {
        None
    } else {
        crate::networks::rows::by_id(connection, object)?
    };
    let driver = known.map_or_else(|| "bridge".to_owned(), |known| known.settings.driver);
    tell_of_network(connection, action, id, (object, name, &driver))
}

fn tell_of_network(
    connection: &Connection,
    action: &str,
    id: &ContainerId,
    (object, name, driver): (&str, &str, &str),
) -> Result<(), StateError> {
    let attributes = [("container", id.as_str()), ("name", name), ("type", driver)];
    record(connection, "network", action, object, &attributes)
}

fn volumes(settings: &Settings) -> impl Iterator<Item = (&str, &ContainerMount)> {
    let named = |mount: &'_ ContainerMount| mount.kind == "volume";
    settings
        .mounts
        .iter()
        .filter(move |mount| named(mount))
        .filter_map(|mount| Some((mount.name.as_deref()?, mount)))
}

/// Records that a container that starts has its volumes mounted.
pub(crate) fn mount_volumes(
    connection: &Connection,
    id: &ContainerId,
    settings: &Settings,
) -> Result<(), StateError> {
    for (name, mount) in volumes(settings) {
        let attributes = [
            ("container", id.as_str()),
            ("destination", mount.target.as_str()),
            ("driver", "local"),
            ("propagation", mount.propagation.as_str()),
            ("read/write", if mount.writable { "true" } else { "false" }),
        ];
        record(connection, "volume", "mount", name, &attributes)?;
    }
    Ok(())
}

/// Records that the volumes of a container that has ended are mounted no more.
pub(crate) fn unmount_volumes(
    connection: &Connection,
    id: &ContainerId,
    settings: &Settings,
) -> Result<(), StateError> {
    for (name, _) in volumes(settings) {
        let attributes = [("container", id.as_str()), ("driver", "local")];
        record(connection, "volume", "unmount", name, &attributes)?;
    }
    Ok(())
}
