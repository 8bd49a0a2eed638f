//! Metadata of groups: the root of a cube, the groups above and below it, and consolidated metadata.

use super::array::{ZarrVersion, group_metadata};
use super::error::WriteError;
use crate::store::{ByteRange, Store, StoreError, join};
use chunkwise_core::cube::Attrs;
use serde_json::{Map, Value, json};

/// Metadata objects by key below the group that is written.
pub(crate) type Nodes = Map<String, Value>;

/// Stores metadata as people can read them.
pub(crate) fn put_json(store: &dyn Store, key: &str, node: &Value) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(node).unwrap_or_default();
    text.push(b'\n');
    store.put(key, &text)
}

/// Whether there is an object.
pub(crate) fn exists(store: &dyn Store, key: &str) -> Result<bool, StoreError> {
    Ok(store.get(key, ByteRange::Whole)?.is_some())
}

/// Whether metadata at this key are those of a group (v3: or may be).
pub(crate) fn is_group_key(key: &str) -> bool {
    [".zgroup", "zarr.json"].into_iter().any(|name| key.rsplit('/').next() == Some(name))
}

/// Adds the groups between the cube and an array `a/b/c`: `a` and `a/b`.
pub(crate) fn add_folders(nodes: &mut Nodes, path: &str, zarr: ZarrVersion) {
    for (at, _) in path.match_indices('/') {
        for (name, node) in group_metadata(zarr, &Attrs::new(), None) {
            nodes.entry(join(&path[..at], &name)).or_insert(node);
        }
    }
}

/// The entries of consolidated metadata for metadata objects below a group.
fn entries(zarr: ZarrVersion, nodes: &Nodes) -> Map<String, Value> {
    match zarr {
        ZarrVersion::V2 => nodes.clone(),
        ZarrVersion::V3 => {
            let path = |key: &String| Some(key.strip_suffix("/zarr.json")?.to_owned());
            nodes.iter().filter_map(|(key, node)| Some((path(key)?, bare(node)))).collect()
        }
    }
}

/// A node without the consolidated metadata of its own.
fn bare(node: &Value) -> Value {
    let mut node = node.clone();
    if let Value::Object(map) = &mut node {
        map.shift_remove("consolidated_metadata");
    }
    node
}

/// Metadata objects of the group that is written, in the order in which they are to be stored: the one that makes it a
/// group is the last.
pub(crate) fn root(zarr: ZarrVersion, attrs: &Attrs, nodes: &Nodes) -> Vec<(String, Value)> {
    let mut objects = group_metadata(zarr, attrs, Some(&entries(zarr, nodes)));
    if zarr == ZarrVersion::V2 {
        objects.sort_by_key(|(key, _)| [".zattrs", ".zmetadata", ".zgroup"].iter().position(|k| k == key));
    }
    objects
}

/// Reads a JSON object; `None` where there is none.
fn read(store: &dyn Store, key: &str, location: &str) -> Result<Option<Map<String, Value>>, WriteError> {
    let Some(bytes) = store.get(key, ByteRange::Whole)? else {
        return Ok(None);
    };
    let bad = |why: String| {
        let problem = format!("`{key}` is no JSON object{why}");
        WriteError::BadGroup { location: location.to_owned(), problem }
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => Err(bad(String::new())),
        Err(error) => Err(bad(format!(": {error}"))),
    }
}

/// What a path of a store is: `None` where there is nothing.
fn group_version(store: &dyn Store, path: &str, location: &str) -> Result<Option<ZarrVersion>, WriteError> {
    let bad = |problem: String| WriteError::BadGroup { location: location.to_owned(), problem };
    let shown = if path.is_empty() { "its root".to_owned() } else { format!("`{path}`") };
    if let Some(node) = read(store, &join(path, "zarr.json"), location)? {
        return match node.get("node_type").and_then(Value::as_str) {
            Some("group") => Ok(Some(ZarrVersion::V3)),
            _ => Err(bad(format!("{shown} is an array, not a group"))),
        };
    }
    if exists(store, &join(path, ".zarray"))? {
        return Err(bad(format!("{shown} is an array, not a group")));
    }
    Ok(exists(store, &join(path, ".zgroup"))?.then_some(ZarrVersion::V2))
}

