use super::*;
use crate::store::MemoryStore;
use chunkwise_core::cube::{Attrs, Encoding, Missing, Packing, Role, TimeUnit};
use chunkwise_core::dtype::DType;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use zarrs::array::{Array, ArrayMetadata};
use zarrs::storage::{ListableStorageTraits, ReadableStorageTraits};

mod cells;
mod shard;

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>(_: T) {}
    shared::<ChunkReader>();
    fn fetching(reader: &ChunkReader) {
        moved(reader.fetch(&[0]));
    }
    let _ = fetching;
};

fn little() -> Value {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

fn variable(dtype: DataType, shape: &[u64], chunks: &[u64], codecs: Value) -> Variable {
    let view = dtype.number();
    Variable {
        name: "a".to_owned(),
        path: "group/a".to_owned(),
        dims: (0..shape.len()).map(|d| format!("dim_{d}")).collect(),
        shape: shape.to_vec(),
        dtype,
        view,
        chunks: chunks.iter().map(|&n| ChunkSizes::Regular(n)).collect(),
        shards: None,
        fill_value: Some(Scalar::Int(7)),
        packing: Packing::NONE,
        missing: Missing::default(),
        valid: None,
        attrs: Attrs::new(),
        codecs: String::new(),
        encoding: Encoding {
            keys: ChunkKeys::Default('/'),
            codecs: chain::listed(Some(&codecs)).unwrap(),
            ..Encoding::default()
        },
        zarr_format: 3,
        role: Role::Data,
        problem: None,
    }
}

fn numbers(dtype: DType, shape: &[u64], chunks: &[u64], codecs: Value) -> Variable {
    variable(DataType::Number(dtype), shape, chunks, codecs)
}

/// What zarrs writes for the variable: value `i % 97` in cell `i`, in every chunk but the last.
fn written(variable: &Variable) -> Arc<MemoryStore> {
    let sizes = variable.shards.as_ref().unwrap_or(&variable.chunks);
    let chunk_shape: Vec<u64> =
        sizes.iter().map(|c| if let ChunkSizes::Regular(n) = c { *n } else { unreachable!() }).collect();
    let metadata = json!({
        "zarr_format": 3, "node_type": "array", "shape": variable.shape,
        "data_type": variable.dtype.number().unwrap().name(), "fill_value": 7,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": variable.encoding.codecs,
    });
    let metadata: ArrayMetadata = serde_json::from_value(metadata).unwrap();
    let from = Arc::new(zarrs::storage::store::MemoryStore::new());
    let array = Array::new_with_metadata(from.clone(), "/group/a", metadata).unwrap();
    let grid = array.chunk_grid_shape().to_vec();
    let count: u64 = grid.iter().product();
    for at in 0..count.saturating_sub(1) {
        let index = unravel(at, &grid);
        let cells = usize::try_from(chunk_shape.iter().product::<u64>()).unwrap();
        let bytes = cell_bytes(variable.dtype.number().unwrap(), (0..cells).map(|i| i % 97));
        array.store_chunk(&index, zarrs::array::ArrayBytes::new_flen(bytes)).unwrap();
    }
    let to = Arc::new(MemoryStore::new());
    for key in from.list().unwrap() {
        to.put(key.as_str(), &from.get(&key).unwrap().unwrap()).unwrap();
    }
    to
}

fn unravel(mut at: u64, grid: &[u64]) -> Vec<u64> {
    let mut index = vec![0; grid.len()];
    for (place, &n) in index.iter_mut().zip(grid).rev() {
        *place = at % n;
        at /= n;
    }
    index
}

fn cell_bytes(dtype: DType, values: impl Iterator<Item = usize>) -> Vec<u8> {
    values
        .flat_map(|v| match dtype {
            DType::UInt8 => vec![v as u8],
            DType::UInt16 => (v as u16).to_ne_bytes().to_vec(),
            DType::Int16 => (v as i16).to_ne_bytes().to_vec(),
            DType::Int32 => (v as i32).to_ne_bytes().to_vec(),
            DType::Float32 => (v as f32).to_ne_bytes().to_vec(),
            DType::Float64 => (v as f64).to_ne_bytes().to_vec(),
            _ => unreachable!(),
        })
        .collect()
}

fn read(reader: &ChunkReader, chunk: &[u64]) -> Result<(Fetched, Vec<u8>), ChunkError> {
    let mut out = vec![0xAA; 3];
    let fetched = reader.read(chunk, &mut Scratch::new(), &mut out)?;
    Ok((fetched, out))
}

/// Message and causes, as people see them.
fn said(error: &dyn Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        all.push_str(": ");
        all.push_str(&cause.to_string());
        next = cause.source();
    }
    all
}

