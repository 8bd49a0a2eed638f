//! The one runtime on which all requests of the process run, and what fetches ahead.
//!
//! Connections belong to the runtime that made them, so that all are made here, whoever asks.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// The runtime, and the process that made it.
static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

/// The runtime of this process, made at the first call.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn handle() -> io::Result<Handle> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match runtime.take() {
        Some((of, own)) if of == process => return Ok(runtime.insert((of, own)).1.handle().clone()),
        // A process that was forked has none of its parent's threads; to end the runtime would be to wait for them.
        Some((_, other)) => std::mem::forget(other),
        None => {}
    }
    let new = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .max_blocking_threads(8)
        .thread_name("chunkwise-net")
        .enable_all()
        .build()?;
    Ok(runtime.insert((process, new)).1.handle().clone())
}

/// Threads of the runtime: they only move bytes, and on few cores take turns with those that decode.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).clamp(1, 4))
}

/// Runs a future to its end while this thread waits: any thread may, those of other runtimes too.
#[cfg(feature = "cloud")]
pub(crate) fn wait<T: Send + 'static>(handle: &Handle, future: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    handle.spawn(async move {
        let _ = tell.send(future.await);
    });
    told.recv().expect("the runtime lives as long as the process, and requests do not panic")
}

/// Whether the caller runs on this runtime.
#[cfg(feature = "cloud")]
pub(crate) fn is_on(handle: &Handle) -> bool {
    Handle::try_current().is_ok_and(|own| own.id() == handle.id())
}

/// A task that ends when it is dropped.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn start(handle: &Handle, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(handle.spawn(future))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
