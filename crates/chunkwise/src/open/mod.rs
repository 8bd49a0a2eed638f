//! Opening: from a location to a cube, with as few requests as its metadata allow.
//!
//! Consolidated metadata cost one request (v3) or two (v2); else there is one listing, and one request (v3) or two (v2)
//! for each array. What is wrong with one variable is kept with it and said when it is used; the others stay usable.

mod assemble;
mod json;
mod labels;
mod v2;
mod v3;

pub(crate) use json::{parse_kept, plain, written};
pub use labels::Values;
pub(crate) use labels::{LabelCache, is_small};
pub(crate) use v3::fill_value;

use crate::chunk::{ChunkError, ChunkReader};
use crate::error::{OpenError, in_full};
use crate::store::secret::mask;
use crate::store::{ByteRange, Counted, Entry, StorageOptions, Store, join, locate_with};
use assemble::{Fault as _, Found, assemble, blank};
use chunkwise_core::cf::decode::DecodeOptions;
use chunkwise_core::cube::{Attrs, Cube, Variable};
use json::{CONSOLIDATED_MIB, DOCUMENT_MIB, Document, fetch, fetch_all};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A metadata document by key; `None` where there is none.
///
/// # Errors
/// It cannot be read, is too large, or is no JSON object.
pub(crate) fn fetch_document(store: &dyn Store, key: &str) -> Result<Option<Map<String, Value>>, OpenError> {
    fetch(store, key, CONSOLIDATED_MIB)
}

/// The array at a path as it is stored, without its attributes; `None` where there is none.
///
/// # Errors
/// Its metadata cannot be read.
pub(crate) fn stored_array(store: &dyn Store, path: &str) -> Result<Option<Variable>, OpenError> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if let Some(mut document) = fetch(store, &join(path, "zarr.json"), DOCUMENT_MIB)? {
        document.remove("attributes");
        let is_array = node(&document) == Node::Array;
        return Ok(is_array.then(|| v3::variable(name, path.to_owned(), document)));
    }
    let zarray = fetch(store, &join(path, ".zarray"), DOCUMENT_MIB)?;
    Ok(zarray.map(|zarray| v2::variable(name, path.to_owned(), &zarray, Attrs::new())))
}

/// Journal of a job whose output is not complete.
const JOURNAL: &str = ".chunkwise-job.json";

/// A cube and the store that holds its chunks.
#[derive(Clone, Debug)]
pub struct OpenCube {
    /// The metadata.
    pub cube: Cube,
    /// Where the chunks lie.
    pub store: Arc<dyn Store>,
    /// Path of the group or array in the store; empty for its root.
    pub path: String,
    /// Names of groups directly below.
    pub groups: Vec<String>,
    pub(crate) label_cache: Arc<LabelCache>,
}

/// Opens `LOCATION[:GROUP]`: a Zarr group (v2 or v3) as a cube, or one array (`CUBE:VAR`, or its own folder) as a cube
/// of that one variable.
///
/// # Errors
/// There is nothing, or nothing that is Zarr, or an unfinished job; metadata of the group cannot be understood.
pub fn open(location: &str) -> Result<OpenCube, OpenError> {
    open_with(location, &OpenOptions::default())
}

