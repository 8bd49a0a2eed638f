//! Array-to-array codecs: what lies between the cells of a chunk and the cells that are turned into bytes.

use super::cast::Cast;
use super::error::BoxError;
use super::transpose;
use bytemuck::pod_read_unaligned;
use chunkwise_core::cube::{Codec, DataType};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use half::f16;
use serde_json::Value;

/// One array-to-array codec, over cells in the byte order of this machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ArrayStep {
    /// Axis `order[k]` of the decoded array is axis `k` of the encoded one.
    Transpose(Vec<usize>),
    /// The first cell, then the difference of each cell to the one before it, in C order.
    Delta { decoded: DType, encoded: DType },
    /// numcodecs' `fixedscaleoffset`: `decoded = encoded / scale + offset`, from one type to another.
    Fixed { scale: f64, offset: f64, encoded: DType, decoded: DType },
    /// Zarr's `scale_offset`: the same within one type, and exact for integers.
    Scale { scale: Scalar, offset: Scalar, dtype: DType },
    /// Another type: numcodecs' `astype`, Zarr's `cast_value`.
    Cast(Cast),
    /// Decimal digits were dropped in writing; reading takes what is there.
    Quantize { digits: i32, decoded: DType, encoded: DType },
    /// Bits of the mantissa were dropped in writing; reading takes what is there.
    BitRound { keep: u32, dtype: DType },
    /// numcodecs' `packbits`: a byte that counts the bits of padding, then eight truth values a byte.
    PackBits,
}

