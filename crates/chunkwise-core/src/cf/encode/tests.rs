//! Types and attributes of results, against the rules of the semantics document and of CF 1.11.

use super::*;
use crate::cube::Attrs;
use proptest::prelude::*;
use serde_json::{Value, json};

fn attrs(value: Value) -> Attrs {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn source(stored: DType, marks: &[Scalar], packing: Packing) -> Source {
    Source { stored, view: stored, packing, marks: marks.to_vec(), fill_value: None }
}

const HALF: Packing = Packing { scale: 0.5, offset: 10.0 };

fn name(statistic: Statistic, source: &Source, gaps: Gaps) -> String {
    let out = output_type(statistic, source, gaps);
    let mark = match out.missing {
        None => "no mark".to_owned(),
        Some(Scalar::Int(v)) => v.to_string(),
        Some(Scalar::UInt(v)) => v.to_string(),
        Some(Scalar::Float(v)) => format!("{v}"),
    };
    format!("{} {mark}{}", out.stored, if out.packing.is_none() { "" } else { " packed" })
}

#[test]
fn types_follow_the_statistic() {
    let u16s = source(DType::UInt16, &[], Packing::NONE);
    let marked = source(DType::UInt16, &[Scalar::Int(65535)], Packing::NONE);
    let zero = source(DType::UInt16, &[Scalar::Int(0)], Packing::NONE);
    let packed = source(DType::Int16, &[Scalar::Int(-32768)], HALF);
    let bare = source(DType::Int16, &[], HALF);
    let wide = source(DType::Int32, &[], Packing::NONE);
    let f32s = source(DType::Float32, &[], Packing::NONE);
    let rows: &[(Statistic, &Source, Gaps, &str)] = &[
        (Statistic::Mean, &u16s, Gaps::Never, "float32 NaN"),
        (Statistic::Mean, &wide, Gaps::Never, "float64 NaN"),
        (Statistic::Median, &packed, Gaps::Possible, "float32 NaN"),
        (Statistic::Std, &f32s, Gaps::Possible, "float32 NaN"),
        (Statistic::Sum, &u16s, Gaps::Never, "uint64 no mark"),
        (Statistic::Sum, &wide, Gaps::Never, "int64 no mark"),
        (Statistic::Sum, &zero, Gaps::Possible, "uint64 0"),
        (Statistic::Sum, &marked, Gaps::Possible, "float64 NaN"),
        (Statistic::Sum, &packed, Gaps::Never, "float32 NaN"),
        (Statistic::Min, &u16s, Gaps::Never, "uint16 no mark"),
        (Statistic::Max, &marked, Gaps::Possible, "uint16 65535"),
        (Statistic::First, &packed, Gaps::Possible, "int16 -32768 packed"),
        (Statistic::Last, &u16s, Gaps::Possible, "float32 NaN"),
        (Statistic::Value, &bare, Gaps::Possible, "float32 NaN"),
        (Statistic::Mode, &bare, Gaps::Never, "int16 no mark packed"),
        (Statistic::Count, &packed, Gaps::Possible, "uint64 no mark"),
        (Statistic::ArgMax, &packed, Gaps::Possible, "int64 -1"),
    ];
    for (statistic, source, gaps, expected) in rows {
        assert_eq!(name(*statistic, source, *gaps), *expected, "{statistic:?} of {source:?}");
    }
}

#[test]
fn formulas_are_float32_only_over_narrow_inputs() {
    assert_eq!(formula_type(&[DType::UInt16, DType::Float32]).stored, DType::Float32);
    assert_eq!(formula_type(&[DType::UInt16, DType::Int32]).stored, DType::Float64);
    assert_eq!(formula_type(&[]).stored, DType::Float64);
}

#[test]
fn an_unsigned_mark_is_stored_as_its_signed_twin() {
    let source = Source {
        stored: DType::Int16,
        view: DType::UInt16,
        packing: Packing::NONE,
        marks: vec![Scalar::Int(65535)],
        fill_value: Some(Scalar::Int(-1)),
    };
    let out = output_type(Statistic::Max, &source, Gaps::Possible);
    assert_eq!(out.missing, Some(Scalar::Int(65535)));
    assert_eq!(out.stored_missing(), Some(Scalar::Int(-1)));
    let attrs = result_attrs(Statistic::Max, "v", &[], &Attrs::new(), &out);
    assert_eq!(attrs["_Unsigned"], "true");
}

#[test]
fn value_preserving_statistics_keep_packing_and_others_drop_it() {
    let from = attrs(json!({
        "units": "K", "standard_name": "air_temperature", "scale_factor": 0.5, "add_offset": 10.0,
        "_FillValue": -32768, "missing_value": -32768, "valid_range": [-100, 100], "actual_range": [1.0, 2.0],
        "flag_meanings": "a b", "cell_methods": "area: mean", "_ARRAY_DIMENSIONS": ["time"]
    }));
    let packed = source(DType::Int16, &[Scalar::Int(-32768)], HALF);
    let over = ["time".to_owned()];
    let of = |statistic| {
        let out = output_type(statistic, &packed, Gaps::Possible);
        Value::Object(result_attrs(statistic, "t", &over, &from, &out))
    };
    assert_eq!(
        of(Statistic::Max),
        json!({
            "units": "K", "standard_name": "air_temperature", "valid_range": [-100, 100], "flag_meanings": "a b",
            "cell_methods": "area: mean time: maximum", "scale_factor": 0.5, "add_offset": 10.0
        })
    );
    assert_eq!(
        of(Statistic::Var),
        json!({
            "units": "K2", "standard_name": "air_temperature", "cell_methods": "area: mean time: variance"
        })
    );
    assert_eq!(
        of(Statistic::Count),
        json!({
            "units": "1", "cell_methods": "area: mean", "long_name": "number of valid cells of t"
        })
    );
}

#[test]
fn ranges_in_stored_units_go_when_kept_values_are_decoded() {
    let from = attrs(json!({"scale_factor": 0.5, "add_offset": 10.0, "valid_min": 0}));
    let out = output_type(Statistic::Min, &source(DType::Int16, &[], HALF), Gaps::Possible);
    assert_eq!(result_attrs(Statistic::Min, "t", &[], &from, &out), Attrs::new());
}

#[test]
fn units_of_a_variance_are_squared() {
    let of = |units: &str| {
        let from = attrs(json!({"units": units}));
        let out = OutputType::plain(DType::Float64);
        result_attrs(Statistic::Var, "v", &[], &from, &out)["units"].clone()
    };
    // Each parsed by cf-units/UDUNITS-2 as the square of the other.
    for (units, expected) in [("K", "K2"), ("m s-1", "(m s-1)2"), ("1", "1"), ("degC", "K2"), ("mm/day", "(mm/day)2")] {
        assert_eq!(of(units), expected);
    }
}

#[test]
fn several_dimensions_share_one_cell_method() {
    let over = ["y".to_owned(), "x".to_owned()];
    let out = OutputType::plain(DType::Float32);
    let got = result_attrs(Statistic::Mean, "v", &over, &Attrs::new(), &out);
    assert_eq!(got["cell_methods"], "y: x: mean");
}

#[test]
fn references_to_what_is_not_copied_go() {
    let mut a = attrs(json!({
        "coordinates": "lat lon", "bounds": "time_bnds", "grid_mapping": "crs: x y other: lat lon",
        "cell_measures": "area: areacella"
    }));
    keep_references(&mut a, |name| ["lat", "lon", "crs", "x", "y"].contains(&name));
    assert_eq!(Value::Object(a), json!({"coordinates": "lat lon", "grid_mapping": "crs: x y"}));
}

#[test]
fn history_grows_by_one_line() {
    let mut a = attrs(json!({"history": "2024-01-01 made\n"}));
    append_history(&mut a, "2026-01-01T00:00:00Z chunkwise reduce\nx");
    assert_eq!(a["history"], "2024-01-01 made\n2026-01-01T00:00:00Z chunkwise reduce x");
}

#[test]
fn float_marks_are_base64_as_xarray_writes_them() {
    // `FillValueCoder.encode(np.nan, np.dtype("f4"))`, `(-9999.0, np.dtype("f8"))` of xarray 2026.9.
    assert_eq!(fill_value_attr(DType::Float32, Scalar::Float(f64::NAN), 3), Some("AAAAAAAA+H8=".into()));
    assert_eq!(fill_value_attr(DType::Float64, Scalar::Int(-9999), 3), Some("AAAAAICHw8A=".into()));
    assert_eq!(fill_value_attr(DType::UInt16, Scalar::Int(65535), 3), Some(65535.into()));
    assert_eq!(fill_value_attr(DType::UInt16, Scalar::Int(65535), 2), None);
}

fn bytes<T: Element>(values: &[T], valid: &[bool], out: &OutputType) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode(values, |i| valid[i], Units::Decoded, out, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn missing_cells_become_the_mark() {
    let out = output_type(Statistic::Max, &source(DType::UInt16, &[Scalar::Int(65535)], Packing::NONE), Gaps::Possible);
    let got = bytes(&[1u16, 2, 3], &[true, false, true], &out);
    assert_eq!(got, Ok(bytemuck::cast_slice(&[1u16, 65535, 3]).to_vec()));
    let got = bytes(&[1.5f64, f64::NAN], &[true, true], &OutputType::plain(DType::Float32)).unwrap();
    let got: &[f32] = bytemuck::cast_slice(&got);
    assert_eq!(got[0], 1.5);
    assert!(got[1].is_nan());
}

#[test]
fn a_missing_cell_without_a_mark_is_an_error() {
    let out = OutputType::plain(DType::Int32);
    let got = bytes(&[1.0f64, 2.0], &[true, false], &out);
    assert_eq!(got, Err(EncodeError::NoMark { dtype: DType::Int32 }));
}

#[test]
fn values_never_wrap_saturate_or_turn_into_the_mark() {
    let of = |value: f64, out: &OutputType| bytes(&[value], &[true], out).unwrap_err().to_string();
    let u8s = OutputType::plain(DType::UInt8);
    assert_eq!(of(256.0, &u8s), "256 does not fit in `uint8`; a wider type works, for example `float64`");
    assert_eq!(of(-1.0, &u8s), "-1 does not fit in `uint8`; a wider type works, for example `float64`");
    assert!(of(f64::INFINITY, &u8s).starts_with("inf does not fit"));
    assert!(of(1e300, &OutputType::plain(DType::Float32)).contains("does not fit in `float32`"));
    let marked = asked_type(DType::Int16, Some(Scalar::Int(-9999)), Gaps::Possible).unwrap();
    assert!(of(-9999.0, &marked).starts_with("the valid value -9999 is also the missing mark"));
}

#[test]
fn integers_of_64_bits_pass_exactly_and_round_once() {
    let out = OutputType::plain(DType::UInt64);
    let got = bytes(&[u64::MAX, (1 << 53) + 1], &[true, true], &out).unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, u64>(&got), [u64::MAX, (1 << 53) + 1]);
    let got = bytes(&[i64::MIN], &[true], &OutputType::plain(DType::Int64)).unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, i64>(&got), [i64::MIN]);
    // numpy 2.4: np.float32(np.int64(2**60 + 2**36 + 1)) == 1152921642045800448; through float64 it is 2**60.
    let got = bytes(&[(1i64 << 60) + (1 << 36) + 1], &[true], &OutputType::plain(DType::Float32)).unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, f32>(&got), [1_152_921_642_045_800_448.0]);
}

