//! The arrays of the new cube, and where the cells of each come from.

use super::check::{Way, same, same_values, times};
use super::values::Values;
use super::{CubeOptions, ImportError, Part};
use crate::chunk::ChunkReader;
use crate::open;
use crate::write::{ArraySpec, labels_to_array};
use chunkwise_core::cf::encode::keep_references;
use chunkwise_core::cube::{ChunkSizes, DataType, Labels, Role, Variable};
use chunkwise_core::dtype::{DType, Scalar};
use serde_json::Value;

/// Cells of a coordinate that lie in one chunk.
const ONE_CHUNK: u64 = 1 << 20;

/// Attributes that are no longer true of decoded values.
const PACKED: [&str; 11] = [
    "scale_factor",
    "add_offset",
    "_Unsigned",
    "_FillValue",
    "missing_value",
    "valid_min",
    "valid_max",
    "valid_range",
    "flag_values",
    "flag_masks",
    "flag_meanings",
];

/// An array of the new cube.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) spec: ArraySpec,
    /// The axis along which files are joined, where it lies along it.
    pub(super) axis: Option<usize>,
    /// Type of its cells.
    pub(super) dtype: DType,
    pub(super) from: Vec<From>,
    /// All cells, of text and of what has no values.
    pub(super) whole: Option<Vec<u8>>,
}

/// The part of an array that one file holds.
#[derive(Debug)]
pub(super) struct From {
    pub(super) location: String,
    pub(super) reader: ChunkReader,
    pub(super) shape: Vec<u64>,
    pub(super) chunks: Vec<ChunkSizes>,
    /// First cell along the joined dimension.
    pub(super) at: u64,
    pub(super) values: Values,
}

impl From {
    pub(super) fn of(part: &Part, variable: &Variable, way: Way, to: DType, at: u64) -> Result<From, ImportError> {
        let location = part.cube.cube.location.clone();
        let reader = ChunkReader::new(variable, part.cube.store.clone())
            .map_err(|e| ImportError::Read { location: location.clone(), source: e.into() })?;
        let (shape, chunks) = (variable.shape.clone(), variable.chunks.clone());
        Ok(From { location, reader, shape, chunks, at, values: Values::new(variable, way, to) })
    }
}

/// The ways of all parts of a variable: each beside the first.
pub(super) fn ways(parts: &[Part], name: &str, options: &CubeOptions) -> Result<Vec<Way>, ImportError> {
    let variable = |part: &Part| part.cube.cube.variables.get(name).cloned();
    let along = options.along.as_deref();
    let mut ways = vec![Way::Bits];
    let Some((first, a)) = parts.first().and_then(|part| Some((part, variable(part)?))) else { return Ok(ways) };
    for part in &parts[1..] {
        let Some(b) = variable(part) else { continue };
        match same((first, &a), (part, &b), along, options)? {
            Some(Way::Bits) if bounds_of(part, name).is_some() => {
                // Bounds are counted as what they bound.
                let of = bounds_of(first, name).zip(bounds_of(part, name));
                let shifted = of.and_then(|(a, b)| same((first, a), (part, b), along, options).ok().flatten());
                let own = times(&a).is_some();
                ways.push(shifted.filter(|_| !own).unwrap_or(Way::Bits));
            }
            Some(way) => ways.push(way),
            None => return Ok(vec![Way::Decode; parts.len()]),
        }
        if along.is_none_or(|along| a.axis(along).is_none()) && a.role != Role::GridMapping {
            same_values((first, &a), (part, &b))?;
        }
    }
    Ok(ways)
}

/// The variable whose bounds these are.
fn bounds_of<'a>(part: &'a Part, name: &str) -> Option<&'a Variable> {
    let names = |v: &&Variable| {
        ["bounds", "climatology"].iter().any(|key| v.attrs.get(*key).and_then(Value::as_str) == Some(name))
    };
    part.cube.cube.variables.values().find(names)
}

