//! Files added to a cube that exists, at the end of a dimension.
//!
//! Chunks first: those behind the old end are new, and the last one that is partly filled is replaced as a whole by one that also
//! holds the new cells, which nobody sees before the metadata say that they are there. Then the metadata, so that the
//! cube changes in one step: readers go by consolidated metadata, which say the old lengths until the last write. A
//! cube that has none gets them for that time.

use super::arrays::{Array, From};
use super::boxes::Boxes;
use super::check::{Way, same, same_values};
use super::{CubeOptions, CubesExplained, ImportError, Part, fill, open_parts, order};
use crate::exec::Counters;
use crate::exec::each::each;
use crate::job::label_value;
use crate::open::{OpenCube, OpenOptions, parse_kept, written};
use crate::store::{ByteRange, Store, StoreError, join};
use crate::write::{ArraySpec, Grown, ObjectLock, Place, ZarrVersion, cube_of, tell_ancestors, tidy};
use chunkwise_core::cf::encode::append_history;
use chunkwise_core::cube::{ChunkSizes, DataType, Labels, Role, Variable};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Metadata of arrays, by the name of the variable.
type Documents = Vec<(String, Map<String, Value>)>;

/// Files that are ready to be added to a cube.
#[derive(Debug)]
pub struct Append {
    /// The cube, then the files.
    parts: Vec<Part>,
    arrays: Vec<Array>,
    boxes: Boxes,
    place: Place,
    group: String,
    along: String,
    history: String,
    notes: Vec<String>,
}

impl Append {
    /// Opens cube and files, checks that they go together, and plans the work within a budget.
    ///
    /// # Errors
    /// A cube that cannot be written; files that do not go together with it, or do not lie behind its end; a budget that is
    /// too small.
    pub fn plan(
        location: &str,
        files: &[String],
        open: &OpenOptions,
        options: &CubeOptions,
        memory: u64,
        threads: usize,
    ) -> Result<Append, ImportError> {
        let (place, group) = writable(location, open)?;
        let store = place.store()?;
        let shown = join(&place.location(), &group);
        let cube = crate::open::open_in(store, &group, &shown, &open.decode)?;
        let along = along(&cube, options.along.as_deref())?;
        let options = CubeOptions { along: Some(along.clone()), ..options.clone() };
        let mut parts = open_parts(files, open)?;
        order::sort(&mut parts, &along)?;
        let old = cube.cube.dims.get(&along).copied().unwrap_or(0);
        behind(&cube, &parts, &along)?;
        parts.iter_mut().for_each(|part| part.at += old);
        let identity = crate::write::InputIdentity { location: shown, identity: String::new() };
        parts.insert(0, Part { cube, identity, at: 0, len: old });
        let (arrays, notes) = arrays(&parts, &along, &options)?;
        let boxes = Boxes::plan_from(&arrays, old, memory, threads, options.redecode)?;
        Ok(Append { parts, arrays, boxes, place, group, along, history: options.history, notes })
    }

    /// What it will do.
    pub fn explain(&self) -> CubesExplained {
        self.boxes.explain(&self.arrays, self.parts.len() - 1)
    }

    /// What is left out, as sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The dimension that grows, its old and its new length.
    pub fn grows(&self) -> (&str, u64, u64) {
        let len = |parts: &[Part]| parts.iter().map(|part| part.len).sum();
        (&self.along, len(&self.parts[..1]), len(&self.parts))
    }

    /// Adds the cells, then tells the metadata. Until then the cube is what it was.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged; the cube cannot be written, or was changed meanwhile; `cancel` was set.
    pub fn run(&self, counters: &Counters, cancel: &AtomicBool) -> Result<(), ImportError> {
        let folder = match &self.place {
            Place::Folder(root) => Some(root.clone()),
            Place::Zip(_) | Place::Store(_) => None,
        };
        let lock = ObjectLock::take(&self.place.location(), folder.as_deref(), "append")?;
        let done = self.add(counters, cancel).and_then(|()| self.tell());
        drop(lock);
        if let Some(folder) = &folder {
            tidy(folder);
        }
        done
    }

