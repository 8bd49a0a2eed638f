//! Regions against a plain array in memory, read back with zarrs; writers at the same time.

use super::*;
use crate::store::MemoryStore;
use crate::write::{ArraySpec, CubeWriter, Existing, JournalHead, Output, ZarrVersion};
use chunkwise_core::cube::{Attrs, DataType};
use chunkwise_core::dtype::Scalar;
use proptest::prelude::*;
use std::path::Path;
use zarrs::array::{Array, ArraySubset};
use zarrs::filesystem::FilesystemStore;

fn make(place: Place, shape: &[u64], chunks: &[u64], shards: Option<Vec<u64>>, zarr: ZarrVersion) -> CubeWriter {
    let output = Output {
        place,
        group: String::new(),
        existing: Existing::Refuse,
        inputs: Vec::new(),
        job: JournalHead::default(),
        zarr,
        attrs: Attrs::new(),
    };
    let spec = ArraySpec {
        path: "v".into(),
        dims: (0..shape.len()).map(|i| format!("d{i}")).collect(),
        shape: shape.to_vec(),
        dtype: DataType::Number(DType::Int32),
        chunks: chunks.to_vec(),
        shards,
        codec: "blosc".parse().unwrap(),
        fill_value: Some(Scalar::Int(-1)),
        missing: None,
        attrs: Attrs::new(),
        zarr,
    };
    CubeWriter::begin(output, vec![spec]).unwrap()
}

fn folder(at: &Path) -> Place {
    Place::Folder(at.to_owned())
}

fn read(at: &Path) -> Vec<i32> {
    let store = Arc::new(FilesystemStore::new(at).unwrap());
    let array = Array::open(store, "/v").unwrap();
    let all = ArraySubset::new_with_shape(array.shape().to_vec());
    array.retrieve_array_subset::<Vec<i32>>(&all).unwrap()
}

