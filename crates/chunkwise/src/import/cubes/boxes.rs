//! How an import is cut into boxes that fit its memory: whole stored objects each, as many as keep chunks of the files from
//! being decoded again.

use super::arrays::{Array, From};
use super::{CubesExplained, ImportError};
use crate::memory;
use indexmap::IndexMap;

/// Chunks of files that are decoded more often than this need leave.
const MOST_AMPLIFICATION: f64 = 4.0;
/// Above this, fewer threads with larger boxes are tried.
const GOOD: f64 = 1.5;

/// The boxes of all arrays.
#[derive(Debug)]
pub(super) struct Boxes {
    pub(super) of: Vec<Cut>,
    pub(super) threads: usize,
    memory: u64,
}

/// The boxes of one array.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Cells that are filled: first, and behind the last.
    start: Vec<u64>,
    end: Vec<u64>,
    /// Cells of a stored object.
    object: Vec<u64>,
    /// Cells of a box: whole objects.
    size: Vec<u64>,
    /// Objects before those of this array.
    first_object: u64,
}

impl Cut {
    fn new(array: &Array, from: u64) -> Cut {
        let spec = &array.spec;
        let object = spec.shards.clone().unwrap_or_else(|| spec.chunks.clone());
        let mut start = vec![0; spec.shape.len()];
        if let Some(axis) = array.axis {
            start[axis] = from;
        }
        Cut { start, end: spec.shape.clone(), size: object.clone(), object, first_object: 0 }
    }

    /// First box and number of boxes along each dimension.
    fn grid(&self) -> (Vec<u64>, Vec<u64>) {
        let axes = self.start.iter().zip(&self.end).zip(&self.size);
        axes.map(|((&start, &end), &size)| (start / size, end.div_ceil(size).saturating_sub(start / size))).unzip()
    }

    /// Number of boxes.
    pub(super) fn count(&self) -> u64 {
        self.grid().1.iter().fold(1, |n, &g| n.saturating_mul(g))
    }

    /// First cell and number of cells of a box.
    pub(super) fn part(&self, number: u64) -> (Vec<u64>, Vec<u64>) {
        let (first, grid) = self.grid();
        let at = crate::write::block::index(number, &grid);
        let axes = at.iter().zip(&first).zip(&self.size).zip(self.start.iter().zip(&self.end));
        axes.map(|(((&at, &first), &size), (&start, &end))| {
            let begin = (first + at) * size;
            let from = begin.max(start);
            (from, (begin + size).min(end).saturating_sub(from))
        })
        .unzip()
    }

    /// Numbers of the stored objects that a box fills.
    pub(super) fn objects(&self, start: &[u64], count: &[u64]) -> Vec<u64> {
        let grid: Vec<u64> = self.end.iter().zip(&self.object).map(|(&n, &o)| n.div_ceil(o)).collect();
        let first: Vec<u64> = start.iter().zip(&self.object).map(|(&s, &o)| s / o).collect();
        let some: Vec<u64> = count.iter().zip(&self.object).map(|(&n, &o)| n.div_ceil(o)).collect();
        let total = some.iter().fold(1u64, |n, &s| n.saturating_mul(s));
        let one = |number: u64| {
            let at = crate::write::block::index(number, &some);
            let index: Vec<u64> = first.iter().zip(at).map(|(f, a)| f + a).collect();
            self.first_object + crate::write::block::position(&index, &grid)
        };
        (0..total).map(one).collect()
    }

    fn object_count(&self) -> u64 {
        self.end.iter().zip(&self.object).fold(1, |n, (&len, &o)| n.saturating_mul(len.div_ceil(o)))
    }

    /// Along each dimension: chunks of a file that boxes decode, and chunks that there are.
    fn decoded(&self, array: &Array, from: &From) -> Vec<(u64, u64)> {
        let (first, grid) = self.grid();
        let axis = |axis: usize| {
            // The file's cells along this dimension, in those of the cube.
            let begin = if array.axis == Some(axis) { from.at } else { 0 };
            let end = begin + from.shape[axis];
            let (low, high) = (begin.max(self.start[axis]), end.min(self.end[axis]));
            if low >= high {
                return (0, 0);
            }
            let chunk = |cell: u64| from.chunks[axis].locate(cell - begin).0;
            let size = self.size[axis];
            let range = (low / size).max(first[axis])..=((high - 1) / size).min(first[axis] + grid[axis] - 1);
            let of = |at: u64| {
                let (a, b) = ((at * size).max(low), ((at + 1) * size).min(high));
                chunk(b - 1) - chunk(a) + 1
            };
            (range.map(of).sum(), chunk(high - 1) - chunk(low) + 1)
        };
        (0..self.size.len()).map(axis).collect()
    }

