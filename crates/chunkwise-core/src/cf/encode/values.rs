//! Values and validity into the bytes of a chunk.

use super::OutputType;
use crate::cube::Packing;
use crate::dtype::{DType, Element, ForElement, Scalar};

/// In which units values are given to [`encode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// As they lie on disk; `_Unsigned` is applied.
    Stored,
    /// Decoded: packing is undone on the way to disk, rounding to the nearest integer (ties to even).
    Decoded,
}

/// A value that cannot be stored as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// A number outside the range of the type.
    #[error("{value} does not fit in `{dtype}`; a wider type works, for example `float64`")]
    OutOfRange {
        /// The number, as it would have been stored.
        value: String,
        /// The type of the output.
        dtype: DType,
    },
    /// A valid number that readers would take for a missing cell.
    #[error(
        "the valid value {value} is also the missing mark of the `{dtype}` output; another mark or a float type works"
    )]
    IsMark {
        /// The number, as it would have been stored.
        value: String,
        /// The type of the output.
        dtype: DType,
    },
    /// A missing cell where the type has no value for it.
    #[error("a cell is missing, and the `{dtype}` output has no missing mark; a mark or a float type works")]
    NoMark {
        /// The type of the output.
        dtype: DType,
    },
}

/// Whether `mark` is a value of `dtype` (any number is one of a float type, after rounding).
pub(super) fn holds(dtype: DType, mark: Scalar) -> bool {
    struct Holds(Scalar);
    impl ForElement for Holds {
        type Output = bool;
        fn run<T: Element>(self) -> bool {
            self.0.to_element::<T>().is_some()
        }
    }
    dtype.dispatch(Holds(mark))
}

/// Appends the cells to `bytes`, as they lie in a decoded chunk (native byte order).
///
/// `valid(i)` says whether cell `i` is there; `NaN` is missing in any case. Missing cells become the mark of `output`.
/// Integers pass exactly between integer types; to floats they round to nearest. Floats to integers round to nearest,
/// ties to even. Where `T` is the output's type and nothing is to be packed, bits are copied.
///
/// # Errors
/// A value outside the range of the output type (a finite number that would become infinite too), a valid value that
/// equals the missing mark, a missing cell where there is no mark.
pub fn encode<T: Element>(
    values: &[T],
    valid: impl Fn(usize) -> bool,
    units: Units,
    output: &OutputType,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    struct Work<'a, T, V> {
        values: &'a [T],
        valid: V,
        units: Units,
        output: &'a OutputType,
        bytes: &'a mut Vec<u8>,
    }
    impl<T: Element, V: Fn(usize) -> bool> ForElement for Work<'_, T, V> {
        type Output = Result<(), EncodeError>;
        fn run<O: Element>(self) -> Self::Output {
            to_type::<T, O>(self.values, self.valid, self.units, self.output, self.bytes)
        }
    }
    let view = output.view;
    view.dispatch(Work { values, valid, units, output, bytes })
}

