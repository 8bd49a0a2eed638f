//! New, empty cubes: dimensions, coordinates and one variable whose cells are yet to be filled.

mod arguments;
mod chunks;

pub use arguments::{BadArgument, CoordSpec, Step, parse_coord, parse_dim, parse_scalar, parse_sizes};
pub use chunks::default_chunks;

use crate::write::{
    ArraySpec, CodecChoice, CubeWriter, Existing, Output, WriteError, Written, ZarrVersion, labels_to_array,
};
use chunkwise_core::crs::{Crs, grid_mapping_attributes};
use chunkwise_core::cube::{Attrs, Cube, DataType, Labels, Variable};
use chunkwise_core::dtype::{DType, Scalar};
use indexmap::IndexMap;
use serde_json::Value;

/// Name of the variable that holds the CRS.
const GRID_MAPPING: &str = "spatial_ref";

/// Labels of one dimension that can be made.
const MOST_LABELS: u64 = 1 << 27;

/// A new cube.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// Name of the variable.
    pub variable: String,
    /// Dimensions in order; [`Labels::Index`] where only the length is known.
    pub dims: IndexMap<String, Labels>,
    /// Element type.
    pub dtype: DType,
    /// Cells of a chunk along dimensions; those left out follow [`default_chunks`].
    pub chunks: IndexMap<String, u64>,
    /// Cells of a shard along dimensions; those left out are one chunk.
    pub shards: Option<IndexMap<String, u64>>,
    /// Compression.
    pub codec: CodecChoice,
    /// What cells that are not written hold. `None`: the missing mark, else `NaN` for floats, else 0 (none in v2).
    pub fill: Option<Scalar>,
    /// The stored value that marks missing cells.
    pub missing: Option<Scalar>,
    /// Coordinates of dimensions of which only the length is known.
    pub coords: IndexMap<String, CoordSpec>,
    /// Attributes of the grid mapping variable, and whether its axes are in degrees.
    pub crs: Option<CrsAttrs>,
    /// Attributes of the group.
    pub attrs: Attrs,
    /// Attributes of variables and coordinates, by name.
    pub variable_attrs: IndexMap<String, Attrs>,
}

/// A CRS as attributes: what the CRS part of a cube's metadata needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrsAttrs {
    /// Attributes of the grid mapping variable: `crs_wkt`, `grid_mapping_name` …
    pub mapping: Attrs,
    /// Attributes of the axis along x: `standard_name`, `units`, `axis`.
    pub x: Attrs,
    /// Attributes of the axis along y.
    pub y: Attrs,
}

impl CrsAttrs {
    /// What CF and GDAL ask for a CRS.
    pub fn of(crs: &Crs) -> CrsAttrs {
        let attrs = |list: &[(&str, &str)]| -> Attrs {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
        };
        let (x, y) = if crs.is_geographic() {
            (
                attrs(&[("standard_name", "longitude"), ("units", "degrees_east"), ("axis", "X")]),
                attrs(&[("standard_name", "latitude"), ("units", "degrees_north"), ("axis", "Y")]),
            )
        } else {
            (
                attrs(&[("standard_name", "projection_x_coordinate"), ("units", "m"), ("axis", "X")]),
                attrs(&[("standard_name", "projection_y_coordinate"), ("units", "m"), ("axis", "Y")]),
            )
        };
        CrsAttrs { mapping: grid_mapping_attributes(crs, None), x, y }
    }
}

/// Lengths along the dimensions of a variable, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Cells.
    pub shape: Vec<u64>,
    /// Cells of a chunk.
    pub chunks: Vec<u64>,
    /// Cells of a shard.
    pub shards: Option<Vec<u64>>,
}

