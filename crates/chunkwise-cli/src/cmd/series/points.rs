//! Points of a file: a table with a column for each dimension, or features.

use super::SeriesArgs;
use crate::args::Common;
use crate::failed::{Failed, Kind};
use crate::output;
use chunkwise::job::{OtherAxes, plane};
use chunkwise::open::OpenCube;
use chunkwise::vector::{self, Layer, Points};
use chunkwise_core::crs::{Crs, Georeference, Transformer};
use serde_json::Value;

/// What points are called, and the coordinates of each by dimension.
type Named = Vec<(Value, Vec<(String, String)>)>;

/// Names of columns of coordinates, where these are in a CRS of their own.
const X: [&str; 5] = ["x", "lon", "longitude", "long", "easting"];
const Y: [&str; 4] = ["y", "lat", "latitude", "northing"];

/// Why points cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read points from `{file}`")]
struct PointsFile {
    file: String,
    source: csv::Error,
}

/// The points of a file, in coordinates of the cube.
pub(super) fn read(file: &str, args: &SeriesArgs, cube: &OpenCube, common: &Common) -> Result<Named, Failed> {
    let own = match args.points_crs.as_deref() {
        None => None,
        Some(own) if own.trim().eq_ignore_ascii_case("cube") => Some(None),
        Some(crs) => Some(Some(Crs::parse(crs).map_err(Failed::of)?)),
    };
    let rows = match vector::is_vector(file) {
        true => {
            let layer = vector::read(file).map_err(Failed::of)?;
            if !layer.is_table() {
                let points = layer.into_points(file, args.point_id.as_deref()).map_err(Failed::of)?;
                return features(file, points, own, args, cube, common);
            }
            of_layer(layer)
        }
        false => of_csv(file)?,
    };
    table(file, &rows, own.flatten().as_ref(), args, cube)
}

/// Features, moved from the CRS of the file or of `--points-crs`.
fn features(
    file: &str,
    points: Points,
    own: Option<Option<Crs>>,
    args: &SeriesArgs,
    cube: &OpenCube,
    common: &Common,
) -> Result<Named, Failed> {
    let crs = match own {
        Some(own) => own,
        None if points.crs.is_some() => points.crs,
        None => {
            return Err(Failed::says(format!("`{file}` does not say the CRS of its points"))
                .with_hint("name it: `--points-crs EPSG:4326`, or `--points-crs cube` where it is that of the cube"));
        }
    };
    let place = Place::of(args, cube, crs.as_ref())?;
    if crs.is_some() && place.on.crs.is_none() && !common.quiet {
        output::note("the cube has no CRS: the points are taken to be in its own coordinates");
    }
    points.ids.into_iter().zip(points.at).map(|(id, at)| Ok((id.clone(), place.pairs(&id, at, file)?))).collect()
}

/// The plane of a cube, and the way to it.
struct Place {
    on: Georeference,
    x: String,
    y: String,
    by: Option<Transformer>,
}

impl Place {
    fn of(args: &SeriesArgs, cube: &OpenCube, from: Option<&Crs>) -> Result<Place, Failed> {
        let found = plane(&cube.cube, &args.select.var, &args.select.calc).map_err(|OtherAxes { one, other }| {
            Failed::says(format!("points of `{one}` and `{other}`, which lie along other axes"))
                .with_hint("name one of them with `--var`")
        })?;
        let on = found.unwrap_or_default();
        let Some(dims) = &on.dims else {
            return Err(Failed::says("the cube has no two dimensions along which it lies on the Earth")
                .with_hint("name cells by its own dimensions, in a table with a column for each"));
        };
        let (x, y) = (dims.x.clone(), dims.y.clone());
        let by = match (from, &on.crs) {
            (Some(from), Some(to)) => Some(Transformer::new(from, to).map_err(Failed::of)?),
            _ => None,
        };
        Ok(Place { on, x, y, by })
    }

    /// Coordinates of the cube by dimension.
    fn pairs(&self, id: &Value, (x, y): (f64, f64), file: &str) -> Result<Vec<(String, String)>, Failed> {
        let moved = match &self.by {
            None => Ok((x, y)),
            Some(by) => by.point(x, y),
        };
        let (x, y) = moved.map_err(|e| Failed::of(e).within(format!("point {id} of `{file}`")))?;
        Ok(vec![(self.y.clone(), y.to_string()), (self.x.clone(), x.to_string())])
    }
}

/// Heads, and the cells of each row.
struct Rows {
    heads: Vec<String>,
    rows: Vec<Vec<Value>>,
}

fn of_layer(layer: Layer) -> Rows {
    let heads: Vec<String> = layer.features.first().map_or_else(Vec::new, |f| f.properties.keys().cloned().collect());
    let rows = layer.features.into_iter().map(|f| f.properties.into_iter().map(|(_, v)| v).collect()).collect();
    Rows { heads, rows }
}

