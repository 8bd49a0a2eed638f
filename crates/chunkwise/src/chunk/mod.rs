//! Chunks: which bytes of a store hold one, and how they become cells.
//!
//! A [`ChunkReader`] knows one variable and is shared by all threads; a [`Scratch`] belongs to one of them and
//! keeps its buffers and decoders from chunk to chunk. Three things are never confused: a chunk that is absent
//! (it holds the fill value), one that cannot be fetched, and one whose bytes are damaged.

mod error;
mod pieces;
mod shard;

pub use error::{BoxError, ChunkError, DecodeError};

use crate::codec::chain::{self, Buffers, Chain};
use crate::codec::step::Size;
use crate::codec::text;
use crate::store::{ByteRange, Store, StoreError, join};
use chunkwise_core::cube::{ChunkKeys, ChunkSizes, DataType, TextKind, Variable};
use chunkwise_core::dtype::{Element, ForElement, Scalar};
pub(crate) use pieces::Piece;
pub(crate) use shard::IndexFormat;
use shard::Shards;
use std::fmt;
use std::sync::{Arc, PoisonError};

/// Buffers and decoders of one thread, used from chunk to chunk.
#[derive(Default)]
pub struct Scratch {
    encoded: Vec<u8>,
    buffers: Buffers,
}

impl Scratch {
    /// With nothing in it yet.
    pub fn new() -> Scratch {
        Scratch::default()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("encoded_bytes", &self.encoded.capacity()).finish_non_exhaustive()
    }
}

/// What reading one chunk took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Whether the chunk is stored; else it holds the fill value.
    pub existed: bool,
    /// How often the store was asked.
    pub requests: u32,
    /// Bytes that came from the store: of the chunk, and of a shard's index where it had to be read.
    pub encoded_bytes: u64,
}

/// Which stored object holds a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Key of the object in the store.
    pub key: String,
    /// Index of the object in the grid of objects: of the chunk itself, or of its shard.
    pub object: Vec<u64>,
    /// Place of the chunk within its shard, in C order; `None` without shards.
    pub within: Option<u64>,
}

/// Reads chunks of one variable. To be shared (`Arc`) by all threads that read it.
#[derive(Debug)]
pub struct ChunkReader {
    store: Arc<dyn Store>,
    path: String,
    dtype: DataType,
    keys: ChunkKeys,
    chunks: Vec<ChunkSizes>,
    /// Chunks along each dimension.
    grid: Vec<u64>,
    shards: Option<Shards>,
    chain: Chain,
    /// Bytes of an encoded chunk, at most.
    most: u64,
    /// One cell of an absent chunk, in the order of bytes of this machine.
    fill: Vec<u8>,
    fill_text: String,
    /// What messages call the variable.
    label: String,
}

impl ChunkReader {
    /// A reader of `variable`, whose path and keys are those of `store`.
    ///
    /// A variable without a fill value (v2 `null`) reads absent chunks as zeros, as zarr-python does.
    ///
    /// # Errors
    /// The variable has a [`Variable::problem`], a codec that is not known or cannot be used so, or a fill value
    /// that its type does not hold.
    pub fn new(variable: &Variable, store: Arc<dyn Store>) -> Result<ChunkReader, ChunkError> {
        let unreadable = |reason: String| ChunkError::Unreadable { variable: label(variable), reason };
        if let Some(problem) = &variable.problem {
            return Err(unreadable(problem.clone()));
        }
        if variable.chunks.len() != variable.shape.len() {
            return Err(unreadable("its chunks have other dimensions than its shape".to_owned()));
        }
        let mut grid = Vec::with_capacity(variable.chunks.len());
        let mut usual = Vec::with_capacity(variable.chunks.len());
        for (chunks, &cells) in variable.chunks.iter().zip(&variable.shape) {
            let (count, size) = match chunks {
                ChunkSizes::Regular(0) => {
                    return Err(unreadable("a chunk has no cells".to_owned()));
                }
                ChunkSizes::Regular(n) => (cells.div_ceil(*n), *n),
                ChunkSizes::Listed(sizes) => (sizes.len() as u64, sizes.iter().copied().max().unwrap_or(1).max(1)),
            };
            grid.push(count);
            usual.push(size);
        }
        let shards = Shards::of(variable)?;
        let codecs = shards.as_ref().map_or(&variable.encoding.codecs, |s| &s.inner);
        let fill = fill(variable)?;
        let chain = Chain::new(&variable.dtype, &fill, codecs, &usual);
        let chain = chain.map_err(|e| ChunkError::of_chain(label(variable), e))?;
        Ok(ChunkReader {
            store,
            path: variable.path.clone(),
            dtype: variable.dtype.clone(),
            keys: variable.encoding.keys,
            chunks: variable.chunks.clone(),
            grid,
            fill,
            fill_text: variable.encoding.fill_text.clone(),
            label: label(variable),
            most: chain.encoded_most(&usual),
            chain,
            shards,
        })
    }