/// Checks that a path is a group of the version that is written, or nothing.
pub(crate) fn check_version(
    store: &dyn Store,
    path: &str,
    zarr: ZarrVersion,
    location: &str,
) -> Result<(), WriteError> {
    match group_version(store, path, location)? {
        Some(found) if found != zarr => Err(WriteError::BadGroup {
            location: location.to_owned(),
            problem: format!(
                "it is Zarr v{}, and v{} was asked for (`--zarr {}` works)",
                found.number(),
                zarr.number(),
                found.number()
            ),
        }),
        _ => Ok(()),
    }
}

/// Paths above a group, the root first.
fn ancestors(group: &str) -> Vec<&str> {
    if group.is_empty() {
        return Vec::new();
    }
    let above = group.match_indices('/').map(|(at, _)| &group[..at]);
    std::iter::once("").chain(above).collect()
}

/// Checks that all above a group are groups of the same version, or nothing, and that none of them is being written.
pub(crate) fn check_ancestors(store: &dyn Store, group: &str, zarr: ZarrVersion) -> Result<(), WriteError> {
    for path in ancestors(group) {
        let location = store.location();
        if exists(store, &join(path, super::journal::JOURNAL))? {
            return Err(WriteError::Unfinished { location });
        }
        check_version(store, path, zarr, &location)?;
        let nothing = group_version(store, path, &location)?.is_none();
        // A folder of something else does not become a cube by the way.
        if nothing
            && path.is_empty()
            && super::place::present(store, "")? == super::place::Present::Other
            && !only_holds(store, group)?
        {
            return Err(WriteError::NotACube { location });
        }
    }
    Ok(())
}

/// Whether the root holds nothing but the way to a group: what an interrupted run leaves.
fn only_holds(store: &dyn Store, group: &str) -> Result<bool, WriteError> {
    let first = group.split('/').next().unwrap_or_default();
    let way = |e: &crate::store::Entry| matches!(e, crate::store::Entry::Folder(n) if n == first || n.starts_with('.'));
    Ok(store.list_dir("")?.iter().all(way))
}

/// Adds nodes and attributes to a group that exists, and to its consolidated metadata where it has them.
pub(crate) fn extend(
    store: &dyn Store,
    path: &str,
    attrs: &Attrs,
    nodes: &Nodes,
    location: &str,
) -> Result<(), WriteError> {
    let key = |name: &str| join(path, name);
    if let Some(mut node) = read(store, &key("zarr.json"), location)? {
        let own = node.entry("attributes").or_insert_with(|| json!({}));
        add_attrs(own, attrs);
        merge(&mut node, "consolidated_metadata", &entries(ZarrVersion::V3, nodes), &[]);
        return Ok(put_json(store, &key("zarr.json"), &Value::Object(node))?);
    }
    let mut own = Value::Object(read(store, &key(".zattrs"), location)?.unwrap_or_default());
    if !attrs.is_empty() {
        add_attrs(&mut own, attrs);
        put_json(store, &key(".zattrs"), &own)?;
    }
    if let Some(mut all) = read(store, &key(".zmetadata"), location)? {
        if let Some(Value::Object(found)) = all.get_mut("metadata") {
            found.extend(nodes.clone());
            found.insert(".zattrs".to_owned(), own);
        }
        put_json(store, &key(".zmetadata"), &Value::Object(all))?;
    }
    Ok(())
}

fn add_attrs(own: &mut Value, attrs: &Attrs) {
    if let Value::Object(own) = own {
        for (name, value) in attrs {
            own.insert(name.clone(), value.clone());
        }
    }
}

/// Replaces entries in the inline consolidated metadata of a v3 group, where it has them.
fn merge(node: &mut Map<String, Value>, name: &str, new: &Map<String, Value>, gone: &[String]) {
    let Some(Value::Object(consolidated)) = node.get_mut(name) else {
        return;
    };
    let Some(Value::Object(found)) = consolidated.get_mut("metadata") else {
        return;
    };
    found.retain(|path, _| !gone.contains(path));
    found.extend(new.clone());
}

