//! Arguments, layouts and what is made of them.

use super::*;
use crate::store::{ByteRange, MemoryStore, Store};
use crate::write::{JournalHead, Place};
use serde_json::json;
use std::sync::Arc;

fn dims(list: &[&str]) -> IndexMap<String, Labels> {
    list.iter().map(|d| parse_dim(d).unwrap()).collect()
}

fn output(store: &Arc<dyn Store>, existing: Existing) -> Output {
    Output {
        place: Place::Store(Arc::clone(store)),
        group: String::new(),
        existing,
        inputs: Vec::new(),
        job: JournalHead::default(),
        zarr: ZarrVersion::V3,
        attrs: Attrs::new(),
    }
}

fn node(store: &Arc<dyn Store>, key: &str) -> Value {
    serde_json::from_slice(&store.get(key, ByteRange::Whole).unwrap().unwrap()).unwrap()
}

#[test]
fn a_dimension_is_a_length_or_labels() {
    let of = |text: &str| parse_dim(text).unwrap().1;
    assert_eq!(of("time=12"), Labels::Index(12));
    assert_eq!(of("band=red,nir"), Labels::Text(vec!["red".into(), "nir".into()]));
    assert_eq!(of("band=nir"), Labels::Text(vec!["nir".into()]));
    assert_eq!(of("year=2001,2002"), Labels::Integer(vec![2001, 2002]));
    assert_eq!(of("z=0.5,2"), Labels::Number(vec![0.5, 2.0]));
    assert!(matches!(of("time=2024-01-15,2024-02-15"), Labels::Time(_)));
    for bad in ["time", "=3", "band=a,,b", "time="] {
        assert!(parse_dim(bad).is_err(), "{bad}");
    }
}

