//! Statistics of zones: leaves are tallied on whatever thread is free, and their tallies merged in the order of the plan.

use super::cache::Chunks;
use super::feed::Feed;
use super::leaf::{LeafReader, leaf_shape};
use super::turns::Turns;
use super::{Counters, ExecError, NoSink, Outcome, Run, RunOptions, StageSchedule, readers};
use crate::store::{Access, Store};
use chunkwise_core::plan::Stage;
use chunkwise_core::zonal::{Cover, Tally, Weighting, ZonalStatistic};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Which zones lie in each tile, a pair of intervals along y and x, and which of its cells are theirs.
#[derive(Debug)]
pub struct ZoneTiles {
    /// Number of zones.
    pub zones: usize,
    /// Dimensions of the stage along y and x, both reduced.
    pub dims: (usize, usize),
    /// For each interval along y, for each along x: zones with the cells of the tile that they cover, in C order.
    pub tiles: Vec<Vec<Vec<(u32, Cover)>>>,
}

impl ZoneTiles {
    /// Cells that lie in zones, counted once for each.
    pub fn covered(&self) -> u64 {
        let cells = |c: &Cover| c.whole.iter().map(|w| u64::from(w.1)).sum::<u64>() + c.parts.len() as u64;
        self.tiles.iter().flatten().flatten().map(|(_, c)| cells(c)).sum()
    }

    /// Zones of the tile that has most.
    pub fn most_zones(&self) -> u64 {
        self.tiles.iter().flatten().map(|t| t.len() as u64).max().unwrap_or(0)
    }

    /// Zones that lie in some tile.
    pub fn touched(&self) -> u64 {
        let mut seen = vec![false; self.zones];
        self.tiles.iter().flatten().flatten().for_each(|(zone, _)| seen[*zone as usize] = true);
        seen.into_iter().filter(|s| *s).count() as u64
    }

    /// Zones of which some tiles are done and others are not, at most, where tiles are taken row by row, or column by column
    /// where x is the outer dimension.
    pub fn most_open(&self) -> u64 {
        let (rows, columns) = (self.tiles.len(), self.tiles.first().map_or(0, Vec::len));
        let order: Vec<(usize, usize)> = match self.dims.0 < self.dims.1 {
            true => (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).collect(),
            false => (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).collect(),
        };
        let ending = Ending::of(self.zones, order.iter().map(|&(r, c)| self.tiles[r][c].as_slice()));
        let mut open = vec![false; self.zones];
        let (mut now, mut most) = (0u64, 0);
        for (n, (r, c)) in order.into_iter().enumerate() {
            for (zone, _) in &self.tiles[r][c] {
                now += u64::from(!std::mem::replace(&mut open[*zone as usize], true));
            }
            most = most.max(now);
            now -= ending.at[n].len() as u64;
        }
        most
    }
}

/// When zones are done.
struct Ending {
    /// Of each tile, in the order in which they are taken, the zones of which it is the last.
    at: Vec<Vec<u32>>,
    /// Zones that lie in none.
    never: Vec<u32>,
}

impl Ending {
    fn of<'a>(zones: usize, tiles: impl Iterator<Item = &'a [(u32, Cover)]>) -> Ending {
        const NEVER: usize = usize::MAX;
        let mut last = vec![NEVER; zones];
        let mut count = 0;
        for (n, tile) in tiles.enumerate() {
            tile.iter().for_each(|(zone, _)| last[*zone as usize] = n);
            count = n + 1;
        }
        let mut ending = Ending { at: vec![Vec::new(); count], never: Vec::new() };
        for (zone, &n) in last.iter().enumerate() {
            match ending.at.get_mut(n) {
                Some(zones) => zones.push(zone as u32),
                None => ending.never.push(zone as u32),
            }
        }
        ending
    }
}

/// What is computed of each zone.
#[derive(Clone, Debug)]
pub struct ZonalJob {
    /// The statistics.
    pub statistics: Vec<ZonalStatistic>,
    /// How quantiles take cells.
    pub weighting: Weighting,
}

/// Values by what is folded and by statistic; of each, zones × the cells that are left in C order. `NaN` is missing.
#[derive(Debug)]
pub struct ZoneTable {
    /// The values.
    pub columns: Vec<Vec<Vec<f64>>>,
    shape: Vec<u64>,
}

impl ZoneTable {
    fn new(stage: &Stage, zones: usize, statistics: usize) -> ZoneTable {
        let shape = stage.output_shape();
        let cells = zones * shape.iter().product::<u64>() as usize;
        let columns = stage.folded.iter().map(|_| vec![vec![f64::NAN; cells]; statistics]).collect();
        ZoneTable { columns, shape }
    }
}

