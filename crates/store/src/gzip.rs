//! gzip on all cores, and the same bytes whatever their number.
//!
//! The input is cut into blocks of one size; each is deflated on its own, with the end of the block before it as its
//! dictionary, up to a byte's boundary (`Z_SYNC_FLUSH`). Put one behind the other they are one stream, and one gzip
//! member (RFC 1952), as pigz makes it.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Changing this changes the bytes, and with them the digests of all layers that are pushed again.
const BLOCK: usize = 512 << 10;
/// As far as deflate looks back.
const WINDOW: usize = 32 << 10;
/// A push waits for the network or for this; past the fast levels a few per cent less cost several times the time.
const LEVEL: u32 = 3;
/// No name, no time, no system: the same content gives the same bytes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Threads that compress for whoever asks. Dropping it ends them.
#[derive(Debug)]
pub struct Gzip {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    index: usize,
    /// The end of what went before, and from `start` on the block itself.
    bytes: Vec<u8>,
    start: usize,
    is_last: bool,
    give: Sender<(usize, Packed)>,
}

#[derive(Debug)]
struct Packed {
    bytes: io::Result<Vec<u8>>,
    crc: Crc,
}

impl Gzip {
    /// Starts one thread per core.
    pub fn new() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = sync_channel::<Job>(cores);
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = (0..cores)
            .map(|_| {
                let waiting = Arc::clone(&waiting);
                std::thread::Builder::new()
                    .name("gzip".to_owned())
                    .spawn(move || work(&waiting))
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    /// Begins a compressed stream into `into`.
    pub fn stream<W: Write>(&self, mut into: W) -> io::Result<GzipStream<'_, W>> {
        into.write_all(&HEADER)?;
        let (give, take) = channel();
        Ok(GzipStream {
            gzip: self,
            into,
            pending: Vec::with_capacity(WINDOW + BLOCK),
            start: 0,
            sent: 0,
            written: 0,
            done: BTreeMap::new(),
            give,
            take,
            crc: Crc::new(),
        })
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            // One that panicked has told its stream by not answering.
            thread.join().unwrap_or_default();
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let mut crc = Crc::new();
        crc.update(&job.bytes[job.start..]);
        let bytes = pack(&mut deflate, &job);
        // The stream may have been given up.
        job.give
            .send((job.index, Packed { bytes, crc }))
            .unwrap_or_default();
    }
}

fn pack(deflate: &mut Compress, job: &Job) -> io::Result<Vec<u8>> {
    deflate.reset();
    if job.start > 0 {
        deflate
            .set_dictionary(&job.bytes[..job.start])
            .map_err(io::Error::other)?;
    }
    let mut input = &job.bytes[job.start..];
    let mut output = Vec::with_capacity(input.len() / 2 + 1024);
    let flush = if job.is_last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    loop {
        let before = deflate.total_in();
        let status = deflate
            .compress_vec(input, &mut output, flush)
            .map_err(io::Error::other)?;
        let used = usize::try_from(deflate.total_in() - before).map_err(io::Error::other)?;
        input = &input[used..];
        let is_full = output.len() == output.capacity();
        match status {
            Status::StreamEnd => return Ok(output),
            // Everything is out once there was room left over.
            _ if !job.is_last && input.is_empty() && !is_full => return Ok(output),
            _ => output.reserve(64 << 10),
        }
    }
}

/// What is written to it comes out compressed. [`GzipStream::finish`] ends it.
#[derive(Debug)]
pub struct GzipStream<'g, W> {
    gzip: &'g Gzip,
    into: W,
    /// The dictionary, and from `start` on what belongs to the next block.
    pending: Vec<u8>,
    start: usize,
    sent: usize,
    written: usize,
    done: BTreeMap<usize, Packed>,
    give: Sender<(usize, Packed)>,
    take: Receiver<(usize, Packed)>,
    crc: Crc,
}

impl<W: Write> GzipStream<'_, W> {
    fn send(&mut self, is_last: bool) -> io::Result<()> {
        let mut next = Vec::with_capacity(WINDOW + BLOCK);
        next.extend_from_slice(&self.pending[self.pending.len().saturating_sub(WINDOW)..]);
        let start = next.len();
        let job = Job {
            index: self.sent,
            bytes: std::mem::replace(&mut self.pending, next),
            start: std::mem::replace(&mut self.start, start),
            is_last,
            give: self.give.clone(),
        };
        self.sent += 1;
        let gone = || io::Error::other("the threads that compress are gone");
        self.gzip
            .jobs
            .as_ref()
            .ok_or_else(gone)?
            .send(job)
            .map_err(|_gone| gone())?;
        while let Ok((index, packed)) = self.take.try_recv() {
            self.done.insert(index, packed);
        }
        self.write_out()
    }

    fn write_out(&mut self) -> io::Result<()> {
        while let Some(packed) = self.done.remove(&self.written) {
            self.into.write_all(&packed.bytes?)?;
            self.crc.combine(&packed.crc);
            self.written += 1;
        }
        Ok(())
    }

    /// Ends the stream and returns what it was written into.
    pub fn finish(mut self) -> io::Result<W> {
        self.send(true)?;
        // Ours would keep the channel open for ever if a thread had died.
        let (mut unused, _) = channel();
        std::mem::swap(&mut self.give, &mut unused);
        drop(unused);
        while self.written < self.sent {
            let (index, packed) = self
                .take
                .recv()
                .map_err(|_gone| io::Error::other("a thread that compresses is gone"))?;
            self.done.insert(index, packed);
            self.write_out()?;
        }
        self.into.write_all(&self.crc.sum().to_le_bytes())?;
        self.into.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.into)
    }
}

impl<W: Write> Write for GzipStream<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = BLOCK - (self.pending.len() - self.start);
        let count = room.min(data.len());
        self.pending.extend_from_slice(&data[..count]);
        if count == room {
            self.send(false)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Where blocks end decides what comes out, so nothing ends one early.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Text, zeros and noise, as layers have them.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..length)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match at / 100_000 % 3 {
                    0 => b"the quick brown fox "[at % 20],
                    1 => 0,
                    _ => state.to_le_bytes()[3],
                }
            })
            .collect()
    }

    #[test]
    fn one_member_comes_out_that_inflates_to_the_same() {
        let gzip = Gzip::new().unwrap();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 12_345] {
            let content = content(length);
            let pack = |step: usize| {
                let mut stream = gzip.stream(Vec::new()).unwrap();
                for piece in content.chunks(step) {
                    stream.write_all(piece).unwrap();
                }
                stream.finish().unwrap()
            };
            let packed = pack(7777);
            assert_eq!(packed, pack(BLOCK * 2), "{length}: the pieces do not matter");
            let mut inflated = Vec::new();
            // This one reads a single member and checks length and sum.
            let mut decoder = flate2::bufread::GzDecoder::new(&packed[..]);
            decoder.read_to_end(&mut inflated).unwrap();
            assert!(inflated == content, "{length}");
            assert!(decoder.into_inner().is_empty(), "{length}: nothing follows");
        }
    }

    #[test]
    fn a_failing_output_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                if data == HEADER {
                    Ok(data.len())
                } else {
                    Err(io::ErrorKind::StorageFull.into())
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let gzip = Gzip::new().unwrap();
        let mut stream = gzip.stream(Full).unwrap();
        let written = stream.write_all(&content(BLOCK));
        let ended = written.and_then(|()| stream.finish().map(drop));
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
