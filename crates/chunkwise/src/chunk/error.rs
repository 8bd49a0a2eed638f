//! What can go wrong with one chunk.

use crate::codec::{ChainError, is_known};
use crate::store::{ByteRange, StoreError};

pub use crate::codec::{BoxError, DecodeError};

/// Why a chunk, or the chunks of a variable at all, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The variable cannot be read at all; the reason was found when it was opened.
    #[error("`{variable}` cannot be read: {reason}")]
    Unreadable {
        /// Path of the array.
        variable: String,
        /// Why.
        reason: String,
    },
    /// A codec that is neither supported nor registered.
    #[error(
        "`{variable}` is stored with codec `{codec}`, which is not supported; `docs/formats.md` lists those that are{}",
        own_of(codec)
    )]
    UnknownCodec {
        /// Path of the array.
        variable: String,
        /// Name as stored.
        codec: String,
    },
    /// A codec that is known, in a form or place that is not.
    #[error("codec `{codec}` of `{variable}` cannot be used as it is set")]
    Codec {
        /// Path of the array.
        variable: String,
        /// Name as stored.
        codec: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The fill value is no value of the stored type.
    #[error("fill value `{fill}` of `{variable}` is no `{dtype}`")]
    Fill {
        /// Path of the array.
        variable: String,
        /// The value.
        fill: String,
        /// The stored type.
        dtype: String,
    },
    /// No such chunk.
    #[error("`{variable}` has no chunk {chunk:?}; its grid is {grid:?}")]
    OutOfGrid {
        /// Path of the array.
        variable: String,
        /// Chunk asked for.
        chunk: Vec<u64>,
        /// Chunks along each dimension.
        grid: Vec<u64>,
    },
    /// Numbers were asked of text, or text of numbers.
    #[error("`{variable}` holds `{dtype}`, asked for {asked}")]
    WrongKind {
        /// Path of the array.
        variable: String,
        /// The stored type.
        dtype: String,
        /// `numbers` or `text`.
        asked: &'static str,
    },
    /// The store could not give the bytes.
    #[error("cannot fetch chunk {chunk:?} of `{variable}` (`{key}`{})", part(*bytes))]
    Fetch {
        /// Path of the array.
        variable: String,
        /// The chunk.
        chunk: Vec<u64>,
        /// Key of the stored object.
        key: String,
        /// The part of it that holds the chunk, or the index of a shard.
        bytes: ByteRange,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// The bytes are no chunk.
    #[error("cannot decode chunk {chunk:?} of `{variable}` (`{key}`{})", part(*bytes))]
    Decode {
        /// Path of the array.
        variable: String,
        /// The chunk.
        chunk: Vec<u64>,
        /// Key of the stored object.
        key: String,
        /// The part of it that holds the chunk, or the index of a shard.
        bytes: ByteRange,
        /// What is wrong with them.
        source: Box<DecodeError>,
    },
}

/// A part of an object, for messages.
fn part(bytes: ByteRange) -> String {
    match bytes {
        ByteRange::Whole => String::new(),
        ByteRange::Suffix(len) => format!(", the last {len} bytes"),
        ByteRange::Bounded { start, len } => format!(", {len} bytes from {start}"),
    }
}

impl ChunkError {
    /// What is wrong with the codecs of `variable`.
    pub(super) fn of_chain(variable: String, error: ChainError) -> ChunkError {
        match error {
            ChainError::Unknown { codec } => ChunkError::UnknownCodec { variable, codec },
            ChainError::Codec { codec, source } => ChunkError::Codec { variable, codec, source },
            ChainError::Unreadable { reason } => ChunkError::Unreadable { variable, reason },
        }
    }
}

/// What else there is to do about a codec that is not supported; the names of those that are known cannot be registered.
fn own_of(codec: &str) -> &'static str {
    match is_known(codec) {
        true => "",
        false => ", and `chunkwise::codec::register` adds one of your own",
    }
}