/// Runs a stage whose dimensions y and x are reduced into zones.
///
/// # Errors
/// A chunk that cannot be read, or cancellation.
pub fn run_zones(
    stage: &Stage,
    store: &Arc<dyn Store>,
    tiles: &ZoneTiles,
    job: &ZonalJob,
    counters: &Counters,
    options: &RunOptions,
    schedule: StageSchedule<'_>,
) -> Result<ZoneTable, ExecError> {
    let readers = readers(stage, store, Some(schedule.index_bytes))?;
    let feed = match store.access() {
        Access::Polled => Some(Feed::start(stage, &readers, schedule.walk, schedule.fetch)?),
        Access::Inline => None,
    };
    let chunks = Chunks::new(stage, &readers, counters, options, feed);
    let turns = Turns::new(None);
    let run = Run {
        stage,
        chunks: &chunks,
        ending: Outcome::Columns(&NoSink),
        options,
        walk: schedule.walk,
        schedule,
        turns: &turns,
    };
    let work = Work {
        run: &run,
        tiles,
        job,
        next: Mutex::default(),
        merging: Mutex::new(Merging {
            merged: 0,
            waiting: BTreeMap::new(),
            states: HashMap::new(),
            table: ZoneTable::new(stage, tiles.zones, job.statistics.len()),
        }),
        moved: Condvar::new(),
    };
    run.on_threads(|| {
        let result = work.leaves(&mut LeafReader::new(&chunks));
        if result.is_err() {
            chunks.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        work.moved.notify_all();
        result
    })?;
    Ok(work.merging.into_inner().unwrap_or_else(PoisonError::into_inner).table)
}

struct Work<'a> {
    run: &'a Run<'a>,
    tiles: &'a ZoneTiles,
    job: &'a ZonalJob,
    next: Mutex<Next>,
    merging: Mutex<Merging>,
    moved: Condvar,
}

/// What is handed out next.
#[derive(Default)]
struct Next {
    patch: u64,
    open: Option<(Arc<Patch>, u64)>,
    /// Leaves that were handed out.
    leaves: u64,
}

struct Patch {
    index: Vec<u64>,
    intervals: Vec<(u64, u64)>,
    leaves: u64,
    ending: Ending,
}

struct Merging {
    /// Leaves that were merged.
    merged: u64,
    waiting: BTreeMap<u64, Tallied>,
    /// Of the patch in work, the zones of which some tiles are done and others are not: by what is folded, and cell that is left.
    states: HashMap<u32, Vec<Tally>>,
    table: ZoneTable,
}

/// A leaf whose turn to be merged may not have come.
struct Tallied {
    patch: Arc<Patch>,
    leaf: u64,
    /// By zone, and its slot: what is folded, and cell that is left.
    tallies: Vec<(u32, usize, Tally)>,
}