    /// Keeps the indexes of shards in about so many bytes, and one at least.
    #[must_use]
    pub fn with_index_bytes(mut self, bytes: u64) -> ChunkReader {
        if let Some(shards) = &mut self.shards {
            shards.keep(bytes);
        }
        self
    }

    /// Fetches no encoded chunk of more bytes, where it fetches ahead.
    #[must_use]
    pub(crate) fn with_most(mut self, bytes: u64) -> ChunkReader {
        self.most = self.most.min(bytes);
        self
    }

    /// The store that it reads from.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Chunks along each dimension.
    pub fn grid(&self) -> &[u64] {
        &self.grid
    }

    /// Cells of a chunk along each dimension. The last chunk of a regular grid is as large as all others.
    ///
    /// # Errors
    /// There is no such chunk.
    pub fn shape(&self, chunk: &[u64]) -> Result<Vec<u64>, ChunkError> {
        self.check(chunk)?;
        let size = |(sizes, &at): (&ChunkSizes, &u64)| match sizes {
            ChunkSizes::Regular(n) => *n,
            // Within the grid: `check` saw to it.
            ChunkSizes::Listed(sizes) => sizes.get(at as usize).copied().unwrap_or(0),
        };
        Ok(self.chunks.iter().zip(chunk).map(size).collect())
    }

    /// Size of an encoded chunk in bytes, where it is the same for all chunks: nothing is compressed.
    pub fn encoded_size_known(&self) -> Option<u64> {
        let shape: Option<Vec<u64>> =
            self.chunks.iter().map(|c| if let ChunkSizes::Regular(n) = c { Some(*n) } else { None }).collect();
        self.chain.encoded_size(&shape?)
    }

    /// Bytes of an encoded chunk, at most.
    pub(crate) fn encoded_most(&self) -> u64 {
        self.most
    }

    /// How keys of chunks are written.
    pub(crate) fn keys(&self) -> ChunkKeys {
        self.keys
    }

    /// Stored objects along each dimension: chunks, or shards.
    pub(crate) fn objects(&self) -> Vec<u64> {
        let last: Vec<u64> = self.grid.iter().map(|n| n.saturating_sub(1)).collect();
        let count = |(&n, last): (&u64, u64)| if n == 0 { 0 } else { last + 1 };
        match &self.shards {
            None => self.grid.clone(),
            Some(shards) => self.grid.iter().zip(shards.find(&last).index).map(count).collect(),
        }
    }

    /// Whether these bytes are the index of the shard that holds a chunk.
    pub(crate) fn is_index(&self, chunk: &[u64], bytes: ByteRange) -> bool {
        let shards = self.check(chunk).ok().and(self.shards.as_ref());
        shards.is_some_and(|shards| shards.index_range(&shards.find(chunk)) == bytes)
    }

