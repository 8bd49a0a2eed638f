//! Pieces of a job that can run anywhere, in any order, any number of times, and give the bits of the job in one piece.
//!
//! A part is a tile of the kept dimensions, cut where source chunks and output objects end, and where there are too few of
//! those a run of segments of the folded ones. Tiles give cells, or write them; runs of segments give states, which
//! merge along the tree of segments ([`merge`]) and are finished where all are together.

use super::output::{OutputOptions, Targets, failed};
use super::plan::{Limits, Planned};
use super::{JobError, Prepared};
use crate::exec::{self, Counters, ExecError, PatchStates, RunOptions, StageSchedule};
use crate::memory;
use crate::open::OpenCube;
use crate::sink::offset::OffsetSink;
use crate::sink::stored::StoredSink;
use crate::sink::zarr::ZarrSink;
use crate::write::{CubeWriter, Written};
use chunkwise_core::grid::Role;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::schedule;
use chunkwise_core::stat::Statistic;
use chunkwise_core::stat::tree;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A piece of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which chain of stages.
    pub chain: usize,
    /// Positions `from .. to` along each dimension of its walk.
    pub tile: Vec<(u64, u64)>,
    /// Segments `from .. to` by absolute number, where not all of them.
    pub segments: Option<(u64, u64)>,
}

/// What a part gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PartResult {
    /// Cells of arrays: the number of each array, and its cells in the tile, native-endian, in C order.
    Cells(Vec<(usize, Vec<u8>)>),
    /// States of the patches of the tile.
    States(Vec<PatchStates>),
    /// Nothing: the cells are where they belong.
    Written,
}

/// An output that is written by several processes.
#[derive(Debug)]
pub struct SharedOutput {
    writer: CubeWriter,
    targets: Targets,
}

/// Runs of segments, `from .. to` by absolute number.
type Runs = Vec<(u64, u64)>;

/// Cells that a part gives are held by the sink, as they are sent, and by who sends them.
const CELLS_HELD: u64 = 3;
/// Pieces of a chain, at most: a plan holds them all.
const MOST_PARTS: u64 = 1 << 16;

impl Prepared {
    /// The parts of the job: about `wanted`, where it can be cut so often. `targets` is where its values go, as for
    /// [`Prepared::plan`].
    pub fn parts(&self, targets: &[schedule::Target], wanted: u64) -> Vec<Part> {
        let wanted = wanted.clamp(1, MOST_PARTS);
        let mut parts = Vec::new();
        for (chain, (stages, target)) in self.chains.iter().zip(targets).enumerate() {
            let tiles = tiles(stages, target, wanted);
            let runs = match stages.as_slice() {
                [stage] if (tiles.len() as u64) < wanted && !holds_series(stage) => {
                    runs(stage, wanted.div_ceil(tiles.len() as u64))
                }
                _ => vec![None],
            };
            for tile in tiles {
                parts.extend(runs.iter().map(|&segments| Part { chain, tile: tile.clone(), segments }));
            }
        }
        parts
    }

    /// The stages of a part, as a job of its own.
    fn of_part(&self, part: &Part) -> Result<Prepared, JobError> {
        let foreign = || JobError::Exec(ExecError::ForeignState);
        let stages = self.chains.get(part.chain).ok_or_else(foreign)?;
        let fits = |stage: &Stage| {
            stage.dims.len() == part.tile.len()
                && stage.dims.iter().zip(&part.tile).all(|(d, &(a, b))| {
                    (a, b) == (0, d.len()) || (a < b && b <= d.len() && matches!(d.role, Role::Keep))
                })
        };
        if !stages.iter().all(fits) {
            return Err(foreign());
        }
        let cut = |stage: &Stage| Stage { segments: part.segments, ..stage.tile(&part.tile) };
        Ok(Prepared { chains: vec![stages.iter().map(cut).collect()], ..self.clone() })
    }

