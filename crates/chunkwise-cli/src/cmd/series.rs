//! `chunkwise series`: values at points, along the dimensions that are left.

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::exit::CliError;
use crate::job::{Destination, Ready, destination, request};
use crate::output::{self, Record};
use chunkwise::job::plan::Explained;
use chunkwise::job::{JobError, MOST_ROWS, Prepared, label_value, prepare};
use chunkwise_core::crs::is_longitude;
use chunkwise_core::select::{IndexQuery, nearest, parse_at, parse_isel};
use clap::Args;
use serde_json::Value;
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

/// A point: for each dimension its index, and the coordinate that was asked for.
struct Point {
    name: Value,
    at: Vec<(String, u64, Option<Value>)>,
}

#[derive(Debug, Args)]
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
    /// A CSV file with a column for each dimension, and `point` or `name` where points have names.
    #[arg(long, value_name = "FILE")]
    pub(crate) points: Option<String>,
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

pub(crate) fn run(args: &SeriesArgs, common: &Common) -> Result<ExitCode, CliError> {
    let (cube, base) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    let cube = Arc::new(cube);
    let dims = cube.cube.dims.clone();
    let length = |dim: &str| {
        dims.get(dim).copied().ok_or_else(|| {
            let has: Vec<&str> = dims.keys().map(String::as_str).collect();
            CliError::says(format!("no dimension `{dim}`; the cube has {}", has.join(", ")))
        })
    };
    let wraps = |dim: &str| is_longitude(dim, cube.cube.coordinate(dim));
    let by_label = |pairs: &[(String, String)]| -> Result<Vec<(String, u64, Option<Value>)>, CliError> {
        let mut at = Vec::new();
        for (dim, text) in pairs {
            length(dim)?;
            let index = nearest(&*cube.labels(dim)?, text, wraps(dim))
                .map_err(|e| CliError::says(format!("cannot find `{dim}={text}`: {e}")))?;
            let asked = text.parse::<f64>().map_or_else(|_| text.clone().into(), Value::from);
            at.push((dim.clone(), index, Some(asked)));
        }
        Ok(at)
    };
    let mut points: Vec<Point> = Vec::new();
    for text in &args.at {
        let at = by_label(&parse_at(text).map_err(CliError::of)?)?;
        points.push(Point { name: points.len().into(), at });
    }
    for text in &args.iat {
        let mut at = Vec::new();
        for (dim, query) in parse_isel(text).map_err(CliError::of)? {
            let n = length(&dim)?;
            let IndexQuery::One(i) = query else {
                return Err(CliError::says(format!("`--iat {text}`: a point has one index along `{dim}`")));
            };
            let index = if i < 0 { i + n as i64 } else { i };
            if index < 0 || index as u64 >= n {
                return Err(CliError::says(format!("index {i} is outside of `{dim}`, which has {n} cells")));
            }
            at.push((dim, index as u64, None));
        }
        points.push(Point { name: points.len().into(), at });
    }
    if let Some(file) = &args.points {
        points.extend(read_points(file, &dims.keys().map(String::as_str).collect::<Vec<_>>(), &by_label)?);
    }
    let to = destination(args.output.as_deref(), None, args.overwrite, &cube, common)?;
    let prepared = |point: &Point| -> Result<Prepared, CliError> {
        let mut own = base.clone();
        for (dim, index, _) in &point.at {
            own.isel.push((dim.clone(), IndexQuery::One(*index as i64)));
        }
        Ok(prepare(&cube, &own)?)
    };
    // Rows of all points, of which each is counted as those before it that pick a cell of the same dimensions.
    let mut counted: HashMap<Vec<&str>, u64> = HashMap::new();
    let mut all_rows = 0u64;
    for point in &points {
        let picked: Vec<&str> = point.at.iter().map(|(dim, ..)| dim.as_str()).collect();
        let own = match counted.get(&picked) {
            Some(rows) => *rows,
            None => *counted.entry(picked).or_insert(table_rows(&prepared(point)?)),
        };
        all_rows = all_rows.saturating_add(own);
    }
    if all_rows > MOST_ROWS {
        return Err(CliError::of(JobError::TooManyRows { rows: all_rows })
            .hint("ask for fewer points, or a part of the dimensions that are left (`--sel`, `--isel`)"));
    }
    // Rows that are made already are in the memory of the process.
    let ready = |point: &Point, made: usize| -> Result<Ready, CliError> {
        let mut prepared = prepared(point)?;
        let left = prepared.results().map(|s| s.output_dims().count()).max().unwrap_or(0);
        let columns = 1 + 2 * point.at.len() + left + prepared.results().map(|s| s.folded.len()).sum::<usize>();
        prepared.cells_beside = all_rows.saturating_sub(made as u64).saturating_mul(columns as u64);
        Ready::new(cube.clone(), prepared, Destination::Screen, &args.job, 0, None)
    };
    if args.job.explain {
        let mut all: Option<(Ready, Explained)> = None;
        for point in &points {
            let ready = ready(point, 0)?;
            let own = ready.explained()?;
            all = Some((ready, all.map_or_else(|| own.clone(), |(_, before)| before.plus(own.clone()))));
        }
        return match all {
            Some((ready, explained)) => ready.print(&explained, common.json()),
            None => Ok(ExitCode::SUCCESS),
        };
    }
    let mut rows: Vec<Record> = Vec::new();
    let mut last: Option<Ready> = None;
    for point in &points {
        let mut ready = ready(point, rows.len())?;
        if let Some(before) = &last {
            ready = ready.after(before);
        }
        let mut head = Record::new();
        head.insert("point".to_owned(), point.name.clone());
        for (dim, index, _) in &point.at {
            head.insert(dim.clone(), label_value(&*cube.labels(dim)?, *index as usize));
        }
        for (dim, _, asked) in &point.at {
            if let Some(asked) = asked {
                head.insert(format!("asked_{dim}"), asked.clone());
            }
        }
        for values in side_by_side(ready.records()?) {
            let mut row = head.clone();
            row.extend(values);
            rows.push(row);
        }
        last = Some(ready);
    }
    match to {
        Destination::Table(to) => output::save(&rows, &to)?,
        Destination::Screen => output::print(&rows, common.json())?,
        Destination::Nothing | Destination::Cube(_) => {}
    }
    if let Some(ready) = last {
        ready.summary(common);
    }
    Ok(ExitCode::SUCCESS)
}

