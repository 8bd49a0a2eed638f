//! How a request is run within its memory, and what it will cost.

use super::room::{Room, Way};
use super::{JobError, MOST_ROWS, Prepared, keeps_stored};
use crate::chunk::ChunkReader;
use crate::exec::{self, Ahead, Counters, ExecError, NoSink, RunOptions, Sink, StageSchedule};
use crate::memory;
use crate::open::OpenCube;
use crate::sink::anomaly::AnomalySink;
use crate::sink::memory::MemorySink;
use crate::sink::offset::OffsetSink;
use crate::store::Access;
use chunkwise_core::cube::Packing;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::cost::Cost;
use chunkwise_core::plan::fetch::Prices;
use chunkwise_core::plan::schedule::{Allowance, Fetch, Redecode, Schedule, Target, schedule};
use serde::Serialize;
use thiserror::Error;

/// Bytes of a cell of a table: its name, its value, its text. Measured: 99,000 rows of 16 columns take 290 a cell.
pub(super) const TABLE_CELL: u64 = 320;
/// What the indexes of shards take beside their entries.
const INDEX_SLACK: u64 = 1 << 20;
/// Leaves of a stage whose requests are told one by one; of more, the most that there can be.
const TOLD: u64 = 1 << 20;

/// What a job may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Peak resident bytes of the process.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
    /// Whether chunks may be decoded any number of times.
    pub redecode: Redecode,
    /// What requests and bytes cost.
    pub prices: Prices,
}

impl Default for Limits {
    /// [`memory::default_limit`], and all processors.
    fn default() -> Limits {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Limits { memory: memory::default_limit(), threads, redecode: Redecode::Bounded, prices: Prices::default() }
    }
}

/// A request that fits its limits.
#[derive(Clone, Debug)]
pub struct Planned {
    /// How each chain of the request runs.
    pub schedules: Vec<Schedule>,
    /// Peak resident bytes that the process is projected to take.
    pub memory: u64,
    /// Room for chunks that are fetched ahead, and what is read between them; nothing where the store answers at once.
    pub fetch: Ahead,
    /// Bytes of the indexes of shards that are kept.
    pub index_bytes: u64,
    /// Room for chunks on their way to where they are written; nothing where that takes no time.
    pub sending: u64,
}

/// What a plan says before it runs.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// All stages together.
    #[serde(flatten)]
    pub total: Figures,
    /// Bytes between two chunks of a shard that one request reads with them; `None` where each chunk is read by itself.
    pub coalesced_gap_bytes: Option<u64>,
    /// Requests for chunks on their way at once, at most; `None` where the store answers at once.
    pub requests_at_once: Option<u64>,
    /// Each stage.
    pub stages: Vec<ExplainedStage>,
}

/// What a job may ask of a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Most requests for chunks.
    pub requests: Option<u64>,
    /// Most bytes of chunks.
    pub bytes: Option<u64>,
}

/// A job that would ask more of its store than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TooMuch {
    /// Too many requests.
    #[error("the job takes {takes} requests, at most {most} are allowed")]
    Requests {
        /// What it takes.
        takes: u64,
        /// The bound.
        most: u64,
    },
    /// Too many bytes.
    #[error("the job reads {takes} bytes ({}), at most {most} are allowed", what(*.decoded))]
    Bytes {
        /// What it takes.
        takes: u64,
        /// The bound.
        most: u64,
        /// Whether the bytes are those of decoded chunks: how many are stored only the store knows.
        decoded: bool,
    },
}

fn what(decoded: bool) -> &'static str {
    if decoded { "of chunks once decoded; how many are stored is not known before" } else { "as stored" }
}

