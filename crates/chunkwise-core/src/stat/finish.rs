//! From states to the values of a statistic.

use super::Statistic;
use super::ordered::Pick;
use super::state::{Columns, State, StateKind};
use super::sums::SumsKind;
use crate::cube::Packing;
use crate::dtype::{DType, Element, ForElement};
use crate::values::{Column, Values};
use thiserror::Error;

/// How a statistic is finished.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Packing of the stored values that were folded.
    pub packing: Packing,
    /// Variances divide by n − ddof.
    pub ddof: u64,
    /// Least number of valid cells for which a sum is not missing.
    pub min_count: u64,
}

/// A value that cannot be given.
#[derive(Debug, Error, PartialEq)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FinishError {
    #[error("a sum of integers does not fit 64 bits: it is {sum}")]
    Overflow { sum: i128 },
}

impl Statistic {
    /// The state of stored values, packed so, that this statistic is finished from.
    pub fn state(self, packing: Packing) -> StateKind {
        match self {
            Statistic::Count | Statistic::Missing => StateKind::Sums(SumsKind::Count),
            Statistic::Mean | Statistic::Sum => StateKind::Sums(SumsKind::Sum),
            Statistic::Std | Statistic::Var => StateKind::Sums(SumsKind::Squares),
            Statistic::Min | Statistic::Max => StateKind::Extremes,
            Statistic::Value | Statistic::First => StateKind::Picked(Pick::First),
            Statistic::Last => StateKind::Picked(Pick::Last),
            Statistic::ArgMin => StateKind::Picked(extreme(Side::Least, packing)),
            Statistic::ArgMax => StateKind::Picked(extreme(Side::Greatest, packing)),
            Statistic::Median => StateKind::Series,
        }
    }
}

/// An end of the order of decoded values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Least,
    Greatest,
}

/// Which stored value decodes to an end of the order: a negative scale turns the order round, none makes all equal.
fn extreme(side: Side, packing: Packing) -> Pick {
    match (side == Side::Least, packing.scale) {
        (_, 0.0) => Pick::First,
        (least, scale) if least == (scale > 0.0) => Pick::Least,
        _ => Pick::Greatest,
    }
}

/// The fewest states that serve all of `statistics` of stored values, and which of them serves each.
///
/// Sums of 64-bit integers are exact; their squares are about the mean, in floats, and keep a state of their own.
pub fn states_for(statistics: &[Statistic], element: DType, packing: Packing) -> (Vec<StateKind>, Vec<usize>) {
    let apart = !element.is_float() && element.size() == 8;
    let mut kinds: Vec<StateKind> = Vec::new();
    let mut of = Vec::new();
    for s in statistics {
        let kind = s.state(packing);
        let same = |k: &StateKind| match (k, kind) {
            (StateKind::Sums(a), StateKind::Sums(b)) => !apart || (*a == SumsKind::Squares) == (b == SumsKind::Squares),
            (a, b) => *a == b,
        };
        match kinds.iter().position(same) {
            Some(i) => {
                if let (StateKind::Sums(have), StateKind::Sums(want)) = (kinds[i], kind) {
                    let rank = |k| match k {
                        SumsKind::Count => 0,
                        SumsKind::Sum => 1,
                        SumsKind::Squares => 2,
                    };
                    if rank(want) > rank(have) {
                        kinds[i] = kind;
                    }
                }
                of.push(i);
            }
            None => {
                kinds.push(kind);
                of.push(kinds.len() - 1);
            }
        }
    }
    (kinds, of)
}

/// The values of `statistic`, decoded; value-preserving statistics stay in the stored type.
///
/// `total(cell)` is how many cells, valid or not, fold into an output cell.
///
/// # Errors
/// A sum of unpacked integers beyond 64 bits.
pub fn finish(
    statistic: Statistic,
    state: &State,
    how: Finish,
    total: &dyn Fn(usize) -> u64,
) -> Result<Column, FinishError> {
    struct Work<'a>(Statistic, &'a State, Finish, &'a dyn Fn(usize) -> u64);
    impl ForElement for Work<'_> {
        type Output = Result<Column, FinishError>;
        fn run<T: Element>(self) -> Self::Output {
            typed::<T>(self.0, self.1, self.2, self.3)
        }
    }
    state.element.dispatch(Work(statistic, state, how, total))
}

