use crate::cube::Attrs;
use crate::dtype::DType;
use crate::expr::trial::{compile, error};
use crate::expr::{Evaluator, InputColumn, Scope, ScopeVariable};
use serde_json::json;

fn scope(attrs: serde_json::Value, dtype: Option<DType>) -> Scope {
    let attrs: Attrs = attrs.as_object().unwrap().clone();
    let variable = ScopeVariable { name: "q".to_owned(), dims: vec!["x".to_owned()], dtype, attrs };
    Scope { variables: vec![variable], ..Scope::default() }
}

/// The values for which the flag is set, in their order.
fn set(attrs: serde_json::Value, dtype: Option<DType>, flag: &str, values: &[f64]) -> Vec<f64> {
    let checked = compile(&[&format!("flag(q, \"{flag}\")")], &scope(attrs, dtype)).unwrap();
    let mut out = vec![0.0; values.len()];
    Evaluator::new(&checked).eval(&[InputColumn::Values(values)], values.len(), &mut [&mut out]).unwrap();
    assert!(values.iter().zip(&out).all(|(value, flag)| value.is_nan() == flag.is_nan()));
    values.iter().zip(out).filter(|(_, flag)| *flag == 1.0).map(|(value, _)| *value).collect()
}

// The three examples of CF 1.10, section 3.5 (3.3 to 3.5).

#[test]
fn values_alone_are_codes() {
    let attrs = json!({
        "flag_values": [0, 1, 2],
        "flag_meanings": "quality_good sensor_nonfunctional outside_valid_range",
    });
    let all = [0.0, 1.0, 2.0, 3.0, f64::NAN];
    assert_eq!(set(attrs.clone(), None, "quality_good", &all), [0.0]);
    assert_eq!(set(attrs, None, "outside_valid_range", &all), [2.0]);
}

#[test]
fn masks_alone_are_bits() {
    let attrs = json!({
        "flag_masks": [1, 2, 4, 8, 16, 32],
        "flag_meanings": "low_battery processor_fault memory_fault disk_fault software_fault maintenance_required",
    });
    let all = [0.0, 1.0, 4.0, 5.0, 12.0, 63.0, f64::NAN];
    assert_eq!(set(attrs, None, "memory_fault", &all), [4.0, 5.0, 12.0, 63.0]);
    let wide = json!({"flag_masks": [6], "flag_meanings": "either"});
    assert_eq!(set(wide, None, "either", &[1.0, 2.0, 4.0, 6.0, 8.0]), [2.0, 4.0, 6.0], "any bit of the mask");
}

#[test]
fn masks_with_values_are_fields_of_bits() {
    let attrs = json!({
        "flag_masks": [1, 2, 12, 12, 12],
        "flag_values": [1, 2, 4, 8, 12],
        "flag_meanings": "low_battery hardware_fault offline_mode calibration_mode maintenance_mode",
    });
    let all = [0.0, 1.0, 3.0, 4.0, 8.0, 12.0, 13.0];
    assert_eq!(set(attrs.clone(), None, "offline_mode", &all), [4.0]);
    assert_eq!(set(attrs.clone(), None, "maintenance_mode", &all), [12.0, 13.0]);
    assert_eq!(set(attrs, None, "low_battery", &all), [1.0, 3.0, 13.0]);
}

#[test]
fn the_highest_bit_is_found_whatever_the_signs_of_data_and_attributes() {
    let bits: Vec<i64> = (0..31).map(|n| 1 << n).chain([-2147483648]).collect();
    let names: Vec<String> = (0..31).map(|n| format!("b{n}")).chain(["land".to_owned()]).collect();
    let signed = json!({"flag_masks": bits, "flag_meanings": names.join(" ")});
    let unsigned = json!({"flag_masks": [2147483648u32, 1], "flag_meanings": "land b0"});
    let data = [0.0, 1.0, 2147483647.0, 2147483648.0, 4160749568.0, -2147483648.0, -1.0];
    for attrs in [signed, unsigned] {
        for dtype in [None, Some(DType::Float64), Some(DType::UInt32), Some(DType::Int32)] {
            let land = set(attrs.clone(), dtype, "land", &data);
            assert_eq!(land, [2147483648.0, 4160749568.0, -2147483648.0, -1.0], "{attrs} {dtype:?}");
            assert_eq!(set(attrs.clone(), dtype, "b0", &data), [1.0, 2147483647.0, -1.0], "{attrs} {dtype:?}");
        }
    }
}

