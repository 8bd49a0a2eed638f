//! A new cube: chunks first, metadata of arrays and root last, a journal until then.

mod begin;

use super::array::{ArraySpec, ArrayWriter, ZarrVersion};
use super::block;
use super::error::WriteError;
use super::group::{self, Nodes};
use super::journal::{InputIdentity, JOURNAL, Journal, JournalHead, Keeper};
use super::lock::{self, ObjectLock};
use super::outbox::{Failed, Outbox};
use super::place::{self, FolderLock, Place};
use super::shard::{self, Shards};
use crate::store::{Access, Store, join};
use chunkwise_core::cube::Attrs;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What to do where the output already holds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// An error.
    #[default]
    Refuse,
    /// The finished cube takes its place. In a folder the old one stays until then; in other stores it goes first.
    Overwrite,
    /// An unfinished job with the same head is gone on with; where there is none, as `Refuse`.
    Resume,
    /// New variables are added to a group that exists.
    Extend,
}

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct Output {
    /// The root of the cube.
    pub place: Place,
    /// The group below the root that is written, without slashes at the ends; empty: the root itself.
    pub group: String,
    /// What to do where it exists.
    pub existing: Existing,
    /// Locations of stores that are read: the output is none of them, and holds none.
    pub inputs: Vec<String>,
    /// Identity of the job, for `--resume`.
    pub job: JournalHead,
    /// Version of the format.
    pub zarr: ZarrVersion,
    /// Attributes of the group. Of a group that is extended, they are added.
    pub attrs: Attrs,
}

