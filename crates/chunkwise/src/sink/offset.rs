//! A tile's columns, put where they lie in the whole output.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::plan::Stage;
use chunkwise_core::values::Column;

/// Moves regions of a tile to their place.
pub struct OffsetSink<'a> {
    /// First cell of the tile along each dimension of the output.
    first: Vec<u64>,
    next: &'a dyn Sink,
}

impl std::fmt::Debug for OffsetSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetSink").field("first", &self.first).finish_non_exhaustive()
    }
}

impl<'a> OffsetSink<'a> {
    /// For the tile of `stage` at `positions`. Only kept dimensions are cut, whose positions are output cells.
    pub fn new(stage: &Stage, positions: &[(u64, u64)], next: &'a dyn Sink) -> OffsetSink<'a> {
        OffsetSink { first: stage.output_dims().map(|d| positions[d].0).collect(), next }
    }
}

impl Sink for OffsetSink<'_> {
    fn put(&self, folded: usize, statistic: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let moved: Vec<(u64, u64)> = region.iter().zip(&self.first).map(|(&(a, b), &f)| (a + f, b + f)).collect();
        self.next.put(folded, statistic, &moved, column)
    }
}
