//! Where a cube is written: what lies there now, who else writes there, and the swap of the finished one.

use super::array::ArraySpec;
use super::error::WriteError;
use super::journal::JOURNAL;
use crate::codec::chain::itemsize;
use crate::store::PackError;
use crate::store::secret::mask;
use crate::store::{
    Access, Entry, LocalStore, MOST_PARTS, MemoryStore, PART, StorageOptions, Store, StoreError, ZipStore, is_zip,
    join, locate_with, pack,
};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the index of a shard for each inner chunk.
const INDEX_ENTRY: u64 = 16;

/// Where a cube is written.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of the local file system: made where there is none.
    Folder(PathBuf),
    /// A zip file of the local file system: packed from a folder beside it when all is written.
    Zip(PathBuf),
    /// Any other store.
    Store(Arc<dyn Store>),
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Place {
        if is_zip(&path) && !path.is_dir() { Place::Zip(path) } else { Place::Folder(path) }
    }
}

impl Place {
    /// Place and group that `LOCATION[:GROUP]` names for writing: what exists literally wins; else the group follows the
    /// last `:` before which something exists, or the first `:` where nothing does. A `memory:NAME` is made.
    ///
    /// # Errors
    /// The location is none, or cannot be written.
    pub fn find(location: &str, options: &StorageOptions) -> Result<(Place, String), StoreError> {
        if let Some(rest) = location.strip_prefix("memory:") {
            let (name, group) = rest.split_once(':').unwrap_or((rest, ""));
            return Ok((Place::Store(MemoryStore::create(name)), group.trim_matches('/').to_owned()));
        }
        let path = match location.split_once("://") {
            Some(("file", path)) => path,
            Some(("http" | "https", _)) => {
                return Err(StoreError::ReadOnly { location: mask(location), kind: "a web server" });
            }
            Some(_) if !Path::new(location).exists() => {
                let found = locate_with(location, options)?;
                return Ok((Place::Store(found.store), found.path));
            }
            _ => location,
        };
        if path.is_empty() {
            return Err(StoreError::BadLocation { location: path.to_owned(), reason: "it is empty".to_owned() });
        }
        if Path::new(path).exists() {
            return Ok((PathBuf::from(path).into(), String::new()));
        }
        let splits: Vec<(&str, &str)> = path
            .match_indices(':')
            .map(|(at, _)| (&path[..at], &path[at + 1..]))
            .filter(|(root, group)| !root.is_empty() && !group.trim_matches('/').is_empty())
            .collect();
        let split = splits.iter().rev().find(|(root, _)| Path::new(root).exists()).or(splits.first());
        Ok(match split {
            Some((root, group)) => (PathBuf::from(root).into(), group.trim_matches('/').to_owned()),
            None => (PathBuf::from(path).into(), String::new()),
        })
    }

    /// Whether there is something that `--overwrite` removes before the new cube is written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn goes_first(&self, group: &str) -> Result<bool, WriteError> {
        match self {
            Place::Store(store) => Ok(matches!(present(store, group)?, Present::Cube | Present::Unfinished)),
            Place::Folder(_) | Place::Zip(_) => Ok(false),
        }
    }

    /// The location for messages.
    pub fn location(&self) -> String {
        match self {
            Place::Folder(path) | Place::Zip(path) => shown(path),
            Place::Store(store) => store.location(),
        }
    }

    /// Bytes that the store keeps of an object that is written piece by piece (`None`: all of it), and of all objects on
    /// their way.
    pub(crate) fn held_bytes(&self) -> (Option<u64>, u64) {
        match self {
            // Files are appended to.
            Place::Folder(_) | Place::Zip(_) => (Some(0), 0),
            Place::Store(store) => (store.writer_bytes(), store.sending_bytes()),
        }
    }

    /// Checks that the store takes shards as large as those of an array are at most, before any is sent.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_shards(&self, spec: &ArraySpec) -> Result<(), WriteError> {
        let (Place::Store(store), Some(shards)) = (self, &spec.shards) else { return Ok(()) };
        let size = itemsize(&spec.dtype).unwrap_or(1) as u64;
        let (mut bytes, mut inner) = (size, 1u64);
        for ((&shard, &chunk), &cells) in shards.iter().zip(&spec.chunks).zip(&spec.shape) {
            let chunk = chunk.max(1);
            // Inner chunks beyond the array are not stored.
            bytes = bytes.saturating_mul(shard.min(cells.next_multiple_of(chunk)));
            inner = inner.saturating_mul(shard / chunk);
        }
        let bytes = bytes.saturating_add(inner.saturating_mul(INDEX_ENTRY));
        if store.access() == Access::Inline || bytes <= MOST_PARTS as u64 * PART as u64 {
            return Ok(());
        }
        Err(WriteError::LargeShard { array: spec.path.clone(), bytes, location: self.location() })
    }

    /// The store at the place, where there is something.
    pub(crate) fn existing(&self) -> Result<Option<Arc<dyn Store>>, WriteError> {
        Ok(match self {
            Place::Folder(path) if !path.is_dir() => None,
            Place::Folder(path) => Some(Arc::new(LocalStore::open(path)?)),
            Place::Zip(path) if !path.is_file() => None,
            Place::Zip(path) => Some(Arc::new(ZipStore::open(path)?)),
            Place::Store(store) => Some(Arc::clone(store)),
        })
    }

    /// The store at the place. A folder need not exist.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, WriteError> {
        Ok(match self {
            Place::Folder(path) => Arc::new(LocalStore::create(path)?),
            Place::Zip(path) => Arc::new(ZipStore::open(path)?),
            Place::Store(store) => Arc::clone(store),
        })
    }
}

