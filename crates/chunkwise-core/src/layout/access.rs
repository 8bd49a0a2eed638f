//! What typical questions read: chunks, requests, bytes, and how many of the bytes are of use.
//!
//! Nothing is looked up: all of it follows from shape, chunks and shards. A chunk counts with all of its cells, also one at the
//! end of an axis, of which a part lies beyond: so it is stored and decoded.

use crate::cube::{ChunkSizes, Variable};
use crate::dtype::DType;

/// Cells along each side of the box that is read through time.
const BOX: u64 = 500;

/// Shape, chunks and shards of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayLayout {
    /// Names of the dimensions.
    pub dims: Vec<String>,
    /// Cells along each.
    pub shape: Vec<u64>,
    /// Cells of a chunk along each.
    pub chunks: Vec<ChunkSizes>,
    /// Cells of a shard along each.
    pub shards: Option<Vec<ChunkSizes>>,
    /// Bytes of a cell.
    pub cell_bytes: u64,
}

impl ArrayLayout {
    /// The layout of a variable of numbers.
    pub fn of(variable: &Variable) -> Option<ArrayLayout> {
        Some(ArrayLayout {
            dims: variable.dims.clone(),
            shape: variable.shape.clone(),
            chunks: variable.chunks.clone(),
            shards: variable.shards.clone(),
            cell_bytes: variable.dtype.number().map(DType::size)? as u64,
        })
    }

    /// Chunks along dimension `d`.
    pub fn count(&self, d: usize) -> u64 {
        count(&self.chunks[d], self.shape[d])
    }

    /// Bytes of the usual chunk.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunks.iter().map(longest).fold(self.cell_bytes, u64::saturating_mul)
    }
}

/// Cells of the longest chunk.
pub(super) fn longest(chunks: &ChunkSizes) -> u64 {
    match chunks {
        ChunkSizes::Regular(n) => (*n).max(1),
        ChunkSizes::Listed(sizes) => sizes.iter().copied().max().unwrap_or(1).max(1),
    }
}

fn count(chunks: &ChunkSizes, cells: u64) -> u64 {
    match chunks {
        ChunkSizes::Regular(n) => cells.div_ceil((*n).max(1)),
        ChunkSizes::Listed(sizes) => sizes.len() as u64,
    }
}

/// What a dimension is to the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisRole {
    /// Rows or columns of a map.
    Space,
    /// The axis of a series.
    Series,
    /// All else, such as bands: always asked for whole.
    Other,
}

/// Roles of the dimensions of an array: those named lie in space; of the others the series is along `time`, or along the
/// longest.
pub fn roles(layout: &ArrayLayout, space: [Option<&str>; 2], time: Option<&str>) -> Vec<AxisRole> {
    let in_space = |dim: &String| space.iter().flatten().any(|s| s == dim);
    let longest = || {
        let others = layout.dims.iter().zip(&layout.shape).filter(|(dim, _)| !in_space(dim));
        others.max_by_key(|(_, n)| **n).map(|(dim, _)| dim.as_str())
    };
    let series = time.filter(|t| layout.dims.iter().any(|d| d == t)).or_else(longest);
    let role = |dim: &String| match (in_space(dim), series == Some(dim.as_str())) {
        (true, _) => AxisRole::Space,
        (_, true) => AxisRole::Series,
        _ => AxisRole::Other,
    };
    layout.dims.iter().map(role).collect()
}

/// How many cells of an axis are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All.
    Whole,
    /// So many side by side.
    Cells(u64),
}

/// Where a box begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Where a chunk does.
    Aligned,
    /// Anywhere: the mean over all places.
    Anywhere,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What it is called.
    pub name: String,
    /// Along each dimension.
    pub extents: Vec<Extent>,
    /// Where the box begins.
    pub placed: Placement,
}

/// What a question reads. Counts are means where the place of the box is left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The question.
    pub ask: Ask,
    /// Chunks.
    pub chunks: f64,
    /// Requests: one for each chunk; of shards one for the index, and one for each run of chunks that lie side by side.
    pub requests: f64,
    /// Bytes of these chunks, decoded.
    pub bytes: f64,
    /// Bytes of the cells that were asked for.
    pub useful_bytes: f64,
}

