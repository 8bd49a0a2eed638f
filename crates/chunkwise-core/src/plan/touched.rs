//! Which chunks of an array a stage needs, and how many leaves need each: counted, never listed.
//!
//! What one view of an array touches is a product over the array's axes, so what several views touch together is
//! an alternating sum over products (inclusion and exclusion).

use super::{Axis, InputView, Stage};
use crate::cube::ChunkSizes;
use crate::grid::{Indices, WalkDim};
use std::collections::HashMap;

/// What a view touches along one axis of its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// All chunks that the selection of this dimension lies in.
    All(usize),
    /// One chunk.
    One(u64),
}

/// Measures of the chunks of one array, counted once each however many views need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) chunks: u64,
    /// Cells of these chunks, as stored.
    pub(super) cells: u64,
    /// Shards that hold them; 0 without shards.
    pub(super) shards: u64,
}

impl Stage {
    /// What is touched of array `a`.
    pub(super) fn touched(&self, a: usize) -> Touched {
        let array = &self.arrays[a];
        let chunks = self.measure(a, &array.chunks, |d, sizes| d.chunks_touched(sizes), |_, _| 1);
        let cells = self.measure(a, &array.chunks, |d, sizes| d.cells_touched(sizes), |sizes, c| sizes.length(c));
        let shards = array
            .shards
            .as_ref()
            .map_or(0, |shards| self.measure(a, shards, |d, sizes| d.chunks_touched(sizes), |_, _| 1));
        Touched { chunks, cells, shards }
    }

    /// Shards that the stage reads the index of.
    pub fn shards_touched(&self) -> u64 {
        (0..self.arrays.len()).map(|a| self.touched(a).shards).fold(0, u64::saturating_add)
    }

    /// Measure of the pieces of a grid over array `a` that all its views touch together: `all` of a whole selection along an
    /// axis, `one` of one piece.
    fn measure(
        &self,
        a: usize,
        grid: &[ChunkSizes],
        all: impl Fn(&WalkDim, &ChunkSizes) -> u64,
        one: impl Fn(&ChunkSizes, u64) -> u64,
    ) -> u64 {
        let set = |view: &InputView| -> Vec<Along> {
            let along = |(axis, sizes): (&Axis, &ChunkSizes)| match axis {
                Axis::Walk(d) => Along::All(*d),
                Axis::Pick(i) => Along::One(sizes.locate(*i).0),
            };
            view.axes.iter().zip(grid).map(along).collect()
        };
        let sets = self.inputs.iter().filter(|v| v.array == a).map(set).collect();
        let meet = |a: &Vec<Along>, b: &Vec<Along>| -> Option<Vec<Along>> {
            a.iter().zip(b).zip(grid).map(|((&a, &b), sizes)| self.meet(sizes, a, b)).collect()
        };
        let size = |set: &Vec<Along>| {
            let along = |(along, sizes): (&Along, &ChunkSizes)| match along {
                Along::All(d) => all(&self.dims[*d], sizes),
                Along::One(c) => one(sizes, *c),
            };
            set.iter().zip(grid).map(along).fold(1, u64::saturating_mul)
        };
        union(sets, &meet, &size)
    }

    fn meet(&self, sizes: &ChunkSizes, a: Along, b: Along) -> Option<Along> {
        match (a, b) {
            (a, b) if a == b => Some(a),
            (Along::One(_), Along::One(_)) => None,
            (Along::All(d), Along::One(c)) | (Along::One(c), Along::All(d)) => {
                self.dims[d].touches(sizes, c).then_some(Along::One(c))
            }
            // An axis is walked by one dimension: the one of its name.
            (Along::All(_), Along::All(_)) => Some(a),
        }
    }
}

/// How many leaves of a stage need a chunk.
#[derive(Clone, Debug)]
pub struct Uses {
    /// For each array: its distinct views; empty where every chunk is needed by one leaf.
    views: Vec<Vec<InputView>>,
    /// For each array and axis that is walked: leaves' intervals along the dimension in each chunk.
    intervals: Vec<Vec<Option<HashMap<u64, u64>>>>,
}

impl Uses {
    /// The uses of the chunks of `stage`.
    pub fn new(stage: &Stage) -> Uses {
        let mut views = Vec::new();
        let mut intervals = Vec::new();
        for (a, array) in stage.arrays.iter().enumerate() {
            let own: Vec<InputView> = stage.inputs.iter().filter(|v| v.array == a).cloned().collect();
            let once = own.iter().all(|v| stage.leaves_once(v)) && own.iter().all(|v| same_walks(v, &own[0]));
            if once {
                views.push(Vec::new());
                intervals.push(Vec::new());
                continue;
            }
            let along = array.chunks.iter().enumerate().map(|(i, sizes)| {
                let walked = own.iter().find_map(|v| match v.axes[i] {
                    Axis::Walk(d) => Some(d),
                    Axis::Pick(_) => None,
                })?;
                let dim = &stage.dims[walked];
                let mut found: HashMap<u64, u64> = HashMap::new();
                let (first, last) = stage.walked(walked);
                for k in first..last {
                    *found.entry(sizes.locate(dim.indices.at(dim.cuts.start(k))).0).or_insert(0) += 1;
                }
                Some(found)
            });
            intervals.push(along.collect());
            views.push(own);
        }
        Uses { views, intervals }
    }

