//! What attributes say: names that must exist, lengths that must agree, units, ranges, packing, CRS.

use super::Found;
use chunkwise_core::cf::time::{TimeError, TimeUnits, is_time_units};
use chunkwise_core::crs::{System, find_georeference};
use chunkwise_core::cube::{Attrs, Cube, Role, Variable};
use serde_json::Value;

/// Checks the attributes of the group.
pub(super) fn group(cube: &Cube, found: &Found) {
    for name in words(&cube.attrs, "coordinates") {
        if !known(cube, name) {
            found.of("", format!("`coordinates` of the group names `{name}`, which is not there"));
        }
    }
}

/// Checks the attributes of a variable.
pub(super) fn check(cube: &Cube, variable: &Variable, found: &Found) {
    let mut say = |problem: String| found.of(&variable.name, problem);
    references(cube, variable, &mut say);
    times(variable, &mut say);
    flags(variable, &mut say);
    range(variable, &mut say);
    packing(variable, &mut say);
    bounds(cube, variable, &mut say);
    crs(cube, variable, &mut say);
}

fn words<'a>(attrs: &'a Attrs, key: &str) -> impl Iterator<Item = &'a str> {
    attrs.get(key).and_then(Value::as_str).unwrap_or_default().split_whitespace()
}

/// Whether a name is that of a variable, or leads to another group.
fn known(cube: &Cube, name: &str) -> bool {
    name.contains('/') || cube.variables.contains_key(name)
}

fn references(cube: &Cube, variable: &Variable, say: &mut impl FnMut(String)) {
    let outside: Vec<&str> = words(&cube.attrs, "external_variables").collect();
    for key in [
        "bounds",
        "climatology",
        "coordinates",
        "ancillary_variables",
        "grid_mapping",
        "cell_measures",
        "formula_terms",
    ] {
        // In `crs: x y` and `area: cell_area` the words with a colon are mappings, or roles.
        let of_roles = matches!(key, "cell_measures" | "formula_terms");
        for word in words(&variable.attrs, key) {
            let name = match word.strip_suffix(':') {
                Some(_) if of_roles => continue,
                Some(name) => name,
                None => word,
            };
            if !known(cube, name) && !outside.contains(&name) {
                say(format!("`{key}` names `{name}`, which is not there"));
            }
        }
    }
}

fn times(variable: &Variable, say: &mut impl FnMut(String)) {
    if let Some(error) = bad_units(variable) {
        say(format!("its times cannot be understood: {}", crate::error::in_full(&error)));
    }
}

/// What is wrong with units `since` a date, or with their calendar.
pub(super) fn bad_units(variable: &Variable) -> Option<TimeError> {
    let units = variable.units().filter(|units| is_time_units(units))?;
    let calendar = variable.attrs.get("calendar").and_then(Value::as_str);
    TimeUnits::parse(units, calendar).err()
}

/// How many values a list, or a single value, has.
fn length(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}

fn flags(variable: &Variable, say: &mut impl FnMut(String)) {
    let Some(meanings) = variable.attrs.get("flag_meanings") else {
        for key in ["flag_values", "flag_masks"] {
            if variable.attrs.contains_key(key) {
                say(format!("it has `{key}` and no `flag_meanings`"));
            }
        }
        return;
    };
    let meanings = match meanings {
        Value::String(text) => text.split_whitespace().count(),
        other => length(other),
    };
    let lists: Vec<(&str, usize)> = ["flag_values", "flag_masks"]
        .into_iter()
        .filter_map(|key| variable.attrs.get(key).map(|list| (key, length(list))))
        .collect();
    if lists.is_empty() {
        say("it has `flag_meanings` and neither `flag_values` nor `flag_masks`".to_owned());
    }
    for (key, n) in lists {
        if n != meanings {
            say(format!("`{key}` has {n} values, `flag_meanings` {meanings} words"));
        }
    }
}

fn range(variable: &Variable, say: &mut impl FnMut(String)) {
    if let Some((low, high)) = variable.valid
        && low > high
    {
        say(format!("its valid range is empty: from {low} to {high}"));
    }
}

fn packing(variable: &Variable, say: &mut impl FnMut(String)) {
    for (key, zero_is_wrong) in [("scale_factor", true), ("add_offset", false)] {
        let Some(value) = variable.attrs.get(key) else { continue };
        let value = value.as_array().filter(|list| list.len() == 1).and_then(|list| list.first()).unwrap_or(value);
        match value.as_f64() {
            Some(number) if zero_is_wrong && number == 0.0 => say(format!("`{key}` is 0: all values are the same")),
            Some(_) => {}
            // What stops the variable from being read is told with that.
            None if variable.problem.is_some() => {}
            None => say(format!("`{key}` is no number")),
        }
    }
}

/// Bounds have the dimensions of their coordinate, and one more.
fn bounds(cube: &Cube, variable: &Variable, say: &mut impl FnMut(String)) {
    for key in ["bounds", "climatology"] {
        let name = variable.attrs.get(key).and_then(Value::as_str).map(str::trim);
        let Some(bounds) = name.and_then(|name| cube.variables.get(name)) else { continue };
        let fits = bounds.shape.len() == variable.shape.len() + 1 && bounds.shape.starts_with(&variable.shape);
        if !fits {
            say(format!(
                "`{key}` `{}` has shape {:?}, which does not fit {:?}",
                bounds.name, bounds.shape, variable.shape
            ));
        }
    }
}

/// A CRS that can be read.
fn crs(cube: &Cube, variable: &Variable, say: &mut impl FnMut(String)) {
    if variable.role != Role::Data {
        return;
    }
    let georeference = find_georeference(cube, variable);
    let named = variable.attrs.get("grid_mapping").is_some();
    let mapping = georeference.grid_mapping.as_ref().and_then(|name| cube.variables.get(name));
    match &georeference.crs {
        Some(crs) if matches!(crs.system, System::Other { .. }) => {
            say(format!("its CRS `{}` cannot be understood", crs.label()));
        }
        None if named && mapping.is_some() => {
            let name = georeference.grid_mapping.as_deref().unwrap_or_default();
            say(format!("grid mapping `{name}` names no CRS that can be understood"));
        }
        _ => {}
    }
}
