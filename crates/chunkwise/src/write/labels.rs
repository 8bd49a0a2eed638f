//! Coordinates: labels of a dimension as a 1-D array.

use super::array::{ArraySpec, ZarrVersion};
use crate::codec::CodecChoice;
use chunkwise_core::cf::encode::result_attrs;
use chunkwise_core::cf::encode::{OutputType, Statistic};
use chunkwise_core::cf::time::{Calendar, TimeAxis};
use chunkwise_core::cube::{Attrs, DataType, Labels, TextKind, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};

/// The coordinate of dimension `dim` as an array and its cells (native-endian); `None` where there are no labels.
///
/// One chunk holds all. Attributes are those of `source` less packing and marks; `coordinates`, `bounds` and the like
/// are left to [`keep_references`](chunkwise_core::cf::encode::keep_references). Numbers keep the element type of
/// `source` where it holds all of them exactly, else they are `float64`; integers likewise, else `int64`. Times are
/// `int64` in the coarsest unit that is exact, from days to nanoseconds since 1970-01-01, in their calendar; a missing
/// time is marked. Where no such unit holds all (nanoseconds more than 292 years from 1970), they are rounded down to the
/// next coarser that does. Text is of fixed length, in UTF-32.
pub fn labels_to_array(
    dim: &str,
    labels: &Labels,
    source: Option<&Variable>,
    zarr: ZarrVersion,
) -> Option<(ArraySpec, Vec<u8>)> {
    let mut attrs = match source {
        None => Attrs::new(),
        Some(v) => result_attrs(Statistic::Value, dim, &[], &v.attrs, &OutputType::plain(DType::Float64)),
    };
    let asked = source.filter(|v| v.packing.is_none()).and_then(|v| match v.dtype {
        DataType::Number(d) if v.view == Some(d) => Some(d),
        _ => None,
    });
    let mut missing = None;
    let (dtype, cells) = match labels {
        Labels::Index(_) => return None,
        Labels::Integer(values) => {
            let scalars = || values.iter().map(|&v| Scalar::Int(v));
            let fitting = asked.and_then(|d| Some((d, exact(d, scalars())?)));
            let (d, cells) = fitting.unwrap_or_else(|| (DType::Int64, bytemuck::cast_slice(values).to_vec()));
            (DataType::Number(d), cells)
        }
        Labels::Number(values) => {
            let scalars = || values.iter().map(|&v| Scalar::Float(v));
            let fitting = asked.and_then(|d| Some((d, exact(d, scalars())?)));
            let (d, cells) = fitting.unwrap_or_else(|| (DType::Float64, bytemuck::cast_slice(values).to_vec()));
            if d.is_float() && values.iter().any(|v| v.is_nan()) {
                missing = Some(Scalar::Float(f64::NAN));
            }
            (DataType::Number(d), cells)
        }
        Labels::Time(axis) => {
            let (unit, counts) = count(axis);
            if counts.contains(&i64::MIN) {
                missing = Some(Scalar::Int(i64::MIN));
            }
            attrs.insert("units".to_owned(), format!("{unit} since 1970-01-01").into());
            attrs.insert("calendar".to_owned(), calendar_name(axis.calendar).into());
            (DataType::Number(DType::Int64), bytemuck::cast_slice(&counts).to_vec())
        }
        Labels::Text(values) => {
            let width = values.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(1);
            (DataType::Text(TextKind::Utf32(width)), utf32(values, width))
        }
    };
    let length = labels.len();
    let spec = ArraySpec {
        path: dim.to_owned(),
        dims: vec![dim.to_owned()],
        shape: vec![length],
        dtype,
        chunks: vec![length.max(1)],
        shards: None,
        codec: CodecChoice::default(),
        // No label equals a value that no label has, so that no reader takes one for missing.
        fill_value: missing,
        missing,
        attrs,
        zarr,
    };
    Some((spec, cells))
}

/// The numbers in a type that holds all of them exactly.
fn exact(dtype: DType, values: impl Iterator<Item = Scalar>) -> Option<Vec<u8>> {
    struct Exact<I>(I);
    impl<I: Iterator<Item = Scalar>> ForElement for Exact<I> {
        type Output = Option<Vec<u8>>;
        fn run<T: Element>(self) -> Option<Vec<u8>> {
            let mut cells = Vec::new();
            for value in self.0 {
                let held: T = value.to_element()?;
                let same = match value {
                    Scalar::Float(v) => held.to_f64() == v || (v.is_nan() && held.is_nan()),
                    // Every integer type holds what `to_element` gives; a float may have rounded.
                    Scalar::Int(v) => !T::IS_FLOAT || (held.to_f64() as i128) == i128::from(v),
                    Scalar::UInt(v) => !T::IS_FLOAT || (held.to_f64() as i128) == i128::from(v),
                };
                if !same {
                    return None;
                }
                cells.extend_from_slice(bytemuck::bytes_of(&held));
            }
            Some(cells)
        }
    }
    if dtype == DType::Bool { None } else { dtype.dispatch(Exact(values)) }
}