    fn add(&self, counters: &Counters, cancel: &AtomicBool) -> Result<(), ImportError> {
        let path = |array: &Array| join(&self.group, &array.spec.path);
        let store = self.place.store()?;
        // Others may have added to it since it was looked at.
        let decode = chunkwise_core::cf::decode::DecodeOptions::default();
        let now = crate::open::open_in(store, &self.group, &self.place.location(), &decode)?;
        if now.cube.dims.get(&self.along) != Some(&self.parts[0].len) {
            return Err(ImportError::Changed { location: self.place.location() });
        }
        let targets: Vec<Grown> = self
            .arrays
            .iter()
            .map(|array| Grown::open(&self.place, &path(array), &array.spec.shape))
            .collect::<Result<_, _>>()?;
        each(self.boxes.count(&self.arrays), self.boxes.threads, fill::Buffers::default, |buffers, number| {
            if cancel.load(Ordering::Relaxed) {
                return Err(ImportError::Interrupted);
            }
            let Some((at, number)) = self.boxes.find(&self.arrays, number) else { return Ok(()) };
            let (start, count) = self.boxes.of[at].part(number);
            let cells = self.arrays[at].cells(&start, &count, buffers, counters)?;
            targets[at].write(&start, &count, &cells)?;
            let chunks = start.iter().zip(&count).zip(&self.arrays[at].spec.chunks);
            let chunks: u64 = chunks.map(|((&s, &n), &c)| (s + n).div_ceil(c) - s / c).product();
            counters.leaves.fetch_add(chunks, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Makes the files' cells again and compares them with those of the cube, bit for bit.
    ///
    /// # Errors
    /// The first box that differs; files or chunks that cannot be read.
    pub fn verify(&self, cube: OpenCube, counters: &Counters, cancel: &AtomicBool) -> Result<(), ImportError> {
        fill::verify(&self.arrays, &self.boxes, cube, counters, cancel)
    }

    /// Changes the metadata so that the new lengths are seen in one step.
    fn tell(&self) -> Result<(), ImportError> {
        let store = self.place.store()?;
        let cube = &self.parts[0].cube.cube;
        if cube.zarr_format == 2 { self.tell_v2(&*store) } else { self.tell_v3(&*store) }?;
        if !self.group.is_empty() {
            let zarr = ZarrVersion::from_number(cube.zarr_format).unwrap_or_default();
            tell_ancestors(&store, &self.group, zarr, &self.place.location())?;
        }
        Ok(())
    }

    /// The documents of arrays as they are now, and with their new shapes.
    fn documents(&self, store: &dyn Store, name: &str) -> Result<Documents, ImportError> {
        let mut documents = Vec::new();
        for array in &self.arrays {
            let key = join(&join(&self.group, &array.spec.path), name);
            let Some(mut document) = read(store, &key)? else { continue };
            document.insert("shape".to_owned(), json!(array.spec.shape));
            documents.push((array.spec.path.clone(), document));
        }
        Ok(documents)
    }

    fn tell_v3(&self, store: &dyn Store) -> Result<(), ImportError> {
        let own = join(&self.group, "zarr.json");
        let longer = self.documents(store, "zarr.json")?;
        let group = read(store, &own)?.filter(|d| d.get("node_type").and_then(Value::as_str) == Some("group"));
        let held = |d: &Map<String, Value>| d.get("consolidated_metadata").is_some_and(Value::is_object);
        if let Some(group) = group.as_ref().filter(|group| !held(group)) {
            // The old lengths, for as long as the arrays change.
            let mut all = Map::new();
            let cube = &self.parts[0].cube;
            for name in cube.cube.variables.keys().chain(&cube.groups) {
                let document = read(store, &join(&join(&self.group, name), "zarr.json"))?;
                all.insert(name.clone(), document.map_or(Value::Null, Value::Object));
            }
            let mut group = group.clone();
            let whole = json!({"kind": "inline", "must_understand": false, "metadata": all});
            group.insert("consolidated_metadata".to_owned(), whole);
            put(store, &own, group)?;
        }
        for (name, document) in &longer {
            put(store, &join(&join(&self.group, name), "zarr.json"), document.clone())?;
        }
        let Some(mut group) = group else { return Ok(()) };
        if let Some(Value::Object(attrs)) = group.get_mut("attributes") {
            append_history(attrs, &self.history);
        }
        if let Some(Value::Object(all)) =
            group.get_mut("consolidated_metadata").and_then(|held| held.get_mut("metadata"))
        {
            for (name, document) in longer {
                all.insert(name, Value::Object(document));
            }
        }
        put(store, &own, group)
    }

    fn tell_v2(&self, store: &dyn Store) -> Result<(), ImportError> {
        let own = |name: &str| join(&self.group, name);
        let longer = self.documents(store, ".zarray")?;
        let is_group = read(store, &own(".zgroup"))?;
        let held = read(store, &own(".zmetadata"))?;
        let mut attrs = read(store, &own(".zattrs"))?.unwrap_or_default();
        if let (Some(group), None) = (&is_group, &held) {
            // The old lengths, for as long as the arrays change.
            let mut all = Map::new();
            all.insert(".zgroup".to_owned(), Value::Object(group.clone()));
            all.insert(".zattrs".to_owned(), Value::Object(attrs.clone()));
            let cube = &self.parts[0].cube;
            for name in cube.cube.variables.keys().chain(&cube.groups) {
                for kind in [".zarray", ".zgroup", ".zattrs"] {
                    if let Some(document) = read(store, &join(&own(name), kind))? {
                        all.insert(join(name, kind), Value::Object(document));
                    }
                }
            }
            let whole = Map::from_iter([
                ("zarr_consolidated_format".to_owned(), json!(1)),
                ("metadata".to_owned(), Value::Object(all)),
            ]);
            put(store, &own(".zmetadata"), whole)?;
        }
        for (name, document) in &longer {
            put(store, &join(&own(name), ".zarray"), document.clone())?;
        }
        if is_group.is_none() {
            return Ok(());
        }
        append_history(&mut attrs, &self.history);
        put(store, &own(".zattrs"), attrs.clone())?;
        let Some(mut held) = held else { return Ok(store.delete(&own(".zmetadata"))?) };
        if let Some(Value::Object(all)) = held.get_mut("metadata") {
            all.insert(".zattrs".to_owned(), Value::Object(attrs));
            for (name, document) in longer {
                all.insert(join(&name, ".zarray"), Value::Object(document));
            }
        }
        put(store, &own(".zmetadata"), held)
    }
}

fn read(store: &dyn Store, key: &str) -> Result<Option<Map<String, Value>>, ImportError> {
    let Some(bytes) = store.get(key, ByteRange::Whole)? else { return Ok(None) };
    match parse_kept(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        _ => Err(ImportError::unfit(&store.location(), format!("has `{key}` that cannot be understood"), "")),
    }
}

fn put(store: &dyn Store, key: &str, document: Map<String, Value>) -> Result<(), ImportError> {
    Ok(store.put(key, &written(&Value::Object(document)))?)
}

/// The root of the cube and the group in it; what is only read is refused.
fn writable(location: &str, open: &OpenOptions) -> Result<(Place, String), ImportError> {
    let (place, group) = Place::find(location, &open.storage)?;
    let read_only = |location: String, kind: &'static str| Err(StoreError::ReadOnly { location, kind }.into());
    match place {
        Place::Zip(path) => read_only(path.display().to_string(), "a zip file that exists"),
        Place::Folder(path) if path.is_file() => read_only(path.display().to_string(), "a file"),
        Place::Folder(path) if !path.is_dir() => Err(StoreError::NotFound { location: location.to_owned() }.into()),
        Place::Folder(path) => {
            // The copies of metadata above are told, too.
            let root = cube_of(&path);
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            let below = path.strip_prefix(&root).ok().and_then(|below| below.to_str()).unwrap_or_default().to_owned();
            Ok((Place::Folder(root), join(&below, &group)))
        }
        Place::Store(store) if store.form().is_some() => read_only(store.location(), "a file"),
        other => Ok((other, group)),
    }
}

/// The dimension that grows: the one asked for, or the only one of time.
fn along(cube: &OpenCube, asked: Option<&str>) -> Result<String, ImportError> {
    let location = &cube.cube.location;
    let dims = || cube.cube.dims.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
    match asked {
        Some(dim) if cube.cube.dims.contains_key(dim) => Ok(dim.to_owned()),
        Some(dim) => Err(ImportError::unfit(location, format!("has no dimension `{dim}`; it has `{}`", dims()), "")),
        None => {
            let timed = |dim: &&String| cube.cube.coordinate(dim).is_some_and(Variable::is_time);
            let times: Vec<&String> = cube.cube.dims.keys().filter(timed).collect();
            match times.as_slice() {
                [one] => Ok((*one).clone()),
                _ => Err(ImportError::unfit(
                    location,
                    "has not exactly one dimension of time",
                    format!("name the one that grows with `--along`: `{}`", dims()),
                )),
            }
        }
    }
}

/// Checks that files lie behind the last label of the cube.
fn behind(cube: &OpenCube, parts: &[Part], along: &str) -> Result<(), ImportError> {
    let labels: Arc<Labels> = cube.labels(along)?;
    let location = &cube.cube.location;
    if let Labels::Text(_) = &*labels {
        let problem = format!("has labels of `{along}` that are text, which cannot be added to");
        return Err(ImportError::unfit(location, problem, "`import --concat` makes a new cube of all"));
    }
    let Some(last) = order::keys(&labels).and_then(|keys| Some((keys.first().copied()?, keys.last().copied()?))) else {
        return Ok(());
    };
    let (first, last) = last;
    for part in parts {
        let own = part.cube.labels(along)?;
        let kinds = matches!((&*own, &*labels), (Labels::Time(_), Labels::Time(_)))
            || !matches!(
                (&*own, &*labels),
                (Labels::Time(_), _) | (_, Labels::Time(_)) | (Labels::Index(_) | Labels::Text(_), _)
            );
        let Some(begins) = order::keys(&own).and_then(|keys| keys.first().copied()).filter(|_| kinds) else {
            let problem = format!("has no labels of `{along}` that go on from those of `{location}`");
            return Err(ImportError::unfit(&part.cube.cube.location, problem, ""));
        };
        let down = last < first;
        if if down { begins < last } else { begins > last } {
            continue;
        }
        let text = |labels: &Labels, at: usize| label_value(labels, at).to_string().replace('"', "");
        let problem = format!(
            "begins along `{along}` at {}, which is not behind the last of `{location}`, {}",
            text(&own, 0),
            text(&labels, labels.len() as usize - 1)
        );
        let hint = "`append` adds at the end, each label once; `import --concat` makes a new cube of all files";
        return Err(ImportError::unfit(&part.cube.cube.location, problem, hint));
    }
    Ok(())
}

/// The arrays that grow, and what of the files is left out.
fn arrays(parts: &[Part], along: &str, options: &CubeOptions) -> Result<(Vec<Array>, Vec<String>), ImportError> {
    let cube = &parts[0].cube.cube;
    let mut arrays = Vec::new();
    for variable in cube.variables.values() {
        let axis = variable.axis(along);
        let unfit = |problem: String| ImportError::unfit(&cube.location, problem, "");
        if let (Some(problem), Some(_)) = (&variable.problem, axis) {
            return Err(unfit(format!("has a variable `{}` that cannot be read: {problem}", variable.name)));
        }
        let mut from = Vec::new();
        for part in &parts[1..] {
            let Some(own) = part.cube.cube.variables.get(&variable.name) else {
                if axis.is_none() {
                    continue;
                }
                let problem = format!("has no variable `{}`, which `{}` has", variable.name, cube.location);
                return Err(ImportError::unfit(&part.cube.cube.location, problem, ""));
            };
            let mut way = same((&parts[0], variable), (part, own), Some(along), options)?;
            if axis.is_none() {
                if variable.role != Role::GridMapping {
                    same_values((&parts[0], variable), (part, own))?;
                }
                continue;
            }
            if variable.role == Role::Bounds && variable.units().is_none() && way == Some(Way::Bits) {
                way = shift_of(&parts[0], part, &variable.name, along, options).or(way);
            }
            let Some(to) = variable.dtype.number() else {
                return Err(unfit(format!(
                    "has text in `{}` along `{along}`, which cannot be added to",
                    variable.name
                )));
            };
            let plain = to.is_float() && variable.packing.is_none();
            let way = match way {
                Some(way) => way,
                None if plain => Way::Decode,
                None => {
                    let problem =
                        format!("holds packed values in `{}`; decoded ones cannot be added to them", variable.name);
                    return Err(unfit(problem));
                }
            };
            from.push(From::of(part, own, way, to, part.at)?);
        }
        let Some(axis) = axis else { continue };
        arrays.push(grown(variable, axis, parts, from)?);
    }
    let known = |name: &&String| !cube.variables.contains_key(*name);
    let more: Vec<&String> =
        parts.get(1).map(|p| p.cube.cube.variables.keys().filter(known).collect()).unwrap_or_default();
    let names: Vec<&str> = more.into_iter().map(String::as_str).collect();
    let notes = match names.is_empty() {
        true => Vec::new(),
        false => vec![format!("variables that the cube does not have are left out: `{}`", names.join("`, `"))],
    };
    Ok((arrays, notes))
}

/// Bounds are counted as what they bound.
fn shift_of(cube: &Part, part: &Part, name: &str, along: &str, options: &CubeOptions) -> Option<Way> {
    let bounded = |v: &&Variable| v.attrs.get("bounds").and_then(Value::as_str) == Some(name);
    let parent = cube.cube.cube.variables.values().find(bounded)?;
    let own = part.cube.cube.variables.get(&parent.name)?;
    same((cube, parent), (part, own), Some(along), options).ok().flatten()
}

fn grown(variable: &Variable, axis: usize, parts: &[Part], from: Vec<From>) -> Result<Array, ImportError> {
    let mut shape = variable.shape.clone();
    shape[axis] = parts.iter().map(|part| part.len).sum();
    let regular = |sizes: &[ChunkSizes]| -> Option<Vec<u64>> {
        sizes.iter().map(|s| if let ChunkSizes::Regular(n) = s { Some(*n) } else { None }).collect()
    };
    let chunks = regular(&variable.chunks).zip(variable.shards.as_ref().map_or(Some(None), |s| regular(s).map(Some)));
    let Some((chunks, shards)) = chunks else {
        let problem = format!("has a chunk grid of unequal chunks in `{}`, which does not grow", variable.name);
        return Err(ImportError::unfit(&parts[0].cube.cube.location, problem, ""));
    };
    let zarr = ZarrVersion::from_number(variable.zarr_format).unwrap_or_default();
    let spec = ArraySpec {
        shape,
        chunks,
        shards,
        dims: variable.dims.clone(),
        dtype: variable.dtype.clone(),
        ..ArraySpec::plain(variable.name.clone(), Vec::new(), Vec::new(), Default::default(), zarr)
    };
    let dtype = match variable.dtype {
        DataType::Number(dtype) => dtype,
        _ => chunkwise_core::dtype::DType::Int64,
    };
    Ok(Array { spec, axis: Some(axis), dtype, from, whole: None })
}
