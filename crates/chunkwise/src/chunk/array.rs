//! Array-to-array codecs: what lies between the cells of a chunk and the cells that are turned into bytes.

use super::error::BoxError;
use bytemuck::pod_read_unaligned;
use chunkwise_core::cube::{Codec, DataType};
use chunkwise_core::dtype::{DType, Element, ForElement};
use half::f16;
use serde_json::Value;

/// One array-to-array codec, over cells in the byte order of this machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ArrayStep {
    /// Axis `order[k]` of the decoded array is axis `k` of the encoded one.
    Transpose(Vec<usize>),
    /// The first cell, then the difference of each cell to the one before it, in C order.
    Delta(DType),
    /// `decoded = encoded / scale + offset`, from one type to another.
    Scaled { scale: f64, offset: f64, encoded: DType, decoded: DType },
}

/// What a codec is to this module.
pub(super) enum Known {
    /// A step of decoding, and the type of its encoded cells.
    Step(ArrayStep, DataType),
    /// Nothing is to be undone: digits were dropped in writing, reading takes what is there.
    Nothing,
    /// Another codec.
    No,
}

impl ArrayStep {
    /// The codec as a step over cells of type `dtype` with `rank` axes. `name` has no prefix.
    pub(super) fn own(name: &str, codec: &Codec, dtype: &DataType, rank: usize) -> Result<Known, BoxError> {
        let number = || dtype.number().filter(|d| *d != DType::Bool).ok_or("the cells are no numbers");
        let setting = |key: &str| match codec.configuration.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(named) => match named.as_str().and_then(number_type) {
                Some(named) => Ok(Some(named)),
                None => Err(BoxError::from(format!("`{key}` is `{named}`, no type of numbers"))),
            },
        };
        let same = |key: &str, wanted: DType, found: DType| match found == wanted {
            true => Ok(()),
            false => {
                Err(BoxError::from(format!("`{key}` is `{found}`; only `{wanted}`, as in the array, is supported")))
            }
        };
        Ok(match name {
            "transpose" => {
                let order = order(codec.configuration.get("order"), rank);
                let order = order.ok_or_else(|| format!("`order` does not name each of {rank} axes once"))?;
                Known::Step(ArrayStep::Transpose(order), dtype.clone())
            }
            "delta" => {
                let cells = number()?;
                let named = setting("dtype")?.unwrap_or(cells);
                same("dtype", cells, named)?;
                same("astype", cells, setting("astype")?.unwrap_or(named))?;
                Known::Step(ArrayStep::Delta(cells), dtype.clone())
            }
            "fixedscaleoffset" => {
                let decoded = number()?;
                same("dtype", decoded, setting("dtype")?.unwrap_or(decoded))?;
                let encoded = setting("astype")?.unwrap_or(decoded);
                let value = |key: &str| match codec.configuration.get(key).and_then(Value::as_f64) {
                    Some(value) => Ok(value),
                    None => Err(BoxError::from(format!("`{key}` is no number"))),
                };
                let (scale, offset) = (value("scale")?, value("offset")?);
                Known::Step(ArrayStep::Scaled { scale, offset, encoded, decoded }, DataType::Number(encoded))
            }
            "quantize" => {
                let cells = number()?;
                let named = setting("dtype")?.unwrap_or(cells);
                same("dtype", cells, named)?;
                same("astype", cells, setting("astype")?.unwrap_or(named))?;
                Known::Nothing
            }
            "bitround" => {
                number()?;
                Known::Nothing
            }
            _ => Known::No,
        })
    }

    /// Shape of the encoded array.
    pub(super) fn encoded_shape(&self, shape: &[u64]) -> Vec<u64> {
        match self {
            // The order names each axis once.
            ArrayStep::Transpose(order) => order.iter().map(|&axis| shape[axis]).collect(),
            _ => shape.to_vec(),
        }
    }

    /// Bytes of an encoded cell, where a decoded one has `item`.
    pub(super) fn encoded_item(&self, item: usize) -> usize {
        match self {
            ArrayStep::Scaled { encoded, .. } => encoded.size(),
            _ => item,
        }
    }

    /// Undoes this codec: `out` then holds the decoded cells of `shape`, of `item` bytes each, and nothing else.
    /// `cells` has as many cells as the shape.
    pub(super) fn decode(&self, cells: &[u8], shape: &[u64], item: usize, out: &mut Vec<u8>) {
        out.clear();
        match self {
            ArrayStep::Transpose(order) => match item {
                1 => transpose::<1>(cells, shape, order, out),
                2 => transpose::<2>(cells, shape, order, out),
                4 => transpose::<4>(cells, shape, order, out),
                8 => transpose::<8>(cells, shape, order, out),
                _ => transpose_wide(cells, shape, order, item, out),
            },
            ArrayStep::Delta(dtype) => {
                out.extend_from_slice(cells);
                sum_up(*dtype, out);
            }
            ArrayStep::Scaled { scale, offset, encoded, decoded } => {
                encoded.dispatch(Unscale { cells, scale: *scale, offset: *offset, decoded: *decoded, out });
            }
        }
    }
}

/// A type by its Zarr v3 name (`int32`) or numpy's (`<i4`).
fn number_type(name: &str) -> Option<DType> {
    let short = name.trim_start_matches(['<', '>', '|', '=']);
    DType::from_name(name).or_else(|| {
        DType::ALL.into_iter().find(|dtype| {
            let kind = match dtype {
                DType::Bool => 'b',
                d if d.is_float() => 'f',
                d if d.is_signed_int() => 'i',
                _ => 'u',
            };
            short == format!("{kind}{}", dtype.size())
        })
    })
}