    /// Bytes that a thread takes for a box.
    fn bytes(&self, array: &Array) -> u64 {
        let cells = |v: &[u64]| v.iter().fold(1u64, |n, &c| n.saturating_mul(c));
        let size = array.dtype.size() as u64;
        let clipped: Vec<u64> = self.size.iter().zip(&self.end).map(|(&s, &n)| s.min(n.max(1))).collect();
        let held = cells(&clipped).saturating_mul(size);
        let read = array.from.iter().map(|from| {
            let chunk: Vec<u64> = from.chunks.iter().map(chunkwise_core::cube::ChunkSizes::longest).collect();
            let one = cells(&chunk).saturating_mul(from.values.stored_size() as u64);
            let made = if from.values.are_bits() { 0 } else { cells(&chunk).saturating_mul(size) };
            // Encoded, and what codecs keep between their steps.
            one.saturating_mul(3)
                .saturating_add(from.reader.encoded_most().min(one.saturating_mul(2)))
                .saturating_add(made)
        });
        let chunk = cells(&array.spec.chunks).saturating_mul(size);
        let object = if array.spec.shards.is_some() { cells(&self.object).saturating_mul(size) } else { 0 };
        held.saturating_add(read.max().unwrap_or(0)).saturating_add(chunk.saturating_mul(4)).saturating_add(object)
    }

    /// Makes boxes larger while chunks are decoded again and memory is left.
    fn grow(&mut self, array: &Array, room: u64) {
        let mut stuck = vec![false; self.size.len()];
        loop {
            let mut factors = vec![1.0f64; self.size.len()];
            for from in &array.from {
                for (factor, (decoded, chunks)) in factors.iter_mut().zip(self.decoded(array, from)) {
                    *factor = factor.max(decoded as f64 / chunks.max(1) as f64);
                }
            }
            let open = (0..factors.len()).filter(|&a| !stuck[a] && factors[a] > 1.0 && self.size[a] < self.end[a]);
            let Some(axis) = open.max_by(|&a, &b| factors[a].total_cmp(&factors[b])) else { return };
            let before = self.size[axis];
            let whole = self.end[axis].next_multiple_of(self.object[axis]);
            self.size[axis] = (before * 2).min(whole);
            if self.bytes(array) > room {
                self.size[axis] = before;
                stuck[axis] = true;
            }
        }
    }
}

/// Chunks that are decoded, and chunks that there are, of all files of an array.
fn decodes(cut: &Cut, array: &Array) -> (u64, u64) {
    let mut sums = (0u64, 0u64);
    for from in &array.from {
        let product =
            |of: fn(&(u64, u64)) -> u64| cut.decoded(array, from).iter().map(of).fold(1u64, u64::saturating_mul);
        sums.0 = sums.0.saturating_add(product(|d| d.0));
        sums.1 = sums.1.saturating_add(product(|d| d.1));
    }
    sums
}

impl Boxes {
    /// Cuts arrays into boxes.
    ///
    /// # Errors
    /// One object of each array does not fit; chunks would be decoded again and again.
    pub(super) fn plan(arrays: &[Array], memory: u64, threads: usize, redecode: bool) -> Result<Boxes, ImportError> {
        Boxes::plan_from(arrays, 0, memory, threads, redecode)
    }

