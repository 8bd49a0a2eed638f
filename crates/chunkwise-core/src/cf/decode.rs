//! Packing, missing marks and valid range of a variable, from its attributes.
//!
//! Source: CF conventions 1.11, section 2.5.1 and 8.1; netCDF users' guide, appendix B (`_Unsigned`).
//! What the two leave open is decided as xarray does.

use crate::cube::{Attrs, DataType, Missing, Packing, Variable};
use crate::dtype::{DType, Element, ForElement, Scalar};
use crate::stat::fast;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which stored values count as missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Nodata {
    /// Those that the cube names.
    #[default]
    Cube,
    /// None; `NaN` stays missing.
    None,
    /// This stored value (after `_Unsigned`), and no other.
    Value(Scalar),
}

/// How stored values of data variables are to be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// Which stored values count as missing.
    pub nodata: Nodata,
    /// Take stored values as they are: no packing, no `_Unsigned`, no missing marks; `NaN` stays missing.
    pub raw: bool,
    /// What becomes of cells outside of the valid range.
    pub valid: Valid,
}

/// What becomes of cells outside of `valid_min`, `valid_max` or `valid_range`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Valid {
    /// They count as any other, and are reported.
    #[default]
    Report,
    /// They are missing.
    Apply,
}

/// What the attributes of a variable say about its stored values.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// The element type in which stored values are read; `None` for text.
    pub view: Option<DType>,
    /// CF packing.
    pub packing: Packing,
    /// Stored values that mark a missing cell.
    pub missing: Missing,
    /// Smallest and largest valid stored value, inclusive; infinite where only one side is given.
    pub valid: Option<(f64, f64)>,
}

/// An attribute that says nothing that can be applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("attribute `{attribute}` is `{found}`, expected {expected}")]
pub struct DecodeError {
    /// The attribute.
    pub attribute: &'static str,
    /// Its value, as JSON, shortened.
    pub found: String,
    /// What would work.
    pub expected: &'static str,
}

fn refuse(attribute: &'static str, value: &Value, expected: &'static str) -> DecodeError {
    DecodeError { attribute, found: value.to_string().chars().take(60).collect(), expected }
}

impl Decoding {
    /// Reads `_Unsigned`, `scale_factor`, `add_offset`, `_FillValue`, `missing_value` and `valid_*`.
    ///
    /// `fill` is the array's own fill value, which marks missing cells in Zarr v2 and not in v3.
    /// Marks are stored values after `_Unsigned`; marks that are `NaN` are left out, because `NaN` is always missing.
    /// Of a `missing_value`, text that is no number marks nothing, as in xarray; a `valid_*` that is no number, or no
    /// pair of them, is as good as none.
    ///
    /// A valid range is in stored units, as CF has it for attributes of the type of the stored values. JSON tells
    /// integers from floats and no more: a `valid_*` written as a float (`1.0`) beside packed integers is of the type of
    /// the decoded values, and is taken to stored units; one written as an integer never is. Beside `float32` it is
    /// rounded to `float32`, so that the end itself lies inside.
    ///
    /// Other than xarray 2026.9: marks of `_Unsigned` variables are turned whichever attribute they stand in; the
    /// fill value of v2 marks beside `_FillValue`, not in its place; a mark of a `float32` array is compared in
    /// `float32`, so that 1e20 is found.
    /// Text has no marks and no packing; `datetime64` and `timedelta64` have the mark `i64::MIN` and no packing.
    ///
    /// # Errors
    /// A `scale_factor`, `add_offset` or `_FillValue` that is no number.
    pub fn from_attrs(
        dtype: &DataType,
        fill: Option<Scalar>,
        attrs: &Attrs,
        zarr_format: u8,
    ) -> Result<Decoding, DecodeError> {
        let stored = match dtype {
            DataType::Number(stored) => *stored,
            DataType::DateTime(_) | DataType::Duration(_) => {
                let missing = Missing { marks: vec![Scalar::Int(i64::MIN)], within: None };
                let view = Some(DType::Int64);
                return Ok(Decoding { view, packing: Packing::NONE, missing, valid: None });
            }
            DataType::Text(_) | DataType::Unknown(_) => {
                let missing = Missing::default();
                return Ok(Decoding { view: None, packing: Packing::NONE, missing, valid: None });
            }
        };
        let view = match unsigned(attrs) {
            Some(true) => stored.as_unsigned(),
            Some(false) => stored.as_signed(),
            None => stored,
        };
        let packing = Packing {
            scale: packing_number(attrs, "scale_factor")?.unwrap_or(1.0),
            offset: packing_number(attrs, "add_offset")?.unwrap_or(0.0),
        };
        let mut marks = Vec::new();
        let fill = fill.filter(|_| zarr_format == 2);
        marks.extend(numbers(attrs, "_FillValue", stored)?);
        marks.extend(numbers(attrs, "missing_value", stored).unwrap_or_default());
        marks.extend(fill);
        let says = |name: &str, what: &str| attrs.get(name).and_then(Value::as_str).is_some_and(|t| t.contains(what));
        if stored == DType::Int64 && (says("units", " since ") || says("dtype", "timedelta64")) {
            // xarray writes a missing time or duration so, without a mark.
            marks.push(Scalar::Int(i64::MIN));
        }
        let mut kept: Vec<Scalar> = Vec::new();
        for mark in marks {
            let mark = reinterpret(mark, stored, view);
            if !mark.to_f64().is_nan() && !kept.contains(&mark) {
                kept.push(mark);
            }
        }
        let valid = valid_range(attrs, stored, view, packing);
        Ok(Decoding { view: Some(view), packing, missing: Missing { marks: kept, within: None }, valid })
    }
}

