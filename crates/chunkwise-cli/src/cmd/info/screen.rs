//! The description of a cube for people.

use crate::bytes::format_bytes;
use crate::output::{printable, shown};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// Attributes of the cube that are shown.
const ATTRS: usize = 12;
/// Variables that are shown.
const VARIABLES: usize = 24;

pub(crate) fn write(about: &Map<String, Value>, out: &mut dyn Write) -> io::Result<()> {
    let get = |key: &str| about.get(key).unwrap_or(&Value::Null);
    if get("variables").is_null() {
        writeln!(out, "{}  unfinished", shown(get("location")))?;
        let job = get("job");
        if !job.is_null() {
            writeln!(out, "  request  {}", shown(&job["request"]))?;
            writeln!(
                out,
                "  done     {} partitions, chunkwise {}",
                shown(&job["partitions_done"]),
                shown(&job["version"])
            )?;
        }
        return Ok(());
    }
    let unfinished = if get("unfinished") == &Value::Bool(true) { "  unfinished" } else { "" };
    // What a NetCDF file looks like to the reader is of no interest.
    let form = match get("form").as_str() {
        Some(form) => form.to_owned(),
        None => format!("Zarr v{}", shown(get("zarr_format"))),
    };
    writeln!(out, "{}  {form}{unfinished}", shown(get("location")))?;
    if let Some(dims) = get("dims").as_object().filter(|d| !d.is_empty()) {
        writeln!(out, "\ndimensions")?;
        let width = dims.keys().map(|d| printable(d).chars().count()).max().unwrap_or(0);
        for (dim, length) in dims {
            let labels = range(&get("coords")[dim]);
            let line = format!("  {:width$}  {:>8}  {labels}", printable(dim), shown(length));
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    let single: Vec<(&String, &Value)> = get("coords")
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, about)| about.get("value").is_some_and(|value| !value.is_null()))
        .collect();
    if !single.is_empty() {
        writeln!(out, "\ncoordinates of one value")?;
        let width = single.iter().map(|(name, _)| printable(name).chars().count()).max().unwrap_or(0);
        for (name, about) in single {
            let units = match about["units"].as_str() {
                // Times are shown as dates.
                Some(units) if !units.contains(" since ") => format!(" {}", printable(units)),
                _ => String::new(),
            };
            writeln!(out, "  {:width$}  {}{units}", printable(name), shown(&about["value"]))?;
        }
    }
    if let Some(crs) = get("crs").as_str() {
        writeln!(out, "\ncrs     {}", printable(crs))?;
    }
    if let Some(bounds) = get("bounds").as_array() {
        let bounds: Vec<String> = bounds.iter().map(shown).collect();
        writeln!(out, "bounds  {} (west, south, east, north)", bounds.join(", "))?;
    }
    if let Some(variables) = get("variables").as_array() {
        writeln!(out, "\nvariables")?;
        for variable in variables.iter().take(VARIABLES) {
            describe(variable, out)?;
        }
        if variables.len() > VARIABLES {
            writeln!(out, "  … and {} more", variables.len() - VARIABLES)?;
        }
    }
    if let Some(groups) = get("groups").as_array().filter(|g| !g.is_empty()) {
        let groups: Vec<String> = groups.iter().map(shown).collect();
        writeln!(out, "\ngroups  {}", groups.join(", "))?;
    }
    if let Some(attrs) = get("attrs").as_object().filter(|a| !a.is_empty()) {
        writeln!(out, "\nattributes")?;
        for (key, value) in attrs.iter().take(ATTRS) {
            writeln!(out, "  {}  {}", printable(key), short(&shown(value), 90))?;
        }
        if attrs.len() > ATTRS {
            writeln!(out, "  … and {} more", attrs.len() - ATTRS)?;
        }
    }
    Ok(())
}

/// First and last label, or all of a few names.
fn range(coord: &Value) -> String {
    if coord.is_null() {
        return String::new();
    }
    if let Some(problem) = coord["problem"].as_str() {
        return format!("({})", printable(problem));
    }
    let units = match coord["units"].as_str() {
        // Times are shown as dates.
        Some(units) if coord["calendar"].is_null() => format!(" {}", printable(units)),
        _ => String::new(),
    };
    match coord["values"].as_array() {
        Some(values) if coord["calendar"].is_null() && values.len() <= 8 => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("{}{units}", short(&values.join(", "), 80))
        }
        _ => format!("{} … {}{units}", shown(&coord["first"]), shown(&coord["last"])),
    }
}

fn describe(variable: &Value, out: &mut dyn Write) -> io::Result<()> {
    let list = |key: &str| -> Vec<String> {
        variable[key].as_array().map(|l| l.iter().map(shown).collect()).unwrap_or_default()
    };
    let dtype = shown(&variable["dtype"]);
    let decoded = match variable["decoded_dtype"].as_str() {
        Some(decoded) if decoded != dtype => format!(" (as {decoded})"),
        _ => String::new(),
    };
    let size = variable["raw_bytes"].as_u64().map_or_else(String::new, |n| format!("  {}", format_bytes(n.into())));
    let units = variable["units"].as_str().map_or_else(String::new, |u| format!("  {}", printable(u)));
    writeln!(out, "  {}  {dtype}{decoded}  ({}){size}{units}", shown(&variable["name"]), list("dims").join(", "))?;
    if let Some(problem) = variable["problem"].as_str() {
        return writeln!(out, "    cannot be read: {}", printable(problem));
    }
    let chunks: Vec<String> = list("chunks").iter().map(|c| short(c, 30)).collect();
    let shards = match variable["shards"].is_array() {
        true => {
            let shards: Vec<String> = list("shards").iter().map(|s| short(s, 30)).collect();
            format!(" in shards of {}", shards.join(" × "))
        }
        false => String::new(),
    };
    let number = shown(&variable["chunk_count"]);
    let word = if number == "1" { "chunk" } else { "chunks" };
    let of = if chunks.is_empty() { String::new() } else { format!(" of {}", chunks.join(" × ")) };
    writeln!(out, "    {number} {word}{of}{shards}, {}", shown(&variable["codecs"]))?;
    let missing = list("missing");
    let missing = if missing.is_empty() { String::new() } else { format!(", missing {}", missing.join(", ")) };
    writeln!(out, "    fill value {}{missing}", shown(&variable["fill_value"]))
}

/// The text, cut where it is longer than so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
