//! What the user sees. Nothing outside this module writes to the standard streams.

pub(crate) mod build;
pub(crate) mod fate;
pub(crate) mod json;
pub(crate) mod order;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod push_progress;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod time;
pub(crate) mod units;

use crate::failure::Failure;
use std::io::{IsTerminal, Write};

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes text to standard output as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes bytes to standard error as they are.
pub(crate) fn error_bytes(bytes: &[u8]) -> std::io::Result<()> {
    std::io::stderr().lock().write_all(bytes)
}

/// Writes a line to standard error. Whether anybody reads it does not change what we do.
pub(crate) fn note(text: &str) {
    let text = format!("{text}\n");
    if error_bytes(text.as_bytes()).is_err() {
        // Standard error is closed: there is nowhere left to say so.
    }
}

/// Writes a warning to standard error.
pub(crate) fn warning(text: &str) {
    note(&format!("WARNING: {text}"));
}

/// Tells who was attached to a container why it ended, if there is something to tell.
pub(crate) fn end(program: &str, exit: &engine::containers::record::ExitRecord) {
    if let Some(sentence) = fate::sentence(exit) {
        note(&format!("{program}: {sentence}"));
    }
}

/// Writes a failure as the program called `program`.
pub(crate) fn failure(program: &str, failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    let name = if failure.named {
        format!("{program}: ")
    } else {
        String::new()
    };
    let mut text = format!("{name}{}", failure.message);
    if let Some(hint) = &failure.hint {
        text.extend([format!("\nhint: {hint}")]);
    }
    if let Some(trailer) = &failure.trailer {
        text.extend([format!("\n\n{trailer}")]);
    }
    note(&text);
}

/// Asks a question on standard output and reads `y` or anything else from standard input.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    text(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Says whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Says whether standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// A stream of output that may be written to from deep inside the engine (`save`, `export`, `cp`).
pub(crate) fn raw_stdout() -> std::io::StdoutLock<'static> {
    std::io::stdout().lock()
}
