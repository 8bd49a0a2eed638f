//! Cells of one type of number as cells of another: numcodecs' `astype`, as numpy casts, and Zarr's `cast_value`.

use super::cells::number_type;
use super::error::BoxError;
use bytemuck::{cast_slice, pod_collect_to_vec, pod_read_unaligned};
use chunkwise_core::cube::{Attrs, DataType};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use half::f16;
use serde_json::Value;
use zarr_cast_value::{
    FloatToFloatConfig, FloatToIntConfig, IntToFloatConfig, IntToIntConfig, MapEntry, OutOfRangeMode, RoundingMode,
    convert_slice_float_to_float, convert_slice_float_to_int, convert_slice_int_to_float, convert_slice_int_to_int,
};

/// A cast between the cells of an array and those that are stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cast {
    encoded: DType,
    decoded: DType,
    rules: Rules,
}

#[derive(Clone, Debug, PartialEq)]
enum Rules {
    /// As numpy's `astype`: integers wrap, fractions are cut off.
    Plain,
    /// As `cast_value`: what the other type does not hold is an error, unless the settings say otherwise.
    Checked(Settings),
}

#[derive(Clone, Debug, PartialEq)]
struct Settings {
    rounding: RoundingMode,
    out_of_range: Option<OutOfRangeMode>,
    encode: Vec<(Scalar, Scalar)>,
    decode: Vec<(Scalar, Scalar)>,
}

impl Cast {
    /// A cast as numpy does it.
    pub(super) fn plain(encoded: DType, decoded: DType) -> Cast {
        Cast { encoded, decoded, rules: Rules::Plain }
    }

