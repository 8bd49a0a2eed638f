//! Outputs that begin, finish, fail and are killed. What is written is read back with zarrs.

use super::*;
use crate::store::{Access, ByteRange, Entry, MemoryStore, StoreError};
use crate::write::place::Present;
use chunkwise_core::cube::DataType;
use chunkwise_core::dtype::{DType, Scalar};
use serde_json::{Value, json};
use std::fs;
use std::io;
use zarrs::array::{Array, ArraySubset};
use zarrs::filesystem::FilesystemStore;

fn output(folder: &Path, existing: Existing, zarr: ZarrVersion) -> Output {
    Output {
        place: Place::Folder(folder.to_owned()),
        group: String::new(),
        existing,
        inputs: Vec::new(),
        job: JournalHead { plan: "p".into(), version: "1".into(), ..JournalHead::default() },
        zarr,
        attrs: Attrs::new(),
    }
}

fn array(name: &str, shape: &[u64], chunks: &[u64], zarr: ZarrVersion) -> ArraySpec {
    ArraySpec {
        path: name.into(),
        dims: ["t", "y", "x"][3 - shape.len()..].iter().map(|&d| d.to_owned()).collect(),
        shape: shape.to_vec(),
        dtype: DataType::Number(DType::UInt16),
        chunks: chunks.to_vec(),
        shards: None,
        codec: "zstd".parse().unwrap(),
        fill_value: (zarr == ZarrVersion::V3).then_some(Scalar::Int(7)),
        missing: None,
        attrs: Attrs::new(),
        zarr,
    }
}

fn numbers(n: u64) -> Vec<u16> {
    (0..n).map(|i| (i * 7919 % 65521) as u16).collect()
}

fn read(folder: &Path, path: &str) -> Vec<u16> {
    let store = Arc::new(FilesystemStore::new(folder).unwrap());
    let array = Array::open(store, &format!("/{path}")).unwrap();
    let all = ArraySubset::new_with_shape(array.shape().to_vec());
    array.retrieve_array_subset::<Vec<u16>>(&all).unwrap()
}

fn write(output: Output, spec: ArraySpec, cells: &[u16]) -> Result<Written, WriteError> {
    let writer = CubeWriter::begin(output, vec![spec])?;
    writer.write_whole(0, bytemuck::cast_slice(cells))?;
    writer.finish()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else {
                let path = entry.path();
                found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_written_reads_back_in_both_versions_and_sharded() {
    for (zarr, shards) in [(ZarrVersion::V2, None), (ZarrVersion::V3, None), (ZarrVersion::V3, Some(vec![2, 8, 6]))] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("a.zarr");
        // Ragged along every dimension, shards too.
        let spec = ArraySpec { shards, ..array("v", &[3, 9, 8], &[1, 4, 3], zarr) };
        let cells = numbers(3 * 9 * 8);
        let written = write(output(&at, Existing::Refuse, zarr), spec, &cells).unwrap();
        assert_eq!(read(&at, "v"), cells);
        assert_eq!((written.chunks, written.empty), (27, 0));
        assert!(files(&at).iter().all(|f| !f.contains("chunkwise")), "{:?}", files(&at));
    }
}

#[test]
fn chunks_and_shards_of_fill_are_absent() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = ArraySpec { shards: Some(vec![4, 4]), ..array("v", &[8, 8], &[2, 2], ZarrVersion::V3) };
    let mut cells = vec![7u16; 64];
    cells[0] = 1;
    let written = write(output(&at, Existing::Refuse, ZarrVersion::V3), spec, &cells).unwrap();
    assert_eq!(written, Written { chunks: 1, empty: 15, objects: 1, bytes: written.bytes });
    assert_eq!(files(&at), ["v/c/0/0", "v/zarr.json", "zarr.json"]);
    assert_eq!(read(&at, "v"), cells);
}

