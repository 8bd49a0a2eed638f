//! A codec chain, undone: encoded bytes to the cells of one chunk.

use super::cells::ArrayStep;
use super::error::{BoxError, ChainError, DecodeError};
use super::own::{self, ChunkCodec, Takes};
use super::pcodec;
use super::step::{Size, Step, Tools, guarded};
use super::whole::WholeShard;
use chunkwise_core::cube::{Codec, DataType, TextKind};
use chunkwise_core::dtype::DType;
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use zarrs::array::{self as foreign_array, ArrayToArrayCodecTraits, ArrayToBytesCodecTraits, CodecChain, CodecOptions};
use zarrs::array::{ArrayBytes, FillValue};
use zarrs::metadata::v3::MetadataV3;

/// How the bytes behind all compressors become cells.
#[derive(Debug)]
enum Cells {
    /// As they lie, after the bytes of each group of so many were turned round (1: not at all).
    Plain { swap: usize },
    /// Packed by `pcodec`.
    Pcodec { dtype: DType, level: usize },
    /// By a codec that was registered.
    Registered { name: String, codec: Arc<dyn ChunkCodec> },
    /// Through zarrs, then turned as above.
    Zarrs { chain: Box<CodecChain>, dtype: zarrs::array::DataType, fill: FillValue, swap: usize },
    /// A shard that is decoded whole.
    Shard(Box<WholeShard>),
    /// `vlen-utf8` and `vlen-bytes`: counts and lengths between the bytes; left as it is for the reader of text.
    VlenText,
}

/// A codec chain of one variable.
#[derive(Debug)]
pub(crate) struct Chain {
    cells: Cells,
    /// In the order of encoding.
    steps: Vec<Step>,
    /// Codecs of cells, in the order of encoding.
    arrays: Vec<ArrayStep>,
    itemsize: usize,
    /// Bytes of a cell after the codecs of cells.
    coded_itemsize: usize,
}

/// Decoded text of any length takes at most this much in one chunk: labels, and long descriptions of a CRS.
pub(crate) const TEXT_BYTES: u64 = 64 << 20;

/// What decoding uses again from chunk to chunk.
#[derive(Default)]
pub(crate) struct Buffers {
    tools: Tools,
    first: Vec<u8>,
    second: Vec<u8>,
}

/// Bytes of one cell; `None` where they differ from cell to cell.
pub(crate) fn itemsize(dtype: &DataType) -> Option<usize> {
    match dtype {
        DataType::Text(TextKind::Utf32(n)) => n.checked_mul(4),
        DataType::Text(TextKind::Bytes(n)) => Some(*n),
        _ => dtype.number().map(|d| d.size()),
    }
}

/// Codecs as they stand in a configuration: objects, or names alone.
pub(crate) fn listed(value: Option<&serde_json::Value>) -> Option<Vec<Codec>> {
    let one = |v: &serde_json::Value| match v.as_str() {
        Some(name) => Some(Codec { name: name.to_owned(), configuration: Default::default() }),
        None => serde_json::from_value(v.clone()).ok(),
    };
    value?.as_array()?.iter().map(one).collect()
}

/// What turns cells into bytes, before it is known which cells it is given.
enum Main {
    /// `bytes`, `vlen-utf8`, `vlen-bytes`, `pcodec`.
    Ours,
    Zarrs(Arc<dyn ArrayToBytesCodecTraits>),
    Registered(Arc<dyn ChunkCodec>),
}

