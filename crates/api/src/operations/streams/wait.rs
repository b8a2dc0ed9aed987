//! `wait`: until a container has stopped.

use crate::server::reply::Head;
use crate::server::{Exchange, Failure, Reply};
use engine::containers::record::ExitRecord;
use engine::containers::wait::Until;
use serde::Serialize;
use std::io::Write;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Why>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Why {
    message: String,
}

impl From<ExitRecord> for Waited {
    fn from(exit: ExitRecord) -> Self {
        Self {
            status_code: exit.code,
            error: exit.error.map(|message| Why { message }),
        }
    }
}

/// `POST /containers/{id}/wait`. The head goes out at once: clients start the container when they have it.
pub(super) fn wait(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let until = match exchange.query().get("condition") {
        None | Some("not-running") => Until::NotRunning,
        Some("next-exit") => Until::NextExit,
        Some("removed") => Until::Removed,
        Some(other) => return Err(Failure::bad_request(format!("invalid condition: {other:?}"))),
    };
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(exchange.parameter("id"))?;
    let mut vigil = containers.begin_waiting(&id, until)?;
    drop(engine);
    let engines = exchange.engines();
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| {
            outlet.begin()?;
            // An engine for each look: between two, thousands may wait.
            loop {
                let found = vigil.look(engines.take()?.containers())?;
                if let Some(exit) = found {
                    let mut text = serde_json::to_vec(&Waited::from(exit))
                        .map_err(|error| Failure::internal(error.to_string()))?;
                    text.push(b'\n');
                    return Ok(outlet.write_all(&text)?);
                }
                if !vigil.sleep(Some(outlet.descriptor()))? {
                    return Ok(());
                }
            }
        }),
    ))
}
