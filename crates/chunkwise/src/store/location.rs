//! From what the user wrote to a store and a path in it.

use super::{LocalStore, MemoryStore, Store, StoreError};
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

/// Finds what `LOCATION[:GROUP]` names: a folder, or `memory:NAME`.
///
/// What exists literally wins; otherwise what follows a `:` is a group or array, at the last `:` before which
/// something exists. Only the folder is looked at, not what it holds.
///
/// # Errors
/// Nothing is there, it may not be looked at, or this build has no store for such a location.
pub fn locate(location: &str) -> Result<Located, StoreError> {
    if let Some(rest) = location.strip_prefix("memory:") {
        return memory(location, rest);
    }
    if let Some((scheme, rest)) = location.split_once("://") {
        if scheme == "file" {
            return local(location, rest);
        }
        let scheme_like = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
        if scheme_like && !Path::new(location).exists() {
            let kind = format!("`{scheme}://`");
            return Err(StoreError::NotBuiltIn { location: location.to_owned(), kind });
        }
    }
    local(location, location)
}

fn group_path(group: &str) -> String {
    group.trim_matches('/').to_owned()
}

fn memory(location: &str, rest: &str) -> Result<Located, StoreError> {
    let splits = rest.match_indices(':').rev().map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    for (name, group) in std::iter::once((rest, "")).chain(splits) {
        if let Some(store) = MemoryStore::find(name) {
            return Ok(Located { store, path: group_path(group) });
        }
    }
    Err(StoreError::NotFound { location: location.to_owned() })
}

fn local(location: &str, path: &str) -> Result<Located, StoreError> {
    let splits = path.match_indices(':').rev().map(|(at, _)| (&path[..at], &path[at + 1..]));
    let mut first_error = None;
    for (root, group) in std::iter::once((path, "")).chain(splits) {
        if root.is_empty() {
            continue;
        }
        match LocalStore::open(root) {
            Ok(store) => return Ok(Located { store: Arc::new(store), path: group_path(group) }),
            Err(StoreError::NotFound { .. }) => {}
            Err(_) if Path::new(root).is_file() && is_zip(root) => {
                let kind = "reading a zip file".to_owned();
                return Err(StoreError::NotBuiltIn { location: location.to_owned(), kind });
            }
            Err(other) => first_error = first_error.or(Some(other)),
        }
    }
    Err(first_error.unwrap_or(StoreError::NotFound { location: location.to_owned() }))
}

fn is_zip(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"))
}
