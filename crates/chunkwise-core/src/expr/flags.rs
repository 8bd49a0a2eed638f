//! CF flags: bits and codes with names, in the attributes `flag_masks`, `flag_values` and `flag_meanings`.
//!
//! Source: CF conventions 1.10, section 3.5. With masks alone a flag is set where `value & mask` is not 0, with
//! values alone where the value is equal, with both where `value & mask` equals the flag's value.
//!
//! Attributes are often of another signedness than the data (bit 31 as −2147483648 beside unsigned or `float64`
//! data). Both are read as two's complement of one width: that of integer data; else, for data of no integer
//! type beside attributes with negative numbers, the narrowest of 8, 16, 32 and 64 bits that holds all of them.

use super::error::{Fault, Listing, Problem, did_you_mean};
use super::scope::ScopeVariable;
use crate::cube::Attrs;
use crate::dtype::DType;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::ops::Range;

/// The test of one flag on an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FlagTest {
    /// Bits that count.
    pub(super) mask: i64,
    /// What they must be; `None`: anything but 0.
    pub(super) equals: Option<i64>,
    /// Width in bits in which numbers are read as two's complement: those with the highest bit become negative.
    pub(super) width: Option<u8>,
}

impl FlagTest {
    /// Whether a test that was read from outside is one that could have been made here.
    pub(super) fn is_valid(&self) -> bool {
        self.width.is_none_or(|width| matches!(width, 8 | 16 | 32 | 64))
    }
}

/// A number of `width` bits as two's complement; numbers that do not fit stay as they are.
#[inline(always)]
pub(super) fn signed(value: i64, width: Option<u8>) -> i64 {
    match width {
        // 64-bit numbers are kept as their bits and are signed already.
        Some(width @ (8 | 16 | 32)) => {
            let half = 1i64 << (width - 1);
            if value >= half && value < 2 * half { value - 2 * half } else { value }
        }
        _ => value,
    }
}

/// The test for flag `name` of a variable.
pub(super) fn test(variable: &ScopeVariable, name: &str, span: &Range<usize>) -> Result<FlagTest, Fault> {
    let bad = |why: String| Fault::new(Problem::Flags { variable: variable.name.clone(), why }, span);
    let meanings = meanings(&variable.attrs).ok_or_else(|| bad("has no attribute `flag_meanings`".to_owned()))?;
    let read = |attribute: &str| match variable.attrs.get(attribute) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => match integers(json) {
            None => Err(bad(format!("has an attribute `{attribute}` that is not a list of integers"))),
            Some(list) if list.len() != meanings.len() => {
                Err(bad(format!("has {} `{attribute}` but {} `flag_meanings`", list.len(), meanings.len())))
            }
            Some(list) => Ok(Some(list)),
        },
    };
    let (masks, values) = (read("flag_masks")?, read("flag_values")?);
    if masks.is_none() && values.is_none() {
        return Err(bad("has `flag_meanings` but neither `flag_masks` nor `flag_values`".to_owned()));
    }
    if meanings.iter().filter(|m| **m == name).count() > 1 {
        return Err(bad(format!("has more than one flag `{name}`")));
    }
    let at = position(&meanings, name).ok_or_else(|| {
        let problem = Problem::UnknownFlag {
            variable: variable.name.clone(),
            asked: name.to_owned(),
            hint: did_you_mean(name, meanings.iter().copied()),
            has: Listing::new(meanings.iter().copied()),
        };
        Fault::new(problem, span)
    })?;
    let width = width(variable.dtype, masks.iter().chain(&values).flatten());
    // Numbers above i64::MAX are kept as their bits; `integers` has made sure that they fit.
    let bits = |list: &Vec<i128>| signed(list[at] as u64 as i64, width);
    Ok(match (&masks, &values) {
        (Some(masks), None) if masks[at] == 0 => {
            return Err(bad(format!("has the mask 0 for `{}`, which no value can match", meanings[at])));
        }
        (Some(masks), None) => FlagTest { mask: bits(masks), equals: None, width },
        (Some(masks), Some(values)) => FlagTest { mask: bits(masks), equals: Some(bits(values)), width },
        (None, values) => FlagTest { mask: -1, equals: values.as_ref().map(bits), width },
    })
}

/// Position of the flag with this name: exactly, else the only one that differs in case alone.
fn position(meanings: &[&str], name: &str) -> Option<usize> {
    if let Some(at) = meanings.iter().position(|m| *m == name) {
        return Some(at);
    }
    let lower = name.to_lowercase();
    let mut same = (0..meanings.len()).filter(|&i| meanings[i].to_lowercase() == lower);
    same.next().filter(|_| same.next().is_none())
}

fn meanings(attrs: &Attrs) -> Option<Vec<&str>> {
    let list: Vec<&str> = match attrs.get("flag_meanings")? {
        Json::String(text) => text.split_whitespace().collect(),
        Json::Array(list) => list.iter().map(Json::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    (!list.is_empty()).then_some(list)
}

/// Integers from −2^63 to 2^64 − 1: a number, a list of numbers, or text of them (`1b, 2b` as `ncdump` prints).
fn integers(json: &Json) -> Option<Vec<i128>> {
    let list: Vec<i128> = match json {
        Json::Number(_) => vec![integer(json)?],
        Json::Array(list) => list.iter().map(integer).collect::<Option<_>>()?,
        Json::String(text) => {
            let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
            words.map(|word| integer(&Json::String(word.to_owned()))).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let fits = |n: &i128| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n);
    list.iter().all(fits).then_some(list)
}

fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Some(n.into()),
            (_, Some(n), _) => Some(n.into()),
            (_, _, Some(n)) if n.fract() == 0.0 && n.abs() < 2e19 => Some(n as i128),
            _ => None,
        },
        Json::String(word) => {
            let word = word.trim().to_ascii_lowercase();
            if let Some(hex) = word.strip_prefix("0x") {
                return i128::from(u64::from_str_radix(hex, 16).ok()?).into();
            }
            word.trim_end_matches(['b', 's', 'l', 'u']).parse().ok()
        }
        _ => None,
    }
}

/// Width in which data and attributes are brought together, see the module.
fn width<'a>(dtype: Option<DType>, all: impl Iterator<Item = &'a i128>) -> Option<u8> {
    match dtype {
        Some(d) if !d.is_float() => Some(8 * d.size() as u8),
        _ => {
            let (least, most) = all.fold((0, 0), |(least, most), &n| (n.min(least), n.max(most)));
            if least >= 0 {
                return None;
            }
            let holds = |width: u8| least >= -(1i128 << (width - 1)) && most < 1i128 << (width - 1);
            [8, 16, 32].into_iter().find(|&width| holds(width)).or(Some(64))
        }
    }
}

#[cfg(test)]
mod tests;
