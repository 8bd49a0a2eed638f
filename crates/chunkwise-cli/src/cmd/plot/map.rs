//! Maps.

use super::axes::{axis, selected, unit};
use super::flags::{Flags, MOST};
use super::picture::{Picture, bytes};
use super::words::split;
use super::{Asked, PlotArgs};
use crate::cmd::zonal::polygons;
use crate::failed::Failed;
use crate::job::{Destination, Ready};
use crate::output::{self, Record, float};
use chunkwise::job::numbers::{Coarse, Numbers};
use chunkwise::job::zonal::ZonesError;
use chunkwise::job::{Prepared, prepare};
use chunkwise::open::OpenCube;
use chunkwise::sink::blocks::Blocks;
use chunkwise_core::crs::Transformer;
use chunkwise_core::cube::Variable;
use chunkwise_core::grid::Indices;
use chunkwise_core::plan::{From, Stage};
use chunkwise_core::select::IndexQuery;
use chunkwise_core::stat::Statistic;
use chunkwise_view::{Axis, AxisKind, Field, Layer, Map, Size, stretch};
use indexmap::IndexMap;
use serde_json::json;
use std::process::ExitCode;

/// Beyond this latitude a degree of longitude is not drawn at its true length.
const STEEPEST: f64 = 75.0;

/// How cells share pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Mean,
    Mode,
    Nearest,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Mean => "mean",
            How::Mode => "mode",
            How::Nearest => "nearest",
        }
    }
}

pub(super) fn run(asked: &Asked<'_>, cube: OpenCube, prepared: Prepared, y: &str, x: &str) -> Result<ExitCode, Failed> {
    let PlotArgs { rgb, width, height, .. } = asked.args;
    let fields: usize = prepared.results().flat_map(|s| &s.folded).map(|f| f.statistics.len()).sum();
    if fields != if rgb.is_some() { 3 } else { 1 } {
        return Err(one_wanted(&prepared));
    }
    let flags = prepared.results().next().and_then(Flags::of).filter(|_| rgb.is_none());
    let continuous = asked.args.palette.is_some() || asked.args.range.is_some() || asked.args.stretch.is_some();
    let how = match asked.args.reduce.as_deref() {
        Some("mode") => How::Mode,
        Some("nearest") => How::Nearest,
        None if flags.is_some() && !continuous => How::Mode,
        _ => How::Mean,
    };
    let flags = flags.filter(|_| !continuous && how != How::Mean);
    let size = Size { width: *width, height: *height };
    let length = |dim: &str| prepared.labels.get(dim).map_or(1, chunkwise_core::cube::Labels::len);
    let (rows, columns) = (length(y), length(x));
    let most = size.most_cells();
    let block = columns.div_ceil(most.0).max(rows.div_ceil(most.1)).max(1);
    let (tall, wide) = (block.min(rows), block.min(columns));
    let drawn = |n: u64, size: u64| match how {
        How::Nearest => (n - size / 2 - 1) / size + 1,
        How::Mean | How::Mode => n.div_ceil(size),
    };
    let across = axis(asked, &cube, &prepared, x, (wide, drawn(columns, wide)))?;
    let up = axis(asked, &cube, &prepared, y, (tall, drawn(rows, tall)))?;
    let mut prepared = prepared;
    let mut sizes = IndexMap::new();
    if how == How::Nearest && block > 1 {
        let mut every = asked.request.clone();
        every.bbox = None;
        for (dim, size) in [(y, tall), (x, wide)] {
            every.sel.retain(|s| s.0 != dim);
            every.isel.retain(|s| s.0 != dim);
            let n = cube.cube.dims.get(dim).copied().unwrap_or(0);
            every.isel.push((dim.to_owned(), each(&prepared.selection.indices(dim, n), size)));
        }
        prepared = prepare(&cube, &every)?;
    } else {
        sizes = IndexMap::from([(y.to_owned(), tall), (x.to_owned(), wide)]);
    }
    let blocks = if how == How::Mode { Blocks::Mode { most: MOST } } else { Blocks::Mean };
    let coarse = Coarse { sizes, how: blocks };
    let outlines = outlines(asked, (&across, &up))?;
    let cells = (up.cells() * across.cells() * fields) as u64;
    let own = bytes(asked, cells, Some((across.cells() as u64, up.cells() as u64)));
    let plan = |p: &Prepared, c: &OpenCube, limits| p.plan_numbers(c, &coarse, own, limits);
    let ready = Ready::planned(cube.into(), prepared, Destination::Nothing, &asked.args.job, 0, None, plan)?;
    if asked.args.job.explain {
        return ready.explain(asked.common.json());
    }
    ready.deliver_by(asked.common, |cube, prepared, plan, counters, options| {
        let numbers = prepared.numbers(cube, plan, counters, options, &coarse)?;
        let fields: Vec<Vec<f64>> = numbers.iter().map(|n| by_rows(n, y, x)).collect();
        let mut notes = Vec::new();
        if block > 1 {
            let cells = format!("{tall} × {wide} cells");
            notes.push(match how {
                How::Mean => format!("each pixel is the mean of {cells}"),
                How::Mode => format!("each pixel is the most frequent value of {cells}"),
                How::Nearest => format!("each pixel is the middle one of {cells}"),
            });
        }
        let mut told = Record::new();
        let stage = prepared.results().next();
        let (layer, title) = match (&asked.args.rgb, stage) {
            (Some(rgb), _) => (channels(asked, rgb, &fields, &mut notes, &mut told), split(rgb).join(", ")),
            (None, Some(stage)) => {
                let values = fields.into_iter().next().unwrap_or_default();
                layer(asked, stage, flags.as_ref(), values, &mut notes, &mut told)
            }
            (None, None) => (Layer::default(), String::new()),
        };
        let title = match &asked.args.title {
            Some(title) => title.clone(),
            None => {
                let first = prepared.results().flat_map(|s| &s.folded).flat_map(|f| f.statistics.first()).next();
                full_title(&title, asked, cube, prepared, first.copied().filter(|_| asked.args.rgb.is_some()))?
            }
        };
        let map =
            Map { title, notes, aspect: aspect(asked, &across, &up, (y, x)), x: across, y: up, layer, outlines, size };
        let (w, e) = map.x.bounds();
        let (s, n) = map.y.bounds();
        told.insert("bounds".to_owned(), json!([w, s, e, n]));
        told.insert("cells".to_owned(), json!([map.y.cells(), map.x.cells()]));
        told.insert(
            "reduced".to_owned(),
            match block {
                1 => serde_json::Value::Null,
                _ => json!({"y": tall, "x": wide, "how": how.name()}),
            },
        );
        Picture::Map(&map).save(asked, told)
    })
}

