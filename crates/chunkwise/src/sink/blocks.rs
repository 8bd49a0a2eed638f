//! Whole results as numbers, each of which stands for a block of cells: for pictures, which have fewer pixels than a cube has cells.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::cube::Packing;
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::Statistic;
use chunkwise_core::values::Column;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// How the cells of a block are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Their mean, of those that are not missing.
    Mean,
    /// The value that most of them have; of ties the greater.
    Mode {
        /// Different values that a cube may have.
        most: usize,
    },
}

/// Too many values for the most frequent one to mean much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a block of cells has more than {most} different values, too many to take the most frequent")]
pub struct TooManyValues {
    /// The bound.
    pub most: usize,
}

/// Bytes that one number of the result takes.
const CELL: u64 = 8 + size_of::<Sum>() as u64;
/// Bytes that a value takes among those of a block, and what the block itself takes.
const VALUE: u64 = 2 * size_of::<(f64, u32)>() as u64;
const BLOCK: u64 = 64;

/// Collects each statistic of a stage as numbers, over blocks of its output.
#[derive(Debug)]
pub struct BlockSink {
    shape: Vec<u64>,
    sizes: Vec<u64>,
    how: Blocks,
    packings: Vec<Vec<Packing>>,
    columns: Vec<Vec<Mutex<Whole>>>,
}

/// The numbers of one statistic.
#[derive(Debug)]
struct Whole {
    values: Vec<f64>,
    /// Of means, the sums so far.
    sums: Vec<Sum>,
    /// Of modes, the blocks that are seen in part.
    open: HashMap<usize, Counts>,
}

/// A sum in two parts: what the first has no digits for is in the second, so that its order does not tell in an `f64`.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    high: f64,
    low: f64,
    count: u64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let part = sum - self.high;
        let rest = (self.high - (sum - part)) + (value - part);
        self.high = sum;
        if rest.is_finite() {
            self.low += rest;
        }
    }

    fn join(&mut self, other: Sum) {
        self.add(other.high);
        self.add(other.low);
        self.count += other.count;
    }

    fn mean(self) -> f64 {
        if self.count == 0 { f64::NAN } else { (self.high + self.low) / self.count as f64 }
    }
}

/// How often each value stands in a block, and how many of its cells are seen.
#[derive(Clone, Debug, Default)]
struct Counts {
    values: Vec<(f64, u32)>,
    seen: u64,
}

impl Counts {
    fn add(&mut self, value: f64, count: u32, most: usize) -> Result<(), TooManyValues> {
        if let Some(known) = self.values.iter_mut().find(|v| v.0 == value) {
            known.1 += count;
        } else if self.values.len() >= most {
            return Err(TooManyValues { most });
        } else {
            self.values.push((value, count));
        }
        Ok(())
    }

    fn mode(&self) -> f64 {
        let greater = |a: &&(f64, u32), b: &&(f64, u32)| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0));
        self.values.iter().max_by(greater).map_or(f64::NAN, |v| v.0)
    }
}

impl BlockSink {
    /// Room for the output of `stage`, a number for each block of `sizes` cells (those at the end may have fewer), of values
    /// that are packed as `packing` says. Cells that nothing is put into are missing.
    pub fn new(
        stage: &Stage,
        sizes: Vec<u64>,
        how: Blocks,
        packing: impl Fn(usize, Statistic) -> Packing,
    ) -> BlockSink {
        let shape = stage.output_shape();
        let cells = product(&blocks(&shape, &sizes)) as usize;
        let whole = || {
            let sums = if how == Blocks::Mean && product(&sizes) > 1 { cells } else { 0 };
            Mutex::new(Whole { values: vec![f64::NAN; cells], sums: vec![Sum::default(); sums], open: HashMap::new() })
        };
        let of = |f: usize| stage.folded[f].statistics.iter();
        let folded = 0..stage.folded.len();
        BlockSink {
            packings: folded.clone().map(|f| of(f).map(|&s| packing(f, s)).collect()).collect(),
            columns: folded.map(|f| of(f).map(|_| whole()).collect()).collect(),
            shape,
            sizes,
            how,
        }
    }

