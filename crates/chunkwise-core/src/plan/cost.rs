//! What a stage costs, known before it runs.

use super::Stage;
use super::fetch::INDEX_ENTRY;
use serde::{Deserialize, Serialize};

/// Figures of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Chunks asked for; absent ones count.
    pub chunks: u64,
    /// Requests to the store where all chunks exist: one for each chunk, and one for the index of each shard.
    pub requests: u64,
    /// Bytes of the chunks once decoded.
    pub decoded_bytes: u64,
    /// Bytes of the finished values.
    pub output_bytes: u64,
    /// Leaves that are folded.
    pub leaves: u64,
}

impl Stage {
    /// What the stage costs when it is walked in one tile.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for (a, array) in self.arrays.iter().enumerate() {
            let touched = self.touched(a);
            let size = array.view.map_or(1, |d| d.size() as u64);
            cost.chunks = cost.chunks.saturating_add(touched.chunks);
            cost.requests = cost.requests.saturating_add(touched.chunks.saturating_add(touched.shards));
            cost.decoded_bytes = cost.decoded_bytes.saturating_add(touched.cells.saturating_mul(size));
        }
        let cells: u64 = self.output_shape().iter().fold(1, |a, &b| a.saturating_mul(b));
        let columns: u64 = self.folded.iter().map(|f| f.statistics.len() as u64).sum();
        cost.output_bytes = cells.saturating_mul(8 * columns);
        cost.leaves = self.dims.iter().map(|d| d.cuts.count()).fold(1, u64::saturating_mul);
        cost
    }
}

impl Stage {
    /// Bytes of the indexes of all shards that are touched, and of the largest one.
    pub fn index_bytes(&self) -> (u64, u64) {
        let (mut all, mut largest) = (0u64, 0u64);
        for (a, array) in self.arrays.iter().enumerate() {
            let Some(shards) = &array.shards else { continue };
            let along = shards.iter().zip(&array.chunks).map(|(s, c)| (s.longest() / c.longest().max(1)).max(1));
            let one = along.fold(INDEX_ENTRY, u64::saturating_mul);
            all = all.saturating_add(self.touched(a).shards.saturating_mul(one));
            largest = largest.max(one);
        }
        (all, largest)
    }
}

impl Cost {
    /// This cost and another.
    pub fn plus(self, other: Cost) -> Cost {
        Cost {
            chunks: self.chunks.saturating_add(other.chunks),
            requests: self.requests.saturating_add(other.requests),
            decoded_bytes: self.decoded_bytes.saturating_add(other.decoded_bytes),
            output_bytes: self.output_bytes.saturating_add(other.output_bytes),
            leaves: self.leaves.saturating_add(other.leaves),
        }
    }
}