#[test]
fn a_shard_has_the_same_bytes_in_any_order_of_its_chunks_and_on_any_threads() {
    let made = |order: &dyn Fn(&mut Vec<[u64; 2]>), threads: usize| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let spec = ArraySpec { shards: Some(vec![8, 8]), ..array("v", &[13, 13], &[2, 2], ZarrVersion::V3) };
        let place = Place::Store(Arc::clone(&store));
        let output = Output { place, ..output(Path::new(""), Existing::Refuse, ZarrVersion::V3) };
        let writer = CubeWriter::begin(output, vec![spec]).unwrap();
        let mut chunks: Vec<[u64; 2]> = (0..7).flat_map(|y| (0..7).map(move |x| [y, x])).collect();
        order(&mut chunks);
        std::thread::scope(|scope| {
            for part in chunks.chunks(chunks.len().div_ceil(threads)) {
                let writer = &writer;
                scope.spawn(move || {
                    for chunk in part {
                        let cells = writer.arrays()[0].cut(bytemuck::cast_slice(&numbers(169)), chunk);
                        writer.write_chunk(0, chunk, &cells).unwrap();
                    }
                });
            }
        });
        assert_eq!(writer.held_bytes(), 0);
        writer.finish().unwrap();
        ["v/c/0/0", "v/c/0/1", "v/c/1/0", "v/c/1/1"].map(|key| store.get(key, ByteRange::Whole).unwrap().unwrap())
    };
    let first = made(&|_| {}, 1);
    assert!(made(&|c| c.reverse(), 1) == first);
    assert!(made(&|c| c.sort_by_key(|c| (c[0] * 31 + c[1] * 17) % 11), 4) == first);
}

#[test]
fn chunks_in_order_are_stored_as_they_come_and_others_wait_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    // Ragged: of the second shard three inner chunks lie within the array, one behind the other but for those beside it.
    let spec = ArraySpec { shards: Some(vec![4, 4]), ..array("v", &[6, 7], &[2, 2], ZarrVersion::V3) };
    let writer = CubeWriter::begin(output(&at, Existing::Refuse, ZarrVersion::V3), vec![spec]).unwrap();
    let cells = |n: u16| bytemuck::cast_slice::<u16, u8>(&[n; 4]).to_vec();
    let put = |y, x| writer.write_chunk(0, &[y, x], &cells((4 * y + x) as u16 + 100));
    for (y, x) in [(0, 0), (0, 1), (1, 0)] {
        put(y, x).unwrap();
        assert_eq!(writer.held_bytes(), 0, "[{y}, {x}] is in order");
    }
    put(2, 1).unwrap();
    let held = writer.held_bytes();
    assert!(held > 0);
    put(2, 0).unwrap();
    assert_eq!(writer.held_bytes(), 0);
    for (y, x) in [(0, 0), (2, 0)] {
        let e = put(y, x).unwrap_err().to_string();
        assert!(e.starts_with(&format!("chunk [{y}, {x}] of `v` came again, or after its shard")), "{e}");
    }
    // What is in the making lies aside, and goes with an error.
    assert!(files(folder.path()).iter().any(|f| f.contains("aside")));
    drop(writer);
    assert!(files(folder.path()).iter().all(|f| !f.contains("aside")), "{:?}", files(folder.path()));
}

#[test]
fn what_never_came_of_a_shard_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = ArraySpec { shards: Some(vec![4, 4]), ..array("v", &[4, 4], &[2, 2], ZarrVersion::V3) };
    let writer = CubeWriter::begin(output(&at, Existing::Refuse, ZarrVersion::V3), vec![spec]).unwrap();
    writer.write_chunk(0, &[1, 0], bytemuck::cast_slice(&[1u16, 2, 3, 4])).unwrap();
    assert!(writer.held_bytes() > 0);
    writer.finish().unwrap();
    assert_eq!(read(&at, "v"), [7, 7, 7, 7, 7, 7, 7, 7, 1, 2, 7, 7, 3, 4, 7, 7]);
}

