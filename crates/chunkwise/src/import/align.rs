//! Cells of a source on the grid of the cube.
//!
//! Coordinates are those of the centres (or corners) of the new cells, transformed one by one: there is no error of
//! interpolation between them. Weights are GDAL's: a cell that becomes larger takes the bilinear kernel with it.

use super::ImportError;
use super::grid::{Mapping, Resampling, Warp, Way};
use super::source::{Linear, Source};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use std::ops::Range;

/// By how much a coordinate may lie before the cell that it is counted to, as in GDAL.
const NUDGE: f64 = 1e-10;

/// Planes of cells, in C order, and which of them count.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch<T> {
    pub(super) values: Vec<T>,
    pub(super) valid: Vec<bool>,
}

impl<T: Element> Patch<T> {
    pub(super) fn missing(cells: usize) -> Patch<T> {
        Patch { values: vec![T::default(); cells], valid: vec![false; cells] }
    }
}

/// A rectangle of the grid of the cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) row: u64,
    pub(super) column: u64,
    pub(super) rows: u64,
    pub(super) columns: u64,
}

impl Rect {
    pub(super) fn cells(&self) -> usize {
        (self.rows * self.columns) as usize
    }

    /// Whether a mapping covers any of it.
    pub(super) fn meets(&self, mapping: &Mapping) -> bool {
        let apart = |(a, b): (u64, u64), from: u64, n: u64| b <= from || a >= from + n;
        !apart(mapping.covers.x, self.column, self.columns) && !apart(mapping.covers.y, self.row, self.rows)
    }
}

/// Layers of a variable of a source, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) variable: usize,
    /// Index along all dimensions but y and x of the first; the others follow along the last of them.
    pub(super) lead: &'a [u64],
    pub(super) count: u64,
}

/// How stored values become those of the cube.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// As they are stored, marks and all.
    Bits,
    /// As they are stored; those equal to the mark are missing.
    Stored(Option<Scalar>),
    /// Decoded: the mark of the source, then its packing.
    Decoded(Option<Scalar>),
}

/// Coordinates of a rectangle in a source, kept for the next layers that lie as these do.
#[derive(Debug, Default)]
pub(super) struct Coordinates {
    of: Option<(usize, Rect)>,
    points: Vec<(f64, f64)>,
}

/// Reads layers onto a rectangle of the cube.
pub(super) struct Aligner<'a> {
    pub(super) mapping: &'a Mapping,
    /// Number of the mapping, for the coordinates that are kept.
    pub(super) number: usize,
    pub(super) resampling: Resampling,
    /// Bytes that a window of the source may take.
    pub(super) window: u64,
    pub(super) values: Values,
    /// The mark of the cube, which no value that was computed may equal by chance.
    pub(super) mark: Option<Scalar>,
    /// Bytes that were read.
    pub(super) read: u64,
}

/// A window of a source.
#[derive(Clone, Copy, Debug)]
struct Window {
    row: u64,
    column: u64,
    rows: u64,
    columns: u64,
}

