//! What a stage costs, known before it runs.

use super::{Axis, Stage};
use crate::stat::finish::states_for;
use crate::stat::state::{State, StateKind};
use serde::{Deserialize, Serialize};

/// Figures of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Chunks asked for; absent ones count.
    pub chunks: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Bytes of the chunks once decoded.
    pub decoded_bytes: u64,
    /// Bytes of the finished values.
    pub output_bytes: u64,
    /// Leaves that are folded.
    pub leaves: u64,
    /// Bytes of the states of the largest patch.
    pub state_bytes: u64,
    /// Bytes that a leaf takes while it is read and folded.
    pub leaf_bytes: u64,
}

impl Stage {
    /// What the stage costs.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        let mut leaf_bytes = 0u64;
        for (a, array) in self.arrays.iter().enumerate() {
            let views: Vec<_> = self.inputs.iter().filter(|i| i.array == a).collect();
            // Chunks along walked axes are the same for all views of an array; picks may share chunks.
            let mut seen: Vec<Vec<Option<u64>>> = Vec::new();
            for v in &views {
                let picks: Vec<Option<u64>> = v
                    .axes
                    .iter()
                    .zip(&array.chunks)
                    .map(|(axis, c)| match axis {
                        Axis::Pick(i) => Some(c.locate(*i).0),
                        Axis::Walk(_) => None,
                    })
                    .collect();
                if !seen.contains(&picks) {
                    seen.push(picks);
                }
            }
            let Some(first) = views.first() else { continue };
            let chunks = first
                .axes
                .iter()
                .zip(&array.chunks)
                .map(|(axis, c)| match axis {
                    Axis::Walk(d) => self.dims[*d].chunks_touched(c),
                    Axis::Pick(_) => 1,
                })
                .fold(1u64, u64::saturating_mul)
                .saturating_mul(seen.len() as u64);
            let cells: u64 = array.chunks.iter().map(|c| c.longest()).fold(1, u64::saturating_mul);
            let bytes = cells.saturating_mul(array.view.map_or(1, |d| d.size() as u64));
            cost.chunks = cost.chunks.saturating_add(chunks);
            cost.requests = cost.requests.saturating_add(chunks);
            cost.decoded_bytes = cost.decoded_bytes.saturating_add(chunks.saturating_mul(bytes));
            leaf_bytes = leaf_bytes.saturating_add(bytes.saturating_mul(2 * seen.len() as u64));
        }
        let leaf_cells: u64 = self.dims.iter().map(|d| d.cuts.longest()).fold(1, u64::saturating_mul);
        let f64_columns = self.formulas.as_ref().map_or(0, |f| f.outputs.len() + f.inputs.len()) as u64;
        leaf_bytes = leaf_bytes.saturating_add(leaf_cells.saturating_mul(f64_columns * 8 + 1));
        let patch_cells: u64 = self.dims.iter().map(|d| d.longest_patch()).fold(1, u64::saturating_mul);
        let output_cells: u64 = self.output_shape().iter().fold(1, |a, &b| a.saturating_mul(b));
        let most = self.most_per_cell();
        let mut state = 0u64;
        for f in &self.folded {
            for kind in states_for(&f.statistics).0 {
                let one = State::bytes_per_cell(kind, f.element, most);
                let exact = State::empty(kind, f.element, 0, most).is_associative();
                let copies = if exact || kind == StateKind::Series { 1 } else { 3 + self.tree_depth() };
                state = state.saturating_add(one.saturating_mul(patch_cells).saturating_mul(copies));
            }
            state = state.saturating_add(patch_cells.saturating_mul(9 * f.statistics.len() as u64));
            cost.output_bytes =
                cost.output_bytes.saturating_add(output_cells.saturating_mul(8 * f.statistics.len() as u64));
        }
        cost.leaves = self.dims.iter().map(|d| d.cuts.count()).fold(1, u64::saturating_mul);
        cost.state_bytes = state;
        cost.leaf_bytes = leaf_bytes;
        cost
    }

    fn tree_depth(&self) -> u64 {
        let Some(i) = self.outermost_folded() else { return 0 };
        let d = &self.dims[i];
        let segments = (d.cuts.count() >> super::SEGMENT) + 1;
        u64::from(u64::BITS - segments.leading_zeros())
    }
}
