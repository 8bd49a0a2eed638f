//! `chunkwise info`: what a cube is, on one screen.

pub(crate) mod access;
mod crs;
pub(crate) mod screen;

use crate::args::{Common, DecodeArgs};
use crate::failed::Failed;
use crate::job::open_cube;
use crate::output::{self, Json};
use chunkwise::error::OpenError;
use chunkwise::job::label_value;
use chunkwise::open::{OpenCube, OpenOptions};
use chunkwise::store::{StorageOptions, locate_with};
use chunkwise::write::{Found, unfinished};
use chunkwise_core::cf::decode::{DecodeOptions, Nodata, Valid};
use chunkwise_core::cube::{ChunkSizes, DataType, Labels, Role, TextKind, Variable};
use chunkwise_core::dtype::Scalar;
use clap::Args;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Labels of one axis that are listed; of longer ones only the first and last.
const LISTED: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "Example (on what `chunkwise demo` made):\n  chunkwise info chunkwise-demo/cube.zarr --access")]
pub(crate) struct InfoArgs {
    /// A cube, `CUBE:GROUP` or `CUBE:VARIABLE`.
    pub(crate) cube: String,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    /// Also how it is cut into chunks, what typical questions read of them, and what other chunks would do.
    #[arg(long)]
    pub(crate) access: bool,
}

