//! Any bytes in the place of a shard: each inner chunk is read or refused, by threads and by tasks alike.

use chunkwise::chunk::{ChunkReader, Scratch};
use chunkwise::open::open_in;
use chunkwise::store::{MemoryStore, Store};
use std::sync::Arc;

/// Inner codecs; the last is a shard within the shard.
const INNER: [&str; 4] = [
    r#"{"name":"bytes","configuration":{"endian":"little"}}"#,
    r#"{"name":"bytes","configuration":{"endian":"big"}},{"name":"zstd","configuration":{"level":1,"checksum":false}}"#,
    r#"{"name":"bytes","configuration":{"endian":"little"}},{"name":"gzip","configuration":{"level":1}},{"name":"crc32c"}"#,
    r#"{"name":"sharding_indexed","configuration":{"chunk_shape":[2,2],"codecs":[{"name":"bytes","configuration":{"endian":"little"}}],"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}]}}"#,
];

/// Inner chunks of the shard.
const COUNT: usize = 6;

/// The first byte says the layout, the others are the shard. Bit 6 puts the right checksum behind the index.
pub(crate) fn run(data: &[u8]) {
    let Some((&layout, shard)) = data.split_first() else { return };
    let inner = INNER[usize::from(layout & 3)];
    let place = if layout & 4 == 0 { "end" } else { "start" };
    let endian = if layout & 8 == 0 { "little" } else { "big" };
    let checksum = if layout & 16 == 0 { "" } else { r#",{"name":"crc32c"}"# };
    let document = format!(
        r#"{{"zarr_format":3,"node_type":"array","shape":[8,12],"data_type":"uint16","fill_value":7,
        "chunk_grid":{{"name":"regular","configuration":{{"chunk_shape":[8,12]}}}},
        "chunk_key_encoding":{{"name":"default"}},"dimension_names":["y","x"],
        "codecs":[{{"name":"sharding_indexed","configuration":{{"chunk_shape":[4,4],"codecs":[{inner}],
        "index_codecs":[{{"name":"bytes","configuration":{{"endian":"{endian}"}}}}{checksum}],"index_location":"{place}"}}}}]}}"#
    );
    let mut shard = shard.to_vec();
    let index = 16 * COUNT;
    if layout & 64 != 0 && layout & 16 != 0 && shard.len() >= index {
        match place {
            "end" => {
                let sum = crc32c::crc32c(&shard[shard.len() - index..]);
                shard.extend(sum.to_le_bytes());
            }
            _ => {
                let sum = crc32c::crc32c(&shard[..index]);
                shard.splice(index..index, sum.to_le_bytes());
            }
        }
    }
    let store = Arc::new(MemoryStore::new());
    store.put("zarr.json", document.as_bytes()).expect("a key");
    store.put("c/0/0", &shard).expect("a key");
    let cube = open_in(store.clone(), "", "memory:shard.zarr", &Default::default()).expect("it is an array");
    let variable = &cube.cube.variables[0];
    assert_eq!(variable.problem, None);
    let by_thread = ChunkReader::new(variable, store.clone()).expect("known codecs");
    let by_task = ChunkReader::new(variable, store).expect("known codecs");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (mut scratch, mut one, mut other) = (Scratch::new(), Vec::new(), Vec::new());
    for chunk in 0..COUNT as u64 {
        let chunk = [chunk / 3, chunk % 3];
        let read = by_thread.read(&chunk, &mut scratch, &mut one).is_ok();
        let fetched = runtime.block_on(by_task.fetch(&chunk));
        let decoded = fetched.and_then(|(_, bytes)| by_task.decode(&chunk, bytes.as_deref(), &mut scratch, &mut other));
        assert_eq!(read, decoded.is_ok(), "{chunk:?}");
        if read {
            assert_eq!(one.len(), 32);
            assert_eq!(one, other);
        }
    }
}
