//! Work without the interpreter's lock, which an interrupt ends.

use crate::errors::Told;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks for an interrupt.
const LOOK: Duration = Duration::from_millis(50);
/// How long work that was told to end may take: an output that was begun is removed. Then it is left to itself.
const PATIENCE: Duration = Duration::from_millis(800);

/// Flags that are no one's: as many are made as there are works at one time.
static FREE: Mutex<Vec<&'static AtomicBool>> = Mutex::new(Vec::new());

/// What work is told, and tells.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// Set when the work is to end.
    pub(crate) cancel: &'static AtomicBool,
    /// Parts done, and of how many.
    pub(crate) done: Arc<(AtomicU64, AtomicU64)>,
}

impl Watch {
    fn new() -> Watch {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let cancel = free.unwrap_or_else(|| Box::leak(Box::new(AtomicBool::new(false))));
        cancel.store(false, Ordering::Relaxed);
        Watch { cancel, done: Arc::default() }
    }

    /// Says how far the work is.
    pub(crate) fn tell(&self, done: u64, of: u64) {
        self.done.0.store(done, Ordering::Relaxed);
        self.done.1.store(of, Ordering::Relaxed);
    }
}

/// Where a result is left.
struct Slot<T> {
    result: Mutex<Option<std::thread::Result<Result<T, Told>>>>,
    came: Condvar,
}

/// Does `work` on a thread of its own and waits, with the interpreter free for others. An interrupt (`KeyboardInterrupt`
/// in the main thread) ends both. `progress` is called with the parts done and their number.
pub(crate) fn wait<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&Watch) -> Result<T, Told> + Send + 'static,
) -> PyResult<T> {
    let slot = Arc::new(Slot { result: Mutex::new(None), came: Condvar::new() });
    let watch = Watch::new();
    let (own, into) = (watch.clone(), slot.clone());
    let run = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&own)));
        *into.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        into.came.notify_all();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(own.cancel);
    };
    std::thread::Builder::new().name("chunkwise".to_owned()).spawn(run)?;
    let take = |most: Duration| {
        py.detach(|| {
            let guard = slot.result.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = slot.came.wait_timeout_while(guard, most, |result| result.is_none());
            waited.unwrap_or_else(PoisonError::into_inner).0.take()
        })
    };
    let mut told = (0, 0);
    let result = loop {
        if let Some(result) = take(LOOK) {
            break result;
        }
        let look = || -> PyResult<()> {
            py.check_signals()?;
            let now = (watch.done.0.load(Ordering::Relaxed), watch.done.1.load(Ordering::Relaxed));
            if now != told {
                told = now;
                if let Some(progress) = &progress {
                    progress.call1(py, now)?;
                }
            }
            Ok(())
        };
        if let Err(error) = {
            let mut look = look;
            look()
        } {
            watch.cancel.store(true, Ordering::Relaxed);
            let until = Instant::now() + PATIENCE;
            take(until.saturating_duration_since(Instant::now()));
            return Err(error);
        }
    };
    if let Some(progress) = &progress {
        let all = watch.done.1.load(Ordering::Relaxed);
        progress.call1(py, (all, all))?;
    }
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(told)) => Err(told.raise(py)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
