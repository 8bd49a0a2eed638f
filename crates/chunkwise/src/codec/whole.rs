//! Shards that are made and decoded whole: inner ones of shards within shards, and those beside other codecs.

use super::chain::{Buffers, Chain, itemsize, listed};
use super::error::{BoxError, ChainError, DecodeError};
use crate::chunk::IndexFormat;
use crate::write::block::{self, At};
use chunkwise_core::cube::{Codec, DataType};

/// What is in such a shard.
#[derive(Debug)]
pub(super) struct WholeShard {
    format: IndexFormat,
    /// Cells of an inner chunk along each dimension.
    chunk: Vec<u64>,
    chain: Chain,
    /// One cell of an inner chunk that is absent.
    fill: Vec<u8>,
}

impl WholeShard {
    /// The shard of `shape` cells that `codec` makes of an array of `of`, whose fill value is `fill`.
    pub(super) fn new(of: &DataType, fill: &[u8], codec: &Codec, shape: &[u64]) -> Result<WholeShard, ChainError> {
        let wrong = |reason: String| ChainError::Codec { codec: codec.name.clone(), source: reason.into() };
        let format = IndexFormat::of(codec).map_err(wrong)?;
        let chunk: Option<Vec<u64>> = codec
            .configuration
            .get("chunk_shape")
            .and_then(|shape| serde_json::from_value(shape.clone()).ok())
            .filter(|chunk: &Vec<u64>| chunk.len() == shape.len() && !chunk.contains(&0));
        let chunk = chunk.ok_or_else(|| wrong(format!("`chunk_shape` is no list of {} lengths", shape.len())))?;
        let codecs = listed(codec.configuration.get("codecs"))
            .ok_or_else(|| wrong("`codecs` is no list of codecs".to_owned()))?;
        let chain = Chain::new(of, fill, &codecs, &chunk)?;
        let fill = match of.number() {
            Some(_) => fill.to_vec(),
            None => vec![0; itemsize(of).unwrap_or(0)],
        };
        Ok(WholeShard { format, chunk, chain, fill })
    }

    /// Inner chunks along each dimension of a shard of `shape`, and how many there are.
    fn per(&self, shape: &[u64]) -> Result<(Vec<u64>, u64), BoxError> {
        let whole = |(cells, chunk): (&u64, &u64)| (cells % chunk == 0).then_some(cells / chunk);
        let per: Option<Vec<u64>> = shape.iter().zip(&self.chunk).map(whole).collect();
        let per = per.ok_or_else(|| format!("a shard of {shape:?} is not made of chunks of {:?}", self.chunk))?;
        let count = per.iter().try_fold(1u64, |a, &n| a.checked_mul(n)).filter(|&n| n <= 1 << 26);
        Ok((per, count.ok_or("a shard of more than 67108864 chunks is not supported")?))
    }

    /// Bytes of an encoded shard of `shape`, at most.
    pub(super) fn encoded_most(&self, shape: &[u64]) -> Result<u64, BoxError> {
        let (_, count) = self.per(shape)?;
        Ok(self.chain.encoded_most(&self.chunk).saturating_mul(count).saturating_add(self.format.size(count)))
    }

    /// The shard of cells of `shape`. Inner chunks of nothing but the fill value are absent.
    pub(super) fn encode(&self, shape: &[u64], cells: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (per, count) = self.per(shape)?;
        let size = self.format.size(count) as usize;
        let mut out = vec![0; if self.format.at_start { size } else { 0 }];
        let mut entries = vec![(u64::MAX, u64::MAX); count as usize];
        let mut chunk = block::filled(&self.fill, self.chunk.iter().product::<u64>() as usize);
        let zero = vec![0; shape.len()];
        for (position, entry) in entries.iter_mut().enumerate() {
            let first = block::index(position as u64, &per);
            let first: Vec<u64> = first.iter().zip(&self.chunk).map(|(i, c)| i * c).collect();
            let target = At { shape: &self.chunk, start: &zero };
            block::copy(cells, At { shape, start: &first }, &mut chunk, target, &self.chunk, self.fill.len());
            if block::all_are(&chunk, &self.fill) {
                continue;
            }
            let encoded = self.chain.encode(&self.chunk, &chunk)?;
            *entry = (out.len() as u64, encoded.len() as u64);
            out.extend_from_slice(&encoded);
        }
        let mut index = Vec::with_capacity(size);
        self.format.push(&entries, &mut index);
        if self.format.checksum {
            index.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        }
        match self.format.at_start {
            true => out[..size].copy_from_slice(&index),
            false => out.extend_from_slice(&index),
        }
        Ok(out)
    }

    /// Decodes a shard of `shape` into `out`.
    pub(super) fn decode(&self, shape: &[u64], encoded: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let refused = |source: BoxError| DecodeError::Codec { codec: "sharding_indexed".to_owned(), source };
        let (per, count) = self.per(shape).map_err(refused)?;
        let size = self.format.size(count);
        let found = encoded.len() as u64;
        if found < size {
            return Err(DecodeError::IndexSize { found, expected: size });
        }
        // Within what is there.
        let index = match self.format.at_start {
            true => &encoded[..size as usize],
            false => &encoded[(found - size) as usize..],
        };
        let entries = self.format.parse(count, index)?;
        let bytes = shape.iter().fold(self.fill.len() as u64, |a, &n| a.saturating_mul(n));
        out.clear();
        let room = usize::try_from(bytes).ok().filter(|&n| out.try_reserve_exact(n).is_ok());
        out.resize(room.ok_or(DecodeError::Memory { bytes })?, 0);
        let cells = self.chunk.iter().product::<u64>();
        let absent = block::filled(&self.fill, cells as usize);
        let (mut buffers, mut chunk) = (Buffers::default(), Vec::new());
        let zero = vec![0; shape.len()];
        for (position, &(start, len)) in entries.iter().enumerate() {
            let cells = if (start, len) == (u64::MAX, u64::MAX) {
                absent.as_slice()
            } else {
                // `parse` saw to it that the end is a number.
                let part = usize::try_from(start).ok().zip(usize::try_from(start + len).ok());
                let part = part.and_then(|(start, end)| encoded.get(start..end));
                let part = part.ok_or(DecodeError::IndexRange { start, len })?;
                self.chain.decode(&self.chunk, part, &mut buffers, &mut chunk)?;
                chunk.as_slice()
            };
            let first = block::index(position as u64, &per);
            let first: Vec<u64> = first.iter().zip(&self.chunk).map(|(i, c)| i * c).collect();
            let source = At { shape: &self.chunk, start: &zero };
            block::copy(cells, source, out, At { shape, start: &first }, &self.chunk, self.fill.len());
        }
        Ok(())
    }
}
