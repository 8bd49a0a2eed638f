//! One dimension of a walk over chunks: what is selected, where it is cut, and which output cells it feeds.
//!
//! A walk is a product of its dimensions, so every count and every box is arithmetic on a few short
//! lists; a plan over 10⁷ chunks holds no list of chunks.
//!
//! | word | meaning |
//! |---|---|
//! | position | index into the selection, `0 … len` |
//! | interval | run of positions that no chunk border and no patch border cuts: a leaf's extent |
//! | patch | run of intervals whose states are held together; its extent in the output |

use crate::cube::ChunkSizes;
use serde::{Deserialize, Serialize};

/// The source indices that are walked along one dimension, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Indices {
    /// `start, start + step, …`: `count` of them.
    Range {
        /// First source index.
        start: u64,
        /// Distance between neighbours, at least 1.
        step: u64,
        /// How many.
        count: u64,
    },
    /// Listed one by one, in any order.
    List(Vec<u64>),
}

impl Indices {
    /// All `n` indices of a dimension.
    pub fn all(n: u64) -> Indices {
        Indices::Range { start: 0, step: 1, count: n }
    }

    /// How many indices.
    pub fn len(&self) -> u64 {
        match self {
            Indices::Range { count, .. } => *count,
            Indices::List(v) => v.len() as u64,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Source index at `position`.
    pub fn at(&self, position: u64) -> u64 {
        match self {
            Indices::Range { start, step, .. } => start + position * step,
            Indices::List(v) => v[position as usize],
        }
    }

    /// The part of the selection at positions `from .. to`.
    pub fn slice(&self, from: u64, to: u64) -> Indices {
        match self {
            Indices::Range { start, step, .. } => {
                Indices::Range { start: start + from * step, step: *step, count: to - from }
            }
            Indices::List(v) => Indices::List(v[from as usize..to as usize].to_vec()),
        }
    }
}

impl ChunkSizes {
    /// Index of the chunk that holds source index `index`, and that chunk's first index and length.
    pub fn locate(&self, index: u64) -> (u64, u64, u64) {
        match self {
            ChunkSizes::Regular(size) => (index / size, index / size * size, *size),
            ChunkSizes::Listed(sizes) => {
                let mut first = 0;
                for (i, &n) in sizes.iter().enumerate() {
                    if index < first + n {
                        return (i as u64, first, n);
                    }
                    first += n;
                }
                (sizes.len() as u64, first, 1)
            }
        }
    }

    /// Length of the longest chunk.
    pub fn longest(&self) -> u64 {
        match self {
            ChunkSizes::Regular(size) => *size,
            ChunkSizes::Listed(sizes) => sizes.iter().copied().max().unwrap_or(1),
        }
    }

    /// Length of chunk `index` as it is stored (a regular edge chunk is stored whole).
    pub fn length(&self, index: u64) -> u64 {
        match self {
            ChunkSizes::Regular(size) => *size,
            ChunkSizes::Listed(sizes) => sizes.get(index as usize).copied().unwrap_or(1),
        }
    }

    /// Number of chunks along a dimension of `n` cells.
    pub fn count(&self, n: u64) -> u64 {
        match self {
            ChunkSizes::Regular(size) => n.div_ceil(*size),
            ChunkSizes::Listed(sizes) => sizes.len() as u64,
        }
    }
}

/// What happens to a dimension: where its positions go in the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    /// Each position is an output cell.
    Keep,
    /// All positions fold into one; the dimension is gone.
    Reduce,
    /// `group[position]` is the output cell, in any order; `u32::MAX`: left out.
    Cycle {
        /// Output cell of each position.
        group: Vec<u32>,
        /// Number of output cells.
        count: u32,
    },
    /// As `Cycle`, but the groups are runs of neighbouring positions, in order.
    Window {
        /// First position of each window, then the number of positions; windows may be empty.
        starts: Vec<u64>,
    },
    /// Windows of `size` positions; the last may be shorter.
    Blocks {
        /// Positions in a window.
        size: u64,
    },
}

/// Sorted cuts `0 = c₀ < c₁ < … < cₙ = len` of positions into intervals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cuts {
    /// First cut at `first`, then every `size`; `len` ends it.
    Even {
        /// Length of the first interval.
        first: u64,
        /// Length of the others but the last.
        size: u64,
        /// Number of positions.
        len: u64,
    },
    /// All cuts, with 0 and `len`.
    Listed(Vec<u64>),
}

