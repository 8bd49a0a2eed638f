//! Any bytes for any chain of codecs: a chunk of the right size, or an error; no more memory than the chunk asks for.

use chunkwise::chunk::{ChunkReader, Scratch};
use chunkwise::open::open_in;
use chunkwise::store::{MemoryStore, Store};
use serde_json::{Value, json};
use std::sync::Arc;

/// Types and fill values.
const TYPES: [(&str, &str); 9] = [
    ("uint8", "0"),
    ("int16", "0"),
    ("uint32", "0"),
    ("int64", "0"),
    ("float32", "0"),
    ("float64", "0"),
    ("float16", "0"),
    ("bool", "false"),
    ("string", "\"\""),
];

/// A chunk of 4 × 6 cells, and one of 64 × 96.
const SHAPES: [[u64; 2]; 2] = [[4, 6], [64, 96]];

/// The chain, by number; number 0 are codecs that come with the bytes.
pub(crate) const CHAINS: [&str; 34] = [
    "",
    r#"{"name":"bytes","configuration":{"endian":"big"}}"#,
    r#"BYTES,{"name":"zstd","configuration":{"level":3,"checksum":true}}"#,
    r#"BYTES,{"name":"gzip","configuration":{"level":5}}"#,
    r#"BYTES,{"name":"blosc","configuration":{"cname":"lz4","clevel":5,"shuffle":"shuffle","typesize":4,"blocksize":0}}"#,
    r#"BYTES,{"name":"numcodecs.zlib","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.bz2","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.lz4","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.lzma","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.lzma","configuration":{"format":3,"filters":[{"id":3,"dist":4},{"id":33,"preset":1}]}}"#,
    r#"BYTES,{"name":"numcodecs.lzma","configuration":{"format":2}}"#,
    r#"{"name":"numcodecs.pcodec","configuration":{}}"#,
    r#"BYTES,{"name":"crc32c"}"#,
    r#"BYTES,{"name":"numcodecs.crc32","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.adler32","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.fletcher32","configuration":{}}"#,
    r#"BYTES,{"name":"numcodecs.shuffle","configuration":{"elementsize":4}},{"name":"numcodecs.zstd","configuration":{}}"#,
    r#"{"name":"numcodecs.delta","configuration":{"dtype":"<i2","astype":"<i4"}},BYTES"#,
    r#"{"name":"numcodecs.delta","configuration":{"dtype":"<f4"}},BYTES,{"name":"numcodecs.lz4"}"#,
    r#"{"name":"bitround","configuration":{"keepbits":5}},BYTES"#,
    r#"{"name":"numcodecs.quantize","configuration":{"digits":2,"dtype":"<f4"}},BYTES"#,
    r#"{"name":"numcodecs.packbits","configuration":{}},BYTES"#,
    r#"{"name":"packbits","configuration":{}}"#,
    r#"{"name":"numcodecs.fixedscaleoffset","configuration":{"offset":10,"scale":100,"dtype":"<f4","astype":"<i2"}},BYTES"#,
    r#"{"name":"numcodecs.astype","configuration":{"encode_dtype":"<i2","decode_dtype":"<f8"}},BYTES"#,
    r#"{"name":"scale_offset","configuration":{"offset":1.5,"scale":0.01}},BYTES"#,
    r#"{"name":"cast_value","configuration":{"data_type":"int8","rounding":"nearest-even","out_of_range":"clamp"}},BYTES"#,
    r#"{"name":"transpose","configuration":{"order":[1,0]}},BYTES,{"name":"zstd","configuration":{"level":1,"checksum":false}}"#,
    r#"{"name":"transpose","configuration":{"order":[1,0]}},SHARD"#,
    r#"SHARD,{"name":"gzip","configuration":{"level":1}}"#,
    r#"{"name":"vlen-utf8"},{"name":"zstd","configuration":{"level":1,"checksum":false}}"#,
    r#"{"name":"vlen-bytes"}"#,
    r#"{"name":"reshape","configuration":{"shape":[-1]}},BYTES"#,
    r#"BYTES,{"name":"blosc","configuration":{"cname":"zstd","clevel":1,"shuffle":"bitshuffle","typesize":8,"blocksize":0}},{"name":"crc32c"}"#,
];

const BYTES: &str = r#"{"name":"bytes","configuration":{"endian":"little"}}"#;
const SHARD: &str = r#"{"name":"sharding_indexed","configuration":{"chunk_shape":[2,2],"codecs":[BYTES],"index_codecs":[BYTES,{"name":"crc32c"}]}}"#;

/// First byte: the chain. Second: type and shape. Then the encoded chunk; for chain 0, a list of codecs in JSON and a NUL
/// before it.
pub(crate) fn run(data: &[u8]) {
    let [chain, kind, encoded @ ..] = data else { return };
    let (dtype, fill) = TYPES[usize::from(kind & 15) % TYPES.len()];
    let [y, x] = SHAPES[usize::from(kind >> 4) % SHAPES.len()];
    let (codecs, encoded): (Value, &[u8]) = match usize::from(*chain) % CHAINS.len() {
        0 => {
            let end = encoded.iter().position(|&b| b == 0).unwrap_or(encoded.len());
            let Ok(codecs) = serde_json::from_slice(&encoded[..end]) else { return };
            (codecs, encoded.get(end + 1..).unwrap_or_default())
        }
        n => {
            let codecs = CHAINS[n].replace("SHARD", SHARD).replace("BYTES", BYTES);
            (serde_json::from_str(&format!("[{codecs}]")).expect("our own JSON"), encoded)
        }
    };
    let fill: Value = serde_json::from_str(fill).expect("our own JSON");
    let document = json!({
        "zarr_format": 3, "node_type": "array", "shape": [y, x], "data_type": dtype, "fill_value": fill, "codecs": codecs,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [y, x]}},
        "chunk_key_encoding": {"name": "default"}, "dimension_names": ["y", "x"],
    });
    let store = Arc::new(MemoryStore::new());
    store.put("zarr.json", document.to_string().as_bytes()).expect("a key");
    store.put("c/0/0", encoded).expect("a key");
    let Ok(cube) = open_in(store.clone(), "", "memory:chunk.zarr", &Default::default()) else { return };
    let variable = &cube.cube.variables[0];
    let Ok(reader) = ChunkReader::new(variable, store) else { return };
    if dtype == "string" {
        if let Ok(texts) = reader.read_text(&[0, 0]) {
            assert_eq!(texts.len() as u64, y * x);
        }
        return;
    }
    // Where the chain has inner chunks, each by itself.
    let (mut scratch, mut cells) = (Scratch::new(), Vec::new());
    let grid = reader.grid().to_vec();
    for chunk in 0..grid.iter().product::<u64>().min(64) {
        let chunk = [chunk / grid[1], chunk % grid[1]];
        if reader.read(&chunk, &mut scratch, &mut cells).is_ok() {
            assert_eq!(Some(cells.len() as u64), reader.decoded_size(&chunk));
            assert!(cells.capacity() <= 4 << 20, "{} bytes of room", cells.capacity());
        }
    }
}
