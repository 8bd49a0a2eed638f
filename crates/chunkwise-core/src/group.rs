//! Which output cell each input cell of a dimension belongs to: a cycle of the calendar, a window in time, or so many cells.

mod cycle;
mod window;

#[cfg(test)]
mod tests;

pub use cycle::{Cycle, cycle_groups};
pub use window::{TimeSpec, Window, WindowUnit, cell_windows, coarsen_labels, time_windows};

use crate::cube::Labels;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The group of a position that belongs to none.
pub const NO_GROUP: u32 = u32::MAX;

/// No grouping has more groups than this.
pub const MAX_GROUPS: u64 = 10_000_000;

/// No dimension of more cells than this is grouped by cells: the index of a grouping is held in memory.
pub const MAX_CELLS: u64 = 1 << 28;

/// The group of each position along one dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grouping {
    /// Group of each position, below `count`; [`NO_GROUP`] where there is none (not a time).
    pub index: Vec<u32>,
    /// How many groups, empty windows included.
    pub count: u32,
    /// Label of each group: the start of a window; the number or the name of a cycle's part.
    pub labels: Labels,
    /// Windows in time: start (inclusive) and end (exclusive) of each.
    pub bounds: Option<Vec<(i128, i128)>>,
    /// Windows: first position of each, then the number of positions. Window `g` is `starts[g]..starts[g + 1]`.
    pub sorted_starts: Option<Vec<u64>>,
}

/// Why cells cannot be grouped as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// A cycle that is not known.
    #[error("`{asked}` is not a cycle; it may be `month`, `season`, `dayofyear`, `monthday`, `weekday` or `hour`")]
    UnknownCycle {
        /// The name asked for.
        asked: String,
    },
    /// A window that does not read.
    #[error(
        "`{asked}` is not a window: {reason}; write `1month`, `10d`, `season`, `2year`, `week`, `6h`, `30min`, `15s` or `y=10,x=10`"
    )]
    NotAWindow {
        /// The window asked for.
        asked: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A time before the one that it follows.
    #[error(
        "times must ascend for windows of `{window}`, but `{time}` at index {index} follows `{previous}`; sort the cube by time first"
    )]
    NotAscending {
        /// The window asked for.
        window: String,
        /// Position of the offending time.
        index: usize,
        /// The offending time.
        time: String,
        /// The time before it.
        previous: String,
    },
    /// A missing time, which lies in no window.
    #[error(
        "the time at index {index} is missing, so it lies in no window of `{window}`; select the other times first"
    )]
    MissingTime {
        /// The window asked for.
        window: String,
        /// Position of the missing time.
        index: usize,
    },
    /// A dimension of more than [`MAX_CELLS`] cells.
    #[error("a dimension of {length} cells is too long to group, the limit is {MAX_CELLS}; select a part of it")]
    TooLong {
        /// Cells along the dimension.
        length: u64,
    },
    /// More windows than [`MAX_GROUPS`].
    #[error(
        "windows of `{window}` from `{first}` to `{last}` would be {count}, the limit is {MAX_GROUPS}; ask for longer windows"
    )]
    TooMany {
        /// The window asked for.
        window: String,
        /// First time, or position.
        first: String,
        /// Last time, or position.
        last: String,
        /// How many there would be.
        count: u128,
    },
}