#[test]
fn chunks_beside_the_grid_and_of_a_wrong_size_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = array("v", &[4], &[2], ZarrVersion::V3);
    let writer = CubeWriter::begin(output(&at, Existing::Refuse, ZarrVersion::V3), vec![spec]).unwrap();
    let e = writer.write_chunk(0, &[2], &[0; 4]).unwrap_err();
    assert_eq!(e.to_string(), "`v` has no chunk [2]; its grid is [2]");
    let e = writer.write_chunk(0, &[1], &[0; 5]).unwrap_err();
    assert_eq!(e.to_string(), "5 bytes were given for a block of `v` that has 4");
    assert!(writer.write_whole(0, &[0; 9]).is_err());
}

#[test]
fn an_output_that_exists_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    let e = write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[0; 4]).unwrap_err();
    assert!(e.to_string().ends_with("a.zarr` exists"), "{e}");
    assert!(e.hint().unwrap().contains("--overwrite"));
    assert_eq!(read(&at, "v"), [1, 2, 3, 4]);
}

#[test]
fn the_old_cube_stays_until_the_new_one_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = |name| array(name, &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec("old"), &[1, 2, 3, 4]).unwrap();
    let again = output(&at, Existing::Overwrite, ZarrVersion::V3);
    let writer = CubeWriter::begin(again.clone(), vec![spec("new")]).unwrap();
    writer.write_whole(0, bytemuck::cast_slice(&[5u16, 6, 7, 8])).unwrap();
    assert_eq!(read(&at, "old"), [1, 2, 3, 4]);
    let busy = CubeWriter::begin(again.clone(), vec![spec("new")]).unwrap_err();
    assert!(matches!(busy, WriteError::Busy { .. }), "{busy}");
    writer.finish().unwrap();
    assert_eq!(files(&at), ["new/c/0", "new/c/1", "new/zarr.json", "zarr.json"]);
    let beside: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    // Given up, it leaves the old one.
    let writer = CubeWriter::begin(again, vec![spec("newer")]).unwrap();
    writer.write_whole(0, bytemuck::cast_slice(&[0u16, 6, 7, 8])).unwrap();
    writer.abort().unwrap();
    assert_eq!(read(&at, "new"), [5, 6, 7, 8]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_another_run_left_beside_is_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    let again = output(&at, Existing::Overwrite, ZarrVersion::V3);
    drop(CubeWriter::begin(again.clone(), vec![spec()]).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    write(again, spec(), &[5, 6, 7, 8]).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(read(&at, "v"), [5, 6, 7, 8]);
}

#[test]
fn a_swap_that_was_cut_between_its_two_steps_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    fs::rename(&at, folder.path().join(".a.zarr.chunkwise-old-1-1")).unwrap();
    let e = write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[0; 4]).unwrap_err();
    assert!(matches!(e, WriteError::Exists { .. }), "{e}");
    assert_eq!(read(&at, "v"), [1, 2, 3, 4]);
}

#[test]
fn what_is_no_cube_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    let (file, photos) = (folder.path().join("file"), folder.path().join("photos"));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("me.jpg"), "precious").unwrap();
    for at in [&file, &photos] {
        for existing in [Existing::Refuse, Existing::Overwrite, Existing::Resume, Existing::Extend] {
            let e = write(output(at, existing, ZarrVersion::V3), spec(), &[0; 4]).unwrap_err();
            assert!(matches!(e, WriteError::NotACube { .. }), "{e}");
        }
        let below = Output { group: "g".into(), ..output(at, Existing::Overwrite, ZarrVersion::V3) };
        assert!(write(below, spec(), &[0; 4]).is_err());
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(files(&photos), ["me.jpg"]);
}

#[test]
fn an_empty_folder_is_written_into_and_left_empty_when_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    let begin = || {
        let output = output(folder.path(), Existing::Refuse, ZarrVersion::V3);
        CubeWriter::begin(output, vec![spec()]).unwrap()
    };
    begin().abort().unwrap();
    assert_eq!(files(folder.path()), [""; 0]);
    begin().finish().unwrap();
    assert_eq!(read(folder.path(), "v"), [7, 7, 7, 7]);
}