#[test]
fn decoded_values_are_packed_again_and_stored_ones_copied() {
    let packed = source(DType::Int16, &[Scalar::Int(-32768)], HALF);
    let out = output_type(Statistic::Min, &packed, Gaps::Possible);
    // (11.25 − 10) / 0.5 = 2.5, to the even neighbour 2.
    let got = bytes(&[12.0f64, 11.25], &[true, true], &out).unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, i16>(&got), [4, 2]);
    let mut got = Vec::new();
    encode(&[7i16], |_| true, Units::Stored, &out, &mut got).unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, i16>(&got), [7]);
}

proptest! {
    #[test]
    fn any_float_encodes_as_numpy_rounds_or_is_refused(values: Vec<f64>) {
        let out = OutputType::plain(DType::Float32);
        let mut got = Vec::new();
        match encode(&values, |_| true, Units::Decoded, &out, &mut got) {
            Ok(()) => for (&v, g) in values.iter().zip(bytemuck::pod_collect_to_vec::<u8, f32>(&got)) {
                prop_assert!(g.to_bits() == (v as f32).to_bits() || (g.is_nan() && v.is_nan()));
            },
            Err(_) => prop_assert!(values.iter().any(|v| v.is_finite() && (*v as f32).is_infinite())),
        }
    }

    #[test]
    fn no_value_of_any_type_panics(values: Vec<f64>, scale: f64, offset: f64, mark: i64) {
        for stored in DType::ALL {
            let out = OutputType {
                packing: Packing { scale, offset },
                missing: Some(Scalar::Int(mark)),
                ..OutputType::plain(stored)
            };
            let _ = encode(&values, |i| i % 3 != 0, Units::Decoded, &out, &mut Vec::new());
        }
    }
}
