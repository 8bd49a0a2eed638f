//! Counts, sums and squares: exact for integers, in a fixed order for floats.

mod kernel;

use super::map::{CellMap, RunKind};
use super::{Leaf, fast};
use crate::dtype::Element;
use kernel::{
    any_nan, count_runs, is_valid, lanes, part, single_squares, single_sum, square_runs, sum_runs, whole_squares,
    whole_sum,
};
use serde::{Deserialize, Serialize, Serializer};

/// Valid cells so far: counted one by one, or known from geometry where nothing can be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Valid values of each cell, beside those of `everywhere`.
    pub count: Vec<u64>,
    /// Valid values that every cell has from leaves without missing cells.
    pub everywhere: u64,
    /// Their sum.
    #[serde(serialize_with = "sums_out")]
    pub sum: SumColumn,
    /// Their squares, where asked for.
    #[serde(serialize_with = "squares_out")]
    pub squares: SquareColumn,
}

/// Sums of each cell, of integers in a width that cannot overflow; written out in 64 bits where they fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SumColumn {
    None,
    Bits32(Vec<i32>),
    Bits64(Vec<i64>),
    Bits128(Vec<i128>),
    Float(Vec<f64>),
}

/// Second moments of each cell: raw and exact for integers, about the mean for floats. Written out in 64 bits where they
/// fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SquareColumn {
    None,
    Bits64(Vec<u64>),
    Bits128(Vec<u128>),
    /// Σ (x − mean)².
    Centred(Vec<f64>),
}

/// What a [`Sums`] must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SumsKind {
    /// Counts alone.
    Count,
    /// And sums.
    Sum,
    /// And second moments.
    Squares,
}

impl Sums {
    /// Nothing folded yet, for values of type `T` of which at most `most` fold into a cell.
    pub fn empty<T: Element>(cells: usize, kind: SumsKind, most: u64) -> Sums {
        let bits = 8 * size_of::<T>() as u32;
        let fits_32 = bits < 32 && u128::from(most) << bits <= 1 << 31;
        let exact_squares = !T::IS_FLOAT && bits <= 32;
        let float_sum = T::IS_FLOAT || (kind == SumsKind::Squares && !exact_squares);
        let sum = match kind {
            SumsKind::Count => SumColumn::None,
            _ if T::IS_FLOAT => SumColumn::Float(vec![0.0; cells]),
            _ if bits == 64 => match float_sum {
                true => SumColumn::Float(vec![0.0; cells]),
                false => SumColumn::Bits128(vec![0; cells]),
            },
            _ if fits_32 => SumColumn::Bits32(vec![0; cells]),
            _ if u128::from(most) << bits <= 1 << 63 => SumColumn::Bits64(vec![0; cells]),
            _ => SumColumn::Bits128(vec![0; cells]),
        };
        let squares = match kind {
            SumsKind::Squares if float_sum => SquareColumn::Centred(vec![0.0; cells]),
            SumsKind::Squares if bits <= 16 && u128::from(most) << (2 * bits) <= 1 << 64 => {
                SquareColumn::Bits64(vec![0; cells])
            }
            SumsKind::Squares => SquareColumn::Bits128(vec![0; cells]),
            _ => SquareColumn::None,
        };
        Sums { count: vec![0; cells], everywhere: 0, sum, squares }
    }

    /// Bytes per cell that [`Sums::empty`] takes.
    pub fn bytes_per_cell<T: Element>(kind: SumsKind, most: u64) -> u64 {
        let one = Sums::empty::<T>(1, kind, most);
        8 + match one.sum {
            SumColumn::None => 0,
            SumColumn::Bits32(_) => 4,
            SumColumn::Bits64(_) | SumColumn::Float(_) => 8,
            SumColumn::Bits128(_) => 16,
        } + match one.squares {
            SquareColumn::None => 0,
            SquareColumn::Bits64(_) | SquareColumn::Centred(_) => 8,
            SquareColumn::Bits128(_) => 16,
        }
    }

