//! Where the chunks of an HDF5 dataset lie in its file.
//!
//! Files of NetCDF-4 have B-trees (version 1). They are searched here a node at a time, so that an index of any length takes
//! little memory and opening reads none of it. The other kinds are looked up by the library.

use super::hdf5::File;
use hdf5_reader::btree_v1::{BTreeV1Key, BTreeV1Node};
use hdf5_reader::chunk_index::{ChunkEntry, collect_v2_chunk_entries_storage};
use hdf5_reader::error::{Error, Result};
use hdf5_reader::extensible_array::collect_extensible_array_chunk_entries_storage;
use hdf5_reader::fixed_array::collect_fixed_array_chunk_entries_storage;
use hdf5_reader::io::Cursor;
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use hdf5_reader::messages::layout::ChunkIndexing;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Nodes of a tree that are kept: a path from the root, for several threads.
const KEPT: usize = 16;
/// Levels of a tree; HDF5 makes a handful.
const DEEPEST: usize = 64;

/// A chunk as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Position in the file, behind its user block.
    pub(super) at: u64,
    pub(super) len: u64,
    /// A bit for each filter that was left out.
    pub(super) skipped: u32,
}

/// The chunk index of a dataset.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) address: u64,
    pub(super) kind: Option<ChunkIndexing>,
    /// The dataset as it is stored: dimensions that several share may be longer.
    pub(super) shape: Vec<u64>,
    pub(super) max: Option<Vec<u64>>,
    pub(super) chunks: Vec<u32>,
    /// Bytes of a chunk without filters.
    pub(super) whole: u64,
    /// Filters that the bytes go through when they are read, where Zarr has no codec for one of them.
    pub(super) decode: Option<Vec<FilterDescription>>,
    pub(super) item: usize,
    pub(super) nodes: Mutex<Vec<(u64, Arc<BTreeV1Node>)>>,
    /// All chunks, of a kind that can only be read whole.
    pub(super) all: OnceLock<BTreeMap<Vec<u64>, Stored>>,
}

impl Index {
    /// Where a chunk is stored; `None` where it never was.
    pub(super) fn find(&self, file: &File, chunk: &[u64]) -> Result<Option<Stored>> {
        let undefined = Cursor::is_undefined_offset(self.address, file.offset_size);
        let first: Option<Vec<u64>> =
            chunk.iter().zip(&self.chunks).map(|(&c, &n)| c.checked_mul(u64::from(n))).collect();
        let Some(first) = first.filter(|_| !undefined) else { return Ok(None) };
        if first.iter().zip(&self.shape).any(|(at, length)| at >= length) {
            return Ok(None);
        }
        let bounds = Some((chunk, chunk));
        let (offset_size, length_size) = (file.offset_size, file.length_size);
        let storage = file.hdf5.storage();
        let entries = match &self.kind {
            None => return self.descend(file, &first),
            Some(ChunkIndexing::SingleChunk { filtered_size, filters }) => {
                let len = if *filtered_size == 0 { self.whole } else { *filtered_size };
                return Ok(Some(Stored { at: self.address, len, skipped: *filters }));
            }
            Some(ChunkIndexing::Implicit) => {
                let mut at = 0u64;
                for ((&c, &n), &length) in chunk.iter().zip(&self.chunks).zip(&self.shape) {
                    let along = length.div_ceil(u64::from(n.max(1)));
                    at = at.checked_mul(along).and_then(|at| at.checked_add(c)).ok_or_else(overflow)?;
                }
                let at = at.checked_mul(self.whole).and_then(|at| at.checked_add(self.address));
                return Ok(Some(Stored { at: at.ok_or_else(overflow)?, len: self.whole, skipped: 0 }));
            }
            Some(ChunkIndexing::FixedArray { .. }) => collect_fixed_array_chunk_entries_storage(
                storage,
                self.address,
                offset_size,
                length_size,
                &self.shape,
                &self.chunks,
                bounds,
            )?,
            Some(ChunkIndexing::ExtensibleArray { .. }) => collect_extensible_array_chunk_entries_storage(
                storage,
                self.address,
                offset_size,
                length_size,
                &self.shape,
                self.max.as_deref(),
                &self.chunks,
                bounds,
            )?,
            Some(ChunkIndexing::BTreeV2) => {
                if self.all.get().is_none() {
                    let entries = collect_v2_chunk_entries_storage(
                        storage,
                        self.address,
                        offset_size,
                        length_size,
                        self.chunks.len() as u32,
                        &self.chunks,
                        None,
                    )?;
                    let all = entries.iter().map(|entry| (entry.offsets.clone(), self.stored(entry)));
                    let _ = self.all.set(all.collect());
                }
                return Ok(self.all.get().and_then(|all| all.get(&first)).copied());
            }
        };
        let found = entries.iter().find(|entry| entry.offsets == first);
        Ok(found.filter(|e| !Cursor::is_undefined_offset(e.address, offset_size)).map(|entry| self.stored(entry)))
    }

