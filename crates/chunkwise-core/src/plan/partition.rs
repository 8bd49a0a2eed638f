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
        self.keep_segments(&mut intervals, partition.segments);
        intervals
    }

    /// Takes away what lies in other segments than `from .. to`.
    pub(super) fn keep_segments(&self, intervals: &mut [(u64, u64)], (from, to): (u64, u64)) {
        let Some(d) = self.outermost_folded() else { return };
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
        intervals[d] = (first(from), first(to));
    }

    /// Segments of the whole stage, `from .. to`, by absolute number; `None` where it cannot be cut into them: nothing is
    /// folded, or nothing is selected.
    pub fn all_segments(&self) -> Option<(u64, u64)> {
        let dim = &self.dims[self.outermost_folded()?];
        let last = dim.cuts.count().checked_sub(1)?;
        Some((dim.segment(0, SEGMENT), dim.segment(last, SEGMENT) + 1))
    }

    /// The intervals of dimension `d` that are walked.
    pub(super) fn walked(&self, d: usize) -> (u64, u64) {
        let mut all: Vec<(u64, u64)> = self.dims.iter().map(|d| (0, d.cuts.count())).collect();
        if let Some(segments) = self.segments {
            self.keep_segments(&mut all, segments);
        }
        all[d]
    }
}