    /// Runs a part on this machine within `limits`. With `shared` the cells of tiles are written there.
    ///
    /// # Errors
    /// It does not fit; anything that goes wrong while reading, computing or writing; a part of another job.
    pub fn run_part(
        &self,
        cube: &OpenCube,
        part: &Part,
        (options, shared): (&OutputOptions, Option<&SharedOutput>),
        limits: Limits,
        counters: &Counters,
        run: &RunOptions,
    ) -> Result<PartResult, JobError> {
        let own = self.of_part(part)?;
        let stage = own.chains[0].last().ok_or(ExecError::ForeignState)?;
        if part.segments.is_some() {
            let plan = own.plan_beside(cube, states_bytes(stage), limits)?;
            let how = own.in_one_tile(&plan, stage, limits)?;
            let mut states = exec::run_states(stage, &cube.store, counters, run, how)?;
            states.sort_by(|a, b| a.patch.cmp(&b.patch));
            return Ok(PartResult::States(states));
        }
        if let Some(shared) = shared {
            let arrays = self.arrays(cube, options)?.targets();
            let plan = own.plan(cube, &arrays[part.chain..=part.chain], limits)?;
            let writer = shared.writer.beside(plan.sending);
            let sink = ZarrSink::new(&writer, shared.targets[part.chain].clone());
            own.run_chain(0, cube, &plan, &OffsetSink::new(stage, &part.tile, &sink), counters, run)?;
            writer.leave().map_err(failed)?;
            return Ok(PartResult::Written);
        }
        let targets = self.arrays(cube, options)?.targets.swap_remove(part.chain);
        let sink = StoredSink::new(stage.output_shape(), targets);
        let plan = own.plan_beside(cube, CELLS_HELD * sink.bytes(), limits)?;
        own.run_chain(0, cube, &plan, &sink, counters, run)?;
        Ok(PartResult::Cells(sink.into_cells().collect()))
    }