/// The arrays of the new cube, and what is left out, in words.
pub(super) fn of_parts(
    parts: &[Part],
    names: &[String],
    options: &CubeOptions,
) -> Result<(Vec<Array>, Vec<String>), ImportError> {
    let Some(first) = parts.first() else { return Ok((Vec::new(), Vec::new())) };
    let mut arrays = Vec::new();
    for name in names {
        let Some(variable) = first.cube.cube.variables.get(name) else { continue };
        arrays.push(array(parts, variable, options)?);
    }
    let written: Vec<String> = arrays.iter().map(|array: &Array| array.spec.path.clone()).collect();
    for array in &mut arrays {
        keep_references(&mut array.spec.attrs, |name| written.iter().any(|w| w == name));
    }
    let mut notes = Vec::new();
    if !first.cube.groups.is_empty() {
        notes.push(format!("groups are not imported with it: `{}`", first.cube.groups.join("`, `")));
    }
    Ok((arrays, notes))
}

fn array(parts: &[Part], variable: &Variable, options: &CubeOptions) -> Result<Array, ImportError> {
    let axis = options.along.as_deref().and_then(|along| variable.axis(along));
    let ways = ways(parts, &variable.name, options)?;
    let mut shape = variable.shape.clone();
    if let Some(axis) = axis {
        shape[axis] = parts.iter().map(|part| part.len).sum();
    }
    let Some(stored) = variable.dtype.number() else { return text(parts, variable, axis, shape, options) };
    let decoded = ways.contains(&Way::Decode);
    let dtype = if decoded { decoded_type(parts, &variable.name) } else { stored };
    let mut from = Vec::new();
    for (part, way) in parts.iter().zip(ways) {
        let Some(own) = part.cube.cube.variables.get(&variable.name) else { continue };
        from.push(From::of(part, own, way, dtype, if axis.is_some() { part.at } else { 0 })?);
        if axis.is_none() {
            break;
        }
    }
    let spec = spec(variable, shape, decoded.then_some(dtype), parts.len() > 1, options);
    Ok(Array { spec, axis, dtype, from, whole: None })
}

/// Type of decoded values: as wide as the widest needs.
fn decoded_type(parts: &[Part], name: &str) -> DType {
    let views = parts.iter().filter_map(|part| part.cube.cube.variables.get(name)?.view);
    if views.into_iter().all(|view| view.result_float() == DType::Float32) { DType::Float32 } else { DType::Float64 }
}

fn spec(
    variable: &Variable,
    shape: Vec<u64>,
    decoded: Option<DType>,
    several: bool,
    options: &CubeOptions,
) -> ArraySpec {
    let mut attrs = variable.attrs.clone();
    let stored = variable.dtype.number();
    let mut missing = None;
    if decoded.is_some() {
        PACKED.iter().for_each(|key| {
            attrs.shift_remove(*key);
        });
        missing = Some(Scalar::Float(f64::NAN));
    } else if let (DataType::Number(stored), Some(view)) = (&variable.dtype, variable.view) {
        let marks: Vec<Scalar> = variable.missing.marks.iter().filter_map(|&m| as_stored(m, *stored, view)).collect();
        // `NaN` is missing whether a mark says so or not.
        let nan = ["_FillValue", "missing_value"].iter().any(|key| is_nan(attrs.get(*key)));
        missing = marks.first().copied().or((nan && stored.is_float()).then_some(Scalar::Float(f64::NAN)));
        attrs.shift_remove("_FillValue");
        if is_nan(attrs.get("missing_value")) || marks.len() < 2 {
            attrs.shift_remove("missing_value");
        }
        if let Some(&second) = marks.get(1) {
            let value = match second {
                Scalar::Int(v) => v.into(),
                Scalar::UInt(v) => v.into(),
                Scalar::Float(v) => v.into(),
            };
            attrs.insert("missing_value".to_owned(), value);
        }
    }
    if several {
        attrs.shift_remove("actual_range");
    }
    let coordinate = variable.role == Role::Dimension;
    let chunk = |axis: usize| {
        let length = shape[axis].max(1);
        let usual = if coordinate { length.min(ONE_CHUNK) } else { variable.chunks[axis].longest() };
        let asked = options.chunks.get(&variable.dims[axis]).filter(|_| !coordinate);
        asked.copied().unwrap_or(usual).clamp(1, length)
    };
    let chunks: Vec<u64> = (0..shape.len()).map(chunk).collect();
    let shards = options.shards.as_ref().filter(|_| !coordinate && !shape.is_empty()).map(|shards| {
        let shard = |axis: usize| {
            let asked = shards.get(&variable.dims[axis]).copied().unwrap_or(chunks[axis]);
            // No larger than the array, in whole chunks.
            asked.clamp(1, shape[axis].max(1).next_multiple_of(chunks[axis]))
        };
        (0..shape.len()).map(shard).collect()
    });
    let dtype = decoded.map_or_else(|| variable.dtype.clone(), DataType::Number);
    ArraySpec {
        path: variable.name.clone(),
        dims: variable.dims.clone(),
        dtype,
        chunks,
        shards,
        codec: options.codec.clone(),
        fill_value: missing.filter(|_| stored.is_some()),
        missing,
        attrs,
        zarr: options.zarr,
        shape,
    }
}

