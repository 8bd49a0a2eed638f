//! Counts, sums and squares: exact for integers, in a fixed order for floats.

use super::map::{CellMap, Run, RunKind};
use super::{Leaf, fast};
use crate::dtype::Element;
use serde::{Deserialize, Serialize};

/// Number of lanes in which a run into one cell is folded.
const LANES: usize = 8;

/// Valid cells so far: counted one by one, or known from geometry where nothing can be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Valid values of each cell, beside those of `everywhere`.
    pub count: Vec<u64>,
    /// Valid values that every cell has from leaves without missing cells.
    pub everywhere: u64,
    /// Their sum.
    pub sum: SumColumn,
    /// Their squares, where asked for.
    pub squares: SquareColumn,
}

/// Sums of each cell. Integers wrap in two's complement in a width that cannot overflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SumColumn {
    None,
    Bits32(Vec<u32>),
    Bits64(Vec<u64>),
    Bits128(Vec<u128>),
    Float(Vec<f64>),
}

/// Second moments of each cell: raw and exact for integers, about the mean for floats.
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
            _ => SumColumn::Bits64(vec![0; cells]),
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

    /// Whether states merge in any order with the same bits.
    pub fn is_exact(&self) -> bool {
        !matches!(self.sum, SumColumn::Float(_))
    }

    /// Folds a leaf: the bits are those of folding it from empty and merging the result.
    pub fn fold<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        if matches!(self.sum, SumColumn::Float(_)) {
            if map.single {
                return self.fold_single(leaf, map);
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
        let each = map.each.filter(|_| !T::IS_FLOAT && leaf.mask.is_none());
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
    fn fold_single<T: Element>(&mut self, leaf: Leaf<'_, T>, map: &CellMap) {
        let Sums { count, sum, squares, .. } = self;
        let SumColumn::Float(sum) = sum else { return };
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
                        match squares {
                            SquareColumn::Centred(m2) => single_squares(n, s, &mut m2[cells], values, mask),
                            _ => single_sum(n, s, values, mask),
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
                        let (na, nb) = (self.count[i] as f64, next.count[i] as f64);
                        let d = sb[i] / nb - s[i] / na;
                        let both = m2[i] + (m2b[i] + d * d * (na * nb / (na + nb)));
                        m2[i] = if next.count[i] == 0 {
                            m2[i]
                        } else if self.count[i] == 0 {
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
                match (&mut self.sum, &next.sum) {
                    (SumColumn::Bits32(a), SumColumn::Bits32(b)) => wrapping(a, b),
                    (SumColumn::Bits64(a), SumColumn::Bits64(b)) => wrapping(a, b),
                    (SumColumn::Bits128(a), SumColumn::Bits128(b)) => wrapping(a, b),
                    (SumColumn::Float(a), SumColumn::Float(b)) => {
                        for (a, b) in a.iter_mut().zip(b) {
                            *a += b;
                        }
                    }
                    _ => {}
                }
                match (&mut self.squares, &next.squares) {
                    (SquareColumn::Bits64(a), SquareColumn::Bits64(b)) => wrapping(a, b),
                    (SquareColumn::Bits128(a), SquareColumn::Bits128(b)) => wrapping(a, b),
                    _ => {}
                }
            },
        );
    }

    /// Valid values of each cell.
    pub fn counts(&self) -> Vec<u64> {
        self.count.iter().map(|n| n + self.everywhere).collect()
    }

    /// Sum of each cell, to the nearest f64; nothing where sums were not asked for.
    pub fn sums<T: Element>(&self) -> Vec<f64> {
        let signed = T::DTYPE.is_signed_int();
        match &self.sum {
            SumColumn::None => Vec::new(),
            SumColumn::Bits32(v) if signed => v.iter().map(|&s| f64::from(s as i32)).collect(),
            SumColumn::Bits32(v) => v.iter().map(|&s| f64::from(s)).collect(),
            SumColumn::Bits64(v) if signed => v.iter().map(|&s| s as i64 as f64).collect(),
            SumColumn::Bits64(v) => v.iter().map(|&s| s as f64).collect(),
            SumColumn::Bits128(v) => v.iter().map(|&s| s as i128 as f64).collect(),
            SumColumn::Float(v) => v.clone(),
        }
    }

    /// Exact sum of cell `i` of integers stored as `T`; `None` for floats.
    pub fn integer_sum<T: Element>(&self, i: usize) -> Option<i128> {
        let signed = T::DTYPE.is_signed_int();
        match &self.sum {
            SumColumn::Bits32(v) if signed => Some((v[i] as i32).into()),
            SumColumn::Bits32(v) => Some(v[i].into()),
            SumColumn::Bits64(v) if signed => Some((v[i] as i64).into()),
            SumColumn::Bits64(v) => Some(v[i].into()),
            SumColumn::Bits128(v) => Some(v[i] as i128),
            _ => None,
        }
    }

    /// Σ (x − mean)² of cell `i`, in stored units.
    pub fn centred_squares<T: Element>(&self, i: usize) -> f64 {
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
        let sum = self.integer_sum::<T>(i).unwrap_or(0);
        // About the integer part q of the mean everything stays exact: Σ(x−q)² = Σx² − 2qΣx + nq².
        let (q, r) = (sum.div_euclid(n), sum.rem_euclid(n));
        let about = (raw as i128) - 2 * q * sum + n * q * q;
        match about.checked_mul(n).and_then(|a| r.checked_mul(r).map(|b| a - b)) {
            Some(exact) => exact as f64 / n as f64,
            None => about as f64 - (r as f64) * (r as f64 / n as f64),
        }
    }
}

#[inline(always)]
fn part<'a, T>(leaf: Leaf<'a, T>, r: Run) -> (&'a [T], Option<&'a [u8]>) {
    (&leaf.values[r.offset..r.offset + r.len], leaf.mask.map(|m| &m[r.offset..r.offset + r.len]))
}

