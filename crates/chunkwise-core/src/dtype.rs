//! Element types: the run-time name, the compile-time trait, and the one `match` between them.

use crate::values::Stored;
use half::f16;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A numeric element type as the engine computes with it.
///
/// `bool` is stored as one byte, 0 or 1, and counts as 0 and 1 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float16,
    Float32,
    Float64,
}

impl DType {
    /// All element types, in the order of the enum.
    pub const ALL: [DType; 12] = [
        DType::Bool,
        DType::Int8,
        DType::Int16,
        DType::Int32,
        DType::Int64,
        DType::UInt8,
        DType::UInt16,
        DType::UInt32,
        DType::UInt64,
        DType::Float16,
        DType::Float32,
        DType::Float64,
    ];

    /// The Zarr v3 (and numpy) name: `uint16`.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::Int8 => "int8",
            DType::Int16 => "int16",
            DType::Int32 => "int32",
            DType::Int64 => "int64",
            DType::UInt8 => "uint8",
            DType::UInt16 => "uint16",
            DType::UInt32 => "uint32",
            DType::UInt64 => "uint64",
            DType::Float16 => "float16",
            DType::Float32 => "float32",
            DType::Float64 => "float64",
        }
    }

    /// The type with this Zarr v3 name, if there is one.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::Int8 | DType::UInt8 => 1,
            DType::Int16 | DType::UInt16 | DType::Float16 => 2,
            DType::Int32 | DType::UInt32 | DType::Float32 => 4,
            DType::Int64 | DType::UInt64 | DType::Float64 => 8,
        }
    }

    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::Float16 | DType::Float32 | DType::Float64)
    }

    /// Whether this is a signed integer type.
    pub fn is_signed_int(self) -> bool {
        matches!(self, DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64)
    }

    /// The unsigned type of the same width, for CF's `_Unsigned = "true"`; other types stay as they are.
    pub fn as_unsigned(self) -> DType {
        match self {
            DType::Int8 => DType::UInt8,
            DType::Int16 => DType::UInt16,
            DType::Int32 => DType::UInt32,
            DType::Int64 => DType::UInt64,
            other => other,
        }
    }

    /// The signed type of the same width, for CF's `_Unsigned = "false"`.
    pub fn as_signed(self) -> DType {
        match self {
            DType::UInt8 => DType::Int8,
            DType::UInt16 => DType::Int16,
            DType::UInt32 => DType::Int32,
            DType::UInt64 => DType::Int64,
            other => other,
        }
    }

    /// Type in which floating results of a variable of this type are written to arrays:
    /// `float32` for ≤ 16-bit integers, `float16` and `float32`, else `float64`.
    pub fn result_float(self) -> DType {
        match self {
            DType::Bool
            | DType::Int8
            | DType::Int16
            | DType::UInt8
            | DType::UInt16
            | DType::Float16
            | DType::Float32 => DType::Float32,
            _ => DType::Float64,
        }
    }

    /// Runs `work` with the element type that this names: the only step from run time to compile time.
    pub fn dispatch<W: ForElement>(self, work: W) -> W::Output {
        match self {
            DType::Bool | DType::UInt8 => work.run::<u8>(),
            DType::Int8 => work.run::<i8>(),
            DType::Int16 => work.run::<i16>(),
            DType::Int32 => work.run::<i32>(),
            DType::Int64 => work.run::<i64>(),
            DType::UInt16 => work.run::<u16>(),
            DType::UInt32 => work.run::<u32>(),
            DType::UInt64 => work.run::<u64>(),
            DType::Float16 => work.run::<f16>(),
            DType::Float32 => work.run::<f32>(),
            DType::Float64 => work.run::<f64>(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Work that is generic over the element type; see [`DType::dispatch`].
pub trait ForElement {
    /// What the work gives.
    type Output;
    /// Does the work for element type `T`.
    fn run<T: Element>(self) -> Self::Output;
}

/// A number as it lies in a decoded chunk.
pub trait Element:
    bytemuck::Pod + PartialEq + PartialOrd + Send + Sync + fmt::Debug + Default + Stored + 'static
{
    /// The run-time name (`uint8` for the bytes of a `bool`).
    const DTYPE: DType;
    /// Whether `NaN` exists in this type.
    const IS_FLOAT: bool;
    /// The least value (−∞ for floats).
    const LEAST: Self;
    /// The greatest value (∞ for floats).
    const GREATEST: Self;
    /// The value as `f64`; exact up to 2^53 in magnitude.
    fn to_f64(self) -> f64;
    /// The value as `i128`; 0 for floats, which have no use for it.
    fn to_i128(self) -> i128;
    /// The nearest value of this type, saturating for integers (`NaN` gives 0).
    fn from_f64(value: f64) -> Self;
    /// Whether this is `NaN` (never for integers).
    fn is_nan(self) -> bool;
}

macro_rules! int_element {
    ($($t:ty => $d:ident),*) => { $(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            const IS_FLOAT: bool = false;
            const LEAST: Self = <$t>::MIN;
            const GREATEST: Self = <$t>::MAX;
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn to_i128(self) -> i128 { i128::from(self) }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as $t }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
        }
    )* };
}
int_element!(i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64, u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64);

macro_rules! float_element {
    ($($t:ty => $d:ident),*) => { $(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            const IS_FLOAT: bool = true;
            const LEAST: Self = <$t>::NEG_INFINITY;
            const GREATEST: Self = <$t>::INFINITY;
            #[inline(always)]
            fn to_f64(self) -> f64 { f64::from(self) }
            #[inline(always)]
            fn to_i128(self) -> i128 { 0 }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as $t }
            #[inline(always)]
            fn is_nan(self) -> bool { <$t>::is_nan(self) }
        }
    )* };
}
float_element!(f32 => Float32, f64 => Float64);