fn to_type<T: Element, O: Element>(
    values: &[T],
    valid: impl Fn(usize) -> bool,
    units: Units,
    output: &OutputType,
    bytes: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let dtype = output.view;
    let mark: Option<O> = output.missing.and_then(Scalar::to_element);
    let pack = units == Units::Decoded && !output.packing.is_none();
    let same = T::DTYPE == O::DTYPE && !pack && dtype != DType::Bool;
    let start = bytes.len();
    bytes.resize(start + values.len() * size_of::<O>(), 0);
    let cells = &mut bytes[start..];
    // The two hot cases in loops without exits; what goes wrong there is named by the loop below.
    let done = match mark {
        Some(mark) if same => fast(values, &valid, mark, cells, |v| (bytemuck::cast(v), true)),
        Some(mark) if T::IS_FLOAT && O::IS_FLOAT && !pack => fast(values, &valid, mark, cells, |v: T| {
            let stored = O::from_f64(v.to_f64());
            (stored, stored.to_f64().is_finite() | !v.to_f64().is_finite())
        }),
        _ => false,
    };
    if done {
        return Ok(());
    }
    let convert = |value: T| -> Result<O, EncodeError> {
        if same {
            Ok(bytemuck::cast(value))
        } else if pack {
            let Packing { scale, offset } = output.packing;
            from_f64::<O>((value.to_f64() - offset) / scale, dtype)
        } else if T::IS_FLOAT {
            from_f64::<O>(value.to_f64(), dtype)
        } else if O::IS_FLOAT {
            int_to_float::<T, O>(value, dtype)
        } else {
            from_int::<O>(value.to_i128(), dtype)
        }
    };
    for ((i, &value), cell) in values.iter().enumerate().zip(cells.chunks_exact_mut(size_of::<O>())) {
        let stored: O = if !valid(i) || value.is_nan() {
            mark.ok_or(EncodeError::NoMark { dtype })?
        } else {
            let stored = convert(value)?;
            if mark == Some(stored) {
                return Err(EncodeError::IsMark { value: format!("{stored:?}"), dtype });
            }
            stored
        };
        cell.copy_from_slice(bytemuck::bytes_of(&stored));
    }
    Ok(())
}

/// Fills `cells`; whether all values fitted and none was the mark.
fn fast<T: Element, O: Element>(
    values: &[T],
    valid: impl Fn(usize) -> bool,
    mark: O,
    cells: &mut [u8],
    convert: impl Fn(T) -> (O, bool),
) -> bool {
    let mut good = true;
    for ((i, &value), cell) in values.iter().enumerate().zip(cells.chunks_exact_mut(size_of::<O>())) {
        let there = valid(i) & !value.is_nan();
        let (stored, fits) = convert(value);
        good &= !there | (fits & (stored != mark));
        cell.copy_from_slice(bytemuck::bytes_of(if there { &stored } else { &mark }));
    }
    good
}

/// An integer in one rounding: through `f64` a 64-bit integer would round twice on its way to `float32`.
fn int_to_float<T: Element, O: Element>(value: T, dtype: DType) -> Result<O, EncodeError> {
    let int = value.to_i128();
    match O::DTYPE {
        DType::Float64 => Ok(bytemuck::cast(int as f64)),
        DType::Float32 => Ok(bytemuck::cast(int as f32)),
        // Nothing above 65,519 fits in `float16`, so that `f64` holds exactly what does.
        _ => from_f64::<O>(int as f64, dtype),
    }
}

fn from_int<O: Element>(int: i128, dtype: DType) -> Result<O, EncodeError> {
    let out_of_range = || EncodeError::OutOfRange { value: int.to_string(), dtype };
    if dtype == DType::Bool && !(0..=1).contains(&int) {
        return Err(out_of_range());
    }
    let scalar = match (i64::try_from(int), u64::try_from(int)) {
        (Ok(v), _) => Scalar::Int(v),
        (_, Ok(v)) => Scalar::UInt(v),
        _ => return Err(out_of_range()),
    };
    scalar.to_element().ok_or_else(out_of_range)
}

fn from_f64<O: Element>(value: f64, dtype: DType) -> Result<O, EncodeError> {
    if O::IS_FLOAT {
        let stored = O::from_f64(value);
        if value.is_finite() && !stored.to_f64().is_finite() {
            return Err(EncodeError::OutOfRange { value: value.to_string(), dtype });
        }
        return Ok(stored);
    }
    let whole = value.round_ties_even();
    // 2^65 bounds what can fit in any type, so that the cast is exact; it also turns infinities away.
    if whole.is_nan() || whole.abs() >= 36_893_488_147_419_103_232.0 {
        return Err(EncodeError::OutOfRange { value: value.to_string(), dtype });
    }
    from_int::<O>(whole as i128, dtype)
}
