//! Statistics of the cells of a zone, each weighted by the fraction of it that lies in the zone.
//!
//! Definitions are those of [exactextract](https://isciences.github.io/exactextract/operations.html): w is the covered
//! fraction of a valid cell, x its value; a cell of which nothing is covered does not count.
//!
//! | statistic | of the valid cells |
//! |---|---|
//! | `count` | how many (exactextract's `count` is `coverage`) |
//! | `coverage` | Σw |
//! | `missing` | how many of the touched cells are missing |
//! | `sum`, `mean` | Σwx, Σwx / Σw |
//! | `var`, `std` | Σw(x − mean)² / (Σw − ddof), and its root |
//! | `min`, `max` | least and greatest x |
//! | `median`, `q25` … | quantiles, see [`Weighting`] |
//! | `mode`, `minority` | the value with most and least coverage; of ties the greater, and the less |
//! | `variety` | number of different values |

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is computed of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table above says it")]
pub enum ZonalStatistic {
    Count,
    Coverage,
    Missing,
    Sum,
    Mean,
    Std,
    Var,
    Min,
    Max,
    Median,
    /// The value below which this share of the cells lies, 0 to 1.
    Quantile(f64),
    Mode,
    Minority,
    Variety,
}

/// A name that is no statistic of zones.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "no statistic `{name}` of zones; there are {}, and quantiles by percent: `q5`, `q97.5`",
    NAMES.map(|n| n.0).join(", ")
)]
pub struct NoStatistic {
    /// As asked for.
    pub name: String,
}

const NAMES: [(&str, ZonalStatistic); 13] = [
    ("count", ZonalStatistic::Count),
    ("coverage", ZonalStatistic::Coverage),
    ("missing", ZonalStatistic::Missing),
    ("sum", ZonalStatistic::Sum),
    ("mean", ZonalStatistic::Mean),
    ("std", ZonalStatistic::Std),
    ("var", ZonalStatistic::Var),
    ("min", ZonalStatistic::Min),
    ("max", ZonalStatistic::Max),
    ("median", ZonalStatistic::Median),
    ("mode", ZonalStatistic::Mode),
    ("minority", ZonalStatistic::Minority),
    ("variety", ZonalStatistic::Variety),
];

impl ZonalStatistic {
    /// The statistic of this name: `mean`, `q25`.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<ZonalStatistic, NoStatistic> {
        if let Some((_, found)) = NAMES.iter().find(|(n, _)| *n == name) {
            return Ok(*found);
        }
        let percent = name.strip_prefix('q').and_then(|p| p.parse::<f64>().ok());
        match percent.filter(|p| (0.0..=100.0).contains(p)) {
            Some(percent) => Ok(ZonalStatistic::Quantile(percent / 100.0)),
            None => Err(NoStatistic { name: name.to_owned() }),
        }
    }

    /// Whether the values of the cells must be kept for it.
    pub fn needs_values(self) -> bool {
        use ZonalStatistic::{Median, Minority, Mode, Quantile, Variety};
        matches!(self, Median | Quantile(_) | Mode | Minority | Variety)
    }

    /// Whether it is a number of cells.
    pub fn is_count(self) -> bool {
        matches!(self, ZonalStatistic::Count | ZonalStatistic::Missing | ZonalStatistic::Variety)
    }
}

/// How quantiles take cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weighting {
    /// Whole cells, as numpy: linear between the two nearest in order.
    Whole,
    /// By covered fractions, as exactextract: equal values are one of their summed weight; the i-th of n in order stands
    /// at i·wᵢ + (n − 1)·Σ_{j<i} wⱼ, and q at q·(n − 1)·Σw, between which it is linear.
    Fractions,
}

/// The cells of a zone, so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    count: u64,
    missing: u64,
    weight: f64,
    sum: f64,
    /// Σw(x − mean)².
    squares: f64,
    min: f64,
    max: f64,
    /// Values in order with the summed weight of their cells, where they are kept.
    values: Vec<(f64, f64)>,
}

impl Default for Tally {
    fn default() -> Tally {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Tally { count: 0, missing: 0, weight: 0.0, sum: 0.0, squares: 0.0, min, max, values: Vec::new() }
    }
}