#[test]
fn codes_of_bytes_match_with_either_sign() {
    let attrs = json!({"flag_values": [0, -1], "flag_meanings": "no yes"});
    assert_eq!(set(attrs.clone(), Some(DType::UInt8), "yes", &[0.0, 1.0, 255.0]), [255.0]);
    assert_eq!(set(attrs.clone(), Some(DType::Int8), "yes", &[0.0, 1.0, -1.0]), [-1.0]);
    assert_eq!(set(attrs, Some(DType::Int16), "yes", &[0.0, 255.0, -1.0]), [-1.0], "255 is another code of 16 bits");
    let attrs = json!({"flag_values": [0, 200], "flag_meanings": "no yes"});
    assert_eq!(set(attrs.clone(), Some(DType::UInt8), "yes", &[0.0, 200.0]), [200.0]);
    assert_eq!(set(attrs, Some(DType::Int8), "yes", &[0.0, -56.0]), [-56.0]);
    let fields = json!({"flag_masks": [-64, -64], "flag_values": [-128, 64], "flag_meanings": "two one"});
    assert_eq!(set(fields.clone(), Some(DType::UInt8), "two", &[64.0, 128.0, 130.0, 192.0]), [128.0, 130.0]);
    assert_eq!(set(fields, Some(DType::UInt8), "one", &[64.0, 128.0, 130.0, 192.0]), [64.0]);
}

#[test]
fn sixty_four_bits_are_all_tested() {
    let attrs = json!({"flag_masks": [1u64 << 63, 2], "flag_meanings": "top low"});
    for dtype in [None, Some(DType::UInt64), Some(DType::Int64)] {
        assert_eq!(
            set(attrs.clone(), dtype, "top", &[0.0, 9223372036854775808.0, -2.0]),
            [9223372036854775808.0, -2.0]
        );
    }
}

#[test]
fn attributes_are_read_as_numbers_lists_or_text() {
    for masks in [json!([1, 2]), json!([1.0, 2.0]), json!("1b, 2b"), json!("1 2"), json!("0x1 0x2"), json!(["1", "2"])]
    {
        let attrs = json!({"flag_masks": masks, "flag_meanings": " snow\n cloud "});
        assert_eq!(set(attrs, None, "cloud", &[1.0, 2.0, 3.0]), [2.0, 3.0], "{masks}");
    }
    let one = json!({"flag_values": 3, "flag_meanings": "cloud"});
    assert_eq!(set(one, None, "cloud", &[1.0, 3.0]), [3.0]);
    let listed = json!({"flag_values": [3, 4], "flag_meanings": ["clear sky", "cloud"]});
    assert_eq!(set(listed.clone(), None, "clear sky", &[3.0, 4.0]), [3.0]);
    assert_eq!(set(listed, None, "CLOUD", &[3.0, 4.0]), [4.0], "the case does not matter where it is not needed");
}

#[test]
fn attributes_that_say_nothing_are_named() {
    let masks = |masks: serde_json::Value| json!({"flag_masks": masks, "flag_meanings": "a cloud"});
    for (attrs, message) in [
        (json!({}), "`q` has no attribute `flag_meanings`"),
        (json!({"flag_meanings": 3}), "`q` has no attribute `flag_meanings`"),
        (json!({"flag_meanings": "cloud"}), "`q` has `flag_meanings` but neither `flag_masks` nor `flag_values`"),
        (masks(json!([1, 2, 3])), "`q` has 3 `flag_masks` but 2 `flag_meanings`"),
        (masks(json!([1, 1.5])), "`q` has an attribute `flag_masks` that is not a list of integers"),
        (masks(json!([1, 1e300])), "`q` has an attribute `flag_masks` that is not a list of integers"),
        (masks(json!("1 x")), "`q` has an attribute `flag_masks` that is not a list of integers"),
        (masks(json!([1, {}])), "`q` has an attribute `flag_masks` that is not a list of integers"),
        (masks(json!([1, 0])), "`q` has the mask 0 for `cloud`, which no value can match"),
        (json!({"flag_values": [1, 2], "flag_meanings": "cloud cloud"}), "`q` has more than one flag `cloud`"),
    ] {
        let error = error("flag(q, \"cloud\")", &scope(attrs, None));
        assert_eq!(error.to_string().lines().next(), Some(format!("{message} (column 9)").as_str()));
        assert_eq!(error.hint().unwrap(), "`bit(x, n)` tests bit `n`, counted from 0");
    }
}

#[test]
fn an_unknown_flag_lists_those_that_exist() {
    let attrs = json!({"flag_masks": [1, 2], "flag_meanings": "cloud snow"});
    let error = error("1 + flag(q, clouds)", &scope(attrs, None));
    let shown = error.to_string();
    assert_eq!(shown.lines().next(), Some("`q` has no flag `clouds`; it has `cloud`, `snow` (column 13)"));
    assert_eq!(error.hint().unwrap(), "did you mean `cloud`?");
}

#[test]
fn flags_belong_to_variables() {
    let scope = scope(json!({"flag_masks": [1], "flag_meanings": "cloud"}), None);
    for formula in ["flag(q + 1, cloud)", "flag(3, cloud)"] {
        assert_eq!(error(formula, &scope).column(), 6, "{formula}");
    }
    let later = compile(&["p = q + 1", "flag(p, cloud)"], &scope).unwrap_err();
    assert!(later.to_string().starts_with("`flag(variable, \"name\")` needs a variable of the cube"));
    for formula in ["flag(q)", "flag()", "flag(q, cloud, 3)", "flag(q, cloud, q)"] {
        let shown = error(formula, &scope).to_string();
        assert!(shown.starts_with("`flag(variable, \"name\")` was given"), "{shown}");
    }
}
