//! How stages run within a budget: in what order chunks are swept, on how many threads, in which tiles.
//!
//! Nothing here changes a result: tiles cut kept dimensions only, and orders and threads decide only where whole
//! leaves are folded. What is held beside the states is counted from three products of short loops:
//!
//! - *shared chunks*: decoded chunks that more leaves need, held until the last of them;
//! - *the frontier*: output chunks that are partly filled;
//! - *tiles*: where neither fits, kept dimensions are cut at borders of output chunks, and what lies on both sides of
//!   such a cut is decoded on both.

use super::footprint::{Footprint, Held};
use super::{Axis, Stage};
use crate::grid::Role;
use serde::{Deserialize, Serialize};

/// Decoded bytes may be this many times what they would be without tiles, unless more is allowed.
pub const MOST_AMPLIFICATION: f64 = 4.0;

/// A dimension is cut into about so many tiles at most: a plan holds them all, and tries many ways.
const MOST_TILES: u64 = 1 << 12;

/// Where values go into shards, patches for each thread that may be in work past the first unfinished one.
pub(super) const AHEAD: u64 = 2;

/// Where finished values go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Nowhere.
    Nothing,
    /// Kept whole in memory.
    Memory,
    /// Into the chunks of arrays.
    Arrays(Vec<OutputArray>),
}

/// An array that finished values go into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputArray {
    /// Cells of a chunk along each dimension of the output.
    pub chunks: Vec<u64>,
    /// Cells of a shard along each, where there are shards.
    pub shards: Option<Vec<u64>>,
    /// Bytes of a cell.
    pub cell_bytes: u64,
    /// Bytes that an object keeps which is written piece by piece; `None` where whole objects are kept until they are
    /// complete.
    pub writer_bytes: Option<u64>,
    /// Bytes of objects on their way that the store keeps, of all arrays together.
    pub sending_bytes: u64,
}

impl Target {
    /// Whether values go into shards.
    fn is_sharded(&self) -> bool {
        matches!(self, Target::Arrays(arrays) if arrays.iter().any(|a| a.shards.is_some()))
    }
}

/// The positions of each tile along one dimension.
pub type Cut = Vec<(u64, u64)>;

/// How threads share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Each thread takes whole patches.
    Patches,
    /// All threads take leaves of one patch.
    Leaves,
}

/// How one stage is walked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Dimensions in the order in which patches are swept, the slowest first.
    pub order: Vec<usize>,
    /// What a thread takes.
    pub sharing: Sharing,
}

/// How a chain of stages runs: each feeds the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// For each dimension of the walks, the positions of each tile.
    pub tiles: Vec<Cut>,
    /// How each stage is walked in a tile.
    pub walks: Vec<Walk>,
    /// Threads.
    pub threads: usize,
    /// Leaves in work at once where threads share a patch.
    pub window: usize,
    /// Patches that may be in work past the first unfinished one; `None`: any. Where values go into shards, what comes
    /// before its turn waits.
    pub ahead: Option<u64>,
    /// Bytes that it takes at most.
    pub bytes: u64,
    /// Decoded chunks in relation to those that one tile would decode.
    pub amplification: f64,
}

/// What a chain of stages may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes.
    pub bytes: u64,
    /// Threads.
    pub threads: usize,
    /// Whether chunks may be decoded more than [`MOST_AMPLIFICATION`] times.
    pub redecode: Redecode,
    /// How chunks come.
    pub fetch: Fetch,
}

/// How chunks come from where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fetch {
    /// At once, to the thread that asks.
    #[default]
    Inline,
    /// Ahead, in the order of one stream, of which all threads take leaves.
    Ahead,
}

/// Whether chunks may be decoded any number of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redecode {
    /// At most [`MOST_AMPLIFICATION`] times on average.
    #[default]
    Bounded,
    /// As often as the budget makes necessary.
    Allowed,
}

impl Schedule {
    /// Number of tiles.
    pub fn tile_count(&self) -> u64 {
        self.tiles.iter().map(|t| t.len() as u64).product()
    }

    /// Positions of tile `i` along each dimension.
    pub fn tile(&self, i: u64) -> Vec<(u64, u64)> {
        let at = super::unravel(i, self.tiles.iter().map(|t| t.len() as u64));
        self.tiles.iter().zip(at).map(|(t, i)| t[i as usize]).collect()
    }
}

impl Stage {
    /// The part of the stage at `positions` along each dimension: whole extents but along kept dimensions.
    pub fn tile(&self, positions: &[(u64, u64)]) -> Stage {
        let mut part = self.clone();
        for (d, &(from, to)) in part.dims.iter_mut().zip(positions) {
            if (from, to) != (0, d.len()) {
                *d = d.tile(from, to);
            }
        }
        part
    }
}