    /// A cast as `cast_value` is set.
    pub(super) fn checked(settings: &Attrs, decoded: DType) -> Result<Cast, BoxError> {
        let known = ["data_type", "rounding", "out_of_range", "scalar_map"];
        if let Some(stranger) = settings.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{stranger}` is no setting of it").into());
        }
        let encoded = settings.get("data_type").and_then(Value::as_str).and_then(number_type);
        let encoded = encoded.filter(|d| *d != DType::Bool).ok_or("`data_type` is no type of numbers")?;
        let text = |key: &str| settings.get(key).filter(|v| !v.is_null()).map(|v| v.as_str().unwrap_or_default());
        let rounding = text("rounding").unwrap_or("nearest-even").parse()?;
        let out_of_range = match text("out_of_range") {
            None | Some("error") => None,
            Some(mode) => Some(mode.parse()?),
        };
        if out_of_range == Some(OutOfRangeMode::Wrap) && encoded.is_float() {
            return Err(format!("`out_of_range` is `wrap`, and `{encoded}` is no integer").into());
        }
        let map = |way: &str, from: DType, to: DType| -> Result<Vec<(Scalar, Scalar)>, BoxError> {
            let Some(entries) = settings.get("scalar_map").and_then(|map| map.get(way)) else {
                return Ok(Vec::new());
            };
            let wrong = || BoxError::from(format!("`scalar_map` of `{way}` is no list of pairs of values"));
            let value = |value: &Value, dtype: DType| {
                crate::open::fill_value(value, &DataType::Number(dtype)).ok().flatten().ok_or_else(wrong)
            };
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([a, b]) => Ok((value(a, from)?, value(b, to)?)),
                _ => Err(wrong()),
            };
            entries.as_array().ok_or_else(wrong)?.iter().map(pair).collect()
        };
        let (encode, decode) = (map("encode", decoded, encoded)?, map("decode", encoded, decoded)?);
        Ok(Cast { encoded, decoded, rules: Rules::Checked(Settings { rounding, out_of_range, encode, decode }) })
    }

    /// Name for messages.
    pub(super) fn name(&self) -> &'static str {
        match self.rules {
            Rules::Plain => "astype",
            Rules::Checked(_) => "cast_value",
        }
    }

    /// The type of the stored cells.
    pub(super) fn encoded(&self) -> DType {
        self.encoded
    }

    /// Appends the stored cells as cells of the array.
    pub(super) fn decode(&self, cells: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        match &self.rules {
            Rules::Plain => plain(self.encoded, self.decoded, cells, out),
            Rules::Checked(settings) => checked(self.encoded, self.decoded, settings, &settings.decode, cells, out)?,
        }
        Ok(())
    }

    /// Appends cells of the array as stored cells.
    pub(super) fn encode(&self, cells: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        match &self.rules {
            Rules::Plain => plain(self.decoded, self.encoded, cells, out),
            Rules::Checked(settings) => checked(self.decoded, self.encoded, settings, &settings.encode, cells, out)?,
        }
        Ok(())
    }
}

fn plain(from: DType, to: DType, cells: &[u8], out: &mut Vec<u8>) {
    from.dispatch(From { to, cells, out });
}

struct From<'a> {
    to: DType,
    cells: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl ForElement for From<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        let cells = self.cells.chunks_exact(size_of::<T>()).map(pod_read_unaligned::<T>);
        let size = self.to.size();
        self.out.reserve(cells.len() * size);
        if T::IS_FLOAT {
            let values = cells.map(Element::to_f64).collect();
            self.to.dispatch(Floats { values, out: self.out });
            return;
        }
        let integers = cells.map(Element::to_i128);
        match self.to {
            DType::Float64 => self.out.extend(integers.flat_map(|v| (v as f64).to_ne_bytes())),
            DType::Float32 => self.out.extend(integers.flat_map(|v| (v as f32).to_ne_bytes())),
            DType::Float16 => self.out.extend(integers.flat_map(|v| f16::from_f32(v as f32).to_ne_bytes())),
            DType::Bool => self.out.extend(integers.map(|v| u8::from(v != 0))),
            // Integers wrap: the low bytes are the value.
            _ => integers.for_each(|v| match size {
                1 => self.out.extend_from_slice(&(v as u8).to_ne_bytes()),
                2 => self.out.extend_from_slice(&(v as u16).to_ne_bytes()),
                4 => self.out.extend_from_slice(&(v as u32).to_ne_bytes()),
                _ => self.out.extend_from_slice(&(v as u64).to_ne_bytes()),
            }),
        }
    }
}

struct Floats<'a> {
    values: Vec<f64>,
    out: &'a mut Vec<u8>,
}

impl ForElement for Floats<'_> {
    type Output = ();

    fn run<T: Element>(self) {
        for value in self.values {
            // numpy goes through the 64-bit integer, which wraps where narrower types end.
            let cell = if T::IS_FLOAT || size_of::<T>() == 8 {
                T::from_f64(value)
            } else {
                let whole = (value as i64).to_ne_bytes();
                let at = if cfg!(target_endian = "little") { 0 } else { 8 - size_of::<T>() };
                pod_read_unaligned(&whole[at..at + size_of::<T>()])
            };
            self.out.extend_from_slice(bytemuck::bytes_of(&cell));
        }
    }
}

/// The map of a `cast_value` between two types.
fn entries<Src: Element, Dst: Element>(map: &[(Scalar, Scalar)]) -> Result<Vec<MapEntry<Src, Dst>>, BoxError> {
    let entry = |(from, to): &(Scalar, Scalar)| Some(MapEntry { src: from.to_element()?, tgt: to.to_element()? });
    map.iter().map(entry).collect::<Option<_>>().ok_or_else(|| "`scalar_map` holds a value of another type".into())
}

fn checked(
    from: DType,
    to: DType,
    settings: &Settings,
    map: &[(Scalar, Scalar)],
    cells: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BoxError> {
    let (rounding, out_of_range) = (settings.rounding, settings.out_of_range);
    // Types are paired at compile time: one `match` for both.
    macro_rules! convert {
        ($convert:ident, $Src:ty, $Dst:ty, $config:ident { $($field:ident),* }) => {{
            let cells: Vec<$Src> = pod_collect_to_vec(cells);
            let mut converted = vec![<$Dst>::default(); cells.len()];
            $convert(&cells, &mut converted, &$config { map_entries: entries::<$Src, $Dst>(map)?, $($field),* })?;
            out.extend_from_slice(cast_slice(&converted));
        }};
    }
    macro_rules! to {
        ($int:ident, $float:ident, $Src:ty, $Int:ident { $($i:ident),* }, $Float:ident { $($f:ident),* }) => {
            match to {
                DType::Bool => return Err("truth values are no numbers".into()),
                DType::Int8 => convert!($int, $Src, i8, $Int { $($i),* }),
                DType::Int16 => convert!($int, $Src, i16, $Int { $($i),* }),
                DType::Int32 => convert!($int, $Src, i32, $Int { $($i),* }),
                DType::Int64 => convert!($int, $Src, i64, $Int { $($i),* }),
                DType::UInt8 => convert!($int, $Src, u8, $Int { $($i),* }),
                DType::UInt16 => convert!($int, $Src, u16, $Int { $($i),* }),
                DType::UInt32 => convert!($int, $Src, u32, $Int { $($i),* }),
                DType::UInt64 => convert!($int, $Src, u64, $Int { $($i),* }),
                DType::Float16 => convert!($float, $Src, f16, $Float { $($f),* }),
                DType::Float32 => convert!($float, $Src, f32, $Float { $($f),* }),
                DType::Float64 => convert!($float, $Src, f64, $Float { $($f),* }),
            }
        };
    }
    macro_rules! from_int {
        ($Src:ty) => {
            to!(
                convert_slice_int_to_int,
                convert_slice_int_to_float,
                $Src,
                IntToIntConfig { out_of_range },
                IntToFloatConfig { rounding, out_of_range }
            )
        };
    }
    macro_rules! from_float {
        ($Src:ty) => {
            to!(
                convert_slice_float_to_int,
                convert_slice_float_to_float,
                $Src,
                FloatToIntConfig { rounding, out_of_range },
                FloatToFloatConfig { rounding, out_of_range }
            )
        };
    }
    match from {
        DType::Bool => return Err("truth values are no numbers".into()),
        DType::Int8 => from_int!(i8),
        DType::Int16 => from_int!(i16),
        DType::Int32 => from_int!(i32),
        DType::Int64 => from_int!(i64),
        DType::UInt8 => from_int!(u8),
        DType::UInt16 => from_int!(u16),
        DType::UInt32 => from_int!(u32),
        DType::UInt64 => from_int!(u64),
        DType::Float16 => from_float!(f16),
        DType::Float32 => from_float!(f32),
        DType::Float64 => from_float!(f64),
    }
    Ok(())
}
