//! Kernels of counts, sums and squares, over the runs of a leaf.

use super::super::map::{CellMap, Run, RunKind};
use super::super::{Leaf, fast};
use crate::dtype::Element;

/// Number of lanes in which a run into one cell is folded.
const LANES: usize = 8;

#[inline(always)]
pub(super) fn part<'a, T>(leaf: Leaf<'a, T>, r: Run) -> (&'a [T], Option<&'a [u8]>) {
    (&leaf.values[r.offset..r.offset + r.len], leaf.mask.map(|m| &m[r.offset..r.offset + r.len]))
}

#[inline(always)]
pub(super) fn is_valid<T: Element>(values: &[T], mask: Option<&[u8]>, i: usize) -> bool {
    mask.is_none_or(|m| m[i] != 0) && !(T::IS_FLOAT && values[i].is_nan())
}

pub(super) trait Bits: Copy {
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
bits!(i32, i64, i128, u64, u128);

#[inline(always)]
pub(super) fn count_runs<T: Element>(count: &mut [u64], leaf: Leaf<'_, T>, map: &CellMap) {
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
pub(super) fn sum_runs<T: Element, A: Bits>(acc: &mut [A], leaf: Leaf<'_, T>, map: &CellMap) {
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
                        |v| v.to_i128() as u32,
                        #[inline(always)]
                        |v| A::of(v),
                    ))
                }
            }
        },
    );
}

#[inline(always)]
pub(super) fn square_runs<T: Element, A: Bits>(acc: &mut [A], leaf: Leaf<'_, T>, map: &CellMap) {
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
pub(super) fn lanes<T: Element>(values: &[T], mask: Option<&[u8]>, f: impl Fn(f64) -> f64) -> (u64, f64) {
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
pub(super) fn single_sum<T: Element>(count: &mut [u64], sum: &mut [f64], values: &[T], mask: Option<&[u8]>) {
    for i in 0..values.len().min(count.len()) {
        let keep = is_valid(values, mask, i);
        count[i] += u64::from(keep);
        sum[i] += if keep { values[i].to_f64() } else { 0.0 };
    }
}

/// As [`single_sum`] where nothing is missing, and counts are kept elsewhere.
#[inline(always)]
pub(super) fn whole_sum<T: Element>(sum: &mut [f64], values: &[T]) {
    for (sum, x) in sum.iter_mut().zip(values) {
        *sum += x.to_f64();
    }
}

/// One value more for each cell, of which `all` + `count` have been folded.
#[inline(always)]
pub(super) fn single_squares<T: Element>(
    count: &mut [u64],
    all: u64,
    sum: &mut [f64],
    m2: &mut [f64],
    values: &[T],
    mask: Option<&[u8]>,
) {
    for i in 0..values.len().min(count.len()) {
        let keep = is_valid(values, mask, i);
        let x = values[i].to_f64();
        let grown = squares_with(count[i] + all, sum[i], m2[i], x);
        m2[i] = if keep { grown } else { m2[i] };
        sum[i] += if keep { x } else { 0.0 };
        count[i] += u64::from(keep);
    }
}

/// As [`single_squares`] where nothing is missing, and counts are kept elsewhere.
#[inline(always)]
pub(super) fn whole_squares<T: Element>(count: &[u64], all: u64, sum: &mut [f64], m2: &mut [f64], values: &[T]) {
    for i in 0..values.len().min(count.len()) {
        let x = values[i].to_f64();
        m2[i] = squares_with(count[i] + all, sum[i], m2[i], x);
        sum[i] += x;
    }
}

/// Σ (x − mean)² of `count` values and one more.
#[inline(always)]
fn squares_with(count: u64, sum: f64, m2: f64, x: f64) -> f64 {
    let n = count as f64;
    let d = x - sum / n;
    let own = x * 0.0 * (x * 0.0); // (x − mean)² of one value: 0, or NaN for an infinite one
    let more = m2 + (own + d * d * (n * 1.0 / (n + 1.0)));
    if count > 0 { more } else { own }
}

/// Whether any value is NaN, found in lanes as wide as the values.
pub(super) fn any_nan<T: Element>(values: &[T]) -> bool {
    fast(
        #[inline(always)]
        || {
            values.chunks(4096).any(|part| match size_of::<T>() {
                8 => part.iter().fold(0u64, |found, v| found | u64::from(v.is_nan())) != 0,
                4 => part.iter().fold(0u32, |found, v| found | u32::from(v.is_nan())) != 0,
                _ => part.iter().fold(0u16, |found, v| found | u16::from(v.is_nan())) != 0,
            })
        },
    )
}