impl Element for f16 {
    const DTYPE: DType = DType::Float16;
    const IS_FLOAT: bool = true;
    const LEAST: Self = f16::NEG_INFINITY;
    const GREATEST: Self = f16::INFINITY;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f16::to_f64(self)
    }
    #[inline(always)]
    fn to_i128(self) -> i128 {
        0
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        f16::from_f64(value)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f16::is_nan(self)
    }
}

/// One stored number, exact in every type.
///
/// Used for fill values and missing marks, where going through `f64` would lose 64-bit integers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer above `i64::MAX`.
    UInt(u64),
    /// A floating-point number, kept as its bits so that plans with `NaN` survive JSON.
    Float(#[serde(with = "float_bits")] f64),
}

impl Scalar {
    /// The value as `f64`.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Int(v) => v as f64,
            Scalar::UInt(v) => v as f64,
            Scalar::Float(v) => v,
        }
    }

    /// The value as element type `T` if `T` holds it exactly (a `float16`/`float32` takes the nearest value, as numpy does).
    pub fn to_element<T: Element>(self) -> Option<T> {
        if T::IS_FLOAT {
            return Some(T::from_f64(self.to_f64()));
        }
        let exact: i128 = match self {
            Scalar::Int(v) => v.into(),
            Scalar::UInt(v) => v.into(),
            Scalar::Float(v) if v.fract() == 0.0 && v.abs() < 1.8e19 => v as i128,
            Scalar::Float(_) => return None,
        };
        // 64-bit values pass through their own width; the rest through f64, which is exact for them.
        match T::DTYPE {
            DType::UInt64 => u64::try_from(exact).ok().map(|v| bytemuck::cast(v)),
            DType::Int64 => i64::try_from(exact).ok().map(|v| bytemuck::cast(v)),
            _ => {
                let value = T::from_f64(exact as f64);
                (value.to_i128() == exact).then_some(value)
            }
        }
    }
}

mod float_bits {
    use serde::{Deserialize, Deserializer, Serializer};
    pub(super) fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{:016x}", v.to_bits()))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16).map(f64::from_bits).map_err(serde::de::Error::custom)
    }
}
