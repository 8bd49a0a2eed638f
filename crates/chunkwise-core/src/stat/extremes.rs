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
        (min[i], max[i]) = wider(min[i], max[i], v, keep);
        seen[i] |= u8::from(keep && !(T::IS_FLOAT && v.is_nan()));
    }
}

/// Least and greatest with one value more. What is not kept is first made neutral: a store under a mask is slow.
#[inline(always)]
fn wider<T: Element>(lo: T, hi: T, v: T, keep: bool) -> (T, T) {
    let (low, high) = (if keep { v } else { T::GREATEST }, if keep { v } else { T::LEAST });
    (if low < lo { low } else { lo }, if high > hi { high } else { hi })
}

#[inline(always)]
fn into<T: Element>(values: &[T], mask: Option<&[u8]>) -> (T, T, bool) {
    match mask {
        // Decided once: the loop over whole integers has no branch.
        None if !T::IS_FLOAT => {
            let (lo, hi) = lanes(values, |_| true);
            (lo, hi, !values.is_empty())
        }
        None => {
            let (lo, hi) = lanes(values, |_| true);
            (lo, hi, values.iter().any(|v| !v.is_nan()))
        }
        Some(mask) => {
            let (lo, hi) = lanes(values, |i| mask[i] != 0);
            (lo, hi, values.iter().zip(mask).any(|(v, &m)| m != 0 && !v.is_nan()))
        }
    }
}

/// Least and greatest of the values that `keep` says; comparisons with NaN are false, so it changes nothing.
#[inline(always)]
fn lanes<T: Element>(values: &[T], keep: impl Fn(usize) -> bool) -> (T, T) {
    const LANES: usize = 64;
    let (mut lo, mut hi) = ([T::GREATEST; LANES], [T::LEAST; LANES]);
    let mut parts = values.chunks_exact(LANES);
    let mut base = 0;
    for part in &mut parts {
        for lane in 0..LANES {
            let v = part[lane];
            (lo[lane], hi[lane]) = wider(lo[lane], hi[lane], v, keep(base + lane));
        }
        base += LANES;
    }
    for (i, &v) in parts.remainder().iter().enumerate() {
        (lo[0], hi[0]) = wider(lo[0], hi[0], v, keep(base + i));
    }
    let least = lo.into_iter().fold(T::GREATEST, |a, v| if v < a { v } else { a });
    let greatest = hi.into_iter().fold(T::LEAST, |a, v| if v > a { v } else { a });
    (least, greatest)
}
