//! Cells written into a box of an array that exists.

mod inner;

use super::block::{self, At};
use super::error::WriteError;
use super::journal::JOURNAL;
use super::lock::{self, ObjectLock};
use super::place::Place;
use crate::chunk;
use crate::codec::chain::{Buffers, Chain};
use crate::error::OpenError;
use crate::open;
use crate::store::{Access, ByteRange, Store, StoreError, join};
use chunkwise_core::cube::{ChunkKeys, ChunkSizes};
use chunkwise_core::dtype::{DType, Element};
use inner::Inner;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a region is written.
#[derive(Clone, Copy, Debug)]
pub struct RegionOptions {
    /// Threads that encode and write.
    pub threads: NonZeroUsize,
    /// Chunks of which the block covers only a part.
    pub partial: Partial,
}

impl Default for RegionOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        RegionOptions { threads, partial: Partial::Locked }
    }
}

/// What is done about chunks of which a block covers only a part: they are read, changed and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partial {
    /// Under a lock that other processes keep too; an error on stores that have none (object stores).
    #[default]
    Locked,
    /// Under a lock within this process: the caller knows that no other process writes to the array.
    SingleProcess,
}

/// What was written into a region, in stored objects (of a sharded array, shards).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionWritten {
    /// Objects that the block covers whole: not read.
    pub whole: u64,
    /// Objects that were read and changed.
    pub partial: u64,
    /// Those among them that hold nothing but the fill value now, and are not stored.
    pub removed: u64,
}