/// Makes the groups above one that was written, and brings their consolidated metadata up to date where they have them.
pub(crate) fn tell_ancestors(
    store: &dyn Store,
    group: &str,
    zarr: ZarrVersion,
    location: &str,
) -> Result<(), WriteError> {
    // What the group holds now, as its own consolidated metadata say.
    let mut below = Nodes::new();
    for (name, node) in group_metadata(zarr, &Attrs::new(), None) {
        if let Some(found) = read(store, &join(group, &name), location)? {
            below.insert(join(group, &name), bare(&Value::Object(found)));
        } else {
            below.insert(join(group, &name), node);
        }
    }
    let held = match zarr {
        ZarrVersion::V3 => {
            read(store, &join(group, "zarr.json"), location)?.and_then(|mut node| node.remove("consolidated_metadata"))
        }
        ZarrVersion::V2 => read(store, &join(group, ".zmetadata"), location)?.map(Value::Object),
    };
    if let Some(Value::Object(held)) = held.and_then(|mut h| h.get_mut("metadata").map(Value::take)) {
        for (path, node) in held {
            let key = match zarr {
                ZarrVersion::V3 => join(&path, "zarr.json"),
                ZarrVersion::V2 => path,
            };
            below.insert(join(group, &key), node);
        }
    }
    for path in ancestors(group).into_iter().rev() {
        let inner = |key: &str| {
            let rest = if path.is_empty() { Some(key) } else { key.strip_prefix(path)?.strip_prefix('/') };
            rest.map(str::to_owned)
        };
        let nodes: Nodes = below.iter().filter_map(|(key, node)| Some((inner(key)?, node.clone()))).collect();
        if group_version(store, path, location)?.is_none() {
            for (name, node) in root(zarr, &Attrs::new(), &nodes) {
                put_json(store, &join(path, &name), &node)?;
            }
            for (name, node) in group_metadata(zarr, &Attrs::new(), None) {
                below.insert(join(path, &name), node);
            }
            continue;
        }
        let gone = inner(group).unwrap_or_default();
        let stale = |key: &str| key.strip_prefix(&gone).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match zarr {
            ZarrVersion::V3 => {
                let key = join(path, "zarr.json");
                let Some(mut node) = read(store, &key, location)? else {
                    continue;
                };
                if !node.get("consolidated_metadata").is_some_and(Value::is_object) {
                    continue;
                }
                let old: Vec<String> = node["consolidated_metadata"]["metadata"]
                    .as_object()
                    .map(|m| m.keys().filter(|k| stale(k)).cloned().collect())
                    .unwrap_or_default();
                merge(&mut node, "consolidated_metadata", &entries(zarr, &nodes), &old);
                put_json(store, &key, &Value::Object(node))?;
            }
            ZarrVersion::V2 => {
                let key = join(path, ".zmetadata");
                let Some(mut all) = read(store, &key, location)? else {
                    continue;
                };
                if let Some(Value::Object(found)) = all.get_mut("metadata") {
                    found.retain(|k, _| !stale(k));
                    found.extend(nodes.clone());
                }
                put_json(store, &key, &Value::Object(all))?;
            }
        }
    }
    Ok(())
}

/// Whether the group of an output is there.
pub(crate) fn exists_at(output: &super::Output) -> Result<bool, WriteError> {
    let Some(store) = output.place.existing()? else {
        return Ok(false);
    };
    Ok(group_version(&store, &output.group, &output.place.location())?.is_some())
}

/// Shape of an array below the group of an output, where there is one.
pub(crate) fn shape_of(output: &super::Output, path: &str) -> Result<Option<Vec<u64>>, WriteError> {
    let Some(store) = output.place.existing()? else {
        return Ok(None);
    };
    for name in ["zarr.json", ".zarray"] {
        let key = join(&join(&output.group, path), name);
        if let Some(node) = read(&store, &key, &output.place.location())?
            && let Some(shape) = node.get("shape").and_then(Value::as_array)
        {
            return Ok(Some(shape.iter().filter_map(Value::as_u64).collect()));
        }
    }
    Ok(None)
}