#[test]
fn an_output_that_is_an_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    let dotted = folder.path().join("x/../a.zarr");
    fs::create_dir(folder.path().join("x")).unwrap();
    let mut ways = vec![at.clone(), dotted, at.join("v")];
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&at, &link).unwrap();
        ways.push(link);
    }
    for input in ways {
        let output =
            Output { inputs: vec![input.display().to_string()], ..output(&at, Existing::Overwrite, ZarrVersion::V3) };
        let e = write(output, spec(), &[0; 4]).unwrap_err();
        assert!(matches!(e, WriteError::IsInput { .. }), "{e}");
    }
    assert!(!same_place_of(&folder.path().join("b.zarr"), &at));
    assert_eq!(read(&at, "v"), [1, 2, 3, 4]);
}

#[test]
fn an_output_within_an_input_is_refused_however_it_is_spelt_but_a_new_group_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    let mut ways = vec![at.join("sub"), at.join("sub/deeper"), folder.path().join("gone/../a.zarr/sub")];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&at, folder.path().join("link")).unwrap();
        ways.push(folder.path().join("link/sub"));
    }
    let before = files(&at);
    for way in ways {
        let output =
            Output { inputs: vec![at.display().to_string()], ..output(&way, Existing::Refuse, ZarrVersion::V3) };
        let e = write(output, spec(), &[0; 4]).unwrap_err();
        assert!(matches!(e, WriteError::WithinInput { .. }), "{}: {e}", way.display());
        assert_eq!(files(&at), before);
    }
    let group = "sub".to_owned();
    let output =
        Output { inputs: vec![at.display().to_string()], group, ..output(&at, Existing::Refuse, ZarrVersion::V3) };
    write(output, spec(), &[5; 4]).unwrap();
    assert_eq!(read(&at.join("sub"), "v"), [5; 4]);
}

fn same_place_of(output: &Path, input: &Path) -> bool {
    place::same_place(output, input)
}

#[test]
fn an_unfinished_output_is_no_cube_and_is_gone_on_with_only_by_the_same_job() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    let begin = |existing, plan: &str| {
        let mut output = output(&at, existing, ZarrVersion::V3);
        output.job.plan = plan.to_owned();
        CubeWriter::begin(output, vec![spec()])
    };
    let writer = begin(Existing::Refuse, "p").unwrap();
    writer.write_chunk(0, &[0], bytemuck::cast_slice(&[1u16, 2])).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(110));
    writer.partition_done(0).unwrap();
    assert!(matches!(begin(Existing::Refuse, "p"), Err(WriteError::Busy { .. })));
    drop(writer);
    assert_eq!(files(&at), [JOURNAL, "v/c/0"]);
    let e = begin(Existing::Refuse, "p").unwrap_err();
    assert!(e.hint().unwrap().contains("--overwrite"), "{e}");
    let e = begin(Existing::Resume, "q").unwrap_err();
    assert!(e.to_string().ends_with("cannot be resumed: the request changed"), "{e}");
    let writer = begin(Existing::Resume, "p").unwrap();
    assert!(writer.is_done(0) && !writer.is_done(1));
    writer.write_chunk(0, &[1], bytemuck::cast_slice(&[3u16, 4])).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&at, "v"), [1, 2, 3, 4]);
    assert_eq!(files(&at), ["v/c/0", "v/c/1", "v/zarr.json", "zarr.json"]);
}

