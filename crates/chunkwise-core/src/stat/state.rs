//! The state of one statistic over the cells of one patch, whatever its class and element type.

use super::Leaf;
use super::extremes::Extremes;
use super::map::CellMap;
use super::median::Series;
use super::ordered::{Pick, Picked};
use super::sums::{Sums, SumsKind};
use crate::dtype::{DType, Element, ForElement};
use serde::{Deserialize, Serialize};

/// What is folded: several statistics share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKind {
    /// Counts, sums, squares.
    Sums(SumsKind),
    /// Least and greatest values.
    Extremes,
    /// A picked value and its place.
    Picked(Pick),
    /// The whole series of each cell.
    Series,
}

/// A partial result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Element type of what is folded.
    pub element: DType,
    /// The columns.
    pub columns: Columns,
}

/// The columns of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each names its type")]
pub enum Columns {
    Sums(Sums),
    Extremes(Extremes),
    Picked(Picked),
    Series(Series),
}

impl State {
    /// Nothing folded yet. At most `most` values fold into a cell.
    pub fn empty(kind: StateKind, element: DType, cells: usize, most: u64) -> State {
        struct Empty(StateKind, usize, u64);
        impl ForElement for Empty {
            type Output = Columns;
            fn run<T: Element>(self) -> Columns {
                let Empty(kind, cells, most) = self;
                match kind {
                    StateKind::Sums(k) => Columns::Sums(Sums::empty::<T>(cells, k, most)),
                    StateKind::Extremes => Columns::Extremes(Extremes::empty::<T>(cells)),
                    StateKind::Picked(p) => Columns::Picked(Picked::empty::<T>(cells, p)),
                    StateKind::Series => Columns::Series(Series::empty(cells)),
                }
            }
        }
        State { element, columns: element.dispatch(Empty(kind, cells, most)) }
    }

    /// Folds the leaf that follows all folded so far.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        match &mut self.columns {
            Columns::Sums(s) => s.fold(leaf, map),
            Columns::Extremes(s) => s.fold(leaf, map),
            Columns::Picked(s) => s.fold(leaf, map),
            Columns::Series(s) => s.fold(leaf, map),
        }
    }

    /// Appends the state that follows.
    pub fn merge(&mut self, next: &State) {
        struct Merge<'a>(&'a mut Columns, &'a Columns);
        impl ForElement for Merge<'_> {
            type Output = ();
            fn run<T: Element>(self) {
                match (self.0, self.1) {
                    (Columns::Sums(a), Columns::Sums(b)) => a.merge(b),
                    (Columns::Extremes(a), Columns::Extremes(b)) => a.merge::<T>(b),
                    (Columns::Picked(a), Columns::Picked(b)) => a.merge::<T>(b),
                    (Columns::Series(a), Columns::Series(b)) => a.merge(b),
                    _ => {}
                }
            }
        }
        self.element.dispatch(Merge(&mut self.columns, &next.columns));
    }

    /// Whether this is a state of `kind` of so many cells, and so can merge with any other that is.
    pub fn is_of(&self, kind: StateKind, element: DType, cells: usize) -> bool {
        struct IsOf<'a>(&'a Columns, StateKind, usize);
        impl ForElement for IsOf<'_> {
            type Output = bool;
            fn run<T: Element>(self) -> bool {
                let IsOf(columns, kind, cells) = self;
                match (columns, kind) {
                    (Columns::Sums(s), StateKind::Sums(k)) => s.is_of::<T>(k, cells),
                    (Columns::Extremes(s), StateKind::Extremes) => s.seen.len() == cells,
                    (Columns::Picked(s), StateKind::Picked(pick)) => s.pick == pick && s.at.len() == cells,
                    (Columns::Series(s), StateKind::Series) => s.cells() == cells,
                    _ => false,
                }
            }
        }
        self.element == element && element.dispatch(IsOf(&self.columns, kind, cells))
    }

    /// Whether a running state over neighbouring segments has the same bits as the tree.
    pub fn is_associative(&self) -> bool {
        match &self.columns {
            Columns::Sums(s) => s.is_exact(),
            _ => true,
        }
    }

    /// Bytes that one cell takes; of a series, that one cell of `most` values takes.
    pub fn bytes_per_cell(kind: StateKind, element: DType, most: u64) -> u64 {
        struct Bytes(SumsKind, u64);
        impl ForElement for Bytes {
            type Output = u64;
            fn run<T: Element>(self) -> u64 {
                Sums::bytes_per_cell::<T>(self.0, self.1)
            }
        }
        let size = element.size() as u64;
        match kind {
            StateKind::Sums(k) => element.dispatch(Bytes(k, most)),
            StateKind::Extremes => 2 * size + 1,
            StateKind::Picked(_) => size + 8,
            // A value, and whether it is valid.
            StateKind::Series => most.saturating_mul(size + 1),
        }
    }
}
