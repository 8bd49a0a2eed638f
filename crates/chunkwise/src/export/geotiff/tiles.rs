//! The cells of a tile, of all bands.

use super::{ExportError, Plan};
use crate::chunk::{ChunkReader, Scratch};
use crate::exec::RunOptions;
use crate::open::OpenCube;
use crate::sink::memory::each_row;
use chunkwise_core::cf::decode::unpack;
use chunkwise_core::cube::{ChunkSizes, Packing, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement};
use std::sync::atomic::Ordering;

/// Reads tiles of the variables of a file.
pub(super) struct Tiles<'a> {
    readers: Vec<ChunkReader>,
    scratch: Scratch,
    chunk: Vec<u8>,
    part: Vec<u8>,
    run: &'a RunOptions,
}

impl<'a> Tiles<'a> {
    pub(super) fn new(cube: &OpenCube, plan: &Plan<'_>, run: &'a RunOptions) -> Result<Tiles<'a>, ExportError> {
        let readers: Result<_, _> = plan.variables.iter().map(|v| ChunkReader::new(v, cube.store.clone())).collect();
        Ok(Tiles { readers: readers?, scratch: Scratch::new(), chunk: Vec::new(), part: Vec::new(), run })
    }

    /// The cells from `at` on, `size` of them, of all bands one after the other.
    pub(super) fn fill(
        &mut self,
        at: (usize, usize),
        size: (usize, usize),
        out: &mut [u8],
        plan: &Plan<'_>,
    ) -> Result<(), ExportError> {
        let (rows, columns) = (plan.cells.0 as usize, plan.cells.1 as usize);
        // Where north is down, or east to the left, the cells are those of the other end.
        let y = if plan.flip.0 { rows - at.0 - size.0 } else { at.0 };
        let x = if plan.flip.1 { columns - at.1 - size.1 } else { at.1 };
        let each = size.0 * size.1 * plan.dtype.size();
        let mut blocks = out.chunks_exact_mut(each);
        for (v, variable) in plan.variables.iter().enumerate() {
            let lead = &variable.shape[..variable.shape.len() - 2];
            for n in 0..lead.iter().product::<u64>() {
                if self.run.cancel.load(Ordering::Relaxed) {
                    return Err(ExportError::Interrupted);
                }
                let mut cell = vec![0; lead.len()];
                let mut rest = n;
                for d in (0..lead.len()).rev() {
                    cell[d] = rest % lead[d];
                    rest /= lead[d];
                }
                self.region(v, variable, &cell, (y, x), size)?;
                let Some(block) = blocks.next() else { return Err(ExportError::Nothing) };
                let stored = variable.dtype.number().unwrap_or(DType::UInt8);
                stored.dispatch(Written { variable, stored: &self.part, to: plan.dtype, out: block });
                flip(block, size, plan.dtype.size(), plan.flip);
            }
        }
        Ok(())
    }

    /// A box of stored cells into `part`.
    fn region(
        &mut self,
        v: usize,
        variable: &Variable,
        cell: &[u64],
        (y, x): (usize, usize),
        (h, w): (usize, usize),
    ) -> Result<(), ExportError> {
        let bytes = variable.dtype.number().map_or(1, DType::size);
        let side = |d: usize| match &variable.chunks[d] {
            ChunkSizes::Regular(n) => *n as usize,
            ChunkSizes::Listed(sizes) => sizes.first().map_or(1, |&n| n as usize),
        };
        let rank = variable.shape.len();
        let (ch, cw) = (side(rank - 2), side(rank - 1));
        self.part.clear();
        self.part.resize(h * w * bytes, 0);
        for row in y / ch..(y + h).div_ceil(ch) {
            for column in x / cw..(x + w).div_ceil(cw) {
                let mut index: Vec<u64> = cell.iter().enumerate().map(|(d, &i)| i / side(d) as u64).collect();
                index.extend([row as u64, column as u64]);
                self.readers[v].read(&index, &mut self.scratch, &mut self.chunk)?;
                let (from, to) = ((row * ch).max(y), ((row + 1) * ch).min(y + h));
                let (left, right) = ((column * cw).max(x), ((column + 1) * cw).min(x + w));
                // Where in the chunk the map of this cell begins.
                let lead = cell.iter().enumerate().fold(0, |at, (d, &i)| at * side(d) + i as usize % side(d));
                let first = lead * ch * cw;
                let shape = [ch as u64, cw as u64];
                let inside = [
                    ((from - row * ch) as u64, (to - row * ch) as u64),
                    ((left - column * cw) as u64, (right - column * cw) as u64),
                ];
                each_row(&shape, &inside, |at, n, length| {
                    let line = n / (right - left);
                    let into = ((from - y + line) * w + left - x) * bytes;
                    let taken = (first + at) * bytes;
                    self.part[into..into + length * bytes].copy_from_slice(&self.chunk[taken..taken + length * bytes]);
                });
            }
        }
        Ok(())
    }
}

/// Stored cells as they are written: decoded where they are packed, missing ones as the one mark.
struct Written<'a> {
    variable: &'a Variable,
    stored: &'a [u8],
    to: DType,
    out: &'a mut [u8],
}

impl ForElement for Written<'_> {
    type Output = ();
    fn run<T: Element>(self) {
        let marks: Vec<T> = self.variable.missing.marks.iter().map(|m| T::from_f64(m.to_f64())).collect();
        let cells: Vec<T> = bytemuck::pod_collect_to_vec(self.stored);
        if self.to == T::DTYPE || (self.to == DType::Bool && T::DTYPE == DType::UInt8) {
            let mut cells = cells;
            let mark = if T::IS_FLOAT { Some(T::from_f64(f64::NAN)) } else { marks.first().copied() };
            if let Some(mark) = mark {
                cells.iter_mut().filter(|c| marks.contains(c)).for_each(|c| *c = mark);
            }
            self.out.copy_from_slice(bytemuck::cast_slice(&cells));
            return;
        }
        let Packing { scale, offset } = self.variable.packing;
        let packing = (!self.variable.packing.is_none()).then_some((scale, offset));
        let mut values = vec![0.0; cells.len()];
        unpack(&cells, &marks, packing, &mut values);
        match self.to {
            DType::Float32 => {
                let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                self.out.copy_from_slice(bytemuck::cast_slice(&values));
            }
            _ => self.out.copy_from_slice(bytemuck::cast_slice(&values)),
        }
    }
}

fn flip(block: &mut [u8], (h, w): (usize, usize), bytes: usize, (rows, columns): (bool, bool)) {
    let line = w * bytes;
    if rows {
        for r in 0..h / 2 {
            let (top, bottom) = block.split_at_mut((h - 1 - r) * line);
            top[r * line..(r + 1) * line].swap_with_slice(&mut bottom[..line]);
        }
    }
    if columns {
        for row in block.chunks_exact_mut(line) {
            for c in 0..w / 2 {
                let (left, right) = row.split_at_mut((w - 1 - c) * bytes);
                left[c * bytes..(c + 1) * bytes].swap_with_slice(&mut right[..bytes]);
            }
        }
    }
}