fn zstd() -> Value {
    json!({"name": "zstd", "configuration": {"level": 3, "checksum": false}})
}

fn crc32c() -> Value {
    json!({"name": "crc32c"})
}

fn blosc(cname: &str, shuffle: &str) -> Value {
    json!({"name": "blosc", "configuration":
        {"cname": cname, "clevel": 5, "shuffle": shuffle, "typesize": 4, "blocksize": 0}})
}

fn chains() -> Vec<(DType, Value)> {
    let gzip = json!({"name": "gzip", "configuration": {"level": 5}});
    let big = json!({"name": "bytes", "configuration": {"endian": "big"}});
    let turned = json!({"name": "transpose", "configuration": {"order": [1, 0]}});
    let shuffle = json!({"name": "numcodecs.shuffle", "configuration": {"elementsize": 4}});
    let numcodecs = |name: &str, level: u8| json!({"name": name, "configuration": {"level": level}});
    vec![
        (DType::Int32, json!([little()])),
        (DType::Int32, json!([big.clone()])),
        (DType::Float64, json!([big.clone(), zstd()])),
        (DType::UInt16, json!([little(), zstd()])),
        (DType::UInt16, json!([little(), {"name": "zstd", "configuration": {"level": 1, "checksum": true}}])),
        (DType::UInt8, json!([{"name": "bytes"}, zstd()])),
        (DType::Float32, json!([little(), blosc("lz4", "shuffle")])),
        (DType::Float32, json!([little(), blosc("zstd", "bitshuffle")])),
        (DType::Float32, json!([little(), blosc("blosclz", "noshuffle"), crc32c()])),
        (DType::Int32, json!([little(), gzip])),
        (DType::Int32, json!([little(), numcodecs("numcodecs.zlib", 6)])),
        (DType::Int32, json!([little(), numcodecs("numcodecs.bz2", 6)])),
        (DType::Int32, json!([little(), crc32c()])),
        (DType::Int32, json!([little(), zstd(), crc32c()])),
        (DType::Int32, json!([little(), crc32c(), zstd()])),
        (DType::Int32, json!([little(), shuffle, zstd(), crc32c()])),
        (DType::Int32, json!([little(), zstd(), zstd()])),
        (DType::Int32, json!([little(), {"name": "numcodecs.adler32"}])),
        (DType::Int32, json!([little(), {"name": "numcodecs.fletcher32"}, zstd()])),
        (DType::Int16, json!([turned.clone(), little(), zstd()])),
        (DType::Int16, json!([turned, big])),
        (DType::Float32, json!([{"name": "bitround", "configuration": {"keepbits": 10}}, little(), zstd()])),
        (
            DType::Float64,
            json!([{"name": "numcodecs.fixedscaleoffset", "configuration":
            {"offset": 0.0, "scale": 1.0, "dtype": "<f8", "astype": "<i4"}}, little(), zstd()]),
        ),
        (
            DType::Int32,
            json!([{"name": "numcodecs.pcodec", "configuration":
            {"level": 8, "mode_spec": "auto", "delta_spec": "auto", "paging_spec": "equal_pages_up_to",
             "delta_encoding_order": null, "equal_pages_up_to": 262144}}]),
        ),
        (DType::UInt8, json!([{"name": "packbits"}, zstd()])),
    ]
}

#[test]
fn chunks_that_zarrs_wrote_read_as_they_were_through_every_chain() {
    for (dtype, codecs) in chains() {
        let variable = numbers(dtype, &[10, 7], &[4, 5], codecs.clone());
        let reader = ChunkReader::new(&variable, written(&variable)).unwrap();
        assert_eq!(reader.grid(), [3, 2]);
        let (fetched, cells) = read(&reader, &[2, 0]).unwrap_or_else(|e| panic!("{codecs}: {}", said(&e)));
        assert_eq!(cells, cell_bytes(dtype, 0..20), "{codecs}");
        assert!(fetched.existed && fetched.requests == 1 && fetched.encoded_bytes > 0);
        let (fetched, cells) = read(&reader, &[2, 1]).unwrap();
        assert_eq!(cells, cell_bytes(dtype, std::iter::repeat_n(7, 20)), "{codecs}");
        assert_eq!(fetched, Fetched { existed: false, requests: 1, encoded_bytes: 0 });
    }
}