impl Tally {
    /// Of cells in order, each a value (`NaN` where it is missing) and its fraction; values are kept where `keep` says so.
    pub fn of(cells: impl Iterator<Item = (f64, f64)> + Clone, keep: bool) -> Tally {
        let mut tally = Tally::default();
        for (x, w) in cells.clone() {
            if x.is_nan() {
                tally.missing += 1;
                continue;
            }
            tally.count += 1;
            tally.weight += w;
            tally.sum += w * x;
            tally.min = tally.min.min(x);
            tally.max = tally.max.max(x);
        }
        let mean = tally.sum / tally.weight;
        let valid = cells.filter(|(x, _)| !x.is_nan());
        for (x, w) in valid.clone() {
            tally.squares += w * (x - mean) * (x - mean);
        }
        if keep {
            // Zeros of either sign are equal.
            let mut values: Vec<(f64, f64)> = valid.map(|(x, w)| (x + 0.0, w)).collect();
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            values.dedup_by(|next, first| {
                let same = next.0 == first.0;
                first.1 += if same { next.1 } else { 0.0 };
                same
            });
            tally.values = values;
        }
        tally
    }

    /// Appends the cells that follow.
    pub fn merge(&mut self, next: &Tally) {
        if next.count > 0 && self.count > 0 {
            let apart = next.sum / next.weight - self.sum / self.weight;
            let between = apart * apart * (self.weight * next.weight / (self.weight + next.weight));
            self.squares += next.squares + between;
        } else if next.count > 0 {
            self.squares = next.squares;
        }
        self.count += next.count;
        self.missing += next.missing;
        self.weight += next.weight;
        self.sum += next.sum;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        if !next.values.is_empty() {
            self.values = in_order(&self.values, &next.values);
        }
    }

    /// The value of a statistic; `None`: it is missing.
    pub fn value(&self, statistic: ZonalStatistic, weighting: Weighting, ddof: f64, min_count: u64) -> Option<f64> {
        use ZonalStatistic as S;
        let any = self.count > 0;
        match statistic {
            S::Count => Some(self.count as f64),
            S::Missing => Some(self.missing as f64),
            S::Coverage => Some(self.weight),
            S::Variety => Some(self.values.len() as f64),
            S::Sum => (self.count >= min_count).then_some(self.sum),
            S::Mean => any.then(|| self.sum / self.weight),
            S::Var | S::Std => {
                let var = (any && self.weight > ddof).then(|| self.squares / (self.weight - ddof))?;
                Some(if statistic == S::Std { var.sqrt() } else { var })
            }
            S::Min => any.then_some(self.min),
            S::Max => any.then_some(self.max),
            S::Median => self.quantile(0.5, weighting),
            S::Quantile(q) => self.quantile(q, weighting),
            S::Mode => self.values.iter().copied().reduce(|a, b| if b.1 >= a.1 { b } else { a }).map(|v| v.0),
            S::Minority => self.values.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a }).map(|v| v.0),
        }
    }

    fn quantile(&self, q: f64, weighting: Weighting) -> Option<f64> {
        match weighting {
            Weighting::Whole => {
                let last = self.count.checked_sub(1)?;
                let at = q * last as f64;
                let low = self.nth(at.floor() as u64)?;
                let high = self.nth(at.ceil() as u64)?;
                Some(low + (high - low) * (at - at.floor()))
            }
            Weighting::Fractions => {
                let n = self.values.len();
                let asked = q * self.weight_of_values() * (n.checked_sub(1)? as f64);
                let (mut before, mut left) = (0.0, (0.0, self.values.first()?.0));
                for (i, &(x, w)) in self.values.iter().enumerate() {
                    let at = if i == 0 { 0.0 } else { i as f64 * w + (n - 1) as f64 * before };
                    if at > asked {
                        return Some(left.1 + (asked - left.0) * (x - left.1) / (at - left.0));
                    }
                    left = (at, x);
                    before += w;
                }
                Some(left.1)
            }
        }
    }

    fn weight_of_values(&self) -> f64 {
        self.values.iter().map(|v| v.1).sum()
    }

    /// The `n`-th value in order, of cells that weigh 1.
    fn nth(&self, n: u64) -> Option<f64> {
        let mut before = 0;
        self.values
            .iter()
            .find(|v| {
                before += v.1 as u64;
                before > n
            })
            .map(|v| v.0)
    }
}