/// The title that is not given: what is drawn, and what was selected.
fn full_title(
    what: &str,
    asked: &Asked<'_>,
    cube: &OpenCube,
    prepared: &Prepared,
    statistic: Option<Statistic>,
) -> Result<String, Failed> {
    let mut parts = vec![what.to_owned()];
    if let Some(statistic) = statistic.filter(|s| *s != Statistic::Value) {
        parts[0] = super::chart::of_statistic(what, statistic, asked);
    }
    parts.extend(selected(cube, prepared)?);
    Ok(parts.join(", "))
}

/// The middle cell of each block, by index; where the last block has no middle, it is left out.
fn each(indices: &Indices, size: u64) -> IndexQuery {
    let n = indices.len();
    match indices {
        Indices::Range { start, step, .. } => {
            let first = start + step * (size / 2);
            IndexQuery::Range { start: Some(first as i64), stop: Some((start + step * n) as i64), step: step * size }
        }
        _ => IndexQuery::List((size / 2..n).step_by(size as usize).map(|i| indices.at(i) as i64).collect()),
    }
}

/// Values row by row, whatever the order of dimensions.
fn by_rows(numbers: &Numbers, y: &str, x: &str) -> Vec<f64> {
    let place = |dim: &str| numbers.dims.iter().position(|d| d.0 == dim);
    let length = |dim: &str| numbers.dims.iter().find(|d| d.0 == dim).map_or(1, |d| d.1 as usize);
    if place(y) <= place(x) {
        return numbers.values.clone();
    }
    let (rows, columns) = (length(y), length(x));
    (0..rows).flat_map(|r| (0..columns).map(move |c| c * rows + r)).map(|i| numbers.values[i]).collect()
}

