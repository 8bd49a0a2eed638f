//! NetCDF-4 and other HDF5 files: groups, dimensions from dimension scales, and how datasets are stored.
//!
//! Source: NetCDF-4 file format specification (Unidata), HDF5 file format specification 3.0.

use super::attrs;
use super::index::Index;
use super::rows::Rows;
use super::source::Source;
use super::tree::{Cell, Data, Group, Variable};
use hdf5_reader::error::{ByteOrder, Result};
use hdf5_reader::group::Group as H5Group;
use hdf5_reader::io::Cursor;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use hdf5_reader::messages::layout::DataLayout;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, StringSize, VarLenKind};
use netcdf_reader::NcMetadataMode;
use netcdf_reader::nc4::variables::extract_variable;
use netcdf_reader::types::NcDimension;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

/// Groups within groups.
const DEEPEST: usize = 64;
/// What the metadata of one object may take.
const HEADER: usize = 16 << 20;
/// Cells of text of any length that are read.
pub(super) const TEXTS: u64 = 1 << 21;
/// Before the name of a variable that is named as a dimension and is no coordinate of it.
const NOT_COORDINATE: &str = "_nc4_non_coord_";

/// An open HDF5 file.
pub(super) struct File {
    pub(super) hdf5: Hdf5File,
    pub(super) source: Arc<Source>,
    /// Bytes before the file proper.
    pub(super) base: u64,
    pub(super) offset_size: u8,
    pub(super) length_size: u8,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("source", &self.source).finish_non_exhaustive()
    }
}

impl File {
    /// Opens a file; nothing but its superblock is read. Links to other files are not followed.
    pub(super) fn open(source: &Arc<Source>) -> Result<File> {
        // Chunks are read and decoded here: the library's cache stays empty.
        let options = OpenOptions { chunk_cache_bytes: 0, max_object_header_bytes: HEADER, ..OpenOptions::default() };
        let hdf5 = Hdf5File::from_storage_with_options(source.storage(), options)?;
        let block = hdf5.superblock();
        let (base, offset_size, length_size) = (block.base_address, block.offset_size, block.length_size);
        Ok(File { source: Arc::clone(source), base, offset_size, length_size, hdf5 })
    }

    /// Whether NetCDF wrote it.
    pub(super) fn is_netcdf(&self) -> bool {
        self.hdf5.root_group().is_ok_and(|root| {
            root.attribute("_NCProperties").is_ok() || root.datasets().is_ok_and(|all| all.iter().any(is_scale))
        })
    }

    /// All that the file holds.
    pub(super) fn tree(&self) -> Result<Group> {
        let mut walk = Walk { file: self, longest: HashMap::new(), seen: HashSet::new() };
        let mut root = walk.group(&self.hdf5.root_group()?, "", &Scope::default(), 0)?;
        settle(&mut root, &walk.longest);
        Ok(root)
    }
}

/// Dimensions as far as a group sees them.
#[derive(Clone, Default)]
struct Scope {
    by_name: HashMap<String, u64>,
    by_address: HashMap<u64, NcDimension>,
    by_id: HashMap<i64, NcDimension>,
}

struct Walk<'a> {
    file: &'a File,
    /// Cells along dimensions without end, by their scale: as many as the longest variable has.
    longest: HashMap<u64, u64>,
    seen: HashSet<u64>,
}

