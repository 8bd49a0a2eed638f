//! How results are stored: element type, missing mark, packing and attributes.
//!
//! The rules are those of `docs/semantics.md`, "Types" and "CF on output". Source: CF conventions 1.11, chapters 2.5,
//! 3.1, 7.3 and 8.1.

mod attrs;
mod values;

pub use attrs::{append_history, fill_value_attr, formula_attrs, keep_references, result_attrs, set_packing};
pub use values::{EncodeError, Units, encode};

use crate::cube::{Packing, Variable};
use crate::dtype::{DType, Element, ForElement, Scalar};
use serde::{Deserialize, Serialize};

/// What was computed, as far as type and attributes of its result depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Statistic {
    /// The cells as they are: a copy, a selection, another layout.
    Value,
    /// An element-wise formula.
    Formula,
    Mean,
    Sum,
    Min,
    Max,
    Count,
    Missing,
    Std,
    Var,
    Median,
    Quantile,
    First,
    Last,
    Mode,
    ArgMin,
    ArgMax,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Statistic; 17] = [
        Statistic::Value,
        Statistic::Formula,
        Statistic::Mean,
        Statistic::Sum,
        Statistic::Min,
        Statistic::Max,
        Statistic::Count,
        Statistic::Missing,
        Statistic::Std,
        Statistic::Var,
        Statistic::Median,
        Statistic::Quantile,
        Statistic::First,
        Statistic::Last,
        Statistic::Mode,
        Statistic::ArgMin,
        Statistic::ArgMax,
    ];

    /// The name as it is asked for: `mean`, `argmin`.
    pub fn name(self) -> &'static str {
        match self {
            Statistic::Value => "value",
            Statistic::Formula => "formula",
            Statistic::Mean => "mean",
            Statistic::Sum => "sum",
            Statistic::Min => "min",
            Statistic::Max => "max",
            Statistic::Count => "count",
            Statistic::Missing => "missing",
            Statistic::Std => "std",
            Statistic::Var => "var",
            Statistic::Median => "median",
            Statistic::Quantile => "quantile",
            Statistic::First => "first",
            Statistic::Last => "last",
            Statistic::Mode => "mode",
            Statistic::ArgMin => "argmin",
            Statistic::ArgMax => "argmax",
        }
    }

    /// The statistic of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Statistic> {
        Statistic::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether each result is one of the stored values, so that type and packing are kept bit for bit.
    pub fn keeps_values(self) -> bool {
        matches!(
            self,
            Statistic::Value | Statistic::Min | Statistic::Max | Statistic::First | Statistic::Last | Statistic::Mode
        )
    }
}

/// What the type of a result depends on in its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The element type on disk.
    pub stored: DType,
    /// The element type in which stored values are read: `_Unsigned` applied.
    pub view: DType,
    /// CF packing.
    pub packing: Packing,
    /// Stored values (as `view` reads them) that mark a missing cell.
    pub marks: Vec<Scalar>,
    /// Zarr's fill value, as it lies on disk.
    pub fill_value: Option<Scalar>,
}

impl Source {
    /// Numbers that lie as they are, without packing or marks: what a formula gives.
    pub fn plain(dtype: DType) -> Source {
        Source { stored: dtype, view: dtype, packing: Packing::NONE, marks: Vec::new(), fill_value: None }
    }

    /// What the results of `variable` depend on; `None` where its cells are not numbers (text).
    pub fn of(variable: &Variable) -> Option<Source> {
        Some(Source {
            stored: variable.dtype.number()?,
            view: variable.view?,
            packing: variable.packing,
            marks: variable.missing.marks.clone(),
            fill_value: variable.fill_value,
        })
    }

    /// Type of decoded values.
    pub fn decoded(&self) -> DType {
        if self.packing.is_none() { self.view } else { self.view.result_float() }
    }
}

/// Whether cells of the result may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gaps {
    /// The plan excludes it: no marks, no mask, no empty group.
    Never,
    /// It cannot be excluded.
    Possible,
}

/// How the cells of a result are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputType {
    /// The element type on disk.
    pub stored: DType,
    /// The element type of the same width in which values are given; differs where `_Unsigned` is kept.
    pub view: DType,
    /// Packing that is kept; [`Packing::NONE`] where values are what is stored.
    pub packing: Packing,
    /// The stored value (as `view` reads it) of a missing cell, for the `_FillValue` attribute. `None`: no cell can be
    /// missing.
    pub missing: Option<Scalar>,
    /// Zarr's fill value, as `view` reads it: what an absent chunk holds. The mark where there is one; `None` leaves it
    /// to the Zarr version (0 in v3, none in v2, where readers take a fill value for a missing mark).
    pub fill_value: Option<Scalar>,
}

impl OutputType {
    /// A type without packing; floats hold missing cells as `NaN`, other types have none.
    pub fn plain(dtype: DType) -> OutputType {
        let missing = dtype.is_float().then_some(Scalar::Float(f64::NAN));
        OutputType { stored: dtype, view: dtype, packing: Packing::NONE, missing, fill_value: missing }
    }

    /// [`OutputType::missing`] as it lies on disk, for attributes and metadata: −1 for 255 where `_Unsigned` is kept.
    pub fn stored_missing(&self) -> Option<Scalar> {
        self.missing.map(|mark| self.as_stored(mark))
    }

    /// [`OutputType::fill_value`] as it lies on disk.
    pub fn stored_fill(&self) -> Option<Scalar> {
        self.fill_value.map(|fill| self.as_stored(fill))
    }

