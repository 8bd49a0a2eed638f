//! Chunks of shards: where they lie, what they cost, and what damage says.

use super::*;
use crate::chunk::shard::{Run, runs};

/// 10 x 8 cells, chunks of 2 x 2 in shards of 4 x 4.
pub(super) fn sharded(index: &str, checked: bool) -> Variable {
    let index_codecs = if checked { json!([little(), crc32c()]) } else { json!([little()]) };
    let sharding = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2, 2], "codecs": [little(), zstd()], "index_codecs": index_codecs, "index_location": index}}]);
    let mut variable = numbers(DType::Int32, &[10, 8], &[2, 2], sharding);
    variable.shards = Some(vec![ChunkSizes::Regular(4); 2]);
    variable
}

#[test]
fn a_chunk_of_a_shard_takes_the_index_once_and_its_own_bytes() {
    for (index, checked) in [("end", true), ("start", true), ("end", false), ("start", false)] {
        let variable = sharded(index, checked);
        let reader = ChunkReader::new(&variable, written(&variable)).unwrap();
        let address = reader.address(&[3, 1]).unwrap();
        assert_eq!(address, Address { key: "group/a/c/1/0".to_owned(), object: vec![1, 0], within: Some(3) });
        let (first, cells) = read(&reader, &[3, 1]).unwrap();
        // Cells (2, 2), (2, 3), (3, 2), (3, 3) of a shard whose cell (y, x) holds 4 y + x.
        assert_eq!(cells, cell_bytes(DType::Int32, [10, 11, 14, 15].into_iter()));
        assert_eq!(first.requests, 2);
        let (second, cells) = read(&reader, &[2, 1]).unwrap();
        assert_eq!(cells, cell_bytes(DType::Int32, [2, 3, 6, 7].into_iter()));
        assert_eq!(second.requests, 1);
        assert!(second.encoded_bytes < first.encoded_bytes);
        let (absent, cells) = read(&reader, &[4, 3]).unwrap();
        assert_eq!(cells, cell_bytes(DType::Int32, std::iter::repeat_n(7, 4)));
        assert_eq!(absent, Fetched { existed: false, requests: 1, encoded_bytes: 0 });
        assert_eq!(read(&reader, &[4, 2]).unwrap().0.requests, 0);
    }
}

/// What reading chunk (0, 0) says where its shard is `bytes`.
fn said_of(variable: &Variable, bytes: &[u8]) -> String {
    let store = Arc::new(MemoryStore::new());
    store.put("group/a/c/0/0", bytes).unwrap();
    let reader = ChunkReader::new(variable, store).unwrap();
    let here = said(&read(&reader, &[0, 0]).unwrap_err());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetched = runtime.block_on(reader.fetch(&[0, 0]));
    let there = match fetched {
        Err(error) => said(&error),
        Ok((_, bytes)) => {
            said(&reader.decode(&[0, 0], bytes.as_deref(), &mut Scratch::new(), &mut Vec::new()).unwrap_err())
        }
    };
    assert_eq!(here, there, "stores that are polled say the same");
    here
}

/// The object of shard (0, 0).
fn object(variable: &Variable) -> Vec<u8> {
    written(variable).get("group/a/c/0/0", ByteRange::Whole).unwrap().unwrap()
}

#[test]
fn a_damaged_shard_is_an_error_that_names_it() {
    let variable = sharded("end", true);
    let whole = object(&variable);
    let named = "cannot decode chunk [0, 0] of `group/a` (`group/a/c/0/0`, the last 68 bytes): ";
    let index = |bytes: &[u8]| {
        let said = said_of(&variable, bytes);
        said.strip_prefix(named).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    assert_eq!(index(&whole[..20]), "the shard index holds 20 bytes, expected 68");
    assert_eq!(index(&[]), "the shard index holds 0 bytes, expected 68");
    // Cut short, other bytes stand where the index is looked for.
    assert!(index(&whole[..whole.len() - 1]).starts_with("checksum `crc32c`"));
    for at in [whole.len() - 1, whole.len() - 30, whole.len() - 68] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(index(&flipped).starts_with("checksum `crc32c`"), "byte {at}");
    }
    // A flipped bit in the chunk itself.
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    let said = said_of(&variable, &flipped);
    assert!(said.starts_with("cannot decode chunk [0, 0] of `group/a` (`group/a/c/0/0`, "), "{said}");
    assert!(said.contains(" bytes from 0): codec `zstd`"), "{said}");
}

