//! One band of a GeoTIFF as a map: for zones, masks and the like.

use super::{GeoTiff, Masks, OpenFiles};
use crate::import::ImportError;
use crate::import::source::{Placement, Source as _};
use chunkwise_core::dtype::{DType, Element, ForElement};
use std::path::Path;

/// One band, decoded.
#[derive(Clone, Debug)]
pub struct Map {
    /// Cells along y.
    pub rows: u64,
    /// Cells along x.
    pub columns: u64,
    /// Decoded values in C order; `NaN` where missing.
    pub values: Vec<f64>,
    /// Stored type.
    pub dtype: DType,
    /// CRS and transform.
    pub placement: Placement,
}

/// Reads band `band` (from 0) of a GeoTIFF: values with scale and offset applied, `NaN` for nodata and masked cells.
///
/// # Errors
/// As [`GeoTiff::open`]; there is no such band; it does not fit in `memory` bytes; integers of 64 bits that `f64`
/// does not hold.
pub fn read_map(path: &Path, band: u64, memory: u64) -> Result<Map, ImportError> {
    let files = OpenFiles::new(1);
    let source = GeoTiff::open(path, Masks::Use, &files)?;
    let variable = &source.variables()[0];
    let &[bands, rows, columns] = variable.shape.as_slice() else { return Ok(empty(&source)) };
    if band >= bands {
        let problem = format!("has {bands} bands; there is no band {band} (the first is 0)");
        return Err(ImportError::unfit(source.location(), problem, ""));
    }
    let cells = rows.saturating_mul(columns);
    let needed = source.read_bytes(0, &[1, rows, columns]).saturating_add(cells.saturating_mul(9));
    let needed = needed.saturating_add(crate::memory::base());
    if needed > memory {
        return Err(ImportError::Memory { needed, limit: memory });
    }
    let read = source.read(0, &[band, 0, 0], &[1, rows, columns])?;
    let mut values = variable.dtype.dispatch(Decoded { bytes: &read.values, mark: variable.missing });
    let packing = variable.packing_of(band);
    for value in &mut values {
        *value = *value * packing.scale + packing.offset;
    }
    for (value, valid) in values.iter_mut().zip(read.valid.iter().flatten()) {
        if !valid {
            *value = f64::NAN;
        }
    }
    if variable.dtype.size() == 8 && !variable.dtype.is_float() && values.iter().any(|v| v.abs() > (1u64 << 53) as f64)
    {
        return Err(ImportError::unfit(source.location(), "holds integers that a double does not", ""));
    }
    Ok(Map { rows, columns, values, dtype: variable.dtype, placement: source.placement().clone() })
}

fn empty(source: &GeoTiff) -> Map {
    let dtype = source.variables()[0].dtype;
    Map { rows: 0, columns: 0, values: Vec::new(), dtype, placement: source.placement().clone() }
}

struct Decoded<'a> {
    bytes: &'a [u8],
    mark: Option<chunkwise_core::dtype::Scalar>,
}

impl ForElement for Decoded<'_> {
    type Output = Vec<f64>;
    fn run<T: Element>(self) -> Vec<f64> {
        let mark: Option<T> = self.mark.and_then(|m| m.to_element());
        let one = |cell: &[u8]| {
            let value: T = bytemuck::pod_read_unaligned(cell);
            if mark == Some(value) { f64::NAN } else { value.to_f64() }
        };
        self.bytes.chunks_exact(size_of::<T>()).map(one).collect()
    }
}