impl ArrayStep {
    /// The codec as a step over cells of type `dtype` with `rank` axes, and the type of its encoded cells; `None` where it is
    /// another codec.
    pub(super) fn own(codec: &Codec, dtype: &DataType, rank: usize) -> Result<Option<(ArrayStep, DataType)>, BoxError> {
        let name = super::bare(&codec.name);
        let number = || dtype.number().filter(|d| *d != DType::Bool).ok_or("the cells are no numbers");
        let float = || number().ok().filter(|d| d.is_float()).ok_or("the cells are no floating-point numbers");
        let setting = |key: &str| match codec.configuration.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(named) => match named.as_str().and_then(number_type) {
                Some(named) => Ok(Some(named)),
                None => Err(BoxError::from(format!("`{key}` is `{named}`, no type of numbers"))),
            },
        };
        // numcodecs names the type of the array once more, and may name another one for what is stored.
        let types = |decoded: DType| -> Result<DType, BoxError> {
            let named = setting("dtype")?.unwrap_or(decoded);
            if named != decoded {
                return Err(format!("`dtype` is `{named}`, and the cells are `{decoded}`").into());
            }
            Ok(setting("astype")?.unwrap_or(decoded))
        };
        let value = |key: &str| match codec.configuration.get(key).and_then(Value::as_f64) {
            Some(value) => Ok(value),
            None => Err(BoxError::from(format!("`{key}` is no number"))),
        };
        let count = |key: &str| match codec.configuration.get(key).and_then(Value::as_i64) {
            Some(value @ -400..=400) => Ok(value as i32),
            _ => Err(BoxError::from(format!("`{key}` is no count"))),
        };
        let (step, encoded) = match name {
            "transpose" => {
                let order = transpose::order(codec.configuration.get("order"), rank);
                let order = order.ok_or_else(|| format!("`order` does not name each of {rank} axes once"))?;
                return Ok(Some((ArrayStep::Transpose(order), dtype.clone())));
            }
            "delta" => {
                let decoded = number()?;
                let encoded = types(decoded)?;
                (ArrayStep::Delta { decoded, encoded }, encoded)
            }
            "fixedscaleoffset" => {
                let decoded = number()?;
                let encoded = types(decoded)?;
                let (scale, offset) = (value("scale")?, value("offset")?);
                (ArrayStep::Fixed { scale, offset, encoded, decoded }, encoded)
            }
            "scale_offset" => {
                let dtype = number()?;
                let value = |key: &str, usual: i64| match codec.configuration.get(key) {
                    None => Ok(if dtype.is_float() { Scalar::Float(usual as f64) } else { Scalar::Int(usual) }),
                    Some(value) => {
                        let parsed = crate::open::fill_value(value, &DataType::Number(dtype)).ok().flatten();
                        parsed.ok_or_else(|| BoxError::from(format!("`{key}` is `{value}`, which is no `{dtype}`")))
                    }
                };
                let (scale, offset) = (value("scale", 1)?, value("offset", 0)?);
                if scale.to_f64() == 0.0 {
                    return Err("`scale` is 0".into());
                }
                (ArrayStep::Scale { scale, offset, dtype }, dtype)
            }
            "astype" => {
                let decoded = number()?;
                let named = setting("decode_dtype")?.unwrap_or(decoded);
                if named != decoded {
                    return Err(format!("`decode_dtype` is `{named}`, and the cells are `{decoded}`").into());
                }
                let encoded = setting("encode_dtype")?.ok_or("`encode_dtype` is missing")?;
                (ArrayStep::Cast(Cast::plain(encoded, decoded)), encoded)
            }
            "cast_value" => {
                let cast = Cast::checked(&codec.configuration, number()?)?;
                let encoded = cast.encoded();
                (ArrayStep::Cast(cast), encoded)
            }
            "quantize" => {
                let decoded = float()?;
                let encoded = types(decoded)?;
                if !encoded.is_float() {
                    return Err("`astype` is no floating-point type".into());
                }
                (ArrayStep::Quantize { digits: count("digits")?, decoded, encoded }, encoded)
            }
            // zarrs keeps bits of integers too.
            "bitround" => {
                let keep = codec.configuration.get("keepbits").and_then(Value::as_u64).and_then(|n| n.try_into().ok());
                let dtype = number()?;
                (ArrayStep::BitRound { keep: keep.ok_or("`keepbits` is no number of bits")?, dtype }, dtype)
            }
            // Zarr's own `packbits` makes bytes; numcodecs' makes cells.
            "packbits" if codec.name.starts_with("numcodecs.") => {
                if dtype.number() != Some(DType::Bool) {
                    return Err("the cells are no truth values".into());
                }
                (ArrayStep::PackBits, DType::UInt8)
            }
            _ => return Ok(None),
        };
        Ok(Some((step, DataType::Number(encoded))))
    }

    /// Name for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            ArrayStep::Transpose(_) => "transpose",
            ArrayStep::Delta { .. } => "delta",
            ArrayStep::Fixed { .. } => "fixedscaleoffset",
            ArrayStep::Scale { .. } => "scale_offset",
            ArrayStep::Cast(cast) => cast.name(),
            ArrayStep::Quantize { .. } => "quantize",
            ArrayStep::BitRound { .. } => "bitround",
            ArrayStep::PackBits => "packbits",
        }
    }

    /// Shape of the encoded array.
    pub(super) fn encoded_shape(&self, shape: &[u64]) -> Vec<u64> {
        match self {
            // The order names each axis once.
            ArrayStep::Transpose(order) => order.iter().map(|&axis| shape[axis]).collect(),
            ArrayStep::PackBits => {
                vec![shape.iter().fold(1u64, |a, &n| a.saturating_mul(n)).div_ceil(8).saturating_add(1)]
            }
            _ => shape.to_vec(),
        }
    }

    /// Bytes of an encoded cell, where a decoded one has `item`.
    pub(super) fn encoded_item(&self, item: usize) -> usize {
        match self {
            ArrayStep::Fixed { encoded, .. }
            | ArrayStep::Delta { encoded, .. }
            | ArrayStep::Quantize { encoded, .. } => encoded.size(),
            ArrayStep::Cast(cast) => cast.encoded().size(),
            _ => item,
        }
    }

    /// Whether decoding takes the cells as they are.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            ArrayStep::BitRound { .. } => true,
            ArrayStep::Quantize { decoded, encoded, .. } => decoded == encoded,
            _ => false,
        }
    }

    /// Undoes this codec: `out` then holds the decoded cells of `shape`, of `item` bytes each, and nothing else.
    /// `cells` has as many cells as the shape makes encoded.
    pub(super) fn decode(&self, cells: &[u8], shape: &[u64], item: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.clear();
        match self {
            ArrayStep::Transpose(order) => transpose::back(cells, shape, order, item, out),
            ArrayStep::Delta { decoded, encoded } => {
                if decoded == encoded {
                    out.extend_from_slice(cells);
                } else {
                    Cast::plain(*encoded, *decoded).decode(cells, out)?;
                }
                sum_up(*decoded, out);
            }
            ArrayStep::Fixed { scale, offset, encoded, decoded } => {
                let (scale, offset, to) = (*scale, *offset, Way::Decoded);
                encoded.dispatch(Fixed { cells, scale, offset, to, result: *decoded, out });
            }
            ArrayStep::Scale { scale, offset, dtype } => {
                dtype.dispatch(Scaled { cells, scale: *scale, offset: *offset, to: Way::Decoded, out })?;
            }
            ArrayStep::Cast(cast) => cast.decode(cells, out)?,
            ArrayStep::Quantize { decoded, encoded, .. } => Cast::plain(*encoded, *decoded).decode(cells, out)?,
            ArrayStep::BitRound { .. } => out.extend_from_slice(cells),
            ArrayStep::PackBits => {
                let count = shape.iter().product::<u64>() as usize;
                let (padding, bits) = cells.split_first().ok_or("there are no bytes")?;
                if *padding as usize > 7 || 8 * bits.len() != count + *padding as usize {
                    return Err(format!("{} bits less {padding} are not {count}", 8 * bits.len()).into());
                }
                out.extend((0..count).map(|at| bits[at / 8] >> (7 - at % 8) & 1));
            }
        }
        Ok(())
    }

    /// Does this codec: `out` then holds the encoded cells and nothing else.
    pub(super) fn encode(&self, cells: &[u8], shape: &[u64], item: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.clear();
        match self {
            ArrayStep::Transpose(order) => transpose::forth(cells, shape, order, item, out),
            ArrayStep::Delta { decoded, encoded } => {
                let mut differences = cells.to_vec();
                differ(*decoded, &mut differences);
                if decoded == encoded {
                    *out = differences;
                } else {
                    Cast::plain(*encoded, *decoded).encode(&differences, out)?;
                }
            }
            ArrayStep::Fixed { scale, offset, encoded, decoded } => {
                let (scale, offset, to) = (*scale, *offset, Way::Encoded);
                decoded.dispatch(Fixed { cells, scale, offset, to, result: *encoded, out });
            }
            ArrayStep::Scale { scale, offset, dtype } => {
                dtype.dispatch(Scaled { cells, scale: *scale, offset: *offset, to: Way::Encoded, out })?;
            }
            ArrayStep::Cast(cast) => cast.encode(cells, out)?,
            ArrayStep::Quantize { digits, decoded, encoded } => {
                let mut rounded = Vec::with_capacity(cells.len());
                decoded.dispatch(Quantize { cells, digits: *digits, out: &mut rounded });
                if decoded == encoded {
                    *out = rounded;
                } else {
                    Cast::plain(*encoded, *decoded).encode(&rounded, out)?;
                }
            }
            ArrayStep::BitRound { keep, dtype } => {
                out.extend_from_slice(cells);
                round_bits(*dtype, *keep, out)?;
            }
            ArrayStep::PackBits => {
                let bytes = cells.len().div_ceil(8);
                out.push((8 * bytes - cells.len()) as u8);
                for eight in cells.chunks(8) {
                    out.push(eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | (bit & 1) << (7 - at)));
                }
            }
        }
        Ok(())
    }
}

