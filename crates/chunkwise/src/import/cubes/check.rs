//! Whether files go together: each thing that would make values mean something else.

use super::{CubeOptions, ImportError, Part};
use crate::import::error::Difference;
use crate::open::Values;
use chunkwise_core::cf::time::TimeUnits;
use chunkwise_core::cube::{DataType, Role, Variable};
use serde_json::Value;

/// Attributes in which files may not differ.
const SAME: [&str; 9] = [
    "units",
    "calendar",
    "grid_mapping",
    "standard_name",
    "flag_values",
    "flag_masks",
    "flag_meanings",
    "positive",
    "cell_methods",
];

/// Names of the variables that are imported: those asked for and what they name, or all.
///
/// # Errors
/// A name that the first file does not have; a variable that cannot be read; files with other variables.
pub(super) fn names(parts: &[Part], asked: &[String]) -> Result<Vec<String>, ImportError> {
    let Some(first) = parts.first() else { return Ok(Vec::new()) };
    let variables = &first.cube.cube.variables;
    let location = &first.cube.cube.location;
    let mut names: Vec<String> = Vec::new();
    for name in asked {
        if !variables.contains_key(name) {
            let has: Vec<&str> = first.cube.cube.data_variables().map(|v| v.name.as_str()).collect();
            return Err(ImportError::unfit(
                location,
                format!("has no variable `{name}`; it has `{}`", has.join("`, `")),
                "",
            ));
        }
        names.push(name.clone());
    }
    if asked.is_empty() {
        names.extend(variables.keys().cloned());
    }
    // What is named by what is there: coordinates, bounds, grid mappings.
    let mut at = 0;
    while let Some(variable) = names.get(at).and_then(|name| variables.get(name)) {
        let keys = ["coordinates", "bounds", "climatology", "grid_mapping", "ancillary_variables", "cell_measures"];
        let texts = keys.iter().filter_map(|key| variable.attrs.get(*key)?.as_str());
        let words = texts.flat_map(|text| text.split_whitespace().map(|word| word.trim_end_matches(':')));
        let more: Vec<&str> = words.chain(variable.dims.iter().map(String::as_str)).collect();
        for name in more {
            if variables.contains_key(name) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        at += 1;
    }
    names.sort_by_key(|name| variables.get_index_of(name));
    for part in parts {
        let (cube, location) = (&part.cube.cube, &part.cube.cube.location);
        if let Some(missing) = names.iter().find(|name| !cube.variables.contains_key(*name)) {
            return Err(ImportError::Differ(Box::new(Difference {
                what: "their variables",
                one: first.cube.cube.location.clone(),
                one_has: format!("`{missing}`"),
                other: location.clone(),
                other_has: "none of that name".to_owned(),
                hint: "name those that all have with `--var`".to_owned(),
            })));
        }
        let more = cube.variables.keys().find(|name| asked.is_empty() && !variables.contains_key(*name));
        if let Some(more) = more {
            return Err(ImportError::Differ(Box::new(Difference {
                what: "their variables",
                one: first.cube.cube.location.clone(),
                one_has: format!("no `{more}`"),
                other: location.clone(),
                other_has: format!("`{more}`"),
                hint: "name those that all have with `--var`".to_owned(),
            })));
        }
        let broken = names.iter().filter_map(|name| cube.variables.get(name)).find(|v| v.problem.is_some());
        if let Some(Variable { name, problem: Some(problem), .. }) = broken {
            let problem = format!("has a variable `{name}` that cannot be read: {problem}");
            return Err(ImportError::unfit(location, &problem, "name those that are wanted with `--var`"));
        }
    }
    Ok(names)
}

/// How the values of a variable of one file become those of the cube.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// As they are stored.
    Bits,
    /// Decoded to floats, `NaN` where missing.
    Decode,
    /// Counts of time, later by so much.
    Later(i64),
}