/// Times in the coarsest unit that is exact and fits; "not a time" is `i64::MIN`.
fn count(axis: &TimeAxis) -> (&'static str, Vec<i64>) {
    const UNITS: [(&str, i128); 7] = [
        ("days", 86_400_000_000_000),
        ("hours", 3_600_000_000_000),
        ("minutes", 60_000_000_000),
        ("seconds", 1_000_000_000),
        ("milliseconds", 1_000_000),
        ("microseconds", 1_000),
        ("nanoseconds", 1),
    ];
    let counted = |unit: i128, exact: bool| -> Option<Vec<i64>> {
        let one = |&t: &i128| match t {
            i128::MIN => Some(i64::MIN),
            t if exact && t % unit != 0 => None,
            t => i64::try_from(t.div_euclid(unit)).ok(),
        };
        axis.nanos.iter().map(one).collect()
    };
    let exact = UNITS.iter().find_map(|&(name, unit)| Some((name, counted(unit, true)?)));
    // Nanoseconds that do not fit in 64 bits: some 292 years from 1970. The next coarser unit that fits is rounded down.
    let rounded = || UNITS.iter().rev().find_map(|&(name, unit)| Some((name, counted(unit, false)?)));
    exact.or_else(rounded).unwrap_or(("days", vec![i64::MIN; axis.nanos.len()]))
}

/// CF's name of a calendar.
fn calendar_name(calendar: Calendar) -> &'static str {
    match calendar {
        Calendar::Standard => "standard",
        Calendar::ProlepticGregorian => "proleptic_gregorian",
        Calendar::Julian => "julian",
        Calendar::NoLeap => "noleap",
        Calendar::AllLeap => "all_leap",
        Calendar::Day360 => "360_day",
    }
}

/// Text as code points of native-endian UTF-32, filled up with zeros.
fn utf32(values: &[String], width: usize) -> Vec<u8> {
    let mut cells = vec![0u32; values.len() * width];
    for (text, cell) in values.iter().zip(cells.chunks_exact_mut(width)) {
        for (c, code) in text.chars().zip(cell) {
            *code = u32::from(c);
        }
    }
    bytemuck::cast_slice(&cells).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(labels: &Labels) -> (ArraySpec, Vec<u8>) {
        labels_to_array("d", labels, None, ZarrVersion::V3).unwrap()
    }

    #[test]
    fn times_are_counts_of_the_coarsest_exact_unit_in_their_calendar() {
        const HOUR: i128 = 3_600_000_000_000;
        for (nanos, units, counts) in [
            (vec![0, 48 * HOUR], "days since 1970-01-01", vec![0i64, 2]),
            (vec![-HOUR, 48 * HOUR], "hours since 1970-01-01", vec![-1, 48]),
            (vec![1_500_000_000], "milliseconds since 1970-01-01", vec![1500]),
            (vec![1, i128::MIN], "nanoseconds since 1970-01-01", vec![1, i64::MIN]),
        ] {
            let axis = TimeAxis { calendar: Calendar::Day360, nanos };
            let (spec, cells) = made(&Labels::Time(axis));
            assert_eq!(spec.attrs["units"], units);
            assert_eq!(spec.attrs["calendar"], "360_day");
            assert_eq!(bytemuck::pod_collect_to_vec::<u8, i64>(&cells), counts);
            assert_eq!(spec.missing.is_some(), counts.contains(&i64::MIN));
        }
    }

    #[test]
    fn text_is_as_long_as_its_longest_label_in_characters() {
        let (spec, cells) = made(&Labels::Text(vec!["bé".into(), "B08".into()]));
        assert_eq!(spec.dtype, DataType::Text(TextKind::Utf32(3)));
        let codes: Vec<u32> = bytemuck::pod_collect_to_vec(&cells);
        assert_eq!(codes, ['b' as u32, 'é' as u32, 0, 'B' as u32, '0' as u32, '8' as u32]);
        assert_eq!(made(&Labels::Text(vec![String::new()])).0.dtype, DataType::Text(TextKind::Utf32(1)));
    }

    #[test]
    fn a_narrow_type_is_kept_only_where_it_holds_every_label() {
        let of = |values: &[f64]| exact(DType::Float32, values.iter().map(|&v| Scalar::Float(v))).is_some();
        assert!(of(&[0.5, f64::NAN, -3.0]));
        assert!(!of(&[0.5, 0.1]));
        let ints = |values: &[i64]| exact(DType::Int16, values.iter().map(|&v| Scalar::Int(v))).is_some();
        assert!(ints(&[-32768, 32767]));
        assert!(!ints(&[32768]));
    }

    #[test]
    fn cells_without_labels_have_no_coordinate() {
        assert_eq!(labels_to_array("d", &Labels::Index(5), None, ZarrVersion::V3), None);
    }
}
