//! Whole results in memory, as the cells of the arrays that they would be written into.

use super::memory::each_row;
use super::zarr::{Target, cells};
use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::values::Column;
use std::sync::{Mutex, PoisonError};

/// Keeps the columns of a stage as cells of arrays.
#[derive(Debug)]
pub struct StoredSink {
    shape: Vec<u64>,
    /// By what was folded and by statistic.
    targets: Vec<Vec<Target>>,
    arrays: Vec<Vec<Mutex<Vec<u8>>>>,
}

impl StoredSink {
    /// Room for outputs of `shape`, a part of the arrays that `targets` names.
    pub fn new(shape: Vec<u64>, targets: Vec<Vec<Target>>) -> StoredSink {
        let count = shape.iter().product::<u64>() as usize;
        let room = |t: &Target| Mutex::new(vec![0; count * t.output.stored.size()]);
        let arrays = targets.iter().map(|of| of.iter().map(room).collect()).collect();
        StoredSink { shape, targets, arrays }
    }

    /// Bytes of all cells.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = self.targets.iter().flatten().map(|t| t.output.stored.size() as u64);
        self.shape.iter().fold(sizes.sum(), |all: u64, &n| all.saturating_mul(n))
    }

    /// The number of each array, and its cells: native-endian, in C order.
    pub fn into_cells(self) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let numbers = self.targets.into_iter().flatten().map(|t| t.array);
        let cells = self.arrays.into_iter().flatten();
        numbers.zip(cells.map(|m| m.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Sink for StoredSink {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let target = &self.targets[folded][statistic];
        let mut part = Vec::new();
        cells(&column, target, &mut part)?;
        let size = target.output.stored.size();
        let mut whole = self.arrays[folded][statistic].lock().unwrap_or_else(PoisonError::into_inner);
        each_row(&self.shape, region, |at, from, n| {
            whole[at * size..(at + n) * size].copy_from_slice(&part[from * size..(from + n) * size]);
        });
        Ok(())
    }
}