/// The order of axes: a list, or `C` and `F` as drafts of v3 had it.
fn order(value: Option<&Value>, rank: usize) -> Option<Vec<usize>> {
    let order: Vec<usize> = match value? {
        Value::String(name) if name == "C" => (0..rank).collect(),
        Value::String(name) if name == "F" => (0..rank).rev().collect(),
        Value::Array(list) if list.len() == rank => {
            let axis = |v: &Value| v.as_u64().and_then(|axis| usize::try_from(axis).ok());
            list.iter().map(axis).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.iter().copied().eq(0..rank).then_some(order)
}

/// For each axis of the decoded array, how many encoded cells lie between two neighbours along it.
fn strides(shape: &[u64], order: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1usize;
    for &axis in order.iter().rev() {
        strides[axis] = stride;
        // The cells lie in memory, so their number fits.
        stride *= shape[axis] as usize;
    }
    strides
}

/// Calls `row` with the first encoded cell of each run along the last decoded axis, in C order.
fn rows(shape: &[u64], strides: &[usize], mut row: impl FnMut(usize)) {
    let mut index = vec![0u64; shape.len() - 1];
    let mut at = 0;
    'rows: loop {
        row(at);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                continue 'rows;
            }
            at -= strides[axis] * shape[axis] as usize;
            index[axis] = 0;
        }
        return;
    }
}

fn transpose<const N: usize>(cells: &[u8], shape: &[u64], order: &[usize], out: &mut Vec<u8>) {
    let Some(&length) = shape.last().filter(|_| !cells.is_empty()) else {
        return out.extend_from_slice(cells);
    };
    let cells = cells.as_chunks::<N>().0;
    let strides = strides(shape, order);
    let step = strides[shape.len() - 1];
    out.resize(cells.len() * N, 0);
    let mut runs = out.as_chunks_mut::<N>().0.chunks_exact_mut(length as usize);
    rows(shape, &strides, |first| {
        if let Some(run) = runs.next() {
            for (cell, from) in run.iter_mut().zip(cells[first..].iter().step_by(step)) {
                *cell = *from;
            }
        }
    });
}

fn transpose_wide(cells: &[u8], shape: &[u64], order: &[usize], item: usize, out: &mut Vec<u8>) {
    let Some(&length) = shape.last().filter(|_| !cells.is_empty()) else {
        return out.extend_from_slice(cells);
    };
    let strides = strides(shape, order);
    let step = strides[shape.len() - 1];
    out.reserve(cells.len());
    rows(shape, &strides, |first| {
        for cell in 0..length as usize {
            let at = (first + cell * step) * item;
            out.extend_from_slice(&cells[at..at + item]);
        }
    });
}

/// Sums cells up in place; integers wrap, as they did in writing.
fn sum_up(dtype: DType, cells: &mut [u8]) {
    match dtype {
        DType::Float16 => run(cells, |a, b| (f16::from_ne_bytes(a) + f16::from_ne_bytes(b)).to_ne_bytes()),
        DType::Float32 => run(cells, |a, b| (f32::from_ne_bytes(a) + f32::from_ne_bytes(b)).to_ne_bytes()),
        DType::Float64 => run(cells, |a, b| (f64::from_ne_bytes(a) + f64::from_ne_bytes(b)).to_ne_bytes()),
        _ => match dtype.size() {
            1 => run(cells, |a, b| u8::from_ne_bytes(a).wrapping_add(u8::from_ne_bytes(b)).to_ne_bytes()),
            2 => run(cells, |a, b| u16::from_ne_bytes(a).wrapping_add(u16::from_ne_bytes(b)).to_ne_bytes()),
            4 => run(cells, |a, b| u32::from_ne_bytes(a).wrapping_add(u32::from_ne_bytes(b)).to_ne_bytes()),
            _ => run(cells, |a, b| u64::from_ne_bytes(a).wrapping_add(u64::from_ne_bytes(b)).to_ne_bytes()),
        },
    }
}

fn run<const N: usize>(cells: &mut [u8], add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let mut cells = cells.as_chunks_mut::<N>().0.iter_mut();
    let Some(first) = cells.next() else { return };
    let mut sum = *first;
    for cell in cells {
        sum = add(sum, *cell);
        *cell = sum;
    }
}

/// numcodecs' `FixedScaleOffset.decode`: integers and `float64` are computed in `float64`, narrower floats in their
/// own type; integers of the result are cut off towards zero.
struct Unscale<'a> {
    cells: &'a [u8],
    scale: f64,
    offset: f64,
    decoded: DType,
    out: &'a mut Vec<u8>,
}

impl ForElement for Unscale<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        let (scale, offset) = (self.scale, self.offset);
        let value = |cell: &[u8]| {
            let stored = pod_read_unaligned::<T>(cell).to_f64();
            match T::DTYPE {
                DType::Float32 => f64::from(stored as f32 / scale as f32 + offset as f32),
                DType::Float16 => {
                    let whole = f16::from_f64(stored) / f16::from_f64(scale);
                    (whole + f16::from_f64(offset)).to_f64()
                }
                _ => stored / scale + offset,
            }
        };
        let values = self.cells.chunks_exact(size_of::<T>()).map(value).collect();
        self.decoded.dispatch(Narrow { values, out: self.out });
    }
}

struct Narrow<'a> {
    values: Vec<f64>,
    out: &'a mut Vec<u8>,
}

impl ForElement for Narrow<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        self.out.reserve(self.values.len() * size_of::<T>());
        for value in self.values {
            self.out.extend_from_slice(bytemuck::bytes_of(&T::from_f64(value)));
        }
    }
}