/// Why cells were not written into a region.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// No array of that path.
    #[error("`{location}` has no array `{array}`")]
    NoArray {
        /// Location of the store.
        location: String,
        /// Path asked for.
        array: String,
    },
    /// Metadata that cannot be understood, or a type or codec that cannot be written.
    #[error("cannot write into `{array}`: {problem}")]
    Unsupported {
        /// Path of the array.
        array: String,
        /// What is wrong.
        problem: String,
    },
    /// Cells of another type.
    #[error("`{array}` holds `{stored}`, and the block is `{given}`")]
    Type {
        /// Path of the array.
        array: String,
        /// Element type of the array.
        stored: DType,
        /// Element type of the block.
        given: DType,
    },
    /// A block of another rank, or reaching past the end.
    #[error("the block of {shape:?} cells from {start:?} does not lie within `{array}` of {has:?}")]
    Outside {
        /// Path of the array.
        array: String,
        /// First cell of the block.
        start: Vec<u64>,
        /// Its shape.
        shape: Vec<u64>,
        /// Shape of the array.
        has: Vec<u64>,
    },
    /// Not as many cells as the shape says.
    #[error("{found} cells were given for a block of {shape:?}")]
    Cells {
        /// Cells given.
        found: usize,
        /// Shape of the block.
        shape: Vec<u64>,
    },
    /// A byte that is no `bool`.
    #[error("`{array}` holds `bool`, and the block holds {found}")]
    NotBool {
        /// Path of the array.
        array: String,
        /// The byte.
        found: u8,
    },
    /// A part of a chunk on a store that others may write to unseen.
    #[error(
        "the block covers only a part of `{key}`, and `{location}` has no locks against other processes; whole chunks \
         work, or `Partial::SingleProcess` where no one else writes"
    )]
    NoLock {
        /// Location of the store.
        location: String,
        /// The first such object.
        key: String,
    },
    /// A stored chunk that cannot be read, so that its other cells would be lost.
    #[error("cannot decode `{key}` of `{location}` to change a part of it: {problem}")]
    Decode {
        /// Location of the store.
        location: String,
        /// The object.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The output is unfinished, the store failed, or a lock could not be taken.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a block of stored values, in C order, into the array `variable` from cell `start`.
///
/// Whole chunks are written without being read, parts of chunks by reading, changing and writing under a lock, so that
/// blocks written at the same time all survive where they do not overlap. Where they do, the cells of one of them stay,
/// chunk by chunk. Of a sharded array the unit is the shard: a block that covers whole shards needs no reading, and of others the inner
/// chunks that it does not touch are copied as they are stored. Objects
/// appear whole or not at all; a run that is killed leaves some written and others not. A chunk left with nothing but
/// the fill value is removed.
///
/// Values are stored as they are given: packing and missing marks are the caller's.
///
/// # Errors
/// No such array, another element type, a block that does not lie within it, a cube that is not finished, a chunk that
/// cannot be read, a part of a chunk on a store without locks ([`Partial`]).
pub fn write_region<T: Element>(
    place: &Place,
    variable: &str,
    start: &[u64],
    shape: &[u64],
    cells: &[T],
    options: RegionOptions,
) -> Result<RegionWritten, RegionError> {
    let target = Target::open(place, variable)?;
    let given = T::DTYPE;
    if given != target.dtype && !(given == DType::UInt8 && target.dtype == DType::Bool) {
        return Err(RegionError::Type { array: variable.to_owned(), stored: target.dtype, given });
    }
    let bytes: &[u8] = bytemuck::cast_slice(cells);
    if target.dtype == DType::Bool
        && let Some(&found) = bytes.iter().find(|&&b| b > 1)
    {
        return Err(RegionError::NotBool { array: variable.to_owned(), found });
    }
    let has = &target.shape;
    let fits = |((&s, &n), &h): ((&u64, &u64), &u64)| s.checked_add(n).is_some_and(|end| end <= h);
    if start.len() != has.len() || shape.len() != has.len() || !start.iter().zip(shape).zip(has).all(fits) {
        return Err(RegionError::Outside {
            array: variable.to_owned(),
            start: start.to_vec(),
            shape: shape.to_vec(),
            has: has.to_vec(),
        });
    }
    let count = shape.iter().try_fold(1u64, |n, &s| n.checked_mul(s));
    if count != Some(cells.len() as u64) {
        return Err(RegionError::Cells { found: cells.len(), shape: shape.to_vec() });
    }
    if cells.is_empty() {
        return Ok(RegionWritten::default());
    }
    target.write(Block { start, shape, bytes }, options)
}

/// An array that is about to be longer than its metadata say: its chunks come before them.
pub(crate) struct Grown(Target);

impl Grown {
    /// The array at `path`, as it will be with this shape.
    pub(crate) fn open(place: &Place, path: &str, shape: &[u64]) -> Result<Grown, RegionError> {
        let mut target = Target::open(place, path)?;
        target.shape = shape.to_vec();
        Ok(Grown(target))
    }

    /// Writes a block on this thread; stored values of the array's type.
    pub(crate) fn write(&self, start: &[u64], shape: &[u64], bytes: &[u8]) -> Result<RegionWritten, RegionError> {
        let options = RegionOptions { threads: NonZeroUsize::MIN, partial: Partial::SingleProcess };
        self.0.write(Block { start, shape, bytes }, options)
    }
}

/// The cells of a region.
#[derive(Clone, Copy)]
struct Block<'a> {
    start: &'a [u64],
    shape: &'a [u64],
    bytes: &'a [u8],
}

/// An array that is written into.
struct Target {
    store: Arc<dyn Store>,
    location: String,
    /// The folder of the array, where it is in one.
    folder: Option<PathBuf>,
    path: String,
    shape: Vec<u64>,
    dtype: DType,
    keys: ChunkKeys,
    /// Cells of a stored object.
    chunk: Vec<u64>,
    fill: Vec<u8>,
    skips_fill: bool,
    stored: Stored,
}

/// What a stored object is.
enum Stored {
    /// A chunk, or a shard that only other codecs around it can decode.
    Chunk(Chain),
    /// A shard that need not be whole in memory.
    Shard(Inner),
}

