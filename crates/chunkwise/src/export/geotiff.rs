//! Cloud-optimised GeoTIFFs.
//!
//! Bands are the variables of a cube, and the cells of each along all dimensions but rows and columns, in C order. Packed values
//! are written decoded: readers of TIFF do not agree on where a scale stands. North is up.

mod tiles;

use super::{Export, ExportError, TILE};
use crate::exec::{Counters, RunOptions};
use crate::job::label_values;
use crate::open::OpenCube;
use chunkwise_core::crs::{Crs, GridTransform, find_georeference};
use chunkwise_core::cube::{Labels, Variable};
use chunkwise_core::dtype::{DType, Scalar};
use geotiff_writer::{
    CogBuilder, Compression, GeoTiffBuilder, NumericSample, PlanarConfiguration, Predictor, Resampling,
};
use ndarray::ArrayView3;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use tiles::Tiles;

/// Bytes of a tile with all of its bands, at most, as long as its sides are no shorter than 64 cells.
const TILE_BYTES: u64 = 16 << 20;
/// Overviews are made until one is no larger.
const SMALLEST: u64 = 256;

/// Sides of the tiles of a file of so many bands of so many bytes.
fn tile(bands: u64, bytes: u64) -> u64 {
    let mut side = TILE;
    while side > 64 && side * side * bands * bytes > TILE_BYTES {
        side /= 2;
    }
    side
}

/// What a file holds.
struct Plan<'a> {
    variables: Vec<&'a Variable>,
    /// Rows and columns.
    cells: (u64, u64),
    bands: Vec<String>,
    dtype: DType,
    nodata: Option<Scalar>,
    transform: Option<GridTransform>,
    flip: (bool, bool),
    crs: Option<Crs>,
}

pub(super) fn write(
    cube: &OpenCube,
    path: &Path,
    export: &Export,
    counters: &Counters,
    run: &RunOptions,
) -> Result<(), ExportError> {
    let plan = plan(cube)?;
    match plan.dtype {
        DType::Bool | DType::UInt8 => typed::<u8>(cube, &plan, path, export, counters, run)?,
        DType::Int8 => typed::<i8>(cube, &plan, path, export, counters, run)?,
        DType::UInt16 => typed::<u16>(cube, &plan, path, export, counters, run)?,
        DType::Int16 => typed::<i16>(cube, &plan, path, export, counters, run)?,
        DType::UInt32 => typed::<u32>(cube, &plan, path, export, counters, run)?,
        DType::Int32 => typed::<i32>(cube, &plan, path, export, counters, run)?,
        DType::UInt64 => typed::<u64>(cube, &plan, path, export, counters, run)?,
        DType::Int64 => typed::<i64>(cube, &plan, path, export, counters, run)?,
        DType::Float32 => typed::<f32>(cube, &plan, path, export, counters, run)?,
        DType::Float64 => typed::<f64>(cube, &plan, path, export, counters, run)?,
        other => {
            let variable = plan.variables[0].name.clone();
            return Err(ExportError::Type { variable, dtype: other.name().to_owned(), to: "GeoTIFF" });
        }
    }
    beside(&plan, export)
}

