//! Whole results in memory: for tables, and for Rust callers.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::dtype::{DType, Element, ForElement};
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::finish::finished_type;
use chunkwise_core::values::{Column, Values};
use std::sync::{Mutex, PoisonError};

/// Collects every statistic of a stage as one column over the whole output, in C order.
#[derive(Debug)]
pub struct MemorySink {
    shape: Vec<u64>,
    columns: Vec<Vec<Mutex<Column>>>,
}

impl MemorySink {
    /// Room for the output of `stage`; cells that nothing is put into are missing.
    pub fn new(stage: &Stage) -> MemorySink {
        let shape = stage.output_shape();
        let cells: u64 = shape.iter().product();
        let column = |dtype: DType| {
            Mutex::new(Column { values: Values::zeros(dtype, cells as usize), valid: Some(vec![0; cells as usize]) })
        };
        let columns = stage
            .folded
            .iter()
            .map(|f| f.statistics.iter().map(|&s| column(finished_type(s, f.element, f.packing))).collect())
            .collect();
        MemorySink { shape, columns }
    }

    /// The columns, by what was folded and by statistic.
    pub fn into_columns(self) -> Vec<Vec<Column>> {
        self.columns
            .into_iter()
            .map(|c| c.into_iter().map(|m| m.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
            .collect()
    }
}

impl Sink for MemorySink {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let mut whole = self.columns[folded][statistic].lock().unwrap_or_else(PoisonError::into_inner);
        let whole = &mut *whole;
        if whole.values.dtype() != column.values.dtype() {
            // What is decoded on its way here (an anomaly) is float64 whatever the stage folds.
            whole.values = Values::zeros(column.values.dtype(), whole.values.len());
        }
        let dtype = whole.values.dtype();
        dtype.dispatch(Scatter { whole: &mut whole.values, part: &column.values, shape: &self.shape, region })?;
        if let Some(valid) = &mut whole.valid {
            each_row(&self.shape, region, |at, from, n| match &column.valid {
                Some(v) => valid[at..at + n].copy_from_slice(&v[from..from + n]),
                None => valid[at..at + n].fill(1),
            });
        }
        Ok(())
    }
}

struct Scatter<'a> {
    whole: &'a mut Values,
    part: &'a Values,
    shape: &'a [u64],
    region: &'a [(u64, u64)],
}

impl ForElement for Scatter<'_> {
    type Output = Result<(), BoxError>;
    fn run<T: Element>(self) -> Self::Output {
        let part = T::slice(self.part);
        let whole = T::vec_mut(self.whole).ok_or("a column of another type than its statistic's")?;
        each_row(self.shape, self.region, |at, from, n| whole[at..at + n].copy_from_slice(&part[from..from + n]));
        Ok(())
    }
}

/// Calls `each(cell of the whole, cell of the box, length)` for every row of a box of a C-order array.
pub(crate) fn each_row(shape: &[u64], region: &[(u64, u64)], mut each: impl FnMut(usize, usize, usize)) {
    let Some((inner, outer)) = region.split_last() else {
        each(0, 0, 1);
        return;
    };
    let n = (inner.1 - inner.0) as usize;
    let rows: u64 = outer.iter().map(|(a, b)| b - a).product();
    for row in 0..rows {
        let mut rest = row;
        let mut at = 0u64;
        let mut stride = shape[shape.len() - 1];
        for d in (0..outer.len()).rev() {
            let (a, b) = outer[d];
            at += (a + rest % (b - a)) * stride;
            rest /= b - a;
            stride *= shape[d];
        }
        each((at + inner.0) as usize, row as usize * n, n);
    }
}
