//! What cells are imported from, whatever its format.

use super::ImportError;
use chunkwise_core::crs::{Crs, GridTransform};
use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::dtype::{DType, Scalar};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A file (or cube) with cells: what is in it, where it lies, and its stored values box by box.
///
/// Opened once to tell what it holds; between reads it keeps no more than [`Source::keep`] allows.
pub trait Source: Send + Sync + fmt::Debug {
    /// Its name, for messages and the journal.
    fn location(&self) -> &str;

    /// What tells its present content from another.
    fn identity(&self) -> &str;

    /// Bytes of the file, where known.
    fn stored_bytes(&self) -> u64;

    /// What it holds.
    fn variables(&self) -> &[SourceVariable];

    /// Where its cells lie.
    fn placement(&self) -> &Placement;

    /// Bytes that it may keep between reads (decoded blocks).
    fn keep(&self, bytes: u64);

    /// Bytes that reading a box takes, the cells that it gives and what is kept included.
    fn read_bytes(&self, variable: usize, shape: &[u64]) -> u64;

    /// The stored values of a box, in C order, native-endian.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is no longer as it was.
    fn read(&self, variable: usize, start: &[u64], shape: &[u64]) -> Result<Cells, ImportError>;
}

/// The cells of a box.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// Stored values.
    pub values: Vec<u8>,
    /// Of each cell of the last two dimensions, whether it counts; `None`: all do, but for the missing mark.
    pub valid: Option<Vec<bool>>,
}

/// A variable of a source.
#[derive(Clone, Debug)]
pub struct SourceVariable {
    /// Its name.
    pub name: String,
    /// Dimensions; the last two are y and x where the source is placed.
    pub dims: Vec<String>,
    /// Cells along each dimension.
    pub shape: Vec<u64>,
    /// Cells that are decoded together.
    pub block: Vec<u64>,
    /// Stored type.
    pub dtype: DType,
    /// The stored value that marks missing cells.
    pub missing: Option<Scalar>,
    /// Whether reads tell cells that a mask leaves out.
    pub masked: bool,
    /// From stored to decoded values: one for all, or one for each index of the first dimension.
    pub packing: Vec<Linear>,
    /// Labels of dimensions other than y and x.
    pub labels: Vec<(String, Labels)>,
    /// Other attributes.
    pub attrs: Attrs,
}

impl SourceVariable {
    /// Packing of an index of the first dimension.
    pub fn packing_of(&self, index: u64) -> Linear {
        let own = usize::try_from(index).ok().and_then(|i| self.packing.get(i));
        own.or(self.packing.first()).copied().unwrap_or_default()
    }
}

/// `decoded = stored · scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// `scale_factor`.
    pub scale: f64,
    /// `add_offset`.
    pub offset: f64,
}

impl Default for Linear {
    fn default() -> Linear {
        Linear { scale: 1.0, offset: 0.0 }
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale {} and offset {}", self.scale, self.offset)
    }
}

/// Where cells lie.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// CRS of the transform.
    pub crs: Option<Crs>,
    /// From columns and rows to x and y.
    pub transform: Option<GridTransform>,
    /// Ground control points, where the cells are placed by them alone.
    pub control_points: usize,
}