/// A part of a rectangle, in cells from its first.
#[derive(Clone, Debug)]
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Aligner<'_> {
    /// The cells of `layers` on `rect`.
    ///
    /// # Errors
    /// The source cannot be read, or one new cell takes more of it than there is room for.
    pub(super) fn read<T: Element>(
        &mut self,
        layers: Layers<'_>,
        rect: Rect,
        kept: &mut Coordinates,
    ) -> Result<Patch<T>, ImportError> {
        let mut out = Patch::missing(rect.cells() * layers.count as usize);
        match &self.mapping.way {
            Way::Copy { dx, dy } => self.copy(layers, rect, (*dx, *dy), &mut out)?,
            Way::Warp(warp) => {
                if kept.of != Some((self.number, rect)) {
                    kept.points = self.points(warp, rect);
                    kept.of = Some((self.number, rect));
                }
                let all = Part { rows: 0..rect.rows as usize, columns: 0..rect.columns as usize };
                let field = Field { points: &kept.points, rect, resampling: self.resampling, scale: warp.scale };
                self.warp(layers, &field, all, &mut out)?;
            }
        }
        Ok(out)
    }

    fn copy<T: Element>(
        &mut self,
        layers: Layers<'_>,
        rect: Rect,
        (dx, dy): (i64, i64),
        out: &mut Patch<T>,
    ) -> Result<(), ImportError> {
        let covers = self.mapping.covers;
        let meet = |(a, b): (u64, u64), from: u64, n: u64| a.max(from)..b.min(from + n);
        let (columns, rows) = (meet(covers.x, rect.column, rect.columns), meet(covers.y, rect.row, rect.rows));
        if columns.is_empty() || rows.is_empty() {
            return Ok(());
        }
        let window = Window {
            row: rows.start.saturating_add_signed(-dy),
            column: columns.start.saturating_add_signed(-dx),
            rows: rows.end - rows.start,
            columns: columns.end - columns.start,
        };
        let found: Patch<T> = self.load(layers, window)?;
        let (w, n) = (window.columns as usize, window.rows as usize);
        for layer in 0..layers.count as usize {
            for row in 0..n {
                let from = (layer * n + row) * w;
                let line = (layer as u64 * rect.rows + rows.start - rect.row) as usize + row;
                let to = line * rect.columns as usize + (columns.start - rect.column) as usize;
                out.values[to..to + w].copy_from_slice(&found.values[from..from + w]);
                out.valid[to..to + w].copy_from_slice(&found.valid[from..from + w]);
            }
        }
        Ok(())
    }

    /// Coordinates in the source: of centres, or of corners for an average. `NaN` where there are none.
    fn points(&self, warp: &Warp, rect: Rect) -> Vec<(f64, f64)> {
        let (more, half) = if self.resampling == Resampling::Average { (1, 0.0) } else { (0, 0.5) };
        let mut points = Vec::with_capacity(((rect.rows + more) * (rect.columns + more)) as usize);
        for row in 0..rect.rows + more {
            for column in 0..rect.columns + more {
                let (x, y) = ((rect.column + column) as f64 + half, (rect.row + row) as f64 + half);
                points.push(warp.point(x, y).unwrap_or((f64::NAN, f64::NAN)));
            }
        }
        points
    }

    /// Resamples a part, in halves where its window of the source is too large.
    fn warp<T: Element>(
        &mut self,
        layers: Layers<'_>,
        field: &Field<'_>,
        part: Part,
        out: &mut Patch<T>,
    ) -> Result<(), ImportError> {
        let Some(window) = field.window(&part, self.mapping.size) else { return Ok(()) };
        let takes = self.takes::<T>(layers, window);
        let (rows, columns) = (part.rows.len(), part.columns.len());
        if takes > self.window && (rows > 1 || columns > 1) {
            let (first, second) = part.halves();
            self.warp(layers, field, first, out)?;
            return self.warp(layers, field, second, out);
        }
        if takes > self.window.saturating_mul(2) {
            return Err(ImportError::Memory {
                needed: crate::memory::base().saturating_add(takes.saturating_mul(2)),
                limit: self.window,
            });
        }
        let found: Patch<T> = self.load(layers, window)?;
        match self.resampling {
            Resampling::Nearest => field.nearest(&part, window, self.mapping.size, layers.count as usize, &found, out),
            _ => field.weighted(&part, window, self.mapping.size, layers.count as usize, &found, self.mark, out),
        }
        Ok(())
    }

    /// Bytes that a window takes.
    fn takes<T: Element>(&self, layers: Layers<'_>, window: Window) -> u64 {
        let mut shape = vec![1; layers.lead.len()];
        if let Some(last) = shape.last_mut() {
            *last = layers.count;
        }
        shape.extend([window.rows, window.columns]);
        let cells = window.rows.saturating_mul(window.columns).saturating_mul(layers.count);
        let own = cells.saturating_mul(size_of::<T>() as u64 + 1);
        layers.source.read_bytes(layers.variable, &shape).saturating_add(own)
    }

    /// The cells of a window, as values of the cube.
    fn load<T: Element>(&mut self, layers: Layers<'_>, window: Window) -> Result<Patch<T>, ImportError> {
        let mut start = layers.lead.to_vec();
        let mut shape = vec![1; start.len()];
        if let Some(last) = shape.last_mut() {
            *last = layers.count;
        }
        start.extend([window.row, window.column]);
        shape.extend([window.rows, window.columns]);
        let cells = layers.source.read(layers.variable, &start, &shape)?;
        self.read += cells.values.len() as u64;
        let variable = &layers.source.variables()[layers.variable];
        let plane = (window.rows * window.columns) as usize;
        let (values, mut valid) = match self.values {
            Values::Bits => {
                let values: Vec<T> = bytemuck::allocation::pod_collect_to_vec(&cells.values);
                let valid = vec![true; values.len()];
                (values, valid)
            }
            Values::Stored(mark) => {
                let values: Vec<T> = bytemuck::allocation::pod_collect_to_vec(&cells.values);
                let mark: Option<T> = mark.and_then(|m| m.to_element());
                let valid = values.iter().map(|v| Some(*v) != mark && !v.is_nan()).collect();
                (values, valid)
            }
            Values::Decoded(mark) => {
                let first = layers.lead.first().copied().unwrap_or(0);
                let at = |layer: u64| variable.packing_of(first + if layers.lead.len() == 1 { layer } else { 0 });
                let packing: Vec<Linear> = (0..layers.count).map(at).collect();
                let mut values = Vec::with_capacity(plane * packing.len());
                decode(variable.dtype, &cells.values, mark, &packing, plane, &mut values);
                let valid = values.iter().map(|v: &T| !v.is_nan()).collect();
                (values, valid)
            }
        };
        if let Some(mask) = cells.valid {
            for plane in valid.chunks_exact_mut(mask.len().max(1)) {
                let plane: &mut [bool] = plane;
                plane.iter_mut().zip(&mask).for_each(|(v, m)| *v &= m);
            }
        }
        Ok(Patch { values, valid })
    }
}