impl Explained {
    /// Whether the job stays within what it may ask of its store.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, bounds: Bounds) -> Result<(), TooMuch> {
        let (figures, decoded) = (&self.total, self.total.encoded_bytes.is_none());
        if let Some(most) = bounds.requests.filter(|&most| figures.requests > most) {
            return Err(TooMuch::Requests { takes: figures.requests, most });
        }
        let takes = figures.encoded_bytes.unwrap_or(figures.decoded_bytes);
        match bounds.bytes.filter(|&most| takes > most) {
            Some(most) => Err(TooMuch::Bytes { takes, most, decoded }),
            None => Ok(()),
        }
    }
}

/// What a plan says of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedStage {
    /// What is folded.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Figures of a plan.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Chunks asked for; absent ones count.
    pub chunks: u64,
    /// Requests to the store where all chunks exist, and lie in C order in their shards.
    pub requests: u64,
    /// How well that is known.
    pub requests_are: Certainty,
    /// Bytes of these chunks as stored; `None` where only the store knows.
    pub encoded_bytes: Option<u64>,
    /// Bytes of these chunks once decoded.
    pub decoded_bytes: u64,
    /// Decoded bytes over what they would be if every chunk were decoded once.
    pub amplification: f64,
    /// Bytes of the result before compression, as 8-byte numbers.
    pub output_bytes: u64,
    /// Pieces that can run anywhere.
    pub partitions: u64,
    /// Peak resident bytes of the process.
    pub memory_bytes: u64,
}

impl Explained {
    /// What the stages cost together, in a process of `memory_bytes`.
    fn of(stages: Vec<ExplainedStage>, memory_bytes: u64, fetch: Option<Ahead>) -> Explained {
        let nothing = Figures {
            chunks: 0,
            requests: 0,
            requests_are: Certainty::Exact,
            encoded_bytes: Some(0),
            decoded_bytes: 0,
            amplification: 1.0,
            output_bytes: 0,
            partitions: 0,
            memory_bytes,
        };
        let total = stages.iter().fold(nothing, |all, s| all.plus(s.figures));
        let coalesced_gap_bytes = fetch.map(|fetch| fetch.gap);
        let requests_at_once = fetch.map(|fetch| fetch.requests as u64);
        Explained { total, coalesced_gap_bytes, requests_at_once, stages }
    }

    /// This and another job, of which one follows the other: stages of the same name and place count as one.
    #[must_use]
    pub fn plus(mut self, other: Explained) -> Explained {
        let memory = self.total.memory_bytes.max(other.total.memory_bytes);
        for (i, stage) in other.stages.into_iter().enumerate() {
            match self.stages.get_mut(i).filter(|s| s.name == stage.name) {
                Some(same) => same.figures = same.figures.plus(stage.figures),
                None => self.stages.push(stage),
            }
        }
        Explained {
            coalesced_gap_bytes: self.coalesced_gap_bytes.or(other.coalesced_gap_bytes),
            requests_at_once: self.requests_at_once.max(other.requests_at_once),
            ..Explained::of(self.stages, memory, None)
        }
    }
}

