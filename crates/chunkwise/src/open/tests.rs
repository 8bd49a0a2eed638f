use super::*;
use crate::store::{Counted, MemoryStore};
use chunkwise_core::cube::{ChunkSizes, Labels, Role};
use serde_json::json;

mod corrupt;
mod real;

fn v3_array(shape: &[u64], chunks: &[u64], dims: &[&str]) -> Value {
    json!({
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "int16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": -1, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {}, "dimension_names": dims,
    })
}

fn v2_array(shape: &[u64], chunks: &[u64], dtype: &str) -> Value {
    json!({
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "fill_value": null, "order": "C",
        "filters": null, "compressor": null,
    })
}

fn v3_group() -> Value {
    json!({"zarr_format": 3, "node_type": "group", "attributes": {"title": "made"}})
}

fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

type Shared = Arc<Counted<MemoryStore>>;

fn store(documents: &[(&str, Value)]) -> Shared {
    let store = MemoryStore::new();
    for (key, document) in documents {
        store.put(key, document.to_string().as_bytes()).unwrap();
    }
    Arc::new(Counted::new(store))
}

fn opened(store: &Shared, path: &str) -> Result<OpenCube, OpenError> {
    open_in(store.clone(), path, "made.zarr", &DecodeOptions::default())
}

fn alone(document: Value) -> Variable {
    let cube = opened(&store(&[("zarr.json", v3_group()), ("a/zarr.json", document)]), "").unwrap().cube;
    cube.variables["a"].clone()
}

fn alone_v2(zarray: Value) -> Variable {
    let group = json!({"zarr_format": 2});
    let cube = opened(&store(&[(".zgroup", group), ("a/.zarray", zarray)]), "").unwrap().cube;
    cube.variables["a"].clone()
}

