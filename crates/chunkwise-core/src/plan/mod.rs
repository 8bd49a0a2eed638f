//! The job as a value: stages, what they read, what they fold, what they cost.

pub mod cost;
pub mod fetch;
mod footprint;
pub mod lower;
pub mod partition;
pub mod schedule;
pub mod touched;

use crate::cube::{Packing, Variable};
use crate::dtype::DType;
use crate::expr::Checked;
use crate::grid::{Role, WalkDim};
use crate::stat::Statistic;
use crate::stat::map::{CellMap, MapDim, Places, To};
use serde::{Deserialize, Serialize};

/// Version of plans and states. A state made under another version is refused.
pub const FORMAT: u32 = 1;

/// `2^SEGMENT` source chunks along the outermost folded dimension make a segment: a constant of the state format.
pub const SEGMENT: u32 = 4;

/// One walk over chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// [`FORMAT`].
    pub format: u32,
    /// The dimensions that are walked, in the order of the output.
    pub dims: Vec<WalkDim>,
    /// The arrays that are read.
    pub arrays: Vec<Variable>,
    /// How each array is seen.
    pub inputs: Vec<InputView>,
    /// Formulas over the inputs: the outputs that are folded, then the mask.
    pub formulas: Option<Checked>,
    /// For each input of `formulas`, which of `inputs` feeds it.
    pub formula_inputs: Vec<usize>,
    /// Output of `formulas` that must be true for a cell to count.
    pub mask: Option<usize>,
    /// What is folded.
    pub folded: Vec<Folded>,
    /// Only these segments, `from .. to` by absolute number, where a part of the stage runs by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<(u64, u64)>,
}

/// How an array is seen from the walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputView {
    /// Which of the stage's arrays.
    pub array: usize,
    /// Where the index along each of the array's axes comes from.
    pub axes: Vec<Axis>,
}

/// Where the index along an array's axis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    /// From dimension `.0` of the walk.
    Walk(usize),
    /// Always this source index.
    Pick(u64),
}

/// One thing that is folded, with its statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Folded {
    /// Name of the variable or formula.
    pub name: String,
    /// Where its values come from.
    pub from: From,
    /// Element type of the values that are folded.
    pub element: DType,
    /// From these to decoded values.
    pub packing: Packing,
    /// What is computed.
    pub statistics: Vec<Statistic>,
}

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// Stored values of input `.0`.
    Input(usize),
    /// Output `.0` of the formulas.
    Formula(usize),
}

impl Stage {
    /// Number of patches.
    pub fn patch_count(&self) -> u64 {
        self.dims.iter().map(WalkDim::patch_count).product()
    }

    /// Index along each dimension of patch `p` of a sweep; `order` lists the dimensions, the slowest first.
    pub fn patch_at(&self, order: &[usize], p: u64) -> Vec<u64> {
        let swept = unravel(p, order.iter().map(|&d| self.dims[d].patch_count()));
        let mut patch = vec![0; self.dims.len()];
        for (&d, at) in order.iter().zip(swept) {
            patch[d] = at;
        }
        patch
    }

    /// Intervals of each dimension in a patch.
    pub fn patch_intervals(&self, patch: &[u64]) -> Vec<(u64, u64)> {
        let mut intervals: Vec<_> = self.dims.iter().zip(patch).map(|(d, &p)| d.patch_intervals(p)).collect();
        if let Some(segments) = self.segments {
            self.keep_segments(&mut intervals, segments);
        }
        intervals
    }

    /// Output cells of a patch along the dimensions of the output.
    pub fn patch_output(&self, patch: &[u64]) -> Vec<(u64, u64)> {
        self.output_dims().map(|i| self.dims[i].patch_output(patch[i])).collect()
    }

    /// Number of output cells of a patch.
    pub fn patch_cells(&self, patch: &[u64]) -> u64 {
        self.patch_output(patch).iter().map(|(a, b)| b - a).product()
    }

    /// The dimensions that the output has.
    pub fn output_dims(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.dims.len()).filter(|&i| self.dims[i].is_output())
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> Vec<u64> {
        self.output_dims().map(|i| self.dims[i].output_len()).collect()
    }