/// Rows of a point: variables of the same dimensions share theirs.
fn table_rows(prepared: &Prepared) -> u64 {
    let mut cells: HashMap<Vec<&str>, u64> = HashMap::new();
    for stage in prepared.results() {
        let dims = stage.output_dims().map(|i| stage.dims[i].name.as_str()).collect();
        cells.insert(dims, stage.output_shape().iter().fold(1, |a, &b| a.saturating_mul(b)));
    }
    cells.values().fold(0, |a, &b| a.saturating_add(b))
}

/// Rows of the same coordinates as one, with a column for each variable.
fn side_by_side(records: Vec<Record>) -> Vec<Record> {
    let mut rows: Vec<Record> = Vec::new();
    // Labels may repeat: rows of the same coordinates, in order.
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for mut record in records {
        let name = record.shift_remove("variable").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let value = record.shift_remove("value").unwrap_or(Value::Null);
        let same = found.entry(Value::Object(record.clone()).to_string()).or_default();
        match same.iter().copied().find(|&r| !rows[r].contains_key(&name)) {
            Some(row) => {
                rows[row].insert(name, value);
            }
            None => {
                same.push(rows.len());
                record.insert(name, value);
                rows.push(record);
            }
        }
    }
    rows
}

/// What turns named coordinates into indices.
type Find<'a> = dyn Fn(&[(String, String)]) -> Result<Vec<(String, u64, Option<Value>)>, CliError> + 'a;

/// Why points cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read points from `{file}`")]
struct PointsFile {
    file: String,
    source: csv::Error,
}

/// Points of a CSV file: a column for each dimension, and `point` or `name`.
fn read_points(file: &str, dims: &[&str], find: &Find<'_>) -> Result<Vec<Point>, CliError> {
    let failed = |source| CliError::of(PointsFile { file: file.to_owned(), source });
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_path(file).map_err(failed)?;
    let heads = rows.headers().map_err(failed)?.clone();
    if let Some(twice) = heads.iter().enumerate().find_map(|(i, h)| heads.iter().take(i).find(|&b| b == h)) {
        return Err(CliError::says(format!("`{file}` has two columns `{twice}`")));
    }
    if let Some(head) = heads.iter().find(|head| !["point", "name"].contains(head) && !dims.contains(head)) {
        let has =
            format!("`{file}` has a column `{head}`: there is no dimension `{head}`; the cube has {}", dims.join(", "));
        let hint = match head.contains([';', '\t']) {
            true => "columns are separated by commas".to_owned(),
            false => format!(
                "its line of heads names dimensions, as in `point,{}`; `point` or `name` is the name of each point, and other \
                 columns are to be left out",
                dims.join(",")
            ),
        };
        return Err(CliError::says(has).hint(hint));
    }
    let mut points = Vec::new();
    for (n, row) in rows.records().enumerate() {
        let row = row.map_err(failed)?;
        if row.len() != heads.len() {
            let line = row.position().map_or(n as u64 + 2, csv::Position::line);
            let (cells, columns) = (row.len(), heads.len());
            let word = if cells == 1 { "cell" } else { "cells" };
            return Err(CliError::says(format!(
                "line {line} of `{file}` has {cells} {word}, its line of heads {columns}"
            )));
        }
        let mut name = Value::from(n);
        let mut pairs = Vec::new();
        for (head, cell) in heads.iter().zip(&row) {
            match head {
                "point" | "name" => name = cell.into(),
                dim => pairs.push((dim.to_owned(), cell.to_owned())),
            }
        }
        points.push(Point { name, at: find(&pairs)? });
    }
    if points.is_empty() {
        return Err(CliError::says(format!("`{file}` holds no points"))
            .hint("it has a line of heads, such as `point,y,x`, and a line for each point"));
    }
    Ok(points)
}
