//! `attach`: a container's streams, whether it runs already or will be started by somebody.

use super::client::{Client, Hijacked, Reader};
use super::talk::{Ending, Terms, flush, talk};
use super::{detach_keys, wants_to_hijack};
use crate::server::reply::{Head, MULTIPLEXED, RAW};
use crate::server::{ApiVersion, Engines, Exchange, Failure, Reply};
use engine::containers::attach::{Coming, Happening};
use engine::containers::logs::{LogEvent, LogStream};
use engine::containers::record::ContainerId;
use engine::containers::request::LogRequest;
use engine::containers::session::SessionEvent;
use std::sync::Arc;

/// From this version on the content type tells whether output is multiplexed.
const TYPED: ApiVersion = ApiVersion::new(42);

/// An attachment that is prepared: nothing that the container writes from now on is missed.
pub(super) struct Attachment {
    engines: Arc<Engines>,
    id: ContainerId,
    /// The live streams.
    coming: Option<Coming>,
    /// What it wrote before.
    log: Option<LogStream>,
    terms: Terms,
    pub(super) multiplexed: bool,
}

/// `POST /containers/{id}/attach`.
pub(super) fn attach(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let hijack = wants_to_hijack(exchange);
    let mut attachment = prepare(exchange)?;
    let multiplexed = attachment.multiplexed;
    let kind = content_type(exchange.version(), multiplexed);
    if hijack {
        return Ok(Reply::Hijack(
            kind,
            Box::new(move |conversation| {
                let mut client = Hijacked::new(conversation, multiplexed);
                // What breaks here is the client's connection or the monitor's, and either side has seen it.
                attachment.serve(&mut client).unwrap_or_default();
                client.part();
            }),
        ));
    }
    attachment.terms.stdin = false;
    Ok(Reply::Stream(
        Head::ok(kind),
        Box::new(move |outlet| {
            outlet.begin()?;
            attachment.serve(&mut Reader::new(outlet, multiplexed))
        }),
    ))
}

/// Returns the content type of a process's output.
pub(in crate::operations) fn content_type(version: ApiVersion, multiplexed: bool) -> &'static str {
    if multiplexed && version >= TYPED {
        MULTIPLEXED
    } else {
        RAW
    }
}

/// Attaches as the query says.
pub(super) fn prepare(exchange: &Exchange) -> Result<Attachment, Failure> {
    let query = exchange.query();
    let keys = detach_keys(query.get("detachKeys"))?;
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(exchange.parameter("id"))?;
    let settings = containers.inspect(&id, false)?.settings.request;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    let log = if query.flag("logs") {
        let request = LogRequest {
            stdout,
            stderr,
            ..LogRequest::default()
        };
        Some(containers.open_logs(&id, &request)?)
    } else {
        None
    };
    let coming = if query.flag("stream") {
        Some(containers.attach_early(&id)?)
    } else {
        None
    };
    Ok(Attachment {
        engines: exchange.engines(),
        id,
        coming,
        log,
        terms: Terms {
            stdin: query.flag("stdin") && settings.open_stdin,
            stdout,
            stderr,
            ends_stdin: settings.stdin_once && !settings.terminal,
            keys: settings.terminal.then_some(keys),
        },
        multiplexed: !settings.terminal,
    })
}

impl Attachment {
    /// Serves a client to the end. What fails here is told nobody: the response has begun.
    pub(super) fn serve(self, client: &mut dyn Client) -> Result<(), Failure> {
        let Self {
            engines,
            id,
            coming,
            mut log,
            terms,
            ..
        } = self;
        if let Some(log) = log.take_if(|_| coming.as_ref().is_none_or(|coming| !coming.is_here())) {
            replay(log, client)?;
        }
        let Some(coming) = coming else {
            return Ok(());
        };
        let Some(mut session) = coming.wait(client.descriptor())? else {
            return Ok(());
        };
        if let Some(mut log) = log {
            // It says from when on we hear of output ourselves.
            if !matches!(session.next()?, Some(SessionEvent::Started)) {
                return Ok(());
            }
            if let Some(begun) = session.begun() {
                log.end_before(begun);
            }
            replay(log, client)?;
        }
        if matches!(talk(&mut session, client, terms)?, Ending::Detached) {
            engines.take()?.containers().tell(&id, Happening::Detached)?;
        }
        Ok(())
    }
}

/// Sends what a log has, at the client's pace.
fn replay(log: LogStream, client: &mut dyn Client) -> Result<(), Failure> {
    let mut broken = None;
    log.read(None, &mut |event| {
        let LogEvent::Entry(entry) = event else {
            return true;
        };
        let sent = client
            .send(entry.stderr, entry.bytes)
            .and_then(|()| flush(client));
        sent.map_err(|error| broken = Some(error)).is_ok()
    })?;
    broken.map_or(Ok(()), |error| Err(error.into()))
}
