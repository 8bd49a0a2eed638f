//! NetCDF-3 files: classic, with 64-bit offsets, and CDF-5.

use super::attrs;
use super::rows::Rows;
use super::source::Source;
use super::tree::{Cell, Data, Group, Variable};
use hdf5_reader::storage::Storage;
use netcdf_reader::NcFormat;
use netcdf_reader::classic::ClassicFile;
use netcdf_reader::classic::data::compute_record_stride;
use netcdf_reader::error::Result;
use netcdf_reader::types::NcType;
use std::sync::Arc;

/// The format that the first bytes of a file name.
pub(super) fn format(magic: &[u8]) -> Option<NcFormat> {
    match magic {
        [b'C', b'D', b'F', 1, ..] => Some(NcFormat::Classic),
        [b'C', b'D', b'F', 2, ..] => Some(NcFormat::Offset64),
        [b'C', b'D', b'F', 5, ..] => Some(NcFormat::Cdf5),
        _ => None,
    }
}

/// All that the file holds.
pub(super) fn tree(source: &Arc<Source>, format: NcFormat) -> Result<Group> {
    let storage: Arc<dyn Storage> = source.storage();
    let file = ClassicFile::from_storage(storage, format)?;
    let root = file.root_group();
    let stride = compute_record_stride(&root.variables)?;
    let mut made = Group { attrs: attrs::of_classic(&root.attributes), ..Group::default() };
    for variable in &root.variables {
        let mut dims: Vec<Option<String>> = variable.dimensions.iter().map(|d| Some(d.name.clone())).collect();
        let mut shape: Vec<u64> = variable.dimensions.iter().map(|d| d.size).collect();
        let cell = match &variable.dtype {
            NcType::Char => {
                // Characters along the last dimension are one text, unless that is the one of records.
                let length = if shape.len() == 1 && variable.is_record_var { None } else { shape.pop() };
                dims.truncate(shape.len());
                Cell::Bytes(length.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1))
            }
            other => number(other),
        };
        let stride = variable.is_record_var.then_some(stride);
        let rows = Rows::new(variable.data_offset, stride, cell.size() as u64, &shape);
        made.variables.push(Variable {
            dims,
            chunks: rows.chunks.clone(),
            shape,
            data: if let Cell::Other(_) = cell { Data::Nothing } else { Data::Rows(rows) },
            cell,
            attrs: attrs::of_classic(&variable.attributes),
            ..Variable::unreadable(&variable.name, String::new())
        });
    }
    Ok(made)
}

fn number(dtype: &NcType) -> Cell {
    let (name, size) = match dtype {
        NcType::Byte => ("int8", 1),
        NcType::UByte => ("uint8", 1),
        NcType::Short => ("int16", 2),
        NcType::UShort => ("uint16", 2),
        NcType::Int => ("int32", 4),
        NcType::UInt => ("uint32", 4),
        NcType::Int64 => ("int64", 8),
        NcType::UInt64 => ("uint64", 8),
        NcType::Float => ("float32", 4),
        NcType::Double => ("float64", 8),
        other => return Cell::Other(format!("{other:?}")),
    };
    Cell::Number { name, size, big: true }
}
