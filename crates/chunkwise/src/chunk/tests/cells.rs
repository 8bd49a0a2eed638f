//! Codecs of cells: against numcodecs, against the specification, and against bytes that swell.

use super::*;

/// `numcodecs.FixedScaleOffset(offset, scale, dtype, astype)` 0.16.6: what it encoded, and what it decodes that to.
#[test]
fn scaled_cells_are_decoded_as_exactly_as_numcodecs_does() {
    let cases = [
        (
            DType::Float64,
            "<i4",
            1000.0,
            1e5,
            "15ec650110460afa013e14f439e33f71",
            "e7c6f484454a934000a099999999b93f9ed2c1faff3f8fc02cd49ae60788d340",
        ),
        (DType::Float64, "<u2", 273.15, 0.1, "000049000300", "66666666661271403333333333598f406666666666f27240"),
        (DType::Float32, "|u1", 10.0, 3.0, "000307", "000020410000304155554541"),
        (
            DType::Float64,
            "<f4",
            0.1,
            10.0,
            "000000000000c04000409a44",
            "000000a09999b93f000000806666e63f0000000000e05e40",
        ),
    ];
    for (dtype, astype, offset, scale, encoded, decoded) in cases {
        let (encoded, decoded) = (bytes_of(encoded), bytes_of(decoded));
        let cells = (decoded.len() / dtype.size()) as u64;
        let name = if dtype == DType::Float64 { "<f8" } else { "<f4" };
        let codec = json!({"name": "numcodecs.fixedscaleoffset", "configuration":
            {"offset": offset, "scale": scale, "dtype": name, "astype": astype}});
        let store = Arc::new(MemoryStore::new());
        store.put("group/a/c/0", &encoded).unwrap();
        let variable = numbers(dtype, &[cells], &[cells], json!([codec, little()]));
        let reader = ChunkReader::new(&variable, store).unwrap_or_else(|e| panic!("{astype}: {}", said(&e)));
        assert_eq!(read(&reader, &[0]).unwrap().1, decoded, "{astype}");
    }
}

#[test]
fn one_long_text_is_read_and_a_text_that_swells_is_stopped() {
    let long = "x".repeat(200_000);
    let mut vlen = vec![1, 0, 0, 0];
    vlen.extend((long.len() as u32).to_le_bytes());
    vlen.extend(long.as_bytes());
    let codecs = json!([{"name": "vlen-utf8"}, zstd()]);
    let packed = ::zstd::bulk::compress(&vlen, 1).unwrap();
    assert_eq!(texts(TextKind::Variable, 1, codecs.clone(), &packed).unwrap(), [long]);
    let bomb = ::zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
    let error = texts(TextKind::Variable, 100_000, codecs, &bomb).unwrap_err();
    assert!(error.contains("67108864"), "{error}");
}

#[test]
fn numbers_that_pcodec_packed_into_a_few_bytes_are_stopped_at_the_size_of_the_chunk() {
    let bomb = pco::standalone::simple_compress(&vec![0u64; 1 << 23], &pco::ChunkConfig::default()).unwrap();
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    let store = Arc::new(MemoryStore::new());
    store.put("group/a/c/0", &bomb).unwrap();
    let variable = numbers(DType::UInt64, &[4000], &[4000], json!([{"name": "numcodecs.pcodec"}]));
    let reader = ChunkReader::new(&variable, store).unwrap();
    let mut out = Vec::new();
    assert!(reader.read(&[0], &mut Scratch::new(), &mut out).is_err());
    assert!(out.capacity() < 1 << 20, "made room for {}", out.capacity());
}

/// Encoded axis `k` is decoded axis `order[k]` (Zarr v3, codec `transpose`): each cell holds its own index.
#[test]
fn transposed_axes_come_back_in_their_order() {
    let (shape, order) = ([2u64, 3, 5], [2usize, 0, 1]);
    let cell = |i: u64, j: u64, k: u64| 100 * i + 10 * j + k;
    let encoded_shape = order.map(|axis| shape[axis]);
    let mut encoded = Vec::new();
    for a in 0..encoded_shape[0] {
        for b in 0..encoded_shape[1] {
            for c in 0..encoded_shape[2] {
                let mut at = [0; 3];
                (at[order[0]], at[order[1]], at[order[2]]) = (a, b, c);
                encoded.push(cell(at[0], at[1], at[2]));
            }
        }
    }
    let mut decoded = Vec::new();
    for i in 0..2 {
        for j in 0..3 {
            decoded.extend((0..5).map(|k| cell(i, j, k)));
        }
    }
    let codecs = json!([{"name": "transpose", "configuration": {"order": order}}, little()]);
    let store = Arc::new(MemoryStore::new());
    let bytes: Vec<u8> = encoded.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect();
    store.put("group/a/c/0/0/0", &bytes).unwrap();
    let reader = ChunkReader::new(&numbers(DType::UInt16, &shape, &shape, codecs.clone()), store.clone()).unwrap();
    let expected = cell_bytes(DType::UInt16, decoded.iter().map(|&v| v as usize));
    assert_eq!(read(&reader, &[0, 0, 0]).unwrap().1, expected);

    let text: Vec<u8> = encoded.iter().flat_map(|v| format!("{v:03}").into_bytes()).collect();
    store.put("group/a/c/0/0/0", &text).unwrap();
    let variable = variable(DataType::Text(TextKind::Bytes(3)), &shape, &shape, codecs);
    let reader = ChunkReader::new(&variable, store).unwrap();
    let expected: Vec<String> = decoded.iter().map(|v| format!("{v:03}")).collect();
    assert_eq!(reader.read_text(&[0, 0, 0]).unwrap(), expected);
}