impl Walk<'_> {
    fn group(&mut self, group: &H5Group, path: &str, outer: &Scope, depth: usize) -> Result<Group> {
        let mut made = Group::default();
        if depth > DEEPEST || !self.seen.insert(group.address()) {
            return Ok(made);
        }
        made.attrs = attrs::of_attributes(&group.attributes()?).0;
        let (children, datasets) = group.members()?;
        let mut scope = outer.clone();
        for scale in datasets.iter().filter(|d| is_scale(d)) {
            let name = own_name(scale.name());
            let without_end = scale.max_dims().and_then(|max| max.first()) == Some(&u64::MAX);
            let size = scale.shape().first().copied().unwrap_or(0);
            let dim = NcDimension { name: name.to_owned(), size, is_unlimited: without_end };
            if without_end {
                let longest = self.longest.entry(scale.address()).or_default();
                *longest = (*longest).max(size);
            }
            if let Ok(id) = scale.attribute("_Netcdf4Dimid").and_then(|id| id.read_scalar::<i32>()) {
                scope.by_id.insert(i64::from(id), dim.clone());
            }
            scope.by_name.insert(dim.name.clone(), scale.address());
            scope.by_address.insert(scale.address(), dim);
        }
        for dataset in datasets.iter().filter(|d| !is_dimension_only(d)) {
            let variable = self.variable(group, dataset, path, &scope);
            let name = own_name(dataset.name());
            made.variables.push(variable.unwrap_or_else(|e| Variable::unreadable(name, format!("unreadable ({e})"))));
        }
        for child in &children {
            let name = child.name().rsplit('/').next().unwrap_or_default().to_owned();
            let below = self.group(child, &format!("{path}/{name}"), &scope, depth + 1)?;
            made.groups.push((name, below));
        }
        Ok(made)
    }

    fn variable(&mut self, group: &H5Group, dataset: &Dataset, path: &str, scope: &Scope) -> Result<Variable> {
        let name = own_name(dataset.name()).to_owned();
        let header = self.file.hdf5.get_or_parse_header(dataset.address())?;
        let (mut layout, mut filters, mut fill, mut external) = (None, Vec::new(), Vec::new(), false);
        for message in &header.messages {
            match message {
                HdfMessage::DataLayout(found) => layout = Some(found.layout.clone()),
                HdfMessage::FilterPipeline(found) => filters = found.filters.clone(),
                HdfMessage::FillValue(found) => fill = found.value.clone().unwrap_or_default(),
                HdfMessage::ExternalFiles(_) => external = true,
                _ => {}
            }
        }
        let (attributes, unread) = attrs::of_attributes(&dataset.attributes());
        let shape = dataset.shape().to_vec();
        let mut variable = Variable {
            dims: vec![None; shape.len()],
            scales: vec![None; shape.len()],
            chunks: shape.iter().map(|&n| n.max(1)).collect(),
            shape,
            cell: cell(dataset.dtype()),
            attrs: attributes,
            ..Variable::unreadable(&name, String::new())
        };
        self.name_dims(&mut variable, group, dataset, scope);
        variable.data = match (&variable.cell, layout) {
            (Cell::Other(_), _) => return Ok(variable),
            (Cell::Text, _) => Data::Text(format!("{path}/{}", dataset.name().rsplit('/').next().unwrap_or_default())),
            (_, Some(DataLayout::Compact { data })) => Data::Inline(data),
            (cell, Some(DataLayout::Contiguous { address, .. })) => {
                let item = cell.size() as u64;
                let rows = Rows::new(self.file.base.saturating_add(address), None, item, &variable.shape);
                variable.chunks.clone_from(&rows.chunks);
                match Cursor::is_undefined_offset(address, self.file.offset_size) {
                    true => Data::Nothing,
                    false => Data::Rows(rows),
                }
            }
            (cell, Some(DataLayout::Chunked { address, mut dims, chunk_indexing, .. })) => {
                dims.truncate(variable.shape.len());
                let item = cell.size();
                variable.chunks = dims.iter().map(|&n| u64::from(n)).collect();
                let decode = match codecs(&filters, item) {
                    Some(codecs) => {
                        variable.filters = codecs;
                        None
                    }
                    None => Some(filters),
                };
                Data::Chunked(Box::new(Index {
                    address,
                    kind: chunk_indexing,
                    shape: variable.shape.clone(),
                    max: dataset.max_dims().map(<[u64]>::to_vec),
                    whole: variable.chunks.iter().fold(item as u64, |n, &c| n.saturating_mul(c)),
                    chunks: dims,
                    decode,
                    item,
                    nodes: Mutex::default(),
                    all: OnceLock::new(),
                }))
            }
            (_, None) => Data::Nothing,
        };
        if fill.len() == variable.cell.size() {
            variable.fill = fill;
        }
        as_texts(&mut variable);
        if let Some(unread) = unread {
            variable.cell = Cell::Other(format!("with an attribute `{unread}` that cannot be read"));
        }
        if external {
            variable.cell = Cell::Other("stored in another file".to_owned());
        }
        Ok(variable)
    }

    fn name_dims(&mut self, variable: &mut Variable, group: &H5Group, dataset: &Dataset, scope: &Scope) {
        let mode = NcMetadataMode::Lossy;
        let found = extract_variable(dataset, group, &[], &scope.by_address, &scope.by_id, mode);
        // Where the file names none, the library makes names up from the lengths.
        let Ok(Some(found)) = found else { return };
        if found.dimensions.len() != variable.shape.len() {
            return;
        }
        for (axis, dim) in found.dimensions.iter().enumerate() {
            let Some(&scale) = scope.by_name.get(&dim.name) else { continue };
            let Some(known) = scope.by_address.get(&scale) else { continue };
            if known.is_unlimited {
                variable.scales[axis] = Some(scale);
                let longest = self.longest.entry(scale).or_default();
                *longest = (*longest).max(variable.shape[axis]);
            } else if known.size != variable.shape[axis] {
                continue;
            }
            variable.dims[axis] = Some(dim.name.clone());
        }
    }
}