impl Target {
    fn open(place: &Place, path: &str) -> Result<Target, RegionError> {
        let none = || RegionError::NoArray { location: place.location(), array: path.to_owned() };
        let (store, folder) = match place {
            Place::Folder(root) if !root.is_dir() => return Err(none()),
            Place::Folder(root) => (place.store()?, Some(super::place::real(root).join(path))),
            Place::Zip(file) => {
                return Err(StoreError::ReadOnly {
                    location: super::place::shown(file),
                    kind: "a zip file that exists",
                }
                .into());
            }
            Place::Store(store) => (Arc::clone(store), None),
        };
        let bad = |problem: String| RegionError::Unsupported { array: path.to_owned(), problem };
        let above = std::iter::once("").chain(path.match_indices('/').map(|(at, _)| &path[..at]));
        for group in above {
            if super::group::exists(&store, &join(group, JOURNAL))? {
                return Err(WriteError::Unfinished { location: place.location() }.into());
            }
        }
        let variable = open::stored_array(store.as_ref(), path).map_err(|error| match error {
            OpenError::Store(error) => RegionError::Store(error),
            other => bad(other.to_string()),
        })?;
        let variable = variable.ok_or_else(none)?;
        if let Some(problem) = &variable.problem {
            return Err(bad(problem.clone()));
        }
        let of = &variable.dtype;
        let dtype = of.number().ok_or_else(|| bad(format!("its type `{}` holds no numbers", of.name())))?;
        let regular = |sizes: &[ChunkSizes]| -> Result<Vec<u64>, RegionError> {
            let size = |sizes: &ChunkSizes| match sizes {
                ChunkSizes::Regular(n) => Some(*n),
                ChunkSizes::Listed(_) => None,
            };
            let sizes: Option<Vec<u64>> = sizes.iter().map(size).collect();
            sizes.ok_or_else(|| bad("its chunk grid `rectilinear` cannot be written".to_owned()))
        };
        let chunk = regular(variable.shards.as_ref().unwrap_or(&variable.chunks))?;
        let cells = chunk.iter().try_fold(dtype.size() as u64, |n, &c| n.checked_mul(c));
        if cells.is_none_or(|bytes| bytes > isize::MAX as u64) {
            return Err(bad(format!("its chunks of {chunk:?} cells are too large")));
        }
        let fill = chunk::fill(&variable).map_err(|e| bad(chain(&e)))?;
        let codecs = &variable.encoding.codecs;
        let stored = match (&variable.shards, codecs.as_slice()) {
            (Some(_), [codec]) => Inner::of(of, &fill, codec, regular(&variable.chunks)?, &chunk).map(Stored::Shard),
            _ => Chain::new(of, &fill, codecs, &chunk).map(Stored::Chunk).map_err(|e| chain(&e)),
        };
        Ok(Target {
            store,
            location: place.location(),
            folder,
            path: path.to_owned(),
            stored: stored.map_err(bad)?,
            skips_fill: variable.fill_value.is_some(),
            keys: variable.encoding.keys,
            shape: variable.shape,
            dtype,
            chunk,
            fill,
        })
    }

