//! NetCDF-4: datasets of HDF5 whose dimensions are scales.

use super::{Export, ExportError, each_chunk};
use crate::exec::{Counters, RunOptions};
use crate::open::OpenCube;
use chunkwise_core::cube::{ChunkSizes, DataType, Labels, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use rust_hdf5::format::messages::datatype::DatatypeMessage;
use rust_hdf5::{H5Dataset, H5File, H5Type};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// What the library calls dimensions that no variable labels.
const NO_VARIABLE: &str = "This is a netCDF dimension but not a netCDF variable.";
/// Attributes that are written from other things, or are Zarr's own.
const OWN: [&str; 3] = ["_FillValue", "_ARRAY_DIMENSIONS", "DIMENSION_LIST"];

pub(super) fn write(
    cube: &OpenCube,
    path: &Path,
    export: &Export,
    counters: &Counters,
    run: &RunOptions,
) -> Result<(), ExportError> {
    let failed = |e: rust_hdf5::Hdf5Error| export.failed(e);
    let deflate = export.deflate("NetCDF")?;
    let file = H5File::options().track_order(true).no_locking().create(path).map_err(failed)?;
    for (name, value) in &cube.cube.attrs {
        match attribute(value) {
            Some(Attribute::Text(text)) => {
                let (kind, bytes) = fixed(&text);
                file.set_attr_typed(name, kind, bytes).map_err(failed)?;
            }
            Some(Attribute::Texts(texts)) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                file.set_attr_string_array(name, &texts).map_err(failed)?;
            }
            Some(Attribute::Integers(v)) => file.set_attr_array_numeric(name, &v).map_err(failed)?,
            Some(Attribute::Numbers(v)) => file.set_attr_array_numeric(name, &v).map_err(failed)?,
            None => {}
        }
    }
    // Dimensions first: what lies along them names them.
    let mut dims: HashMap<&str, H5Dataset> = HashMap::new();
    for (dim, &length) in &cube.cube.dims {
        let dataset = match cube.cube.coordinate(dim).filter(|v| v.dims == [dim.clone()]) {
            Some(variable) => {
                let made = whole(cube, &file, variable, export, run)?;
                made.set_scale(Some(dim)).map_err(failed)?;
                made
            }
            None => {
                let made = file.new_dataset::<f32>().shape([length as usize]).create(dim).map_err(failed)?;
                made.set_scale(Some(&format!("{NO_VARIABLE}{length:>10}"))).map_err(failed)?;
                made
            }
        };
        dims.insert(dim, dataset);
    }
    for variable in cube.cube.variables.values().filter(|v| !dims.contains_key(v.name.as_str())) {
        let made = match variable.shape.is_empty() || variable.dtype.number().is_none() {
            true => whole(cube, &file, variable, export, run)?,
            false => chunked(cube, &file, variable, deflate, (export, counters, run))?,
        };
        for (axis, dim) in variable.dims.iter().enumerate() {
            if let Some(scale) = dims.get(dim.as_str()) {
                made.attach_scale(axis, scale).map_err(failed)?;
            }
        }
    }
    drop(dims);
    file.close().map_err(failed)
}