fn typed<T: Element>(
    statistic: Statistic,
    state: &State,
    how: Finish,
    total: &dyn Fn(usize) -> u64,
) -> Result<Column, FinishError> {
    let Packing { scale, offset } = how.packing;
    let some = |valid: Vec<u8>| if valid.iter().all(|&v| v != 0) { None } else { Some(valid) };
    Ok(match &state.columns {
        Columns::Sums(s) => {
            let count = s.counts();
            let cells = count.len();
            match statistic {
                Statistic::Count => Column { values: Values::UInt64(count), valid: None },
                Statistic::Missing => {
                    Column { values: Values::UInt64((0..cells).map(|i| total(i) - count[i]).collect()), valid: None }
                }
                Statistic::Sum if !T::IS_FLOAT && how.packing.is_none() && s.is_exact() => {
                    let valid = count.iter().map(|&n| u8::from(n >= how.min_count)).collect();
                    integer_sums::<T>(cells, |i| s.integer_sum(i).unwrap_or(0), some(valid))?
                }
                Statistic::Sum => {
                    let of = |(sum, &n)| packed_sum(sum, n, scale, offset);
                    let values = s.sums().into_iter().zip(&count).map(of).collect();
                    let valid = count.iter().map(|&n| u8::from(n >= how.min_count)).collect();
                    Column { values: Values::Float64(values), valid: some(valid) }
                }
                Statistic::Mean => {
                    let of = |(sum, &n): (f64, &u64)| decoded(sum / n as f64, scale, offset);
                    let values = s.sums().into_iter().zip(&count).map(of).collect();
                    let valid = count.iter().map(|&n| u8::from(n > 0)).collect();
                    Column { values: Values::Float64(values), valid: some(valid) }
                }
                _ => {
                    let var = |i: usize| s.centred_squares(i) / (count[i].saturating_sub(how.ddof)) as f64;
                    let values = (0..cells)
                        .map(|i| match statistic {
                            Statistic::Std => var(i).sqrt() * scale.abs(),
                            _ => var(i) * (scale * scale),
                        })
                        .collect();
                    let valid = count.iter().map(|&n| u8::from(n > how.ddof)).collect();
                    Column { values: Values::Float64(values), valid: some(valid) }
                }
            }
        }
        Columns::Extremes(e) => Column {
            values: match extreme(if statistic == Statistic::Min { Side::Least } else { Side::Greatest }, how.packing) {
                Pick::Greatest => e.max.clone(),
                _ => e.min.clone(),
            },
            valid: some(e.seen.clone()),
        },
        Columns::Picked(p) => {
            let valid: Vec<u8> = p.at.iter().map(|&a| u8::from(a >= 0)).collect();
            match statistic {
                Statistic::ArgMin | Statistic::ArgMax => {
                    Column { values: Values::Int64(p.at.clone()), valid: some(valid) }
                }
                _ => Column { values: p.value.clone(), valid: some(valid) },
            }
        }
        Columns::Series(s) => {
            let (values, valid) = s.median::<T>(|v| decoded(v, scale, offset));
            Column { values: Values::Float64(values), valid: some(valid) }
        }
    })
}

/// `stored * scale + offset`, and `stored` itself where nothing is packed.
fn decoded(stored: f64, scale: f64, offset: f64) -> f64 {
    if scale == 1.0 && offset == 0.0 { stored } else { stored * scale + offset }
}

fn packed_sum(sum: f64, count: u64, scale: f64, offset: f64) -> f64 {
    if scale == 1.0 && offset == 0.0 { sum } else { sum * scale + offset * count as f64 }
}

fn integer_sums<T: Element>(
    cells: usize,
    sum: impl Fn(usize) -> i128,
    valid: Option<Vec<u8>>,
) -> Result<Column, FinishError> {
    let values = match T::DTYPE.is_signed_int() {
        true => Values::Int64(
            (0..cells)
                .map(|i| i64::try_from(sum(i)).map_err(|_| FinishError::Overflow { sum: sum(i) }))
                .collect::<Result<_, _>>()?,
        ),
        false => Values::UInt64(
            (0..cells)
                .map(|i| u64::try_from(sum(i)).map_err(|_| FinishError::Overflow { sum: sum(i) }))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Column { values, valid })
}

/// The type in which [`finish`] gives the values of a statistic of stored type `element`.
pub fn finished_type(statistic: Statistic, element: DType, packing: Packing) -> DType {
    match statistic {
        Statistic::Count | Statistic::Missing => DType::UInt64,
        Statistic::ArgMin | Statistic::ArgMax => DType::Int64,
        Statistic::Min | Statistic::Max | Statistic::First | Statistic::Last | Statistic::Value => element,
        Statistic::Sum if !element.is_float() && packing.is_none() => match element.is_signed_int() {
            true => DType::Int64,
            false => DType::UInt64,
        },
        _ => DType::Float64,
    }
}