    /// Bytes that it takes beside the walk.
    pub fn bytes(stage: &Stage, sizes: &[u64], how: Blocks, threads: usize) -> u64 {
        let shape = stage.output_shape();
        let all = blocks(&shape, sizes);
        let cells = product(&all);
        let columns: u64 = stage.folded.iter().map(|f| f.statistics.len() as u64).sum();
        let patch = stage.output_dims().map(|d| stage.dims[d].longest_patch()).fold(1, u64::saturating_mul);
        let block = product(sizes);
        if block <= 1 {
            return cells.saturating_mul(8 * columns);
        }
        let own = patch.saturating_mul(threads as u64).saturating_mul(size_of::<Sum>() as u64 + 8);
        let whole = match how {
            Blocks::Mean => cells.saturating_mul(CELL),
            Blocks::Mode { most } => {
                // Blocks that a border of chunks cuts wait for the rest of their cells.
                let cut = stage.output_dims().zip(&all).map(|(d, &n)| {
                    let cuts = stage.dims[d].patch_count().saturating_sub(1).min(n);
                    cells.checked_div(n).unwrap_or(0).saturating_mul(cuts)
                });
                let open = cut.fold(0, u64::saturating_add).min(cells);
                let each = BLOCK.saturating_add(VALUE.saturating_mul(block.min(most as u64)));
                cells.saturating_mul(8).saturating_add(open.saturating_mul(each))
            }
        };
        whole.saturating_add(own).saturating_mul(columns)
    }

    /// The numbers in C order, by what was folded and by statistic; `NaN` is missing.
    pub fn into_values(self) -> Vec<Vec<Vec<f64>>> {
        let finish = |m: Mutex<Whole>| {
            let mut whole = m.into_inner().unwrap_or_else(PoisonError::into_inner);
            if !whole.sums.is_empty() {
                whole.values = whole.sums.iter().map(|s| s.mean()).collect();
            }
            for (block, counts) in &whole.open {
                whole.values[*block] = counts.mode();
            }
            whole.values
        };
        self.columns.into_iter().map(|c| c.into_iter().map(finish).collect()).collect()
    }

    /// Cells of the block at an index along each dimension.
    fn cells_of(&self, block: &[u64]) -> u64 {
        let along = block.iter().zip(&self.sizes).zip(&self.shape);
        along.map(|((&b, &size), &n)| size.min(n - b * size)).product()
    }
}

/// Number of blocks along each dimension.
pub fn blocks(shape: &[u64], sizes: &[u64]) -> Vec<u64> {
    shape.iter().zip(sizes).map(|(n, size)| n.div_ceil((*size).max(1))).collect()
}

fn product(numbers: &[u64]) -> u64 {
    numbers.iter().copied().fold(1, u64::saturating_mul)
}

