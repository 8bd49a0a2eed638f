use super::*;
use std::fs;

fn stores() -> (tempfile::TempDir, Vec<Box<dyn Store>>) {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStore::open(folder.path()).unwrap();
    (folder, vec![Box::new(local), Box::new(MemoryStore::new())])
}

#[test]
fn what_is_put_is_got_whole_and_in_parts() {
    let (_folder, stores) = stores();
    for store in stores {
        store.put("a/b [1]/c.0.0", b"0123456789").unwrap();
        let get = |range| store.get("a/b [1]/c.0.0", range).unwrap().unwrap();
        assert_eq!(get(ByteRange::Whole), b"0123456789");
        assert_eq!(get(ByteRange::Bounded { start: 2, len: 3 }), b"234");
        assert_eq!(get(ByteRange::Bounded { start: 10, len: 0 }), b"");
        assert_eq!(get(ByteRange::Suffix(4)), b"6789");
        assert_eq!(get(ByteRange::Suffix(99)), b"0123456789");
        let mut buffer = b"left over from before".to_vec();
        assert!(store.get_into("a/b [1]/c.0.0", &mut buffer).unwrap());
        assert_eq!(buffer, b"0123456789");
        store.put("a/b [1]/c.0.0", b"x").unwrap();
        assert_eq!(get(ByteRange::Whole), b"x");
    }
}

#[test]
fn of_two_that_make_an_object_one_does() {
    let (_folder, stores) = stores();
    for store in stores {
        assert!(store.put_if_absent("a/new", b"first").unwrap());
        assert!(!store.put_if_absent("a/new", b"second").unwrap());
        assert_eq!(store.get("a/new", ByteRange::Whole).unwrap().unwrap(), b"first");
    }
}

#[test]
fn a_range_past_the_end_is_an_error_that_says_the_sizes() {
    let (_folder, stores) = stores();
    for store in stores {
        store.put("k", b"0123").unwrap();
        for (start, len) in [(2, 3), (5, 0), (u64::MAX, 2), (0, u64::MAX)] {
            let error = store.get("k", ByteRange::Bounded { start, len }).unwrap_err().to_string();
            assert!(error.contains("`k`") && error.contains("holds 4 bytes"), "{error}");
        }
    }
}

#[test]
fn an_absent_object_is_none_and_a_folder_is_an_error() {
    let (_folder, stores) = stores();
    for store in stores {
        store.put("a/b/c", b"x").unwrap();
        assert!(store.get("a/x", ByteRange::Whole).unwrap().is_none());
        assert!(store.get("a/x", ByteRange::Suffix(3)).unwrap().is_none());
        let mut buffer = b"old".to_vec();
        assert!(!store.get_into("a/x", &mut buffer).unwrap());
        assert!(buffer.is_empty());
        for range in [ByteRange::Whole, ByteRange::Suffix(3)] {
            let error = store.get("a/b", range).unwrap_err();
            assert!(matches!(error, StoreError::Folder { .. }), "{error:?}");
        }
    }
}

#[test]
fn keys_cannot_lead_out_of_the_store() {
    let (_folder, stores) = stores();
    for store in stores {
        for key in ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", "a\0b"] {
            let error = store.get(key, ByteRange::Whole).unwrap_err();
            assert!(matches!(error, StoreError::BadKey { .. }), "{key}: {error:?}");
            assert!(store.put(key, b"").is_err());
            assert!(store.delete(key).is_err());
        }
        assert!(store.delete_prefix("..").is_err() || store.location().starts_with("memory"));
    }
}

#[test]
fn a_listing_has_the_names_directly_below_in_order() {
    let (_folder, stores) = stores();
    for store in stores {
        for key in ["b/0", "a", "b/c/1", "c.x", "b.y"] {
            store.put(key, b"").unwrap();
        }
        let names = [
            Entry::Object("a".into()),
            Entry::Folder("b".into()),
            Entry::Object("b.y".into()),
            Entry::Object("c.x".into()),
        ];
        assert_eq!(store.list_dir("").unwrap(), names);
        let below = [Entry::Object("0".into()), Entry::Folder("c".into())];
        assert_eq!(store.list_dir("b").unwrap(), below);
        assert!(store.list_dir("nowhere").unwrap().is_empty());
    }
}