/// How a cube is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// How stored values of data variables are read.
    pub decode: DecodeOptions,
    /// Credentials and other options of stores.
    pub storage: StorageOptions,
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`]; options that cannot be understood.
pub fn open_with(location: &str, options: &OpenOptions) -> Result<OpenCube, OpenError> {
    let located = locate_with(location, &options.storage)?;
    // What is told of the location has no secrets.
    open_in(located.store, &located.path, &mask(location), &options.decode)
}

/// As [`open_with`], in a store that is at hand; `location` is for messages and the name of a bare array.
///
/// # Errors
/// As [`open`].
pub fn open_in(
    store: Arc<dyn Store>,
    path: &str,
    location: &str,
    options: &DecodeOptions,
) -> Result<OpenCube, OpenError> {
    let counted = Counted::new(store.clone());
    let mut found = find(&counted, path, location)?;
    let groups = std::mem::take(&mut found.groups);
    for variable in &mut found.variables {
        if let Err(error) = ChunkReader::new(variable, store.clone()) {
            variable.fault(match error {
                // Whoever tells the problem says that the variable cannot be read.
                ChunkError::Unreadable { reason, .. } => reason,
                error => in_full(&error),
            });
        }
    }
    let cube = assemble(location, found, options);
    let label_cache = Arc::<LabelCache>::default();
    label_cache.note(&counted);
    Ok(OpenCube { cube, store, path: path.to_owned(), groups, label_cache })
}

fn find(store: &dyn Store, path: &str, location: &str) -> Result<Found, OpenError> {
    if let Some(document) = fetch(store, &join(path, "zarr.json"), CONSOLIDATED_MIB)? {
        return from_v3(store, path, location, document);
    }
    if let Some(document) = fetch(store, &join(path, ".zmetadata"), CONSOLIDATED_MIB)? {
        if document.contains_key("record_size") {
            let reason = "it belongs to kerchunk references in Parquet, which are not read; write them as JSON";
            return Err(bad(store, join(path, ".zmetadata"), reason));
        }
        if let Some(Value::Object(metadata)) = document.get("metadata") {
            return Ok(from_v2_consolidated(path, metadata));
        }
        return Err(bad(store, join(path, ".zmetadata"), "it has no `metadata`"));
    }
    if fetch(store, &join(path, ".zgroup"), DOCUMENT_MIB)?.is_some() {
        return from_v2(store, path);
    }
    if let Some(document) = fetch(store, &join(path, ".zarray"), DOCUMENT_MIB)? {
        let attrs = fetch(store, &join(path, ".zattrs"), DOCUMENT_MIB)?.unwrap_or_default();
        let variable = v2::variable(&own_name(path, location), path.to_owned(), &document, attrs);
        return Ok(bare(variable));
    }
    for folder in [path, ""] {
        if store.get(&join(folder, JOURNAL), ByteRange::Whole)?.is_some() {
            return Err(OpenError::Unfinished { location: location.to_owned() });
        }
    }
    let found = contents(store, path)?;
    let found = match path.rsplit_once('/').map_or("", |(parent, _)| parent) {
        // Most often a name that was mistyped: what stands beside it helps.
        parent if found == NOTHING && !path.is_empty() => {
            format!("{NOTHING}, and beside it are {}", contents(store, parent)?)
        }
        _ => found,
    };
    Err(OpenError::NotZarr { location: location.to_owned(), found })
}

fn bad(store: &dyn Store, key: String, reason: &str) -> OpenError {
    OpenError::BadMetadata { location: store.location(), key, reason: reason.to_owned() }
}

/// What an empty folder holds, and one that is not there.
const NOTHING: &str = "nothing";

/// What a folder holds, for people.
fn contents(store: &dyn Store, path: &str) -> Result<String, OpenError> {
    const SHOWN: usize = 8;
    let entries = store.list_dir(path)?;
    let shown = entries.iter().take(SHOWN).map(|entry| match entry {
        Entry::Object(name) => format!("`{name}`"),
        Entry::Folder(name) => format!("`{name}/`"),
    });
    let shown: Vec<String> = shown.collect();
    Ok(match entries.len() {
        0 => NOTHING.to_owned(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    })
}

/// Name of an array that was opened by itself: the last segment of its path, or of the location.
fn own_name(path: &str, location: &str) -> String {
    let whole = if path.is_empty() { location } else { path };
    let name = whole.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name = name.strip_suffix(".zarr").unwrap_or(name);
    if name.is_empty() || name == "." { "array".to_owned() } else { name.to_owned() }
}

fn bare(variable: Variable) -> Found {
    let zarr_format = variable.zarr_format;
    Found { zarr_format, attrs: Attrs::new(), variables: vec![variable], groups: Vec::new(), bare: true }
}

/// What a v3 document describes.
#[derive(PartialEq)]
enum Node {
    Array,
    Group,
    Neither,
}

fn node(document: &Map<String, Value>) -> Node {
    match document.get("node_type").and_then(Value::as_str) {
        Some("array") => Node::Array,
        Some("group") => Node::Group,
        _ => Node::Neither,
    }
}

fn from_v3(
    store: &dyn Store,
    path: &str,
    location: &str,
    mut document: Map<String, Value>,
) -> Result<Found, OpenError> {
    match node(&document) {
        Node::Array => {
            return Ok(bare(v3::variable(&own_name(path, location), path.to_owned(), document)));
        }
        Node::Group if document.get("zarr_format").and_then(Value::as_u64) == Some(3) => {}
        Node::Group => {
            return Err(bad(store, join(path, "zarr.json"), &v3::wrong_format(&document)));
        }
        Node::Neither => {
            let reason = "its `node_type` is neither `group` nor `array`";
            return Err(bad(store, join(path, "zarr.json"), reason));
        }
    }
    let attrs = match document.remove("attributes") {
        Some(Value::Object(attrs)) => attrs,
        _ => Attrs::new(),
    };
    let (mut variables, mut groups) = (Vec::new(), Vec::new());
    let mut take = |name: &str, document: Map<String, Value>| match node(&document) {
        Node::Array => variables.push(v3::variable(name, join(path, name), document)),
        Node::Group => groups.push(name.to_owned()),
        Node::Neither => {}
    };
    let consolidated = match document.remove("consolidated_metadata") {
        Some(Value::Object(mut held)) => match held.remove("metadata") {
            Some(Value::Object(metadata)) => Some(metadata),
            _ => None,
        },
        _ => None,
    };
    if let Some(metadata) = consolidated {
        for (key, value) in metadata {
            if let (Some(name), Value::Object(document)) = (direct(&key), value) {
                take(name, document);
            }
        }
    } else {
        let mut broken = Vec::new();
        let names: Vec<String> = folders(store, path)?.collect();
        for (name, document) in names.iter().zip(documents(store, path, &names, "zarr.json")) {
            match document {
                Ok(Some(document)) => take(name, document),
                Ok(None) => {}
                Err(error) => broken.push(unreadable(name, path, 3, error)?),
            }
        }
        variables.extend(broken);
        variables.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(Found { zarr_format: 3, attrs, variables, groups, bare: false })
}

/// The key, where it names something directly below.
fn direct(key: &str) -> Option<&str> {
    let name = key.trim_matches('/');
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn folders(store: &dyn Store, path: &str) -> Result<impl Iterator<Item = String>, OpenError> {
    Ok(store.list_dir(path)?.into_iter().filter_map(|entry| match entry {
        Entry::Folder(name) => Some(name),
        Entry::Object(_) => None,
    }))
}

/// A document of each of several folders.
fn documents(store: &dyn Store, path: &str, names: &[String], document: &str) -> Vec<Document> {
    let keys: Vec<String> = names.iter().map(|name| join(&join(path, name), document)).collect();
    fetch_all(store, &keys)
}

/// A variable in the place of one whose document cannot be understood; failures of the store stay failures.
fn unreadable(name: &str, path: &str, zarr_format: u8, error: OpenError) -> Result<Variable, OpenError> {
    if matches!(error, OpenError::Store(_)) {
        return Err(error);
    }
    let mut variable = blank(name, join(path, name), zarr_format);
    variable.fault(in_full(&error));
    Ok(variable)
}

fn from_v2_consolidated(path: &str, metadata: &Map<String, Value>) -> Found {
    let attrs_of = |key: &str| match metadata.get(key) {
        Some(Value::Object(attrs)) => attrs.clone(),
        _ => Attrs::new(),
    };
    let (mut variables, mut groups) = (Vec::new(), Vec::new());
    for (key, value) in metadata {
        let Some((name, document)) = key.rsplit_once('/') else {
            continue;
        };
        let Some(name) = direct(name) else { continue };
        match (document, value) {
            (".zarray", Value::Object(zarray)) => {
                let attrs = attrs_of(&format!("{name}/.zattrs"));
                variables.push(v2::variable(name, join(path, name), zarray, attrs));
            }
            (".zarray", _) => {
                let mut variable = blank(name, join(path, name), 2);
                variable.fault("its metadata are no JSON object".to_owned());
                variables.push(variable);
            }
            (".zgroup", _) => groups.push(name.to_owned()),
            _ => {}
        }
    }
    Found { zarr_format: 2, attrs: attrs_of(".zattrs"), variables, groups, bare: false }
}

fn from_v2(store: &dyn Store, path: &str) -> Result<Found, OpenError> {
    let attrs = fetch(store, &join(path, ".zattrs"), DOCUMENT_MIB)?.unwrap_or_default();
    let (mut variables, mut groups) = (Vec::new(), Vec::new());
    let names: Vec<String> = folders(store, path)?.collect();
    let arrays = documents(store, path, &names, ".zarray");
    // The second document of each: of an array its attributes, of what is none whether it is a group.
    let second = names.iter().zip(&arrays).map(|(name, array)| {
        let document = if matches!(array, Ok(None)) { ".zgroup" } else { ".zattrs" };
        join(&join(path, name), document)
    });
    let second = fetch_all(store, &second.collect::<Vec<_>>());
    for ((name, array), second) in names.into_iter().zip(arrays).zip(second) {
        let found = match (array, second) {
            (Ok(Some(zarray)), Ok(attrs)) => {
                Ok(Some(v2::variable(&name, join(path, &name), &zarray, attrs.unwrap_or_default())))
            }
            (Ok(None), Err(error @ OpenError::Store(_))) => return Err(error),
            (Ok(None), Ok(None)) => Ok(None),
            // Whatever it says.
            (Ok(None), _) => {
                groups.push(name.clone());
                Ok(None)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        match found {
            Ok(Some(variable)) => variables.push(variable),
            Ok(None) => {}
            Err(error) => variables.push(unreadable(&name, path, 2, error)?),
        }
    }
    Ok(Found { zarr_format: 2, attrs, variables, groups, bare: false })
}

#[cfg(test)]
mod tests;
