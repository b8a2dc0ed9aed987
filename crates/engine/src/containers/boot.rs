//! Around a reboot: containers with a restart policy are ended in time before it and begun again after it.
//!
//! There is no daemon that could do so; the unit that `system install` writes calls both.
use super::record::{Activity, ContainerId};
use super::request::{NetworkMode, RestartPolicy};
use super::rows::{self, Record};
use super::session::Mode;
use super::start::StartRequest;
use super::{Containers, wait};
use crate::EngineError;

/// What became of one container.
#[derive(Debug)]
pub struct Revived {
    /// Which.
    pub id: ContainerId,
    /// What it is called.
    pub name: String,
    /// Whether it runs again.
    pub result: Result<(), EngineError>,
}

impl Containers<'_> {
    /// Starts every container that its restart policy wants to run after a reboot: that was last started before the
    /// host was, or was ended because the host went down. What was stopped by hand comes back with `always` only, as
    /// Docker has it when its daemon starts. Goes on after a failure.
    pub fn start_all(&self) -> Result<Vec<Revived>, EngineError> {
        let boot = sys::fs::boot_id()?;
        let mut records = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::all(connection)?))?;
        records.retain(|record| comes_back(record, &boot));
        // In the order in which they were made, but whoever lives in another's network after that other.
        records.sort_by_key(|record| {
            let joins = matches!(record.settings.request.network, NetworkMode::Container(_));
            (joins, record.created)
        });
        let mut revived = Vec::new();
        for record in records {
            if self.activity(&record)?.0 != Activity::Exited {
                continue;
            }
            let result = self.start(&record.id, StartRequest::default()).map(drop);
            revived.push(Revived {
                id: record.id,
                name: record.name,
                result,
            });
        }
        Ok(revived)
    }

    /// Ends every running container as each would be stopped, but so that [`Containers::start_all`] begins it again.
    /// Returns their names.
    pub fn leave_all(&self) -> Result<Vec<String>, EngineError> {
        let records = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::begun(connection)?))?;
        let mut sessions = Vec::new();
        for record in records {
            if let Some(mut session) = wait::connect(self.engine.locations(), &record.id, Mode::Wait)? {
                session.leave().map_err(wait::session_error(&record.id))?;
                sessions.push((record, session));
            }
        }
        let mut names = Vec::new();
        for (record, mut session) in sessions {
            session
                .exit_until(None)
                .map_err(wait::session_error(&record.id))?;
            names.push(record.name);
        }
        Ok(names)
    }
}

/// Says whether a container is to run again. One that was never started was not interrupted.
fn comes_back(record: &Record, boot: &str) -> bool {
    let status = &record.status;
    let was_cut_off = status.interrupted || status.boot != boot;
    if record.removing || status.started.is_none() || !was_cut_off {
        return false;
    }
    match record.settings.request.restart {
        RestartPolicy::Always => true,
        RestartPolicy::No => false,
        RestartPolicy::OnFailure(most) => {
            status.exit.as_ref().is_some_and(|exit| exit.code != 0) && (most == 0 || status.restarts < most)
        }
        RestartPolicy::UnlessStopped => !status.stopped_by_user,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ExitRecord, Settings, Status};
    use super::*;

    #[test]
    fn who_comes_back() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let record = |restart, code, by_user, boot: &str| {
            let mut settings = Settings::default();
            settings.request.restart = restart;
            Record {
                id: ContainerId("ab".into()),
                name: "it".into(),
                image: oci::Digest::from_sha256([0; 32]),
                created: 0,
                settings,
                status: Status {
                    started: Some(1),
                    exit: Some(ExitRecord {
                        code,
                        ..ExitRecord::default()
                    }),
                    stopped_by_user: by_user,
                    boot: boot.into(),
                    ..Status::default()
                },
                removing: false,
            }
        };
        for (restart, code, by_user, expected) in [
            (No, 255, false, false),
            (Always, 0, false, true),
            (Always, 0, true, true),
            (UnlessStopped, 255, false, true),
            (UnlessStopped, 0, true, false),
            (OnFailure(0), 255, false, true),
            (OnFailure(0), 0, false, false),
            (OnFailure(2), 255, false, true),
        ] {
            let mut record = record(restart, code, by_user, "before");
            assert_eq!(
                comes_back(&record, "now"),
                expected,
                "{restart:?} {code} {by_user}"
            );
            assert!(!comes_back(&record, "before"), "it was not cut off");
            record.status.interrupted = true;
            assert_eq!(comes_back(&record, "before"), expected);
        }
        let mut tried = record(OnFailure(2), 255, false, "before");
        tried.status.restarts = 2;
        assert!(!comes_back(&tried, "now"));
        let mut new = record(Always, 0, false, "");
        new.status.started = None;
        assert!(!comes_back(&new, "now"));
    }
}