    /// Whether this is a state of `kind` over so many cells of values of type `T`.
    pub fn is_of<T: Element>(&self, kind: SumsKind, cells: usize) -> bool {
        let like = Sums::empty::<T>(0, kind, 1);
        let sums = match (&self.sum, &like.sum) {
            (SumColumn::None, SumColumn::None) => cells,
            (SumColumn::Float(v), SumColumn::Float(_)) => v.len(),
            (SumColumn::None | SumColumn::Float(_), _) | (_, SumColumn::None | SumColumn::Float(_)) => return false,
            // Of whatever width.
            (SumColumn::Bits32(v), _) => v.len(),
            (SumColumn::Bits64(v), _) => v.len(),
            (SumColumn::Bits128(v), _) => v.len(),
        };
        let squares = match (&self.squares, &like.squares) {
            (SquareColumn::None, SquareColumn::None) => cells,
            (SquareColumn::Centred(v), SquareColumn::Centred(_)) => v.len(),
            (SquareColumn::None | SquareColumn::Centred(_), _) | (_, SquareColumn::None | SquareColumn::Centred(_)) => {
                return false;
            }
            (SquareColumn::Bits64(v), _) => v.len(),
            (SquareColumn::Bits128(v), _) => v.len(),
        };
        [self.count.len(), sums, squares] == [cells; 3]
    }

    /// Whether states merge in any order with the same bits.
    pub fn is_exact(&self) -> bool {
        !matches!(self.sum, SumColumn::Float(_))
    }