/// Gives variables the length of their dimensions, which may be longer than what was written of them.
fn settle(group: &mut Group, longest: &HashMap<u64, u64>) {
    for variable in &mut group.variables {
        if !matches!(variable.data, Data::Chunked(_)) {
            continue;
        }
        for (length, scale) in variable.shape.iter_mut().zip(&variable.scales) {
            if let Some(&longest) = scale.as_ref().and_then(|scale| longest.get(scale)) {
                *length = (*length).max(longest);
            }
        }
    }
    for (_, below) in &mut group.groups {
        settle(below, longest);
    }
}

/// Characters along the last dimension are one text, as xarray has it.
fn as_texts(variable: &mut Variable) {
    if variable.cell != Cell::Bytes(1) {
        return;
    }
    let (Some(length), Some(chunk)) = (variable.shape.last().copied(), variable.chunks.last().copied()) else { return };
    if chunk < length {
        variable.cell = Cell::Other("text that is stored in pieces".to_owned());
        return;
    }
    let n = usize::try_from(chunk).unwrap_or(usize::MAX).max(1);
    variable.cell = Cell::Bytes(n);
    let fill = variable.fill.first().copied().unwrap_or(0);
    // No more than a text that is stored has.
    variable.fill = vec![fill; if fill == 0 { 0 } else { n.min(1 << 16) }];
    for lengths in [&mut variable.shape, &mut variable.chunks] {
        lengths.pop();
    }
    variable.dims.pop();
    variable.scales.pop();
}

fn is_scale(dataset: &Dataset) -> bool {
    dataset.attribute("CLASS").and_then(|class| class.read_string()).is_ok_and(|class| class == "DIMENSION_SCALE")
}

/// Whether a dataset stands for a dimension that has no coordinate.
fn is_dimension_only(dataset: &Dataset) -> bool {
    let name = dataset.attribute("NAME").and_then(|name| name.read_string());
    is_scale(dataset) && name.is_ok_and(|name| name.starts_with("This is a netCDF dimension but not a netCDF variable"))
}

fn own_name(path: &str) -> &str {
    let leaf = path.rsplit('/').next().unwrap_or(path);
    leaf.strip_prefix(NOT_COORDINATE).unwrap_or(leaf)
}