#[test]
fn deleting_removes_what_was_named_and_no_more() {
    let (_folder, stores) = stores();
    for store in stores {
        for key in ["b/0", "b/c/1", "bb"] {
            store.put(key, b"x").unwrap();
        }
        store.delete("b/0").unwrap();
        store.delete("b/0").unwrap();
        assert!(store.get("b/0", ByteRange::Whole).unwrap().is_none());
        store.delete_prefix("b").unwrap();
        store.delete_prefix("b").unwrap();
        assert_eq!(store.list_dir("").unwrap(), [Entry::Object("bb".into())]);
        store.delete_prefix("").unwrap();
        assert!(store.list_dir("").unwrap().is_empty());
    }
}

#[test]
fn a_file_is_written_aside_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::create(folder.path().join("new/cube.zarr")).unwrap();
    store.put("c/0/0", &[7; 1000]).unwrap();
    let names: Vec<_> = fs::read_dir(store.root().join("c/0")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let real = LocalStore::create(folder.path().join("real")).unwrap();
    real.put("c/0", b"x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    assert_eq!(store.get("link/c/0", ByteRange::Whole).unwrap().unwrap(), b"x");
    let both = [Entry::Folder("link".into()), Entry::Folder("real".into())];
    assert_eq!(store.list_dir("").unwrap(), both);
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_not_absent() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put("secret", b"x").unwrap();
    let path = folder.path().join("secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let error = store.get("secret", ByteRange::Whole).unwrap_err();
    assert!(matches!(error, StoreError::Permission { .. }), "{error:?}");
}

#[test]
fn a_location_that_is_not_there_names_itself() {
    let error = locate("/nowhere/cube.zarr:group").unwrap_err().to_string();
    assert_eq!(error, "there is nothing at `/nowhere/cube.zarr:group`");
    let error = locate("memory:never-made").unwrap_err().to_string();
    assert_eq!(error, "there is nothing at `memory:never-made`");
    for other in ["ftp://host/cube.zarr", "hdfs://host/c"] {
        let error = locate(other).unwrap_err().to_string();
        assert!(error.contains(other) && error.contains("not built in"), "{error}");
    }
}

#[test]
fn what_exists_literally_wins_over_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("a")).unwrap();
    fs::create_dir(at("a:b")).unwrap();
    let path = |name: &str| {
        let found = locate(&at(name)).unwrap();
        (found.store.location(), found.path)
    };
    assert_eq!(path("a:b"), (at("a:b"), String::new()));
    assert_eq!(path("a:c/d"), (at("a"), "c/d".to_owned()));
    assert_eq!(path("a:b:c"), (at("a:b"), "c".to_owned()));
    assert_eq!(path("a:c:d"), (at("a"), "c:d".to_owned()));
}

#[test]
fn a_memory_store_is_found_by_name_until_it_is_forgotten() {
    MemoryStore::create("found-by-name").put("k", b"x").unwrap();
    let found = locate("memory:found-by-name:sub/group").unwrap();
    assert_eq!(found.path, "sub/group");
    assert_eq!(found.store.location(), "memory:found-by-name");
    assert_eq!(found.store.get("k", ByteRange::Whole).unwrap().unwrap(), b"x");
    MemoryStore::forget("found-by-name");
    assert!(locate("memory:found-by-name").is_err());
}

#[test]
fn requests_and_bytes_are_counted() {
    let store = Counted::new(MemoryStore::new());
    store.put("k", b"0123456789").unwrap();
    store.get("k", ByteRange::Suffix(4)).unwrap();
    store.get_into("k", &mut Vec::new()).unwrap();
    store.get("absent", ByteRange::Whole).unwrap();
    store.list_dir("").unwrap();
    assert_eq!((store.gets(), store.absent(), store.lists(), store.bytes()), (3, 1, 1, 14));
}

#[test]
fn an_object_in_pieces_appears_when_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let put_only = PutOnly(MemoryStore::new());
    let all: [Arc<dyn Store>; 3] = [
        Arc::new(LocalStore::open(folder.path()).unwrap()),
        Arc::new(Counted::new(MemoryStore::new())),
        Arc::new(put_only),
    ];
    for store in all {
        store.put("a/k", b"old").unwrap();
        let mut pieces = writer(&store, "a/k").unwrap();
        for piece in [b"0123".as_slice(), b"", b"45"] {
            pieces.append(piece).unwrap();
        }
        assert_eq!(store.get("a/k", ByteRange::Whole).unwrap().unwrap(), b"old");
        assert_eq!(store.list_dir("a").unwrap(), [Entry::Object("k".to_owned())]);
        pieces.finish().unwrap();
        assert_eq!(store.get("a/k", ByteRange::Whole).unwrap().unwrap(), b"012345");
        for ends in [true, false] {
            let mut pieces = writer(&store, "b/new").unwrap();
            pieces.append(b"1").unwrap();
            if ends {
                pieces.abort().unwrap();
            }
        }
        assert_eq!(store.list_dir("b").unwrap(), []);
        assert!(writer(&store, "../b").is_err() || store.writer_bytes().is_none());
    }
    assert_eq!(fs::read_dir(folder.path().join("b")).unwrap().count(), 0);
}

