//! Cells less the statistic of their group: the second stage of an anomaly.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::cube::Packing;
use chunkwise_core::plan::Stage;
use chunkwise_core::values::{Column, Values};

/// Takes the cells of a stage that folds nothing, subtracts what the first stage found for their groups, and hands them
/// on. Values are decoded; a cell is missing where it or its group's value is.
pub struct AnomalySink<'a> {
    /// By what was folded, the statistic of the first stage over its whole output.
    groups: &'a [Vec<Column>],
    /// The first stage.
    first: &'a Stage,
    /// Packing of the cells and of the groups' values, by what was folded.
    packing: Vec<(Packing, Packing)>,
    next: &'a dyn Sink,
}

impl std::fmt::Debug for AnomalySink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnomalySink").field("packing", &self.packing).finish_non_exhaustive()
    }
}

impl<'a> AnomalySink<'a> {
    /// Subtracts `groups`, the columns of stage `first`, and hands on to `next`.
    pub fn new(
        first: &'a Stage,
        groups: &'a [Vec<Column>],
        packing: Vec<(Packing, Packing)>,
        next: &'a dyn Sink,
    ) -> AnomalySink<'a> {
        AnomalySink { groups, first, packing, next }
    }

    /// Cell of the first stage's output that position `at` belongs to, along each of its dimensions.
    fn group_of(&self, at: &[u64]) -> Option<u64> {
        let mut cell = 0;
        for (d, &position) in self.first.dims.iter().zip(at) {
            if d.is_output() {
                cell = cell * d.output_len() + d.cell_of(position)?;
            }
        }
        Some(cell)
    }
}

impl Sink for AnomalySink<'_> {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let group = &self.groups[folded][0];
        let (own, theirs) = self.packing[folded];
        let decode = |v: f64, p: Packing| if p.is_none() { v } else { v * p.scale + p.offset };
        let n = column.values.len();
        let mut values = Vec::with_capacity(n);
        let mut valid = vec![1u8; n];
        let mut at: Vec<u64> = region.iter().map(|r| r.0).collect();
        for (i, valid) in valid.iter_mut().enumerate() {
            let found = self.group_of(&at).map(|g| g as usize).filter(|&g| column.is_valid(i) && group.is_valid(g));
            values.push(match found {
                Some(g) => decode(column.values.f64_at(i), own) - decode(group.values.f64_at(g), theirs),
                None => {
                    *valid = 0;
                    f64::NAN
                }
            });
            for d in (0..at.len()).rev() {
                at[d] += 1;
                if at[d] < region[d].1 {
                    break;
                }
                at[d] = region[d].0;
            }
        }
        self.next.put(folded, statistic, region, Column { values: Values::Float64(values), valid: Some(valid) })
    }
}