/// Why a cube was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A dimension that the cube does not have.
    #[error("`{option}` names `{asked}`; the dimensions are {}", .has.join(", "))]
    NoDim {
        /// `--chunk`, `--shard` or `--coord`.
        option: &'static str,
        /// The name.
        asked: String,
        /// The dimensions.
        has: Vec<String>,
    },
    /// Times that are counted in what CF has no word for.
    #[error("`{variable}` holds {dtype}, which cannot be written: its unit has no word in CF")]
    Times {
        /// The variable.
        variable: String,
        /// Its type.
        dtype: String,
    },
    /// Labels given twice.
    #[error("`{dim}` has labels from `--dim` and from `--coord`")]
    TwoCoords {
        /// The dimension.
        dim: String,
    },
    /// Labels that are not as many as cells.
    #[error("`{dim}` has {length} cells and {labels} labels")]
    Labels {
        /// The dimension.
        dim: String,
        /// Cells.
        length: u64,
        /// Labels.
        labels: u64,
    },
    /// More labels than can be made in memory.
    #[error("a coordinate of {length} labels for `{dim}` is too long; at most {MOST_LABELS} are made")]
    TooLong {
        /// The dimension.
        dim: String,
        /// Cells.
        length: u64,
    },
    /// A time or number outside what can be stored.
    #[error("the labels of `{dim}` leave the range that can be stored")]
    Range {
        /// The dimension.
        dim: String,
    },
    /// A shard that holds no whole number of chunks.
    #[error("a shard of {shard} cells along `{dim}` is no multiple of its chunk of {chunk}; {next} is")]
    Shard {
        /// The dimension.
        dim: String,
        /// Cells asked for.
        shard: u64,
        /// Cells of a chunk.
        chunk: u64,
        /// The next multiple.
        next: u64,
    },
    /// A variable named like a dimension or the grid mapping.
    #[error("the variable cannot be called `{name}`, as a dimension or the grid mapping is")]
    Name {
        /// The name.
        name: String,
    },
    /// No cube to be like.
    #[error("`{location}` has no variable `{asked}` of numbers; it has {}", .has.join(", "))]
    NoVariable {
        /// The cube.
        location: String,
        /// The name.
        asked: String,
        /// The data variables.
        has: Vec<String>,
    },
    /// The cube could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CreateSpec {
    /// A cube of these dimensions, with defaults for all else.
    pub fn new(variable: &str, dims: IndexMap<String, Labels>, dtype: DType) -> CreateSpec {
        CreateSpec {
            variable: variable.to_owned(),
            dims,
            dtype,
            chunks: IndexMap::new(),
            shards: None,
            codec: CodecChoice::default(),
            fill: None,
            missing: None,
            coords: IndexMap::new(),
            crs: None,
            attrs: Attrs::new(),
            variable_attrs: IndexMap::new(),
        }
    }

    /// A cube like a variable of another: dimensions, chunks, shards, stored type, fill value, mark, attributes, packing,
    /// coordinates and CRS. `labels` are those of its dimensions, as far as they were read.
    ///
    /// # Errors
    /// No such variable, or one that holds text.
    pub fn like(cube: &Cube, variable: &str, labels: &IndexMap<String, Labels>) -> Result<CreateSpec, CreateError> {
        let found = cube.variables.get(variable).filter(|v| v.dtype.number().is_some());
        let Some((like, dtype)) = found.and_then(|v| Some((v, v.dtype.number()?))) else {
            return Err(CreateError::NoVariable {
                location: cube.location.clone(),
                asked: variable.to_owned(),
                has: cube.data_variables().map(|v| v.name.clone()).collect(),
            });
        };
        let label =
            |(dim, &length): (&String, &u64)| (dim.clone(), labels.get(dim).cloned().unwrap_or(Labels::Index(length)));
        let dims = like.dims.iter().zip(&like.shape).map(label).collect();
        let mut spec = CreateSpec::new(variable, dims, dtype);
        spec.chunks = like.dims.iter().zip(&like.chunks).map(|(d, c)| (d.clone(), first(c))).collect();
        spec.shards = like.shards.as_ref().map(|s| like.dims.iter().cloned().zip(s.iter().map(first)).collect());
        spec.missing = stored_mark(like);
        spec.fill = like.fill_value.filter(|_| like.zarr_format == 3 || spec.missing.is_none());
        let mut attrs = like.attrs.clone();
        for gone in ["_FillValue", "missing_value", "_ARRAY_DIMENSIONS", "grid_mapping", "coordinates", "actual_range"]
        {
            attrs.shift_remove(gone);
        }
        if let DataType::DateTime(unit) = &like.dtype {
            let Some(word) = unit.word().filter(|_| unit.step == 1) else {
                return Err(CreateError::Times { variable: variable.to_owned(), dtype: like.dtype.name() });
            };
            // Counts are written as integers with the units that they have.
            attrs.insert("units".to_owned(), format!("{word} since 1970-01-01").into());
            attrs.insert("calendar".to_owned(), "proleptic_gregorian".into());
        }
        spec.variable_attrs.insert(variable.to_owned(), attrs);
        for dim in &like.dims {
            if let Some(coordinate) = cube.coordinate(dim) {
                let mut attrs = coordinate.attrs.clone();
                for gone in
                    ["_FillValue", "_ARRAY_DIMENSIONS", "bounds", "units", "calendar", "scale_factor", "add_offset"]
                {
                    // Units of times are made anew; others stay.
                    if matches!(labels.get(dim), Some(Labels::Time(_))) || !["units", "calendar"].contains(&gone) {
                        attrs.shift_remove(gone);
                    }
                }
                spec.variable_attrs.insert(dim.clone(), attrs);
            }
        }
        let mapping = like.attrs.get("grid_mapping").and_then(Value::as_str);
        if let Some(mapping) = mapping.and_then(|name| cube.variables.get(name)) {
            let mapping = mapping.attrs.clone();
            spec.crs = Some(CrsAttrs { mapping, ..CrsAttrs::default() });
        }
        spec.attrs = cube.attrs.clone();
        Ok(spec)
    }

    /// Shape, chunks and shards of the variable.
    ///
    /// # Errors
    /// A dimension that there is not, a shard that holds no whole number of chunks.
    pub fn layout(&self) -> Result<Layout, CreateError> {
        let has = || self.dims.keys().cloned().collect::<Vec<_>>();
        let known = |option, sizes: Vec<&String>| match sizes.into_iter().find(|name| !self.dims.contains_key(*name)) {
            Some(asked) => Err(CreateError::NoDim { option, asked: asked.clone(), has: has() }),
            None => Ok(()),
        };
        known("--chunk", self.chunks.keys().collect())?;
        known("--coord", self.coords.keys().collect())?;
        if let Some(shards) = &self.shards {
            known("--shard", shards.keys().collect())?;
        }
        let shape: Vec<u64> = self.dims.values().map(Labels::len).collect();
        let names: Vec<&str> = self.dims.keys().map(String::as_str).collect();
        let by_rule = default_chunks(&names, &shape, self.dtype.size());
        let chunks: Vec<u64> = self
            .dims
            .keys()
            .zip(&shape)
            .zip(by_rule)
            .map(|((dim, &n), rule)| self.chunks.get(dim).copied().unwrap_or(rule).min(n.max(1)))
            .collect();
        let Some(asked) = &self.shards else {
            return Ok(Layout { shape, chunks, shards: None });
        };
        let mut shards = Vec::new();
        for ((dim, &n), &chunk) in self.dims.keys().zip(&shape).zip(&chunks) {
            let shard = asked.get(dim).copied().unwrap_or(chunk).max(1);
            // The whole axis is a shard also where its last chunk is ragged.
            let next = shard.min(n.max(1)).div_ceil(chunk.max(1)).saturating_mul(chunk);
            if shard < n && next != shard {
                return Err(CreateError::Shard { dim: dim.clone(), shard, chunk, next });
            }
            shards.push(next);
        }
        Ok(Layout { shape, chunks, shards: Some(shards) })
    }

    /// The arrays of the cube: the variable, then coordinates and the grid mapping with their cells.
    ///
    /// # Errors
    /// As [`CreateSpec::layout`]; labels that do not fit their dimension.
    pub fn arrays(&self, zarr: ZarrVersion) -> Result<Vec<(ArraySpec, Vec<u8>)>, CreateError> {
        let Layout { shape, chunks, shards } = self.layout()?;
        if self.dims.contains_key(&self.variable) && (self.dims.len() > 1 || self.coords.contains_key(&self.variable))
            || self.variable == GRID_MAPPING
        {
            return Err(CreateError::Name { name: self.variable.clone() });
        }
        let fill = match (self.fill, self.missing) {
            (Some(fill), _) => Some(fill),
            (None, Some(mark)) => Some(mark),
            (None, None) if self.dtype.is_float() => Some(Scalar::Float(f64::NAN)),
            (None, None) => None,
        };
        let missing = match self.missing {
            None if self.dtype.is_float() && fill.is_some_and(|f| f.to_f64().is_nan()) => fill,
            missing => missing,
        };
        let mut attrs = self.variable_attrs.get(&self.variable).cloned().unwrap_or_default();
        if self.crs.is_some() {
            attrs.insert("grid_mapping".to_owned(), GRID_MAPPING.into());
            // As xarray writes it: so named, the mapping comes along with the variable.
            attrs.insert("coordinates".to_owned(), GRID_MAPPING.into());
        }
        let data = ArraySpec {
            path: self.variable.clone(),
            dims: self.dims.keys().cloned().collect(),
            shape,
            dtype: DataType::Number(self.dtype),
            chunks,
            shards,
            codec: self.codec.clone(),
            fill_value: fill,
            missing,
            attrs,
            zarr,
        };
        let mut arrays = vec![(data, Vec::new())];
        let rank = self.dims.len();
        for (axis, (dim, labels)) in self.dims.iter().enumerate() {
            let made = self.labels(dim, labels)?;
            let Some((mut spec, cells)) = labels_to_array(dim, &made, None, zarr) else {
                continue;
            };
            let place = match &self.crs {
                Some(crs) if rank >= 2 && axis + 1 == rank => crs.x.clone(),
                Some(crs) if rank >= 2 && axis + 2 == rank => crs.y.clone(),
                _ => Attrs::new(),
            };
            let usual = usual_attrs(dim, &made);
            let own = self.variable_attrs.get(dim).cloned().unwrap_or_default();
            let written: Attrs = spec.attrs.clone();
            spec.attrs.extend(usual);
            spec.attrs.extend(place);
            spec.attrs.extend(own);
            // Units and calendar of times are those of the numbers that are written.
            spec.attrs.extend(written);
            arrays.push((spec, cells));
        }
        if let Some(crs) = &self.crs {
            let mut attrs = crs.mapping.clone();
            if let Some(transform) = self.transform()? {
                attrs.insert("GeoTransform".to_owned(), transform.into());
            }
            let spec = ArraySpec::plain(GRID_MAPPING.to_owned(), Vec::new(), Vec::new(), attrs, zarr);
            arrays.push((spec, bytemuck::bytes_of(&0i64).to_vec()));
        }
        Ok(arrays)
    }

    fn labels(&self, dim: &str, labels: &Labels) -> Result<Labels, CreateError> {
        let Some(coord) = self.coords.get(dim) else {
            return Ok(labels.clone());
        };
        if !matches!(labels, Labels::Index(_)) {
            return Err(CreateError::TwoCoords { dim: dim.to_owned() });
        }
        let length = labels.len();
        if length > MOST_LABELS {
            return Err(CreateError::TooLong { dim: dim.to_owned(), length });
        }
        let made = coord.labels(length).ok_or_else(|| CreateError::Range { dim: dim.to_owned() })?;
        if made.len() != length {
            return Err(CreateError::Labels { dim: dim.to_owned(), length, labels: made.len() });
        }
        Ok(made)
    }

    /// GDAL's `GeoTransform` where both spatial axes are even: the outer corner of the first cell, and steps.
    fn transform(&self) -> Result<Option<String>, CreateError> {
        let mut last = self.dims.iter().rev();
        let (Some((x, x_labels)), Some((y, y_labels))) = (last.next(), last.next()) else {
            return Ok(None);
        };
        let (x, y) = (self.even(x, x_labels)?, self.even(y, y_labels)?);
        let (Some((x, dx)), Some((y, dy))) = (x, y) else {
            return Ok(None);
        };
        Ok(Some(format!("{} {dx} 0 {} 0 {dy}", x - dx / 2.0, y - dy / 2.0)))
    }

    /// First label and step of an axis that is even.
    fn even(&self, dim: &str, labels: &Labels) -> Result<Option<(f64, f64)>, CreateError> {
        if let Some(CoordSpec::Numbers { start, step }) = self.coords.get(dim) {
            return Ok(Some((*start, *step)));
        }
        let values: Vec<f64> = match self.labels(dim, labels)? {
            Labels::Number(values) => values,
            Labels::Integer(values) => values.iter().map(|&v| v as f64).collect(),
            _ => return Ok(None),
        };
        let [first, .., last] = values.as_slice() else {
            return Ok(None);
        };
        let step = (last - first) / (values.len() - 1) as f64;
        let even = |(i, v): (usize, &f64)| (v - (first + step * i as f64)).abs() <= step.abs() * 1e-3;
        Ok(values.iter().enumerate().all(even).then_some((*first, step)))
    }
}

