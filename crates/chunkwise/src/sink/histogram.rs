//! Least and greatest of all values, and how many lie in each bin.

use crate::error::BoxError;
use crate::exec::Sink;
use chunkwise_core::cube::Packing;
use chunkwise_core::values::Column;
use std::sync::{Mutex, PoisonError};

/// Bins of equal width, each with its lower edge and without its upper one; the last has both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binning {
    low: f64,
    high: f64,
    bins: usize,
}

impl Binning {
    /// Bins over an extent; of whole numbers, each bin holds as many of them as any other, and there may be fewer bins.
    pub fn new((low, high): (f64, f64), bins: usize, whole: bool) -> Binning {
        let bins = bins.max(1);
        if whole && (high - low).is_finite() && high - low < 9e15 {
            let each = ((high - low + 1.0) / bins as f64).ceil().max(1.0);
            let count = ((high - low + 1.0) / each).ceil().max(1.0);
            return Binning { low: low - 0.5, high: low - 0.5 + each * count, bins: count as usize };
        }
        match high > low {
            true => Binning { low, high, bins },
            // One value has a bin about it.
            false => Binning { low: low - 0.5, high: high + 0.5, bins },
        }
    }

    /// The edges of the bins.
    pub fn edges(&self) -> Vec<f64> {
        (0..=self.bins).map(|i| self.edge(i)).collect()
    }

    fn edge(&self, i: usize) -> f64 {
        let width = (self.high - self.low) / self.bins as f64;
        match i {
            i if i == self.bins => self.high,
            i if width.is_finite() => self.low + i as f64 * width,
            // The difference is too large for a number.
            i => self.low * (1.0 - i as f64 / self.bins as f64) + self.high * (i as f64 / self.bins as f64),
        }
    }

    fn bin(&self, value: f64) -> Option<usize> {
        if !(self.low..=self.high).contains(&value) {
            return None;
        }
        // Halves, as the difference may be too large for a number.
        let t = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        let near = ((t * self.bins as f64) as usize).min(self.bins - 1);
        // Rounding may have put it beside its bin.
        Some(match near {
            n if value < self.edge(n) => n.saturating_sub(1),
            n if n + 1 < self.bins && value >= self.edge(n + 1) => n + 1,
            n => n,
        })
    }
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Values of each bin.
    pub counts: Vec<u64>,
    /// Values within the bins.
    pub inside: u64,
    /// Values below, above, and infinite ones.
    pub outside: u64,
    /// Missing cells.
    pub missing: u64,
}

fn numbers(column: &Column, packing: Packing) -> impl Iterator<Item = f64> + '_ {
    (0..column.values.len()).map(move |i| match column.is_valid(i) {
        false => f64::NAN,
        true if packing.is_none() => column.values.f64_at(i),
        true => column.values.f64_at(i) * packing.scale + packing.offset,
    })
}

/// Finds the least and the greatest finite value.
#[derive(Debug)]
pub struct ExtentSink {
    packing: Packing,
    found: Mutex<Option<(f64, f64)>>,
}

impl ExtentSink {
    /// Of values that are packed in this way.
    pub fn new(packing: Packing) -> ExtentSink {
        ExtentSink { packing, found: Mutex::new(None) }
    }

    /// What it found; `None` where there is no finite value.
    pub fn into_extent(self) -> Option<(f64, f64)> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for ExtentSink {
    fn put(&self, _: usize, _: usize, _: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let finite = numbers(&column, self.packing).filter(|v| v.is_finite());
        let wider = |e: Option<(f64, f64)>, v: f64| Some(e.map_or((v, v), |(a, b)| (a.min(v), b.max(v))));
        if let Some((a, b)) = finite.fold(None, wider) {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            *found = wider(wider(*found, a), b);
        }
        Ok(())
    }
}

/// Counts values by bin.
#[derive(Debug)]
pub struct HistogramSink {
    packing: Packing,
    binning: Binning,
    found: Mutex<Counted>,
}

impl HistogramSink {
    /// Of values that are packed in this way.
    pub fn new(packing: Packing, binning: Binning) -> HistogramSink {
        let counts = vec![0; binning.bins];
        HistogramSink { packing, binning, found: Mutex::new(Counted { counts, ..Counted::default() }) }
    }

    /// What it counted.
    pub fn into_counted(self) -> Counted {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for HistogramSink {
    fn put(&self, _: usize, _: usize, _: &[(u64, u64)], column: Column) -> Result<(), BoxError> {
        let mut own = Counted { counts: vec![0; self.binning.bins], ..Counted::default() };
        for value in numbers(&column, self.packing) {
            match self.binning.bin(value) {
                _ if value.is_nan() => own.missing += 1,
                Some(bin) => {
                    own.counts[bin] += 1;
                    own.inside += 1;
                }
                None => own.outside += 1,
            }
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.counts.iter_mut().zip(&own.counts).for_each(|(a, b)| *a += b);
        found.inside += own.inside;
        found.outside += own.outside;
        found.missing += own.missing;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bin_has_both_its_edges() {
        // np.histogram([0, 1, 2, 3, 4], bins=2) = [2, 3]
        let b = Binning::new((0.0, 4.0), 2, false);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(|v| b.bin(v)), [Some(0), Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!((b.bin(-0.1), b.bin(4.1), b.bin(f64::INFINITY)), (None, None, None));
        assert_eq!(b.edges(), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn whole_numbers_lie_in_the_middle_of_their_bins() {
        assert_eq!(Binning::new((0.0, 3.0), 50, true).edges(), [-0.5, 0.5, 1.5, 2.5, 3.5]);
        // 101 values in at most 50 bins: 3 each.
        let b = Binning::new((0.0, 100.0), 50, true);
        assert_eq!((b.bins, b.high), (34, 101.5));
    }

    #[test]
    fn extents_too_wide_for_a_number_have_bins() {
        let b = Binning::new((-f64::MAX, f64::MAX), 2, false);
        assert_eq!((b.bin(-1e308), b.bin(1e308)), (Some(0), Some(1)));
        assert_eq!(b.edges(), [-f64::MAX, 0.0, f64::MAX]);
        assert_eq!(Binning::new((2.0, 2.0), 2, false).bin(2.0), Some(1));
    }
}
