//! What can go wrong with one chunk.

use crate::store::{ByteRange, StoreError};

/// An error of any kind, as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
    /// A codec that this build does not have.
    #[error("`{variable}` is stored with codec `{codec}`, which is not supported")]
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

/// What is wrong with encoded bytes.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another number of bytes than the chunk has.
    #[error("chunk decodes to {found} bytes, expected {expected}")]
    Size {
        /// Bytes found.
        found: u64,
        /// Bytes that the shape and type of the chunk make.
        expected: u64,
    },
    /// Decoding was stopped at the number of bytes that the chunk can have.
    #[error("chunk decodes to more than {expected} bytes, which is all that it can hold")]
    Larger {
        /// Bytes that the chunk can have.
        expected: u64,
    },
    /// More or fewer numbers were packed than the chunk has.
    #[error("chunk does not decode to the {expected} bytes that it has")]
    Count {
        /// Bytes that the shape and type of the chunk make.
        expected: u64,
    },
    /// Another number of cells than the chunk has.
    #[error("chunk holds {found} cells, expected {expected}")]
    Cells {
        /// Cells found.
        found: u64,
        /// Cells that the shape of the chunk makes.
        expected: u64,
    },
    /// More memory than there is.
    #[error("a chunk of {bytes} bytes does not fit in memory")]
    Memory {
        /// Bytes of the decoded chunk; saturates.
        bytes: u64,
    },
    /// A codec refused the bytes.
    #[error("codec `{codec}` refuses the bytes")]
    Codec {
        /// Name of the codec as stored.
        codec: String,
        /// What it said.
        source: BoxError,
    },
    /// Bytes and checksum do not belong together.
    #[error("checksum `{codec}` does not match: the bytes are damaged")]
    Checksum {
        /// Name of the codec as stored.
        codec: String,
    },
    /// The encoded bytes end too early for this codec.
    #[error("{found} bytes are too few for codec `{codec}`")]
    Truncated {
        /// Name of the codec as stored.
        codec: String,
        /// Bytes that there are.
        found: u64,
    },
    /// The index of a shard has another size than its inner chunks make.
    #[error("the shard index holds {found} bytes, expected {expected}")]
    IndexSize {
        /// Bytes found.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// The index of a shard points outside of the shard.
    #[error("the shard index places the chunk at {start} with {len} bytes, which no object holds")]
    IndexRange {
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// A chunk that is longer than any codec makes it.
    #[error("the shard index places the chunk at {start} with {len} bytes; it can have no more than {most}")]
    IndexLength {
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
        /// The most that such a chunk can have.
        most: u64,
    },
    /// Two chunks in parts of the same bytes.
    #[error("the shard index is damaged: {len} bytes from {start} overlap {} bytes from {}", other.1, other.0)]
    IndexOverlap {
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
        /// First byte and bytes of the other.
        other: (u64, u64),
    },
    /// Another number of bytes came than was asked for.
    #[error("{found} bytes came, asked for {expected}")]
    Piece {
        /// Bytes that came.
        found: u64,
        /// Bytes asked for.
        expected: u64,
    },
    /// The shard went away between reading its index and its chunk.
    #[error("the shard was removed while it was read")]
    Vanished,
    /// Text that is no text.
    #[error("cell {cell} is no {expected} text")]
    Text {
        /// Cell within the chunk, in C order.
        cell: usize,
        /// `UTF-8`, `UTF-32`.
        expected: &'static str,
    },
}