    fn as_stored(&self, mark: Scalar) -> Scalar {
        struct Bits(Scalar, DType);
        impl ForElement for Bits {
            type Output = Scalar;
            fn run<T: Element>(self) -> Scalar {
                let Some(value) = self.0.to_element::<T>() else {
                    return self.0;
                };
                let (stored, bytes) = (self.1, bytemuck::bytes_of(&value));
                scalar_from_bytes(stored, bytes).unwrap_or(self.0)
            }
        }
        if self.stored == self.view { mark } else { self.view.dispatch(Bits(mark, self.stored)) }
    }

    fn marked(dtype: DType, mark: Scalar) -> OutputType {
        OutputType { missing: Some(mark), fill_value: Some(mark), ..OutputType::plain(dtype) }
    }
}

/// How the result of a statistic over `source` is stored.
///
/// - `value min max first last mode` keep type, packing and mark bit for bit. An integer without a mark becomes float
///   (decoded) where cells may be missing.
/// - `count` and `missing` are `uint64`, `argmin` and `argmax` `int64` with the mark −1.
/// - `sum` of integers that are not packed is `int64` or `uint64`. Where cells may be missing it keeps the source's mark
///   only if no sum can equal it (the mark 0 of an unsigned type), else it is `float64` with `NaN`: exact up to 2^53.
/// - Others are `float32` for ≤ 16-bit integers and `float32`, `float64` for wider types, with `NaN`.
pub fn output_type(statistic: Statistic, source: &Source, gaps: Gaps) -> OutputType {
    let float = || OutputType::plain(source.view.result_float());
    match statistic {
        _ if statistic.keeps_values() => kept(source, gaps),
        Statistic::Count | Statistic::Missing => OutputType::plain(DType::UInt64),
        Statistic::ArgMin | Statistic::ArgMax => OutputType::marked(DType::Int64, Scalar::Int(-1)),
        Statistic::Sum if source.packing.is_none() && !source.view.is_float() => {
            let dtype = if source.view.is_signed_int() { DType::Int64 } else { DType::UInt64 };
            if gaps == Gaps::Never {
                OutputType::plain(dtype)
            } else if dtype == DType::UInt64 && source.marks.contains(&Scalar::Int(0)) {
                OutputType::marked(dtype, Scalar::Int(0))
            } else {
                OutputType::plain(DType::Float64)
            }
        }
        _ => float(),
    }
}

/// The type of a formula over inputs of these types: `float32` if all of them give `float32`, else `float64`.
pub fn formula_type(inputs: &[DType]) -> OutputType {
    let narrow = !inputs.is_empty() && inputs.iter().all(|d| d.result_float() == DType::Float32);
    OutputType::plain(if narrow { DType::Float32 } else { DType::Float64 })
}

/// The type that `--dtype` asks for: integers keep `mark` where they hold it exactly.
///
/// # Errors
/// Cells may be missing, and an integer type has no mark for them.
pub fn asked_type(dtype: DType, mark: Option<Scalar>, gaps: Gaps) -> Result<OutputType, EncodeError> {
    if dtype.is_float() {
        return Ok(OutputType::plain(dtype));
    }
    match mark.filter(|&m| dtype != DType::Bool && values::holds(dtype, m)) {
        Some(mark) => Ok(OutputType::marked(dtype, mark)),
        None if gaps == Gaps::Never => Ok(OutputType::plain(dtype)),
        None => Err(EncodeError::NoMark { dtype }),
    }
}

/// One element of type `dtype` as it lies in memory, as a scalar; `None` where the length is not that of the type.
pub fn scalar_from_bytes(dtype: DType, bytes: &[u8]) -> Option<Scalar> {
    struct Read<'a>(&'a [u8]);
    impl ForElement for Read<'_> {
        type Output = Option<Scalar>;
        fn run<T: Element>(self) -> Option<Scalar> {
            let value: T = bytemuck::try_pod_read_unaligned(self.0).ok()?;
            Some(if T::IS_FLOAT {
                Scalar::Float(value.to_f64())
            } else {
                match i64::try_from(value.to_i128()) {
                    Ok(int) => Scalar::Int(int),
                    Err(_) => Scalar::UInt(u64::try_from(value.to_i128()).ok()?),
                }
            })
        }
    }
    dtype.dispatch(Read(bytes))
}

/// One element of type `dtype` as it lies in memory; `None` where the type does not hold the scalar.
pub fn scalar_to_bytes(dtype: DType, scalar: Scalar) -> Option<Vec<u8>> {
    struct Write(Scalar);
    impl ForElement for Write {
        type Output = Option<Vec<u8>>;
        fn run<T: Element>(self) -> Option<Vec<u8>> {
            self.0.to_element::<T>().map(|v| bytemuck::bytes_of(&v).to_vec())
        }
    }
    dtype.dispatch(Write(scalar))
}

fn kept(source: &Source, gaps: Gaps) -> OutputType {
    let base = OutputType {
        stored: source.stored,
        view: source.view,
        packing: source.packing,
        missing: None,
        fill_value: None,
    };
    // The first mark is `_FillValue` where there is one; a mark that the type cannot hold marks nothing.
    let mark = source.marks.iter().copied().find(|&m| values::holds(source.view, m));
    match mark {
        Some(mark) => OutputType { missing: Some(mark), fill_value: Some(mark), ..base },
        None if source.view.is_float() => {
            let nan = Some(Scalar::Float(f64::NAN));
            OutputType { missing: nan, fill_value: nan, ..base }
        }
        None if gaps == Gaps::Never => base,
        None => OutputType::plain(source.decoded().result_float()),
    }
}

#[cfg(test)]
mod tests;
