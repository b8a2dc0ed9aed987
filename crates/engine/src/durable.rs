//! Making durable what was stored, behind what the user waits for.
//!
//! A pulled layer is used at once and synced afterwards (ARCHITECTURE.md, "State"). The command that stored it must not
//! wait for the disk, and must not end with nobody syncing either; so it leaves a process behind that does only that.

use crate::{Engine, Locations};
use state::{Database, StateError};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use store::Store;

/// The hidden first argument that makes this program sync a root and end. `main` looks for it before anything else.
pub const ARGUMENT: &str = "coracle-sync";

/// Syncs the root that the second argument names. Called by `main`.
pub fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(2) else {
        return ExitCode::FAILURE;
    };
    let root = std::path::PathBuf::from(root);
    // Output that was asked for is through; this must not slow down what the user does next.
    rustix::process::nice(10).map_or_else(drop, drop);
    let synced = Database::open_behind(&root)
        .map_err(store::StoreError::from)
        .and_then(|database| Store::open(&root, Arc::new(database)))
        .and_then(|store| store.make_durable());
    // Whoever comes next finds what is not marked durable, and a reboot drops it.
    if synced.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Leaves a process behind that makes the engine's root durable. Where that cannot be started, this process waits for the
/// disk itself.
///
/// Before that, what the policy for images does not want kept goes.
pub(crate) fn sync_behind(engine: &Engine) {
    crate::images::keeping::enforce(engine);
    if nothing_to_sync(engine) {
        return;
    }
    let Locations { root, .. } = engine.locations();
    let started = sys::exe::open_sealed()
        .map_err(std::io::Error::other)
        .and_then(|program| {
            Command::new(sys::mount::descriptor_path(program.as_fd()))
                .arg(ARGUMENT)
                .arg(root)
                .env_clear()
                .envs(sys::failpoint::environment())
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
    if started.is_err() {
        // What fails here fails again for the next command, which has somebody to tell.
        engine.store.make_durable().unwrap_or_default();
    }
}

fn nothing_to_sync(engine: &Engine) -> bool {
    let query = "SELECT NOT EXISTS (SELECT 1 FROM layers WHERE durable = 0)
                    AND NOT EXISTS (SELECT 1 FROM blobs WHERE durable = 0)";
    let answer = engine
        .database
        .read(|c| c.query_row(query, [], |row| row.get(0)).map_err(StateError::from));
    answer.unwrap_or(false)
}
