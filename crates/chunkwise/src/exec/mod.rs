//! Execution: threads take patches, or the leaves of all patches in one stream, fold them in the order of the plan,
//! and hand finished columns to a sink.
//!
//! The schedule decides only where whole leaves run: leaf states merge in order inside segments, and segments in
//! the tree of [`chunkwise_core::stat::tree`], so any number of threads gives the same bits. The same holds where
//! patches or segments run as partitions of their own ([`run_partition`]) and are finished elsewhere ([`finish`]).

mod cache;
pub(crate) mod each;
mod feed;
mod fold;
mod leaf;
mod pool;
mod stream;
mod turns;
mod zones;

pub use cache::Counters;
pub use feed::Ahead;
pub use zones::{ZonalJob, ZoneTable, ZoneTiles, run_zones};

use crate::chunk::{ChunkError, ChunkReader};
use crate::error::BoxError;
use crate::store::{Access, Store};
use cache::Chunks;
use chunkwise_core::expr::EvalError;
use chunkwise_core::plan::partition::Partition;
use chunkwise_core::plan::schedule::{Sharing, Walk};
use chunkwise_core::plan::{FORMAT, Stage};
use chunkwise_core::stat::finish::{self as finishing, Finish, FinishError, states_for};
use chunkwise_core::stat::tree::{self, Node};
use chunkwise_core::values::Column;
use feed::Feed;
use fold::{Folding, empty_states};
use leaf::LeafReader;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use stream::Stream;
use thiserror::Error;
use turns::Turns;

/// How a run goes, whatever is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Variances divide by n − ddof.
    pub ddof: u64,
    /// Least number of valid cells for which a sum is not missing.
    pub min_count: u64,
    /// Set from outside to end the run.
    pub cancel: &'static AtomicBool,
}

impl Default for RunOptions {
    /// Variances divide by n, sums of nothing are missing, and nothing ends the run from outside.
    fn default() -> RunOptions {
        static NEVER: AtomicBool = AtomicBool::new(false);
        RunOptions { ddof: 0, min_count: 1, cancel: &NEVER }
    }
}

/// How one stage is run.
#[derive(Clone, Copy, Debug)]
pub struct StageSchedule<'a> {
    /// The order of patches, and what a thread takes.
    pub walk: &'a Walk,
    /// Threads that read, decode and fold.
    pub threads: usize,
    /// Leaves in work at once where threads share a stream.
    pub window: usize,
    /// Patches that may be in work past the first unfinished one; `None`: any.
    pub ahead: Option<u64>,
    /// How far chunks are fetched ahead, where the store is polled.
    pub fetch: Ahead,
    /// Bytes of the indexes of shards that are kept.
    pub index_bytes: u64,
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
    #[error("the plan is of format {found}; this version runs format {FORMAT}")]
    Format { found: u32 },
    #[error("states of another plan, or of another patch, are among those that are to be merged")]
    ForeignState,
    #[error("the system gives no thread to fetch with")]
    Threads(#[source] std::io::Error),
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
    schedule: StageSchedule<'_>,
) -> Result<(), ExecError> {
    run_to(stage, store, Outcome::Columns(sink), counters, options, schedule)
}

/// The nodes of some segments of one patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchStates {
    /// Index of the patch along each dimension.
    pub patch: Vec<u64>,
    /// The segments that were folded, as runs `from .. to` by absolute number, in order.
    pub segments: Vec<(u64, u64)>,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// Runs a stage, or those of its segments that it is cut to ([`Stage::segments`]), up to the states of each patch: to be
