//! One leaf: its chunks are read, cut to the selection, and decoded or evaluated into what is folded.

use super::ExecError;
use super::cache::Chunks;
use super::pool::Pooled;
use crate::chunk::Scratch;
use chunkwise_core::cf::decode::unpack;
use chunkwise_core::cube::Variable;
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use chunkwise_core::expr::{BlockSource, Evaluator, InputColumn};
use chunkwise_core::grid::Indices;
use chunkwise_core::plan::{Axis, Folded, From, InputView, Stage};
use chunkwise_core::stat::map::CellMap;
use chunkwise_core::stat::state::State;
use chunkwise_core::stat::{Leaf, holds};
use std::borrow::Cow;
use std::sync::Arc;

/// What one thread needs to read and evaluate leaves, kept from leaf to leaf.
pub(crate) struct LeafReader<'a> {
    stage: &'a Stage,
    chunks: &'a Chunks<'a>,
    scratch: Scratch,
    evaluator: Option<Evaluator>,
}

/// The values of one leaf.
#[derive(Debug)]
pub(crate) struct LeafValues {
    /// Chunks by (array, chunk), as decoded.
    chunks: Vec<(usize, Vec<u64>, Arc<Pooled<u8>>)>,
    /// Outputs of the formulas; missing cells are `NaN`.
    formulas: Vec<Pooled<f64>>,
}

impl<'a> LeafReader<'a> {
    pub(crate) fn new(chunks: &'a Chunks<'a>) -> LeafReader<'a> {
        let stage = chunks.stage;
        LeafReader { stage, chunks, scratch: Scratch::new(), evaluator: stage.formulas.as_ref().map(Evaluator::new) }
    }

    /// Reads the chunks of a leaf and evaluates the formulas.
    pub(crate) fn read(&mut self, leaf: &[u64]) -> Result<LeafValues, ExecError> {
        let mut chunks: Vec<(usize, Vec<u64>, Arc<Pooled<u8>>)> = Vec::new();
        for input in &self.stage.inputs {
            let chunk = self.stage.chunk_of(input, leaf);
            if !chunks.iter().any(|(a, c, _)| *a == input.array && *c == chunk) {
                let bytes = self.chunks.get(input.array, &chunk, &mut self.scratch)?;
                chunks.push((input.array, chunk, bytes));
            }
        }
        let mut values = LeafValues { chunks, formulas: Vec::new() };
        values.count_outside(self.chunks, leaf);
        values.formulas = self.evaluate(&values, leaf)?;
        Ok(values)
    }

    /// The outputs of the formulas, masked.
    fn evaluate(&mut self, values: &LeafValues, leaf: &[u64]) -> Result<Vec<Pooled<f64>>, ExecError> {
        let (Some(formulas), Some(evaluator)) = (&self.stage.formulas, &mut self.evaluator) else {
            return Ok(Vec::new());
        };
        let cells = leaf_cells(self.stage, leaf);
        let mut outputs: Vec<Pooled<f64>> = formulas.outputs.iter().map(|_| self.chunks.columns.take()).collect();
        outputs.iter_mut().for_each(|o| o.resize(cells, 0.0));
        let of = |&input: &usize| values.decoded(self.stage, &self.stage.inputs[input], leaf);
        let sources: Vec<Box<dyn BlockSource + '_>> = self.stage.formula_inputs.iter().map(of).collect();
        let inputs: Vec<InputColumn<'_>> = sources.iter().map(|s| InputColumn::Decoded(&**s)).collect();
        let mut targets: Vec<&mut [f64]> = outputs.iter_mut().map(|o| o.as_mut_slice()).collect();
        evaluator.eval(&inputs, cells, &mut targets)?;
        if let Some(mask) = self.stage.mask {
            let (before, rest) = outputs.split_at_mut(mask);
            if let Some((condition, after)) = rest.split_first_mut() {
                for output in before.iter_mut().chain(after) {
                    for (v, &keep) in output.iter_mut().zip(condition.iter()) {
                        *v = if keep.is_nan() || keep == 0.0 { f64::NAN } else { *v };
                    }
                }
            }
        }
        Ok(outputs)
    }
}

