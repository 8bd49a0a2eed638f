//! The order of files along a dimension, by their labels.

use super::{ImportError, Part};
use crate::import::error::Difference;
use crate::job::label_value;
use chunkwise_core::cf::time::NOT_A_TIME;
use chunkwise_core::cube::Labels;
use std::collections::HashSet;
use std::sync::Arc;

/// Sorts files by their labels and gives each its place; files without labels stay in the order in which they were given.
///
/// # Errors
/// A file without the dimension, with other kinds of labels, or whose labels are not in order; files that overlap.
pub(super) fn sort(parts: &mut Vec<Part>, along: &str) -> Result<(), ImportError> {
    let mut labelled = Vec::with_capacity(parts.len());
    for part in parts.drain(..) {
        let labels = part.cube.labels(along)?;
        labelled.push((part, labels));
    }
    let kinds = labelled.windows(2).find(|pair| kind(&pair[0].1) != kind(&pair[1].1));
    if let Some([(one, a), (other, b)]) = kinds {
        let (one, other) = (name(one), name(other));
        let (one_has, other_has) = (kind(a).to_owned(), kind(b).to_owned());
        return Err(ImportError::Differ(Box::new(Difference {
            what: "the labels",
            one,
            one_has,
            other,
            other_has,
            hint: String::new(),
        })));
    }
    match labelled.first().map(|(_, labels)| &**labels) {
        Some(Labels::Text(_)) => unique(&labelled, along)?,
        Some(Labels::Index(_)) | None => {}
        Some(_) => by_label(&mut labelled, along)?,
    }
    let mut at = 0;
    for (mut part, labels) in labelled {
        (part.at, part.len) = (at, labels.len());
        at += part.len;
        parts.push(part);
    }
    Ok(())
}

fn name(part: &Part) -> String {
    part.cube.cube.location.clone()
}

fn kind(labels: &Labels) -> &'static str {
    match labels {
        Labels::Index(_) => "none",
        Labels::Text(_) => "text",
        Labels::Time(_) => "times",
        Labels::Integer(_) | Labels::Number(_) => "numbers",
    }
}

type Labelled = (Part, Arc<Labels>);

fn unique(parts: &[Labelled], along: &str) -> Result<(), ImportError> {
    let mut seen = HashSet::new();
    for (part, labels) in parts {
        let Labels::Text(texts) = &**labels else { continue };
        if let Some(twice) = texts.iter().find(|text| !seen.insert(text.as_str())) {
            return Err(ImportError::unfit(&name(part), format!("has the label `{twice}` of `{along}` again"), ""));
        }
    }
    Ok(())
}

/// Numbers that lie as the labels do; `None` where one is missing.
pub(super) fn keys(labels: &Labels) -> Option<Vec<i128>> {
    // The bits of a float, in the order of floats.
    let float = |v: f64| {
        let bits = (v + 0.0).to_bits() as i64;
        (!v.is_nan()).then_some(i128::from(bits ^ ((bits >> 63) as u64 >> 1) as i64))
    };
    match labels {
        Labels::Time(axis) => axis.nanos.iter().map(|&n| (n != NOT_A_TIME).then_some(n)).collect(),
        // Beside floats they must lie as these do.
        Labels::Integer(values) => values.iter().map(|&v| float(v as f64)).collect(),
        Labels::Number(values) => values.iter().map(|&v| float(v)).collect(),
        Labels::Index(_) | Labels::Text(_) => Some(Vec::new()),
    }
}

fn by_label(parts: &mut Vec<Labelled>, along: &str) -> Result<(), ImportError> {
    let mut descends = None;
    let mut sorted = Vec::with_capacity(parts.len());
    for (part, labels) in parts.drain(..) {
        let unfit = |problem: &str| ImportError::unfit(&name(&part), problem, "");
        let keys = keys(&labels).ok_or_else(|| unfit(&format!("has labels of `{along}` that are missing")))?;
        let [first, .., last] = keys.as_slice() else {
            let ends = keys.first().map(|&k| (k, k));
            sorted.push((ends, part, labels));
            continue;
        };
        let down = last < first;
        if *descends.get_or_insert(down) != down {
            return Err(unfit(&format!("has its labels of `{along}` in the opposite order")));
        }
        if !keys.windows(2).all(|pair| if down { pair[1] < pair[0] } else { pair[0] < pair[1] }) {
            return Err(unfit(&format!("has labels of `{along}` that are not in order, or twice the same")));
        }
        sorted.push((Some((*first, *last)), part, labels));
    }
    sorted.retain(|(ends, ..)| ends.is_some());
    let down = descends == Some(true);
    sorted.sort_by_key(|(ends, ..)| ends.map(|(first, _)| if down { -first } else { first }));
    for pair in sorted.windows(2) {
        let [(Some((_, last)), one, a), (Some((first, _)), other, b)] = pair else { continue };
        if if down { first < last } else { last < first } {
            continue;
        }
        let ends = |labels: &Labels| {
            let n = labels.len() as usize;
            let text = |at| label_value(labels, at).to_string().replace('"', "");
            if n == 1 { text(0) } else { format!("{} … {}", text(0), text(n - 1)) }
        };
        let problem =
            format!("`{}` and `{}` overlap along `{along}`: {} and {}", name(one), name(other), ends(a), ends(b));
        return Err(ImportError::asked(problem, "leave one of them out"));
    }
    parts.extend(sorted.into_iter().map(|(_, part, labels)| (part, labels)));
    Ok(())
}
