//! Engines for operations. Each operation has one for itself while it needs it, as each command has: a long query of one
//! does not keep another waiting. Engines that have been used are kept open, for opening costs a millisecond.

use super::Failure;
use crate::buildkit::Hub;
use engine::{Engine, EngineError, Locations};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// So many are kept open while nobody uses them.
const KEPT: usize = 8;

/// Opens engines on one root.
#[derive(Debug)]
pub(crate) struct Engines {
    locations: Locations,
    hub: Hub,
    idle: Mutex<Vec<Engine>>,
}

impl Engines {
    pub(super) fn new(locations: Locations) -> Self {
        Self {
            locations,
            hub: Hub::default(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Returns what builds share while they run: the one thing that is remembered from request to request.
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Takes an engine. As at the start of each command, what dead processes left is healed first.
    pub(crate) fn take(self: &Arc<Self>) -> Result<OpenEngine, Failure> {
        Ok(self.open()?)
    }

    /// The same, for those who have another kind of failure.
    pub(crate) fn open(self: &Arc<Self>) -> Result<OpenEngine, EngineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = match idle {
            Some(engine) => {
                engine.containers().recover()?;
                engine
            }
            None => Engine::open(self.locations.clone())?,
        };
        // Whoever runs the server has not lent his credentials to its clients, and none of them to the next.
        engine.set_credentials(Some(HashMap::new()));
        engine.set_stop(None);
        Ok(OpenEngine {
            engine: Some(engine),
            home: Arc::clone(self),
        })
    }
}

/// An engine for one operation alone. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenEngine {
    engine: Option<Engine>,
    home: Arc<Engines>,
}

impl Deref for OpenEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match &self.engine {
            Some(engine) => engine,
            None => unreachable!("it is taken out by drop alone"),
        }
    }
}

impl DerefMut for OpenEngine {
    fn deref_mut(&mut self) -> &mut Engine {
        match &mut self.engine {
            Some(engine) => engine,
            None => unreachable!("it is taken out by drop alone"),
        }
    }
}

impl Drop for OpenEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whatever it was in the middle of is not for the next to find.
            return;
        }
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.extend(self.engine.take());
        }
    }
}