impl Access {
    /// Bytes read for each byte that is of use.
    pub fn amplification(&self) -> f64 {
        if self.useful_bytes > 0.0 { self.bytes / self.useful_bytes } else { 1.0 }
    }
}

/// The questions that fit an array, and what each reads: the series of a pixel, one map, a box through the series (aligned with
/// chunks, and anywhere), everything.
pub fn accesses(layout: &ArrayLayout, roles: &[AxisRole]) -> Vec<Access> {
    let ask = |name: String, placed: Placement, space: &dyn Fn(u64) -> Extent, series: Extent| -> Ask {
        let extent = |(role, &n): (&AxisRole, &u64)| match role {
            AxisRole::Space => space(n),
            AxisRole::Series => series,
            AxisRole::Other => Extent::Whole,
        };
        Ask { name, extents: roles.iter().zip(&layout.shape).map(extent).collect(), placed }
    };
    let (has_space, has_series) = (roles.contains(&AxisRole::Space), roles.contains(&AxisRole::Series));
    let mut asks = Vec::new();
    let one = |_: u64| Extent::Cells(1);
    let whole = |_: u64| Extent::Whole;
    if has_space && has_series {
        asks.push(ask("series of a pixel".to_owned(), Placement::Aligned, &one, Extent::Whole));
    }
    if has_space {
        asks.push(ask("one map".to_owned(), Placement::Aligned, &whole, Extent::Cells(1)));
    }
    if has_space && has_series {
        let sides: Vec<u64> = roles
            .iter()
            .zip(&layout.shape)
            .filter(|(role, _)| **role == AxisRole::Space)
            .map(|(_, n)| side(*n))
            .collect();
        let name = sides.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ");
        let part = |n: u64| Extent::Cells(side(n));
        asks.push(ask(format!("{name} through the series, aligned"), Placement::Aligned, &part, Extent::Whole));
        asks.push(ask(format!("{name} through the series, anywhere"), Placement::Anywhere, &part, Extent::Whole));
    }
    asks.push(ask("everything".to_owned(), Placement::Aligned, &whole, Extent::Whole));
    asks.into_iter().map(|ask| access(layout, ask)).collect()
}

/// Half of an axis that is shorter than the box.
fn side(cells: u64) -> u64 {
    if cells >= BOX { BOX } else { cells.div_ceil(2) }
}

fn access(layout: &ArrayLayout, ask: Ask) -> Access {
    let (mut chunks, mut read, mut useful) = (1.0, layout.cell_bytes as f64, layout.cell_bytes as f64);
    let (mut shards, mut runs) = (1.0, 1.0);
    // From the last dimension on, chunks of a shard lie side by side as long as all of them are asked for.
    let mut joined = true;
    for d in (0..layout.shape.len()).rev() {
        let n = layout.shape[d];
        let asked = match ask.extents[d] {
            Extent::Whole => n,
            Extent::Cells(cells) => cells.min(n),
        };
        let whole = asked == n;
        let here = touched(&layout.chunks[d], n, asked, ask.placed);
        chunks *= here.0;
        read *= here.1;
        useful *= asked as f64;
        if let Some(sizes) = &layout.shards {
            let objects = touched(&sizes[d], n, asked, ask.placed).0;
            shards *= objects;
            if !joined {
                runs *= here.0 / objects.max(1.0);
            }
            joined &= whole;
        }
    }
    let requests = if layout.shards.is_some() { shards * (1.0 + runs) } else { chunks };
    Access { ask, chunks, requests, bytes: read, useful_bytes: useful }
}

/// Chunks that a run of `asked` of `n` cells touches along an axis, and the cells that these have.
fn touched(chunks: &ChunkSizes, n: u64, asked: u64, placed: Placement) -> (f64, f64) {
    if asked == 0 || n == 0 {
        return (0.0, 0.0);
    }
    match (chunks, placed) {
        (ChunkSizes::Regular(size), Placement::Aligned) => {
            let count = asked.div_ceil((*size).max(1));
            (count as f64, count as f64 * *size as f64)
        }
        (ChunkSizes::Regular(size), Placement::Anywhere) => {
            let count = mean(n, asked, (*size).max(1));
            (count, count * *size as f64)
        }
        (ChunkSizes::Listed(sizes), _) => {
            // Chunks of their own lengths: those of the cells in the middle stand for all places.
            let first = if placed == Placement::Aligned { 0 } else { (n - asked) / 2 };
            let (mut at, mut count, mut cells) = (0, 0.0, 0.0);
            for &size in sizes {
                if at < first + asked && at + size > first {
                    count += 1.0;
                    cells += size as f64;
                }
                at += size;
            }
            (count, cells)
        }
    }
}

