//! Threads share one stream of leaves, patch after patch: each leaf is read wherever a thread is free, and folded into
//! its patch when all leaves before it have been.

use super::fold::{Folding, empty_states};
use super::leaf::{LeafReader, LeafValues};
use super::{ExecError, Run};
use chunkwise_core::stat::state::State;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The leaves of all patches, in the order of the sweep.
pub(crate) struct Stream {
    next: Mutex<Next>,
    moved: Condvar,
}

/// What is handed out next.
struct Next {
    patches: u64,
    /// Number of the next patch to open.
    patch: u64,
    open: Option<(Arc<Patch>, u64)>,
    /// Leaves that are handed out and not folded.
    in_work: usize,
}

/// A patch whose leaves are in work.
struct Patch {
    /// Its number in the sweep.
    number: u64,
    index: Vec<u64>,
    intervals: Vec<(u64, u64)>,
    leaves: u64,
    /// Whether leaves are folded where they are read, into small states that wait for their turn.
    small: bool,
    /// The next leaf to fold, and those that wait.
    ready: Mutex<(u64, BTreeMap<u64, Ready>)>,
    folding: Mutex<Option<Folding>>,
}

enum Ready {
    Values(Vec<u64>, LeafValues),
    States(Vec<u64>, Vec<Vec<State>>),
}

impl Stream {
    pub(crate) fn new(patches: u64) -> Stream {
        let next = Next { patches, patch: 0, open: None, in_work: 0 };
        Stream { next: Mutex::new(next), moved: Condvar::new() }
    }

    /// Works until nothing is left.
    pub(crate) fn work(&self, run: &Run<'_>, reader: &mut LeafReader<'_>) -> Result<(), ExecError> {
        while let Some((patch, l)) = self.take(run)? {
            run.check()?;
            let leaf = run.stage.leaf_at(&patch.intervals, l);
            let values = reader.read(&leaf)?;
            let ready = match patch.small {
                false => Ready::Values(leaf, values),
                true => {
                    let map = run.stage.cell_map(&patch.index, &leaf);
                    let mut states = empty_states(run.stage, map.cells);
                    values.fold(run.stage, &leaf, &map, &mut states)?;
                    Ready::States(leaf, states)
                }
            };
            run.count_leaf();
            patch.ready.lock().unwrap_or_else(PoisonError::into_inner).1.insert(l, ready);
            self.fold(run, &patch)?;
        }
        Ok(())
    }

    /// Wakes those that wait: to be called when a thread ends.
    pub(crate) fn wake(&self) {
        self.moved.notify_all();
    }

    /// The next leaf, once fewer than the window are in work.
    fn take(&self, run: &Run<'_>) -> Result<Option<(Arc<Patch>, u64)>, ExecError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if next.open.is_none() {
                if next.patch == next.patches {
                    return Ok(None);
                }
                if run.turns.may_begin(next.patch) {
                    let patch = Arc::new(Patch::new(run, next.patch));
                    next.patch += 1;
                    match patch.leaves {
                        // Nothing folds into it: it is finished as it is.
                        0 => run.finish(patch.number, &patch.index, Folding::new(run.stage, &patch.index))?,
                        _ => next.open = Some((patch, 0)),
                    }
                    continue;
                }
            } else if next.in_work < run.schedule.window {
                break;
            }
            run.check()?;
            next = self.moved.wait_timeout(next, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner).0;
        }
        next.in_work += 1;
        let Some((patch, l)) = next.open.take() else { return Ok(None) };
        if l + 1 < patch.leaves {
            next.open = Some((patch.clone(), l + 1));
        }
        Ok(Some((patch, l)))
    }

    /// Folds all leaves of a patch whose turn it is, unless another thread does.
    fn fold(&self, run: &Run<'_>, patch: &Patch) -> Result<(), ExecError> {
        loop {
            let Ok(mut folding) = patch.folding.try_lock() else { return Ok(()) };
            loop {
                let ready = {
                    let mut waiting = patch.ready.lock().unwrap_or_else(PoisonError::into_inner);
                    let turn = waiting.0;
                    waiting.1.remove(&turn)
                };
                let (Some(ready), Some(states)) = (ready, folding.as_mut()) else { break };
                match ready {
                    Ready::Values(leaf, values) => states.fold(run.stage, &leaf, &values)?,
                    Ready::States(leaf, more) => states.append(run.stage, &leaf, more),
                }
                self.next.lock().unwrap_or_else(PoisonError::into_inner).in_work -= 1;
                self.moved.notify_one();
                let mut waiting = patch.ready.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.0 += 1;
                if waiting.0 == patch.leaves {
                    drop(waiting);
                    return match folding.take() {
                        Some(done) => {
                            run.finish(patch.number, &patch.index, done)?;
                            self.wake();
                            Ok(())
                        }
                        None => Ok(()),
                    };
                }
            }
            drop(folding);
            // A leaf may have come while the fold was still held here.
            let waiting = patch.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.1.contains_key(&waiting.0) {
                return Ok(());
            }
        }
    }
}

impl Patch {
    fn new(run: &Run<'_>, p: u64) -> Patch {
        let stage = run.stage;
        let index = stage.patch_at(&run.walk.order, p);
        let intervals = stage.patch_intervals(&index);
        let leaf_cells: u64 = stage.dims.iter().map(|d| d.cuts.longest()).product();
        Patch {
            number: p,
            leaves: stage.leaf_count(&intervals),
            small: stage.patch_cells(&index).saturating_mul(16) <= leaf_cells,
            folding: Mutex::new(Some(Folding::new(stage, &index))),
            ready: Mutex::default(),
            intervals,
            index,
        }
    }
}
