//! Why cells were not imported.

use crate::create::CreateError;
use crate::error::{BoxError, OpenError};
use crate::store::StoreError;
use crate::write::{RegionError, WriteError};
use chunkwise_core::crs::CrsError;

/// Why cells were not imported. [`ImportError::hint`] says what would work.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file that cannot be read, or not as what it should be.
    #[error("cannot read `{location}`")]
    Read {
        /// The file.
        location: String,
        /// Why.
        source: BoxError,
    },
    /// A file that can be read, and holds what cannot be imported as asked.
    #[error("`{location}` {problem}")]
    Unfit {
        /// The file.
        location: String,
        /// What it holds, as the end of the sentence.
        problem: String,
        /// What would work; may be empty.
        hint: String,
    },
    /// Two files that do not go together.
    #[error(transparent)]
    Differ(Box<Difference>),
    /// Two files with valid values for one cell, and no rule that says which counts.
    #[error("`{one}` and `{other}` both have a value at {at}")]
    Overlap {
        /// The earlier.
        one: String,
        /// The later.
        other: String,
        /// The cell.
        at: String,
    },
    /// A request that cannot be met.
    #[error("{problem}")]
    Asked {
        /// What is wrong with it.
        problem: String,
        /// What would work; may be empty.
        hint: String,
    },
    /// The budget is too small.
    #[error("the import needs {} MiB, the budget is {} MiB", .needed.div_ceil(1 << 20), .limit >> 20)]
    Memory {
        /// Bytes that would do.
        needed: u64,
        /// The budget.
        limit: u64,
    },
    /// A file that is not as it was when the import began.
    #[error("`{location}` was changed while it was imported")]
    Changed {
        /// The file.
        location: String,
    },
    /// What was written is not what the files give.
    #[error("chunk {chunk:?} of `{variable}` does not hold what the files give")]
    Unequal {
        /// The variable.
        variable: String,
        /// The chunk.
        chunk: Vec<u64>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Coordinates that cannot be transformed.
    #[error(transparent)]
    Crs(#[from] CrsError),
    /// A cube that cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A cube that cannot be made so.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Cells cannot be added to an array.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Metadata cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// In what two files differ.
#[derive(Debug, thiserror::Error)]
#[error("`{one}` and `{other}` differ in {what}: {one_has}, {other_has}")]
pub struct Difference {
    /// In what.
    pub what: &'static str,
    /// A file.
    pub one: String,
    /// What it has.
    pub one_has: String,
    /// Another.
    pub other: String,
    /// What that has.
    pub other_has: String,
    /// What would work.
    pub hint: String,
}

impl ImportError {
    /// What would work, where it is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ImportError::Unfit { hint, .. } | ImportError::Asked { hint, .. } => hint.clone(),
            ImportError::Differ(differ) => differ.hint.clone(),
            ImportError::Overlap { .. } => {
                "say which counts with `--mosaic first`, `last`, `min`, `max`, `mean` or `median`; where files are bands of \
                 one scene, name them with `--band-from`"
                    .to_owned()
            }
            ImportError::Memory { needed, .. } => {
                format!("pass `--memory {}MiB`, or smaller chunks with `--chunk`", needed.div_ceil(1 << 20))
            }
            ImportError::Changed { .. } => "import again when the files are complete".to_owned(),
            ImportError::Write(e) => e.hint()?.to_owned(),
            ImportError::Store(e) => e.hint()?,
            ImportError::Create(CreateError::Write(e)) => e.hint()?.to_owned(),
            _ => return None,
        };
        (!hint.is_empty()).then_some(hint)
    }

    pub(super) fn asked(problem: impl Into<String>, hint: impl Into<String>) -> ImportError {
        ImportError::Asked { problem: problem.into(), hint: hint.into() }
    }

    pub(super) fn unfit(location: &str, problem: impl Into<String>, hint: impl Into<String>) -> ImportError {
        ImportError::Unfit { location: location.to_owned(), problem: problem.into(), hint: hint.into() }
    }
}
