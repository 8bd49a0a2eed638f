//! Work without the interpreter's lock, which an interrupt ends.

use crate::errors::Told;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Between two looks for an interrupt.
const LOOK: Duration = Duration::from_millis(50);
/// How long work that was told to end may take: an output that was begun is removed. Then it is left to itself.
const PATIENCE: Duration = Duration::from_millis(800);

/// Flags that are no one's: as many are made as there are works at one time.
static FREE: Mutex<Vec<&'static AtomicBool>> = Mutex::new(Vec::new());

/// A flag that is set when work is to end; it is free for other work once no one holds it any more.
#[derive(Debug)]
struct Flag(&'static AtomicBool);

impl Flag {
    fn take() -> Flag {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let flag = free.unwrap_or_else(|| Box::leak(Box::new(AtomicBool::new(false))));
        flag.store(false, Ordering::Relaxed);
        Flag(flag)
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// What work is told, and tells.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    flag: Arc<Flag>,
    /// Parts done, and of how many.
    done: Arc<(AtomicU64, AtomicU64)>,
}

impl Watch {
    fn new() -> Watch {
        Watch { flag: Arc::new(Flag::take()), done: Arc::default() }
    }

    /// Set when the work is to end; to be read no longer than the watch lives.
    pub(crate) fn cancel(&self) -> &'static AtomicBool {
        self.flag.0
    }

    /// Says how far the work is.
    pub(crate) fn tell(&self, done: u64, of: u64) {
        self.done.0.store(done, Ordering::Relaxed);
        self.done.1.store(of, Ordering::Relaxed);
    }

    fn told(&self) -> (u64, u64) {
        (self.done.0.load(Ordering::Relaxed), self.done.1.load(Ordering::Relaxed))
    }
}

/// Where a result is left.
struct Slot<T> {
    result: Mutex<Option<std::thread::Result<Result<T, Told>>>>,
    came: Condvar,
}

/// Does `work` on a thread of its own and waits, with the interpreter free for others. An interrupt (`KeyboardInterrupt`
/// in the main thread) ends both. `progress` is called with the parts done and their number, again and again; what it
/// raises ends both too.
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
    };
    std::thread::Builder::new().name("chunkwise".to_owned()).spawn(run)?;
    let take = |most: Duration| {
        py.detach(|| {
            let guard = slot.result.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = slot.came.wait_timeout_while(guard, most, |result| result.is_none());
            waited.unwrap_or_else(PoisonError::into_inner).0.take()
        })
    };
    let look = || -> PyResult<()> {
        py.check_signals()?;
        match &progress {
            Some(progress) => progress.call1(py, watch.told()).map(|_| ()),
            None => Ok(()),
        }
    };
    let result = loop {
        if let Some(result) = take(LOOK) {
            break result;
        }
        if let Err(error) = look() {
            watch.cancel().store(true, Ordering::Relaxed);
            take(PATIENCE);
            return Err(error);
        }
    };
    if let Some(progress) = &progress {
        let (_, all) = watch.told();
        progress.call1(py, (all, all))?;
    }
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(told)) => Err(told.raise(py)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
