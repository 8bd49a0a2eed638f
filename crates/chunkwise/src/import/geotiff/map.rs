//! One band of a GeoTIFF as a map: for zones, masks and the like.

use super::{GeoTiff, Masks, OpenFiles};
use crate::import::ImportError;
use crate::import::source::{Placement, Source as _};
use chunkwise_core::dtype::{DType, Element, ForElement};
use std::path::Path;

/// One band, decoded.
#[derive(Clone, Debug)]
pub struct Map {
    /// Bands of the file.
    pub bands: u64,
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
    Ok(Map { bands, rows, columns, values, dtype: variable.dtype, placement: source.placement().clone() })
}

fn empty(source: &GeoTiff) -> Map {
    let dtype = source.variables()[0].dtype;
    Map { bands: 0, rows: 0, columns: 0, values: Vec::new(), dtype, placement: source.placement().clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF of two rows and three columns of `uint8`, with a no-data value of 7 and cells of 10 × 20.
    fn small() -> Vec<u8> {
        let mut head: Vec<u8> = b"II*\0\x08\0\0\0".to_vec();
        let scale: Vec<u8> = [10f64, 20.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tie: Vec<u8> = [0f64, 0.0, 0.0, 500.0, 900.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tags: [(u16, u16, u32, &[u8]); 10] = [
            (256, 3, 1, &[3, 0, 0, 0]),
            (257, 3, 1, &[2, 0, 0, 0]),
            (258, 3, 1, &[8, 0, 0, 0]),
            (259, 3, 1, &[1, 0, 0, 0]),
            (262, 3, 1, &[1, 0, 0, 0]),
            (273, 4, 1, &[0xff; 4]),
            (279, 4, 1, &[6, 0, 0, 0]),
            (33550, 12, 3, &scale),
            (33922, 12, 6, &tie),
            (42113, 2, 2, b"7\0\0\0"),
        ];
        let mut behind = 8 + 2 + 12 * tags.len() + 4;
        let mut data: Vec<u8> = Vec::new();
        head.extend((tags.len() as u16).to_le_bytes());
        for (code, kind, count, value) in tags {
            head.extend(code.to_le_bytes());
            head.extend(kind.to_le_bytes());
            head.extend(count.to_le_bytes());
            if code == 273 {
                // The cells stand last.
                let at = 8 + 2 + 12 * 10 + 4 + scale.len() + tie.len();
                head.extend((at as u32).to_le_bytes());
            } else if value.len() == 4 {
                head.extend(value);
            } else {
                head.extend((behind as u32).to_le_bytes());
                data.extend(value);
                behind += value.len();
            }
        }
        head.extend([0; 4]);
        head.extend(data);
        head.extend([1, 2, 7, 4, 5, 6]);
        head
    }

    #[test]
    fn a_band_is_a_map_with_its_missing_cells_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("zones.tif");
        std::fs::write(&file, small()).unwrap();
        let map = read_map(&file, 0, 1 << 30).unwrap();
        assert_eq!((map.rows, map.columns, map.dtype), (2, 3, DType::UInt8));
        assert_eq!(map.values[..2], [1.0, 2.0]);
        assert!(map.values[2].is_nan());
        assert_eq!(map.values[3..], [4.0, 5.0, 6.0]);
        assert_eq!(map.placement.transform.unwrap().gdal(), [500.0, 10.0, 0.0, 900.0, 0.0, -20.0]);
        assert!(read_map(&file, 1, 1 << 30).is_err());
        assert!(matches!(read_map(&file, 0, 1 << 20), Err(ImportError::Memory { .. })));
    }
}
