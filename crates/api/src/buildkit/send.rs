//! Results for the client: a stream of bytes, or a directory by fsutil's protocol, whose sending end this is.

use super::SolveError;
use super::outputs::Delivery;
use super::receive::to_go;
use super::sessions::Session;
use super::wire::filesync::{BytesMessage, Packet, PacketType, Stat};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

/// The call for both.
const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// So many bytes go in one message.
const PIECE: usize = 1 << 20;
/// So many messages wait for a client that is slow.
const WAITING: usize = 4;

fn supported(session: &Session) -> Result<(), SolveError> {
    if session.supports(METHOD) {
        return Ok(());
    }
    Err(SolveError::Invalid(
        "the client's session takes no results".to_owned(),
    ))
}

fn number_of<T>(request: &mut Request<T>, output: usize) {
    if let Ok(number) = MetadataValue::try_from(output.to_string()) {
        request
            .metadata_mut()
            .insert("buildkit-attachable-exporter-id", number);
    }
}

/// Sends what `write` writes.
pub(super) fn stream(
    delivery: &Delivery<'_>,
    session: &Arc<Session>,
    output: usize,
    described: &BTreeMap<&'static str, String>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SolveError>,
) -> Result<(), SolveError> {
    supported(session)?;
    let (send, mut receive) = mpsc::channel::<BytesMessage>(WAITING);
    let outgoing = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    let mut request = Request::new(outgoing);
    number_of(&mut request, output);
    for (key, value) in described {
        let key = tonic::metadata::MetadataKey::from_bytes(format!("exporter-md-{key}").as_bytes());
        if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
            request.metadata_mut().insert(key, value);
        }
    }
    let mut client = session.streams();
    // The client says nothing before it has everything.
    let call = delivery.workshop.runtime.spawn(async move {
        let mut incoming = client.diff_copy(request).await?.into_inner();
        while incoming.message().await?.is_some() {}
        Ok::<(), tonic::Status>(())
    });
    let mut pieces = Pieces {
        send,
        cancelled: delivery.cancelled,
    };
    let written = {
        let mut buffered = io::BufWriter::with_capacity(PIECE, &mut pieces);
        write(&mut buffered).and_then(|()| buffered.flush().map_err(|error| broken(&error)))
    };
    drop(pieces);
    if written.is_err() && !call.is_finished() {
        // Half a result must not look whole.
        call.abort();
    }
    match (delivery.workshop.wait(delivery.cancelled, call)?, written) {
        // The client's reason is better than that its pipe broke.
        (Ok(Err(status)), _) if status.code() != Code::Ok => Err(status.into()),
        (_, Err(error)) => Err(error),
        (Err(_), Ok(())) => Err(SolveError::Invalid("the result was not sent".to_owned())),
        (Ok(_), Ok(())) => Ok(()),
    }
}

fn broken(error: &io::Error) -> SolveError {
    SolveError::Invalid(format!("cannot send the result: {error}"))
}

/// Makes messages of what is written.
struct Pieces<'c> {
    send: mpsc::Sender<BytesMessage>,
    cancelled: &'c AtomicBool,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::SeqCst) {
            return Err(io::Error::other("the build was cancelled"));
        }
        let length = bytes.len().min(PIECE);
        let message = BytesMessage {
            data: bytes[..length].to_vec(),
        };
        self.send
            .blocking_send(message)
            .ok()
            .ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends all that is in a directory of ours.
pub(super) async fn directory(session: &Session, output: usize, from: &Path) -> Result<(), SolveError> {
    supported(session)?;
    let mut files = Vec::new();
    list(from, Path::new(""), &mut files).map_err(|error| sys::SysError::io("list", from, &error))?;
    let (send, mut receive) = mpsc::channel::<Packet>(WAITING);
    let outgoing = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    let mut request = Request::new(outgoing);
    number_of(&mut request, output);
    let (wants, mut wanted) = mpsc::unbounded_channel::<Option<u32>>();
    let mut client = session.directories();
    let hearing = async move {
        let mut incoming = client.diff_copy(request).await?.into_inner();
        while let Some(packet) = incoming.message().await? {
            let want = match packet.r#type() {
                PacketType::PacketReq => Some(packet.id),
                PacketType::PacketFin => None,
                PacketType::PacketErr => {
                    let why = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(SolveError::Invalid(format!("error from receiver: {why}")));
                }
                PacketType::PacketStat | PacketType::PacketData => continue,
            };
            // Whoever tells has ended only when all is told.
            wants.send(want).unwrap_or_default();
        }
        Ok(())
    };
    let telling = async {
        for (_, stat) in &files {
            tell(&send, PacketType::PacketStat, 0, Some(stat.clone()), Vec::new()).await?;
        }
        tell(&send, PacketType::PacketStat, 0, None, Vec::new()).await?;
        while let Some(Some(id)) = wanted.recv().await {
            let path = usize::try_from(id).ok().and_then(|id| files.get(id));
            let Some((path, _)) = path else {
                return Err(SolveError::Invalid(format!("invalid file id {id}")));
            };
            contents(&send, id, path).await?;
        }
        tell(&send, PacketType::PacketFin, 0, None, Vec::new()).await?;
        drop(send);
        Ok(())
    };
    let (heard, told) = tokio::join!(hearing, telling);
    heard?;
    told
}

async fn contents(send: &mpsc::Sender<Packet>, id: u32, path: &Path) -> Result<(), SolveError> {
    let failed = |error: &io::Error| SolveError::from(sys::SysError::io("read", path, error));
    let mut file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    loop {
        let mut piece = Vec::new();
        (&mut file)
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .map_err(|error| failed(&error))?;
        let is_end = piece.is_empty();
        tell(send, PacketType::PacketData, id, None, piece).await?;
        if is_end {
            return Ok(());
        }
    }
}

async fn tell(
    send: &mpsc::Sender<Packet>,
    kind: PacketType,
    id: u32,
    stat: Option<Stat>,
    data: Vec<u8>,
) -> Result<(), SolveError> {
    let packet = Packet {
        r#type: kind.into(),
        stat,
        id,
        data,
    };
    let gone = |_| SolveError::Invalid("the client takes no more of the result".to_owned());
    send.send(packet).await.map_err(gone)
}

/// Lists a directory as the protocol wants it: each one's names in order, and what is in a directory right behind it.
fn list(root: &Path, below: &Path, files: &mut Vec<(PathBuf, Stat)>) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join(below))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let relative = below.join(name);
        let path = root.join(&relative);
        let metadata = std::fs::symlink_metadata(&path)?;
        let kind = FileType::from_raw_mode(metadata.mode());
        let is_device = metadata.file_type().is_block_device() || metadata.file_type().is_char_device();
        let device = if is_device { metadata.rdev() } else { 0 };
        let linkname = if kind == FileType::Symlink {
            std::fs::read_link(&path)?.to_string_lossy().into_owned()
        } else {
            String::new()
        };
        let stat = Stat {
            path: relative.to_string_lossy().into_owned(),
            mode: to_go(kind, metadata.mode()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: if kind == FileType::RegularFile {
                metadata.size().cast_signed()
            } else {
                0
            },
            mod_time: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            linkname,
            devmajor: rustix::fs::major(device).into(),
            devminor: rustix::fs::minor(device).into(),
            ..Stat::default()
        };
        files.push((path, stat));
        if kind == FileType::Directory {
            list(root, &relative, files)?;
        }
    }
    Ok(())
}