/// The best way to run `chain`, whose last stage's values go to `target`, within what is allowed.
///
/// Ways are ranked by the time they take, decoded chunks over threads; of equals the first in C order wins.
///
/// # Errors
/// None fits: the fewest bytes that would do.
pub fn schedule(chain: &[Stage], target: &Target, allowed: Allowance) -> Result<Schedule, u64> {
    let Some(last) = chain.last() else {
        let (tiles, walks) = (Vec::new(), Vec::new());
        return Ok(Schedule { tiles, walks, threads: 1, window: 1, ahead: None, bytes: 0, amplification: 1.0 });
    };
    let orders = permutations(last.dims.len());
    let mut needed = u64::MAX;
    let mut best: Option<((f64, u64), Schedule)> = None;
    let whole: Vec<Cut> = last.dims.iter().map(|d| vec![(0, d.len())]).collect();
    let cut = std::iter::once_with(|| tilings(chain, last, &whole, target)).flatten();
    for tiles in std::iter::once(whole.clone()).chain(cut) {
        let amplification = amplification(chain, &tiles);
        if amplification > MOST_AMPLIFICATION && allowed.redecode == Redecode::Bounded {
            continue;
        }
        let count = tiles.iter().map(|t| t.len() as u64).product();
        let least = amplification / allowed.threads as f64;
        if best.as_ref().is_some_and(|(rank, _)| *rank <= (least, count)) {
            continue;
        }
        let feet: Vec<Footprint<'_>> = chain
            .iter()
            .enumerate()
            .map(|(i, s)| Footprint::new(s, &tiles, if i + 1 == chain.len() { target } else { &Target::Memory }))
            .collect();
        for threads in (1..=allowed.threads).rev() {
            let rank = (amplification / threads as f64, count);
            if best.as_ref().is_some_and(|(b, _)| *b <= rank) {
                break;
            }
            let Some((walks, window, bytes)) = walks(&feet, &orders, threads, allowed) else { continue };
            needed = needed.min(bytes);
            if bytes <= allowed.bytes {
                let tiles = tiles.clone();
                let ahead = target.is_sharded().then_some(AHEAD * threads as u64);
                best = Some((rank, Schedule { tiles, walks, threads, window, ahead, bytes, amplification }));
            }
        }
        // One tile on all threads: no tiles are better, and those of a long dimension are not made for nothing.
        if best.as_ref().is_some_and(|(rank, _)| *rank <= (1.0 / allowed.threads as f64, 1)) {
            break;
        }
    }
    best.map(|(_, s)| s).ok_or(needed)
}

/// The walks of all stages of a chain: the first that fits, else the one that takes least; leaves in work, and bytes.
fn walks(
    feet: &[Footprint<'_>],
    orders: &[Vec<usize>],
    threads: usize,
    allowed: Allowance,
) -> Option<(Vec<Walk>, usize, u64)> {
    let held: u64 = feet.iter().rev().skip(1).map(Footprint::kept).sum();
    let mut walks = Vec::new();
    let mut most = 0;
    let mut window = threads + 1;
    for foot in feet {
        let mut least: Option<(u64, Walk, usize)> = None;
        'found: for order in orders {
            for sharing in foot.sharings(threads, allowed.fetch) {
                // More leaves in work than threads keep the threads busy where one leaf takes longer than others.
                for leaves in [4 * threads, threads + 1] {
                    let takes = foot.bytes(Held { order, sharing, threads, window: leaves }).saturating_add(held);
                    let walk = || Walk { order: order.clone(), sharing };
                    if least.as_ref().is_none_or(|(b, ..)| takes < *b) {
                        least = Some((takes, walk(), leaves));
                    }
                    if takes <= allowed.bytes {
                        least = Some((takes, walk(), leaves));
                        break 'found;
                    }
                }
            }
        }
        let (takes, walk, leaves) = least?;
        most = most.max(takes);
        window = window.max(if walk.sharing == Sharing::Leaves { leaves } else { 0 });
        walks.push(walk);
    }
    Some((walks, window, most))
}