impl Cuts {
    /// Number of intervals.
    pub fn count(&self) -> u64 {
        match self {
            Cuts::Even { first, size, len } => match len {
                0 => 0,
                _ => 1 + len.saturating_sub(*first).div_ceil(*size),
            },
            Cuts::Listed(v) => v.len().saturating_sub(1) as u64,
        }
    }

    /// Start of interval `i`; of `count()`, the number of positions.
    pub fn start(&self, i: u64) -> u64 {
        match self {
            Cuts::Even { first, size, len } => match i {
                0 => 0,
                _ => (first + (i - 1) * size).min(*len),
            },
            Cuts::Listed(v) => v[i as usize],
        }
    }

    /// Positions of interval `i`.
    pub fn interval(&self, i: u64) -> (u64, u64) {
        (self.start(i), self.start(i + 1))
    }

    /// Length of the longest interval.
    pub fn longest(&self) -> u64 {
        match self {
            Cuts::Even { first, size, len } => (*first).min(*len).max((*size).min(len.saturating_sub(*first))),
            Cuts::Listed(v) => v.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0),
        }
    }

    /// The cuts of positions `from .. to`, counted from `from`, which are cuts too.
    pub fn slice(&self, from: u64, to: u64) -> Cuts {
        match self {
            Cuts::Even { first, size, .. } => {
                let first = match from < *first {
                    true => first - from,
                    false => size - (from - first) % size,
                };
                Cuts::Even { first, size: *size, len: to - from }
            }
            Cuts::Listed(v) => {
                let inner = v.iter().copied().filter(|c| (from + 1..to).contains(c)).map(|c| c - from);
                Cuts::Listed(std::iter::once(0).chain(inner).chain((to > from).then_some(to - from)).collect())
            }
        }
    }

    /// Interval that holds `position`.
    pub fn find(&self, position: u64) -> u64 {
        match self {
            Cuts::Even { first, size, .. } => match position < *first {
                true => 0,
                false => 1 + (position - first) / size,
            },
            Cuts::Listed(v) => v.partition_point(|&c| c <= position) as u64 - 1,
        }
    }
}

/// One dimension of a walk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WalkDim {
    /// Name of the dimension.
    pub name: String,
    /// What is selected.
    pub indices: Indices,
    /// Where positions go.
    pub role: Role,
    /// Leaf extents.
    pub cuts: Cuts,
    /// For windows: the interval at which each patch starts, then the number of intervals; and the
    /// first window of each patch, then the number of windows. Empty for other roles.
    pub patches: Vec<(u64, u64)>,
    /// Chunks of the first array that has this dimension: their absolute index numbers the segments.
    pub chunks: Option<ChunkSizes>,
}

impl WalkDim {
    /// Cuts dimension `name` by the chunks of the arrays that have it, and by windows.
    pub fn new(name: &str, indices: Indices, role: Role, grids: &[&ChunkSizes]) -> WalkDim {
        let len = indices.len();
        let windowed = matches!(role, Role::Window { .. } | Role::Blocks { .. });
        let mut cuts = match (&indices, grids) {
            (Indices::Range { start, step: 1, .. }, [ChunkSizes::Regular(size)]) => {
                Cuts::Even { first: size - start % size, size: *size, len }
            }
            (_, []) => Cuts::Even { first: len.max(1), size: len.max(1), len },
            _ => Cuts::Listed(listed_cuts(&indices, grids)),
        };
        let mut patches = Vec::new();
        if windowed {
            let chunk_starts: Vec<u64> = (0..cuts.count()).map(|i| cuts.start(i)).collect();
            let mut all = chunk_starts.clone();
            // A patch is the run of windows that start in one chunk interval.
            let mut heads: Vec<(u64, u64)> = Vec::new(); // (position, window)
            let count = windows(&role, len);
            let mut interval = None;
            for w in 0..count {
                let at = window_start(&role, w, len);
                let here = match at < len {
                    true => Some(cuts.find(at)),
                    false => interval,
                };
                if w == 0 || here != interval {
                    heads.push((at, w));
                    interval = here;
                }
            }
            all.extend(heads.iter().map(|h| h.0));
            all.push(len);
            all.sort_unstable();
            all.dedup();
            cuts = Cuts::Listed(all);
            for (at, w) in heads {
                let interval = match at < len {
                    true => cuts.find(at),
                    false => cuts.count(),
                };
                patches.push((interval, w));
            }
            patches.push((cuts.count(), count));
        }
        WalkDim { name: name.to_owned(), indices, role, cuts, patches, chunks: grids.first().map(|&g| g.clone()) }
    }