impl Chain {
    /// Builds the chain of an array of `of` from `codecs`, and tries it on the sizes of a chunk of `shape`. `fill` is one cell of
    /// its fill value.
    pub(crate) fn new(of: &DataType, fill: &[u8], codecs: &[Codec], shape: &[u64]) -> Result<Chain, ChainError> {
        let wrong = |codec: &Codec, source: BoxError| ChainError::Codec { codec: codec.name.clone(), source };
        let vlen = *of == DataType::Text(TextKind::Variable);
        let itemsize = match itemsize(of) {
            Some(n) => n,
            None if vlen => 0,
            None => {
                return Err(ChainError::Unreadable { reason: format!("its type `{}` is not supported", of.name()) });
            }
        };
        let mut steps = Vec::new();
        let mut before = Vec::new();
        let mut arrays = Vec::new();
        // The type and number of axes of the cells at this place of the chain.
        let (mut dtype, mut rank) = (of.clone(), shape.len());
        let mut main: Option<(&Codec, Main)> = None;
        for codec in codecs {
            let name = super::bare(&codec.name);
            let item = super::chain::itemsize(&dtype).unwrap_or(1);
            if let Some(found) = own::find(&codec.name, &codec.configuration, dtype.number()) {
                match found.map_err(|e| wrong(codec, e))? {
                    (Takes::Cells, codec_of_cells) if main.is_none() => {
                        main = Some((codec, Main::Registered(codec_of_cells)));
                    }
                    (Takes::Bytes, of_bytes) if main.is_some() => steps.push(Step::registered(&codec.name, of_bytes)),
                    _ => return Err(wrong(codec, "it stands in the wrong place of the chain".into())),
                }
                continue;
            }
            if main.is_some() {
                if let Some(step) = Step::own(codec, item) {
                    steps.push(step.map_err(|e| wrong(codec, e))?);
                    continue;
                }
            } else if matches!(name, "bytes" | "vlen-utf8" | "vlen-bytes") {
                main = Some((codec, Main::Ours));
                continue;
            }
            if main.is_none() && name == "pcodec" {
                if !dtype.number().is_some_and(pcodec::holds) {
                    return Err(wrong(codec, format!("it does not hold the type `{}`", dtype.name()).into()));
                }
                main = Some((codec, Main::Ours));
                continue;
            }
            if main.is_none()
                && before.is_empty()
                && let Some((step, coded)) = ArrayStep::own(codec, &dtype, rank).map_err(|e| wrong(codec, e))?
            {
                rank = step.encoded_shape(&vec![1; rank]).len();
                arrays.push(step);
                dtype = coded;
                continue;
            }
            if name == "sharding_indexed" && main.is_none() {
                if !before.is_empty() || arrays.iter().any(|step| !matches!(step, ArrayStep::Transpose(_))) {
                    let reason = "it stands behind a codec that changes cells, which is not supported";
                    return Err(wrong(codec, reason.into()));
                }
                main = Some((codec, Main::Ours));
                continue;
            }
            match self::foreign(codec).map_err(|e| match e {
                Some(source) => wrong(codec, source),
                None => ChainError::Unknown { codec: codec.name.clone() },
            })? {
                foreign_array::Codec::ArrayToArray(array) if main.is_none() => before.push(array),
                foreign_array::Codec::ArrayToBytes(bytes) if main.is_none() => main = Some((codec, Main::Zarrs(bytes))),
                foreign_array::Codec::BytesToBytes(bytes) if main.is_some() => {
                    steps.push(Step::zarrs(&codec.name, bytes));
                }
                _ => return Err(wrong(codec, "it stands in the wrong place of the chain".into())),
            }
        }
        let Some((codec, main)) = main else {
            return Err(ChainError::Unreadable { reason: "its codecs never turn cells into bytes".to_owned() });
        };
        if vlen != matches!(super::bare(&codec.name), "vlen-utf8" | "vlen-bytes")
            || (vlen && !(before.is_empty() && arrays.is_empty()))
        {
            return Err(wrong(codec, format!("it does not fit the type `{}`", of.name()).into()));
        }
        let coded_itemsize = dtype.number().map_or(itemsize, DType::size);
        let cells = if vlen {
            Cells::VlenText
        } else if codec.name == "sharding_indexed" {
            let whole = arrays.iter().fold(shape.to_vec(), |shape, step| step.encoded_shape(&shape));
            Cells::Shard(Box::new(WholeShard::new(of, fill, codec, &whole)?))
        } else {
            cells(codec, main, before, &dtype, coded_itemsize)?
        };
        let chain = Chain { cells, steps, arrays, itemsize, coded_itemsize };
        chain.sizes(shape).map_err(|source| ChainError::Codec {
            codec: codecs.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
            source,
        })?;
        Ok(chain)
    }

    /// Bytes of a decoded chunk; saturates.
    pub(crate) fn decoded(&self, shape: &[u64]) -> u64 {
        shape.iter().fold(self.itemsize as u64, |a, &n| a.saturating_mul(n))
    }

    /// The size before the first step, and after each.
    fn sizes(&self, shape: &[u64]) -> Result<Vec<Size>, BoxError> {
        let coded = self.coded(shape);
        let inner = match &self.cells {
            Cells::Plain { .. } => Size::Exact(coded),
            // What resists packing is kept as it is, with some bytes for each page.
            Cells::Pcodec { .. } => Size::AtMost(coded.saturating_add(coded / 8).saturating_add(1 << 16)),
            Cells::VlenText => Size::AtMost(TEXT_BYTES),
            Cells::Shard(shard) => Size::AtMost(shard.encoded_most(&self.coded_shape(shape))?),
            Cells::Registered { codec, .. } => codec.encoded_size(coded),
            Cells::Zarrs { chain, dtype, fill, .. } => {
                let shape = nonzero(&self.coded_shape(shape))?;
                let size = guarded(|| chain.encoded_representation(&shape, dtype, fill))?;
                match size {
                    zarrs::array::BytesRepresentation::FixedSize(n) => Size::Exact(n),
                    zarrs::array::BytesRepresentation::BoundedSize(n) => Size::AtMost(n),
                    zarrs::array::BytesRepresentation::UnboundedSize => {
                        return Err("the size of its bytes has no bound".into());
                    }
                }
            }
        };
        let mut sizes = vec![inner];
        let mut last = inner;
        for step in &self.steps {
            last = step.encoded(last);
            sizes.push(last);
        }
        Ok(sizes)
    }

