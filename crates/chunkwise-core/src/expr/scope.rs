//! The names that exist, and what a name in a formula means.

use super::error::{Fault, Listing, Problem, did_you_mean};
use super::parse::{Pick, PickLabel};
use super::program::Input;
use crate::cube::{Attrs, Labels, Variable};
use crate::dtype::DType;
use indexmap::IndexMap;
use std::ops::Range;

/// A variable that formulas may name.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeVariable {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<String>,
    /// Type of its decoded values, where known: `flag` reads unsigned data and signed attributes with it.
    pub dtype: Option<DType>,
    /// Its attributes: those of CF flags are read.
    pub attrs: Attrs,
}

impl From<&Variable> for ScopeVariable {
    fn from(variable: &Variable) -> ScopeVariable {
        ScopeVariable {
            name: variable.name.clone(),
            dims: variable.dims.clone(),
            dtype: variable.decoded_dtype(),
            attrs: variable.attrs.clone(),
        }
    }
}

/// The names that exist: variables, and the labels of their dimensions.
///
/// Each text label of a dimension (`B04` of `band`) is a name too: the variable at that label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Variables, data first.
    pub variables: Vec<ScopeVariable>,
    /// Labels of the dimensions.
    pub labels: IndexMap<String, Labels>,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    /// The result of an earlier formula, by its position.
    Formula(usize),
    /// A variable, perhaps at a label.
    Variable(usize, Option<(String, u64)>),
}

impl Scope {
    /// What `name` means: exactly (an earlier formula, a variable, a unique band label), else the only one that
    /// differs in case alone.
    pub(super) fn resolve(&self, name: &str, formulas: &[String], span: &Range<usize>) -> Result<Meaning, Fault> {
        if let Some(at) = formulas.iter().position(|formula| formula == name) {
            return Ok(Meaning::Formula(at));
        }
        if let Some(at) = self.variables.iter().position(|v| v.name == name) {
            return Ok(Meaning::Variable(at, None));
        }
        let mut found = self.labelled(|label| label == name);
        if found.is_empty() {
            let lower = name.to_lowercase();
            let same = |other: &str| other.to_lowercase() == lower;
            let by_name = |at: usize| (self.variables[at].name.clone(), Meaning::Variable(at, None));
            found = (0..formulas.len())
                .filter(|&at| same(&formulas[at]))
                .map(|at| (formulas[at].clone(), Meaning::Formula(at)))
                .chain((0..self.variables.len()).filter(|&at| same(&self.variables[at].name)).map(by_name))
                .collect();
            found.extend(self.labelled(same));
        }
        match found.len() {
            0 => Err(Fault::new(self.unknown(name, formulas), span)),
            1 => Ok(found.swap_remove(0).1),
            _ => {
                let means = Listing::new(found.into_iter().map(|(written, _)| written));
                Err(Fault::new(Problem::Ambiguous { name: name.to_owned(), means }, span))
            }
        }
    }

    /// All variables at a text label that fits, each as it would be written in full.
    fn labelled(&self, fits: impl Fn(&str) -> bool) -> Vec<(String, Meaning)> {
        let mut found = Vec::new();
        // Labels are looked through once per dimension, whatever the number of variables.
        for (dim, labels) in &self.labels {
            let Labels::Text(labels) = labels else {
                continue;
            };
            let hits: Vec<usize> = (0..labels.len()).filter(|&i| fits(&labels[i])).collect();
            if hits.is_empty() {
                continue;
            }
            // A variable along this dimension alone (wavelengths of bands) describes the labels: it is meant by them
            // only where nothing else has the dimension.
            let having = || self.variables.iter().enumerate().filter(|(_, v)| v.dims.contains(dim));
            let more = having().any(|(_, v)| v.dims.len() > 1);
            for (at, variable) in having().filter(|(_, v)| !more || v.dims.len() > 1) {
                for &index in &hits {
                    let written = format!("{}[{}=\"{}\"]", quoted(&variable.name), quoted(dim), labels[index]);
                    found.push((written, Meaning::Variable(at, Some((dim.clone(), index as u64)))));
                }
            }
        }
        found
    }

    fn unknown(&self, name: &str, formulas: &[String]) -> Problem {
        let text_labels = self.labels.iter().filter_map(|(dim, labels)| match labels {
            Labels::Text(text) if self.variables.iter().any(|v| v.dims.contains(dim)) => Some(text),
            _ => None,
        });
        let names = self.variables.iter().map(|v| v.name.as_str());
        let names = names.chain(text_labels.flatten().map(String::as_str)).chain(formulas.iter().map(String::as_str));
        let near = if is_date(name) { None } else { did_you_mean(name, names.clone()) };
        let hint = near.or_else(|| match name.to_lowercase().as_str() {
            "none" | "null" | "na" | "nan" => Some("write `missing`".to_owned()),
            "inf" | "infinity" => Some("write `inf`".to_owned()),
            _ if is_date(name) => {
                Some(format!("formulas do not compare times; select them, as in `--sel time={name}..`"))
            }
            _ if self.labels.contains_key(name) => Some(format!("`{name}` is a dimension: `variable[{name}=label]`")),
            _ => None,
        });
        Problem::UnknownName { name: name.to_owned(), hint, has: Listing::new(names) }
    }