fn one_wanted(prepared: &Prepared) -> Failed {
    let names: Vec<String> = prepared
        .results()
        .flat_map(|s| &s.folded)
        .flat_map(|f| {
            f.statistics.iter().map(|s| match s {
                Statistic::Value => format!("`{}`", f.name),
                s => format!("{} of `{}`", s.name(), f.name),
            })
        })
        .collect();
    Failed::says(format!("a map shows one variable; there are {}", names.join(", ")))
        .with_hint("name one with `--var`, and one statistic; or three with `--rgb`")
}

/// The variable that is folded, where it is one.
pub(super) fn variable(stage: &Stage) -> Option<&Variable> {
    match stage.folded.first()?.from {
        From::Input(i) => Some(&stage.arrays[stage.inputs[i].array]),
        From::Formula(_) => None,
    }
}

/// What is shown, and what it is called.
fn layer(
    asked: &Asked<'_>,
    stage: &Stage,
    flags: Option<&Flags>,
    values: Vec<f64>,
    notes: &mut Vec<String>,
    told: &mut Record,
) -> (Layer, String) {
    let (title, label) = super::chart::named(asked, stage, 0, asked.statistic(stage));
    if let Some(classes) = flags.and_then(|f| f.classes(&values)) {
        let of: Vec<_> =
            classes.iter().map(|c| json!({"value": c.value, "name": c.name, "colour": c.colour})).collect();
        told.insert("classes".to_owned(), of.into());
        return (Layer::Classes { values, classes }, title);
    }
    let range = range(asked, &values, notes);
    told.insert("range".to_owned(), json!([range.0, range.1]));
    let palette = asked.args.palette.unwrap_or_default();
    told.insert("palette".to_owned(), palette.name().into());
    (Layer::Field(Field { values, range, palette, label }), title)
}

impl Asked<'_> {
    /// The first statistic of what is drawn: of an anomaly the one that is taken off.
    pub(super) fn statistic(&self, stage: &Stage) -> Statistic {
        let own = stage.folded.first().and_then(|f| f.statistics.first()).copied().unwrap_or(Statistic::Value);
        self.request.statistics.first().copied().unwrap_or(own)
    }
}

/// The values at both ends of the colours.
fn range(asked: &Asked<'_>, values: &[f64], notes: &mut Vec<String>) -> (f64, f64) {
    if let Some(range) = asked.args.range {
        return range;
    }
    let percentiles = asked.args.stretch.unwrap_or((2.0, 98.0));
    match stretch(values.iter().copied(), percentiles) {
        Some(found) => {
            notes.push(format!(
                "colours from percentile {} to {} of the values drawn",
                float(percentiles.0),
                float(percentiles.1)
            ));
            found
        }
        None => {
            notes.push("all cells are missing".to_owned());
            (0.0, 1.0)
        }
    }
}

/// Red, green and blue, each stretched by itself.
fn channels(asked: &Asked<'_>, rgb: &str, fields: &[Vec<f64>], notes: &mut Vec<String>, told: &mut Record) -> Layer {
    let names = split(rgb);
    let mut own_notes = Vec::new();
    let ranges: Vec<(f64, f64)> = fields.iter().map(|values| range(asked, values, &mut own_notes)).collect();
    let told_ranges: Vec<String> = names
        .iter()
        .zip(&ranges)
        .zip(["red", "green", "blue"])
        .map(|((name, r), channel)| format!("{channel}: {name} from {} to {}", rounded(r.0), rounded(r.1)))
        .collect();
    notes.push(told_ranges.join("; "));
    own_notes.dedup();
    notes.extend(own_notes.into_iter().map(|n| n.replace("colours", "each")));
    told.insert("range".to_owned(), json!(ranges));
    let level = |v: f64, (low, high): (f64, f64)| {
        let t = if high > low { (v - low) / (high - low) } else { 0.5 };
        (t * 255.0).round().clamp(0.0, 255.0) as u8
    };
    let count = fields.first().map_or(0, Vec::len);
    let pixel = |i: usize| {
        let values: Vec<f64> = fields.iter().map(|f| f[i]).collect();
        match values.as_slice() {
            &[r, g, b] if !(r.is_nan() || g.is_nan() || b.is_nan()) => {
                [level(r, ranges[0]), level(g, ranges[1]), level(b, ranges[2]), 255]
            }
            // A pixel that lacks a channel has no colour.
            _ => [0; 4],
        }
    };
    Layer::Pixels((0..count).map(pixel).collect())
}