    /// As [`Boxes::plan`], of the cells from an index on along the joined dimension.
    pub(super) fn plan_from(
        arrays: &[Array],
        from: u64,
        memory: u64,
        threads: usize,
        redecode: bool,
    ) -> Result<Boxes, ImportError> {
        let base = memory::base();
        let whole: u64 = arrays.iter().filter_map(|a| a.whole.as_ref()).map(|w| w.len() as u64).sum();
        let base = base.saturating_add(whole);
        let least: Vec<Cut> = arrays.iter().map(|array| Cut::new(array, from)).collect();
        let needs = |cuts: &[Cut]| cuts.iter().zip(arrays).map(|(cut, array)| cut.bytes(array)).max().unwrap_or(0);
        let mut best: Option<(f64, usize, Vec<Cut>)> = None;
        for count in (1..=threads.max(1)).rev() {
            let room = memory.saturating_sub(base) / count as u64;
            if needs(&least) > room {
                continue;
            }
            let mut cuts = least.clone();
            cuts.iter_mut().zip(arrays).for_each(|(cut, array)| cut.grow(array, room));
            let factor = factor(&cuts, arrays);
            if best.as_ref().is_none_or(|(known, ..)| factor < *known * 0.9) {
                best = Some((factor, count, cuts));
            }
            if factor <= GOOD {
                break;
            }
        }
        let needed = base.saturating_add(needs(&least));
        let Some((factor, threads, mut cuts)) = best else {
            return Err(ImportError::Memory { needed, limit: memory });
        };
        if factor > MOST_AMPLIFICATION && !redecode {
            let problem =
                format!("within this memory chunks of the files would be decoded {factor:.1} times on average");
            let hint = "pass more `--memory`, other `--chunk`s, or `--allow-redecode`";
            return Err(ImportError::asked(problem, hint));
        }
        let mut first = 0;
        for cut in &mut cuts {
            cut.first_object = first;
            first += cut.object_count();
        }
        let memory = base.saturating_add(needs(&cuts).saturating_mul(threads as u64));
        Ok(Boxes { of: cuts, threads, memory })
    }

    /// Boxes of all arrays that are filled from files.
    pub(super) fn count(&self, arrays: &[Array]) -> u64 {
        self.of.iter().zip(arrays).filter(|(_, array)| array.whole.is_none()).map(|(cut, _)| cut.count()).sum()
    }

    /// The array and box of a number.
    pub(super) fn find(&self, arrays: &[Array], mut number: u64) -> Option<(usize, u64)> {
        for (at, (cut, array)) in self.of.iter().zip(arrays).enumerate() {
            if array.whole.is_some() {
                continue;
            }
            match number.checked_sub(cut.count()) {
                Some(rest) => number = rest,
                None => return Some((at, number)),
            }
        }
        None
    }

    pub(super) fn explain(&self, arrays: &[Array], files: usize) -> CubesExplained {
        let mut dims = IndexMap::new();
        let (mut chunks, mut output, mut decoded, mut there, mut bytes) = (0u64, 0u64, 0u64, 0u64, 0u64);
        for (cut, array) in self.of.iter().zip(arrays) {
            for (dim, &length) in array.spec.dims.iter().zip(&array.spec.shape) {
                dims.insert(dim.clone(), length);
            }
            let size = array.dtype.size() as u64;
            let axes = cut.start.iter().zip(&cut.end);
            output += axes.clone().fold(size, |n, (&a, &b)| n.saturating_mul(b - a));
            let axes = axes.zip(&array.spec.chunks);
            chunks += axes.fold(1u64, |n, ((&a, &b), &c)| n.saturating_mul(b.div_ceil(c) - a / c));
            let (some, all) = decodes(cut, array);
            decoded += some;
            there += all;
            let cells = array
                .from
                .first()
                .map_or(0, |from| from.chunks.iter().fold(1u64, |n, c| n.saturating_mul(c.longest())));
            bytes += some.saturating_mul(cells).saturating_mul(size);
        }
        CubesExplained {
            files: files as u64,
            variables: arrays.iter().map(|array| array.spec.path.clone()).collect(),
            dims,
            chunks,
            decoded_chunks: decoded,
            amplification: if there == 0 { 1.0 } else { decoded as f64 / there as f64 },
            decoded_bytes: bytes,
            output_bytes: output,
            partitions: self.of.iter().map(Cut::object_count).sum(),
            threads: self.threads as u64,
            memory_bytes: self.memory,
        }
    }
}

fn factor(cuts: &[Cut], arrays: &[Array]) -> f64 {
    let weighed = cuts.iter().zip(arrays).map(|(cut, array)| {
        let (decoded, there) = decodes(cut, array);
        let chunk = array.from.first().map_or(0.0, |from| from.chunks.iter().map(|c| c.longest() as f64).product());
        (decoded as f64 * chunk, there as f64 * chunk)
    });
    let (decoded, there) = weighed.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    if there == 0.0 { 1.0 } else { decoded / there }
}