/// Cells of a leaf along each dimension.
pub(crate) fn leaf_shape(stage: &Stage, leaf: &[u64]) -> Vec<usize> {
    let length = |(from, to): (u64, u64)| (to - from) as usize;
    stage.dims.iter().zip(leaf).map(|(d, &i)| length(d.cuts.interval(i))).collect()
}

/// Number of cells of a leaf.
pub(crate) fn leaf_cells(stage: &Stage, leaf: &[u64]) -> usize {
    leaf_shape(stage, leaf).iter().product()
}

impl LeafValues {
    /// Folds the leaf into the states of each folded thing.
    pub(crate) fn fold(
        &self,
        stage: &Stage,
        leaf: &[u64],
        map: &CellMap,
        states: &mut [Vec<State>],
    ) -> Result<(), ExecError> {
        let condition = stage.mask.map(|m| self.formulas[m].as_slice());
        for (folded, states) in stage.folded.iter().zip(states) {
            match folded.from {
                From::Formula(f) => {
                    let values = self.formulas[f].as_slice();
                    for state in states {
                        state.fold(Leaf { values, mask: None }, map);
                    }
                }
                From::Input(i) => {
                    let view = &stage.inputs[i];
                    let work = FoldTyped { leaf: self, stage, view, at: leaf, map, condition, states };
                    folded.element.dispatch(work)?;
                }
            }
        }
        Ok(())
    }

    /// The decoded values of `folded` over a leaf, in C order; missing cells are `NaN`.
    pub(crate) fn values(&self, stage: &Stage, folded: &Folded, leaf: &[u64], to: &mut [f64]) {
        match folded.from {
            From::Formula(f) => to.copy_from_slice(&self.formulas[f]),
            From::Input(i) => {
                self.decoded(stage, &stage.inputs[i], leaf).block(0, to);
                for (v, &keep) in to.iter_mut().zip(stage.mask.iter().flat_map(|&m| self.formulas[m].iter())) {
                    *v = if keep.is_nan() || keep == 0.0 { f64::NAN } else { *v };
                }
            }
        }
    }

    /// Counts the cells that lie outside of a valid range which is not applied; marks of missing cells are none of them.
    fn count_outside(&self, chunks: &Chunks<'_>, leaf: &[u64]) {
        struct Count<'a>(&'a LeafValues, &'a Stage, &'a InputView, &'a [u64]);
        impl ForElement for Count<'_> {
            type Output = u64;
            fn run<T: Element>(self) -> u64 {
                let Count(leaf, stage, view, at) = self;
                let array = &stage.arrays[view.array];
                let marks = marks::<T>(array);
                let Some(outside) = outside::<T>(array.valid) else { return 0 };
                let stored = leaf.stored::<T>(stage, view, at);
                stored.iter().filter(|v| outside(v) && !marks.contains(v)).count() as u64
            }
        }
        let stage = chunks.stage;
        let whole = |v: &InputView| v.axes.iter().all(|a| matches!(a, Axis::Walk(_)));
        for view in &stage.inputs {
            let array = &stage.arrays[view.array];
            let (Some(_), None, Some(dtype)) = (array.valid, array.missing.within, array.view) else { continue };
            // A band that is picked is among the cells of the whole, where both are read.
            if !whole(view) && stage.inputs.iter().any(|v| v.array == view.array && whole(v)) {
                continue;
            }
            // Along dimensions that it lacks, an array is read again for each cell.
            let mut times = 1;
            let mut first = true;
            for (d, dim) in stage.dims.iter().enumerate().filter(|(d, _)| !view.axes.contains(&Axis::Walk(*d))) {
                let (from, to) = dim.cuts.interval(leaf[d]);
                times *= to - from;
                first &= from == 0;
            }
            let count = if first { dtype.dispatch(Count(self, stage, view, leaf)) / times.max(1) } else { 0 };
            if count > 0 {
                chunks.counters.add_outside(&array.name, count);
            }
        }
    }

    fn chunk(&self, stage: &Stage, view: &InputView, leaf: &[u64]) -> (&[u8], Vec<u64>) {
        let chunk = stage.chunk_of(view, leaf);
        let found = self.chunks.iter().find(|(a, c, _)| *a == view.array && *c == chunk);
        (found.map_or(&[], |f| f.2.as_slice()), chunk)
    }

    /// The stored values of an input over a leaf, in C order.
    fn stored<T: Element>(&self, stage: &Stage, view: &InputView, leaf: &[u64]) -> Cow<'_, [T]> {
        let (bytes, chunk) = self.chunk(stage, view, leaf);
        let cells: Cow<'_, [T]> = match bytemuck::try_cast_slice(bytes) {
            Ok(slice) => Cow::Borrowed(slice),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        };
        let box_ = LeafBox::new(stage, view, leaf, &chunk);
        match (box_.contiguous(), cells) {
            (Some(from), Cow::Borrowed(c)) => Cow::Borrowed(&c[from..from + box_.cells()]),
            (Some(from), Cow::Owned(c)) => Cow::Owned(c[from..from + box_.cells()].to_vec()),
            (None, cells) => {
                let mut out = Vec::with_capacity(box_.cells());
                box_.rows(|base, offsets, stride| match stride {
                    Some(1) => out.extend_from_slice(&cells[base..base + offsets.len()]),
                    _ => out.extend(offsets.iter().map(|o| cells[base + o])),
                });
                Cow::Owned(out)
            }
        }
    }

    /// The values of an input over a leaf, decoded a block at a time.
    fn decoded<'a>(&'a self, stage: &'a Stage, view: &'a InputView, leaf: &'a [u64]) -> Box<dyn BlockSource + 'a> {
        struct Source<'a>(&'a LeafValues, &'a Stage, &'a InputView, &'a [u64]);
        impl<'a> ForElement for Source<'a> {
            type Output = Box<dyn BlockSource + 'a>;
            fn run<T: Element>(self) -> Self::Output {
                let Source(leaf, stage, view, at) = self;
                let array = &stage.arrays[view.array];
                let packing = (!array.packing.is_none()).then_some((array.packing.scale, array.packing.offset));
                let (stored, within) = (leaf.stored::<T>(stage, view, at), array.missing.within);
                Box::new(Decoded { stored, marks: marks::<T>(array), packing, within })
            }
        }
        stage.arrays[view.array].view.unwrap_or(DType::Float64).dispatch(Source(self, stage, view, leaf))
    }
}

