//! Metadata against what zarr-python 3.4 writes, and chunks.

use super::*;
use serde_json::json;

fn spec(dtype: DType, shape: &[u64], chunks: &[u64], zarr: ZarrVersion) -> ArraySpec {
    ArraySpec {
        path: "v".into(),
        dims: (0..shape.len()).map(|i| format!("d{i}")).collect(),
        shape: shape.to_vec(),
        dtype: DataType::Number(dtype),
        chunks: chunks.to_vec(),
        shards: None,
        codec: "zstd:1".parse().unwrap(),
        fill_value: None,
        missing: None,
        attrs: Attrs::new(),
        zarr,
    }
}

#[test]
fn v3_metadata_name_dimensions_and_hold_the_mark() {
    let spec = ArraySpec {
        fill_value: Some(Scalar::Float(f64::NAN)),
        missing: Some(Scalar::Float(f64::NAN)),
        codec: "blosc".parse().unwrap(),
        ..spec(DType::Float32, &[5, 7], &[2, 3], ZarrVersion::V3)
    };
    let [(key, node)] = ArrayWriter::new(spec).unwrap().metadata().try_into().unwrap();
    assert_eq!(key, "v/zarr.json");
    assert_eq!(
        node,
        json!({
            "zarr_format": 3, "node_type": "array", "shape": [5, 7], "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN",
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration":
                    {"typesize": 4, "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}}
            ],
            "attributes": {"_FillValue": "AAAAAAAA+H8="},
            "dimension_names": ["d0", "d1"], "storage_transformers": []
        })
    );
}

#[test]
fn v2_metadata_hold_the_mark_as_fill_value_and_null_without_one() {
    let marked = ArraySpec { missing: Some(Scalar::Int(65535)), ..spec(DType::UInt16, &[5], &[2], ZarrVersion::V2) };
    let objects = ArrayWriter::new(marked).unwrap().metadata();
    assert_eq!(
        objects,
        [
            // The attributes first: an array that can be opened has its own.
            ("v/.zattrs".to_owned(), json!({"_ARRAY_DIMENSIONS": ["d0"]})),
            (
                "v/.zarray".to_owned(),
                json!({
                    "zarr_format": 2, "shape": [5], "chunks": [2], "dtype": "<u2",
                    "compressor": {"id": "zstd", "level": 1}, "fill_value": 65535, "order": "C",
                    "filters": null, "dimension_separator": "."
                })
            ),
        ]
    );
    let plain = ArrayWriter::new(spec(DType::UInt8, &[5], &[2], ZarrVersion::V2)).unwrap();
    assert_eq!(plain.metadata()[1].1["fill_value"], Value::Null);
    assert_eq!(plain.metadata()[1].1["dtype"], "|u1");
    // Without a fill value an absent chunk would be undefined, so that zeros are written.
    assert!(plain.encode_chunk(&[0, 0]).unwrap().is_some());
}

#[test]
fn chunks_of_nothing_but_the_fill_value_are_not_stored() {
    let of = |fill: Option<Scalar>, dtype: DType, cells: &[u8]| {
        let spec = ArraySpec { fill_value: fill, ..spec(dtype, &[4], &[2], ZarrVersion::V3) };
        ArrayWriter::new(spec).unwrap().encode_chunk(cells).unwrap().is_some()
    };
    let f = |values: [f32; 2]| bytemuck::cast_slice::<f32, u8>(&values).to_vec();
    assert!(!of(None, DType::Float32, &f([0.0, 0.0])));
    assert!(of(None, DType::Float32, &f([0.0, -0.0])), "−0 has other bits");
    assert!(of(None, DType::Float32, &f([0.0, 1.0])));
    assert!(!of(Some(Scalar::Float(f64::NAN)), DType::Float32, &f([f32::NAN, f32::NAN])));
    assert!(!of(Some(Scalar::Int(255)), DType::UInt8, &[255, 255]));
}

#[test]
fn ragged_chunks_are_filled_up() {
    let spec = ArraySpec { fill_value: Some(Scalar::Int(9)), ..spec(DType::UInt8, &[3, 5], &[2, 3], ZarrVersion::V3) };
    let array = ArrayWriter::new(spec).unwrap();
    assert_eq!(array.extent(&[1, 1]), (vec![2, 3], vec![1, 2]));
    assert_eq!(array.pad(&[1, 1], &[1, 2]).unwrap().as_ref(), [1, 2, 9, 9, 9, 9]);
    assert_eq!(array.cut(&(0..15).collect::<Vec<u8>>(), &[0, 1]), [3, 4, 9, 8, 9, 9]);
    assert!(array.pad(&[1, 1], &[1]).is_err());
}

#[test]
fn arrays_that_cannot_be_made_are_told_why() {
    let base = || spec(DType::UInt8, &[4, 4], &[2, 2], ZarrVersion::V3);
    let why = |spec: ArraySpec| ArrayWriter::new(spec).unwrap_err().to_string();
    for (spec, expected) in [
        (ArraySpec { chunks: vec![2], ..base() }, "2 dimension names and 1 chunk lengths for 2 dimensions"),
        (ArraySpec { chunks: vec![0, 2], ..base() }, "chunks of [0, 2] cells hold nothing"),
        (ArraySpec { chunks: vec![1 << 20, 1 << 20], ..base() }, "have 2 GiB or more"),
        (ArraySpec { chunks: vec![u64::MAX, 3], ..base() }, "have 2 GiB or more"),
        (ArraySpec { shards: Some(vec![3, 4]), ..base() }, "shards of [3, 4] are no multiples of chunks of [2, 2]"),
        (ArraySpec { shards: Some(vec![4, 4]), zarr: ZarrVersion::V2, ..base() }, "Zarr v2 has no shards"),
        (ArraySpec { dims: vec!["x".into(), "x".into()], ..base() }, "dimension `x` stands twice"),
        (ArraySpec { fill_value: Some(Scalar::Int(256)), ..base() }, "`uint8` does not hold the fill value 256"),
        (ArraySpec { missing: Some(Scalar::Float(0.5)), ..base() }, "`uint8` does not hold the missing mark 0.5"),
        (ArraySpec { path: "../v".into(), ..base() }, "`..` cannot be the name of an array or group"),
        (ArraySpec { path: String::new(), ..base() }, "has an empty name"),
        (ArraySpec { dtype: DataType::Text(TextKind::Variable), ..base() }, "`string` cannot be written"),
        (
            ArraySpec {
                zarr: ZarrVersion::V2,
                fill_value: Some(Scalar::Int(0)),
                missing: Some(Scalar::Int(1)),
                ..base()
            },
            "in Zarr v2 the fill value is the missing mark, and two were given",
        ),
    ] {
        let found = why(spec);
        assert!(found.ends_with(expected), "{found}");
    }
}

#[test]
fn keys_are_those_of_the_default_encodings() {
    let key = |zarr, rank: usize| {
        let array = ArrayWriter::new(spec(DType::UInt8, &[4, 4][..rank], &[1, 1][..rank], zarr));
        array.unwrap().key(&[2, 1][..rank])
    };
    assert_eq!(key(ZarrVersion::V3, 2), "v/c/2/1");
    assert_eq!(key(ZarrVersion::V3, 0), "v/c");
    assert_eq!(key(ZarrVersion::V2, 2), "v/2.1");
    assert_eq!(key(ZarrVersion::V2, 0), "v/0");
}
