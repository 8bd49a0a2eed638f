//! Why a selection cannot be read or holds nothing.

use crate::cf::time::TimeError;
use crate::cube::Labels;
use std::fmt;
use thiserror::Error;

/// From where to where an axis goes, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Label of the first cell.
    pub first: Option<String>,
    /// Label of the last cell.
    pub last: Option<String>,
    /// Number of cells.
    pub len: u64,
}

impl Extent {
    pub(super) fn of(labels: &Labels) -> Box<Extent> {
        let len = labels.len();
        Box::new(Extent { first: label_text(labels, 0), last: label_text(labels, len.saturating_sub(1)), len })
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, &self.last, self.len) {
            (Some(first), Some(_), 1) => write!(f, "has one cell, `{first}`"),
            (Some(first), Some(last), n) => write!(f, "goes from `{first}` to `{last}` ({n} cells)"),
            _ => f.write_str("has no cells"),
        }
    }
}

/// A label as text; `None` where there is no such cell.
pub(super) fn label_text(labels: &Labels, index: u64) -> Option<String> {
    let at = usize::try_from(index).ok()?;
    match labels {
        Labels::Index(n) => (index < *n).then(|| index.to_string()),
        Labels::Integer(v) => v.get(at).map(i64::to_string),
        Labels::Number(v) => v.get(at).map(f64::to_string),
        Labels::Time(t) => (at < t.len()).then(|| t.format(at).unwrap_or_else(|| "not a time".to_owned())),
        Labels::Text(v) => v.get(at).cloned(),
    }
}

fn ticked(names: &[String]) -> String {
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
    }
}

fn range(len: &u64) -> String {
    match len {
        0 => "has no cells".to_owned(),
        1 => "has 1 cell, 0".to_owned(),
        n => format!("has {n} cells, 0 to {} (or -{n} to -1)", n - 1),
    }
}

/// Why cells cannot be selected.
#[derive(Debug, Error)]
pub enum SelectError {
    /// Text that is not `DIM=…`.
    #[error("cannot read `{text}`: {reason}; write it like `{example}`")]
    Malformed {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
        /// A text that can be read.
        example: &'static str,
    },
    /// No such dimension.
    #[error("there is no dimension `{asked}`; there are {}", ticked(.has))]
    NoDim {
        /// The name asked for.
        asked: String,
        /// All dimensions.
        has: Vec<String>,
    },
    /// A dimension is asked for twice.
    #[error("`{dim}` is selected {}; say it once", by(.first, .second))]
    Twice {
        /// The dimension.
        dim: String,
        /// Option that named it first.
        first: &'static str,
        /// Option that named it again.
        second: &'static str,
    },
    /// An index beyond the axis.
    #[error("index `{index}` is outside `{dim}`, which {}", range(.len))]
    OutOfRange {
        /// The dimension.
        dim: String,
        /// The index asked for.
        index: i64,
        /// Cells of the dimension.
        len: u64,
    },
    /// No cell lies in the range.
    #[error("`{asked}` selects nothing; `{dim}` {extent}")]
    Empty {
        /// The dimension.
        dim: String,
        /// What was asked for.
        asked: String,
        /// The axis.
        extent: Box<Extent>,
    },
    /// No cell has the label.
    #[error("`{dim}` has no label `{asked}`; the nearest are {}", ticked(.near))]
    NotFound {
        /// The dimension.
        dim: String,
        /// The label asked for.
        asked: String,
        /// The labels that are closest to it.
        near: Vec<String>,
    },
    /// More than half a cell beyond the axis.
    #[error("`{asked}` is more than half a cell outside the axis, which {extent}")]
    Outside {
        /// The label asked for.
        asked: String,
        /// The axis.
        extent: Box<Extent>,
    },
    /// A text label that the axis does not have, asked for by position.
    #[error("the axis has no label `{asked}`; the nearest are {}", ticked(.near))]
    NoLabel {
        /// The label asked for.
        asked: String,
        /// The labels that are closest to it.
        near: Vec<String>,
    },
    /// A longitude range that is two pieces of the axis.
    #[error(
        "`{asked}` crosses the seam of `{dim}`, which {extent}: its cells are not neighbours; select either side on its own"
    )]
    Seam {
        /// The dimension.
        dim: String,
        /// What was asked for.
        asked: String,
        /// The axis.
        extent: Box<Extent>,
    },
    /// Text that is not a number, for an axis of numbers.
    #[error("`{text}` is not a number; the axis {extent}")]
    NotANumber {
        /// The text.
        text: String,
        /// The axis.
        extent: Box<Extent>,
    },
    /// Text that is not a date of the axis' calendar.
    #[error("cannot read `{text}` as a time; the axis {extent}")]
    NotATime {
        /// The text.
        text: String,
        /// The axis.
        extent: Box<Extent>,
        /// What is wrong with it.
        source: Box<TimeError>,
    },
    /// A box that is none.
    #[error("`{west},{south},{east},{north}` is no box: it is west, south, east, north, from least to greatest")]
    Box {
        /// Least x.
        west: f64,
        /// Least y.
        south: f64,
        /// Greatest x.
        east: f64,
        /// Greatest y.
        north: f64,
    },
    /// A box on an axis of times or text.
    #[error("a box needs numbers along `{dim}`, which {extent}")]
    NoNumbers {
        /// The dimension.
        dim: String,
        /// The axis.
        extent: Box<Extent>,
    },
    /// A coordinate that does not fit its dimension.
    #[error("the coordinate of `{dim}` has {labels} labels for {cells} cells")]
    Length {
        /// The dimension.
        dim: String,
        /// Labels of the coordinate.
        labels: u64,
        /// Cells of the dimension.
        cells: u64,
    },
    /// The labels cannot be read.
    #[error("cannot read the labels of `{dim}`")]
    Labels {
        /// The dimension.
        dim: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How a dimension is selected twice.
fn by(first: &str, second: &str) -> String {
    match first == second {
        true => format!("twice by `{first}`"),
        false => format!("by both `{first}` and `{second}`"),
    }
}