#[test]
fn fetching_and_decoding_apart_give_what_reading_gives() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for mut variable in
        [numbers(DType::Int32, &[8, 8], &[4, 4], json!([little(), zstd()])), shard::sharded("end", true)]
    {
        variable.fill_value = Some(Scalar::Int(7));
        let reader = ChunkReader::new(&variable, written(&variable)).unwrap();
        let last: Vec<u64> = reader.grid().iter().map(|n| n - 1).collect();
        for chunk in [vec![0, 0], vec![0, 1], last] {
            let encoded = runtime.block_on(reader.fetch(&chunk)).unwrap();
            let mut out = Vec::new();
            reader.decode(&chunk, encoded.1.as_deref(), &mut Scratch::new(), &mut out).unwrap();
            assert_eq!(out, read(&reader, &chunk).unwrap().1);
        }
    }
}

#[test]
fn unknown_and_misplaced_codecs_are_refused_by_name() {
    let refused = |codecs: Value| {
        let variable = numbers(DType::Int32, &[4], &[4], codecs);
        said(&ChunkReader::new(&variable, Arc::new(MemoryStore::new())).unwrap_err())
    };
    assert_eq!(
        refused(json!([little(), {"name": "example.squash"}])),
        "`group/a` is stored with codec `example.squash`, which is not supported; `docs/formats.md` lists those that are, and \
         `chunkwise::codec::register` adds one of your own"
    );
    assert_eq!(
        refused(json!([little(), {"name": "optional"}])),
        "`group/a` is stored with codec `optional`, which is not supported; `docs/formats.md` lists those that are"
    );
    assert!(refused(json!([zstd()])).contains("zstd"));
    assert!(refused(json!([little(), little()])).contains("`bytes`"));
    assert!(refused(json!([])).contains("never turn cells into bytes"));
    assert!(refused(json!([{"name": "bytes"}])).contains("`endian`"));
    assert!(
        refused(json!([{"name": "transpose", "configuration": {"order": [3, 1]}}, little()])).contains("transpose")
    );
    assert!(refused(json!([little(), {"name": "shuffle", "configuration": {"elementsize": -1}}])).contains("shuffle"));
    assert!(refused(json!([{"name": "vlen-utf8"}])).contains("vlen-utf8"));
}

#[test]
fn a_chunk_of_another_size_says_both_sizes() {
    let store = Arc::new(MemoryStore::new());
    let short = ::zstd::bulk::compress(&[0; 12], 1).unwrap();
    store.put("group/a/c/0", &short).unwrap();
    store.put("group/a/c/1", &[0; 12]).unwrap();
    let packed = numbers(DType::Int32, &[8], &[4], json!([little(), zstd()]));
    let reader = ChunkReader::new(&packed, store.clone()).unwrap();
    let expected = "cannot decode chunk [0] of `group/a` (`group/a/c/0`): chunk decodes to 12 bytes, expected 16";
    assert_eq!(said(&read(&reader, &[0]).unwrap_err()), expected);
    let plain = numbers(DType::Int32, &[8], &[4], json!([little()]));
    let reader = ChunkReader::new(&plain, store).unwrap();
    assert!(said(&read(&reader, &[1]).unwrap_err()).ends_with("chunk decodes to 12 bytes, expected 16"));
    assert_eq!(reader.encoded_size_known(), Some(16));
    let error = read(&reader, &[2]).unwrap_err();
    assert_eq!(said(&error), "`group/a` has no chunk [2]; its grid is [2]");
}