    /// Number of leaves in a patch with these intervals.
    pub fn leaf_count(&self, intervals: &[(u64, u64)]) -> u64 {
        intervals.iter().map(|(a, b)| b - a).product()
    }

    /// Interval along each dimension of leaf `l` of a patch: the outermost folded dimension varies slowest.
    pub fn leaf_at(&self, intervals: &[(u64, u64)], l: u64) -> Vec<u64> {
        unravel(l, intervals.iter().map(|(a, b)| b - a)).iter().zip(intervals).map(|(i, (a, _))| a + i).collect()
    }

    /// The outermost dimension that is folded.
    pub fn outermost_folded(&self) -> Option<usize> {
        (0..self.dims.len()).find(|&i| self.dims[i].folds())
    }

    /// Segment of a leaf.
    pub fn segment(&self, leaf: &[u64]) -> u64 {
        self.outermost_folded().map_or(0, |i| self.dims[i].segment(leaf[i], SEGMENT))
    }

    /// Most values that fold into one output cell.
    pub fn most_per_cell(&self) -> u64 {
        self.dims.iter().map(WalkDim::most_positions).fold(1, u64::saturating_mul)
    }

    /// Number of values, valid or not, that fold into the output cell at `cell` (indices along the output).
    pub fn values_in(&self, cell: &[u64]) -> u64 {
        let mut output = cell.iter();
        self.dims
            .iter()
            .map(|d| match d.role {
                Role::Reduce => d.len(),
                _ => output.next().map_or(1, |&c| d.positions_in(c)),
            })
            .product()
    }

    /// From the elements of a leaf to the cells of its patch.
    pub fn cell_map(&self, patch: &[u64], leaf: &[u64]) -> CellMap {
        let extents: Vec<(u64, u64)> = self.dims.iter().zip(patch).map(|(d, &p)| d.patch_output(p)).collect();
        let mut stride = 1;
        let mut dims: Vec<MapDim> = Vec::with_capacity(self.dims.len());
        for (i, d) in self.dims.iter().enumerate().rev() {
            let (from, to) = d.cuts.interval(leaf[i]);
            let (first, last) = extents[i];
            let to_cells = match &d.role {
                Role::Keep => To::Keep { stride },
                Role::Reduce => To::One,
                _ => To::Table(
                    (from..to)
                        .map(|p| d.cell_of(p).filter(|c| (first..last).contains(c)))
                        .map(|c| c.map(|c| (c - first) as usize * stride))
                        .collect(),
                ),
            };
            dims.push(MapDim { len: (to - from) as usize, to: to_cells });
            stride *= (last - first) as usize;
        }
        dims.reverse();
        let first = self.outermost_folded().map_or(0, |i| self.dims[i].cuts.start(leaf[i]));
        let mut map = CellMap::new(&dims, stride, first);
        if self.dims.iter().filter(|d| d.folds()).count() > 1 {
            let mut weight = 1;
            let mut places = Vec::with_capacity(self.dims.len());
            for (i, d) in self.dims.iter().enumerate().rev() {
                let (from, to) = d.cuts.interval(leaf[i]);
                match d.folds() {
                    true => {
                        places.push(((to - from) as usize, from, weight));
                        weight *= d.len();
                    }
                    false => places.push(((to - from) as usize, 0, 0)),
                }
            }
            places.reverse();
            map.places = Some(Places { dims: places });
        }
        map
    }

    /// Chunk of `input`'s array that holds a leaf, as an index along each of its axes.
    pub fn chunk_of(&self, input: &InputView, leaf: &[u64]) -> Vec<u64> {
        let array = &self.arrays[input.array];
        input
            .axes
            .iter()
            .zip(&array.chunks)
            .map(|(axis, chunks)| match axis {
                Axis::Walk(d) => chunks.locate(self.dims[*d].indices.at(self.dims[*d].cuts.start(leaf[*d]))).0,
                Axis::Pick(i) => chunks.locate(*i).0,
            })
            .collect()
    }
}

/// Index along each axis of the `i`-th cell in C order.
fn unravel(mut i: u64, shape: impl DoubleEndedIterator<Item = u64>) -> Vec<u64> {
    let mut index: Vec<u64> = shape
        .rev()
        .map(|n| {
            let at = i % n.max(1);
            i /= n.max(1);
            at
        })
        .collect();
    index.reverse();
    index
}