    /// Size of an encoded chunk, where it does not depend on the values.
    pub(crate) fn encoded_size(&self, shape: &[u64]) -> Option<u64> {
        match self.sizes(shape).ok()?.last()? {
            Size::Exact(n) => Some(*n),
            Size::AtMost(_) => None,
        }
    }

    /// Bytes of an encoded chunk, at most, with some room for codecs that frame it otherwise than usual.
    pub(crate) fn encoded_most(&self, shape: &[u64]) -> u64 {
        match self.sizes(shape).ok().and_then(|sizes| sizes.last().copied()) {
            Some(Size::Exact(n) | Size::AtMost(n)) => n.saturating_mul(2).saturating_add(1 << 20),
            None => u64::MAX,
        }
    }

    /// Decodes a chunk of `shape` into `out`, which then holds it and nothing else.
    pub(crate) fn decode(
        &self,
        shape: &[u64],
        mut bytes: &[u8],
        buffers: &mut Buffers,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let sizes = self.sizes(shape).map_err(|source| self.cells_error(source))?;
        let Buffers { tools, first, second } = buffers;
        let mut steps = self.steps.as_slice();
        while let Some((last, before)) = steps.split_last() {
            let Some(stripped) = last.strip(bytes) else {
                break;
            };
            bytes = stripped?;
            steps = before;
        }
        if steps.is_empty() {
            let found = bytes.len() as u64;
            match sizes[0] {
                Size::Exact(expected) if expected != found => {
                    return Err(DecodeError::Size { found, expected });
                }
                Size::AtMost(expected) if found > expected => {
                    return Err(DecodeError::Larger { expected });
                }
                _ => {}
            }
            out.clear();
            out.extend_from_slice(bytes);
        }
        for (at, step) in steps.iter().enumerate().rev() {
            let source = if at + 1 == steps.len() { bytes } else { second.as_slice() };
            let target = if at == 0 { &mut *out } else { &mut *first };
            step.decode(source, sizes[at], tools, target)?;
            if at > 0 {
                std::mem::swap(first, second);
            }
        }
        let swap = match &self.cells {
            Cells::VlenText => return Ok(()),
            Cells::Plain { swap } => *swap,
            Cells::Shard(shard) => {
                let encoded = std::mem::take(out);
                shard.decode(&self.coded_shape(shape), &encoded, out)?;
                1
            }
            Cells::Pcodec { dtype, .. } => {
                let expected = self.coded(shape);
                let room = usize::try_from(expected).map_err(|_| DecodeError::Memory { bytes: expected })?;
                let refused = |source| DecodeError::Codec { codec: "pcodec".to_owned(), source };
                let cells = guarded(|| pcodec::unpack(*dtype, out, room)).map_err(refused)?;
                *out = cells.ok_or(DecodeError::Count { expected })?;
                1
            }
            Cells::Registered { name, codec } => {
                let expected = self.coded(shape);
                let encoded = std::mem::take(out);
                let decoded = guarded(|| codec.decode(&encoded, Size::Exact(expected), out));
                decoded.map_err(|source| DecodeError::Codec { codec: name.clone(), source })?;
                1
            }
            Cells::Zarrs { chain, dtype, fill, swap } => {
                let shape = nonzero(&self.coded_shape(shape)).map_err(|source| self.cells_error(source))?;
                let options = CodecOptions::default().with_concurrent_target(1);
                let encoded = std::mem::take(out);
                *out = guarded(|| -> Result<Vec<u8>, BoxError> {
                    let cells = chain.decode(encoded.into(), &shape, dtype, fill, &options)?;
                    match cells {
                        ArrayBytes::Fixed(bytes) => Ok(bytes.into_owned()),
                        _ => Err("cells of differing sizes".into()),
                    }
                })
                .map_err(|source| self.cells_error(source))?;
                *swap
            }
        };
        Size::Exact(self.coded(shape)).check(out.len())?;
        turn(out, swap);
        self.decode_arrays(shape, first, out)
    }

