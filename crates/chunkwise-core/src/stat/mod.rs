//! Statistics: what is computed for each group, as states that fold, merge and finish.
//!
//! A state is columns, one vector per quantity. The data define the fold: a leaf is folded from empty in C
//! order, leaf states merge in order, and no schedule regroups a float operation (see [`tree`]).

pub mod extremes;
pub mod finish;
#[cfg(test)]
mod laws;
pub mod map;
pub mod median;
pub mod ordered;
pub mod state;
pub mod sums;
pub mod tree;

use serde::{Deserialize, Serialize};

/// A statistic by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// The cell itself: nothing is folded.
    Value,
    /// Arithmetic mean of the valid cells.
    Mean,
    /// Sum of the valid cells.
    Sum,
    /// Least valid cell.
    Min,
    /// Greatest valid cell.
    Max,
    /// Number of valid cells.
    Count,
    /// Number of missing cells.
    Missing,
    /// Standard deviation; divides by n − ddof.
    Std,
    /// Variance; divides by n − ddof.
    Var,
    /// Median: the mean of the two middle values where their number is even.
    Median,
    /// First valid cell, in C order.
    First,
    /// Last valid cell, in C order.
    Last,
    /// Index of the least valid cell along the one reduced dimension; the first of ties.
    ArgMin,
    /// Index of the greatest valid cell along the one reduced dimension; the first of ties.
    ArgMax,
}

impl Statistic {
    /// Whether its values lie on the scale of the cells: of times they are times.
    pub fn keeps_scale(self) -> bool {
        use Statistic::{First, Last, Max, Mean, Median, Min, Value};
        matches!(self, Value | Min | Max | First | Last | Mean | Median)
    }

    /// All that a user may name.
    pub const ALL: [Statistic; 13] = [
        Statistic::Mean,
        Statistic::Sum,
        Statistic::Min,
        Statistic::Max,
        Statistic::Count,
        Statistic::Missing,
        Statistic::Std,
        Statistic::Var,
        Statistic::Median,
        Statistic::First,
        Statistic::Last,
        Statistic::ArgMin,
        Statistic::ArgMax,
    ];

    /// Its name: `mean`.
    pub fn name(self) -> &'static str {
        match self {
            Statistic::Value => "value",
            Statistic::Mean => "mean",
            Statistic::Sum => "sum",
            Statistic::Min => "min",
            Statistic::Max => "max",
            Statistic::Count => "count",
            Statistic::Missing => "missing",
            Statistic::Std => "std",
            Statistic::Var => "var",
            Statistic::Median => "median",
            Statistic::First => "first",
            Statistic::Last => "last",
            Statistic::ArgMin => "argmin",
            Statistic::ArgMax => "argmax",
        }
    }

    /// The statistic of this name.
    pub fn from_name(name: &str) -> Option<Statistic> {
        Statistic::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// One leaf's values of one variable or formula, as a kernel sees them.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a, T> {
    /// Values in C order.
    pub values: &'a [T],
    /// 1 where the cell is not missing; `None`: no cell but `NaN` is missing.
    pub mask: Option<&'a [u8]>,
}

/// Runs a kernel compiled for the best instruction set of this machine (x86-64-v3 or the baseline).
///
/// No set changes a result: floats are neither contracted nor reassociated.
#[inline(always)]
pub(crate) fn fast<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// Whether any value is `mark`.
pub fn holds<T: crate::dtype::Element>(values: &[T], mark: T) -> bool {
    fast(
        #[inline(always)]
        || values.chunks(4096).any(|part| part.iter().fold(0u8, |found, v| found | u8::from(*v == mark)) != 0),
    )
}