/// A store that takes whole objects only.
#[derive(Debug)]
struct PutOnly(MemoryStore);

impl Store for PutOnly {
    fn location(&self) -> String {
        self.0.location()
    }
    fn access(&self) -> Access {
        self.0.access()
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key, range)
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.0.list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.put(key, bytes)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.0.delete_prefix(prefix)
    }
}

#[test]
fn a_zip_file_gives_its_members_whole_and_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::create(folder.path().join("cube")).unwrap();
    for (key, bytes) in [("zarr.json", &b"{}"[..]), ("v/c/0", b"0123456789"), ("v/zarr.json", b"{\"a\": 1}")] {
        store.put(key, bytes).unwrap();
    }
    let packed = |name: &str| {
        let path = folder.path().join(name);
        pack(&store, fs::File::create(&path).unwrap()).unwrap();
        path
    };
    let (one, two) = (packed("one.zip"), packed("two.zip"));
    assert_eq!(fs::read(&one).unwrap(), fs::read(two).unwrap(), "the same bytes every time");
    let zip = ZipStore::open(&one).unwrap();
    assert_eq!(zip.list_dir("").unwrap(), [Entry::Folder("v".into()), Entry::Object("zarr.json".into())]);
    assert_eq!(zip.list_dir("v").unwrap(), store.list_dir("v").unwrap());
    let get = |range| zip.get("v/c/0", range).unwrap().unwrap();
    assert_eq!(get(ByteRange::Whole), b"0123456789");
    assert_eq!(get(ByteRange::Bounded { start: 2, len: 3 }), b"234");
    assert_eq!(get(ByteRange::Suffix(4)), b"6789");
    assert_eq!(get(ByteRange::Suffix(99)), b"0123456789");
    assert!(matches!(zip.get("v/c/0", ByteRange::Bounded { start: 9, len: 2 }), Err(StoreError::Short { .. })));
    assert!(zip.get("v/c/1", ByteRange::Whole).unwrap().is_none());
    assert!(matches!(zip.get("v/c", ByteRange::Whole), Err(StoreError::Folder { .. })));
    assert!(matches!(zip.put("v/c/1", b""), Err(StoreError::ReadOnly { .. })));
    let found = locate(&format!("{}:v", one.display())).unwrap();
    assert_eq!(found.path, "v");
}

#[test]
fn a_flipped_byte_of_a_zip_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::create(folder.path().join("cube")).unwrap();
    store.put("k", &[7; 100]).unwrap();
    let path = folder.path().join("c.zip");
    pack(&store, fs::File::create(&path).unwrap()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = ZipStore::open(&path).unwrap().get("k", ByteRange::Whole).unwrap_err().to_string();
    assert!(error.contains("`k`") && error.contains("checksum"), "{error}");
    fs::write(&path, &bytes[..80]).unwrap();
    assert!(matches!(ZipStore::open(&path), Err(StoreError::BadZip { .. })));
}

#[cfg(not(feature = "cloud"))]
#[test]
fn a_build_without_object_stores_names_the_feature_that_has_them() {
    for location in ["s3://bucket/cube.zarr", "gs://bucket/cube.zarr", "az://box/cube.zarr", "https://host/cube.zarr"] {
        let error = locate(location).unwrap_err().to_string();
        assert!(error.contains("(the feature `cloud`) is not built in"), "{error}");
    }
}

#[test]
fn an_object_that_is_larger_than_it_can_be_is_told_and_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStore::create(folder.path().join("cube")).unwrap();
    let memory = MemoryStore::new();
    for store in [&local as &dyn Store, &memory] {
        store.put("v/c/0", b"0123456789").unwrap();
    }
    let path = folder.path().join("cube.zip");
    pack(&local, fs::File::create(&path).unwrap()).unwrap();
    let zip = ZipStore::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for store in [&local as &dyn Store, &memory, &zip] {
        let get = |most| runtime.block_on(store.get_within("v/c/0", most));
        assert_eq!(get(10).unwrap().as_deref(), Some(&b"0123456789"[..]), "{}", store.location());
        assert!(matches!(get(9), Err(StoreError::Large { size: 10, most: 9, .. })), "{}", store.location());
        assert!(runtime.block_on(store.get_within("v/c/1", 0)).unwrap().is_none());
    }
}
