//! Numbered pieces of work on threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Does pieces `0 … count` on `threads` threads, each with a state of its own, until one fails.
///
/// # Errors
/// The first that a piece gives; pieces that had begun are done first.
pub(crate) fn each<S, E: Send>(
    count: u64,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, u64) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let run = || {
        let mut own = state();
        while !stop.load(Ordering::Relaxed) {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                break;
            }
            if let Err(e) = work(&mut own, piece) {
                stop.store(true, Ordering::Relaxed);
                return Err(e);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut result = run();
        for other in others {
            match other.join() {
                Ok(done) => result = result.and(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}
