//! Cells that lie in a file as they are, row behind row, cut into chunks.
//!
//! Chunks are made of whole rows of the inner dimensions, about [`TARGET`] bytes each. Records of a classic file lie apart:
//! those of all its variables take turns, and a chunk is put together from several.

use super::source::Source;
use crate::store::StoreError;

/// Bytes of a chunk, about.
const TARGET: u64 = 1 << 20;
/// Bytes of the file that records of one chunk may span.
const SPAN: u64 = 16 << 20;
/// Bytes between two records that are rather read than asked for around.
const GAP: u64 = 16 << 10;

/// Where the rows of a variable lie.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Position of the first cell.
    pub(super) at: u64,
    /// From a record to the next, in bytes; `None` where all cells lie one behind the other.
    pub(super) stride: Option<u64>,
    /// Bytes of a cell.
    pub(super) item: u64,
    pub(super) shape: Vec<u64>,
    pub(super) chunks: Vec<u64>,
}

impl Rows {
    /// Rows of cells of `item` bytes from a position.
    pub(super) fn new(at: u64, stride: Option<u64>, item: u64, shape: &[u64]) -> Rows {
        let mut chunks = vec![1; shape.len()];
        let mut bytes = item.max(1);
        for axis in (0..shape.len()).rev() {
            let mut most = (TARGET / bytes).max(1);
            if let (0, Some(stride)) = (axis, stride) {
                most = most.min((SPAN / stride.max(1)).max(1));
            }
            chunks[axis] = shape[axis].clamp(1, most);
            if chunks[axis] < shape[axis] {
                break;
            }
            bytes = bytes.saturating_mul(chunks[axis]);
        }
        Rows { at, stride, item, shape: shape.to_vec(), chunks }
    }

    /// The bytes of a chunk: cells behind the end of the variable are zeros.
    pub(super) fn chunk(&self, index: &[u64], source: &Source) -> Result<Vec<u8>, StoreError> {
        let short = || StoreError::Short {
            location: source.location.clone(),
            key: ".".to_owned(),
            start: self.at,
            len: self.shape.iter().fold(self.item, |n, &c| n.saturating_mul(c)),
            size: source.len,
        };
        // Bytes from a cell to the next along each dimension, in the file and within a record.
        let mut strides = vec![self.item; self.shape.len()];
        for axis in (0..self.shape.len().saturating_sub(1)).rev() {
            let inner = strides[axis + 1].checked_mul(self.shape[axis + 1]);
            strides[axis] = inner.ok_or_else(short)?;
        }
        let record = strides.first().copied().unwrap_or(self.item);
        if let (Some(first), Some(stride)) = (strides.first_mut(), self.stride) {
            *first = stride;
        }
        // Letters along the last dimension may be one cell of text: their chunk has no index along it.
        let along = |axis: usize| index.get(axis).copied().unwrap_or(0);
        // The dimension that is cut: those before it have one row, those behind are whole.
        let cut =
            (0..self.shape.len()).find(|&axis| self.chunks[axis] > 1).unwrap_or(self.shape.len().saturating_sub(1));
        let mut at = self.at;
        for (axis, stride) in strides.iter().enumerate() {
            let start = along(axis).checked_mul(self.chunks[axis]).and_then(|cell| cell.checked_mul(*stride));
            at = start.and_then(|start| at.checked_add(start)).ok_or_else(short)?;
        }
        let cells = self.chunks.iter().try_fold(self.item, |n, &c| n.checked_mul(c));
        let whole = cells.and_then(|n| usize::try_from(n).ok()).ok_or_else(short)?;
        let rows = match self.shape.get(cut) {
            None => 1,
            Some(&length) => self.chunks[cut].min(length.saturating_sub(along(cut).saturating_mul(self.chunks[cut]))),
        };
        let row = if cut == 0 { record } else { strides[cut] };
        // All positions below stay within the file, and so within 64 bits.
        let between = if cut == 0 { self.stride.unwrap_or(row) } else { row };
        let last = rows.saturating_sub(1).checked_mul(between).and_then(|n| at.checked_add(n)?.checked_add(row));
        if last.is_none_or(|end| rows > 0 && end > source.len) {
            return Err(short());
        }
        let mut bytes = Vec::with_capacity(whole.min(usize::try_from(source.len).unwrap_or(whole)));
        match self.stride.filter(|_| cut == 0) {
            Some(stride) if stride != row && stride.saturating_sub(row) > GAP => {
                for at in (0..rows).map(|n| at + n * stride) {
                    source.read_onto(at, row, &mut bytes)?;
                }
            }
            Some(stride) if stride != row => {
                // A piece at a time, so that what lies between takes little memory.
                let many = (TARGET / stride).max(1);
                for first in (0..rows).step_by(usize::try_from(many).unwrap_or(1)) {
                    let some = many.min(rows - first);
                    let span = source.read(at + first * stride, (some - 1) * stride + row)?;
                    for record in span.chunks(usize::try_from(stride).unwrap_or(usize::MAX)) {
                        let end = record.len().min(usize::try_from(row).unwrap_or(usize::MAX));
                        bytes.extend_from_slice(&record[..end]);
                    }
                }
            }
            _ => source.read_onto(at, rows * row, &mut bytes)?,
        }
        bytes.resize(whole, 0);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_rows_of_about_a_mebibyte() {
        let chunks = |item, shape: &[u64], stride| Rows::new(0, stride, item, shape).chunks;
        assert_eq!(chunks(8, &[], None), [0u64; 0]);
        assert_eq!(chunks(4, &[240, 37, 49], None), [144, 37, 49]);
        assert_eq!(chunks(4, &[10, 4000, 8000], None), [1, 32, 8000]);
        assert_eq!(chunks(4, &[10, 2, 3_000_000], None), [1, 1, 262_144]);
        assert_eq!(chunks(8, &[0], None), [1]);
        // Times of a file whose records take 8 MiB each: two of them.
        assert_eq!(chunks(8, &[365], Some(8 << 20)), [2]);
    }
}
