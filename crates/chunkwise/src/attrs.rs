//! Attributes of groups and arrays, shown and changed in place.
//!
//! A change is written to the document of the node first, and then to the copies that consolidated metadata of the node and of the groups
//! above hold, from the nearest to the root. Each document is replaced as a whole. What is interrupted in between leaves copies that say
//! what was before; the same change again, or any other, brings them up to date, as the copies are written whether the
//! document itself changes or not.

mod meaning;

pub use meaning::notes;

use crate::error::OpenError;
use crate::open::{OpenCube, open_in, parse_kept, plain, written};
use crate::store::secret::mask;
use crate::store::{ByteRange, LocalStore, StorageOptions, Store, StoreError, ZipStore, is_zip, join, locate_with};
use crate::write::{Found, ObjectLock, WriteError, cube_of, tidy, unfinished};
use base64::Engine as _;
use chunkwise_core::cf::decode::{DecodeOptions, named_float};
use chunkwise_core::cube::Attrs;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to change: keys that are set, then those that go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Attributes and their new values.
    pub set: Attrs,
    /// Attributes that go.
    pub delete: Vec<String>,
}

impl Change {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }
}

/// A group or array and its attributes.
#[derive(Clone, Debug)]
pub struct Node {
    /// As it was asked for.
    pub location: String,
    /// Whether it is an array.
    pub is_array: bool,
    /// 2 or 3.
    pub zarr_format: u8,
    /// Its attributes as they are stored.
    pub attrs: Attrs,
    store: Arc<dyn Store>,
    /// The folder of the store, where it is one.
    folder: Option<PathBuf>,
    path: String,
    dtype: Option<Value>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Keys whose value is another now: what it was and is.
    pub keys: Vec<(String, Option<Value>, Option<Value>)>,
    /// Attributes as they are now.
    pub attrs: Attrs,
    /// What the change means for the values of the cube, as sentences.
    pub notes: Vec<String>,
}

