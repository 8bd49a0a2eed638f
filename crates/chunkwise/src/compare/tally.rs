//! Counting what differs.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::cube::Packing;
use chunkwise_core::dtype::{Element, ForElement};
use chunkwise_core::values::Column;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Two cells beside each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// The same value, or both missing.
    Same,
    /// One of them is missing.
    MissingInOne,
    /// Two values, and how far they are apart where they are numbers.
    Apart(Option<f64>),
}

/// A decoded number that is not missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    value: f64,
    /// The value, where it is an unpacked integer.
    exact: Option<i128>,
}

impl Number {
    pub(super) fn whole(value: i128) -> Number {
        Number { value: value as f64, exact: Some(value) }
    }

    /// `NaN` is missing.
    pub(super) fn float(value: f64) -> Option<Number> {
        (!value.is_nan()).then_some(Number { value, exact: None })
    }

    fn of(column: &Column, packing: Packing, at: usize) -> Option<Number> {
        if !column.is_valid(at) {
            return None;
        }
        match (packing.is_none(), column.values.dtype().is_float()) {
            (true, false) => Some(Number::whole(column.values.i128_at(at))),
            (true, true) => Number::float(column.values.f64_at(at)),
            (false, _) => Number::float(column.values.f64_at(at) * packing.scale + packing.offset),
        }
    }

    fn equals(self, other: Number) -> bool {
        // Beyond 2^53 an integer equals the nearest float only where it is that float.
        let same = |whole: i128, float: f64| whole as f64 == float && float as i128 == whole;
        match (self.exact, other.exact) {
            (Some(a), Some(b)) => a == b,
            (Some(a), None) => same(a, other.value),
            (None, Some(b)) => same(b, self.value),
            (None, None) => self.value == other.value,
        }
    }

    fn apart(self, other: Number) -> f64 {
        match (self.exact, other.exact) {
            (Some(a), Some(b)) => (a - b).unsigned_abs() as f64,
            _ => (self.value - other.value).abs(),
        }
    }
}

impl Cell {
    pub(super) fn of(a: Option<Number>, b: Option<Number>) -> Cell {
        match (a, b) {
            (None, None) => Cell::Same,
            (Some(a), Some(b)) if a.equals(b) => Cell::Same,
            (Some(a), Some(b)) => Cell::Apart(Some(a.apart(b))),
            _ => Cell::MissingInOne,
        }
    }
}

/// What differs in some cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) cells: u64,
    pub(super) different: u64,
    pub(super) missing_in_one: u64,
    pub(super) max_abs_diff: Option<f64>,
    /// Index of the first cell that differs, in C order.
    pub(super) first: Option<Vec<u64>>,
}

impl Tally {
    /// Of the cells of a box, in C order.
    pub(super) fn of(region: &[(u64, u64)], cell: impl Fn(usize) -> Cell) -> Tally {
        let cells: u64 = region.iter().map(|(a, b)| b - a).product();
        let mut tally = Tally { cells, ..Tally::default() };
        let mut first = None;
        for i in 0..cells as usize {
            let apart = match cell(i) {
                Cell::Same => continue,
                Cell::MissingInOne => {
                    tally.missing_in_one += 1;
                    None
                }
                Cell::Apart(by) => by,
            };
            tally.different += 1;
            first.get_or_insert(i as u64);
            tally.max_abs_diff = largest(tally.max_abs_diff, apart);
        }
        tally.first = first.map(|mut rest| {
            let mut at = vec![0; region.len()];
            for (at, (from, to)) in at.iter_mut().zip(region).rev() {
                *at = from + rest % (to - from);
                rest /= to - from;
            }
            at
        });
        tally
    }