    /// The part of a kept dimension at positions `from .. to`. Its cells fold as they do in the whole.
    pub fn tile(&self, from: u64, to: u64) -> WalkDim {
        debug_assert!(matches!(self.role, Role::Keep), "only kept dimensions are tiled");
        WalkDim {
            indices: self.indices.slice(from, to),
            cuts: self.cuts.slice(from, to),
            name: self.name.clone(),
            role: Role::Keep,
            patches: Vec::new(),
            chunks: self.chunks.clone(),
        }
    }

    /// Number of positions.
    pub fn len(&self) -> u64 {
        self.indices.len()
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether the dimension is in the output.
    pub fn is_output(&self) -> bool {
        !matches!(self.role, Role::Reduce)
    }

    /// Whether several positions may fold into one output cell.
    pub fn folds(&self) -> bool {
        !matches!(self.role, Role::Keep)
    }

    /// Number of output cells along the dimension (1 where it is reduced).
    pub fn output_len(&self) -> u64 {
        match &self.role {
            Role::Keep => self.len(),
            Role::Reduce => 1,
            Role::Cycle { count, .. } => u64::from(*count),
            Role::Window { .. } | Role::Blocks { .. } => windows(&self.role, self.len()),
        }
    }

    /// Number of patches.
    pub fn patch_count(&self) -> u64 {
        match &self.role {
            Role::Keep => self.cuts.count(),
            Role::Reduce | Role::Cycle { .. } => 1,
            Role::Window { .. } | Role::Blocks { .. } => self.patches.len() as u64 - 1,
        }
    }

    /// Intervals `from .. to` of patch `p`.
    pub fn patch_intervals(&self, p: u64) -> (u64, u64) {
        match &self.role {
            Role::Keep => (p, p + 1),
            Role::Reduce | Role::Cycle { .. } => (0, self.cuts.count()),
            _ => (self.patches[p as usize].0, self.patches[p as usize + 1].0),
        }
    }

    /// Output cells `from .. to` of patch `p`.
    pub fn patch_output(&self, p: u64) -> (u64, u64) {
        match &self.role {
            Role::Keep => self.cuts.interval(p),
            Role::Reduce => (0, 1),
            Role::Cycle { count, .. } => (0, u64::from(*count)),
            _ => (self.patches[p as usize].1, self.patches[p as usize + 1].1),
        }
    }

    /// Longest patch extent in the output.
    pub fn longest_patch(&self) -> u64 {
        match &self.role {
            Role::Keep => self.cuts.longest(),
            Role::Reduce => 1,
            Role::Cycle { count, .. } => u64::from(*count),
            _ => self.patches.windows(2).map(|w| w[1].1 - w[0].1).max().unwrap_or(0),
        }
    }

    /// Most intervals in one patch.
    pub fn most_intervals(&self) -> u64 {
        match &self.role {
            Role::Keep => 1,
            Role::Reduce | Role::Cycle { .. } => self.cuts.count(),
            _ => self.patches.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap_or(0),
        }
    }

    /// Output cell of a position that folds; `None` where it is left out.
    pub fn cell_of(&self, position: u64) -> Option<u64> {
        match &self.role {
            Role::Keep => Some(position),
            Role::Reduce => Some(0),
            Role::Cycle { group, .. } => match group[position as usize] {
                u32::MAX => None,
                g => Some(u64::from(g)),
            },
            // The last of the windows that start here is the one that holds it: the others are empty.
            Role::Window { starts } => {
                let w = starts[..starts.len() - 1].partition_point(|&s| s <= position);
                w.checked_sub(1).map(|w| w as u64)
            }
            Role::Blocks { size } => Some(position / size),
        }
    }

    /// Number of positions of each output cell: how many values a statistic over this dimension sees.
    pub fn positions_in(&self, cell: u64) -> u64 {
        match &self.role {
            Role::Keep => 1,
            Role::Reduce => self.len(),
            Role::Cycle { group, .. } => group.iter().filter(|&&g| u64::from(g) == cell).count() as u64,
            Role::Window { starts } => starts[cell as usize + 1] - starts[cell as usize],
            Role::Blocks { size } => (self.len() - cell * size).min(*size),
        }
    }

    /// Most positions of any output cell.
    pub fn most_positions(&self) -> u64 {
        match &self.role {
            Role::Keep => 1,
            Role::Reduce => self.len(),
            Role::Cycle { group, count } => {
                let mut seen = vec![0u64; *count as usize];
                for &g in group {
                    if g != u32::MAX {
                        seen[g as usize] += 1;
                    }
                }
                seen.into_iter().max().unwrap_or(0)
            }
            Role::Window { starts } => starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0),
            Role::Blocks { size } => (*size).min(self.len()),
        }
    }

