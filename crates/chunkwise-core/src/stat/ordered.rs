//! Statistics that know their place: first, last, argmin, argmax.

use super::Leaf;
use super::map::{CellMap, Places, RunKind};
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
    /// Position along the folded dimension, of several dimensions in C order over them; −1: no valid cell yet.
    pub at: Vec<i64>,
}

impl Picked {
    /// Nothing folded yet.
    pub fn empty<T: Element>(cells: usize, pick: Pick) -> Picked {
        Picked { pick, value: T::wrap(vec![T::default(); cells]), at: vec![-1; cells] }
    }

    /// Folds the leaf that follows all folded so far.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        match &map.places {
            None => self.fold_in_order(leaf, map),
            Some(places) => self.fold_places(leaf, map, places),
        }
    }

    /// Of several folded dimensions, chunks do not come in C order: places are compared.
    fn fold_places<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap, places: &Places) {
        let pick = self.pick;
        let mut here = Picked::empty::<T>(self.at.len(), pick);
        let Some(value) = T::vec_mut(&mut here.value) else { return };
        // Within a leaf, elements of a cell come in C order: their offsets will do.
        let at = &mut here.at;
        map.runs(|r| {
            for offset in r.offset..r.offset + r.len {
                let v = leaf.values[offset];
                if leaf.mask.is_some_and(|m| m[offset] == 0) || v.is_nan() {
                    continue;
                }
                let cell = match r.kind {
                    RunKind::Across => r.cell + (offset - r.offset),
                    RunKind::Into => r.cell,
                };
                if at[cell] < 0 || beats(pick, v, value[cell]) {
                    value[cell] = v;
                    at[cell] = offset as i64;
                }
            }
        });
        for at in here.at.iter_mut().filter(|at| **at >= 0) {
            *at = places.of(*at as usize) as i64;
        }
        self.merge::<T>(&here);
    }

    fn fold_in_order<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
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

    /// Takes in another state: of other cells, in any order.
    pub fn merge<T: Element>(&mut self, other: &Picked) {
        let pick = self.pick;
        let Some(value) = T::vec_mut(&mut self.value) else { return };
        for (i, &v) in T::slice(&other.value).iter().enumerate() {
            if other.at[i] < 0 {
                continue;
            }
            let wins = match other.at[i] > self.at[i] {
                _ if self.at[i] < 0 => true,
                true => beats(pick, v, value[i]),
                false => !beats(pick, value[i], v),
            };
            if wins {
                value[i] = v;
                self.at[i] = other.at[i];
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
