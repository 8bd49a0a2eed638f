//! Labels of a dimension: read, none missing, no two equal, in order where they are those of an axis.

use super::cf::bad_units;
use super::{Found, Problem};
use crate::error::{OpenError, in_full};
use crate::open::{OpenCube, is_small};
use chunkwise_core::crs::find_georeference;
use chunkwise_core::cube::{Labels, Role, Variable};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

/// Problems of one kind that are told of each variable.
const TOLD: usize = 10;

/// Chunks that cannot be read, by variable.
pub(super) type Broken = HashMap<String, Vec<Vec<u64>>>;

/// The labels of a variable, and which of them can be read.
fn readable(cube: &OpenCube, variable: &Variable, broken: &Broken) -> Result<(Labels, Vec<(u64, u64)>), OpenError> {
    let broken = broken.get(&variable.name).map_or(&[][..], Vec::as_slice);
    let labels = cube.labels_without(variable, broken)?;
    let sizes = variable.chunks.first();
    // First label and first behind of each chunk that is left out.
    let gap = |chunk: &Vec<u64>| {
        let (sizes, &at) = (sizes?, chunk.first()?);
        let start = (0..at).map(|c| sizes.length(c)).sum::<u64>();
        Some((start, start + sizes.length(at)))
    };
    Ok((labels, broken.iter().filter_map(gap).collect()))
}

/// Checks the labels of a variable that is the coordinate of its dimension; those in chunks that cannot be read are left out.
pub(super) fn check(cube: &OpenCube, variable: &Variable, broken: &Broken, found: &Found) {
    if variable.role != Role::Dimension || variable.dims.len() != 1 {
        return;
    }
    if !is_small(variable) {
        let problem = "its labels are too many to be read whole: jobs refuse them".to_owned();
        return found.of(&variable.name, problem);
    }
    let (labels, gaps) = match readable(cube, variable, broken) {
        Ok(found) => found,
        // Told with the attributes.
        Err(_) if bad_units(variable).is_some() => return,
        // Told with the chunks.
        Err(OpenError::Chunk { .. }) if broken.contains_key(&variable.name) => return,
        Err(error) => return found.of(&variable.name, in_full(&error)),
    };
    let is_axis = ["axis", "units", "standard_name"].iter().any(|key| variable.attrs.contains_key(*key));
    let mut told = Told { variable, found, unread: gaps, gaps: 0, order: 0 };
    match &labels {
        Labels::Index(_) => {}
        Labels::Text(texts) => told.distinct(texts.iter().map(Some)),
        Labels::Time(times) => told.ordered(times.nanos.iter().map(|&n| (n != i128::MIN).then_some(n))),
        Labels::Number(numbers) => told.ordered(numbers.iter().map(|&n| (!n.is_nan()).then_some(n))),
        Labels::Integer(numbers) if is_axis => told.ordered(numbers.iter().map(|&n| Some(n))),
        // Without units they may be names, such as numbers of bands or stations.
        Labels::Integer(numbers) => told.distinct(numbers.iter().map(Some)),
    }
}

/// Checks that the transform of a grid mapping puts cells where the labels of the axes do, once for each mapping and axes.
pub(super) fn transform(
    cube: &OpenCube,
    variable: &Variable,
    placed: &mut HashSet<(Option<String>, String, String)>,
    broken: &Broken,
    found: &Found,
) {
    let georeference = find_georeference(&cube.cube, variable);
    let (Some(transform), Some(dims)) = (georeference.transform, georeference.dims) else { return };
    let of = (georeference.grid_mapping, dims.x, dims.y);
    if variable.role != Role::Data || transform.is_rotated() || !placed.insert(of.clone()) {
        return;
    }
    let (mapping, x, y) = of;
    for (dim, start, step) in [(x, transform.origin_x, transform.a), (y, transform.origin_y, transform.e)] {
        let coordinate = cube.cube.coordinate(&dim).filter(|c| is_small(c) && c.dtype.number().is_some());
        // Labels that cannot be read are told of with their own variable.
        let Some((labels, unread)) = coordinate.and_then(|c| readable(cube, c, broken).ok()) else { continue };
        let numbers: Vec<f64> = match labels {
            Labels::Number(numbers) => numbers,
            Labels::Integer(numbers) => numbers.iter().map(|&n| n as f64).collect(),
            _ => continue,
        };
        let can_be_read = |at: &usize| !unread.iter().any(|&(start, end)| (start..end).contains(&(*at as u64)));
        let mut ends = (0..numbers.len()).filter(can_be_read);
        let ends = [ends.next(), ends.next_back()];
        for at in ends.into_iter().flatten() {
            let Some(&label) = numbers.get(at) else { continue };
            let centre = start + (at as f64 + 0.5) * step;
            // As far as labels in 32 bits are exact.
            if (label - centre).abs() > step.abs() * 0.01 + label.abs() * 1e-6 {
                let whose = mapping.as_deref().map_or_else(String::new, |name| format!(" of `{name}`"));
                let problem = format!(
                    "the transform{whose} puts the centre of cell {at} along `{dim}` at {centre}, its label is {label}"
                );
                found.of(&variable.name, problem);
                break;
            }
        }
    }
}

struct Told<'a> {
    variable: &'a Variable,
    found: &'a Found,
    /// Labels that cannot be read: first, and first behind.
    unread: Vec<(u64, u64)>,
    gaps: usize,
    order: usize,
}

impl Told<'_> {
    fn tell(&self, at: usize, problem: String) {
        let (variable, chunk) = (self.variable.name.clone(), Some(vec![at as u64]));
        self.found.add(Problem { variable, chunk, key: None, problem });
    }

    fn is_unread(&self, at: usize) -> bool {
        self.unread.iter().any(|&(start, end)| (start..end).contains(&(at as u64)))
    }

    fn missing(&mut self, at: usize) {
        self.gaps += 1;
        if self.gaps <= TOLD {
            self.tell(at, format!("label {at} is missing"));
        }
    }

    fn wrong(&mut self, at: usize, problem: String) {
        self.order += 1;
        if self.order <= TOLD {
            self.tell(at, problem);
        }
    }

    /// Strictly up or strictly down, as the first two that differ say.
    fn ordered<T: PartialOrd + Copy>(&mut self, labels: impl Iterator<Item = Option<T>>) {
        let (mut last, mut up): (Option<(usize, T)>, Option<bool>) = (None, None);
        for (at, label) in labels.enumerate() {
            if self.is_unread(at) {
                continue;
            }
            let Some(label) = label else {
                self.missing(at);
                continue;
            };
            if let Some((before, value)) = last {
                if label == value {
                    self.wrong(at, format!("label {at} is the same as label {before}"));
                } else if *up.get_or_insert(label > value) != (label > value) {
                    self.wrong(at, format!("labels are not in order: label {at} turns back behind label {before}"));
                }
            }
            last = Some((at, label));
        }
    }

    fn distinct<'a, T: Hash + Eq + Display + 'a>(&mut self, labels: impl Iterator<Item = Option<&'a T>>) {
        let mut seen = HashSet::new();
        for (at, label) in labels.enumerate() {
            if !self.is_unread(at)
                && let Some(label) = label
                && !seen.insert(label)
            {
                self.wrong(at, format!("label {at} (`{label}`) occurs before"));
            }
        }
    }
}
