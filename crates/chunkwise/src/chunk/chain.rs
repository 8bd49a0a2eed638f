//! A codec chain, undone: encoded bytes to the cells of one chunk.

use super::array::{ArrayStep, Known};
use super::error::{BoxError, ChunkError, DecodeError};
use super::pcodec;
use super::step::{Size, Step, Tools, guarded};
use super::whole::WholeShard;
use chunkwise_core::cube::{Codec, DataType, TextKind, Variable};
use chunkwise_core::dtype::DType;
use std::num::NonZeroU64;
use zarrs::array::{self as foreign_array, ArrayToBytesCodecTraits, CodecChain, CodecOptions};
use zarrs::array::{ArrayBytes, FillValue};
use zarrs::metadata::v3::MetadataV3;

/// How the bytes behind all compressors become cells.
#[derive(Debug)]
enum Cells {
    /// As they lie, after the bytes of each group of so many were turned round (1: not at all).
    Plain { swap: usize },
    /// Packed by `pcodec`.
    Pcodec(DType),
    /// Through zarrs, then turned as above.
    Zarrs { chain: Box<CodecChain>, dtype: zarrs::array::DataType, fill: FillValue, swap: usize },
    /// A shard that is decoded whole.
    Shard(Box<WholeShard>),
    /// `vlen-utf8`: counts and lengths between the bytes; left as it is for the reader of text.
    VlenText,
}