/// A type by its Zarr v3 name (`int32`) or numpy's (`<i4`).
pub(super) fn number_type(name: &str) -> Option<DType> {
    let short = name.trim_start_matches(['<', '>', '|', '=']);
    DType::from_name(name).or_else(|| DType::ALL.into_iter().find(|dtype| short == numpy_name(*dtype)))
}

/// numpy's name of a type, without its byte order: `i4`.
pub(super) fn numpy_name(dtype: DType) -> String {
    let kind = match dtype {
        DType::Bool => 'b',
        d if d.is_float() => 'f',
        d if d.is_signed_int() => 'i',
        _ => 'u',
    };
    format!("{kind}{}", dtype.size())
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

/// Replaces each cell but the first by its difference to the one before it; integers wrap.
fn differ(dtype: DType, cells: &mut [u8]) {
    match dtype {
        DType::Float16 => pairs(cells, |a, b| (f16::from_ne_bytes(b) - f16::from_ne_bytes(a)).to_ne_bytes()),
        DType::Float32 => pairs(cells, |a, b| (f32::from_ne_bytes(b) - f32::from_ne_bytes(a)).to_ne_bytes()),
        DType::Float64 => pairs(cells, |a, b| (f64::from_ne_bytes(b) - f64::from_ne_bytes(a)).to_ne_bytes()),
        _ => match dtype.size() {
            1 => pairs(cells, |a, b| u8::from_ne_bytes(b).wrapping_sub(u8::from_ne_bytes(a)).to_ne_bytes()),
            2 => pairs(cells, |a, b| u16::from_ne_bytes(b).wrapping_sub(u16::from_ne_bytes(a)).to_ne_bytes()),
            4 => pairs(cells, |a, b| u32::from_ne_bytes(b).wrapping_sub(u32::from_ne_bytes(a)).to_ne_bytes()),
            _ => pairs(cells, |a, b| u64::from_ne_bytes(b).wrapping_sub(u64::from_ne_bytes(a)).to_ne_bytes()),
        },
    }
}

fn pairs<const N: usize>(cells: &mut [u8], differ: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let cells = cells.as_chunks_mut::<N>().0;
    for at in (1..cells.len()).rev() {
        cells[at] = differ(cells[at - 1], cells[at]);
    }
}

/// numcodecs' `BitRound.encode`: round to nearest even, on the bits of the mantissa.
fn round_bits(dtype: DType, keep: u32, cells: &mut [u8]) -> Result<(), BoxError> {
    let mantissa = match dtype {
        DType::Float16 => 10,
        DType::Float32 => 23,
        DType::Float64 => 52,
        _ => return Err("only floating-point numbers are rounded in writing".into()),
    };
    let Some(drop) = u32::checked_sub(mantissa, keep) else {
        return Err(format!("`keepbits` is {keep}, and `{dtype}` has {mantissa} bits").into());
    };
    if drop == 0 {
        return Ok(());
    }
    let (half, mask) = ((1u64 << (drop - 1)) - 1, u64::MAX << drop);
    let rounded = |bits: u64| bits.wrapping_add((bits >> drop & 1) + half) & mask;
    match dtype.size() {
        2 => each(cells, |b| (rounded(u16::from_ne_bytes(b).into()) as u16).to_ne_bytes()),
        4 => each(cells, |b| (rounded(u32::from_ne_bytes(b).into()) as u32).to_ne_bytes()),
        _ => each(cells, |b| rounded(u64::from_ne_bytes(b)).to_ne_bytes()),
    }
    Ok(())
}

fn each<const N: usize>(cells: &mut [u8], change: impl Fn([u8; N]) -> [u8; N]) {
    for cell in cells.as_chunks_mut::<N>().0 {
        *cell = change(*cell);
    }
}

/// numcodecs' `Quantize.encode`: rounded to a power of two that is fine enough for so many decimal digits.
struct Quantize<'a> {
    cells: &'a [u8],
    digits: i32,
    out: &'a mut Vec<u8>,
}

