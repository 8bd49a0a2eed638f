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

#[cfg(test)]
mod tests;