/// Stored values, decoded when they are asked for; missing cells are `NaN`.
#[derive(Debug)]
struct Decoded<'a, T: Element> {
    stored: Cow<'a, [T]>,
    marks: Vec<T>,
    packing: Option<(f64, f64)>,
    within: Option<(f64, f64)>,
}

impl<T: Element> BlockSource for Decoded<'_, T> {
    fn cells(&self) -> usize {
        self.stored.len()
    }

    fn block(&self, first: usize, to: &mut [f64]) {
        let stored = &self.stored[first..first + to.len()];
        unpack(stored, &self.marks, self.packing, to);
        if let Some(outside) = outside::<T>(self.within) {
            for (x, _) in to.iter_mut().zip(stored).filter(|(_, v)| outside(v)) {
                *x = f64::NAN;
            }
        }
    }
}

/// Stored values of type `T` that mark missing cells.
pub(crate) fn marks<T: Element>(array: &Variable) -> Vec<T> {
    array.missing.marks.iter().filter_map(|m: &Scalar| m.to_element::<T>()).filter(|m| !m.is_nan()).collect()
}

/// Whether a stored value lies outside of a valid range; `NaN` does not. 64-bit integers are compared as `f64`, which
/// keeps their order.
fn outside<T: Element>(range: Option<(f64, f64)>) -> Option<impl Fn(&T) -> bool> {
    range.map(|(low, high)| {
        move |v: &T| {
            let v = v.to_f64();
            v < low || v > high
        }
    })
}

struct FoldTyped<'a> {
    leaf: &'a LeafValues,
    stage: &'a Stage,
    view: &'a InputView,
    at: &'a [u64],
    map: &'a CellMap,
    condition: Option<&'a [f64]>,
    states: &'a mut Vec<State>,
}

