//! How far threads may run ahead: what a sink takes in order waits in memory until its turn.

use super::ExecError;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Patches by their number in the sweep: none begins too far past the first unfinished one.
pub(crate) struct Turns {
    ahead: Option<u64>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// The first unfinished patch, and finished ones past it.
    first: u64,
    done: BTreeSet<u64>,
}

impl Turns {
    /// Patches may be `ahead` of the first unfinished one; `None`: anywhere.
    pub(crate) fn new(ahead: Option<u64>) -> Turns {
        Turns { ahead, state: Mutex::default(), moved: Condvar::new() }
    }

    /// Whether patch `p` may begin.
    pub(crate) fn may_begin(&self, p: u64) -> bool {
        let first = || self.state.lock().unwrap_or_else(PoisonError::into_inner).first;
        self.ahead.is_none_or(|ahead| p < first().saturating_add(ahead))
    }

    /// Waits until patch `p` may begin; gives up with the error of `check`.
    pub(crate) fn wait(&self, p: u64, check: impl Fn() -> Result<(), ExecError>) -> Result<(), ExecError> {
        let Some(ahead) = self.ahead else { return Ok(()) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while p >= state.first.saturating_add(ahead) {
            check()?;
            let wait = Duration::from_millis(50);
            state = self.moved.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Patch `p` is finished.
    pub(crate) fn done(&self, p: u64) {
        if self.ahead.is_none() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.insert(p);
        let State { first, done } = &mut *state;
        while done.remove(first) {
            *first += 1;
        }
        self.moved.notify_all();
    }
}