    /// Folds a leaf: the bits are those of folding it from empty and merging the result.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        // Counts are not touched where nothing is missing and each cell takes as many.
        let each = map.each.filter(|_| leaf.mask.is_none() && !(T::IS_FLOAT && any_nan(leaf.values)));
        if matches!(self.sum, SumColumn::Float(_)) {
            if map.single {
                return self.fold_single(leaf, map, each);
            }
            let mut part = Sums {
                count: vec![0; self.count.len()],
                everywhere: 0,
                sum: SumColumn::Float(vec![0.0; self.count.len()]),
                squares: match self.squares {
                    SquareColumn::None => SquareColumn::None,
                    _ => SquareColumn::Centred(vec![0.0; self.count.len()]),
                },
            };
            part.fold_float(leaf, map);
            self.merge(&part);
            return;
        }
        let Sums { count, everywhere, sum, squares } = self;
        *everywhere += each.unwrap_or(0);
        fast(
            #[inline(always)]
            || {
                if each.is_none() {
                    count_runs(count, leaf, map);
                }
                match sum {
                    SumColumn::None | SumColumn::Float(_) => {}
                    SumColumn::Bits32(acc) => sum_runs(acc, leaf, map),
                    SumColumn::Bits64(acc) => sum_runs(acc, leaf, map),
                    SumColumn::Bits128(acc) => sum_runs(acc, leaf, map),
                }
                match squares {
                    SquareColumn::None | SquareColumn::Centred(_) => {}
                    SquareColumn::Bits64(acc) => square_runs(acc, leaf, map),
                    SquareColumn::Bits128(acc) => square_runs(acc, leaf, map),
                }
            },
        );
    }

    /// One element a cell: folding and merging are one step, with the same bits.
    fn fold_single<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap, each: Option<u64>) {
        let Sums { count, everywhere, sum, squares } = self;
        let SumColumn::Float(sum) = sum else { return };
        let all = *everywhere;
        *everywhere += each.unwrap_or(0);
        fast(
            #[inline(always)]
            || {
                map.runs(
                    #[inline(always)]
                    |r| {
                        let values = &leaf.values[r.offset..r.offset + r.len];
                        let mask = leaf.mask.map(|m| &m[r.offset..r.offset + r.len]);
                        let cells = r.cell..r.cell + if r.kind == RunKind::Across { r.len } else { 1 };
                        let (n, s) = (&mut count[cells.clone()], &mut sum[cells.clone()]);
                        match (&mut *squares, each) {
                            (SquareColumn::Centred(m2), None) => {
                                single_squares(n, all, s, &mut m2[cells], values, mask);
                            }
                            (SquareColumn::Centred(m2), Some(_)) => whole_squares(n, all, s, &mut m2[cells], values),
                            (_, None) => single_sum(n, s, values, mask),
                            (_, Some(_)) => whole_sum(s, values),
                        }
                    },
                );
            },
        );
    }

    /// A leaf into an empty float state: sums first, then squares about the leaf's own means.
    fn fold_float<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        let Sums { count, sum, squares, .. } = self;
        let SumColumn::Float(sum) = sum else { return };
        fast(
            #[inline(always)]
            || {
                map.runs(
                    #[inline(always)]
                    |r| {
                        let (values, mask) = part(leaf, r);
                        match r.kind {
                            RunKind::Across => {
                                let cells = r.cell..r.cell + r.len;
                                single_sum(&mut count[cells.clone()], &mut sum[cells], values, mask);
                            }
                            RunKind::Into => {
                                let (n, s) = lanes(
                                    values,
                                    mask,
                                    #[inline(always)]
                                    |x| x,
                                );
                                count[r.cell] += n;
                                sum[r.cell] += s;
                            }
                        }
                    },
                );
                let SquareColumn::Centred(m2) = squares else { return };
                let mean: Vec<f64> = sum.iter().zip(count.iter()).map(|(s, &n)| s / n as f64).collect();
                map.runs(
                    #[inline(always)]
                    |r| {
                        let (values, mask) = part(leaf, r);
                        match r.kind {
                            RunKind::Across => {
                                for i in 0..r.len {
                                    let d = values[i].to_f64() - mean[r.cell + i];
                                    let keep = is_valid(values, mask, i);
                                    m2[r.cell + i] += if keep { d * d } else { 0.0 };
                                }
                            }
                            RunKind::Into => {
                                let about = mean[r.cell];
                                m2[r.cell] += lanes(
                                    values,
                                    mask,
                                    #[inline(always)]
                                    |x| (x - about) * (x - about),
                                )
                                .1;
                            }
                        }
                    },
                );
            },
        );
    }

    /// Appends the state that follows this one. Cells that are empty on one side take the other as it is.
    ///
    /// Source of the merge of second moments: Chan, Golub and LeVeque (1979), Stanford STAN-CS-79-773, eq. 2.1.
    pub fn merge(&mut self, next: &Sums) {
        fast(
            #[inline(always)]
            || {
                if let (
                    SquareColumn::Centred(m2),
                    SquareColumn::Centred(m2b),
                    SumColumn::Float(s),
                    SumColumn::Float(sb),
                ) = (&mut self.squares, &next.squares, &self.sum, &next.sum)
                {
                    for i in 0..m2.len() {
                        let (a, b) = (self.count[i] + self.everywhere, next.count[i] + next.everywhere);
                        let (na, nb) = (a as f64, b as f64);
                        let d = sb[i] / nb - s[i] / na;
                        let both = m2[i] + (m2b[i] + d * d * (na * nb / (na + nb)));
                        m2[i] = if b == 0 {
                            m2[i]
                        } else if a == 0 {
                            m2b[i]
                        } else {
                            both
                        };
                    }
                }
                self.everywhere += next.everywhere;
                for (a, b) in self.count.iter_mut().zip(&next.count) {
                    *a += b;
                }
                self.sum.merge(&next.sum);
                self.squares.merge(&next.squares);
            },
        );
    }

    /// Valid values of each cell.
    pub fn counts(&self) -> Vec<u64> {
        self.count.iter().map(|n| n + self.everywhere).collect()
    }

    /// Sum of each cell, to the nearest f64; nothing where sums were not asked for.
    pub fn sums(&self) -> Vec<f64> {
        match &self.sum {
            SumColumn::None => Vec::new(),
            SumColumn::Bits32(v) => v.iter().map(|&s| f64::from(s)).collect(),
            SumColumn::Bits64(v) => v.iter().map(|&s| s as f64).collect(),
            SumColumn::Bits128(v) => v.iter().map(|&s| s as f64).collect(),
            SumColumn::Float(v) => v.clone(),
        }
    }

    /// Exact sum of cell `i`; `None` for floats.
    pub fn integer_sum(&self, i: usize) -> Option<i128> {
        match &self.sum {
            SumColumn::Bits32(v) => Some(v[i].into()),
            SumColumn::Bits64(v) => Some(v[i].into()),
            SumColumn::Bits128(v) => Some(v[i]),
            _ => None,
        }
    }

    /// Σ (x − mean)² of cell `i`, in stored units.
    pub fn centred_squares(&self, i: usize) -> f64 {
        let raw: u128 = match &self.squares {
            SquareColumn::Centred(v) => return v[i],
            SquareColumn::Bits64(v) => v[i].into(),
            SquareColumn::Bits128(v) => v[i],
            SquareColumn::None => return 0.0,
        };
        let n = i128::from(self.count[i] + self.everywhere);
        if n == 0 {
            return 0.0;
        }
        let sum = self.integer_sum(i).unwrap_or(0);
        // About the integer part q of the mean everything stays exact: Σ(x−q)² = Σx² − 2qΣx + nq².
        let (q, r) = (sum.div_euclid(n), sum.rem_euclid(n));
        let about = (raw as i128) - 2 * q * sum + n * q * q;
        match about.checked_mul(n).and_then(|a| r.checked_mul(r).map(|b| a - b)) {
            Some(exact) => exact as f64 / n as f64,
            None => about as f64 - (r as f64) * (r as f64 / n as f64),
        }
    }
}