/// A variable in one piece: labels, scalars, text.
fn whole(
    cube: &OpenCube,
    file: &H5File,
    variable: &Variable,
    export: &Export,
    run: &RunOptions,
) -> Result<H5Dataset, ExportError> {
    let failed = |e: rust_hdf5::Hdf5Error| export.failed(e);
    let Some(dtype) = stored(variable)? else {
        let texts = match cube.labels_of(variable)? {
            Labels::Text(texts) => texts,
            _ => Vec::new(),
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let made = file.write_vlen_strings(&variable.name, &texts).map_err(failed)?;
        attributes(&made, variable, None, export)?;
        return Ok(made);
    };
    let mut bytes = vec![0u8; variable.cells() as usize * dtype.size()];
    let shape = variable.shape.clone();
    each_chunk(cube, variable, run, |first, part, cells| {
        let region: Vec<(u64, u64)> = first.iter().zip(part).map(|(f, n)| (*f, f + n)).collect();
        let size = dtype.size();
        crate::sink::memory::each_row(&shape, &region, |to, from, n| {
            bytes[to * size..(to + n) * size].copy_from_slice(&cells[from * size..(from + n) * size]);
        });
        Ok(())
    })?;
    let made = numeric(dtype, Make { file, variable, chunks: None, deflate: None }).map_err(failed)?;
    made.write_raw_bytes(&bytes).map_err(failed)?;
    attributes(&made, variable, Some(dtype), export)?;
    Ok(made)
}

/// A variable chunk by chunk.
fn chunked(
    cube: &OpenCube,
    file: &H5File,
    variable: &Variable,
    deflate: Option<u32>,
    (export, counters, run): (&Export, &Counters, &RunOptions),
) -> Result<H5Dataset, ExportError> {
    let failed = |e: rust_hdf5::Hdf5Error| export.failed(e);
    let Some(dtype) = stored(variable)? else { return Err(ExportError::Nothing) };
    let chunks: Vec<usize> = variable
        .chunks
        .iter()
        .map(|c| match c {
            ChunkSizes::Regular(n) => *n as usize,
            ChunkSizes::Listed(sizes) => sizes.first().map_or(1, |&n| n as usize),
        })
        .collect();
    let made = numeric(dtype, Make { file, variable, chunks: Some(&chunks), deflate }).map_err(failed)?;
    let mut full = Vec::new();
    each_chunk(cube, variable, run, |first, part, cells| {
        let at: Vec<usize> = first.iter().zip(&chunks).map(|(f, n)| *f as usize / n).collect();
        let whole: Vec<u64> = chunks.iter().map(|&n| n as u64).collect();
        if part == whole {
            made.write_chunk_at(&at, cells).map_err(failed)?;
        } else {
            // A chunk is stored whole; what lies beyond the variable is never read.
            let size = dtype.size();
            full.clear();
            full.resize(whole.iter().product::<u64>() as usize * size, 0);
            let region: Vec<(u64, u64)> = part.iter().map(|&n| (0, n)).collect();
            crate::sink::memory::each_row(&whole, &region, |to, from, n| {
                full[to * size..(to + n) * size].copy_from_slice(&cells[from * size..(from + n) * size]);
            });
            made.write_chunk_at(&at, &full).map_err(failed)?;
        }
        counters.leaves.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })?;
    attributes(&made, variable, Some(dtype), export)?;
    Ok(made)
}

/// What is stored of a variable; `None`: text.
fn stored(variable: &Variable) -> Result<Option<DType>, ExportError> {
    let refused = |dtype: String| ExportError::Type { variable: variable.name.clone(), dtype, to: "NetCDF" };
    match &variable.dtype {
        DataType::Number(DType::Float16) => Err(refused("float16".to_owned())),
        DataType::Number(dtype) => Ok(Some(*dtype)),
        DataType::Text(..) => Ok(None),
        other => Err(refused(other.name())),
    }
}

/// A dataset to be made.
struct Make<'a> {
    file: &'a H5File,
    variable: &'a Variable,
    chunks: Option<&'a [usize]>,
    deflate: Option<u32>,
}

fn numeric(dtype: DType, make: Make<'_>) -> Result<H5Dataset, rust_hdf5::Hdf5Error> {
    match dtype {
        DType::Bool | DType::UInt8 => make.of::<u8>(dtype),
        DType::Int8 => make.of::<i8>(dtype),
        DType::UInt16 => make.of::<u16>(dtype),
        DType::Int16 => make.of::<i16>(dtype),
        DType::UInt32 => make.of::<u32>(dtype),
        DType::Int32 => make.of::<i32>(dtype),
        DType::UInt64 => make.of::<u64>(dtype),
        DType::Int64 => make.of::<i64>(dtype),
        DType::Float16 | DType::Float32 => make.of::<f32>(dtype),
        DType::Float64 => make.of::<f64>(dtype),
    }
}

impl Make<'_> {
    fn of<T: H5Type>(self, dtype: DType) -> Result<H5Dataset, rust_hdf5::Hdf5Error> {
        let shape: Vec<usize> = self.variable.shape.iter().map(|&n| n as usize).collect();
        let mut made = self.file.new_dataset::<T>();
        made = if shape.is_empty() { made.scalar() } else { made.shape(&shape) };
        if let Some(mark) = self.variable.missing.marks.first() {
            made = made.fill_value_bytes(&bytes_of(dtype, *mark));
        }
        if let Some(chunks) = self.chunks {
            made = made.chunk(chunks);
            made = match (self.deflate, dtype.size()) {
                (None, _) => made,
                (Some(level), 1) => made.deflate(level),
                (Some(level), _) => made.shuffle_deflate(level),
            };
        }
        made.create(&self.variable.name)
    }
}

fn bytes_of(dtype: DType, value: Scalar) -> Vec<u8> {
    struct Bytes(Scalar);
    impl ForElement for Bytes {
        type Output = Vec<u8>;
        fn run<T: Element>(self) -> Vec<u8> {
            bytemuck::bytes_of(&T::from_f64(self.0.to_f64())).to_vec()
        }
    }
    // Beyond 2⁵³ a number of 64 bits is none of floating point.
    match (dtype, value) {
        (DType::Int64, Scalar::Int(v)) => v.to_ne_bytes().to_vec(),
        (DType::UInt64, Scalar::Int(v)) => (v as u64).to_ne_bytes().to_vec(),
        (DType::UInt64, Scalar::UInt(v)) => v.to_ne_bytes().to_vec(),
        _ => dtype.dispatch(Bytes(value)),
    }
}