    fn stored(&self, entry: &ChunkEntry) -> Stored {
        // Chunks without filters are told without their size.
        let len = if entry.size == 0 { self.whole } else { entry.size };
        Stored { at: entry.address, len, skipped: entry.filter_mask }
    }

    /// Child `i` of a node holds the chunks from key `i` up to key `i + 1`; of a leaf, key `i` is its chunk's own.
    fn descend(&self, file: &File, first: &[u64]) -> Result<Option<Stored>> {
        let mut address = self.address;
        let mut above = None;
        for _ in 0..DEEPEST {
            let node = self.node(file, address)?;
            if above.is_some_and(|level| node.level >= level) || node.node_type != 1 {
                return Err(Error::InvalidData(format!("the node at {address:#x} is none of the chunk index")));
            }
            above = Some(node.level);
            let before = |key: &BTreeV1Key| match key {
                BTreeV1Key::RawData { offsets, .. } => offsets.get(..first.len()).is_some_and(|at| at <= first),
                BTreeV1Key::Group { .. } => false,
            };
            // The last key is the end of the last child.
            let keys = &node.keys[..node.children.len().min(node.keys.len())];
            let Some(child) = keys.partition_point(before).checked_sub(1) else { return Ok(None) };
            address = node.children[child];
            if Cursor::is_undefined_offset(address, file.offset_size) {
                return Ok(None);
            }
            if node.level > 0 {
                continue;
            }
            return Ok(match &keys[child] {
                BTreeV1Key::RawData { chunk_size, filter_mask, offsets } if offsets.starts_with(first) => {
                    Some(Stored { at: address, len: u64::from(*chunk_size), skipped: *filter_mask })
                }
                _ => None,
            });
        }
        Err(Error::InvalidData(format!("the chunk index is deeper than {DEEPEST} levels")))
    }

    fn node(&self, file: &File, address: u64) -> Result<Arc<BTreeV1Node>> {
        let mut kept = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.iter().position(|(at, _)| *at == address) {
            let node = kept.remove(found);
            kept.push(node);
            return Ok(Arc::clone(&kept[kept.len() - 1].1));
        }
        drop(kept);
        let storage = file.hdf5.storage();
        let head = 8 + 2 * usize::from(file.offset_size);
        let used = storage.read_range(address, head)?;
        let used = used.get(6..8).map_or(0, |n| usize::from(u16::from_le_bytes([n[0], n[1]])));
        let (key, child) = (8 + 8 * (self.chunks.len() + 1), usize::from(file.offset_size));
        let bytes = storage.read_range(address, head + (used + 1) * key + used * child)?;
        let rank = self.chunks.len() as u32;
        let node = BTreeV1Node::parse(&mut Cursor::new(&bytes), file.offset_size, file.length_size, Some(rank))?;
        let node = Arc::new(node);
        kept = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((address, Arc::clone(&node)));
        Ok(node)
    }
}

fn overflow() -> Error {
    Error::InvalidData("the position of a chunk lies behind all files".to_owned())
}