#[test]
fn an_overwriting_job_is_gone_on_with_beside_the_old_cube() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let spec = || array("v", &[4], &[2], ZarrVersion::V3);
    write(output(&at, Existing::Refuse, ZarrVersion::V3), spec(), &[1, 2, 3, 4]).unwrap();
    let begin = |existing| CubeWriter::begin(output(&at, existing, ZarrVersion::V3), vec![spec()]);
    let writer = begin(Existing::Overwrite).unwrap();
    writer.write_chunk(0, &[0], bytemuck::cast_slice(&[5u16, 6])).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(110));
    writer.partition_done(0).unwrap();
    drop(writer);
    let writer = begin(Existing::Resume).unwrap();
    assert!(writer.is_done(0));
    writer.write_chunk(0, &[1], bytemuck::cast_slice(&[7u16, 8])).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&at, "v"), [5, 6, 7, 8]);
    assert!(matches!(begin(Existing::Resume), Err(WriteError::Exists { .. })));
}

/// A store that has room for so many objects.
#[derive(Debug)]
struct Full {
    inner: MemoryStore,
    room: AtomicU64,
}

impl Store for Full {
    fn location(&self) -> String {
        "full:".to_owned()
    }
    fn access(&self) -> Access {
        Access::Inline
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key, range)
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            return Err(StoreError::Io {
                action: "write",
                location: self.location(),
                key: key.to_owned(),
                source: io::Error::from(io::ErrorKind::StorageFull),
            });
        }
        self.room.store(room - 1, Ordering::Relaxed);
        self.inner.put(key, bytes)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.inner.delete_prefix(prefix)
    }
}

#[test]
fn a_disk_that_fills_at_any_write_is_an_error_with_the_key_and_leaves_nothing_when_given_up() {
    // The journal, four chunks, two metadata objects.
    for room in 0..7 {
        let store = Arc::new(Full { inner: MemoryStore::new(), room: AtomicU64::new(room) });
        let place = Place::Store(Arc::clone(&store) as Arc<dyn Store>);
        let output = Output { place, ..output(Path::new(""), Existing::Refuse, ZarrVersion::V3) };
        let failed = |e: WriteError| match e {
            WriteError::Object { key, source, .. } => {
                assert!(source.to_string().contains(&key), "{source}");
                key
            }
            other => panic!("{other}"),
        };
        let spec = array("v", &[8], &[2], ZarrVersion::V3);
        let writer = match CubeWriter::begin(output, vec![spec]) {
            Ok(writer) => writer,
            Err(e) => {
                assert_eq!((room, failed(e).as_str()), (0, JOURNAL));
                continue;
            }
        };
        match writer.write_whole(0, bytemuck::cast_slice(&numbers(8))) {
            Err(e) => {
                assert_eq!(failed(e), format!("v/c/{}", room - 1));
                writer.abort().unwrap();
            }
            // What finish leaves is unfinished still: another run sees it.
            Ok(()) => {
                failed(writer.finish().unwrap_err());
                assert_eq!(place::present(&store.inner, "").unwrap(), Present::Unfinished);
                continue;
            }
        }
        assert_eq!(store.inner.list_dir("").unwrap(), []);
    }
}