/// A number with three digits that mean something.
pub(super) fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return float(value);
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as i32;
    let scale = 10f64.powi(digits);
    float((value * scale).round() / scale)
}

/// How long a unit of y is drawn, in units of x.
fn aspect(asked: &Asked<'_>, x: &Axis, y: &Axis, dims: (&str, &str)) -> Option<f64> {
    let lies = asked.plane.dims.as_ref().is_some_and(|d| (d.y.as_str(), d.x.as_str()) == dims);
    match (x.kind, y.kind) {
        (AxisKind::Longitude, AxisKind::Latitude) => {
            let (south, north) = y.bounds();
            let middle = f64::midpoint(south, north).abs();
            Some(if middle <= STEEPEST { 1.0 / middle.to_radians().cos() } else { 1.0 })
        }
        (AxisKind::Number, AxisKind::Number) if lies => Some(1.0),
        _ => None,
    }
}

/// The outlines of `--outlines`, on the axes of the map.
fn outlines(asked: &Asked<'_>, (x, y): (&Axis, &Axis)) -> Result<Vec<Vec<(f64, f64)>>, Failed> {
    let Some(path) = &asked.args.outlines else { return Ok(Vec::new()) };
    if x.kind == AxisKind::Index || y.kind == AxisKind::Index {
        return Err(Failed::says(format!(
            "`--outlines {path}`: the axes of the map have no coordinates, so nothing can be placed on them"
        )));
    }
    let zones = polygons(path, None, asked.args.zones_crs.as_deref())?;
    let transformer = match (&zones.crs, &asked.plane.crs) {
        (Some(from), Some(to)) => Some(Transformer::new(from, to).map_err(Failed::of)?),
        (Some(_), None) => {
            if !asked.common.quiet {
                output::note("the cube has no CRS: the outlines are taken to be in its own coordinates");
            }
            None
        }
        (None, _) => None,
    };
    let mut lines = Vec::new();
    for (polygon, id) in zones.polygons.iter().zip(&zones.ids) {
        let moved = match &transformer {
            None => polygon.clone(),
            Some(t) => polygon
                .map(|(x, y)| t.point(x, y))
                .map_err(|e| ZonesError::Outside { zone: id.clone(), source: Box::new(e) })?,
        };
        lines.extend(moved.rings().iter().cloned());
    }
    if x.kind == AxisKind::Longitude {
        // Longitudes repeat: each line in every turn in which it meets the axis.
        let (west, east) = x.bounds();
        let turned = |line: &Vec<(f64, f64)>| {
            let (low, high) = line.iter().fold((f64::MAX, f64::MIN), |(a, b), p| (a.min(p.0), b.max(p.0)));
            let turns = ((west - high) / 360.0).ceil() as i64..=((east - low) / 360.0).floor() as i64;
            turns.map(|n| line.iter().map(|&(x, y)| (x + n as f64 * 360.0, y)).collect()).collect::<Vec<Vec<_>>>()
        };
        lines = lines.iter().flat_map(turned).collect();
    }
    let ((west, east), (south, north)) = (x.bounds(), y.bounds());
    let meets =
        |line: &Vec<(f64, f64)>| line.iter().any(|p| p.0 >= west && p.0 <= east && p.1 >= south && p.1 <= north);
    if !lines.iter().any(meets) && !asked.common.quiet {
        output::note(&format!("no outline of `{path}` has a corner on the map; check their CRS (`--zones-crs`)"));
    }
    Ok(lines)
}

/// The unit of values of a statistic.
pub(super) fn unit_of(variable: Option<&Variable>, statistic: Statistic) -> String {
    let own = unit(variable);
    match statistic {
        Statistic::Count | Statistic::Missing => "cells".to_owned(),
        Statistic::ArgMin | Statistic::ArgMax => "index".to_owned(),
        Statistic::Var if own.is_empty() => own,
        Statistic::Var => format!("({own})²"),
        _ => own,
    }
}