impl Figures {
    fn plus(self, other: Figures) -> Figures {
        let once = |f: &Figures| if f.decoded_bytes == 0 { 0.0 } else { f.decoded_bytes as f64 / f.amplification };
        let decoded_bytes = self.decoded_bytes + other.decoded_bytes;
        let once = once(&self) + once(&other);
        Figures {
            chunks: self.chunks + other.chunks,
            requests: self.requests + other.requests,
            requests_are: self.requests_are.max(other.requests_are),
            encoded_bytes: self.encoded_bytes.zip(other.encoded_bytes).map(|(a, b)| a + b),
            decoded_bytes,
            amplification: if once > 0.0 { decoded_bytes as f64 / once } else { 1.0 },
            output_bytes: self.output_bytes + other.output_bytes,
            partitions: self.partitions + other.partitions,
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// How well a figure is known before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It is what the run counts.
    Exact,
    /// The run may count less: what lies between chunks of a shard may be little enough to be read with them.
    AtMost,
    /// The run may count more: the indexes of all shards do not fit in the budget, and some may be read again.
    About,
}

/// A job that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the job needs {needed} bytes of memory")]
pub struct Refused {
    /// The smallest budget that works, in whole MiB.
    pub needed: u64,
}

impl Prepared {
    /// Fits the request into `limits`. `targets` says, for each chain, where its values go.
    ///
    /// # Errors
    /// It does not fit, or is a table of too many rows.
    pub fn plan(&self, cube: &OpenCube, targets: &[Target], limits: Limits) -> Result<Planned, JobError> {
        let table = targets.contains(&Target::Memory);
        let rows = self.rows();
        if table && rows > MOST_ROWS {
            return Err(JobError::TooManyRows { rows });
        }
        let polled = cube.store.access() == Access::Polled;
        let arrays = targets.iter().filter_map(|t| if let Target::Arrays(arrays) = t { Some(arrays) } else { None });
        let chunks = arrays.flatten().filter(|array| array.shards.is_none());
        let sends = chunks.map(|array| array.sending_bytes).max().unwrap_or(0);
        let room =
            |memory: u64, way: Way| Room::of(polled.then(|| cube.store.access()), sends, limits.prices, memory, way);
        let mut needed = 0;
        for way in [Way::Usual, Way::Least] {
            match self.fit(cube, targets, limits, room(limits.memory, way)) {
                Ok(planned) => return Ok(planned),
                Err(bytes) => needed = bytes,
            }
        }
        // What is taken beside the schedules grows with the budget: the smallest budget that holds both. In whole MiB, so
        // that what is told works when it is given back.
        let mut least = 0;
        loop {
            let base = self.base(room(least, Way::Least), Limits { memory: least, ..limits }, table).0;
            match base.saturating_add(needed).checked_next_multiple_of(1 << 20) {
                Some(bytes) if bytes > least => least = bytes,
                _ => return Err(Refused { needed: least }.into()),
            }
        }
    }

    /// Bytes that are taken beside the schedules, and those of them for indexes of shards.
    fn base(&self, room: Room, limits: Limits, table: bool) -> (u64, u64) {
        let indexes = self.chains.iter().flatten().map(Stage::index_bytes);
        let (all, largest) = indexes.fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)));
        let index_bytes = all.min((limits.memory / 16).max(largest)).saturating_add(all.min(INDEX_SLACK));
        // While an index is read there are its bytes, and a part of it in order.
        let index_read = largest.saturating_mul(2 * limits.threads.max(1) as u64);
        let held = if table { self.rows().saturating_mul(self.table_columns()) } else { 0 };
        let base = [room.bytes(), index_bytes, index_read, held.saturating_mul(TABLE_CELL)]
            .into_iter()
            .fold(memory::base(), u64::saturating_add);
        (base, index_bytes)
    }

    /// Fits the request into `limits` with `room` for what is on its way; else the fewest bytes that its schedules take.
    fn fit(&self, cube: &OpenCube, targets: &[Target], limits: Limits, room: Room) -> Result<Planned, u64> {
        let (base, index_bytes) = self.base(room, limits, targets.contains(&Target::Memory));
        let allowed = Allowance {
            bytes: limits.memory.saturating_sub(base),
            threads: limits.threads.max(1),
            redecode: limits.redecode,
            fetch: if cube.store.access() == Access::Polled { Fetch::Ahead } else { Fetch::Inline },
        };
        let mut schedules = Vec::new();
        let mut needed = None;
        for (chain, target) in self.chains.iter().zip(targets) {
            match schedule(chain, target, allowed) {
                Ok(found) if limits.memory >= base => schedules.push(found),
                Ok(found) => needed = needed.max(Some(found.bytes)),
                Err(bytes) => needed = needed.max(Some(bytes)),
            }
        }
        let carried = match targets.iter().any(|t| matches!(t, Target::Arrays(_))) {
            true => self.carried_bytes(cube),
            false => 0,
        };
        if limits.memory < base.saturating_add(carried) {
            needed = needed.max(Some(carried));
        }
        if let Some(bytes) = needed {
            return Err(bytes);
        }
        let most = schedules.iter().map(|s| s.bytes).max().unwrap_or(0).max(carried);
        Ok(Planned { schedules, memory: base + most, fetch: room.fetch, index_bytes, sending: room.sending })
    }

    /// Fits the request into `limits`, for [`Prepared::records`].
    ///
    /// # Errors
    /// As [`Prepared::plan`].
    pub fn plan_records(&self, cube: &OpenCube, limits: Limits) -> Result<Planned, JobError> {
        self.plan(cube, &vec![Target::Memory; self.chains.len()], limits)
    }

    /// Columns of the result as a table: the variable, dimensions, statistics.
    fn table_columns(&self) -> u64 {
        let statistics = |s: &Stage| s.folded.iter().map(|f| f.statistics.len()).max().unwrap_or(0);
        self.results().map(|s| (1 + s.output_dims().count() + statistics(s)) as u64).max().unwrap_or(0)
    }

    /// What chain `i` costs, stage by stage.
    fn costs(&self, i: usize, schedule: &Schedule) -> Vec<Cost> {
        self.chains[i]
            .iter()
            .map(|stage| match schedule.tile_count() {
                1 => stage.cost(),
                tiles => (0..tiles).map(|t| stage.tile(&schedule.tile(t)).cost()).fold(Cost::default(), Cost::plus),
            })
            .collect()
    }

    /// Requests of stage `k` of chain `i`, which `cost` counts chunk by chunk.
    fn requests(&self, cube: &OpenCube, plan: &Planned, i: usize, k: usize, cost: &Cost) -> (u64, Certainty) {
        let (stage, schedule) = (&self.chains[i][k], &plan.schedules[i]);
        if stage.arrays.iter().all(|a| a.shards.is_none()) {
            return (cost.requests, Certainty::Exact);
        }
        let kept = stage.index_bytes().0 <= plan.index_bytes;
        let known = if kept { Certainty::Exact } else { Certainty::About };
        if cube.store.access() == Access::Inline {
            return (cost.requests, known);
        }
        if cost.leaves > TOLD {
            return (cost.requests, known.max(Certainty::AtMost));
        }
        // Where the end of an object takes more than one request, so does each index.
        let more = cube.store.suffix_requests().saturating_sub(1);
        let of = |stage: &Stage| {
            let mut found = stage.requests(&schedule.walks[k].order, plan.fetch.bytes);
            found.count = found.count.saturating_add(more.saturating_mul(stage.shards_touched()));
            found
        };
        let tiles = (0..schedule.tile_count()).map(|t| of(&stage.tile(&schedule.tile(t))));
        tiles.fold((0, known), |(count, known), found| {
            let own = if found.at_most { Certainty::AtMost } else { Certainty::Exact };
            (count + found.count, known.max(own))
        })
    }

    /// Leaves that are folded in all stages: a measure of progress.
    pub fn leaves(&self, plan: &Planned) -> u64 {
        let costs = plan.schedules.iter().enumerate().flat_map(|(i, s)| self.costs(i, s));
        costs.fold(0, |all, c| all.saturating_add(c.leaves))
    }

    /// What the plan says of each stage, and of all together.
    ///
    /// # Errors
    /// A variable that cannot be read.
    pub fn explain(&self, cube: &OpenCube, plan: &Planned) -> Result<Explained, JobError> {
        let mut stages = Vec::new();
        for (i, (chain, schedule)) in self.chains.iter().zip(&plan.schedules).enumerate() {
            for (k, (stage, cost)) in chain.iter().zip(self.costs(i, schedule)).enumerate() {
                let once = stage.cost();
                let mut encoded_bytes = Some(0u64);
                if schedule.tile_count() > 1 || stage.arrays.len() != 1 {
                    encoded_bytes = None;
                }
                for array in &stage.arrays {
                    let size =
                        ChunkReader::new(array, cube.store.clone()).map_err(ExecError::from)?.encoded_size_known();
                    encoded_bytes = encoded_bytes
                        .zip(size.filter(|_| array.shards.is_none()))
                        .map(|(all, s)| all + s * cost.chunks);
                }
                let (requests, requests_are) = self.requests(cube, plan, i, k, &cost);
                let names: Vec<&str> = stage.folded.iter().map(|f| f.name.as_str()).collect();
                stages.push(ExplainedStage {
                    name: names.join(", "),
                    figures: Figures {
                        chunks: cost.chunks,
                        requests,
                        requests_are,
                        encoded_bytes,
                        decoded_bytes: cost.decoded_bytes,
                        amplification: cost.decoded_bytes as f64 / once.decoded_bytes.max(1) as f64,
                        output_bytes: if k + 1 == chain.len() { once.output_bytes } else { 0 },
                        partitions: self.partitions(i, k, schedule),
                        memory_bytes: plan.memory,
                    },
                });
            }
        }
        let polled = cube.store.access() == Access::Polled;
        Ok(Explained::of(stages, plan.memory, polled.then_some(plan.fetch)))
    }

    /// Number of partitions of stage `k` of chain `i`: its patches in all tiles.
    fn partitions(&self, i: usize, k: usize, schedule: &Schedule) -> u64 {
        let stage = &self.chains[i][k];
        match schedule.tile_count() {
            1 => stage.patch_count(),
            tiles => (0..tiles).map(|t| stage.tile(&schedule.tile(t)).patch_count()).sum(),
        }
    }

    /// Runs all chains and drops their values.
    ///
    /// # Errors
    /// Anything that goes wrong while running.
    pub fn run_dry(
        &self,
        cube: &OpenCube,
        plan: &Planned,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<(), JobError> {
        (0..self.chains.len()).try_for_each(|i| self.run_chain(i, cube, plan, &NoSink, counters, options))
    }

    /// Runs chain `i` into `sink`, tile by tile.
    ///
    /// # Errors
    /// Anything that goes wrong while running.
    pub fn run_chain(
        &self,
        i: usize,
        cube: &OpenCube,
        plan: &Planned,
        sink: &dyn Sink,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<(), JobError> {
        let schedule = &plan.schedules[i];
        let how = |stage: usize| StageSchedule {
            walk: &schedule.walks[stage],
            threads: schedule.threads,
            window: schedule.window,
            ahead: schedule.ahead,
            fetch: plan.fetch,
            index_bytes: plan.index_bytes,
        };
        for t in 0..schedule.tile_count() {
            let positions = schedule.tile(t);
            match self.chains[i].as_slice() {
                [stage] => {
                    let offset = OffsetSink::new(stage, &positions, sink);
                    exec::run(&stage.tile(&positions), &cube.store, &offset, counters, options, how(0))?;
                }
                [first, stage] => {
                    let first = first.tile(&positions);
                    let found = MemorySink::new(&first);
                    exec::run(&first, &cube.store, &found, counters, options, how(0))?;
                    let packing = first
                        .folded
                        .iter()
                        .map(|f| (f.packing, if keeps_stored(f.statistics[0]) { f.packing } else { Packing::NONE }))
                        .collect();
                    let columns = found.into_columns();
                    let offset = OffsetSink::new(stage, &positions, sink);
                    let less = AnomalySink::new(&first, &columns, packing, &offset);
                    // The cells have been counted in the first stage.
                    let mut second = stage.tile(&positions);
                    second.arrays.iter_mut().for_each(|a| a.valid = None);
                    exec::run(&second, &cube.store, &less, counters, options, how(1))?;
                }
                _ => {}
            }
        }
        counters.end_chain();
        Ok(())
    }
}
