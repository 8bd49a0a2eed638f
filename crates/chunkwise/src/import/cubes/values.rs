//! Stored values of a file as those of the new cube.

use super::check::Way;
use bytemuck::pod_read_unaligned;
use chunkwise_core::cube::{Packing, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};

/// What becomes of the stored values of a file.
#[derive(Clone, Debug)]
pub(super) struct Values {
    way: Way,
    stored: DType,
    view: DType,
    packing: Packing,
    marks: Vec<Scalar>,
    to: DType,
}

impl Values {
    pub(super) fn new(variable: &Variable, way: Way, to: DType) -> Values {
        let stored = variable.dtype.number().unwrap_or(DType::Int64);
        Values {
            way,
            stored,
            view: variable.view.unwrap_or(stored),
            packing: variable.packing,
            marks: variable.missing.marks.clone(),
            to,
        }
    }

    /// Bytes of a cell of the file.
    pub(super) fn stored_size(&self) -> usize {
        self.stored.size()
    }

    /// Whether cells stay as they are.
    pub(super) fn are_bits(&self) -> bool {
        self.way == Way::Bits
    }

    /// Makes cells of the new cube from those of a chunk; `None` where a time cannot be counted exactly from another date.
    pub(super) fn convert(&self, cells: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        match self.way {
            Way::Bits => out.extend_from_slice(cells),
            Way::Later(by) => self.stored.dispatch(Later { cells, out, by, marks: &self.marks })?,
            Way::Decode => self.view.dispatch(Decode { values: self, cells, out }),
        }
        Some(())
    }
}

struct Decode<'a> {
    values: &'a Values,
    cells: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl ForElement for Decode<'_> {
    type Output = ();
    fn run<T: Element>(self) {
        let Values { packing, marks, to, .. } = self.values;
        let marks: Vec<T> = marks.iter().filter_map(|mark| mark.to_element()).collect();
        for cell in self.cells.chunks_exact(size_of::<T>()) {
            let stored: T = pod_read_unaligned(cell);
            let value = if stored.is_nan() || marks.contains(&stored) {
                f64::NAN
            } else {
                stored.to_f64() * packing.scale + packing.offset
            };
            match to {
                DType::Float32 => self.out.extend_from_slice(&(value as f32).to_ne_bytes()),
                _ => self.out.extend_from_slice(&value.to_ne_bytes()),
            }
        }
    }
}

struct Later<'a> {
    cells: &'a [u8],
    out: &'a mut Vec<u8>,
    by: i64,
    marks: &'a [Scalar],
}

impl ForElement for Later<'_> {
    type Output = Option<()>;
    fn run<T: Element>(self) -> Option<()> {
        let marks: Vec<T> = self.marks.iter().filter_map(|mark| mark.to_element()).collect();
        for cell in self.cells.chunks_exact(size_of::<T>()) {
            let stored: T = pod_read_unaligned(cell);
            let moved: T = if stored.is_nan() || marks.contains(&stored) {
                stored
            } else if T::IS_FLOAT {
                let sum = stored.to_f64() + self.by as f64;
                let moved: T = Scalar::Float(sum).to_element()?;
                // Exact both ways, or not at all.
                let back = moved.to_f64() - self.by as f64;
                (moved.to_f64() == sum && back == stored.to_f64()).then_some(moved)?
            } else {
                let sum = stored.to_i128().checked_add(i128::from(self.by))?;
                Scalar::Int(i64::try_from(sum).ok()?).to_element()?
            };
            self.out.extend_from_slice(bytemuck::bytes_of(&moved));
        }
        Some(())
    }
}
