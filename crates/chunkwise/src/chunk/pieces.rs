//! Where chunks lie in stored objects, and what one request fetches.

use super::error::{ChunkError, DecodeError};
use super::shard::{self, Slot};
use super::{Address, ChunkReader, Fetched};
use crate::store::{ByteRange, StoreError};
use chunkwise_core::cube::ShardOf;
use std::ops::Range;

/// A part of an object that one request fetches.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) range: ByteRange,
    /// Of each chunk in it its number among those asked for, and where it lies in the bytes that come (`None`: all).
    pub(crate) chunks: Vec<(usize, Option<Range<usize>>)>,
}

impl Piece {
    /// Bytes that come, where they are known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self.range {
            ByteRange::Bounded { len, .. } => Some(len),
            _ => None,
        }
    }
}

impl ChunkReader {
    /// Where `chunks`, which lie in one object, are to be fetched from, reading the index of their shard if need be: what
    /// that took, and the pieces; chunks that are in none are absent.
    ///
    /// Neighbours in a shard are one piece where no more than `gap` bytes lie between them, as long as all together is
    /// no more than `room`.
    ///
    /// # Errors
    /// There is no such chunk, or the index of its shard is damaged or cannot be fetched.
    pub(crate) async fn locate(
        &self,
        chunks: &[Vec<u64>],
        gap: u64,
        room: u64,
    ) -> Result<(Fetched, Vec<Piece>), ChunkError> {
        let Some(first) = chunks.first() else { return Ok((Fetched::default(), Vec::new())) };
        let address = self.address(first)?;
        let Some(shards) = &self.shards else {
            let whole = Piece { range: ByteRange::Whole, chunks: vec![(0, None)] };
            return Ok((Fetched::default(), vec![whole]));
        };
        let shard = shards.find(first);
        let slot = shards.slot(&shard);
        let mut fetched = Fetched::default();
        if slot.index.get().is_none() {
            let _reading = slot.task.lock().await;
            if slot.index.get().is_none() {
                let bytes = self.store.get_async(&address.key, shards.index_range(&shard)).await;
                fetched = self.keep_index(&slot, &shard, first, &address, bytes)?;
            }
        }
        let mut found = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            self.check(chunk)?;
            if let Some((start, len)) = self.entry(&slot, &shards.find(chunk), chunk)? {
                found.push((number, start, len));
            }
        }
        let piece = |run: shard::Run| Piece {
            range: ByteRange::Bounded { start: run.start, len: run.len },
            // What is fetched lies in memory.
            chunks: run.parts.iter().map(|&(n, at, len)| (n, Some(at as usize..(at + len) as usize))).collect(),
        };
        Ok((fetched, shard::runs(found, gap, room).into_iter().map(piece).collect()))
    }

    /// Fetches a piece of [`ChunkReader::locate`]; `None` where the object is absent.
    ///
    /// # Errors
    /// It cannot be fetched, or is shorter than the index of its shard says.
    pub(crate) async fn fetch_piece(&self, chunks: &[Vec<u64>], piece: &Piece) -> Result<Option<Vec<u8>>, ChunkError> {
        let chunk = piece.chunks.iter().map(|(n, _)| *n).min().and_then(|n| chunks.get(n)).map_or(&[][..], |c| c);
        let address = self.address(chunk)?;
        let bytes = match piece.range {
            ByteRange::Whole => self.store.get_within(&address.key, self.most).await,
            range => self.store.get_async(&address.key, range).await,
        };
        let bytes = bytes.map_err(|source| self.fetch_error_of(chunk, &address.key, piece.range, source))?;
        match (&bytes, piece.len()) {
            (None, Some(_)) => Err(self.decode_error_of(chunk, piece.range, DecodeError::Vanished)),
            (Some(found), Some(expected)) if found.len() as u64 != expected => {
                let source = DecodeError::Piece { found: found.len() as u64, expected };
                Err(self.decode_error_of(chunk, piece.range, source))
            }
            _ => Ok(bytes),
        }
    }

    /// Puts an index into its slot; what reading it took.
    pub(super) fn keep_index(
        &self,
        slot: &Slot,
        shard: &ShardOf,
        chunk: &[u64],
        address: &Address,
        bytes: Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Fetched, ChunkError> {
        let Some(shards) = &self.shards else { return Ok(Fetched::default()) };
        let range = shards.index_range(shard);
        let bytes = bytes.map_err(|source| self.fetch_error_of(chunk, &address.key, range, source))?;
        let encoded_bytes = bytes.as_ref().map_or(0, |b| b.len() as u64);
        let index = bytes.map(|bytes| shards.format.parse(shard.per.iter().product(), &bytes)).transpose();
        let index = index.map_err(|source| self.decode_error_of(chunk, range, source))?;
        // Whoever came first has read the same bytes.
        let _ = slot.index.set(index);
        Ok(Fetched { existed: false, requests: 1, encoded_bytes })
    }

    /// Where a chunk lies, by an index that was read.
    pub(super) fn entry(&self, slot: &Slot, shard: &ShardOf, chunk: &[u64]) -> Result<Option<(u64, u64)>, ChunkError> {
        let Some(shards) = &self.shards else { return Ok(None) };
        let entry = shards.entry(slot.index.get().unwrap_or(&None), shard, self.most);
        entry.map_err(|source| self.decode_error_of(chunk, shards.index_range(shard), source))
    }
}