#[test]
fn bytes_that_swell_are_stopped_at_the_size_of_the_chunk() {
    let zeros = vec![0; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&zeros).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(&zeros).unwrap();
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bz2.write_all(&zeros).unwrap();
    let mut streamed = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    streamed.write_all(&zeros).unwrap();
    let mut blosc = vec![2, 1, 0x21, 4];
    blosc.extend((64u32 << 20).to_le_bytes());
    blosc.extend([0, 0, 1, 0, 64, 0, 0, 0]);
    blosc.resize(64, 0);
    let mut lz4 = (64u32 << 20).to_le_bytes().to_vec();
    lz4.resize(64, 0);
    let bombs = [
        ("gzip", gzip.finish().unwrap()),
        ("zlib", zlib.finish().unwrap()),
        ("bz2", bz2.finish().unwrap()),
        ("zstd", ::zstd::bulk::compress(&zeros, 1).unwrap()),
        ("zstd", streamed.finish().unwrap()),
        ("blosc", blosc),
        ("lz4", lz4),
    ];
    for (name, bomb) in bombs {
        for codecs in [json!([little(), {"name": name}]), json!([little(), zstd(), {"name": name}])] {
            let store = Arc::new(MemoryStore::new());
            store.put("group/a/c/0", &bomb).unwrap();
            let reader = ChunkReader::new(&numbers(DType::Int32, &[4], &[4], codecs), store).unwrap();
            let mut out = Vec::new();
            assert!(reader.read(&[0], &mut Scratch::new(), &mut out).is_err(), "{name}");
            assert!(out.capacity() < 1 << 20, "{name} made room for {}", out.capacity());
        }
    }
}

/// `numpy.arange(6, dtype="<u2") * 1000` through numcodecs 0.16.6 with default settings.
#[test]
fn what_numcodecs_wrote_reads_as_it_was() {
    let cases = [
        ("lz4", "0c000000c00000e803d007b80ba00f8813"),
        ("zlib", "7801636078c17c817d07f702fe0e6100183f03d0"),
        ("gzip", "1f8b08006ad2036b04ff636078c17c817d07f702fe0e610011524d150c000000"),
        (
            "bz2",
            "425a6831314159265359d986d654000000605b488888000040400000404000004020003100d34d05064d1fea93a007ec5dc914e14243661b5950",
        ),
        ("zstd", "28b52ffd200c6100000000e803d007b80ba00f8813"),
        ("blosc", "020133020c0000000c0000001c0000000000e803d007b80ba00f8813"),
        ("crc32", "11524d150000e803d007b80ba00f8813"),
        ("adler32", "d0033f180000e803d007b80ba00f8813"),
        ("crc32c", "0000e803d007b80ba00f8813b30a4f82"),
        ("fletcher32", "0000e803d007b80ba00f88133a9888b8"),
        ("shuffle", "00e8d0b8a0880003070b0f13"),
    ];
    let expected: Vec<u8> = (0..6u16).flat_map(|n| (n * 1000).to_ne_bytes()).collect();
    for (name, encoded) in cases {
        for name in [name.to_owned(), format!("numcodecs.{name}")] {
            let mut codec = json!({"name": name});
            if name.ends_with("shuffle") {
                codec = json!({"name": name, "configuration": {"elementsize": 2}});
            }
            let variable = numbers(DType::UInt16, &[6], &[6], json!([little(), codec]));
            let store = Arc::new(MemoryStore::new());
            store.put("group/a/c/0", &bytes_of(encoded)).unwrap();
            let reader = ChunkReader::new(&variable, store).unwrap_or_else(|e| panic!("{name}: {}", said(&e)));
            assert_eq!(read(&reader, &[0]).unwrap_or_else(|e| panic!("{name}: {}", said(&e))).1, expected, "{name}");
        }
    }
}

