//! A firewall that somebody has emptied.
//!
//! Each container's monitor puts its own part back when it hears of it. Whoever finds the rules gone before that puts back
//! all networks at once: between two of them nothing may pass only because one is not in the rules yet (moby
//! CVE-2025-54388). Ports are left to the monitors, for nobody else knows whether their container is just ending.

use super::Networks;
use super::rows;
use crate::EngineError;
use crate::containers::rows::begun;
use network::{Ensured, Segment};

impl Networks<'_> {
    /// Makes what is missing of a network on the host, and if its rules were missing, of those of the running containers.
    /// Not within a transaction.
    pub(crate) fn make_ready(self, segment: &Segment) -> Result<(), EngineError> {
        if segment.ensure()? == Ensured::Rebuilt {
            self.restore()?;
        }
        Ok(())
    }

    /// Puts back the rules of every network that a container runs on.
    pub(crate) fn restore(self) -> Result<(), EngineError> {
        let (networks, records) = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>((rows::all(connection)?, begun(connection)?)))?;
        let mut first = Ok(());
        for known in &networks {
            let mut endpoints = records.iter().flat_map(|record| &record.status.endpoints);
            if endpoints.any(|there| there.network_id == known.id) {
                // One that cannot be put back must not keep the others away.
                first = first.and(known.segment().ensure().map(|_ensured| ()));
            }
        }
        Ok(first?)
    }
}
