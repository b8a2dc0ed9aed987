//! The one binary: a command line that is Docker's, on an engine that needs no daemon.
//!
//! In: argv. Out: what the user sees, and the exit code. It alone parses arguments, formats and prints; everything
//! else is asked of `engine` in typed requests. Invoked as `docker` it answers as `docker`.

mod args;
mod attach;
mod client_config;
mod commands;
mod complete;
mod dispatch;
mod failure;
mod front;
mod help;
mod output;
mod signals;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A monitor is this very program. It must find a process that has done nothing yet: no thread, no open file.
    let is_monitor = |argument: Option<std::ffi::OsString>| {
        argument.is_some_and(|argument| argument == engine::containers::monitor::ARGUMENT)
    };
    if is_monitor(std::env::args_os().next()) || is_monitor(std::env::args_os().nth(1)) {
        return engine::containers::monitor::main();
    }
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == engine::durable::ARGUMENT)
    {
        return engine::durable::main();
    }
    match front::run() {
        Ok(code) => code,
        Err(failed) => {
            output::failure(&failed.program, &failed.failure);
            ExitCode::from(failed.failure.code)
        }
    }
}