/// The attributes of a variable; the mark of missing cells in the type that is stored, and flags too.
fn attributes(made: &H5Dataset, variable: &Variable, dtype: Option<DType>, export: &Export) -> Result<(), ExportError> {
    let failed = |e: rust_hdf5::Hdf5Error| export.failed(e);
    if let (Some(dtype), Some(mark)) = (dtype, variable.missing.marks.first()) {
        typed(made, "_FillValue", dtype, &[*mark], export)?;
    }
    for (name, value) in variable.attrs.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        let of_cells = ["missing_value", "flag_values", "flag_masks", "valid_min", "valid_max", "valid_range"];
        let numbers = scalars(value);
        if let (Some(dtype), true, Some(numbers)) = (dtype, of_cells.contains(&name.as_str()), &numbers) {
            typed(made, name, dtype, numbers, export)?;
            continue;
        }
        match attribute(value) {
            Some(Attribute::Text(text)) => {
                let (kind, bytes) = fixed(&text);
                made.set_attr_typed(name, kind, bytes).map_err(failed)?;
            }
            Some(Attribute::Texts(texts)) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let attr = made.new_attr::<rust_hdf5::VarLenUnicode>().shape([texts.len()]).create(name);
                attr.and_then(|a| a.write_string_array(&texts)).map_err(failed)?;
            }
            Some(Attribute::Integers(v)) => array(made, name, &v).map_err(failed)?,
            Some(Attribute::Numbers(v)) => array(made, name, &v).map_err(failed)?,
            None => {}
        }
    }
    Ok(())
}

fn array<T: H5Type>(made: &H5Dataset, name: &str, values: &[T]) -> Result<(), rust_hdf5::Hdf5Error> {
    made.new_attr::<T>().shape([values.len()]).create(name)?.write_array(values)
}

fn typed(made: &H5Dataset, name: &str, dtype: DType, values: &[Scalar], export: &Export) -> Result<(), ExportError> {
    fn write<T: H5Type + bytemuck::Pod>(
        made: &H5Dataset,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), rust_hdf5::Hdf5Error> {
        array(made, name, &bytemuck::pod_collect_to_vec::<u8, T>(bytes))
    }
    let bytes: Vec<u8> = values.iter().flat_map(|&v| bytes_of(dtype, v)).collect();
    match dtype {
        DType::Bool | DType::UInt8 => write::<u8>(made, name, &bytes),
        DType::Int8 => write::<i8>(made, name, &bytes),
        DType::UInt16 => write::<u16>(made, name, &bytes),
        DType::Int16 => write::<i16>(made, name, &bytes),
        DType::UInt32 => write::<u32>(made, name, &bytes),
        DType::Int32 => write::<i32>(made, name, &bytes),
        DType::UInt64 => write::<u64>(made, name, &bytes),
        DType::Int64 => write::<i64>(made, name, &bytes),
        DType::Float16 | DType::Float32 => write::<f32>(made, name, &bytes),
        DType::Float64 => write::<f64>(made, name, &bytes),
    }
    .map_err(|e| export.failed(e))
}

/// Text of its own length, as NetCDF's `char` attributes are.
fn fixed(text: &str) -> (DatatypeMessage, Vec<u8>) {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.is_empty() {
        bytes.push(0);
    }
    (DatatypeMessage::fixed_string_utf8(bytes.len() as u32), bytes)
}

/// A JSON attribute as NetCDF has it.
enum Attribute {
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i32>),
    Numbers(Vec<f64>),
}

fn attribute(value: &Value) -> Option<Attribute> {
    let numbers = |values: &[Value]| {
        let whole = |v: &Value| v.as_i64().and_then(|v| i32::try_from(v).ok());
        match values.iter().map(whole).collect::<Option<Vec<i32>>>() {
            Some(whole) => Some(Attribute::Integers(whole)),
            None => Some(Attribute::Numbers(values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()?)),
        }
    };
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(Attribute::Integers(vec![i32::from(*b)])),
        Value::Number(_) => numbers(std::slice::from_ref(value)),
        Value::String(text) => Some(Attribute::Text(text.clone())),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => match values.iter().map(|v| v.as_str().map(str::to_owned)).collect() {
            Some(texts) => Some(Attribute::Texts(texts)),
            // Lists within lists have no form of their own.
            None => numbers(values).or_else(|| Some(Attribute::Text(value.to_string()))),
        },
        Value::Object(_) => Some(Attribute::Text(value.to_string())),
    }
}

fn scalars(value: &Value) -> Option<Vec<Scalar>> {
    let one = |v: &Value| match v {
        Value::Number(n) => Some(chunkwise_core::cf::decode::json_number(n)),
        Value::String(text) => chunkwise_core::cf::decode::named_float(text).map(Scalar::Float),
        _ => None,
    };
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(one).collect(),
        other => one(other).map(|v| vec![v]),
    }
}
