//! `chunkwise series`: values at points, along the dimensions that are left.

mod points;

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::failed::{Failed, Kind};
use crate::job::{Destination, Ready, beside, destination, limits, request, unplanned};
use crate::output::Record;
use chunkwise::job::points::PointSeries;
use chunkwise::job::{JobError, MOST_ROWS, label_values};
use chunkwise::open::OpenCube;
use chunkwise_core::crs::is_longitude;
use chunkwise_core::select::{IndexQuery, nearest, parse_at, parse_isel};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;

/// A point: for each dimension its index, and the coordinate that was asked for.
struct Point {
    name: Value,
    at: Vec<(String, u64, Option<Value>)>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise series chunkwise-demo/cube.zarr --at y=4984985,x=515015 --calc 'ndvi = (nir - red) / (nir + red)'"
)]
#[command(group = clap::ArgGroup::new("where_to_look").args(["at", "iat", "points"]).required(true).multiple(true))]
pub(crate) struct SeriesArgs {
    /// The cube.
    pub(crate) cube: String,
    /// A point in coordinates, nearest cell: `y=500,x=500` (may be given again).
    #[arg(long, value_name = "DIM=VALUE,…", allow_hyphen_values = true)]
    pub(crate) at: Vec<String>,
    /// A point by index: `y=0,x=-1` (may be given again).
    #[arg(long, value_name = "DIM=INDEX,…", allow_hyphen_values = true)]
    pub(crate) iat: Vec<String>,
    /// Points of a file: a table (`.csv`, `.parquet`) with a column for each dimension, and `point` or `name` where they have
    /// names; or features (GeoJSON, GeoPackage, FlatGeobuf, GeoParquet, shapefile).
    #[arg(long, value_name = "FILE")]
    pub(crate) points: Option<String>,
    /// CRS of the points, whatever their file says: a code, WKT, PROJJSON; `cube`: that of the cube. Columns of a table are then
    /// `x` and `y`, `lon` and `lat` or their like.
    #[arg(long, value_name = "CRS", requires = "points")]
    pub(crate) points_crs: Option<String>,
    /// The column or property that names points.
    #[arg(long, value_name = "FIELD", requires = "points")]
    pub(crate) point_id: Option<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// A table as `.csv`, `.json`, `.parquet` or `.arrow` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &SeriesArgs, common: &Common) -> Result<ExitCode, Failed> {
    let (cube, base) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    let cube = Arc::new(cube);
    let dims = cube.cube.dims.clone();
    let length = |dim: &str| {
        dims.get(dim).copied().ok_or_else(|| {
            let has: Vec<&str> = dims.keys().map(String::as_str).collect();
            Failed::says(format!("no dimension `{dim}`; the cube has {}", has.join(", "))).with_kind(Kind::Key)
        })
    };
    let wraps = |dim: &str| is_longitude(dim, cube.cube.coordinate(dim));
    let by_label = |pairs: &[(String, String)]| -> Result<Vec<(String, u64, Option<Value>)>, Failed> {
        let mut at = Vec::new();
        for (dim, text) in pairs {
            length(dim)?;
            let index = nearest(&*cube.labels(dim)?, text, wraps(dim)).map_err(|e| {
                Failed::says(format!("cannot find `{dim}={text}`: {e}")).with_kind(Failed::of(e).kind())
            })?;
            let asked = text.parse::<f64>().map_or_else(|_| text.clone().into(), Value::from);
            at.push((dim.clone(), index, Some(asked)));
        }
        Ok(at)
    };
    let mut points: Vec<Point> = Vec::new();
    for text in &args.at {
        let at = by_label(&parse_at(text).map_err(Failed::of)?)?;
        points.push(Point { name: points.len().into(), at });
    }
    for text in &args.iat {
        let mut at = Vec::new();
        for (dim, query) in parse_isel(text).map_err(Failed::of)? {
            let n = length(&dim)?;
            let IndexQuery::One(i) = query else {
                return Err(Failed::says(format!("`--iat {text}`: a point has one index along `{dim}`")));
            };
            let index = if i < 0 { i + n as i64 } else { i };
            if index < 0 || index as u64 >= n {
                return Err(
                    Failed::says(format!("index {i} is outside of `{dim}`, which has {n} cells")).with_kind(Kind::Key)
                );
            }
            at.push((dim, index as u64, None));
        }
        points.push(Point { name: points.len().into(), at });
    }
    if let Some(file) = &args.points {
        let found = points::read(file, args, &cube, common)?;
        for (name, pairs) in found {
            let at = by_label(&pairs).map_err(|e| e.within(format!("point {name} of `{file}`")))?;
            points.push(Point { name, at });
        }
    }
    let to = destination(args.output.as_deref(), None, args.overwrite, &cube, common)?;
    let at = points.iter().map(|p| p.at.iter().map(|(dim, index, _)| (dim.clone(), *index)).collect()).collect();
    let series = PointSeries::new(&cube, &base, at)?;
    let on_screen = matches!(to, Destination::Screen);
    let rows = series.rows();
    if rows > MOST_ROWS && on_screen {
        return Err(Failed::of(JobError::TooManyRows { rows })
            .with_hint("ask for fewer points, or a part of the dimensions that are left (`--sel`, `--isel`), or write it to a file with `-o OUT.csv`"));
    }
    let columns = series.columns() + points.iter().map(|p| 1 + 2 * p.at.len()).max().unwrap_or(1);
    let held = if on_screen { rows.saturating_mul(columns as u64) } else { 0 };
    let own = to.holds_bytes(rows, columns as u64);
    let (plan, prepared, mut planned) =
        beside(own, limits(&args.job), |rest| series.plan(&cube, rest, held)).map_err(|e| unplanned(e, &args.job))?;
    planned.memory = planned.memory.saturating_add(own);
    let ready = Ready::planned(cube.clone(), prepared, to, &args.job, 0, None, |_, _, _| Ok(planned))?;
    let ready = ready.of_all(plan.explained.clone(), plan.leaves, &args.job)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    let texts: Vec<(&String, Vec<Value>)> = texts(&points, &cube)?;
    let head = |n: usize| head(&points[n], &texts);
    ready.deliver_by(common, |cube, _, _, counters, options| {
        let names = points.iter().map(|p| &p.name);
        ready.rows(common, ("point", names), std::iter::empty(), |each| {
            series.run(cube, &plan, counters, options, head, each)
        })
    })
}

/// Labels of the dimensions that points have an index along.
fn texts<'a>(points: &'a [Point], cube: &OpenCube) -> Result<Vec<(&'a String, Vec<Value>)>, Failed> {
    let mut texts: Vec<(&String, Vec<Value>)> = Vec::new();
    for (dim, ..) in points.iter().flat_map(|p| &p.at) {
        if !texts.iter().any(|t| t.0 == dim) {
            let labels = cube.labels(dim)?;
            texts.push((dim, label_values(&labels)));
        }
    }
    Ok(texts)
}

/// What stands before the values of a point.
fn head(point: &Point, texts: &[(&String, Vec<Value>)]) -> Record {
    let mut head = Record::new();
    head.insert("point".to_owned(), point.name.clone());
    for (dim, index, _) in &point.at {
        let found = texts.iter().find(|t| t.0 == dim).and_then(|t| t.1.get(*index as usize));
        head.insert(dim.clone(), found.cloned().unwrap_or(Value::Null));
    }
    for (dim, _, asked) in &point.at {
        if let Some(asked) = asked {
            head.insert(format!("asked_{dim}"), asked.clone());
        }
    }
    head
}