impl ForElement for Quantize<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        let precision = 10f64.powi(-self.digits);
        let exponent = precision.log10();
        let exponent = if exponent < 0.0 { exponent.floor() } else { exponent.ceil() };
        let scale = 2f64.powf(10f64.powf(-exponent).log2().ceil());
        for cell in self.cells.chunks_exact(size_of::<T>()) {
            let value = pod_read_unaligned::<T>(cell).to_f64();
            // A scale that is a power of two is exact in every type, short of overflow.
            let scaled = T::from_f64(value * scale).to_f64();
            let rounded = T::from_f64(scaled.round_ties_even() / scale);
            self.out.extend_from_slice(bytemuck::bytes_of(&rounded));
        }
    }
}

/// Arithmetic of one float type, as numpy does it: each step is rounded to the type.
fn in_type<T: Element>(value: f64) -> f64 {
    match T::DTYPE {
        DType::Float32 => f64::from(value as f32),
        DType::Float16 => f16::from_f64(value).to_f64(),
        _ => value,
    }
}

/// numcodecs' `FixedScaleOffset`: integers and `float64` are computed in `float64`, narrower floats in their own type.
/// Decoded, integers of the result are cut off towards zero; encoded, values are rounded to nearest even.
struct Fixed<'a> {
    cells: &'a [u8],
    scale: f64,
    offset: f64,
    to: Way,
    result: DType,
    out: &'a mut Vec<u8>,
}

