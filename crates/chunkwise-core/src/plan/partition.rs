//! Pieces of a stage that can run anywhere.
//!
//! A partition is a patch, or a run of a patch's segments. Its result is the nodes of these segments
//! ([`crate::stat::tree::Node`]); those of all partitions of a patch merge to the same bits however the segments were
//! dealt out.

use super::{SEGMENT, Stage};
use serde::{Deserialize, Serialize};

/// A run of the segments of one patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Index of the patch along each dimension.
    pub patch: Vec<u64>,
    /// Segments `from .. to`, by absolute number.
    pub segments: (u64, u64),
}

impl Stage {
    /// Segments of a patch, `from .. to`, by absolute number.
    pub fn segments(&self, patch: &[u64]) -> (u64, u64) {
        let Some(d) = self.outermost_folded() else { return (0, 1) };
        let dim = &self.dims[d];
        match dim.patch_intervals(patch[d]) {
            (a, b) if a == b => (0, 0),
            (a, b) => (dim.segment(a, SEGMENT), dim.segment(b - 1, SEGMENT) + 1),
        }
    }

    /// The partitions of a stage: of every patch, its segments `each` at a time.
    pub fn partitions(&self, each: u64) -> impl Iterator<Item = Partition> + '_ {
        let order: Vec<usize> = (0..self.dims.len()).collect();
        (0..self.patch_count()).flat_map(move |p| {
            let patch = self.patch_at(&order, p);
            let (from, to) = self.segments(&patch);
            let each = each.clamp(1, (to - from).max(1));
            // A patch that nothing folds into is a partition too: its cells are missing.
            (from..to.max(from + 1))
                .step_by(each as usize)
                .map(move |s| Partition { patch: patch.clone(), segments: (s, (s + each).min(to)) })
        })
    }

    /// Intervals along each dimension of a partition's leaves.
    pub fn partition_intervals(&self, partition: &Partition) -> Vec<(u64, u64)> {
        let mut intervals = self.patch_intervals(&partition.patch);
        if let Some(d) = self.outermost_folded() {
            let dim = &self.dims[d];
            let (a, b) = intervals[d];
            let first = |segment: u64| {
                let (mut low, mut high) = (a, b);
                while low < high {
                    let middle = low + (high - low) / 2;
                    match dim.segment(middle, SEGMENT) < segment {
                        true => low = middle + 1,
                        false => high = middle,
                    }
                }
                low
            };
            intervals[d] = (first(partition.segments.0), first(partition.segments.1));
        }
        intervals
    }
}