impl DecodeOptions {
    /// Changes how the stored values of `variable` are understood, where its cells are numbers.
    ///
    /// `datetime64` and `timedelta64` keep their mark: `i64::MIN` is no time in any reading.
    pub fn apply(&self, variable: &mut Variable) {
        let DataType::Number(stored) = variable.dtype else { return };
        if self.raw {
            variable.view = Some(stored);
            variable.packing = Packing::NONE;
            variable.missing = Missing::default();
            variable.valid = None;
        }
        match self.nodata {
            Nodata::Cube => {}
            Nodata::None => variable.missing = Missing::default(),
            Nodata::Value(mark) => {
                struct Holds(Scalar);
                impl ForElement for Holds {
                    type Output = bool;
                    fn run<T: Element>(self) -> bool {
                        self.0.to_element::<T>().is_some()
                    }
                }
                variable.missing = Missing { marks: vec![mark], within: None };
                let view = variable.view.unwrap_or(stored);
                if !view.dispatch(Holds(mark)) && variable.problem.is_none() {
                    variable.problem =
                        Some(format!("no cell of type {view} can hold the nodata value {}", mark.to_f64()));
                }
            }
        }
        if self.valid == Valid::Apply {
            variable.missing.within = variable.valid;
        }
    }
}

/// `_Unsigned`, where it says something.
fn unsigned(attrs: &Attrs) -> Option<bool> {
    match attrs.get("_Unsigned")? {
        Value::Bool(yes) => Some(*yes),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// One number, or a list that holds one (as some netCDF writers leave it).
fn packing_number(attrs: &Attrs, name: &'static str) -> Result<Option<f64>, DecodeError> {
    let expected = "one finite number";
    let Some(value) = attrs.get(name) else { return Ok(None) };
    let one = match value {
        Value::Array(list) if list.len() == 1 => &list[0],
        other => other,
    };
    match one.as_f64().or_else(|| one.as_str().and_then(|text| text.trim().parse().ok())) {
        Some(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(refuse(name, value, expected)),
    }
}

/// The numbers of a mark attribute: one, a list, `NaN` as text, or base64 of little-endian bytes.
fn numbers(attrs: &Attrs, name: &'static str, stored: DType) -> Result<Vec<Scalar>, DecodeError> {
    let Some(value) = attrs.get(name) else { return Ok(Vec::new()) };
    let list = match value {
        Value::Array(list) => list.as_slice(),
        Value::Null => return Ok(Vec::new()),
        one => std::slice::from_ref(one),
    };
    list.iter().map(|one| scalar(one, stored).ok_or_else(|| refuse(name, value, "a number"))).collect()
}

/// A number from JSON: a number, a bool, `NaN` and infinities as text, or base64 as xarray writes floats.
///
/// xarray stores the `_FillValue` of every float array as the base64 of a little-endian `float64`, also beside
/// `float32` data; eight, four and two bytes are understood.
fn scalar(value: &Value, stored: DType) -> Option<Scalar> {
    match value {
        Value::Number(number) => Some(json_number(number)),
        Value::Bool(yes) => Some(Scalar::Int(i64::from(*yes))),
        Value::String(text) => {
            if let Some(named) = named_float(text) {
                return Some(Scalar::Float(named));
            }
            if let Ok(int) = text.trim().parse::<i64>() {
                return Some(Scalar::Int(int));
            }
            if let Ok(float) = text.trim().parse::<f64>() {
                return Some(Scalar::Float(float));
            }
            if !stored.is_float() {
                return None;
            }
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(Scalar::Float(match bytes.len() {
                8 => f64::from_le_bytes(bytes.try_into().ok()?),
                4 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
                2 => half::f16::from_le_bytes(bytes.try_into().ok()?).to_f64(),
                _ => return None,
            }))
        }
        _ => None,
    }
}

/// A JSON number, exact where it is an integer of 64 bits.
pub fn json_number(number: &serde_json::Number) -> Scalar {
    if let Some(int) = number.as_i64() {
        Scalar::Int(int)
    } else if let Some(int) = number.as_u64() {
        Scalar::UInt(int)
    } else {
        Scalar::Float(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// `NaN`, `Infinity`, `-Infinity` and the spellings of numpy and netCDF.
pub fn named_float(text: &str) -> Option<f64> {
    match text.trim().to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "inf" | "+inf" | "+infinity" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A stored value as it reads in the type of the other signedness; values outside the stored type stay.
fn reinterpret(mark: Scalar, stored: DType, view: DType) -> Scalar {
    if stored == view {
        return mark;
    }
    let int: i128 = match mark {
        Scalar::Int(v) => v.into(),
        Scalar::UInt(v) => v.into(),
        Scalar::Float(v) if v.fract() == 0.0 && v.abs() < 1.8e19 => v as i128,
        Scalar::Float(_) => return mark,
    };
    let range = 1i128 << (8 * stored.size());
    let turned = if view.is_signed_int() {
        if int >= range / 2 && int < range { int - range } else { int }
    } else if int < 0 && int >= -range / 2 {
        int + range
    } else {
        int
    };
    match (i64::try_from(turned), u64::try_from(turned)) {
        (Ok(v), _) => Scalar::Int(v),
        (_, Ok(v)) => Scalar::UInt(v),
        _ => mark,
    }
}

fn valid_range(attrs: &Attrs, stored: DType, view: DType, packing: Packing) -> Option<(f64, f64)> {
    // (least, greatest) stored value of one end; packing with a negative scale turns the two round.
    let ends = |name| -> Vec<(f64, bool)> {
        let found = numbers(attrs, name, stored).unwrap_or_default();
        let unpacked = |mark: &Scalar| matches!(mark, Scalar::Float(_)) && !stored.is_float() && !packing.is_none();
        found
            .into_iter()
            .map(|mark| match unpacked(&mark) {
                true => (to_stored(mark.to_f64(), packing), packing.scale < 0.0),
                false => (rounded(reinterpret(mark, stored, view).to_f64(), stored), false),
            })
            .collect()
    };
    let one = |name| match ends(name).as_slice() {
        [end] => Some(*end),
        _ => None,
    };
    let pair = match ends("valid_range").as_slice() {
        [low, high] => Some((*low, *high)),
        _ => None,
    };
    let low = one("valid_min").or(pair.map(|(low, _)| low));
    let high = one("valid_max").or(pair.map(|(_, high)| high));
    let mut range = (f64::NEG_INFINITY, f64::INFINITY);
    for (end, least) in [(low, true), (high, false)] {
        match end {
            Some((value, turned)) if least != turned => range.0 = value,
            Some((value, _)) => range.1 = value,
            None => {}
        }
    }
    (low.is_some() || high.is_some()).then_some(range)
}

/// A decoded end of a range in stored units; what is within a millionth of an integer is that integer, which no
/// rounding of `scale_factor` may put outside.
fn to_stored(value: f64, packing: Packing) -> f64 {
    let stored = (value - packing.offset) / packing.scale;
    if (stored - stored.round()).abs() < 1e-6 { stored.round() } else { stored }
}

/// A number as the stored type holds it, where that is a float.
fn rounded(value: f64, stored: DType) -> f64 {
    match stored {
        DType::Float32 => f64::from(value as f32),
        DType::Float16 => half::f16::from_f64(value).to_f64(),
        _ => value,
    }
}

/// Decoded values of as many stored ones: `stored × scale + offset` of `packing`, `NaN` where a value is one of `marks`.
pub fn unpack<T: Element>(stored: &[T], marks: &[T], packing: Option<(f64, f64)>, to: &mut [f64]) {
    // Each value is written once, whatever it is: a store that depends on a mark is several times slower.
    #[inline(always)]
    fn each<T: Element>(stored: &[T], marks: &[T], to: &mut [f64], value: impl Fn(T) -> f64) {
        match *marks {
            [] => to.iter_mut().zip(stored).for_each(|(x, &v)| *x = value(v)),
            [mark] => to.iter_mut().zip(stored).for_each(|(x, &v)| *x = if v == mark { f64::NAN } else { value(v) }),
            _ => {
                to.iter_mut().zip(stored).for_each(|(x, &v)| *x = if marks.contains(&v) { f64::NAN } else { value(v) })
            }
        }
    }
    fast(
        #[inline(always)]
        || match packing {
            None => each(
                stored,
                marks,
                to,
                #[inline(always)]
                |v| v.to_f64(),
            ),
            Some((scale, offset)) => each(
                stored,
                marks,
                to,
                #[inline(always)]
                |v| v.to_f64() * scale + offset,
            ),
        },
    );
}

#[cfg(test)]
mod tests;
