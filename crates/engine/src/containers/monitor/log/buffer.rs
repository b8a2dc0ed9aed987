//! `mode=non-blocking`: output waits in memory for a thread that writes it, and is dropped when too much waits. The
//! container never waits for its log.

use super::Writer;
use crate::containers::logs::Source;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A journal that does not answer at all is given up at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the thread waits for a journal before it looks whether it is the end.
const GLANCE: Duration = Duration::from_secs(1);

/// Output between a container and its log.
#[derive(Debug)]
pub(in crate::containers::monitor) struct Buffer {
    limit: u64,
    shared: Arc<Shared>,
    /// Nobody else has it while there is no thread.
    idle: Option<Box<Writer>>,
    thread: Option<JoinHandle<Box<Writer>>>,
    /// Of each stream: what comes up to the next newline belongs to a line of which a part was dropped.
    torn: [bool; 2],
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: u64,
    ended: Option<i64>,
}

#[derive(Debug)]
enum Waiting {
    Output(Source, Vec<u8>, i64),
    /// So many bytes are missing here.
    Lost(u64, i64),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    pub(super) fn new(writer: Box<Writer>, limit: u64) -> Self {
        Self {
            limit,
            shared: Arc::default(),
            idle: Some(writer),
            thread: None,
            torn: [false; 2],
        }
    }

    pub(super) fn add(&mut self, source: Source, bytes: &[u8], now: i64) {
        if let Some(writer) = self.idle.take() {
            let shared = Arc::clone(&self.shared);
            let cell = Arc::new(Mutex::new(Some(writer)));
            let theirs = Arc::clone(&cell);
            let thread = std::thread::Builder::new()
                .name("coracle-log".into())
                .stack_size(256 << 10)
                .spawn(move || work(&shared, &theirs));
            match thread {
                Ok(thread) => self.thread = Some(thread),
                // Without a thread it is written at once.
                Err(_no_thread) => {
                    self.idle = cell.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(writer) = &mut self.idle {
                        writer.add(source, bytes, now);
                    }
                    return;
                }
            }
        }
        let mut queue = self.shared.lock();
        let torn = &mut self.torn[source as usize];
        let mut wanted = bytes;
        let mut lost = 0;
        if *torn {
            let end = memchr::memchr(b'\n', bytes);
            *torn = end.is_none();
            wanted = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
            lost = (bytes.len() - wanted.len()) as u64;
        }
        if queue.bytes + wanted.len() as u64 > self.limit {
            lost += wanted.len() as u64;
            *torn = wanted.last() != Some(&b'\n');
            wanted = &[];
        }
        if lost > 0 {
            match queue.waiting.back_mut() {
                Some(Waiting::Lost(so_far, _)) => *so_far += lost,
                _ => queue.waiting.push_back(Waiting::Lost(lost, now)),
            }
        }
        if !wanted.is_empty() {
            queue.bytes += wanted.len() as u64;
            queue
                .waiting
                .push_back(Waiting::Output(source, wanted.to_vec(), now));
        }
    }

    /// Lets the thread know of what was added.
    pub(super) fn wake(&mut self) {
        match &mut self.idle {
            Some(writer) => writer.flush(),
            None => self.shared.more.notify_one(),
        }
    }

    /// Writes all that waits, and ends the thread.
    pub(super) fn finish(&mut self, now: i64) {
        if let Some(thread) = self.thread.take() {
            self.shared.lock().ended = Some(now);
            self.shared.more.notify_one();
            // A panic in there has taken the log with it.
            self.idle = thread.join().ok();
            *self.shared.lock() = Queue::default();
        }
        self.torn = [false; 2];
        if let Some(writer) = &mut self.idle {
            writer.finish(now);
        }
    }
}

fn work(shared: &Shared, writer: &Mutex<Option<Box<Writer>>>) -> Box<Writer> {
    let mut writer = loop {
        if let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            break writer;
        }
    };
    loop {
        let mut queue = shared.lock();
        while queue.waiting.is_empty() && queue.ended.is_none() {
            queue = shared.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let ended = queue.ended.is_some();
        let Some(next) = queue.waiting.pop_front() else {
            return writer;
        };
        if let Waiting::Output(_, bytes, _) = &next {
            queue.bytes -= bytes.len() as u64;
        }
        let last = queue.waiting.is_empty();
        drop(queue);
        match next {
            Waiting::Output(source, bytes, time) => writer.add(source, &bytes, time),
            Waiting::Lost(bytes, time) => writer.lose(bytes, time),
        }
        if last {
            writer.flush();
            writer.cool();
        }
        if writer.waits_for().is_some() {
            writer.wait(if ended { FAREWELL } else { GLANCE });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{plan, read};
    use super::super::{Log, LogPlan};
    use super::*;

    #[test]
    fn what_waits_is_written_and_what_is_too_much_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let plan = LogPlan {
            buffer: Some(20),
            ..plan(&path)
        };
        let Log::Buffered(mut buffer) = Log::open(&plan).unwrap() else {
            panic!("not buffered");
        };
        // The thread cannot come to it while we hold this.
        let shared = Arc::clone(&buffer.shared);
        buffer.add(Source::Stdout, b"first\n", 0);
        buffer.wake();
        while !shared.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        {
            // Its place is taken by one that never works, so that nothing is taken out.
            let writer = {
                shared.lock().ended = Some(0);
                shared.more.notify_one();
                buffer.thread.take().unwrap().join().unwrap()
            };
            *shared.lock() = Queue::default();
            let (shared, ready) = (Arc::clone(&shared), Arc::new(Mutex::new(())));
            let (gate, theirs) = (ready.lock().unwrap(), Arc::clone(&ready));
            buffer.thread = Some(std::thread::spawn(move || {
                drop(theirs.lock());
                work(&shared, &Mutex::new(Some(writer)))
            }));
            buffer.add(Source::Stdout, b"0123456789\nabc", 0);
            buffer.add(Source::Stdout, b"defghi\n", 0);
            buffer.add(Source::Stderr, b"err\n", 0);
            buffer.add(Source::Stdout, b"rest of it", 0);
            buffer.add(Source::Stdout, b"\nx\n", 0);
            drop(gate);
        }
        buffer.finish(0);
        let lines: Vec<_> = read(&path).into_iter().map(|(line, _)| line).collect();
        assert_eq!(
            lines,
            [
                "first\n",
                "0123456789\n",
                "abc\n",
                "[7 bytes of output were lost: the log was slower than the container]\n",
                "err\n",
                "[11 bytes of output were lost: the log was slower than the container]\n",
                "x\n"
            ]
        );
        assert!(buffer.thread.is_none());
        buffer.add(Source::Stdout, b"again\n", 0);
        buffer.finish(0);
        assert_eq!(read(&path).pop().unwrap().0, "again\n");
    }
}