/// A path for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether writing to folder `output` anew would touch `input`: they are the same, or the input lies within.
///
/// Symbolic links are followed; what does not exist yet is placed by the part of its path that does.
pub fn same_place(output: &Path, input: &Path) -> bool {
    let (output, input) = (real(output), real(input));
    input.ancestors().any(|part| part == output || same_file(part, &output))
}

/// Whether `output` is `input`, or lies within it, or within the cube that `input` is a part of. Links are followed as by
/// [`same_place`].
pub fn lies_within(output: &Path, input: &Path) -> bool {
    same_place(&cube_of(input), output)
}

/// The folder of the whole cube that a group or an array lies in.
pub(crate) fn cube_of(path: &Path) -> PathBuf {
    let is_node = |folder: &&Path| ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| folder.join(name).is_file());
    let path = real(path);
    path.ancestors().take_while(is_node).last().unwrap_or(&path).to_owned()
}

/// The path without links, `.` and `..`, as far as it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        // `..` of what is still to be made.
        (Some(parent), None) => real(parent).parent().map_or(absolute, Path::to_path_buf),
        (None, _) => absolute,
    }
}

#[cfg(unix)]
fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_: &Path, _: &Path) -> bool {
    false
}

/// What lies at an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// Nothing, or an empty folder; in object stores empty folders within it, too.
    Nothing,
    /// A Zarr group or array.
    Cube,
    /// A job that did not finish.
    Unfinished,
    /// Anything else.
    Other,
}

/// Looks at a group of a store.
pub(crate) fn present(store: &dyn Store, group: &str) -> Result<Present, WriteError> {
    let entries = store.list_dir(group)?;
    let has = |name: &str| entries.iter().any(|e| matches!(e, Entry::Object(n) if n == name));
    Ok(if has(JOURNAL) {
        Present::Unfinished
    } else if ["zarr.json", ".zgroup", ".zarray", ".zmetadata"].into_iter().any(has) {
        Present::Cube
    } else if holds_anything(store, group, &entries)? {
        Present::Other
    } else {
        Present::Nothing
    })
}

/// Whether there are objects below a folder that has these entries. A folder of a file system counts by itself; in object
/// stores it is a part of keys, which some of them list for a while after the last object below it has gone.
fn holds_anything(store: &dyn Store, folder: &str, entries: &[Entry]) -> Result<bool, StoreError> {
    for entry in entries {
        let Entry::Folder(name) = entry else { return Ok(true) };
        let below = join(folder, name);
        if store.access() == Access::Inline || holds_anything(store, &below, &store.list_dir(&below)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks at a folder.
pub(crate) fn present_folder(path: &Path) -> Result<Present, WriteError> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Present::Nothing),
        Err(source) => Err(failed("read", path, source)),
        Ok(found) if found.is_dir() => present(&LocalStore::open(path)?, ""),
        Ok(_) => Ok(Present::Other),
    }
}