    fn decode_arrays(&self, shape: &[u64], spare: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if self.arrays.is_empty() {
            return Ok(());
        }
        for (step, (shape, item)) in self.arrays.iter().zip(&self.levels(shape)).rev() {
            if step.is_nothing() {
                continue;
            }
            let bytes = shape.iter().fold(*item as u64, |a, &n| a.saturating_mul(n));
            let room = usize::try_from(bytes).is_ok_and(|n| {
                spare.clear();
                spare.try_reserve_exact(n).is_ok()
            });
            if !room {
                return Err(DecodeError::Memory { bytes });
            }
            let refused = |source| DecodeError::Codec { codec: step.name().to_owned(), source };
            step.decode(out, shape, *item, spare).map_err(refused)?;
            std::mem::swap(out, spare);
        }
        Size::Exact(self.decoded(shape)).check(out.len())
    }

    /// Shape and bytes of a cell before each codec of cells.
    fn levels(&self, shape: &[u64]) -> Vec<(Vec<u64>, usize)> {
        let mut level = (shape.to_vec(), self.itemsize);
        let mut levels = Vec::with_capacity(self.arrays.len());
        for step in &self.arrays {
            let next = (step.encoded_shape(&level.0), step.encoded_item(level.1));
            levels.push(std::mem::replace(&mut level, next));
        }
        levels
    }

    /// Encodes the cells of a chunk of `shape`, in C order and the byte order of this machine. The same bytes come out each
    /// time.
    pub(crate) fn encode(&self, shape: &[u64], cells: &[u8]) -> Result<Vec<u8>, BoxError> {
        Size::Exact(self.decoded(shape)).check(cells.len())?;
        let mut bytes = Cow::Borrowed(cells);
        for (step, (shape, item)) in self.arrays.iter().zip(&self.levels(shape)) {
            let mut out = Vec::new();
            step.encode(&bytes, shape, *item, &mut out)?;
            bytes = Cow::Owned(out);
        }
        let shape = self.coded_shape(shape);
        bytes = match &self.cells {
            Cells::VlenText => return Err("text of variable length is not written".into()),
            Cells::Shard(shard) => shard.encode(&shape, &bytes)?.into(),
            Cells::Plain { swap: 1 } => bytes,
            Cells::Plain { swap } => {
                turn(bytes.to_mut(), *swap);
                bytes
            }
            Cells::Pcodec { dtype, level } => pcodec::pack(*dtype, &bytes, *level)?.into(),
            Cells::Registered { codec, .. } => {
                let mut out = Vec::new();
                guarded(|| codec.encode(&bytes, &mut out))?;
                codec.encoded_size(bytes.len() as u64).check(out.len())?;
                out.into()
            }
            Cells::Zarrs { chain, dtype, fill, swap } => {
                turn(bytes.to_mut(), *swap);
                let (shape, options) = (nonzero(&shape)?, CodecOptions::default().with_concurrent_target(1));
                guarded(|| chain.encode(ArrayBytes::new_flen(bytes), &shape, dtype, fill, &options))?
                    .into_owned()
                    .into()
            }
        };
        for step in &self.steps {
            bytes = step.encode(&bytes).map_err(|e| format!("`{}`: {e}", step.name()))?.into();
        }
        Ok(bytes.into_owned())
    }

    /// Bytes of a chunk after the codecs of cells; saturates.
    fn coded(&self, shape: &[u64]) -> u64 {
        let one = |shape: &[u64]| shape.iter().fold(self.coded_itemsize as u64, |a, &n| a.saturating_mul(n));
        if self.arrays.is_empty() { one(shape) } else { one(&self.coded_shape(shape)) }
    }

    /// Shape of the array after the codecs of cells that are ours.
    fn coded_shape(&self, shape: &[u64]) -> Vec<u64> {
        self.arrays.iter().fold(shape.to_vec(), |shape, step| step.encoded_shape(&shape))
    }

    /// Whether the stored bytes are the cells.
    pub(crate) fn is_plain(&self) -> bool {
        self.steps.is_empty() && self.arrays.is_empty() && matches!(self.cells, Cells::Plain { swap: 1 })
    }

    fn cells_error(&self, source: BoxError) -> DecodeError {
        DecodeError::Codec { codec: "bytes".to_owned(), source }
    }
}