    fn write(&self, block: Block<'_>, options: RegionOptions) -> Result<RegionWritten, RegionError> {
        let first: Vec<u64> = block.start.iter().zip(&self.chunk).map(|(s, c)| s / c).collect();
        let grid: Vec<u64> = block
            .start
            .iter()
            .zip(block.shape)
            .zip(&self.chunk)
            .zip(&first)
            .map(|(((s, n), c), f)| (s + n - 1) / c - f + 1)
            .collect();
        let objects: u64 = grid.iter().product();
        if self.folder.is_none() && self.store.access() == Access::Polled && options.partial == Partial::Locked {
            // Told before anything is written.
            for number in 0..objects {
                let index = self.index(number, &first, &grid);
                if !self.part(&index, block).whole {
                    let key = self.key(&index);
                    return Err(RegionError::NoLock { location: self.location.clone(), key });
                }
            }
        }
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let result = Mutex::new((RegionWritten::default(), None));
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= objects {
                    return;
                }
                let done = self.write_object(&self.index(number, &first, &grid), block);
                let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
                match done {
                    Ok(one) => {
                        result.0.whole += one.whole;
                        result.0.partial += one.partial;
                        result.0.removed += one.removed;
                    }
                    Err(e) => {
                        stop.store(true, Ordering::Relaxed);
                        result.1.get_or_insert(e);
                    }
                }
            }
        };
        let threads = (options.threads.get() as u64).min(objects);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(folder) = &self.folder {
            lock::tidy(folder);
        }
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            (_, Some(e)) => Err(e),
            (written, None) => Ok(written),
        }
    }

    fn index(&self, mut number: u64, first: &[u64], grid: &[u64]) -> Vec<u64> {
        let mut index = first.to_vec();
        for (i, g) in index.iter_mut().zip(grid).rev() {
            *i += number % g;
            number /= g;
        }
        index
    }

    fn key(&self, index: &[u64]) -> String {
        join(&self.path, &self.keys.key(index))
    }

    /// Where block and chunk meet.
    fn part(&self, index: &[u64], block: Block<'_>) -> Part {
        let mut part = Part { whole: true, in_chunk: Vec::new(), in_block: Vec::new(), count: Vec::new() };
        for (d, &i) in index.iter().enumerate() {
            let begin = i * self.chunk[d];
            let end = (begin + self.chunk[d]).min(self.shape[d]);
            let from = begin.max(block.start[d]);
            let to = end.min(block.start[d] + block.shape[d]);
            part.whole &= from == begin && to == end;
            part.in_chunk.push(from - begin);
            part.in_block.push(from - block.start[d]);
            part.count.push(to - from);
        }
        part
    }

    fn write_object(&self, index: &[u64], block: Block<'_>) -> Result<RegionWritten, RegionError> {
        let (key, part) = (self.key(index), self.part(index, block));
        let name = self.keys.key(index);
        // A whole chunk is locked too: else it could fall between another's reading and writing, and be lost.
        let _lock = ObjectLock::take(&format!("{}\0{}", self.location, self.path), self.folder.as_deref(), &name)?;
        let codecs = match &self.stored {
            Stored::Shard(inner) => return self.write_shard(inner, index, &key, part.whole, block),
            Stored::Chunk(codecs) => codecs,
        };
        let size = self.dtype.size();
        let cells = self.chunk.iter().product::<u64>() as usize;
        let mut chunk = None;
        if !part.whole
            && let Some(encoded) = self.store.get(&key, ByteRange::Whole)?
        {
            let mut decoded = Vec::new();
            let done = codecs.decode(&self.chunk, &encoded, &mut Buffers::default(), &mut decoded);
            done.map_err(|e| self.bad(&key, chain(&e)))?;
            chunk = Some(decoded);
        }
        let mut chunk = chunk.unwrap_or_else(|| block::filled(&self.fill, cells));
        let source = At { shape: block.shape, start: &part.in_block };
        let target = At { shape: &self.chunk, start: &part.in_chunk };
        block::copy(block.bytes, source, &mut chunk, target, &part.count, size);
        let mut written = RegionWritten { whole: u64::from(part.whole), partial: u64::from(!part.whole), removed: 0 };
        if self.skips_fill && block::all_are(&chunk, &self.fill) {
            written.removed = 1;
            self.store.delete(&key).map_err(|source| self.failed(&key, source))?;
            return Ok(written);
        }
        let encoded = codecs.encode(&self.chunk, &chunk).map_err(|e| self.unsupported(e.as_ref()))?;
        self.store.put(&key, &encoded).map_err(|source| self.failed(&key, source))?;
        Ok(written)
    }

    fn unsupported(&self, e: &(dyn std::error::Error + 'static)) -> RegionError {
        RegionError::Unsupported { array: self.path.clone(), problem: chain(e) }
    }

    fn bad(&self, key: &str, problem: String) -> RegionError {
        RegionError::Decode { location: self.location.clone(), key: key.to_owned(), problem }
    }

    fn failed(&self, key: &str, source: StoreError) -> RegionError {
        let (location, key) = (self.location.clone(), key.to_owned());
        WriteError::Object { location, key, source: Arc::new(source) }.into()
    }
}

/// Where a block and a chunk meet.
struct Part {
    /// Whether the block covers all of the chunk that lies within the array.
    whole: bool,
    in_chunk: Vec<u64>,
    in_block: Vec<u64>,
    count: Vec<u64>,
}

/// An error and its causes, as one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