#[test]
fn times_step_by_the_calendar() {
    let of = |text: &str, n| match parse_coord(text).unwrap().1.labels(n).unwrap() {
        Labels::Time(axis) => axis.nanos.iter().map(|n| (n / 1_000_000_000) as i64).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    // Python 3.11: int(datetime(2024, 1, 15, tzinfo=UTC).timestamp()) and so on.
    assert_eq!(of("time=2024-01-15:1month", 3), [1_705_276_800, 1_707_955_200, 1_710_460_800]);
    // 31 January, 29 February, 31 March 2024.
    assert_eq!(of("time=2024-01-31:1month", 3), [1_706_659_200, 1_709_164_800, 1_711_843_200]);
    assert_eq!(of("time=1999-12-31T18:00:6h", 2), [946_663_200, 946_684_800]);
    assert_eq!(of("time=1900-03-01:1year", 2), [-2_203_891_200, -2_172_355_200]);
    for bad in ["time=2024-02-30:1d", "time=2024-01-15:0d", "time=2024-01-15:1fortnight", "x=1:0", "x=a:b"] {
        assert!(parse_coord(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_coord("time=2024-01-15:9999year").unwrap().1.labels(99), None);
}

#[test]
fn values_are_exact_in_their_type_or_refused() {
    assert_eq!(parse_scalar("18446744073709551615", DType::UInt64), Ok(Scalar::UInt(u64::MAX)));
    assert_eq!(parse_scalar("-9999", DType::Int16), Ok(Scalar::Int(-9999)));
    assert!(matches!(parse_scalar("nan", DType::Float32), Ok(Scalar::Float(v)) if v.is_nan()));
    for (text, dtype) in [("65536", DType::UInt16), ("nan", DType::Int16), ("0.5", DType::UInt8), ("x", DType::Float32)]
    {
        assert!(parse_scalar(text, dtype).is_err(), "{text}");
    }
}

#[test]
fn chunks_hold_bands_whole_and_space_in_even_squares() {
    let of = |dims: &[&str], shape: &[u64], size| default_chunks(dims, shape, size);
    assert_eq!(of(&["time", "band", "y", "x"], &[12, 4, 1000, 1000], 2), [1, 4, 500, 500]);
    assert_eq!(of(&["time", "lat", "lon"], &[8760, 721, 1440], 4), [1, 721, 720]);
    assert_eq!(of(&["time", "y", "x"], &[12, 30, 30], 2), [1, 30, 30]);
    assert_eq!(of(&["y", "x"], &[10980, 10980], 2), [999, 999]);
    assert_eq!(of(&["band", "y", "x"], &[1000, 5000, 5000], 8), [63, 64, 64]);
    assert_eq!(of(&["time"], &[1_000_000], 8), [250_000]);
    assert_eq!(of(&["y", "x"], &[3, 10_000_000], 4), [3, 172_414]);
    assert_eq!(of(&[], &[], 4), [0u64; 0]);
    assert_eq!(of(&["y", "x"], &[0, 5], 4), [1, 5]);
}

#[test]
fn chunks_are_never_too_large_nor_empty() {
    use proptest::prelude::*;
    proptest!(|(shape in prop::collection::vec(0u64..u64::MAX, 0..6), size in 1usize..9)| {
        let names = ["time", "band", "z", "w", "y", "x"];
        let chunks = default_chunks(&names[..shape.len()], &shape, size);
        prop_assert!(chunks.iter().all(|&c| c > 0));
        let bytes = chunks.iter().fold(size as u128, |n, &c| n * u128::from(c));
        prop_assert!(bytes <= 2 << 20, "{chunks:?}");
    });
}

#[test]
fn shards_hold_whole_chunks_or_the_whole_axis() {
    let mut spec = CreateSpec::new("data", dims(&["time=12", "y=1000", "x=1000"]), DType::UInt16);
    spec.chunks = parse_sizes("time=1,y=300,x=250").unwrap();
    spec.shards = Some(parse_sizes("y=1000,x=500").unwrap());
    assert_eq!(
        spec.layout().unwrap(),
        Layout { shape: vec![12, 1000, 1000], chunks: vec![1, 300, 250], shards: Some(vec![1, 1200, 500]) }
    );
    spec.shards = Some(parse_sizes("y=500").unwrap());
    let e = spec.layout().unwrap_err().to_string();
    assert_eq!(e, "a shard of 500 cells along `y` is no multiple of its chunk of 300; 600 is");
    spec.shards = Some(parse_sizes("z=5").unwrap());
    let e = spec.layout().unwrap_err().to_string();
    assert_eq!(e, "`--shard` names `z`; the dimensions are time, y, x");
}

#[test]
fn an_empty_cube_has_coordinates_crs_and_no_chunks() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let all = dims(&["time=2", "band=red,nir", "y=4", "x=4"]);
    let mut spec = CreateSpec::new("data", all, DType::UInt16);
    for text in ["time=2024-01-15:1month", "x=600015:30", "y=4200000:-30"] {
        let (name, coord) = parse_coord(text).unwrap();
        spec.coords.insert(name, coord);
    }
    spec.missing = Some(Scalar::Int(65535));
    spec.crs = Some(CrsAttrs {
        mapping: json!({"crs_wkt": "PROJCRS[…]"}).as_object().unwrap().clone(),
        x: json!({"standard_name": "projection_x_coordinate", "units": "m"}).as_object().unwrap().clone(),
        y: Attrs::new(),
    });
    spec.attrs = json!({"title": "t"}).as_object().unwrap().clone();
    create(&spec, output(&store, Existing::Refuse)).unwrap();
    let data = node(&store, "data/zarr.json");
    assert_eq!(data["fill_value"], 65535);
    assert_eq!(
        data["attributes"],
        json!({"grid_mapping": "spatial_ref", "coordinates": "spatial_ref", "_FillValue": 65535})
    );
    assert_eq!(data["dimension_names"], json!(["time", "band", "y", "x"]));
    assert!(store.list_dir("data").unwrap().len() == 1);
    let mapping = node(&store, "spatial_ref/zarr.json");
    assert_eq!(mapping["attributes"]["GeoTransform"], "600000 30 0 4200015 0 -30");
    assert_eq!(
        node(&store, "time/zarr.json")["attributes"],
        json!({
            "units": "days since 1970-01-01", "calendar": "proleptic_gregorian", "standard_name": "time", "axis": "T"
        })
    );
    assert_eq!(node(&store, "x/zarr.json")["attributes"]["units"], "m");
    assert_eq!(node(&store, "zarr.json")["attributes"], json!({"title": "t", "Conventions": "CF-1.11"}));
    // A second variable shares what is there.
    let mut second = CreateSpec { variable: "quality".into(), ..spec.clone() };
    create(&second, output(&store, Existing::Extend)).unwrap();
    second.variable = "third".into();
    second.dims["y"] = Labels::Index(5);
    let e = create(&second, output(&store, Existing::Extend)).unwrap_err();
    assert_eq!(e.to_string(), "`y` has 5 cells and 4 labels");
}