/// `numcodecs.Delta("<u2").encode([5, 9, 3, 200, 100])`, numcodecs 0.16.6.
#[test]
fn differences_are_summed_up() {
    let delta = |astype: &str| json!({"name": "numcodecs.delta", "configuration": {"dtype": "<u2", "astype": astype}});
    let store = Arc::new(MemoryStore::new());
    store.put("group/a/c/0", &bytes_of("05000400faffc5009cff")).unwrap();
    let variable = numbers(DType::UInt16, &[5], &[5], json!([delta("<u2"), little()]));
    let reader = ChunkReader::new(&variable, store.clone()).unwrap();
    assert_eq!(read(&reader, &[0]).unwrap().1, cell_bytes(DType::UInt16, [5, 9, 3, 200, 100].into_iter()));
    // `Delta("<u2", "|i1").encode([5, 9, 3, 20, 100])`.
    store.put("group/a/c/0", &bytes_of("0504fa1150")).unwrap();
    let narrow = numbers(DType::UInt16, &[5], &[5], json!([delta("|i1"), little()]));
    let reader = ChunkReader::new(&narrow, store).unwrap();
    assert_eq!(read(&reader, &[0]).unwrap().1, cell_bytes(DType::UInt16, [5, 9, 3, 20, 100].into_iter()));
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn texts(kind: TextKind, cells: u64, codecs: Value, encoded: &[u8]) -> Result<Vec<String>, String> {
    let mut variable = variable(DataType::Text(kind), &[cells * 2], &[cells], codecs);
    variable.fill_value = None;
    let store = Arc::new(MemoryStore::new());
    store.put("group/a/c/0", encoded).unwrap();
    let reader = ChunkReader::new(&variable, store).map_err(|e| said(&e))?;
    assert_eq!(reader.read_text(&[1]).unwrap(), vec![String::new(); cells as usize]);
    assert!(reader.read(&[0], &mut Scratch::new(), &mut Vec::new()).is_err());
    reader.read_text(&[0]).map_err(|e| said(&e))
}

/// Bytes from numpy 2 (`tobytes`) and `numcodecs.VLenUTF8` 0.16.6.
#[test]
fn text_reads_in_all_its_forms() {
    let big = "000000420000003000000032000003a90000000000000000";
    let big = bytes_of(big);
    let little_bytes: Vec<u8> = big.chunks(4).flat_map(|c| c.iter().rev().copied().collect::<Vec<_>>()).collect();
    let names = vec!["B02".to_owned(), "Ω".to_owned()];
    let order = |endian: &str| json!([{"name": "bytes", "configuration": {"endian": endian}}]);
    assert_eq!(texts(TextKind::Utf32(3), 2, order("big"), &big).unwrap(), names);
    assert_eq!(texts(TextKind::Utf32(3), 2, order("little"), &little_bytes).unwrap(), names);
    let packed = ::zstd::bulk::compress(&little_bytes, 1).unwrap();
    assert_eq!(texts(TextKind::Utf32(3), 2, json!([little(), zstd()]), &packed).unwrap(), names);
    assert!(texts(TextKind::Utf32(3), 2, order("little"), &big).unwrap_err().contains("no UTF-32 text"));

    let plain = json!([{"name": "bytes"}]);
    assert_eq!(texts(TextKind::Bytes(3), 2, plain.clone(), b"B02a\0\0").unwrap(), ["B02", "a"]);
    assert!(texts(TextKind::Bytes(3), 2, plain, b"B02a\xFF\0").unwrap_err().contains("cell 1 is no UTF-8 text"));

    let vlen = bytes_of("04000000010000006104000000cea9c3a900000000080000006c6f6e67206f6e65");
    let codec = json!([{"name": "vlen-utf8"}]);
    assert_eq!(texts(TextKind::Variable, 4, codec.clone(), &vlen).unwrap(), ["a", "Ωé", "", "long one"]);
    let packed = ::zstd::bulk::compress(&vlen, 1).unwrap();
    let zipped = json!([{"name": "vlen-utf8"}, zstd()]);
    assert_eq!(texts(TextKind::Variable, 4, zipped, &packed).unwrap().len(), 4);
    for end in 0..vlen.len() {
        assert!(texts(TextKind::Variable, 4, codec.clone(), &vlen[..end]).is_err());
    }
    assert!(texts(TextKind::Variable, 5, codec, &vlen).unwrap_err().contains("4 cells, expected 5"));
}

#[test]
fn absent_chunks_hold_the_fill_value_exactly() {
    let filled = |dtype: DataType, fill: Option<Scalar>| {
        let mut variable = variable(dtype, &[3], &[3], json!([little(), zstd()]));
        variable.fill_value = fill;
        ChunkReader::new(&variable, Arc::new(MemoryStore::new())).map(|r| read(&r, &[0]).unwrap().1)
    };
    let number = |d| DataType::Number(d);
    let times = |n: u64| n.to_ne_bytes().repeat(3);
    assert_eq!(filled(number(DType::UInt64), Some(Scalar::UInt(u64::MAX - 1))).unwrap(), times(u64::MAX - 1));
    assert_eq!(filled(number(DType::Float64), Some(Scalar::Float(1.5))).unwrap(), times(1.5f64.to_bits()));
    assert_eq!(filled(number(DType::Float64), None).unwrap(), times(0));
    let nat = DataType::DateTime(TimeUnit { unit: "ns".to_owned(), step: 1 });
    assert_eq!(filled(nat, Some(Scalar::Int(i64::MIN))).unwrap(), times(1 << 63));
    let error = filled(number(DType::UInt8), Some(Scalar::Int(-1))).unwrap_err();
    assert_eq!(error.to_string(), "fill value `-1` of `group/a` is no `uint8`");
    let nan = filled(number(DType::Float32), Some(Scalar::Float(f64::NAN))).unwrap();
    assert!(nan.chunks(4).all(|c| f32::from_ne_bytes(c.try_into().unwrap()).is_nan()));
}

#[test]
fn keys_follow_the_metadata() {
    let key = |keys: ChunkKeys, shape: &[u64], chunk: &[u64]| {
        let sizes = vec![1; shape.len()];
        let mut variable = numbers(DType::Int32, shape, &sizes, json!([little()]));
        variable.encoding.keys = keys;
        let reader = ChunkReader::new(&variable, Arc::new(MemoryStore::new())).unwrap();
        reader.address(chunk).unwrap().key
    };
    assert_eq!(key(ChunkKeys::Default('/'), &[9, 12], &[1, 10]), "group/a/c/1/10");
    assert_eq!(key(ChunkKeys::Default('.'), &[9, 12], &[1, 10]), "group/a/c.1.10");
    assert_eq!(key(ChunkKeys::V2('.'), &[9, 12], &[1, 10]), "group/a/1.10");
    assert_eq!(key(ChunkKeys::V2('/'), &[9, 12], &[1, 10]), "group/a/1/10");
    assert_eq!(key(ChunkKeys::Default('/'), &[], &[]), "group/a/c");
    assert_eq!(key(ChunkKeys::V2('.'), &[], &[]), "group/a/0");
}

#[test]
fn chunks_too_large_for_any_memory_are_an_error() {
    let variable = numbers(DType::Float64, &[1 << 40, 1 << 40], &[1 << 40, 1 << 40], json!([little(), zstd()]));
    let store = Arc::new(MemoryStore::new());
    let reader = ChunkReader::new(&variable, store.clone()).unwrap();
    assert!(said(&read(&reader, &[0, 0]).unwrap_err()).contains("does not fit in memory"));
    store.put("group/a/c/0/0", &::zstd::bulk::compress(&[0; 8], 1).unwrap()).unwrap();
    assert!(read(&reader, &[0, 0]).is_err());
}

#[test]
fn a_byte_flipped_under_a_checksum_is_an_error() {
    for codecs in [json!([little(), zstd(), crc32c()]), json!([little(), crc32c()])] {
        let variable = numbers(DType::Int32, &[8], &[4], codecs);
        let store = written(&variable);
        let reader = ChunkReader::new(&variable, store.clone()).unwrap();
        let whole = store.get("group/a/c/0", ByteRange::Whole).unwrap().unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            store.put("group/a/c/0", &bytes).unwrap();
            assert!(said(&read(&reader, &[0]).unwrap_err()).contains("checksum `crc32c` does not match"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_bytes_give_an_error_or_a_chunk_of_the_right_size_and_never_a_panic(
        which in 0usize..25,
        cut in proptest::option::of(0.0f64..1.0),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        noise in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
    ) {
        let (dtype, codecs) = chains().swap_remove(which);
        let variable = numbers(dtype, &[10, 7], &[4, 5], codecs);
        let store = written(&variable);
        let mut bytes = store.get("group/a/c/0/0", ByteRange::Whole).unwrap().unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate((bytes.len() as f64 * cut) as usize);
        }
        store.put("group/a/c/0/0", &noise.unwrap_or(bytes)).unwrap();
        let reader = ChunkReader::new(&variable, store).unwrap();
        if let Ok((_, cells)) = read(&reader, &[0, 0]) {
            prop_assert_eq!(cells.len(), 20 * dtype.size());
        }
    }
}
