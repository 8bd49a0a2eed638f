//! Typed columns whose element type is known at run time.

use crate::dtype::{DType, Element, ForElement};
use half::f16;
use serde::{Deserialize, Serialize};

/// A vector of one element type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Values {
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float16(Vec<f16>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

/// The step between a typed vector and [`Values`].
pub trait Stored: Sized {
    /// An integer that orders as the values do (−0 before 0, `NaN` last).
    type Key: Ord + Copy + Send + Sync;
    /// The key of no value: not before any other.
    const TOP: Self::Key;
    /// The value's key.
    fn key(self) -> Self::Key;
    /// The value of a key.
    fn of_key(key: Self::Key) -> Self;
    /// The vector as a column.
    fn wrap(values: Vec<Self>) -> Values;
    /// The column as a slice; empty if it is of another type.
    fn slice(values: &Values) -> &[Self];
    /// The column as a vector to change; `None` if it is of another type.
    fn vec_mut(values: &mut Values) -> Option<&mut Vec<Self>>;
}

/// Sign and magnitude to an order: negative numbers are turned over, others moved above them.
macro_rules! float_key {
    ($k:ty, $bits:expr) => {{
        let bits: $k = $bits;
        let sign = bits >> (<$k>::BITS - 1);
        bits ^ (sign.wrapping_neg() | 1 << (<$k>::BITS - 1))
    }};
}
macro_rules! float_bits {
    ($k:ty, $key:expr) => {{
        let key: $k = $key;
        let sign = key >> (<$k>::BITS - 1);
        key ^ (sign.wrapping_sub(1) | 1 << (<$k>::BITS - 1))
    }};
}
macro_rules! stored {
    ($($t:ty => $v:ident, $key:ty, $to:expr, $from:expr);*) => {
        $(impl Stored for $t {
            type Key = $key;
            const TOP: $key = <$key>::MAX;
            #[inline(always)]
            fn key(self) -> $key { ($to)(self) }
            #[inline(always)]
            fn of_key(key: $key) -> Self { ($from)(key) }
            fn wrap(values: Vec<Self>) -> Values { Values::$v(values) }
            fn slice(values: &Values) -> &[Self] {
                match values { Values::$v(v) => v, _ => &[] }
            }
            fn vec_mut(values: &mut Values) -> Option<&mut Vec<Self>> {
                match values { Values::$v(v) => Some(v), _ => None }
            }
        })*
        impl Values {
            /// Element type.
            pub fn dtype(&self) -> DType {
                match self { $(Values::$v(_) => DType::$v),* }
            }
            /// How many.
            pub fn len(&self) -> usize {
                match self { $(Values::$v(v) => v.len()),* }
            }
            /// Value `i` as `f64`.
            pub fn f64_at(&self, i: usize) -> f64 {
                match self { $(Values::$v(v) => v[i].to_f64()),* }
            }
            /// Value `i` as an exact integer; 0 for floats.
            pub fn i128_at(&self, i: usize) -> i128 {
                match self { $(Values::$v(v) => v[i].to_i128()),* }
            }
            /// The elements as bytes in native order.
            pub fn bytes(&self) -> &[u8] {
                match self { $(Values::$v(v) => bytemuck::cast_slice(v)),* }
            }
        }
    };
}
stored!(
    i8 => Int8, i8, |v| v, |k| k;
    i16 => Int16, i16, |v| v, |k| k;
    i32 => Int32, i32, |v| v, |k| k;
    i64 => Int64, i64, |v| v, |k| k;
    u8 => UInt8, u8, |v| v, |k| k;
    u16 => UInt16, u16, |v| v, |k| k;
    u32 => UInt32, u32, |v| v, |k| k;
    u64 => UInt64, u64, |v| v, |k| k;
    f16 => Float16, u16, |v: f16| float_key!(u16, v.to_bits()), |k| <f16>::from_bits(float_bits!(u16, k));
    f32 => Float32, u32, |v: f32| float_key!(u32, v.to_bits()), |k| <f32>::from_bits(float_bits!(u32, k));
    f64 => Float64, u64, |v: f64| float_key!(u64, v.to_bits()), |k| <f64>::from_bits(float_bits!(u64, k))
);

impl Values {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `n` zeros of a type.
    pub fn zeros(dtype: DType, n: usize) -> Values {
        struct Zeros(usize);
        impl ForElement for Zeros {
            type Output = Values;
            fn run<T: Element>(self) -> Values {
                T::wrap(vec![T::default(); self.0])
            }
        }
        dtype.dispatch(Zeros(n))
    }

    /// Bytes in native order as a column; what is left over after the last whole element is dropped.
    pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Values {
        struct FromBytes<'a>(&'a [u8]);
        impl ForElement for FromBytes<'_> {
            type Output = Values;
            fn run<T: Element>(self) -> Values {
                let whole = self.0.len() / size_of::<T>() * size_of::<T>();
                T::wrap(bytemuck::pod_collect_to_vec(&self.0[..whole]))
            }
        }
        dtype.dispatch(FromBytes(bytes))
    }
}

/// Finished values with their validity: one output column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Values; what stands in a missing cell means nothing.
    pub values: Values,
    /// 1 where the cell has a value; `None`: all have one.
    pub valid: Option<Vec<u8>>,
}

impl Column {
    /// Whether cell `i` has a value.
    pub fn is_valid(&self, i: usize) -> bool {
        self.valid.as_ref().is_none_or(|v| v[i] != 0)
    }
}