    /// How the one stage of a part is run in one tile: the states of a patch belong together.
    fn in_one_tile<'a>(&self, plan: &'a Planned, stage: &Stage, limits: Limits) -> Result<StageSchedule<'a>, JobError> {
        let Some(schedule) = plan.schedules.first().filter(|s| s.tile_count() == 1) else {
            let any = schedule::Allowance {
                bytes: u64::MAX,
                threads: 1,
                redecode: limits.redecode,
                fetch: schedule::Fetch::default(),
            };
            let least = schedule::schedule(&self.chains[0], &schedule::Target::Nothing, any);
            let needed = least.map_or_else(|bytes| bytes, |s| s.bytes).saturating_add(states_bytes(stage));
            let needed = needed.saturating_add(memory::base()).saturating_add(plan.fetch.bytes).max(limits.memory);
            return Err(super::plan::Refused { needed: needed.next_multiple_of(1 << 20) }.into());
        };
        Ok(StageSchedule {
            walk: &schedule.walks[0],
            threads: schedule.threads,
            window: schedule.window,
            ahead: None,
            fetch: plan.fetch,
            index_bytes: plan.index_bytes,
        })
    }

    /// Makes cells of the states of all segments of a tile.
    ///
    /// # Errors
    /// States of another job, or a value that cannot be given.
    pub fn finish_part(
        &self,
        cube: &OpenCube,
        part: &Part,
        states: Vec<PatchStates>,
        (options, shared): (&OutputOptions, Option<&SharedOutput>),
        run: &RunOptions,
    ) -> Result<PartResult, JobError> {
        let own = self.of_part(&Part { segments: None, ..part.clone() })?;
        let stage = own.chains[0].last().ok_or(ExecError::ForeignState)?;
        let finish = |sink: &dyn exec::Sink| -> Result<(), JobError> {
            let mut by_patch: BTreeMap<Vec<u64>, Vec<tree::Node>> = BTreeMap::new();
            let PartResult::States(states) = merge([PartResult::States(states)])? else { return Ok(()) };
            for one in states {
                // All segments of the patch, each once.
                match stage.all_segments().is_some_and(|all| one.segments == [all]) {
                    true => by_patch.insert(one.patch, one.nodes),
                    false => return Err(ExecError::ForeignState.into()),
                };
            }
            let order: Vec<usize> = (0..stage.dims.len()).collect();
            for p in 0..stage.patch_count() {
                let patch = stage.patch_at(&order, p);
                let nodes = by_patch.remove(&patch).ok_or(ExecError::ForeignState)?;
                exec::finish(stage, &patch, nodes, sink, run)?;
            }
            match by_patch.is_empty() {
                true => Ok(()),
                false => Err(ExecError::ForeignState.into()),
            }
        };
        if let Some(shared) = shared {
            let writer = shared.writer.beside(0);
            let sink = ZarrSink::new(&writer, shared.targets[part.chain].clone());
            finish(&OffsetSink::new(stage, &part.tile, &sink))?;
            writer.leave().map_err(failed)?;
            return Ok(PartResult::Written);
        }
        let targets = self.arrays(cube, options)?.targets.swap_remove(part.chain);
        let sink = StoredSink::new(stage.output_shape(), targets);
        finish(&sink)?;
        Ok(PartResult::Cells(sink.into_cells().collect()))
    }

    /// Leaves of a part: a measure of progress.
    pub fn leaves_of(&self, part: &Part) -> u64 {
        let Ok(own) = self.of_part(part) else { return 0 };
        own.chains.iter().flatten().map(|stage| stage.cost().leaves).fold(0, u64::saturating_add)
    }

    /// Output cells `from .. to` of a part along each dimension of the output of its chain.
    pub fn region_of(&self, part: &Part) -> Vec<(u64, u64)> {
        let Some(stage) = self.chains.get(part.chain).and_then(|c| c.last()) else { return Vec::new() };
        let one = |d: usize| match stage.dims[d].role {
            Role::Keep => part.tile.get(d).copied().unwrap_or_default(),
            _ => (0, stage.dims[d].output_len()),
        };
        stage.output_dims().map(one).collect()
    }

    /// Makes an output ready that several processes write: its journal, and all that describes its cells.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn share(&self, cube: &OpenCube, options: &OutputOptions, plan: &Planned) -> Result<SharedOutput, JobError> {
        let (writer, targets) = self.begin(cube, options, plan)?;
        Ok(SharedOutput { writer, targets })
    }

    /// Goes on with an output that another process has made ready; `work` is what [`SharedOutput::work`] said there.
    ///
    /// # Errors
    /// There is no such output any more, or it is another job's.
    pub fn join(
        &self,
        cube: &OpenCube,
        options: &OutputOptions,
        work: Option<PathBuf>,
    ) -> Result<SharedOutput, JobError> {
        let (output, arrays, _, targets) = self.output(cube, options)?;
        let writer = CubeWriter::join(output, arrays, work).map_err(failed)?;
        Ok(SharedOutput { writer, targets })
    }
}

impl SharedOutput {
    /// The folder in which the output is written until it is complete; `None` in other stores.
    pub fn work(&self) -> Option<PathBuf> {
        self.writer.work()
    }

    /// Makes a cube of it, once all parts are done.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<Written, JobError> {
        self.writer.finish().map_err(failed)
    }

    /// Removes it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn abort(self) -> Result<(), JobError> {
        self.writer.abort().map_err(failed)
    }
}

/// Merges what parts of one tile gave, as far as they are neighbours in the tree of segments.
///
/// # Errors
/// Segments that are there twice, or no states.
pub fn merge(results: impl IntoIterator<Item = PartResult>) -> Result<PartResult, JobError> {
    let mut by_patch: BTreeMap<Vec<u64>, (Runs, Vec<tree::Node>)> = BTreeMap::new();
    for result in results {
        let PartResult::States(states) = result else { return Err(ExecError::ForeignState.into()) };
        for one in states {
            let all = by_patch.entry(one.patch).or_default();
            all.0.extend(one.segments);
            all.1.extend(one.nodes);
        }
    }
    let mut merged = Vec::with_capacity(by_patch.len());
    for (patch, (mut runs, nodes)) in by_patch {
        runs.sort_unstable();
        let mut segments = Runs::new();
        for (from, to) in runs {
            match segments.last_mut() {
                Some(last) if from < last.1 => return Err(ExecError::ForeignState.into()),
                Some(last) if from == last.1 => last.1 = to,
                _ => segments.push((from, to)),
            }
        }
        merged.push(PatchStates { patch, segments, nodes: tree::join(nodes) });
    }
    Ok(PartResult::States(merged))
}