#[inline(always)]
fn is_valid<T: Element>(values: &[T], mask: Option<&[u8]>, i: usize) -> bool {
    mask.is_none_or(|m| m[i] != 0) && !(T::IS_FLOAT && values[i].is_nan())
}

trait Bits: Copy {
    fn add(self, other: Self) -> Self;
    fn of<T: Element>(value: T) -> Self;
    fn square<T: Element>(value: T) -> Self;
}
macro_rules! bits {
    ($($t:ty),*) => { $(impl Bits for $t {
        #[inline(always)]
        fn add(self, other: Self) -> Self { self.wrapping_add(other) }
        #[inline(always)]
        fn of<T: Element>(value: T) -> Self { value.to_i128() as $t }
        #[inline(always)]
        fn square<T: Element>(value: T) -> Self {
            if size_of::<T>() <= 2 {
                let v = value.to_i128() as i32;
                (v.wrapping_mul(v) as u32) as $t
            } else {
                let v = (value.to_i128() as i64).unsigned_abs();
                v.wrapping_mul(v) as $t
            }
        }
    })* };
}
bits!(u32, u64, u128);

#[inline(always)]
fn wrapping<A: Bits>(a: &mut [A], b: &[A]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.add(*b);
    }
}

#[inline(always)]
fn count_runs<T: Element>(count: &mut [u64], leaf: Leaf<'_, T>, map: &CellMap) {
    map.runs(
        #[inline(always)]
        |r| {
            let (values, mask) = part(leaf, r);
            match (r.kind, mask) {
                (RunKind::Across, None) if !T::IS_FLOAT => {
                    for n in &mut count[r.cell..r.cell + r.len] {
                        *n += 1;
                    }
                }
                (RunKind::Across, _) => {
                    for (i, n) in count[r.cell..r.cell + r.len].iter_mut().enumerate() {
                        *n += u64::from(is_valid(values, mask, i));
                    }
                }
                (RunKind::Into, None) if !T::IS_FLOAT => count[r.cell] += r.len as u64,
                (RunKind::Into, _) => {
                    let mut n = 0u64;
                    for i in 0..r.len {
                        n += u64::from(is_valid(values, mask, i));
                    }
                    count[r.cell] += n;
                }
            }
        },
    );
}

#[inline(always)]
fn sum_runs<T: Element, A: Bits>(acc: &mut [A], leaf: Leaf<'_, T>, map: &CellMap) {
    map.runs(
        #[inline(always)]
        |r| {
            let (values, mask) = part(leaf, r);
            match (r.kind, mask) {
                (RunKind::Across, None) => {
                    for (a, &v) in acc[r.cell..r.cell + r.len].iter_mut().zip(values) {
                        *a = a.add(A::of(v));
                    }
                }
                (RunKind::Across, Some(mask)) => {
                    for ((a, &v), &m) in acc[r.cell..r.cell + r.len].iter_mut().zip(values).zip(mask) {
                        *a = a.add(A::of(if m != 0 { v } else { T::default() }));
                    }
                }
                (RunKind::Into, mask) => {
                    acc[r.cell] = acc[r.cell].add(total(
                        values,
                        mask,
                        #[inline(always)]
                        |v| u32::of(v),
                        #[inline(always)]
                        |v| A::of(v),
                    ))
                }
            }
        },
    );
}

