//! Why a cube was not written.

use super::place::shown;
use crate::store::{MOST, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

/// Why a cube was not written. [`WriteError::hint`] says what would work.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An array that cannot be made as asked.
    #[error("cannot write array `{array}`: {problem}")]
    BadArray {
        /// Path of the array.
        array: String,
        /// What is wrong.
        problem: String,
    },
    /// Cells that are not as many as the chunk or array has.
    #[error("{found} bytes were given for a block of `{array}` that has {expected}")]
    WrongLength {
        /// Path of the array.
        array: String,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A chunk beside the grid.
    #[error("`{array}` has no chunk {chunk:?}; its grid is {grid:?}")]
    NoChunk {
        /// Path of the array.
        array: String,
        /// The chunk asked for.
        chunk: Vec<u64>,
        /// Chunks along each dimension.
        grid: Vec<u64>,
    },
    /// A chunk that was given before, or after its shard had been stored.
    #[error("chunk {chunk:?} of `{array}` came again, or after its shard `{key}` was stored")]
    ShardIsStored {
        /// Path of the array.
        array: String,
        /// The chunk.
        chunk: Vec<u64>,
        /// Key of the shard.
        key: String,
    },
    /// Shards that no object of the store holds.
    #[error("a shard of `{array}` has {bytes} bytes before it is compressed, too many for `{location}`: {MOST}")]
    LargeShard {
        /// Path of the array.
        array: String,
        /// Bytes of its cells and its index.
        bytes: u64,
        /// Location of the output.
        location: String,
    },
    /// A compressor that refused.
    #[error("cannot encode a chunk of `{array}` with `{codec}`")]
    Codec {
        /// Path of the array.
        array: String,
        /// The codec.
        codec: String,
        /// What it said.
        source: crate::error::BoxError,
    },
    /// An object that could not be written: the disk is full, say.
    #[error("cannot write `{key}` of the output `{location}`")]
    Object {
        /// Location of the output.
        location: String,
        /// Key of the object.
        key: String,
        /// What the store said.
        source: Arc<StoreError>,
    },
    /// The store failed otherwise.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output exists.
    #[error("the output `{location}` exists")]
    Exists {
        /// Location of the output.
        location: String,
    },
    /// A variable or group of that name exists in the cube that is added to.
    #[error("`{location}` already has `{node}`")]
    NodeExists {
        /// Location of the cube.
        location: String,
        /// Path of the array or group.
        node: String,
    },
    /// The output is something else than a Zarr cube: it is never removed.
    #[error("the output `{location}` exists and is no Zarr cube, so that it is left alone")]
    NotACube {
        /// Location of the output.
        location: String,
    },
    /// The output is an input, or holds one.
    #[error("the output `{location}` is also an input (`{input}`)")]
    IsInput {
        /// Location of the output.
        location: String,
        /// The input.
        input: String,
    },
    /// The output lies within an input.
    #[error("the output `{location}` lies within the input `{input}`, which would change while it is read")]
    WithinInput {
        /// Location of the output.
        location: String,
        /// The input.
        input: String,
    },
    /// The output was begun and not finished.
    #[error("the output `{location}` was begun by another run and is not finished")]
    Unfinished {
        /// Location of the output.
        location: String,
    },
    /// Another process writes the output now.
    #[error("the output `{location}` is being written by another process")]
    Busy {
        /// Location of the output.
        location: String,
    },
    /// The unfinished job is another one.
    #[error("the unfinished job at `{location}` cannot be resumed: {changed} changed")]
    OtherJob {
        /// Location of the output.
        location: String,
        /// What differs: `the request`, `input …`, `the version of chunkwise`.
        changed: String,
    },
    /// Metadata of an existing cube that cannot be understood, or of another version than asked for.
    #[error("cannot add to `{location}`: {problem}")]
    BadGroup {
        /// Location of the cube.
        location: String,
        /// What is wrong.
        problem: String,
    },
    /// The file system failed.
    #[error("cannot {action} `{}`", shown(path))]
    Io {
        /// `make`, `lock`, `rename`, `remove`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl WriteError {
    /// What would work, as a sentence for the user.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            WriteError::Exists { .. } => "pass `--overwrite` to replace it, or write elsewhere",
            WriteError::Unfinished { .. } => "pass `--overwrite` to begin anew",
            WriteError::OtherJob { .. } => "pass `--overwrite` to begin anew",
            WriteError::NotACube { .. } => "write elsewhere",
            WriteError::IsInput { .. } | WriteError::WithinInput { .. } => "write beside it, as in `-o OUT.zarr`",
            WriteError::NodeExists { .. } => "choose another name, or pass `--overwrite` to replace a group",
            WriteError::LargeShard { .. } => "make shards smaller with `--shard`",
            WriteError::Busy { .. } => "wait for it, or write elsewhere",
            _ => return None,
        })
    }
}
