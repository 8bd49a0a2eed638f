//! Keys of objects, and the folders that they make.

use super::{Entry, StoreError};
use std::collections::BTreeSet;

/// Checks that a key stays in its store: no empty, `.` or `..` segment, no NUL, not absolute.
pub(crate) fn check_key(location: &dyn Fn() -> String, key: &str) -> Result<(), StoreError> {
    let reason = if key.is_empty() {
        "it is empty"
    } else if key.contains('\0') {
        "it holds a NUL"
    } else if key.split('/').any(|segment| segment.is_empty()) {
        "a segment is empty"
    } else if key.split('/').any(|segment| segment == "." || segment == "..") {
        "`.` and `..` lead elsewhere"
    } else if cfg!(windows) && key.contains(['\\', ':']) {
        "`\\` and `:` lead elsewhere"
    } else {
        return Ok(());
    };
    Err(StoreError::BadKey { location: location(), key: key.to_owned(), reason })
}

/// Joins a folder and a name; the root folder is empty.
pub fn join(prefix: &str, name: &str) -> String {
    match (prefix.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}/{name}"),
    }
}

/// What lies directly below a folder, given as `folder/`, of keys in order that begin there.
pub(crate) fn directly_below<'a>(below: &str, keys: impl Iterator<Item = &'a str>) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    for rest in keys.map_while(|key| key.strip_prefix(below)) {
        seen.insert(match rest.split_once('/') {
            Some((folder, _)) => (folder.to_owned(), true),
            None => (rest.to_owned(), false),
        });
    }
    let entry = |(name, folder)| if folder { Entry::Folder(name) } else { Entry::Object(name) };
    seen.into_iter().map(entry).collect()
}