/// Stored values of some type as decoded floats; `NaN` where they are the mark.
fn decode<T: Element>(
    dtype: DType,
    bytes: &[u8],
    mark: Option<Scalar>,
    packing: &[Linear],
    plane: usize,
    out: &mut Vec<T>,
) {
    struct Decode<'a, T> {
        bytes: &'a [u8],
        mark: Option<Scalar>,
        packing: &'a [Linear],
        plane: usize,
        out: &'a mut Vec<T>,
    }
    impl<T: Element> ForElement for Decode<'_, T> {
        type Output = ();
        fn run<S: Element>(self) {
            let mark: Option<S> = self.mark.and_then(|m| m.to_element());
            let planes = self.bytes.chunks_exact((self.plane * size_of::<S>()).max(1));
            for (plane, packing) in planes.zip(self.packing) {
                self.out.extend(plane.chunks_exact(size_of::<S>()).map(|cell| {
                    let value: S = bytemuck::pod_read_unaligned(cell);
                    match mark == Some(value) {
                        true => T::from_f64(f64::NAN),
                        false if *packing == Linear::default() => T::from_f64(value.to_f64()),
                        false => T::from_f64(value.to_f64() * packing.scale + packing.offset),
                    }
                }));
            }
        }
    }
    dtype.dispatch(Decode { bytes, mark, packing, plane, out });
}

