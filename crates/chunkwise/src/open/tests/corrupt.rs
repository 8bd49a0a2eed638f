//! Metadata that were damaged at random: an answer or an error, never a panic.

use super::*;
use proptest::prelude::*;

/// A value of the kinds that damage metadata most.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0), Just(u64::MAX), Just(1 << 40), 0u64..9].prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just(""),
            Just("NaN"),
            Just("é"),
            Just("<U99999999"),
            Just("../.."),
            Just("bytes"),
            Just("0xé"),
            Just("F"),
            Just("sharding_indexed"),
            Just("rectilinear"),
            Just("x"),
            Just("<M8[é]"),
            Just("|O"),
            Just("int8"),
        ]
        .prop_map(Value::from),
        proptest::collection::vec(any::<u64>(), 0..4).prop_map(Value::from),
        Just(json!([[[u64::MAX, u64::MAX]]])),
        Just(json!({})),
    ]
}

/// All places within a document.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
    all.push(at.to_owned());
}

fn documents() -> Vec<(&'static str, &'static str, Value)> {
    let sharding = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 3], "codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}, {"name": "bytes", "configuration": {"endian": "big"}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}}]);
    let attrs = json!({"units": "days since 2000-01-01", "calendar": "360_day", "scale_factor": 0.5, "_FillValue": 3,
        "_Unsigned": "true", "valid_range": [1, 2], "coordinates": "a b", "bounds": "c", "grid_mapping": "d"});
    let listed = json!({"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[[2, 2]], [9]]}});
    let base = v3_array(&[4, 9], &[4, 9], &["y", "x"]);
    let strings = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}});
    let held =
        json!({"kind": "inline", "metadata": {"x": with(v3_array(&[4], &[3], &["x"]), "attributes", attrs.clone())}});
    let filters = json!([{"id": "delta", "dtype": "<i2", "astype": "<i4"}]);
    let zarray = with(with(v2_array(&[4, 6], &[2, 3], "<i2"), "filters", filters), "order", json!("F"));
    let zarray = with(zarray, "compressor", json!({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": -1}));
    let flat = json!({"metadata": {".zgroup": {"zarr_format": 2}, "x/.zarray": zarray, "x/.zattrs": {"_ARRAY_DIMENSIONS": ["y", "x"]}}});
    vec![
        ("zarr.json", "", with(with(base.clone(), "codecs", sharding), "attributes", attrs.clone())),
        ("zarr.json", "", with(with(base.clone(), "chunk_grid", listed), "attributes", attrs)),
        ("zarr.json", "", with(base, "data_type", strings)),
        ("zarr.json", "", with(v3_group(), "consolidated_metadata", held)),
        (".zarray", "", zarray.clone()),
        (".zarray", "", with(v2_array(&[3], &[2], "<M8[10ns]"), "fill_value", json!(0))),
        (".zmetadata", "", flat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn changed_metadata_never_panic(which in 0usize..7, spots in proptest::collection::vec((any::<prop::sample::Index>(), odd()), 1..4)) {
        let (key, path, mut document) = documents().swap_remove(which);
        for (spot, value) in spots {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            if let Some(place) = document.pointer_mut(spot.get(all.as_slice()).as_str()) {
                *place = value;
            }
        }
        let made = store(&[(key, document)]);
        for chunk in ["c/0/0", "c/0", "0.0", "0", "x/0.0", "x/c/0", "c/1/1"] {
            made.put(chunk, &[7; 72]).unwrap();
        }
        use_all(&made, path);
    }

    #[test]
    fn bytes_that_were_changed_never_panic(which in 0usize..7, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let (key, path, document) = documents().swap_remove(which);
        let mut bytes = document.to_string().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let made = store(&[]);
        made.put(key, &bytes).unwrap();
        use_all(&made, path);
    }
}

fn use_all(made: &Shared, path: &str) {
    let Ok(cube) = opened(made, path) else { return };
    for variable in cube.cube.variables.values() {
        variable.cells();
        let _ = cube.read_all(variable);
        let _ = cube.labels_of(variable);
        serde_json::from_str::<Variable>(&serde_json::to_string(variable).unwrap()).unwrap();
    }
    for dim in cube.cube.dims.keys() {
        let _ = cube.labels(dim);
    }
}