pub(crate) fn run(args: &InfoArgs, common: &Common) -> Result<ExitCode, Failed> {
    let options = OpenOptions { decode: decode_options(&args.decode)?, storage: common.storage()? };
    let mut cards = Vec::new();
    let mut about = match open_cube(&args.cube, &options) {
        Ok(cube) => {
            if args.access {
                cards = access::cards(&cube.cube);
            }
            describe(&cube)?
        }
        Err(OpenError::Unfinished { location }) => describe_unfinished(&args.cube, &location, &options.storage)?,
        Err(error) => return Err(error.into()),
    };
    match common.json() {
        Json::Yes => {
            if args.access {
                about.insert("access".to_owned(), cards.iter().map(access::Card::json).collect());
            }
            output::print_json(&Value::Object(about))?;
        }
        Json::No => output::stdout(|out| {
            screen::write(&about, out)?;
            if args.access {
                writeln!(out, "\naccess")?;
            }
            cards.iter().try_for_each(|card| card.write(out))
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `--nodata`, `--raw` and `--valid` as the reader takes them.
///
/// # Errors
/// `--nodata` is neither a number nor `none`.
pub(crate) fn decode_options(args: &DecodeArgs) -> Result<DecodeOptions, Failed> {
    let nodata = match args.nodata.as_deref().map(str::trim) {
        None => Nodata::Cube,
        Some(none) if none.eq_ignore_ascii_case("none") => Nodata::None,
        Some(text) => match (text.parse::<i64>(), text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(value), _, _) => Nodata::Value(Scalar::Int(value)),
            (_, Ok(value), _) => Nodata::Value(Scalar::UInt(value)),
            (_, _, Ok(value)) => Nodata::Value(Scalar::Float(value)),
            _ => {
                return Err(Failed::says(format!("`--nodata {text}` is neither a number nor `none`")));
            }
        },
    };
    let valid = if args.valid { Valid::Apply } else { Valid::Report };
    Ok(DecodeOptions { nodata, raw: args.raw, valid })
}

/// An output whose job did not finish is no cube; what can be said is how far it came.
fn describe_unfinished(asked: &str, location: &str, storage: &StorageOptions) -> Result<Map<String, Value>, Failed> {
    let located = locate_with(asked, storage)?;
    let mut found = unfinished(&*located.store, &located.path)?;
    if found == Found::None {
        found = unfinished(&*located.store, "")?;
    }
    let job = match found {
        Found::Unfinished(journal) => {
            let done: u64 =
                journal.done.iter().map(|(a, b)| b.saturating_sub(*a).saturating_add(1)).fold(0, u64::saturating_add);
            json!({ "request": journal.head.request, "version": journal.head.version, "partitions_done": done })
        }
        Found::None | Found::Unreadable => Value::Null,
    };
    let mut about = Map::new();
    about.insert("location".to_owned(), location.into());
    about.insert("unfinished".to_owned(), true.into());
    about.insert("job".to_owned(), job);
    Ok(about)
}

pub(crate) fn describe(open: &OpenCube) -> Result<Map<String, Value>, Failed> {
    let cube = &open.cube;
    let mut axes = Vec::new();
    for dim in cube.dims.keys() {
        // A coordinate that cannot be read is said beside it; the rest of the cube is still described.
        let labels = cube
            .coordinate(dim)
            .map(|variable| (variable, open.labels_of(variable).map_err(|e| Failed::from(e).message())));
        axes.push((dim, labels));
    }
    let mut coords = Map::new();
    for (dim, labels) in &axes {
        if let Some((variable, labels)) = labels {
            coords.insert((*dim).clone(), coordinate(variable, labels));
        }
    }
    for variable in cube.variables.values().filter(|v| v.role == Role::Auxiliary) {
        let mut about = auxiliary(variable);
        // A single value costs no more than its metadata.
        if variable.dims.is_empty()
            && variable.problem.is_none()
            && let Ok(label) = open.labels_of(variable)
        {
            about["value"] = label_value(&label, 0);
        }
        coords.insert(variable.name.clone(), about);
    }
    let find = |names: &[&str], axis: &str, standard: &[&str]| {
        axes.iter().find_map(|(dim, labels)| {
            let (variable, labels) = labels.as_ref()?;
            let attr = |name: &str| variable.attrs.get(name).and_then(Value::as_str).unwrap_or_default();
            let is = attr("axis") == axis || standard.contains(&attr("standard_name")) || names.contains(&dim.as_str());
            is.then(|| labels.as_ref().ok().and_then(edges)).flatten()
        })
    };
    let x = find(&["x", "lon", "longitude"], "X", &["longitude", "projection_x_coordinate"]);
    let y = find(&["y", "lat", "latitude"], "Y", &["latitude", "projection_y_coordinate"]);
    let bounds = match (x, y) {
        (Some((west, east)), Some((south, north))) => json!([west, south, east, north]),
        _ => Value::Null,
    };
    let data: Vec<&Variable> = cube.data_variables().collect();
    let shown = if data.is_empty() { cube.variables.values().collect() } else { data };
    let left = unfinished(&*open.store, &open.path)? != Found::None;
    let about = json!({
        "location": cube.location,
        "zarr_format": cube.zarr_format,
        "form": open.store.form(),
        "dims": cube.dims,
        "coords": coords,
        "crs": crs::name(cube),
        "bounds": bounds,
        "attrs": cube.attrs,
        "unfinished": left,
        "groups": open.groups,
        "variables": shown.into_iter().map(variable).collect::<Vec<_>>(),
    });
    match about {
        Value::Object(about) => Ok(about),
        _ => Ok(Map::new()),
    }
}

fn coordinate(variable: &Variable, labels: &Result<Labels, String>) -> Value {
    let mut about = auxiliary(variable);
    match labels {
        Ok(labels) => {
            let n = labels.len() as usize;
            about["first"] = if n == 0 { Value::Null } else { label_value(labels, 0) };
            about["last"] = if n == 0 { Value::Null } else { label_value(labels, n - 1) };
            if let Labels::Time(axis) = labels {
                about["calendar"] = axis.calendar.name().into();
            }
            if n <= LISTED {
                about["values"] = (0..n).map(|i| label_value(labels, i)).collect();
            }
        }
        Err(problem) => about["problem"] = problem.as_str().into(),
    }
    about
}

fn auxiliary(variable: &Variable) -> Value {
    let mut about = json!({
        "dims": variable.dims,
        "shape": variable.shape,
        "dtype": variable.dtype.name(),
        "units": variable.units(),
    });
    if let Some(problem) = &variable.problem {
        about["problem"] = problem.as_str().into();
    }
    about
}

/// The outer edges of an axis, half a cell beyond the first and last label; `None` where one label gives no cell.
fn edges(labels: &Labels) -> Option<(f64, f64)> {
    let values: Vec<f64> = match labels {
        Labels::Number(v) => v.clone(),
        Labels::Integer(v) => v.iter().map(|&n| n as f64).collect(),
        _ => return None,
    };
    let [first, second, ..] = values[..] else { return None };
    let [.., before, last] = values[..] else { return None };
    let (a, b) = (first - (second - first) / 2.0, last + (last - before) / 2.0);
    let (a, b) = (without_noise(a, second - first), without_noise(b, last - before));
    (a.is_finite() && b.is_finite()).then_some((a.min(b), a.max(b)))
}

/// A sum of labels to 12 digits, and 0 where it is none beside a cell.
fn without_noise(edge: f64, cell: f64) -> f64 {
    if edge.abs() <= cell.abs() * 1e-9 { 0.0 } else { format!("{edge:.11e}").parse().unwrap_or(edge) }
}

fn variable(variable: &Variable) -> Value {
    let sizes = |sizes: &Vec<ChunkSizes>| -> Vec<Value> {
        sizes
            .iter()
            .map(|sizes| match sizes {
                ChunkSizes::Regular(n) => (*n).into(),
                ChunkSizes::Listed(lengths) => lengths.clone().into(),
            })
            .collect()
    };
    let decoded = match &variable.dtype {
        DataType::Number(_) => variable.decoded_dtype().map_or(Value::Null, |d| d.name().into()),
        other => other.name().into(),
    };
    let mut about = json!({
        "name": variable.name,
        "dims": variable.dims,
        "shape": variable.shape,
        "dtype": variable.dtype.name(),
        "decoded_dtype": decoded,
        "chunks": sizes(&variable.chunks),
        "shards": variable.shards.as_ref().map(sizes),
        "codecs": variable.codecs,
        "fill_value": variable.fill_value.map_or(Value::Null, scalar),
        "missing": variable.missing.marks.iter().map(|&mark| scalar(mark)).collect::<Vec<_>>(),
        "units": variable.units(),
        "chunk_count": count(chunk_count(variable)),
        "raw_bytes": cell_size(&variable.dtype).map_or(Value::Null, |size| count(variable.cells().saturating_mul(size))),
    });
    if let Some(problem) = &variable.problem {
        about["problem"] = problem.as_str().into();
    }
    about
}

/// A stored number as Zarr v3 writes it: `NaN` and infinities as text.
fn scalar(value: Scalar) -> Value {
    match value {
        Scalar::Int(v) => v.into(),
        Scalar::UInt(v) => v.into(),
        Scalar::Float(v) if v.is_nan() => "NaN".into(),
        Scalar::Float(v) if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Scalar::Float(v) => v.into(),
    }
}

fn count(n: u128) -> Value {
    // Only metadata that lie name more.
    u64::try_from(n).unwrap_or(u64::MAX).into()
}

fn chunk_count(variable: &Variable) -> u128 {
    variable.shape.iter().zip(&variable.chunks).fold(1, |n: u128, (&length, sizes)| {
        n.saturating_mul(match sizes {
            ChunkSizes::Regular(size) => length.div_ceil((*size).max(1)).into(),
            ChunkSizes::Listed(lengths) => lengths.len() as u128,
        })
    })
}

/// Bytes of a cell; `None` for text of any length and types that are not known.
fn cell_size(dtype: &DataType) -> Option<u128> {
    match dtype {
        DataType::Text(TextKind::Utf32(n)) => Some((*n as u128).saturating_mul(4)),
        DataType::Text(TextKind::Bytes(n)) => Some(*n as u128),
        DataType::Text(TextKind::Variable) | DataType::Unknown(_) => None,
        other => other.number().map(|d| d.size() as u128),
    }
}