impl Part {
    fn halves(self) -> (Part, Part) {
        let cut = |r: &Range<usize>| r.start + r.len() / 2;
        if self.rows.len() >= self.columns.len() {
            let at = cut(&self.rows);
            let first = Part { rows: self.rows.start..at, columns: self.columns.clone() };
            (first, Part { rows: at..self.rows.end, columns: self.columns })
        } else {
            let at = cut(&self.columns);
            let first = Part { rows: self.rows.clone(), columns: self.columns.start..at };
            (first, Part { rows: self.rows, columns: at..self.columns.end })
        }
    }
}

/// Where the cells of a rectangle lie in a source.
struct Field<'a> {
    points: &'a [(f64, f64)],
    rect: Rect,
    resampling: Resampling,
    scale: (f64, f64),
}

/// What one new cell takes of one axis of the source: which cells, and from where to where (average) or around what.
#[derive(Clone, Copy, Debug)]
struct Reach {
    first: u64,
    end: u64,
    from: f64,
    to: f64,
}

impl Field<'_> {
    fn wide(scale: f64) -> Option<f64> {
        (scale < 0.95).then_some(scale)
    }

    /// What a cell takes along x and y; `None` where its centre lies outside of the source.
    fn reach(&self, row: usize, column: usize, size: (u64, u64)) -> Option<(Reach, Reach)> {
        if self.resampling == Resampling::Average {
            let across = self.rect.columns as usize + 1;
            let (a, b) = (self.points[row * across + column], self.points[(row + 1) * across + column + 1]);
            return Some((Reach::between(a.0, b.0, size.0)?, Reach::between(a.1, b.1, size.1)?));
        }
        let (x, y) = self.points[row * self.rect.columns as usize + column];
        let inside = |v: f64, n: u64| v >= 0.0 && v < n as f64;
        if !inside(x, size.0) || !inside(y, size.1) {
            return None;
        }
        Some(match self.resampling {
            Resampling::Nearest => (Reach::cell(x, size.0), Reach::cell(y, size.1)),
            _ => (Reach::around(x, self.scale.0, size.0), Reach::around(y, self.scale.1, size.1)),
        })
    }

    /// The window of the source that a part takes.
    fn window(&self, part: &Part, size: (u64, u64)) -> Option<Window> {
        let mut found: Option<(u64, u64, u64, u64)> = None;
        for row in part.rows.clone() {
            for column in part.columns.clone() {
                let Some((x, y)) = self.reach(row, column, size) else { continue };
                found = Some(match found {
                    None => (x.first, x.end, y.first, y.end),
                    Some((a, b, c, d)) => (a.min(x.first), b.max(x.end), c.min(y.first), d.max(y.end)),
                });
            }
        }
        let (left, right, top, bottom) = found?;
        Some(Window { row: top, column: left, rows: bottom - top, columns: right - left })
    }

    fn nearest<T: Element>(
        &self,
        part: &Part,
        window: Window,
        size: (u64, u64),
        layers: usize,
        found: &Patch<T>,
        out: &mut Patch<T>,
    ) {
        let (plane, source) = (self.rect.cells(), (window.rows * window.columns) as usize);
        for row in part.rows.clone() {
            for column in part.columns.clone() {
                let Some((x, y)) = self.reach(row, column, size) else { continue };
                let from = ((y.first - window.row) * window.columns + x.first - window.column) as usize;
                let to = row * self.rect.columns as usize + column;
                for layer in 0..layers {
                    out.values[layer * plane + to] = found.values[layer * source + from];
                    out.valid[layer * plane + to] = found.valid[layer * source + from];
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as `nearest`, and the mark")]
    fn weighted<T: Element>(
        &self,
        part: &Part,
        window: Window,
        size: (u64, u64),
        layers: usize,
        found: &Patch<T>,
        mark: Option<Scalar>,
        out: &mut Patch<T>,
    ) {
        let (plane, source) = (self.rect.cells(), (window.rows * window.columns) as usize);
        let mark: Option<T> = mark.and_then(|m| m.to_element());
        let mut weights = Vec::new();
        for row in part.rows.clone() {
            for column in part.columns.clone() {
                let Some((x, y)) = self.reach(row, column, size) else { continue };
                let average = self.resampling == Resampling::Average;
                weights.clear();
                weights.extend((x.first..x.end).map(|c| x.weight(c, average, self.scale.0)));
                let to = row * self.rect.columns as usize + column;
                // As GDAL: where the cell that the centre lies in is missing, so is the new one.
                let centre = (!average).then(|| {
                    let (c, r) = (Reach::cell(x.from, size.0).first, Reach::cell(y.from, size.1).first);
                    ((r - window.row) * window.columns + c - window.column) as usize
                });
                for layer in 0..layers {
                    if centre.is_some_and(|at| !found.valid[layer * source + at]) {
                        continue;
                    }
                    let (mut sum, mut total) = (0.0, 0.0);
                    for r in y.first..y.end {
                        let across = y.weight(r, average, self.scale.1);
                        let line = layer * source + ((r - window.row) * window.columns) as usize;
                        let line = line + (x.first - window.column) as usize;
                        let cells = found.values[line..].iter().zip(&found.valid[line..]);
                        for ((value, valid), weight) in cells.zip(&weights) {
                            if *valid {
                                sum += value.to_f64() * (weight * across);
                                total += weight * across;
                            }
                        }
                    }
                    if total > 1e-6 {
                        out.values[layer * plane + to] = rounded(sum / total, mark);
                        out.valid[layer * plane + to] = true;
                    }
                }
            }
        }
    }
}

/// A computed value in the type of the cube: the nearest, half up, and beside the mark where it would be it.
pub(super) fn rounded<T: Element>(value: f64, mark: Option<T>) -> T {
    let found = if T::IS_FLOAT { T::from_f64(value) } else { T::from_f64((value + 0.5).floor()) };
    if mark != Some(found) {
        return found;
    }
    if T::IS_FLOAT {
        let near = if size_of::<T>() == 4 { f64::from((value as f32).next_up()) } else { value.next_up() };
        return T::from_f64(near);
    }
    // As GDAL: one above, at the end of the range one below.
    let above = T::from_f64(value.floor() + 1.0);
    if above != found { above } else { T::from_f64((value + 0.5).floor() - 1.0) }
}

impl Reach {
    /// The cell that a coordinate lies in.
    fn cell(at: f64, n: u64) -> Reach {
        let first = ((at + NUDGE).floor() as u64).min(n - 1);
        Reach { first, end: first + 1, from: at, to: at }
    }

    /// The cells that a bilinear kernel around a coordinate takes.
    fn around(at: f64, scale: f64, n: u64) -> Reach {
        let radius = Field::wide(scale).map_or(1.0, |s| (1.0 / s).ceil());
        let middle = (at - 0.5).floor();
        let first = (middle - radius + 1.0).clamp(0.0, (n - 1) as f64) as u64;
        let end = (middle + radius + 1.0).clamp(first as f64 + 1.0, n as f64) as u64;
        Reach { first, end, from: at, to: at }
    }

    /// The cells between two coordinates.
    fn between(a: f64, b: f64, n: u64) -> Option<Reach> {
        // Of two that are `NaN`, `min` and `max` would give the ends of the source.
        if a.is_nan() || b.is_nan() {
            return None;
        }
        let (from, to) = (a.min(b).max(0.0), a.max(b).min(n as f64));
        if from >= to {
            return None;
        }
        let first = ((from + NUDGE).floor() as u64).min(n - 1);
        let end = ((to - NUDGE).ceil() as u64).clamp(first + 1, n);
        Some(Reach { first, end, from, to })
    }

    fn weight(&self, cell: u64, average: bool, scale: f64) -> f64 {
        let cell = cell as f64;
        if average {
            return ((cell + 1.0).min(self.to) - cell.max(self.from)).max(0.0);
        }
        let away = (cell + 0.5 - self.from).abs() * Field::wide(scale).unwrap_or(1.0);
        (1.0 - away).max(0.0)
    }
}
