//! From single arrays to a cube: checks, dimensions that are shared, and what each variable is for.

use chunkwise_core::cf::decode::{DecodeOptions, Decoding};
use chunkwise_core::cube::{Attrs, ChunkSizes, Codec, Cube, DataType, Encoding, Missing, Packing, Role, Variable};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// A group or array as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) zarr_format: u8,
    pub(super) attrs: Attrs,
    pub(super) variables: Vec<Variable>,
    /// Names of groups directly below.
    pub(super) groups: Vec<String>,
    /// One array that was named by itself.
    pub(super) bare: bool,
}

/// Notes why a variable cannot be read; the first reason stays.
pub(super) trait Fault {
    fn fault(&mut self, problem: String);
}

impl Fault for Variable {
    fn fault(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

/// A variable of which nothing is known yet.
pub(super) fn blank(name: &str, path: String, zarr_format: u8) -> Variable {
    Variable {
        name: name.to_owned(),
        path,
        dims: Vec::new(),
        shape: Vec::new(),
        dtype: DataType::Unknown("unknown".to_owned()),
        view: None,
        chunks: Vec::new(),
        shards: None,
        fill_value: None,
        packing: Packing::NONE,
        missing: Missing::default(),
        valid: None,
        attrs: Attrs::new(),
        codecs: String::new(),
        encoding: Encoding::default(),
        zarr_format,
        role: Role::Data,
        problem: None,
    }
}

/// Names the dimensions, reads the CF attributes and checks that the metadata agree with themselves.
pub(super) fn complete(variable: &mut Variable) {
    name_dims(variable);
    if let Err(problem) = consistent(variable) {
        variable.fault(problem);
    }
    decode(variable, Fill::Marks);
}

/// Whether the fill value of a v2 array marks missing cells.
#[derive(Clone, Copy, PartialEq)]
enum Fill {
    Marks,
    IsAValue,
}

fn decode(variable: &mut Variable, fill: Fill) {
    let fill = variable.fill_value.filter(|_| fill == Fill::Marks);
    match Decoding::from_attrs(&variable.dtype, fill, &variable.attrs, variable.zarr_format) {
        Ok(decoding) => {
            variable.view = decoding.view;
            variable.packing = decoding.packing;
            variable.missing = decoding.missing;
            variable.valid = decoding.valid;
        }
        Err(error) => {
            variable.view = variable.dtype.number();
            variable.fault(format!("its {error}"));
        }
    }
}

/// Takes names from xarray's attribute where the format itself has none.
fn name_dims(variable: &mut Variable) {
    const ATTRIBUTE: &str = "_ARRAY_DIMENSIONS";
    let listed = variable.attrs.get(ATTRIBUTE).and_then(Value::as_array);
    let names: Option<Vec<String>> =
        listed.and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    let Some(names) = names else {
        number_dims(variable);
        return;
    };
    variable.attrs.shift_remove(ATTRIBUTE);
    if !variable.dims.is_empty() {
        return;
    }
    let rank = variable.shape.len();
    if names.len() == rank {
        variable.dims = names;
    } else {
        variable.fault(format!("`{ATTRIBUTE}` names {} dimensions, the array has {rank}", names.len()));
    }
    number_dims(variable);
}

fn number_dims(variable: &mut Variable) {
    for axis in variable.dims.len()..variable.shape.len() {
        variable.dims.push(format!("dim_{axis}"));
    }
}

fn consistent(variable: &Variable) -> Result<(), String> {
    if variable.problem.is_some() {
        return Ok(());
    }
    if let DataType::Unknown(name) = &variable.dtype {
        return Err(format!("its data type `{name}` is not supported"));
    }
    let rank = variable.shape.len();
    if variable.chunks.len() != rank {
        return Err(format!("its chunks have {} dimensions, the array has {rank}", variable.chunks.len()));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = variable.dims.iter().find(|dim| !seen.insert(*dim)) {
        return Err(format!("two of its dimensions are named `{twice}`"));
    }
    let mut chunk_cells = 1u64;
    for (dim, sizes) in variable.dims.iter().zip(&variable.chunks) {
        let length = match sizes {
            ChunkSizes::Regular(length) => *length,
            ChunkSizes::Listed(lengths) => lengths.iter().copied().max().unwrap_or(1),
        };
        if length == 0 {
            return Err(format!("its chunks have length 0 along `{dim}`"));
        }
        chunk_cells = chunk_cells
            .checked_mul(length)
            .filter(|&cells| cells <= 1 << 56)
            .ok_or("its chunks hold more cells than any memory")?;
    }
    // Offsets in bytes and cells stay within 63 bits, chunk grids included.
    let padded: u128 = variable.shape.iter().fold(1, |n: u128, &s| n.saturating_mul(s.max(1).into()));
    if padded > 1 << 59 {
        return Err(format!("it holds more cells than can be counted: its shape is {:?}", variable.shape));
    }
    Ok(())
}

/// A codec chain for people: `bytes, zstd(3)`.
pub(super) fn describe(codecs: &[Codec]) -> String {
    let one = |codec: &Codec| {
        let shown = ["cname", "clevel", "level", "order", "shuffle"];
        let mut settings: Vec<String> = shown
            .into_iter()
            .filter_map(|key| codec.configuration.get(key))
            .filter(|value| !value.is_object())
            .map(super::json::short)
            .collect();
        settings.extend(codec.configuration.get("endian").filter(|e| *e == "big").map(|_| "big".to_owned()));
        match settings.is_empty() {
            true => codec.name.clone(),
            false => format!("{}({})", codec.name, settings.join(" ")),
        }
    };
    codecs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The cube that the variables make.
pub(super) fn assemble(location: &str, found: Found, options: &DecodeOptions) -> Cube {
    let Found { zarr_format, attrs, variables, bare, .. } = found;
    let mut variables: IndexMap<String, Variable> =
        variables.into_iter().map(|variable| (variable.name.clone(), variable)).collect();
    if !bare {
        assign_roles(&attrs, &mut variables);
    }
    for variable in variables.values_mut() {
        match variable.role {
            Role::Data => options.apply(variable),
            // CF: a coordinate has no missing values; v2 writers leave a fill value of 0 that is none.
            Role::Dimension if zarr_format == 2 => decode(variable, Fill::IsAValue),
            _ => {}
        }
    }
    let dims = shared_dims(&mut variables);
    Cube { location: location.to_owned(), zarr_format, attrs, dims, variables }
}

/// Dimensions in the order of the data variables, then of the others.
///
/// Where lengths contradict each other, a coordinate decides, else the first variable that has the dimension; the
/// others cannot be read together with it, which is said of them. Axes without a name (`dim_0`) that differ in length
/// are other dimensions, and get a name of their own.
fn shared_dims(variables: &mut IndexMap<String, Variable>) -> IndexMap<String, u64> {
    let rank = |v: &Variable| match (v.problem.is_some(), v.role) {
        (false, Role::Data) => 0,
        (false, _) => 1,
        // What cannot be read may still say how long a dimension is that no other variable has.
        (true, _) => 2,
    };
    let mut order: Vec<usize> = (0..variables.len()).collect();
    order.sort_by_key(|&at| variables.get_index(at).map_or(3, |(_, v)| rank(v)));
    let coordinates = variables.values().filter(|v| v.problem.is_none() && v.role == Role::Dimension);
    let decided: HashMap<String, (u64, String)> =
        coordinates.filter_map(|v| Some((v.name.clone(), (*v.shape.first()?, v.name.clone())))).collect();
    let mut dims: IndexMap<String, (u64, String)> = IndexMap::new();
    for at in order {
        let Some((_, variable)) = variables.get_index_mut(at) else { continue };
        for axis in 0..variable.dims.len().min(variable.shape.len()) {
            let (dim, length) = (variable.dims[axis].clone(), variable.shape[axis]);
            let own = || (length, variable.name.clone());
            let (first_length, first) =
                dims.entry(dim.clone()).or_insert_with(|| decided.get(&dim).cloned().unwrap_or_else(own)).clone();
            if first_length == length {
                continue;
            }
            if dim == format!("dim_{axis}") {
                let renamed = format!("{}_{dim}", variable.name);
                dims.entry(renamed.clone()).or_insert_with(own);
                variable.dims[axis] = renamed;
            } else {
                variable.fault(format!(
                    "its dimension `{dim}` has length {length}, that of `{first}` has {first_length}; \
                     open it by itself to read it"
                ));
            }
        }
    }
    dims.into_iter().map(|(dim, (length, _))| (dim, length)).collect()
}

/// Names in an attribute: `lat lon`, and `crs: x y` of the long form of `grid_mapping`.
fn names<'a>(attrs: &'a Attrs, attribute: &str) -> impl Iterator<Item = &'a str> {
    let text = attrs.get(attribute).and_then(Value::as_str).unwrap_or_default();
    text.split_ascii_whitespace().map(|word| word.trim_end_matches(':'))
}

/// The grid mappings that an attribute names: all words, or those before a colon.
fn grid_mappings(attrs: &Attrs) -> impl Iterator<Item = &str> {
    let text = attrs.get("grid_mapping").and_then(Value::as_str).unwrap_or_default();
    let long = text.contains(':');
    text.split_ascii_whitespace()
        .filter(move |word| !long || word.ends_with(':'))
        .map(|word| word.trim_end_matches(':'))
}

fn assign_roles(attrs: &Attrs, variables: &mut IndexMap<String, Variable>) {
    let (mut auxiliary, mut bounds, mut mappings) = (HashSet::new(), HashSet::new(), HashSet::new());
    for attrs in variables.values().map(|v| &v.attrs).chain([attrs]) {
        auxiliary.extend(names(attrs, "coordinates").map(str::to_owned));
        bounds.extend(names(attrs, "bounds").chain(names(attrs, "climatology")).map(str::to_owned));
        mappings.extend(grid_mappings(attrs).map(str::to_owned));
    }
    for variable in variables.values_mut() {
        let describes_crs = variable.shape.is_empty()
            && ["grid_mapping_name", "crs_wkt", "spatial_ref", "GeoTransform"]
                .iter()
                .any(|key| variable.attrs.contains_key(*key));
        variable.role = if variable.dims == [variable.name.clone()] {
            Role::Dimension
        } else if mappings.contains(&variable.name) || describes_crs {
            Role::GridMapping
        } else if bounds.contains(&variable.name)
            || (auxiliary.contains(&variable.name) && named_bounds(&variable.name))
        {
            Role::Bounds
        } else if auxiliary.contains(&variable.name) || matches!(variable.dtype, DataType::Text(_)) {
            // Text can only label: it is never data to compute with.
            Role::Auxiliary
        } else {
            Role::Data
        };
    }
}

/// Whether a name is that of bounds; some writers list them among the coordinates and nowhere else.
fn named_bounds(name: &str) -> bool {
    name.ends_with("_bnds") || name.ends_with("_bounds")
}
