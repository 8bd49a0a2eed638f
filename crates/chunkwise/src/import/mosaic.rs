//! Several scenes of one time: which value a cell has.

use super::align::{Patch, rounded};
use chunkwise_core::dtype::{Element, Scalar};
use serde::Serialize;

/// Which value counts where several scenes of one time have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mosaic {
    /// That of the first, in the order of names.
    First,
    /// That of the last.
    Last,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean.
    Mean,
    /// The median; of an even number the mean of the middle two.
    Median,
}

impl Mosaic {
    /// By name.
    pub fn from_name(name: &str) -> Option<Mosaic> {
        Some(match name {
            "first" => Mosaic::First,
            "last" => Mosaic::Last,
            "min" => Mosaic::Min,
            "max" => Mosaic::Max,
            "mean" => Mosaic::Mean,
            "median" => Mosaic::Median,
            _ => return None,
        })
    }

    /// Bytes for each cell beside its value, where up to `scenes` lie on each other.
    pub(super) fn cell_bytes(rule: Option<Mosaic>, scenes: u64, size: u64) -> u64 {
        match rule {
            None => 4,
            Some(Mosaic::Mean) => 8 + 4,
            Some(Mosaic::Median) => scenes * (size + 1) + 16,
            Some(_) => 4,
        }
    }
}

/// A mosaic in work.
#[derive(Debug)]
pub(super) struct Pile<T> {
    rule: Option<Mosaic>,
    values: Vec<T>,
    /// Of each cell: one more than the number of the scene that it is of; of a mean, how many scenes.
    from: Vec<u32>,
    sums: Vec<f64>,
    scenes: Vec<Patch<T>>,
}

/// A second value where there is to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Second {
    pub(super) cell: usize,
    pub(super) before: u32,
}

impl<T: Element> Pile<T> {
    pub(super) fn new(rule: Option<Mosaic>, cells: usize) -> Pile<T> {
        let sums = if rule == Some(Mosaic::Mean) { vec![0.0; cells] } else { Vec::new() };
        Pile { rule, values: vec![T::default(); cells], from: vec![0; cells], sums, scenes: Vec::new() }
    }

    /// Lays a scene on the others.
    pub(super) fn add(&mut self, scene: u32, patch: Patch<T>) -> Result<(), Second> {
        if self.rule == Some(Mosaic::Median) {
            self.scenes.push(patch);
            return Ok(());
        }
        let cells = patch.values.iter().zip(&patch.valid).enumerate().filter(|(_, (_, valid))| **valid);
        for (cell, (value, _)) in cells {
            let from = &mut self.from[cell];
            let had = *from > 0;
            let takes = match self.rule {
                None if had => return Err(Second { cell, before: *from - 1 }),
                Some(Mosaic::Mean) => {
                    self.sums[cell] += value.to_f64();
                    *from += 1;
                    self.values[cell] = *value;
                    continue;
                }
                None | Some(Mosaic::First) => !had,
                Some(Mosaic::Last) => true,
                Some(Mosaic::Min) => !had || *value < self.values[cell],
                Some(Mosaic::Max) => !had || *value > self.values[cell],
                Some(Mosaic::Median) => false,
            };
            if takes {
                self.values[cell] = *value;
            }
            *from = scene + 1;
        }
        Ok(())
    }

    /// Puts the values into `out`, where there are any.
    pub(super) fn finish(mut self, mark: Option<Scalar>, out: &mut [T]) {
        let mark: Option<T> = mark.and_then(|m| m.to_element());
        if self.rule == Some(Mosaic::Median) {
            let mut column = Vec::with_capacity(self.scenes.len());
            for (cell, target) in out.iter_mut().enumerate() {
                column.clear();
                column.extend(self.scenes.iter().filter(|s| s.valid[cell]).map(|s| s.values[cell]));
                if column.is_empty() {
                    continue;
                }
                column.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
                let half = column.len() / 2;
                *target = match column.len() % 2 {
                    1 => column[half],
                    _ if column[half - 1] == column[half] => column[half],
                    _ => rounded(column[half - 1].to_f64() / 2.0 + column[half].to_f64() / 2.0, mark),
                };
            }
            return;
        }
        if self.rule == Some(Mosaic::Mean) {
            // One value is kept bit for bit.
            for ((value, sum), n) in self.values.iter_mut().zip(&self.sums).zip(&self.from).filter(|(_, n)| **n > 1) {
                *value = rounded(sum / f64::from(*n), mark);
            }
        }
        let cells = self.values.iter().zip(&self.from).zip(out);
        cells.filter(|((_, from), _)| **from > 0).for_each(|((value, _), target)| *target = *value);
    }
}
