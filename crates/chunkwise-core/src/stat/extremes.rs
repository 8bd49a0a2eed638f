//! Least and greatest values, in their stored type.

use super::map::{CellMap, RunKind};
use super::{Leaf, fast};
use crate::dtype::Element;
use crate::values::Values;
use serde::{Deserialize, Serialize};

/// Least and greatest value of each cell so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extremes {
    /// Least values.
    pub min: Values,
    /// Greatest values.
    pub max: Values,
    /// 1 where a cell has had a value.
    pub seen: Vec<u8>,
}

impl Extremes {
    /// Nothing folded yet.
    pub fn empty<T: Element>(cells: usize) -> Extremes {
        Extremes { min: T::wrap(vec![T::GREATEST; cells]), max: T::wrap(vec![T::LEAST; cells]), seen: vec![0; cells] }
    }

    /// Folds a leaf.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        let (Some(min), Some(max)) = (T::vec_mut(&mut self.min), T::vec_mut(&mut self.max)) else { return };
        let seen = &mut self.seen;
        fast(
            #[inline(always)]
            || {
                map.runs(
                    #[inline(always)]
                    |r| {
                        let values = &leaf.values[r.offset..r.offset + r.len];
                        let mask = leaf.mask.map(|m| &m[r.offset..r.offset + r.len]);
                        match r.kind {
                            RunKind::Across => {
                                let cells = r.cell..r.cell + r.len;
                                across(
                                    &mut min[cells.clone()],
                                    &mut max[cells.clone()],
                                    &mut seen[cells],
                                    values,
                                    mask,
                                );
                            }
                            RunKind::Into => {
                                let (lo, hi, any) = into(values, mask);
                                if any {
                                    min[r.cell] = if lo < min[r.cell] { lo } else { min[r.cell] };
                                    max[r.cell] = if hi > max[r.cell] { hi } else { max[r.cell] };
                                    seen[r.cell] = 1;
                                }
                            }
                        }
                    },
                );
            },
        );
    }

    /// Appends the state that follows.
    pub fn merge<T: Element>(&mut self, next: &Extremes) {
        let (Some(min), Some(max)) = (T::vec_mut(&mut self.min), T::vec_mut(&mut self.max)) else { return };
        for (a, &b) in min.iter_mut().zip(T::slice(&next.min)) {
            *a = if b < *a { b } else { *a };
        }
        for (a, &b) in max.iter_mut().zip(T::slice(&next.max)) {
            *a = if b > *a { b } else { *a };
        }
        for (a, &b) in self.seen.iter_mut().zip(&next.seen) {
            *a |= b;
        }
    }
}

#[inline(always)]
fn across<T: Element>(min: &mut [T], max: &mut [T], seen: &mut [u8], values: &[T], mask: Option<&[u8]>) {
    for i in 0..values.len() {
        let v = values[i];
        // Comparisons with NaN are false, so it changes nothing.
        let keep = mask.is_none_or(|m| m[i] != 0);
        min[i] = if keep && v < min[i] { v } else { min[i] };
        max[i] = if keep && v > max[i] { v } else { max[i] };
        seen[i] |= u8::from(keep && !(T::IS_FLOAT && v.is_nan()));
    }
}

#[inline(always)]
fn into<T: Element>(values: &[T], mask: Option<&[u8]>) -> (T, T, bool) {
    const LANES: usize = 32;
    let (mut lo, mut hi) = ([T::GREATEST; LANES], [T::LEAST; LANES]);
    let mut any = [0u8; LANES];
    let whole = values.len() / LANES * LANES;
    let mut base = 0;
    while base < whole {
        for lane in 0..LANES {
            let v = values[base + lane];
            let keep = mask.is_none_or(|m| m[base + lane] != 0);
            lo[lane] = if keep && v < lo[lane] { v } else { lo[lane] };
            hi[lane] = if keep && v > hi[lane] { v } else { hi[lane] };
            any[lane] |= u8::from(keep && !(T::IS_FLOAT && v.is_nan()));
        }
        base += LANES;
    }
    for (i, &v) in values.iter().enumerate().skip(whole) {
        let keep = mask.is_none_or(|m| m[i] != 0);
        lo[0] = if keep && v < lo[0] { v } else { lo[0] };
        hi[0] = if keep && v > hi[0] { v } else { hi[0] };
        any[0] |= u8::from(keep && !(T::IS_FLOAT && v.is_nan()));
    }
    let mut out = (lo[0], hi[0]);
    for lane in 1..LANES {
        out.0 = if lo[lane] < out.0 { lo[lane] } else { out.0 };
        out.1 = if hi[lane] > out.1 { hi[lane] } else { out.1 };
    }
    (out.0, out.1, any.iter().any(|&a| a != 0))
}