    /// Absolute segment of interval `i`: chunks are taken `1 << k` at a time.
    pub fn segment(&self, i: u64, k: u32) -> u64 {
        match (&self.indices, &self.chunks) {
            (Indices::Range { .. }, Some(chunks)) => chunks.locate(self.indices.at(self.cuts.start(i))).0 >> k,
            _ => i >> k,
        }
    }

    /// Number of distinct chunks of grid `sizes` that the selection touches.
    pub fn chunks_touched(&self, sizes: &ChunkSizes) -> u64 {
        match (&self.indices, sizes) {
            (Indices::Range { count: 0, .. }, _) => 0,
            (Indices::Range { start, step, count }, ChunkSizes::Regular(size)) => {
                let last = start + (count - 1) * step;
                match step <= size {
                    true => last / size - start / size + 1,
                    false => *count,
                }
            }
            _ => {
                let mut ids: Vec<u64> =
                    (0..self.cuts.count()).map(|i| sizes.locate(self.indices.at(self.cuts.start(i))).0).collect();
                ids.sort_unstable();
                ids.dedup();
                ids.len() as u64
            }
        }
    }
}

fn windows(role: &Role, len: u64) -> u64 {
    match role {
        Role::Window { starts } => starts.len() as u64 - 1,
        Role::Blocks { size } => len.div_ceil(*size),
        _ => 0,
    }
}

fn window_start(role: &Role, w: u64, len: u64) -> u64 {
    match role {
        Role::Window { starts } => starts[w as usize],
        Role::Blocks { size } => (w * size).min(len),
        _ => 0,
    }
}

/// Cuts of positions wherever the chunk of any grid changes.
fn listed_cuts(indices: &Indices, grids: &[&ChunkSizes]) -> Vec<u64> {
    let len = indices.len();
    let mut cuts = vec![0];
    if len == 0 {
        return cuts;
    }
    match indices {
        Indices::Range { start, step, count } => {
            let mut at = 0;
            while at < *count {
                let source = start + at * step;
                // The nearest chunk end of any grid, then the first position at or past it.
                let end = grids
                    .iter()
                    .map(|g| {
                        let (_, first, n) = g.locate(source);
                        first + n
                    })
                    .min()
                    .unwrap_or(u64::MAX);
                at = end.saturating_sub(*start).div_ceil(*step).clamp(at + 1, *count);
                cuts.push(at);
            }
        }
        Indices::List(list) => {
            let ids = |i: u64| grids.iter().map(|g| g.locate(i).0).collect::<Vec<_>>();
            let mut here = ids(list[0]);
            for (at, &source) in list.iter().enumerate().skip(1) {
                let next = ids(source);
                if next != here {
                    cuts.push(at as u64);
                    here = next;
                }
            }
            cuts.push(len);
        }
    }
    cuts
}

#[cfg(test)]
mod tests;