/// Makes an empty cube. In a group that exists ([`Existing::Extend`]), coordinates that are there already stay.
///
/// `Conventions` is set where the attributes do not name one.
///
/// # Errors
/// A specification that does not fit together, a coordinate of another length in a group that exists, or the output
/// cannot be written; nothing is left then.
pub fn create(spec: &CreateSpec, mut output: Output) -> Result<Written, CreateError> {
    let mut arrays = spec.arrays(output.zarr)?;
    output.attrs.extend(spec.attrs.clone());
    if output.existing == Existing::Extend {
        let mut kept = Vec::new();
        for (i, (array, cells)) in arrays.into_iter().enumerate() {
            let there = if i == 0 { None } else { crate::write::shape_of(&output, &array.path)? };
            match there {
                None => kept.push((array, cells)),
                Some(shape) if shape == array.shape => {}
                Some(shape) => {
                    return Err(CreateError::Labels {
                        dim: array.path.clone(),
                        length: array.shape.first().copied().unwrap_or(0),
                        labels: shape.first().copied().unwrap_or(0),
                    });
                }
            }
        }
        arrays = kept;
    }
    if output.existing != Existing::Extend || !crate::write::exists(&output)? {
        output.attrs.entry("Conventions".to_owned()).or_insert_with(|| "CF-1.11".into());
    }
    let (specs, cells): (Vec<ArraySpec>, Vec<Vec<u8>>) = arrays.into_iter().unzip();
    let writer = CubeWriter::begin(output, specs)?;
    for (number, cells) in cells.iter().enumerate().skip(1) {
        if let Err(e) = writer.write_whole(number, cells) {
            // The first error is the one to tell.
            let _ = writer.abort();
            return Err(e.into());
        }
    }
    Ok(writer.finish()?)
}

