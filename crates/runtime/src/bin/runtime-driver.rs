//! A single-threaded process that starts one container, or one process in it, and says how that went.
//!
//! `runtime-driver run|exec PLAN RESULT [files|terminal|drop]`: the plan as JSON; into the result goes, as JSON too,
//! the error, or first the pid, start time and warnings, and in the end the exit. The container gets our standard
//! streams, or a terminal of 30 lines and 90 characters whose output is copied to our standard output.

use runtime::{Created, Process, StartError, Streams};
use serde_json::json;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

type Started = (Process, Option<OwnedFd>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, action, plan, result, streams] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    match drive(action, Path::new(plan), Path::new(result), streams) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a result the test fails anyway, and shows this.
            if writeln!(std::io::stderr(), "{error}").is_err() {
                return ExitCode::from(3);
            }
            ExitCode::FAILURE
        }
    }
}

fn drive(action: &str, plan: &Path, result: &Path, streams: &str) -> Result<(), Box<dyn std::error::Error>> {
    let plan = std::fs::read(plan)?;
    let write = |value: serde_json::Value| {
        let aside = result.with_extension("new");
        std::fs::write(&aside, value.to_string())?;
        std::fs::rename(&aside, result)
    };
    let started = match action {
        "run" => run(&serde_json::from_slice(&plan)?, streams)?,
        _ => runtime::exec(&serde_json::from_slice(&plan)?, open(streams)?),
    };
    let (mut process, terminal) = match started {
        Ok(started) => started,
        Err(error) => return Ok(write(json!({ "error": error }))?),
    };
    let start_time = sys::process::start_time(process.pid()).unwrap_or_default();
    let mut state = json!({ "pid": process.pid(), "start_time": start_time, "warnings": process.warnings() });
    write(state.clone())?;
    if let Some(terminal) = terminal {
        // Ends with EIO when the last process has closed its terminal.
        let mut terminal = std::fs::File::from(terminal);
        if let Err(_hung_up) = std::io::copy(&mut terminal, &mut std::io::stdout()) {}
    }
    let exit = process.wait()?;
    state["exit"] = json!(exit);
    Ok(write(state)?)
}

type Outcome = Result<Started, StartError>;

fn run(plan: &runtime::Plan, streams: &str) -> Result<Outcome, Box<dyn std::error::Error>> {
    let mut created: Created = match runtime::create(plan, open(streams)?) {
        Ok(created) => created,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = created.ready() {
        return Ok(Err(error));
    }
    if streams == "drop" {
        let pid = created.pid();
        drop(created);
        return Ok(Err(StartError {
            failure: runtime::StartFailure::Setup,
            message: format!("dropped {pid}"),
        }));
    }
    let terminal = created.take_terminal();
    Ok(created.start().map(|process| (process, terminal)))
}

fn open(streams: &str) -> std::io::Result<Streams> {
    if streams == "terminal" {
        return Ok(Streams::Terminal {
            rows: 30,
            columns: 90,
        });
    }
    Ok(Streams::Files {
        stdin: None,
        stdout: Some(std::io::stdout().as_fd().try_clone_to_owned()?),
        stderr: Some(std::io::stderr().as_fd().try_clone_to_owned()?),
    })
}