/// Chunks of `size` cells that a run of `asked` cells touches, as the mean over all of its places on an axis of `n`.
fn mean(n: u64, asked: u64, size: u64) -> f64 {
    let places = n - asked + 1;
    // Σ ⌊(o + asked − 1) / size⌋ − ⌊o / size⌋ + 1 over all o: sums of ⌊i / size⌋ over runs of i.
    let below = |k: u64| -> u128 {
        let (k, size) = (u128::from(k), u128::from(size));
        let (full, rest) = (k / size, k % size);
        size * (full * full.saturating_sub(1) / 2) + full * rest
    };
    let ends = below(n) - below(asked - 1);
    let starts = below(places);
    (ends - starts) as f64 / places as f64 + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demo(shards: Option<[u64; 4]>) -> ArrayLayout {
        let sizes = |of: [u64; 4]| of.map(ChunkSizes::Regular).to_vec();
        ArrayLayout {
            dims: ["time", "band", "y", "x"].map(str::to_owned).to_vec(),
            shape: vec![12, 4, 1000, 1000],
            chunks: sizes([1, 4, 250, 250]),
            shards: shards.map(sizes),
            cell_bytes: 2,
        }
    }

    fn figures(layout: &ArrayLayout) -> Vec<(f64, f64, f64)> {
        let roles = roles(layout, [Some("y"), Some("x")], Some("time"));
        accesses(layout, &roles).iter().map(|a| (a.chunks, a.bytes / 1e6, a.amplification())).collect()
    }

    #[test]
    fn the_figures_of_the_demo_are_those_of_arithmetic() {
        let found = figures(&demo(None));
        assert_eq!(found[0], (12.0, 6.0, 62_500.0));
        assert_eq!(found[1], (16.0, 8.0, 1.0));
        assert_eq!(found[2], (48.0, 24.0, 1.0));
        // Of 501 places along a side three leave 500 cells in two chunks, and all others touch three.
        let side = (3.0 * 2.0 + 498.0 * 3.0) / 501.0;
        assert!((found[3].0 - 12.0 * side * side).abs() < 1e-9);
        assert_eq!(found[4], (192.0, 96.0, 1.0));
    }

    #[test]
    fn a_shard_takes_its_index_and_a_request_for_each_run_of_chunks() {
        let layout = demo(Some([12, 4, 500, 1000]));
        let roles = roles(&layout, [Some("y"), Some("x")], None);
        let found: Vec<f64> = accesses(&layout, &roles).iter().map(|a| a.requests).collect();
        // A pixel: 12 chunks of one shard, none beside another. A map: both shards, of which a run each. Everything: all.
        assert_eq!((found[0], found[1], found[4]), (13.0, 4.0, 4.0));
    }

    #[test]
    fn arrays_without_space_or_series_have_fewer_questions() {
        let mut layout = demo(None);
        (layout.dims, layout.shape) = (vec!["y".into(), "x".into()], vec![300, 300]);
        layout.chunks = vec![ChunkSizes::Regular(100), ChunkSizes::Listed(vec![10, 290])];
        let names = |space| -> Vec<String> {
            accesses(&layout, &roles(&layout, space, None)).into_iter().map(|a| a.ask.name).collect()
        };
        assert_eq!(names([Some("y"), Some("x")]), ["one map", "everything"]);
        assert_eq!(names([None, None]), ["everything"]);
    }

    proptest! {
        #[test]
        fn the_mean_over_all_places_is_that_of_counting(n in 1u64..200, asked in 1u64..200, size in 1u64..60) {
            let asked = asked.min(n);
            let count = |o: u64| (o + asked - 1) / size - o / size + 1;
            let places = n - asked + 1;
            let want = (0..places).map(count).sum::<u64>() as f64 / places as f64;
            prop_assert!((mean(n, asked, size) - want).abs() < 1e-9);
        }
    }
}
