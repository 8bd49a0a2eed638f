//! Why a cube could not be opened or one of its small arrays not be read.

use crate::store::StoreError;

/// An error of another layer, kept as the source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a location is no cube that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something, but no Zarr group or array.
    #[error("`{location}` is no Zarr group or array; it holds {found}")]
    NotZarr {
        /// Location as asked for.
        location: String,
        /// What is there instead, for people.
        found: String,
    },
    /// An output whose job was interrupted.
    #[error("`{location}` is an unfinished chunkwise job; `--overwrite` makes it anew")]
    Unfinished {
        /// Location as asked for.
        location: String,
    },
    /// A metadata document larger than any real one.
    #[error("`{key}` in `{location}` is larger than {limit_mib} MiB, too large for metadata")]
    TooLarge {
        /// Location of the store.
        location: String,
        /// Key of the document.
        key: String,
        /// The limit.
        limit_mib: u64,
    },
    /// A metadata document that cannot be understood.
    #[error("`{key}` in `{location}` cannot be understood: {reason}")]
    BadMetadata {
        /// Location of the store.
        location: String,
        /// Key of the document.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A dimension that the cube does not have.
    #[error("`{location}` has no dimension `{asked}`; it has {}", list(.has))]
    NoDim {
        /// Location as asked for.
        location: String,
        /// The dimension asked for.
        asked: String,
        /// Those that there are.
        has: Vec<String>,
    },
    /// A variable that is listed and cannot be read.
    #[error("`{variable}` cannot be read: {problem}")]
    Unusable {
        /// The variable.
        variable: String,
        /// Why.
        problem: String,
    },
    /// An array that is too large to be read whole.
    #[error(
        "`{variable}` is too large to be read whole: {cells} cells, or the chunks that hold them, pass {limit_mib} MiB decoded"
    )]
    TooManyCells {
        /// The variable.
        variable: String,
        /// Its cells.
        cells: u128,
        /// The limit.
        limit_mib: u64,
    },
    /// Labels that would take more memory than is allowed.
    #[error(
        "the {cells} labels of `{variable}` need about {} MiB, the budget is {} MiB",
        needed.div_ceil(1 << 20),
        limit >> 20
    )]
    Memory {
        /// The variable.
        variable: String,
        /// Its cells.
        cells: u128,
        /// Bytes that the process would take.
        needed: u64,
        /// Bytes that it may take.
        limit: u64,
    },
    /// An array of which no chunk can be read.
    #[error("`{variable}` cannot be read")]
    Chunks {
        /// The variable.
        variable: String,
        /// What went wrong.
        source: BoxError,
    },
    /// A chunk that is there and cannot be read or decoded; the source names it.
    #[error("cannot read `{variable}` whole")]
    Chunk {
        /// The variable.
        variable: String,
        /// What went wrong.
        source: BoxError,
    },
    /// A time coordinate that cannot be turned into dates.
    #[error("the times of `{variable}` cannot be understood")]
    Time {
        /// The variable.
        variable: String,
        /// What went wrong.
        source: BoxError,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

/// An error and its causes, as one line.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