/// handed to [`finish`] with those of the other segments, in any order.
///
/// # Errors
/// As [`run`].
pub fn run_states(
    stage: &Stage,
    store: &Arc<dyn Store>,
    counters: &Counters,
    options: &RunOptions,
    schedule: StageSchedule<'_>,
) -> Result<Vec<PatchStates>, ExecError> {
    let states = Mutex::new(Vec::new());
    run_to(stage, store, Outcome::States(&states), counters, options, schedule)?;
    Ok(states.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What becomes of the states of a patch.
#[derive(Clone, Copy)]
enum Outcome<'a> {
    /// They are finished.
    Columns(&'a dyn Sink),
    /// They are kept.
    States(&'a Mutex<Vec<PatchStates>>),
}

fn run_to(
    stage: &Stage,
    store: &Arc<dyn Store>,
    ending: Outcome<'_>,
    counters: &Counters,
    options: &RunOptions,
    schedule: StageSchedule<'_>,
) -> Result<(), ExecError> {
    let readers = readers(stage, store, Some(schedule.index_bytes))?;
    let polled = store.access() == Access::Polled;
    let feed = match polled {
        true => Some(Feed::start(stage, &readers, schedule.walk, schedule.fetch)?),
        false => None,
    };
    let chunks = Chunks::new(stage, &readers, counters, options, feed);
    let turns = Turns::new(schedule.ahead);
    let job = Run { stage, chunks: &chunks, ending, options, walk: schedule.walk, schedule, turns: &turns };
    // What is fetched ahead comes in the order of one stream.
    match schedule.walk.sharing {
        Sharing::Patches if !polled => job.by_patch(),
        _ => job.by_stream(),
    }
}

/// Runs a partition on this thread: the nodes of its segments, to be handed to [`finish`] with those of the other
/// partitions of its patch, in any order.
///
/// # Errors
/// A chunk that cannot be read, or cancellation.
pub fn run_partition(
    stage: &Stage,
    partition: &Partition,
    store: &Arc<dyn Store>,
    counters: &Counters,
    options: &RunOptions,
) -> Result<Vec<Node>, ExecError> {
    let readers = readers(stage, store, None)?;
    let chunks = Chunks::new(stage, &readers, counters, options, None);
    let mut reader = LeafReader::new(&chunks);
    let mut folding = Folding::new(stage, &partition.patch);
    let intervals = stage.partition_intervals(partition);
    for l in 0..stage.leaf_count(&intervals) {
        if options.cancel.load(Ordering::Relaxed) {
            return Err(ExecError::Interrupted);
        }
        let leaf = stage.leaf_at(&intervals, l);
        folding.fold(stage, &leaf, &reader.read(&leaf)?)?;
        counters.leaves.fetch_add(1, Ordering::Relaxed);
    }
    Ok(folding.into_nodes())
}

/// Merges the nodes of a patch and gives its columns to the sink.
///
/// # Errors
/// States that are not of this plan's kind, a value that cannot be given, or a sink that fails.
pub fn finish(
    stage: &Stage,
    patch: &[u64],
    nodes: Vec<Node>,
    sink: &dyn Sink,
    options: &RunOptions,
) -> Result<(), ExecError> {
    let region = stage.patch_output(patch);
    let shape: Vec<u64> = region.iter().map(|(a, b)| b - a).collect();
    let cells: u64 = shape.iter().product();
    let total = |i: usize| {
        let mut rest = i as u64;
        let mut cell = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            cell[d] = region[d].0 + rest % shape[d];
            rest /= shape[d];
        }
        stage.values_in(&cell)
    };
    let served: Vec<_> = stage.folded.iter().map(|f| (f, states_for(&f.statistics, f.element, f.packing))).collect();
    let ours = |node: &Node| {
        let mut kinds = served.iter().flat_map(|(f, (kinds, _))| kinds.iter().map(|&kind| (kind, f.element)));
        node.states.iter().all(|s| kinds.next().is_some_and(|(kind, e)| s.is_of(kind, e, cells as usize)))
            && kinds.next().is_none()
    };
    if !nodes.iter().all(ours) {
        return Err(ExecError::ForeignState);
    }
    let mut merged = match tree::collapse(nodes) {
        Some(states) => states,
        None => empty_states(stage, cells as usize).into_iter().flatten().collect(),
    }
    .into_iter();
    for (f, (folded, (kinds, of))) in served.iter().enumerate() {
        let states: Vec<_> = merged.by_ref().take(kinds.len()).collect();
        let how = Finish { packing: folded.packing, ddof: options.ddof, min_count: options.min_count };
        for (s, &statistic) in folded.statistics.iter().enumerate() {
            let column = finishing::finish(statistic, &states[of[s]], how, &total)
                .map_err(|source| ExecError::Finish { name: folded.name.clone(), source })?;
            sink.put(f, s, &region, column).map_err(ExecError::Sink)?;
        }
    }
    Ok(())
}

fn readers(
    stage: &Stage,
    store: &Arc<dyn Store>,
    index_bytes: Option<u64>,
) -> Result<Vec<Arc<ChunkReader>>, ExecError> {
    if stage.format != FORMAT {
        return Err(ExecError::Format { found: stage.format });
    }
    let sharded = stage.arrays.iter().filter(|a| a.shards.is_some()).count() as u64;
    let reader = |array| -> Result<Arc<ChunkReader>, ExecError> {
        let reader = ChunkReader::new(array, store.clone())?;
        Ok(Arc::new(match index_bytes {
            Some(bytes) => reader.with_index_bytes(bytes / sharded.max(1)),
            None => reader,
        }))
    };
    stage.arrays.iter().map(reader).collect()
}

/// One stage in work.
struct Run<'a> {
    stage: &'a Stage,
    chunks: &'a Chunks<'a>,
    ending: Outcome<'a>,
    options: &'a RunOptions,
    walk: &'a Walk,
    schedule: StageSchedule<'a>,
    turns: &'a Turns,
}

impl Run<'_> {
    fn check(&self) -> Result<(), ExecError> {
        match self.chunks.ends() {
            true => Err(ExecError::Interrupted),
            false => Ok(()),
        }
    }

    fn count_leaf(&self) {
        self.chunks.counters.leaves.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `work` on every thread; the first error that is not a mere echo of another is given.
    fn on_threads(&self, work: impl Fn() -> Result<(), ExecError> + Sync) -> Result<(), ExecError> {
        let mut results = Vec::new();
        std::thread::scope(|scope| {
            let work = &work;
            let handles: Vec<_> = (0..self.schedule.threads)
                .map(|_| {
                    scope.spawn(move || {
                        let result = work();
                        if result.is_err() {
                            self.chunks.stop.store(true, Ordering::Relaxed);
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

    /// Each thread takes whole patches.
    fn by_patch(&self) -> Result<(), ExecError> {
        let patches = self.stage.patch_count();
        let next = AtomicU64::new(0);
        self.on_threads(|| {
            let mut reader = LeafReader::new(self.chunks);
            loop {
                let p = next.fetch_add(1, Ordering::Relaxed);
                if p >= patches {
                    return Ok(());
                }
                self.turns.wait(p, || self.check())?;
                let patch = self.stage.patch_at(&self.walk.order, p);
                let intervals = self.stage.patch_intervals(&patch);
                let mut folding = Folding::new(self.stage, &patch);
                for l in 0..self.stage.leaf_count(&intervals) {
                    self.check()?;
                    let leaf = self.stage.leaf_at(&intervals, l);
                    folding.fold(self.stage, &leaf, &reader.read(&leaf)?)?;
                    self.count_leaf();
                }
                self.finish(p, &patch, folding)?;
            }
        })
    }

    /// The threads share the leaves of all patches.
    fn by_stream(&self) -> Result<(), ExecError> {
        let stream = Stream::new(self.stage.patch_count());
        self.on_threads(|| {
            let result = stream.work(self, &mut LeafReader::new(self.chunks));
            if result.is_err() {
                self.chunks.stop.store(true, Ordering::Relaxed);
            }
            stream.wake();
            result
        })
    }

    /// Finishes the patch that is the `p`-th of the sweep.
    fn finish(&self, p: u64, patch: &[u64], folding: Folding) -> Result<(), ExecError> {
        let nodes = folding.into_nodes();
        match self.ending {
            Outcome::Columns(sink) => finish(self.stage, patch, nodes, sink, self.options)?,
            Outcome::States(all) => {
                let segments = self.stage.segments.into_iter().collect();
                let states = PatchStates { patch: patch.to_vec(), segments, nodes };
                all.lock().unwrap_or_else(PoisonError::into_inner).push(states);
            }
        }
        self.turns.done(p);
        Ok(())
    }
}
