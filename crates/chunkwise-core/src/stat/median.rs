//! Medians of many small groups: each cell's whole series is kept, then sorted 64 cells at a time.
//!
//! Cells whose values lie side by side go through one sorting network (Batcher's odd–even merge sort, 1968), of which
//! only the comparators that the two middle values depend on are kept. Long series are selected one by one.

use super::map::{CellMap, Run, RunKind};
use super::{Leaf, fast};
use crate::dtype::Element;
use crate::values::Values;
use serde::{Deserialize, Serialize};

/// Cells sorted at once.
const WIDTH: usize = 64;
/// Longest series that goes through a network.
const LONGEST: usize = 256;

/// The values of each cell, leaf by leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    cells: usize,
    leaves: Vec<Kept>,
}

/// One leaf's values, and where they go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    values: Values,
    mask: Option<Vec<u8>>,
    /// (offset, cell, len, across).
    runs: Vec<(usize, usize, usize, bool)>,
}

impl Series {
    /// No values yet.
    pub fn empty(cells: usize) -> Series {
        Series { cells, leaves: Vec::new() }
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Keeps a leaf.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        let mut runs = Vec::new();
        map.runs(|r: Run| runs.push((r.offset, r.cell, r.len, r.kind == RunKind::Across)));
        self.leaves.push(Kept { values: T::wrap(leaf.values.to_vec()), mask: leaf.mask.map(<[u8]>::to_vec), runs });
    }

    /// Appends the series that follows.
    pub fn merge(&mut self, next: &Series) {
        self.leaves.extend(next.leaves.iter().cloned());
    }

    /// Median of each cell and 1 where it has one; `decode` takes stored values to decoded ones.
    pub fn median<T: Element>(&self, decode: impl Fn(f64) -> f64 + Copy) -> (Vec<f64>, Vec<u8>) {
        let mut out = (vec![0.0; self.cells], vec![0u8; self.cells]);
        // (cell, len, across, leaf, offset): equal cells stand together, in order.
        let mut parts: Vec<(usize, usize, bool, usize, usize)> = Vec::new();
        for (l, leaf) in self.leaves.iter().enumerate() {
            parts.extend(leaf.runs.iter().map(|&(offset, cell, len, across)| {
                (cell, if across { len } else { 0 }, across, l, if across { offset } else { offset << 32 | len })
            }));
        }
        parts.sort_unstable();
        let mut network = Network::default();
        let mut i = 0;
        while i < parts.len() {
            let (cell, len, across, ..) = parts[i];
            let mut end = i;
            while end < parts.len() && parts[end].0 == cell && parts[end].1 == len && parts[end].2 == across {
                end += 1;
            }
            let rows = &parts[i..end];
            if across && rows.len() <= LONGEST {
                network.prepare(rows.len());
                fast(
                    #[inline(always)]
                    || self.side_by_side::<T>(rows, &network, decode, &mut out),
                );
            } else if across {
                for c in 0..len {
                    let at = rows.iter().map(|&(.., l, offset)| (l, offset + c, 1));
                    self.one_by_one::<T>(at, cell + c, decode, &mut out);
                }
            } else {
                let at = rows.iter().map(|&(.., l, packed)| (l, packed >> 32, packed & 0xffff_ffff));
                self.one_by_one::<T>(at, cell, decode, &mut out);
            }
            i = end;
        }
        out
    }

    #[inline(always)]
    fn side_by_side<T: Element>(
        &self,
        rows: &[(usize, usize, bool, usize, usize)],
        network: &Network,
        decode: impl Fn(f64) -> f64 + Copy,
        out: &mut (Vec<f64>, Vec<u8>),
    ) {
        let (cell, len, ..) = rows[0];
        let n = rows.len();
        let mut keys = vec![[T::TOP; WIDTH]; n];
        let mut first = 0;
        while first < len {
            let width = WIDTH.min(len - first);
            let mut valid = [0u32; WIDTH];
            for (row, &(.., l, offset)) in keys.iter_mut().zip(rows) {
                let leaf = &self.leaves[l];
                let values = &T::slice(&leaf.values)[offset + first..offset + first + width];
                let mask = leaf.mask.as_ref().map(|m| &m[offset + first..offset + first + width]);
                if mask.is_none() && !T::IS_FLOAT {
                    for (k, &v) in row.iter_mut().zip(values) {
                        *k = v.key();
                    }
                    for n in &mut valid {
                        *n += 1;
                    }
                } else {
                    for (i, &v) in values.iter().enumerate() {
                        let keep = mask.is_none_or(|m| m[i] != 0) && !(T::IS_FLOAT && v.is_nan());
                        row[i] = if keep { v.key() } else { T::TOP };
                        valid[i] += u32::from(keep);
                    }
                }
            }
            let complete = valid[..width].iter().all(|&v| v as usize == n);
            for &(a, b) in if complete { &network.middle } else { &network.full } {
                let (low, high) = keys.split_at_mut(b as usize);
                let (a, b) = (&mut low[a as usize], &mut high[0]);
                for (a, b) in a.iter_mut().zip(b.iter_mut()) {
                    let (lo, hi) = ((*a).min(*b), (*a).max(*b));
                    *a = lo;
                    *b = hi;
                }
            }
            for i in 0..width {
                let m = valid[i] as usize;
                if m > 0 {
                    let (a, b) = (T::of_key(keys[(m - 1) / 2][i]), T::of_key(keys[m / 2][i]));
                    out.0[cell + first + i] = middle(decode(a.to_f64()), decode(b.to_f64()), m);
                    out.1[cell + first + i] = 1;
                }
            }
            first += width;
        }
    }