/// Looks at a file that is to be a zip file.
pub(crate) fn present_zip(path: &Path) -> Result<Present, WriteError> {
    if !path.exists() {
        return Ok(Present::Nothing);
    }
    match ZipStore::open(path) {
        Ok(store) => Ok(match present(&store, "")? {
            Present::Nothing => Present::Other,
            found => found,
        }),
        Err(StoreError::BadZip { .. }) => Ok(Present::Other),
        Err(error) => Err(error.into()),
    }
}

/// Packs the cube in a folder into a zip file, which takes the place of what was there, and removes the folder.
pub(crate) fn pack_into(work: &Path, target: &Path) -> Result<(), WriteError> {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".chunkwise-aside-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let write = |e: io::Error| failed("write", target, e);
    let aside = builder.tempfile_in(folder).map_err(write)?;
    let file = aside.reopen().map_err(write)?;
    let packed =
        pack(&LocalStore::open(work)?, io::BufWriter::with_capacity(1 << 20, file)).map_err(|error| match error {
            PackError::Store(error) => error.into(),
            PackError::Member { key, source } => {
                let location = shown(target);
                let source = StoreError::Io { action: "write", location: location.clone(), key: key.clone(), source };
                WriteError::Object { location, key, source: Arc::new(source) }
            }
            PackError::End(source) => failed("write", target, source),
        })?;
    packed.into_inner().map_err(|e| write(e.into_error()))?.sync_all().map_err(write)?;
    aside.persist(target).map_err(|e| write(e.error))?;
    remove(work)
}

pub(crate) fn failed(action: &'static str, path: &Path, source: io::Error) -> WriteError {
    WriteError::Io { action, path: path.to_owned(), source }
}

/// A lock on a folder that ends with the process: others who write there see it.
///
/// Where folders cannot be locked (Windows, some network file systems) there is none.
#[derive(Debug)]
pub(crate) struct FolderLock(#[allow(dead_code, reason = "held")] Option<File>);

impl FolderLock {
    /// Locks a folder that exists; `None` where another holds it.
    pub(crate) fn try_take(path: &Path) -> Option<FolderLock> {
        let Ok(folder) = File::open(path) else {
            return Some(FolderLock(None));
        };
        match folder.try_lock() {
            Ok(()) => Some(FolderLock(Some(folder))),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(_)) => Some(FolderLock(None)),
        }
    }
}

const NEW: &str = ".chunkwise-tmp-";
const OLD: &str = ".chunkwise-old-";

/// A folder beside `target` with a name that no other has, for the new cube or the old one.
fn beside(target: &Path, kind: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = nanos.map_or(0, |d| d.as_nanos());
    target.with_file_name(format!(".{name}{kind}{}-{nanos:x}", std::process::id()))
}

pub(crate) fn new_beside(target: &Path) -> PathBuf {
    beside(target, NEW)
}

fn siblings(target: &Path, kind: &str) -> Vec<PathBuf> {
    let Some(name) = target.file_name() else {
        return Vec::new();
    };
    let start = format!(".{}{kind}", name.to_string_lossy());
    let Some(Ok(folder)) = target.parent().map(fs::read_dir) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = folder
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(&start))
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    found
}

/// New cubes beside `target` that other runs left.
pub(crate) fn left_beside(target: &Path) -> Vec<PathBuf> {
    siblings(target, NEW)
}

/// Puts an old cube back whose swap was cut short between its two steps.
pub(crate) fn put_back(target: &Path) -> Result<(), WriteError> {
    if fs::symlink_metadata(target).is_err()
        && let [old] = siblings(target, OLD).as_slice()
    {
        fs::rename(old, target).map_err(|e| failed("rename", old, e))?;
    }
    Ok(())
}

/// Removes what other runs left beside `target`; `false` where one of them is still at work.
pub(crate) fn clean_beside(target: &Path) -> Result<bool, WriteError> {
    for left in siblings(target, NEW) {
        if FolderLock::try_take(&left).is_none() {
            return Ok(false);
        }
        remove(&left)?;
    }
    // With the cube in its place, what is called old has been replaced.
    if target.exists() {
        for left in siblings(target, OLD) {
            remove(&left)?;
        }
    }
    Ok(true)
}

pub(crate) fn remove(folder: &Path) -> Result<(), WriteError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", folder, e)),
        _ => Ok(()),
    }
}