fn of_csv(file: &str) -> Result<Rows, Failed> {
    let failed = |source| Failed::of(PointsFile { file: file.to_owned(), source });
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_path(file).map_err(failed)?;
    let heads: Vec<String> = rows.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    for (n, row) in rows.records().enumerate() {
        let row = row.map_err(failed)?;
        if row.len() != heads.len() {
            let line = row.position().map_or(n as u64 + 2, csv::Position::line);
            let (cells, columns) = (row.len(), heads.len());
            let word = if cells == 1 { "cell" } else { "cells" };
            return Err(Failed::says(format!(
                "line {line} of `{file}` has {cells} {word}, its line of heads {columns}"
            )));
        }
        found.push(row.iter().map(Value::from).collect());
    }
    Ok(Rows { heads, rows: found })
}

/// A table with a column for each dimension, or with coordinates in a CRS of their own.
fn table(
    file: &str,
    Rows { heads, rows }: &Rows,
    crs: Option<&Crs>,
    args: &SeriesArgs,
    cube: &OpenCube,
) -> Result<Named, Failed> {
    let dims: Vec<&str> = cube.cube.dims.keys().map(String::as_str).collect();
    if let Some(twice) = heads.iter().enumerate().find_map(|(i, h)| heads.iter().take(i).find(|&b| b == h)) {
        return Err(Failed::says(format!("`{file}` has two columns `{twice}`")));
    }
    let id = match &args.point_id {
        None => heads.iter().position(|h| h == "point" || h == "name"),
        Some(field) => Some(heads.iter().position(|h| h == field).ok_or_else(|| {
            Failed::says(format!("`{file}` has no column `{field}`; it has {}", heads.join(", "))).with_kind(Kind::Key)
        })?),
    };
    let place = crs.map(|crs| Place::of(args, cube, Some(crs))).transpose()?;
    let column = |usual: &[&str], own: &str| -> Option<usize> {
        let named = |name: &str| heads.iter().position(|h| h.eq_ignore_ascii_case(name));
        named(own).or_else(|| usual.iter().find_map(|name| named(name)))
    };
    let moved = match &place {
        None => None,
        Some(place) => match (column(&X, &place.x), column(&Y, &place.y)) {
            (Some(x), Some(y)) => Some((place, x, y)),
            _ => {
                return Err(Failed::says(format!("`{file}` has no columns of coordinates; it has {}", heads.join(", ")))
                    .with_hint("with `--points-crs` they are called `x` and `y`, `lon` and `lat`, or as the dimensions of the cube"));
            }
        },
    };
    let is_place = |i: usize| moved.as_ref().is_some_and(|(_, x, y)| i == *x || i == *y);
    let unknown = |i: usize, head: &str| Some(i) != id && !is_place(i) && !dims.contains(&head);
    if moved.is_none()
        && let Some((_, head)) = heads.iter().enumerate().find(|(i, head)| unknown(*i, head))
    {
        let lower = head.to_ascii_lowercase();
        let has =
            format!("`{file}` has a column `{head}`: there is no dimension `{head}`; the cube has {}", dims.join(", "));
        let hint = match head.contains([';', '\t']) {
            true => "columns are separated by commas".to_owned(),
            false => {
                let other = match X.contains(&lower.as_str()) || Y.contains(&lower.as_str()) {
                    true => "; coordinates in another CRS are read with `--points-crs EPSG:4326`",
                    false => "",
                };
                format!(
                    "its line of heads names dimensions, as in `point,{}`; `point` or `name` is the name of each point, and \
                     other columns are to be left out{other}",
                    dims.join(",")
                )
            }
        };
        return Err(Failed::says(has).with_kind(Kind::Key).with_hint(hint));
    }
    if rows.is_empty() {
        return Err(Failed::says(format!("`{file}` holds no points"))
            .with_hint("it has a line of heads, such as `point,y,x`, and a line for each point"));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let number = |n: usize, i: usize, value: &Value| {
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| {
            Failed::says(format!("row {} of `{file}`: `{}` in column `{}` is no number", n + 1, text(value), heads[i]))
        })
    };
    let mut named = Vec::with_capacity(rows.len());
    for (n, row) in rows.iter().enumerate() {
        let id = id.map_or_else(|| n.into(), |i| row[i].clone());
        let mut pairs = match &moved {
            None => Vec::new(),
            Some((place, x, y)) => place.pairs(&id, (number(n, *x, &row[*x])?, number(n, *y, &row[*y])?), file)?,
        };
        for (i, head) in heads.iter().enumerate().filter(|(i, head)| !is_place(*i) && dims.contains(&head.as_str())) {
            pairs.push((head.clone(), text(&row[i])));
        }
        named.push((id, pairs));
    }
    Ok(named)
}
