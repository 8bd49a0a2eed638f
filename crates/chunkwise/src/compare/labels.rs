//! Labels, and other small variables that are compared whole.

use super::tally::{Cell, Number, Tally};
use chunkwise_core::cf::time::{Calendar, NOT_A_TIME, SECOND};
use chunkwise_core::cube::{Cube, Labels, Role, Variable};
use serde_json::Value;
use std::borrow::Cow;

/// The variable; of bounds without units of their own, with those of the coordinate that they bound.
pub(super) fn with_units<'a>(cube: &Cube, variable: &'a Variable) -> Cow<'a, Variable> {
    let bounded = |v: &&Variable| v.attrs.get("bounds").and_then(Value::as_str) == Some(&variable.name);
    if variable.role == Role::Bounds
        && variable.units().is_none()
        && let Some(coordinate) = cube.variables.values().find(bounded)
    {
        let mut variable = variable.clone();
        for key in ["units", "calendar"] {
            if let Some(value) = coordinate.attrs.get(key) {
                variable.attrs.insert(key.to_owned(), value.clone());
            }
        }
        return Cow::Owned(variable);
    }
    Cow::Borrowed(variable)
}

/// Compares labels one by one, in the shape of their variable.
///
/// # Errors
/// Why they cannot be: another calendar, say.
pub(super) fn same_labels(a: &Labels, b: &Labels, shape: &[u64]) -> Result<Tally, String> {
    let region: Vec<(u64, u64)> = shape.iter().map(|&n| (0, n)).collect();
    match (a, b) {
        (Labels::Time(x), Labels::Time(y)) => {
            // The mixed calendar and the proleptic one have the same instants.
            let line = |c: Calendar| if c == Calendar::ProlepticGregorian { Calendar::Standard } else { c };
            if line(x.calendar) != line(y.calendar) {
                return Err(format!("calendar `{}` against `{}`", x.calendar.name(), y.calendar.name()));
            }
            Ok(Tally::of(&region, |i| match (x.nanos[i], y.nanos[i]) {
                (x, y) if x == y => Cell::Same,
                (NOT_A_TIME, _) | (_, NOT_A_TIME) => Cell::MissingInOne,
                (x, y) => Cell::Apart(Some((x - y).unsigned_abs() as f64 / SECOND as f64)),
            }))
        }
        (Labels::Text(x), Labels::Text(y)) => {
            Ok(Tally::of(&region, |i| if x[i] == y[i] { Cell::Same } else { Cell::Apart(None) }))
        }
        (Labels::Text(_) | Labels::Time(_), _) | (_, Labels::Text(_) | Labels::Time(_)) => {
            Err("labels of another kind".to_owned())
        }
        (a, b) => Ok(Tally::of(&region, |i| Cell::of(number(a, i), number(b, i)))),
    }
}

fn number(labels: &Labels, at: usize) -> Option<Number> {
    match labels {
        Labels::Index(_) => Some(Number::whole(at as i128)),
        Labels::Integer(v) => Some(Number::whole(v[at].into())),
        Labels::Number(v) => Number::float(v[at]),
        Labels::Time(_) | Labels::Text(_) => None,
    }
}