    /// The cells of a variable that its name (`band`, from a label) and its picks say.
    pub(super) fn input(&self, variable: usize, band: Option<(String, u64)>, picks: &[Pick]) -> Result<Input, Fault> {
        let variable = &self.variables[variable];
        let mut picked: Vec<(String, u64)> = band.into_iter().collect();
        for pick in picks {
            if !variable.dims.contains(&pick.dim) {
                let problem = Problem::NoDim {
                    variable: variable.name.clone(),
                    asked: pick.dim.clone(),
                    has: Listing::new(&variable.dims),
                };
                return Err(Fault::new(problem, &pick.dim_span));
            }
            if picked.iter().any(|(dim, _)| *dim == pick.dim) {
                return Err(Fault::new(Problem::PickedTwice { dim: pick.dim.clone() }, &pick.dim_span));
            }
            picked.push((pick.dim.clone(), self.index(pick)?));
        }
        // In the order of the variable, so that the same cells are the same input however they are written.
        picked.sort_by_key(|(dim, _)| variable.dims.iter().position(|d| d == dim));
        Ok(Input { variable: variable.name.clone(), picks: picked })
    }

    /// Index of the one cell with the label.
    fn index(&self, pick: &Pick) -> Result<u64, Fault> {
        let fail = |problem| Err(Fault::new(problem, &pick.label_span));
        let none = Labels::Index(0);
        let labels = self.labels.get(&pick.dim).unwrap_or(&none);
        let asked = match &pick.label {
            PickLabel::Number { text, .. } | PickLabel::Text(text) => text.clone(),
        };
        let hits: Vec<u64> = match (labels, &pick.label) {
            (Labels::Time(_), _) => {
                return fail(Problem::TimeLabel { dim: pick.dim.clone() });
            }
            (Labels::Text(labels), _) => positions(labels, |label| *label == asked),
            (Labels::Index(n), PickLabel::Number { value, text }) => {
                integer(*value, text).and_then(|i| u64::try_from(i).ok()).filter(|i| i < n).into_iter().collect()
            }
            (Labels::Integer(labels), PickLabel::Number { value, text }) => {
                let asked = integer(*value, text);
                positions(labels, |label| Some(*label) == asked)
            }
            (Labels::Number(labels), PickLabel::Number { value, .. }) => positions(labels, |label| label == value),
            (_, PickLabel::Text(_)) => Vec::new(),
        };
        match hits[..] {
            [one] => Ok(one),
            [] => fail(Problem::NoLabel {
                dim: pick.dim.clone(),
                hint: near_label(labels, &pick.label),
                asked,
                has: listing(labels),
            }),
            _ => fail(Problem::RepeatedLabel { dim: pick.dim.clone(), asked, count: hits.len() }),
        }
    }
}

fn positions<T>(labels: &[T], fits: impl Fn(&T) -> bool) -> Vec<u64> {
    (0..labels.len()).filter(|&i| fits(&labels[i])).map(|i| i as u64).collect()
}

/// The integer that a label says: from its digits, which may be more than an `f64` holds.
fn integer(value: f64, text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
    digits.parse().ok().or(whole.then_some(value as i64))
}

fn near_label(labels: &Labels, asked: &PickLabel) -> Option<String> {
    let nearest = |numbers: &mut dyn Iterator<Item = f64>, value: f64| {
        let near = numbers.filter(|n| !n.is_nan()).min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()));
        near.map(|n| format!("labels are compared exactly; the nearest is `{n}`"))
    };
    match (labels, asked) {
        (Labels::Text(labels), PickLabel::Text(asked)) => did_you_mean(asked, labels.iter().map(String::as_str)),
        (Labels::Number(labels), PickLabel::Number { value, .. }) => nearest(&mut labels.iter().copied(), *value),
        (Labels::Integer(labels), PickLabel::Number { value, .. }) => {
            nearest(&mut labels.iter().map(|&n| n as f64), *value)
        }
        (Labels::Integer(_) | Labels::Number(_) | Labels::Index(_), PickLabel::Text(_)) => {
            Some("its labels are numbers: write them without quotes".to_owned())
        }
        _ => None,
    }
}

fn listing(labels: &Labels) -> Listing {
    match labels {
        Labels::Index(0) => Listing::new(Vec::<String>::new()),
        Labels::Index(n) => Listing::new([format!("0 … {}", n - 1)]),
        Labels::Integer(labels) => Listing::new(labels.iter().map(i64::to_string)),
        Labels::Number(labels) => Listing::new(labels.iter().map(f64::to_string)),
        Labels::Time(_) => Listing::new(["times"]),
        Labels::Text(labels) => Listing::new(labels),
    }
}

/// A name as it must be written in a formula.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match plain {
        true => name.to_owned(),
        false if name.contains('"') => format!("'{name}'"),
        false => format!("\"{name}\""),
    }
}

/// Whether text begins as a date does: `2000-03`, `2000-03-01T06:00`.
fn is_date(text: &str) -> bool {
    let digits =
        |part: Option<&str>, n| part.is_some_and(|p| p.len() >= n && p.bytes().take(n).all(|b| b.is_ascii_digit()));
    let mut parts = text.split('-');
    digits(parts.next().filter(|p| p.len() == 4), 4) && digits(parts.next(), 2)
}