/// Why attributes were not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum AttrsError {
    /// There is no group or array, or it cannot be understood.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A document cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cube is being written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An attribute that is to go and is not there.
    #[error("`{location}` has no attribute `{key}`; it has {}", list(.has))]
    NoAttribute {
        /// The group or array.
        location: String,
        /// The key.
        key: String,
        /// Those that it has.
        has: Vec<String>,
    },
    /// An attribute that is both set and deleted.
    #[error("the attribute `{key}` is set and deleted at once")]
    Both {
        /// The key.
        key: String,
    },
    /// A document that is no JSON object.
    #[error("`{key}` in `{location}` cannot be understood: {reason}")]
    Document {
        /// Location of the store.
        location: String,
        /// Key of the document.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

type Document = Map<String, Value>;

/// Finds what `CUBE[:GROUP][:VARIABLE]` names, and its attributes.
///
/// # Errors
/// There is no group or array, or its metadata cannot be read.
pub fn find(location: &str, options: &StorageOptions) -> Result<Node, AttrsError> {
    let located = locate_with(location, options)?;
    let (mut store, mut path, mut folder) = (located.store, located.path, None);
    // Of a part of a cube that was named by its own folder, the copies are above.
    let own = Path::new(&store.location()).to_owned();
    if own.is_dir() && store.form().is_none() {
        let root = cube_of(&own);
        let own = std::fs::canonicalize(&own).unwrap_or(own);
        if let Ok(below) = own.strip_prefix(&root)
            && let Some(below) = below.to_str().filter(|below| !below.is_empty())
        {
            path = join(below, &path);
            store = Arc::new(LocalStore::open(&root)?);
        }
        folder = Some(root);
    }
    let (is_array, zarr_format, attrs, dtype) = if let Some(node) = read(&*store, &join(&path, "zarr.json"))? {
        let is_array = node.get("node_type").and_then(Value::as_str) == Some("array");
        (is_array, 3, object(node.get("attributes")), node.get("data_type").cloned())
    } else {
        let array = read(&*store, &join(&path, ".zarray"))?;
        if array.is_none() && read(&*store, &join(&path, ".zgroup"))?.is_none() {
            // What is there instead, in words.
            let cube = open_in(Arc::clone(&store), &path, &mask(location), &DecodeOptions::default())?;
            let attrs = cube.cube.attrs;
            let (location, dtype) = (mask(location), None);
            return Ok(Node { location, is_array: false, zarr_format: 2, attrs, store, folder, path, dtype });
        }
        let attrs = read(&*store, &join(&path, ".zattrs"))?.unwrap_or_default();
        (array.is_some(), 2, attrs, array.and_then(|a| a.get("dtype").cloned()))
    };
    Ok(Node { location: mask(location), is_array, zarr_format, attrs, store, folder, path, dtype })
}

fn object(value: Option<&Value>) -> Attrs {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn read(store: &dyn Store, key: &str) -> Result<Option<Document>, AttrsError> {
    let Some(bytes) = store.get(key, ByteRange::Whole)? else { return Ok(None) };
    let bad = |reason: String| AttrsError::Document { location: store.location(), key: key.to_owned(), reason };
    match parse_kept(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => Err(bad("it is no JSON object".to_owned())),
        Err(reason) => Err(bad(reason)),
    }
}

/// A text of the command line as a value: JSON where it is, else text.
pub fn parse_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

impl Node {
    /// The attributes for people: numbers that JSON lacks as text.
    pub fn shown(&self) -> Attrs {
        object(Some(&plain(&Value::Object(self.attrs.clone()))))
    }

    /// Changes attributes in place, in the copies of consolidated metadata too.
    ///
    /// # Errors
    /// An attribute that is to go is not there; the cube is being written, is in a zip file or another store that is only read; a document
    /// cannot be read or written. What is wrong with the request is found before anything is written.
    pub fn change(&self, change: &Change) -> Result<Changed, AttrsError> {
        if let Some(key) = change.delete.iter().find(|key| change.set.contains_key(*key)) {
            return Err(AttrsError::Both { key: key.clone() });
        }
        if is_zip(Path::new(&self.store.location())) && ZipStore::open(self.store.location()).is_ok() {
            let (location, kind) = (self.store.location(), "a zip file that exists");
            return Err(StoreError::ReadOnly { location, kind }.into());
        }
        for above in ancestors(&self.path).chain([self.path.as_str()]) {
            if unfinished(&*self.store, above)? != Found::None {
                return Err(WriteError::Unfinished { location: self.location.clone() }.into());
            }
        }
        let _lock = match &self.folder {
            Some(folder) => Some(Tidied {
                lock: Some(ObjectLock::take(&self.store.location(), Some(folder), "attributes")?),
                folder,
            }),
            None => None,
        };
        let before = self.look();
        // Others may have changed it since it was looked at.
        let own = if self.zarr_format == 3 { join(&self.path, "zarr.json") } else { join(&self.path, ".zattrs") };
        let mut document = read(&*self.store, &own)?.unwrap_or_default();
        let mut attrs = if self.zarr_format == 3 { object(document.get("attributes")) } else { document.clone() };
        let old = attrs.clone();
        for key in &change.delete {
            if attrs.shift_remove(key).is_none() {
                let has = attrs.keys().cloned().collect();
                return Err(AttrsError::NoAttribute { location: self.location.clone(), key: key.clone(), has });
            }
        }
        for (key, value) in &change.set {
            attrs.insert(key.clone(), self.as_stored(key, value));
        }
        if attrs != old {
            if self.zarr_format == 3 {
                document.insert("attributes".to_owned(), Value::Object(attrs.clone()));
            } else {
                document = attrs.clone();
            }
            self.store.put(&own, &written(&Value::Object(document)))?;
        }
        self.tell_copies(&attrs)?;
        let keys: Vec<(String, Option<Value>, Option<Value>)> = changed_keys(&old, &attrs);
        let mut notes = notes(self, &keys);
        notes.extend(unreadable(before.as_ref(), self.look().as_ref()));
        let keys = keys.into_iter().map(|(k, a, b)| (k, a.map(|v| plain(&v)), b.map(|v| plain(&v)))).collect();
        Ok(Changed { keys, attrs: object(Some(&plain(&Value::Object(attrs)))), notes })
    }

    /// The cube that the node is a part of, as far as it can be opened.
    fn look(&self) -> Option<OpenCube> {
        let path = if self.is_array { self.path.rsplit_once('/').map_or("", |(above, _)| above) } else { &self.path };
        let open = |path: &str| open_in(Arc::clone(&self.store), path, &self.location, &DecodeOptions::default()).ok();
        open(path).or_else(|| open(&self.path))
    }

    /// `_FillValue` of floats: in v3 base64, as xarray writes it and reads nothing else; in v2 as Python writes it.
    fn as_stored(&self, key: &str, value: &Value) -> Value {
        let float =
            self.dtype.as_ref().and_then(Value::as_str).is_some_and(|d| d.starts_with("float") || d.contains("f"));
        if key != "_FillValue" || !float {
            return value.clone();
        }
        let number = value.as_f64().or_else(|| value.as_str().and_then(named_float));
        match number {
            Some(number) if self.zarr_format == 3 => {
                base64::engine::general_purpose::STANDARD.encode(number.to_le_bytes()).into()
            }
            Some(number) if number.is_nan() => parse_kept(b"NaN").unwrap_or(Value::Null),
            _ => value.clone(),
        }
    }

    /// Brings the copies up to date: in the consolidated metadata of the node and of all above, the nearest first.
    fn tell_copies(&self, attrs: &Attrs) -> Result<(), AttrsError> {
        let holders: Vec<&str> = ancestors(&self.path).chain([self.path.as_str()]).collect();
        for holder in holders.into_iter().rev() {
            let below = self.path.strip_prefix(holder).unwrap_or(&self.path).trim_start_matches('/');
            let (key, told) = if self.zarr_format == 3 {
                let key = join(holder, "zarr.json");
                let Some(mut document) = read(&*self.store, &key)? else { continue };
                if below.is_empty() || !tell_v3(&mut document, below, attrs) {
                    continue;
                }
                (key, document)
            } else {
                let key = join(holder, ".zmetadata");
                let Some(mut document) = read(&*self.store, &key)? else { continue };
                let Some(Value::Object(metadata)) = document.get_mut("metadata") else { continue };
                let known = [".zarray", ".zgroup"].iter().any(|name| metadata.contains_key(&join(below, name)));
                let copy = Value::Object(attrs.clone());
                if !known || metadata.get(&join(below, ".zattrs")) == Some(&copy) {
                    continue;
                }
                metadata.insert(join(below, ".zattrs"), copy);
                (key, document)
            };
            self.store.put(&key, &written(&Value::Object(told)))?;
        }
        Ok(())
    }
}

/// The folder of locks goes when no one uses it.
struct Tidied<'a> {
    lock: Option<ObjectLock>,
    folder: &'a Path,
}

impl Drop for Tidied<'_> {
    fn drop(&mut self) {
        self.lock = None;
        tidy(self.folder);
    }
}