    /// With what was found in other cells. The order does not matter.
    fn add(&mut self, other: Tally) {
        self.cells += other.cells;
        self.different += other.different;
        self.missing_in_one += other.missing_in_one;
        self.max_abs_diff = largest(self.max_abs_diff, other.max_abs_diff);
        self.first = match (self.first.take(), other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

fn largest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Takes the columns of both variables, box by box.
#[derive(Debug)]
pub(super) struct TallySink {
    packing: [Packing; 2],
    /// Columns of the first variable that wait for those of the second.
    waiting: Mutex<HashMap<Vec<(u64, u64)>, Column>>,
    tally: Mutex<Tally>,
}

impl TallySink {
    pub(super) fn new(a: Packing, b: Packing) -> TallySink {
        TallySink { packing: [a, b], waiting: Mutex::default(), tally: Mutex::default() }
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare(&self, region: &[(u64, u64)], a: &Column, b: &Column) -> Tally {
        let [first, second] = self.packing;
        let dtype = a.values.dtype();
        if dtype == b.values.dtype() && first == second {
            return dtype.dispatch(SameType { region, a, b, scale: first.scale.abs() });
        }
        Tally::of(region, |i| Cell::of(Number::of(a, first, i), Number::of(b, second, i)))
    }
}

impl Sink for TallySink {
    fn put(&self, folded: usize, _: usize, region: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if folded == 0 {
            waiting.insert(region.to_vec(), column);
            return Ok(());
        }
        // The engine finishes what is folded in order, so that the first is here.
        let Some(first) = waiting.remove(region) else { return Ok(()) };
        drop(waiting);
        let found = self.compare(region, &first, &column);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(found);
        Ok(())
    }
}

/// Columns of one type and packing: as stored, they differ where they differ decoded.
struct SameType<'a> {
    region: &'a [(u64, u64)],
    a: &'a Column,
    b: &'a Column,
    /// From stored to decoded differences.
    scale: f64,
}

impl ForElement for SameType<'_> {
    type Output = Tally;
    fn run<T: Element>(self) -> Tally {
        let (a, b) = (T::slice(&self.a.values), T::slice(&self.b.values));
        if self.a.valid == self.b.valid && self.a.values.bytes() == self.b.values.bytes() {
            return Tally::of(self.region, |_| Cell::Same);
        }
        Tally::of(self.region, |i| {
            let missing = |column: &Column, value: T| !column.is_valid(i) || value.is_nan();
            match (missing(self.a, a[i]), missing(self.b, b[i])) {
                (true, true) => Cell::Same,
                (false, false) if a[i] == b[i] => Cell::Same,
                (false, false) => {
                    let by = match T::IS_FLOAT {
                        true => (a[i].to_f64() - b[i].to_f64()).abs(),
                        false => (a[i].to_i128() - b[i].to_i128()).unsigned_abs() as f64,
                    };
                    Cell::Apart(Some(by * self.scale))
                }
                _ => Cell::MissingInOne,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkwise_core::values::Values;

    fn check(a: Values, b: Values, packing: [Packing; 2], expected: (u64, u64, Option<f64>)) {
        let sink = TallySink::new(packing[0], packing[1]);
        let region = [(2, 2 + a.len() as u64)];
        sink.put(0, 0, &region, Column { values: a, valid: None }).unwrap();
        sink.put(1, 0, &region, Column { values: b, valid: None }).unwrap();
        let found = sink.into_tally();
        assert_eq!((found.different, found.missing_in_one, found.max_abs_diff), expected);
    }

    const PLAIN: [Packing; 2] = [Packing::NONE; 2];

    #[test]
    fn missing_equals_missing_and_no_value() {
        let nan = f64::NAN;
        check(Values::Float64(vec![nan, nan, 1.0]), Values::Float64(vec![nan, 2.0, 1.0]), PLAIN, (1, 1, None));
        check(Values::Float32(vec![f32::NAN, 0.0]), Values::Float64(vec![nan, -0.0]), PLAIN, (0, 0, None));
    }

    #[test]
    fn integers_of_64_bits_are_exact() {
        let large = 1i64 << 53;
        check(Values::Int64(vec![large + 1]), Values::Int64(vec![large]), PLAIN, (1, 0, Some(1.0)));
        check(Values::Int64(vec![large + 1]), Values::UInt64(vec![large as u64 + 1]), PLAIN, (0, 0, None));
        check(Values::Int64(vec![large + 1]), Values::Float64(vec![large as f64]), PLAIN, (1, 0, Some(0.0)));
        check(Values::Int64(vec![i64::MIN]), Values::Int64(vec![i64::MAX]), PLAIN, (1, 0, Some(2f64.powi(64))));
    }

    #[test]
    fn packed_values_are_compared_decoded() {
        let tenths = Packing { scale: 0.5, offset: 1.0 };
        check(Values::Int16(vec![4, 6]), Values::Float32(vec![3.0, 4.5]), [tenths, Packing::NONE], (1, 0, Some(0.5)));
        check(Values::Int16(vec![4, 6]), Values::Int16(vec![4, 5]), [tenths; 2], (1, 0, Some(0.5)));
    }

    #[test]
    fn the_first_difference_is_the_first_in_c_order() {
        let one = |region: &[(u64, u64)]| Tally::of(region, |i| if i == 1 { Cell::Apart(None) } else { Cell::Same });
        let mut tally = one(&[(4, 6), (0, 2)]);
        tally.add(one(&[(2, 4), (6, 8)]));
        assert_eq!(tally.first, Some(vec![2, 7]));
        assert_eq!((tally.cells, tally.different), (8, 2));
    }
}