/// What turns cells of `dtype`, of `item` bytes each, into bytes, behind `before`.
fn cells(
    codec: &Codec,
    main: Main,
    before: Vec<Arc<dyn ArrayToArrayCodecTraits>>,
    dtype: &DataType,
    item: usize,
) -> Result<Cells, ChainError> {
    let wrong = |source: BoxError| ChainError::Codec { codec: codec.name.clone(), source };
    let name = super::bare(&codec.name);
    let swap = if name == "bytes" { swap(codec, dtype, item).map_err(wrong)? } else { 1 };
    if !before.is_empty() && (name == "pcodec" || matches!(main, Main::Registered(_))) {
        return Err(wrong("it stands behind a codec that is not supported before it".into()));
    }
    let bytes = match (main, dtype.number()) {
        (Main::Registered(own), _) => return Ok(Cells::Registered { name: codec.name.clone(), codec: own }),
        (Main::Ours, Some(dtype)) if name == "pcodec" => {
            let level = codec.configuration.get("level").and_then(serde_json::Value::as_u64).unwrap_or(8);
            return Ok(Cells::Pcodec { dtype, level: level.min(12) as usize });
        }
        (Main::Ours, _) if before.is_empty() => return Ok(Cells::Plain { swap }),
        (Main::Ours, _) => match self::foreign(codec) {
            Ok(foreign_array::Codec::ArrayToBytes(codec)) => codec,
            Err(Some(e)) => return Err(wrong(e)),
            _ => return Err(ChainError::Unknown { codec: codec.name.clone() }),
        },
        (Main::Zarrs(codec), _) => codec,
    };
    // Text passes through zarrs as raw bytes. Numbers are swapped by zarrs; codecs before `bytes` may have made another
    // type of them.
    let (name, swap) = match dtype.number() {
        Some(dtype) => (dtype.name().to_owned(), 1),
        None => (format!("r{}", item.saturating_mul(8)), swap),
    };
    let dtype = guarded(|| zarrs::array::DataType::from_metadata(&MetadataV3::new(name))).map_err(wrong)?;
    let chain = Box::new(CodecChain::new(before, bytes, Vec::new()));
    Ok(Cells::Zarrs { chain, dtype, fill: FillValue::new(vec![0; item]), swap })
}

/// How many bytes `bytes` turns round: 1 where they lie as this machine has them.
fn swap(codec: &Codec, dtype: &DataType, item: usize) -> Result<usize, BoxError> {
    let unit = match dtype {
        DataType::Text(TextKind::Utf32(_)) => 4,
        DataType::Text(_) => 1,
        _ => item,
    };
    match codec.configuration.get("endian").map(|v| v.as_str()) {
        _ if unit <= 1 => Ok(1),
        Some(Some("little")) if cfg!(target_endian = "little") => Ok(1),
        Some(Some("big")) if cfg!(target_endian = "big") => Ok(1),
        Some(Some("little" | "big")) => Ok(unit),
        // Zarr asks for the order of all types wider than a byte.
        _ => Err("`endian` is neither `little` nor `big`".into()),
    }
}

/// A codec of zarrs; `Err(None)` where it has none of this name.
fn foreign(codec: &Codec) -> Result<foreign_array::Codec, Option<BoxError>> {
    let make = |name: &str| -> Result<foreign_array::Codec, BoxError> {
        let mut json = serde_json::Map::new();
        json.insert("name".to_owned(), name.into());
        if !codec.configuration.is_empty() {
            json.insert("configuration".to_owned(), codec.configuration.clone().into());
        }
        let metadata: MetadataV3 = serde_json::from_value(json.into())?;
        guarded(|| foreign_array::Codec::from_metadata(&metadata))
    };
    let unknown = |e: &BoxError| {
        use zarrs::plugin::PluginCreateError;
        matches!(e.downcast_ref(), Some(PluginCreateError::Unsupported(_)))
    };
    let bare = super::bare(&codec.name);
    let mut problem = None;
    for name in [codec.name.clone(), bare.to_owned(), format!("numcodecs.{bare}")] {
        match make(&name) {
            Ok(codec) => return Ok(codec),
            Err(e) if unknown(&e) => {}
            Err(e) => problem = problem.or(Some(e)),
        }
    }
    Err(problem)
}

fn nonzero(shape: &[u64]) -> Result<Vec<NonZeroU64>, BoxError> {
    let sizes = shape.iter().map(|&n| NonZeroU64::new(n)).collect::<Option<_>>();
    sizes.ok_or_else(|| "a chunk without cells".into())
}

/// Turns the bytes of each group of so many round.
fn turn(bytes: &mut [u8], unit: usize) {
    fn groups<const N: usize>(bytes: &mut [u8]) {
        for group in bytes.as_chunks_mut::<N>().0 {
            group.reverse();
        }
    }
    match unit {
        2 => groups::<2>(bytes),
        4 => groups::<4>(bytes),
        8 => groups::<8>(bytes),
        _ => {}
    }
}
