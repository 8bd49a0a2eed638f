//! Progress of a job on a terminal, for jobs that last over a second.

use crate::args::Common;
use crate::call::{self, Progress};
use chunkwise::exec::Counters;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Jobs that end sooner show nothing.
const SILENT: Duration = Duration::from_secs(1);
/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(100);

/// Does `work`, of which `leaves` parts are counted in `counters`, and shows how far it is; in a call, tells the caller.
pub(crate) fn shown<T>(common: &Common, counters: &Counters, leaves: u64, work: impl FnOnce() -> T) -> T {
    match call::here(|call| call.progress.clone()) {
        Some(None) => work(),
        Some(Some(progress)) => watched(|done| tell(done, counters, leaves, &progress), work),
        None if common.quiet || !std::io::stderr().is_terminal() => work(),
        None => watched(|done| watch(done, counters, leaves), work),
    }
}

/// Does `work`, while `watch` runs on a thread of its own until it is told that the work is over.
fn watched<T>(watch: impl FnOnce(&AtomicBool) + Send, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&done));
        // Also where `work` panics: the scope waits for the watcher.
        let _told = Told(&done, watcher.thread());
        work()
    })
}

/// Tells the watcher that the work is over.
struct Told<'a>(&'a AtomicBool, &'a Thread);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

fn tell(done: &AtomicBool, counters: &Counters, leaves: u64, progress: &Progress) {
    while !done.load(Ordering::Relaxed) {
        progress(counters.leaves.load(Ordering::Relaxed), leaves);
        std::thread::park_timeout(LOOK);
    }
    progress(counters.leaves.load(Ordering::Relaxed), leaves);
}

fn watch(done: &AtomicBool, counters: &Counters, leaves: u64) {
    let began = Instant::now();
    let mut bar: Option<ProgressBar> = None;
    while !done.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK);
        if began.elapsed() < SILENT {
            continue;
        }
        let bar = bar.get_or_insert_with(|| {
            let bar =
                ProgressBar::with_draw_target(Some(leaves), ProgressDrawTarget::stderr()).with_elapsed(began.elapsed());
            let style =
                ProgressStyle::with_template("{wide_bar} {percent} %  {pos} of {len} chunks  {elapsed}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_position(counters.leaves.load(Ordering::Relaxed));
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
