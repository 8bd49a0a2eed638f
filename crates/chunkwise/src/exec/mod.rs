//! Execution: threads take patches, or the leaves of one patch, fold them in the order of the plan, and hand
//! finished columns to a sink.
//!
//! The schedule decides only where whole leaves run: leaf states merge in order inside segments, and segments in
//! the tree of [`chunkwise_core::stat::tree`], so any number of threads gives the same bits.

mod cache;
mod leaf;

pub use cache::Counters;

use crate::chunk::{ChunkError, ChunkReader};
use crate::error::BoxError;
use crate::store::Store;
use cache::ChunkCache;
use chunkwise_core::expr::EvalError;
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::finish::{Finish, FinishError, finish, states_for};
use chunkwise_core::stat::state::State;
use chunkwise_core::stat::tree::{self, Node};
use chunkwise_core::values::Column;
use leaf::{LeafReader, LeafValues};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use thiserror::Error;

/// How a run goes.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Threads that read, decode and fold.
    pub threads: usize,
    /// Variances divide by n − ddof.
    pub ddof: u64,
    /// Least number of valid cells for which a sum is not missing.
    pub min_count: u64,
    /// Leaves of one patch that may be in work at once.
    pub window: usize,
    /// Set from outside to end the run.
    pub cancel: &'static AtomicBool,
}

/// Why a run ended early.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ExecError {
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error("`{name}`: {source}")]
    Finish { name: String, source: FinishError },
    #[error("interrupted")]
    Interrupted,
    #[error("cannot write the output")]
    Sink(#[source] BoxError),
}

/// Where finished columns go.
pub trait Sink: Sync {
    /// Takes the values of one statistic over a box of output cells, in C order.
    ///
    /// # Errors
    /// They cannot be kept.
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError>;
}

/// Drops everything: for measuring.
#[derive(Clone, Copy, Debug)]
pub struct NoSink;

impl Sink for NoSink {
    fn put(&self, _: usize, _: usize, _: &[(u64, u64)], _: Column) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Runs a stage: all patches, all segments.
///
/// # Errors
/// A chunk that cannot be read, a value that cannot be given, a sink that fails, or cancellation.
pub fn run(
    stage: &Stage,
    store: &Arc<dyn Store>,
    sink: &dyn Sink,
    counters: &Counters,
    options: &RunOptions,
) -> Result<(), ExecError> {
    let readers: Vec<ChunkReader> =
        stage.arrays.iter().map(|a| ChunkReader::new(a, store.clone())).collect::<Result<_, _>>()?;
    let cache = ChunkCache::new(stage);
    let job = Run { stage, readers: &readers, cache: &cache, counters, sink, options, stop: AtomicBool::new(false) };
    let patches = stage.patch_count();
    if patches >= 2 * options.threads as u64 || options.threads == 1 {
        job.by_patch(patches)
    } else {
        (0..patches).try_for_each(|p| job.by_leaf(p))
    }
}

struct Run<'a> {
    stage: &'a Stage,
    readers: &'a [ChunkReader],
    cache: &'a ChunkCache,
    counters: &'a Counters,
    sink: &'a dyn Sink,
    options: &'a RunOptions,
    stop: AtomicBool,
}