/// A codec chain of one variable.
#[derive(Debug)]
pub(super) struct Chain {
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
pub(super) const TEXT_BYTES: u64 = 64 << 20;

/// What decoding uses again from chunk to chunk.
#[derive(Default)]
pub(super) struct Buffers {
    tools: Tools,
    first: Vec<u8>,
    second: Vec<u8>,
}

/// Bytes of one cell; `None` where they differ from cell to cell.
pub(super) fn itemsize(dtype: &DataType) -> Option<usize> {
    match dtype {
        DataType::Text(TextKind::Utf32(n)) => n.checked_mul(4),
        DataType::Text(TextKind::Bytes(n)) => Some(*n),
        _ => dtype.number().map(|d| d.size()),
    }
}

/// Codecs as they stand in a configuration: objects, or names alone.
pub(super) fn listed(value: Option<&serde_json::Value>) -> Option<Vec<Codec>> {
    let one = |v: &serde_json::Value| match v.as_str() {
        Some(name) => Some(Codec { name: name.to_owned(), configuration: Default::default() }),
        None => serde_json::from_value(v.clone()).ok(),
    };
    value?.as_array()?.iter().map(one).collect()
}

fn plain(name: &str) -> &str {
    name.strip_prefix("numcodecs.").unwrap_or(name)
}

impl Chain {
    /// Builds the chain of `variable` from `codecs`, and tries it on the sizes of a chunk of `shape`.
    pub(super) fn new(variable: &Variable, codecs: &[Codec], shape: &[u64]) -> Result<Chain, ChunkError> {
        let path = || super::label(variable);
        let wrong =
            |codec: &Codec, source: BoxError| ChunkError::Codec { variable: path(), codec: codec.name.clone(), source };
        let vlen = variable.dtype == DataType::Text(TextKind::Variable);
        let itemsize = match itemsize(&variable.dtype) {
            Some(n) => n,
            None if vlen => 0,
            None => {
                return Err(ChunkError::Unreadable {
                    variable: path(),
                    reason: format!("its type `{}` is not supported", variable.dtype.name()),
                });
            }
        };
        let mut steps = Vec::new();
        let mut before = Vec::new();
        let mut arrays = Vec::new();
        // The type of the cells at this place of the chain.
        let mut dtype = variable.dtype.clone();
        let mut core: Option<(&Codec, Option<std::sync::Arc<dyn ArrayToBytesCodecTraits>>)> = None;
        for codec in codecs {
            let name = plain(&codec.name);
            if core.is_some() {
                if let Some(step) = Step::own(codec) {
                    steps.push(step.map_err(|e| wrong(codec, e))?);
                    continue;
                }
            } else if name == "bytes" || name == "vlen-utf8" {
                core = Some((codec, None));
                continue;
            }
            if core.is_none() && name == "pcodec" {
                if !dtype.number().is_some_and(pcodec::holds) {
                    return Err(wrong(codec, format!("it does not hold the type `{}`", dtype.name()).into()));
                }
                core = Some((codec, None));
                continue;
            }
            if core.is_none() && before.is_empty() {
                match ArrayStep::own(name, codec, &dtype, shape.len()).map_err(|e| wrong(codec, e))? {
                    Known::Step(step, coded) => {
                        arrays.push(step);
                        dtype = coded;
                        continue;
                    }
                    Known::Nothing => continue,
                    Known::No => {}
                }
            }
            if name == "sharding_indexed" && core.is_none() {
                let transposed = arrays.iter().all(|step| matches!(step, ArrayStep::Transpose(_)));
                if !(transposed && before.is_empty()) {
                    let reason = "it stands behind a codec that changes cells, which is not supported";
                    return Err(wrong(codec, reason.into()));
                }
                core = Some((codec, None));
                continue;
            }
            match self::foreign(codec).map_err(|e| match e {
                Some(source) => wrong(codec, source),
                None => ChunkError::UnknownCodec { variable: path(), codec: codec.name.clone() },
            })? {
                foreign_array::Codec::ArrayToArray(array) if core.is_none() => before.push(array),
                foreign_array::Codec::ArrayToBytes(bytes) if core.is_none() => core = Some((codec, Some(bytes))),
                foreign_array::Codec::BytesToBytes(bytes) if core.is_some() => {
                    steps.push(Step::zarrs(&codec.name, bytes));
                }
                _ => {
                    return Err(wrong(codec, "it stands in the wrong place of the chain".into()));
                }
            }
        }
        let Some((main, foreign_main)) = core else {
            return Err(ChunkError::Unreadable {
                variable: path(),
                reason: "its codecs never turn cells into bytes".to_owned(),
            });
        };
        let name = plain(&main.name);
        if vlen != (name == "vlen-utf8") || (vlen && !(before.is_empty() && arrays.is_empty())) {
            let reason = format!("it does not fit the type `{}`", variable.dtype.name());
            return Err(wrong(main, reason.into()));
        }
        let text = matches!(dtype, DataType::Text(_));
        let coded_itemsize = dtype.number().map_or(itemsize, DType::size);
        let unit = match &dtype {
            DataType::Text(TextKind::Utf32(_)) => 4,
            DataType::Text(_) => 1,
            _ => coded_itemsize,
        };
        let swap = if name == "bytes" && unit > 1 {
            match main.configuration.get("endian").map(|v| v.as_str()) {
                Some(Some("little")) if cfg!(target_endian = "little") => 1,
                Some(Some("big")) if cfg!(target_endian = "big") => 1,
                Some(Some("little" | "big")) => unit,
                // Zarr asks for the order of all types wider than a byte.
                _ => return Err(wrong(main, "`endian` is neither `little` nor `big`".into())),
            }
        } else {
            1
        };
        let cells = if vlen {
            Cells::VlenText
        } else if let Some(number) = dtype.number().filter(|_| name == "pcodec") {
            if !before.is_empty() {
                return Err(wrong(main, "it stands behind a codec that is not supported before it".into()));
            }
            Cells::Pcodec(number)
        } else if name == "sharding_indexed" {
            let whole = arrays.iter().fold(shape.to_vec(), |shape, step| step.encoded_shape(&shape));
            Cells::Shard(Box::new(WholeShard::new(variable, main, &whole)?))
        } else if foreign_main.is_none() && before.is_empty() {
            Cells::Plain { swap }
        } else {
            // Text passes through zarrs as raw bytes. Numbers are swapped by zarrs; codecs before `bytes`
            // may have made another type of them.
            let (name, swap) = match text {
                true => (format!("r{}", itemsize.saturating_mul(8)), swap),
                false => (dtype.number().map_or("", |d| d.name()).to_owned(), 1),
            };
            let bytes = match foreign_main {
                Some(codec) => codec,
                None => match self::foreign(main) {
                    Ok(foreign_array::Codec::ArrayToBytes(codec)) => codec,
                    Err(Some(e)) => return Err(wrong(main, e)),
                    _ => {
                        return Err(ChunkError::UnknownCodec { variable: path(), codec: main.name.clone() });
                    }
                },
            };
            let dtype = guarded(|| zarrs::array::DataType::from_metadata(&MetadataV3::new(name)));
            let dtype = dtype.map_err(|e| wrong(main, e))?;
            let chain = Box::new(CodecChain::new(before, bytes, Vec::new()));
            Cells::Zarrs { chain, dtype, fill: FillValue::new(vec![0; coded_itemsize]), swap }
        };
        let chain = Chain { cells, steps, arrays, itemsize, coded_itemsize };
        chain.sizes(shape).map_err(|source| ChunkError::Codec {
            variable: path(),
            codec: codecs.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
            source,
        })?;
        Ok(chain)
    }

