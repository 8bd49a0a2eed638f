use super::*;
use serde_json::json;

fn attrs(value: Value) -> Attrs {
    value.as_object().cloned().unwrap()
}

fn decoding(stored: DType, fill: Option<Scalar>, value: Value, zarr_format: u8) -> Decoding {
    Decoding::from_attrs(&DataType::Number(stored), fill, &attrs(value), zarr_format).unwrap()
}

#[test]
fn the_fill_value_of_the_array_marks_missing_cells_in_v2_only() {
    let zero = Some(Scalar::Int(0));
    assert_eq!(decoding(DType::UInt8, zero, json!({}), 2).missing.marks, [Scalar::Int(0)]);
    assert!(decoding(DType::UInt8, zero, json!({}), 3).missing.marks.is_empty());
    let both = json!({"_FillValue": 255, "missing_value": [255, 254]});
    assert_eq!(decoding(DType::UInt8, None, both, 3).missing.marks, [Scalar::Int(255), Scalar::Int(254)]);
}

#[test]
fn unsigned_turns_view_marks_and_range() {
    let value = json!({"_Unsigned": "true", "_FillValue": -1, "valid_range": [0, -2], "scale_factor": 0.5});
    let found = decoding(DType::Int16, None, value, 3);
    assert_eq!(found.view, Some(DType::UInt16));
    assert_eq!(found.missing.marks, [Scalar::Int(65535)]);
    assert_eq!(found.valid, Some((0.0, 65534.0)));
    assert_eq!(found.packing, Packing { scale: 0.5, offset: 0.0 });
    let found = decoding(DType::UInt8, None, json!({"_Unsigned": "false", "_FillValue": 255}), 3);
    assert_eq!((found.view, found.missing.marks), (Some(DType::Int8), vec![Scalar::Int(-1)]));
}

#[test]
fn fill_values_of_floats_are_understood_as_xarray_writes_them() {
    // Base64 of the little-endian float64 NaN, -9999.0 and of a float32 1.5 (Python: struct and base64).
    assert!(decoding(DType::Float32, None, json!({"_FillValue": "AAAAAAAA+H8="}), 3).missing.marks.is_empty());
    let found = decoding(DType::Float64, None, json!({"_FillValue": "AAAAAICHw8A="}), 3);
    assert_eq!(found.missing.marks, [Scalar::Float(-9999.0)]);
    let found = decoding(DType::Float32, None, json!({"_FillValue": "AADAPw=="}), 3);
    assert_eq!(found.missing.marks, [Scalar::Float(1.5)]);
}

#[test]
fn attributes_that_are_no_numbers_are_refused_by_name() {
    let refused = |value| {
        let found = Decoding::from_attrs(&DataType::Number(DType::Int16), None, &attrs(value), 3);
        found.unwrap_err().attribute
    };
    assert_eq!(refused(json!({"scale_factor": "much"})), "scale_factor");
    assert_eq!(refused(json!({"add_offset": [1, 2]})), "add_offset");
    assert_eq!(refused(json!({"_FillValue": "none"})), "_FillValue");
}

#[test]
fn times_are_missing_at_their_smallest_count() {
    let unit = crate::cube::TimeUnit { unit: "ns".into(), step: 1 };
    let found = Decoding::from_attrs(&DataType::DateTime(unit), None, &attrs(json!({"scale_factor": 2})), 3);
    let found = found.unwrap();
    assert_eq!(found.missing.marks, [Scalar::Int(i64::MIN)]);
    assert!(found.packing.is_none());
}

/// As xarray 2026.9.0 writes `timedelta64` with a gap: `int64`, no mark.
#[test]
fn a_duration_that_xarray_stores_without_a_mark_has_one() {
    let stored = DataType::Number(DType::Int64);
    let found = |a| Decoding::from_attrs(&stored, None, &attrs(a), 3).unwrap().missing.marks;
    assert_eq!(found(json!({"dtype": "timedelta64[ns]", "units": "nanoseconds"})), [Scalar::Int(i64::MIN)]);
    assert_eq!(found(json!({"units": "days since 2000-01-01"})), [Scalar::Int(i64::MIN)]);
    assert_eq!(found(json!({"units": "days"})), []);
}