impl ForElement for Fixed<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        let (scale, offset) = (in_type::<T>(self.scale), in_type::<T>(self.offset));
        let value = |cell: &[u8]| {
            let given = pod_read_unaligned::<T>(cell).to_f64();
            match self.to {
                Way::Decoded => in_type::<T>(in_type::<T>(given / scale) + offset),
                Way::Encoded => in_type::<T>(in_type::<T>(given - offset) * scale).round_ties_even(),
            }
        };
        let values = self.cells.chunks_exact(size_of::<T>()).map(value).collect();
        self.result.dispatch(Narrow { values, out: self.out });
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

/// Which way a codec goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Encoded,
    Decoded,
}

/// Zarr's `scale_offset`: `encoded = (decoded - offset) * scale` in the arithmetic of the type. An integer that the type
/// does not hold, or a quotient with a remainder, is an error.
struct Scaled<'a> {
    cells: &'a [u8],
    scale: Scalar,
    offset: Scalar,
    to: Way,
    out: &'a mut Vec<u8>,
}

impl ForElement for Scaled<'_> {
    type Output = Result<(), BoxError>;

    fn run<T: Element>(self) -> Self::Output {
        let unheld = || format!("`scale` or `offset` is no `{}`", T::DTYPE);
        let scale: T = self.scale.to_element().ok_or_else(unheld)?;
        let offset: T = self.offset.to_element().ok_or_else(unheld)?;
        let cells = self.cells.chunks_exact(size_of::<T>()).map(pod_read_unaligned::<T>);
        for cell in cells {
            let value = if T::IS_FLOAT {
                let (v, scale, offset) = (cell.to_f64(), scale.to_f64(), offset.to_f64());
                T::from_f64(match self.to {
                    Way::Encoded => in_type::<T>(v - offset) * scale,
                    Way::Decoded => in_type::<T>(v / scale) + offset,
                })
            } else {
                let (v, scale, offset) = (cell.to_i128(), scale.to_i128(), offset.to_i128());
                let exact = match self.to {
                    Way::Encoded => (v - offset) * scale,
                    Way::Decoded if v % scale != 0 => {
                        return Err(format!("{v} is no multiple of `scale`, {scale}").into());
                    }
                    Way::Decoded => v / scale + offset,
                };
                let held = i64::try_from(exact).map(Scalar::Int).or_else(|_| u64::try_from(exact).map(Scalar::UInt));
                let held = held.ok().and_then(Scalar::to_element::<T>);
                held.ok_or_else(|| format!("{exact} is no `{}`", T::DTYPE))?
            };
            self.out.extend_from_slice(bytemuck::bytes_of(&value));
        }
        Ok(())
    }
}