/// Whether the states of a stage hold whole series: as large as what is read.
fn holds_series(stage: &Stage) -> bool {
    stage.folded.iter().any(|f| f.statistics.contains(&Statistic::Median))
}

/// Bytes of the states of all patches of a stage, as they are kept and as they are sent.
fn states_bytes(stage: &Stage) -> u64 {
    const OF_A_CELL: u64 = 64;
    let cells = stage.output_shape().iter().fold(1, |a: u64, &b| a.saturating_mul(b));
    let kinds = stage.folded.iter().map(|f| f.statistics.len() as u64).sum::<u64>();
    // Of a run that is no power of two there is more than one node.
    cells.saturating_mul(kinds).saturating_mul(2 * 3 * OF_A_CELL)
}

/// The tiles of a chain: about `wanted`, cut where source chunks and output objects end.
fn tiles(stages: &[Stage], target: &schedule::Target, wanted: u64) -> Vec<Vec<(u64, u64)>> {
    let Some(last) = stages.last() else { return Vec::new() };
    let borders: Vec<Vec<u64>> = (0..last.dims.len()).map(|d| borders(stages, d, target)).collect();
    let mut pieces: Vec<u64> = vec![1; borders.len()];
    loop {
        let count: u64 = pieces.iter().product();
        // The dimension of the largest pieces is cut further, the outermost of equals: its chunks lie together.
        let largest = (0..pieces.len())
            .filter(|&d| pieces[d] < borders[d].len() as u64 - 1)
            .max_by_key(|&d| ((borders[d].len() as u64 - 1) / pieces[d], std::cmp::Reverse(d)));
        let Some(d) = largest.filter(|_| count < wanted) else { break };
        pieces[d] = (pieces[d] * 2).min(borders[d].len() as u64 - 1);
    }
    let cuts = pieces.iter().zip(&borders).map(|(&n, borders)| {
        let units = borders.len() as u64 - 1;
        let at = |i: u64| borders[(i * units / n) as usize];
        (0..n).map(|i| (at(i), at(i + 1))).collect::<Vec<_>>()
    });
    cuts.fold(vec![Vec::new()], |tiles, cut| {
        tiles
            .iter()
            .flat_map(|tile: &Vec<(u64, u64)>| cut.iter().map(|&piece| [tile.as_slice(), &[piece]].concat()))
            .collect()
    })
}

/// Positions of dimension `d` where tiles may end, its ends included.
fn borders(stages: &[Stage], d: usize, target: &schedule::Target) -> Vec<u64> {
    let Some(last) = stages.last() else { return vec![0, 0] };
    let len = last.dims[d].len();
    let kept = stages.iter().all(|s| matches!(s.dims[d].role, Role::Keep));
    if !kept || len == 0 {
        return vec![0, len];
    }
    let unit = schedule::unit(last, d, target);
    let dim = &last.dims[d];
    let starts = (1..dim.cuts.count()).map(|i| dim.cuts.start(i));
    // What lies in one chunk is decoded once.
    if dim.cuts.count() == 1 {
        return vec![0, len];
    }
    let mut found = vec![0];
    match starts.clone().any(|c| c % unit == 0) {
        true => found.extend(starts.filter(|c| c % unit == 0)),
        // Source chunks on both sides of a cut are decoded on both.
        false => found.extend((1..len.div_ceil(unit)).map(|i| i * unit)),
    }
    found.push(len);
    found
}

/// Runs of segments, about `wanted`: whole nodes of the tree.
fn runs(stage: &Stage, wanted: u64) -> Vec<Option<(u64, u64)>> {
    let Some((from, to)) = stage.all_segments() else { return vec![None] };
    let each = (to - from).div_ceil(wanted.max(1)).next_power_of_two();
    if each >= to - from {
        return vec![None];
    }
    let first = from / each * each;
    (first..to).step_by(each as usize).map(|a| Some((a.max(from), (a + each).min(to)))).collect()
}