fn layouts() -> [(ZarrVersion, Option<Vec<u64>>); 3] {
    [(ZarrVersion::V2, None), (ZarrVersion::V3, None), (ZarrVersion::V3, Some(vec![4, 6]))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn blocks_written_one_after_another_give_what_they_give_in_memory(
        blocks in prop::collection::vec((0u64..7, 0u64..10, 0u64..7, 0u64..10, -3i32..3), 1..6),
        layout in 0usize..3,
    ) {
        let (zarr, shards) = layouts()[layout].clone();
        let at = tempfile::tempdir().unwrap();
        make(folder(at.path()), &[7, 10], &[2, 3], shards, zarr).finish().unwrap();
        let mut expected = vec![-1i32; 70];
        for (y, x, h, w, value) in blocks {
            let (h, w) = (h.min(7 - y), w.min(10 - x));
            let cells: Vec<i32> = (0..h * w).map(|i| if value == 2 { -1 } else { value + i as i32 }).collect();
            for (i, v) in cells.iter().enumerate() {
                let i = i as u64;
                expected[((y + i / w) * 10 + x + i % w) as usize] = *v;
            }
            write_region(&folder(at.path()), "v", &[y, x], &[h, w], &cells, RegionOptions::default()).unwrap();
        }
        prop_assert_eq!(read(at.path()), expected);
        prop_assert!(!at.path().join("v").join(lock::LOCKS).exists());
    }
}

#[test]
fn whole_chunks_are_not_read_and_chunks_of_fill_are_removed() {
    for (zarr, _) in &layouts()[..2] {
        let at = tempfile::tempdir().unwrap();
        make(folder(at.path()), &[4, 5], &[2, 3], None, *zarr).finish().unwrap();
        // A chunk that cannot be read, in the ragged column: to cover its cells is enough.
        let key = if *zarr == ZarrVersion::V2 { "v/0.1" } else { "v/c/0/1" };
        let path = at.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "rubbish").unwrap();
        let write = |start: [u64; 2], shape: [u64; 2], cells: &[i32]| {
            write_region(&folder(at.path()), "v", &start, &shape, cells, RegionOptions::default())
        };
        let e = write([0, 3], [1, 2], &[1, 2]).unwrap_err();
        assert!(matches!(&e, RegionError::Decode { key: k, .. } if k == key), "{e}");
        let done = write([0, 3], [2, 2], &[1, 2, 3, 4]).unwrap();
        assert_eq!(done, RegionWritten { whole: 1, partial: 0, removed: 0 });
        let done = write([0, 3], [2, 2], &[-1; 4]).unwrap();
        assert_eq!(done, RegionWritten { whole: 1, partial: 0, removed: 1 });
        assert!(!path.exists());
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let at = tempfile::tempdir().unwrap();
    let place = folder(at.path());
    make(place.clone(), &[4, 5], &[2, 3], None, ZarrVersion::V3).finish().unwrap();
    let all = RegionOptions::default();
    let e = write_region(&place, "v", &[0, 0], &[1, 1], &[1.0f32], all).unwrap_err();
    assert_eq!(e.to_string(), "`v` holds `int32`, and the block is `float32`");
    for (start, shape) in [([3, 0], [2, 1]), ([0, 5], [1, 1]), ([u64::MAX, 0], [2, 1])] {
        let e = write_region(&place, "v", &start, &shape, &[1i32; 2], all).unwrap_err();
        assert!(matches!(e, RegionError::Outside { .. }), "{e}");
    }
    let e = write_region(&place, "v", &[0], &[1], &[1i32], all).unwrap_err();
    assert!(matches!(e, RegionError::Outside { .. }), "{e}");
    let e = write_region(&place, "v", &[0, 0], &[2, 2], &[1i32; 3], all).unwrap_err();
    assert!(matches!(e, RegionError::Cells { found: 3, .. }), "{e}");
    let e = write_region(&place, "w", &[0, 0], &[1, 1], &[1i32], all).unwrap_err();
    assert!(matches!(e, RegionError::NoArray { .. }), "{e}");
    write_region(&place, "v", &[4, 5], &[0, 0], &[0i32; 0], all).unwrap();
    assert_eq!(read(at.path()), [-1; 20]);
}

#[test]
fn a_cube_that_is_not_finished_takes_no_regions() {
    let at = tempfile::tempdir().unwrap();
    let place = folder(at.path());
    drop(make(place.clone(), &[4], &[2], None, ZarrVersion::V3));
    let e = write_region(&place, "v", &[0], &[1], &[1i32], RegionOptions::default()).unwrap_err();
    assert!(matches!(e, RegionError::Write(WriteError::Unfinished { .. })), "{e}");
}

#[test]
fn a_shard_has_the_bytes_that_a_new_cube_gives_it() {
    let cells: Vec<i32> = (0..70).collect();
    let made = |region: bool| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let place = Place::Store(Arc::clone(&store));
        let writer = make(place.clone(), &[7, 10], &[2, 3], Some(vec![4, 6]), ZarrVersion::V3);
        if region {
            writer.finish().unwrap();
            let all = RegionOptions::default();
            write_region(&place, "v", &[0, 0], &[7, 10], &cells, all).unwrap();
        } else {
            writer.write_whole(0, bytemuck::cast_slice(&cells)).unwrap();
            writer.finish().unwrap();
        }
        store.get("v/c/0/0", ByteRange::Whole).unwrap().unwrap()
    };
    assert!(made(true) == made(false));
}

#[test]
fn threads_that_fill_parts_of_the_same_chunks_all_survive() {
    for (zarr, shards) in layouts() {
        let at = tempfile::tempdir().unwrap();
        let place = folder(at.path());
        make(place.clone(), &[8, 12], &[4, 6], shards.map(|_| vec![8, 12]), zarr).finish().unwrap();
        std::thread::scope(|scope| {
            for y in 0..8u64 {
                let place = &place;
                scope.spawn(move || {
                    let row: Vec<i32> = (0..12).map(|x| (y * 12) as i32 + x).collect();
                    write_region(place, "v", &[y, 0], &[1, 12], &row, RegionOptions::default()).unwrap();
                });
            }
        });
        assert_eq!(read(at.path()), (0..96).collect::<Vec<i32>>());
    }
}

/// Runs as a process of its own: see below.
#[test]
#[ignore = "a part of the next test"]
fn child_that_writes_every_second_row() {
    let Some(at) = std::env::var_os("CHUNKWISE_TEST_OUTPUT") else {
        return;
    };
    let first: u64 = std::env::var("CHUNKWISE_TEST_FIRST").unwrap().parse().unwrap();
    for y in (first..40).step_by(2) {
        let row = vec![y as i32; 8];
        let place = Place::Folder(at.clone().into());
        write_region(&place, "v", &[y, 0], &[1, 8], &row, RegionOptions::default()).unwrap();
    }
}