/// Puts `new` in the place of `target`, then removes what was there.
///
/// On Linux the two change places in one step; elsewhere the old one is renamed first, and [`put_back`] mends a cut.
pub(crate) fn swap(new: &Path, target: &Path) -> Result<(), WriteError> {
    if exchange(new, target) {
        return remove(new);
    }
    let old = beside(target, OLD);
    fs::rename(target, &old).map_err(|e| failed("rename", target, e))?;
    if let Err(e) = fs::rename(new, target) {
        // The old cube goes back; should that fail too, it still lies beside.
        let _ = fs::rename(&old, target);
        return Err(failed("rename", new, e));
    }
    remove(&old)
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ByteRange;
    use crate::write::array::ZarrVersion;
    use chunkwise_core::cube::{Attrs, DataType};
    use chunkwise_core::dtype::DType;

    /// An object store that still lists folders whose objects have gone.
    #[derive(Debug)]
    struct Lists {
        inner: MemoryStore,
        folders: &'static [(&'static str, &'static str)],
    }

    impl Store for Lists {
        fn location(&self) -> String {
            "s3://box".to_owned()
        }
        fn access(&self) -> Access {
            Access::Polled
        }
        fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
            self.inner.get(key, range)
        }
        fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
            let mut entries = self.inner.list_dir(prefix)?;
            let here = self.folders.iter().filter(|(above, _)| *above == prefix);
            entries.extend(here.map(|(_, name)| Entry::Folder((*name).to_owned())));
            Ok(entries)
        }
        fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.inner.put(key, bytes)
        }
        fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.inner.delete(key)
        }
        fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
            self.inner.delete_prefix(prefix)
        }
    }

    fn lists(keys: &[&str]) -> Arc<Lists> {
        let folders = &[("", "int.zarr"), ("int.zarr", "b"), ("int.zarr", "x"), ("int.zarr/b", "c")];
        let inner = MemoryStore::new();
        keys.iter().for_each(|key| inner.put(key, b"{}").unwrap());
        Arc::new(Lists { inner, folders })
    }

    #[test]
    fn folders_that_object_stores_still_list_are_nothing_unless_an_object_lies_below() {
        assert_eq!(present(&*lists(&[]), "int.zarr").unwrap(), Present::Nothing);
        assert_eq!(present(&*lists(&["int.zarr/b/c/0"]), "int.zarr").unwrap(), Present::Other);
        assert_eq!(present(&*lists(&["int.zarr/zarr.json"]), "int.zarr").unwrap(), Present::Cube);
    }

    #[test]
    fn only_a_cube_or_an_unfinished_one_goes_first() {
        let goes = |keys: &[&str]| Place::Store(lists(keys)).goes_first("").unwrap();
        let journal = format!("int.zarr/{JOURNAL}");
        assert_eq!([goes(&["a/b.txt"]), goes(&["b.txt"]), goes(&[])], [false; 3], "left alone");
        assert!(goes(&["zarr.json"]) && goes(&[".zgroup"]) && goes(&[JOURNAL]));
        assert!(Place::Store(lists(&[&journal])).goes_first("int.zarr").unwrap());
    }

    #[test]
    fn a_shard_that_no_object_holds_is_refused_before_anything_is_sent() {
        let spec = |shape: u64, shard: u64| ArraySpec {
            chunks: vec![1 << 10, 1 << 10],
            shards: Some(vec![shard, shard]),
            dtype: DataType::Number(DType::Float32),
            ..ArraySpec::plain("b".into(), vec!["y".into(), "x".into()], vec![shape; 2], Attrs::new(), ZarrVersion::V3)
        };
        let check = |place: Place, spec: ArraySpec| place.check_shards(&spec);
        let remote = || Place::Store(lists(&[]));
        assert!(check(remote(), spec(1 << 18, 1 << 17)).is_ok(), "64 GiB");
        assert!(check(remote(), spec(1 << 17, 1 << 18)).is_ok(), "there are cells in 64 of 256 GiB");
        let error = check(remote(), spec(1 << 18, 1 << 18)).unwrap_err();
        assert!(error.to_string().contains("a shard of `b` has 274878955520 bytes"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--shard")));
        assert!(check(Place::Folder("a.zarr".into()), spec(1 << 18, 1 << 18)).is_ok());
    }
}
