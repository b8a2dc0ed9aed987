//! `GET /containers/json`.

use crate::server::{Exchange, Failure, Reply};
use crate::wire::ContainerSummary;
use engine::EngineError;
use engine::containers::record::Container;
use engine::containers::request::ListContainers;
use std::collections::BTreeMap;

pub(super) fn list(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    // A limit of nothing, or less, is none.
    let limit = query.number::<i64>("limit")?.unwrap_or(0);
    let request = ListContainers {
        all: query.flag("all"),
        last: usize::try_from(limit).ok().filter(|limit| *limit > 0),
        filters: query.filters()?,
        size: query.flag("size"),
    };
    let engine = exchange.engine()?;
    let containers = engine.containers().list(&request)?;
    // An image's name that leads to another one by now names the container's image no more.
    let mut named: BTreeMap<&str, Option<oci::Digest>> = BTreeMap::new();
    let now = engine::events::now();
    let mut all = Vec::with_capacity(containers.len());
    for container in &containers {
        let name = container.settings.image_name.as_str();
        if !named.contains_key(name) {
            let found = match engine.images().find(name) {
                Ok(image) => Some(image.id),
                Err(EngineError::NotFound { .. } | EngineError::Invalid { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            named.insert(name, found);
        }
        let holds = named.get(name).and_then(Option::as_ref) == Some(&container.image);
        all.push(ContainerSummary::new(
            container,
            &image_name(container, holds),
            now,
            exchange.version(),
        ));
    }
    Reply::json(&all)
}

fn image_name(container: &Container, holds: bool) -> String {
    if holds {
        container.settings.image_name.clone()
    } else {
        container.image.to_string()
    }
}