/// Compares a variable of two files; `Ok(None)` where values have to be decoded to go together.
///
/// # Errors
/// They differ in what nothing can mend, or what decoding would and is not asked for.
pub(super) fn same(
    (one, a): (&Part, &Variable),
    (other, b): (&Part, &Variable),
    along: Option<&str>,
    options: &CubeOptions,
) -> Result<Option<Way>, ImportError> {
    let name = &a.name;
    let differ = |what: &'static str, x: String, y: String, hint: &str| {
        ImportError::Differ(Box::new(Difference {
            what,
            one: format!("{}:{name}", one.cube.cube.location),
            one_has: x,
            other: format!("{}:{name}", other.cube.cube.location),
            other_has: y,
            hint: hint.to_owned(),
        }))
    };
    if a.dims != b.dims {
        return Err(differ("their dimensions", a.dims.join(", "), b.dims.join(", "), ""));
    }
    for ((dim, x), y) in a.dims.iter().zip(&a.shape).zip(&b.shape) {
        if Some(dim.as_str()) != along && x != y {
            return Err(differ("their lengths", format!("{dim}={x}"), format!("{dim}={y}"), ""));
        }
    }
    let value = |v: Option<&Value>| v.map_or_else(|| "none".to_owned(), |v| v.to_string().replace('"', "`"));
    if a.role == Role::GridMapping {
        let keys = a.attrs.keys().chain(b.attrs.keys());
        let mut other = keys.filter(|key| a.attrs.get(*key) != b.attrs.get(*key));
        return match other.next() {
            Some(key) => {
                let text = |v: &Variable| format!("{key} {}", value(v.attrs.get(key)));
                Err(differ("their CRS", text(a), text(b), "align them to one grid first"))
            }
            None => Ok(Some(Way::Bits)),
        };
    }
    let mut way = Way::Bits;
    let (at, bt) = (times(a), times(b));
    if let (Some(at), Some(bt)) = (&at, &bt) {
        if at.calendar != bt.calendar {
            let text = |u: &TimeUnits| u.calendar.name().to_owned();
            return Err(differ("their calendars", text(at), text(bt), ""));
        }
        let shift = bt.origin - at.origin;
        let exact = at.unit == bt.unit && shift % at.unit.nanos() == 0;
        match i64::try_from(shift / at.unit.nanos()) {
            Ok(0) if exact => {}
            Ok(shift) if exact => way = Way::Later(shift),
            _ => {
                let text = |v: &Variable| value(v.attrs.get("units"));
                return Err(differ("their units of time", text(a), text(b), ""));
            }
        }
    }
    for key in SAME {
        let timed = at.is_some() && bt.is_some() && ["units", "calendar"].contains(&key);
        if !timed && a.attrs.get(key) != b.attrs.get(key) {
            let text = |v: &Variable| format!("{key} {}", value(v.attrs.get(key)));
            return Err(differ("their attributes", text(a), text(b), ""));
        }
    }
    let hint = match (options.decode, a.role) {
        (false, Role::Data) => "`--decode` makes floats of all of them",
        _ => "",
    };
    let told = [
        ("their types", type_name(a), type_name(b)),
        ("their scale and offset", packing(a), packing(b)),
        ("their missing marks", format!("{:?}", a.missing.marks), format!("{:?}", b.missing.marks)),
    ];
    // Text of any width is text.
    let texts = matches!((&a.dtype, &b.dtype), (DataType::Text(_), DataType::Text(_)));
    let counts = way != Way::Bits || at.is_some();
    for (what, x, y) in told {
        if x == y || texts {
            continue;
        }
        if options.decode && a.role == Role::Data && !counts && a.dtype.number().is_some() && b.dtype.number().is_some()
        {
            return Ok(None);
        }
        return Err(differ(what, x, y, hint));
    }
    Ok(Some(way))
}

fn type_name(v: &Variable) -> String {
    match v.view {
        Some(view) if v.dtype.number() != Some(view) => format!("{} as {view}", v.dtype.name()),
        _ => v.dtype.name(),
    }
}

fn packing(v: &Variable) -> String {
    format!("scale {} and offset {}", v.packing.scale, v.packing.offset)
}

/// The units of a variable that counts time.
pub(super) fn times(v: &Variable) -> Option<TimeUnits> {
    let calendar = v.attrs.get("calendar").and_then(Value::as_str);
    TimeUnits::parse(v.units()?, calendar).ok()
}

/// Checks that a variable that does not lie along the dimension holds the same in two files.
///
/// # Errors
/// It does not, or cannot be read whole.
pub(super) fn same_values((one, a): (&Part, &Variable), (other, b): (&Part, &Variable)) -> Result<(), ImportError> {
    let (x, y) = (one.cube.read_all(a)?, other.cube.read_all(b)?);
    if x == y {
        return Ok(());
    }
    let (x, y) = match (&x, &y) {
        (Values::Text(x), Values::Text(y)) => {
            let at = x.iter().zip(y).position(|(x, y)| x != y).unwrap_or(0);
            (x.get(at).cloned().unwrap_or_default(), y.get(at).cloned().unwrap_or_default())
        }
        _ => {
            let (x, y) = (x.decoded(a).unwrap_or_default(), y.decoded(b).unwrap_or_default());
            let Some(at) = x.iter().zip(&y).position(|(x, y)| x.to_bits() != y.to_bits()) else { return Ok(()) };
            (format!("{} in cell {at}", x[at]), y[at].to_string())
        }
    };
    Err(ImportError::Differ(Box::new(Difference {
        what: "values that should be the same in all",
        one: format!("{}:{}", one.cube.cube.location, a.name),
        one_has: x,
        other: format!("{}:{}", other.cube.cube.location, b.name),
        other_has: y,
        hint: "leave the variable out by naming others with `--var`".to_owned(),
    })))
}