impl SumColumn {
    /// Adds those that follow: in the same width, or in 128 bits where widths differ or a sum would not fit.
    fn merge(&mut self, next: &SumColumn) {
        let done = match (&mut *self, next) {
            (SumColumn::Bits32(a), SumColumn::Bits32(b)) => add_all(a, b, i32::checked_add),
            (SumColumn::Bits64(a), SumColumn::Bits64(b)) => add_all(a, b, i64::checked_add),
            (SumColumn::Bits128(a), SumColumn::Bits128(b)) => add_all(a, b, |a, b| Some(a.wrapping_add(b))),
            (SumColumn::Float(a), SumColumn::Float(b)) => add_all(a, b, |a, b| Some(a + b)),
            _ => false,
        };
        if !done && let (Some(mut a), Some(b)) = (self.wide(), next.wide()) {
            add_all(&mut a, &b, |a, b| Some(a.wrapping_add(b)));
            *self = SumColumn::Bits128(a);
        }
    }

    fn wide(&self) -> Option<Vec<i128>> {
        match self {
            SumColumn::None | SumColumn::Float(_) => None,
            SumColumn::Bits32(v) => Some(v.iter().map(|&s| s.into()).collect()),
            SumColumn::Bits64(v) => Some(v.iter().map(|&s| s.into()).collect()),
            SumColumn::Bits128(v) => Some(v.clone()),
        }
    }
}

impl SquareColumn {
    /// Adds those that follow where they are exact, as [`SumColumn::merge`].
    fn merge(&mut self, next: &SquareColumn) {
        let done = match (&mut *self, next) {
            (SquareColumn::Bits64(a), SquareColumn::Bits64(b)) => add_all(a, b, u64::checked_add),
            (SquareColumn::Bits128(a), SquareColumn::Bits128(b)) => add_all(a, b, |a, b| Some(a.wrapping_add(b))),
            _ => false,
        };
        if !done && let (Some(mut a), Some(b)) = (self.wide(), next.wide()) {
            add_all(&mut a, &b, |a, b| Some(a.wrapping_add(b)));
            *self = SquareColumn::Bits128(a);
        }
    }

    fn wide(&self) -> Option<Vec<u128>> {
        match self {
            SquareColumn::None | SquareColumn::Centred(_) => None,
            SquareColumn::Bits64(v) => Some(v.iter().map(|&s| s.into()).collect()),
            SquareColumn::Bits128(v) => Some(v.clone()),
        }
    }
}

/// Adds each of `b` to its cell of `a`; nothing is changed, and `false` given, where one sum does not fit.
#[inline(always)]
fn add_all<A: Copy>(a: &mut [A], b: &[A], add: impl Fn(A, A) -> Option<A>) -> bool {
    let fit = a.iter().zip(b).fold(true, |fit, (a, b)| fit & add(*a, *b).is_some());
    if fit {
        for (a, b) in a.iter_mut().zip(b) {
            *a = add(*a, *b).unwrap_or(*a);
        }
    }
    fit
}

/// Sums as they are written: in 64 bits where they fit, so that a state does not tell how long its plan was.
fn sums_out<S: Serializer>(sums: &SumColumn, to: S) -> Result<S::Ok, S::Error> {
    let narrow: Option<Vec<i64>> = match sums {
        SumColumn::Bits32(v) => Some(v.iter().map(|&s| s.into()).collect()),
        SumColumn::Bits128(v) => v.iter().map(|&s| s.try_into().ok()).collect(),
        _ => None,
    };
    match narrow {
        Some(narrow) => SumColumn::Bits64(narrow).serialize(to),
        None => sums.serialize(to),
    }
}

/// As [`sums_out`].
fn squares_out<S: Serializer>(squares: &SquareColumn, to: S) -> Result<S::Ok, S::Error> {
    let SquareColumn::Bits128(wide) = squares else { return squares.serialize(to) };
    match wide.iter().map(|&s| u64::try_from(s).ok()).collect() {
        Some(narrow) => SquareColumn::Bits64(narrow).serialize(to),
        None => squares.serialize(to),
    }
}
