//! The thread on which all network traffic runs. Callers block; only this thread knows of Tokio.

use crate::RegistryError;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How often it is looked whether anybody still wants what is under way.
const GLANCE: Duration = Duration::from_millis(50);

/// A thread with a single-threaded runtime. Dropping it ends every transfer and the thread.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. When `abandoned` becomes true, every transfer ends as if the thread were gone.
    pub(crate) fn start(abandoned: Option<Arc<AtomicBool>>) -> Result<Self, RegistryError> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(RegistryError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        // Ends when something is sent, and also when the sender is gone.
                        ended = stopped => ended.unwrap_or_default(),
                        () = becomes_true(abandoned) => {}
                    }
                });
                // A credential helper that waits for its user must not hold up the end of the process.
                runtime.shutdown_background();
            })
            .map_err(RegistryError::Thread)?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a future to its end and returns what it gives.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let (give, take) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let result = future.await;
            // The taker waits below for as long as this task lives, so there is always somebody to give it to.
            give.send(result).is_ok()
        });
        let result = take.recv();
        drop(task);
        result.unwrap_or_else(|mpsc::RecvError| Err(gone()))
    }

    /// Starts a future that goes on by itself until it ends or is aborted.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(future).abort_handle()
    }
}

async fn becomes_true(flag: Option<Arc<AtomicBool>>) {
    let Some(flag) = flag else {
        return std::future::pending().await;
    };
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then its callers have been told already that it is gone.
            thread.join().unwrap_or_default();
        }
    }
}

/// The error of a caller whose task vanished.
pub(crate) fn gone() -> RegistryError {
    RegistryError::Thread(io::Error::other("it ended before its answer came"))
}