    /// Bytes of a chunk once it is decoded; `None` where there is no such chunk or its cells have no fixed size.
    pub fn decoded_size(&self, chunk: &[u64]) -> Option<u64> {
        let DataType::Number(dtype) = self.dtype else { return None };
        let cells = self.shape(chunk).ok()?.iter().try_fold(1u64, |a, &n| a.checked_mul(n))?;
        cells.checked_mul(dtype.size() as u64)
    }

    /// Which stored object holds a chunk.
    ///
    /// # Errors
    /// There is no such chunk.
    pub fn address(&self, chunk: &[u64]) -> Result<Address, ChunkError> {
        self.check(chunk)?;
        let (object, within) = match &self.shards {
            None => (chunk.to_vec(), None),
            Some(shards) => {
                let found = shards.find(chunk);
                let within = found.position();
                (found.index, Some(within))
            }
        };
        Ok(Address { key: join(&self.path, &self.keys.key(&object)), object, within })
    }

    /// Fetches a chunk on this thread and decodes it: `out` then holds its cells and nothing else, in C order and
    /// the byte order of this machine. An absent chunk is filled with the fill value.
    ///
    /// # Errors
    /// There is no such chunk, it cannot be fetched, or its bytes are damaged; `out` then holds anything.
    pub fn read(&self, chunk: &[u64], scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<Fetched, ChunkError> {
        self.numbers()?;
        if self.shards.is_none() && self.chain.is_plain() {
            return self.read_plain(chunk, out);
        }
        let fetched = self.load(chunk, &mut scratch.encoded)?;
        let Scratch { encoded, buffers } = scratch;
        self.unpack(chunk, fetched.existed.then_some(encoded.as_slice()), buffers, out)?;
        Ok(fetched)
    }

    /// As [`ChunkReader::read`] where the stored bytes are the cells: they go where they are wanted at once.
    fn read_plain(&self, chunk: &[u64], out: &mut Vec<u8>) -> Result<Fetched, ChunkError> {
        let fetched = self.load(chunk, out)?;
        let shape = self.shape(chunk)?;
        let result = match fetched.existed {
            true => Size::Exact(self.chain.decoded(&shape)).check(out.len()),
            false => self.fill_chunk(&shape, out),
        };
        result.map_err(|source| self.decode_error(chunk, source))?;
        Ok(fetched)
    }

    /// Fetches the encoded bytes of a chunk; `None` where it is absent. The index of a shard is read once.
    ///
    /// # Errors
    /// There is no such chunk, it cannot be fetched, or the index of its shard is damaged.
    pub async fn fetch(&self, chunk: &[u64]) -> Result<(Fetched, Option<Vec<u8>>), ChunkError> {
        let chunks = [chunk.to_vec()];
        let (mut fetched, pieces) = self.locate(&chunks, 0, u64::MAX).await?;
        let Some(piece) = pieces.first() else { return Ok((fetched, None)) };
        let bytes = self.fetch_piece(&chunks, piece).await?;
        fetched.requests += 1;
        fetched.existed = bytes.is_some();
        fetched.encoded_bytes += bytes.as_ref().map_or(0, |b| b.len() as u64);
        Ok((fetched, bytes))
    }

    /// Decodes what [`ChunkReader::fetch`] gave, as [`ChunkReader::read`] does.
    ///
    /// # Errors
    /// There is no such chunk, or its bytes are damaged; `out` then holds anything.
    pub fn decode(
        &self,
        chunk: &[u64],
        encoded: Option<&[u8]>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), ChunkError> {
        self.numbers()?;
        self.unpack(chunk, encoded, &mut scratch.buffers, out)
    }

    /// Reads a chunk of text on this thread; the cells of an absent one hold the fill value. Trailing NULs of text of fixed
    /// length are not part of it.
    ///
    /// # Errors
    /// The variable holds no text, the chunk cannot be read, or a cell is no UTF-8 (`string`, `|S`) or UTF-32 (`<U`).
    pub fn read_text(&self, chunk: &[u64]) -> Result<Vec<String>, ChunkError> {
        let mut scratch = Scratch::new();
        let fetched = self.load(chunk, &mut scratch.encoded)?;
        let encoded = std::mem::take(&mut scratch.encoded);
        self.decode_text(chunk, fetched.existed.then_some(encoded.as_slice()))
    }

    /// Decodes what [`ChunkReader::fetch`] gave, as [`ChunkReader::read_text`] does.
    ///
    /// # Errors
    /// As there.
    pub fn decode_text(&self, chunk: &[u64], encoded: Option<&[u8]>) -> Result<Vec<String>, ChunkError> {
        let DataType::Text(kind) = self.dtype else {
            return Err(self.wrong_kind("text"));
        };
        let shape = self.shape(chunk)?;
        let cells = shape.iter().try_fold(1usize, |a, &n| a.checked_mul(usize::try_from(n).ok()?));
        let memory = || DecodeError::Memory { bytes: u64::MAX };
        let cells = cells.ok_or_else(|| self.decode_error(chunk, memory()))?;
        let mut out = Vec::new();
        let texts = match (encoded, kind) {
            (None, _) => text::filled(&self.fill_text, cells),
            (Some(encoded), kind) => {
                self.chain.decode(&shape, encoded, &mut Buffers::default(), &mut out).and_then(|()| match kind {
                    TextKind::Variable => text::variable(&out, cells),
                    TextKind::Utf32(n) => text::utf32(&out, n, cells),
                    TextKind::Bytes(n) => text::bytes(&out, n, cells),
                })
            }
        };
        texts.map_err(|source| self.decode_error(chunk, source))
    }

    fn load(&self, chunk: &[u64], encoded: &mut Vec<u8>) -> Result<Fetched, ChunkError> {
        let address = self.address(chunk)?;
        let failed = |source| self.fetch_error(chunk, &address, source);
        let Some(shards) = &self.shards else {
            let existed = self.store.get_into(&address.key, encoded).map_err(failed)?;
            let encoded_bytes = if existed { encoded.len() as u64 } else { 0 };
            return Ok(Fetched { existed, requests: 1, encoded_bytes });
        };
        encoded.clear();
        let mut fetched = Fetched::default();
        let shard = shards.find(chunk);
        let slot = shards.slot(&shard);
        if slot.index.get().is_none() {
            let _reading = slot.thread.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.index.get().is_none() {
                let bytes = self.store.get(&address.key, shards.index_range(&shard));
                fetched = self.keep_index(&slot, &shard, chunk, &address, bytes)?;
            }
        }
        let entry = self.entry(&slot, &shard, chunk)?;
        let Some((start, len)) = entry else {
            return Ok(fetched);
        };
        let bytes = self.store.get(&address.key, ByteRange::Bounded { start, len }).map_err(failed)?;
        *encoded = bytes.ok_or_else(|| self.decode_error(chunk, DecodeError::Vanished))?;
        fetched.existed = true;
        fetched.requests += 1;
        fetched.encoded_bytes += encoded.len() as u64;
        Ok(fetched)
    }

    fn unpack(
        &self,
        chunk: &[u64],
        encoded: Option<&[u8]>,
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
    ) -> Result<(), ChunkError> {
        let shape = self.shape(chunk)?;
        let result = match encoded {
            Some(encoded) => self.chain.decode(&shape, encoded, buffers, out),
            None => self.fill_chunk(&shape, out),
        };
        result.map_err(|source| self.decode_error(chunk, source))
    }

    fn fill_chunk(&self, shape: &[u64], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let bytes = self.chain.decoded(shape);
        out.clear();
        let size = usize::try_from(bytes).ok().filter(|&n| out.try_reserve_exact(n).is_ok());
        let size = size.ok_or(DecodeError::Memory { bytes })?;
        match self.fill.as_slice() {
            [] => {}
            [first, rest @ ..] if rest.iter().all(|b| b == first) => out.resize(size, *first),
            cell => {
                out.extend_from_slice(&cell[..cell.len().min(size)]);
                while out.len() < size {
                    let more = out.len().min(size - out.len());
                    out.extend_from_within(..more);
                }
            }
        }
        Ok(())
    }

    fn check(&self, chunk: &[u64]) -> Result<(), ChunkError> {
        if chunk.len() == self.grid.len() && chunk.iter().zip(&self.grid).all(|(c, n)| c < n) {
            return Ok(());
        }
        Err(ChunkError::OutOfGrid { variable: self.label.clone(), chunk: chunk.to_vec(), grid: self.grid.clone() })
    }

    fn numbers(&self) -> Result<(), ChunkError> {
        match self.dtype {
            DataType::Text(_) => Err(self.wrong_kind("numbers")),
            _ => Ok(()),
        }
    }

    fn wrong_kind(&self, asked: &'static str) -> ChunkError {
        ChunkError::WrongKind { variable: self.label.clone(), dtype: self.dtype.name(), asked }
    }

    fn fetch_error(&self, chunk: &[u64], address: &Address, source: StoreError) -> ChunkError {
        let bytes = self.bytes_of(chunk);
        self.fetch_error_of(chunk, &address.key, bytes, source)
    }

    fn fetch_error_of(&self, chunk: &[u64], key: &str, bytes: ByteRange, source: StoreError) -> ChunkError {
        let (variable, chunk, key) = (self.label.clone(), chunk.to_vec(), key.to_owned());
        ChunkError::Fetch { variable, chunk, key, bytes, source: Box::new(source) }
    }

    fn decode_error(&self, chunk: &[u64], source: DecodeError) -> ChunkError {
        self.decode_error_of(chunk, self.bytes_of(chunk), source)
    }

    fn decode_error_of(&self, chunk: &[u64], bytes: ByteRange, source: DecodeError) -> ChunkError {
        let key = self.address(chunk).map(|a| a.key).unwrap_or_default();
        ChunkError::Decode { variable: self.label.clone(), chunk: chunk.to_vec(), key, bytes, source: Box::new(source) }
    }

    /// The part of its object that holds a chunk, as far as it is known.
    fn bytes_of(&self, chunk: &[u64]) -> ByteRange {
        let known = self.check(chunk).ok().and(self.shards.as_ref()).and_then(|shards| shards.known(chunk));
        known.map_or(ByteRange::Whole, |(start, len)| ByteRange::Bounded { start, len })
    }
}

/// What messages call a variable: its path; of an array at the root of its store, its name.
fn label(variable: &Variable) -> String {
    if variable.path.is_empty() { variable.name.clone() } else { variable.path.clone() }
}

/// One cell of the fill value, zeros where there is none; empty for text.
pub(crate) fn fill(variable: &Variable) -> Result<Vec<u8>, ChunkError> {
    struct Bytes(Scalar);
    impl ForElement for Bytes {
        type Output = Option<Vec<u8>>;
        fn run<T: Element>(self) -> Self::Output {
            self.0.to_element::<T>().map(|v| bytemuck::bytes_of(&v).to_vec())
        }
    }
    let Some(dtype) = variable.dtype.number() else {
        return Ok(Vec::new());
    };
    let Some(value) = variable.fill_value else {
        return Ok(vec![0; dtype.size()]);
    };
    // As stored, or as `_Unsigned` reads it.
    [Some(dtype), variable.view]
        .into_iter()
        .flatten()
        .filter(|d| d.size() == dtype.size())
        .find_map(|d| d.dispatch(Bytes(value)))
        .ok_or_else(|| ChunkError::Fill {
            variable: label(variable),
            fill: match value {
                Scalar::Int(v) => v.to_string(),
                Scalar::UInt(v) => v.to_string(),
                Scalar::Float(v) => v.to_string(),
            },
            dtype: dtype.to_string(),
        })
}

#[cfg(test)]
mod tests;