    /// Bytes of a decoded chunk; saturates.
    pub(super) fn decoded(&self, shape: &[u64]) -> u64 {
        shape.iter().fold(self.itemsize as u64, |a, &n| a.saturating_mul(n))
    }

    /// The size before the first step, and after each.
    fn sizes(&self, shape: &[u64]) -> Result<Vec<Size>, BoxError> {
        let coded = shape.iter().fold(self.coded_itemsize as u64, |a, &n| a.saturating_mul(n));
        let inner = match &self.cells {
            Cells::Plain { .. } => Size::Exact(coded),
            // What resists packing is kept as it is, with some bytes for each page.
            Cells::Pcodec(_) => Size::AtMost(coded.saturating_add(coded / 8).saturating_add(1 << 16)),
            Cells::VlenText => Size::AtMost(TEXT_BYTES),
            Cells::Shard(shard) => Size::AtMost(shard.encoded_most(&self.coded_shape(shape))?),
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
    pub(super) fn encoded_size(&self, shape: &[u64]) -> Option<u64> {
        match self.sizes(shape).ok()?.last()? {
            Size::Exact(n) => Some(*n),
            Size::AtMost(_) => None,
        }
    }

    /// Bytes of an encoded chunk, at most, with some room for codecs that frame it otherwise than usual.
    pub(super) fn encoded_most(&self, shape: &[u64]) -> u64 {
        match self.sizes(shape).ok().and_then(|sizes| sizes.last().copied()) {
            Some(Size::Exact(n) | Size::AtMost(n)) => n.saturating_mul(2).saturating_add(1 << 20),
            None => u64::MAX,
        }
    }

    /// Decodes a chunk of `shape` into `out`, which then holds it and nothing else.
    pub(super) fn decode(
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
            Cells::Pcodec(dtype) => {
                let expected = shape.iter().fold(self.coded_itemsize as u64, |a, &n| a.saturating_mul(n));
                let room = usize::try_from(expected).map_err(|_| DecodeError::Memory { bytes: expected })?;
                let refused = |source| DecodeError::Codec { codec: "pcodec".to_owned(), source };
                let cells = guarded(|| pcodec::unpack(*dtype, out, room)).map_err(refused)?;
                *out = cells.ok_or(DecodeError::Count { expected })?;
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
        let coded = shape.iter().fold(self.coded_itemsize as u64, |a, &n| a.saturating_mul(n));
        Size::Exact(coded).check(out.len())?;
        match swap {
            2 => turn::<2>(out),
            4 => turn::<4>(out),
            8 => turn::<8>(out),
            _ => {}
        }
        self.decode_arrays(shape, first, out)
    }

    fn decode_arrays(&self, shape: &[u64], spare: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut levels = vec![(shape.to_vec(), self.itemsize)];
        for step in &self.arrays {
            let (shape, item) = &levels[levels.len() - 1];
            levels.push((step.encoded_shape(shape), step.encoded_item(*item)));
        }
        for (step, (shape, item)) in self.arrays.iter().zip(&levels).rev() {
            let bytes = shape.iter().fold(*item as u64, |a, &n| a.saturating_mul(n));
            let room = usize::try_from(bytes).is_ok_and(|n| {
                spare.clear();
                spare.try_reserve_exact(n).is_ok()
            });
            if !room {
                return Err(DecodeError::Memory { bytes });
            }
            step.decode(out, shape, *item, spare);
            std::mem::swap(out, spare);
        }
        Size::Exact(self.decoded(shape)).check(out.len())
    }

    /// Shape of the array after the codecs of cells that are ours.
    fn coded_shape(&self, shape: &[u64]) -> Vec<u64> {
        self.arrays.iter().fold(shape.to_vec(), |shape, step| step.encoded_shape(&shape))
    }

    /// Whether the stored bytes are the cells.
    pub(super) fn is_plain(&self) -> bool {
        self.steps.is_empty() && self.arrays.is_empty() && matches!(self.cells, Cells::Plain { swap: 1 })
    }

    fn cells_error(&self, source: BoxError) -> DecodeError {
        DecodeError::Codec { codec: "bytes".to_owned(), source }
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
    let bare = plain(&codec.name);
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

/// Turns the bytes of each element round.
fn turn<const N: usize>(bytes: &mut [u8]) {
    for element in bytes.as_chunks_mut::<N>().0 {
        element.reverse();
    }
}