impl ForElement for FoldTyped<'_> {
    type Output = Result<(), ExecError>;
    fn run<T: Element>(self) -> Self::Output {
        let array = &self.stage.arrays[self.view.array];
        let values = self.leaf.stored::<T>(self.stage, self.view, self.at);
        let marks = marks::<T>(array);
        let marked = match marks.as_slice() {
            [] => false,
            [m] => holds(&values, *m),
            many => values.iter().any(|v| many.contains(v)),
        };
        let mut mask: Option<Vec<u8>> = match (marked, marks.as_slice()) {
            (false, _) => None,
            (true, [m]) => Some(values.iter().map(|v| u8::from(v != m)).collect()),
            (true, many) => Some(values.iter().map(|v| u8::from(!many.contains(v))).collect()),
        };
        if let Some(outside) = outside::<T>(array.missing.within)
            && values.iter().any(&outside)
        {
            let mask = mask.get_or_insert_with(|| vec![1; values.len()]);
            for (m, v) in mask.iter_mut().zip(values.iter()) {
                *m &= u8::from(!outside(v));
            }
        }
        if let Some(condition) = self.condition {
            let mask = mask.get_or_insert_with(|| vec![1; values.len()]);
            for (m, &keep) in mask.iter_mut().zip(condition) {
                *m &= u8::from(!keep.is_nan() && keep != 0.0);
            }
        }
        for state in self.states {
            state.fold(Leaf { values: &values, mask: mask.as_deref() }, self.map);
        }
        Ok(())
    }
}

/// Where the cells of a leaf lie in a decoded chunk.
struct LeafBox {
    base: usize,
    /// For each walked dimension, the offset of each position from `base`.
    offsets: Vec<Vec<usize>>,
}

impl LeafBox {
    fn new(stage: &Stage, view: &InputView, leaf: &[u64], chunk: &[u64]) -> LeafBox {
        let array = &stage.arrays[view.array];
        let mut strides = vec![1usize; array.chunks.len()];
        for i in (1..strides.len()).rev() {
            strides[i - 1] = strides[i] * array.chunks[i].length(chunk[i]) as usize;
        }
        let mut base = 0;
        let mut offsets: Vec<Vec<usize>> = stage
            .dims
            .iter()
            .zip(leaf)
            .map(|(d, &i)| {
                let (a, b) = d.cuts.interval(i);
                vec![0; (b - a) as usize]
            })
            .collect();
        for (i, axis) in view.axes.iter().enumerate() {
            match axis {
                Axis::Pick(index) => base += (index - array.chunks[i].locate(*index).1) as usize * strides[i],
                Axis::Walk(d) => {
                    let dim = &stage.dims[*d];
                    let (from, to) = dim.cuts.interval(leaf[*d]);
                    let first = array.chunks[i].locate(dim.indices.at(from)).1;
                    match &dim.indices {
                        Indices::Range { start, step, .. } => {
                            base += (start + from * step - first) as usize * strides[i];
                            for (k, o) in offsets[*d].iter_mut().enumerate() {
                                *o = k * *step as usize * strides[i];
                            }
                        }
                        Indices::List(list) => {
                            for (o, index) in offsets[*d].iter_mut().zip(&list[from as usize..to as usize]) {
                                *o = (index - first) as usize * strides[i];
                            }
                        }
                    }
                }
            }
        }
        LeafBox { base, offsets }
    }

    fn cells(&self) -> usize {
        self.offsets.iter().map(Vec::len).product()
    }

    /// First cell, if all cells of the leaf lie side by side in C order.
    fn contiguous(&self) -> Option<usize> {
        let mut run = 1;
        for o in self.offsets.iter().rev() {
            if !o.iter().enumerate().all(|(k, &at)| at == k * run) {
                return None;
            }
            run *= o.len();
        }
        Some(self.base)
    }

    /// Calls `each` with every row: its first cell, the offsets within it, and their stride where it is 1.
    fn rows(&self, mut each: impl FnMut(usize, &[usize], Option<usize>)) {
        static ONE: [usize; 1] = [0];
        let (outer, inner): (&[Vec<usize>], &[usize]) = match self.offsets.split_last() {
            Some((inner, outer)) => (outer, inner),
            None => (&[], &ONE),
        };
        if inner.is_empty() || outer.iter().any(Vec::is_empty) {
            return;
        }
        let stride = inner.iter().enumerate().all(|(k, &o)| k == o).then_some(1);
        let mut at = vec![0usize; outer.len()];
        'rows: loop {
            let base = self.base + outer.iter().zip(&at).map(|(o, &i)| o[i]).sum::<usize>();
            each(base, inner, stride);
            for i in (0..at.len()).rev() {
                at[i] += 1;
                if at[i] < outer[i].len() {
                    continue 'rows;
                }
                at[i] = 0;
            }
            return;
        }
    }
}
