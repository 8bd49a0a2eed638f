use super::*;
use crate::create::{CreateSpec, create, parse_dim};
use crate::open::open_in;
use crate::store::{MemoryStore, Store};
use crate::write::{Output, Place, RegionOptions, write_region};
use chunkwise_core::dtype::DType;

/// A cube of 4 × 6 cells in chunks of 2 × 3.
fn cube() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let place = Place::Store(store.clone());
    let dims = ["time=2024-05-01,2024-06-01,2024-07-01,2024-08-01", "x=6"].map(parse_dim);
    let dims = dims.into_iter().map(|dim| dim.unwrap()).collect();
    let mut spec = CreateSpec::new("data", dims, DType::UInt16);
    spec.chunks = [("time".to_owned(), 2), ("x".to_owned(), 3)].into();
    spec.codec = "zstd:3+crc32c".parse().unwrap();
    create(&spec, Output::new(place.clone())).unwrap();
    let cells: Vec<u16> = (1..=24).collect();
    write_region(&place, "data", &[0, 0], &[4, 6], &cells, RegionOptions::default()).unwrap();
    store
}

fn verify(store: &Arc<MemoryStore>) -> (Vec<String>, Counters) {
    let open = open_in(store.clone(), "", "memory:cube", &Default::default()).unwrap();
    static NEVER: AtomicBool = AtomicBool::new(false);
    let options = VerifyOptions { variables: Vec::new(), memory: 1 << 30, threads: 2, cancel: &NEVER };
    let counters = Counters::default();
    let found = prepare(&open, options).unwrap().run(&counters).unwrap();
    assert_eq!(found.count, found.problems.len() as u64);
    let line = |p: &Problem| format!("{} {:?} {:?} {}", p.variable, p.chunk, p.key, p.problem);
    (found.problems.iter().map(line).collect(), counters)
}

#[test]
fn a_whole_cube_has_no_problems_and_absent_chunks_are_none() {
    let store = cube();
    assert_eq!(verify(&store).0, Vec::<String>::new());
    store.delete("data/c/0/1").unwrap();
    let (found, counters) = verify(&store);
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(counters.absent.into_inner(), 1);
}

#[test]
fn each_damaged_chunk_is_listed() {
    let store = cube();
    for (key, cut) in [("data/c/0/0", true), ("data/c/1/1", false)] {
        let mut bytes = store.get(key, crate::store::ByteRange::Whole).unwrap().unwrap();
        if cut {
            bytes.truncate(5)
        } else {
            bytes[6] ^= 1
        }
        store.put(key, &bytes).unwrap();
    }
    let (found, _) = verify(&store);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("data Some([0, 0]) Some(\"data/c/0/0\") cannot decode"), "{found:?}");
    assert!(found[1].starts_with("data Some([1, 1]) Some(\"data/c/1/1\") cannot decode"), "{found:?}");
}

#[test]
fn objects_that_are_no_chunks_are_told() {
    let store = cube();
    for key in ["data/c/0/2", "data/c/0/01", "data/notes.txt", "data/c/5/0", "data/d/1"] {
        store.put(key, b"?").unwrap();
    }
    let (found, _) = verify(&store);
    let expected = ["data/d", "data/notes.txt", "data/c/5", "data/c/0/01", "data/c/0/2"];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for key in expected {
        assert!(found.iter().any(|line| line.contains(&format!("Some({key:?})"))), "{key}: {found:?}");
    }
}

#[test]
fn attributes_that_name_what_is_not_there_are_told() {
    let store = cube();
    let bytes = store.get("data/zarr.json", crate::store::ByteRange::Whole).unwrap().unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    document["attributes"] = serde_json::json!({
        "ancillary_variables": "quality", "flag_values": [1, 2], "flag_meanings": "clear", "valid_range": [9, 1],
    });
    store.put("data/zarr.json", document.to_string().as_bytes()).unwrap();
    // The group still holds the old attributes: opened without it.
    let group = store.get("zarr.json", crate::store::ByteRange::Whole).unwrap().unwrap();
    let mut group: serde_json::Value = serde_json::from_slice(&group).unwrap();
    group.as_object_mut().unwrap().remove("consolidated_metadata");
    store.put("zarr.json", group.to_string().as_bytes()).unwrap();
    let (found, _) = verify(&store);
    for words in ["`ancillary_variables` names `quality`", "`flag_values` has 2 values", "valid range is empty"] {
        assert!(found.iter().any(|line| line.starts_with("data ") && line.contains(words)), "{words}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}
