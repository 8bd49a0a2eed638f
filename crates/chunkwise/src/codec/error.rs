//! What can go wrong with a chain of codecs, and with encoded bytes.

pub use crate::error::BoxError;

/// Why a chain of codecs cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    /// A codec that is neither supported nor registered.
    #[error("codec `{codec}` is not supported")]
    Unknown {
        /// Name as stored.
        codec: String,
    },
    /// A codec that is known, in a form or place that is not.
    #[error("codec `{codec}` cannot be used as it is set")]
    Codec {
        /// Name as stored.
        codec: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// A chain that makes no cells of this type.
    #[error("{reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
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
