//! A copy of a volume as it was at one moment, though containers write to it.

use super::super::tree_copy::{Copier, Report, tells_changes};
use super::super::{Volumes, mounting};
use super::{Copied, open_directory};
use crate::EngineError;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::failpoint;

/// How often it is begun again because another container has come to use the volume.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// A finished copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Captured {
    pub(super) copied: Copied,
    /// How long containers stood still.
    pub(super) frozen: Duration,
    /// Containers were running, and did not stand still.
    pub(super) lively: bool,
}

impl Volumes<'_> {
    /// Copies what a volume holds into the empty directory `target`. Unless `live`, the containers that run with it
    /// stand still for the second half of it. Files that are the same in `previous` are linked from there.
    pub(super) fn capture(
        self,
        volume: &str,
        target: &Path,
        previous: Option<&Path>,
        live: bool,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Captured, EngineError> {
        let found = self.inspect(volume)?;
        let _mounted = mounting::Guest::enter(&self.engine.locations, volume, &found.options)?;
        let source = open_directory(&found.mountpoint)?;
        let mut copier = Copier::new(target, previous, cancelled);
        let mut users = self.users_alive(volume)?;
        if live && !users.is_empty() {
            return Ok(Captured {
                copied: copied(copier.pass(source.as_fd())?),
                lively: true,
                ..Captured::default()
            });
        }
        if !users.is_empty() && tells_changes(source.as_fd()) {
            copier.first_pass(source.as_fd())?;
            failpoint::reach("version.first-pass")?;
        }
        for _ in 0..ATTEMPTS {
            let mut frozen = Duration::ZERO;
            let captured = self.engine.containers().all_held_still(&users, &mut || {
                if !self.is_quiet(volume)? {
                    return Ok(None);
                }
                let begin = Instant::now();
                failpoint::reach("version.frozen")?;
                let report = copier.pass(source.as_fd())?;
                frozen = begin.elapsed();
                // Somebody may have been started meanwhile.
                Ok(self.is_quiet(volume)?.then_some(report))
            })?;
            if let Some(report) = captured {
                return Ok(Captured {
                    copied: copied(report),
                    frozen: if users.is_empty() { Duration::ZERO } else { frozen },
                    lively: false,
                });
            }
            std::thread::sleep(PAUSE);
            users = self.users_alive(volume)?;
        }
        Err(EngineError::Conflict {
            message: format!("containers keep being started with the volume {volume}"),
            hint: Some("try again, or copy it while they run with '--live'".into()),
        })
    }

    /// Says whether no container that has the volume runs.
    fn is_quiet(self, volume: &str) -> Result<bool, EngineError> {
        for user in self.users_alive(volume)? {
            if self.engine.containers().is_running(&user)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(super) fn copied(report: Report) -> Copied {
    Copied {
        bytes: report.bytes,
        shared: report.shared,
        sockets: report.sockets,
    }
}