impl Run<'_> {
    fn check(&self) -> Result<(), ExecError> {
        match self.options.cancel.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed) {
            true => Err(ExecError::Interrupted),
            false => Ok(()),
        }
    }

    /// Runs `work` on every thread; the first error that is not a mere echo of another is given.
    fn on_threads(&self, work: impl Fn() -> Result<(), ExecError> + Sync) -> Result<(), ExecError> {
        let mut results = Vec::new();
        std::thread::scope(|scope| {
            let work = &work;
            let handles: Vec<_> = (0..self.options.threads)
                .map(|_| {
                    scope.spawn(move || {
                        let result = work();
                        if result.is_err() {
                            self.stop.store(true, Ordering::Relaxed);
                        }
                        result
                    })
                })
                .collect();
            for handle in handles {
                match handle.join() {
                    Ok(result) => results.push(result),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        let mut interrupted = Ok(());
        for result in results {
            match result {
                Err(ExecError::Interrupted) => interrupted = Err(ExecError::Interrupted),
                Err(other) => return Err(other),
                Ok(()) => {}
            }
        }
        interrupted
    }

    fn empty_states(&self, cells: usize) -> Vec<Vec<State>> {
        let most = self.stage.most_per_cell();
        self.stage
            .folded
            .iter()
            .map(|f| states_for(&f.statistics).0.into_iter().map(|k| State::empty(k, f.element, cells, most)).collect())
            .collect()
    }

    /// Each thread takes whole patches.
    fn by_patch(&self, patches: u64) -> Result<(), ExecError> {
        let next = AtomicU64::new(0);
        self.on_threads(|| {
            let mut reader = LeafReader::new(self.stage, self.readers, self.cache, self.counters);
            loop {
                let p = next.fetch_add(1, Ordering::Relaxed);
                if p >= patches {
                    return Ok(());
                }
                let patch = self.stage.patch_at(p);
                let intervals = self.stage.patch_intervals(&patch);
                let mut folding = Folding::new(self, &patch);
                for l in 0..self.stage.leaf_count(&intervals) {
                    self.check()?;
                    let leaf = self.stage.leaf_at(&intervals, l);
                    let values = reader.read(&leaf)?;
                    folding.fold(self, &leaf, &values)?;
                    self.counters.leaves.fetch_add(1, Ordering::Relaxed);
                }
                self.finish(&patch, folding)?;
            }
        })
    }

    /// The threads share one patch: leaves are read anywhere and folded in order.
    fn by_leaf(&self, p: u64) -> Result<(), ExecError> {
        let patch = self.stage.patch_at(p);
        let intervals = self.stage.patch_intervals(&patch);
        let leaves = self.stage.leaf_count(&intervals);
        let merge = Merge {
            state: Mutex::new((0u64, 0u64, BTreeMap::new())),
            folding: Mutex::new(Some(Folding::new(self, &patch))),
            moved: Condvar::new(),
        };
        // A leaf that folds many values into few cells is folded where it is read; its small state waits for its turn.
        let cells: u64 =
            self.stage.dims.iter().zip(&patch).map(|(d, &p)| d.patch_output(p).1 - d.patch_output(p).0).product();
        let leaf_cells: u64 = self.stage.dims.iter().map(|d| d.cuts.longest()).product();
        let small = cells.saturating_mul(16) <= leaf_cells;
        self.on_threads(|| {
            let mut reader = LeafReader::new(self.stage, self.readers, self.cache, self.counters);
            let result = self.leaves_of(&merge, &patch, &intervals, leaves, small, &mut reader);
            if result.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            merge.moved.notify_all();
            result
        })?;
        let folding = merge.folding.into_inner().unwrap_or_else(PoisonError::into_inner);
        match folding {
            Some(folding) => self.finish(&patch, folding),
            None => Ok(()),
        }
    }

    fn leaves_of(
        &self,
        merge: &Merge,
        patch: &[u64],
        intervals: &[(u64, u64)],
        leaves: u64,
        small: bool,
        reader: &mut LeafReader<'_>,
    ) -> Result<(), ExecError> {
        loop {
            let l = {
                let mut state = merge.state.lock().unwrap_or_else(PoisonError::into_inner);
                // The reorder window: leaves in work or waiting are at most `window`.
                while state.0 < leaves && state.0 - state.1 >= self.options.window as u64 {
                    self.check()?;
                    let wait = std::time::Duration::from_millis(50);
                    state = merge.moved.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                if state.0 >= leaves {
                    return Ok(());
                }
                state.0 += 1;
                state.0 - 1
            };
            self.check()?;
            let leaf = self.stage.leaf_at(intervals, l);
            let values = reader.read(&leaf)?;
            let ready = match small {
                false => Ready::Values(leaf, values),
                true => {
                    let map = self.stage.cell_map(patch, &leaf);
                    let mut states = self.empty_states(map.cells);
                    values.fold(self.stage, &leaf, &map, &mut states)?;
                    Ready::States(leaf, states)
                }
            };
            self.counters.leaves.fetch_add(1, Ordering::Relaxed);
            merge.state.lock().unwrap_or_else(PoisonError::into_inner).2.insert(l, ready);
            // Whoever finds the fold free folds all that is next in order.
            loop {
                let Ok(mut folding) = merge.folding.try_lock() else { break };
                let mut progressed = false;
                loop {
                    let ready = {
                        let mut state = merge.state.lock().unwrap_or_else(PoisonError::into_inner);
                        let turn = state.1;
                        state.2.remove(&turn)
                    };
                    let (Some(ready), Some(folding)) = (ready, folding.as_mut()) else { break };
                    match ready {
                        Ready::Values(leaf, values) => folding.fold(self, &leaf, &values)?,
                        Ready::States(leaf, states) => folding.append(self, &leaf, states),
                    }
                    merge.state.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
                    merge.moved.notify_all();
                    progressed = true;
                }
                drop(folding);
                // A leaf may have been left while the fold was still held here.
                let state = merge.state.lock().unwrap_or_else(PoisonError::into_inner);
                if !progressed && !state.2.contains_key(&state.1) {
                    break;
                }
            }
        }
    }

    /// Merges the segments of a patch and gives its columns to the sink.
    fn finish(&self, patch: &[u64], folding: Folding) -> Result<(), ExecError> {
        let region = self.stage.patch_output(patch);
        let shape: Vec<u64> = region.iter().map(|(a, b)| b - a).collect();
        let cells: u64 = shape.iter().product();
        let total = |i: usize| {
            let mut rest = i as u64;
            let mut cell = vec![0; shape.len()];
            for d in (0..shape.len()).rev() {
                cell[d] = region[d].0 + rest % shape[d];
                rest /= shape[d];
            }
            self.stage.values_in(&cell)
        };
        let states = folding.collapse(self, cells as usize);
        for (f, (folded, states)) in self.stage.folded.iter().zip(states).enumerate() {
            let (_, of) = states_for(&folded.statistics);
            let how = Finish { packing: folded.packing, ddof: self.options.ddof, min_count: self.options.min_count };
            for (s, &statistic) in folded.statistics.iter().enumerate() {
                let column = finish(statistic, &states[of[s]], how, &total)
                    .map_err(|source| ExecError::Finish { name: folded.name.clone(), source })?;
                self.sink.put(f, s, &region, column).map_err(ExecError::Sink)?;
            }
        }
        Ok(())
    }
}

/// Leaves that wait for their turn: next to hand out, next to fold, and those between.
struct Merge {
    state: Mutex<(u64, u64, BTreeMap<u64, Ready>)>,
    folding: Mutex<Option<Folding>>,
    moved: Condvar,
}

enum Ready {
    Values(Vec<u64>, LeafValues),
    States(Vec<u64>, Vec<Vec<State>>),
}

/// The states of a patch while its leaves are folded in order.
struct Folding {
    patch: Vec<u64>,
    /// Complete nodes.
    nodes: Vec<Node>,
    /// The segment in work.
    segment: Option<u64>,
    states: Vec<Vec<State>>,
    /// Whether all states may run on from segment to segment with the same bits.
    runs_on: bool,
    /// The map of the last leaf, kept while leaves have the same shape.
    map: Option<(Vec<u64>, chunkwise_core::stat::map::CellMap)>,
}

impl Folding {
    fn new(run: &Run<'_>, patch: &[u64]) -> Folding {
        let cells: u64 =
            run.stage.dims.iter().zip(patch).map(|(d, &p)| d.patch_output(p).1 - d.patch_output(p).0).product();
        let states = run.empty_states(cells as usize);
        let runs_on = states.iter().flatten().all(State::is_associative);
        Folding { patch: patch.to_vec(), nodes: Vec::new(), segment: None, states, runs_on, map: None }
    }

    /// Makes `leaf`'s segment the one in work.
    fn enter(&mut self, run: &Run<'_>, leaf: &[u64]) {
        let segment = if self.runs_on { 0 } else { run.stage.segment(leaf) };
        if let Some(done) = self.segment
            && done != segment
        {
            let cells = self.states.iter().flatten().next().map_or(0, |_| self.cells(run));
            let states = std::mem::replace(&mut self.states, run.empty_states(cells));
            let node = Node { level: 0, index: done, states: states.into_iter().flatten().collect() };
            tree::push(&mut self.nodes, node);
        }
        self.segment = Some(segment);
    }

    fn cells(&self, run: &Run<'_>) -> usize {
        run.stage
            .dims
            .iter()
            .zip(&self.patch)
            .map(|(d, &p)| (d.patch_output(p).1 - d.patch_output(p).0) as usize)
            .product()
    }

    fn fold(&mut self, run: &Run<'_>, leaf: &[u64], values: &LeafValues) -> Result<(), ExecError> {
        self.enter(run, leaf);
        if self.map.as_ref().is_none_or(|m| m.0 != leaf) {
            self.map = Some((leaf.to_vec(), run.stage.cell_map(&self.patch, leaf)));
        }
        match &self.map {
            Some((_, map)) => values.fold(run.stage, leaf, map, &mut self.states),
            None => Ok(()),
        }
    }

    fn append(&mut self, run: &Run<'_>, leaf: &[u64], states: Vec<Vec<State>>) {
        self.enter(run, leaf);
        for (mine, next) in self.states.iter_mut().flatten().zip(states.iter().flatten()) {
            mine.merge(next);
        }
    }

    /// The merged states.
    fn collapse(mut self, run: &Run<'_>, cells: usize) -> Vec<Vec<State>> {
        if !self.nodes.is_empty() {
            let states = std::mem::take(&mut self.states).into_iter().flatten().collect();
            tree::push(&mut self.nodes, Node { level: 0, index: self.segment.unwrap_or(0), states });
            let mut merged = tree::collapse(std::mem::take(&mut self.nodes)).unwrap_or_default().into_iter();
            self.states = run
                .empty_states(cells)
                .into_iter()
                .map(|group| group.into_iter().filter_map(|_| merged.next()).collect())
                .collect();
        }
        self.states
    }
}
