//! Of the cells of a group, those that are points.

use super::PointAt;
use super::groups::Group;
use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::dtype::{Element, ForElement};
use chunkwise_core::plan::Stage;
use chunkwise_core::values::{Column, Values};
use std::sync::{Mutex, PoisonError};

/// Room for `cells` values of each thing that a stage folds; all are missing.
pub(super) fn empty(stage: &Stage, cells: usize) -> Vec<Mutex<Column>> {
    let column = |f: &chunkwise_core::plan::Folded| Column {
        values: Values::zeros(f.element, cells),
        valid: Some(vec![0; cells]),
    };
    stage.folded.iter().map(|f| Mutex::new(column(f))).collect()
}

pub(super) fn finished(columns: Vec<Mutex<Column>>) -> Vec<Column> {
    columns.into_iter().map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Takes the cells of points out of all that a job gives.
pub(super) struct PointsSink<'a> {
    shape: Vec<u64>,
    /// Which dimensions of the output are left.
    left: Vec<usize>,
    /// Dimensions of the output that points have a cell along.
    picked: Vec<usize>,
    /// Of each point its place in the columns, and its cell along each of `picked`.
    members: Vec<(usize, Vec<u64>)>,
    columns: &'a [Mutex<Column>],
}

impl<'a> PointsSink<'a> {
    pub(super) fn new<'p>(
        stage: &Stage,
        left: impl Iterator<Item = usize>,
        group: &Group,
        members: impl Iterator<Item = (usize, &'p PointAt)>,
        columns: &'a [Mutex<Column>],
    ) -> PointsSink<'a> {
        let outputs: Vec<usize> = stage.output_dims().collect();
        let left: Vec<usize> = left.collect();
        let picked: Vec<usize> = (0..outputs.len()).filter(|k| !left.contains(k)).collect();
        let cell = |point: &PointAt, k: usize| -> u64 {
            let name = &stage.dims[outputs[k]].name;
            let at = point.iter().find(|(dim, _)| dim == name).map_or(0, |(_, cell)| *cell);
            let along = group.cells.iter().find(|(dim, _)| dim == name);
            along.map_or(0, |(_, cells)| cells.partition_point(|&c| c < at) as u64)
        };
        let members = members.map(|(place, point)| (place, picked.iter().map(|&k| cell(point, k)).collect())).collect();
        PointsSink { shape: stage.output_shape(), left, picked, members, columns }
    }
}

impl Sink for PointsSink<'_> {
    fn put(&self, folded: usize, _: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let mut strides = vec![1usize; region.len()];
        for d in (1..region.len()).rev() {
            strides[d - 1] = strides[d] * (region[d].1 - region[d].0) as usize;
        }
        // Of the cells that are left, where each lies in the region and in a point's values.
        let mut cells = vec![(0usize, 0usize)];
        for &k in &self.left {
            let (from, to) = region[k];
            let wide = self.shape[k] as usize;
            let stride = strides[k];
            let along = |&(at, cell): &(usize, usize)| {
                (from..to).map(move |i| (at + (i - from) as usize * stride, cell * wide + i as usize))
            };
            cells = cells.iter().flat_map(along).collect();
        }
        let each: usize = self.left.iter().map(|&k| self.shape[k] as usize).product();
        let mut pairs = Vec::new();
        for (place, at) in &self.members {
            let inside = self.picked.iter().zip(at).all(|(&k, &i)| (region[k].0..region[k].1).contains(&i));
            if inside {
                let along = |(&k, &i): (&usize, &u64)| (i - region[k].0) as usize * strides[k];
                let first: usize = self.picked.iter().zip(at).map(along).sum();
                pairs.extend(cells.iter().map(|&(from, to)| (first + from, place * each + to)));
            }
        }
        let mut whole = self.columns[folded].lock().unwrap_or_else(PoisonError::into_inner);
        let whole = &mut *whole;
        let dtype = whole.values.dtype();
        dtype.dispatch(Gather { whole: &mut whole.values, part: &column.values, pairs: &pairs })?;
        if let Some(valid) = &mut whole.valid {
            for &(from, to) in &pairs {
                valid[to] = u8::from(column.is_valid(from));
            }
        }
        Ok(())
    }
}

struct Gather<'a> {
    whole: &'a mut Values,
    part: &'a Values,
    pairs: &'a [(usize, usize)],
}

impl ForElement for Gather<'_> {
    type Output = Result<(), BoxError>;
    fn run<T: Element>(self) -> Self::Output {
        if self.part.dtype() != self.whole.dtype() {
            return Err("values of another type than the plan's".into());
        }
        let part = T::slice(self.part);
        let whole = T::vec_mut(self.whole).ok_or("values of another type than the plan's")?;
        for &(from, to) in self.pairs {
            whole[to] = part[from];
        }
        Ok(())
    }
}