/// Length of chunks along one dimension; of uneven ones the longest.
fn first(sizes: &chunkwise_core::cube::ChunkSizes) -> u64 {
    use chunkwise_core::cube::ChunkSizes;
    match sizes {
        ChunkSizes::Regular(n) => *n,
        ChunkSizes::Listed(lengths) => lengths.iter().copied().max().unwrap_or(1),
    }
}

/// The first missing mark of a variable as it lies on disk.
fn stored_mark(variable: &Variable) -> Option<Scalar> {
    use chunkwise_core::cf::encode::{Gaps, Source, Statistic, output_type};
    let source = Source::of(variable)?;
    let output = output_type(Statistic::Value, &source, Gaps::Never);
    // A float without a mark would get `NaN` here, which the fill value rule gives too.
    if source.marks.is_empty() { None } else { output.stored_missing() }
}

/// What CF asks of well-known axes.
fn usual_attrs(dim: &str, labels: &Labels) -> Attrs {
    let list: &[(&str, &str)] = match (dim, labels) {
        (_, Labels::Time(_)) => &[("standard_name", "time"), ("axis", "T")],
        ("lat" | "latitude", Labels::Number(_) | Labels::Integer(_)) => {
            &[("standard_name", "latitude"), ("units", "degrees_north"), ("axis", "Y")]
        }
        ("lon" | "longitude", Labels::Number(_) | Labels::Integer(_)) => {
            &[("standard_name", "longitude"), ("units", "degrees_east"), ("axis", "X")]
        }
        ("x", Labels::Number(_) | Labels::Integer(_)) => &[("axis", "X")],
        ("y", Labels::Number(_) | Labels::Integer(_)) => &[("axis", "Y")],
        _ => &[],
    };
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

#[cfg(test)]
mod tests;