fn cell(dtype: &Datatype) -> Cell {
    let number = |name, size: u8, order: ByteOrder| Cell::Number {
        name,
        size: usize::from(size),
        big: order == ByteOrder::BigEndian,
    };
    match dtype {
        Datatype::FixedPoint { size, signed, byte_order } => {
            let name = match (size, signed) {
                (1, true) => "int8",
                (2, true) => "int16",
                (4, true) => "int32",
                (8, true) => "int64",
                (1, false) => "uint8",
                (2, false) => "uint16",
                (4, false) => "uint32",
                (8, false) => "uint64",
                _ => return Cell::Other(format!("integer of {size} bytes")),
            };
            number(name, *size, *byte_order)
        }
        Datatype::FloatingPoint { size: 4, byte_order } => number("float32", 4, *byte_order),
        Datatype::FloatingPoint { size: 8, byte_order } => number("float64", 8, *byte_order),
        Datatype::FloatingPoint { size, .. } => Cell::Other(format!("float of {size} bytes")),
        Datatype::String { size: StringSize::Fixed(n), .. } => Cell::Bytes(*n as usize),
        Datatype::String { .. } | Datatype::VarLen { kind: VarLenKind::String, .. } => Cell::Text,
        Datatype::VarLen { .. } => Cell::Other("lists of any length".to_owned()),
        Datatype::Compound { fields, .. } => {
            let names: Vec<&str> = fields.iter().take(4).map(|field| field.name.as_str()).collect();
            Cell::Other(format!("compound of {}", names.join(", ")))
        }
        Datatype::Enum { .. } => Cell::Other("enumeration".to_owned()),
        Datatype::Array { .. } => Cell::Other("array within a cell".to_owned()),
        Datatype::Opaque { .. } => Cell::Other("opaque bytes".to_owned()),
        Datatype::Reference { .. } => Cell::Other("references".to_owned()),
        Datatype::Bitfield { .. } => Cell::Other("bit field".to_owned()),
    }
}

/// The codecs of Zarr that filters are; `None` where the library has to undo them. What neither knows gets a name that is refused.
fn codecs(filters: &[FilterDescription], item: usize) -> Option<Vec<Value>> {
    let mut library = false;
    let codec = |filter: &FilterDescription| match filter.id {
        1 => json!({"name": "numcodecs.zlib", "configuration": {"level": filter.client_data.first().unwrap_or(&4)}}),
        2 => {
            let size = filter.client_data.first().map_or(item as u64, |&n| u64::from(n));
            json!({"name": "numcodecs.shuffle", "configuration": {"elementsize": size}})
        }
        3 => json!({"name": "numcodecs.fletcher32"}),
        307 => json!({"name": "numcodecs.bz2", "configuration": {"level": filter.client_data.first().unwrap_or(&9)}}),
        32001 => json!({"name": "numcodecs.blosc", "configuration": {}}),
        32015 => json!({"name": "zstd", "configuration": {"level": filter.client_data.first().unwrap_or(&3)}}),
        4 | 5 | 6 | 32004 => {
            library = true;
            json!({})
        }
        other => json!({"name": format!("HDF5 filter {other}{}", known(other))}),
    };
    let made: Vec<Value> = filters.iter().map(codec).collect();
    let refused = filters.iter().zip(&made).any(|(_, codec)| {
        codec.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("HDF5 filter"))
    });
    if refused {
        // One that is known to nobody says it for all.
        let unknown = |codec: &Value| codec["name"].as_str().is_some_and(|name| name.starts_with("HDF5 filter"));
        return Some(made.into_iter().filter(unknown).collect());
    }
    (!library).then_some(made)
}

/// Names of registered filters that files of climate data have.
fn known(id: u16) -> &'static str {
    match id {
        32000 => " (LZF)",
        32008 => " (bitshuffle)",
        32013 => " (ZFP)",
        32017 => " (SZ)",
        32019 => " (FCIDECOMP)",
        32024 => " (SZ3)",
        32026 => " (Blosc2)",
        _ => "",
    }
}