fn plan(cube: &OpenCube) -> Result<Plan<'_>, ExportError> {
    let variables: Vec<&Variable> = cube.cube.data_variables().collect();
    let Some(first) = variables.first() else { return Err(ExportError::Nothing) };
    let place = find_georeference(&cube.cube, first);
    let plane = place.dims.as_ref().map(|d| (d.y.clone(), d.x.clone()));
    let last = || match first.dims.as_slice() {
        [.., y, x] => Some((y.clone(), x.clone())),
        _ => None,
    };
    let Some((y, x)) = plane.or_else(last) else {
        return Err(ExportError::NoPlane { variable: first.name.clone(), has: first.dims.clone() });
    };
    let written = |v: &Variable| v.decoded_dtype().or(v.dtype.number()).unwrap_or(DType::Float64);
    let is = |v: &Variable| format!("{} ({})", written(v).name(), v.dims.join(", "));
    for other in &variables[1..] {
        let same = written(other) == written(first) && other.dims.ends_with(&[y.clone(), x.clone()]);
        if !same {
            let (one, other_name) = (first.name.clone(), other.name.clone());
            return Err(ExportError::Mixed { one, one_is: is(first), other: other_name, other_is: is(other) });
        }
    }
    if !first.dims.ends_with(&[y.clone(), x.clone()]) {
        return Err(ExportError::NoPlane { variable: first.name.clone(), has: first.dims.clone() });
    }
    let rank = first.shape.len();
    let cells = (first.shape[rank - 2], first.shape[rank - 1]);
    let axes = even(cube, &y).and_then(|ys| Ok((ys, even(cube, &x)?)));
    let found = match (axes, place.transform.is_some()) {
        (Ok((Some((y, dy)), Some((x, dx)))), _) => GridTransform::from_centres(x, dx, y, dy),
        (Ok(_), _) => None,
        // How large the only cell of an axis is, an attribute may say.
        (Err(ExportError::OneCell { .. }), true) => None,
        (Err(error), _) => return Err(error),
    };
    // Numbers of the attribute are exact where labels are rounded.
    let said = place.transform.filter(|t| found.is_none_or(|f| close(&f, t)));
    let mut transform = said.or(found);
    let flip = transform.as_ref().filter(|t| !t.is_rotated()).map_or((false, false), |t| (t.e > 0.0, t.a < 0.0));
    if let Some(t) = &mut transform {
        if flip.0 {
            (t.origin_y, t.e) = (t.origin_y + t.e * cells.0 as f64, -t.e);
        }
        if flip.1 {
            (t.origin_x, t.a) = (t.origin_x + t.a * cells.1 as f64, -t.a);
        }
    }
    let mut bands = Vec::new();
    for variable in &variables {
        bands.extend(band_names(cube, variable, variables.len() > 1)?);
    }
    let dtype = written(first);
    let nodata = match dtype.is_float() {
        true => Some(Scalar::Float(f64::NAN)),
        false => first.missing.marks.first().copied(),
    };
    Ok(Plan { variables, cells, bands, dtype, nodata, transform, flip, crs: place.crs })
}

/// First label and step of an axis; `None` where it has none.
fn even(cube: &OpenCube, dim: &str) -> Result<Option<(f64, f64)>, ExportError> {
    if cube.cube.coordinate(dim).is_none() {
        return Ok(None);
    }
    let labels: Vec<f64> = match &*cube.labels(dim)? {
        Labels::Number(v) => v.clone(),
        Labels::Integer(v) => v.iter().map(|&v| v as f64).collect(),
        _ => return Ok(None),
    };
    let [first, .., last] = labels.as_slice() else {
        return Err(ExportError::OneCell { dim: dim.to_owned() });
    };
    let step = (last - first) / (labels.len() - 1) as f64;
    let is_even = |(i, v): (usize, &f64)| (v - (first + step * i as f64)).abs() <= step.abs() * 1e-2;
    match step != 0.0 && labels.iter().enumerate().all(is_even) {
        true => Ok(Some((*first, step))),
        false => Err(ExportError::Uneven { dim: dim.to_owned() }),
    }
}

fn close(one: &GridTransform, other: &GridTransform) -> bool {
    let near = |a: f64, b: f64, cell: f64| (a - b).abs() <= cell.abs() * 1e-2;
    !other.is_rotated()
        && near(one.origin_x, other.origin_x, one.a)
        && near(one.origin_y, other.origin_y, one.e)
        && near(one.a, other.a, one.a * 1e-2)
        && near(one.e, other.e, one.e * 1e-2)
}

/// What the bands of a variable are called: by its labels, and by its name where there are several.
fn band_names(cube: &OpenCube, variable: &Variable, several: bool) -> Result<Vec<String>, ExportError> {
    let left = &variable.dims[..variable.dims.len() - 2];
    let mut names = vec![String::new()];
    for dim in left {
        let n = cube.cube.dims.get(dim).copied().unwrap_or(0);
        let labels = match cube.cube.coordinate(dim) {
            Some(_) => label_values(&*cube.labels(dim)?),
            None => (0..n).map(Value::from).collect(),
        };
        let text = |label: &Value| label.as_str().map_or_else(|| label.to_string(), str::to_owned);
        let one = left.len() == 1;
        let with = |name: &String, label: &Value| match (one, name.is_empty()) {
            (true, _) => text(label),
            (false, true) => format!("{dim}={}", text(label)),
            (false, false) => format!("{name} {dim}={}", text(label)),
        };
        names = names.iter().flat_map(|name| labels.iter().map(move |label| with(name, label))).collect();
    }
    let whole = |name: String| match (several, name.is_empty()) {
        (false, false) => name,
        (_, true) => variable.name.clone(),
        (true, false) => format!("{} {name}", variable.name),
    };
    Ok(names.into_iter().map(whole).collect())
}

