//! Codecs: how the cells of a chunk become its bytes, and back.
//!
//! A chain is what the metadata of an array name: codecs of cells, one that turns cells into bytes, codecs of bytes.
//! Zarr v2 metadata are brought into this form. Each step knows the size that it may give, so that a few bytes never
//! decode to more than a chunk holds. `docs/formats.md` lists the codecs.
//!
//! A program adds codecs of its own with [`register`].

mod cast;
mod cells;
pub(crate) mod chain;
mod choice;
mod error;
mod lzma;
mod own;
mod pcodec;
pub(crate) mod step;
pub(crate) mod text;
mod transpose;
mod whole;

pub use choice::{BadCodec, BloscName, CodecChoice, Compression, Filter, Shuffle};
pub(crate) use error::ChainError;
pub use error::{BoxError, DecodeError};
pub use own::{ChunkCodec, RegisterError, Size, Takes, register};

/// The codecs that are known, without the prefix `numcodecs.`; a test holds `docs/formats.md` against this list.
pub(crate) const KNOWN: [&str; 35] = [
    "adler32",
    "astype",
    "bitround",
    "blosc",
    "bytes",
    "bz2",
    "cast_value",
    "crc32",
    "crc32c",
    "delta",
    "fixedscaleoffset",
    "fletcher32",
    "gzip",
    "lz4",
    "lzma",
    "optional",
    "packbits",
    "pcodec",
    "quantize",
    "reshape",
    "scale_offset",
    "sharding_indexed",
    "shuffle",
    "squeeze",
    "transpose",
    "vlen",
    "vlen-array",
    "vlen-bytes",
    "vlen-utf8",
    "zfp",
    "zfpy",
    "zlib",
    "zstd",
    "endian",
    "gdeflate",
];

/// The name of a codec without numcodecs' prefix.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("numcodecs.").unwrap_or(name)
}

/// Whether a codec is one of [`KNOWN`], supported or not.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&bare(name))
}

/// Does to the bytes of a chunk what their writer left out: bit `i` of `skipped` stands for codec `i`. They then are what the whole
/// chain makes of the chunk. `size` is that of the chunk before the first codec.
#[cfg(feature = "netcdf")]
pub(crate) fn complete(
    codecs: &[chunkwise_core::cube::Codec],
    item: usize,
    mut bytes: Vec<u8>,
    skipped: u32,
    size: step::Size,
) -> Result<Vec<u8>, BoxError> {
    let unknown = |codec: &chunkwise_core::cube::Codec| format!("codec `{}` is not known", codec.name);
    let done = |at: usize| skipped >> at.min(31) & 1 == 0;
    let first = (0..codecs.len()).find(|&at| !done(at)).unwrap_or(codecs.len());
    let steps: Vec<step::Step> = codecs
        .iter()
        .map(|codec| step::Step::own(codec, item).ok_or_else(|| unknown(codec))?.map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    // Sizes before each step, of what was done.
    let mut sizes = vec![size];
    for (at, step) in steps.iter().enumerate() {
        let before = sizes[at];
        sizes.push(if done(at) { step.encoded(before) } else { before });
    }
    let mut tools = step::Tools::default();
    for at in (first..steps.len()).rev().filter(|&at| done(at)) {
        let mut out = Vec::new();
        steps[at].decode(&bytes, sizes[at], &mut tools, &mut out)?;
        bytes = out;
    }
    for step in &steps[first..] {
        bytes = step.encode(&bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