    /// Whether chunks of array `a` are needed by one leaf each.
    pub fn once(&self, a: usize) -> bool {
        self.views[a].is_empty()
    }

    /// Number of leaves that need chunk `chunk` of array `a`.
    pub fn of(&self, stage: &Stage, a: usize, chunk: &[u64]) -> u64 {
        if self.once(a) {
            return 1;
        }
        let array = &stage.arrays[a];
        // For each view that touches the chunk, its leaves: along each dimension those in the chunk, or all.
        let mut sets: Vec<Vec<Option<usize>>> = Vec::new();
        for view in &self.views[a] {
            let touches = view.axes.iter().zip(&array.chunks).zip(chunk).all(|((axis, sizes), &c)| match axis {
                Axis::Pick(i) => sizes.locate(*i).0 == c,
                Axis::Walk(_) => true,
            });
            if touches {
                let axis_of = |d: usize| view.axes.iter().position(|x| *x == Axis::Walk(d));
                sets.push((0..stage.dims.len()).map(axis_of).collect());
            }
        }
        let leaves = |d: usize, axis: Option<usize>| match axis {
            None => stage.dims[d].cuts.count(),
            Some(i) => self.intervals[a][i].as_ref().and_then(|m| m.get(&chunk[i]).copied()).unwrap_or(0),
        };
        let size = |set: &Vec<Option<usize>>| -> u64 { set.iter().enumerate().map(|(d, &x)| leaves(d, x)).product() };
        let meet = |a: &Vec<Option<usize>>, b: &Vec<Option<usize>>| -> Option<Vec<Option<usize>>> {
            Some(a.iter().zip(b).map(|(a, b)| a.or(*b)).collect())
        };
        union(sets, &meet, &size)
    }
}

impl Stage {
    /// Whether every chunk of a view is needed by one leaf.
    fn leaves_once(&self, view: &InputView) -> bool {
        let array = &self.arrays[view.array];
        self.dims.iter().enumerate().all(|(d, dim)| match view.axes.iter().position(|a| *a == Axis::Walk(d)) {
            None => dim.cuts.count() <= 1,
            Some(i) => dim.cuts.count() == dim.chunks_touched(&array.chunks[i]),
        })
    }
}

fn same_walks(a: &InputView, b: &InputView) -> bool {
    a.axes.iter().zip(&b.axes).all(|(a, b)| match (a, b) {
        (Axis::Walk(a), Axis::Walk(b)) => a == b,
        (Axis::Pick(_), Axis::Pick(_)) => true,
        _ => false,
    })
}

impl WalkDim {
    /// Whether the selection has cells in chunk `chunk` of a grid.
    pub(super) fn touches(&self, sizes: &ChunkSizes, chunk: u64) -> bool {
        match &self.indices {
            Indices::Range { count: 0, .. } => false,
            Indices::Range { start, step, count } => {
                let (first, len) = match sizes {
                    ChunkSizes::Regular(n) => (chunk * n, *n),
                    ChunkSizes::Listed(v) => (v.iter().take(chunk as usize).sum(), sizes.length(chunk)),
                };
                // The first selected index at or past the chunk's first.
                let at = first.saturating_sub(*start).div_ceil(*step);
                at < *count && start + at * step < first + len
            }
            Indices::List(list) => list.iter().any(|&i| sizes.locate(i).0 == chunk),
        }
    }

    /// Cells along this dimension of all chunks of a grid that the selection lies in, as they are stored.
    fn cells_touched(&self, sizes: &ChunkSizes) -> u64 {
        match sizes {
            ChunkSizes::Regular(n) => self.chunks_touched(sizes).saturating_mul(*n),
            ChunkSizes::Listed(v) => {
                (0..v.len() as u64).filter(|&c| self.touches(sizes, c)).map(|c| sizes.length(c)).sum()
            }
        }
    }
}

/// Size of the union of `sets`.
fn union<S: Clone + PartialEq>(sets: Vec<S>, meet: &dyn Fn(&S, &S) -> Option<S>, size: &dyn Fn(&S) -> u64) -> u64 {
    // Sets within others add nothing.
    let mut largest: Vec<S> = Vec::new();
    for set in sets {
        if largest.iter().any(|l| meet(l, &set).as_ref() == Some(&set)) {
            continue;
        }
        largest.retain(|l| meet(l, &set).as_ref() != Some(l));
        largest.push(set);
    }
    fn sum<S: Clone>(
        sets: &[S],
        within: Option<&S>,
        meet: &dyn Fn(&S, &S) -> Option<S>,
        size: &dyn Fn(&S) -> u64,
    ) -> i128 {
        let mut total = 0;
        for (i, set) in sets.iter().enumerate() {
            let common = match within {
                None => Some(set.clone()),
                Some(w) => meet(w, set),
            };
            if let Some(common) = common {
                total += i128::from(size(&common)) - sum(&sets[i + 1..], Some(&common), meet, size);
            }
        }
        total
    }
    u64::try_from(sum(&largest, None, meet, size)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