fn typed<T: NumericSample + bytemuck::Pod + Default>(
    cube: &OpenCube,
    plan: &Plan<'_>,
    path: &Path,
    export: &Export,
    counters: &Counters,
    run: &RunOptions,
) -> Result<(), ExportError> {
    let failed = |e: geotiff_writer::Error| export.failed(e);
    let (rows, columns) = plan.cells;
    let (Ok(width), Ok(height)) = (u32::try_from(columns), u32::try_from(rows)) else {
        return Err(ExportError::Nothing);
    };
    let bands = plan.bands.len();
    let side = tile(bands as u64, size_of::<T>() as u64);
    let mut tiff = GeoTiffBuilder::new(width, height)
        .bands(bands as u32)
        .tile_size(side as u32, side as u32)
        .planar_configuration(PlanarConfiguration::Planar);
    tiff = match export.deflate("GeoTIFF")? {
        None => tiff.compression(Compression::None),
        Some(level) => {
            let predictor = if plan.dtype.is_float() { Predictor::FloatingPoint } else { Predictor::Horizontal };
            tiff.compression(Compression::Deflate).deflate_level(level).predictor(predictor)
        }
    };
    if let Some(t) = &plan.transform {
        tiff = tiff.transform(geotiff_writer::GeoTransform {
            origin_x: t.origin_x,
            pixel_width: t.a,
            skew_x: t.b,
            origin_y: t.origin_y,
            skew_y: t.d,
            pixel_height: t.e,
        });
    }
    if let Some(epsg) = plan.crs.as_ref().and_then(|c| c.epsg).and_then(|code| u16::try_from(code).ok()) {
        let geographic = plan.crs.as_ref().is_some_and(Crs::is_geographic);
        tiff = if geographic { tiff.geographic_epsg(epsg) } else { tiff.projected_epsg(epsg) };
    }
    if let Some(nodata) = plan.nodata {
        tiff = tiff.nodata(&match nodata {
            Scalar::Int(v) => v.to_string(),
            Scalar::UInt(v) => v.to_string(),
            Scalar::Float(v) if v.is_nan() => "nan".to_owned(),
            Scalar::Float(v) => v.to_string(),
        });
    }
    let mut levels = Vec::new();
    let mut level = 2u32;
    while rows.max(columns).div_ceil(u64::from(level) / 2) > SMALLEST {
        levels.push(level);
        level *= 2;
    }
    let cog = CogBuilder::new(tiff).overview_levels(levels).resampling(Resampling::NearestNeighbor);
    let mut writer = cog.tile_writer_file::<T, _>(path).map_err(failed)?;
    // All bands of a tile lie side by side until it is written.
    let side = side as usize;
    let (down, across) = ((rows as usize).div_ceil(side), (columns as usize).div_ceil(side));
    let mut tiles = Tiles::new(cube, plan, run)?;
    for row in 0..down {
        for column in 0..across {
            let (h, w) = ((rows as usize - row * side).min(side), (columns as usize - column * side).min(side));
            let mut block: Vec<T> = vec![T::default(); h * w * bands];
            tiles.fill((row * side, column * side), (h, w), bytemuck::cast_slice_mut(&mut block), plan)?;
            let view = ArrayView3::from_shape((bands, h, w), &block).map_err(|e| export.failed(e))?;
            writer.write_tile_3d(column * side, row * side, &view.permuted_axes([1, 2, 0])).map_err(failed)?;
            counters.leaves.fetch_add(1, Ordering::Relaxed);
        }
    }
    writer.finish().map(drop).map_err(failed)
}

/// What GDAL reads beside a file: what bands are called where there are several, and a CRS without a code.
fn beside(plan: &Plan<'_>, export: &Export) -> Result<(), ExportError> {
    let mut name = export.path.clone().into_os_string();
    name.push(".aux.xml");
    let path = PathBuf::from(name);
    let wkt = plan.crs.as_ref().filter(|c| c.epsg.is_none()).and_then(|c| c.wkt.clone());
    if plan.bands.len() < 2 && wkt.is_none() {
        return Ok(());
    }
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut xml = String::from("<PAMDataset>\n");
    if let Some(wkt) = wkt {
        let _ = writeln!(xml, "  <SRS>{}</SRS>", escaped(&wkt));
    }
    for (n, band) in plan.bands.iter().enumerate() {
        let _ = writeln!(
            xml,
            "  <PAMRasterBand band=\"{}\"><Description>{}</Description></PAMRasterBand>",
            n + 1,
            escaped(band)
        );
    }
    xml.push_str("</PAMDataset>\n");
    std::fs::write(&path, xml).map_err(|e| export.failed(e))
}