fn is_nan(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| text.trim().eq_ignore_ascii_case("nan"))
}

/// A mark as the stored type has it, of one that `_Unsigned` turned.
fn as_stored(mark: Scalar, stored: DType, view: DType) -> Option<Scalar> {
    if stored == view || stored.is_float() {
        return Some(mark);
    }
    let int: i128 = match mark {
        Scalar::Int(v) => v.into(),
        Scalar::UInt(v) => v.into(),
        Scalar::Float(v) if v.fract() == 0.0 && v.abs() < 1.8e19 => v as i128,
        Scalar::Float(_) => return None,
    };
    let range = 1i128 << (8 * stored.size());
    let turned = match stored.is_signed_int() {
        true if int >= range / 2 && int < range => int - range,
        false if int < 0 && int >= -range / 2 => int + range,
        _ => int,
    };
    i64::try_from(turned).map(Scalar::Int).or_else(|_| u64::try_from(turned).map(Scalar::UInt)).ok()
}

/// Text, whole; a grid mapping has no values that say anything.
fn text(
    parts: &[Part],
    variable: &Variable,
    axis: Option<usize>,
    shape: Vec<u64>,
    options: &CubeOptions,
) -> Result<Array, ImportError> {
    if variable.role == Role::GridMapping && shape.is_empty() {
        let mut attrs = variable.attrs.clone();
        attrs.shift_remove("_FillValue");
        let spec = ArraySpec::plain(variable.name.clone(), Vec::new(), Vec::new(), attrs, options.zarr);
        return Ok(Array { spec, axis: None, dtype: DType::Int64, from: Vec::new(), whole: Some(vec![0; 8]) });
    }
    if axis.is_some_and(|axis| axis > 0) {
        let problem =
            format!("has text `{}` whose first dimension is not the one that files are joined along", variable.name);
        return Err(ImportError::unfit(&parts[0].cube.cube.location, &problem, "name others with `--var`"));
    }
    let mut all = Vec::new();
    for part in if axis.is_some() { parts } else { &parts[..1] } {
        let Some(own) = part.cube.cube.variables.get(&variable.name) else { continue };
        if let open::Values::Text(texts) = part.cube.read_all(own)? {
            all.extend(texts);
        }
    }
    let Some((mut spec, cells)) = labels_to_array(&variable.name, &Labels::Text(all), Some(variable), options.zarr)
    else {
        return Err(ImportError::unfit(
            &parts[0].cube.cube.location,
            format!("has no text in `{}`", variable.name),
            "",
        ));
    };
    (spec.dims, spec.chunks) = (variable.dims.clone(), shape.iter().map(|&n| n.max(1)).collect());
    spec.shape = shape;
    spec.attrs.clone_from(&variable.attrs);
    spec.attrs.shift_remove("_FillValue");
    Ok(Array { spec, axis, dtype: DType::Int64, from: Vec::new(), whole: Some(cells) })
}
