//! Finished columns into the chunks of a new cube.
//!
//! Output chunks that are partly filled are the frontier: kept until their last cell has come, then written once.

use super::memory::each_row;
use crate::error::BoxError;
use crate::exec::Sink;
use crate::write::CubeWriter;
use chunkwise_core::cf::encode::{EncodeError, OutputType, Units, encode};
use chunkwise_core::cube::Packing;
use chunkwise_core::dtype::{DType, Element, ForElement};
use chunkwise_core::values::{Column, Values};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How the columns of one statistic become cells of one array.
#[derive(Clone, Debug)]
pub struct Target {
    /// Number of the array in the writer.
    pub array: usize,
    /// Type of its cells.
    pub output: OutputType,
    /// Packing of the column's values, where they are stored values; decoded values have none.
    pub packing: Packing,
    /// Whether the column's values are stored values.
    pub stored: bool,
}

/// Puts the columns of a stage into the arrays of a [`CubeWriter`].
#[derive(Debug)]
pub struct ZarrSink<'a> {
    writer: &'a CubeWriter,
    /// By what was folded and by statistic.
    targets: Vec<Vec<Target>>,
    frontier: Mutex<HashMap<(usize, Vec<u64>), Open>>,
}

/// A chunk that is partly filled: its cells within the array, and how many are still to come.
#[derive(Debug)]
struct Open {
    cells: Vec<u8>,
    left: u64,
}

impl<'a> ZarrSink<'a> {
    /// A sink for a stage whose columns go where `targets` says.
    pub fn new(writer: &'a CubeWriter, targets: Vec<Vec<Target>>) -> ZarrSink<'a> {
        ZarrSink { writer, targets, frontier: Mutex::new(HashMap::new()) }
    }
}

impl Sink for ZarrSink<'_> {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let target = &self.targets[folded][statistic];
        let array = &self.writer.arrays()[target.array];
        let mut bytes = Vec::new();
        cells(&column, target, &mut bytes)?;
        let size = array.cell_bytes();
        let chunks = &array.spec().chunks;
        let first: Vec<u64> = region.iter().zip(chunks).map(|(r, c)| r.0 / c).collect();
        let count: Vec<u64> = region.iter().zip(chunks).zip(&first).map(|((r, c), f)| r.1.div_ceil(*c) - f).collect();
        for n in 0..count.iter().product::<u64>() {
            let mut rest = n;
            let mut chunk = first.clone();
            for d in (0..chunk.len()).rev() {
                chunk[d] += rest % count[d];
                rest /= count[d];
            }
            let (start, extent) = array.extent(&chunk);
            // The part of the region in this chunk, seen from the region and from the chunk.
            let part: Vec<(u64, u64)> =
                region.iter().zip(start.iter().zip(&extent)).map(|(r, (s, e))| (r.0.max(*s), r.1.min(s + e))).collect();
            let total: u64 = extent.iter().product();
            let here: u64 = part.iter().map(|(a, b)| b - a).product();
            if here == 0 {
                continue;
            }
            if here == total && part.as_slice() == region {
                self.writer.write_chunk(target.array, &chunk, &bytes)?;
                continue;
            }
            let in_region: Vec<(u64, u64)> = part.iter().zip(region).map(|(p, r)| (p.0 - r.0, p.1 - r.0)).collect();
            let in_chunk: Vec<(u64, u64)> = part.iter().zip(&start).map(|(p, s)| (p.0 - s, p.1 - s)).collect();
            let shape: Vec<u64> = region.iter().map(|r| r.1 - r.0).collect();
            let mut piece = vec![0u8; here as usize * size];
            each_row(&shape, &in_region, |from, to, n| {
                piece[to * size..(to + n) * size].copy_from_slice(&bytes[from * size..(from + n) * size]);
            });
            let done = {
                let mut frontier = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
                let open = frontier
                    .entry((target.array, chunk.clone()))
                    .or_insert_with(|| Open { cells: vec![0; total as usize * size], left: total });
                each_row(&extent, &in_chunk, |to, from, n| {
                    open.cells[to * size..(to + n) * size].copy_from_slice(&piece[from * size..(from + n) * size]);
                });
                open.left -= here;
                match open.left {
                    0 => frontier.remove(&(target.array, chunk.clone())),
                    _ => None,
                }
            };
            if let Some(done) = done {
                self.writer.write_chunk(target.array, &chunk, &done.cells)?;
            }
        }
        Ok(())
    }
}

/// A column as the bytes of its array's cells.
pub(super) fn cells(column: &Column, target: &Target, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    struct Work<'a>(&'a Column, Units, &'a OutputType, &'a mut Vec<u8>);
    impl ForElement for Work<'_> {
        type Output = Result<(), EncodeError>;
        fn run<T: Element>(self) -> Self::Output {
            let column = self.0;
            encode::<T>(T::slice(&column.values), |i| column.is_valid(i), self.1, self.2, self.3)
        }
    }
    let dtype: DType = column.values.dtype();
    let keeps = target.stored && target.output.packing == target.packing;
    if keeps {
        return dtype.dispatch(Work(column, Units::Stored, &target.output, bytes));
    }
    if target.stored && !target.packing.is_none() {
        let Packing { scale, offset } = target.packing;
        let values = (0..column.values.len()).map(|i| column.values.f64_at(i) * scale + offset).collect();
        let decoded = Column { values: Values::Float64(values), valid: column.valid.clone() };
        return DType::Float64.dispatch(Work(&decoded, Units::Decoded, &target.output, bytes));
    }
    dtype.dispatch(Work(column, Units::Decoded, &target.output, bytes))
}
