//! Statistics that know their place: first, last, argmin, argmax. A state merges with the next one only.

use super::Leaf;
use super::map::{CellMap, RunKind};
use crate::dtype::Element;
use crate::values::Values;
use serde::{Deserialize, Serialize};

/// Which value is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pick {
    /// The first valid one.
    First,
    /// The last valid one.
    Last,
    /// The least; the first of ties.
    Least,
    /// The greatest; the first of ties.
    Greatest,
}

/// The picked value of each cell so far, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picked {
    /// What is picked.
    pub pick: Pick,
    /// Values.
    pub value: Values,
    /// Position along the folded dimension; −1: no valid cell yet. For first and last 0 stands for any.
    pub at: Vec<i64>,
}

impl Picked {
    /// Nothing folded yet.
    pub fn empty<T: Element>(cells: usize, pick: Pick) -> Picked {
        Picked { pick, value: T::wrap(vec![T::default(); cells]), at: vec![-1; cells] }
    }

    /// Folds the leaf that follows all folded so far.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        let pick = self.pick;
        let Some(value) = T::vec_mut(&mut self.value) else { return };
        let at = &mut self.at;
        map.runs(|r| {
            for i in 0..r.len {
                let v = leaf.values[r.offset + i];
                if leaf.mask.is_some_and(|m| m[r.offset + i] == 0) || v.is_nan() {
                    continue;
                }
                let (cell, position) = match r.kind {
                    RunKind::Across => (r.cell + i, r.position),
                    RunKind::Into => (r.cell, r.position + i as u64),
                };
                if at[cell] < 0 || beats(pick, v, value[cell]) {
                    value[cell] = v;
                    at[cell] = position as i64;
                }
            }
        });
    }

    /// Appends the state that follows.
    pub fn merge<T: Element>(&mut self, next: &Picked) {
        let pick = self.pick;
        let Some(value) = T::vec_mut(&mut self.value) else { return };
        for (i, &v) in T::slice(&next.value).iter().enumerate() {
            if next.at[i] >= 0 && (self.at[i] < 0 || beats(pick, v, value[i])) {
                value[i] = v;
                self.at[i] = next.at[i];
            }
        }
    }
}

/// Whether a later value takes the place of an earlier one.
fn beats<T: Element>(pick: Pick, later: T, earlier: T) -> bool {
    match pick {
        Pick::First => false,
        Pick::Last => true,
        Pick::Least => later < earlier,
        Pick::Greatest => later > earlier,
    }
}