/// The ways to cut the kept dimensions: one or two of them into ever shorter tiles, all others as in `whole`.
fn tilings(chain: &[Stage], last: &Stage, whole: &[Cut], target: &Target) -> Vec<Vec<Cut>> {
    let mut all = Vec::new();
    let kept = |d: usize| chain.iter().all(|s| s.dims.get(d).is_some_and(|d| matches!(d.role, Role::Keep)));
    let by_dim: Vec<(usize, Vec<Cut>)> = (0..last.dims.len())
        .filter(|&d| kept(d) && last.dims[d].len() > 1)
        .map(|d| (d, cuts_of(last, d, unit(last, d, target))))
        .collect();
    for (i, (d, cuts)) in by_dim.iter().enumerate() {
        for cut in cuts {
            let mut tiles = whole.to_vec();
            tiles[*d].clone_from(cut);
            all.push(tiles);
        }
        for (e, others) in &by_dim[i + 1..] {
            let steps = cuts.len().max(others.len());
            for k in 0..steps {
                let (Some(a), Some(b)) = (cuts.get(k).or(cuts.last()), others.get(k).or(others.last())) else {
                    break;
                };
                let mut tiles = whole.to_vec();
                tiles[*d].clone_from(a);
                tiles[*e].clone_from(b);
                all.push(tiles);
            }
        }
    }
    all
}

/// Cells along dimension `d` between which no tile may end: an output chunk's.
pub fn unit(stage: &Stage, d: usize, target: &Target) -> u64 {
    let Some(axis) = stage.output_dims().position(|i| i == d) else { return 1 };
    match target {
        Target::Arrays(arrays) => {
            arrays.iter().map(|a| a.shards.as_ref().unwrap_or(&a.chunks)[axis]).fold(1, |a, b| a / gcd(a, b) * b)
        }
        _ => 1,
    }
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Ever shorter tiles of dimension `d`, in steps of a half. A tile ends where a source chunk ends, if it can.
fn cuts_of(stage: &Stage, d: usize, unit: u64) -> Vec<Cut> {
    let dim = &stage.dims[d];
    let len = dim.len();
    let mut all: Vec<Cut> = Vec::new();
    let mut units = len.div_ceil(unit);
    let shortest = units.div_ceil(MOST_TILES);
    while units > shortest {
        units = units.div_ceil(2).max(shortest);
        let length = units * unit;
        let mut tiles = Vec::new();
        let mut from = 0;
        while from < len {
            let limit = from + length;
            let to = match limit >= len {
                true => len,
                false => (dim.cuts.find(from) + 1..=dim.cuts.find(limit))
                    .rev()
                    .map(|i| dim.cuts.start(i))
                    .find(|c| *c > from && c % unit == 0)
                    .unwrap_or(limit),
            };
            tiles.push((from, to));
            from = to;
        }
        if all.last() != Some(&tiles) {
            all.push(tiles);
        }
    }
    all
}

/// Decoded bytes of the chunks of all tiles in relation to those of one.
fn amplification(chain: &[Stage], tiles: &[Cut]) -> f64 {
    let (mut once, mut tiled) = (0.0, 0.0);
    for stage in chain {
        for view in &stage.inputs {
            let array = &stage.arrays[view.array];
            let (mut one, mut all) = (1.0, 1.0);
            for (axis, chunks) in view.axes.iter().zip(&array.chunks) {
                let bytes = chunks.longest() as f64;
                one *= bytes;
                all *= bytes;
                if let Axis::Walk(d) = axis {
                    let dim = &stage.dims[*d];
                    let whole = dim.chunks_touched(chunks);
                    one *= whole as f64;
                    all *= match tiles[*d].as_slice() {
                        [_] => whole as f64,
                        many => many.iter().map(|&(a, b)| dim.tile(a, b).chunks_touched(chunks) as f64).sum(),
                    };
                }
            }
            // A dimension that the array lacks is walked in each of its tiles.
            for (d, cut) in tiles.iter().enumerate() {
                if !view.axes.contains(&Axis::Walk(d)) {
                    all *= cut.len() as f64;
                }
            }
            let size = array.view.map_or(1, |v| v.size()) as f64;
            once += one * size;
            tiled += all * size;
        }
    }
    if once == 0.0 { 1.0 } else { tiled / once }
}

/// All orders of `n` dimensions, C order first; of many dimensions only the one.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    let first: Vec<usize> = (0..n).collect();
    if n > 5 {
        return vec![first];
    }
    let mut all = vec![Vec::new()];
    for _ in 0..n {
        all = all
            .into_iter()
            .flat_map(|p: Vec<usize>| {
                (0..n).filter(|d| !p.contains(d)).map(|d| [p.as_slice(), &[d]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    debug_assert_eq!(all.first(), Some(&first), "C order comes first");
    all
}

#[cfg(test)]
pub(crate) mod tests;