impl Output {
    /// A new Zarr v3 cube at the root of `place`, where nothing may be.
    pub fn new(place: Place) -> Output {
        Output {
            place,
            group: String::new(),
            existing: Existing::Refuse,
            inputs: Vec::new(),
            job: JournalHead::default(),
            zarr: ZarrVersion::V3,
            attrs: Attrs::new(),
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Chunks that hold something else than the fill value.
    pub chunks: u64,
    /// Chunks of nothing but the fill value: not stored.
    pub empty: u64,
    /// Objects stored, without metadata.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
}

/// Writes a cube. All methods but [`CubeWriter::finish`] and [`CubeWriter::abort`] may be called from many threads.
///
/// Dropped without either, it leaves an unfinished job: unreadable as a cube, and resumable.
#[derive(Debug)]
pub struct CubeWriter {
    output: Output,
    store: Arc<dyn Store>,
    /// Where the group lies in `store`: the output's group, or the root of a folder.
    prefix: String,
    folder: Option<Folder>,
    /// `None` where a group is extended: it stays readable.
    journal: Option<Mutex<Keeper>>,
    arrays: Vec<ArrayWriter>,
    shards: Shards,
    outbox: Outbox,
    counts: [AtomicU64; 4],
}

/// The folder of an output on the local file system.
#[derive(Debug)]
struct Folder {
    /// Where the cube is to lie in the end.
    target: PathBuf,
    /// Where it is written: `target`, or a folder beside it.
    work: PathBuf,
    /// Whether `work` was made by this run.
    made: bool,
    /// Whether the root of the cube was made by this run.
    made_root: bool,
    /// The zip file that the folder is packed into in the end.
    zip: Option<PathBuf>,
    _lock: Option<FolderLock>,
}

impl CubeWriter {
    /// Makes the output ready and leaves a journal there.
    ///
    /// Arrays are in the order of `arrays` from here on.
    ///
    /// # Errors
    /// The output exists ([`Existing`]), is no Zarr cube, is an input, is written by another process, holds another
    /// unfinished job, or cannot be written; an array that cannot be made as asked; to extend a group: an array of the
    /// same name, another version of the format.
    pub fn begin(output: Output, arrays: Vec<ArraySpec>) -> Result<CubeWriter, WriteError> {
        let arrays: Vec<ArrayWriter> = arrays.into_iter().map(ArrayWriter::new).collect::<Result<_, _>>()?;
        let bad =
            |array: &str, problem: &str| WriteError::BadArray { array: array.to_owned(), problem: problem.to_owned() };
        for (i, array) in arrays.iter().enumerate() {
            let path = &array.spec().path;
            if array.spec().zarr != output.zarr {
                return Err(bad(path, "its Zarr version is not that of the cube"));
            }
            let clash = |other: &ArrayWriter| {
                let other = &other.spec().path;
                other == path || within(other, path) || within(path, other)
            };
            if arrays[..i].iter().any(clash) {
                return Err(bad(path, "another array has its name, or lies within it"));
            }
        }
        if !output.group.is_empty() {
            super::array::check_path(&output.group)
                .map_err(|problem| WriteError::BadGroup { location: output.place.location(), problem })?;
        }
        arrays.iter().try_for_each(|array| output.place.check_shards(array.spec()))?;
        match output.place.clone() {
            Place::Folder(root) => CubeWriter::in_folder(output, arrays, &root),
            Place::Zip(file) => CubeWriter::in_zip(output, arrays, &file),
            Place::Store(store) => CubeWriter::in_store(output, arrays, store),
        }
    }

    fn new(
        output: Output,
        store: Arc<dyn Store>,
        prefix: String,
        folder: Option<Folder>,
        arrays: Vec<ArrayWriter>,
    ) -> CubeWriter {
        let (shards, outbox, counts) = (Shards::default(), Outbox::default(), Default::default());
        CubeWriter { output, store, prefix, folder, journal: None, arrays, shards, outbox, counts }
    }

    /// Keeps up to so many bytes of chunks on their way to stores that answer after a while; without, one chunk.
    #[must_use]
    pub fn with_sending_bytes(mut self, bytes: u64) -> CubeWriter {
        self.outbox = Outbox::new(bytes);
        self
    }

    fn keep(&mut self, journal: Journal) -> Result<(), WriteError> {
        let keeper =
            Keeper::begin(journal, &self.store, &self.prefix).map_err(|source| self.object_error(JOURNAL, source))?;
        self.journal = Some(Mutex::new(keeper));
        Ok(())
    }

    /// Location of the output, for messages.
    pub fn location(&self) -> String {
        let zip = self.folder.as_ref().and_then(|folder| folder.zip.as_deref());
        let root = zip.map_or_else(|| self.output.place.location(), place::shown);
        if self.output.group.is_empty() { root } else { format!("{root}:{}", self.output.group) }
    }

    /// The folder of this machine in which the output lies until it is complete; `None` in other stores.
    pub fn work(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.work.clone())
    }

    /// A writer of some chunks of this output, for a part of a job: what it is given is stored when it [leaves], and shards
    /// that it does not complete are not stored at all. `sending` is the bytes of chunks on their way.
    ///
    /// [leaves]: CubeWriter::leave
    #[must_use]
    pub fn beside(&self, sending: u64) -> CubeWriter {
        let (output, store) = (self.output.clone(), self.store.clone());
        CubeWriter::new(output, store, self.prefix.clone(), None, self.arrays.clone()).with_sending_bytes(sending)
    }

    /// Ends a writer that works beside others.
    ///
    /// # Errors
    /// Something cannot be written, or a shard is not complete.
    pub fn leave(self) -> Result<(), WriteError> {
        self.flush()?;
        match self.shards.is_complete() {
            true => Ok(()),
            false => Err(WriteError::Unfinished { location: self.location() }),
        }
    }

    /// The arrays, in the order in which they were given.
    pub fn arrays(&self) -> &[ArrayWriter] {
        &self.arrays
    }

    /// Whether a partition was done before this run went on with it.
    pub fn is_done(&self, partition: u64) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|keeper| keeper.lock().unwrap_or_else(PoisonError::into_inner).journal.is_done(partition))
    }

    /// Notes that all chunks of a partition are written; its shards must be complete.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn partition_done(&self, partition: u64) -> Result<(), WriteError> {
        let Some(keeper) = &self.journal else {
            return Ok(());
        };
        self.flush()?;
        let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = keeper.done(partition, &self.store, &self.prefix);
        noted.map_err(|source| self.object_error(JOURNAL, source))
    }

    /// Writes one chunk (of a sharded array, an inner chunk): native-endian cells in C order, either all of the chunk,
    /// filled up with the fill value, or only those within the array.
    ///
    /// Inner chunks are stored in C order as they come; those before their turn are held, encoded, until then
    /// ([`CubeWriter::held_bytes`]). None may come twice.
    ///
    /// # Errors
    /// No such chunk, a wrong number of bytes, or an object, this one or one before it, cannot be written (the disk is full).
    ///
    /// # Panics
    /// There is no array of that number.
    pub fn write_chunk(&self, array: usize, chunk: &[u64], cells: &[u8]) -> Result<(), WriteError> {
        let (number, array) = (array, &self.arrays[array]);
        let grid = array.grid();
        if chunk.len() != grid.len() || chunk.iter().zip(&grid).any(|(c, g)| c >= g) {
            return Err(WriteError::NoChunk { array: array.spec().path.clone(), chunk: chunk.to_vec(), grid });
        }
        let cells = if cells.len() == array.chunk_bytes() { Cow::Borrowed(cells) } else { array.pad(chunk, cells)? };
        let encoded = array.encode_chunk(&cells)?;
        self.counts[usize::from(encoded.is_none())].fetch_add(1, Ordering::Relaxed);
        if array.spec().shards.is_none() {
            return match encoded {
                Some(bytes) => self.put(&array.key(chunk), bytes),
                None => self.clear(&array.key(chunk)),
            };
        }
        let done = self.with_target(|target| self.shards.add((number, array), chunk, encoded, target))?;
        done.map_or(Ok(()), |done| self.shard_done(done))
    }

    fn with_target<T>(&self, work: impl FnOnce(shard::Target<'_>) -> T) -> T {
        let key = |own: &str| join(&self.prefix, own);
        let failed = |own: &str, source| self.object_error(&key(own), source);
        work(shard::Target { store: &self.store, key: &key, failed: &failed })
    }

    fn shard_done(&self, (key, stored): shard::Complete) -> Result<(), WriteError> {
        let Some(bytes) = stored else { return self.clear(&key) };
        self.count_object(bytes);
        Ok(())
    }

    fn count_object(&self, bytes: u64) {
        self.counts[2].fetch_add(1, Ordering::Relaxed);
        self.counts[3].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes all cells of a small array: native-endian, in C order.
    ///
    /// # Errors
    /// As [`CubeWriter::write_chunk`].
    ///
    /// # Panics
    /// There is no array of that number.
    pub fn write_whole(&self, array: usize, cells: &[u8]) -> Result<(), WriteError> {
        let writer = &self.arrays[array];
        let count = writer.spec().shape.iter().try_fold(1u64, |n, &s| n.checked_mul(s));
        let expected = count.and_then(|n| n.checked_mul(writer.cell_bytes() as u64));
        if expected != Some(cells.len() as u64) {
            let expected = usize::try_from(expected.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            return Err(writer.wrong_length(cells.len(), expected));
        }
        let grid = writer.grid();
        if grid.contains(&0) {
            return Ok(());
        }
        let mut chunk = vec![0; grid.len()];
        loop {
            self.write_chunk(array, &chunk, &writer.cut(cells, &chunk))?;
            if !block::step(&mut chunk, &grid) {
                return Ok(());
            }
        }
    }

    /// Bytes of encoded inner chunks that wait for their turn in their shard.
    pub fn held_bytes(&self) -> u64 {
        self.shards.held()
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        let [chunks, empty, objects, bytes] = std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed));
        Written { chunks, empty, objects, bytes }
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), WriteError> {
        self.count_object(bytes.len() as u64);
        let key = join(&self.prefix, key);
        if self.store.access() == Access::Inline {
            return self.store.put(&key, &bytes).map_err(|source| self.object_error(&key, source));
        }
        self.outbox.put(&self.store, &key, bytes).map_err(|failed| self.not_sent(failed))
    }

    /// Waits until all chunks that were given are stored.
    fn flush(&self) -> Result<(), WriteError> {
        self.outbox.flush().map_err(|failed| self.not_sent(failed))
    }

    fn not_sent(&self, (key, source): Failed) -> WriteError {
        WriteError::Object { location: self.location(), key, source }
    }

    /// Removes what an earlier run may have left; a new output holds nothing.
    fn clear(&self, key: &str) -> Result<(), WriteError> {
        let fresh = self.journal.as_ref().is_some_and(|keeper| {
            let keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
            keeper.journal.done.is_empty() && self.folder.as_ref().is_some_and(|f| f.made)
        });
        if fresh {
            return Ok(());
        }
        let key = join(&self.prefix, key);
        self.store.delete(&key).map_err(|source| self.object_error(&key, source))
    }

    fn object_error(&self, key: &str, source: crate::store::StoreError) -> WriteError {
        WriteError::Object { location: self.location(), key: key.to_owned(), source: Arc::new(source) }
    }

    /// Writes shards that are not complete (what did not come is empty), then the metadata of arrays, then of the group,
    /// then takes the journal away: from here on it is a cube. With [`Existing::Overwrite`] it then takes the place of
    /// the old one. Groups above it are made where there are none, and their consolidated metadata brought up to date.
    ///
    /// # Errors
    /// Something cannot be written; the output is then still unfinished. What lies under a hidden name, beside a zip file or
    /// a cube that was to be overwritten, is removed: nobody would look for it there, and it may be what fills the disk.
    pub fn finish(self) -> Result<Written, WriteError> {
        let done = self.complete();
        let hidden = |folder: &&Folder| folder.zip.is_some() || folder.work != folder.target;
        if let (Err(_), Some(folder)) = (&done, self.folder.as_ref().filter(hidden)) {
            // The first error is the one to tell.
            let _ = place::remove(&folder.work);
        }
        done
    }

    fn complete(&self) -> Result<Written, WriteError> {
        while let Some(done) = self.with_target(|target| self.shards.take(&self.arrays, target))? {
            self.shard_done(done)?;
        }
        self.flush()?;
        let mut nodes = Nodes::new();
        for array in &self.arrays {
            group::add_folders(&mut nodes, &array.spec().path, self.output.zarr);
            nodes.extend(array.metadata());
        }
        let extends = self.journal.is_none();
        for (key, node) in &nodes {
            let key = join(&self.prefix, key);
            // Folders on the way to an array may be groups already.
            if extends && group::is_group_key(&key) && group::exists(&self.store, &key)? {
                continue;
            }
            group::put_json(&self.store, &key, node).map_err(|source| self.object_error(&key, source))?;
        }
        // Consolidated metadata are read, changed and written: one after another.
        let root = match &self.output.place {
            Place::Folder(root) => Some(place::real(root)),
            Place::Zip(_) | Place::Store(_) => None,
        };
        let told = extends || !self.output.group.is_empty();
        let lock = || ObjectLock::take(&self.output.place.location(), root.as_deref(), "metadata");
        let metadata_lock = if told { Some(lock()?) } else { None };
        if extends {
            group::extend(&self.store, &self.prefix, &self.output.attrs, &nodes, &self.location())?;
        } else {
            for (key, node) in group::root(self.output.zarr, &self.output.attrs, &nodes) {
                let key = join(&self.prefix, &key);
                group::put_json(&self.store, &key, &node).map_err(|source| self.object_error(&key, source))?;
            }
            if let Some(folder) = &self.folder {
                sync(&folder.work);
            }
            let key = join(&self.prefix, JOURNAL);
            self.store.delete(&key).map_err(|source| self.object_error(&key, source))?;
        }
        if let Some(folder) = &self.folder
            && folder.work != folder.target
        {
            place::swap(&folder.work, &folder.target)?;
        }
        if !self.output.group.is_empty() {
            // In a folder the group was the root so far; the groups above are in the store of the whole cube.
            let whole = self.output.place.store()?;
            let group = &self.output.group;
            group::tell_ancestors(&whole, group, self.output.zarr, &self.output.place.location())?;
        }
        drop(metadata_lock);
        if let Some(root) = root.filter(|_| told) {
            lock::tidy(&root);
        }
        if let (Some(Folder { zip: Some(zip), .. }), Place::Folder(work)) = (&self.folder, &self.output.place) {
            place::pack_into(work, zip)?;
        }
        Ok(self.written())
    }

    /// Removes what was written. A cube that was to be overwritten in a folder stays as it was; of a group that was
    /// extended, only the new arrays go.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn abort(mut self) -> Result<(), WriteError> {
        // What is still on its way would come back behind its removal.
        self.outbox.settle();
        if self.journal.is_none() {
            for array in &self.arrays {
                self.store.delete_prefix(&join(&self.prefix, &array.spec().path))?;
            }
            return Ok(());
        }
        match self.folder.take() {
            Some(folder) if folder.made || folder.work != folder.target => {
                place::remove(&folder.work)?;
                // Folders on the way to a group, where they hold nothing else.
                let levels = self.output.group.split('/').filter(|name| !name.is_empty()).count();
                let keep = usize::from(!folder.made_root);
                for above in folder.work.ancestors().skip(1).take(levels.saturating_sub(keep)) {
                    let _ = std::fs::remove_dir(above);
                }
                Ok(())
            }
            // The root's metadata may be there when `finish` failed: what is left must not look like a cube.
            _ => {
                for name in ["zarr.json", ".zmetadata", ".zgroup"] {
                    self.store.delete(&join(&self.prefix, name))?;
                }
                Ok(self.store.delete_prefix(&self.prefix)?)
            }
        }
    }

    /// Identities of the inputs, as the journal keeps them.
    pub fn inputs(&self) -> &[InputIdentity] {
        &self.output.job.inputs
    }
}

fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// Brings the root's metadata to the disk before the journal goes; where that fails the file system does not do it.
fn sync(folder: &Path) {
    for name in ["zarr.json", ".zmetadata", ".zgroup", "."] {
        if let Ok(file) = std::fs::File::open(folder.join(name)) {
            let _ = file.sync_all();
        }
    }
}

#[cfg(test)]
mod tests;