#[inline(always)]
fn square_runs<T: Element, A: Bits>(acc: &mut [A], leaf: Leaf<'_, T>, map: &CellMap) {
    map.runs(
        #[inline(always)]
        |r| {
            let (values, mask) = part(leaf, r);
            match (r.kind, mask) {
                (RunKind::Across, mask) => {
                    for (i, a) in acc[r.cell..r.cell + r.len].iter_mut().enumerate() {
                        let v = if mask.is_none_or(|m| m[i] != 0) { values[i] } else { T::default() };
                        *a = a.add(A::square(v));
                    }
                }
                (RunKind::Into, mask) => {
                    let mut sum = acc[r.cell];
                    for (c, block) in values.chunks(4096).enumerate() {
                        if size_of::<T>() <= 2 {
                            // 4096 squares below 2³² stay below 2⁴⁴.
                            let mut s = 0u64;
                            for (i, &v) in block.iter().enumerate() {
                                let v = if mask.is_none_or(|m| m[c * 4096 + i] != 0) { v } else { T::default() };
                                s = s.wrapping_add(u64::square(v));
                            }
                            sum = sum.add(widen(s));
                        } else {
                            for (i, &v) in block.iter().enumerate() {
                                let v = if mask.is_none_or(|m| m[c * 4096 + i] != 0) { v } else { T::default() };
                                sum = sum.add(A::square(v));
                            }
                        }
                    }
                    acc[r.cell] = sum;
                }
            }
        },
    );
}

#[inline(always)]
fn widen<A: Bits>(s: u64) -> A {
    A::of(s)
}

/// Sum of a run of integers: in 32 bits a block at a time where the type is narrow.
#[inline(always)]
fn total<T: Element, A: Bits>(
    values: &[T],
    mask: Option<&[u8]>,
    narrow: impl Fn(T) -> u32,
    wide: impl Fn(T) -> A,
) -> A {
    let mut sum = A::of(0u8);
    let signed = T::DTYPE.is_signed_int();
    for (c, block) in values.chunks(16384).enumerate() {
        if size_of::<T>() <= 2 {
            // 16,384 values of 16 bits stay within 31 bits.
            let mut s = 0u32;
            match mask {
                None => {
                    for &v in block {
                        s = s.wrapping_add(narrow(v));
                    }
                }
                Some(mask) => {
                    for (&v, &m) in block.iter().zip(&mask[c * 16384..]) {
                        s = s.wrapping_add(if m != 0 { narrow(v) } else { 0 });
                    }
                }
            }
            sum = sum.add(if signed { A::of(s as i32) } else { A::of(s) });
        } else {
            for (i, &v) in block.iter().enumerate() {
                if mask.is_none_or(|m| m[c * 16384 + i] != 0) {
                    sum = sum.add(wide(v));
                }
            }
        }
    }
    sum
}

/// Count and sum of `f(x)` over a run, in `LANES` lanes that are added pairwise at its end.
#[inline(always)]
fn lanes<T: Element>(values: &[T], mask: Option<&[u8]>, f: impl Fn(f64) -> f64) -> (u64, f64) {
    let mut sums = [0.0f64; LANES];
    let mut counts = [0u64; LANES];
    let whole = values.len() / LANES * LANES;
    let mut base = 0;
    while base < whole {
        for lane in 0..LANES {
            let keep = is_valid(values, mask, base + lane);
            sums[lane] += if keep { f(values[base + lane].to_f64()) } else { 0.0 };
            counts[lane] += u64::from(keep);
        }
        base += LANES;
    }
    for lane in 0..values.len() - whole {
        let keep = is_valid(values, mask, whole + lane);
        sums[lane] += if keep { f(values[whole + lane].to_f64()) } else { 0.0 };
        counts[lane] += u64::from(keep);
    }
    let s = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    (counts.iter().sum(), s)
}

#[inline(always)]
fn single_sum<T: Element>(count: &mut [u64], sum: &mut [f64], values: &[T], mask: Option<&[u8]>) {
    for i in 0..values.len().min(count.len()) {
        let keep = is_valid(values, mask, i);
        count[i] += u64::from(keep);
        sum[i] += if keep { values[i].to_f64() } else { 0.0 };
    }
}

#[inline(always)]
fn single_squares<T: Element>(count: &mut [u64], sum: &mut [f64], m2: &mut [f64], values: &[T], mask: Option<&[u8]>) {
    for i in 0..values.len().min(count.len()) {
        let keep = is_valid(values, mask, i);
        let x = values[i].to_f64();
        let n = count[i] as f64;
        let d = x - sum[i] / n;
        let own = x * 0.0 * (x * 0.0); // (x − mean)² of one value: 0, or NaN for an infinite one
        let more = m2[i] + (own + d * d * (n * 1.0 / (n + 1.0)));
        let grown = if count[i] > 0 { more } else { own };
        m2[i] = if keep { grown } else { m2[i] };
        sum[i] += if keep { x } else { 0.0 };
        count[i] += u64::from(keep);
    }
}
