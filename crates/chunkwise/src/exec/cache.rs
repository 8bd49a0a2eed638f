//! Decoded chunks that several leaves need: each is decoded once and dropped after its last use.

use super::ExecError;
use crate::chunk::{ChunkReader, Scratch};
use chunkwise_core::plan::{Axis, Stage};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a run counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Chunks asked for.
    pub chunks: AtomicU64,
    /// Chunks that are not stored.
    pub absent: AtomicU64,
    /// Requests to stores.
    pub requests: AtomicU64,
    /// Bytes fetched.
    pub encoded_bytes: AtomicU64,
    /// Bytes decoded.
    pub decoded_bytes: AtomicU64,
    /// Leaves folded.
    pub leaves: AtomicU64,
}

type Slot = Arc<Mutex<(Option<Arc<Vec<u8>>>, u64)>>;

/// Chunks in use, by array and index.
#[derive(Debug)]
pub(crate) struct ChunkCache {
    /// For each array: how many leaves use chunk `c` along each of the walk's dimensions; `None`: always one.
    uses: Vec<Option<Vec<DimUses>>>,
    slots: Mutex<HashMap<(usize, Vec<u64>), Slot>>,
}

#[derive(Debug)]
enum DimUses {
    /// The array's axis, and the leaves per chunk along it.
    Axis(usize, HashMap<u64, u64>),
    /// The array lacks the dimension: every leaf along it uses the chunk.
    Absent(u64),
}

impl ChunkCache {
    pub(crate) fn new(stage: &Stage) -> ChunkCache {
        let mut uses = Vec::new();
        for (a, array) in stage.arrays.iter().enumerate() {
            let Some(view) = stage.inputs.iter().find(|i| i.array == a) else {
                uses.push(None);
                continue;
            };
            let mut shared = false;
            let mut dims = Vec::new();
            for (d, dim) in stage.dims.iter().enumerate() {
                match view.axes.iter().position(|x| *x == Axis::Walk(d)) {
                    None => {
                        shared |= dim.cuts.count() > 1;
                        dims.push(DimUses::Absent(dim.cuts.count()));
                    }
                    Some(axis) if dim.cuts.count() == dim.chunks_touched(&array.chunks[axis]) => {
                        dims.push(DimUses::Absent(1));
                    }
                    Some(axis) => {
                        shared = true;
                        let mut per_chunk = HashMap::new();
                        for i in 0..dim.cuts.count() {
                            let source = dim.indices.at(dim.cuts.start(i));
                            *per_chunk.entry(array.chunks[axis].locate(source).0).or_insert(0) += 1;
                        }
                        dims.push(DimUses::Axis(axis, per_chunk));
                    }
                }
            }
            uses.push(shared.then_some(dims));
        }
        ChunkCache { uses, slots: Mutex::new(HashMap::new()) }
    }

    /// A decoded chunk.
    pub(crate) fn get(
        &self,
        array: usize,
        chunk: &[u64],
        reader: &ChunkReader,
        scratch: &mut Scratch,
        counters: &Counters,
    ) -> Result<Arc<Vec<u8>>, ExecError> {
        let Some(dims) = &self.uses[array] else {
            return Ok(Arc::new(read(chunk, reader, scratch, counters)?));
        };
        let total: u64 = dims
            .iter()
            .map(|d| match d {
                DimUses::Axis(axis, per) => per.get(&chunk[*axis]).copied().unwrap_or(1),
                DimUses::Absent(n) => *n,
            })
            .product();
        let key = (array, chunk.to_vec());
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(key.clone()).or_insert_with(|| Arc::new(Mutex::new((None, total)))).clone()
        };
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &held.0 {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = Arc::new(read(chunk, reader, scratch, counters)?);
                held.0 = Some(bytes.clone());
                bytes
            }
        };
        held.1 = held.1.saturating_sub(1);
        if held.1 == 0 {
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        Ok(bytes)
    }
}

fn read(chunk: &[u64], reader: &ChunkReader, scratch: &mut Scratch, counters: &Counters) -> Result<Vec<u8>, ExecError> {
    let mut bytes = Vec::new();
    let fetched = reader.read(chunk, scratch, &mut bytes)?;
    counters.chunks.fetch_add(1, Ordering::Relaxed);
    counters.absent.fetch_add(u64::from(!fetched.existed), Ordering::Relaxed);
    counters.requests.fetch_add(fetched.requests.into(), Ordering::Relaxed);
    counters.encoded_bytes.fetch_add(fetched.encoded_bytes, Ordering::Relaxed);
    counters.decoded_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(bytes)
}
