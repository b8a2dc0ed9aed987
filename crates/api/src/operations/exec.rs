//! Further processes in containers, by Docker's four steps: create, start, resize, inspect.

use super::object::Object;
use super::streams::client::{Client, Hijacked, Reader};
use super::streams::talk::{Ending, Terms, flush, talk};
use super::streams::{content_type, detach_keys, size, wants_to_hijack};
use crate::server::reply::Head;
use crate::server::{ApiVersion, Engines, Exchange, Failure, Method, Reply, Route};
use crate::wire::ExecInspect;
use engine::EngineError;
use engine::containers::attach::Happening;
use engine::containers::instance::{Instance, InstanceStatus};
use engine::containers::request::ExecRequest;
use engine::runtime::StartError;
use hyper::StatusCode;
use serde_json::json;
use std::sync::Arc;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/exec",
        operation: create,
    },
    Route {
        method: Method::Post,
        pattern: "/exec/{id}/start",
        operation: start,
    },
    Route {
        method: Method::Post,
        pattern: "/exec/{id}/resize",
        operation: resize,
    },
    Route {
        method: Method::Get,
        pattern: "/exec/{id}/json",
        operation: inspect,
    },
];

/// From this version on a terminal's first size can be given. Before it is not looked at.
const SIZED: ApiVersion = ApiVersion::new(42);

/// Takes a terminal's rows and columns out of a document. None at all, or `[0, 0]`, is no size.
fn console_size(body: &mut Object) -> Result<Option<(u16, u16)>, Failure> {
    let size: Option<(u16, u16)> = body.take("ConsoleSize")?;
    Ok(size.filter(|&size| size != (0, 0)))
}

/// `POST /containers/{id}/exec`.
fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut body = Object::new(exchange.document()?)?;
    let keys: String = body.take("DetachKeys")?;
    detach_keys(Some(&keys))?;
    let sized = exchange.version() >= SIZED;
    let instance = Instance {
        request: ExecRequest {
            command: body.take("Cmd")?,
            environment: body.take("Env")?,
            working_directory: body.text("WorkingDir")?,
            user: body.text("User")?,
            terminal: body.take("Tty")?,
            open_stdin: body.take("AttachStdin")?,
            privileged: body.take("Privileged")?,
            size: console_size(&mut body)?.filter(|_| sized),
            detach: false,
        },
        stdout: body.take("AttachStdout")?,
        stderr: body.take("AttachStderr")?,
        detach_keys: keys,
    };
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(exchange.parameter("id"))?;
    let exec_id = containers.create_exec(&id, &instance)?;
    Reply::json_with(StatusCode::CREATED, &json!({ "Id": exec_id }))
}

/// `POST /exec/{id}/start`.
fn start(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut body = Object::new(exchange.document()?)?;
    let (detach, raw): (bool, bool) = (body.take("Detach")?, body.take("Tty")?);
    let mut first_size = console_size(&mut body)?;
    if exchange.version() < SIZED || detach {
        first_size = None;
    }
    if first_size.is_some() && !raw {
        return Err(Failure::bad_request(
            "console size is only supported when TTY is enabled",
        ));
    }
    let exec_id = exchange.parameter("id").to_owned();
    let engine = exchange.engine()?;
    let containers = engine.containers();
    if detach {
        return match containers.start_exec(&exec_id, true, first_size) {
            Ok(_) => Ok(Reply::empty(StatusCode::OK)),
            Err(EngineError::Start(error)) => Err(Failure::bad_request(not_started(&error))),
            Err(error) => Err(error.into()),
        };
    }
    // What stands against it has a status of its own; what fails later is written where output is expected.
    let status = containers.check_exec(&exec_id)?;
    containers.require_fresh_exec(&status)?;
    drop(engine);
    let hijack = wants_to_hijack(exchange);
    let kind = content_type(exchange.version(), !raw);
    let run = Run {
        engines: exchange.engines(),
        status,
        size: first_size,
        hijacked: hijack,
    };
    if hijack {
        return Ok(Reply::Hijack(
            kind,
            Box::new(move |conversation| {
                let mut client = Hijacked::new(conversation, !raw);
                // What breaks here is the client's connection, which the client sees.
                run.serve(&mut client).unwrap_or_default();
                client.part();
            }),
        ));
    }
    Ok(Reply::Stream(
        Head::ok(kind),
        Box::new(move |outlet| {
            outlet.begin()?;
            run.serve(&mut Reader::new(outlet, !raw))
        }),
    ))
}

/// An instance that is to be started for a client.
struct Run {
    engines: Arc<Engines>,
    status: InstanceStatus,
    size: Option<(u16, u16)>,
    /// The client can speak.
    hijacked: bool,
}

impl Run {
    fn serve(self, client: &mut dyn Client) -> Result<(), Failure> {
        let started = self.engines.take().and_then(|engine| {
            let started = engine.containers().start_exec(&self.status.id, false, self.size);
            Ok(started?)
        });
        let mut session = match started {
            Ok(Some(session)) => session,
            Ok(None) => return Ok(()),
            Err(failure) => return tell(client, &failure.message),
        };
        let instance = &self.status.instance;
        let terminal = instance.request.terminal;
        let terms = Terms {
            stdin: instance.request.open_stdin && self.hijacked,
            stdout: instance.stdout,
            stderr: instance.stderr,
            ends_stdin: !terminal,
            keys: if terminal {
                Some(detach_keys(Some(&instance.detach_keys))?)
            } else {
                None
            },
        };
        if instance.request.open_stdin && !self.hijacked {
            session.close_stdin()?;
        }
        match talk(&mut session, client, terms)? {
            Ending::Detached => {
                let exec_id = &self.status.id;
                let detached = Happening::ExecDetached { exec_id };
                Ok(self
                    .engines
                    .take()?
                    .containers()
                    .tell(&self.status.container, detached)?)
            }
            Ending::Failed(error) => tell(client, &not_started(&error)),
            Ending::Left | Ending::Over => Ok(()),
        }
    }
}

/// Writes where output is expected why there is none, as Docker does.
fn tell(client: &mut dyn Client, why: &str) -> Result<(), Failure> {
    client.send(false, format!("{why}\r\n").as_bytes())?;
    Ok(flush(client)?)
}

/// Docker's words around why a process did not come about; clients look for some of them.
fn not_started(error: &StartError) -> String {
    format!(
        "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
        error.message
    )
}

/// `POST /exec/{id}/resize`.
fn resize(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (rows, columns) = size(exchange.query())?;
    let engine = exchange.engine()?;
    engine
        .containers()
        .resize_exec(exchange.parameter("id"), rows, columns)?;
    Ok(Reply::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`.
fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let engine = exchange.engine()?;
    let status = engine.containers().inspect_exec(exchange.parameter("id"))?;
    Reply::json(&ExecInspect::from(status))
}