    fn one_by_one<T: Element>(
        &self,
        parts: impl Iterator<Item = (usize, usize, usize)> + Clone,
        cell: usize,
        decode: impl Fn(f64) -> f64,
        out: &mut (Vec<f64>, Vec<u8>),
    ) {
        let mut keys: Vec<T::Key> = Vec::with_capacity(parts.clone().map(|(.., len)| len).sum());
        for (l, offset, len) in parts {
            let leaf = &self.leaves[l];
            for i in offset..offset + len {
                let v = T::slice(&leaf.values)[i];
                if leaf.mask.as_ref().is_none_or(|m| m[i] != 0) && !v.is_nan() {
                    keys.push(v.key());
                }
            }
        }
        let m = keys.len();
        if m == 0 {
            return;
        }
        let (below, &mut upper, _) = keys.select_nth_unstable(m / 2);
        let lower = match m % 2 {
            1 => upper,
            _ => below.iter().copied().max().unwrap_or(upper),
        };
        out.0[cell] = middle(decode(T::of_key(lower).to_f64()), decode(T::of_key(upper).to_f64()), m);
        out.1[cell] = 1;
    }
}

fn middle(lower: f64, upper: f64, n: usize) -> f64 {
    if n % 2 == 1 { upper } else { (lower + upper) / 2.0 }
}

/// Comparators of a sorting network over `n` rows.
#[derive(Default)]
struct Network {
    n: usize,
    full: Vec<(u32, u32)>,
    middle: Vec<(u32, u32)>,
}

impl Network {
    fn prepare(&mut self, n: usize) {
        if self.n == n {
            return;
        }
        self.n = n;
        self.full.clear();
        let size = n.next_power_of_two();
        let mut p = 1;
        while p < size {
            let mut k = p;
            while k >= 1 {
                let mut j = k % p;
                while j + k < size {
                    for i in 0..k.min(size - j - k) {
                        let (a, b) = (i + j, i + j + k);
                        // Rows past the end would hold the greatest key and never move.
                        if a / (2 * p) == b / (2 * p) && b < n {
                            self.full.push((a as u32, b as u32));
                        }
                    }
                    j += 2 * k;
                }
                k /= 2;
            }
            p *= 2;
        }
        let mut needed = vec![false; n];
        needed[(n - 1) / 2] = true;
        needed[n / 2] = true;
        self.middle.clear();
        for &(a, b) in self.full.iter().rev() {
            if needed[a as usize] || needed[b as usize] {
                needed[a as usize] = true;
                needed[b as usize] = true;
                self.middle.push((a, b));
            }
        }
        self.middle.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_any_size_sorts_and_its_middle_is_right() {
        let mut seed = 1u64;
        for n in 1..=130usize {
            let mut network = Network::default();
            network.prepare(n);
            for _ in 0..8 {
                let rows: Vec<u16> = (0..n)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (seed >> 50) as u16
                    })
                    .collect();
                let mut sorted = rows.clone();
                sorted.sort_unstable();
                let run = |pairs: &[(u32, u32)]| {
                    let mut v = rows.clone();
                    for &(a, b) in pairs {
                        if v[a as usize] > v[b as usize] {
                            v.swap(a as usize, b as usize);
                        }
                    }
                    v
                };
                assert_eq!(run(&network.full), sorted);
                let m = run(&network.middle);
                assert_eq!((m[(n - 1) / 2], m[n / 2]), (sorted[(n - 1) / 2], sorted[n / 2]));
            }
        }
    }
}