/// `xarray.open_zarr(decode_times=False)` 2026.9.0 over zarr-python 3.1.6, on arrays written by the latter.
#[test]
fn stored_values_read_as_in_xarray() {
    let none = f64::NAN;
    let int = |v| Some(Scalar::Int(v));
    let (i1, i2, u1, f4) = (DType::Int8, DType::Int16, DType::UInt8, DType::Float32);
    let nan = json!({"_FillValue": "AAAAAAAA+H8="});
    let minus = json!({"_FillValue": "AAAAAICHw8A="});
    type Case = (u8, DType, Option<Scalar>, Value, Vec<f64>, Vec<f64>);
    let cases: Vec<Case> = vec![
        (2, i2, int(0), json!({}), vec![0., 1., 2.], vec![none, 1., 2.]),
        (3, i2, int(0), json!({}), vec![0., 1., 2.], vec![0., 1., 2.]),
        (2, i2, int(7), json!({"missing_value": 2}), vec![0., 1., 2., 7.], vec![0., 1., none, none]),
        (3, i2, int(7), json!({"_FillValue": 1, "missing_value": 2}), vec![0., 1., 2., 7.], vec![0., none, none, 7.]),
        (3, i2, None, json!({"missing_value": [1, 2]}), vec![0., 1., 2.], vec![0., none, none]),
        (3, i2, None, json!({"missing_value": 1.0}), vec![0., 1., 2.], vec![0., none, 2.]),
        (3, i2, None, json!({"missing_value": "NaN"}), vec![0., 1., 2.], vec![0., 1., 2.]),
        (3, i2, None, json!({"missing_value": "n/a"}), vec![0., 1., 2.], vec![0., 1., 2.]),
        (2, i1, None, json!({"_Unsigned": "true"}), vec![0., 1., -1., -2.], vec![0., 1., 255., 254.]),
        (3, i1, None, json!({"_Unsigned": "true", "_FillValue": -1}), vec![1., -1., -2.], vec![1., none, 254.]),
        (2, i1, int(-1), json!({"_Unsigned": "true", "scale_factor": 0.5}), vec![1., -1., -2.], vec![0.5, none, 127.]),
        (3, i1, int(-1), json!({"_Unsigned": "true", "scale_factor": 0.5}), vec![1., -1., -2.], vec![0.5, 127.5, 127.]),
        (2, u1, int(0), json!({"_Unsigned": "false"}), vec![0., 1., 255., 254.], vec![none, 1., -1., -2.]),
        (3, f4, None, nan, vec![0., 1., none], vec![0., 1., none]),
        (3, f4, None, minus, vec![0., 1., -9999.], vec![0., 1., none]),
        (2, i2, int(9), json!({"scale_factor": [0.1], "add_offset": [1.0]}), vec![0., 1., 9.], vec![1., 1.1, none]),
        (3, i2, int(9), json!({"scale_factor": 0.1}), vec![0., 1., 9.], vec![0., 0.1, 0.9]),
        (3, i2, int(9), json!({"valid_range": [0, 1]}), vec![0., 2., 9.], vec![0., 2., 9.]),
        (3, i2, int(9), json!({"valid_range": "0, 1"}), vec![0., 2., 9.], vec![0., 2., 9.]),
        (3, u1, int(9), json!({"missing_value": -999}), vec![0., 1., 9.], vec![0., 1., 9.]),
    ];
    for (format, stored, fill, attrs, cells, expected) in cases {
        let decoding = decoding(stored, fill, attrs.clone(), format);
        let view = decoding.view.unwrap();
        let marks: Vec<f64> = decoding.missing.marks.iter().map(|m| m.to_f64()).collect();
        let read = |&cell: &f64| {
            let range = f64::from(1 << 8);
            let cell = match (stored, view) {
                (DType::Int8, DType::UInt8) if cell < 0.0 => cell + range,
                (DType::UInt8, DType::Int8) if cell >= range / 2.0 => cell - range,
                _ => cell,
            };
            if marks.contains(&cell) { f64::NAN } else { cell * decoding.packing.scale + decoding.packing.offset }
        };
        let found: Vec<f64> = cells.iter().map(read).collect();
        let same =
            found.iter().zip(&expected).all(|(a, b)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() < 1e-15);
        assert!(same && found.len() == expected.len(), "{attrs}: {found:?}, expected {expected:?}");
    }
}