impl Sink for BlockSink {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let packing = self.packings[folded][statistic];
        let value = |i: usize| {
            if !column.is_valid(i) {
                return f64::NAN;
            }
            let v = column.values.f64_at(i);
            if packing.is_none() { v } else { v * packing.scale + packing.offset }
        };
        // The blocks that the region meets.
        let met: Vec<(u64, u64)> =
            region.iter().zip(&self.sizes).map(|(&(a, b), &size)| (a / size, b.div_ceil(size))).collect();
        let extent: Vec<u64> = met.iter().map(|(a, b)| b - a).collect();
        let count = product(&extent) as usize;
        let all = blocks(&self.shape, &self.sizes);
        // Where block `own` of the region is in the whole.
        let index = |own: usize| -> Vec<u64> {
            let mut rest = own as u64;
            let mut at = vec![0; extent.len()];
            for d in (0..extent.len()).rev() {
                at[d] = met[d].0 + rest % extent[d];
                rest /= extent[d];
            }
            at
        };
        let place = |block: &[u64]| block.iter().zip(&all).fold(0, |at, (b, n)| at * n + b) as usize;
        let lock = || self.columns[folded][statistic].lock().unwrap_or_else(PoisonError::into_inner);
        if product(&self.sizes) <= 1 {
            let mut whole = lock();
            each_cell(region, &self.sizes, &met, |i, own| {
                whole.values[place(&index(own))] = value(i);
                Ok(())
            })?;
            return Ok(());
        }
        match self.how {
            Blocks::Mean => {
                let mut sums = vec![Sum::default(); count];
                each_cell(region, &self.sizes, &met, |i, own| {
                    let v = value(i);
                    if !v.is_nan() {
                        sums[own].add(v);
                        sums[own].count += 1;
                    }
                    Ok(())
                })?;
                let mut whole = lock();
                for (own, sum) in sums.into_iter().enumerate().filter(|(_, s)| s.count > 0) {
                    whole.sums[place(&index(own))].join(sum);
                }
            }
            Blocks::Mode { most } => {
                let mut counts = vec![Counts::default(); count];
                each_cell(region, &self.sizes, &met, |i, own| {
                    let v = value(i);
                    counts[own].seen += 1;
                    if v.is_nan() { Ok(()) } else { counts[own].add(v, 1, most) }
                })?;
                let mut whole = lock();
                for (own, mut found) in counts.into_iter().enumerate() {
                    let block = index(own);
                    let at = place(&block);
                    if let Some(before) = whole.open.remove(&at) {
                        found.seen += before.seen;
                        for (value, count) in before.values {
                            found.add(value, count, most)?;
                        }
                    }
                    match found.seen >= self.cells_of(&block) {
                        true => whole.values[at] = found.mode(),
                        false => {
                            whole.open.insert(at, found);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Each cell of a region in C order, with the block of `met` that it lies in.
fn each_cell(
    region: &[(u64, u64)],
    sizes: &[u64],
    met: &[(u64, u64)],
    mut each: impl FnMut(usize, usize) -> Result<(), TooManyValues>,
) -> Result<(), TooManyValues> {
    let Some(((&(from, to), &size), &(first, _))) = region.last().zip(sizes.last()).zip(met.last()) else {
        return each(0, 0);
    };
    let last = region.len() - 1;
    let rows: u64 = region[..last].iter().map(|(a, b)| b - a).product();
    let mut i = 0;
    for row in 0..rows {
        let mut rest = row;
        let mut block = 0u64;
        let mut stride = met[last].1 - met[last].0;
        for d in (0..last).rev() {
            let n = region[d].1 - region[d].0;
            let at = region[d].0 + rest % n;
            rest /= n;
            block += (at / sizes[d] - met[d].0) * stride;
            stride *= met[d].1 - met[d].0;
        }
        for at in from..to {
            each(i, (block + at / size - first) as usize)?;
            i += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkwise_core::values::Values;

    fn sink(shape: &[u64], sizes: &[u64], how: Blocks) -> BlockSink {
        let cells = product(&blocks(shape, sizes)) as usize;
        let sums = if how == Blocks::Mean { cells } else { 0 };
        let whole = Whole { values: vec![f64::NAN; cells], sums: vec![Sum::default(); sums], open: HashMap::new() };
        BlockSink {
            shape: shape.to_vec(),
            sizes: sizes.to_vec(),
            how,
            packings: vec![vec![Packing { scale: 0.5, offset: 0.0 }]],
            columns: vec![vec![Mutex::new(whole)]],
        }
    }

    fn column(values: &[i16]) -> Column {
        let valid = values.iter().map(|v| u8::from(*v != 0)).collect();
        Column { values: Values::Int16(values.to_vec()), valid: Some(valid) }
    }

    /// A 3 × 5 field in two pieces, in blocks of 2 × 2; 0 is missing, and values are halves.
    fn run(how: Blocks) -> Result<Vec<f64>, BoxError> {
        let sink = sink(&[3, 5], &[2, 2], how);
        sink.put(0, 0, &[(0, 3), (3, 5)], column(&[8, 0, 4, 0, 6, 2]))?;
        sink.put(0, 0, &[(0, 3), (0, 3)], column(&[2, 4, 4, 2, 0, 4, 2, 2, 0]))?;
        Ok(sink.into_values().remove(0).remove(0))
    }

    #[test]
    fn blocks_are_means_of_what_is_not_missing() {
        // Rows: 2 4 4 8 _ / 2 _ 4 4 _ / 2 2 _ 6 2, halved.
        let found = run(Blocks::Mean).unwrap();
        let text: Vec<String> = found.iter().map(|v| format!("{v:.4}")).collect();
        assert_eq!(text, ["1.3333", "2.5000", "NaN", "1.0000", "3.0000", "1.0000"]);
    }

    #[test]
    fn modes_are_the_most_frequent_and_of_ties_the_greater() {
        let found = run(Blocks::Mode { most: 4 }).unwrap();
        let text: Vec<String> = found.iter().map(|v| format!("{v:.1}")).collect();
        assert_eq!(text, ["1.0", "2.0", "NaN", "1.0", "3.0", "1.0"]);
    }

    #[test]
    fn too_many_values_are_refused() {
        assert!(run(Blocks::Mode { most: 1 }).unwrap_err().to_string().contains("more than 1 different"));
    }

    #[test]
    fn the_order_of_pieces_does_not_tell() {
        let parts = [0.1, 1e16, -1e16, 0.2, 3.3, 1e-9];
        let mut up = Sum::default();
        let mut down = Sum::default();
        parts.iter().for_each(|&v| up.add(v));
        parts.iter().rev().for_each(|&v| down.add(v));
        assert_eq!((up.high + up.low).to_bits(), (down.high + down.low).to_bits());
    }
}