impl Work<'_> {
    fn leaves(&self, reader: &mut LeafReader<'_>) -> Result<(), ExecError> {
        let mut values = Vec::new();
        while let Some((n, patch, l)) = self.take()? {
            self.run.check()?;
            let leaf = self.run.stage.leaf_at(&patch.intervals, l);
            let tallies = self.tally(reader, &patch, &leaf, &mut values)?;
            self.run.count_leaf();
            self.merge(n, Tallied { patch, leaf: l, tallies });
        }
        Ok(())
    }

    /// The next leaf and its number, once fewer than the window are in work.
    fn take(&self) -> Result<Option<(u64, Arc<Patch>, u64)>, ExecError> {
        let stage = self.run.stage;
        loop {
            let merged = self.merging.lock().unwrap_or_else(PoisonError::into_inner).merged;
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            if next.leaves - merged.min(next.leaves) >= self.run.schedule.window as u64 {
                self.run.check()?;
                let wait = Duration::from_millis(20);
                drop(self.moved.wait_timeout(next, wait).unwrap_or_else(PoisonError::into_inner).0);
                continue;
            }
            if next.open.is_none() {
                if next.patch == stage.patch_count() {
                    return Ok(None);
                }
                let index = stage.patch_at(&self.run.walk.order, next.patch);
                let intervals = stage.patch_intervals(&index);
                let leaves = stage.leaf_count(&intervals);
                next.patch += 1;
                if leaves == 0 {
                    continue;
                }
                let (y, x) = self.tiles.dims;
                let order = (0..leaves).map(|l| stage.leaf_at(&intervals, l));
                let tiles = order.map(|leaf| self.tiles.tiles[leaf[y] as usize][leaf[x] as usize].as_slice());
                let ending = Ending::of(self.tiles.zones, tiles);
                next.open = Some((Arc::new(Patch { index, intervals, leaves, ending }), 0));
            }
            let Some((patch, l)) = next.open.take() else { return Ok(None) };
            if l + 1 < patch.leaves {
                next.open = Some((patch.clone(), l + 1));
            }
            next.leaves += 1;
            return Ok(Some((next.leaves - 1, patch, l)));
        }
    }

    /// Reads a leaf and tallies its cells, where a zone lies in it.
    fn tally(
        &self,
        reader: &mut LeafReader<'_>,
        patch: &Patch,
        leaf: &[u64],
        values: &mut Vec<f64>,
    ) -> Result<Vec<(u32, usize, Tally)>, ExecError> {
        let stage = self.run.stage;
        let read = reader.read(leaf)?;
        let (y, x) = self.tiles.dims;
        let zones = &self.tiles.tiles[leaf[y] as usize][leaf[x] as usize];
        if zones.is_empty() {
            return Ok(Vec::new());
        }
        let lengths = leaf_shape(stage, leaf);
        let mut strides = vec![1usize; lengths.len()];
        for d in (1..lengths.len()).rev() {
            strides[d - 1] = strides[d] * lengths[d];
        }
        let (row, column, width) = (strides[y], strides[x], lengths[x]);
        let flat = column == 1 && row == width;
        let rest = rest_cells(stage, patch, leaf, &strides, &lengths);
        let cells = stage.patch_cells(&patch.index) as usize;
        let keep = self.job.statistics.iter().any(|s| s.needs_values());
        let mut tallies = Vec::with_capacity(stage.folded.len() * zones.len() * rest.len());
        for (f, folded) in stage.folded.iter().enumerate() {
            values.clear();
            values.resize(lengths.iter().product(), 0.0);
            read.values(stage, folded, leaf, values);
            for (zone, cover) in zones {
                for &(offset, k) in &rest {
                    let slot = f * cells + k;
                    let tally = if flat {
                        let values = &values[offset..offset + row * lengths[y]];
                        Tally::of(cover.cells().map(|(cell, w)| (values[cell as usize], w)), keep)
                    } else {
                        let at = |cell: u32| {
                            let (r, c) = (cell as usize / width, cell as usize % width);
                            values[offset + r * row + c * column]
                        };
                        Tally::of(cover.cells().map(|(cell, w)| (at(cell), w)), keep)
                    };
                    tallies.push((*zone, slot, tally));
                }
            }
        }
        Ok(tallies)
    }

    /// Merges all leaves whose turn it is.
    fn merge(&self, n: u64, done: Tallied) {
        let stage = self.run.stage;
        let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        merging.waiting.insert(n, done);
        loop {
            let turn = merging.merged;
            let Some(Tallied { patch, leaf, tallies }) = merging.waiting.remove(&turn) else { break };
            let slots = stage.folded.len() * stage.patch_cells(&patch.index) as usize;
            let Merging { states, table, .. } = &mut *merging;
            for (zone, slot, tally) in &tallies {
                let state = states.entry(*zone).or_insert_with(|| vec![Tally::default(); slots]);
                state[*slot].merge(tally);
            }
            let region = stage.patch_output(&patch.index);
            for &zone in &patch.ending.at[leaf as usize] {
                if let Some(state) = states.remove(&zone) {
                    self.finish(zone, &state, &region, table);
                }
            }
            if leaf + 1 == patch.leaves {
                let nothing = vec![Tally::default(); slots];
                patch.ending.never.iter().for_each(|&zone| self.finish(zone, &nothing, &region, table));
            }
            merging.merged += 1;
        }
        drop(merging);
        self.moved.notify_all();
    }

    /// The values of a zone in a patch, whose output cells are `region`.
    fn finish(&self, zone: u32, states: &[Tally], region: &[(u64, u64)], table: &mut ZoneTable) {
        let lengths: Vec<u64> = region.iter().map(|(a, b)| b - a).collect();
        let (cells, all) = (lengths.iter().product::<u64>() as usize, table.shape.iter().product::<u64>() as usize);
        let (ddof, min_count) = (self.run.options.ddof as f64, self.run.options.min_count);
        for k in 0..cells {
            let (mut left, mut to, mut stride) = (k as u64, 0, 1);
            for d in (0..region.len()).rev() {
                to += (region[d].0 + left % lengths[d]) * stride;
                left /= lengths[d];
                stride *= table.shape[d];
            }
            for (f, columns) in table.columns.iter_mut().enumerate() {
                let state = &states[f * cells + k];
                for (statistic, column) in self.job.statistics.iter().zip(columns.iter_mut()) {
                    let value = state.value(*statistic, self.job.weighting, ddof, min_count);
                    column[zone as usize * all + to as usize] = value.unwrap_or(f64::NAN);
                }
            }
        }
    }
}

/// Of each cell that is left, where its values begin in the leaf, and its number in the patch.
fn rest_cells(stage: &Stage, patch: &Patch, leaf: &[u64], strides: &[usize], lengths: &[usize]) -> Vec<(usize, usize)> {
    let mut rest = vec![(0, 0)];
    for d in stage.output_dims() {
        let (first, last) = stage.dims[d].patch_output(patch.index[d]);
        let from = stage.dims[d].cuts.interval(leaf[d]).0;
        let cell = |i: usize| stage.dims[d].cell_of(from + i as u64).map(|c| (c - first) as usize);
        let wide = (last - first) as usize;
        rest = rest
            .iter()
            .flat_map(|&(offset, k)| {
                (0..lengths[d]).filter_map(move |i| Some((offset + i * strides[d], k * wide + cell(i)?)))
            })
            .collect();
    }
    rest
}