#[test]
fn an_index_that_no_object_has_is_refused() {
    let said = |format: (&str, bool), entries: [(u64, u64); 2]| {
        let mut index: Vec<u8> = entries.iter().flat_map(|(a, b)| [*a, *b]).flat_map(u64::to_le_bytes).collect();
        index.resize(64, 0xFF);
        if format.1 {
            index.extend(crc32c::crc32c(&index).to_le_bytes());
        }
        let payload = [0u8; 500];
        let object =
            if format.0 == "start" { [&index, &payload[..]].concat() } else { [&payload[..], &index].concat() };
        let said = said_of(&sharded(format.0, format.1), &object);
        assert!(said.contains("chunk [0, 0] of `group/a` (`group/a/c/0/0`, "), "{said}");
        said
    };
    let none = (u64::MAX, u64::MAX);
    for format in [("end", true), ("end", false), ("start", true), ("start", false)] {
        // Start and length past what numbers hold, or past what any object holds.
        for (start, len) in [(u64::MAX - 3, 8), (64, u64::MAX - 1), (u64::MAX, 68), (1 << 63, 8)] {
            assert!(said(format, [(start, len), none]).contains("which no object holds"));
        }
        // As long as no chunk is: it is not even asked for.
        let said_long = said(format, [(68, 1_000_000_000_000_000_000), none]);
        assert!(said_long.contains("it can have no more than"), "{said_long}");
        // Past the end of the object.
        let beyond = said(format, [(1 << 40, 8), none]);
        assert!(beyond.contains("8 bytes from 1099511627776"), "{beyond}");
        // In parts of the same bytes.
        let overlap = said(format, [(100, 50), (120, 50)]);
        assert!(overlap.contains("50 bytes from 120 overlap 50 bytes from 100"), "{overlap}");
    }
    // In the index itself.
    assert!(said(("start", true), [(10, 8), none]).contains("which no object holds"));
}

#[test]
fn two_chunks_may_be_the_same_bytes() {
    let variable = sharded("end", false);
    let whole = object(&variable);
    let at = whole.len() - 64;
    let mut twice = whole.clone();
    twice.copy_within(at..at + 16, at + 16);
    let store = Arc::new(MemoryStore::new());
    store.put("group/a/c/0/0", &twice).unwrap();
    let reader = ChunkReader::new(&variable, store).unwrap();
    assert_eq!(read(&reader, &[0, 1]).unwrap().1, read(&reader, &[0, 0]).unwrap().1);
}

#[test]
fn chunks_join_into_one_request_where_little_lies_between_them() {
    let chunks = vec![(2, 100, 10), (0, 0, 10), (1, 10, 10), (3, 115, 5)];
    let run = |start, len, parts: &[(usize, u64, u64)]| Run { start, len, parts: parts.to_vec() };
    let apart = [run(0, 20, &[(0, 0, 10), (1, 10, 10)]), run(100, 10, &[(2, 0, 10)]), run(115, 5, &[(3, 0, 5)])];
    assert_eq!(runs(chunks.clone(), 0, u64::MAX), apart);
    let [first, ..] = &apart;
    let near = [first.clone(), run(100, 20, &[(2, 0, 10), (3, 15, 5)])];
    assert_eq!(runs(chunks.clone(), 5, u64::MAX), near);
    // All together are 35 bytes: what lies between is read only as far as there is room.
    assert_eq!(runs(chunks.clone(), 1000, 40), near);
    assert_eq!(runs(chunks.clone(), 1000, 39), apart);
    let all = [run(0, 120, &[(0, 0, 10), (1, 10, 10), (2, 100, 10), (3, 115, 5)])];
    assert_eq!(runs(chunks, 80, 120), all);
}

#[test]
fn the_cache_of_indexes_stays_bounded() {
    let mut variable = sharded("end", true);
    variable.shape = vec![u64::MAX, 8];
    let mut shards = Shards::of(&variable).unwrap().unwrap();
    shards.keep(1000 * (16 * 4 + 256));
    for shard in 0..1500 {
        shards.slot(&shards.find(&[2 * shard, 0]));
    }
    assert!((500..=1000).contains(&shards.cached()), "{}", shards.cached());
    let kept = shards.slot(&shards.find(&[2 * 1499, 0]));
    assert!(Arc::ptr_eq(&kept, &shards.slot(&shards.find(&[2 * 1499 + 1, 0]))));
    shards.keep(0);
    for shard in 0..10 {
        shards.slot(&shards.find(&[2 * shard, 0]));
        assert_eq!(shards.cached(), 1);
    }
}