#[test]
fn consolidated_metadata_cost_one_request_in_v3_and_two_in_v2() {
    let array = v3_array(&[4, 6], &[2, 3], &["y", "x"]);
    let held = json!({"kind": "inline", "must_understand": false, "metadata": {
        "b": array, "a": v3_array(&[6], &[6], &["x"]), "sub": v3_group(), "sub/deep": array,
    }});
    let made = store(&[("zarr.json", with(v3_group(), "consolidated_metadata", held))]);
    let cube = opened(&made, "").unwrap();
    assert_eq!((made.gets(), made.lists()), (1, 0));
    assert_eq!(cube.cube.variables.keys().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(cube.groups, ["sub"]);

    let held = json!({"zarr_consolidated_format": 1, "metadata": {
        ".zgroup": {"zarr_format": 2}, ".zattrs": {"title": "made"},
        "a/.zarray": v2_array(&[4, 6], &[2, 3], "<i2"), "a/.zattrs": {"_ARRAY_DIMENSIONS": ["y", "x"], "units": "K"},
        "sub/.zgroup": {"zarr_format": 2}, "sub/deep/.zarray": v2_array(&[1], &[1], "<i2"),
    }});
    let made = store(&[(".zmetadata", held)]);
    let cube = opened(&made, "").unwrap();
    assert_eq!((made.gets(), made.lists()), (2, 0));
    assert_eq!(cube.groups, ["sub"]);
    let a = &cube.cube.variables["a"];
    assert_eq!((a.dims.as_slice(), a.units()), (["y".to_owned(), "x".to_owned()].as_slice(), Some("K")));
    assert!(!a.attrs.contains_key("_ARRAY_DIMENSIONS"));
    assert_eq!(cube.cube.attrs["title"], "made");
}

#[test]
fn without_consolidated_metadata_each_array_costs_one_request_in_v3_and_two_in_v2() {
    let made = store(&[
        ("zarr.json", v3_group()),
        ("b/zarr.json", v3_array(&[4], &[2], &["x"])),
        ("a/zarr.json", v3_array(&[4], &[2], &["x"])),
    ]);
    let cube = opened(&made, "").unwrap().cube;
    assert_eq!((made.gets(), made.lists()), (3, 1));
    assert_eq!(cube.variables.keys().collect::<Vec<_>>(), ["a", "b"]);

    let made = store(&[
        (".zgroup", json!({"zarr_format": 2})),
        ("a/.zarray", v2_array(&[4], &[2], "<f4")),
        ("a/.zattrs", json!({"_ARRAY_DIMENSIONS": ["x"]})),
    ]);
    opened(&made, "").unwrap();
    assert_eq!(made.lists(), 1);
    // zarr.json, .zmetadata, .zgroup, .zattrs of the group; .zarray and .zattrs of the array.
    assert_eq!(made.gets(), 6);
}

#[test]
fn an_array_is_opened_by_itself_in_a_group_and_at_the_root() {
    let made = store(&[("zarr.json", v3_group()), ("g/a/zarr.json", v3_array(&[4], &[2], &["x"]))]);
    let cube = opened(&made, "g/a").unwrap().cube;
    let a = &cube.variables["a"];
    assert_eq!((a.role, a.path.as_str(), cube.dims["x"]), (Role::Data, "g/a", 4));

    let made = store(&[(".zarray", v2_array(&[4], &[2], ">u2"))]);
    let cube = opened(&made, "").unwrap().cube;
    assert_eq!(cube.variables["made"].dims, ["dim_0"]);
}

#[test]
fn what_is_no_zarr_says_what_is_there() {
    let made = store(&[("readme.txt", json!(1)), ("scenes/a", json!(1))]);
    let error = opened(&made, "").unwrap_err().to_string();
    assert_eq!(error, "`made.zarr` is no Zarr group or array; it holds `readme.txt`, `scenes/`");
    let error = opened(&made, "nowhere").unwrap_err().to_string();
    assert!(error.ends_with("it holds nothing, and beside it are `readme.txt`, `scenes/`"), "{error}");
}

#[test]
fn an_unfinished_job_is_no_cube_until_its_root_is_written() {
    let made = store(&[(JOURNAL, json!({})), ("a/zarr.json", v3_array(&[4], &[2], &["x"]))]);
    assert!(matches!(opened(&made, "").unwrap_err(), OpenError::Unfinished { .. }));
    made.put("zarr.json", v3_group().to_string().as_bytes()).unwrap();
    assert!(opened(&made, "").is_ok());
}

#[test]
fn a_variable_whose_lengths_contradict_a_coordinate_is_not_read_with_it() {
    let made = store(&[
        ("zarr.json", v3_group()),
        ("a/zarr.json", v3_array(&[4], &[2], &["x"])),
        ("b/zarr.json", v3_array(&[5], &[2], &["x"])),
        ("x/zarr.json", v3_array(&[5], &[2], &["x"])),
    ]);
    let cube = opened(&made, "").unwrap().cube;
    assert_eq!(cube.dims["x"], 5);
    assert_eq!((&cube.variables["b"].problem, &cube.variables["x"].problem), (&None, &None));
    let problem = cube.variables["a"].problem.clone().unwrap();
    assert!(problem.starts_with("its dimension `x` has length 4, that of `x` has 5"), "{problem}");
    assert_eq!(opened(&made, "a").unwrap().cube.variables["a"].problem, None);
}

#[test]
fn axes_without_a_name_that_differ_in_length_are_other_dimensions() {
    let unnamed = |n| with(v3_array(&[n, 3], &[2, 3], &[]), "dimension_names", Value::Null);
    let made = store(&[("zarr.json", v3_group()), ("a/zarr.json", unnamed(4)), ("b/zarr.json", unnamed(5))]);
    let cube = opened(&made, "").unwrap().cube;
    assert_eq!(cube.variables["a"].dims, ["dim_0", "dim_1"]);
    assert_eq!(cube.variables["b"].dims, ["b_dim_0", "dim_1"]);
    assert_eq!(["dim_0", "dim_1", "b_dim_0"].map(|dim| cube.dims[dim]), [4, 3, 5]);
    assert_eq!(cube.variables["b"].problem, None);
}

#[test]
fn roles_follow_the_attributes() {
    let attrs = |document, attrs| with(document, "attributes", attrs);
    let data = v3_array(&[4, 6], &[2, 3], &["y", "x"]);
    let marks = json!({"coordinates": "lat height", "grid_mapping": "crs: x y", "ancillary_variables": "quality"});
    let made = store(&[
        ("zarr.json", v3_group()),
        ("t2m/zarr.json", attrs(data.clone(), marks)),
        ("quality/zarr.json", data.clone()),
        ("lat/zarr.json", data),
        ("height/zarr.json", v3_array(&[], &[], &[])),
        ("crs/zarr.json", v3_array(&[], &[], &[])),
        ("spatial_ref/zarr.json", attrs(v3_array(&[], &[], &[]), json!({"crs_wkt": "PROJCRS[]"}))),
        ("x/zarr.json", attrs(v3_array(&[6], &[6], &["x"]), json!({"bounds": "x_bnds"}))),
        ("x_bnds/zarr.json", v3_array(&[6, 2], &[6, 2], &["x", "bnds"])),
        (
            "name/zarr.json",
            with(with(v3_array(&[4], &[4], &["y"]), "data_type", json!("string")), "fill_value", json!("")),
        ),
    ]);
    let cube = opened(&made, "").unwrap().cube;
    let role = |name: &str| cube.variables[name].role;
    assert_eq!([role("t2m"), role("quality")], [Role::Data; 2]);
    assert_eq!([role("lat"), role("height"), role("name")], [Role::Auxiliary; 3]);
    assert_eq!([role("crs"), role("spatial_ref")], [Role::GridMapping; 2]);
    assert_eq!([role("x"), role("x_bnds")], [Role::Dimension, Role::Bounds]);
}

#[test]
fn a_strange_variable_is_kept_and_refused_by_name_when_used() {
    let base = || v3_array(&[4], &[2], &["x"]);
    let cases = [
        (with(base(), "data_type", json!("complex64")), "data type `complex64`"),
        (with(base(), "data_type", json!({"name": "struct"})), "data type `struct`"),
        (with(base(), "codecs", json!([{"name": "bytes"}, {"name": "wavelet"}])), "codec `wavelet`"),
        (with(base(), "chunk_grid", json!({"name": "hexagons"})), "chunk grid `hexagons`"),
        (with(base(), "storage_transformers", json!([{"name": "mirror"}])), "storage transformer `mirror`"),
        (with(base(), "bold_idea", json!({"must_understand": true})), "extension `bold_idea`"),
        (with(base(), "shape", json!([4, -1])), "`shape` is `[4,-1]`"),
        (with(base(), "dimension_names", json!(["x", "y"])), "expected 1 names"),
        (with(base(), "fill_value", json!(40000)), "fill value `40000` is no `int16`"),
        (with(base(), "attributes", json!({"scale_factor": "much"})), "`scale_factor`"),
        (v3_array(&[4], &[0], &["x"]), "length 0 along `x`"),
        (v3_array(&[4], &[2, 2], &["x"]), "2 dimensions, the array has 1"),
        (v3_array(&[4, 4], &[2, 2], &["x", "x"]), "two of its dimensions are named `x`"),
        (v3_array(&[u64::MAX; 3], &[1; 3], &["x", "y", "z"]), "more cells than can be counted"),
        (v3_array(&[1], &[u64::MAX], &["x"]), "more cells than any memory"),
    ];
    for (document, said) in cases {
        let made = store(&[("zarr.json", v3_group()), ("a/zarr.json", document)]);
        let cube = opened(&made, "").unwrap();
        let a = &cube.cube.variables["a"];
        let problem = a.problem.as_deref().unwrap_or("none");
        assert!(problem.contains(said), "{problem}");
        let error = cube.read_all(a).unwrap_err().to_string();
        assert!(error.starts_with("`a` cannot be read: ") && error.contains(said), "{error}");
        a.cells();
    }
    let may = alone(with(base(), "bold_idea", json!({"must_understand": false})));
    assert_eq!(may.problem, None);
}

#[test]
fn a_document_that_is_no_json_spoils_its_own_variable_only() {
    let made = store(&[("zarr.json", v3_group()), ("a/zarr.json", v3_array(&[4], &[2], &["x"]))]);
    made.put("b/zarr.json", b"{not json").unwrap();
    let cube = opened(&made, "").unwrap().cube;
    assert!(cube.variables["a"].problem.is_none());
    assert!(cube.variables["b"].problem.as_deref().unwrap().contains("b/zarr.json"));
    made.put("zarr.json", b"[]").unwrap();
    let error = opened(&made, "").unwrap_err().to_string();
    assert!(error.contains("expected a JSON object, found a list"), "{error}");
}

#[test]
fn metadata_that_are_nested_or_large_beyond_reason_are_refused() {
    let made = store(&[("zarr.json", v3_group())]);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    made.put("a/zarr.json", deep.as_bytes()).unwrap();
    made.put("b/zarr.json", &vec![b' '; (16 << 20) + 1]).unwrap();
    let cube = opened(&made, "").unwrap().cube;
    assert!(cube.variables["a"].problem.as_deref().unwrap().contains("recursion limit"));
    assert!(cube.variables["b"].problem.as_deref().unwrap().contains("larger than 16 MiB"));
}

#[test]
fn nan_as_python_writes_it_is_understood() {
    let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN"}"#;
    let read = json::parse(text).unwrap();
    assert_eq!(read, json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" NaN"}));
    assert!(json::parse(br#"{"a": NaNcy}"#).is_err());
    assert!(json::parse(b"{\"a\\").is_err());
}

#[test]
fn v2_codecs_take_the_form_of_v3() {
    let base = || v2_array(&[4, 6], &[2, 3], ">f8");
    let fixed = json!([{"id": "fixedscaleoffset", "scale": 10, "offset": 0, "dtype": ">f8", "astype": "<i2"}]);
    let blosc = json!({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": -1, "blocksize": 0});
    let cases = [
        (base(), "bytes(big)"),
        (with(base(), "order", json!("F")), "transpose([1,0]), bytes(big)"),
        (with(base(), "compressor", json!({"id": "zlib", "level": 3})), "bytes(big), numcodecs.zlib(3)"),
        (with(base(), "compressor", blosc), "bytes(big), blosc(lz4 5 shuffle)"),
        (with(base(), "filters", fixed), "numcodecs.fixedscaleoffset, bytes"),
        (with(base(), "filters", json!([{"id": "shuffle", "elementsize": 8}])), "bytes(big), numcodecs.shuffle"),
        (with(v2_array(&[4], &[4], "|O"), "filters", json!([{"id": "vlen-utf8"}])), "vlen-utf8"),
    ];
    for (document, codecs) in cases {
        let a = alone_v2(document);
        assert_eq!((a.codecs.as_str(), a.problem), (codecs, None));
    }
}

#[test]
fn types_are_known_by_their_names_in_both_formats() {
    let v2 = [
        ("|b1", "bool"),
        ("<f2", "float16"),
        (">u8", "uint64"),
        ("<M8[ns]", "datetime64[ns]"),
        ("<m8[10s]", "timedelta64[10s]"),
        ("<U4", "<U4"),
        ("|S3", "|S3"),
    ];
    for (stored, name) in v2 {
        let a = alone_v2(v2_array(&[4], &[4], stored));
        assert_eq!((a.dtype.name().as_str(), a.problem), (name, None));
    }
    for stored in ["<c8", "|V8", "<f16", "", "<", "é", "<i99999999999999999999", "<M8[parsec]"] {
        assert!(alone_v2(v2_array(&[4], &[4], stored)).problem.is_some(), "{stored}");
    }
    let v3 = [
        (json!("uint8"), json!(0), "uint8"),
        (
            json!({"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}}),
            json!("NaT"),
            "datetime64[s]",
        ),
        (json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}), json!(""), "<U3"),
        (json!({"name": "null_terminated_bytes", "configuration": {"length_bytes": 5}}), json!(""), "|S5"),
    ];
    for (stored, fill, name) in v3 {
        let a = alone(with(with(v3_array(&[4], &[4], &["x"]), "data_type", stored), "fill_value", fill));
        assert_eq!((a.dtype.name().as_str(), a.problem), (name, None));
    }
    let text = with(with(v3_array(&[4], &[4], &["x"]), "data_type", json!("string")), "fill_value", json!(""));
    let a = alone(with(text, "codecs", json!(["vlen-utf8"])));
    assert_eq!((a.dtype.name().as_str(), a.codecs.as_str(), a.problem), ("string", "vlen-utf8", None));
}

#[test]
fn fill_values_are_exact() {
    use chunkwise_core::dtype::Scalar;
    let fill = |dtype: &str, value: Value| {
        alone(with(with(v3_array(&[4], &[4], &["x"]), "data_type", json!(dtype)), "fill_value", value)).fill_value
    };
    assert_eq!(fill("uint64", json!(u64::MAX)), Some(Scalar::UInt(u64::MAX)));
    assert_eq!(fill("int64", json!(i64::MIN)), Some(Scalar::Int(i64::MIN)));
    assert_eq!(fill("float32", json!("0x3fc00000")), Some(Scalar::Float(1.5)));
    assert_eq!(fill("float16", json!("-Infinity")), Some(Scalar::Float(f64::NEG_INFINITY)));
    assert_eq!(fill("bool", json!(true)), Some(Scalar::Int(1)));
    assert!(fill("float64", json!("NaN")).unwrap().to_f64().is_nan());
}

#[test]
fn shards_and_listed_chunks_are_taken_apart() {
    let sharding = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 3], "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "zstd", "configuration": {"level": 3}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}}]);
    let a = alone(with(v3_array(&[8, 9], &[4, 9], &["y", "x"]), "codecs", sharding.clone()));
    assert_eq!(a.chunks, [ChunkSizes::Regular(2), ChunkSizes::Regular(3)]);
    assert_eq!(
        (a.shards, a.codecs.as_str(), a.problem),
        (Some(vec![ChunkSizes::Regular(4), ChunkSizes::Regular(9)]), "bytes(big), zstd(3)", None)
    );
    let a = alone(with(v3_array(&[8, 9], &[5, 9], &["y", "x"]), "codecs", sharding));
    assert!(a.problem.unwrap().contains("not made of whole chunks"));

    let grid =
        |shapes: Value| json!({"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": shapes}});
    let a =
        alone(with(v3_array(&[64, 48], &[1, 1], &["y", "x"]), "chunk_grid", grid(json!([[10, 20, 34], [[24, 2]]]))));
    assert_eq!(a.chunks, [ChunkSizes::Listed(vec![10, 20, 34]), ChunkSizes::Listed(vec![24, 24])]);
    for bad in [json!([[10], [48]]), json!([[64], [[1, u64::MAX]]]), json!([[64], [[0, 9]]]), json!([[64]]), json!("x")]
    {
        let a = alone(with(v3_array(&[64, 48], &[1, 1], &["y", "x"]), "chunk_grid", grid(bad)));
        assert!(a.problem.is_some());
    }
}

#[test]
fn labels_are_read_across_chunks_with_fill_values_where_chunks_are_absent() {
    let made = store(&[
        ("zarr.json", v3_group()),
        ("x/zarr.json", v3_array(&[5], &[2], &["x"])),
        ("a/zarr.json", v3_array(&[3, 5], &[2, 2], &["y", "x"])),
    ]);
    made.put("x/c/0", &[1, 0, 2, 0]).unwrap();
    made.put("x/c/2", &[9, 0, 77, 0]).unwrap();
    made.put("a/c/1/2", &[8, 0, 77, 0, 77, 0, 77, 0]).unwrap();
    let cube = opened(&made, "").unwrap();
    assert_eq!(*cube.labels("x").unwrap(), Labels::Integer(vec![1, 2, -1, -1, 9]));
    assert_eq!(*cube.labels("y").unwrap(), Labels::Index(3));
    let error = cube.labels("t").unwrap_err().to_string();
    assert_eq!(error, "`made.zarr` has no dimension `t`; it has `y`, `x`");
    let mut all = vec![-1; 15];
    all[14] = 8;
    assert_eq!(cube.read_all(&cube.cube.variables["a"]).unwrap().integers().unwrap(), all);
}

#[test]
fn an_array_too_large_to_be_read_whole_is_refused_before_it_is_read() {
    for (shape, chunk) in [(1 << 30, 10), (10, 1 << 30)] {
        let made = store(&[("zarr.json", v3_group()), ("x/zarr.json", v3_array(&[shape], &[chunk], &["x"]))]);
        let error = opened(&made, "").unwrap().labels("x").unwrap_err();
        assert!(matches!(error, OpenError::TooManyCells { .. }), "{error}");
    }
}

#[test]
fn a_damaged_coordinate_is_an_error_and_never_the_fill_value() {
    let made = store(&[("zarr.json", v3_group()), ("x/zarr.json", v3_array(&[5], &[2], &["x"]))]);
    made.put("x/c/1", &[1, 0, 2]).unwrap();
    let error = opened(&made, "").unwrap().labels("x").unwrap_err();
    assert!(matches!(error, OpenError::Chunk { .. }), "{error}");
}

#[test]
fn raw_reading_leaves_coordinates_decoded() {
    let packed = json!({"scale_factor": 0.5, "_FillValue": -9});
    let made = store(&[
        ("zarr.json", v3_group()),
        ("x/zarr.json", with(v3_array(&[2], &[2], &["x"]), "attributes", packed.clone())),
        ("a/zarr.json", with(v3_array(&[2], &[2], &["x"]), "attributes", packed)),
    ]);
    made.put("x/c/0", &[4, 0, 5, 0]).unwrap();
    let raw = DecodeOptions { raw: true, ..DecodeOptions::default() };
    let cube = open_in(made.clone(), "", "made.zarr", &raw).unwrap();
    assert!(cube.cube.variables["a"].packing.is_none());
    assert_eq!(*cube.labels("x").unwrap(), Labels::Number(vec![2.0, 2.5]));
}