#[test]
fn processes_that_fill_parts_of_the_same_chunks_all_survive() {
    let at = tempfile::tempdir().unwrap();
    make(folder(at.path()), &[40, 8], &[40, 4], None, ZarrVersion::V3).finish().unwrap();
    let child = |first: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "write::region::tests::child_that_writes_every_second_row"])
            .env("CHUNKWISE_TEST_OUTPUT", at.path())
            .env("CHUNKWISE_TEST_FIRST", first)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut child in [child("0"), child("1")] {
        assert!(child.wait().unwrap().success());
    }
    let expected: Vec<i32> = (0..40).flat_map(|y| [y; 8]).collect();
    assert_eq!(read(at.path()), expected);
}

#[test]
fn what_a_killed_process_left_locked_is_locked_anew() {
    let at = tempfile::tempdir().unwrap();
    let place = folder(at.path());
    make(place.clone(), &[4], &[4], None, ZarrVersion::V3).finish().unwrap();
    let locks = at.path().join("v").join(lock::LOCKS);
    std::fs::create_dir_all(&locks).unwrap();
    std::fs::write(locks.join("c.0"), "").unwrap();
    write_region(&place, "v", &[1], &[1], &[5i32], RegionOptions::default()).unwrap();
    assert_eq!(read(at.path()), [-1, 5, -1, -1]);
    assert!(!locks.exists());
}

/// A sharded array as another writer makes it: the index where and how it says, its inner chunks as `codecs` say.
fn foreign(at: &Path, index_location: &str, index_codecs: serde_json::Value) {
    let node = serde_json::json!({
        "zarr_format": 3, "node_type": "array", "shape": [7, 10], "data_type": "int32", "fill_value": -1,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 6]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [2, 3], "index_codecs": index_codecs, "index_location": index_location,
            "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]}}],
    });
    std::fs::create_dir_all(at.join("v")).unwrap();
    std::fs::write(at.join("v/zarr.json"), serde_json::to_vec(&node).unwrap()).unwrap();
}

#[test]
fn inner_chunks_that_are_not_touched_keep_their_bytes() {
    let endian = |e| serde_json::json!({"name": "bytes", "configuration": {"endian": e}});
    let crc = serde_json::json!({"name": "crc32c"});
    for location in ["start", "end"] {
        for codecs in [
            serde_json::json!([endian("little")]),
            serde_json::json!([endian("big"), crc]),
            serde_json::json!([endian("little"), crc]),
        ] {
            let at = tempfile::tempdir().unwrap();
            foreign(at.path(), location, codecs);
            let place = folder(at.path());
            let mut cells: Vec<i32> = (0..70).collect();
            write_region(&place, "v", &[0, 0], &[7, 10], &cells, RegionOptions::default()).unwrap();
            assert_eq!(read(at.path()), cells);
            // One cell of one inner chunk: damage in another one is neither found nor mended.
            let shard = at.path().join("v/c/0/0");
            let mut bytes = std::fs::read(&shard).unwrap();
            let first = if location == "start" { bytes.len() - 4 * 28 } else { 0 };
            bytes[first + 1] ^= 1;
            std::fs::write(&shard, &bytes).unwrap();
            write_region(&place, "v", &[3, 5], &[1, 1], &[500i32], RegionOptions::default()).unwrap();
            let after = std::fs::read(&shard).unwrap();
            assert_eq!(after[first..first + 3 * 28], bytes[first..first + 3 * 28], "untouched inner chunks");
            assert_eq!(after.len(), bytes.len());
            bytes[first + 1] ^= 1;
            let mended = [&after[..first + 1], &bytes[first + 1..first + 2], &after[first + 2..]].concat();
            std::fs::write(&shard, mended).unwrap();
            cells[35] = 500;
            assert_eq!(read(at.path()), cells);
            // Back to fill: inner chunks go, and with the last one the shard.
            write_region(&place, "v", &[0, 0], &[4, 6], &[-1i32; 24], RegionOptions::default()).unwrap();
            assert!(!shard.exists());
        }
    }
}