/// Paths above a node, the root first; none above the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let root = (!path.is_empty()).then_some("");
    root.into_iter().chain(path.match_indices('/').map(move |(at, _)| &path[..at]))
}

/// Changes the copy of a node in consolidated metadata, also where a copy of a group holds copies of its own; whether there was one that
/// said something else.
fn tell_v3(document: &mut Document, below: &str, attrs: &Attrs) -> bool {
    let held = document.get_mut("consolidated_metadata").and_then(|held| held.get_mut("metadata"));
    let Some(Value::Object(held)) = held else { return false };
    let mut told = false;
    if let Some(Value::Object(copy)) = held.get_mut(below)
        && copy.get("attributes").and_then(Value::as_object) != Some(attrs)
    {
        copy.insert("attributes".to_owned(), Value::Object(attrs.clone()));
        told = true;
    }
    for (at, _) in below.match_indices('/') {
        if let Some(Value::Object(group)) = held.get_mut(&below[..at]) {
            told |= tell_v3(group, &below[at + 1..], attrs);
        }
    }
    told
}

fn changed_keys(old: &Attrs, new: &Attrs) -> Vec<(String, Option<Value>, Option<Value>)> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let keys = new.keys().chain(gone).filter(|key| old.get(*key) != new.get(*key));
    keys.map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned())).collect()
}

/// Variables that could be read before and cannot now.
fn unreadable(before: Option<&OpenCube>, after: Option<&OpenCube>) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else {
        return if before.is_some() { vec!["the cube cannot be opened now".to_owned()] } else { Vec::new() };
    };
    let fine = |name: &str| before.cube.variables.get(name).is_some_and(|v| v.problem.is_none());
    let broken = after.cube.variables.values().filter(|v| fine(&v.name));
    broken.filter_map(|v| Some(format!("`{}` cannot be read now: {}", v.name, v.problem.as_ref()?))).collect()
}

impl Changed {
    /// The change as one JSON object: old and new value of each key.
    pub fn record(&self) -> Value {
        let value = |v: &Option<Value>| v.clone().unwrap_or(Value::Null);
        let one = |(key, from, to): &(String, Option<Value>, Option<Value>)| {
            (key.clone(), json!({"from": value(from), "to": value(to)}))
        };
        Value::Object(self.keys.iter().map(one).collect())
    }
}