#[test]
fn groups_on_the_way_are_made_and_told_to_the_root() {
    for zarr in [ZarrVersion::V2, ZarrVersion::V3] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("a.zarr");
        let group = |group: &str, existing| Output {
            group: group.into(),
            attrs: json!({"title": group}).as_object().unwrap().clone(),
            ..output(&at, existing, zarr)
        };
        let spec = |name| array(name, &[4], &[2], zarr);
        write(group("one/two", Existing::Refuse), spec("v"), &[1, 2, 3, 4]).unwrap();
        write(group("", Existing::Extend), spec("top"), &[9, 9, 9, 9]).unwrap();
        write(group("one/two", Existing::Extend), spec("w"), &[5, 6, 7, 8]).unwrap();
        let e = write(group("one/two", Existing::Extend), spec("w"), &[0; 4]).unwrap_err();
        assert!(e.to_string().ends_with(":one/two` already has `w`"), "{e}");
        let e = write(group("top", Existing::Refuse), spec("v"), &[0; 4]).unwrap_err();
        assert!(matches!(e, WriteError::Exists { .. }), "{e}");
        let e = write(group("top/sub", Existing::Refuse), spec("v"), &[0; 4]).unwrap_err();
        assert!(e.to_string().contains("`top` is an array, not a group"), "{e}");
        assert_eq!(read(&at, "one/two/w"), [5, 6, 7, 8]);
        let json = |name: &str| -> Value { serde_json::from_slice(&fs::read(at.join(name)).unwrap()).unwrap() };
        let (known, title) = match zarr {
            ZarrVersion::V3 => {
                let root = json("zarr.json");
                let found = root["consolidated_metadata"]["metadata"].as_object().unwrap().clone();
                let title = root["attributes"]["title"].clone();
                (found.keys().cloned().collect::<Vec<_>>(), title)
            }
            ZarrVersion::V2 => {
                let found = json(".zmetadata")["metadata"].as_object().unwrap().clone();
                let strip = |k: &String| Some(k.strip_suffix("/.zarray").or(k.strip_suffix("/.zgroup"))?.to_owned());
                (found.keys().filter_map(strip).collect(), found[".zattrs"]["title"].clone())
            }
        };
        let mut known = known;
        known.sort();
        assert_eq!(known, ["one", "one/two", "one/two/v", "one/two/w", "top"], "{zarr:?}");
        assert_eq!(title, "");
        // Another group is exchanged without touching its neighbours.
        write(group("one", Existing::Overwrite), spec("u"), &[1, 1, 1, 1]).unwrap();
        assert_eq!(read(&at, "one/u"), [1, 1, 1, 1]);
        assert_eq!(read(&at, "top"), [9, 9, 9, 9]);
        assert!(!at.join("one/two").exists());
        let all = match zarr {
            ZarrVersion::V3 => json("zarr.json").to_string(),
            ZarrVersion::V2 => json(".zmetadata").to_string(),
        };
        assert!(!all.contains("one/two") && all.contains("one/u"), "{all}");
    }
}

#[test]
fn a_group_of_another_version_is_not_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let (two, three) = (ZarrVersion::V2, ZarrVersion::V3);
    write(output(&at, Existing::Refuse, two), array("v", &[4], &[2], two), &[1; 4]).unwrap();
    for (group, existing) in [("", Existing::Extend), ("g", Existing::Refuse)] {
        let output = Output { group: group.into(), ..output(&at, existing, three) };
        let e = write(output, array("w", &[4], &[2], three), &[1; 4]).unwrap_err();
        assert!(e.to_string().contains("it is Zarr v2, and v3 was asked for"), "{e}");
    }
}

/// Runs as a process of its own, which is killed: see below.
#[test]
#[ignore = "a part of the next test"]
fn child_that_writes_until_it_is_killed() {
    let Some(at) = std::env::var_os("CHUNKWISE_TEST_OUTPUT") else {
        return;
    };
    let zarr = ZarrVersion::V3;
    let cells = numbers(4096);
    loop {
        let output = output(Path::new(&at), Existing::Overwrite, zarr);
        write(output, array("v", &[64, 64], &[8, 8], zarr), &cells).unwrap();
    }
}

#[test]
fn whatever_moment_a_run_is_killed_at_the_output_is_complete_or_no_cube() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a.zarr");
    let mut complete = 0;
    for turn in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "write::cube::tests::child_that_writes_until_it_is_killed"])
            .env("CHUNKWISE_TEST_OUTPUT", &at)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 + turn * 13));
        child.kill().unwrap();
        child.wait().unwrap();
        match place::present_folder(&at).unwrap() {
            Present::Cube => {
                assert_eq!(read(&at, "v"), numbers(4096));
                complete += 1;
            }
            Present::Unfinished => {}
            other => assert_eq!(other, Present::Nothing),
        }
    }
    assert!(complete > 0, "no run came to its end");
    // The next one cleans up.
    let output = output(&at, Existing::Overwrite, ZarrVersion::V3);
    write(output, array("v", &[2], &[2], ZarrVersion::V3), &[1, 2]).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
