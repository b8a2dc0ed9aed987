//! The client's SSH agents, behind sockets that the builder connects to as to any agent.

use super::SolveError;
use super::sessions::Session;
use super::wire::ssh::{BytesMessage, CheckAgentRequest};
use engine::builder::Build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;

const METHOD: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
/// Agents' messages are smaller as a rule.
const PIECE: usize = 32 << 10;

/// Agents that can be had while this lives.
#[derive(Debug, Default)]
pub(super) struct Agents {
    directory: Option<PathBuf>,
    listening: Vec<AbortHandle>,
    /// Their sockets, by the names that Dockerfiles have.
    pub(super) sockets: BTreeMap<String, PathBuf>,
}

impl Drop for Agents {
    fn drop(&mut self) {
        for listening in &self.listening {
            listening.abort();
        }
        if let Some(directory) = &self.directory {
            // What is left is an empty socket in a directory that a reboot clears.
            sys::fs::remove_all(directory).unwrap_or_default();
        }
    }
}

/// Opens sockets for the agents that a build may want and the client has.
pub(super) async fn wanted(
    session: &Arc<Session>,
    build: &Build,
    run_root: &Path,
) -> Result<Agents, SolveError> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let mut agents = Agents::default();
    let outline = engine::builder::call::outline(build).unwrap_or_default();
    if outline.agents.is_empty() || !session.supports(METHOD) {
        return Ok(agents);
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let directory = run_root
        .join("agents")
        .join(format!("{}-{number}", std::process::id()));
    sys::fs::create_directories(&directory, 0o700)?;
    agents.directory = Some(directory.clone());
    for (number, (id, _)) in outline.agents.into_iter().enumerate() {
        let request = CheckAgentRequest { id: id.clone() };
        if session.agents().check_agent(request).await.is_err() {
            continue;
        }
        let path = directory.join(number.to_string());
        let listener =
            UnixListener::bind(&path).map_err(|error| sys::SysError::io("listen on", &path, &error))?;
        let (session, name) = (Arc::clone(session), id.clone());
        let task = Handle::current().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(Arc::clone(&session), name.clone(), stream));
            }
        });
        agents.listening.push(task.abort_handle());
        agents.sockets.insert(id, path);
    }
    Ok(agents)
}

/// Carries one conversation with an agent; either side's end is the end of it.
async fn forward(session: Arc<Session>, id: String, stream: UnixStream) {
    let (mut reads, mut writes) = stream.into_split();
    let (send, mut receive) = mpsc::channel::<BytesMessage>(4);
    let outgoing = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    let mut request = Request::new(outgoing);
    if let Ok(id) = MetadataValue::try_from(id) {
        request.metadata_mut().insert("buildkit.ssh.id", id);
    }
    let asking = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(length) = reads.read(&mut buffer).await {
            let data = buffer[..length].to_vec();
            if length == 0 || send.send(BytesMessage { data }).await.is_err() {
                break;
            }
        }
    };
    let answering = async move {
        // The other side says nothing, not even that it has taken the call, before it has been asked something.
        let Ok(answer) = session.agents().forward_agent(request).await else {
            return;
        };
        let mut incoming = answer.into_inner();
        while let Ok(Some(message)) = incoming.message().await {
            if writes.write_all(&message.data).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(asking, answering);
}