#[test]
fn damage_within_an_inner_shard_is_found() {
    let sharding = |chunk: [u64; 2], codecs: Value| {
        json!([{"name": "sharding_indexed", "configuration": {
            "chunk_shape": chunk, "codecs": codecs, "index_codecs": [little(), crc32c()]}}])
    };
    let nested = sharding([4, 4], sharding([2, 2], json!([little(), zstd()])));
    let mut variable = numbers(DType::Int32, &[16, 8], &[4, 4], nested);
    variable.shards = Some(vec![ChunkSizes::Regular(8); 2]);
    let whole = object(&variable);
    let index = &whole[whole.len() - 68..];
    let number = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().unwrap());
    let (start, len) = (number(0), number(8));
    let place = format!("`group/a/c/0/0`, {len} bytes from {start}): ");
    let damaged = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = whole.clone();
        change(&mut bytes[start as usize..(start + len) as usize]);
        let said = said_of(&variable, &bytes);
        said.split_once(&place).unwrap_or_else(|| panic!("{said}")).1.to_owned()
    };
    assert!(damaged(&|inner| *inner.last_mut().unwrap() ^= 1).starts_with("checksum `crc32c`"));
    assert!(damaged(&|inner| inner[0] ^= 1).starts_with("codec `zstd`"));
    let entries = |first: (u64, u64)| {
        move |inner: &mut [u8]| {
            let at = inner.len() - 68;
            inner[at..at + 8].copy_from_slice(&first.0.to_le_bytes());
            inner[at + 8..at + 16].copy_from_slice(&first.1.to_le_bytes());
            let sum = crc32c::crc32c(&inner[at..at + 64]);
            inner[at + 64..].copy_from_slice(&sum.to_le_bytes());
        }
    };
    for entry in [(1 << 40, 8), (u64::MAX - 3, 8), (1 << 50, 1_000_000_000_000_000_000)] {
        assert!(damaged(&entries(entry)).contains("which no object holds"), "{entry:?}");
    }
}

#[test]
fn shards_within_shards_and_beside_other_codecs_read_as_zarrs_reads_them() {
    let sharding = |chunk: [u64; 2], codecs: Value| {
        json!({"name": "sharding_indexed", "configuration": {
            "chunk_shape": chunk, "codecs": codecs, "index_codecs": [little(), crc32c()], "index_location": "end"}})
    };
    let plain = || sharding([2, 2], json!([little(), zstd()]));
    let transpose = json!({"name": "transpose", "configuration": {"order": [1, 0]}});
    // Of the outer shard and the codecs: the chunk as it is decoded.
    let cases = [
        (json!([sharding([4, 4], json!([plain()]))]), Some([8, 8]), [4, 4]),
        (json!([plain(), zstd()]), None, [4, 4]),
        (json!([transpose, sharding([4, 2], json!([little(), zstd()]))]), None, [8, 4]),
    ];
    for (codecs, shard, chunk) in cases {
        let mut variable = numbers(DType::Int32, &[16, 12], &chunk, codecs.clone());
        variable.shards = shard.map(|s| s.map(ChunkSizes::Regular).to_vec());
        let reader = ChunkReader::new(&variable, written(&variable)).unwrap();
        let object = shard.unwrap_or(chunk);
        for y in 0..16 / chunk[0] {
            for x in 0..12 / chunk[1] {
                let address = reader.address(&[y, x]).unwrap();
                let last = address.object == [15 / object[0], 11 / object[1]];
                let cell = |(i, j): (u64, u64)| {
                    let (i, j) = ((y * chunk[0] + i) % object[0], (x * chunk[1] + j) % object[1]);
                    if last { 7 } else { (i * object[1] + j) as usize % 97 }
                };
                let cells = (0..chunk[0]).flat_map(|i| (0..chunk[1]).map(move |j| (i, j))).map(cell);
                assert_eq!(read(&reader, &[y, x]).unwrap().1, cell_bytes(DType::Int32, cells), "{codecs} [{y}, {x}]");
            }
        }
    }
}

#[test]
fn an_impossible_layout_is_refused() {
    let mut huge = sharded("end", true);
    huge.shape = vec![u64::MAX, u64::MAX];
    huge.shards = Some(vec![ChunkSizes::Regular(1 << 62); 2]);
    assert!(ChunkReader::new(&huge, Arc::new(MemoryStore::new())).is_err());
    let mut listed = sharded("end", true);
    listed.shards = Some(vec![ChunkSizes::Listed(vec![4, 5, 1]), ChunkSizes::Regular(4)]);
    let error = ChunkReader::new(&listed, Arc::new(MemoryStore::new())).unwrap_err();
    assert!(said(&error).contains("a shard of 5 is not made of chunks of 2"), "{}", said(&error));
}