/// Two lists of values as one, in order.
fn in_order(a: &[(f64, f64)], b: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x.0 == y.0 {
            all.push((x.0, x.1 + y.1));
            (i, j) = (i + 1, j + 1);
        } else if x.0 < y.0 {
            all.push(*x);
            i += 1;
        } else {
            all.push(*y);
            j += 1;
        }
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally(cells: &[(f64, f64)]) -> Tally {
        Tally::of(cells.iter().copied(), true)
    }

    fn value(tally: &Tally, name: &str, weighting: Weighting) -> Option<f64> {
        tally.value(ZonalStatistic::parse(name).unwrap(), weighting, 0.0, 1)
    }

    #[test]
    fn statistics_are_weighted_by_fractions() {
        // exactextract 0.2: values 1, 2, 3, 4 with coverage 0.25, 0.5, 1, 1 and a missing cell.
        let t = tally(&[(1.0, 0.25), (2.0, 0.5), (f64::NAN, 1.0), (3.0, 1.0), (4.0, 1.0)]);
        let is = |name: &str, expected: f64| {
            let found = value(&t, name, Weighting::Fractions).unwrap();
            assert!((found - expected).abs() < 1e-12, "{name}: {found}, not {expected}");
        };
        is("count", 4.0);
        is("coverage", 2.75);
        is("missing", 1.0);
        is("sum", 8.25);
        is("mean", 3.0);
        is("var", 2.5 / 2.75);
        is("min", 1.0);
        is("max", 4.0);
        is("variety", 4.0);
        is("mode", 4.0);
        is("minority", 1.0);
    }

    #[test]
    fn nothing_is_missing_and_counts_are_zero() {
        let t = tally(&[(f64::NAN, 0.5)]);
        for name in ["sum", "mean", "var", "std", "min", "max", "median", "q10", "mode", "minority"] {
            assert_eq!(value(&t, name, Weighting::Fractions), None, "{name}");
            assert_eq!(value(&t, name, Weighting::Whole), None, "{name}");
        }
        for (name, n) in [("count", 0.0), ("coverage", 0.0), ("variety", 0.0), ("missing", 1.0)] {
            assert_eq!(value(&t, name, Weighting::Whole), Some(n), "{name}");
        }
        assert_eq!(t.value(ZonalStatistic::Sum, Weighting::Whole, 0.0, 0), Some(0.0));
    }

    #[test]
    fn quantiles_of_whole_cells_are_those_of_numpy() {
        // numpy.quantile([1, 2, 2, 7, 10], [0, 0.1, 0.5, 0.9, 1])
        let t = tally(&[(7.0, 1.0), (2.0, 1.0), (1.0, 1.0), (10.0, 1.0), (2.0, 1.0)]);
        for (name, expected) in [("q0", 1.0), ("q10", 1.4), ("median", 2.0), ("q90", 8.8), ("q100", 10.0)] {
            let found = value(&t, name, Weighting::Whole).unwrap();
            assert!((found - expected).abs() < 1e-12, "{name}: {found}");
        }
    }

    #[test]
    fn names_that_are_no_statistic_are_refused() {
        for name in ["average", "q", "q101", "q-1", "qnan", "argmin", ""] {
            assert!(ZonalStatistic::parse(name).unwrap_err().to_string().contains("coverage"), "{name}");
        }
        assert_eq!(ZonalStatistic::parse("q97.5"), Ok(ZonalStatistic::Quantile(0.975)));
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            cells in prop::collection::vec((prop_oneof![Just(f64::NAN), (-5i32..5).prop_map(f64::from), -1e3..1e3f64], 0.01..1.0f64), 0..40),
            cut in 0usize..40,
        ) {
            let whole = tally(&cells);
            let (first, second) = cells.split_at(cut.min(cells.len()));
            let mut merged = tally(first);
            merged.merge(&tally(second));
            for name in ["count", "missing", "coverage", "sum", "mean", "var", "min", "max", "median", "q25", "variety"] {
                let (a, b) = (value(&merged, name, Weighting::Fractions), value(&whole, name, Weighting::Fractions));
                prop_assert_eq!(a.is_some(), b.is_some());
                if let (Some(a), Some(b)) = (a, b) {
                    prop_assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "{}: {} and {}", name, a, b);
                }
            }
        }
    }
}
