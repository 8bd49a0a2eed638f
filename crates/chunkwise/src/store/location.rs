//! From what the user wrote to a store and a path in it.

use super::{LocalStore, MemoryStore, ReferenceStore, StorageOptions, Store, StoreError, ZipStore, is_zip};
use std::path::Path;
use std::sync::Arc;

/// A store, and the group or array in it that a location names.
#[derive(Clone, Debug)]
pub struct Located {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Path of the group or array in the store; empty for its root.
    pub path: String,
}

/// Finds what `LOCATION[:GROUP]` names: a folder, a zip file, an object store, a web server, or `memory:NAME`.
///
/// What exists literally wins; otherwise what follows a `:` is a group or array, at the last `:` before which
/// something exists. Only the folder is looked at, not what it holds. In object stores and on web servers, where a look
/// costs a request, what follows `.zarr:` is a group, and else nothing is asked unless the path has a `:`.
///
/// # Errors
/// Nothing is there, it may not be looked at, or this build has no store for such a location.
pub fn locate(location: &str) -> Result<Located, StoreError> {
    locate_with(location, &StorageOptions::default())
}

/// As [`locate`], with credentials and other options of stores.
///
/// # Errors
/// As [`locate`]; options that cannot be understood.
pub fn locate_with(location: &str, options: &StorageOptions) -> Result<Located, StoreError> {
    if let Some(rest) = location.strip_prefix("memory:") {
        return memory(location, rest);
    }
    if let Some((scheme, rest)) = location.split_once("://") {
        if scheme == "file" {
            return local(location, rest, options);
        }
        #[cfg(feature = "cloud")]
        if super::object::is_remote(location) {
            return remote(location, options);
        }
        let scheme_like = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
        if scheme_like && !Path::new(location).exists() {
            let of_cloud = ["s3", "gs", "az", "azure", "abfs", "abfss", "http", "https"].contains(&scheme);
            let feature = if of_cloud { " (the feature `cloud`)" } else { "" };
            let kind = format!("`{scheme}://`{feature}");
            return Err(StoreError::NotBuiltIn { location: super::secret::mask(location), kind });
        }
    }
    local(location, location, options)
}

/// A remote store; where its name does not tell the group, the first reading under which there is some Zarr.
#[cfg(feature = "cloud")]
fn remote(location: &str, options: &StorageOptions) -> Result<Located, StoreError> {
    let ways = super::object::split(location);
    let several = ways.len() > 1;
    let mut first = None;
    for (root, path) in ways {
        if let Some(store) = remote_file(&root, options)? {
            return Ok(Located { store, path });
        }
        let found = Located { store: super::object::open(&root, options)?, path };
        if several {
            let whole = super::ByteRange::Whole;
            let mut names = ["zarr.json", ".zmetadata", ".zgroup", ".zarray"].into_iter();
            if names.any(|name| matches!(found.store.get(name, whole), Ok(Some(_)))) {
                return Ok(found);
            }
        }
        first.get_or_insert(found);
    }
    first.ok_or_else(|| StoreError::NotFound { location: super::secret::mask(location) })
}

fn group_path(group: &str) -> String {
    group.trim_matches('/').to_owned()
}

fn memory(location: &str, rest: &str) -> Result<Located, StoreError> {
    let splits = rest.match_indices(':').rev().map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    for (name, group) in std::iter::once((rest, "")).chain(splits) {
        if let Some(store) = super::lent::find(name) {
            return Ok(Located { store, path: group_path(group) });
        }
        if let Some(store) = MemoryStore::find(name) {
            return Ok(Located { store, path: group_path(group) });
        }
    }
    Err(StoreError::NotFound { location: location.to_owned() })
}

fn local(location: &str, path: &str, options: &StorageOptions) -> Result<Located, StoreError> {
    let splits = path.match_indices(':').rev().map(|(at, _)| (&path[..at], &path[at + 1..]));
    let mut first_error = None;
    for (root, group) in std::iter::once((path, "")).chain(splits) {
        if root.is_empty() {
            continue;
        }
        match LocalStore::open(root) {
            Ok(store) => return Ok(Located { store: Arc::new(store), path: group_path(group) }),
            Err(StoreError::NotFound { .. }) => {}
            Err(_) if Path::new(root).is_file() && is_zip(Path::new(root)) => {
                return Ok(Located { store: Arc::new(ZipStore::open(root)?), path: group_path(group) });
            }
            Err(_) if Path::new(root).is_file() => match file(Path::new(root), options)? {
                Some(store) => return Ok(Located { store, path: group_path(group) }),
                None => first_error = first_error.or(LocalStore::open(root).err()),
            },
            Err(other) => first_error = first_error.or(Some(other)),
        }
    }
    Err(first_error.unwrap_or(StoreError::NotFound { location: location.to_owned() }))
}

/// The store that a file is; `None` where it is none that is known.
fn file(path: &Path, options: &StorageOptions) -> Result<Option<Arc<dyn Store>>, StoreError> {
    if is_json(&path.to_string_lossy()) {
        return Ok(Some(Arc::new(ReferenceStore::open(path, options)?)));
    }
    #[cfg(feature = "netcdf")]
    if super::netcdf::is_netcdf(path) {
        return Ok(Some(Arc::new(super::NetcdfStore::open(path)?)));
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff")) {
        return Err(StoreError::NoCube(path.display().to_string(), "a GeoTIFF"));
    }
    #[cfg(not(feature = "netcdf"))]
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("nc")) {
        let kind = "NetCDF (the feature `netcdf`)".to_owned();
        return Err(StoreError::NotBuiltIn { location: path.display().to_string(), kind });
    }
    Ok(None)
}

/// Whether a name is that of a reference document, and not of metadata of Zarr.
fn is_json(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or_default();
    ending.eq_ignore_ascii_case("json") && name != "zarr.json"
}

/// The store that a remote file is, where its name tells that it is one.
#[cfg(feature = "cloud")]
fn remote_file(root: &str, options: &StorageOptions) -> Result<Option<Arc<dyn Store>>, StoreError> {
    let known = is_json(root);
    #[cfg(feature = "netcdf")]
    let known = known || super::netcdf::is_named(root);
    let Some((parent, key)) = root.rsplit_once('/').filter(|(parent, _)| known && !parent.ends_with('/')) else {
        return Ok(None);
    };
    let store = super::object::open(parent, options)?;
    let location = super::secret::mask(root);
    if is_json(root) {
        let store = ReferenceStore::open_in(&*store, parent, key, &location, options)?;
        return Ok(Some(Arc::new(store)));
    }
    #[cfg(feature = "netcdf")]
    return Ok(Some(Arc::new(super::NetcdfStore::open_in(store, key, &location)?)));
    #[cfg(not(feature = "netcdf"))]
    Ok(None)
}
